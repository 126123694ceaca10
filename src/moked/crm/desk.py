"""What the desk shows: lists, pages and counts of one business. Reads only; `edits` changes.

Every query asks for the business of whoever asks: another's row is as if it were not there. Lists come in pages; rows
are plain snapshots, to be shown and forgotten.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Engine, and_, false, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from moked.crm import finding
from moked.crm.db import READ_ONLY
from moked.crm.leads import Stage
from moked.crm.models import (
    Call,
    CallEvent,
    CallState,
    Contact,
    Lead,
    Task,
    TranscriptSegment,
    Turn,
    UserAccount,
)
from moked.crm.service import HEARTBEAT_LIMIT_S
from moked.crm.tables_jobs import CallSummary
from moked.records import Outcome

Row = TypeVar("Row")

PAGE = 50
COLUMN = 30
"""Cards of a stage on the board; the rest is in the list."""
_TIMELINE = 100
_SPOKEN = 3


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`total` counts all rows that fit; `number` begins at 1."""

    rows: Sequence[Row]
    total: int
    number: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadFilter:
    """None and '' = all. `owner` 0: leads nobody takes care of. `since` and `until` are whole days of the business."""

    stage: Stage | None = None
    owner: int | None = None
    text: str = ""
    since: date | None = None
    until: date | None = None


@dataclass(frozen=True, slots=True)
class LeadPage:
    """`next_step`: what the last call that was read says to do now; '' where none does."""

    lead: Lead
    contact: Contact
    owner: UserAccount | None
    calls: Sequence[Call]
    tasks: Sequence[Task]
    next_step: str = ""


@dataclass(frozen=True, slots=True)
class ContactPage:
    """`timeline` holds `Call`s, `Task`s and `Lead`s, the latest first."""

    contact: Contact
    leads: Sequence[Lead]
    timeline: Sequence[Call | Task | Lead]


@dataclass(frozen=True, slots=True)
class CallPage:
    call: Call
    contact: Contact | None
    lead: Lead | None
    turns: Sequence[Turn]
    segments: Sequence[TranscriptSegment]
    events: Sequence[CallEvent]


@dataclass(frozen=True, slots=True)
class CallRow:
    """`response_ms`: the middle answer of the call, from the caller's last sound to our first; None without answers."""

    call: Call
    name: str
    response_ms: int | None


@dataclass(frozen=True, slots=True)
class Today:
    """The figures of the front page. `spoken`: the last turns of the live calls, by the call's id."""

    live: Sequence[CallRow]
    spoken: Mapping[int, Sequence[Turn]]
    recent: Sequence[CallRow]
    due: Sequence[tuple[Task, Lead]]
    calls: int
    leads: int
    new_leads: int
    overdue: int


class Desk:
    """Reads from `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = sessionmaker(engine.execution_options(**READ_ONLY), expire_on_commit=False)
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    # ---- the front page

    def today(self, business_id: int, zone: str) -> Today:
        now = self._clock()
        start, _ = _day(now.astimezone(ZoneInfo(zone)).date(), zone)
        alive = now - timedelta(seconds=HEARTBEAT_LIMIT_S)
        with self._reading() as session:
            ours, lead_ours = Call.business_id == business_id, Lead.business_id == business_id
            live = session.scalars(
                select(Call)
                .where(ours, Call.ended_at.is_(None), Call.heartbeat_at >= alive, Call.status == CallState.LIVE)
                .order_by(Call.started_at)
                .limit(PAGE)
            ).all()
            recent = session.scalars(
                select(Call).where(ours, Call.ended_at.is_not(None)).order_by(Call.started_at.desc()).limit(6)
            ).all()
            open_tasks = (Task.business_id == business_id, Task.done_at.is_(None))
            due = session.execute(
                select(Task, Lead).join(Lead, Lead.id == Task.lead_id).where(*open_tasks).order_by(Task.due_at).limit(6)
            ).all()
            return Today(
                live=self._call_rows(session, live),
                spoken=_last_turns(session, [call.id for call in live]),
                recent=self._call_rows(session, recent),
                due=[(task, lead) for task, lead in due],
                calls=_count(session, Call, ours, Call.started_at >= start),
                leads=_count(session, Lead, lead_ours, Lead.created_at >= start),
                new_leads=_count(session, Lead, lead_ours, Lead.stage == Stage.NEW),
                overdue=_count(session, Task, *open_tasks, Task.due_at < now),
            )

    # ---- leads

    def leads(self, business_id: int, wanted: LeadFilter, zone: str, page: int = 1) -> Page[Lead]:
        """The leads that fit, the latest changed first."""
        return self._page(Lead, _lead_rules(business_id, wanted, zone), (Lead.updated_at.desc(), Lead.id.desc()), page)

    def board(self, business_id: int, wanted: LeadFilter, zone: str) -> dict[Stage, Page[Lead]]:
        """Every stage with its latest leads and how many there are."""
        rules = _lead_rules(business_id, wanted, zone)
        with self._reading() as session:
            by_stage = select(Lead.stage, func.count()).where(*rules).group_by(Lead.stage)
            counts = {row[0]: row[1] for row in session.execute(by_stage)}
            return {
                stage: Page(
                    session.scalars(
                        select(Lead)
                        .where(*rules, Lead.stage == stage)
                        .order_by(Lead.updated_at.desc(), Lead.id.desc())
                        .limit(COLUMN)
                    ).all()
                    if stage in counts
                    else [],
                    counts.get(stage, 0),
                    1,
                )
                for stage in Stage
            }

    def lead(self, business_id: int, lead_id: int) -> LeadPage | None:
        with self._reading() as session:
            lead = _one(session, Lead, business_id, lead_id)
            if lead is None:
                return None
            contact = session.get(Contact, lead.contact_id)
            assert contact is not None, "the key holds"
            return LeadPage(
                lead,
                contact,
                session.get(UserAccount, lead.owner_id) if lead.owner_id is not None else None,
                session.scalars(
                    select(Call).where(Call.lead_id == lead.id).order_by(Call.started_at.desc()).limit(_TIMELINE)
                ).all(),
                session.scalars(
                    select(Task)
                    .where(Task.lead_id == lead.id)
                    .order_by(Task.done_at.is_not(None), Task.due_at, Task.id)
                    .limit(_TIMELINE)
                ).all(),
                session.scalar(
                    select(CallSummary.next_step)
                    .join(Call, Call.id == CallSummary.call_id)
                    .where(Call.lead_id == lead.id)
                    .order_by(Call.started_at.desc())
                    .limit(1)
                )
                or "",
            )

    # ---- contacts

    def contacts(self, business_id: int, text: str = "", page: int = 1) -> Page[Contact]:
        rules = [Contact.business_id == business_id, *_found(text, Contact.phone, Contact.name)]
        return self._page(Contact, rules, (Contact.updated_at.desc(), Contact.id.desc()), page)

    def contact(self, business_id: int, contact_id: int) -> ContactPage | None:
        with self._reading() as session:
            contact = _one(session, Contact, business_id, contact_id)
            if contact is None:
                return None
            leads = session.scalars(
                select(Lead).where(Lead.contact_id == contact.id).order_by(Lead.id.desc()).limit(_TIMELINE)
            ).all()
            calls = session.scalars(
                select(Call).where(Call.contact_id == contact.id).order_by(Call.started_at.desc()).limit(_TIMELINE)
            ).all()
            tasks = session.scalars(
                select(Task)
                .where(Task.lead_id.in_([lead.id for lead in leads]))
                .order_by(Task.due_at.desc())
                .limit(_TIMELINE)
            ).all()
            timeline: list[Call | Task | Lead] = [*calls, *tasks, *leads]
            timeline.sort(key=lambda row: row.started_at if isinstance(row, Call) else row.created_at, reverse=True)
            return ContactPage(contact, leads, timeline[:_TIMELINE])

    # ---- calls

    def calls(
        self,
        business_id: int,
        zone: str,
        *,
        day: date | None = None,
        outcome: Outcome | None = None,
        text: str = "",
        page: int = 1,
    ) -> Page[CallRow]:
        """The latest first. `day` is one of the business's."""
        rules: list[ColumnElement[bool]] = [Call.business_id == business_id]
        if day is not None:
            start, end = _day(day, zone)
            rules += [Call.started_at >= start, Call.started_at < end]
        if outcome is not None:
            rules.append(Call.outcome == outcome)
        if text.strip():
            theirs = [Contact.business_id == business_id, *_found(text, Contact.phone, Contact.name)]
            rules.append(or_(and_(*_found(text, Call.caller)), Call.contact_id.in_(select(Contact.id).where(*theirs))))
        found = self._page(Call, rules, (Call.started_at.desc(), Call.id.desc()), page)
        with self._reading() as session:
            return Page(self._call_rows(session, found.rows), found.total, found.number)

    def call(self, business_id: int, sid: str) -> CallPage | None:
        with self._reading() as session:
            call = session.scalars(select(Call).where(Call.business_id == business_id, Call.sid == sid)).one_or_none()
            if call is None:
                return None

            def of(table: Any, order: Any) -> Any:
                return session.scalars(select(table).where(table.call_id == call.id).order_by(order)).all()

            return CallPage(
                call,
                session.get(Contact, call.contact_id) if call.contact_id is not None else None,
                session.get(Lead, call.lead_id) if call.lead_id is not None else None,
                of(Turn, Turn.number),
                of(TranscriptSegment, TranscriptSegment.number),
                of(CallEvent, CallEvent.id),
            )

    # ---- tasks

    def tasks(self, business_id: int, *, done: bool = False, page: int = 1) -> Page[tuple[Task, Lead]]:
        """Open ones by when they are due, done ones by when they were done."""
        rules = [Task.business_id == business_id, Task.done_at.is_not(None) if done else Task.done_at.is_(None)]
        order = (Task.done_at.desc(), Task.id.desc()) if done else (Task.due_at, Task.id)
        found = self._page(Task, rules, order, page)
        with self._reading() as session:
            leads = {
                lead.id: lead
                for lead in session.scalars(select(Lead).where(Lead.id.in_({task.lead_id for task in found.rows})))
            }
        return Page([(task, leads[task.lead_id]) for task in found.rows], found.total, found.number)

    # ---- inside

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._read.begin() as session:
            yield session

    def _page(self, table: type[Row], rules: Sequence[Any], order: Sequence[Any], page: int) -> Page[Row]:
        with self._reading() as session:
            query: Any = select(table).where(*rules).order_by(*order)
            if page <= 1:  # what fits on one page is counted by looking at it: a search for a rare word reads all once
                rows = session.scalars(query.limit(PAGE + 1)).all()
                total = len(rows) if len(rows) <= PAGE else _count(session, table, *rules)
                return Page(rows[:PAGE], total, 1)
            total = _count(session, table, *rules)
            number = min(page, max(1, -(-total // PAGE)))
            return Page(session.scalars(query.limit(PAGE).offset((number - 1) * PAGE)).all(), total, number)

    def _call_rows(self, session: Session, calls: Sequence[Call]) -> list[CallRow]:
        names = {
            contact.id: contact.name
            for contact in session.scalars(
                select(Contact).where(Contact.id.in_({call.contact_id for call in calls if call.contact_id}))
            )
        }
        answers: dict[int, list[int]] = {}
        timed = select(Turn.call_id, Turn.sent_ms - Turn.speech_end_ms).where(
            Turn.call_id.in_([call.id for call in calls]), Turn.sent_ms.is_not(None), Turn.speech_end_ms.is_not(None)
        )
        for call_id, took in session.execute(timed):
            assert took is not None
            answers.setdefault(call_id, []).append(took)
        return [CallRow(call, names.get(call.contact_id or 0, ""), _middle(answers.get(call.id, []))) for call in calls]


def _lead_rules(business_id: int, wanted: LeadFilter, zone: str) -> list[ColumnElement[bool]]:
    rules: list[ColumnElement[bool]] = [Lead.business_id == business_id]
    if wanted.stage is not None:
        rules.append(Lead.stage == wanted.stage)
    if wanted.owner is not None:
        rules.append(Lead.owner_id == wanted.owner if wanted.owner else Lead.owner_id.is_(None))
    if wanted.since is not None:
        rules.append(Lead.created_at >= _day(wanted.since, zone)[0])
    if wanted.until is not None:
        rules.append(Lead.created_at < _day(wanted.until, zone)[1])
    return rules + _found(wanted.text, Lead.phone, Lead.name, Lead.need, Lead.summary)


def _found(text: str, phone: Any, *columns: Any) -> list[ColumnElement[bool]]:
    """Rules of a search; none for an empty one."""
    wanted = finding.read(text)
    if not wanted:
        return []
    by_number = [phone.contains(number, autoescape=True) for number in wanted.numbers]
    by_words = [
        and_(*(or_(*(column.icontains(word, autoescape=True) for column in columns)) for word in wanted.words))
        for _ in columns[:1]  # words cannot be found where there are only numbers
        if wanted.words
    ]
    return [or_(false(), *by_words, *by_number)]


def _day(day: date, zone: str) -> tuple[datetime, datetime]:
    """The first moment of a day of the business, and of the next."""
    where = ZoneInfo(zone)
    return datetime.combine(day, time(), where), datetime.combine(day + timedelta(days=1), time(), where)


def _one(session: Session, table: type[Row], business_id: int, row_id: int) -> Row | None:
    found: Any = session.get(table, row_id)
    return found if found is not None and found.business_id == business_id else None


def _count(session: Session, table: Any, *rules: Any) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*rules)) or 0


def _last_turns(session: Session, call_ids: Sequence[int]) -> dict[int, list[Turn]]:
    found: dict[int, list[Turn]] = {}
    for turn in session.scalars(select(Turn).where(Turn.call_id.in_(call_ids)).order_by(Turn.number)):
        found.setdefault(turn.call_id, []).append(turn)
    return {call_id: turns[-_SPOKEN:] for call_id, turns in found.items()}


def _middle(values: list[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None
