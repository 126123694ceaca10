"""One call's hearing: streams of engines, one after another, without losing a word between them.

What is decided is decided by the pure parts: `failover` (which engine, when to move), `transcripts` (which words are
new), `tape` (the audio and the VAD's marks to hear again). Here it is carried out.

    feed, speech_* --> Tape --> a pump for each leg, at its own place --> Stream --> Ledger --> Debounce --> sink

A leg is one open stream. At most one is live; one may be opening; old ones are read to their end. Make before break:
the live leg is replaced when the next one is open, and that one begins where the call's committed words end.

A slow stream costs nobody else anything: it holds up its own pump only. It never loses audio by that; when it is more
than `behind_ms` late and stays so, it is given up and the next one hears the same again from the tape.
"""

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from moked.audio import FRAME_BYTES, SAMPLES_PER_MS
from moked.autoreset import AutoResetEvent
from moked.errors import Failure, Overloaded, ProviderError, first_leaf
from moked.stt import Engine, EngineSwitched, Final, HearingBack, HearingLost, Interim, Stream, Transcript
from moked.stt.failover import Breaker, EngineChooser, RelayPolicy, SlowAnswers
from moked.stt.tape import Tape
from moked.stt.transcripts import Debounce, Ledger

log = logging.getLogger(__name__)

Metric = Callable[[str, str, float], None]
"""(name, engine, value): opened, replayed, lost, gap in ms; trimmed in words; failed, switched, stalled, slow are 1,
and so are refused (it failed before it was open, or had no room) and failed_<kind>, told after `failed`.

`lost` is audio that no engine heard: it must not happen. `gap`, once a call: the longest speech without any result.
"""

_BREATH_BYTES = 400 * SAMPLES_PER_MS  # a replay lets the other calls run after so much
_WORTH_WAKING = 2 * FRAME_BYTES  # half the task switches
_QUIET_MS = 400  # to an engine that batches, while nobody has spoken for a while; the first word goes at once
_ATTENTIVE_MS = 2000
_HURRY_MS = 600  # after a pause, when the words of a turn's end are waited for: nothing is held back
_TICK_MS = 200
_LINGER_S = 0.2  # a failed stream may still hand over what it had heard
_EARLY_LIMITS = 3  # an engine may ask so often in a row to be opened again at once
_BENEFIT_OF_DOUBT_MS = 1500  # so much of the silence before it a new stream of the same engine is charged with
_CHOSEN = ("rollout", "recovered")  # moves to an engine that is only more wanted
_READER_FIRST_S = 0.1  # where a write fails, the reader knows the true reason, and soon


@dataclass(slots=True, eq=False)
class _Leg:
    engine: Engine
    generation: int
    reason: str  # why it was opened; empty for the first of the call
    begun_at: int
    cursor: int = 0  # next sample to write
    origin: int = 0
    mark: int = 0  # next mark to tell
    live_from: int = 0  # the head when it became live: what is older is a replay
    opened_at: int | None = None
    news_ms: int = 0  # the head, in call time, at its last result
    heard: bool = False
    trusted: bool = False
    answers: SlowAnswers | None = None  # how late they are
    ending: bool = False  # no more audio after what it has
    stuck_at: int = -1
    stuck_ticks: int = 0
    stream: Stream | None = None  # while it is open
    worth_waking: int = _WORTH_WAKING  # samples that wait, while somebody speaks
    worth_when_quiet: int = _WORTH_WAKING
    at_once: int = FRAME_BYTES  # in one write
    waiting: bool = False
    wake: AutoResetEvent = field(default_factory=AutoResetEvent)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)

    def call(self) -> None:
        if self.waiting:
            self.waiting = False
            self.wake.set()

    @property
    def whole_utterances(self) -> bool:
        """Its interims are a courtesy, left out when it is busy: silence from it is no sign, and its streams have no
        limit."""
        return bool(getattr(self.engine, "whole_utterances", False))


@dataclass(frozen=True, slots=True)
class _Accusation:
    """A stream said nothing while somebody spoke. True only if the next engine hears words in the same audio."""

    engine: str
    until_ms: int


class Relay:
    """The `Recognizer` of one call. `engines`: most wanted first. `breakers`: the process's, by engine name.

    `sink` gets every transcript in call time, in order, on the loop; it must not wait. `HearingLost` comes
    once each time no engine at all can be used, `HearingBack` when one hears again or its stream stands. The tape runs
    on meanwhile.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        sink: Callable[[Transcript], None],
        *,
        breakers: Mapping[str, Breaker],
        policy: RelayPolicy | None = None,
        debounce_ms: int = 180,
        hints: Sequence[str] = (),
        metric: Metric = lambda name, engine, value: None,
    ) -> None:
        self._engines = {engine.name: engine for engine in engines}
        self._sink = sink
        self._policy = policy or RelayPolicy()
        self._chooser = EngineChooser(list(self._engines), breakers)
        self._hints = tuple(hints)
        self._metric = metric
        self._tape = Tape()
        self._ledger = Ledger()
        self._debounce = Debounce(debounce_ms)
        self._interim_news = AutoResetEvent()
        self._guess: Interim | None = None  # told after the last final
        self._guess_at_ms = 0
        self._replay_until_ms = 0  # the end of a guess that another leg had told
        self._live: _Leg | None = None
        self._next: _Leg | None = None
        self._old: set[_Leg] = set()
        self._serving = ""  # the engine of the last live leg
        self._refused = ""  # the engine that could not even begin
        self._generation = 0
        self._ordered_at = -1  # the generation that was the last when the order of engines was changed
        self._ordered_ms = 0  # and when that was, in call time
        self._given = 0  # samples that some stream was given
        self._hurry_until = 0  # sample; before it the live leg gets audio as it comes
        self._attentive_until = 0  # sample; before it the engine may still be waiting for the silence after words
        self._worst_gap_ms = 0
        self._expecting = ""
        self._failures = 0  # in a row
        self._expired_early = 0  # in a row
        self._deaf = False
        self._stall_ms = self._policy.stall_voiced_ms
        self._accused: _Accusation | None = None
        self._move_not_before = 0
        self._finishing = anyio.Event()
        self._done = anyio.Event()
        self._tasks: TaskGroup | None = None

    # --- from the call: never waits -----------------------------------------------------------------------------------

    def feed(self, audio: bytes) -> None:
        """Next mu-law of the call, in order."""
        tape, live = self._tape, self._live
        tape.append(audio)
        if live is not None and live.waiting and tape.head - live.cursor >= self._worth_waking(live):
            live.call()

    def _worth_waking(self, live: _Leg) -> int:
        """Samples that wait, from which on the live leg's pump is woken: each wake-up is a message to the engine, and
        messages are the dearest part of a streamed call (0.2 ms of processor each)."""
        head = self._tape.head
        if head < self._hurry_until:
            return _WORTH_WAKING
        if self._tape.speaking or self._guess is not None or head < self._attentive_until:
            return live.worth_waking
        return live.worth_when_quiet

    def speech_started(self, at_ms: int) -> None:
        self._mark(True, at_ms)

    def speech_paused(self, at_ms: int) -> None:
        self._hurry_until = self._tape.head + _HURRY_MS * SAMPLES_PER_MS
        self._attentive_until = self._tape.head + _ATTENTIVE_MS * SAMPLES_PER_MS
        if self._live is not None and self._live.stream is not None:
            self._live.stream.speech_paused(at_ms)
            self._live.call()

    def speech_ended(self, at_ms: int) -> None:
        self._mark(False, at_ms)

    def expect(self, what: str) -> None:
        self._expecting = what
        for leg in (self._live, self._next):
            if leg is not None and leg.stream is not None:
                leg.stream.expect(what)

    def prefer(self, engines: Sequence[str]) -> None:
        """In unbroken speech the call moves after `rollout_ms`. A move that is under way to what is now less wanted
        than the engine that hears the call is called off; the newest order counts."""
        self._chooser.prefer(engines)
        self._ordered_at = self._generation
        self._ordered_ms = self._tape.head_ms
        live, opening = self._live, self._next
        if live is None or opening is None or opening.reason not in _CHOSEN:
            return
        if not self._chooser.is_better(opening.engine.name, live.engine.name):
            self._drop_next()

    def audio(self, from_ms: int, to_ms: int) -> bytes:
        start = max(0, from_ms) * SAMPLES_PER_MS
        return self._tape.read(start, max(0, to_ms * SAMPLES_PER_MS - start))

    def finish(self) -> None:
        self._finishing.set()
        if self._live is not None:
            self._note_gap(self._live)
        if self._next is not None and (self._live is not None or not self._unheard()):
            self._drop_next()
        if self._live is not None:
            self._live.call()
        else:
            self._finished_if_idle()

    @property
    def engine(self) -> str:
        """The engine that hears the call now, or heard it last; empty before the first stream is open."""
        return self._serving

    def _mark(self, begins: bool, at_ms: int) -> None:
        self._tape.mark(begins, at_ms)
        if self._live is not None:
            self._live.call()

    # --- the life of a call -------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve until `finish` was called and the last final came, at most `finish_ms` later. Cancel to abandon."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            self._open(self._chooser.choose(_now()), "")
            tasks.start_soon(self._tell_interims, name="stt-interims")
            tasks.start_soon(self._watch, name="stt-watch")
            await self._finishing.wait()
            tasks.start_soon(self._hurry, name="stt-hurry")
            with anyio.move_on_after(self._policy.finish_ms / 1000) as limit:
                await self._done.wait()
            if limit.cancelled_caught:
                log.warning("recognition was not finished in time", extra={"engine": self._serving})
            tasks.cancel_scope.cancel()
        self._metric("gap", self._serving, self._worst_gap_ms)

    async def _hurry(self) -> None:
        """The call is over and a stream does not end: whoever is to bring the last words may never do it."""
        while True:
            await anyio.sleep(self._policy.hurry_ms / 1000)
            live, now = self._live, _now()
            if live is None or self._next is not None:
                continue
            if not self._unheard():
                self._done.set()  # it owes us nothing
                return
            self._chooser.bench(live.engine.name, now)
            name = self._chooser.choose(now)
            log.warning("the last words are late", extra={"engine": live.engine.name, "asked": name})
            self._open(name, Failure.TIMEOUT.value)

    def _open(self, name: str, reason: str, *, delay_ms: int = 0) -> None:
        assert self._tasks is not None
        self._generation += 1
        now = _now()
        leg = _Leg(self._engines[name], self._generation, reason, begun_at=now + delay_ms)
        leg.answers = SlowAnswers(self._policy.slow_ms * (2 if leg.whole_utterances else 1))
        batch_ms: int = getattr(leg.engine, "batch_ms", 0)
        if batch_ms:
            leg.worth_waking = batch_ms * SAMPLES_PER_MS
            leg.worth_when_quiet = max(batch_ms, _QUIET_MS) * SAMPLES_PER_MS
            leg.at_once = max(leg.worth_waking, FRAME_BYTES)
        self._next = leg
        self._tasks.start_soon(self._serve, leg, delay_ms, name=f"stt-{name}-{leg.generation}")

    async def _serve(self, leg: _Leg, delay_ms: int) -> None:
        failure: ProviderError | None = None
        with leg.scope:
            if delay_ms:
                with anyio.move_on_after(delay_ms / 1000):
                    await self._finishing.wait()
            self._place(leg)
            leg.scope.deadline = anyio.current_time() + self._policy.connect_ms / 1000
            try:
                async with leg.engine.stream(origin_ms=leg.origin // SAMPLES_PER_MS, hints=self._hints) as stream:
                    leg.scope.deadline = float("inf")
                    leg.stream = stream
                    if self._expecting:
                        stream.expect(self._expecting)
                    self._opened(leg)
                    failure = await self._listen(leg, stream)
            except* (ProviderError, Overloaded) as problems:
                failure = _as_provider_error(first_leaf(problems), leg.engine.name)
        if leg.scope.cancelled_caught and leg is self._next and leg.opened_at is None:
            failure = ProviderError(leg.engine.name, Failure.TIMEOUT, "the stream could not be opened in time")
        self._ended(leg, failure)

    def _place(self, leg: _Leg) -> None:
        """Where it begins: at the first audio that no final covers."""
        origin_ms = self._policy.replay_from(self._tape.head_ms, self._ledger.committed_ms, self._unheard_from())
        leg.origin = leg.cursor = max(origin_ms * SAMPLES_PER_MS, self._tape.tail)

    async def _listen(self, leg: _Leg, stream: Stream) -> ProviderError | None:
        """Pump and read until the stream ends. Failures are returned, so that no stream has to pass them through."""
        failure: ProviderError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, leg, stream)
            try:
                async for result in stream:
                    self._heard(leg, result)
            except (ProviderError, Overloaded) as problem:
                failure = _as_provider_error(problem, leg.engine.name)
            tasks.cancel_scope.cancel()
        return failure

    async def _pump(self, leg: _Leg, stream: Stream) -> None:
        """Audio and marks to the stream, each mark where it was known, as fast as the stream takes them."""
        try:
            await self._write_on(leg, stream)
        except (ProviderError, Overloaded) as problem:
            await anyio.sleep(_READER_FIRST_S)
            if leg is self._live:
                self._give_up(leg, _as_provider_error(problem, leg.engine.name))

    async def _write_on(self, leg: _Leg, stream: Stream) -> None:
        tape, policy = self._tape, self._policy
        origin_ms = leg.origin // SAMPLES_PER_MS
        in_speech, leg.mark = tape.marks_from(origin_ms)
        if in_speech:
            stream.speech_started(origin_ms)
        burst = policy.burst_ms * SAMPLES_PER_MS
        since_breath = 0
        while True:
            # A replay is a quick call: what an engine's own bounds are made for. Live, what waited goes at once.
            limit = leg.at_once if leg.cursor >= leg.live_from else FRAME_BYTES
            mark = tape.mark_number(leg.mark)
            if mark is not None:
                if mark.known <= leg.cursor:
                    leg.mark = max(leg.mark, tape.first_mark) + 1
                    (stream.speech_started if mark.begins else stream.speech_ended)(max(mark.at_ms, origin_ms))
                    continue
                limit = min(limit, mark.known - leg.cursor)
            audio = tape.read(leg.cursor, limit)
            if audio:
                if leg.cursor < tape.tail:
                    self._metric("lost", leg.engine.name, (tape.tail - leg.cursor) / SAMPLES_PER_MS)
                await stream.write(audio)
                leg.cursor += len(audio)
                self._given = max(self._given, leg.cursor)
                since_breath += len(audio)
                if since_breath >= _BREATH_BYTES and leg.cursor < leg.live_from:
                    paced = leg.cursor - leg.origin > burst and not leg.whole_utterances
                    await anyio.sleep(since_breath / SAMPLES_PER_MS / 1000 / policy.burst_speed if paced else 0)
                    since_breath = 0
            elif leg.ending or self._finishing.is_set():
                leg.ending = True
                await stream.finish()
                return
            else:
                leg.waiting = True
                await leg.wake.wait()

    # --- decisions: none of them waits --------------------------------------------------------------------------------

    def _opened(self, leg: _Leg) -> None:
        """The next leg is open: it is the live one now."""
        now = _now()
        before, self._live, self._next = self._live, leg, None
        leg.opened_at = now
        leg.news_ms = self._tape.head_ms
        if before is not None and before.engine is leg.engine:  # it may stand on the connection that has just died
            doubt_ms = _BENEFIT_OF_DOUBT_MS if before.heard else self._policy.stall_window_ms
            leg.news_ms = max(before.news_ms, leg.news_ms - doubt_ms)
        leg.live_from = self._tape.head
        self._replay_until_ms = self._guess.end_ms if self._guess is not None else 0
        name = leg.engine.name
        self._metric("opened", name, now - leg.begun_at)
        self._metric("replayed", name, (self._tape.head - leg.origin) / SAMPLES_PER_MS)
        if before is not None:
            before.ending = True
            before.scope.deadline = anyio.current_time() + self._policy.drain_ms / 1000
            self._old.add(before)
            before.call()
        was, self._serving = self._serving or self._refused, name
        if not leg.reason:
            return
        self._metric("switched", name, 1)
        self._sink(EngineSwitched(was, name, leg.reason))
        if name != was and name.startswith("whisper"):
            log.warning("Whisper fallback active", extra={"engine": name, "before": was, "reason": leg.reason})
        else:
            log.info("recognition moved", extra={"engine": name, "before": was, "reason": leg.reason})

    def _heard(self, leg: _Leg, result: Interim | Final) -> None:
        now = _now()
        if leg is self._live:
            self._failures = 0
            self._hears_again(leg)
            self._note_gap(leg)
        leg.news_ms = self._tape.head_ms
        if result.text.strip():
            leg.heard = True
            self._trust(leg, now)
            self._weigh_accusation(leg, result)
            self._weigh_pace(leg, result, now)
        if isinstance(result, Interim) and (leg is not self._live or result.end_ms < self._replay_until_ms):
            return  # of an old leg only finals count; a new one first has to come as far as the last guess
        trimmed = self._ledger.trimmed
        told = self._ledger.accept(leg.generation, result, voiced_from=self._tape.speech_after(result.start_ms))
        if self._ledger.trimmed > trimmed:
            self._metric("trimmed", leg.engine.name, self._ledger.trimmed - trimmed)
        if isinstance(result, Final):
            self._debounce.settle()
            self._guess = None
            self._replay_until_ms = 0
            if told is not None:
                self._sink(told)
        elif isinstance(told, Interim):
            self._guess, self._guess_at_ms = told, self._tape.head_ms
            at_once = self._debounce.offer(told, now)
            if at_once is not None:
                self._sink(at_once)
            elif self._debounce.deadline is not None:
                self._interim_news.set()

    def _ended(self, leg: _Leg, failure: ProviderError | None) -> None:
        """A leg's task is over, by itself or because we wanted it."""
        if leg is self._live:
            if failure is None and leg.ending:
                self._live = None
                self._finished_if_idle()
                return
            self._give_up(leg, failure or ProviderError(leg.engine.name, Failure.CLOSED, "ended without being asked"))
        elif leg is self._next:
            self._next = None
            failure = failure or ProviderError(leg.engine.name, Failure.CLOSED, "ended while it was opened")
            self._count(leg, failure)
            self._move_not_before = _now() + self._policy.move_again_ms
            if self._live is None:
                self._replace(leg, failure.kind)
        self._old.discard(leg)
        self._finished_if_idle()

    def _give_up(self, leg: _Leg, failure: ProviderError) -> None:
        """The live leg is of no use any more. What it has heard and not yet handed over may still come."""
        assert leg is self._live
        self._live = None
        self._old.add(leg)
        leg.scope.deadline = anyio.current_time() + _LINGER_S
        self._count(leg, failure)
        if self._next is None:
            self._replace(leg, failure.kind)

    def _count(self, leg: _Leg, failure: ProviderError) -> None:
        kind, now = failure.kind, _now()
        lived = now - leg.opened_at if leg.opened_at is not None else 0
        if kind is Failure.EXPIRED and lived < self._policy.settled_ms:
            self._expired_early += 1
            if self._expired_early > _EARLY_LIMITS:
                kind = Failure.CLOSED  # a limit that comes at once is none; it would be reopened for ever
        if lived >= self._policy.settled_ms:
            self._failures = self._expired_early = 0
        if kind is not Failure.EXPIRED:
            self._failures += 1
        self._chooser.failed(leg.engine.name, kind, now, random.random())
        blamed = kind is not Failure.FULL
        if blamed:
            self._metric("failed", leg.engine.name, 1)
        if leg.opened_at is None:
            self._metric("refused", leg.engine.name, 1)
        if blamed:
            self._metric(f"failed_{failure.kind.value}", leg.engine.name, 1)
        log.warning(
            "recognition stream failed",
            extra={"engine": leg.engine.name, "kind": failure.kind.value, "detail": str(failure), "lived_ms": lived},
        )

    def _replace(self, leg: _Leg, kind: Failure) -> None:
        """There is no live leg: open one, at once while there is an engine that has not failed in a row."""
        self._refused = self._refused or leg.engine.name
        if self._finishing.is_set() and not self._unheard():
            self._finished_if_idle()
            return
        if self._failures >= max(2, len(self._engines)) and not self._deaf:
            self._deaf = True
            log.error("no speech engine can be used", extra={"failures": self._failures, "engine": leg.engine.name})
            self._sink(HearingLost(leg.engine.name, kind.value))
        delay = self._policy.retry_in(self._failures, len(self._engines))
        self._open(self._chooser.choose(_now() + delay), kind.value, delay_ms=delay)

    def _hears_again(self, leg: _Leg) -> None:
        if self._deaf:
            self._deaf = False
            self._sink(HearingBack(leg.engine.name))

    def _drop_next(self) -> None:
        assert self._next is not None
        leg, self._next = self._next, None
        leg.scope.cancel()

    def _finished_if_idle(self) -> None:
        if self._finishing.is_set() and self._live is None and self._next is None and not self._old:
            self._done.set()

    # --- the watch ----------------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        """On a clock of its own: results and audio may both fail to come."""
        while True:
            await anyio.sleep(_TICK_MS / 1000)
            if self._live is not None and not self._finishing.is_set():
                self._look(self._live, _now())

    def _look(self, leg: _Leg, now: int) -> None:
        """One glance at the live leg. Ticks are counted, not time: a loop that was held up must not fell every call."""
        assert leg.opened_at is not None
        age = now - leg.opened_at
        if age >= self._policy.settled_ms:
            self._failures = 0
            self._hears_again(leg)
        if age >= self._policy.trusted_ms:
            self._trust(leg, now)
        if self._is_behind(leg):
            self._give_up(leg, ProviderError(leg.engine.name, Failure.TIMEOUT, "the stream does not take its audio"))
        elif self._is_stalled(leg):
            self._stalled(leg)
        elif self._next is None and now >= self._move_not_before:
            self._move(leg, now)

    def _is_behind(self, leg: _Leg) -> bool:
        late = self._tape.head - leg.cursor > self._policy.behind_ms * SAMPLES_PER_MS
        if not late or (leg.cursor < leg.live_from and leg.cursor != leg.stuck_at):
            leg.stuck_ticks = 0  # in time, or still catching up and moving
        else:
            leg.stuck_ticks += 1
        leg.stuck_at = leg.cursor
        return leg.stuck_ticks * _TICK_MS > self._policy.behind_ms

    def _is_stalled(self, leg: _Leg) -> bool:
        if leg.whole_utterances:
            return False
        if self._guess is not None and not self._tape.speaking:
            spoke_until = self._tape.last_speech_end() or 0
            if self._tape.head_ms - max(leg.news_ms, spoke_until) >= self._policy.guess_ms:
                return True
        since = max(leg.news_ms, self._tape.head_ms - self._policy.stall_window_ms)
        return self._tape.voiced(since) >= self._stall_ms

    def _stalled(self, leg: _Leg) -> None:
        """Nothing but silence from the stream while somebody talks, or only noise: the next engine will know."""
        now, name = _now(), leg.engine.name
        self._note_gap(leg)
        self._live = None
        self._old.add(leg)
        leg.scope.deadline = anyio.current_time() + _LINGER_S
        self._accused = _Accusation(name, self._tape.head_ms)
        self._chooser.bench(name, now)
        self._stall_ms = min(2 * self._stall_ms, self._policy.stall_window_ms // 2)
        self._metric("stalled", name, 1)
        log.warning("recognition stream is silent", extra={"engine": name, "voiced_ms": self._tape.voiced(leg.news_ms)})
        if self._next is None:
            self._replace(leg, Failure.TIMEOUT)

    def _weigh_accusation(self, leg: _Leg, result: Interim | Final) -> None:
        accused = self._accused
        if accused is None:
            return
        if leg.engine.name == accused.engine:
            if leg is self._live:
                self._accused = None
            return
        self._accused = None
        if result.start_ms < accused.until_ms:  # there were words: the stall was real
            self._stall_ms = self._policy.stall_voiced_ms
            self._chooser.failed(accused.engine, Failure.TIMEOUT, _now(), random.random())
            self._metric("failed", accused.engine, 1)
            self._metric(f"failed_{Failure.TIMEOUT.value}", accused.engine, 1)

    def _weigh_pace(self, leg: _Leg, result: Interim | Final, now: int) -> None:
        """Leave an engine whose answers come too late to talk by. It hears the call until the other one is open."""
        if leg is not self._live or leg.answers is None or result.start_ms * SAMPLES_PER_MS < leg.live_from:
            return  # an old one, or a replay
        late_ms = leg.cursor // SAMPLES_PER_MS - result.end_ms
        if not leg.answers.heard(late_ms, final=isinstance(result, Final)):
            return
        name = leg.engine.name
        other = self._chooser.other(name, now)
        if other is None or self._next is not None or self._finishing.is_set():
            return  # late is better than never
        leg.answers = None
        self._metric("slow", name, 1)
        log.warning("recognition is slow", extra={"engine": name, "late_ms": late_ms})
        self._chooser.failed(name, Failure.TIMEOUT, now, random.random())
        self._open(other, "slow")

    def _note_gap(self, leg: _Leg) -> None:
        """How long somebody spoke and nothing came."""
        if not leg.whole_utterances:
            self._worst_gap_ms = max(self._worst_gap_ms, self._tape.voiced(leg.news_ms))

    def _move(self, leg: _Leg, now: int) -> None:
        """Rotation, or the move to a more wanted engine: only what is better than staying."""
        quiet = self._quiet()
        name = leg.engine.name
        ordered = self._ordered_at >= leg.generation
        overdue = ordered and self._tape.head_ms - self._ordered_ms >= self._policy.rollout_ms
        better = self._chooser.better(name, now) if quiet or overdue else None
        if better is not None:
            self._move_not_before = now + self._policy.move_again_ms
            self._open(better, "rollout" if ordered else "recovered")
            return
        age = max(now - (leg.opened_at or now), (leg.cursor - leg.origin) // SAMPLES_PER_MS)
        if leg.whole_utterances or leg.cursor < leg.live_from or not self._policy.rotate(age, quiet=quiet):
            return  # what it is replaying, the next one would have to replay as well
        if self._chooser.admits(name, now):
            self._open(name, "rotation")
        elif age >= self._policy.rotate_hard_ms:
            self._open(self._chooser.choose(now), "rotation")

    def _quiet(self) -> bool:
        """Nobody speaks, and all that was said has been told."""
        tape = self._tape
        if tape.speaking or (self._guess is not None and tape.head_ms - self._guess_at_ms < 5000):
            return False
        spoke_until = tape.last_speech_end()
        if spoke_until is None or spoke_until <= self._ledger.committed_ms + self._policy.overlap_ms:
            return True
        live = self._live
        patience = 8000 if live is not None and live.whole_utterances else 2000
        return tape.head_ms - spoke_until >= patience

    def _trust(self, leg: _Leg, now: int) -> None:
        if not leg.trusted:
            leg.trusted = True
            self._chooser.succeeded(leg.engine.name, now)

    def _unheard_from(self) -> int | None:
        """The first speech that no final covers: by our VAD, by an engine's guess that was not confirmed, or where
        the VAD has not judged yet and no stream has been long enough, by its sound."""
        committed = self._ledger.committed_ms
        lately = min(self._given // SAMPLES_PER_MS, self._tape.head_ms - self._policy.unjudged_ms)
        starts = [
            None if self._guess is None else max(self._guess.start_ms, committed),
            self._tape.speech_after(committed),
            self._tape.sound_after(max(committed, lately)),
        ]
        return min((start for start in starts if start is not None), default=None)

    def _unheard(self) -> bool:
        return self._unheard_from() is not None

    # --- interims -----------------------------------------------------------------------------------------------------

    async def _tell_interims(self) -> None:
        """The trailing edge of the debounce."""
        while True:
            deadline = self._debounce.deadline
            if deadline is None:
                await self._interim_news.wait()
                continue
            await anyio.sleep(max(deadline - _now(), 0) / 1000)
            interim = self._debounce.due(_now())
            if interim is not None:
                self._sink(interim)


def _now() -> int:
    return int(anyio.current_time() * 1000)


def _as_provider_error(problem: Exception, engine: str) -> ProviderError:
    if isinstance(problem, ProviderError):
        return problem
    return ProviderError(engine, Failure.FULL, str(problem))
