"""Our own voice, come back (pure): how loud an echo of what we play can be, and which words are only ours.

A speakerphone or a car kit returns our voice 100 to 600 ms late, some 10 to 30 dB quieter, and no device cancels it for
us. Two guards, each of which knows nothing where there is no echo:

    EchoGuard   sent(our audio), heard(level of the caller's window) -> `lag_ms` and `gain_db` where the caller's line
                follows ours; `floor_db`: what is quieter than this can be the echo and is no speech
    own_words   which words of a transcript we were saying ourselves at that time

An echo is linear: at the right lag the level of the caller's line is ours plus a constant, window by window. A caller's
own voice has its own ups and downs, so that the spread around the constant tells the two apart after a third of a
second. Until then nothing is held against the caller.

All times are call ms; levels are dB below full scale of one window of 32 ms.
"""

from collections import deque
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moked.audio import SAMPLES_PER_MS, to_float
from moked.stt.transcripts import normalise

_BLOCK_MS: Final = 8
_BLOCK: Final = _BLOCK_MS * SAMPLES_PER_MS
_WINDOW_BLOCKS: Final = 4
_RING: Final = 512  # blocks: four seconds
_LAGS: Final = np.arange(2, 90, 2)  # blocks: 16 to 704 ms
_LATEST_MS: Final = 88 * _BLOCK_MS + 64
_READ_AT: Final = 8000  # samples: a second, a quarter of the ring
_READ_PIECES: Final = 8  # that do not follow on one another
_SILENT: Final = -200.0
_SQUARES: Final = (to_float(bytes(range(256))) ** 2).astype(np.float64)


@dataclass(frozen=True, slots=True)
class EchoPolicy:
    """Levels and spreads in dB, counts in windows of 32 ms."""

    margin: float = 6.0  # speech must be louder than the echo by this much
    quietest: float = -62.0  # below it nobody is heard, and no echo either
    voice: float = -45.0  # our own audio counts from here on
    range: float = 22.0  # ... and so far below its loudest
    spread: float = 3.0  # around the constant: more is no echo
    early: float = 0.45  # ... of it, at the fewest windows; all of it at twice as many
    swing: float = 4.0  # of our own level: less proves nothing
    windows: int = 10  # that must agree
    doubt: float = 7.0  # a spread that no echo has: it was mistaken for one
    history: int = 40
    every: int = 3
    decay: float = 3.0  # a window: rooms ring
    lost: float = 10.0  # quieter than expected by this much: the echo is weaker now, or gone


class EchoGuard:
    """One call's. Feed both sides in the order of time; `sent` may be ahead of it."""

    def __init__(self, policy: EchoPolicy = EchoPolicy()) -> None:
        self._policy = policy
        self._ours = np.zeros(_RING)  # mean square of each block, of what was sent but what waits in `_unread`
        self._unread: list[tuple[int, bytes]] = []  # sample it begins at: read when somebody is heard
        self._written = 0  # first block that is not known
        self._sent_end = -1000  # call ms at which the audio known so far ends
        self._active_until = -1000
        self._heard: deque[tuple[int, float]] = deque(maxlen=policy.history)
        self._since_look = 0
        self._floor = _SILENT
        self._lag = 0  # blocks
        self.gain_db: float | None = None
        """How much quieter than our voice its echo is; None while there is none."""

    @property
    def lag_ms(self) -> int | None:
        return self._lag * _BLOCK_MS if self.gain_db is not None else None

    # --- our side

    def sent(self, at: int, audio: bytes) -> None:
        """The carrier plays `audio` from `at` on."""
        if abs(at - self._sent_end) <= 40:  # it goes on where it ended; clocks and frames are not exact
            at = self._sent_end
        self._sent_end = at + len(audio) // SAMPLES_PER_MS
        unread, start = self._unread, at * SAMPLES_PER_MS
        if unread and unread[-1][0] + len(unread[-1][1]) == start:
            unread[-1] = (unread[-1][0], unread[-1][1] + audio)
        else:
            unread.append((start, audio))
        if len(unread[-1][1]) >= _READ_AT or len(unread) == _READ_PIECES:
            self._read()

    def _read(self) -> None:
        """How loud what was sent is, many messages at once: most of the cost is for each time, not for its length."""
        unread, self._unread = self._unread, []
        for start, audio in unread:
            first, offset = divmod(start, _BLOCK)
            squares = _SQUARES[np.frombuffer(audio, dtype=np.uint8)]
            padded = np.zeros(-(-(offset + len(squares)) // _BLOCK) * _BLOCK)
            padded[offset : offset + len(squares)] = squares
            blocks = padded.reshape(-1, _BLOCK).mean(axis=1)
            self._forget_until(first)
            index = np.arange(first, first + len(blocks)) % _RING
            shared = max(0, self._written - first)
            self._ours[index[shared:]] = 0.0
            self._ours[index] += blocks
            self._written = max(self._written, first + len(blocks))
            if float(blocks.max(initial=0.0)) > 10 ** (self._policy.voice / 10):
                self._active_until = (start + len(audio)) // SAMPLES_PER_MS

    def cleared(self, at: int) -> None:
        """Nothing of ours is played from `at` on."""
        self._read()
        first = max(at // _BLOCK_MS, self._written - _RING)
        if first < self._written:
            self._ours[np.arange(first, self._written) % _RING] = 0.0
            self._written = max(first, 0)
        self._sent_end = min(self._sent_end, at)
        self._active_until = min(self._active_until, at)

    def _forget_until(self, block: int) -> None:
        """Silence from what is known up to `block`."""
        gap = block - self._written
        if gap >= _RING:
            self._ours[:] = 0.0
        elif gap > 0:
            self._ours[np.arange(self._written, block) % _RING] = 0.0
        self._written = max(self._written, block)

    # --- the caller's side

    def heard(self, at: int, level_db: float) -> bool:
        """The caller's window that ends at `at`. True when this taught us an echo that we did not know."""
        active_until = self._sent_end if self._unread else self._active_until
        if at - active_until > _LATEST_MS:  # nothing of ours can come back any more
            self._heard.clear()
            return False
        self._heard.append((at, level_db))
        if self.gain_db is not None:
            self._follow(at, level_db)
        self._since_look += 1
        if self._since_look < self._policy.every or level_db < self._policy.quietest:
            return False
        self._since_look = 0
        self._read()
        return self._learn()

    def floor_db(self, at: int) -> float:
        """How loud the echo can be in the window that ends at `at`; ask for each window once, in order."""
        self._floor -= self._policy.decay
        if self.gain_db is not None:
            expected = self._expected(at, spread=3)
            if expected > self._policy.voice + self.gain_db - self._policy.range:
                self._floor = max(self._floor, expected + self._policy.margin)
        return self._floor if self._floor > self._policy.quietest else _SILENT

    def is_echo(self, since: int) -> bool:
        """Whether all that was heard since `since` can be the echo. Windows that are silent say nothing."""
        if self.gain_db is None:
            return False
        loud = [(at, level) for at, level in self._heard if at > since and level > self._policy.quietest]
        under = sum(level <= self._expected(at, spread=3) + self._policy.margin for at, level in loud)
        return bool(loud) and under >= 0.8 * len(loud)

    def _expected(self, at: int, *, spread: int) -> float:
        """The echo's level in the window that ends at `at`, where the lag is right to `spread` blocks."""
        assert self.gain_db is not None
        if self._unread:
            self._read()
        end = at // _BLOCK_MS - self._lag
        blocks = np.arange(end - _WINDOW_BLOCKS - spread, end + spread)
        ours = self._ours[blocks % _RING]
        ours[(blocks >= self._written) | (blocks < self._written - _RING)] = 0.0
        power = np.convolve(ours, np.full(_WINDOW_BLOCKS, 1 / _WINDOW_BLOCKS), "valid").max()
        return 10.0 * float(np.log10(power + 1e-20)) + self.gain_db

    def _follow(self, at: int, level_db: float) -> None:
        """A line that is quieter than its echo should be has less of it now."""
        assert self.gain_db is not None
        here = self._expected(at, spread=0)
        if here < self.gain_db + self._policy.voice + 10 or level_db > here - self._policy.lost:
            return
        self.gain_db -= 0.5
        if self.gain_db < -50:
            self.gain_db = None

    def _learn(self) -> bool:
        """Look for the lag at which the caller's line is ours plus a constant."""
        policy = self._policy
        if len(self._heard) < policy.windows:
            return False
        ends = np.array([at for at, _ in self._heard]) // _BLOCK_MS
        levels = np.array([level for _, level in self._heard])
        power = self._ours + np.roll(self._ours, 1) + np.roll(self._ours, 2) + np.roll(self._ours, 3)
        ours_db = 10.0 * np.log10(power / _WINDOW_BLOCKS + 1e-12)
        places = ends[:, None] - 1 - _LAGS[None, :]
        ours = np.where((places < self._written) & (places >= 0), ours_db[places % _RING], -120.0)
        loud = ours > np.maximum(policy.voice, ours.max(axis=0) - policy.range)
        found = self._best(loud, ours, levels)
        if found is None:
            self._doubt(loud, ours, levels)
            return False
        lag, gain = found
        known = self.gain_db is not None and abs(self._lag - lag) <= 4 and abs(self.gain_db - gain) <= 3
        self._lag, self.gain_db = lag, gain
        return not known

    def _doubt(self, loud: NDArray[np.bool_], ours: NDArray[np.float64], levels: NDArray[np.float64]) -> None:
        """What was taken for an echo does not follow our voice at all: forget it."""
        if self.gain_db is None:
            return
        column = int(np.abs(_LAGS - self._lag).argmin())
        rows = loud[:, column]
        if rows.sum() < 2 * self._policy.windows:
            return
        apart = levels[rows] - ours[rows, column]
        if float(apart.std()) > self._policy.doubt:
            self.gain_db = None

    def _best(
        self, loud: NDArray[np.bool_], ours: NDArray[np.float64], levels: NDArray[np.float64]
    ) -> tuple[int, float] | None:
        """(lag, gain) of the least spread, if that is small enough to be an echo."""
        policy = self._policy
        counts = loud.sum(axis=0)
        enough = counts >= policy.windows
        if not enough.any():
            return None
        divisor = np.maximum(counts, 1)
        apart = levels[:, None] - ours
        gains = (apart * loud).sum(axis=0) / divisor
        spreads = np.sqrt((((apart - gains) * loud) ** 2).sum(axis=0) / divisor)
        means = (ours * loud).sum(axis=0) / divisor
        swings = np.sqrt((((ours - means) * loud) ** 2).sum(axis=0) / divisor)
        certain = np.clip(counts / policy.windows - 1, 0, 1)
        allowed = policy.spread * (policy.early + (1 - policy.early) * certain)
        fits = enough & (swings >= policy.swing) & (spreads <= np.minimum(allowed, swings * 0.5))
        fits &= (gains < -5) & (gains > -45)
        if not fits.any():
            return None
        best = int(np.where(fits, spreads, np.inf).argmin())
        return int(_LAGS[best]), float(gains[best])


# --- words ------------------------------------------------------------------------------------------------------------

_LIKE: Final = 0.75  # two spellings of one word
_WORD_MS: Final = 350
_EARLY_MS: Final = 400  # when a word was over is known to some 100 ms on either side
_LATE_MS: Final = 750


class OwnWords:
    """What we were saying when. Told as the caller hears it; the last seconds are kept."""

    def __init__(self, kept_ms: int = 12_000) -> None:
        self._kept_ms = kept_ms
        self._words: deque[tuple[int, str]] = deque()  # when each was over
        self._reply = -1
        self._told = 0
        self._last = (-1, 0)

    def heard(self, now: int, reply: int, text: str) -> None:
        """The caller's ear has got `text` of `reply` by now: its beginning, longer each time."""
        if (reply, len(text)) == self._last:
            return
        self._last = reply, len(text)
        words = normalise(text).split()
        if reply != self._reply:
            self._reply, self._told = reply, 0
        self._words.extend((now, word) for word in words[self._told :])
        self._told = max(self._told, len(words))
        while self._words and self._words[0][0] < now - self._kept_ms:
            self._words.popleft()

    def without(self, text: str, end: int, *, sure: bool) -> str:
        """The words of a transcript, heard up to `end`, that are not our own. A run at its beginning goes that reads
        like what we were saying just then: from one word on where the line is known to echo, else from three.

        A caller who answers with our own words says them later than any echo.
        """
        if not self._words or end > self._words[-1][0] + self._kept_ms:
            return text
        written = text.split()
        theirs = [_plain(word) for word in written]
        ours = [word for _, word in self._words]
        best = 0
        for start in range(len(ours)):
            length = _alike(theirs, ours[start : start + len(theirs)])
            if length > best:
                over = self._words[start + length - 1][0]
                echoed = end - _WORD_MS * (len(theirs) - length)
                if over - _EARLY_MS <= echoed <= over + _LATE_MS:
                    best = length
        return " ".join(written[best:]) if best >= (1 if sure else 3) else text


def _alike(theirs: list[str], ours: list[str]) -> int:
    """How many words of `theirs`, from the first on, follow `ours`; one in four may be misheard."""
    length = misheard = 0
    for place, (one, other) in enumerate(zip(theirs, ours, strict=False), 1):
        if one == other or _like(one, other):
            length = place
        else:
            misheard += 1
            if misheard * 4 > place + 2:
                break
    return length


_plain = lru_cache(maxsize=8192)(normalise)


@lru_cache(maxsize=16_384)
def _like(one: str, other: str) -> bool:
    """Two spellings of one word. Remembered: an interim has the words of the one before it, and so has what we say."""
    if 2 * min(len(one), len(other)) < _LIKE * (len(one) + len(other)):
        return False  # all letters of the shorter one would not do
    return SequenceMatcher(None, one, other).ratio() >= _LIKE
