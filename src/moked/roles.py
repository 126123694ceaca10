"""The composition root: builds the parts of a role from the settings and serves them. No logic of the product.

web     Flask: webhooks, pages                   media   the calls
worker  what is done after calls and beside      office  web and worker, beside media processes
all     everything in one process, for a small office
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup
from sqlalchemy import Engine as Database

from moked import asgi, doors, metrics, outreach, parts, processes, recordings, sockets, telephony, weights, written
from moked.answering import TOPIC, URGENT_PHRASES, Answers, Follower, Voices
from moked.board import BoardBus
from moked.bus import Bus, MemoryBus, RedisBus
from moked.crm import db
from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions
from moked.crm.analytics import Analytics
from moked.crm.businesses import Businesses
from moked.crm.costs import Prices
from moked.crm.delivering import Sending
from moked.crm.edits import Edits
from moked.crm.erasure import Erasure
from moked.crm.hooks import Hooks
from moked.crm.inbox_desk import InboxDesk
from moked.crm.job_store import JobStore
from moked.crm.keys import Keys
from moked.crm.listing import Listing
from moked.crm.live import Live
from moked.crm.live_words import LiveWords
from moked.crm.outreach import Outreach
from moked.crm.past import Past
from moked.crm.phone import to_e164
from moked.crm.privacy_desk import PrivacyDesk
from moked.crm.privacy_rules import RefusedWords, opening
from moked.crm.redaction import Policy
from moked.crm.rehearsals import Rehearsals
from moked.crm.retention import Retention
from moked.crm.rollouts import Rollouts
from moked.crm.sealed import Sealer
from moked.crm.service import Crm, NextStep, Step
from moked.crm.tickets import TicketRefusal
from moked.dialog import AgentFactory, CallContext
from moked.dialog.business import MOST_HINTS, Business
from moked.dialog.published import AgentPlan, files_of, read_agent
from moked.erasing import Leftovers
from moked.errors import Failure, ModelError, ProfileError, ProviderError, RecordingError
from moked.jobs import after_call, transcripts, webhooks
from moked.jobs.counting import count_days
from moked.jobs.exports import write_exports
from moked.jobs.purge import nightly
from moked.jobs.sweeper import sweep
from moked.media import orders
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
from moked.newcomers import Newcomers
from moked.node import Node
from moked.practice import Practice, Register, practices
from moked.pressure import Pressure
from moked.recording.archive import Archive
from moked.recording.recorder import Recorder
from moked.records import FROM_BROWSER, CallStart
from moked.rollout import live
from moked.rollout.guard import Limits
from moked.rollout.live import Rollout, RolloutParts, Sink
from moked.rollout.shadow import Metric
from moked.server import Server
from moked.serving import MediaProcesses
from moked.settings import Settings, ensure_data_keys, ensure_local_secret
from moked.setup_link import SetupLink
from moked.spool import Spool
from moked.stt import Engine, canary
from moked.stt.failover import Breaker
from moked.stt.google import GoogleStreaming
from moked.stt.once import hear_once
from moked.stt.relay import Relay
from moked.tts import Progress, Synthesizer
from moked.web import AgentParts, ApiParts, DeskParts, Office, PrivacyParts, WebParts, create_app, handover
from moked.web.outbound import OUTBOUND

log = logging.getLogger(__name__)

_PARENT_S = 1.0


class Role(StrEnum):
    ALL = "all"
    WEB = "web"
    MEDIA = "media"
    WORKER = "worker"
    OFFICE = "office"

    @property
    def takes_calls(self) -> bool:
        return self in (Role.ALL, Role.MEDIA)

    @property
    def serves_pages(self) -> bool:
        return self in (Role.ALL, Role.WEB, Role.OFFICE)

    @property
    def works(self) -> bool:
        return self in (Role.ALL, Role.WORKER, Role.OFFICE)


Begin = Callable[[Practice], Awaitable[None]]


@dataclass(slots=True)
class House:
    """What every role of the process stands on. `practices`: its businesses by the id of their row, the first first."""

    settings: Settings
    practices: dict[int, Practice]
    engine: Database
    crm: Crm
    rollouts: Rollouts
    versions: AgentVersions
    analytics: Analytics
    live: Live
    bus: Bus
    auth_token: str
    host: str
    port: int
    processes: MediaProcesses
    pressure: Pressure
    sealer: Sealer
    archive: Archive
    out: outreach.Outreach
    register: Register
    number: int = 0  # of this media process among several on the host; 0: there is but one
    listening: bool = False
    missing: dict[str, str] = field(default_factory=dict)
    media: MediaServer | None = None
    node: Node | None = None
    control: telephony.CallControl | None = None
    provider: telephony.ProviderRecordings | None = None
    rollout: Rollout | None = None
    newcomers: Newcomers | None = None
    begins: list[Begin] = field(default_factory=list)  # what a business that is added needs done, in this order
    follower: Follower | None = None  # of the first business
    choices: list[parts.Choice] = field(default_factory=list)
    conversations: written.Conversations | None = None
    setup_token: str = ""  # of the first run's one-time link; '' where somebody can log in already

    @property
    def first(self) -> Practice:
        """The business that the settings describe."""
        return next(iter(self.practices.values()))

    @property
    def business_id(self) -> int:
        return self.first.id

    @property
    def business(self) -> Business:
        return self.first.business

    @property
    def answers(self) -> Answers | None:
        return self.first.answers

    @property
    def hints(self) -> tuple[str, ...]:
        """Words to expect, of all businesses: an engine is told them before it knows whose call it is."""
        found = [one.business.hints for one in self.practices.values()]
        return tuple(dict.fromkeys(word for words in found for word in words))[:MOST_HINTS]

    async def each(self, begin: Begin) -> None:
        """Do this for every business, and for each that is added later."""
        self.begins.append(begin)
        for one in self.practices.values():
            await begin(one)

    async def joined(self, practice: Practice) -> None:
        """Serve a business that was added."""
        for begin in self.begins:
            await begin(practice)

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

    def our_urls(self) -> tuple[str, str]:
        """The addresses whose pages may open a browser's sockets."""
        return self.base_url, self.settings.media_public_url

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
    return f"{'wss' if scheme == 'https' else 'ws'}://{address}{sockets.path(sockets.CARRIER, number)}"


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
    work: bool = True,
) -> None:
    """Serve `role` until a signal, until `stop` is set, or until `parent` (a process id) is gone; then drain.

    Without `work`, what is done after calls is left to other processes, as there is one engine of it in a process.
    `number` tells a media process which of several it is. Raises `MokedError` when it cannot start.
    """
    watcher = watcher or Watcher()
    async with AsyncExitStack() as stack:
        house = await _house(settings, host, port, stack)
        house.number = number
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(lambda: metrics.watch_loop_lag(tell=house.note_lag))
        if role.takes_calls:
            await _media(house, stack, watcher, tasks)

        async def follow(one: Practice) -> None:
            follower = Follower(house.versions, one.id, house.bus, one.version, one.follow)
            house.follower = house.follower or follower
            tasks.start_soon(follower.run)

        await house.each(follow)
        house.newcomers = Newcomers(house.register, house.practices, house.bus, house.joined)
        if house.media is not None:
            tasks.start_soon(doors.deliver_orders, house.media, house.live, house.bus)
        flask, watched = None, None
        if role.serves_pages:
            voice = await _page_voice(house, stack)
            desk, api = await to_thread.run_sync(_desk, house, stack, _agent_parts(house, voice), _inbox_changed(house))
            flask, watched = create_app(_web_parts(house, desk, api)), desk.access.board_of
        if role.works:
            tasks.start_soon(sweep, house.crm)
            if work:
                from moked import working  # an engine that other roles need not have in memory

                others = after_call.Parts(
                    settle=house.crm.settle_refused,
                    announce=lambda sid: _send_webhooks(house),
                    follow_up=house.out.follow_ups.follow_up,
                    store_recording=lambda sid: house.archive.keeper.round(),
                )
                await working.start(
                    settings,
                    stack,
                    base_url=lambda: house.base_url,
                    others=others,
                    spare=lambda: house.pressure.calm,
                )
            tasks.start_soon(_webhooks, house)
            lists = db.connect(settings.database)
            stack.callback(lists.dispose)
            tasks.start_soon(write_exports, Edits(lists))
            house.conversations = await _conversations(house, stack)
            leaves = partial(
                outreach.run,
                house.out,
                control=house.control,
                places=house.crm,
                base_url=lambda: house.base_url,
                may=lambda: "draining" not in house.missing,
                conversations=house.conversations.lines if house.conversations is not None else None,
                told=lambda business: written.teller(house.bus, business, written.CHANGED)(0),
                **({"speak": house.conversations.speak} if house.conversations is not None else {}),
            )
            tasks.start_soon(leaves)
            retention = Retention(house.engine, house.provider)

            async def purge(one: Practice) -> None:
                tasks.start_soon(nightly, retention, one.id, ZoneInfo(one.business.timezone))

            await house.each(purge)
            tasks.start_soon(count_days, house.analytics)
        tasks.start_soon(house.newcomers.run)  # last: whatever begins for a business is told by now
        app = asgi.build(
            ready=lambda: house.missing,
            about=lambda: _about(house),
            sockets=doors.doors(
                house.media, number=number, redeem=_redeem(house), live=house.live, ours=house.our_urls
            ),
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
    if house.follower is not None:
        process["agent"] = f"version {house.follower.version}" if house.follower.version else "files"
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
_SPEAK_S = 30.0


async def _house(settings: Settings, host: str, port: int, stack: AsyncExitStack) -> House:
    read_agent(files_of(settings.business_profile, settings.agent_script))  # wrong files make no database
    written.templates(settings)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = await to_thread.run_sync(db.connect, settings.database)
    stack.callback(engine.dispose)
    await to_thread.run_sync(db.migrate, engine)
    sealer = Sealer(*await to_thread.run_sync(ensure_data_keys, settings))
    crm = Crm(engine, sealer=sealer)
    register = await to_thread.run_sync(Register, settings, engine, crm)
    served = await to_thread.run_sync(practices, register)
    bus: Bus = RedisBus(settings.redis_url) if settings.redis_url else MemoryBus()
    await stack.enter_async_context(bus.running())
    token = settings.twilio_auth_token
    secret = token.get_secret_value() if token is not None else ensure_local_secret(settings.data_dir)
    urls = settings.media_urls or settings.media_public_url or settings.public_base_url
    processes = MediaProcesses([url for url in urls.split(",") if url])
    stack.callback(processes.close)
    pressure = Pressure(settings.admit_lag_ms / 1000)
    metrics.pressure_level.set_function(lambda: float(pressure.level))
    rollouts = Rollouts(engine, next(iter(served)))
    archive = Archive(engine, sealer, settings.data_dir / "recordings", parts.recordings_store(settings))
    out = outreach.build(engine, settings, served, lambda: house.base_url)
    house = House(
        settings,
        served,
        engine,
        crm,
        rollouts,
        register.versions,
        Analytics(engine),
        Live(engine),
        bus,
        secret,
        host,
        port,
        processes,
        pressure,
        sealer,
        archive,
        out,
        register,
    )
    house.provider = parts.provider_recordings(settings)
    if house.provider is not None:
        stack.callback(house.provider.close)
    if house.rest:
        control = telephony.CallControl(settings.twilio_account_sid, secret, settings.twilio_api_base_url or None)
        house.control = await stack.enter_async_context(control)
    return house


async def _page_voice(house: House, stack: AsyncExitStack) -> Synthesizer | None:
    """What the pages let people hear words with, where calls are elsewhere; a local voice is too heavy for that."""
    if house.answers is not None or not parts.uses_google_voice(house.settings):
        return None
    voice, _ = parts.voice(house.settings, house.business)
    await stack.enter_async_context(voice.running())
    return voice


def _agent_parts(house: House, voice: Synthesizer | None) -> Callable[[Database], AgentParts]:
    """What the pages about the agent need, on their own connections; made on the loop whose voice they borrow."""
    settings, loop = house.settings, asyncio.get_running_loop()

    @asynccontextmanager
    async def make(plan: AgentPlan) -> AsyncIterator[AgentFactory]:
        chat = parts.chat(settings)
        try:
            yield parts.agents(settings, plan, chat)[0]
        finally:
            if chat is not None:
                await chat.close()

    async def spoken(text: str) -> bytes:
        speaker = house.answers.current.voice if house.answers is not None else voice
        assert speaker is not None
        async with speaker.speak(text) as audio:
            return b"".join([chunk async for chunk in audio])

    def speak(text: str) -> bytes:
        try:
            return asyncio.run_coroutine_threadsafe(spoken(text), loop).result(_SPEAK_S)
        except TimeoutError as error:
            raise ProviderError("voice", Failure.TIMEOUT, "the voice took too long") from error

    published = _from_thread(lambda: house.bus.publish(TOPIC, "agent.published", {}))
    return lambda engine: AgentParts(
        versions=AgentVersions(engine, house.versions.files, house.versions.others, house.versions.first),
        rehearsals=Rehearsals(engine),
        make=make,
        published=published,
        speak=speak if house.answers is not None or voice is not None else None,
        name="llm" if settings.openai_api_key is not None or settings.openai_base_url else "script",
    )


def deliveries(settings: Settings, engine: Database) -> Sending:
    """The worker's half of the webhooks, with their secrets unsealed."""
    sealer = Sealer(*ensure_data_keys(settings))
    return Sending(engine, sealer, private=settings.webhook_private_addresses)


def _count_delivery(outcome: str) -> None:
    metrics.webhook_deliveries.labels(outcome).inc()


async def _webhooks(house: House) -> None:
    """Sends what waits, until the role ends."""
    await webhooks.deliver(deliveries(house.settings, house.engine), count=_count_delivery)


def _send_webhooks(house: House) -> None:
    """Now, and not in the next round."""
    webhooks.deliver_due(deliveries(house.settings, house.engine), count=_count_delivery)


async def _conversations(house: House, stack: AsyncExitStack) -> written.Conversations | None:
    """Written conversations, on connections of their own, where a channel for them is set."""
    if not written.on(house.settings):
        return None
    engine = await to_thread.run_sync(db.connect, house.settings.database)
    stack.callback(engine.dispose)
    rules = outreach.rules(house.settings)
    found = written.build(house.settings, house.practices, engine, house.bus, house.sealer, rules)
    await _beside(stack, found.run)

    async def carry(one: Practice) -> None:
        found.add(one)

    house.begins.append(carry)
    return found


def _inbox_changed(house: House) -> Callable[[int, int], None]:
    """For threads of the web plane: other pages show it, and what waits for an answer gets it at once."""
    loop = asyncio.get_running_loop()

    def on_loop(business: int, conversation: int) -> None:
        written.teller(house.bus, business, written.CHANGED)(conversation)
        if house.conversations is not None:
            house.conversations.nudge(business)

    def changed(business: int, conversation: int) -> None:
        loop.call_soon_threadsafe(on_loop, business, conversation)

    return changed


def _desk(
    house: House,
    stack: AsyncExitStack,
    agent: Callable[[Database], AgentParts],
    changed: Callable[[int, int], None],
) -> tuple[DeskParts, ApiParts]:
    """For people and for programs. They have connections of their own: a heavy list must not use up those that calls
    are stored on."""
    engine = db.connect(house.settings.database)
    stack.callback(engine.dispose)
    setup = SetupLink(house.settings.data_dir)
    sealer = Sealer(*ensure_data_keys(house.settings))
    access = Access(engine, sealer=sealer)
    access.seal_secrets()
    if not access.anybody():
        house.setup_token = setup.make()
    desk, edits = Listing(engine), Edits(engine)
    calls_from = house.settings.outbound_caller_id if house.rest else ""
    leaving = Outreach(engine, calls_from=calls_from, rules=outreach.rules(house.settings))
    api = ApiParts(
        keys=Keys(engine),
        hooks=Hooks(engine, sealer, private=house.settings.webhook_private_addresses),
        access=access,
        desk=desk,
        edits=edits,
        outreach=leaving,
        base_url=lambda: house.base_url,
        rollouts=lambda business: Rollouts(engine, business) if business == house.business_id else None,
        streaming_default=house.settings.enable_streaming_stt,
        streaming_means=parts.uses_google_speech(house.settings),
        a_minute=house.settings.api_requests_per_minute,
    )
    inbox = None
    if written.on(house.settings):
        approved = {house.business_id: written.templates(house.settings)}
        inbox = InboxDesk(engine, changed=changed, rules=outreach.rules(house.settings), templates=approved)
    pages = DeskParts(
        access=access,
        desk=desk,
        edits=edits,
        live=Live(engine),
        jobs=JobStore(engine),
        outreach=leaving,
        setup=setup,
        agent=agent(engine),
        analytics=Analytics(engine),
        prices=_prices(house.settings),
        privacy=_privacy(house, engine),
        recordings=house.archive.library,
        inbox=inbox,
        linked=house.settings.whatsapp == "baileys",
    )
    return pages, api


def _privacy(house: House, engine: Database) -> PrivacyParts:
    settings, archive = house.settings, house.archive
    provider = house.provider
    records = settings.recordings == "on"
    place = "s3" if settings.recordings_s3_bucket else "disk"
    outside = Leftovers(settings.data_dir, archive.keeper)

    def greeting(business_id: int) -> tuple[str, bool]:
        practice = house.practices.get(business_id)
        if practice is None:
            return "", False
        return practice.business.greeting, practice.business.voice_gender == "female"

    return PrivacyParts(
        desk=PrivacyDesk(engine, house.sealer, records=records, place=place),
        erasure=Erasure(engine, source=archive.library, outside=outside, provider=provider),
        retention=Retention(engine, provider),
        recordings=archive.library,
        greeting=greeting,
    )


async def _media(house: House, stack: AsyncExitStack, watcher: Watcher, tasks: TaskGroup) -> None:
    settings = house.settings
    watcher.loading("models")
    await to_thread.run_sync(_ensure_weights, settings)
    engines, hearing = parts.hearing(settings, house.business)
    voices = Voices(settings)
    answering = {one.id: one.take_calls(settings, voices) for one in house.practices.values()}
    first = answering[house.business_id]
    assert voices.choice is not None
    second = parts.second_hearing(settings, engines)
    spill = processes.spill(settings.data_dir, house.number)
    journal = Journal(house.crm, spill, on_spill=metrics.journal_spills.inc)
    breakers = {engine.name: Breaker() for engine in engines}
    house.rollout = rollout = _rollout(house, engines, breakers, journal)
    await rollout.look()
    house.choices = [hearing, _streaming_choice(rollout), *second.choices, voices.choice, first.choice]
    watcher.choices(house.choices)
    vad = VadBatcher(weights.path("silero-vad", root=settings.models_root))
    speaking = (voices.running, *(one.running for one in answering.values()))
    for running in (vad.running, journal.running, *speaking, *(one.running for one in engines)):
        await stack.enter_async_context(running())
    house.begins.append(lambda one: one.join_calls(settings, voices, tasks))
    await _beside(stack, canary.watch, engines, breakers)
    await stack.enter_async_context(rollout.running())
    await stack.enter_async_context(second.running())
    spooled = await _stored_transcripts(house, second, stack)
    recorder = await _recorder(house, stack)

    def ear(on_speech: Callable[[SpeechEvent], None]) -> Ear:
        return Ear(vad.open, on_speech)

    session_parts = partial(
        SessionParts,
        ear=ear,
        journal=journal,
        policy=TurnPolicy(hold_ms=settings.endpoint_hold_ms),
        left=lambda start: to_thread.run_sync(house.crm.left_call, start.call_sid),
        instruction=_instruction(house, engines),
        second=second.ear,
        spool=spooled.call if spooled is not None else None,
        record=recorder.call if recorder is not None else None,
        fillers=FillerPolicy(settings.filler_ms) if settings.filler_ms else None,
        max_call_ms=settings.max_call_seconds * 1000,
        log_transcripts=settings.log_transcripts,
        on_turn=rollout.turn,
        pressure=house.pressure,
    )

    def parts_of(call: CallStart) -> SessionParts:
        """With what is published as the call begins, by whose call it is."""
        practice = house.practices.get(call.business_id) if call.business_id else house.first
        if practice is None or practice.answers is None:  # better no answer than another business's
            raise ProfileError(f"business {call.business_id} cannot be served: its profile", "business")
        now = practice.answers.current
        words = LiveWords(Policy())
        return session_parts(
            context=_context(house, practice, words),
            bus=BoardBus(house.bus, practice.id, words),
            agents=now.agents,
            agent_answers_refusals=now.agents.name == "script",
            voice=now.voice,
            phrases=now.phrases,
            unheard=now.unheard,
            transfer_number=now.business.transfer_number,
            recognizer=partial(rollout.recognizer, call),
            machine=MachineDetector if settings.detect_machines or call.direction == OUTBOUND else None,
            # The carrier knows nothing of a browser's call: what comes after it, the page asks.
            control=RestControl(None if call.direction == FROM_BROWSER else house.control, house),
        )

    house.media = server = _media_server(house, parts_of)
    house.node = Node(
        house.crm,
        house.pressure,
        address=lambda: house.media_url,
        active=lambda: server.active,
        capacity=settings.max_calls,
    )
    metrics.calls_active.set_function(lambda: len(server.call_sids))
    sentences: dict[parts.Voice, dict[str, None]] = {}
    for answers in answering.values():
        sentences.setdefault(answers.current.voice, {}).update(dict.fromkeys(answers.current.sentences))
    for voice, wanted in sentences.items():
        await _prepare_voice(house, voice, list(wanted), stack, watcher)


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
            hints=house.hints,
            metric=count,
        )

    def shadow(name: str, sink: Sink, metric: Metric) -> Relay:
        return Relay(
            [by_name[name]],
            sink,
            breakers={name: Breaker()},
            debounce_ms=settings.stt_partial_debounce_ms,
            hints=house.hints,
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
            limits=_limits(settings),
            max_shadows=settings.shadow_max_calls,
            spare=lambda: house.pressure.calm,
        )
    )


def _limits(settings: Settings) -> Limits:
    return Limits(settings.rollback_error_percent, settings.rollback_p95_ms, settings.rollback_min_turns)


def _prices(settings: Settings) -> Prices:
    return Prices(
        settings.price_phone_minute,
        settings.price_hearing_minute,
        settings.price_voice_million,
        settings.price_model_million,
        settings.price_currency,
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
    spool = Spool(folder, house.sealer, longest_ms=settings.max_call_seconds * 1000)
    stack.enter_context(spool.running())
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    spare = partial(transcripts.transcribe, spare=lambda: house.pressure.calm)
    tasks.start_soon(spare, folder, second.scribe, house.crm, house.sealer)
    return spool


async def _recorder(house: House, stack: AsyncExitStack) -> Recorder | None:
    """The recorder where calls are recorded; in any case a keeper, since recordings outlive the setting."""
    archive = house.archive
    await _beside(stack, archive.keep)
    if house.settings.recordings != "on":
        return None
    recorder = Recorder(
        archive.live,
        archive.rows,
        dropped=metrics.queue_drops.labels("recording").inc,
        closed=_from_thread(archive.wake),
    )
    stack.enter_context(recorder.running())
    return recorder


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


def _context(house: House, practice: Practice, words: LiveWords) -> Callable[[CallStart], Awaitable[CallContext]]:
    rows, records = house.archive.rows, house.settings.recordings == "on"
    past = Past(house.engine)

    async def context(start: CallStart) -> CallContext:
        business = practice.business
        female = business.voice_gender == "female"
        number = to_e164(start.caller) or ""
        known = await to_thread.run_sync(house.crm.contact_by_phone, number, practice.id) if number else None
        rules = await to_thread.run_sync(rows.rules, practice.id)
        words.policy = Policy(rules.hide_cards, rules.hide_ids, frozenset({number} if number else ()))
        recorded = records and rules.record
        refused = bool(start.stream) and await to_thread.run_sync(rows.refused, start.call_sid)
        ours = start.direction == OUTBOUND
        errand = await to_thread.run_sync(house.out.dialling.errand_of, start.call_sid) if ours else None
        notes = await to_thread.run_sync(past.of_contact, known.id) if known is not None else {}
        return CallContext(
            call_sid=start.call_sid,
            caller=number,
            now=datetime.now(ZoneInfo(business.timezone)),
            known_name=known.name if known is not None else "",
            last_need=known.last_need if known is not None else "",
            greeting=opening(business.greeting, business.name, rules, recorded=recorded, female=female),
            refuse_key=rules.refuse_key if recorded else "",
            refused=refused,
            keeps_refused_words=rules.refused_words is RefusedWords.TRANSCRIPT,
            opening=errand.opening if errand is not None else "",
            notes=notes,
        )

    return context


_ADDED_S = 4.0
"""How long a call waits for its business, which was added a moment ago."""
_SPARE_SOCKETS = 8
"""Places are given by the webhook. A socket whose call is over may still write its record when the next one comes."""


def _redeem(house: House) -> Callable[[str, str], Awaitable[CallStart | TicketRefusal]]:
    async def redeem(token: str, call_sid: str) -> CallStart | TicketRefusal:
        node = house.node.name if house.node is not None else ""
        found = await to_thread.run_sync(lambda: house.crm.redeem_ticket(token, call_sid, node=node))
        if isinstance(found, CallStart) and found.business_id and house.newcomers is not None:
            with anyio.move_on_after(_ADDED_S):
                await house.newcomers.need(found.business_id)
        return found

    return redeem


def _media_server(house: House, parts_of: Callable[[CallStart], SessionParts]) -> MediaServer:
    def session(start: Start, call: CallStart, outlet: Outlet) -> CallSession:
        return CallSession(parts_of(call), call, outlet)

    return MediaServer(
        sessions=session,
        redeem=_redeem(house),
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


def _web_parts(house: House, desk: DeskParts, api: ApiParts) -> WebParts:
    rollout_changed = _from_thread(lambda: house.bus.publish(live.TOPIC, "rollout.changed", {}))

    businesses, loop = Businesses(house.engine), asyncio.get_running_loop()

    def served(business_id: int) -> Practice | None:
        if business_id not in house.practices and house.newcomers is not None:
            looking = asyncio.run_coroutine_threadsafe(house.newcomers.need(business_id), loop)
            with suppress(TimeoutError):
                looking.result(_ADDED_S)
        return house.practices.get(business_id)

    def office_of(called: str) -> Office | None:
        found = businesses.of_number(called)
        if found is None or found == house.business_id:
            return None
        practice = served(found)
        if practice is None:  # its files cannot be used: its calls are its own, and nobody of another is offered
            log.error("the business of a number cannot be served", extra={"business_id": found})
            return Office(found, "", lambda: "")
        return Office(found, practice.business.transfer_number, practice.person)

    return WebParts(
        crm=house.crm,
        business_id=house.business_id,
        business_name=house.business.name,
        auth_token=house.auth_token,
        public_base_url=lambda: house.base_url,
        transfer_number=lambda: house.business.transfer_number,
        person=house.first.person,
        office_of=office_of,
        here=lambda: None if house.node is None else house.node.report(),
        resume_ws_url=house.resume_url,
        may_wait=lambda: house.media is None and "draining" not in house.missing,
        redirect_call=_redirector(house),
        hang_up_call=_hanger_up(house),
        dialling=house.out.dialling,
        count=lambda event, reason: metrics.webhooks.labels(event, reason).inc(),
        desk=desk,
        ordered=_from_thread(lambda: house.bus.publish(orders.TOPIC, "order", {})),
        follows_instructions=parts.has_model(house.settings),
        messages=written.webhooks(house.settings, house.engine),
        message_came=partial(_inbox_changed(house), house.business_id),
        rollouts=house.rollouts,
        streaming_default=house.settings.enable_streaming_stt,
        streaming_means=parts.uses_google_speech(house.settings),
        guard=_limits(house.settings),
        rollout_changed=rollout_changed,
        api=replace(api, rollout_changed=rollout_changed),
    )


def _redirector(house: House) -> Callable[[str, str], None]:
    """For threads of the web plane: the REST client lives on this loop."""
    loop = asyncio.get_running_loop()

    def redirect(call_sid: str, url: str) -> None:
        if house.control is not None:
            done = house.control.update_twiml(call_sid, telephony.redirect(url))
            asyncio.run_coroutine_threadsafe(done, loop).result(_REDIRECT_S)

    return redirect


def _instruction(house: House, engines: Sequence[Engine]) -> Callable[[str, str], Awaitable[str]]:
    """Hears what a person said to do with the caller they sent back, and puts it on record."""
    patient = sorted(engines, key=lambda engine: engine.name == GoogleStreaming.name)  # made for talk, not for files

    async def hear(call_sid: str, recording: str) -> str:
        if house.control is None:
            return ""
        try:
            wav = await house.control.recording(recording)
            audio = await to_thread.run_sync(recordings.from_memory, wav, "instruction")
        except (ProviderError, RecordingError) as problem:
            log.warning("an instruction cannot be heard", extra={"call_sid": call_sid, "error": str(problem)})
            return ""
        told = await hear_once(patient, audio)
        if told:
            await to_thread.run_sync(house.crm.instruction_heard, call_sid, told)
        return told

    return hear


def _hanger_up(house: House) -> Callable[[str], None]:
    """The same, to end a call."""
    loop = asyncio.get_running_loop()

    def hang_up(call_sid: str) -> None:
        if house.control is not None:
            asyncio.run_coroutine_threadsafe(house.control.hang_up(call_sid), loop).result(_REDIRECT_S)

    return hang_up


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
