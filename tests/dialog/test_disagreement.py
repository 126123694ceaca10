"""The scripted agent where two engines heard a name or a number differently: it asks about that slot alone."""

import pytest

from moked.dialog import Expect, Second
from tests.dialog.test_script import Call


def at_name():
    call = Call()
    call.says("יש לי נזילה במטבח")
    assert call.expects is Expect.NAME
    return call


def at_phone():
    call = at_name()
    call.says("דני כהן")
    call.says("לא")  # not the number they call from
    assert call.expects is Expect.PHONE
    return call


def heard(call, first, second, **what):
    """The caller says something that two engines heard so."""
    reading = Second(call.turn + 1, first, "google", second, "whisper", call.expects)
    return call.says(first, second=(reading,), **what)


def late(call, text, first, second, expect):
    """The next turn, with what a slow second engine heard of the one before it."""
    return call.says(text, second=(Second(call.turn, first, "google", second, "whisper", expect),))


def test_a_name_heard_differently_is_asked_about_alone():
    call = at_name()
    assert heard(call, "דנה", "דינה") == "רק לוודא, השם הוא דנה, או דינה?"
    assert call.says("דינה") == "נעים מאוד, דינה. לחזור אליכם למספר שממנו התקשרתם?"
    source = call.lead.sources["name"]
    assert (call.lead.name, source.readings) == ("דינה", {"google": "דנה", "whisper": "דינה"})
    assert source.confidence >= 0.9


@pytest.mark.parametrize(
    ("answer", "name"),
    [("הראשון", "דנה"), ("השני", "דינה"), ("דנה", "דנה"), ("לא דנה, דינה", "דינה"), ("השם שלי דליה", "דליה")],
)
def test_the_answer_by_voice(answer, name):
    call = at_name()
    heard(call, "דנה", "דינה")
    call.says(answer)
    if answer.startswith("לא"):  # both names are in it
        call.says("השני")
    assert call.lead.name == name


@pytest.mark.parametrize(("key", "name"), [("1", "דנה"), ("2", "דינה")])
def test_the_answer_by_key(key, name):
    call = at_name()
    heard(call, "דנה", "דינה")
    assert call.presses(key).startswith(f"נעים מאוד, {name}.")
    assert call.lead.name == name


def test_an_answer_that_says_nothing_is_asked_for_once_more_and_then_left():
    call = at_name()
    question = heard(call, "דנה", "דינה")
    assert call.says("אממ בערך").endswith(question)
    assert "למספר שממנו" in call.says("אממ בערך")
    assert (call.lead.name, call.lead.sources["name"].confidence) == ("דנה", 0.4)


def test_who_is_misheard_twice_is_pointed_to_the_keys():
    call = at_name()
    heard(call, "דנה", "דינה")
    assert "אפשר להקיש אחת" in heard(call, "דנה", "דינה")
    call.presses("2")
    assert call.lead.name == "דינה"


def test_wishes_come_before_the_answer():
    call = at_name()
    question = heard(call, "דנה", "דינה")
    assert call.says("מה אמרת?") == question
    assert call.keeps_silent() == f"אתם איתי? {question}"
    call.says("הראשון")
    assert call.lead.name == "דנה"


def test_a_number_is_asked_about_where_it_differs_and_then_read_back():
    call = at_phone()
    assert heard(call, "0541112233", "0541112234") == "רק לוודא, המספר נגמר בשלוש שלוש, או בשלוש ארבע?"
    assert "שתיים שתיים, שלוש ארבע. נכון?" in call.says("שלוש ארבע")
    call.says("כן")
    assert (call.lead.phone, call.lead.phone_confirmed) == ("+972541112234", True)
    assert call.lead.sources["phone"].readings == {"google": "+972541112233", "whisper": "+972541112234"}


def test_a_number_by_key_and_a_number_said_anew():
    call = at_phone()
    heard(call, "0541112233", "0541112234")
    assert "שלוש ארבע. נכון?" in call.presses("2")
    call = at_phone()
    heard(call, "0541112233", "0541112234")
    assert "שמונה שמונה. נכון?" in call.says("אפס חמש ארבע אחת אחת אחת שתיים שתיים שמונה שמונה")


def test_numbers_with_little_in_common_are_asked_for_again():
    call = at_phone()
    assert heard(call, "0541112233", "0529992233") == "סליחה, לא קלטתי את המספר. אפשר שוב, ספרה ספרה?"
    assert not call.lead.phone


def test_only_the_second_had_the_whole_number():
    call = at_phone()
    assert "שלוש ארבע. נכון?" in heard(call, "054111", "0541112234")


def test_agreement_makes_it_surer():
    alone, both = at_name(), at_name()
    alone.says("דנה", confidence=0.6)
    heard(both, "דנה", "דנה", confidence=0.6)
    assert both.lead.sources["name"].confidence > alone.lead.sources["name"].confidence
    assert not both.lead.sources["name"].readings


def test_what_comes_late_is_asked_with_the_next_answer():
    call = at_name()
    assert call.says("דנה") == "נעים מאוד, דנה. לחזור אליכם למספר שממנו התקשרתם?"
    assert late(call, "כן", "דנה", "דינה", Expect.NAME) == "מצוין. רק לוודא, השם הוא דנה, או דינה?"
    assert call.says("השני") == "נעים מאוד, דינה. מתי הכי נוח לדבר?"
    assert (call.lead.name, call.lead.phone_confirmed) == ("דינה", True)


def test_what_the_caller_has_confirmed_since_is_not_doubted():
    call = at_phone()
    call.says("0541112233")
    answer = late(call, "כן", "0541112233", "0541112234", Expect.PHONE)
    assert answer == "מצוין. מתי הכי נוח לדבר?"
    assert call.lead.phone == "+972541112233"


def test_a_name_told_unasked_is_heard_twice_too():
    call = Call()
    assert "השם הוא דנה, או דינה?" in heard(call, "קוראים לי דנה ויש לי נזילה", "קוראים לי דינה ויש לי נזילה")
    call.presses("2")
    assert (call.lead.name, "נזילה" in call.lead.need) == ("דינה", True)


def test_a_caller_who_leaves_is_not_held_up():
    call = at_name()
    answer = heard(call, "קוראים לי דנה תודה להתראות", "קוראים לי דינה תודה להתראות")
    assert "רק לוודא" not in answer
    assert call.ended
