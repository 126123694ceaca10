"""Consent in writing is only what says so itself; a question, a doubt or another matter is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels import optout
from moked.channels.optin import in_message

AGREED = [
    ("כן, אפשר לשלוח לי מבצעים", ("whatsapp",)),
    ("כן אפשר לשלוח לי מבצעים והנחות, תודה", ("whatsapp",)),
    ("אני מאשר לקבל דיוור", ("whatsapp",)),
    ("אני מאשרת לקבל מכם דיוור פרסומי במייל", ("email",)),
    ("מאשרת לקבל הודעות פרסומיות", ("whatsapp",)),
    ("מסכים לקבל מכם פרסומות בוואטסאפ וגם במייל", ("whatsapp", "email")),
    ("אשמח לקבל עדכונים על מבצעים", ("whatsapp",)),
    ("שלום. אני רוצה לקבל פרסומות במסרונים!", ("sms",)),
    ("אין לי בעיה שתשלחו לי מבצעים מדי פעם", ("whatsapp",)),
    ("אני רוצה להצטרף לרשימת התפוצה", ("whatsapp",)),
    ("הרשמה לניוזלטר", ("whatsapp",)),
    ("Subscribe", ("whatsapp",)),
]
NONE = [
    "כן",
    "בסדר",
    "אפשר לשלוח לי מבצעים?",
    "אפשר לשלוח לי מבצעים",
    "שלום, ניתן לשלוח לי פרסומות",
    "אשמח לקבל הנחות",
    "אני רוצה לקבל מבצעים",
    "לא מאשר לקבל דיוור",
    "אני לא רוצה לקבל פרסומות",
    "אל תשלחו לי מבצעים",
    "אולי אשמח לקבל מבצעים",
    "אפשר לשלוח לי מבצעים רק היום",
    "אם יש מזגן בזול אז אשמח לקבל מבצעים",
    "יש לכם מבצעים",
    "תשלחו לי את המבצע על המזגן",
    "אשתי מסכימה לקבל פרסומות",
    "אני מאשר לקבל את ההצעה",
    "אפשר לשלוח לי הצעת מחיר בוואטסאפ",
    "רוצה לקבל פרטים על המבצע של המזגן",
    "כן, אפשר לשלוח לי מבצעים. בעצם לא",
    "אפשר לשלוח לי מבצעים אבל לא בערב",
    "הסר",
    "קיבלתי מכם פרסומות",
    "",
]


@pytest.mark.parametrize(("text", "channels"), AGREED)
def test_who_says_so_agrees(text, channels):
    assert in_message(text, "whatsapp") == channels


@pytest.mark.parametrize("text", NONE)
def test_what_is_vague_a_question_or_another_matter_is_no_consent(text):
    assert in_message(text, "whatsapp") == ()


@given(st.sampled_from([text for text, _ in AGREED]), st.sampled_from([" לא", " אולי", " רק מחר", "?", " הסר אותי"]))
def test_whatever_is_put_behind_an_agreement_to_take_it_back_does(text, more):
    assert in_message(text.rstrip("!.") + more, "whatsapp") == ()


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת ,.?!\n", max_size=60))
def test_nothing_both_agrees_and_refuses(text):
    assert not (in_message(text, "sms") and optout.in_message(text))
