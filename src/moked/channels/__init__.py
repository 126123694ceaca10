"""The channel port: written conversations, whoever carries them. Values and protocols only; adapters are beside it.

    Inbound   ->  crm.inbox    (stored once, whatever comes twice)
    Outbound  <-  jobs.sending <- outbound_message, whose rows only crm.sending writes

Everything is asynchronous and runs on the worker's own event loop; the database is reached in threads. An adapter never
decides whether something may be sent: what it is given has passed the gate.

A channel's `kind` is its family and the provider, 'whatsapp.cloud'. What is kept for long names the family alone: who
changes the provider goes on with the same conversations.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol

PHONE = "tel"
"""Scheme of a telephone number, E.164."""
LID = "lid"
"""Scheme of WhatsApp's own identity of a person whose number it does not tell: digits, without a server."""

MAIL = "email"
"""Scheme of a mailbox."""

WHATSAPP = "whatsapp"
SMS = "sms"
BAILEYS = "whatsapp.baileys"
CLOUD = "whatsapp.cloud"
TWILIO_WHATSAPP = "whatsapp.twilio"
TWILIO_SMS = "sms.twilio"

NOT_CONNECTED = "not_connected"
"""An error of `SendResult`: the channel is away, and nothing was tried."""

MEDIA_REFUSED = "media_refused"
"""An error: the carrier could not use the sound of a voice note. Its words may still go."""


def family(kind: str) -> str:
    """'whatsapp' of 'whatsapp.cloud'."""
    return kind.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Address:
    """Where somebody can be reached: `value` within `scheme`. Its text, 'tel:+972501234567', can be parsed again."""

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


class MessageState(StrEnum):
    """Of a message of ours: queued -> sending -> sent -> delivered -> read | failed. FAILED and BLOCKED are final."""

    QUEUED = "queued"
    APPROVAL = "approval"  # a person looks first
    SENDING = "sending"
    SENT = "sent"  # the carrier has it
    DELIVERED = "delivered"
    READ = "read"
    FAILED = "failed"
    BLOCKED = "blocked"  # the gate said no


_ORDER = (MessageState.QUEUED, MessageState.SENDING, MessageState.SENT, MessageState.DELIVERED, MessageState.READ)


def later(before: MessageState, told: MessageState) -> MessageState:
    """The state after hearing `told`: reports come twice and out of order, and a failure after a delivery is none."""
    if before not in _ORDER or told in (MessageState.BLOCKED, MessageState.APPROVAL):
        return before
    if told is MessageState.FAILED:
        return before if _ORDER.index(before) >= _ORDER.index(MessageState.DELIVERED) else MessageState.FAILED
    return told if _ORDER.index(told) > _ORDER.index(before) else before


def carrier_id(key: str) -> str:
    """The id of our message at a channel that takes ids of ours, of the shape WhatsApp Web gives its own."""
    return "3EB0" + hashlib.sha256(key.encode()).hexdigest()[:18].upper()


@dataclass(frozen=True, slots=True)
class Template:
    """A message the carrier has approved: its name or id there, its language, and what fills its places in order."""

    name: str
    language: str = "he"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VoiceNote:
    """Words as a sound. `sound`: an Ogg file with Opus, mono. `shape`: 64 loudnesses from 0 to 100, as a picture."""

    sound: bytes
    ms: int
    shape: bytes = b""


@dataclass(frozen=True, slots=True)
class Outbound:
    """One message of ours. The same `key` is the same message: a channel that is `idempotent` sends it once, under this
    very id. `subject`: where the channel has one. `template` says the same outside the free window. `voice`: `text`,
    spoken; a channel that cannot leave it with its carrier sends the text."""

    key: str
    to: Address
    text: str
    subject: str = ""
    template: Template | None = None
    voice: VoiceNote | None = None


@dataclass(frozen=True, slots=True)
class SendResult:
    """What became of one attempt. QUEUED: nothing was sent, try again later; FAILED: never try again. `error` is a
    stable word; NOT_CONNECTED was no attempt. `voice`: it went as a voice note."""

    state: MessageState
    provider_id: str = ""
    error: str = ""
    voice: bool = False


class Kind(StrEnum):
    TEXT = "text"
    VOICE = "voice"
    OTHER = "other"  # a picture, a file, a place: said to be there, not read


@dataclass(frozen=True, slots=True)
class Inbound:
    """One message to us. `channel` is the adapter's kind, `also` are other addresses of the same person, `raw` is what
    the adapter needs to `fetch`."""

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
    state: MessageState
    error: str = ""


@dataclass(frozen=True, slots=True)
class ChannelCaps:
    """What a channel can do. `voice_notes` are theirs, `voice_replies` ours; `read`: it tells them that they were read.
    `free_window_s`: free text only so long after their last message; None = any time.

    `cold_ok`: may write to somebody who never wrote to us without risking the account. `idempotent`: a message sent
    again under its key is the same message; without it, one whose sender was killed is not sent again. `spacing_s`:
    about so long between two messages, for an account that is watched for automation.
    """

    voice_notes: bool = False
    voice_replies: bool = False
    typing: bool = False
    read: bool = False
    templates: bool = False
    free_window_s: int | None = None
    cold_ok: bool = True
    idempotent: bool = False
    max_text: int = 1600
    spacing_s: float = 0.0


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


class Carrier(Protocol):
    """What takes messages of ours. Nothing calls `send` but `jobs.sending`."""

    @property
    def kind(self) -> str: ...

    @property
    def caps(self) -> ChannelCaps: ...

    async def send(self, out: Outbound) -> SendResult:
        """Raises `ProviderError` only where a person or a restart must help."""


class Channel(Carrier, Protocol):
    """One carrier's account, through which people write to us too. Raises as `send` does."""

    async def run(self, sink: Sink) -> None:
        """Serve until cancelled: connect, and give `sink` what comes."""

    async def fetch(self, raw: str) -> bytes:
        """The sound of a voice note, as the carrier keeps it. Raises `ProviderError`."""

    async def typing(self, to: Address, on: bool) -> None: ...

    async def read(self, to: Address, provider_ids: tuple[str, ...]) -> bool:
        """Tell who wrote these, the oldest first, that they were read. False: not now, but perhaps later."""

    def health(self) -> ChannelHealth: ...
