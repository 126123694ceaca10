"""Steps that ask for an identity number, a plate, an address, a date or a number: heard, misheard, refused, typed."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.dialog import CallerTurn, Expect
from moked.dialog.script import ScriptAgents
from moked.errors import ProfileError
from tests.dialog.test_script import BUSINESS, Call, play, spoken

GOODBYE = "תודה. העברתי את הפרטים לצוות, ונחזור אליכם. יום טוב ולהתראות."
STEPS = {
    "id": "  - {asks: id, id: 'זהות'}\n",
    "plate": "  - {asks: plate, id: 'רכב'}\n",
    "address": "  - {asks: address, id: 'כתובת'}\n",
    "date": "  - {asks: date, id: 'מועד'}\n",
    "number": "  - {asks: number, id: 'חדרים', say: 'כמה חדרים?'}\n",
}


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ScriptAgents]:
    folder = tmp_path_factory.mktemp("scripts")
    made = {}
    for name, step in {**STEPS, "all": "".join(STEPS.values())}.items():
        (folder / f"{name}.yaml").write_text(f"steps:\n{step}", encoding="utf-8")
        made[name] = ScriptAgents(BUSINESS, folder / f"{name}.yaml")
    return made


def kept(call: Call) -> tuple[str, float, str]:
    """(value, confidence, quote) of the one field."""
    ((key, value),) = call.lead.extra.items()
    source = call.lead.sources[f"extra.{key}"]
    return value, source.confidence, source.quote


@pytest.mark.parametrize(
    ("step", "question", "expect"),
    [
        ("id", "מה מספר תעודת הזהות?", Expect.ID),
        ("plate", "מה מספר הרכב?", Expect.PLATE),
        ("address", "מה הכתובת?", Expect.ADDRESS),
        ("date", "לאיזה תאריך?", Expect.DATE),
        ("number", "כמה חדרים?", Expect.NUMBER),
    ],
)
def test_each_asks_in_the_usual_words(
    agents: dict[str, ScriptAgents], step: str, question: str, expect: Expect
) -> None:
    call = Call(agents=agents[step])
    assert spoken(call.done).endswith(question)
    assert call.expects is expect
    assert call.says("רגע") == "בטח, אני ממתין."
    assert question in call.says("מה אמרת?")


@pytest.mark.parametrize(
    ("step", "dialogue", "value"),
    [
        # heard right
        (
            "id",
            """
            פונה: אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים
            סוכן: אני חוזר על המספר, אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים. נכון?
            פונה: כן
            """,
            "123456782",
        ),
        (
            "plate",
            """
            פונה: שתים עשרה, שלוש מאות ארבעים וחמש, שישים ושבע
            סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
            פונה: נכון
            """,
            "12-345-67",
        ),
        (
            "address",
            """
            פונה: אני גר ברחוב הרצל שתים עשרה דירה ארבע בחיפה
            סוכן: רשמתי, הרצל שתים עשרה, דירה ארבע, חיפה. נכון?
            פונה: כן
            """,
            "הרצל 12, דירה 4, חיפה",
        ),
        (
            "date",
            """
            פונה: ב-20 בדצמבר בעשר וחצי
            סוכן: רשמתי, ביום ראשון, עשרים בדצמבר, בעשר וחצי בבוקר. נכון?
            פונה: כן
            """,
            "20.12.2026 10:30",
        ),
        ("number", "פונה: שלושה וחצי חדרים", "3.5 חדרים"),
        # in parts
        (
            "id",
            """
            פונה: אחת שתיים שלוש ארבע חמש שש
            סוכן: עד עכשיו רשמתי, אחת שתיים שלוש, ארבע חמש שש. מה ההמשך?
            פונה: שבע שמונה שתיים
            סוכן: אני חוזר על המספר, אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים. נכון?
            פונה: כן
            """,
            "123456782",
        ),
        (
            "plate",
            """
            פונה: שתים עשרה, שלוש מאות
            סוכן: עד עכשיו רשמתי, אחת שתיים, שלוש אפס אפס. מה ההמשך?
            פונה: ארבעים וחמש, שישים ושבע
            סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
            פונה: כן
            """,
            "12-345-67",
        ),
        (
            "address",
            """
            פונה: בחיפה
            סוכן: באיזה רחוב?
            פונה: הרצל
            סוכן: ומה מספר הבית?
            פונה: 14#
            סוכן: רשמתי, הרצל ארבע עשרה, חיפה. נכון?
            פונה: כן
            """,
            "הרצל 14, חיפה",
        ),
        (
            "address",
            """
            פונה: רחוב הדוגית בחיפה
            סוכן: ומה מספר הבית?
            פונה: אין מספר
            סוכן: רשמתי, הדוגית, חיפה. נכון?
            פונה: כן
            """,
            "הדוגית, חיפה",
        ),
        # misheard: noticed without asking the caller
        (
            "id",
            """
            פונה: אחת שתיים שלוש ארבע חמש שש שבע תשע שתיים
            סוכן: נראה ששמעתי ספרה לא נכון. אפשר שוב, ספרה ספרה?
            פונה: אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים
            סוכן: אני חוזר על המספר, אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים. נכון?
            פונה: כן
            """,
            "123456782",
        ),
        (
            "id",  # misheard twice, each time elsewhere: one number is near both
            """
            פונה: אחת שתיים שלוש ארבע חמש שש ארבע שמונה שתיים
            סוכן: נראה ששמעתי ספרה לא נכון. אפשר שוב, ספרה ספרה?
            פונה: אחת שתיים שלוש ארבע חמש אפס שבע שמונה שתיים
            סוכן: אני חוזר על המספר, אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים. נכון?
            פונה: כן
            """,
            "123456782",
        ),
        # refused, and read back digit by digit; refused again, and typed
        (
            "id",
            """
            פונה: אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים
            סוכן: אני חוזר על המספר, אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים. נכון?
            פונה: לא
            סוכן: סליחה. נרשום מההתחלה, ספרה ספרה.
            פונה: אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים
            סוכן: עכשיו ספרה ספרה, אחת, שתיים, שלוש, ארבע, חמש, שש, שבע, שמונה, שתיים. נכון?
            פונה: לא
            סוכן: אפשר גם להקיש את המספר בטלפון, ובסוף סולמית.
            פונה: 000000018#
            """,
            "000000018",
        ),
        # one group corrected, at once and after a plain refusal
        (
            "plate",
            """
            פונה: 12-345-67
            סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
            פונה: לא, בסוף שישים ושמונה
            סוכן: עכשיו ספרה ספרה, אחת, שתיים, שלוש, ארבע, חמש, שש, שמונה. נכון?
            פונה: כן
            """,
            "12-345-68",
        ),
        (
            "plate",
            """
            פונה: 12-345-67
            סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
            פונה: לא
            סוכן: סליחה. נרשום מההתחלה, ספרה ספרה.
            פונה: בהתחלה שלוש עשרה
            סוכן: עכשיו ספרה ספרה, אחת, שלוש, שלוש, ארבע, חמש, שש, שבע. נכון?
            פונה: כן
            """,
            "13-345-67",
        ),
        (
            "address",
            """
            פונה: הרצל 12 חיפה
            סוכן: רשמתי, הרצל שתים עשרה, חיפה. נכון?
            פונה: לא, ארבע עשרה
            סוכן: רשמתי, הרצל ארבע עשרה, חיפה. נכון?
            פונה: לא
            סוכן: סליחה. מה לתקן בכתובת?
            פונה: זה ברמת גן
            סוכן: רשמתי, הרצל ארבע עשרה, רמת גן. נכון?
            פונה: כן
            """,
            "הרצל 14, רמת גן",
        ),
        (
            "date",
            """
            פונה: מחר
            סוכן: רשמתי, מחר. נכון?
            פונה: לא, מחרתיים בבוקר
            סוכן: רשמתי, מחרתיים בבוקר. נכון?
            פונה: כן
            """,
            "24.11.2026 בבוקר",
        ),
        (
            "number",
            """
            פונה: הרבה
            סוכן: כמה חדרים?
            פונה: ארבעה, לא, חמישה
            """,
            "5",
        ),
        # typed
        ("id", "פונה: 123456782#", "123456782"),
        ("plate", "פונה: 12345678#", "123-45-678"),
        ("date", "פונה: 2012#", "20.12.2026"),
        ("number", "פונה: 4#", "4"),
        (
            "id",
            """
            פונה: 123456789#
            סוכן: נראה ששמעתי ספרה לא נכון. אפשר שוב, ספרה ספרה?
            פונה: 123456782#
            """,
            "123456782",
        ),
        # a question in between
        (
            "plate",
            """
            פונה: למה?
            סוכן: כדי שנדע באיזה רכב מדובר. מה מספר הרכב?
            פונה: 12-345-67
            סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
            פונה: מתי אתם פתוחים?
            """,
            "12-345-67 (לא אושר)",
        ),
    ],
)
def test_dialogues(agents: dict[str, ScriptAgents], step: str, dialogue: str, value: str) -> None:
    call = Call(agents=agents[step])
    play(call, dialogue)
    got, sure, quote = kept(call)
    assert got == value
    assert (sure >= 0.9) == ("לא אושר" not in value)
    assert quote


@pytest.mark.parametrize("step", STEPS)
def test_no_answer_is_given_up_without_an_endless_loop(agents: dict[str, ScriptAgents], step: str) -> None:
    call = Call(agents=agents[step])
    answers = [call.says(text) for text in ("לא רוצה", "לא יודע", "די", "נו")]
    assert any(answer.startswith("לא נורא, נמשיך.") for answer in answers)
    assert call.ended
    assert call.lead.extra == {}


@pytest.mark.parametrize(("step", "answer"), [("id", "123456782 כן"), ("plate", "מספר 12-345-67"), ("date", "מחר")])
def test_refusing_for_ever_ends_and_keeps_nothing_refused(
    agents: dict[str, ScriptAgents], step: str, answer: str
) -> None:
    call = Call(agents=agents[step])
    said = []
    for _ in range(5):
        call.says(answer)
        said.append(call.says("לא"))
    assert any("לא נורא, נמשיך." in line for line in said)
    assert call.ended
    assert call.lead.extra == {}


def test_an_impossible_number_is_kept_as_unconfirmed(agents: dict[str, ScriptAgents]) -> None:
    call = Call(agents=agents["id"])
    for _ in range(4):
        call.says("אחת שתיים שלוש ארבע חמש שש שבע שמונה תשע")
    assert call.ended
    value, sure, _ = kept(call)
    assert value == "123456789 (לא אושר)"
    assert sure <= 0.4


def test_a_town_that_is_in_no_list_is_taken_as_said(agents: dict[str, ScriptAgents]) -> None:
    call = Call(agents=agents["address"])
    play(
        call,
        """
        פונה: רחוב הדוגית 7
        סוכן: ובאיזו עיר?
        פונה: חוות הדגים
        סוכן: רשמתי, הדוגית שבע, חוות הדגים. נכון?
        פונה: כן
        """,
    )
    assert kept(call)[0] == "הדוגית 7, חוות הדגים"


def test_part_of_an_address_is_asked_for_twice_at_most(agents: dict[str, ScriptAgents]) -> None:
    call = Call(agents=agents["address"])
    play(
        call,
        """
        פונה: הרצל 12
        סוכן: ובאיזו עיר?
        פונה: אממ
        סוכן: ובאיזו עיר?
        פונה: לא יודע
        סוכן: רשמתי, הרצל שתים עשרה. נכון?
        """,
    )


def test_what_was_heard_when_they_hang_up_is_not_lost(agents: dict[str, ScriptAgents]) -> None:
    call = Call(agents=agents["id"])
    call.says("אחת שתיים שלוש ארבע")
    assert kept(call)[0] == "1234 (לא אושר)"
    call.says("חמש שש שבע שמונה שתיים")
    assert kept(call)[0] == "123456782 (לא אושר)"
    call.says("לא")
    assert call.lead.extra == {}  # they said that it is wrong


def test_an_identity_number_is_no_telephone_number(agents: dict[str, ScriptAgents]) -> None:
    call = Call(caller="", agents=agents["id"])
    call.says("036234567")  # would be a landline; its check digit is wrong
    assert call.lead.phone == ""
    call.presses("036234567#")
    assert call.lead.phone == ""


def test_one_step_after_another_begins_afresh(agents: dict[str, ScriptAgents]) -> None:
    call = Call(agents=agents["all"])
    play(
        call,
        """
        פונה: 123456782
        סוכן: קיבלתי את המספר. מה מספר הרכב?
        פונה: 12-345-67
        סוכן: אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
        פונה: לא, בסוף שישים ושמונה
        סוכן: עכשיו ספרה ספרה, אחת, שתיים, שלוש, ארבע, חמש, שש, שמונה. נכון?
        פונה: כן
        סוכן: מצוין. מה הכתובת?
        פונה: הרצל 12 חיפה
        סוכן: רשמתי, הרצל שתים עשרה, חיפה. נכון?
        פונה: כן
        סוכן: מצוין. לאיזה תאריך?
        פונה: מחר
        סוכן: רשמתי, מחר. נכון?
        פונה: כן
        סוכן: מצוין. כמה חדרים?
        """,
    )
    call.says("שלושה")
    assert call.ended == "completed"
    assert call.lead.extra == {
        "זהות": "123456782", "רכב": "12-345-68", "כתובת": "הרצל 12, חיפה", "מועד": "23.11.2026", "חדרים": "3",
    }  # fmt: skip
    assert "רכב: 12-345-68." in call.lead.summary


def test_what_was_told_early_is_only_read_back(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(f"steps:\n  - asks: need\n{STEPS['plate']}{STEPS['address']}", "utf-8")
    call = Call(agents=ScriptAgents(BUSINESS, tmp_path / "script.yaml"))
    play(
        call,
        """
        פונה: הרכב שלי 12-345-67 תקוע ברחוב הרצל 12 בחיפה
        סוכן: הבנתי. אני חוזר על המספר, אחת שתיים, שלוש ארבע חמש, שש שבע. נכון?
        פונה: כן
        סוכן: מצוין. רשמתי, הרצל שתים עשרה, חיפה. נכון?
        """,
    )
    assert call.lead.extra == {"רכב": "12-345-67", "כתובת": "הרצל 12, חיפה (לא אושר)"}
    call.says("לא, ויצמן 3")
    call.says("כן")
    assert call.lead.extra["כתובת"] == "ויצמן 3, חיפה"


def test_a_number_is_read_back_where_the_owner_wants_it(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text(
        "steps:\n  - {asks: number, id: 'סכום', say: 'כמה שילמתם?', confirm: 'שילמתם {value}. נכון?'}\n", "utf-8"
    )
    call = Call(agents=ScriptAgents(BUSINESS, tmp_path / "script.yaml"))
    play(
        call,
        f"""
        פונה: מאתיים חמישים שקל
        סוכן: שילמתם מאתיים וחמישים שקל. נכון?
        פונה: לא, מאתיים שישים שקל
        סוכן: שילמתם מאתיים ושישים שקל. נכון?
        פונה: כן
        סוכן: רשמתי, מאתיים ושישים שקל. {GOODBYE}
        """,
    )
    assert kept(call)[0] == "260 שקל"


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("asks: id", "a 'id' step needs an 'id'"),
        ("asks: plate, id: phone", "this name is taken"),
        ("asks: phone, id: טלפון", "only steps of your own have an id"),
        ("asks: date, id: א, more: 'מה עוד?'", "only a 'phone' or 'id' or 'plate' step has this field"),
        ("asks: address, id: א, confirm: 'נכון?'", "put {value} into it"),
        ("asks: id, id: א, slowly: 'נכון?'", "put {value} into it"),
    ],
)
def test_mistakes_in_a_step_are_named(tmp_path: Path, step: str, message: str) -> None:
    (tmp_path / "script.yaml").write_text(f"steps:\n  - {{{step}}}\n", "utf-8")
    with pytest.raises(ProfileError, match=message):
        ScriptAgents(BUSINESS, tmp_path / "script.yaml")


def test_phrases_hold_the_fixed_words_of_a_step_in_order_of_need(agents: dict[str, ScriptAgents]) -> None:
    phrases = list(agents["all"].phrases())
    wanted = ["מה מספר תעודת הזהות?", "מצוין.", "נראה ששמעתי ספרה לא נכון.", "סליחה, לא קלטתי את התאריך.", "אפס"]
    places = [phrases.index(phrase) for phrase in wanted]
    assert places == sorted(places)
    assert {"ובאיזו עיר?", "ומה מספר הבית?", "נכון?"} <= set(phrases)
    assert not any("{" in phrase for phrase in phrases)
    # the usual script asks for none of this, and renders none of it
    assert "מה מספר תעודת הזהות?" not in ScriptAgents(BUSINESS).phrases()


caller_words = st.sampled_from(
    [
        "כן", "לא", "אממ", "123456782", "12-345-67", "אחת שתיים שלוש", "ארבע חמש שש", "בסוף שבע שמונה", "הרצל 12",
        "בחיפה", "מחר בבוקר", "31.2", "שלוש", "לא, ארבע", "למה?",
        "כמה זה עולה?", "רגע", "מה אמרת?", "אני רוצה נציג", "אין מספר",
        "קוראים לי דני", "יש לי נזילה במטבח ואני לא יודע מה לעשות",
    ]
)  # fmt: skip
caller_turns = st.one_of(
    caller_words.map(lambda text: {"text": text}),
    st.text("0123456789#*", min_size=1, max_size=10).map(lambda keys: {"dtmf": keys}),
    st.just({"silent": True}),
)


@settings(max_examples=60)
@given(st.lists(caller_turns, min_size=60, max_size=60))
def test_every_call_comes_to_an_end(agents: dict[str, ScriptAgents], turns: list[dict[str, Any]]) -> None:
    call = Call(agents=agents["all"])
    for turn in turns:
        answer = call._next(CallerTurn(call.turn + 1, **turn))
        assert answer.strip()
        assert "{" not in answer
        call.lead  # noqa: B018  # can be asked for at any moment
