"""What was heard, in call time (pure): merging streams, the caller's current turn, and Hebrew text for comparing.

A call is heard by a chain of streams: the next one begins a little before the place the last one had committed, so the
same audio can be recognised twice. `Ledger` is the only place that decides which words are new. The rule:

    time first  a word whose middle lies in audio that another stream has committed is old;
    text then   near the border, where clocks of engines differ, a word that is the last committed one again is old;
    in doubt    the word stays: a word too many is read by a person, a lost word is not.

A stream never repeats itself, so only *other* generations' finals cover a word: "two two two" stays three words.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final as Const

import msgspec

from moked.stt import Final, Interim, Word

# --- text -------------------------------------------------------------------------------------------------------------

_POINTS: Const = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]")  # niqqud and cantillation
_INVISIBLE: Const = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_QUOTES: Const = re.compile("[\"'`´\u05f3\u05f4\u2018-\u201f]")
_NOT_WORD: Const = re.compile(r"(?!(?<=\d)[.,:](?=\d))[^\w\s]|_")

_LETTER: Const = r"[^\W\d_]"
_INITIALS: Const = re.compile(r"(?:[א-ת]\.){1,4}[א-ת]?\.?")
_PUNCTUATION: Const = re.compile(
    r"(?!(?<=\d)[.,:](?=\d))"  # decimals, thousands, times of day
    r"(?!(?<=[A-Za-z0-9])\.(?=[A-Za-z0-9]))"  # addresses on the net
    rf"(?!(?<={_LETTER})[\"״'׳\u2019\u201d](?={_LETTER}))"  # gershayim and geresh within a word
    r"(?!(?<=\w)[-\u2013־/](?=\w))"  # hyphens, ranges
    r"[][(){}<>«».,;:!?…\"״'׳`\u2018-\u201f\u2013\u2014־\-/|\u05c0\u05c3\u05c6]"
)
_GERESH: Const = "'׳\u2019"


def normalise(text: str) -> str:
    """For comparing what two engines wrote: no niqqud, bidi marks, quotes or punctuation, maqaf as a space, lower case.

    Separators inside numbers stay ("3.5", "10:30").
    """
    text = _POINTS.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)))
    return " ".join(_NOT_WORD.sub(" ", _QUOTES.sub("", text)).casefold().split())


def strip_punctuation(text: str) -> str:
    """The same words without punctuation marks.

    Kept: gershayim and geresh of a word (צה"ל, ג'ירפה, רח'), initials (ת.ז), decimals, times, hyphenated words.
    """
    return " ".join(filter(None, (_bare(word) for word in _INVISIBLE.sub("", text).split())))


def _bare(word: str) -> str:
    core = word.strip(',;:!?…()[]"״“”')
    if _INITIALS.fullmatch(core):
        return core.rstrip(".")
    ends_with_geresh = len(core) > 1 and core[-1] in _GERESH and "א" <= core[-2] <= "ת" and core[0] not in _GERESH
    bare = " ".join(_PUNCTUATION.sub(" ", core).split())
    return bare + core[-1] if ends_with_geresh else bare


# --- words with times -------------------------------------------------------------------------------------------------


def _timed(text: str, start_ms: int, end_ms: int, words: Sequence[Word]) -> list[Word]:
    """The words of a result as they are written, each with its time, or its share of [start_ms, end_ms]."""
    written = text.split()
    if words:
        if len(written) == len(words):
            return [Word(token, word.start_ms, word.end_ms) for word, token in zip(words, written, strict=True)]
        return list(words)
    total = sum(len(token) + 1 for token in written) or 1
    span = max(end_ms - start_ms, 0)
    timed, before = [], 0
    for token in written:
        after = before + len(token) + 1
        timed.append(Word(token, start_ms + span * before // total, start_ms + span * after // total))
        before = after
    return timed


def _middle(word: Word) -> int:
    return (word.start_ms + word.end_ms) // 2


class _Committed(msgspec.Struct, frozen=True, gc=False):
    """A word that was told, by its `normalise`d text."""

    start_ms: int
    end_ms: int
    key: str
    generation: int


def _share(one: Word, other: _Committed) -> float:
    """The overlap of two words, as a part of the shorter."""
    overlap = min(one.end_ms, other.end_ms) - max(one.start_ms, other.start_ms)
    shorter = min(one.end_ms - one.start_ms, other.end_ms - other.start_ms)
    return overlap / max(shorter, 1)


def _run(keys: Sequence[str], at: int, tail: Sequence[str]) -> int:
    """How many words up to `keys[at]` equal the end of `tail`."""
    length = 0
    while length <= at and length < len(tail) and keys[at - length] == tail[-1 - length]:
        length += 1
    return length


def _anchor(keys: Sequence[str], tail: Sequence[str], expected: int, reach: int) -> int | None:
    """Where `tail` ends inside `keys[:reach]`: the longest match, then the one nearest to `expected`."""
    best: tuple[int, int] | None = None
    found = None
    for at in range(min(reach, len(keys))):
        run = _run(keys, at, tail)
        if run and (best is None or (run, -abs(at - expected)) > best):
            best, found = (run, -abs(at - expected)), at
    return found


# --- the ledger -------------------------------------------------------------------------------------------------------

_BORDER_MS: Const = 60  # two engines may disagree about a word's middle by this much
_SAME_WORD: Const = 0.3  # equal words overlapping by more than this are one word
_SHORT_OVERLAP_MS: Const = 400  # in less than this no whole foreign word can hide: keep what does not match
_FASTEST_WORD_MS: Const = 150
_VAD_LATE_MS: Const = 100


class Ledger:
    """What is committed. Give every result of every stream to `accept`, tell the call what comes back.

    `generation` numbers the streams of a call in the order they were opened. `committed_ms` is where the accepted words
    end; the next stream must hear everything after it. `trimmed` counts the words that were left out as already told.
    """

    def __init__(self) -> None:
        self.committed_ms = 0
        self.trimmed = 0
        self._words: deque[_Committed] = deque(maxlen=128)
        self._covered: dict[int, int] = {}

    def accept(
        self, generation: int, result: Interim | Final, *, voiced_from: int | None = None
    ) -> Interim | Final | None:
        """The result without the words that other streams have committed, or None if nothing of it is new.

        `voiced_from`: call time where our own VAD heard its first sound, for engines that give no times of words.
        A final without text commits its time: somebody listened and there was nothing.
        """
        if isinstance(result, Final):
            return self._accept_final(generation, result, voiced_from)
        words = _timed(result.text, self._from(result, voiced_from), result.end_ms, ())
        cut = self._old_words(generation, words, result.end_ms, exact=False)
        if cut == 0:
            return result if words else None
        if cut == len(words):
            return None
        return replace(result, text=_join(words[cut:]), start_ms=words[cut].start_ms)

    def _accept_final(self, generation: int, final: Final, voiced_from: int | None) -> Final | None:
        words = _timed(final.text, self._from(final, voiced_from), final.end_ms, final.words)
        exact = bool(final.words)
        cut = self._old_words(generation, words, final.end_ms, exact=exact)
        self.trimmed += cut
        kept = words[cut:]
        end_ms = kept[-1].end_ms if exact and kept else final.end_ms
        if kept or not words:
            self._covered[generation] = max(self._covered.get(generation, 0), end_ms)
            self.committed_ms = max(self.committed_ms, end_ms)
        self._words.extend(_Committed(word.start_ms, word.end_ms, normalise(word.text), generation) for word in kept)
        if not kept:
            return None
        if cut == 0:
            return final
        return replace(final, text=_join(kept), start_ms=kept[0].start_ms, words=tuple(kept) if exact else ())

    @staticmethod
    def _from(result: Interim | Final, voiced_from: int | None) -> int:
        if voiced_from is None or voiced_from >= result.end_ms:  # our VAD missed it
            return result.start_ms
        return max(result.start_ms, voiced_from - _VAD_LATE_MS)

    def _old_words(self, generation: int, words: Sequence[Word], end_ms: int, *, exact: bool) -> int:
        limit = max((end for other, end in self._covered.items() if other != generation), default=0)
        if not words or words[0].start_ms >= limit + _BORDER_MS:
            return 0
        tail = [item for item in self._words if item.generation != generation]
        if exact:
            return self._old_by_time(words, limit, tail[-1] if tail else None)
        if end_ms <= limit + _BORDER_MS:
            return len(words)
        return self._old_by_text(words, limit, [item.key for item in tail])

    @staticmethod
    def _old_by_time(words: Sequence[Word], limit: int, last: _Committed | None) -> int:
        cut = sum(_middle(word) <= limit - _BORDER_MS for word in words)
        if last is not None and cut < len(words):
            following = words[cut]
            if normalise(following.text) == last.key and _share(following, last) > _SAME_WORD:
                cut += 1
        return cut

    @staticmethod
    def _old_by_text(words: Sequence[Word], limit: int, tail: Sequence[str]) -> int:
        overlap = limit - words[0].start_ms
        by_time = sum(_middle(word) <= limit for word in words)
        if overlap <= 0:
            return 0
        reach = 1 + overlap // _FASTEST_WORD_MS
        anchor = _anchor([normalise(word.text) for word in words], tail, by_time - 1, reach)
        if anchor is not None:
            return anchor + 1
        return by_time if overlap > _SHORT_OVERLAP_MS else 0


def _join(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


# --- the turn ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Taken:
    """The caller's words of one turn. `final_only`: nothing of it was still a guess."""

    text: str
    confidence: float | None
    engine: str
    final_only: bool
    start_ms: int
    end_ms: int


class TurnText:
    """The text of the caller's current turn: its finals and the interim after them. The last hypothesis wins.

    `take` begins the next turn. When it takes a guess, the final for the same words is still to come: those words are
    not told again, only what the final adds; `amended` is then the taken turn as the finals had it.
    """

    def __init__(self) -> None:
        self._finals: list[Final] = []
        self._interim: Interim | None = None
        self._said = ""  # normalised, to see a change of words and not of commas
        self._guess: list[str] = []  # keys of an interim that was taken with its turn
        self._guess_end = 0
        self._continues = False  # the interim is the rest of a hypothesis that was taken
        self._taken_finals: list[str] = []
        self.stable_since = 0
        self.engine = ""
        self.amended = ""

    @property
    def text(self) -> str:
        parts = [final.text.strip() for final in self._finals]
        if self._interim is not None:
            parts.append(self._interim.text.strip())
        parts = [part for part in parts if part]
        # Engines end each piece like a sentence; where the turn went on, it was none.
        return " ".join([*(part.removesuffix(".") for part in parts[:-1]), *parts[-1:]])

    @property
    def final_only(self) -> bool:
        """No part of `text` may still change."""
        return self._interim is None

    @property
    def confidence(self) -> float | None:
        """The engines' own confidence in the finals, weighted by words; None where no engine says."""
        known = [(f.confidence, len(f.text.split())) for f in self._finals if f.confidence is not None]
        words = sum(count for _, count in known)
        return sum(value * count for value, count in known) / words if words else None

    def hear(self, result: Interim | Final, now: int) -> bool:
        """Take in a result of the ledger. True when the words of the turn changed; `stable_since` is `now` then."""
        fresh = self._without_guess(result)
        if isinstance(result, Final):
            self._interim = None
            if isinstance(fresh, Final):
                self._finals.append(fresh)
        else:
            self._interim = fresh if isinstance(fresh, Interim) else None
        if fresh is not None:
            self.engine = fresh.engine
        said = normalise(self.text)
        if said == self._said:
            return False
        self._said = said
        self.stable_since = now
        return True

    def take(self) -> Taken:
        """Everything so far, and begin the next turn."""
        heard: list[Interim | Final] = [*self._finals]
        if self._interim is not None:
            heard.append(self._interim)
        taken = Taken(
            text=self.text,
            confidence=self.confidence,
            engine=self.engine,
            final_only=self.final_only,
            start_ms=heard[0].start_ms if heard else 0,
            end_ms=heard[-1].end_ms if heard else 0,
        )
        self._taken_finals = [final.text for final in self._finals]
        self.amended = ""
        if self._interim is not None:
            keys = [normalise(word) for word in self._interim.text.split()]
            self._guess = [*self._guess, *keys] if self._continues else keys
            self._guess_end = self._interim.end_ms
        self._finals = []
        self._interim = None
        self._said = ""
        return taken

    def _without_guess(self, result: Interim | Final) -> Interim | Final | None:
        if not result.text.strip():
            return None
        self._continues = bool(self._guess) and result.start_ms < self._guess_end
        if not self._continues:
            if isinstance(result, Final):
                self._guess = []
            return result
        words = _timed(result.text, result.start_ms, result.end_ms, result.words if isinstance(result, Final) else ())
        expected = len(self._guess) - 1
        anchor = _anchor([normalise(word.text) for word in words], self._guess, expected, expected + 3)
        if anchor is not None:
            cut = anchor + 1
        elif result.end_ms <= self._guess_end + _BORDER_MS:
            cut = len(words)
        else:
            cut = min(len(self._guess), len(words))
        if isinstance(result, Final):
            self._guess = []
            self.amended = " ".join([*self._taken_finals, _join(words[:cut])]).strip()
        if cut == len(words):
            return None
        left = words[cut:]
        if isinstance(result, Final):
            return replace(
                result, text=_join(left), start_ms=left[0].start_ms, words=tuple(left) if result.words else ()
            )
        return replace(result, text=_join(left), start_ms=left[0].start_ms)


# --- how often an interim is told -------------------------------------------------------------------------------------


class Debounce:
    """One slot for interims: the first of an utterance at once, then the newest, one in `every_ms` if it changed.

    One in `every_ms` over time: a single interim may come up to half of it early, and what is early is made up for
    later. Audio leaves in batches, so interims that an engine makes each 200 ms arrive after 150, 150 and 300; held to
    the distance instead of the rate, two of three would wait for nothing.
    """

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self._early_ms = every_ms // 2
        self._told: str | None = None
        self._next_at = 0  # when the next one is due
        self._waiting: Interim | None = None

    @property
    def deadline(self) -> int | None:
        """When `due` has something to give."""
        return None if self._waiting is None else self._next_at - self._early_ms

    def offer(self, interim: Interim, now: int) -> Interim | None:
        """The interim if it is to be told now, else None; it then waits, or replaces the one that waits."""
        self._waiting = None
        if interim.text == self._told:
            return None
        if self._told is None:
            self._next_at = now
        self._waiting = interim
        return self.due(now)

    def due(self, now: int) -> Interim | None:
        """The waiting interim once its time has come."""
        if self._waiting is None or now < self._next_at - self._early_ms:
            return None
        interim, self._waiting = self._waiting, None
        self._told = interim.text
        self._next_at = max(self._next_at, now) + self._every_ms
        return interim

    def settle(self) -> None:
        """A final came: what waits is older than it, and the next interim begins an utterance."""
        self._waiting = None
        self._told = None
