"""Contacts from a file: kept, looked at, taken in as a whole, and taken out again.

    keep_file -> map_columns: a dry run, told row by row -> apply_import: one transaction, all or nothing -> undo_import

A number that is known is the same person: their name stays, another one is written beside it. Reading gives way to the
calls of this process every few rows: a thread that computes would make them wait for Python's lock.
"""

import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Insert, delete, func, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from moked.crm import activity, audit, consents, csv_files, lead_values, search
from moked.crm.audit import Actor
from moked.crm.csv_files import BadFile, Column, OwnField, Person, Problem
from moked.crm.lead_fields import FieldKind
from moked.crm.leads import OPEN_STAGES, Called, Origin, Stage, called
from moked.crm.models import Call, Contact, Lead
from moked.crm.people import TEL
from moked.crm.people import insert as upsert
from moked.crm.search import Entry, Kind
from moked.crm.tables_crm import Activity, ChannelIdentity, ImportJob, LeadField, LeadTag, Tag
from moked.crm.writing import Unreadable, Writer, clean, held

UNDO_FOR: Final = timedelta(days=30)
_WAITS_FOR: Final = timedelta(days=7)  # a file nobody took in
_TOLD: Final = 100
_SHOWN: Final = 5
_AT_ONCE: Final = 500
_GIVE_WAY_EVERY: Final = 50
_GIVE_WAY_S: Final = 0.001


@dataclass(frozen=True, slots=True)
class Reading:
    """A file as its columns say: who is in it, and what is wrong."""

    people: Sequence[Person]
    problems: Sequence[Problem]
    doubles: int
    lines: Mapping[str, int]  # of each person, by number


class Imports(Writer):
    def keep_file(self, by: Actor, name: str, data: bytes) -> int:
        """Take a file for a closer look; nothing is changed by it. Raises `BadFile`."""
        if len(data) > csv_files.MOST_BYTES:
            raise BadFile("too_big")
        text, encoding = csv_files.decode(data)
        header, rows = csv_files.table(text)
        shown: list[list[str]] = []
        count = 0
        for _, row in give_way(rows):
            count += 1
            if count > csv_files.MOST_ROWS:
                raise BadFile("rows")
            if len(shown) < _SHOWN:
                shown.append([cell[:80] for cell in row])
        with self._writing() as session:
            left = (ImportJob.applied_at.is_(None), ImportJob.created_at < self._clock() - _WAITS_FOR)
            session.execute(delete(ImportJob).where(ImportJob.business_id == by.business_id, *left))
            own = own_fields(session, by.business_id)
            about = {
                "header": header,
                "shown": shown,
                "rows": count,
                "encoding": encoding,
                "columns": csv_files.guess(header, list(own)),
            }
            job = ImportJob(
                business_id=by.business_id,
                user_id=by.user_id,
                name=clean(name) or "csv",
                created_at=self._clock(),
                about=about,
                data=zlib.compress(text.encode("utf-8"), 1),
            )
            session.add(job)
            session.flush()
            audit.note(session, by, "import.kept", f"import:{job.id}", self._clock(), rows=count)
            return job.id

    def map_columns(self, by: Actor, job_id: int, columns: Sequence[str]) -> None:
        """Say what each column is, and see what would happen. Raises `Unreadable` ('columns') without a phone."""
        with self._reading() as session:  # a look; the long part holds no lock
            job = _open_job(session, by, job_id)
            own, about, data = own_fields(session, by.business_id), job.about, job.data
        fine = {"", *Column, *(f"extra.{name}" for name in own)}
        chosen = [one if one in fine else "" for one in columns][: len(about["header"])]
        used = [one for one in chosen if one]
        if Column.PHONE not in used or len(set(used)) < len(used):
            raise Unreadable("columns")
        found = self._readable(by, data, chosen, own)
        with self._writing() as session:
            job = _open_job(session, by, job_id)
            known = _known(session, by.business_id, [person.phone for person in found.people])
            job.about = {
                **about,
                "columns": chosen,
                "dry_run": {
                    "new": len(found.people) - len(known),
                    "known": len(known),
                    "doubles": found.doubles,
                    "leads": sum(person.wants_lead for person in found.people),
                    "wrong": len(found.problems),
                    "problems": [[one.line, one.code, one.column] for one in found.problems[:_TOLD]],
                },
            }

    def apply_import(self, by: Actor, job_id: int, *, skip_wrong: bool = False) -> None:
        """Take everybody in, or nobody: rows that are wrong refuse the file ('wrong') unless they are to be skipped."""
        with self._reading() as session:
            job = _open_job(session, by, job_id)
            if "dry_run" not in job.about:
                raise Unreadable("columns")
            own, columns, data = own_fields(session, by.business_id), job.about["columns"], job.data
        found = self._readable(by, data, columns, own)
        if (found.problems and not skip_wrong) or not found.people:
            raise Unreadable("wrong")
        try:
            with self._writing() as session:
                job = _open_job(session, by, job_id)
                now = self._clock()
                job.made = _take_in(session, by, found.people, now)
                job.applied_at, job.data = now, None
                made = {name: len(rows) for name, rows in job.made.items()}
                audit.note(session, by, "import.applied", f"import:{job.id}", now, **made)
        except IntegrityError:  # a call made one of these contacts meanwhile
            raise Unreadable("busy") from None

    def _readable(self, by: Actor, data: bytes | None, columns: Sequence[str], own: dict[str, OwnField]) -> Reading:
        found = _read(data, columns, own)
        with self._reading() as session:
            return _without_erased(session, by.business_id, found)

    def undo_import(self, by: Actor, job_id: int) -> None:
        """Everybody who came with the file and has not been heard of since goes; who was there before is as before."""
        with self._writing() as session:
            job = held(session, ImportJob, by, job_id)
            now = self._clock()
            if job.applied_at is None or job.undone_at is not None or now - job.applied_at > UNDO_FOR:
                raise Unreadable("undo")
            _take_out(session, job.made, job.applied_at)
            job.undone_at = now
            audit.note(session, by, "import.undone", f"import:{job.id}", now)

    def drop_import(self, by: Actor, job_id: int) -> None:
        """Not this file after all."""
        with self._writing() as session:
            job = _open_job(session, by, job_id)
            session.delete(job)
            audit.note(session, by, "import.dropped", f"import:{job_id}", self._clock())


def give_way(rows: Iterable[Any]) -> Iterator[Any]:
    """The same rows, with pauses in which other threads have Python's lock."""
    for number, row in enumerate(rows):
        if number % _GIVE_WAY_EVERY == _GIVE_WAY_EVERY - 1:
            time.sleep(_GIVE_WAY_S)
        yield row


def own_fields(session: Session, business_id: int) -> dict[str, OwnField]:
    rows = session.scalars(select(LeadField).where(LeadField.business_id == business_id).order_by(LeadField.position))
    return {row.name: OwnField(FieldKind(row.kind), row.choices) for row in rows}


def _open_job(session: Session, by: Actor, job_id: int) -> ImportJob:
    job = held(session, ImportJob, by, job_id)
    if job.data is None:
        raise LookupError(f"import {job_id} is done with")
    return job


def _read(data: bytes | None, columns: Sequence[str], own: dict[str, OwnField]) -> Reading:
    assert data is not None
    header, rows = csv_files.table(zlib.decompress(data).decode("utf-8"))
    people: dict[str, Person] = {}
    lines: dict[str, int] = {}
    problems, doubles = [], 0
    for line, row in give_way(rows):
        found = csv_files.read_row(line, row, header, columns, own)
        if isinstance(found, Problem):
            problems.append(found)
        elif found.phone in people:
            doubles += 1  # the first row of a number counts
        else:
            people[found.phone], lines[found.phone] = found, line
    return Reading(list(people.values()), problems, doubles, lines)


def _without_erased(session: Session, business_id: int, found: Reading) -> Reading:
    """Who asked to be forgotten is not brought back by a list."""
    gone = consents.erased(session, business_id, found.lines)
    problems = [Problem(found.lines[number], "erased") for number in gone]
    people = [person for person in found.people if person.phone not in gone]
    return Reading(people, sorted([*found.problems, *problems], key=lambda one: one.line), found.doubles, found.lines)


def _known(session: Session, business_id: int, phones: Sequence[str]) -> dict[str, int]:
    """The contacts of these numbers, by number."""
    found: dict[str, int] = {}
    for begin in range(0, len(phones), _AT_ONCE):
        rows = session.execute(
            select(ChannelIdentity.value, ChannelIdentity.contact_id).where(
                ChannelIdentity.business_id == business_id,
                ChannelIdentity.scheme == TEL,
                ChannelIdentity.value.in_(phones[begin : begin + _AT_ONCE]),
            )
        )
        found |= {row[0]: row[1] for row in rows}
    return found


def _take_in(session: Session, by: Actor, people: Sequence[Person], now: datetime) -> dict[str, list[Any]]:
    known = _known(session, by.business_id, [person.phone for person in people])
    changed = _meet(session, [(person, known[person.phone]) for person in people if person.phone in known], now)
    new = [person for person in people if person.phone not in known]
    both: dict[str, Any] = {"business_id": by.business_id, "created_at": now}
    ids = _made(
        session,
        insert(Contact).returning(Contact.id, sort_by_parameter_order=True),
        [{**both, "phone": one.phone, "name": one.name, "updated_at": now} for one in new],
    )
    whose = {**known, **{person.phone: row_id for person, row_id in zip(new, ids, strict=True)}}
    addresses = [{"scheme": TEL, "value": one.phone, "contact_id": whose[one.phone], **both} for one in new]
    emails = {one.email: whose[one.phone] for one in people if one.email}
    addresses += [{"scheme": "email", "value": email, "contact_id": who, **both} for email, who in emails.items()]
    if addresses:
        unless_known = upsert(session, ChannelIdentity).on_conflict_do_nothing(
            index_elements=["business_id", "scheme", "value"]
        )
        session.connection().execute(unless_known, addresses)
    search.index_contacts(session, sorted({*ids, *emails.values()}))
    leads = _leads(session, by, people, whose, now)
    notes = [
        {
            "business_id": by.business_id, "contact_id": whose[one.phone], "at": now, "kind": activity.IMPORTED,
            "who": by.name, "text": one.note,
        }
        for one in people
        if one.note
    ]  # fmt: skip
    if notes:
        session.execute(insert(Activity), notes)
    return {"contacts": ids, "leads": leads, "changed": changed}


def _meet(session: Session, known: Sequence[tuple[Person, int]], now: datetime) -> list[Any]:
    """Who is there already keeps their name; returns those it changed something for, as they were."""
    changed = []
    for person, contact_id in known:
        contact = session.get_one(Contact, contact_id, with_for_update={"key_share": True})
        after = called(Called(contact.name, contact.locked, contact.aliases), person.name, "", now)
        if (after.name, after.aliases) != (contact.name, contact.aliases):
            changed.append([contact.id, contact.name, list(contact.aliases), after.name, list(after.aliases)])
            contact.name, contact.aliases, contact.updated_at = after.name, list(after.aliases), now
    session.flush()
    return changed


def _leads(session: Session, by: Actor, people: Sequence[Person], whose: dict[str, int], now: datetime) -> list[int]:
    """A lead for each who comes with something to do and has none that is open."""
    wanted = [person for person in people if person.wants_lead]
    busy: set[int] = set()
    for begin in range(0, len(wanted), _AT_ONCE):
        ids = [whose[one.phone] for one in wanted[begin : begin + _AT_ONCE]]
        theirs = select(Lead.contact_id).where(Lead.contact_id.in_(ids), Lead.stage.in_(OPEN_STAGES))
        busy |= set(session.scalars(theirs))
    wanted = [person for person in wanted if whose[person.phone] not in busy]
    source = {"call_sid": "", "turn": 0, "quote": by.name, "confidence": 1.0, "by": "person", "readings": {}}
    rows = [
        {
            "business_id": by.business_id, "contact_id": whose[one.phone], "source_call_sid": "", "stage": Stage.NEW,
            "origin": Origin.IMPORTED, "name": one.name, "phone": one.phone, "confirmed": True, "need": one.need,
            "value": one.value, "extra": dict(one.extra),
            "sources": {f"extra.{name}": source for name in one.extra}, "created_at": now, "updated_at": now,
        }
        for one in wanted
    ]  # fmt: skip
    ids = _made(session, insert(Lead).returning(Lead.id, sort_by_parameter_order=True), rows)
    search.put(
        session.connection(),
        (
            Entry(Kind.LEAD, row_id, by.business_id, [one.name, one.need, *one.extra.values()], [one.phone])
            for row_id, one in zip(ids, wanted, strict=True)
        ),
    )
    lead_values.put(
        session.connection(),
        ((row_id, by.business_id, one.extra) for row_id, one in zip(ids, wanted, strict=True)),
    )
    names = {tag for one in wanted for tag in one.tags}
    for name in names:
        session.execute(
            upsert(session, Tag)
            .values(business_id=by.business_id, name=name)
            .on_conflict_do_nothing(index_elements=["business_id", "name"])
        )
    tags: dict[str, int] = {
        row[0]: row[1] for row in session.execute(select(Tag.name, Tag.id).where(Tag.business_id == by.business_id))
    }
    held_by = [
        {"lead_id": row_id, "tag_id": tags[tag]} for row_id, one in zip(ids, wanted, strict=True) for tag in one.tags
    ]
    if held_by:
        session.execute(insert(LeadTag), held_by)
    return ids


def _made(session: Session, statement: Insert, rows: Sequence[dict[str, Any]]) -> list[int]:
    return list(session.scalars(statement, rows)) if rows else []


def _take_out(session: Session, made: dict[str, Any], applied_at: datetime) -> None:
    for begin in range(0, len(made["leads"]), _AT_ONCE):
        ids = made["leads"][begin : begin + _AT_ONCE]
        called_on = select(Call.lead_id).where(Call.lead_id.in_(ids))
        session.execute(
            delete(Lead)
            .where(Lead.id.in_(ids), Lead.updated_at == applied_at, Lead.id.not_in(called_on))
            .execution_options(synchronize_session=False)
        )
    for begin in range(0, len(made["contacts"]), _AT_ONCE):
        ids = made["contacts"][begin : begin + _AT_ONCE]
        busy = select(Call.contact_id).where(Call.contact_id.in_(ids))
        leads = select(Lead.contact_id).where(Lead.contact_id.in_(ids))
        since = select(Activity.contact_id).where(Activity.contact_id.in_(ids), Activity.at > applied_at)
        session.execute(
            delete(Contact)
            .where(
                Contact.id.in_(ids), Contact.updated_at == applied_at, Contact.merged_into_id.is_(None),
                Contact.id.not_in(busy), Contact.id.not_in(leads), Contact.id.not_in(since),
            )
            .execution_options(synchronize_session=False)
        )  # fmt: skip
    for contact_id, name, aliases, name_then, aliases_then in made["changed"]:
        contact = session.get(Contact, contact_id)
        if contact is not None and (contact.name, contact.aliases) == (name_then, aliases_then):
            contact.name, contact.aliases = name, aliases
    unused = select(func.count()).where(LeadTag.tag_id == Tag.id).scalar_subquery()
    session.execute(delete(Tag).where(unused == 0).execution_options(synchronize_session=False))
