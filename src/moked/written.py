"""Composition of written conversations: the channels that are set, the agent in writing, and who carries them."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from sqlalchemy import Engine

from moked import board, parts
from moked.bus import Bus
from moked.channels import SMS, TWILIO_WHATSAPP, Channel, ChannelHealth, Link, install
from moked.channels.baileys import BaileysChannel, Bridge
from moked.channels.official import CloudChannel, TwilioChannel
from moked.crm.inbox import Inbox
from moked.crm.past import Past
from moked.crm.sealed import Sealer, data_key
from moked.crm.whatsapp_store import WhatsAppStore
from moked.dialog import AgentFactory
from moked.dialog.business import Business
from moked.errors import SettingsError
from moked.jobs.messenger import Messenger
from moked.settings import Settings
from moked.voice_notes import VoiceNotes
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


def build(
    settings: Settings, business: Business, business_id: int, engine: Engine, bus: Bus
) -> tuple[Messenger, AgentFactory, VoiceNotes]:
    """All three are to be run; called on the loop that runs them."""
    loop = asyncio.get_running_loop()
    said = teller(bus, business_id, CHANNEL_CHANGED)
    sealer = Sealer(data_key(_secret(settings.data_key), settings.data_dir))
    store = WhatsAppStore(engine, business_id, sealer, told=lambda: _on(loop, lambda: said(0)))
    agents, _ = parts.agents(settings, business, written=True)
    notes = VoiceNotes(settings)
    past = Past(engine)
    messenger = Messenger(
        Inbox(
            engine,
            next_opening=lambda at: at if business.is_open(at) else business.next_opening(at) or at,
        ),
        _channels(settings, store),
        agents,
        business_id=business_id,
        timezone=business.timezone,
        clock=lambda: datetime.now(UTC),
        hear=notes.hear,
        past=past.of_contact,
        tell=teller(bus, business_id, CHANGED),
        unsaid=(business.recording_notice,),
    )
    return messenger, agents, notes


def _channels(settings: Settings, store: WhatsAppStore) -> list[Channel]:
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
    elif settings.whatsapp == "cloud":
        _need(settings, "whatsapp_cloud_phone_id", "whatsapp_cloud_token", "whatsapp_cloud_secret")
        token = _secret(settings.whatsapp_cloud_token)
        base = settings.whatsapp_cloud_base_url
        found.append(CloudChannel(settings.whatsapp_cloud_phone_id, token, base_url=base))
    elif settings.whatsapp == "twilio":
        found.append(_twilio(settings, TWILIO_WHATSAPP, "twilio_whatsapp_number"))
    if settings.sms == "twilio":
        found.append(_twilio(settings, SMS, "twilio_sms_number"))
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
    kinds = {TWILIO_WHATSAPP} if settings.whatsapp == "twilio" else set()
    if settings.sms == "twilio":
        kinds.add(SMS)
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
