"""What callers mean: tables of things people say, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import slots
from moked.dialog.slots import TimeWish

YES = [
    "כן", "כן.", "כן כן", "כן, נכון", "נכון", "בדיוק", "בדיוק ככה", "בטח", "בטח שכן", "יאללה", "אוקיי", "או קיי",
    "OK",
    "מאה אחוז", "100 אחוז", "סבבה", "ברור", "אין בעיה", "למה לא", "כן, תודה", "כן בבקשה", "אה, כן", "נכון מאוד",
    "כמובן",
    "בשמחה", "הכל נכון", "אני חושב שכן", "מאשרת", "כֵּן", "קן", "נחון", "זה בסדר גמור", "כן זה המספר שלי", "אהה",
]  # fmt: skip
NO = [
    "לא", "לא.", "לא לא", "ממש לא", "לא נכון", "זה לא נכון", "טעות", "זו טעות", "לא בדיוק", "אין מצב", "לא תודה",
    "מה פתאום",
    "לא, המספר השתנה", "שלילי", "לא מתאים", "עדיף שלא", "לא זה המספר של אשתי", "אי אפשר", "no",
]  # fmt: skip
NEITHER = [
    "", "כן אבל רק בערב", "נכון, אבל הספרה האחרונה אחרת", "אולי", "לא יודע", "לא בטוחה", "לא הבנתי את השאלה",
    "דני כהן", "מחר בבוקר",
    "אפס חמש אפס", "כן ולא", "לא, כן", "לא זוכר", "יש לי נזילה במטבח והבעל שלי לא נמצא בבית עכשיו", "מה נכון?",
]  # fmt: skip


@pytest.mark.parametrize(
    ("said", "meaning"), [*((t, True) for t in YES), *((t, False) for t in NO), *((t, None) for t in NEITHER)]
)
def test_yes_no(said: str, meaning: bool | None) -> None:
    assert slots.yes_no(said) is meaning


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("דני", "דני"),
        ("דני.", "דני"),
        ("דני כהן", "דני כהן"),
        ("קוראים לי דני", "דני"),
        ("השם שלי הוא רונית לוי", "רונית לוי"),
        ("השם שלי זה גיא", "גיא"),
        ("שמי אברהם בן דוד", "אברהם בן דוד"),
        ("אני דני", "דני"),
        ("זה משה מזרחי", "משה מזרחי"),
        ("מדבר יוסי", "יוסי"),
        ("יוסי מדבר", "יוסי"),
        ("שלום, מדברת מיכל מחיפה", "מיכל"),
        ("זה דני מתל אביב", "דני"),
        ("אז קוראים לי שירה, בבקשה", "שירה"),
        ("דני, דני כהן", "דני כהן"),
        ("דני. כהן.", "דני כהן"),
        ("לא, דנה", "דנה"),
        ("לא דני, דנה", "דנה"),
        ("לא רוני אלא רונן", "רונן"),
        ("אה... סבטלנה", "סבטלנה"),
        ("ג'ני", "ג'ני"),
        ("David Cohen", "David Cohen"),
        ("קוראים לי דני ויש לי נזילה", "דני"),
        ("קוראים לי דני כהן ויש לי נזילה", "דני כהן"),
        ("קוראים לי דני, הברז שלי דולף", "דני"),
        ("קוראים לי דני הברז שלי דולף", "דני"),
        ("זולדן ברקוביץ", "זולדן ברקוביץ"),  # in no list
        # not names
        ("", None),
        ("כן", None),
        ("לא", None),
        ("מה?", None),
        ("למה אתם צריכים את השם שלי?", None),
        ("אפס חמש אפס", None),
        ("050", None),
        ("יש לי נזילה במטבח", None),
        ("אני צריך אינסטלטור", None),
        ("רגע", None),
        ("לא רוצה להגיד", None),
        ("מי מדבר", None),
        ("מחר בבוקר", None),
        ("אני לא שומע אותך טוב בכלל", None),
    ],
)
def test_name_when_asked(said: str, name: str | None) -> None:
    assert slots.name(said) == name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("שלום, קוראים לי דני ויש לי נזילה במטבח", "דני"),
        ("היי מדבר יוסי כהן, הדוד שלי התפוצץ", "יוסי כהן"),
        ("אני דני, יש לי סתימה", "דני"),
        ("אני צריך מישהו שיתקן לי את הדוד", None),
        ("אני מדבר מהעבודה", None),
        ("דני כהן", None),
        ("זה דחוף", None),
    ],
)
def test_name_unasked_needs_a_marker(said: str, name: str | None) -> None:
    assert slots.name(said, asked=False) == name


@pytest.mark.parametrize(
    ("said", "need"),
    [
        ("יש לי נזילה במטבח", "יש לי נזילה במטבח"),
        ("שלום, קוראים לי דני ויש לי נזילה במטבח", "יש לי נזילה במטבח"),
        ("שלום מדבר יוסי, הדוד שלי לא מחמם.", "הדוד שלי לא מחמם"),
        ("אהלן, מה שלומך? אה, רציתי לקבוע טיפול", "רציתי לקבוע טיפול"),
        ("נזילה", "נזילה"),
        ("בוקר טוב, לא יוצאים לי מים חמים בבקשה", "לא יוצאים לי מים חמים"),
        ("אני צריך אינסטלטור דחוף", "אני צריך אינסטלטור דחוף"),
        ("יש לי נזילה, תודה להתראות", "יש לי נזילה"),
        ("שלום", None),
        ("הלו?", None),
        ("כן", None),
        ("שלום, בוקר טוב", None),
        ("שלום, קוראים לי דני", None),
        ("", None),
        ("אה... אממ", None),
    ],
)
def test_need(said: str, need: str | None) -> None:
    assert slots.need(said) == need


def test_restate() -> None:
    assert slots.restate("יש לי נזילה במטבח") == "נזילה במטבח"
    assert slots.restate("הדוד שלי לא מחמם") == "הדוד שלכם לא מחמם"
    assert slots.restate("אני צריך אינסטלטור דחוף") == "אינסטלטור דחוף"
    assert slots.restate("כמה עולה תיקון?") is None
    assert slots.restate("אז ככה אני גר בקומה רביעית ומאתמול אין לחץ מים בכל הדירה שלי") is None


@pytest.mark.parametrize(
    ("said", "wish", "spoken"),
    [
        ("מחר בבוקר", TimeWish("מחר בבוקר", "tomorrow", "morning"), "מחר בבוקר"),
        ("מחר בבוקר בבקשה", TimeWish("מחר בבוקר", "tomorrow", "morning"), "מחר בבוקר"),
        ("אפשר מחר, אם נוח, בבוקר?", TimeWish("מחר אם נוח בבוקר", "tomorrow", "morning"), "מחר בבוקר"),
        ("ביום שלישי אחרי ארבע", TimeWish("ביום שלישי אחרי ארבע", "tuesday", "", 4, "after"), "ביום שלישי אחרי ארבע"),
        ("בערב", TimeWish("בערב", "", "evening"), "בערב"),
        ("מתי שנוח", TimeWish("מתי שנוח", "", "any"), "מתי שנוח"),
        ("לא משנה לי", TimeWish("לא משנה לי", "", "any"), "מתי שנוח"),
        ("כמה שיותר מהר", TimeWish("כמה שיותר מהר", "", "now"), "בהקדם"),
        ("היום עד חמש וחצי", TimeWish("היום עד חמש וחצי", "today", "", 5, "before"), "היום עד חמש וחצי"),
        ("מחר בשמונה בבוקר", TimeWish("מחר בשמונה בבוקר", "tomorrow", "morning", 8, "at"), "מחר בשמונה בבוקר"),
        ("בשעה 17:30", TimeWish("בשעה 17 30", "", "", 17, "at"), "בשעה 17 30"),
        ("אחרי הצהריים", TimeWish("אחרי הצהריים", "", "afternoon"), "אחר הצהריים"),
        ("בצהריים", TimeWish("בצהריים", "", "noon"), "בצהריים"),
        ("ראשון? לא, ביום שני בבוקר", TimeWish("ביום שני בבוקר", "monday", "morning"), "ביום שני בבוקר"),
        ("אחרי אחת עשרה", TimeWish("אחרי אחת עשרה", "", "", 11, "after"), "אחרי אחת עשרה"),
    ],
)
def test_time_wish(said: str, wish: TimeWish, spoken: str) -> None:
    assert slots.time_wish(said) == wish
    assert wish.spoken == spoken


@pytest.mark.parametrize("said", ["", "כן", "דני", "אני לא יודע", "נזילה במטבח"])
def test_no_time(said: str) -> None:
    assert slots.time_wish(said) is None


def test_time_unasked_only_about_calling_back() -> None:
    assert slots.time_wish("יש לי נזילה מאתמול בערב", asked=False) is None
    assert slots.time_wish("תחזרו אליי מחר בבוקר", asked=False) == TimeWish("מחר בבוקר", "tomorrow", "morning")


INTENTS = {
    "wants_person": [
        "אני רוצה נציג", "אפשר לדבר עם בן אדם?", "תעביר אותי לנציגה", "יש שם מישהו אמיתי?", "תני לי בנאדם",
        "אפשר לדבר עם המנהל",
    ],
    "farewell": ["להתראות", "תודה רבה, להתראות", "ביי", "ביי ביי", "תודה, יום טוב", "זהו, תודה", "תודה, זה הכל",
    "טוב, לילה טוב"],
    "asks_hours": ["מה שעות הפתיחה שלכם?", "אתם פתוחים בשישי?", "עד מתי אתם פתוחים היום", "ומתי אתם סוגרים"],
    "asks_price": ["כמה זה עולה?", "מה המחיר של ביקור", "וכמה עולה פתיחת סתימה", "אפשר הצעת מחיר"],
    "asks_address": ["איפה אתם נמצאים?", "מה הכתובת שלכם", "איך מגיעים אליכם", "ואיפה אתם?"],
    "repeat_please": ["מה?", "מה אמרת?", "סליחה, לא שמעתי", "אפשר שוב?", "תחזור על זה בבקשה", "לא הבנתי", "עוד פעם"],
    "do_not_record": ["אל תקליטו אותי", "אני לא רוצה שתקליטו", "בלי הקלטה בבקשה", "תפסיק להקליט"],
    "hold_on": ["רגע", "רק רגע", "שנייה אחת", "רגע בבקשה", "תמתין דקה"],
    "back_channel": ["אהה", "כן", "הבנתי", "אוקיי", "יופי", "כן כן"],
}  # fmt: skip
NO_INTENT = [
    "", "יש לי נזילה במטבח", "דני כהן", "אפס חמש אפס שתיים שלוש", "יום טוב, רציתי לשאול משהו",
    "הכתובת שלי היא הרצל 5",
    "אני לא צריך נציג", "תחזרו אליי מחר", "בוקר טוב", "אני אתקשר לאשתי ואני בודק",
]  # fmt: skip


@pytest.mark.parametrize(("intent", "said"), [(i, t) for i, texts in INTENTS.items() for t in texts])
def test_intents(intent: str, said: str) -> None:
    assert getattr(slots, intent)(said), (intent, said)
    confusable = {"back_channel"} if intent != "back_channel" else set()
    for other in INTENTS.keys() - {intent} - confusable:
        assert not getattr(slots, other)(said), (other, said)


@pytest.mark.parametrize("said", NO_INTENT)
@pytest.mark.parametrize("intent", INTENTS)
def test_no_intent(intent: str, said: str) -> None:
    assert not getattr(slots, intent)(said)


def test_call_me_back_is_not_repeat_that() -> None:
    assert slots.repeat_please("תחזור על זה")
    assert not slots.repeat_please("תחזור אליי")


@pytest.mark.parametrize(
    "said",
    [
        "אני צריך את",
        "הבעיה היא של",
        "יש לי נזילה אבל",
        "רציתי לדבר עם",
        "כי",
        "אה",
        "אז ככה, אממ",
        "אני רוצה ש-",
        "זה ו",
        "יש לי",
    ],
)
def test_open_sentences(said: str) -> None:
    assert slots.open_sentence(said)
    assert slots.open_sentence(said.rstrip("-") + ".") or said.endswith("-")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "כן",
        "לא",
        "יש לי נזילה במטבח",
        "דני כהן",
        "מה אתה רוצה ממני?",
        "אין",
        "מחר בבוקר.",
        "אני צריך את זה?",
        "היום בערב אם אפשר",
    ],
)
def test_closed_sentences(said: str) -> None:
    assert not slots.open_sentence(said)


texts = st.text(max_size=60) | st.lists(
    st.sampled_from(
        [
            "כן", "לא", "נכון", "טעות", "אבל", "דני", "כהן", "קוראים", "לי", "שלום", "אני", "רוצה", "מחר", "בבוקר",
            "אחרי", "ארבע", "אפס", "חמש", ",", ".", "?", "12", "של", "את", "רגע", "תודה", "להתראות"]
    ),
    max_size=12,
).map(" ".join)  # fmt: skip


@given(texts)
def test_any_text_is_survived(text: str) -> None:
    assert slots.yes_no(text) in (True, False, None)
    name = slots.name(text)
    assert name is None or 1 <= len(name.split()) <= 3
    if name is not None and " " not in name:
        assert slots.yes_no(name) is None or name in text
    need = slots.need(text)
    assert need is None or need.strip()
    slots.time_wish(text)
    slots.restate(text)
    for intent in (*INTENTS, "open_sentence", "is_question"):
        assert isinstance(getattr(slots, intent)(text), bool)


@given(st.sampled_from(YES + NO), st.sampled_from(["", ".", "!", " בבקשה", ", תודה"]))
def test_politeness_does_not_turn_an_answer(said: str, tail: str) -> None:
    assert slots.yes_no(said + tail) in (slots.yes_no(said), None) or len(said.split()) == 1
