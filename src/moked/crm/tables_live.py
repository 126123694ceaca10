"""Tables of supervision: who may hear a call, and what running calls are told. Both are forgotten soon.

call -< supervise_ticket   single-use permission to open a supervisor's socket
     '-< call_order        a word for the agent, an end, a transfer: on its way to the process that serves the call
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, SafeText


class SuperviseTicket(Base):
    """Permission for one person to listen to one call, once, and to take it over where `talks`."""

    __tablename__ = "supervise_ticket"
    __table_args__ = (Index(None, "call_id"), Index(None, "expires_at"))

    token_hash: Mapped[str] = mapped_column(SafeText(64), primary_key=True)  # SHA-256, hex
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    user_id: Mapped[int] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"))
    who: Mapped[str] = mapped_column(SafeText(100))
    talks: Mapped[bool]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class CallOrder(Base):
    """What a person tells a running call; its process takes it within a second. `kind` is a `records.OrderKind`."""

    __tablename__ = "call_order"
    __table_args__ = (Index(None, "call_id", "taken_at"), Index(None, "created_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"))
    kind: Mapped[str] = mapped_column(SafeText(16))
    text: Mapped[str]
    who: Mapped[str] = mapped_column(SafeText(100))
    created_at: Mapped[datetime]
    taken_at: Mapped[datetime | None]
