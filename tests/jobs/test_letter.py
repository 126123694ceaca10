"""The message about a lead: what a person needs, in their direction, and nothing a caller could do harm by."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from moked.crm.after import Letter
from moked.crm.leads import Origin
from moked.jobs.letter import _HEADINGS, message
from moked.records import Outcome

LETTER = Letter(
    call_sid="CA1",
    business="מזגנים בצפון",
    timezone="Asia/Jerusalem",
    to=("dana@example.com",),
    lead_id=7,
    name="רותי לוי",
    phone="+972502345678",
    sure=True,
    need="המזגן בסלון מטפטף",
    best_time="מחר אחרי ארבע",
    summary="פנתה בגלל מזגן.\nהשיחה נקטעה.",
    next_step="לחזור אל רותי לוי",
    origin=Origin.CONVERSATION,
    outcome=Outcome.COMPLETED,
    ended_at=datetime(2026, 11, 22, 10, 30, tzinfo=UTC),
    new=True,
)
BASE = "https://desk.example.com"


def test_what_is_said():
    told = message(LETTER, base_url=BASE)
    assert told.subject == "ליד חדש: רותי לוי – המזגן בסלון מטפטף"
    for part in ("רותי לוי", "050-234-5678", "מחר אחרי ארבע", "לחזור אל רותי לוי", "12:30", f"{BASE}/leads/7"):
        assert part in told.text
        assert part in told.html
    assert 'dir="rtl"' in told.html
    assert '<bdi dir="ltr">050-234-5678</bdi>' in told.html
    assert 'href="tel:+972502345678"' in told.html
    assert "פנתה בגלל מזגן.<br>השיחה נקטעה." in told.html


def test_the_link_has_no_more_than_a_number():
    told = message(LETTER, base_url=BASE)
    links = [part.split('"')[0] for part in told.html.split('href="')[1:]]
    assert links == ["tel:+972502345678", f"{BASE}/leads/7"]


def test_what_callers_say_is_text():
    told = message(
        replace(LETTER, name='<img src=x onerror="y">', need="שורה\r\nBcc: a@b", business="<b>"), base_url=BASE
    )
    assert "<img" not in told.html
    assert "<b>" not in told.html
    assert "\n" not in told.subject
    assert "\r" not in told.subject


def test_what_is_not_known_is_left_out():
    told = message(replace(LETTER, name="", phone="", need="", best_time="", summary="", next_step=""), base_url=BASE)
    assert "פונה ללא שם" in told.subject
    assert "חסוי" in told.text
    assert "מתי נוח" not in told.text


def test_a_number_nobody_vouches_for_is_said_to_be_one():
    assert "לא אושר" in message(replace(LETTER, sure=False), base_url=BASE).text
    assert "לא אושר" not in message(LETTER, base_url=BASE).text


@pytest.mark.parametrize("origin", Origin)
def test_every_kind_of_call_has_its_words(origin):
    told = message(replace(LETTER, origin=origin, new=False), base_url=BASE)
    assert _HEADINGS[origin] in told.text
    assert told.subject.startswith(("דחוף: פנייה נוספת", "פנייה נוספת"))


def test_a_long_need_is_cut_in_the_subject():
    assert len(message(replace(LETTER, need="מ" * 500), base_url=BASE).subject) == 110
