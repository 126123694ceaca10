"""The composition root: builds the parts of a role from the settings and serves them. No logic of the product.

web     Flask: webhooks, reports                 media   the calls
worker  ends what nobody serves any more         all     everything in one process, for a small office
"""

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import anyio
from anyio import to_thread

from moked import asgi, metrics, parts, processes, telephony, weights, written
from moked.board import BoardBus
from moked.bus import Bus, MemoryBus, RedisBus
from moked.crm import db
from moked.crm.access import Access
from moked.crm.desk import Desk
from moked.crm.edits import Edits
from moked.crm.inbox_desk import InboxDesk
from moked.crm.past import Past
from moked.crm.phone import to_e164
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm, NextStep, Step
from moked.crm.tickets import TicketRefusal
from moked.dialog import CallContext
from moked.dialog.business import Business, load_business
from moked.errors import ModelError, ProviderError
from moked.jobs import transcripts
from moked.jobs.messenger import Messenger
from moked.jobs.sweeper import sweep
from moked.media.ear import Ear
from moked.media.filler import FillerPolicy
from moked.media.journal import Journal
from moked.media.machine import MachineDetector
from moked.media.server import MediaServer, Outlet
from moked.media.session import CallSession, SessionParts
from moked.media.speech import SpeechEvent
from moked.media.turns import TurnPolicy
from moked.media.twilio import Start
from moked.media.vad import VadBatcher
from moked.node import Node
from moked.pressure import Pressure
from moked.records import CallStart
from moked.rollout import live
from moked.rollout.guard import Limits
from moked.rollout.live import Rollout, RolloutParts, Sink
from moked.rollout.shadow import Metric
from moked.server import Server
from moked.serving import MediaProcesses
from moked.settings import Settings, ensure_local_secret
from moked.setup_link import SetupLink
from moked.spool import Spool
from moked.stt import Engine, canary
from moked.stt.failover import Breaker
from moked.stt.relay import Relay
from moked.tts import Progress, Synthesizer
from moked.web import DeskParts, WebParts, create_app, handover

log = logging.getLogger(__name__)

_PARENT_S = 1.0


class Role(StrEnum):
    ALL = "all"
    WEB = "web"
    MEDIA = "media"
    WORKER = "worker"


@dataclass(slots=True)
class House:
    """What every role of the process stands on."""

    settings: Settings
    business: Business
    business_id: int
    crm: Crm
    rollouts: Rollouts
    bus: Bus
    auth_token: str
    host: str
    port: int
    processes: MediaProcesses
    pressure: Pressure
    number: int = 0  # of this media process among several on the host; 0: there is but one
    listening: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    media: MediaServer | None = None
    node: Node | None = None
    control: telephony.CallControl | None = None
    rollout: Rollout | None = None
    choices: list[parts.Choice] = field(default_factory=list)
    messenger: Messenger | None = None
    setup_token: str = ""  # of the first run's one-time link; '' where somebody can log in already

    def note_lag(self, now: float, lag_s: float) -> None:
        """Loading models makes the loop late, and says nothing about how calls will fare."""
        if self.listening:
            self.pressure.note(now, lag_s)

    @property
    def base_url(self) -> str:
        """How the carrier reaches us; without PUBLIC_BASE_URL only callers on this machine do."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104  (compared, not bound)
        return self.settings.public_base_url or f"http://{host}:{self.port}"

    @property
    def media_url(self) -> str:
        """Where the carrier opens the media stream; its handshake is signed over this."""
        return _media_url(self.settings.media_public_url or self.base_url, self.number)

    def resume_url(self, call_sid: str) -> str:
        """Where a call whose stream has ended goes on; '' where nobody takes calls. Asks around: not on the loop."""
        if self.media is not None and not self.media.draining:
            return self.media_url
        return self.elsewhere(call_sid)

    def elsewhere(self, call_sid: str = "") -> str:
        """The stream's address at another process: one that reports itself, but not the one this call was left by, or
        one of `MEDIA_URLS` that answers. '' if there is none."""
        own = self.node.name if self.node is not None else ""
        if found := self.crm.node_elsewhere(call_sid, but=own):
            return found
        address = self.processes.pick()
        return _media_url(address) if address else ""

    @property
    def rest(self) -> bool:
        """Ends of calls can be commanded over the carrier's REST interface."""
        return bool(self.settings.twilio_account_sid and self.settings.twilio_auth_token)


def _media_url(base: str, number: int = 0) -> str:
    scheme, address = urlsplit(base)[:2]
    return f"{'wss' if scheme == 'https' else 'ws'}://{address}{asgi.media_path(number)}"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Told by `serve` as it comes up: the CLI shows it to the owner."""

    choices: Callable[[list[parts.Choice]], None] = lambda choices: None
    loading: Callable[[str], None] = lambda what: None
    phrases: Progress = lambda done, total: None
    listening: Callable[[House], None] = lambda house: None


async def serve(
    settings: Settings,
    role: Role,
    host: str,
    port: int,
    *,
    watcher: Watcher | None = None,
    stop: anyio.Event | None = None,
    number: int = 0,
    parent: int = 0,
) -> None:
    """Serve `role` until a signal, until `stop` is set, or until `parent` (a process id) is gone; then drain.

    `number` tells a media process which of several it is. Raises `MokedError` when it cannot start.
    """
    watcher = watcher or Watcher()
    async with AsyncExitStack() as stack:
        house = await _house(settings, host, port, stack)
        house.number = number
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(lambda: metrics.watch_loop_lag(tell=house.note_lag))
        if role in (Role.ALL, Role.MEDIA):
            await _media(house, stack, watcher)
        flask, watched = None, None
        if role in (Role.ALL, Role.WEB):
            desk = await to_thread.run_sync(_desk, house, stack, _inbox_changed(house))
            flask, watched = create_app(_web_parts(house, desk)), desk.access.board_of
        if role in (Role.ALL, Role.WORKER) or number == 1:
            tasks.start_soon(sweep, house.crm)
            if written.on(settings):
                await _written(house, stack)
        app = asgi.build(
            ready=lambda: house.missing,
            about=lambda: _about(house),
            media=house.media,
            number=number,
            flask=flask,
            bus=house.bus if house.media is not None or settings.redis_url else None,
            board=house.bus if watched is not None else None,
            board_of=watched or (lambda session: None),
            events_allowed=lambda path, signature: any(
                telephony.signature_valid(house.auth_token, base + path, {}, signature)
                for base in filter(None, (house.base_url, settings.media_public_url))
            ),
        )
        server = Server(app, host, port)
        async with anyio.create_task_group() as serving:
            serving.start_soon(server.serve)
            house.port = await server.listening()
            house.listening = True
            if house.node is not None:
                await house.node.tell()
                tasks.start_soon(house.node.beat)
            watcher.listening(house)
            if stop is not None:
                serving.start_soon(_stop_on, stop, server)
            if parent:
                tasks.start_soon(_stop_without, parent, server)
            await server.stopping.wait()
            await _drain(house, settings.drain_seconds)
            server.end()
            if stop is not None:
                stop.set()
        tasks.cancel_scope.cancel()
        if house.node is not None:
            await house.node.leave()


async def _stop_on(stop: anyio.Event, server: Server) -> None:
    await stop.wait()
    server.stop()


async def _stop_without(parent: int, server: Server) -> None:
    """The supervisor is gone, however it went: nobody would end or replace us."""
    while os.getppid() == parent:
        await anyio.sleep(_PARENT_S)
    log.error("the supervisor is gone")
    server.stop()


def _about(house: House) -> dict[str, str]:
    process = {"process": str(house.number)} if house.number else {}
    return process | ({"hearing": house.rollout.words} if house.rollout is not None else {})


async def _drain(house: House, seconds: float) -> None:
    house.missing["draining"] = "no new calls are taken"
    if house.media is None or house.node is None:
        return
    await house.node.drain(seconds)  # first, so that no admitted call finds the door shut
    log.info("draining", extra={"active_calls": house.media.active, "seconds": seconds})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_let_calls_go, house, house.media)
        await house.media.drain(seconds)
        tasks.cancel_scope.cancel()


async def _let_calls_go(house: House, media: MediaServer) -> None:
    """As soon as another process takes calls, ours go there. Run for ever, for those that were not ready to."""
    while True:
        if await to_thread.run_sync(house.elsewhere, abandon_on_cancel=True):
            media.move()
        await anyio.sleep(_ASK_AROUND_S)


_ASK_AROUND_S = 0.5
_REDIRECT_S = 10.0


async def _house(settings: Settings, host: str, port: int, stack: AsyncExitStack) -> House:
    business = load_business(settings.business_profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = await to_thread.run_sync(db.connect, settings.database)
    stack.callback(engine.dispose)
    await to_thread.run_sync(db.migrate, engine)
    crm = Crm(engine, next_opening=lambda at: at if business.is_open(at) else business.next_opening(at) or at)
    business_id = await to_thread.run_sync(lambda: crm.ensure_business(business.name, timezone=business.timezone))
    bus: Bus = RedisBus(settings.redis_url) if settings.redis_url else MemoryBus()
    await stack.enter_async_context(bus.running())
    token = settings.twilio_auth_token
    secret = token.get_secret_value() if token is not None else ensure_local_secret(settings.data_dir)
    urls = settings.media_urls or settings.media_public_url or settings.public_base_url
    processes = MediaProcesses([url for url in urls.split(",") if url])
    stack.callback(processes.close)
    pressure = Pressure(settings.admit_lag_ms / 1000)
    metrics.pressure_level.set_function(lambda: float(pressure.level))
    rollouts = Rollouts(engine, business_id)
    house = House(settings, business, business_id, crm, rollouts, bus, secret, host, port, processes, pressure)
    if house.rest:
        control = telephony.CallControl(settings.twilio_account_sid, secret, settings.twilio_api_base_url or None)
        house.control = await stack.enter_async_context(control)
    return house


async def _written(house: House, stack: AsyncExitStack) -> None:
    """Written conversations, on connections of their own."""
    engine = await to_thread.run_sync(db.connect, house.settings.database)
    stack.callback(engine.dispose)
    messenger, agents, notes = written.build(house.settings, house.business, house.business_id, engine, house.bus)
    await stack.enter_async_context(agents.running())
    await _beside(stack, notes.run)
    await _beside(stack, messenger.run)
    house.messenger = messenger


def _inbox_changed(house: House) -> Callable[[int], None]:
    """For threads of the web plane: other pages show it, and what is to be sent is sent at once."""
    loop = asyncio.get_running_loop()
    tell = written.teller(house.bus, house.business_id, written.CHANGED)

    def on_loop(conversation: int) -> None:
        tell(conversation)
        if house.messenger is not None:
            house.messenger.nudge()

    def changed(conversation: int) -> None:
        loop.call_soon_threadsafe(on_loop, conversation)

    return changed


def _desk(house: House, stack: AsyncExitStack, changed: Callable[[int], None]) -> DeskParts:
    """The pages' own connections: a heavy list must not use up those that calls are stored on."""
    engine = db.connect(house.settings.database)
    stack.callback(engine.dispose)
    setup = SetupLink(house.settings.data_dir)
    access = Access(engine)
    if not access.anybody():
        house.setup_token = setup.make()
    inbox = None
    if written.on(house.settings):
        inbox = InboxDesk(engine, changed=lambda business, conversation: changed(conversation))
    return DeskParts(
        access=access,
        desk=Desk(engine),
        edits=Edits(engine),
        setup=setup,
        inbox=inbox,
        linked=house.settings.whatsapp == "baileys",
    )


async def _media(house: House, stack: AsyncExitStack, watcher: Watcher) -> None:
    settings, business = house.settings, house.business
    watcher.loading("models")
    await to_thread.run_sync(_ensure_weights, settings)
    engines, hearing = parts.hearing(settings, business)
    voice, speaking = parts.voice(settings, business)
    factory, agent = parts.agents(settings, business)
    unheard = parts.unheard(settings, business)
    second = parts.second_hearing(settings, engines)
    spill = processes.spill(settings.data_dir, house.number)
    journal = Journal(house.crm, spill, on_spill=metrics.journal_spills.inc)
    breakers = {engine.name: Breaker() for engine in engines}
    house.rollout = rollout = _rollout(house, engines, breakers, journal)
    await rollout.look()
    house.choices = [hearing, _streaming_choice(rollout), *second.choices, speaking, agent]
    watcher.choices(house.choices)
    vad = VadBatcher(weights.path("silero-vad", root=settings.models_root))
    for running in (vad.running, journal.running, factory.running, voice.running, *(one.running for one in engines)):
        await stack.enter_async_context(running())
    await _beside(stack, canary.watch, engines, breakers)
    await stack.enter_async_context(rollout.running())
    await stack.enter_async_context(second.running())
    spooled = await _stored_transcripts(house, second, stack)
    fixed = parts.phrases(business)

    def ear(on_speech: Callable[[SpeechEvent], None]) -> Ear:
        return Ear(vad.open, on_speech)

    session_parts = partial(
        SessionParts,
        agents=factory,
        voice=voice,
        ear=ear,
        context=_context(house),
        journal=journal,
        bus=BoardBus(house.bus, house.business_id),
        control=RestControl(house.control, house),
        phrases=fixed,
        policy=TurnPolicy(hold_ms=settings.endpoint_hold_ms),
        left=lambda start: to_thread.run_sync(house.crm.left_call, start.call_sid),
        unheard=unheard,
        second=second.ear,
        spool=spooled.call if spooled is not None else None,
        transfer_number=business.transfer_number,
        fillers=FillerPolicy(settings.filler_ms) if settings.filler_ms else None,
        machine=MachineDetector if settings.detect_machines else None,
        max_call_ms=settings.max_call_seconds * 1000,
        log_transcripts=settings.log_transcripts,
        on_turn=rollout.turn,
        pressure=house.pressure,
    )
    house.media = server = _media_server(
        house, lambda call: session_parts(recognizer=partial(rollout.recognizer, call))
    )
    house.node = Node(
        house.crm,
        house.pressure,
        address=lambda: house.media_url,
        active=lambda: server.active,
        capacity=settings.max_calls,
    )
    metrics.calls_active.set_function(lambda: len(server.call_sids))
    await _prepare_voice(house, voice, (*parts.all_phrases(factory, fixed), *unheard.phrases()), stack, watcher)


def _rollout(house: House, engines: Sequence[Engine], breakers: Mapping[str, Breaker], journal: Journal) -> Rollout:
    """Every call's hearing, in the order that holds; and the recognizers beside calls, with breakers of their own."""
    settings = house.settings
    by_name = {engine.name: engine for engine in engines}

    def relay(order: Sequence[str], sink: Sink, metric: Metric) -> Relay:
        def count(name: str, engine: str, value: float) -> None:
            _count_hearing(name, engine, value)
            metric(name, engine, value)

        return Relay(
            [by_name[name] for name in order],
            sink,
            breakers=breakers,
            debounce_ms=settings.stt_partial_debounce_ms,
            hints=house.business.hints,
            metric=count,
        )

    def shadow(name: str, sink: Sink, metric: Metric) -> Relay:
        return Relay(
            [by_name[name]],
            sink,
            breakers={name: Breaker()},
            debounce_ms=settings.stt_partial_debounce_ms,
            hints=house.business.hints,
            metric=metric,
        )

    def tell(call_sid: str, data: dict[str, Any]) -> None:
        journal.put_event(call_sid, "rollout", data)
        house.bus.publish(f"call:{call_sid}", "rollout", data)

    modes = parts.engines_of(engines)
    return Rollout(
        RolloutParts(
            engines=modes,
            default=settings.enable_streaming_stt,
            store=house.rollouts,
            bus=house.bus,
            relay=relay,
            shadow=shadow,
            tell=tell,
            other=by_name.get(modes.utterances),
            limits=Limits(settings.rollback_error_percent, settings.rollback_p95_ms, settings.rollback_min_turns),
            max_shadows=settings.shadow_max_calls,
            spare=lambda: house.pressure.calm,
        )
    )


def _streaming_choice(rollout: Rollout) -> parts.Choice:
    share = rollout.policy.share
    why = "ENABLE_STREAMING_STT" if share is None else f"set at run time by {share.by}"
    return parts.Choice("streaming", rollout.words, why, "`moked rollout` changes it while calls run")


def _ensure_weights(settings: Settings) -> None:
    needed, spared = parts.needed_weights(settings), parts.spared_weights(settings)
    weights.ensure([name for name in needed if name not in spared], root=settings.models_root)
    for name in needed:
        if name in spared:
            try:
                weights.ensure([name], root=settings.models_root)
            except ModelError as error:  # `parts` falls back, and says what is missing
                log.warning("weights could not be installed", extra={"weights": name, "error": str(error)})


async def _stored_transcripts(house: House, second: parts.SecondHearing, stack: AsyncExitStack) -> Spool | None:
    """The spool of callers' audio where transcripts are to be written after the calls, with its writer."""
    settings = house.settings
    if second.scribe is None:
        if settings.stt_stored_transcript == "whisper":
            log.warning("there is no Whisper to write transcripts: they stay live")
        return None
    folder = settings.data_dir / "spool"
    spool = Spool(folder, longest_ms=settings.max_call_seconds * 1000)
    stack.enter_context(spool.running())
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    spare = partial(transcripts.transcribe, spare=lambda: house.pressure.calm)
    tasks.start_soon(spare, folder, second.scribe, house.crm)
    return spool


URGENT_PHRASES = 3
"""Rendered before the first call is taken: the greeting and what follows it. The rest comes in the background."""


async def _prepare_voice(
    house: House, voice: Synthesizer, phrases: Sequence[str], stack: AsyncExitStack, watcher: Watcher
) -> None:
    def told(done: int, total: int) -> None:
        """Until all is rendered a call may have to wait for a phrase: that is not "ready"."""
        if done < total:
            house.missing["voice"] = f"{done} of {total} phrases"
        else:
            house.missing.pop("voice", None)
        watcher.phrases(done, total)

    async def render(some: Sequence[str], progress: Progress) -> None:
        try:
            await voice.prepare(some, progress)
        except ProviderError as error:  # they are made when they are needed, then
            log.warning("phrases could not be rendered ahead", extra={"error": str(error)})

    async def the_rest() -> None:
        await render(phrases, told)
        house.missing.pop("voice", None)

    told(0, len(phrases))
    await render(phrases[:URGENT_PHRASES], lambda done, _: told(min(done, URGENT_PHRASES), len(phrases)))
    await _beside(stack, the_rest)


async def _beside(stack: AsyncExitStack, task: Callable[..., Coroutine[Any, Any, None]], *given: Any) -> None:
    """Run a task until the role ends."""
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    tasks.start_soon(task, *given)


def _context(house: House) -> Callable[[CallStart], Awaitable[CallContext]]:
    zone = ZoneInfo(house.business.timezone)
    past = Past(house.crm.engine)

    async def context(start: CallStart) -> CallContext:
        number = to_e164(start.caller) or ""
        known = await to_thread.run_sync(house.crm.contact_by_phone, number) if number else None
        notes = await to_thread.run_sync(past.of_contact, known.id) if known is not None else {}
        return CallContext(
            call_sid=start.call_sid,
            caller=number,
            now=datetime.now(zone),
            known_name=known.name if known is not None else "",
            last_need=known.last_need if known is not None else "",
            notes=notes,
        )

    return context


_SPARE_SOCKETS = 8
"""Places are given by the webhook. A socket whose call is over may still write its record when the next one comes."""


def _media_server(house: House, parts_of: Callable[[CallStart], SessionParts]) -> MediaServer:
    async def redeem(token: str, call_sid: str) -> CallStart | TicketRefusal:
        node = house.node.name if house.node is not None else ""
        return await to_thread.run_sync(lambda: house.crm.redeem_ticket(token, call_sid, node=node))

    def session(start: Start, call: CallStart, outlet: Outlet) -> CallSession:
        return CallSession(parts_of(call), call, outlet)

    return MediaServer(
        sessions=session,
        redeem=redeem,
        signature_ok=lambda header: telephony.signature_valid(house.auth_token, house.media_url, {}, header),
        account_sid=house.settings.twilio_account_sid or None,
        max_calls=house.settings.max_calls + _SPARE_SOCKETS,
        count=_count_media,
    )


def _count_hearing(name: str, engine: str, value: float) -> None:
    match name:
        case "failed":
            metrics.stt_failures.labels(engine).inc()
        case "stalled" | "slow":
            metrics.stt_suspicions.labels(engine, name).inc()
        case "opened":
            metrics.stt_open.observe(value / 1000)
        case "replayed":
            metrics.stt_replayed.labels(engine).inc(value / 1000)
        case "lost":  # audio that nobody recognised: no engine could be used for longer than the tape
            metrics.stt_lost.inc(value / 1000)
        case "trimmed":
            metrics.stt_trimmed.inc(value)
        case "gap":
            metrics.stt_partial_gap.observe(value / 1000)


def _count_media(name: str, **labels: str) -> None:
    match name:
        case "refused":
            metrics.socket_refusals.labels(labels.get("reason", "")).inc()
        case "bad_message":
            metrics.bad_messages.labels(labels.get("reason", "")).inc()
        case _:
            metrics.queue_drops.labels(name).inc()


def _web_parts(house: House, desk: DeskParts) -> WebParts:
    business = house.business

    def person() -> str:
        """Who can be offered to a caller right now."""
        return business.transfer_number if business.is_open(datetime.now(ZoneInfo(business.timezone))) else ""

    return WebParts(
        crm=house.crm,
        business_id=house.business_id,
        business_name=business.name,
        auth_token=house.auth_token,
        public_base_url=lambda: house.base_url,
        transfer_number=business.transfer_number,
        person=person,
        here=lambda: None if house.node is None else house.node.report(),
        resume_ws_url=house.resume_url,
        may_wait=lambda: house.media is None and "draining" not in house.missing,
        redirect_call=_redirector(house),
        count=lambda event, reason: metrics.webhooks.labels(event, reason).inc(),
        desk=desk,
        messages=written.webhooks(house.settings, house.crm.engine),
        message_came=_inbox_changed(house),
        rollouts=house.rollouts,
        streaming_default=house.settings.enable_streaming_stt,
        streaming_means=parts.uses_google_speech(house.settings),
        rollout_changed=_from_thread(lambda: house.bus.publish(live.TOPIC, "rollout.changed", {})),
    )


def _redirector(house: House) -> Callable[[str, str], None]:
    """For threads of the web plane: the REST client lives on this loop."""
    loop = asyncio.get_running_loop()

    def redirect(call_sid: str, url: str) -> None:
        if house.control is not None:
            done = house.control.update_twiml(call_sid, telephony.redirect(url))
            asyncio.run_coroutine_threadsafe(done, loop).result(_REDIRECT_S)

    return redirect


def _from_thread(work: Callable[[], None]) -> Callable[[], None]:
    """`work` on this loop, asked for from a thread of the web plane."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        loop.call_soon_threadsafe(work)

    return ask


class RestControl:
    """`session.Control` over the carrier's REST interface; without credentials the TwiML after the stream decides."""

    def __init__(self, control: telephony.CallControl | None, house: House) -> None:
        self._control = control
        self._house = house

    async def hang_up(self, call_sid: str) -> bool:
        if self._control is None:
            return False
        await self._control.hang_up(call_sid)
        return True

    async def transfer(self, call_sid: str, number: str) -> bool:
        if self._control is None:  # the TwiML after the stream asks us, so the answer must be on record by then
            await to_thread.run_sync(self._house.crm.set_next_step, call_sid, NextStep(Step.TRANSFER, number))
            return False
        base = self._house.base_url
        then = telephony.WayOn(
            voicemail_action=f"{base}/webhook/voicemail",
            dial_action=f"{base}/webhook/dial_result",
            transfer_number=number,
        )
        await self._control.update_twiml(call_sid, telephony.dial(number, then, announce=False))
        return True

    @property
    def can_hold(self) -> bool:
        return self._control is not None

    async def hand_over(self, start: CallStart, number: str) -> None:
        assert self._control is not None
        base, sid = self._house.base_url, start.call_sid
        answer, status = handover.answer_url(base, sid), handover.status_url(base, sid)
        # On hold first: a busy line answers at once, and its word must not come before the caller waits.
        if await self._control.update_twiml(sid, telephony.hold(handover.room(sid), f"{base}/webhook/held")):
            await self._control.ring(number, start.called, answer=answer, status=status)
