"""Lists as files that Excel opens right: small ones at once, large ones by a worker, kept for a week.

CSV: UTF-8 with a mark, what looks like a formula made harmless. XLSX: a sheet from right to left, text as text, dates
as dates. The only file that imports XlsxWriter.
"""

import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import xlsxwriter
from sqlalchemy import ColumnElement, Engine, and_, delete, func, or_, select, update
from sqlalchemy.orm import Session

from moked.crm import audit, csv_files
from moked.crm.audit import Actor
from moked.crm.filters import LeadFilter, lead_rules
from moked.crm.importing import give_way, own_fields
from moked.crm.models import Business, Contact, Lead, UserAccount
from moked.crm.people import TEL
from moked.crm.phone import groups
from moked.crm.tables_crm import ChannelIdentity, ExportJob, LeadTag, Tag
from moked.crm.writing import Writer

AT_ONCE: Final = 2000
"""Rows up to which a file is written while somebody waits."""
KEEP_FOR: Final = timedelta(days=7)
CONTACTS, LEADS = "contacts", "leads"
KINDS: Final = (CONTACTS, LEADS)
FORMATS: Final = ("xlsx", "csv")
WAITING, READY, FAILED = "waiting", "ready", "failed"
_LEASE: Final = timedelta(minutes=10)
_MOST_TRIES: Final = 3
_BATCH: Final = 500

Cell = str | int | datetime | None


@dataclass(frozen=True, slots=True)
class File:
    name: str
    format: str
    data: bytes
    rows: int


_TITLES: Final = {
    CONTACTS: ("שם", "טלפון", "שמות נוספים", "טלפונים נוספים", "דואר אלקטרוני", "נוצר", "עודכן"),
    LEADS: (
        "שם", "טלפון", "שלב", "הצורך", "מועד נוח", "סיכום", "שווי", "תגיות", "באחריות", "סיבת אובדן", "מקור",
        "נוצר", "עודכן",
    ),
}  # fmt: skip
_STAGES: Final = {
    "new": "חדש", "in_progress": "בטיפול", "meeting": "נקבעה פגישה", "quoted": "הצעת מחיר", "won": "נסגר",
    "lost": "אבד",
}  # fmt: skip
_ORIGINS: Final = {
    "conversation": "שיחה", "broken": "שיחה שנקטעה", "refused": "כל הקווים היו תפוסים", "voicemail": "הודעה קולית",
    "unheard": "לא שמענו", "unanswered": "לא היה מענה אנושי", "import": "יבוא מקובץ",
    "added": "הוזן ללא שיחה",
}  # fmt: skip


class Exports(Writer):
    def export(self, by: Actor, kind: str, format_: str, wanted: LeadFilter) -> File | int:
        """The file, or the number of the job that will write it. On record either way."""
        with self._writing() as session:
            rules = _rules(session, by.business_id, kind, wanted, by.timezone)
            table = Contact if kind == CONTACTS else Lead
            rows = session.scalar(select(func.count()).select_from(table).where(*rules)) or 0
            audit.note(session, by, f"{kind}.exported", "", self._clock(), rows=rows, format=format_)
            if rows > AT_ONCE:
                job = ExportJob(
                    business_id=by.business_id,
                    user_id=by.user_id,
                    kind=kind,
                    format=format_,
                    query=wanted.as_query(),
                    state=WAITING,
                    created_at=self._clock(),
                )
                session.add(job)
                session.flush()
                return job.id
        return self._file(by.business_id, kind, format_, wanted, by.timezone)

    def write_next_export(self) -> bool:
        """Write one file that somebody waits for; False if nobody does. Old files go. For a worker, and any number."""
        now = self._clock()
        free = or_(ExportJob.taken_until.is_(None), ExportJob.taken_until < now)
        with self._reading() as session:
            if session.scalar(select(ExportJob.id).where(_due(now, free)).limit(1)) is None:
                return False
        with self._writing() as session:
            session.execute(delete(ExportJob).where(ExportJob.created_at < now - KEEP_FOR))
            session.execute(
                update(ExportJob)
                .where(ExportJob.state == WAITING, free, ExportJob.tries >= _MOST_TRIES)
                .values(state=FAILED)
            )
            job = session.scalars(
                select(ExportJob)
                .where(ExportJob.state == WAITING, free)
                .order_by(ExportJob.id)
                .limit(1)
                .with_for_update(skip_locked=True)
            ).one_or_none()
            if job is None:
                return False
            job.taken_until, job.tries = now + _LEASE, job.tries + 1
            zone = session.get_one(Business, job.business_id).timezone
        wanted = LeadFilter.of_query(job.query)
        written = self._file(job.business_id, job.kind, job.format, wanted, zone)
        with self._writing() as session:
            kept = session.get(ExportJob, job.id)
            if kept is not None and kept.state == WAITING:
                kept.data, kept.rows = zlib.compress(written.data, 1), written.rows
                kept.state, kept.ready_at = READY, self._clock()
        return True

    def exported(self, by: Actor, job_id: int) -> File | None:
        """A file that is ready. Whoever may export may fetch it: it is the business's."""
        with self._writing() as session:
            job = session.get(ExportJob, job_id)
            if job is None or job.business_id != by.business_id or job.data is None:
                return None
            audit.note(session, by, "export.fetched", f"export:{job.id}", self._clock())
            return File(
                _name(job.kind, job.format, job.created_at, by.timezone),
                job.format,
                zlib.decompress(job.data),
                job.rows,
            )

    def _file(self, business_id: int, kind: str, format_: str, wanted: LeadFilter, zone: str) -> File:
        with self._reading() as session:
            rules = _rules(session, business_id, kind, wanted, zone)
            titles, rows = _contacts(session, rules) if kind == CONTACTS else _leads(session, business_id, rules)
            count, data = (_xlsx if format_ == "xlsx" else _csv)(titles, give_way(rows), zone)
        return File(_name(kind, format_, self._clock(), zone), format_, data, count)


def _due(now: datetime, free: ColumnElement[bool]) -> ColumnElement[bool]:
    return or_(and_(ExportJob.state == WAITING, free), ExportJob.created_at < now - KEEP_FOR)


def _name(kind: str, format_: str, at: datetime, zone: str) -> str:
    return f"{kind}-{at.astimezone(ZoneInfo(zone)):%Y-%m-%d}.{format_}"


def _rules(session: Session, business_id: int, kind: str, wanted: LeadFilter, zone: str) -> list[ColumnElement[bool]]:
    engine = session.get_bind()
    assert isinstance(engine, Engine)
    if kind == LEADS:
        return lead_rules(engine.dialect.name, business_id, wanted, zone)
    return [Contact.business_id == business_id, Contact.merged_into_id.is_(None)]


def _phone(e164: str) -> str:
    """As people in Israel write it; with its dashes no spreadsheet takes it for a number."""
    if not e164.startswith("+"):
        return e164
    parts = groups(e164)
    return "-".join((*parts[:-2], parts[-2] + parts[-1])) if len(parts) > 3 else "-".join(parts)


def _batches(session: Session, table: Any, rules: Sequence[ColumnElement[bool]]) -> Iterator[Sequence[Any]]:
    """All rows, the latest first, some at a time; each found by the id of the one before it."""
    before: int | None = None
    while True:
        query = select(table).where(*rules).order_by(table.id.desc()).limit(_BATCH)
        rows = session.scalars(query if before is None else query.where(table.id < before)).all()
        if not rows:
            return
        yield rows
        before = rows[-1].id
        session.expunge_all()


def _contacts(session: Session, rules: Sequence[ColumnElement[bool]]) -> tuple[Sequence[str], Iterator[list[Cell]]]:
    def rows() -> Iterator[list[Cell]]:
        for batch in _batches(session, Contact, rules):
            more: dict[int, dict[str, list[str]]] = {}
            ids = [contact.id for contact in batch]
            for one in session.scalars(select(ChannelIdentity).where(ChannelIdentity.contact_id.in_(ids))):
                more.setdefault(one.contact_id, {}).setdefault(one.scheme, []).append(one.value)
            for contact in batch:
                theirs = more.get(contact.id, {})
                phones = [_phone(value) for value in theirs.get(TEL, []) if value != contact.phone]
                yield [
                    contact.name,
                    _phone(contact.phone or ""),
                    ", ".join(other["name"] for other in contact.aliases),
                    ", ".join(phones),
                    ", ".join(theirs.get("email", [])),
                    contact.created_at,
                    contact.updated_at,
                ]

    return _TITLES[CONTACTS], rows()


def _leads(
    session: Session, business_id: int, rules: Sequence[ColumnElement[bool]]
) -> tuple[Sequence[str], Iterator[list[Cell]]]:
    own = list(own_fields(session, business_id))
    accounts = select(UserAccount.id, UserAccount.name).where(UserAccount.business_id == business_id)
    names: dict[int, str] = {row[0]: row[1] for row in session.execute(accounts)}

    def rows() -> Iterator[list[Cell]]:
        for batch in _batches(session, Lead, rules):
            tags: dict[int, list[str]] = {}
            held = select(LeadTag.lead_id, Tag.name).join(Tag, Tag.id == LeadTag.tag_id).order_by(Tag.name)
            for lead_id, tag in session.execute(held.where(LeadTag.lead_id.in_([lead.id for lead in batch]))):
                tags.setdefault(lead_id, []).append(tag)
            for lead in batch:
                yield [
                    lead.name,
                    _phone(lead.phone),
                    _STAGES[lead.stage.value],
                    lead.need,
                    lead.best_time,
                    lead.summary,
                    lead.value,
                    ", ".join(tags.get(lead.id, [])),
                    names.get(lead.owner_id or 0, ""),
                    lead.lost_reason,
                    _ORIGINS[lead.origin.value],
                    lead.created_at,
                    lead.updated_at,
                    *(str(lead.extra.get(name, "")) for name in own),
                ]

    return (*_TITLES[LEADS], *own), rows()


def _csv(titles: Sequence[str], rows: Iterable[Sequence[Cell]], zone: str) -> tuple[int, bytes]:
    where, count, lines = ZoneInfo(zone), 0, [csv_files.BOM, csv_files.line(titles)]
    for row in rows:
        lines.append(csv_files.line([_written(cell, where) for cell in row]))
        count += 1
    return count, "".join(lines).encode("utf-8")


def _written(cell: Cell, where: ZoneInfo) -> str:
    match cell:
        case datetime():
            return f"{cell.astimezone(where):%Y-%m-%d %H:%M}"
        case None:
            return ""
    return str(cell)


def _xlsx(titles: Sequence[str], rows: Iterable[Sequence[Cell]], zone: str) -> tuple[int, bytes]:
    where, count = ZoneInfo(zone), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "export.xlsx"
        book = xlsxwriter.Workbook(str(path), {"constant_memory": True, "tmpdir": folder})
        sheet = book.add_worksheet("מוקד")
        sheet.right_to_left()
        sheet.freeze_panes(1, 0)
        head, text = book.add_format({"bold": True}), book.add_format({"num_format": "@"})
        moment, amount = book.add_format({"num_format": "dd/mm/yyyy hh:mm"}), book.add_format({"num_format": "#,##0"})
        for column, title in enumerate(titles):
            sheet.set_column(column, column, 18)
            sheet.write_string(0, column, title, head)
        for row in rows:
            count += 1
            for column, cell in enumerate(row):
                match cell:
                    case datetime():
                        here = cell.astimezone(where).replace(tzinfo=None, second=0, microsecond=0)
                        sheet.write_datetime(count, column, here, moment)
                    case int():
                        sheet.write_number(count, column, cell, amount)
                    case str() if cell:
                        sheet.write_string(count, column, cell[:32_000], text)
        sheet.autofilter(0, 0, max(count, 1), len(titles) - 1)
        book.close()
        return count, path.read_bytes()
