"""Composition of written conversations: the channels that are set, the agent in writing, and who carries them."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from moked import board, parts
from moked.bus import Bus
from moked.channels import Channel, ChannelHealth, Link, install
from moked.channels.baileys import BaileysChannel, Bridge
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

log = logging.getLogger(__name__)

CHANGED: Final = "inbox.changed"
CHANNEL_CHANGED: Final = "channel.changed"


def bridge_folder(settings: Settings) -> Path:
    """Where `moked whatsapp install` puts the bridge."""
    return settings.data_dir / "whatsapp-bridge"


def on(settings: Settings) -> bool:
    return settings.whatsapp != "off"


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
    sealer = Sealer(data_key(settings.data_key.get_secret_value() if settings.data_key else "", settings.data_dir))
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
    return found


def _on(loop: asyncio.AbstractEventLoop, work: Callable[[], None]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(work)
