"""A simulated call to a running server, in real time, through the carrier's own doors.

The webhook is posted and signed as Twilio does, its TwiML is followed, the media stream is opened with the signature
over its URL, the caller's audio goes out in frames of 20 ms without a pause (mu-law silence in between), marks come
back, status callbacks are posted. When the server dies the TwiML after `<Connect>` says what the caller goes through.

    SimulatedCall -> carrier (HTTP) , twiml (what next) , media (one stream: wire + scenario) -> CallResult

Everything that decides is pure: `wire`, `scenario`, `twiml`, `measure`. Here the parts of one call are put together.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import anyio
import httpx2
from anyio import to_thread
from anyio.abc import TaskGroup

from moked.simulate.carrier import CallSetup, Carrier, new_client
from moked.simulate.events import OnEvent, follow
from moked.simulate.measure import AgentVoice, turns
from moked.simulate.media import CallClock, MediaRun, NotOpened, open_socket
from moked.simulate.result import CallResult, Ended, StreamEnd, StreamRun
from moked.simulate.scenario import Caller, Speak, Step, render
from moked.simulate.twiml import ConnectStream, Fetch, Finish, Finished, Rest, TwimlRun, Wait
from moked.simulate.wire import CarrierStream, CarrierWarning, Heard, MarkEcho

_PATIENCE_OUTSIDE_S = 30  # for webhooks and the TwiML around the stream, beyond the call's own limit
_FRAME_S = 0.02
_LAST_EVENTS_S = 1  # for the live events that are on their way when the call is over


class SimulatedCall:
    """One call. `run` it once. `call_sid` is known before, so that a REST emulator can find the call by it.

    `speak` is the caller's voice for lines that have only text. `on_event` gets the server's live events. `client` is
    shared by calls that run together (see `run_many`). `call_sid`: of a call that the server placed.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        setup: CallSetup,
        *,
        speak: Speak | None = None,
        on_event: OnEvent | None = None,
        client: httpx2.AsyncClient | None = None,
        call_sid: str = "",
    ) -> None:
        self.call_sid = call_sid or "CA" + uuid4().hex
        self._steps = tuple(steps)
        self._setup = setup
        self._speak = speak
        self._on_event = on_event
        self._client = client
        self._twiml = TwimlRun(setup.world, account_sid=setup.account_sid, call_sid=self.call_sid)
        self._voice = AgentVoice()
        self._clock = CallClock()
        self._rest: Mapping[str, str] | None = None
        self._over = False
        self._released = False
        self._listening = False
        self._told_all = anyio.Event()
        self._streams: list[StreamRun] = []
        self._heard: list[Heard] = []
        self._marks: list[MarkEcho] = []
        self._warnings: list[CarrierWarning] = []
        self._refused: Counter[str] = Counter()
        self._late_ms = 0

    def rest_update(self, params: Mapping[str, str]) -> bool:
        """What `POST /Calls/{sid}.json` does: `Status=completed`, or `Twiml=...`, or `Url=...` with `Method`.

        Takes effect within a frame. False: the call is over, which Twilio answers with 404 and code 20404.
        """
        if self._over:
            return False
        self._rest = dict(params)
        return True

    def connected(self) -> None:
        """Somebody came into the conference that the caller waits in."""
        self._twiml.transferred = True

    def conference_over(self) -> None:
        """The one that the caller is in."""
        self._released = True

    async def run(self) -> CallResult:
        """Place the call, act out the scenario, hang up, and fetch the server's report."""
        steps = self._steps
        if self._speak is not None:
            steps = await to_thread.run_sync(render, steps, self._speak)
        caller = Caller(steps, self._voice, self._setup.manners)
        ended, detail = Ended.TIME_LIMIT, "the server kept the caller waiting"
        report = None
        async with AsyncExitStack() as stack:
            http = self._client
            if http is None:
                http = await stack.enter_async_context(new_client(self._setup.base_url))
            carrier = Carrier(self.call_sid, self._setup, http)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            placed = time.monotonic()
            async with anyio.create_task_group() as callbacks:  # the call does not wait for them, its end does
                with anyio.move_on_after(self._setup.max_s + _PATIENCE_OUTSIDE_S):
                    ended, detail = await self._carry(carrier, tasks, callbacks, caller)
                self._over = True
            await carrier.call_completed(max(1, round(time.monotonic() - placed)))
            if self._setup.report_s:
                report = await carrier.report()
            if self._listening:
                with anyio.move_on_after(_LAST_EVENTS_S):
                    await self._told_all.wait()
            tasks.cancel_scope.cancel()
        self._warnings.extend(carrier.warnings)
        return self._result(caller, ended, detail, report)

    async def _carry(
        self, carrier: Carrier, tasks: TaskGroup, callbacks: TaskGroup, caller: Caller
    ) -> tuple[Ended, str]:
        """Lead the call from the webhook to its end."""
        await self._fetch(carrier, Fetch(carrier.url(self._setup.webhook_path), "POST"), status="ringing")
        if self._on_event is not None and self._setup.events:
            tasks.start_soon(self._listen, carrier, self._on_event)
        while True:
            if self._rest is not None and await self._apply_rest(carrier):
                return Ended.AGENT_HUNG_UP, "rest"
            match self._twiml.step():
                case ConnectStream() as step:
                    how = await self._stream(carrier, callbacks, step, caller)
                    if how is StreamEnd.CALLER:
                        return Ended.CALLER_HUNG_UP, caller.hung_up
                    if how is StreamEnd.TIME_LIMIT:
                        return Ended.TIME_LIMIT, f"{self._setup.max_s:g} s"
                case Fetch() as step:
                    await self._fetch(carrier, step)
                case Rest(seconds):
                    await self._rest_for(seconds, caller)
                    if caller.hung_up:
                        return Ended.CALLER_HUNG_UP, caller.hung_up
                case Wait():
                    await self._hold(caller)
                case Finished(how=finish, detail=detail):
                    return self._how_it_ended(finish), detail or finish.value

    async def _rest_for(self, seconds: float, caller: Caller) -> None:
        """A pause passes, unless the REST API has other plans or the caller has had enough."""
        with anyio.move_on_after(seconds):
            while self._rest is None and not caller.hung_up:
                await anyio.sleep(_FRAME_S)
                caller.catch_up(self._clock.now())

    async def _hold(self, caller: Caller) -> None:
        """In a conference, listening to music, until it is over or the REST API takes the call elsewhere."""
        self._released = False
        with anyio.move_on_after(self._setup.max_s):
            while self._rest is None and not self._released:
                await anyio.sleep(_FRAME_S)
        caller.listen_until(self._clock.now())

    def _how_it_ended(self, finish: Finish) -> Ended:
        match finish:
            case Finish.ERROR:
                return Ended.FAILED
            case Finish.REJECTED:
                return Ended.REJECTED
            case Finish.HUNG_UP | Finish.NO_MORE_VERBS:
                return Ended.TRANSFERRED if self._twiml.transferred else Ended.AGENT_HUNG_UP

    async def _apply_rest(self, carrier: Carrier) -> bool:
        """Do what the REST API was asked; True if that was to end the call."""
        params, self._rest = self._rest or {}, None
        if params.get("Status") in ("completed", "canceled"):
            return True
        if "Twiml" in params:
            self._twiml.load(carrier.url(self._setup.webhook_path), params["Twiml"])
        elif "Url" in params:
            await self._fetch(carrier, Fetch(params["Url"], params.get("Method", "POST")))
        return False

    async def _listen(self, carrier: Carrier, on_event: OnEvent) -> None:
        self._listening = True
        url = carrier.url(f"/calls/{self.call_sid}/events")
        await follow(carrier.http, carrier.reachable(url), carrier.signature(url), on_event)
        self._told_all.set()

    async def _fetch(self, carrier: Carrier, step: Fetch, *, status: str = "in-progress") -> None:
        try:
            answer = await carrier.request(step.method, step.url, step.parameters, status=status)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            self._twiml.fail(f"{step.url}: {error!r}")
            return
        kind = answer.headers.get("content-type", "")
        self._twiml.load(step.url, answer.text, status=answer.status_code, content_type=kind)

    async def _stream(self, carrier: Carrier, callbacks: TaskGroup, step: ConnectStream, caller: Caller) -> StreamEnd:
        sid = "MZ" + uuid4().hex

        def tell(event: str, error: str = "") -> None:
            if step.status_callback:
                callbacks.start_soon(carrier.stream_callback, step, sid, event, error)

        try:
            socket = await open_socket(carrier.reachable(step.url), carrier.signature(step.url))
        except NotOpened as error:
            now = self._clock.now()
            self._warnings.append(CarrierWarning(error.code, error.reason, str(error), now))
            self._streams.append(StreamRun(sid, step.url, now, now, StreamEnd.NOT_OPENED, str(error)))
            tell("stream-error", str(error))
            return StreamEnd.NOT_OPENED
        self._clock.start()
        started = self._clock.now()
        wire = CarrierStream(sid, self.call_sid, self._setup.account_sid, step.parameters)
        media = MediaRun(
            socket,
            wire,
            caller,
            self._voice,
            self._clock,
            taken_away=lambda: self._rest is not None,
            limit_ms=int(self._setup.max_s * 1000),
        )
        caller.catch_up(started)
        tell("stream-started")
        try:
            how = await media.run()
            ended = self._clock.now()
            await socket.close()
        finally:
            socket.transport.abort()  # when cancelled there is no time for manners
        closed = how in (StreamEnd.SERVER, StreamEnd.LOST)
        detail = f"{socket.close_code} {socket.close_reason}".strip() if closed else ""
        if how is StreamEnd.LOST:
            self._warnings.append(CarrierWarning(31921, "close", f"the socket ended with {detail}", ended))
        self._warnings.extend(wire.warnings)
        self._refused.update(wire.refused)
        self._voice.ended(ended)
        self._heard.extend(wire.heard(ended))
        self._marks.extend(wire.marks)
        self._late_ms = max(self._late_ms, media.late_ms)
        self._streams.append(StreamRun(sid, step.url, started, ended, how, detail))
        tell("stream-stopped")
        return how

    def _result(self, caller: Caller, ended: Ended, detail: str, report: Mapping[str, Any] | None) -> CallResult:
        greeting = next(iter(self._voice.openings), None)
        if greeting is not None and caller.lines and greeting.received_ms >= caller.lines[0].speech_end_ms:
            greeting = None  # it is an answer
        return CallResult(
            call_sid=self.call_sid,
            ended=ended,
            detail=detail,
            duration_ms=max((stream.ended_ms for stream in self._streams), default=0),
            greeting_ms=None if greeting is None else greeting.received_ms,
            greeting_heard_ms=None if greeting is None else greeting.voiced_ms,
            turns=turns(caller.lines, self._voice),
            streams=tuple(self._streams),
            twiml=self._twiml.trace,
            heard=tuple(self._heard),
            said=caller.said,
            marks=tuple(self._marks),
            warnings=(*self._twiml.warnings, *self._warnings),
            refused=dict(self._refused),
            late_ms=self._late_ms,
            report=report,
        )


async def run_many(calls: Sequence[SimulatedCall], *, stagger_s: float = 0.013) -> list[CallResult]:
    """Run calls side by side, each begun `stagger_s` after the one before; results in the order of `calls`.

    The default is no multiple of a frame, so that the calls' frames spread over the 20 ms as those of strangers do.
    """
    results: dict[int, CallResult] = {}

    async def one(number: int, call: SimulatedCall) -> None:
        await anyio.sleep(number * stagger_s)
        results[number] = await call.run()

    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(calls):
            tasks.start_soon(one, number, call)
    return [results[number] for number in range(len(calls))]
