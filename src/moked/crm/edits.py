"""What people change at the desk: each method is one transaction, of one business, with its line in the audit log.

A row of another business raises `LookupError`, as one that is not there. What the rules of leads forbid raises
`leads.IllegalMove`; what cannot be read raises `Unreadable` with the name of the field.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session, sessionmaker

from moked.crm import audit
from moked.crm.audit import Actor
from moked.crm.leads import Stage, move, set_by_person
from moked.crm.models import AuditEntry, Contact, Lead, Task, TaskKind, UserAccount
from moked.crm.phone import to_e164
from moked.crm.settle import state_of, write_state

NOTE = "note"
LISTENED = "call.listened"
LISTENING = timedelta(minutes=10)
_LONGEST_TEXT = 4000
_LONGEST_LINE = 200
_FARTHEST = timedelta(days=2 * 366)


class Unreadable(ValueError):
    """What was typed cannot be used. `str` is the field: 'phone', 'due', 'note', 'owner', 'name'."""


class Edits:
    """Writes to `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._write = sessionmaker(engine, expire_on_commit=False)
        self._one_writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._clock = clock

    def set_field(self, by: Actor, lead_id: int, name: str, value: str) -> None:
        """A person's word on a field; no later call changes it. An unknown field raises `ValueError`."""
        value = _clean(value, many_lines=name in ("need", "summary"))
        if name == "phone" and value:
            number = to_e164(value)
            if number is None or not number.startswith("+"):
                raise Unreadable("phone")
            value = number
        with self._lead(by, lead_id) as (session, lead):
            before = lead.name
            if _field(lead, name) == value and lead.sources.get(name, {}).get("by") == "person":
                return
            write_state(lead, set_by_person(state_of(lead), name, value, by=by.name))
            lead.updated_at = self._clock()
            if name == "name" and value:
                contact = session.get(Contact, lead.contact_id, with_for_update=True)
                if contact is not None and contact.name in ("", before):
                    contact.name, contact.locked, contact.updated_at = value, True, self._clock()
            audit.note(session, by, "lead.edited", f"lead:{lead.id}", self._clock(), field=name)

    def move(self, by: Actor, lead_id: int, to: Stage) -> None:
        with self._lead(by, lead_id) as (session, lead):
            before = lead.stage
            if move(before, to) is before:
                return
            lead.stage, lead.updated_at = to, self._clock()
            audit.note(session, by, "lead.moved", f"lead:{lead.id}", self._clock(), before=before.value, to=to.value)

    def assign(self, by: Actor, lead_id: int, user_id: int | None) -> None:
        """Who takes care of the lead; None = nobody yet."""
        with self._lead(by, lead_id) as (session, lead):
            if user_id is not None:
                user = session.get(UserAccount, user_id)
                if user is None or user.business_id != by.business_id or not user.active:
                    raise Unreadable("owner")
            lead.owner_id, lead.updated_at = user_id, self._clock()
            audit.note(session, by, "lead.assigned", f"lead:{lead.id}", self._clock(), user=user_id)

    def add_note(self, by: Actor, lead_id: int, text: str) -> None:
        text = _clean(text, many_lines=True)
        if not text:
            raise Unreadable("note")
        with self._lead(by, lead_id) as (session, lead):
            note = {"kind": NOTE, "at": self._clock().isoformat(), "by": by.name, "text": text}
            lead.notes = [*lead.notes, note]
            lead.updated_at = self._clock()
            audit.note(session, by, "lead.noted", f"lead:{lead.id}", self._clock())

    def add_task(self, by: Actor, lead_id: int, note: str, due: str) -> None:
        """A call-back; `due` as a browser sends it ('2026-11-29T10:00'), in the business's own time."""
        due_at = _moment(due, by.timezone)
        if due_at is None or abs(due_at - self._clock()) > _FARTHEST:
            raise Unreadable("due")
        with self._lead(by, lead_id) as (session, lead):
            task = Task(
                business_id=by.business_id,
                lead_id=lead.id,
                kind=TaskKind.CALLBACK,
                note=_clean(note, many_lines=True),
                due_at=due_at,
                created_at=self._clock(),
            )
            session.add(task)
            session.flush()
            audit.note(session, by, "task.added", f"task:{task.id}", self._clock(), lead=lead.id)

    def set_task_done(self, by: Actor, task_id: int, done: bool) -> int:
        """Done, or not done after all. Returns the lead's id."""
        with self._writing() as session:
            task = session.get(Task, task_id, with_for_update={"key_share": True})
            if task is None or task.business_id != by.business_id:
                raise LookupError(f"no task {task_id}")
            if (task.done_at is not None) != done:
                task.done_at = self._clock() if done else None
                audit.note(session, by, "task.done" if done else "task.undone", f"task:{task.id}", self._clock())
            return task.lead_id

    def rename_contact(self, by: Actor, contact_id: int, name: str) -> None:
        name = _clean(name)
        if not name:
            raise Unreadable("name")
        with self._writing() as session:
            contact = session.get(Contact, contact_id, with_for_update={"key_share": True})
            if contact is None or contact.business_id != by.business_id:
                raise LookupError(f"no contact {contact_id}")
            contact.name, contact.locked, contact.updated_at = name, True, self._clock()
            audit.note(session, by, "contact.renamed", f"contact:{contact.id}", self._clock())

    def note_listening(self, by: Actor, call_sid: str) -> None:
        """Somebody hears a recording: on record, once for each `LISTENING` in which they go on."""
        target, now = f"call:{call_sid}"[:64], self._clock()
        with self._writing() as session:
            heard = select(AuditEntry.id).where(
                AuditEntry.business_id == by.business_id,
                AuditEntry.at > now - LISTENING,
                AuditEntry.user_id == by.user_id,
                AuditEntry.action == LISTENED,
                AuditEntry.target == target,
            )
            if session.scalars(heard.limit(1)).first() is None:
                audit.note(session, by, LISTENED, target, now)

    # ---- inside

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._one_writer, self._write.begin() as session:
            yield session

    @contextmanager
    def _lead(self, by: Actor, lead_id: int) -> Iterator[tuple[Session, Lead]]:
        """A transaction that holds the lead, so that a call that ends at this moment waits, and then respects it."""
        with self._writing() as session:
            lead = session.scalars(
                select(Lead)
                .where(Lead.id == lead_id, Lead.business_id == by.business_id)
                .with_for_update(key_share=True)
            ).one_or_none()
            if lead is None:
                raise LookupError(f"no lead {lead_id}")
            yield session, lead


def _field(lead: Lead, name: str) -> str:
    group, _, key = name.partition(".")
    return str(lead.extra.get(key, "")) if group == "extra" else str(getattr(lead, name, ""))


def _clean(text: str, *, many_lines: bool = False) -> str:
    """Without control characters and marks that turn the direction of what follows."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    if many_lines:
        return "\n".join(line.rstrip() for line in kept.replace("\r", "").strip().split("\n"))[:_LONGEST_TEXT]
    return " ".join(kept.split())[:_LONGEST_LINE]


def _moment(text: str, zone: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
