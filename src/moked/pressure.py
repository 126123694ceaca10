"""How hard pressed this process is (pure): calm, busy or full, from how late its event loop runs.

    calm   everything
    busy   what callers do not notice is left out: replies begun on a guess, second opinions, background work
    full   no new calls either: those in progress keep their pace

Lag decides, not processor time: a loop is late for its calls long before its core is full, and a core shared with
others can be late while it looks idle. It rises at once and falls one level at a time, when the lag has been below the
level's lower edge for a while: a process at its limit must not take and refuse in turns.
"""

import math
from collections import deque
from enum import IntEnum
from typing import Final

WINDOW_S: Final = 5.0
FALL_S: Final = 3.0
_START_S: Final = 1.0  # the first of a process says nothing: it is late for other reasons
_P95: Final = 0.95
_BUSY: Final = 0.5  # of the limit
_LOWER_EDGE: Final = 0.6  # of the level's own edge
_STALL: Final = 20  # times the limit: one halt this long is enough


class Level(IntEnum):
    CALM = 0
    BUSY = 1
    FULL = 2


class Pressure:
    """Fed with every measured delay of the event loop. `full_s`: the p95 over `WINDOW_S` from which on it is full."""

    def __init__(self, full_s: float) -> None:
        self._edges = {Level.BUSY: full_s * _BUSY, Level.FULL: full_s}
        self._samples: deque[tuple[float, float]] = deque()
        self._below_since = 0.0
        self._began: float | None = None
        self.level = Level.CALM
        self.p95_s = 0.0
        self.peak_s = 0.0

    @property
    def calm(self) -> bool:
        return self.level is Level.CALM

    @property
    def full(self) -> bool:
        return self.level is Level.FULL

    def note(self, now: float, lag_s: float) -> None:
        """The loop was `lag_s` late at `now`, both in seconds; several times a second, in order."""
        if self._began is None:
            self._began = now
        samples = self._samples
        samples.append((now, lag_s))
        while samples[0][0] <= now - WINDOW_S:
            samples.popleft()
        lags = sorted(lag for _, lag in samples)
        self.peak_s = lags[-1]
        self.p95_s = lags[math.ceil(_P95 * len(lags)) - 1]
        reached = self._reached() if now - self._began >= _START_S else Level.CALM
        if reached >= self.level:
            self.level = reached
            self._below_since = now
        elif self._lag >= self._edges[self.level] * _LOWER_EDGE:
            self._below_since = now
        elif now - self._below_since >= FALL_S:
            self.level = Level(self.level - 1)
            self._below_since = now

    @property
    def _lag(self) -> float:
        """What counts: the p95, and a halt of the whole loop as long as it is remembered."""
        return self.peak_s if self.peak_s >= self._edges[Level.FULL] * _STALL else self.p95_s

    def _reached(self) -> Level:
        return max((level for level, edge in self._edges.items() if self._lag >= edge), default=Level.CALM)
