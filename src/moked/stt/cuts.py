"""Where whole utterances are cut out of a call's audio (pure). Our VAD says where speech is; the audio waits here.

    ....[lead-in 300 ms | speech | tail 200 ms]....[lead-in | speech ...

A cut keeps a lead-in and a tail, never overlaps the one before, and is at most `max_ms` long: longer speech is cut at
its quietest place. A sentence with a breath in it is one utterance: speech that goes on within `merge_ms` takes the
last cut back, as long as nobody has been told what it says. Without any mark of the VAD the energy decides at the end,
so that a dead VAD loses nothing. All times are call ms; audio is mu-law at 8 kHz.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from moked.audio import FRAME_BYTES, FRAME_MS, SAMPLES_PER_MS, to_float

LEAD_MS: Final = 300
TAIL_MS: Final = 200
MERGE_MS: Final = 700
MAX_MS: Final = 25_000
_VOICED_RMS: Final = 0.009  # of full scale: about 300 on the 16-bit scale
_VOICED_FRAMES: Final = 4
_QUIET_WINDOW: Final = 10  # frames: 200 ms


@dataclass(frozen=True, slots=True)
class Cut:
    """One utterance's audio and its place in the call."""

    audio: bytes
    start_ms: int
    end_ms: int


@dataclass(slots=True)
class _Mark:
    begins: bool
    at: int  # in bytes since the origin, as every place in this file
    early: bool  # the VAD knew before the audio was here


class Cutter:
    """Audio and marks in, cuts out. At most `bound_ms` of audio should wait here: see `full`."""

    def __init__(
        self, origin_ms: int, *, max_ms: int = MAX_MS, bound_ms: int = 60_000, merge_ms: int = MERGE_MS
    ) -> None:
        self._origin_ms = origin_ms
        self._max = max_ms * SAMPLES_PER_MS
        self._bound = max(bound_ms, 2 * max_ms) * SAMPLES_PER_MS  # an open utterance alone never fills it
        self._audio = bytearray()
        self._base = 0  # the place of the first byte kept
        self._marks: deque[_Mark] = deque()
        self._speech: int | None = None  # where the open utterance begins
        self._trusted = False  # whether the VAD ever said anything
        self._finished = False
        self._ready: deque[Cut] = deque()
        self._ready_bytes = 0
        self._merge = merge_ms * SAMPLES_PER_MS
        self._untold: Cut | None = None  # the last cut, until its words are told
        self._untold_end = 0  # where its speech ended, without the tail
        self.taken_back: Cut | None = None  # what was handed out and is void now: it will come again, longer

    @property
    def full(self) -> bool:
        """Too much waits to be recognised: the writer should wait too."""
        return self._ready_bytes + len(self._audio) >= self._bound

    @property
    def finished(self) -> bool:
        """Nothing more will be cut."""
        return self._finished and not self._ready

    @property
    def ready(self) -> Cut | None:
        """The cut that `next_cut` will give."""
        return self._ready[0] if self._ready else None

    @property
    def open_ms(self) -> tuple[int, int] | None:
        """Begin and present end of the utterance that is still spoken; None where nobody speaks."""
        return None if self._speech is None else (self._ms(self._speech), self._ms(self._end))

    def look(self) -> Cut | None:
        """A copy of the utterance that is still spoken, as far as it has come."""
        if self._speech is None:
            return None
        audio = bytes(self._audio[self._speech - self._base :])
        return Cut(audio, self._ms(self._speech), self._ms(self._end))

    def feed(self, audio: bytes) -> None:
        self._audio += audio
        self._settle()

    def speech_started(self, at_ms: int) -> None:
        self._mark(True, at_ms)

    def speech_ended(self, at_ms: int) -> None:
        self._mark(False, at_ms)

    def finish(self) -> None:
        """No more audio: what is open, or what sounds like a voice and was never marked, is cut."""
        self._finished = True
        self._settle()
        if self._speech is not None:
            self._cut(self._end)
        elif not self._trusted and _voiced(bytes(self._audio)):
            self._speech = self._base
            self._cut(self._end)
        self._audio.clear()

    def told(self) -> None:
        """The words of what was handed out are known to the call: it stays as it is."""
        if not self._ready:
            self._untold = None

    def next_cut(self) -> Cut | None:
        if not self._ready:
            return None
        cut = self._ready.popleft()
        self._ready_bytes -= len(cut.audio)
        return cut

    @property
    def _end(self) -> int:
        return self._base + len(self._audio)

    def _mark(self, begins: bool, at_ms: int) -> None:
        if self._finished:
            return
        at = max(0, (at_ms - self._origin_ms) * SAMPLES_PER_MS)
        self._marks.append(_Mark(begins, at, at > self._end))
        self._settle()

    def _settle(self) -> None:
        """Carry out every mark whose audio is here; then keep the bounds."""
        while self._marks:
            mark = self._marks[0]
            # A mark told late has its tail in the buffer already; for one told early the tail is worth waiting for.
            needed = mark.at + (TAIL_MS * SAMPLES_PER_MS if mark.early and not mark.begins else 0)
            if needed > self._end and not self._finished:
                break
            self._marks.popleft()
            self._trusted = True
            if mark.begins and self._speech is None:
                if not self._take_back(mark.at):
                    self._speech = max(self._base, mark.at - LEAD_MS * SAMPLES_PER_MS)
            elif not mark.begins and self._speech is not None:
                self._keep_short()
                self._cut(min(self._end, mark.at + TAIL_MS * SAMPLES_PER_MS))
                self._untold_end = mark.at
        if self._speech is None and not self._trusted and len(self._audio) >= self._max:
            if _voiced(bytes(self._audio)):
                self._speech = self._base
                self._keep_short()
                self._speech = None
            else:
                self._forget(self._end - LEAD_MS * SAMPLES_PER_MS)
        elif self._speech is not None:
            self._keep_short()
        elif self._trusted:
            # marks come up to a second after the sound they are about
            self._forget(self._end - (LEAD_MS + 2000) * SAMPLES_PER_MS)

    def _take_back(self, begins: int) -> bool:
        """The speech of the last cut goes on: open it again."""
        last = self._untold
        if last is None or self._base != self._place(last.end_ms) or begins - self._untold_end > self._merge:
            return False
        if len(last.audio) >= self._max // 2:
            return False
        if self._ready and self._ready[-1] is last:
            self._ready.pop()
            self._ready_bytes -= len(last.audio)
        else:
            self.taken_back = last
        self._audio[:0] = last.audio
        self._base -= len(last.audio)
        self._speech = self._base
        self._untold = None
        return True

    def _keep_short(self) -> None:
        while self._speech is not None and self._end - self._speech >= self._max:
            first = self._speech - self._base
            place = self._speech + _quietest(bytes(self._audio[first : first + self._max]))
            self._cut(place)
            self._speech = place

    def _cut(self, end: int) -> None:
        assert self._speech is not None
        start, self._speech = self._speech, None
        end = max(start, end)  # a long utterance may have been cut beyond the end that is told only now
        audio = bytes(self._audio[start - self._base : end - self._base])
        self._forget(end)
        if audio:
            self._untold = Cut(audio, self._ms(start), self._ms(end))
            self._untold_end = end
            self._ready.append(self._untold)
            self._ready_bytes += len(audio)

    def _forget(self, until: int) -> None:
        if until > self._base:
            del self._audio[: until - self._base]
            self._base = until

    def _place(self, ms: int) -> int:
        return (ms - self._origin_ms) * SAMPLES_PER_MS

    def _ms(self, place: int) -> int:
        return self._origin_ms + place // SAMPLES_PER_MS


def _levels(audio: bytes) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """RMS of each whole frame, of full scale."""
    frames = len(audio) // FRAME_BYTES
    sound = to_float(audio[: frames * FRAME_BYTES]).reshape(frames, FRAME_BYTES)
    levels: np.ndarray[tuple[int], np.dtype[np.float32]] = np.sqrt((sound**2).mean(axis=1))
    return levels


def _voiced(audio: bytes) -> bool:
    return int((_levels(audio) > _VOICED_RMS).sum()) >= _VOICED_FRAMES


def _quietest(audio: bytes) -> int:
    """The place, in bytes, of the middle of the quietest 200 ms in the last two fifths."""
    levels = _levels(audio)
    if len(levels) <= 2 * _QUIET_WINDOW:
        return len(audio)
    begin = len(levels) * 3 // 5
    window = np.convolve(levels[begin:], np.ones(_QUIET_WINDOW), mode="valid")
    frame = begin + int(window.argmin()) + _QUIET_WINDOW // 2
    return frame * FRAME_MS * SAMPLES_PER_MS
