"""Who wants to be left alone is heard, and who only says "remove" or "call" is not taken for them."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels.optout import in_call, in_message
from moked.dialog.words import listed

WRITTEN = ["הסר", "הסר!", "  הסר  ", "הסרה", "להסיר בבקשה אותי מהרשימה", "נא להסיר", "STOP", "Stop.", "unsubscribe",
           "הסירו אותי", "תסירו אותי בבקשה", "׳הסר׳"]  # fmt: skip
SAID = [
    "תסיר אותי מהרשימה שלכם",
    "תסירו אותי",
    "אני רוצה שתסירו אותי מהרשימה",
    "תמחקו את המספר שלי מהמאגר",
    "להסיר אותי מרשימת התפוצה",
    "אל תתקשרו אליי יותר",
    "בבקשה אל תתקשר אליי",
    "תפסיקו להתקשר אליי",
    "די כבר להתקשר",
    "אמרתי לכם שלא תתקשרו יותר",
    "אני לא רוצה שתתקשרו אליי",
    "לא מעוניין לקבל יותר הודעות",
    "לא מעוניינת לקבל פרסומות",
    "אל תשלחו לי יותר",
    "stop calling me",
    "remove me from your list",
]
NOT = [
    "להסיר את המדבקה מהמזגן",
    "איך מסירים כתם",
    "הסר את הלוח הקדמי",
    "אל תתקשרו אליי לפני שמונה",
    "אל תתקשרו אליי היום, תתקשרו מחר",
    "אל תתקשרו אליי לעבודה",
    "אל תתקשרו אליי למספר הזה אלא לנייד",
    "תפסיקו לשלוח לי אלא במייל",
    "תמחקו את ההזמנה הקודמת",
    "תורידו אותי בתחנה",
    "אל תסיר אותי מהרשימה",
    "לא להסיר אותי",
    "תתקשרו אליי מחר",
    "אני לא רוצה שתתקשרו אליי לפני עשר",
    "שלא תתקשרו אליי בבוקר",
    "המזגן לא מפסיק לצלצל",
    "לא רוצה לקבל חשבונית",
    "stop the water please",
    "",
]


@pytest.mark.parametrize("text", [*WRITTEN, *SAID])
def test_a_refusal_in_a_message(text):
    assert in_message(text)


@pytest.mark.parametrize("text", SAID)
def test_a_refusal_in_a_call(text):
    assert in_call(text)


@pytest.mark.parametrize("text", NOT)
def test_no_refusal(text):
    assert not in_call(text)
    assert not in_message(text)


def test_the_bare_word_in_a_call_is_about_something_else():
    assert not in_call("הסר")


WORDS = listed(
    "שלום אני רוצה להזמין תור למזגן מטפטף בסלון כן לא תודה מחר בבוקר אחרי ארבע המספר שלי אפס חמש תתקשרו אליי לי אותי "
    "בבקשה להסיר להוריד את המדבקה ברשימה מהרשימה קניות שלחו הודעה אל תדאג יותר טוב מספר הטלפון קוראים דנה לוי חיפה"
)


@given(st.lists(st.sampled_from(sorted(WORDS)), max_size=14))
def test_talk_without_a_verb_of_stopping_is_no_refusal(said):
    """Removal needs 'me' or 'from the list' beside it; every other phrase needs a verb that these words do not have."""
    bare = [word for word in said if word != "בבקשה"]
    if not {*pairwise(bare)} & {(verb, of) for verb in ("להסיר", "להוריד") for of in ("אותי", "מהרשימה")}:
        assert not in_call(" ".join(said))


@given(
    st.lists(st.sampled_from(["שלום", "תקשיב", "אני", "כבר", "אמרתי", "בבקשה", "טוב"]), max_size=4),
    st.sampled_from(SAID),
    st.lists(st.sampled_from(["תודה", "ביי", "להתראות", "זהו"]), max_size=2),
)
def test_what_is_said_around_it_hides_no_refusal(before, refusal, after):
    assert in_call(" ".join([*before, refusal, *after]))


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text):
    assert in_message(text) in (True, False)
