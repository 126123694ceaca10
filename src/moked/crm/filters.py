"""Which leads somebody wants to see: the filter, as an address of the desk or a saved view has it, and its rules."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select

from moked.crm import lead_values, search
from moked.crm.lead_values import OwnFilter
from moked.crm.leads import Origin, Stage
from moked.crm.models import Lead
from moked.crm.search import Kind
from moked.crm.tables_crm import LeadTag

_LONGEST = 100
_MOST = 2**31 - 1
_MOST_OWN = 10
NOTHING = "∅"
"""As the value of a field of the business's own: nothing stands in it."""
_OWN = re.compile(r"f([0-9]{1,10})(_has|_min|_max)?")

Word = TypeVar("Word", bound=Enum)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadFilter:
    """None and '' = all. `owner` 0: leads nobody takes care of. `since` and `until` are whole days of the business;
    `least` and `most` are shekels.
    """

    stage: Stage | None = None
    owner: int | None = None
    tag: int | None = None
    origin: Origin | None = None
    least: int | None = None
    most: int | None = None
    since: date | None = None
    until: date | None = None
    text: str = ""
    own: tuple[OwnFilter, ...] = ()

    def of_field(self, field_id: int) -> OwnFilter | None:
        """What is asked of a field of the business's own."""
        return next((one for one in self.own if one.field_id == field_id), None)

    def as_query(self) -> dict[str, str]:
        """As arguments of an address; `of_query` reads them."""
        found: dict[str, str] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "own":
                found |= {name: text for one in self.own for name, text in _own_query(one)}
            elif value not in (None, ""):
                name = "q" if each.name == "text" else each.name
                found[name] = str(value.value if isinstance(value, Enum) else value)
        return found

    @staticmethod
    def of_query(query: Mapping[str, Any]) -> "LeadFilter":
        """Nonsense in a filter is no filter."""
        asked = {name: str(value).strip()[:_LONGEST] for name, value in query.items()}
        return LeadFilter(
            stage=_word(Stage, asked.get("stage", "")),
            owner=_number(asked.get("owner", "")),
            tag=_number(asked.get("tag", "")),
            origin=_word(Origin, asked.get("origin", "")),
            least=_number(asked.get("least", "")),
            most=_number(asked.get("most", "")),
            since=_day(asked.get("since", "")),
            until=_day(asked.get("until", "")),
            text=asked.get("q", ""),
            own=_own(asked),
        )


def lead_rules(dialect: str, business_id: int, wanted: LeadFilter, zone: str) -> list[ColumnElement[bool]]:
    rules: list[ColumnElement[bool]] = [Lead.business_id == business_id]
    if wanted.stage is not None:
        rules.append(Lead.stage == wanted.stage)
    if wanted.owner is not None:
        rules.append(Lead.owner_id == wanted.owner if wanted.owner else Lead.owner_id.is_(None))
    if wanted.tag is not None:
        rules.append(Lead.id.in_(select(LeadTag.lead_id).where(LeadTag.tag_id == wanted.tag)))
    if wanted.origin is not None:
        rules.append(Lead.origin == wanted.origin)
    if wanted.least is not None:
        rules.append(Lead.value >= wanted.least)
    if wanted.most is not None:
        rules.append(Lead.value <= wanted.most)
    if wanted.since is not None:
        rules.append(Lead.created_at >= day(wanted.since, zone)[0])
    if wanted.until is not None:
        rules.append(Lead.created_at < day(wanted.until, zone)[1])
    rules += [lead_values.rule(business_id, one) for one in wanted.own]
    return rules + search.rule(dialect, business_id, Kind.LEAD, wanted.text)


def _own_query(one: OwnFilter) -> list[tuple[str, str]]:
    found = {"": NOTHING if one.empty else one.text, "_has": one.has, "_min": one.least, "_max": one.most}
    return [(f"f{one.field_id}{end}", value) for end, value in found.items() if value]


def _own(asked: Mapping[str, str]) -> tuple[OwnFilter, ...]:
    """`f7` is exactly that, or `NOTHING`; `f7_has` has it in it, `f7_min` and `f7_max` are bounds."""
    given: dict[int, dict[str, str]] = {}
    for name, value in asked.items():
        if value and (found := _OWN.fullmatch(name)) is not None:
            given.setdefault(int(found[1]), {})[found[2] or ""] = value
    return tuple(
        OwnFilter(field_id=field)
        if ends.get("") == NOTHING
        else OwnFilter(
            field_id=field,
            text=ends.get("", ""),
            has=ends.get("_has", ""),
            least=ends.get("_min", ""),
            most=ends.get("_max", ""),
        )
        for field, ends in list(given.items())[:_MOST_OWN]
        if field <= _MOST
    )


def day(which: date, zone: str) -> tuple[datetime, datetime]:
    """The first moment of a day of the business, and of the next."""
    where = ZoneInfo(zone)
    return datetime.combine(which, time(), where), datetime.combine(which + timedelta(days=1), time(), where)


def _word(kind: type[Word], value: str) -> Word | None:
    try:
        return kind(value)
    except ValueError:
        return None


def _number(value: str) -> int | None:
    value = value.replace(",", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 11 and int(value) <= _MOST else None


def _day(value: str) -> date | None:
    try:
        found = date.fromisoformat(value)
    except ValueError:
        return None
    return found if 1900 < found.year < 2200 else None
