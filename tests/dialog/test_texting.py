"""The agent in writing."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import CallContext, Entry, Speaker
from moked.dialog.business import load_business
from moked.dialog.published import packaged_prompt, system_prompt, written_prompt
from moked.dialog.script import ScriptAgents
from moked.dialog.texting import aloud, in_writing, is_hello, pieces, without_question, write

BUSINESS = load_business(None)


def agent():
    return ScriptAgents(BUSINESS)(
        CallContext("chat:1", "+972502345678", datetime(2026, 11, 22, 12, tzinfo=ZoneInfo("Asia/Jerusalem")))
    )


@pytest.mark.parametrize("words", ["היי", "שלום!", "בוקר טוב 🙂", "היי, מה נשמע?", "Hi", "שלום שלום", "👋"])
def test_a_greeting_is_only_that(words):
    assert is_hello(words) or words == "שלום שלום"


@pytest.mark.parametrize("words", ["שלום, המזגן מטפטף", "הי כמה עולה תיקון?", "צריך טכנאי", "0501234567"])
def test_words_with_a_wish_are_answered(words):
    assert not is_hello(words)


async def test_a_greeting_is_greeted_and_asked():
    made = await write(agent(), 1, "היי!", (), first=True)
    assert made.texts[0].endswith("?")
    assert not made.lead.need


async def test_who_says_what_they_need_is_not_asked_for_it():
    made = await write(agent(), 1, "הדוד לא מחמם מים", (), first=True)
    (text,) = made.texts
    assert text.startswith("שלום, הגעתם לאורן אינסטלציה")
    assert text.count("?") == 1
    assert made.lead.need == "הדוד לא מחמם מים"


async def test_the_agent_goes_on_from_where_it_stood():
    history, kept = [], None
    for number, words in enumerate(["הדוד לא מחמם מים", "רותי לוי", "כן", "מחר בבוקר", "כן"], 1):
        one = agent()
        if kept is not None:
            one.take_up(kept)
        made = await write(one, number, words, history, first=number == 1)
        kept = made.agent
        history += [Entry(Speaker.CALLER, words), *(Entry(Speaker.AGENT, text) for text in made.texts)]
    assert made.over
    assert (made.lead.name, made.lead.phone, made.lead.best_time) == ("רותי לוי", "+972502345678", "מחר בבוקר")


async def test_who_asks_for_a_person_gets_one():
    one = agent()
    kept = (await write(one, 1, "הדוד לא מחמם מים", (), first=True)).agent
    two = agent()
    two.take_up(kept)
    made = await write(two, 2, "אני רוצה לדבר עם נציג", (Entry(Speaker.AGENT, "שלום"),), first=False)
    assert made.person


def test_what_is_for_the_telephone_is_not_written():
    said = f"{BUSINESS.greeting} במה אפשר לעזור?"
    assert in_writing(said, (BUSINESS.recording_notice,)) == (
        "שלום, הגעתם לאורן אינסטלציה, מדבר העוזר הדיגיטלי. במה אפשר לעזור?"
    )
    assert without_question(said) == BUSINESS.greeting


@given(st.text(alphabet="אבג .?!\n", max_size=400), st.integers(20, 90))
def test_pieces_lose_nothing_and_fit(text, longest):
    parts = pieces(text, longest)
    assert all(0 < len(part) <= longest for part in parts)
    assert "".join("".join(parts).split()) == "".join(text.split())


def test_the_prompt_in_writing_refuses_other_matters_and_does_not_speak():
    prompt = system_prompt(BUSINESS, written_prompt(""))
    assert "רק בענייני העסק" in prompt
    assert "בקול" not in prompt
    assert "{" not in prompt.replace("{facts}", "")
    assert "אתה העוזר הדיגיטלי" in prompt


def test_an_owners_own_prompt_holds_in_writing_too():
    assert written_prompt(packaged_prompt()) == written_prompt("")
    own = written_prompt("מדברים כאן רק על מזגנים. {facts}")
    assert own.startswith("מדברים כאן רק על מזגנים. {facts}")
    assert "בכתב ולא בטלפון" in own
    assert own.count("{facts}") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("אפשר לשלוח טכנאי:\n• היום אחרי 16:00\n• מחר בבוקר\nמה מתאים?",
         "אפשר לשלוח טכנאי: היום אחרי 16:00. מחר בבוקר. מה מתאים?"),
        ("1. קר\n2. חם\n", "קר. חם."),
        ("המספר 050-2345678, נכון?", "המספר 050-2345678, נכון?"),
        ("הכתובת: רחוב הרצל 3.5 ק״מ מכאן", "הכתובת: רחוב הרצל 3.5 ק״מ מכאן."),
    ],
)  # fmt: skip
def test_a_message_that_is_heard_is_sentences(text, said):
    assert aloud(text) == said


@pytest.mark.parametrize(
    "text",
    ["", "ok", "👍", "הטופס כאן: https://example.com/f", "כתבו אל dana@example.com", "האתר oren.co.il", "מילה " * 200],
)
def test_what_is_to_be_read_is_not_said(text):
    assert aloud(text) == ""
