"""The channel port: written conversations, whoever carries them. Values and protocols only; adapters are beside it.

    Inbound   ->  crm.inbox    (stored once, whatever comes twice)
    Outbound  <-  outbound_message, whose rows only crm.sending writes

Everything is asynchronous and runs on the worker's own event loop; the database is reached in threads. An adapter never
decides whether something may be sent: what it is given has passed the gate.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

PHONE = "pn"
"""Scheme of a telephone number, E.164."""
LID = "lid"
"""Scheme of WhatsApp's own identity of a person whose number it does not tell: digits, without a server."""

BAILEYS = "whatsapp.baileys"
CLOUD = "whatsapp.cloud"
TWILIO_WHATSAPP = "whatsapp.twilio"
SMS = "sms"


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody can be reached: `value` within `scheme`. Its text, 'pn:+972501234567', can be parsed again."""

    scheme: str
    value: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.value}"

    @staticmethod
    def parse(text: str) -> "Address":
        scheme, _, value = text.partition(":")
        if not scheme or not value:
            raise ValueError("not an address")
        return Address(scheme, value)


class SendState(StrEnum):
    """Of a message of ours, in this order; FAILED and BLOCKED are final."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"  # the carrier has it
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    BLOCKED = "blocked"  # the gate said no


_ORDER = (SendState.QUEUED, SendState.SENDING, SendState.SENT, SendState.DELIVERED, SendState.READ)


def later(before: SendState, told: SendState) -> SendState:
    """The state after hearing `told`: reports come twice and out of order, and a failure after a delivery is none."""
    if before in (SendState.BLOCKED, SendState.FAILED) or told is SendState.BLOCKED:
        return before
    if told is SendState.FAILED:
        return before if _ORDER.index(before) >= _ORDER.index(SendState.DELIVERED) else SendState.FAILED
    return told if _ORDER.index(told) > _ORDER.index(before) else before


class Purpose(StrEnum):
    SERVICE = "service"  # an answer, or what somebody asked for
    MARKETING = "marketing"


@dataclass(frozen=True, slots=True)
class Template:
    """A message the carrier has approved: its name or id there, its language, and what fills its places in order."""

    name: str
    language: str = "he"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outbound:
    """One message of ours. `key` is its own id and stays the same when it is tried again. `voice`: Ogg Opus, mono."""

    key: str
    to: Address
    text: str
    template: Template | None = None
    voice: bytes | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one attempt. QUEUED: nothing was sent, try again later; FAILED: never try again."""

    state: SendState
    provider_id: str = ""
    error: str = ""


class Kind(StrEnum):
    TEXT = "text"
    VOICE = "voice"
    OTHER = "other"  # a picture, a file, a place: said to be there, not read


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message to us. `also` are other addresses of the same person; `raw` what the adapter needs to `fetch`."""

    channel: str
    account: str
    provider_id: str
    address: Address
    at: datetime
    also: tuple[Address, ...] = ()
    name: str = ""
    kind: Kind = Kind.TEXT
    text: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """What the carrier says later about a message of ours, by its `provider_id` or our `key`."""

    channel: str
    provider_id: str
    state: SendState
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChannelCaps:
    """What a channel can do. `free_window_s`: free text only so long after their last message; None = any time.

    `cold_ok`: may write to somebody who never wrote to us without risking the account. `same_id_once`: a message sent
    again under its id is the same message; without it, one whose sender was killed is not sent again.
    """

    voice_notes: bool = False
    typing: bool = False
    read: bool = False
    templates: bool = False
    free_window_s: int | None = None
    cold_ok: bool = True
    same_id_once: bool = False
    max_text: int = 4096


class Link(StrEnum):
    """How a channel stands, for people."""

    OFF = "off"
    CONNECTING = "connecting"
    PAIRING = "pairing"  # shows a code to be scanned or typed
    OPEN = "open"
    WAITING = "waiting"  # lost, comes back by itself
    UNPAIRED = "unpaired"  # must be paired again
    REPLACED = "replaced"  # another process uses the account
    FAILED = "failed"  # gave up; a person must look


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    """`qr`: what the code to be scanned says; `code`: the pairing code to be typed; `error`: a stable short code."""

    state: Link
    error: str = ""
    qr: str = ""
    code: str = ""
    account: str = ""
    counters: dict[str, int] = field(default_factory=dict)


Sink = Callable[[Inbound | Report], Awaitable[None]]
"""Returns when what it was given is stored; before that the adapter must not tell the carrier that we have it."""


class Channel(Protocol):
    """One carrier's account. Methods raise `ProviderError` only where a person or a restart must help."""

    @property
    def kind(self) -> str: ...

    @property
    def caps(self) -> ChannelCaps: ...

    async def run(self, sink: Sink) -> None:
        """Serve until cancelled: connect, and give `sink` what comes."""

    async def send(self, out: Outbound) -> SendResult: ...

    async def fetch(self, raw: str) -> bytes:
        """The sound of a voice note, as the carrier keeps it. Raises `ProviderError`."""

    async def typing(self, to: Address, on: bool) -> None: ...

    async def read(self, to: Address, provider_ids: tuple[str, ...]) -> None: ...

    def health(self) -> ChannelHealth: ...


def json_of(template: Template | None) -> dict[str, Any]:
    """As a row keeps it; empty for none."""
    if template is None:
        return {}
    return {"name": template.name, "language": template.language, "values": list(template.values)}


def template_of(kept: dict[str, Any]) -> Template | None:
    return Template(kept["name"], kept["language"], tuple(kept["values"])) if kept else None
