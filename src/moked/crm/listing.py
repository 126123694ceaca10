"""Lists for programs: whole tables of one business, page by page, in an order that stands while rows are added.

A page is asked for by the last row of the one before (its place in the order and its id), not by a number: nothing is
skipped or told twice when rows come in between. Reads only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, or_, select

from moked.crm import search
from moked.crm.desk import Desk
from moked.crm.filters import LeadFilter, lead_rules
from moked.crm.filters import day as day_of
from moked.crm.models import AuditEntry, Base, Call, Contact, Lead, Task, UserAccount
from moked.crm.reading import one_of
from moked.crm.search import Kind
from moked.records import Outcome

Row = TypeVar("Row", bound=Base)
After = tuple[datetime | None, int]
"""Where a page goes on: after the row with this moment (None in an order by id alone) and id."""


@dataclass(frozen=True, slots=True)
class Slice(Generic[Row]):
    """`after` is where the next page goes on; None at the end."""

    rows: Sequence[Row]
    after: After | None


class Listing(Desk):
    """What `Desk` gives to pages, and lists."""

    def lead_list(
        self,
        business_id: int,
        wanted: LeadFilter,
        zone: str,
        *,
        contact_id: int | None = None,
        updated_since: datetime | None = None,
        by_update: bool = False,
        after: After | None = None,
        limit: int = 50,
    ) -> Slice[Lead]:
        """The newest first; or `by_update`: the one that changed longest ago first, so that whoever follows misses
        nothing."""
        rules = lead_rules(self._dialect, business_id, wanted, zone)
        if contact_id is not None:
            rules.append(Lead.contact_id == contact_id)
        if updated_since is not None:
            rules.append(Lead.updated_at >= updated_since)
        return self._slice(Lead, rules, Lead.updated_at if by_update else None, by_update, after, limit)

    def contact_list(
        self, business_id: int, *, text: str = "", after: After | None = None, limit: int = 50
    ) -> Slice[Contact]:
        rules = [Contact.business_id == business_id, Contact.merged_into_id.is_(None)]
        rules += search.rule(self._dialect, business_id, Kind.CONTACT, text)
        return self._slice(Contact, rules, None, False, after, limit)

    def call_list(
        self,
        business_id: int,
        zone: str,
        *,
        day: date | None = None,
        outcome: Outcome | None = None,
        contact_id: int | None = None,
        lead_id: int | None = None,
        after: After | None = None,
        limit: int = 50,
    ) -> Slice[Call]:
        """The latest first."""
        rules: list[ColumnElement[bool]] = [Call.business_id == business_id]
        if day is not None:
            start, end = day_of(day, zone)
            rules += [Call.started_at >= start, Call.started_at < end]
        if outcome is not None:
            rules.append(Call.outcome == outcome)
        if contact_id is not None:
            rules.append(Call.contact_id == contact_id)
        if lead_id is not None:
            rules.append(Call.lead_id == lead_id)
        return self._slice(Call, rules, Call.started_at, False, after, limit)

    def task_list(
        self,
        business_id: int,
        *,
        done: bool | None = None,
        lead_id: int | None = None,
        after: After | None = None,
        limit: int = 50,
    ) -> Slice[Task]:
        """What is due first comes first."""
        rules: list[ColumnElement[bool]] = [Task.business_id == business_id]
        if done is not None:
            rules.append(Task.done_at.is_not(None) if done else Task.done_at.is_(None))
        if lead_id is not None:
            rules.append(Task.lead_id == lead_id)
        return self._slice(Task, rules, Task.due_at, True, after, limit)

    def audit_list(self, business_id: int, *, after: After | None = None, limit: int = 50) -> Slice[AuditEntry]:
        """The latest first."""
        return self._slice(AuditEntry, [AuditEntry.business_id == business_id], AuditEntry.at, False, after, limit)

    def user_list(self, business_id: int, *, after: After | None = None, limit: int = 50) -> Slice[UserAccount]:
        return self._slice(UserAccount, [UserAccount.business_id == business_id], None, True, after, limit)

    def row(self, table: type[Row], business_id: int, row_id: int) -> Row | None:
        """One row of this business."""
        with self._reading() as session:
            return one_of(session, table, business_id, row_id)

    def _slice(
        self, table: Any, rules: Sequence[Any], order: Any, ascending: bool, after: After | None, limit: int
    ) -> Slice[Any]:
        """`order` None: by id alone."""
        columns = [table.id] if order is None else [order, table.id]
        query = select(table).where(*rules)
        if after is not None:
            query = query.where(_beyond(columns, after if order is not None else after[1:], ascending))
        query = query.order_by(*(column.asc() if ascending else column.desc() for column in columns)).limit(limit + 1)
        with self._reading() as session:
            rows = session.scalars(query).all()
        if len(rows) <= limit:
            return Slice(rows, None)
        last = rows[limit - 1]
        return Slice(rows[:limit], (getattr(last, order.key) if order is not None else None, last.id))


def _beyond(columns: Sequence[Any], after: Sequence[Any], ascending: bool) -> ColumnElement[bool]:
    """(a, b) > (x, y), or <, as both databases use an index for it."""
    *first, last = [
        column > value if ascending else column < value for column, value in zip(columns, after, strict=True)
    ]
    if not first:
        return last  # type: ignore[no-any-return]
    at_most = columns[0] >= after[0] if ascending else columns[0] <= after[0]
    return and_(at_most, or_(first[0], last))
