"""The running calls follow what holds: every second the database is asked, and told what the guard decided.

    database --poll--> Rollout.policy --> CallHearing: new calls at once, running ones at their next pause
    running calls ----> Guard --trips, and the other mode answers--> database (by "guard")

The database may be away: what was last known holds. A rollback of the guard holds in this process at once, and is
written when the database is there.
"""

import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Protocol

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from moked import metrics
from moked.audio import SAMPLES_PER_MS, silence
from moked.bus import Bus, heed
from moked.crm.phone import to_e164
from moked.errors import Overloaded, ProviderError, first_leaf
from moked.records import CallStart, TurnRecord
from moked.rollout.guard import Guard, Limits, Reason, Suspicion
from moked.rollout.policy import Decision, Engines, Mode, Policy, in_words
from moked.rollout.shadow import Metric, Shadow, affordable
from moked.stt import Engine, Recognizer, Transcript

log = logging.getLogger(__name__)

TOPIC: Final = "rollout"
"""On the bus: 'rollout.changed' whenever somebody changed what holds."""

BY_GUARD: Final = "guard"

_POLL_S: Final = 1.0
_QUESTION_MS: Final = 600
_QUESTION_S: Final = 6.0
_SAY_AGAIN_MS: Final = 3_600_000


class Stored(Protocol):
    @property
    def version(self) -> int: ...
    @property
    def policy(self) -> Policy: ...


class Store(Protocol):
    """The part of `crm.rollouts.Rollouts` that is used here. Synchronous."""

    def now(self) -> int: ...

    def load(self) -> Stored: ...

    def change(
        self,
        make: Callable[[Policy], Policy],
        *,
        by: str,
        what: str,
        why: str = "",
        figures: Mapping[str, Any] | None = None,
    ) -> Stored: ...

    def note(self, *, by: str, what: str, why: str, figures: Mapping[str, Any]) -> None: ...

    def add_shadow(self, call_sid: str, result: Mapping[str, Any]) -> bool: ...


Sink = Callable[[Transcript], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutParts:
    """`relay(order, sink, metric)` makes a call's recognizer; `shadow(name, sink, metric)` one of this engine alone.

    `other` is what the guard asks before it trips: the engine of whole utterances, None without modes. `tell(call_sid,
    data)` puts on the call's record, and before its viewers, how it is heard. `default`: ENABLE_STREAMING_STT. `spare`:
    the process has time for shadows.
    """

    engines: Engines
    default: bool
    store: Store
    bus: Bus
    relay: Callable[[Sequence[str], Sink, Metric], Recognizer]
    shadow: Callable[[str, Sink, Metric], Recognizer]
    tell: Callable[[str, dict[str, Any]], None]
    other: Engine | None = None
    limits: Limits = field(default_factory=Limits)
    max_shadows: int = 4
    spare: Callable[[], bool] = lambda: True


class Rollout:
    """One a process that serves calls. `running()` is entered once, before the first call."""

    def __init__(self, parts: RolloutParts) -> None:
        self.parts = parts
        self.guard = Guard(parts.limits)
        self.policy = Policy()  # without what has ended by itself
        self._stored = Policy()
        self._calls: set[CallHearing] = set()
        self._shadows = 0
        self._news = anyio.Event()
        self._looking = anyio.Lock()
        self._away = False
        self._untold: Suspicion | None = None  # a rollback the database does not know yet
        self._said_at: int | None = None
        self._tasks: TaskGroup | None = None

    @property
    def words(self) -> str:
        """What holds, for a person."""
        if not self.parts.engines.switchable:
            return "no Google here: Whisper hears all calls, and the switch changes nothing"
        return in_words(self.policy, default=self.parts.default, now=self.parts.store.now())

    def recognizer(self, start: CallStart, sink: Sink) -> "CallHearing":
        return CallHearing(self, start, sink)

    def decide(self, start: CallStart) -> Decision:
        caller, called = (to_e164(number) or number for number in (start.caller, start.called))
        default = self.parts.default
        return self.policy.decide(start.call_sid, caller, called, default=default, now=self.parts.store.now())

    def turn(self, turn: TurnRecord) -> None:
        """A turn of any call is over."""
        waterfall = turn.waterfall
        response, ended = waterfall.response_ms, waterfall.speech_end_ms
        if not turn.engine or turn.engine != self.parts.engines.streaming or response is None or ended is None:
            return
        waiting = max(0, waterfall.transcript_ms - ended) if waterfall.transcript_ms is not None else 0
        self.guard.turn(_now(), response, waiting)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            tasks.start_soon(self._follow, name="rollout-follow")
            tasks.start_soon(heed, self.parts.bus, TOPIC, self._told, name="rollout-bus")
            tasks.start_soon(self._watch, name="rollout-guard")
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    # --- the calls

    def entered(self, call: "CallHearing") -> None:
        self._calls.add(call)

    def left(self, call: "CallHearing") -> None:
        self._calls.discard(call)

    def shadow_of(self, call: "CallHearing") -> Shadow | None:
        """The other mode beside this call, already running; None where it is not wanted, or there is no time for it."""
        parts, mode, sid = self.parts, call.decision.mode, call.start.call_sid
        if self._tasks is None or not parts.engines.switchable or not self.policy.shadows(sid):
            return None
        if self._shadows >= parts.max_shadows or not (affordable() and parts.spare()):
            metrics.shadow_calls.labels("refused").inc()
            return None
        name = parts.engines.wanted(mode.other)
        shadow = Shadow(
            sid, mode, lambda sink, metric: parts.shadow(name, sink, metric), self._store_shadow, parts.spare
        )
        self._shadows += 1
        self._tasks.start_soon(self._run_shadow, shadow, name="shadow")
        return shadow

    async def _run_shadow(self, shadow: Shadow) -> None:
        try:
            await shadow.run()
        finally:
            self._shadows -= 1

    async def _store_shadow(self, call_sid: str, result: Mapping[str, Any]) -> object:
        return await to_thread.run_sync(self.parts.store.add_shadow, call_sid, result)

    # --- following

    async def _follow(self) -> None:
        while True:
            self._news = anyio.Event()
            with anyio.move_on_after(_POLL_S):
                await self._news.wait()
            await self.look()

    async def look(self) -> None:
        """Ask the database what holds, and let the calls follow."""
        async with self._looking:
            untold = self._untold
            try:
                if untold is not None:
                    stored = await to_thread.run_sync(self._write_rollback, untold)
                else:
                    stored = await to_thread.run_sync(self.parts.store.load, abandon_on_cancel=True)
            except Exception as error:  # whatever it is, the calls go on with what is known
                if not self._away:
                    self._away = True
                    log.warning("the rollout cannot be read; what holds goes on", extra={"error": type(error).__name__})
            else:
                self._away = False
                if untold is self._untold:  # else the guard tripped while this was read: it is old
                    self._learn(stored.policy)
                if untold is not None:
                    self._untold = None
                    self._published()
            self._apply()

    def _learn(self, policy: Policy) -> None:
        before, self._stored = self._stored, policy
        share = policy.share
        if (share, policy.numbers) != (before.share, before.numbers) and (share is None or share.by != BY_GUARD):
            self.guard.rearm()

    def _apply(self) -> None:
        """Also without news: a rule may have ended by itself."""
        store, default = self.parts.store, self.parts.default
        policy = self._stored.at(store.now())
        share = policy.share
        metrics.rollout_percent.set((100 if default else 0) if share is None else share.streaming_percent)
        if policy == self.policy:
            return
        self.policy = policy
        log.info("how calls are heard was changed", extra={"now": self.words, "number_rules": len(policy.numbers)})
        for call in list(self._calls):
            call.follow()

    def _told(self) -> None:
        """Somebody says that something was changed: look before the second is over."""
        self._news.set()

    def _published(self) -> None:
        self.parts.bus.publish(TOPIC, "rollout.changed", {"now": self.words})

    # --- the guard

    async def _watch(self) -> None:
        while True:
            await anyio.sleep(_POLL_S)
            now = self.parts.store.now()
            if not self.parts.engines.switchable or not self.policy.streams_any(default=self.parts.default, now=now):
                continue
            suspicion = self.guard.look(_now())
            if suspicion is not None:
                await self._judge(suspicion)

    async def _judge(self, suspicion: Suspicion) -> None:
        problem = await self._ask_the_other(suspicion.reason)
        if not self.guard.ruled(_now(), other_is_better=not problem):
            await self._say_why_not(suspicion, problem)
            return
        figures = asdict(suspicion.figures)
        log.error("streaming was rolled back", extra={"reason": suspicion.words, **figures})
        metrics.rollbacks.labels(suspicion.reason.value).inc()
        self._untold = suspicion
        self._stored = self._rolled_back(self._stored, suspicion)  # here at once, whatever the database does
        self._apply()
        await self.look()

    async def _say_why_not(self, suspicion: Suspicion, problem: str) -> None:
        words = f"{suspicion.words}; but {problem}, so nothing would be gained"
        log.warning("streaming is bad and stays on", extra={"reason": words, **asdict(suspicion.figures)})
        metrics.rollbacks.labels("excused").inc()
        now = _now()
        if self._said_at is not None and now - self._said_at < _SAY_AGAIN_MS:
            return
        self._said_at = now
        try:
            await to_thread.run_sync(lambda: self._note(suspicion, words))
        except Exception as error:
            log.warning("the guard's note could not be stored", extra={"error": type(error).__name__})

    async def _ask_the_other(self, reason: Reason) -> str:
        """What is wrong with the other mode, in words; empty when it answers."""
        engine = self.parts.other
        assert engine is not None
        started, failed = _now(), ""
        with anyio.move_on_after(_QUESTION_S) as limit:
            try:
                await _ask(engine)
            except* (ProviderError, Overloaded) as problems:
                problem = first_leaf(problems)
                failed = problem.kind.value if isinstance(problem, ProviderError) else problem.code
        took = _now() - started
        if failed:
            return f"{engine.name} fails as well ({failed})"
        if limit.cancelled_caught:
            return f"{engine.name} does not answer within {round(_QUESTION_S)} s"
        if reason is Reason.LATENCY and took > self.parts.limits.p95_ms:
            return f"{engine.name} took {took} ms for a single request"
        return ""

    def _write_rollback(self, suspicion: Suspicion) -> Stored:
        return self.parts.store.change(
            lambda policy: self._rolled_back(policy, suspicion),
            by=BY_GUARD,
            what="streaming off for all calls (rollback)",
            why=suspicion.words,
            figures=asdict(suspicion.figures),
        )

    def _note(self, suspicion: Suspicion, words: str) -> None:
        self.parts.store.note(by=BY_GUARD, what="streaming stays on", why=words, figures=asdict(suspicion.figures))

    def _rolled_back(self, policy: Policy, suspicion: Suspicion) -> Policy:
        now = self.parts.store.now()
        if not policy.streams_any(default=self.parts.default, now=now):
            return policy  # somebody else was first
        return policy.rolled_back(by=BY_GUARD, reason=suspicion.words, now=now)


class CallHearing:
    """The `Recognizer` of one call: a relay in the order the policy wants, a shadow beside it where one is wanted."""

    def __init__(self, rollout: Rollout, start: CallStart, sink: Sink) -> None:
        self.start = start
        self.decision = rollout.decide(start)
        self._rollout = rollout
        self._sink = sink
        self._shadow: Shadow | None = None
        self._fed = 0
        self._relay = rollout.parts.relay(rollout.parts.engines.order(self.decision.mode), self._heard, self._metric)

    def feed(self, audio: bytes) -> None:
        self._fed += len(audio)
        self._relay.feed(audio)
        if self._shadow is not None:
            self._shadow.feed(audio)

    def speech_started(self, at_ms: int) -> None:
        self._relay.speech_started(at_ms)
        if self._shadow is not None:
            self._shadow.speech_started(at_ms)

    def speech_paused(self, at_ms: int) -> None:
        self._relay.speech_paused(at_ms)
        if self._shadow is not None:
            self._shadow.speech_paused(at_ms)

    def speech_ended(self, at_ms: int) -> None:
        self._relay.speech_ended(at_ms)
        if self._shadow is not None:
            self._shadow.speech_ended(at_ms)

    def expect(self, what: str) -> None:
        self._relay.expect(what)
        if self._shadow is not None:
            self._shadow.expect(what)

    def prefer(self, engines: Sequence[str]) -> None:
        self._relay.prefer(engines)

    def audio(self, from_ms: int, to_ms: int) -> bytes:
        return self._relay.audio(from_ms, to_ms)

    def finish(self) -> None:
        self._relay.finish()

    async def run(self) -> None:
        """As the relay's. The shadow goes on by itself until it has its last words: nobody waits for it."""
        self._rollout.entered(self)
        self._tell()
        self._shadow = self._rollout.shadow_of(self)
        try:
            await self._relay.run()
        finally:
            self._rollout.left(self)
            if self._shadow is not None:
                self._shadow.end("call")

    def follow(self) -> None:
        """What holds was changed: move at the next pause, if this call is meant."""
        before, self.decision = self.decision, self._rollout.decide(self.start)
        if self.decision == before:
            return
        self._tell()
        if self.decision.mode is not before.mode and self._rollout.parts.engines.switchable:
            self._relay.prefer(self._rollout.parts.engines.order(self.decision.mode))
            if self._shadow is not None:
                self._shadow.end("moved")

    def _tell(self) -> None:
        engines = self._rollout.parts.engines
        mode = self.decision.mode.value if engines.switchable else "none"
        metrics.rollout_calls.labels(mode, self.decision.why.value).inc()
        at_ms = self._fed // SAMPLES_PER_MS
        self._rollout.parts.tell(self.start.call_sid, {"at_ms": at_ms, "mode": mode, "why": self.decision.why.value})

    def _heard(self, transcript: Transcript) -> None:
        if self._shadow is not None:
            self._shadow.live_heard(transcript)
        self._sink(transcript)

    def _metric(self, name: str, engine: str, value: float) -> None:
        """What the relay counts, for the guard: only while the call is to be streamed."""
        if self._shadow is not None:
            self._shadow.live_metric(name)
        rollout, streaming = self._rollout, self._rollout.parts.engines.streaming
        if self.decision.mode is not Mode.STREAMING or not streaming:
            return
        guard, now, sid = rollout.guard, _now(), self.start.call_sid
        if name == "opened" and engine != streaming:
            guard.fallback(now, sid)
        elif engine == streaming and name == "opened":
            guard.tried(now)
            guard.call(now, sid)
        elif engine == streaming and name == "refused":
            guard.tried(now)
        elif engine == streaming and name.startswith("failed_") and name != "failed_expired":
            guard.failed(now, name.removeprefix("failed_"))


async def _ask(engine: Engine) -> None:
    """One short request through the port. Raises `ProviderError`, perhaps in a group."""
    async with engine.stream(origin_ms=0) as stream:
        stream.speech_started(0)
        await stream.write(silence(_QUESTION_MS))
        stream.speech_ended(_QUESTION_MS)
        await stream.finish()
        async for _ in stream:
            pass


def _now() -> int:
    return int(anyio.current_time() * 1000)
