"""Which engine hears the call, and when to move to another (pure).

`Breaker`: one per engine and process, shared by all calls, so that the hundredth call need not find out for itself.

            2 failures in 10 s, or a refused key          open_ms later
    CLOSED ------------------------------------> OPEN ------------------> HALF_OPEN
       ^                                          ^                        |  the canary tries (`stt.canary`)
       '------------------------------------------+--- fails, longer ------+
       '------------------- answers ---------------------------------------'

No call is admitted before it is closed again: whoever calls is not the one to find out.

`EngineChooser`: one per call. It holds the order of preference and benches, for this call, an engine that just failed
it. Some engine is always chosen: when none may be used, the one that is allowed again first.

`SlowAnswers`: one per stream. An engine that answers, but too late to talk by, is left as well.

`RelayPolicy`: the limits of one call. Times are whole milliseconds; `now` is any monotonic clock.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from moked.errors import Failure

# The stream is gone, but nothing is wrong with the provider: our request was (CONFIG), its clock ran out (EXPIRED), or
# our own capacity for it is used up by other calls (FULL).
BLAMELESS: Final = frozenset({Failure.CONFIG, Failure.EXPIRED, Failure.FULL})
# One is enough: the next call would get the same answer.
FINAL_SAY: Final = frozenset({Failure.AUTH, Failure.QUOTA})

OPEN_MS: Final[Mapping[Failure, int]] = {Failure.AUTH: 300_000, Failure.QUOTA: 60_000}
_USUAL_OPEN_MS: Final = 30_000
_FULL_BENCH_MS: Final = 1500  # another call may hang up at any moment: ask again soon, after the other engines


class State(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Whether an engine may be used by this process."""

    def __init__(self, *, failures: int = 2, window_ms: int = 10_000, longest_ms: int = 600_000) -> None:
        self._limit = failures
        self._window_ms = window_ms
        self._longest_ms = longest_ms
        self._recent: deque[int] = deque(maxlen=failures)
        self._opened = 0  # times in a row without a success between
        self._until: int | None = None

    def state(self, now: int) -> State:
        if self._until is None:
            return State.CLOSED
        return State.OPEN if now < self._until else State.HALF_OPEN

    @property
    def opens_again_at(self) -> int:
        """When it stops being open; 0 when it is closed."""
        return self._until or 0

    def admits(self, now: int) -> bool:
        """Whether a call may open a stream."""
        return self.state(now) is State.CLOSED

    def succeeded(self, now: int) -> None:
        """A stream heard something, or lived: closes a half-open breaker. Old streams cannot close an open one."""
        if self.state(now) is State.HALF_OPEN:
            self._until = None
            self._opened = 0
            self._recent.clear()

    def failed(self, now: int, kind: Failure, jitter: float = 0.0) -> bool:
        """A stream failed. `jitter` 0..1 makes it open up to a fifth longer. True when this opened the breaker."""
        if kind in BLAMELESS:
            return False
        state = self.state(now)
        if state is State.OPEN and kind not in FINAL_SAY:
            return False
        if state is State.CLOSED:
            self._recent.append(now)
            quick = len(self._recent) == self._limit and now - self._recent[0] <= self._window_ms
            if not quick and kind not in FINAL_SAY:
                return False
        self._open(now, kind, jitter)
        return state is not State.OPEN

    def _open(self, now: int, kind: Failure, jitter: float) -> None:
        usual = OPEN_MS.get(kind, _USUAL_OPEN_MS)
        length = min(usual << min(self._opened, 10), max(self._longest_ms, usual))
        until = now + int(length * (1 + 0.2 * jitter))
        self._until = max(until, self._until or 0)
        self._opened += 1
        self._recent.clear()


@dataclass(slots=True)
class _Bench:
    until: int = 0
    length_ms: int = 0


class EngineChooser:
    """The engines of one call, most wanted first. `breakers` are the process's, one for each name."""

    def __init__(self, names: Sequence[str], breakers: Mapping[str, Breaker], *, bench_ms: int = 10_000) -> None:
        if not names:
            raise ValueError("a call needs at least one engine")
        self._names = tuple(names)
        self._breakers = breakers
        self._bench_ms = bench_ms
        self._benches = {name: _Bench() for name in names}

    def prefer(self, names: Sequence[str]) -> None:
        """A new order of preference. Engines that are not named come last, in their old order; unknown ones are left
        out."""
        known = [name for name in dict.fromkeys(names) if name in self._benches]
        self._names = (*known, *(name for name in self._names if name not in known))

    def choose(self, now: int) -> str:
        """The engine to open a stream with now."""
        for name in self._names:
            if self._may_be_used(name, now):
                return name
        # None may be used. Deaf is worse than impolite: the one that may be used first, and of equals the last resort.
        return min(reversed(self._names), key=self._allowed_at)

    def better(self, name: str, now: int) -> str | None:
        """A more wanted engine than `name` that may be tried now."""
        return next((one for one in self._names[: self._names.index(name)] if self._may_be_used(one, now)), None)

    def other(self, name: str, now: int) -> str | None:
        """The most wanted engine that may be tried in place of `name`."""
        return next((one for one in self._names if one != name and self._may_be_used(one, now)), None)

    def is_better(self, name: str, other: str) -> bool:
        return self._names.index(name) < self._names.index(other)

    def admits(self, name: str, now: int) -> bool:
        """Whether `name` is in good standing: for moves that can wait."""
        return self._breakers[name].admits(now)

    def failed(self, name: str, kind: Failure, now: int, jitter: float = 0.0) -> None:
        """A stream of `name` failed: the process is told, and this call leaves the engine alone for a while."""
        self._breakers[name].failed(now, kind, jitter)
        if kind is Failure.FULL:
            self._benches[name].until = max(self._benches[name].until, now + _FULL_BENCH_MS)
        elif kind is not Failure.EXPIRED:
            self.bench(name, now)

    def bench(self, name: str, now: int) -> None:
        """Leave `name` alone for a while, twice as long each time in a row."""
        bench = self._benches[name]
        again = bench.length_ms and now - bench.until < 6 * self._bench_ms
        bench.length_ms = min(bench.length_ms * 2, 12 * self._bench_ms) if again else self._bench_ms
        bench.until = now + bench.length_ms

    def succeeded(self, name: str, now: int) -> None:
        self._breakers[name].succeeded(now)

    def _may_be_used(self, name: str, now: int) -> bool:
        return self._benches[name].until <= now and self._breakers[name].admits(now)

    def _allowed_at(self, name: str) -> int:
        return max(self._benches[name].until, self._breakers[name].opens_again_at)


class SlowAnswers:
    """How late the results of a stream are, turn by turn. A turn is as late as its quickest result: one late answer
    among others is none, and a final is always later than the guess before it."""

    def __init__(self, limit_ms: int, *, turns: int = 3, of: int = 5) -> None:
        self._limit_ms = limit_ms
        self._turns = turns
        self._late: deque[bool] = deque(maxlen=of)
        self._quickest: int | None = None

    def heard(self, late_ms: int, *, final: bool) -> bool:
        """A result came `late_ms` after its audio was sent. True when too many turns were late: leave the engine."""
        self._quickest = late_ms if self._quickest is None else min(late_ms, self._quickest)
        if not final:
            return False
        self._late.append(self._quickest > self._limit_ms)
        self._quickest = None
        return sum(self._late) >= self._turns


@dataclass(frozen=True, slots=True)
class RelayPolicy:
    """The limits of one call's recognition.

    Google ends a v1 stream after 305 s; what it hears is sent about as fast as it was said, a short burst excepted
    (https://cloud.google.com/speech-to-text/quotas).
    """

    connect_ms: int = 1500  # opening a stream may take this long
    stall_voiced_ms: int = 2500  # the caller has talked this long and the stream has said nothing
    stall_window_ms: int = 20_000  # counted within the last ...
    behind_ms: int = 1000  # a stream that takes its audio this late, for as long again, is dead
    rotate_soft_ms: int = 200_000  # from here a stream is replaced at the first quiet moment
    rotate_hard_ms: int = 270_000  # from here at once
    drain_ms: int = 1500  # the old stream may take this long for its last finals
    overlap_ms: int = 300  # a replay begins this much before the committed place: its last word may have been cut
    preroll_ms: int = 500  # ... or before the speech: VAD hears its beginning late
    max_replay_ms: int = 30_000
    unjudged_ms: int = 3000  # our VAD may be so late on a machine that does not keep up
    burst_ms: int = 3000  # so much of a replay goes out at once; the rest at `burst_speed`
    burst_speed: int = 8
    settled_ms: int = 1000  # a stream that lived this long has begun well
    trusted_ms: int = 5000  # ... and this long proves that its engine is back
    retry_ms: tuple[int, ...] = (100, 300, 1000, 2000)  # when every engine has failed
    move_again_ms: int = 5000  # after a rotation or a return that did not work
    slow_ms: int = 2000  # a turn is slow when nothing of it came sooner; of whole utterances twice as late
    guess_ms: int = 4000  # a guess is confirmed so long after the speech, or the stream has died in silence
    rollout_ms: int = 20_000  # a new order of engines waits so long for a pause
    finish_ms: int = 3000  # the last finals of a call
    hurry_ms: int = 1200  # ... and when they are not here after so long, another engine is asked as well

    def rotate(self, age_ms: int, *, quiet: bool) -> bool:
        """Whether a stream of this age is to be replaced now."""
        return age_ms >= self.rotate_hard_ms or (quiet and age_ms >= self.rotate_soft_ms)

    def replay_from(self, head_ms: int, committed_ms: int, speech_from_ms: int | None) -> int:
        """Where the next stream begins. `speech_from_ms`: the first speech no final covers, None if there is none."""
        wanted = head_ms - self.preroll_ms if speech_from_ms is None else speech_from_ms - self.preroll_ms
        return max(wanted, committed_ms - self.overlap_ms, head_ms - self.max_replay_ms, 0)

    def retry_in(self, failures: int, engines: int) -> int:
        """How long to wait before the next stream after so many failures in a row: each engine once at once."""
        beyond = failures - engines
        return 0 if beyond < 0 else self.retry_ms[min(beyond, len(self.retry_ms) - 1)]
