"""Values as people see them."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.records import Waterfall
from moked.web.desk import show
from moked.web.desk.show import Bar

ZONE = "Asia/Jerusalem"
NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)  # half past eleven at night there


@pytest.mark.parametrize(("e164", "shown"), [("+972502345678", "050-234-5678"), ("+97231234567", "03-123-4567"),
                                             ("*2700", "*2700"), ("anonymous", "anonymous"), ("", "")])  # fmt: skip
def test_numbers(e164, shown):
    assert show.number(e164) == shown


@pytest.mark.parametrize(("ms", "shown"), [(None, ""), (0, "0:00"), (125_999, "2:05"), (3_725_000, "1:02:05")])
def test_lengths(ms, shown):
    assert show.length(ms) == shown


def test_moments_are_the_businesses_own_days():
    assert show.when(datetime(2026, 11, 22, 7, 5, tzinfo=UTC), NOW, ZONE) == show.When("today", 6, "22.11", "09:05")
    assert show.when(datetime(2026, 11, 22, 22, 5, tzinfo=UTC), NOW, ZONE).day == "tomorrow"  # past midnight there
    assert show.when(datetime(2026, 11, 21, 7, 5, tzinfo=UTC), NOW, ZONE).day == "yesterday"
    assert show.when(datetime(2025, 6, 1, 7, 5, tzinfo=UTC), NOW, ZONE) == show.When("", 6, "1.6.2025", "10:05")
    assert show.field_value(NOW, ZONE) == "2026-11-22T23:30"


def test_a_waterfall_has_a_bar_a_step_and_what_was_done_ahead_took_nothing():
    assert show.bars(Waterfall(None, 1, 2, 3, 4, 5, 6)) == []
    assert show.bars(Waterfall(1000, 900, 1400, 1300, 1700, 1750, None)) == [
        Bar("transcript", 0, 0),
        Bar("endpoint", 0, 400),
        Bar("llm_first", 400, 0),
        Bar("tts_first", 400, 300),
        Bar("sent", 700, 50),
    ]
    assert show.response_ms(Waterfall(1000, sent_ms=1750)) == 750


_MOMENT = st.none() | st.integers(0, 60_000)


@given(st.tuples(*[_MOMENT] * 7))
def test_bars_follow_one_another_without_gaps(moments):
    bars = show.bars(Waterfall(*moments))
    at = 0
    for bar in bars:
        assert (bar.start_ms, bar.width_ms >= 0) == (at, True)
        at += bar.width_ms
    assert show.longest([bars]) >= max(at, 1000)


@pytest.mark.parametrize(
    ("said", "heard", "split"),
    [
        ("שלום לכם", "שלום", ("שלום", "לכם")),
        ("שלום", "שלום", ("שלום", "")),
        ("שלום", "", ("", "שלום")),
        ("a", "b", ("b", "")),
    ],
)
def test_what_was_heard_of_what_was_said(said, heard, split):
    assert show.split_heard(said, heard) == split
