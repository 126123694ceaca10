"""Is there a person on the line? (pure): answering machines, menus and their beep, from words, pauses and tone.

    voicemail   "לאחר הצפצוף", "השאירו הודעה": a mailbox speaks
    menu        "לשירות בעברית הקישו אחת": another machine asks for keys
    monologue   somebody speaks for longer than people do without a pause, and we were not answered
    beep        a steady tone after one of these: now a message can be left

A person who says "תשאיר לי הודעה" once is no mailbox: a mailbox's words come before we were ever answered, in its first
`listen_ms`. Off for calls that come in unless it is asked for; calls we make want it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moked.audio import SAMPLE_RATE
from moked.stt.transcripts import normalise


class Machine(StrEnum):
    VOICEMAIL = "voicemail"
    MENU = "menu"
    MONOLOGUE = "monologue"
    BEEP = "beep"


@dataclass(frozen=True, slots=True)
class MachinePolicy:
    """In ms, but for `tone_db` (below full scale) and `tone_share` (of a window's energy)."""

    listen_ms: int = 20_000
    monologue_ms: int = 12_000
    tone_ms: int = 190
    tone_db: float = -35.0
    tone_share: float = 0.85


_VOICEMAIL: Final = re.compile(
    r"(לאחר|אחרי|עם) (ה?צפצוף|ה?ביפ|ה?צליל|הישמע הצליל)"
    r"|(השאירו|השאר|להשאיר|תשאירו|ניתן להשאיר|אנא השאירו) (לי |לנו )?(את )?ה?הודעה"
    r"|ה?תא ה?קולי|תיבה קולית|המנוי (אינו|לא) זמין|איננו זמינים כעת|after the (tone|beep)|leave a message"
)
_MENU: Final = re.compile(
    r"(הקש|הקישו|נא להקיש|יש להקיש|לחצו|להקשה)( על)? ?(ספרה |המקש |מקש )?"
    r"(\d|אחת|אחד|שתיים|שניים|שלוש|ארבע|חמש|אפס|כוכבית|סולמית)"
    r"|ל\w+ (הקישו|הקש|נא להקיש)|press (one|two|\d)"
)
_LOWEST_HZ: Final = 350
_HIGHEST_HZ: Final = 2200
_BINS_HZ: Final = SAMPLE_RATE / 256
_WINDOW_MS: Final = 32


class MachineDetector:
    """One call's. Each method returns what was found now, once, or None."""

    def __init__(self, policy: MachinePolicy | None = None) -> None:
        self._policy = policy or MachinePolicy()
        self._found: set[Machine] = set()
        self._speaking_since: int | None = None
        self._answered = False  # they spoke, were silent, and spoke again after us: as people do
        self._tone_bin = 0
        self._tone_windows = 0

    def heard(self, now: int, text: str) -> Machine | None:
        """The words of the line so far, interims too."""
        if self._answered or now > self._policy.listen_ms:
            return None
        words = normalise(text)
        if _VOICEMAIL.search(words):
            return self._once(Machine.VOICEMAIL)
        if _MENU.search(words):
            return self._once(Machine.MENU)
        return None

    def speech(self, at: int, *, begins: bool) -> None:
        self._speaking_since = at if begins else None

    def answered(self) -> None:
        """A turn was taken after ours: a conversation."""
        self._answered = not self._found

    def tick(self, now: int) -> Machine | None:
        """How long they have been speaking without a pause."""
        since = self._speaking_since
        if since is None or self._answered or now - since < self._policy.monologue_ms:
            return None
        return self._once(Machine.MONOLOGUE)

    def windows(self, windows: Iterable[NDArray[np.float32]]) -> Machine | None:
        """The line's audio in windows of 256 samples. A beep counts when it is over, after a machine's words."""
        found = None
        for window in windows:
            peak = self._peak(window)
            if peak and (not self._tone_windows or abs(peak - self._tone_bin) <= 1):
                self._tone_bin = peak
                self._tone_windows += 1
                continue
            if self._tone_windows * _WINDOW_MS >= self._policy.tone_ms and self._found:
                found = self._once(Machine.BEEP) or found
            self._tone_windows = 1 if peak else 0
            self._tone_bin = peak
        return found

    def _peak(self, window: NDArray[np.float32]) -> int:
        """The bin of a pure tone, or 0."""
        energy = float(np.dot(window, window)) / len(window)
        if energy < 10 ** (self._policy.tone_db / 10):
            return 0
        spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window)))) ** 2
        peak = int(spectrum.argmax())
        if not _LOWEST_HZ <= peak * _BINS_HZ <= _HIGHEST_HZ:
            return 0
        share = float(spectrum[max(0, peak - 2) : peak + 3].sum() / spectrum.sum())
        return peak if share >= self._policy.tone_share else 0

    def _once(self, machine: Machine) -> Machine | None:
        if machine in self._found:
            return None
        self._found.add(machine)
        return machine
