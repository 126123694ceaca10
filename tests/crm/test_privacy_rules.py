"""The first sentence, what may be set, and what is too old."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.privacy_rules import NOTICE, RECORDS, Rules, cutoffs, first_sentence, opening, wrong
from moked.dialog.business import load_business

NAME = "מזגנים בצפון"


@pytest.mark.parametrize(
    ("greeting", "rest"),
    [
        ("שלום, מדבר העוזר הקולי של מזגנים בצפון. במה אפשר לעזור?", "במה אפשר לעזור?"),
        ("שלום, הגעתם למזגנים בצפון, מדבר העוזר הקולי.", ""),
        ("שלום! אנחנו כאן בשבילכם.", "שלום! אנחנו כאן בשבילכם."),
    ],
)
def test_a_recorded_call_says_both_things_in_its_first_sentence(greeting, rest):
    said = opening(greeting, NAME, Rules(), recorded=True)
    first = first_sentence(said)
    assert first == "שלום, אני העוזר הקולי הווירטואלי של מזגנים בצפון, השיחה מוקלטת ומתומללת."
    assert said.startswith(f"{first} כדי שלא נקליט, אפשר לומר לי לא להקליט או להקיש כוכבית.")
    assert said.endswith(rest)
    assert "מדבר העוזר" not in said, "the bot is introduced once"


def test_the_voice_decides_the_gender():
    assert "העוזרת הקולית הווירטואלית" in opening("שלום.", NAME, Rules(), recorded=True, female=True)


def test_without_a_key_none_is_offered():
    assert "להקיש" not in opening("שלום.", NAME, Rules(refuse_key=""), recorded=True)


def test_what_is_not_recorded_begins_as_the_business_wants_and_discloses_the_bot():
    greeting = load_business(None).greeting
    assert opening(greeting, NAME, Rules(), recorded=False) == greeting
    assert "העוזר הקולי" in first_sentence(greeting)


def test_the_business_has_its_own_words():
    notice = "היי, כאן הבוט של {business}, ואנחנו מקליטים."
    assert wrong(Rules(notice=notice)) == ""
    assert opening("שלום.", NAME, Rules(notice=notice), recorded=True).startswith("היי, כאן הבוט של מזגנים בצפון")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"notice": "שלום, השיחה מוקלטת."}, "notice"),
        ({"notice": "שלום. כאן הבוט, השיחה מוקלטת."}, "notice"),
        ({"notice": "שלום, כאן הבוט."}, "notice_recording"),
        ({"notice": NOTICE * 6}, "notice"),
        ({"refuse_key": "5"}, "refuse_key"),
        ({"recordings_days": -1}, "recordings_days"),
        ({"transcripts_days": 9999}, "transcripts_days"),
        ({}, ""),
        ({"leads_days": 0}, ""),
    ],
)
def test_what_cannot_be_is_named(change, field):
    assert wrong(replace(Rules(), **change)) == field


@given(st.text(max_size=120), st.sampled_from(["", "*", "#"]))
def test_whatever_the_greeting_is_a_recorded_caller_knows(greeting, key):
    said = opening(greeting, NAME, Rules(refuse_key=key), recorded=True)
    first = first_sentence(said)
    assert "העוזר הקולי" in first
    assert RECORDS.search(first)


@given(st.integers(0, 3650), st.integers(0, 3650))
def test_the_clock(recordings, leads):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    found = cutoffs(Rules(recordings_days=recordings, leads_days=leads), now)
    assert found.recordings == (now - timedelta(days=recordings) if recordings else None)
    assert found.leads == (now - timedelta(days=leads) if leads else None)
