"""Which leads somebody wants to see: the filter, as an address of the desk or a saved view has it, and its rules."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, select

from moked.crm import search
from moked.crm.leads import Origin, Stage
from moked.crm.models import Lead
from moked.crm.search import Kind
from moked.crm.tables_crm import LeadTag

_LONGEST = 100
_MOST = 2**31 - 1

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

    def as_query(self) -> dict[str, str]:
        """As arguments of an address; `of_query` reads them."""
        found: dict[str, str] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            if value not in (None, ""):
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
    return rules + search.rule(dialect, business_id, Kind.LEAD, wanted.text)


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
