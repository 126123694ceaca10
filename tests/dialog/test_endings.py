"""Whether the words are all: Hebrew, by example, and rules that hold for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import Expect
from moked.dialog.endings import Ending, ending
from moked.media.endpoint import LONGEST_MS, SHORTEST_MS, Pace, hold

OPEN, UNSURE, CLOSED = Ending.OPEN, Ending.UNSURE, Ending.CLOSED

SENTENCES = [
    ("אני צריך", OPEN, "open_sentence"),
    ("רציתי להזמין", OPEN, "complement_owed"),
    ("המזגן בחדר שינה", OPEN, "verb_owed"),
    ("הטכנאי שהיה אצלי", OPEN, "verb_owed"),
    ("שלום", OPEN, "opening"),
    ("אז ככה", OPEN, "opening"),
    ("תגיד יש לכם", OPEN, "object_owed"),
    ("אם אני מזמין היום", OPEN, "main_clause_owed"),
    ("רגע", OPEN, "asks_for_a_moment"),
    ("יש לי נזילה", UNSURE, "short_sentence"),
    ("נזילה", UNSURE, "no_verb"),
    ("אני רוצה שתבואו", UNSURE, "subclause"),
    ("יש לי נזילה במטבח", CLOSED, "sentence"),
    ("המזגן בסלון לא מקרר כבר יומיים", CLOSED, "sentence"),
    ("כמה עולה ביקור של טכנאי", CLOSED, "question"),
    ("אפשר לדבר עם נציג", CLOSED, "wants_person"),
    ("תודה רבה להתראות", CLOSED, "farewell"),
    ("אתם עובדים ביום שישי", CLOSED, "sentence"),
    ("מחר בבוקר מתאים לי מאוד", CLOSED, "sentence"),
    ("יום ראשון נוח לנו בערב", CLOSED, "sentence"),
    ("מחר בבוקר מתאים", OPEN, "complement_owed"),
]
ANSWERS = [
    (Expect.YES_NO, "כן", UNSURE),
    (Expect.YES_NO, "לא", UNSURE),
    (Expect.YES_NO, "כן נכון", CLOSED),
    (Expect.YES_NO, "אני חושב ש", OPEN),
    (Expect.NAME, "קוראים לי", OPEN),
    (Expect.NAME, "דנה", UNSURE),
    (Expect.NAME, "דנה לוי", CLOSED),
    (Expect.NAME, "שמי יעקב", CLOSED),
    (Expect.NAME, "אבישי בן", OPEN),
    (Expect.PHONE, "אפס חמש שתיים", OPEN),
    (Expect.PHONE, "אפס חמישים שתיים שלוש ארבע חמש שש שבע שמונה", CLOSED),
    (Expect.ADDRESS, "רחוב הרצל", OPEN),
    (Expect.ADDRESS, "תל אביב אלנבי", OPEN),
    (Expect.ADDRESS, "רחוב הרצל עשר תל אביב", CLOSED),
    (Expect.TIME, "מחר", OPEN),
    (Expect.TIME, "מחר בבוקר", CLOSED),
    (Expect.TIME, "בין שמונה", OPEN),
    (Expect.TIME, "בין שמונה לעשר", CLOSED),
    (Expect.TIME, "מתי שנוח לכם", CLOSED),
]


@pytest.mark.parametrize(("text", "kind", "reason"), SENTENCES)
def test_a_sentence(text, kind, reason):
    assert ending(text, Expect.OPEN) == (kind, reason)


@pytest.mark.parametrize(("expect", "text", "kind"), ANSWERS)
def test_an_answer(expect, text, kind):
    assert ending(text, expect)[0] is kind


@given(st.text("אבגדהוזחטיכלמנסעפצקרשת  ?.,05"), st.sampled_from(list(Expect)))
def test_any_text_has_an_ending_and_a_hold_within_the_bounds(text, expect):
    kind, reason = ending(text, expect)
    assert reason.replace("_", "").isalpha()
    for pace in (-70, 0, 150):
        bent = hold(text, expect, 550, pace)
        assert SHORTEST_MS <= bent.ms <= LONGEST_MS
        assert (bent.ending, bent.reason) == (kind, reason)
        assert kind is not OPEN or bent.ms == LONGEST_MS


@given(st.lists(st.one_of(st.none(), st.integers(250, 5000)), max_size=60))
def test_the_pace_stays_within_its_bounds_and_follows_the_caller(pauses):
    pace = Pace()
    for pause in pauses:
        before = pace.ms
        if pause is None:
            pace.fluent()
            assert pace.ms <= before
        else:
            pace.hesitated(pause)
        assert -70 <= pace.ms <= 150
