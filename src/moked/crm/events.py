"""Events for webhooks, written in the same transaction as the change: both are stored, or neither.

    a call ends, a lead or task is made or changed  -> flush -> noted in the session
                                                    -> before the commit -> one row for each endpoint that wants it

Whatever code changes a `Lead`, `Task`, `Contact` or an ended `Call` through a session that is watched tells about it,
so a new way to change them cannot forget to. A statement that changes rows without loading them (`update(Task)`) is
not seen; contacts are made by one, with the call that tells of them.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import event, inspect, select
from sqlalchemy.orm import Session, sessionmaker

from moked.crm.models import Base, Call, Contact, Lead, Task
from moked.crm.tables_api import WebhookDelivery, WebhookEndpoint

EVENTS: Final = (
    "call.ended",
    "call.updated",
    "lead.created",
    "lead.updated",
    "task.created",
    "task.updated",
    "contact.updated",
)
PING: Final = "ping"
"""Sent when a person asks for it, to whichever endpoint."""

_NOTED: Final = "moked_outbox"


def watch(sessions: "sessionmaker[Session]", clock: Callable[[], datetime]) -> None:
    """Have the transactions of `sessions` write their events."""

    @event.listens_for(sessions, "after_flush")
    def note(session: Session, context: Any) -> None:
        noted: dict[Base, str] = session.info.setdefault(_NOTED, {})
        for row in session.new:
            if kind := _made(row):
                noted.setdefault(row, kind)
        for row in session.dirty:
            if row not in noted and session.is_modified(row) and (kind := _changed(row)):
                noted[row] = kind

    @event.listens_for(sessions, "before_commit")
    def write(session: Session) -> None:
        session.flush()
        noted: dict[Base, str] = session.info.pop(_NOTED, {})
        if noted:
            _write(session, noted, clock())

    @event.listens_for(sessions, "after_rollback")
    def forget(session: Session) -> None:
        session.info.pop(_NOTED, None)


def deliveries(
    endpoints: list[WebhookEndpoint], kind: str, data: dict[str, Any], now: datetime
) -> list[WebhookDelivery]:
    """One event, for each of `endpoints`. The payload is that of Standard Webhooks: type, timestamp, data."""
    event_id = f"msg_{secrets.token_urlsafe(18)}"
    return [
        WebhookDelivery(
            business_id=endpoint.business_id,
            endpoint_id=endpoint.id,
            event_id=event_id,
            type=kind,
            payload={"type": kind, "timestamp": _moment(now), "data": data},
            due_at=now,
            created_at=now,
        )
        for endpoint in endpoints
    ]


def _write(session: Session, noted: dict[Base, str], now: datetime) -> None:
    businesses = {row.business_id for row in noted}  # type: ignore[attr-defined]
    endpoints = session.scalars(
        select(WebhookEndpoint).where(WebhookEndpoint.business_id.in_(businesses), WebhookEndpoint.active)
    ).all()
    if not endpoints:
        return
    for row, kind in noted.items():
        wanting = [one for one in endpoints if one.business_id == row.business_id and kind in one.events]  # type: ignore[attr-defined]
        session.add_all(deliveries(wanting, kind, facts(row), now))


def _made(row: Any) -> str:
    match row:
        case Lead():
            return "lead.created"
        case Task():
            return "task.created"
    return ""


def _changed(row: Any) -> str:
    match row:
        case Lead():
            return "lead.updated"
        case Task():
            return "task.updated"
        case Contact():
            return "contact.updated"
        case Call() if row.ended_at is not None:
            ended = inspect(row).attrs.ended_at.history
            return "call.ended" if ended.added and not any(ended.deleted or ()) else "call.updated"
    return ""


def facts(row: Any) -> dict[str, Any]:
    """What an event tells of a row, as the API spells it. Turns and transcripts are asked for where they are wanted."""
    names: tuple[str, ...]
    match row:
        case Call():
            names = (
                "sid", "caller", "called", "direction", "simulated", "started_at", "answered_at", "ended_at",
                "duration_ms", "outcome", "detail", "contact_id", "lead_id", "lead_missing_reason",
            )  # fmt: skip
        case Lead():
            names = (
                "id", "contact_id", "owner_id", "source_call_sid", "stage", "origin", "name", "phone", "confirmed",
                "need", "best_time", "summary", "value", "lost_reason", "extra", "created_at", "updated_at",
            )  # fmt: skip
        case Task():
            names = ("id", "lead_id", "kind", "note", "assignee_id", "due_at", "remind_at", "done_at", "created_at")
        case Contact():
            names = ("id", "phone", "name", "created_at", "updated_at")
        case _:
            raise TypeError(type(row))
    return {name: _moment(value) if isinstance(value := getattr(row, name), datetime) else value for name in names}


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
