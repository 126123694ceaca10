"""When streaming is to be taken back (pure): a sliding window over the streamed calls of this process.

      over a limit, twice in a row        the other mode is better
    ARMED ------------------> SUSPECT ------------------------------> TRIPPED
      ^  ^                      | the other mode is no better            |
      |  '---- some time -------'                                        |
      '------------ a person turned streaming on again ------------------'

Errors: streams that failed, of those that were tried; and calls that something else had to take over. Latency: p95 from
the caller's last sound to our first, where at least half of the limit was spent waiting for words: a slow language
model is no reason to hear worse. It trips once and never turns streaming on again: a person does. Before it trips, the
other mode is asked (by the shell): a provider that is down as a whole is down in both modes. Times are whole ms.
"""

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WINDOW_MS: Final = 300_000
EXCUSED_MS: Final = 60_000
_LOOKS: Final = 2
_SAMPLES: Final = 2000
_TURNS_A_STREAM: Final = 4


class State(StrEnum):
    ARMED = "armed"
    SUSPECT = "suspect"  # the other mode is to be asked
    EXCUSED = "excused"  # it is no better: nothing to gain for a while
    TRIPPED = "tripped"


class Reason(StrEnum):
    FAILED_STREAMS = "failed_streams"
    FALLBACK_CALLS = "fallback_calls"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Limits:
    """0 turns a limit off. `min_turns`: fewer turns decide nothing about latency, nor a quarter as many streams or
    calls about errors.
    """

    error_percent: int = 20
    p95_ms: int = 1200
    min_turns: int = 20

    @property
    def min_streams(self) -> int:
        return max(2, self.min_turns // _TURNS_A_STREAM)


@dataclass(frozen=True, slots=True)
class Figures:
    """What the window holds."""

    streams: int
    failed: int
    calls: int
    fallback: int
    turns: int
    p95_ms: int | None
    waiting_p95_ms: int | None  # of it, for words
    kinds: tuple[str, ...] = ()  # how streams failed, most often first


@dataclass(frozen=True, slots=True)
class Suspicion:
    reason: Reason
    words: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class _Turn:
    at: int
    response_ms: int
    waiting_ms: int


class Guard:
    """One a process. Tell it what happens to streamed calls; `look` about once a second."""

    def __init__(self, limits: Limits, *, window_ms: int = WINDOW_MS) -> None:
        self._limits = limits
        self._window_ms = window_ms
        self._streams: deque[tuple[int, bool]] = deque(maxlen=_SAMPLES)  # (when, whether it failed)
        self._kinds: deque[tuple[int, str]] = deque(maxlen=_SAMPLES)
        self._calls: dict[str, tuple[int, bool]] = {}  # by CallSid: (when, whether something else took over)
        self._turns: deque[_Turn] = deque(maxlen=_SAMPLES)
        self._over = 0  # looks in a row
        self._excused_until = 0
        self.state = State.ARMED

    # --- what happens

    def call(self, now: int, call_sid: str) -> None:
        """A call is heard by a stream."""
        self._calls.setdefault(call_sid, (now, False))
        while len(self._calls) > _SAMPLES:
            del self._calls[next(iter(self._calls))]

    def fallback(self, now: int, call_sid: str) -> None:
        """Something else hears a call that was to be streamed."""
        self._calls.pop(call_sid, None)
        self.call(now, call_sid)
        self._calls[call_sid] = (now, True)

    def tried(self, now: int) -> None:
        """A stream was asked for, and opened or not."""
        self._streams.append((now, False))

    def failed(self, now: int, kind: str = "") -> None:
        """One of those that were tried failed, then or later."""
        self._streams.append((now, True))
        if kind:
            self._kinds.append((now, kind))

    def turn(self, now: int, response_ms: int, waiting_ms: int) -> None:
        """A turn was answered after `response_ms`; `waiting_ms` of them the words were still changing."""
        self._turns.append(_Turn(now, response_ms, waiting_ms))

    # --- what it comes to

    def figures(self, now: int) -> Figures:
        since = now - self._window_ms
        self._forget(since)
        failed = sum(bad for _, bad in self._streams)
        kinds = Counter(kind for _, kind in self._kinds)
        return Figures(
            streams=len(self._streams) - failed,
            failed=failed,
            calls=len(self._calls),
            fallback=sum(bad for _, bad in self._calls.values()),
            turns=len(self._turns),
            p95_ms=percentile((turn.response_ms for turn in self._turns), 95),
            waiting_p95_ms=percentile((turn.waiting_ms for turn in self._turns), 95),
            kinds=tuple(kind for kind, _ in kinds.most_common(3)),
        )

    def look(self, now: int) -> Suspicion | None:
        """What to ask the other mode about: then call `ruled`. None: nothing to do."""
        if self.state in (State.SUSPECT, State.TRIPPED):
            return None
        if self.state is State.EXCUSED:
            if now < self._excused_until:
                return None
            self.state = State.ARMED
        suspicion = self._suspicion(now)
        self._over = self._over + 1 if suspicion is not None else 0
        if suspicion is None or self._over < _LOOKS:
            return None
        self.state = State.SUSPECT
        return suspicion

    def ruled(self, now: int, *, other_is_better: bool) -> bool:
        """The other mode was asked. True when streaming is to be taken back now."""
        if self.state is not State.SUSPECT:
            return False
        self._over = 0
        self.state = State.TRIPPED if other_is_better else State.EXCUSED
        self._excused_until = now + EXCUSED_MS
        return other_is_better

    def rearm(self) -> None:
        """A person has changed what holds: begin anew, with an empty window."""
        self._streams.clear()
        self._kinds.clear()
        self._calls.clear()
        self._turns.clear()
        self._over = 0
        self.state = State.ARMED

    def _suspicion(self, now: int) -> Suspicion | None:
        limits, seen = self._limits, self.figures(now)
        minutes = f"in {self._window_ms // 60_000} minutes"
        if limits.error_percent:
            kinds = f" ({', '.join(seen.kinds)})" if seen.kinds else ""
            if seen.streams >= limits.min_streams and seen.failed * 100 >= limits.error_percent * seen.streams:
                words = f"{seen.failed} of {seen.streams} streams failed {minutes}{kinds}"
                return Suspicion(Reason.FAILED_STREAMS, words, seen)
            if seen.calls >= limits.min_streams and seen.fallback * 100 >= limits.error_percent * seen.calls:
                words = f"{seen.fallback} of {seen.calls} calls had to be taken over {minutes}{kinds}"
                return Suspicion(Reason.FALLBACK_CALLS, words, seen)
        if not limits.p95_ms or seen.turns < limits.min_turns or seen.p95_ms is None or seen.waiting_p95_ms is None:
            return None
        if seen.p95_ms > limits.p95_ms and seen.waiting_p95_ms * 2 >= limits.p95_ms:
            words = (
                f"answers took {seen.p95_ms} ms at p95 over {seen.turns} turns (limit {limits.p95_ms}), "
                f"{seen.waiting_p95_ms} ms of it waiting for words"
            )
            return Suspicion(Reason.LATENCY, words, seen)
        return None

    def _forget(self, since: int) -> None:
        while self._streams and self._streams[0][0] <= since:
            self._streams.popleft()
        while self._kinds and self._kinds[0][0] <= since:
            self._kinds.popleft()
        while self._turns and self._turns[0].at <= since:
            self._turns.popleft()
        for sid in [sid for sid, (at, _) in self._calls.items() if at <= since]:
            del self._calls[sid]


def percentile(values: Iterable[int], percent: int) -> int | None:
    """The smallest value that at least `percent` of the values do not exceed (nearest rank); None of nothing."""
    ranked = sorted(values)
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else None
