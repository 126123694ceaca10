"""Is the caller cut off in a hesitation, and how long do they wait when they have finished? Hebrew turns, no audio.

    python -m bench.pauses [--set tune|heldout|both] [--rounds 10] [--show 20] [--out bench/results]

`bench/data/pauses*.tsv` hold turns of callers with the places and lengths of their hesitations (0.3 to 1.2 s), dictated
telephone numbers and addresses among them, and turns without any. The real `TurnTaking` gets them as a call does: the
voice detector's events when they are known, interims every 200 ms with the words that are over by then, a final 300 ms
into silence. A reply is audible `REPLY_MS` after it was begun, or at its commit where that is later: what the other
benches' emulated model and voice take. Everything runs on virtual milliseconds, so the figures are the same each time.

    cut off    the reply was audible before the caller had finished. Taken back in time, it is none.
    response   from the caller's last sound to the reply's first

Rules were tuned on the first file alone. The second was written before them and looked at only as a figure.
"""

import argparse
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappush
from pathlib import Path
from typing import Any
from typing import Final as Const

from bench.stage import RESULTS, machine, save, spread
from moked.dialog import Expect
from moked.media.turns import Action, Begin, Cancel, Commit, Ignored, TurnPolicy, TurnTaking
from moked.stt import Final, Interim
from moked.stt.transcripts import TurnText

DATA: Const = Path(__file__).parent / "data"
FILES: Const = {"tune": DATA / "pauses.tsv", "heldout": DATA / "pauses_heldout.tsv"}
REPLY_MS: Const = 450  # first token 250, first clause 80, first byte of the voice 120
TURNS_A_CALL: Const = 6
START_KNOWN_MS: Const = 70
PAUSE_KNOWN_MS: Const = 84  # two windows without voice, and the detector's time
END_KNOWN_MS: Const = 176  # five
INTERIM_MS: Const = 200
FINAL_MS: Const = 300


@dataclass(frozen=True)
class Spoken:
    """A word, or a hesitation before it, in ms."""

    text: str
    pause_ms: int


@dataclass(frozen=True)
class Turn:
    expect: Expect
    words: tuple[Spoken, ...]

    @property
    def hesitates(self) -> bool:
        return any(word.pause_ms for word in self.words)

    def __str__(self) -> str:
        said = " ".join(f"<{word.pause_ms}> {word.text}" if word.pause_ms else word.text for word in self.words)
        return f"{self.expect.value}: {said}"


@dataclass
class Outcome:
    turn: Turn
    cut_off_after: str = ""  # the words that were taken for all
    reason: str = ""  # why the turn was committed
    response_ms: int | None = None


def read(path: Path) -> list[Turn]:
    """The turns of a file. Raises `SystemExit` that names the line."""
    turns = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            expect, said = line.split("\t")
            words, pause = [], 0
            for token in said.split():
                if found := re.fullmatch(r"<(\d+)>", token):
                    pause = int(found[1])
                else:
                    words.append(Spoken(token, pause))
                    pause = 0
            turns.append(Turn(Expect(expect), tuple(words)))
        except ValueError as error:
            raise SystemExit(f"{path.name}, line {number}: {error}") from None
    return turns


@dataclass
class Caller:
    """One call of several turns against the real turn taking, on virtual time."""

    random: random.Random
    policy: TurnPolicy = field(default_factory=TurnPolicy)

    def __post_init__(self) -> None:
        self.turns = TurnTaking(self.policy)
        self.text = TurnText()
        self.now = 0
        self.reply: Begin | None = None
        self.ready_at = 0
        self.commit: Commit | None = None
        self.audible_at: int | None = None
        self._act(self.turns.greet(0))
        self._until(1000)
        self._act(self.turns.reply_finished(self.now, 1))

    def say(self, turn: Turn) -> Outcome:
        self.reply = self.commit = self.audible_at = None
        self.text = TurnText()
        self._act(self.turns.expect(self.now, turn.expect))
        outcome = Outcome(turn)
        events, last = self._plan(turn, self.now + 600)
        for at, method, arguments in events:
            if not self._until(at):
                outcome.cut_off_after = self.reply.text if self.reply is not None else ""
                break
            self._told(method, arguments)
        else:
            self._until(last + 6000)
        outcome.reason = self.commit.reason if self.commit is not None else "none"
        if self.audible_at is not None and self.audible_at >= last:
            outcome.cut_off_after = ""
            outcome.response_ms = self.audible_at - last
        self._end(last)
        return outcome

    def _told(self, method: str, news: Any) -> None:
        if method != "transcript":
            self._act(getattr(self.turns, method)(self.now, news))
            return
        self.text.hear(news, self.now)
        if self.text.amended:
            amended, self.text.amended = self.text.amended, ""
            self._act(self.turns.corrected(self.now, amended))
        self._act(self.turns.heard(self.now, self.text.text, end=news.end_ms, final=self.text.final_only))

    def _end(self, last: int) -> None:
        """The agent has said its reply; after a cut-off the rest of the caller's words is not played."""
        self.now = max(self.now, last) + 500
        if self.turns.caller_speaking:
            self._act(self.turns.speech_ended(self.now, self.now - 200))
        for _ in range(20):
            if not self.turns.replying:
                self._until(self.now + 1000)
                continue
            assert self.reply is not None
            self._act(self.turns.reply_finished(self.now, self.reply.reply))
            break

    def _plan(self, turn: Turn, start: int) -> tuple[list[tuple[int, str, Any]], int]:
        """What the call will be told and when, and the end of the last word."""
        timed, at, stretches = [], start, []
        for word in turn.words:
            if word.pause_ms:
                at += word.pause_ms
            length = 90 + 65 * len(word.text) + self.random.randint(-20, 20)
            if not stretches or at - stretches[-1][1] > 60:
                stretches.append([at, at + length])
            stretches[-1][1] = at + length
            timed.append((at, at + length, word.text))
            at += length + 30
        heap: list[tuple[int, int, str, Any]] = []
        order = iter(range(10_000))

        def plan(when: int, method: str, news: Any) -> None:
            heappush(heap, (when, next(order), method, news))

        for begin, end in stretches:
            plan(begin + START_KNOWN_MS, "speech_started", begin)
            plan(end + PAUSE_KNOWN_MS, "speech_paused", end)
            plan(end + END_KNOWN_MS, "speech_ended", end)
            said = [word for word in timed if begin <= word[0] < end]
            for when, news in self._hearing(begin, end, said):
                plan(when, "transcript", news)
        return [(item[0], item[2], item[3]) for item in sorted(heap)], timed[-1][1]

    def _hearing(
        self, begin: int, end: int, timed: Sequence[tuple[int, int, str]]
    ) -> Iterator[tuple[int, Interim | Final]]:
        """What the recogniser makes of one stretch, and when it comes."""
        told = 0
        for tick in range(begin + INTERIM_MS, end + FINAL_MS, INTERIM_MS):
            said = [word for word in timed if word[1] <= tick]
            if len(said) > told:
                told = len(said)
                text = " ".join(word for _, _, word in said)
                yield tick + self.random.randint(40, 90), Interim(text, begin, said[-1][1], 0.8, "bench")
        whole = " ".join(word for _, _, word in timed)
        yield end + FINAL_MS + self.random.randint(20, 60), Final(whole, begin, end, 0.9, "bench")

    def _until(self, when: int) -> bool:
        """Run the clock; False as soon as a reply is audible."""
        while self.audible_at is None:
            due = self.turns.deadline
            audible = max(self.now, self.ready_at) if self.commit is not None else None
            following = min(time for time in (due, audible, when) if time is not None)
            if following >= when and not (audible is not None and audible <= when):
                self.now = max(self.now, when)
                if due is not None and due <= self.now:
                    self._act(self.turns.tick(self.now))
                return True
            self.now = max(self.now, following)
            if audible is not None and audible <= self.now:
                assert self.commit is not None
                self.audible_at = self.now
                self._act(self.turns.reply_audible(self.now, self.commit.reply))
                return False
            self._act(self.turns.tick(self.now))
        self.now = max(self.now, when)
        return False

    def _act(self, actions: Sequence[Action]) -> None:
        for action in actions:
            match action:
                case Begin():
                    self.reply, self.ready_at = action, self.now + REPLY_MS
                case Commit():
                    self.commit = action
                    if action.reason != "corrected":
                        self.text.take()
                case Ignored():
                    self.text.take()
                case Cancel():
                    self.reply = self.commit = None


def measure(turns: Sequence[Turn], rounds: int, policy: TurnPolicy | None = None) -> list[Outcome]:
    """Every turn once a round, in calls of a few turns, in another order each time.

    Callers who hesitate and callers who do not are different callers, so that what is learnt of one is about that one.
    """
    outcomes = []
    for number in range(rounds):
        dice = random.Random(number)
        order = list(turns)
        dice.shuffle(order)
        order.sort(key=lambda turn: turn.hesitates)
        for start in range(0, len(order), TURNS_A_CALL):
            caller = Caller(dice, policy or TurnPolicy())
            outcomes += [caller.say(turn) for turn in order[start : start + TURNS_A_CALL]]
    return outcomes


def figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Shares in percent, times in ms."""
    cut = [outcome for outcome in outcomes if outcome.cut_off_after]

    def share(some: Sequence[Outcome]) -> float | None:
        return round(100 * sum(bool(one.cut_off_after) for one in some) / len(some), 2) if some else None

    return {
        "turns": len({str(outcome.turn) for outcome in outcomes}),
        "played": len(outcomes),
        "cut_off_percent": share(outcomes),
        "cut_off_percent_of_hesitating": share([one for one in outcomes if one.turn.hesitates]),
        "cut_off_percent_by_question": {
            expect.value: share([one for one in outcomes if one.turn.expect is expect])
            for expect in dict.fromkeys(one.turn.expect for one in outcomes)
        },
        "cut_off_by_reason": {
            reason: sum(one.reason == reason for one in cut) for reason in sorted({one.reason for one in cut})
        },
        "response": spread([one.response_ms for one in outcomes if one.response_ms is not None]),
        "response_unbroken": spread(
            [one.response_ms for one in outcomes if one.response_ms is not None and not one.turn.hesitates]
        ),
        "unanswered": sum(one.response_ms is None and not one.cut_off_after for one in outcomes),
    }


def table(results: dict[str, Any]) -> str:
    head = "| turns | n | cut off | of hesitating | response p50 | p95 | worst | unbroken turns p50 | p95 |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    for name, found in results.items():
        every, unbroken = found["response"] or {}, found["response_unbroken"] or {}
        lines.append(
            f"| {name} | {found['turns']} | **{found['cut_off_percent']} %** "
            f"| {found['cut_off_percent_of_hesitating']} % | {every.get('p50')} | {every.get('p95')} "
            f"| {every.get('max')} | **{unbroken.get('p50')}** | **{unbroken.get('p95')}** |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.pauses", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--set", choices=("tune", "heldout", "both"), default="both")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--show", type=int, default=0, help="print so many of the cut-off turns of the tuning set")
    parser.add_argument("--out", type=Path, help=f"folder of the result; default {RESULTS}")
    options = parser.parse_args()
    names = list(FILES) if options.set == "both" else [options.set]
    results = {}
    for name in names:
        outcomes = measure(read(FILES[name]), options.rounds)
        results[name] = figures(outcomes)
        if name == "tune":
            shown = {str(one.turn): one for one in outcomes if one.cut_off_after}
            for said, one in list(shown.items())[: options.show]:
                print(f"{one.reason:20} {one.cut_off_after!r} of {said}")
    print(table(results))
    print({name: (found["cut_off_by_reason"], found["cut_off_percent_by_question"]) for name, found in results.items()})
    save(
        options.out or RESULTS,
        "pauses",
        {"machine": machine(f"python -m bench.pauses --rounds {options.rounds}")} | results,
    )


if __name__ == "__main__":
    main()
