"""Days of work and rest in Israel (pure), and what is due when.

The week begins on Sunday; people work until Thursday. Nobody is called on Shabbat or on a holiday, and what is put off
to "the next morning" does not land on its eve either: an office is half empty then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from moked.crm.holydays import public

_FRIDAY: Final = 4
SHABBAT: Final = 5
SHABBAT_NAME: Final = "שבת"
MORNING: Final = time(9)
_AFTERNOON: Final = time(16)
_DAY: Final = timedelta(days=1)


def holiday(day: date) -> str:
    """The name of the holiday (a day of rest by law) that `day` is, or ''."""
    return public(day.year).get(day, "")


def rest(day: date) -> str:
    """Why nobody works on `day`: a holiday's name, or Shabbat; '' when people do, if only in the morning."""
    return holiday(day) or (SHABBAT_NAME if day.weekday() == SHABBAT else "")


def is_workday(day: date) -> bool:
    """Sunday to Thursday, no holiday, and no eve of one."""
    return day.weekday() not in (_FRIDAY, SHABBAT) and not holiday(day) and not holiday(day + _DAY)


def next_workday(day: date) -> date:
    """The first one after `day`."""
    day += _DAY
    while not is_workday(day):
        day += _DAY
    return day


class Soon(StrEnum):
    """Times that people choose from."""

    HOUR = "hour"
    TODAY = "today"
    MORNING = "morning"
    NEXT_WEEK = "next_week"


@dataclass(frozen=True, slots=True)
class Choice:
    soon: Soon
    at: datetime  # UTC


def choices(now: datetime, zone: str) -> list[Choice]:
    """When something may be put off to. "The morning" is that of the next day of work, whatever tomorrow is."""
    here = now.astimezone(ZoneInfo(zone))
    today = here.date()
    in_an_hour = (here + timedelta(hours=1)).replace(second=0, microsecond=0)
    found = [Choice(Soon.HOUR, in_an_hour)] if in_an_hour.date() == today else []
    if is_workday(today) and here.time() < time(_AFTERNOON.hour - 1):
        found.append(Choice(Soon.TODAY, datetime.combine(today, _AFTERNOON, here.tzinfo)))
    morning = next_workday(today)
    found.append(Choice(Soon.MORNING, datetime.combine(morning, MORNING, here.tzinfo)))
    week = next_workday(week_end(today) - _DAY)
    if week > morning:
        found.append(Choice(Soon.NEXT_WEEK, datetime.combine(week, MORNING, here.tzinfo)))
    return [Choice(one.soon, one.at.astimezone(UTC)) for one in found]


def week_end(day: date) -> date:
    """The Sunday with which the week after that of `day` begins."""
    return day + timedelta(days=7 - day.isoweekday() % 7)


class Span(StrEnum):
    OVERDUE = "overdue"
    TODAY = "today"
    WEEK = "week"
    LATER = "later"


def edges(now: datetime, zone: str) -> Sequence[datetime]:
    """Where one `Span` ends and the next begins: now, the end of today, the end of the week."""
    where = ZoneInfo(zone)
    today = now.astimezone(where).date()
    return (
        now,
        *(datetime.combine(day, time(), where).astimezone(UTC) for day in (today + _DAY, week_end(today))),
    )


def span(due: datetime, now: datetime, zone: str) -> Span:
    return list(Span)[sum(due >= edge for edge in edges(now, zone))]
