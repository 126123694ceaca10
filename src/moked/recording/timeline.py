"""Both sides of a call on one line of time (pure): the caller as they came, the agent as heard.

The caller's samples are the clock: sample n of a stream is call sample `at` + n. What the playout sends is put where
the carrier plays it; `cut` takes back what it had not played yet (a barge-in, a pause), so that the recording has
what was heard and not what was meant. A second is given out when the caller's side has passed it: nothing can be cut
there any more, since the carrier plays in the present.
"""

from collections import deque
from typing import Final

from moked.audio import SAMPLES_PER_MS, SILENCE

BLOCK: Final = 1000 * SAMPLES_PER_MS
"""Samples of each side in a block."""
_WINDOW_MS: Final = 500
_WINDOWS: Final = 4
_FARTHEST: Final = 60 * BLOCK  # of the agent's audio ahead of the caller's clock


class Timeline:
    """One media stream. All times are call ms. `take` and `rest` give (first call sample, interleaved mu-law
    frames)."""

    def __init__(self) -> None:
        self._caller = bytearray()  # not given out yet
        self._agent = bytearray()  # the same stretch, and what will be played after it
        self._given = 0  # samples of this stream that were given out
        self._base: int | None = None  # call sample of this stream's first
        self._behind: deque[tuple[int, int]] = deque()  # (window, the least the caller's clock was behind ours in it)

    @property
    def received(self) -> int:
        """Samples of the caller's."""
        return self._given + len(self._caller)

    def place(self, heard_ms: int) -> int:
        """Call ms of this stream's sample at `heard_ms`, as it is recorded."""
        return heard_ms + (self._base or 0) // SAMPLES_PER_MS

    def hear(self, now_ms: int, audio: bytes) -> None:
        """The caller's audio arrived. Audio that waited arrives late; what was least late lately says how far the
        caller's clock is behind ours."""
        self._caller += audio
        behind = max(0, now_ms * SAMPLES_PER_MS - self.received)
        window = now_ms // _WINDOW_MS
        if self._behind and self._behind[-1][0] == window:
            self._behind[-1] = window, min(self._behind[-1][1], behind)
        else:
            self._behind.append((window, behind))
            while self._behind[0][0] < window - _WINDOWS:
                self._behind.popleft()
        if self._base is None:
            self._base = behind
        elif behind < self._base and not self._given:
            self._agent[:0] = SILENCE * (self._base - behind)  # stays where it was
            self._base = behind

    def play(self, at_ms: int, audio: bytes) -> None:
        """The carrier plays `audio` from call ms `at_ms` on."""
        start = self._place(at_ms)
        if start < 0:  # what was given out is past
            audio, start = audio[-start:], 0
        if not audio or start > _FARTHEST:
            return
        if len(self._agent) < start:
            self._agent += SILENCE * (start - len(self._agent))
        self._agent[start : start + len(audio)] = audio

    def cut(self, now_ms: int) -> None:
        """The carrier throws away what it has not played by now."""
        del self._agent[max(0, self._place(now_ms)) :]

    def take(self) -> tuple[int, bytes] | None:
        """The next whole block, if the caller's side has passed it."""
        return self._give(BLOCK) if len(self._caller) >= BLOCK else None

    def rest(self) -> tuple[int, bytes] | None:
        """What is left at the end; call `take` until it gives None first."""
        return self._give(len(self._caller)) if self._caller else None

    def _place(self, at_ms: int) -> int:
        behind = min((least for _, least in self._behind), default=0)
        return at_ms * SAMPLES_PER_MS - behind - self._given

    def _give(self, size: int) -> tuple[int, bytes]:
        caller, agent = self._caller[:size], self._agent[:size]
        del self._caller[:size], self._agent[:size]
        agent += SILENCE * (size - len(agent))
        frames = bytearray(2 * size)
        frames[0::2], frames[1::2] = caller, agent
        at = (self._base or 0) + self._given
        self._given += size
        return at, bytes(frames)
