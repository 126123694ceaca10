"""Two recognitions of the same audio, measured (pure). There is no truth here: neither side is the right one.

`Side` notes what one recognition told and when. `difference` aligns the words of both. `summary` is what is stored of a
call, `aggregate` what is reported over calls. Times are whole milliseconds of one clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from typing import Final as Const

import numpy as np
from numpy.typing import NDArray

from moked.rollout.guard import percentile
from moked.stt import EngineSwitched, Final, HearingBack, HearingLost, Interim, Transcript
from moked.stt.transcripts import normalise

MOST_WORDS: Const = 2500
"""Of one call: more are not compared; the alignment's table grows with the square (12 MB here)."""

_SLACK_MS: Const = 300  # a final may end so much before our VAD says that speech ended
_FORGOTTEN_MS: Const = 15_000  # after so long nobody waits for the final of an utterance
_KEPT: Const = 500  # measured values of a call
_EXAMPLES: Const = 5
_LONG_EXAMPLE: Const = 12  # words


@dataclass(slots=True)
class Side:
    """One recognition of a call. `speech_*` and `heard` are told with `now`; `at` is when that sound was in the air."""

    finals_ms: list[int] = field(default_factory=list)  # from the end of speech to its final
    first_partials_ms: list[int] = field(default_factory=list)  # from the beginning of speech
    gaps_ms: list[int] = field(default_factory=list)  # between two partials of an utterance
    utterances: int = 0
    unanswered: int = 0  # utterances without a final
    failures: int = 0
    switches: int = 0
    texts: list[str] = field(default_factory=list)
    _ends: list[tuple[int, int]] = field(default_factory=list)  # (call ms, when) of speech that has no final yet
    _began: int | None = None
    _partial_at: int | None = None

    def speech_started(self, at: int) -> None:
        self._began = at
        self._partial_at = None

    def speech_ended(self, at_ms: int, at: int) -> None:
        """`at_ms`: its place in the call."""
        self.utterances += 1
        self._ends.append((at_ms, at))

    def heard(self, result: Transcript, now: int) -> None:
        match result:
            case EngineSwitched(before, after, _):
                self.switches += before != after
            case Interim():
                self._partial(now)
            case HearingLost() | HearingBack():
                pass
            case Final():
                self.texts.append(result.text)
                self._partial_at = None
                answered = [at for at_ms, at in self._ends if at_ms <= result.end_ms + _SLACK_MS]
                del self._ends[: len(answered)]
                if answered:
                    _keep(self.finals_ms, max(0, now - answered[-1]))
                self._give_up(now)

    def close(self) -> None:
        self.unanswered += len(self._ends)
        self._ends.clear()

    def _partial(self, now: int) -> None:
        if self._partial_at is not None:
            _keep(self.gaps_ms, now - self._partial_at)
        elif self._began is not None:
            _keep(self.first_partials_ms, max(0, now - self._began))
            self._began = None
        self._partial_at = now

    def _give_up(self, now: int) -> None:
        late = sum(now - at > _FORGOTTEN_MS for _, at in self._ends)
        self.unanswered += late
        del self._ends[:late]


def _keep(values: list[int], value: int) -> None:
    if len(values) < _KEPT:
        values.append(value)


# --- words ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """How two texts differ, by words. `edits` is the least number of words to change, add or leave out."""

    edits: int
    words: tuple[int, int]
    spans: tuple[tuple[str, str], ...]  # the parts that differ, longest first

    @property
    def rates(self) -> tuple[float, float]:
        """Edits for each word of the one and of the other."""
        one, other = self.words
        return self.edits / max(one, 1), self.edits / max(other, 1)


def difference(one: str, other: str) -> Difference:
    """Of the normalised texts: points, punctuation and case do not count."""
    left, right = normalise(one).split()[:MOST_WORDS], normalise(other).split()[:MOST_WORDS]
    table = _table(left, right)
    spans = sorted(_spans(left, right, table), key=lambda span: -max(len(span[0]), len(span[1])))
    shown = tuple((_shown(a), _shown(b)) for a, b in spans[:_EXAMPLES])
    return Difference(int(table[len(left), len(right)]), (len(left), len(right)), shown)


def _shown(words: Sequence[str]) -> str:
    return " ".join(words[:_LONG_EXAMPLE]) + (" …" if len(words) > _LONG_EXAMPLE else "")


def _table(left: Sequence[str], right: Sequence[str]) -> NDArray[np.int16]:
    """Edit distances of all prefixes. A row at a time: insertions are a running minimum along it."""
    numbers = {word: number for number, word in enumerate(dict.fromkeys((*left, *right)))}
    columns = np.arange(len(right) + 1, dtype=np.int16)
    codes = np.fromiter((numbers[word] for word in right), dtype=np.int32, count=len(right))
    table = np.empty((len(left) + 1, len(right) + 1), dtype=np.int16)
    table[0] = columns
    for row, word in enumerate(left, 1):
        above = table[row - 1]
        best = above + 1
        best[1:] = np.minimum(best[1:], above[:-1] + (codes != numbers[word]))
        table[row] = np.minimum.accumulate(best - columns) + columns
    return table


def _spans(
    left: Sequence[str], right: Sequence[str], table: NDArray[np.int16]
) -> list[tuple[Sequence[str], Sequence[str]]]:
    """The stretches of one best alignment where the texts differ."""
    spans: list[tuple[Sequence[str], Sequence[str]]] = []
    row, column = len(left), len(right)
    end: tuple[int, int] | None = None
    while row or column:
        same = bool(row and column) and left[row - 1] == right[column - 1]
        if same and table[row, column] == table[row - 1, column - 1]:
            if end is not None:
                spans.append((left[row : end[0]], right[column : end[1]]))
                end = None
            row, column = row - 1, column - 1
            continue
        end = end or (row, column)
        if row and column and table[row, column] == table[row - 1, column - 1] + 1:
            row, column = row - 1, column - 1
        elif row and table[row, column] == table[row - 1, column] + 1:
            row -= 1
        else:
            column -= 1
    if end is not None:
        spans.append((left[: end[0]], right[: end[1]]))
    return spans


# --- a call, and many -------------------------------------------------------------------------------------------------

_LISTS: Const = ("finals_ms", "first_partials_ms", "gaps_ms")
_COUNTS: Const = ("utterances", "unanswered", "failures", "switches")


def summary(live_mode: str, live: Side, shadow_mode: str, shadow: Side, ended: str) -> dict[str, Any]:
    """What is stored of a call, JSON-ready. Words are only in `examples`. `ended`: 'call', or why the shadow left."""
    found = difference(" ".join(live.texts), " ".join(shadow.texts))
    return {
        "live": live_mode,
        "ended": ended,
        "sides": {live_mode: _numbers(live), shadow_mode: _numbers(shadow)},
        "edits": found.edits,
        "words": {live_mode: found.words[0], shadow_mode: found.words[1]},
        "examples": [{live_mode: one, shadow_mode: other} for one, other in found.spans],
    }


def _numbers(side: Side) -> dict[str, Any]:
    return {name: getattr(side, name) for name in (*_LISTS, *_COUNTS)}


def aggregate(calls: Iterable[Mapping[str, Any]], *, examples: bool = False) -> dict[str, Any]:
    """The report over `summary`s. Only calls whose shadow ran to the end count for words."""
    calls = list(calls)
    whole = [call for call in calls if call["ended"] == "call"]
    modes = sorted({mode for call in calls for mode in call["sides"]})
    edits = sum(call["edits"] for call in whole)
    words = {mode: sum(call["words"].get(mode, 0) for call in whole) for mode in modes}
    report: dict[str, Any] = {
        "calls": len(calls),
        "left_early": {reason: n for reason in ("load", "moved", "failed") if (n := _ended(calls, reason))},
        "modes": {
            mode: _mode_report([call["sides"][mode] for call in calls if mode in call["sides"]]) for mode in modes
        },
        "words": {
            "edits": edits,
            **{mode: {"words": n, "difference_rate": round(edits / n, 4) if n else None} for mode, n in words.items()},
        },
    }
    if examples:
        found = [(example, call["call_sid"]) for call in whole for example in call["examples"]]
        found.sort(key=lambda item: -max(len(text.split()) for text in item[0].values()))
        report["examples"] = [{**example, "call_sid": sid} for example, sid in found[:20]]
    return report


def _ended(calls: Sequence[Mapping[str, Any]], reason: str) -> int:
    return sum(call["ended"] == reason for call in calls)


def _mode_report(sides: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    lists = {name: [value for side in sides for value in side[name]] for name in _LISTS}
    counts = {name: sum(side[name] for side in sides) for name in _COUNTS}
    utterances = counts["utterances"]
    per_1000 = round(1000 * counts["failures"] / utterances, 1) if utterances else None
    return {
        **counts,
        "failures_per_1000_utterances": per_1000,
        "final_ms": _spread(lists["finals_ms"]),
        "first_partial_ms": _spread(lists["first_partials_ms"]),
        "partial_gap_ms": _spread(lists["gaps_ms"]),
    }


def _spread(values: Sequence[int]) -> dict[str, int | None]:
    return {"p50": percentile(values, 50), "p95": percentile(values, 95)}
