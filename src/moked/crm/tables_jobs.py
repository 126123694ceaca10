"""The tables of work after calls: what is to be done, by whom, and what came of it.

job            one piece of work, written in the transaction that makes it due (an outbox), and what became of it
job_worker     a process that works, with its heartbeat; a silent one's work is taken over
call_summary   what a call was about and what to do next, with where each field was heard
notice         one message to the people of the business, by its key: said once
daily_figures  a day of a business, added up
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from moked.crm.models import Base, SafeText


class JobState(StrEnum):
    """waiting (for its time) -> queued (at an engine) -> running -> done | waiting again | failed (a dead letter)."""

    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


class Job(Base):
    """`run` counts how often it was given to an engine, `tries` those since a person last asked for it.

    `done` has the results of steps that are over, which no further run repeats; `failed` the codes of those that are
    not, by step. Neither holds names, numbers or words. No business: the house's own.
    """

    __tablename__ = "job"
    __table_args__ = (Index(None, "state", "due_at"), Index(None, "business_id", "state", "created_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int | None] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(SafeText(64))
    key: Mapped[str] = mapped_column(SafeText(128), unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(default=dict)
    lane: Mapped[str] = mapped_column(SafeText(32))
    partition: Mapped[str] = mapped_column(SafeText(64), default="")
    state: Mapped[str] = mapped_column(SafeText(16), default=JobState.WAITING)
    run: Mapped[int] = mapped_column(default=1)
    tries: Mapped[int] = mapped_column(default=1)
    step: Mapped[str] = mapped_column(SafeText(64), default="")
    done: Mapped[dict[str, Any]] = mapped_column(default=dict)
    failed: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    changed_at: Mapped[datetime]


class JobWorker(Base):
    """A process that works. Of no business, and gone soon after the process."""

    __tablename__ = "job_worker"

    executor: Mapped[str] = mapped_column(SafeText(128), primary_key=True)
    started_at: Mapped[datetime]
    beat_at: Mapped[datetime]


class CallSummary(Base):
    """`fields`: by name {value, turn, quote, confidence}. `by`: 'rules', or the model's name."""

    __tablename__ = "call_summary"
    __table_args__ = (Index(None, "business_id", "created_at"),)

    call_id: Mapped[int] = mapped_column(ForeignKey("call.id", ondelete="CASCADE"), primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    by: Mapped[str] = mapped_column(SafeText(64))
    summary: Mapped[str]
    next_step: Mapped[str] = mapped_column(SafeText(300))
    fields: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]


class Notice(Base):
    """A message to somebody of the business. `key` says which, so that it is sent once; not `sent_at`: not yet out."""

    __tablename__ = "notice"
    __table_args__ = (Index(None, "business_id", "created_at"), Index(None, "call_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    business_id: Mapped[int] = mapped_column(ForeignKey("business.id", ondelete="CASCADE"))
    call_id: Mapped[int | None] = mapped_column(ForeignKey("call.id", ondelete="SET NULL"))
    key: Mapped[str] = mapped_column(SafeText(128), unique=True)
    channel: Mapped[str] = mapped_column(SafeText(16))
    recipient: Mapped[str] = mapped_column(SafeText(200))
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime | None]
