"""What the desk shows: lists, pages and counts of one business. Reads only; `edits` changes.

Every query asks for the business of whoever asks: another's row is as if it were not there. Lists come in pages; rows
are plain snapshots, to be shown and forgotten.

    Desk = the front page, leads, calls (here) + reads_contacts + reads_work + finder
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from moked.crm.filters import LeadFilter, lead_rules
from moked.crm.filters import day as day_of
from moked.crm.finder import Finder
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
from moked.crm.reading import PAGE, Page, count, one_of
from moked.crm.reads_contacts import ContactPage, ContactReads, Happening
from moked.crm.reads_work import WorkReads
from moked.crm.search import Kind
from moked.crm.service import HEARTBEAT_LIMIT_S
from moked.crm.tables_jobs import CallSummary
from moked.records import Outcome

__all__ = ["PAGE", "ContactPage", "Desk", "Happening", "LeadFilter", "Page"]

COLUMN = 30
"""Cards of a stage on the board; the rest is in the list."""
_TIMELINE = 100
NUMBERS_DAYS = 90
_SPOKEN = 3


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
class NumberRow:
    """A number of ours that was called, how often in `NUMBERS_DAYS`, and when last."""

    number: str
    calls: int
    last: datetime


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


class Desk(ContactReads, WorkReads, Finder):
    """Reads from `engine`. `clock` gives aware UTC."""

    # ---- the front page

    def today(self, business_id: int, zone: str) -> Today:
        now = self._clock()
        start, _ = day_of(now.astimezone(ZoneInfo(zone)).date(), zone)
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
                calls=count(session, Call, ours, Call.started_at >= start),
                leads=count(session, Lead, lead_ours, Lead.created_at >= start),
                new_leads=count(session, Lead, lead_ours, Lead.stage == Stage.NEW),
                overdue=count(session, Task, *open_tasks, Task.due_at < now),
            )

    # ---- leads

    def leads(self, business_id: int, wanted: LeadFilter, zone: str, page: int = 1) -> Page[Lead]:
        """The leads that fit, the latest changed first."""
        return self._page(
            Lead, lead_rules(self._dialect, business_id, wanted, zone), (Lead.updated_at.desc(), Lead.id.desc()), page
        )

    def board(self, business_id: int, wanted: LeadFilter, zone: str) -> dict[Stage, Page[Lead]]:
        """Every stage with its latest leads and how many there are."""
        rules = lead_rules(self._dialect, business_id, wanted, zone)
        with self._reading() as session:
            if wanted.text or wanted.own:
                return _found_by_stage(session, rules)
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
            lead = one_of(session, Lead, business_id, lead_id)
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
            start, end = day_of(day, zone)
            rules += [Call.started_at >= start, Call.started_at < end]
        if outcome is not None:
            rules.append(Call.outcome == outcome)
        if said := self._found(business_id, Kind.CALL, text):
            theirs = select(Contact.id).where(*self._found(business_id, Kind.CONTACT, text))
            rules.append(or_(*said, Call.contact_id.in_(theirs)))
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

    def numbers(self, business_id: int) -> Sequence[NumberRow]:
        """The numbers that rang here lately, the busiest first."""
        since = self._clock() - timedelta(days=NUMBERS_DAYS)
        counts = (
            select(Call.called, func.count(), func.max(Call.started_at))
            .where(Call.business_id == business_id, Call.started_at >= since, Call.simulated.is_(False))
            .group_by(Call.called)
            .order_by(func.count().desc(), Call.called)
            .limit(PAGE)
        )
        with self._reading() as session:
            return [NumberRow(called, calls, last) for called, calls, last in session.execute(counts)]

    # ---- inside

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


def _found_by_stage(session: Session, rules: Sequence[ColumnElement[bool]]) -> dict[Stage, Page[Lead]]:
    """The board of a search, in one go: its words, or values of own fields, are looked for once."""
    order = (Lead.updated_at.desc(), Lead.id.desc())
    place = func.row_number().over(partition_by=Lead.stage, order_by=order).label("place")
    total = func.count().over(partition_by=Lead.stage).label("total")
    ranked = select(Lead.id, place, total).where(*rules).subquery()
    shown = select(Lead, ranked.c.total).join(ranked, ranked.c.id == Lead.id).where(ranked.c.place <= COLUMN)
    columns: dict[Stage, list[tuple[Lead, int]]] = {}
    for lead, count_ in session.execute(shown.order_by(*order)):
        columns.setdefault(lead.stage, []).append((lead, count_))
    return {
        stage: Page([lead for lead, _ in found], found[0][1] if found else 0, 1)
        for stage in Stage
        for found in [columns.get(stage, [])]
    }


def _last_turns(session: Session, call_ids: Sequence[int]) -> dict[int, list[Turn]]:
    found: dict[int, list[Turn]] = {}
    for turn in session.scalars(select(Turn).where(Turn.call_id.in_(call_ids)).order_by(Turn.number)):
        found.setdefault(turn.call_id, []).append(turn)
    return {call_id: turns[-_SPOKEN:] for call_id, turns in found.items()}


def _middle(values: list[int]) -> int | None:
    return sorted(values)[len(values) // 2] if values else None
