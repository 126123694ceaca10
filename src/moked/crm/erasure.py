"""One person's data: all of it handed out (`export`), or all of it deleted (`erase`).

A person is a contact and who was merged into it: their leads and tasks, the calls from their numbers and those that
made their leads, with turns, transcripts, events and recordings, and whatever else has a key to one of these or a copy
of it (`traces`). Erasing deletes the rows, and with them the keys of the recordings; it cleans the database's freed
pages, takes what waits outside the database (`outside`), and has the provider delete its copies first: should it
refuse, nothing is erased yet. What stays is a keyed hash of the number, so that nobody fills it in again.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import Engine, or_, select
from sqlalchemy.orm import Session

from moked.crm import audit, consents, db, report
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import AuditEntry, Call, Contact, Lead
from moked.crm.recordings_port import Recorded, RecordingSource
from moked.crm.retention import SYSTEM, Provider, copies_of, delete_calls, delete_contacts, delete_leads
from moked.crm.tables_privacy import PrivacyHold
from moked.crm.traces import Person, belongings, forget_person, same_person
from moked.crm.zipped import Entry, zipped

_PIECE = 1 << 20


class Held(Exception):
    """A legal hold keeps this contact's data; `str` is its reason."""


class StillTalking(Exception):
    """A call of theirs runs: what it says is not all written yet."""


class Outside(Protocol):
    """What lies outside the database: waits in the spool, was spilt, is a recording's file."""

    def __call__(self, call_sids: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class Erased:
    """How many of each."""

    calls: int
    leads: int
    copies: int


class Erasure(Records):
    """On `engine`. `clock` gives aware UTC. `by` None is whoever sits at the machine."""

    def __init__(
        self,
        engine: Engine,
        *,
        source: RecordingSource,
        outside: Outside,
        provider: Provider | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._engine = engine
        self._source = source
        self._outside = outside
        self._provider = provider
        self._clock = clock

    def find(self, business_id: int, phone: str) -> int | None:
        """The contact with this number (E.164)."""
        query = select(Contact.id).where(Contact.business_id == business_id, Contact.phone == phone)
        with self._read.begin() as session:
            return session.scalar(query)

    def suppressed(self, business_id: int, phone: str) -> bool:
        """This number was erased: no import may bring it back."""
        with self._read.begin() as session:
            return consents.suppressed(session, business_id, phone)

    def export(self, by: Actor | None, business_id: int, contact_id: int) -> Iterator[bytes]:
        """A ZIP, made as it is read: `data.json`, and a WAV a recorded call. Nothing of it is ever on a disk here.

        Raises `LookupError` at once; it is on the audit log before the first byte.
        """
        with self._writing() as session:
            contact = self._contact(session, business_id, contact_id)
            calls = self._calls(session, contact)
            data = self._data(session, contact, calls)
            sids = [call.sid for call in calls]
            self._note(session, by, business_id, "contact.exported", contact_id, calls=len(sids))
        return self._zip(business_id, data, sids)

    def erase(self, by: Actor | None, business_id: int, contact_id: int) -> Erased:
        """Raises `LookupError`, `Held`, `StillTalking`, and `ProviderError` where the provider does not delete."""
        with self._read.begin() as session:
            contact = self._contact(session, business_id, contact_id)
            self._may_go(session, contact)
            copies = copies_of(session, [call.id for call in self._calls(session, contact)])
        if self._provider is not None:
            for sid in copies:
                self._provider.delete_recording(sid)
        with self._writing() as session:
            contact = self._contact(session, business_id, contact_id, lock=True)
            self._may_go(session, contact)
            calls, leads = self._calls(session, contact), self._leads(session, contact)
            ids, numbers = same_person(session, contact)
            for number in numbers:
                consents.suppress(
                    session,
                    business_id=business_id,
                    number=number,
                    reason=consents.ERASED,
                    source="erasure",
                    now=self._clock(),
                )
            lead_ids, sids = [lead.id for lead in leads], [call.sid for call in calls]
            forget_person(session, Person(business_id, ids, lead_ids, sids, numbers))
            delete_leads(session, lead_ids)
            delete_calls(session, [call.id for call in calls])
            delete_contacts(session, ids)
            self._note(session, by, business_id, "contact.erased", contact_id, calls=len(calls), leads=len(leads))
        self._outside([call.sid for call in calls])
        db.scrub(self._engine)
        return Erased(len(calls), len(leads), len(copies) if self._provider is not None else 0)

    # ---- inside

    def _zip(self, business_id: int, data: dict[str, Any], sids: Sequence[str]) -> Iterator[bytes]:
        text = json.dumps(data, ensure_ascii=False, indent=1, default=str).encode()
        entries: list[Entry] = [Entry("data.json", lambda: iter((text,)))]
        for sid in sids:
            recorded = self._source.find(business_id, sid)
            if recorded is not None:
                entries.append(Entry(f"recordings/{sid}.wav", _pieces(recorded)))
        return zipped(entries, self._clock())

    def _data(self, session: Session, contact: Contact, calls: Sequence[Call]) -> dict[str, Any]:
        leads = self._leads(session, contact)
        ids, _ = same_person(session, contact)
        return {
            "exported_at": self._clock().isoformat(),
            "contact": _row(contact),
            "merged": [_row(session.get_one(Contact, one)) for one in ids if one != contact.id],
            "leads": [_row(lead) for lead in leads],
            "calls": [report.call_report(session, call) for call in calls],
            "records": belongings(session, ids, [lead.id for lead in leads], [call.id for call in calls]),
        }

    def _contact(self, session: Session, business_id: int, contact_id: int, *, lock: bool = False) -> Contact:
        query = select(Contact).where(Contact.id == contact_id, Contact.business_id == business_id)
        found = session.scalars(query.with_for_update() if lock else query).one_or_none()
        if found is None:
            raise LookupError(f"no contact {contact_id}")
        return found

    def _may_go(self, session: Session, contact: Contact) -> None:
        hold = session.get(PrivacyHold, contact.id)
        if hold is not None:
            raise Held(hold.reason)
        if any(call.ended_at is None for call in self._calls(session, contact)):
            raise StillTalking

    def _calls(self, session: Session, contact: Contact) -> Sequence[Call]:
        """From their number, about them, or what made one of their leads."""
        ids, numbers = same_person(session, contact)
        leads = select(Lead.id).where(_theirs(contact, ids, numbers))
        theirs = [Call.contact_id.in_(ids), Call.lead_id.in_(leads), Call.caller.in_(numbers)]
        query = select(Call).where(Call.business_id == contact.business_id, or_(*theirs)).order_by(Call.id)
        return session.scalars(query).all()

    def _leads(self, session: Session, contact: Contact) -> Sequence[Lead]:
        ids, numbers = same_person(session, contact)
        return session.scalars(select(Lead).where(_theirs(contact, ids, numbers)).order_by(Lead.id)).all()

    def _note(
        self, session: Session, by: Actor | None, business_id: int, action: str, contact_id: int, **data: Any
    ) -> None:
        target, at = f"contact:{contact_id}", self._clock()
        if by is not None:
            audit.note(session, by, action, target, at, **data)
        else:
            entry = AuditEntry(business_id=business_id, at=at, who=SYSTEM, action=action, target=target, data=data)
            session.add(entry)


def _theirs(contact: Contact, ids: Sequence[int], numbers: Sequence[str]) -> Any:
    return (Lead.business_id == contact.business_id) & or_(Lead.contact_id.in_(ids), Lead.phone.in_(numbers))


def _row(row: Any) -> dict[str, Any]:
    return {column.name: getattr(row, column.key) for column in row.__table__.columns if column.name != "business_id"}


def _pieces(recorded: Recorded) -> Callable[[], Iterator[bytes]]:
    return lambda: (recorded.read(at, _PIECE) for at in range(0, recorded.size, _PIECE))
