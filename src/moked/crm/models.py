"""The tables. Every row but a node's belongs to a business; every time is UTC; JSON is what no query asks for.

    business -< contact -< lead -< task
        |          |        |
        '-------< call >----'        a call points to its lead; a lead remembers the call that made it
                   |-< turn          one exchange, with its latency waterfall
                   |-< transcript_segment   the same words by a better engine, after the call
                   |-< call_event    what the carrier reported, and what happened after the stream
                   |-< stream_ticket single-use permission to open the media stream
                   '-- call_snapshot where the conversation stands, while it runs
        '-< user_account -< user_session     who works at the desk; audit_entry: what they did; login_attempt: who tried

    (leads, contacts: more in `tables_crm`)
    media_node   a media process and its load: of no business, and gone soon after the process

Rules of what is written are not here: `leads` decides, `settle` and `service` carry out.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from moked.crm.leads import NoLead, Origin, Stage
from moked.crm.permissions import UserRole
from moked.records import Outcome


class CallState(StrEnum):
    """open (the webhook answered) -> live (the media stream came) -> ended. Never backwards."""

    OPEN = "open"
    LIVE = "live"
    ENDED = "ended"


class TaskKind(StrEnum):
    CALLBACK = "callback"
    TODO = "todo"


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC datetime on every database. SQLite keeps no zone, so it is taken off and put back here."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime cannot be stored: it does not say which moment it is")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def storable(value: Any) -> Any:
    """`value` (JSON-like) without what PostgreSQL refuses in text: NUL and half surrogate pairs.

    Words come from callers, carriers and language models; none of them may make the record of a call fail.
    """
    match value:
        case str():
            return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {storable(str(key)): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
    return value


class SafeText(TypeDecorator[str]):
    """Text that always can be stored: cleaned, and cut at the column's length instead of refused."""

    impl = String
    cache_ok = True

    def __init__(self, length: int | None = None) -> None:
        super().__init__(length)
        self.length = length

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)[: self.length]


class Json(TypeDecorator[Any]):
    """JSON that always can be stored; JSONB on PostgreSQL. None is NULL."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(
            JSONB(none_as_null=True) if dialect.name == "postgresql" else JSON(none_as_null=True)
        )

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else storable(value)


def _words(kind: type[StrEnum]) -> Enum:
    """An enum kept as its own words, so that a new member needs no migration and a dump can be read."""
    return Enum(
        kind,
        native_enum=False,
        create_constraint=False,
        length=32,
        values_callable=lambda members: [member.value for member in members],
    )


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        str: SafeText(),
        datetime: UtcDateTime(),
        dict[str, Any]: Json(),
        list[Any]: Json(),
        Outcome: _words(Outcome),
        CallState: _words(CallState),
        NoLead: _words(NoLead),
        Origin: _words(Origin),
        Stage: _words(Stage),
        TaskKind: _words(TaskKind),
        UserRole: _words(UserRole),
    }


class Business(Base):
    """A tenant. `key` is its stable name in the configuration; the name people see may change."""

    __tablename__ = "business"

    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(SafeText(64), unique=True)
    name: Mapped[str] = mapped_column(SafeText(200))
    phone: Mapped[str] = mapped_column(SafeText(32), default="")
    timezone: Mapped[str] = mapped_column(SafeText(64), default="Asia/Jerusalem")
    created_at: Mapped[datetime]


class Contact(Base):
    """A person. `phone` is E.164 and unique within the business; NULL is a withheld caller nobody can find again."""

    __tablename__ = "contact"
    __table_args__ = (
        UniqueConstraint("business_id", "phone"),
        Index(None, "business_id", "updated_at"),
        Index(None, "business_id", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    phone: Mapped[str | None] = mapped_column(SafeText(32))
    name: Mapped[str] = mapped_column(SafeText(200), default="")
    locked: Mapped[bool] = mapped_column(default=False)  # a person wrote the name: no call changes it
    aliases: Mapped[list[Any]] = mapped_column(default=list)  # other names given from this number: {name, call, at}
    merged_into_id: Mapped[int | None]  # this row is only a signpost: the person is that contact
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Lead(Base):
    """A contact with something to follow up. `sources` says where each field came from; `notes` is append-only.

    `source_call_sid` is no foreign key: `call.lead_id` points here, and a circle of keys cannot be created on SQLite.
    """

    __tablename__ = "lead"
    __table_args__ = (
        Index(None, "business_id", "stage", "updated_at"),
        Index(None, "business_id", "updated_at"),
        Index(None, "business_id", "id"),
        Index(None, "business_id", "phone"),
        Index(None, "business_id", "created_at"),
        Index(None, "business_id", "value"),
        Index(None, "contact_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int] = mapped_column(ForeignKey("contact.id", ondelete="CASCADE"))
    owner_id: Mapped[int | None]  # a user_account, which is only ever closed: no key, SQLite would copy the table
    source_call_sid: Mapped[str] = mapped_column(SafeText(64))
    stage: Mapped[Stage] = mapped_column(default=Stage.NEW)
    origin: Mapped[Origin]
    name: Mapped[str] = mapped_column(SafeText(200), default="")
    phone: Mapped[str] = mapped_column(SafeText(32), default="")
    confirmed: Mapped[bool] = mapped_column(default=False)  # the phone was read back and agreed to
    need: Mapped[str] = mapped_column(default="")
    best_time: Mapped[str] = mapped_column(SafeText(200), default="")
    handover: Mapped[str] = mapped_column(SafeText(16), default="", server_default="")  # the last: `records.Handover`
    summary: Mapped[str] = mapped_column(default="")
    value: Mapped[int | None]  # what it may be worth, in whole shekels
    lost_reason: Mapped[str] = mapped_column(SafeText(200), default="")
    extra: Mapped[dict[str, Any]] = mapped_column(default=dict)
    sources: Mapped[dict[str, Any]] = mapped_column(default=dict)
    notes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Call(Base):
    """One phone call, from the webhook to its lead or the reason why there is none.

    `heartbeat_at` moves while somebody serves the call: an unended call with an old one is an orphan. `draft` is the
    lead as learnt so far, so that a killed process loses nothing. `next_step`: what the carrier is told when it asks
    after the stream ('hang_up', 'transfer', '' = not decided). `node`: the media process it has its place at.
    """

    __tablename__ = "call"
    __table_args__ = (
        Index(None, "business_id", "started_at"),
        Index(None, "contact_id"),
        Index(None, "lead_id"),
        Index(
            "ix_call_unended",
            "heartbeat_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    sid: Mapped[str] = mapped_column(SafeText(64), unique=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    contact_id: Mapped[int | None] = mapped_column(ForeignKey("contact.id", ondelete="SET NULL"))
    lead_id: Mapped[int | None] = mapped_column(ForeignKey("lead.id", ondelete="SET NULL"))
    account_sid: Mapped[str] = mapped_column(SafeText(64), default="")
    caller: Mapped[str] = mapped_column(SafeText(128))
    called: Mapped[str] = mapped_column(SafeText(128))
    direction: Mapped[str] = mapped_column(SafeText(16))
    simulated: Mapped[bool] = mapped_column(default=False)
    status: Mapped[CallState] = mapped_column(default=CallState.OPEN)
    started_at: Mapped[datetime]
    answered_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime]
    duration_ms: Mapped[int | None]
    outcome: Mapped[Outcome | None]
    detail: Mapped[str] = mapped_column(SafeText(64), default="")
    engines: Mapped[list[Any]] = mapped_column(default=list)
    lead_missing_reason: Mapped[NoLead | None]
    next_step: Mapped[str] = mapped_column(SafeText(16), default="")
    transfer_to: Mapped[str] = mapped_column(SafeText(32), default="")
    node: Mapped[str] = mapped_column(SafeText(64), default="", server_default="")
    draft: Mapped[dict[str, Any]] = mapped_column(default=dict)


class Turn(Base):
    """One `records.TurnRecord`. All `_ms` are call time: milliseconds since the stream's `start`. `word_times` only
    where a number is said."""

    __tablename__ = "turn"
    __table_args__ = (UniqueConstraint("call_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    number: Mapped[int]
    caller_text: Mapped[str]
    said: Mapped[str]
    heard: Mapped[str]
    cut: Mapped[bool]
    started_ms: Mapped[int]
    ended_ms: Mapped[int]
    engine: Mapped[str] = mapped_column(SafeText(64))
    confidence: Mapped[float | None]
    dtmf: Mapped[str] = mapped_column(SafeText(64))
    speech_end_ms: Mapped[int | None]
    transcript_ms: Mapped[int | None]
    endpoint_ms: Mapped[int | None]
    llm_first_ms: Mapped[int | None]
    tts_first_ms: Mapped[int | None]
    sent_ms: Mapped[int | None]
    heard_ms: Mapped[int | None]
    tools: Mapped[list[Any]] = mapped_column(default=list)
    decision: Mapped[dict[str, Any] | None] = mapped_column(Json())
    spoken_by: Mapped[str] = mapped_column(SafeText(100), default="", server_default="")
    word_times: Mapped[list[Any]] = mapped_column(default=list, server_default="[]")
    created_at: Mapped[datetime]


class TranscriptSegment(Base):
    """One utterance of the transcript that was written after the call. `start_ms` and `end_ms` are call time."""

    __tablename__ = "transcript_segment"
    __table_args__ = (UniqueConstraint("call_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    number: Mapped[int]
    start_ms: Mapped[int]
    end_ms: Mapped[int]
    speaker: Mapped[str] = mapped_column(SafeText(16))  # 'caller'; the agent's words are in the turns
    text: Mapped[str]
    engine: Mapped[str] = mapped_column(SafeText(64))
    created_at: Mapped[datetime]


class Task(Base):
    """Something a person must do. One callback a call at most; a lead's open callback is moved, not doubled.

    `remind_at`: when the desk brings it up by itself; snoozing moves it, not what is due.
    """

    __tablename__ = "task"
    __table_args__ = (
        UniqueConstraint("call_id", "kind"),
        Index(None, "business_id", "done_at", "due_at"),
        Index(None, "business_id", "remind_at"),
        Index(None, "lead_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    lead_id: Mapped[int] = mapped_column(ForeignKey("lead.id", ondelete="CASCADE"))
    call_id: Mapped[int | None] = mapped_column(ForeignKey("call.id", ondelete="SET NULL"))
    kind: Mapped[TaskKind]
    note: Mapped[str] = mapped_column(default="")
    assignee_id: Mapped[int | None]  # a user_account, as a lead's owner is; None: whoever is there
    due_at: Mapped[datetime]
    remind_at: Mapped[datetime | None]
    done_at: Mapped[datetime | None]
    created_at: Mapped[datetime]


class CallEvent(Base):
    """What was reported about a call. `key` makes a repeated report one row; NULL where each report is its own."""

    __tablename__ = "call_event"
    __table_args__ = (UniqueConstraint("call_id", "kind", "key"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(SafeText(32))
    key: Mapped[str | None] = mapped_column(SafeText(128))
    at: Mapped[datetime]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


class CallSnapshot(Base):
    """Where a running call stands, so that another process can go on with it; gone when the call has ended.

    `stream` is the newest media stream of the call: what an older one still writes is refused. `left_at`: that stream
    has ended and the call has not, because of `left_why`.
    """

    __tablename__ = "call_snapshot"

    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    stream: Mapped[int]
    data: Mapped[bytes] = mapped_column(LargeBinary())
    saved_at: Mapped[datetime]
    left_at: Mapped[datetime | None]
    left_why: Mapped[str] = mapped_column(SafeText(32), default="")


class StreamTicket(Base):
    """Permission to open one media stream for one call, once. The token itself is never stored."""

    __tablename__ = "stream_ticket"
    __table_args__ = (Index(None, "call_sid"), Index(None, "expires_at"))

    token_hash: Mapped[str] = mapped_column(SafeText(64), primary_key=True)  # SHA-256, hex
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_sid: Mapped[str] = mapped_column(SafeText(64))
    start: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class MediaNode(Base):
    """A media process, as it last reported itself (`places.NodeReport`): the webhook chooses among those that beat."""

    __tablename__ = "media_node"

    name: Mapped[str] = mapped_column(SafeText(64), primary_key=True)
    address: Mapped[str] = mapped_column(SafeText(300))
    capacity: Mapped[int]
    active: Mapped[int]
    lag_ms: Mapped[int]
    accepting: Mapped[bool]
    draining: Mapped[bool]
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]


class RolloutState(Base):
    """What holds now for how calls are heard (`rollout.policy.Policy`), one row a business. No row: the settings do."""

    __tablename__ = "rollout_state"

    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int]  # of the last change; whoever polls compares it
    policy: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]


class RolloutChange(Base):
    """One change of `RolloutState`: who, why, and what held from then on. Rows are only ever added."""

    __tablename__ = "rollout_change"
    __table_args__ = (UniqueConstraint("business_id", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    version: Mapped[int]
    at: Mapped[datetime]
    by: Mapped[str] = mapped_column(SafeText(64))
    what: Mapped[str] = mapped_column(SafeText(200))
    why: Mapped[str] = mapped_column(SafeText(400))
    figures: Mapped[dict[str, Any]] = mapped_column(default=dict)
    policy: Mapped[dict[str, Any]]


class ShadowCall(Base):
    """What a second recognition of a call found (`rollout.compare.summary`). `examples` holds callers' words."""

    __tablename__ = "shadow_call"
    __table_args__ = (Index(None, "business_id", "at"),)

    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    result: Mapped[dict[str, Any]]
    examples: Mapped[list[Any]] = mapped_column(default=list)


class UserAccount(Base):
    """Somebody who works at the desk. `email` is their login, in lower case, unique in the installation.

    No `password_hash`: invited, not yet in. `recovery` holds SHA-256 of codes that were not used yet; `totp_step` is
    the last time step a code was taken for, so that none is taken twice. `invite_hash`: of a link to set a password.
    """

    __tablename__ = "user_account"
    __table_args__ = (Index(None, "business_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    email: Mapped[str] = mapped_column(SafeText(200), unique=True)
    name: Mapped[str] = mapped_column(SafeText(100))
    role: Mapped[UserRole]
    active: Mapped[bool] = mapped_column(default=True)
    password_hash: Mapped[str] = mapped_column(SafeText(200), default="")
    totp_secret: Mapped[str] = mapped_column(SafeText(64), default="")  # as it was once stored; sealed at the start
    totp_sealed: Mapped[bytes | None] = mapped_column(LargeBinary())
    totp_step: Mapped[int] = mapped_column(default=0)
    recovery: Mapped[list[Any]] = mapped_column(default=list)
    invite_hash: Mapped[str | None] = mapped_column(SafeText(64), unique=True)
    invite_until: Mapped[datetime | None]
    created_at: Mapped[datetime]

    @property
    def second_factor(self) -> bool:
        return bool(self.totp_sealed or self.totp_secret)


class UserSession(Base):
    """A browser that is logged in. The cookie's token itself is never stored, only its SHA-256."""

    __tablename__ = "user_session"
    __table_args__ = (Index(None, "user_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    token_hash: Mapped[str] = mapped_column(SafeText(64), unique=True)
    created_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    address: Mapped[str] = mapped_column(SafeText(64))
    browser: Mapped[str] = mapped_column(SafeText(200))


class LoginAttempt(Base):
    """A login that failed, for the limits; kept for a day. `account` is the SHA-256 of what was typed."""

    __tablename__ = "login_attempt"
    __table_args__ = (Index(None, "account", "at"), Index(None, "address", "at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    account: Mapped[str] = mapped_column(SafeText(64))
    address: Mapped[str] = mapped_column(SafeText(64))


class AuditEntry(Base):
    """What somebody did at the desk. Rows are only ever added; `who` keeps the name when the account is gone."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index(None, "business_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user_account.id", ondelete="SET NULL"))
    who: Mapped[str] = mapped_column(SafeText(100))
    action: Mapped[str] = mapped_column(SafeText(64))
    target: Mapped[str] = mapped_column(SafeText(64), default="")
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
