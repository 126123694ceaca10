"""From probabilities to stretches of speech (pure): one number per 32 ms window in, started and ended out.

    silent --start_windows voiced in a row--> speaking --end_windows unvoiced in a row--> silent
                                              |      ^
                                              '------'  pause_windows unvoiced in a row: this may be the end

Times are call audio: sample number since the stream's `start`, divided by 8. Both events look back: speech started at
the first window of the run that proved it, and ended with the last voiced one, so that the silence so far is always
`now - at_ms` however long we took to be sure. A pause is a first hint of an end, told some 100 ms before it: what costs
little can be begun then. Speech that goes on after it is told by nothing.

A window is voiced when the detector's probability says so and it is louder than the background: the quietest window
of the last seconds. The two thresholds of each (hysteresis) keep a wavering voice from chattering; loudness keeps
steady noise (a car, hum) out, for which a detector sensitive enough for a soft "yes" has some weakness.

A detector that sticks must not take the floor for ever: after `stuck_ms` of speech without one unvoiced window the
stretch is ended, and nothing starts until such a window has come.

The defaults are measured on Hebrew words through telephone audio, by `bench/vad_threshold.py`.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

WINDOW_MS: Final = 32
WINDOW_SAMPLES: Final = 256


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    at_ms: int


@dataclass(frozen=True, slots=True)
class SpeechPaused:
    """No voice since `at_ms`, which may be a gap between words."""

    at_ms: int


SpeechEvent = SpeechStarted | SpeechPaused | SpeechEnded


@dataclass(frozen=True, slots=True)
class SpeechPolicy:
    """Probabilities are 0..1, `*_above_db` are over the background, `*_windows` count windows of 32 ms."""

    start: float = 0.25
    end: float = 0.15
    start_above_db: float = 6.0
    end_above_db: float = 3.0
    start_windows: int = 2
    pause_windows: int = 2  # 0: pauses are not told
    end_windows: int = 5
    stuck_ms: int = 60_000
    background_windows: int = 94  # three seconds
    faintest_db: float = -65.0  # the background of a silent line, dB below full scale


class SpeechGate:
    """One call's gate. Feed it every window of the call, in order.

    `voiced_ms` is the voiced part of the current stretch, and of the last one once that has ended. `last_voiced_ms` is
    the end of the last voiced window, counted from the first window on, before a start is certain.
    """

    __slots__ = (
        "_background",
        "_dips",
        "_first_ms",
        "_policy",
        "_run",
        "_stuck",
        "_unbroken_ms",
        "_windows",
        "last_voiced_ms",
        "now_ms",
        "speaking",
        "voiced_ms",
    )

    def __init__(self, policy: SpeechPolicy | None = None) -> None:
        self._policy = policy = policy or SpeechPolicy()
        # The quietest of the last windows is the first of those that no later one is quieter than: (number, level).
        self._background = deque([(0, policy.faintest_db)])
        self._windows = 0
        self.now_ms = 0  # the end of the last window
        self.speaking = False
        self.voiced_ms = 0
        self.last_voiced_ms = 0
        self._run = 0  # silent: voiced windows in a row
        self._first_ms = 0  # where that run began
        self._dips = 0  # speaking: unvoiced windows in a row
        self._unbroken_ms = 0  # speaking: voiced since the last unvoiced window
        self._stuck = False

    def feed(
        self, probability: float | None, level_db: float = 0.0, floor_db: float = float("-inf")
    ) -> SpeechEvent | None:
        """The next window: the detector's probability, and how loud it is (dB below full scale). What is no louder than
        `floor_db` can be the echo of our own voice, and is not voiced.

        None is a window that the detector was too busy for: time passes, and it speaks neither for speech nor against.
        """
        policy = self._policy
        self.now_ms += WINDOW_MS
        above_db = level_db - max(self._background[0][1], policy.faintest_db)
        self._remember(level_db)
        if probability is None:
            return None
        if level_db <= floor_db:
            above_db = 0.0
        if self.speaking:
            return self._speaking(probability >= policy.end and above_db >= policy.end_above_db)
        return self._silent(probability >= policy.start and above_db >= policy.start_above_db)

    def _remember(self, level_db: float) -> None:
        background = self._background
        self._windows += 1
        while background and background[-1][1] >= level_db:
            background.pop()
        background.append((self._windows, level_db))
        if background[0][0] <= self._windows - self._policy.background_windows:
            background.popleft()

    @property
    def since_ms(self) -> int:
        """Where the current stretch began."""
        return self._first_ms

    def retract(self) -> SpeechEnded | None:
        """The current stretch was none: it ended where it began."""
        if not self.speaking:
            return None
        self.speaking = False
        self._run = 0
        self.voiced_ms = 0
        self.last_voiced_ms = self._first_ms
        return SpeechEnded(self._first_ms)

    def _silent(self, voiced: bool) -> SpeechStarted | None:
        if not voiced:
            self._run = 0
            self._stuck = False
            return None
        if self._stuck:
            return None
        if self._run == 0:
            self._first_ms = self.now_ms - WINDOW_MS
        self._run += 1
        self.last_voiced_ms = self.now_ms
        if self._run < self._policy.start_windows:
            return None
        self.speaking = True
        self.voiced_ms = self._unbroken_ms = self._run * WINDOW_MS
        self._dips = 0
        return SpeechStarted(self._first_ms)

    def _speaking(self, voiced: bool) -> SpeechPaused | SpeechEnded | None:
        if voiced:
            self.voiced_ms += WINDOW_MS
            self._unbroken_ms += WINDOW_MS
            self.last_voiced_ms = self.now_ms
            self._dips = 0
            if self._unbroken_ms < self._policy.stuck_ms:
                return None
            self._stuck = True
        else:
            self._unbroken_ms = 0
            self._dips += 1
            if self._dips < self._policy.end_windows:
                return SpeechPaused(self.last_voiced_ms) if self._dips == self._policy.pause_windows else None
        self.speaking = False
        self._run = 0
        return SpeechEnded(self.last_voiced_ms)
