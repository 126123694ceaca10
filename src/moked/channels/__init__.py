"""The channel port: how a message leaves us and how one comes in, whoever carries it.

Nothing calls a channel's `send` but `jobs.sending`, with what `crm.sending` let through the policy gate.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Address:
    """`scheme`: 'pn' (a telephone number, E.164), 'lid' (WhatsApp's own), 'email'."""

    scheme: str
    value: str


@dataclass(frozen=True, slots=True)
class Outbound:
    """One message. The same `key` is the same message: a channel that is `idempotent` sends it once."""

    key: str
    to: Address
    text: str
    subject: str = ""  # where the channel has one
    template: str = ""  # the name of an approved template that says the same, outside the free window


@dataclass(frozen=True, slots=True)
class SendResult:
    """`provider_id` where it was taken; else `error`, a stable word, and whether another try may do."""

    provider_id: str = ""
    error: str = ""
    again: bool = False


@dataclass(frozen=True, slots=True)
class Inbound:
    channel: str
    account: str
    provider_message_id: str
    address: Address
    at: datetime
    text: str = ""
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class ChannelCaps:
    """`free_window_s`: free text only so long after the last inbound message; None = at any time. `cold_ok`: may write
    to who never wrote. `idempotent`: a second send with the same key sends nothing."""

    free_window_s: int | None = None
    cold_ok: bool = True
    templates: bool = False
    idempotent: bool = False
    max_text: int = 1600


@dataclass(frozen=True, slots=True)
class ChannelHealth:
    ready: bool
    detail: str = ""
    counters: dict[str, int] = field(default_factory=dict)


class Channel(Protocol):
    """`kind` is the family and the provider: 'sms.twilio', 'whatsapp.cloud', 'email.smtp'."""

    kind: str
    caps: ChannelCaps

    async def start(self, sink: Callable[[Inbound], Awaitable[None]]) -> None: ...

    async def send(self, out: Outbound) -> SendResult: ...

    async def health(self) -> ChannelHealth: ...
