"""Values of the business's own fields, as filters look for them: kept inside the transaction that writes a lead.

    lead.extra  --flush-->  lead_value: one row a field of the business's own that the lead has something in

The value itself stands in `lead.extra`; a row here is its text in small letters, and for a number, or the day of a
date, a number to compare. What the agent heard may be of another kind than the field: then there is no number.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, event, false, insert, inspect, select
from sqlalchemy.orm import Session

from moked.crm.lead_fields import SEALED, FieldKind, Unfit, read_value
from moked.crm.models import Lead
from moked.crm.tables_crm import LeadField, LeadValue

LONGEST = 100
_AT_ONCE = 1000
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnFilter:
    """What a field must be: `text` exactly, `has` somewhere in it, from `least` to `most` (numbers, or days such as
    2026-11-22). Letters' case is all one. All of them '': nothing stands in the field.
    """

    field_id: int
    text: str = ""
    has: str = ""
    least: str = ""
    most: str = ""

    @property
    def empty(self) -> bool:
        return not (self.text or self.has or self.least or self.most)


# ---- asking


def rule(business_id: int, wanted: OwnFilter) -> ColumnElement[bool]:
    """What a lead must fit. A bound that is neither a number nor a day fits nothing."""
    there = select(LeadValue.lead_id).where(LeadValue.field_id == wanted.field_id, LeadValue.business_id == business_id)
    if wanted.empty:
        return Lead.id.not_in(there)
    if wanted.text:
        there = there.where(LeadValue.text == kept(wanted.text))
    if wanted.has:
        there = there.where(LeadValue.text.contains(kept(wanted.has), autoescape=True))
    for text, fits in ((wanted.least, LeadValue.number.__ge__), (wanted.most, LeadValue.number.__le__)):
        if text:
            edge = bound(text)
            there = there.where(fits(edge) if edge is not None else false())
    return Lead.id.in_(there)


def bound(text: str) -> float | None:
    """A number or a day as it is compared; None for anything else."""
    try:
        if _DAY.fullmatch(text):
            return float(date.fromisoformat(text).toordinal())
        return float(read_value(FieldKind.NUMBER, (), text))
    except (Unfit, ValueError):
        return None


def kept(text: str) -> str:
    """A text as it is kept and asked for."""
    return " ".join(text.split()).casefold()[:LONGEST]


# ---- keeping


def put(connection: Connection, leads: Iterable[tuple[int, int, Mapping[str, Any]]]) -> None:
    """Rows of these leads, which have none: (id, business, extra)."""
    given = list(leads)
    fields = _fields(connection, {business for _, business, _ in given})
    rows = [
        row
        for lead_id, business_id, extra in given
        for field in fields.get(business_id, ())
        if (row := _row(lead_id, field, str(extra.get(field.name, "")))) is not None
    ]
    if rows:
        connection.execute(insert(LeadValue), rows)


def keep(connection: Connection, ids: Sequence[int]) -> None:
    """The rows of these leads anew, as they stand in the database now."""
    found = connection.execute(select(Lead.id, Lead.business_id, Lead.extra).where(Lead.id.in_(ids))).all()
    connection.execute(delete(LeadValue).where(LeadValue.lead_id.in_(ids)))
    put(connection, [(row.id, row.business_id, row.extra) for row in found])


def fill(connection: Connection, business_id: int) -> None:
    """All leads of a business: of tables that were written past the session, or for a field that is new."""
    after = 0
    while True:
        ids = list(
            connection.scalars(
                select(Lead.id)
                .where(Lead.business_id == business_id, Lead.id > after)
                .order_by(Lead.id)
                .limit(_AT_ONCE)
            )
        )
        if not ids:
            return
        keep(connection, ids)
        after = ids[-1]


def _fields(connection: Connection, businesses: Iterable[int]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    columns = (LeadField.id, LeadField.business_id, LeadField.name, LeadField.kind, LeadField.choices)
    for row in connection.execute(select(*columns).where(LeadField.business_id.in_(sorted(businesses)))):
        found.setdefault(row.business_id, []).append(row)
    return found


def _row(lead_id: int, field: Any, value: str) -> dict[str, Any] | None:
    text = kept(value)
    if not text or value.startswith(SEALED):
        return None
    return {
        "lead_id": lead_id,
        "field_id": field.id,
        "business_id": field.business_id,
        "text": text,
        "number": _number(FieldKind(field.kind), field.choices, value),
    }


def _number(kind: FieldKind, choices: Sequence[str], value: str) -> float | None:
    if kind not in (FieldKind.NUMBER, FieldKind.DATE):
        return None
    try:
        return bound(read_value(kind, choices, value))
    except Unfit:
        return None


@event.listens_for(Session, "after_flush")
def _keep_current(session: Session, context: object) -> None:
    changed = [row for row in (*session.new, *session.dirty) if isinstance(row, Lead)]
    ids = [row.id for row in changed if inspect(row).attrs.extra.history.has_changes()]
    if ids:
        keep(session.connection(), ids)
