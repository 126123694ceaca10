"""The rules of calls that we make."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels.policy import Purpose
from moked.crm.campaigns import (
    ANSWERED,
    BUSY,
    FAILED,
    MACHINE,
    NO_ANSWER,
    OPTED_OUT,
    Pace,
    Row,
    breaker,
    may_begin,
    next_try,
    opening,
    read_checks,
    read_list,
)
from moked.crm.privacy_rules import DISCLOSES

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
RESULTS = [ANSWERED, MACHINE, BUSY, NO_ANSWER, FAILED, OPTED_OUT]


@given(*[st.integers(0, 20)] * 5)
def test_no_limit_is_passed_and_a_place_is_left(per_minute, parallel, begun, on_the_line, free):
    count = may_begin(Pace(per_minute, parallel), begun_last_minute=begun, on_the_line=on_the_line, free_places=free)
    assert count >= 0
    if count:
        assert begun + count <= per_minute
        assert on_the_line + count <= parallel
        assert count < free


@pytest.mark.parametrize("result", RESULTS)
def test_who_answered_is_not_called_again(result):
    pace = Pace(max_attempts=2, retry=timedelta(hours=1))
    again = None if result in (ANSWERED, OPTED_OUT) else NOW + timedelta(hours=1)
    assert next_try(result, attempts=1, pace=pace, now=NOW) == again
    assert next_try(result, attempts=2, pace=pace, now=NOW) is None


@pytest.mark.parametrize(
    ("results", "why"),
    [
        ([], ""),
        ([FAILED] * 5, ""),
        ([FAILED] * 6, "failures"),
        ([FAILED, ANSWERED] * 3, "failures"),
        ([FAILED] + [ANSWERED] * 5, ""),
        ([BUSY, NO_ANSWER, MACHINE] * 5, ""),
        ([OPTED_OUT] * 2, ""),
        ([OPTED_OUT] * 3, "opt_outs"),
        ([OPTED_OUT] * 3 + [ANSWERED] * 28, "opt_outs"),
        ([OPTED_OUT] * 2 + [ANSWERED] * 5, ""),
    ],
)
def test_the_breaker(results, why):
    assert breaker(results) == why


@given(st.lists(st.sampled_from(RESULTS), max_size=60))
def test_the_breaker_forgets_what_was_long_ago(results):
    assert breaker([ANSWERED] * 30 + results) == ""


@pytest.mark.parametrize("male", [True, False])
@pytest.mark.parametrize("callback", [True, False])
@pytest.mark.parametrize("purpose", [Purpose.SERVICE, Purpose.MARKETING])
def test_the_first_words_say_who_that_it_is_no_person_and_why(purpose, callback, male):
    text = opening("מזגנים בצפון", "טיפול שנתי למזגן", purpose=purpose, callback=callback, male=male)
    first = text.split(".")[0]
    assert "מזגנים בצפון" in first
    assert "וירטואלי" in first
    assert DISCLOSES.search(first)
    assert "טיפול שנתי למזגן" in text
    assert ("פרסומית" in text) == (purpose is Purpose.MARKETING)


def test_a_list_is_read_as_people_write_it():
    read = read_list(
        '\ufeffשם,טלפון\nדנה לוי,050-234-5678\n0541112233\n"כהן, משה";\'04-6667788\nאין מספר,12\n+972502345678,שוב\n'
    )
    assert read.rows == (Row("+972502345678", "דנה לוי"), Row("+972541112233"))
    assert (len(read.unreadable), read.repeated) == (2, 1)
    assert read_list("502345678\tרות").rows == (Row("+972502345678", "רות"),)


def test_a_registrys_answer_is_read():
    listed, unreadable = read_checks("טלפון,סטטוס\n0502345678,רשום\n0541112233,לא רשום\n0524445566\nשלום 1\n")
    assert listed == {"+972502345678": True, "+972541112233": False, "+972524445566": True}
    assert unreadable == ("שלום 1",)


@given(st.text(max_size=200))
def test_any_text_is_read_without_a_fault(text):
    assert all(row.number.startswith("+") for row in read_list(text).rows)
    assert all(number.startswith("+") for number in read_checks(text)[0])
