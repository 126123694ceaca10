"""Days of work and rest in Israel."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import workdays
from moked.crm.workdays import Soon, Span

ZONE = "Asia/Jerusalem"
MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))


def at(day, hour=10, minute=0):
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


@pytest.mark.parametrize(
    ("today", "morning"),
    [
        (date(2026, 11, 22), date(2026, 11, 23)),  # a Sunday
        (date(2026, 11, 26), date(2026, 11, 29)),  # Thursday: neither Friday nor Shabbat
        (date(2026, 11, 28), date(2026, 11, 29)),  # Shabbat
        (date(2026, 9, 10), date(2026, 9, 14)),  # New Year's eve is a Friday, and it lasts two days
        (date(2026, 9, 17), date(2026, 9, 22)),  # Sunday is the eve of Yom Kippur, on Monday
        (date(2026, 3, 31), date(2026, 4, 5)),  # Wednesday is the eve of Pesach, then Thursday, Friday, Shabbat
    ],
)
def test_the_next_morning_is_one_people_work_on(today, morning):
    chosen = {one.soon: one.at for one in workdays.choices(at(today), ZONE)}
    assert chosen[Soon.MORNING] == at(morning, 9)


@given(MOMENTS)
def test_nothing_is_put_off_to_a_day_of_rest(now):
    found = workdays.choices(now, ZONE)
    assert [one.at for one in found] == sorted({one.at for one in found})
    assert all(one.at > now for one in found)
    for one in found:
        day = one.at.astimezone(ZoneInfo(ZONE)).date()
        assert one.soon is Soon.HOUR or (workdays.is_workday(day) and not workdays.rest(day + timedelta(days=1)))


def test_this_afternoon_is_offered_while_there_is_one():
    sunday, friday = date(2026, 11, 22), date(2026, 11, 27)
    assert Soon.TODAY in {one.soon for one in workdays.choices(at(sunday, 10), ZONE)}
    assert Soon.TODAY not in {one.soon for one in workdays.choices(at(sunday, 15), ZONE)}
    assert Soon.TODAY not in {one.soon for one in workdays.choices(at(friday, 10), ZONE)}
    assert Soon.HOUR not in {one.soon for one in workdays.choices(at(sunday, 23, 30), ZONE)}


@pytest.mark.parametrize(
    ("due", "span"),
    [
        (at(date(2026, 11, 22), 9), Span.OVERDUE),
        (at(date(2026, 11, 22), 23, 59), Span.TODAY),
        (at(date(2026, 11, 23), 0), Span.WEEK),
        (at(date(2026, 11, 28), 23, 59), Span.WEEK),  # the week ends with Shabbat
        (at(date(2026, 11, 29), 0), Span.LATER),
    ],
)
def test_when_something_is_due(due, span):
    assert workdays.span(due, at(date(2026, 11, 22)), ZONE) is span


@given(st.dates(date(2025, 1, 1), date(2031, 1, 1)))
def test_a_week_begins_on_sunday(day):
    end = workdays.week_end(day)
    assert end.isoweekday() == 7
    assert 1 <= (end - day).days <= 7


def test_days_of_rest_have_names():
    assert workdays.rest(date(2026, 11, 28)) == "שבת"
    assert "כיפור" in workdays.rest(date(2026, 9, 21))
    assert workdays.rest(date(2026, 11, 27)) == ""
