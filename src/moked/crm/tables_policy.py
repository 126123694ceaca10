"""The tables of who may be contacted, what was sent, and whom we call.

contact -< consent           one line of the ledger: given, or refused, with its proof
        -< channel_seen      when they last wrote to us
business -< suppression      numbers that must not be contacted, as salted hashes: they outlive the contact
         -< dnc_check        the last look into the "do not call me" registry, by number
         -- sending_policy   sending hours, limits, who is told about leads, texts; the salt
         -< outbound_message what shall be sent, was, or was not and why
         -< campaign -< dial a number to be called, by its attempts; without a campaign: a call-back, a click
user_account -- user_phone   where a click to call rings first
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.channels import MessageState
from moked.channels.policy import Purpose
from moked.crm.models import Base, SafeText
from moked.crm.models import _words as words


class Reply(StrEnum):
    """Whether a message is an answer in a written conversation, and whose."""

    NONE = ""
    AGENT = "agent"
    PERSON = "person"


class CampaignState(StrEnum):
    DRAFT = "draft"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"


class DialKind(StrEnum):
    CLICK = "click"  # a person calls: their own phone rings first
    CALLBACK = "callback"  # the agent calls back, as was promised
    CAMPAIGN = "campaign"


class DialState(StrEnum):
    """waiting -> placing -> ringing -> talking -> done; a retry goes back to waiting. approval, blocked: the gate."""

    WAITING = "waiting"
    APPROVAL = "approval"
    PLACING = "placing"  # the carrier is being asked: after a crash nobody knows whether it rang
    RINGING = "ringing"
    TALKING = "talking"
    DONE = "done"
    BLOCKED = "blocked"


class DialResult(StrEnum):
    """How the last attempt ended."""

    NONE = ""
    ANSWERED = "answered"
    MACHINE = "machine"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    FAILED = "failed"
    OPTED_OUT = "opted_out"
    CANCELLED = "cancelled"


class ConsentRow(Base):
    """Given at `given_at`, or NULL where they only refused. The proof: `call_sid` and `offset_ms` into its recording;
    or the message, by the carrier's id of it (`message_key` on `message_channel`), when it was written, and the SHA-256
    of its text as we keep it; and `text`, in their own words. The message may lose its words by age, the ledger keeps
    them. `how`: 'call', 'message', 'person' (somebody of the business wrote it down)."""

    __tablename__ = "consent"
    __table_args__ = (Index(None, "contact_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    purpose: Mapped[Purpose] = mapped_column(words(Purpose))
    channel: Mapped[str] = mapped_column(SafeText(16))
    given_at: Mapped[datetime | None]
    how: Mapped[str] = mapped_column(SafeText(16))
    call_sid: Mapped[str] = mapped_column(SafeText(64), default="")
    offset_ms: Mapped[int | None]
    message_key: Mapped[str] = mapped_column(SafeText(128), default="")
    message_channel: Mapped[str] = mapped_column(SafeText(32), default="")
    message_at: Mapped[datetime | None]
    message_digest: Mapped[str] = mapped_column(SafeText(64), default="")
    text: Mapped[str] = mapped_column(SafeText(500), default="")
    revoked_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class Suppression(Base):
    """`reason`: 'opt_out', 'erased', 'person'."""

    __tablename__ = "suppression"
    __table_args__ = (UniqueConstraint("business_id", "hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    hash: Mapped[str] = mapped_column(SafeText(64))
    reason: Mapped[str] = mapped_column(SafeText(32))
    source: Mapped[str] = mapped_column(SafeText(64))
    at: Mapped[datetime]


class DncRow(Base):
    __tablename__ = "dnc_check"
    __table_args__ = (UniqueConstraint("business_id", "number_hash"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    number_hash: Mapped[str] = mapped_column(SafeText(64))
    checked_at: Mapped[datetime]
    listed: Mapped[bool]
    source: Mapped[str] = mapped_column(SafeText(200))


class SendingPolicy(Base):
    """`week`: {"0": ["08:00", "21:00"], ...}, Monday = 0. `notify`: [{"channel": ..., "to": ...}], in this order.
    `texts`: the owner's own wording by the template's name. `caller_id`: the number it calls from, one of its own; ''
    = the first of them (`caller_ids`)."""

    __tablename__ = "sending_policy"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    salt: Mapped[str] = mapped_column(SafeText(64))
    week: Mapped[dict[str, Any]] = mapped_column(default=dict)
    per_contact_day: Mapped[int]
    per_channel_day: Mapped[int]
    notify: Mapped[list[Any]] = mapped_column(default=list)
    texts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    agent_calls_back: Mapped[bool] = mapped_column(default=False)
    caller_id: Mapped[str] = mapped_column(SafeText(32), default="", server_default="")
    updated_at: Mapped[datetime]


class OutboundMessage(Base):
    """`to` is the channel's own address. `key`: the same key is the same message. `reasons` are the gate's rules.

    `template_values` fill its places, in order. `voice`: it shall go as a voice note; False once it went as words.
    `reply`: an answer in a conversation, which is no approach of ours and counts for no limit. `first_at`: when
    it was first given to a channel. `provider_id`: known before it is sent where the channel takes ids of ours.
    `reported_at`: the provider's last word."""

    __tablename__ = "outbound_message"
    __table_args__ = (
        UniqueConstraint("business_id", "key"),
        Index(None, "state", "due_at"),
        Index(None, "contact_id"),
        Index(None, "business_id", "created_at"),
        Index(None, "provider_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    call_sid: Mapped[str] = mapped_column(SafeText(64), default="")
    channel: Mapped[str] = mapped_column(SafeText(16))
    to: Mapped[str] = mapped_column(SafeText(200))
    subject: Mapped[str] = mapped_column(SafeText(200), default="")
    text: Mapped[str] = mapped_column(default="")
    template: Mapped[str] = mapped_column(SafeText(64), default="")
    template_language: Mapped[str] = mapped_column(SafeText(16), default="")
    template_values: Mapped[list[Any]] = mapped_column(default=list)
    voice: Mapped[bool] = mapped_column(default=False)
    reply: Mapped[Reply] = mapped_column(words(Reply), default=Reply.NONE)
    purpose: Mapped[Purpose] = mapped_column(words(Purpose))
    key: Mapped[str] = mapped_column(SafeText(128))
    state: Mapped[MessageState] = mapped_column(words(MessageState))
    reason: Mapped[str] = mapped_column(SafeText(64), default="")
    reasons: Mapped[list[Any]] = mapped_column(default=list)
    asked_at: Mapped[datetime | None]
    approved_by: Mapped[str] = mapped_column(SafeText(100), default="")
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    first_at: Mapped[datetime | None]
    provider_id: Mapped[str] = mapped_column(SafeText(128), default="")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
    reported_at: Mapped[datetime | None]


class ChannelSeen(Base):
    """When a contact last wrote to us on a channel: what the free window counts from."""

    __tablename__ = "channel_seen"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(SafeText(16), primary_key=True)
    last_inbound_at: Mapped[datetime]


class UserPhone(Base):
    __tablename__ = "user_phone"

    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    phone: Mapped[str] = mapped_column(SafeText(32))


class Campaign(Base):
    """`subject`: why we call, as the agent says it. `stopped_why`: what the circuit breaker saw."""

    __tablename__ = "campaign"
    __table_args__ = (Index(None, "business_id", "created_at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(200))
    subject: Mapped[str] = mapped_column(SafeText(200))
    purpose: Mapped[Purpose] = mapped_column(words(Purpose))
    state: Mapped[CampaignState] = mapped_column(words(CampaignState))
    per_minute: Mapped[int]
    max_parallel: Mapped[int]
    max_attempts: Mapped[int]
    retry_minutes: Mapped[int]
    stopped_why: Mapped[str] = mapped_column(SafeText(32), default="")
    created_by: Mapped[str] = mapped_column(SafeText(100))
    created_at: Mapped[datetime]
    resumed_at: Mapped[datetime | None]  # the breaker looks at what has come since
    ended_at: Mapped[datetime | None]


class Dial(Base):
    """A number to be called. `call_sid` is the last attempt's. `key` as of a message. `agreed_for`: their own hour."""

    __tablename__ = "dial"
    __table_args__ = (
        UniqueConstraint("business_id", "key"),
        Index(None, "state", "due_at"),
        Index(None, "campaign_id", "state"),
        Index(None, "call_sid"),
        Index(None, "contact_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    campaign_id: Mapped[int | None] = mapped_column(ForeignKey("campaign.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id", ondelete="SET NULL"))
    task_id: Mapped[int | None] = mapped_column(ForeignKey("task.id", ondelete="SET NULL"))
    kind: Mapped[DialKind] = mapped_column(words(DialKind))
    purpose: Mapped[Purpose] = mapped_column(words(Purpose))
    number: Mapped[str] = mapped_column(SafeText(32))
    subject: Mapped[str] = mapped_column(SafeText(200), default="")
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"))
    ring_first: Mapped[str] = mapped_column(SafeText(32), default="")
    key: Mapped[str] = mapped_column(SafeText(128))
    state: Mapped[DialState] = mapped_column(words(DialState))
    result: Mapped[DialResult] = mapped_column(words(DialResult), default=DialResult.NONE)
    reasons: Mapped[list[Any]] = mapped_column(default=list)
    approved_by: Mapped[str] = mapped_column(SafeText(100), default="")
    agreed_for: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    call_sid: Mapped[str] = mapped_column(SafeText(64), default="")
    placed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
