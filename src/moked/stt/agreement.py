"""Partial transcripts of an engine that hears whole utterances (pure): what to believe of them, and when to ask.

`Agreement` is LocalAgreement-2: the open utterance is transcribed again and again as it grows, and a word counts once
two hypotheses in a row have it at the same place (the policy of Liu, Spanakis and Niehues, Interspeech 2020, which
whisper_streaming uses too). What was told once stays, so that a partial only grows; the final may still differ.

`Pace` says when the next look at the open utterance is worth its price. A *glance* is for a partial alone. A *careful*
look is taken as soon as the caller pauses, before the VAD is sure of it: when no voice comes after it, it is the final.
"""

from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Final

from moked.stt.transcripts import normalise

FIRST_MS: Final = 400  # of an utterance before it is looked at: less is a breath, and sounds like anything
STEP_MS: Final = 500
PAUSE_MS: Final = 120
_SHARE: Final = 2  # a call's looks take at most one part in so many of one worker's time


class Agreement:
    """One utterance's partials. `text` holds what two hypotheses in a row agreed on."""

    def __init__(self) -> None:
        self._last: list[str] = []
        self._told: list[str] = []

    @property
    def text(self) -> str:
        return " ".join(self._told)

    def hear(self, hypothesis: str) -> str:
        """The next hypothesis for the utterance so far. Returns the new `text`, or "" when it has not grown."""
        words = hypothesis.split()
        agreed = sum(1 for _ in takewhile(_same, zip(self._last, words, strict=False)))
        self._last = words
        if agreed <= len(self._told):
            return ""
        self._told += words[len(self._told) : agreed]
        return self.text


def _same(pair: tuple[str, str]) -> bool:
    one, other = (normalise(word) or word for word in pair)
    return one == other


class Look(StrEnum):
    GLANCE = "glance"
    CAREFUL = "careful"


@dataclass(slots=True)
class Pace:
    """When to look at the open utterance. Times are ms of its audio, but for `took`."""

    looked_ms: int = 0
    careful_ms: int = 0  # the voice up to here has had its careful look
    step_ms: int = STEP_MS

    def due(self, length_ms: int, quiet_ms: int) -> Look | None:
        """The utterance is `length_ms` long by now, and its last `quiet_ms` are without voice."""
        voiced_ms = length_ms - quiet_ms
        if voiced_ms < FIRST_MS // 2:
            return None
        if quiet_ms >= PAUSE_MS:
            return Look.CAREFUL if voiced_ms > self.careful_ms else None
        next_ms = self.looked_ms + self.step_ms if self.looked_ms else FIRST_MS
        return Look.GLANCE if length_ms >= next_ms else None

    def looked(self, look: Look, length_ms: int, quiet_ms: int) -> None:
        """A look is begun."""
        self.looked_ms = length_ms
        if look is Look.CAREFUL:
            self.careful_ms = length_ms - quiet_ms

    def took(self, ms: int) -> None:
        """A look took so long, waiting included: a busy engine is asked less often."""
        self.step_ms = max(STEP_MS, _SHARE * ms)
