"""What waits to be done, and what a business asks about its leads, as the desk shows them."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, or_, select

from moked.crm import workdays
from moked.crm.csv_files import OwnField
from moked.crm.exporting import KEEP_FOR
from moked.crm.importing import own_fields
from moked.crm.lead_fields import LOST_REASONS
from moked.crm.models import Lead, Task
from moked.crm.reading import Page, Reader, count, one_of
from moked.crm.tables_crm import ExportJob, ImportJob, LeadField, LeadSetting, LeadTag, SavedView, Tag
from moked.crm.workdays import Span

_MOST_COUNTED = 99
_SHOWN_JOBS = 20
_CALENDAR_PAST = timedelta(days=92)
_CALENDAR_MOST = 2000


class WorkReads(Reader):
    # ---- tasks

    def tasks(
        self,
        business_id: int,
        *,
        done: bool = False,
        page: int = 1,
        span: Span | None = None,
        zone: str = "Asia/Jerusalem",
        assignee: int | None = None,
    ) -> Page[tuple[Task, Lead]]:
        """Open ones by when they are due, done ones by when they were done. `assignee` 0: nobody's."""
        rules = [Task.business_id == business_id, Task.done_at.is_not(None) if done else Task.done_at.is_(None)]
        rules += _whose(assignee) + _within(span, self._clock(), zone)
        order = (Task.done_at.desc(), Task.id.desc()) if done else (Task.due_at, Task.id)
        found = self._page(Task, rules, order, page)
        with self._reading() as session:
            leads = {
                lead.id: lead
                for lead in session.scalars(select(Lead).where(Lead.id.in_({task.lead_id for task in found.rows})))
            }
        return Page([(task, leads[task.lead_id]) for task in found.rows], found.total, found.number)

    def task_counts(self, business_id: int, zone: str, assignee: int | None = None) -> dict[Span, int]:
        """Open tasks by when they are due."""
        ours = [Task.business_id == business_id, Task.done_at.is_(None), *_whose(assignee)]
        with self._reading() as session:
            return {span: count(session, Task, *ours, *_within(span, self._clock(), zone)) for span in Span}

    def reminders(self, business_id: int, user_id: int) -> int:
        """How many tasks of theirs, or nobody's, the desk brings up by itself now; 99 is "99 or more"."""
        some = (
            select(Task.id)
            .where(
                Task.business_id == business_id,
                Task.done_at.is_(None),
                Task.remind_at <= self._clock(),
                or_(Task.assignee_id == user_id, Task.assignee_id.is_(None)),
            )
            .limit(_MOST_COUNTED)
        )
        with self._reading() as session:
            return count(session, some.subquery())

    def calendar_tasks(self, business_id: int, user_id: int) -> Sequence[tuple[Task, Lead]]:
        """Open tasks of theirs, or nobody's, due in the last three months or later; what is due first comes first."""
        query = (
            select(Task, Lead)
            .join(Lead, Lead.id == Task.lead_id)
            .where(
                Task.business_id == business_id,
                Task.done_at.is_(None),
                Task.due_at >= self._clock() - _CALENDAR_PAST,
                or_(Task.assignee_id == user_id, Task.assignee_id.is_(None)),
            )
            .order_by(Task.due_at, Task.id)
            .limit(_CALENDAR_MOST)
        )
        with self._reading() as session:
            return [(task, lead) for task, lead in session.execute(query)]

    # ---- tags, fields, views

    def tags(self, business_id: int) -> Sequence[Tag]:
        with self._reading() as session:
            return session.scalars(select(Tag).where(Tag.business_id == business_id).order_by(Tag.name)).all()

    def tags_of(self, lead_ids: Sequence[int]) -> Mapping[int, Sequence[str]]:
        """The names of the tags of these leads, which the caller has looked up in its own business."""
        found: dict[int, list[str]] = {}
        held = select(LeadTag.lead_id, Tag.name).join(Tag, Tag.id == LeadTag.tag_id).order_by(Tag.name)
        with self._reading() as session:
            for lead_id, name in session.execute(held.where(LeadTag.lead_id.in_(lead_ids))):
                found.setdefault(lead_id, []).append(name)
        return found

    def lead_fields(self, business_id: int) -> Mapping[str, OwnField]:
        """The business's own fields, by name, in their order."""
        with self._reading() as session:
            return own_fields(session, business_id)

    def lead_field_rows(self, business_id: int) -> Sequence[LeadField]:
        ours = LeadField.business_id == business_id
        with self._reading() as session:
            return session.scalars(select(LeadField).where(ours).order_by(LeadField.position)).all()

    def lost_reasons(self, business_id: int) -> Sequence[str]:
        with self._reading() as session:
            setting = session.get(LeadSetting, business_id)
            return setting.lost_reasons if setting else LOST_REASONS

    def views(self, business_id: int, user_id: int) -> Sequence[SavedView]:
        """One's own, and what others share."""
        with self._reading() as session:
            return session.scalars(
                select(SavedView)
                .where(SavedView.business_id == business_id, or_(SavedView.user_id == user_id, SavedView.shared))
                .order_by(SavedView.name, SavedView.id)
            ).all()

    # ---- files

    def imports(self, business_id: int) -> Sequence[ImportJob]:
        ours = ImportJob.business_id == business_id
        with self._reading() as session:
            return session.scalars(select(ImportJob).where(ours).order_by(ImportJob.id.desc()).limit(_SHOWN_JOBS)).all()

    def import_job(self, business_id: int, job_id: int) -> ImportJob | None:
        with self._reading() as session:
            return one_of(session, ImportJob, business_id, job_id)

    def exports(self, business_id: int) -> Sequence[ExportJob]:
        recent = (ExportJob.business_id == business_id, ExportJob.created_at > self._clock() - KEEP_FOR)
        with self._reading() as session:
            return session.scalars(
                select(ExportJob).where(*recent).order_by(ExportJob.id.desc()).limit(_SHOWN_JOBS)
            ).all()


def _whose(assignee: int | None) -> list[ColumnElement[bool]]:
    if assignee is None:
        return []
    return [Task.assignee_id == assignee if assignee else Task.assignee_id.is_(None)]


def _within(span: Span | None, now: datetime, zone: str) -> list[ColumnElement[bool]]:
    if span is None:
        return []
    edges = [None, *workdays.edges(now, zone), None]
    at = list(Span).index(span)
    begin, end = edges[at], edges[at + 1]
    return [*([Task.due_at >= begin] if begin else []), *([Task.due_at < end] if end else [])]
