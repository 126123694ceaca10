"""Tables of whoever comes by machine: keys of the API, repeated answers, webhooks out, numbers of businesses.

business -< business_number          the number that is called says whose call it is
    |-< api_key -< api_reply         what a repeated POST is answered
    '-< webhook_endpoint -< webhook_delivery     the outbox: written with the change, sent by the worker
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, Json, SafeText, _words


class DeliveryState(StrEnum):
    """pending (due at some time) -> delivered | failed (given up). A replay makes it pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class BusinessNumber(Base):
    """A number people call, E.164, and whose it is."""

    __tablename__ = "business_number"
    __table_args__ = (Index(None, "business_id"),)

    number: Mapped[str] = mapped_column(SafeText(32), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    created_at: Mapped[datetime]


class ApiKey(Base):
    """A key of the API: it acts for `user_id`, never with more than they may. The key itself is never stored."""

    __tablename__ = "api_key"
    __table_args__ = (Index(None, "business_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(100))
    prefix: Mapped[str] = mapped_column(SafeText(16))
    key_hash: Mapped[str] = mapped_column(SafeText(64), unique=True)  # SHA-256, hex
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class ApiReply(Base):
    """What a POST with an `Idempotency-Key` was answered; for a day. `status` 0: it is still being worked on."""

    __tablename__ = "api_reply"
    __table_args__ = (UniqueConstraint("key_id", "key"), Index(None, "created_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    key_id: Mapped[int] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"))
    key: Mapped[str] = mapped_column(SafeText(128))
    request_hash: Mapped[str] = mapped_column(SafeText(64))
    status: Mapped[int] = mapped_column(default=0)
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[str] = mapped_column(Text(), default="")
    created_at: Mapped[datetime]


class WebhookEndpoint(Base):
    """Where events are sent. `secret` is sealed; `old_secret` signs beside it until `old_until`, while it is changed.

    `failing_since`: nothing has arrived since then. `disabled_why`: '' or why we stopped: 'failing', 'gone'.
    """

    __tablename__ = "webhook_endpoint"
    __table_args__ = (Index(None, "business_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    url: Mapped[str] = mapped_column(SafeText(2000))
    name: Mapped[str] = mapped_column(SafeText(100))
    events: Mapped[list[Any]]
    secret: Mapped[bytes] = mapped_column(LargeBinary())
    old_secret: Mapped[bytes | None] = mapped_column(LargeBinary())
    old_until: Mapped[datetime | None]
    active: Mapped[bool] = mapped_column(default=True)
    failing_since: Mapped[datetime | None]
    disabled_why: Mapped[str] = mapped_column(SafeText(32), default="")
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class WebhookDelivery(Base):
    """One event for one endpoint. `log` holds the last attempts: at, status, ms, error, response (an excerpt)."""

    __tablename__ = "webhook_delivery"
    __table_args__ = (
        Index(None, "business_id", "endpoint_id", "id"),
        Index(None, "state", "due_at"),
        Index(None, "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    endpoint_id: Mapped[int] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    event_id: Mapped[str] = mapped_column(SafeText(64))  # the same for all endpoints that get the event
    type: Mapped[str] = mapped_column(SafeText(64))
    payload: Mapped[dict[str, Any]] = mapped_column(Json())
    state: Mapped[DeliveryState] = mapped_column(_words(DeliveryState), default=DeliveryState.PENDING)
    attempts: Mapped[int] = mapped_column(default=0)
    due_at: Mapped[datetime]
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
    log: Mapped[list[Any]] = mapped_column(default=list)
