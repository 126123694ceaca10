"""Tables of written conversations, and of the accounts that carry them.

contact -< conversation -< message  one conversation a family of channels
                            '-- outbound_message    of ours: its way out, and how far it came (`tables_policy`)
channel_account     what a person wants of a channel, and how it stands
channel_lease       the one process that serves it
whatsapp_auth       WhatsApp's keys, sealed
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.channels import Kind, Link
from moked.crm.models import Base, SafeText, _words


class Conversation(Base):
    """What is written with a contact over a family of channels ('whatsapp', 'sms'). `address`: where they last wrote
    from, and are answered.

    `taken_by`: the person who answers; NULL = the agent does. `wants_person`: they asked for one. `answered_id`: the
    newest message of theirs that needs no answer any more. `read_id`: the newest that somebody of ours has read, the
    agent among them; `shown_id`: the newest of which they were told so. `agent`: where the agent stands (`Agent.keep`)
    in talk number `talk`, which ends with a long silence; `lead_id` is that talk's. `unread` counts what no person has
    seen.
    Whoever was merged into somebody keeps theirs, empty, so that it can be undone (`folding`).
    """

    __tablename__ = "conversation"
    __table_args__ = (
        UniqueConstraint("business_id", "contact_id", "channel"),
        Index(None, "business_id", "last_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id", ondelete="SET NULL"))
    taken_by: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"))
    channel: Mapped[str] = mapped_column(SafeText(32))
    address: Mapped[str] = mapped_column(SafeText(160))
    unread: Mapped[int] = mapped_column(default=0)
    wants_person: Mapped[bool] = mapped_column(default=False)
    talk: Mapped[int] = mapped_column(default=0)
    answered_id: Mapped[int] = mapped_column(default=0)
    read_id: Mapped[int] = mapped_column(default=0)
    shown_id: Mapped[int] = mapped_column(default=0)
    agent: Mapped[dict[str, Any] | None]
    last_in_at: Mapped[datetime | None]
    last_at: Mapped[datetime]
    created_at: Mapped[datetime]


class Message(Base):
    """One message. `provider_id` is the carrier's of theirs and our own `key` of ours: what comes twice is one row.

    `outbound_id`: of ours, its way out, which has its state. `raw`: what `Channel.fetch` needs, until a voice note was
    written down. `author`: 'contact', 'agent', or the name of a person.
    """

    __tablename__ = "message"
    __table_args__ = (
        UniqueConstraint("business_id", "channel", "provider_id"),
        Index(None, "conversation_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id", ondelete="CASCADE"))
    outbound_id: Mapped[int | None] = mapped_column(ForeignKey("outbound_message.id", ondelete="CASCADE"))
    channel: Mapped[str] = mapped_column(SafeText(32))
    provider_id: Mapped[str] = mapped_column(SafeText(128))
    inbound: Mapped[bool]
    author: Mapped[str] = mapped_column(SafeText(100))
    kind: Mapped[Kind] = mapped_column(_words(Kind))
    text: Mapped[str] = mapped_column(default="")
    raw: Mapped[str] = mapped_column(default="")
    talk: Mapped[int] = mapped_column(default=0)
    at: Mapped[datetime]


class ChannelAccount(Base):
    """A channel of a business. `wanted`, `pair_phone` and `forget` are a person's orders; the rest is how it stands.

    `asked` counts orders: the same one again means to try anew. `pair_phone`: give a code to type for this number
    instead of one to scan. `version`: of WhatsApp Web, the last that
    was let in.
    """

    __tablename__ = "channel_account"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(SafeText(32), primary_key=True)
    wanted: Mapped[bool] = mapped_column(default=False)
    pair_phone: Mapped[str] = mapped_column(SafeText(32), default="")
    forget: Mapped[bool] = mapped_column(default=False)
    asked: Mapped[int] = mapped_column(default=0)
    state: Mapped[Link] = mapped_column(_words(Link), default=Link.OFF)
    error: Mapped[str] = mapped_column(SafeText(64), default="")
    qr: Mapped[str] = mapped_column(SafeText(600), default="")
    code: Mapped[str] = mapped_column(SafeText(16), default="")
    account: Mapped[str] = mapped_column(SafeText(64), default="")
    version: Mapped[str] = mapped_column(SafeText(32), default="")
    counters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    changed_at: Mapped[datetime]


class ChannelLease(Base):
    """Who serves a channel, and until when unless it says so again. What another one still writes is refused."""

    __tablename__ = "channel_lease"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(SafeText(32), primary_key=True)
    owner: Mapped[str] = mapped_column(SafeText(64))
    expires_at: Mapped[datetime]


class WhatsAppAuth(Base):
    """A key of the linked device. `category` is Baileys' own word for it, of which later versions have more."""

    __tablename__ = "whatsapp_auth"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    category: Mapped[str] = mapped_column(SafeText(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(SafeText(200), primary_key=True)
    value: Mapped[bytes] = mapped_column(LargeBinary())
    updated_at: Mapped[datetime]
