"""Composition of written conversations: the channels that are set, the agent in writing, and who carries them."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import anyio
from anyio.abc import TaskGroup
from pydantic import SecretStr
from sqlalchemy import Engine

from moked import board, parts
from moked.bus import Bus
from moked.channels import (
    SMS,
    TWILIO_SMS,
    TWILIO_WHATSAPP,
    WHATSAPP,
    Carrier,
    Channel,
    ChannelCaps,
    ChannelHealth,
    Link,
    VoiceNote,
    family,
    install,
)
from moked.channels.baileys import BaileysChannel, Bridge
from moked.channels.official import CloudChannel, TwilioChannel, twilio_caps
from moked.channels.policy import ChannelRules
from moked.channels.templates import Approved, read_templates
from moked.crm.inbox import Inbox
from moked.crm.past import Past
from moked.crm.sealed import Sealer
from moked.crm.sending import own_line
from moked.crm.whatsapp_store import WhatsAppStore
from moked.dialog import Agent, CallContext
from moked.dialog.chat import Chat
from moked.errors import SettingsError
from moked.jobs.messenger import Messenger
from moked.practice import Practice
from moked.settings import Settings
from moked.voice_notes import VoiceNotes
from moked.voice_replies import VoiceReplies
from moked.web import MessageParts

log = logging.getLogger(__name__)

CHANGED: Final = "inbox.changed"
CHANNEL_CHANGED: Final = "channel.changed"


def bridge_folder(settings: Settings) -> Path:
    """Where `moked whatsapp install` puts the bridge."""
    return settings.data_dir / "whatsapp-bridge"


def on(settings: Settings) -> bool:
    return settings.whatsapp != "off" or settings.sms != "off"


def teller(bus: Bus, business_id: int, event: str) -> Callable[[int], None]:
    """Says on the business's board that something changed; the words themselves are fetched by who may see them."""

    def tell(conversation_id: int) -> None:
        bus.publish(board.topic(business_id), event, {"conversation": conversation_id})

    return tell


@dataclass(slots=True)
class Conversations:
    """What carries written conversations in a process; `run` serves them. `lines` is what `jobs.sending` sends by.
    `make` gives a business's channels, and who carries them."""

    make: Callable[[Practice], tuple[Sequence[Channel], Messenger]]
    notes: VoiceNotes
    replies: VoiceReplies
    chat: Chat | None
    practices: Mapping[int, Practice]
    messengers: dict[int, Messenger] = field(default_factory=dict)
    lines: dict[str, Carrier] = field(default_factory=dict)
    _tasks: TaskGroup | None = None

    def add(self, practice: Practice) -> None:
        """Carry this business's, too; also while running."""
        channels, messenger = self.make(practice)
        self.lines.update({own_line(family(channel.kind), practice.id): channel for channel in channels})
        self.messengers[practice.id] = messenger
        if self._tasks is not None:
            self._tasks.start_soon(messenger.run)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self.notes.run)
                tasks.start_soon(self.replies.run)
                for messenger in self.messengers.values():
                    tasks.start_soon(messenger.run)
        finally:
            self._tasks = None
            if self.chat is not None:
                with anyio.CancelScope(shield=True):
                    await self.chat.close()

    async def speak(self, business_id: int, text: str) -> VoiceNote | None:
        """A business's words as a voice note; None where they are to be read."""
        practice = self.practices.get(business_id)
        return await self.replies.note(practice, text) if practice is not None else None

    def nudge(self, business_id: int) -> None:
        if (messenger := self.messengers.get(business_id)) is not None:
            messenger.nudge()


def build(
    settings: Settings,
    practices: Mapping[int, Practice],
    engine: Engine,
    bus: Bus,
    sealer: Sealer,
    rules: Mapping[str, ChannelRules],
) -> Conversations:
    """Called on the loop that runs them. A device is linked by each business for itself; numbers at Meta and Twilio are
    those of the settings, and the first business's."""
    loop = asyncio.get_running_loop()
    notes, past, chat = VoiceNotes(settings), Past(engine), parts.chat(settings)
    first = next(iter(practices))

    def make(practice: Practice) -> tuple[Sequence[Channel], Messenger]:
        told = partial(_on, loop, partial(teller(bus, practice.id, CHANNEL_CHANGED), 0))
        store = WhatsAppStore(engine, practice.id, sealer, told=told)
        channels = _channels(settings, store, first=practice.id == first)
        return channels, Messenger(
            Inbox(engine, next_opening=practice.opening, rules=rules, sealer=sealer),
            channels,
            _agents(settings, practice, chat),
            business_id=practice.id,
            timezone=practice.business.timezone,
            clock=lambda: datetime.now(UTC),
            hear=notes.hear,
            past=past.of_contact,
            tell=teller(bus, practice.id, CHANGED),
            unsaid=partial(_unsaid, practice),
            speak=partial(made.speak, practice.id) if settings.whatsapp_voice_replies == "voice_to_voice" else None,
            receipts=settings.whatsapp_read_receipts == "on",
        )

    made = Conversations(make, notes, VoiceReplies(settings), chat, practices)
    for practice in practices.values():
        made.add(practice)
    return made


def _unsaid(practice: Practice) -> tuple[str, ...]:
    return (practice.business.recording_notice,)


def _agents(settings: Settings, practice: Practice, chat: Chat | None) -> Callable[[CallContext], Agent]:
    """Of the business as it is published at that moment."""
    plan, factory = practice.plan, parts.agents(settings, practice.plan, chat, written=True)[0]

    def make(context: CallContext) -> Agent:
        nonlocal plan, factory
        if practice.plan is not plan:
            plan, factory = practice.plan, parts.agents(settings, practice.plan, chat, written=True)[0]
        return factory(context)

    return make


def caps(settings: Settings) -> dict[str, ChannelCaps]:
    """What the channels that are set can do, by family; also where this process does not serve them."""
    found = {}
    if settings.whatsapp != "off":
        kinds = {"baileys": BaileysChannel.caps, "cloud": CloudChannel.caps}
        found[WHATSAPP] = kinds.get(settings.whatsapp) or twilio_caps(TWILIO_WHATSAPP)
    if settings.sms == "twilio":
        found[SMS] = twilio_caps(TWILIO_SMS)
    return found


def templates(settings: Settings) -> tuple[Approved, ...]:
    """What may be sent over an official interface when it is too late for free text. Raises `ProfileError`."""
    if settings.whatsapp_templates is None or settings.whatsapp not in ("cloud", "twilio"):
        return ()
    return read_templates(settings.whatsapp_templates)


def _channels(settings: Settings, store: WhatsAppStore, *, first: bool) -> list[Channel]:
    found: list[Channel] = []
    if settings.whatsapp == "baileys":
        try:
            command = install.command(bridge_folder(settings))
        except SettingsError as problem:  # calls are answered all the same
            log.error("WhatsApp is not served", extra={"error": str(problem)})
            store.tell(ChannelHealth(Link.FAILED, "not_installed"))
        else:
            bridge = Bridge(command=command, version=settings.whatsapp_version, url=settings.whatsapp_web_url)
            found.append(BaileysChannel(bridge, store))
    if not first:
        return found
    if settings.whatsapp == "cloud":
        _need(settings, "whatsapp_cloud_phone_id", "whatsapp_cloud_token", "whatsapp_cloud_secret")
        token = _secret(settings.whatsapp_cloud_token)
        base = settings.whatsapp_cloud_base_url
        found.append(CloudChannel(settings.whatsapp_cloud_phone_id, token, base_url=base))
    elif settings.whatsapp == "twilio":
        found.append(_twilio(settings, TWILIO_WHATSAPP, "twilio_whatsapp_number"))
    if settings.sms == "twilio":
        found.append(_twilio(settings, TWILIO_SMS, "twilio_sms_number"))
    return found


def _twilio(settings: Settings, kind: str, number: str) -> TwilioChannel:
    _need(settings, number, "twilio_account_sid", "twilio_auth_token", "public_base_url")
    return TwilioChannel(
        kind,
        getattr(settings, number),
        settings.twilio_account_sid,
        _secret(settings.twilio_auth_token),
        base_url=settings.twilio_api_base_url,
        callback=f"{settings.public_base_url}/webhook/message",
    )


def webhooks(settings: Settings, engine: Engine) -> MessageParts | None:
    """What the web plane needs for messages that come by webhook; None where none do."""
    kinds = {TWILIO_WHATSAPP} if settings.whatsapp == "twilio" else set[str]()
    if settings.sms == "twilio":
        kinds.add(TWILIO_SMS)
    cloud = settings.whatsapp == "cloud"
    if not kinds and not cloud:
        return None
    return MessageParts(
        inbox=Inbox(engine),
        kinds=frozenset(kinds),
        cloud_phone_id=settings.whatsapp_cloud_phone_id if cloud else "",
        cloud_secret=_secret(settings.whatsapp_cloud_secret),
        cloud_verify=_secret(settings.whatsapp_cloud_verify),
    )


def _need(settings: Settings, *names: str) -> None:
    missing = [name.upper() for name in names if not getattr(settings, name)]
    if missing:
        raise SettingsError(f"{missing[0]}: it must be set for the channel that was chosen")


def _secret(given: SecretStr | None) -> str:
    return given.get_secret_value() if given is not None else ""


def _on(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)
