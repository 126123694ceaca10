"""Whole calls with the scripted agent, as one would read them: who says what, and the lead that is left."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.dialog import (
    Action,
    Agent,
    Ask,
    CallContext,
    CallerTurn,
    EndCall,
    Entry,
    Expect,
    Reply,
    Say,
    Speaker,
    Transfer,
)  # fmt: skip
from moked.dialog.business import load_business
from moked.dialog.history import History
from moked.dialog.script import ScriptAgents
from moked.errors import ProfileError
from moked.records import LeadDraft

BUSINESS = load_business()
AGENTS = ScriptAgents(BUSINESS)
MOBILE = "+972502223344"
NEED_QUESTION = "במה אפשר לעזור?"
GOODBYE = "העברתי את הפרטים לצוות, ונחזור אליכם. יום טוב ולהתראות."


def actions(reply: Reply) -> list[Action]:
    async def collect() -> list[Action]:
        async with reply.actions() as found:
            return [action async for action in found]

    # nothing in it waits, so one step runs it to its end: no event loop is needed
    with pytest.raises(StopIteration) as done:
        collect().send(None)
    found: list[Action] = done.value.value
    return found


def spoken(found: Sequence[Action]) -> str:
    return "".join(action.text for action in found if isinstance(action, Say))


class Call:
    """A call that is heard completely unless said otherwise."""

    def __init__(
        self, caller: str = MOBILE, *, hour: int = 10, known_name: str = "", agents: ScriptAgents = AGENTS
    ) -> None:
        now = datetime(2026, 11, 22, hour, tzinfo=ZoneInfo("Asia/Jerusalem"))
        self.agent: Agent = agents(CallContext("CA1", caller, now, known_name=known_name))
        self.history = History()
        self.turn = 0
        self.done = self._commit(self.agent.greet())

    def says(self, text: str, **what: object) -> str:
        """The agent's answer to `text`."""
        return self._next(CallerTurn(self.turn + 1, text=text, **what))  # type: ignore[arg-type]

    def presses(self, keys: str) -> str:
        return self._next(CallerTurn(self.turn + 1, dtmf=keys))

    def keeps_silent(self) -> str:
        return self._next(CallerTurn(self.turn + 1, silent=True))

    def heard_only(self, text: str) -> None:
        """Of the last answer; the rest was cut off."""
        self.history.heard(self.turn, text, cut=True)

    def _next(self, turn: CallerTurn) -> str:
        reply = self.agent.reply(turn, self.history.entries)
        self.turn = turn.number
        self.history.caller(self.turn, turn.text or turn.dtmf)
        self.done = self._commit(reply)
        return spoken(self.done)

    def _commit(self, reply: Reply) -> list[Action]:
        done = actions(reply)
        reply.commit()
        self.history.heard(self.turn, spoken(done), cut=False)
        return done

    @property
    def expects(self) -> Expect:
        return [action.expect for action in self.done if isinstance(action, Ask)][-1]

    @property
    def ended(self) -> str:
        return "".join(action.reason for action in self.done if isinstance(action, EndCall))

    @property
    def lead(self) -> LeadDraft:
        return self.agent.lead()


def play(call: Call, dialogue: str) -> None:
    """Lines "פונה: ..." are said (or pressed, or silence), lines "סוכן: ..." must be the answer."""
    answer = ""
    for line in dialogue.strip().splitlines():
        who, _, text = (part.strip() for part in line.partition(":"))
        if who == "סוכן":
            assert answer == text
        elif text == "...":
            answer = call.keeps_silent()
        elif text.strip("0123456789#*") == "":
            answer = call.presses(text)
        else:
            answer = call.says(text)


def test_greeting_discloses_the_machine_and_asks() -> None:
    call = Call()
    assert spoken(call.done) == f"{BUSINESS.greeting} {NEED_QUESTION}"
    assert "העוזר הקולי" in spoken(call.done).split(".")[0]
    assert call.expects is Expect.OPEN
    assert call.lead == LeadDraft()


def test_an_ordinary_call() -> None:
    call = Call()
    play(
        call,
        """
        פונה: שלום, יש לי נזילה במטבח
        סוכן: הבנתי. עם מי אני מדבר?
        פונה: דני כהן
        סוכן: נעים מאוד, דני. לחזור אליכם למספר שממנו התקשרתם?
        פונה: כן
        סוכן: מצוין. מתי הכי נוח לדבר?
        פונה: מחר בבוקר
        סוכן: רשמתי. אז לסיכום, נזילה במטבח, נחזור אליכם מחר בבוקר. הכול נכון?
        פונה: כן, תודה
        סוכן: מעולה. תודה, דני. העברתי את הפרטים לצוות, ונחזור אליכם. יום טוב ולהתראות.
        """,
    )
    assert call.ended == "completed"
    assert call.expects is Expect.NOTHING
    lead = call.lead
    assert (lead.name, lead.phone, lead.need, lead.best_time) == ("דני כהן", MOBILE, "יש לי נזילה במטבח", "מחר בבוקר")
    assert lead.phone_confirmed
    assert lead.summary == "דני כהן: יש לי נזילה במטבח. לחזור ל-050-2223344, מחר בבוקר."
    assert (lead.sources["need"].turn, lead.sources["need"].quote) == (1, "שלום, יש לי נזילה במטבח")
    assert lead.sources.keys() == {"name", "phone", "need", "best_time"}
    assert lead.extra == {}


def test_each_question_says_what_it_expects() -> None:
    call = Call(caller="anonymous")
    expected = [call.expects]
    for text in ("נזילה", "דני", "0502345678", "כן", "מחר"):
        call.says(text)
        expected.append(call.expects)
    assert expected == [Expect.OPEN, Expect.NAME, Expect.PHONE, Expect.YES_NO, Expect.TIME, Expect.YES_NO]


def test_a_number_dictated_in_parts_misheard_and_corrected() -> None:
    call = Call()
    play(
        call,
        """
        פונה: היי, קוראים לי רונית ויש לי סתימה בכיור
        סוכן: נעים מאוד, רונית. לחזור אליכם למספר שממנו התקשרתם?
        פונה: לא
        סוכן: לאיזה מספר לחזור אליכם?
        פונה: אפס חמש שתיים, שלוש ארבע חמש
        סוכן: עד עכשיו רשמתי, אפס חמש שתיים שלוש ארבע חמש. מה ההמשך?
        פונה: שש שבע שמונה תשע
        סוכן: אני חוזר על המספר, אפס חמש שתיים, שלוש ארבע חמש, שש שבע, שמונה תשע. נכון?
        פונה: לא, בסוף שמונה שמונה
        סוכן: עכשיו ספרה ספרה, אפס, חמש, שתיים, שלוש, ארבע, חמש, שש, שבע, שמונה, שמונה. נכון?
        פונה: כן
        סוכן: מצוין. מתי הכי נוח לדבר?
        """,
    )
    assert call.lead.phone == "+972523456788"
    assert call.lead.phone_confirmed


def test_a_number_in_weak_spelling_is_read_back_before_it_counts() -> None:
    call = Call(caller="")
    call.says("הדוד לא מחמם")
    call.says("משה")
    answer = call.says("איפס המש איפס שטיים שאלוש הרבה חמס שש שבא שמונא")
    assert answer == "אני חוזר על המספר, אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה. נכון?"
    assert (call.lead.phone, call.lead.phone_confirmed) == ("+972502345678", False)
    assert "המספר לא אושר" in call.lead.summary
    call.says("נכון")
    assert call.lead.phone_confirmed


def test_a_refused_number_is_read_digit_by_digit_and_then_the_keypad_is_offered() -> None:
    call = Call(caller="")
    call.says("הדוד לא מחמם")
    call.says("משה")
    play(
        call,
        """
        פונה: אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה
        סוכן: אני חוזר על המספר, אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה. נכון?
        פונה: לא
        סוכן: סליחה. נרשום מההתחלה, ספרה ספרה.
        פונה: אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה
        סוכן: עכשיו ספרה ספרה, אפס, חמש, אפס, שתיים, שלוש, ארבע, חמש, שש, שבע, שמונה. נכון?
        פונה: לא
        סוכן: אפשר גם להקיש את המספר בטלפון, ובסוף סולמית.
        פונה: 0502345679#
        סוכן: קיבלתי את המספר. מתי הכי נוח לדבר?
        """,
    )
    assert (call.lead.phone, call.lead.phone_confirmed) == ("+972502345679", True)


def test_one_group_of_a_refused_number_is_corrected() -> None:
    call = Call(caller="")
    for said in ("הדוד לא מחמם", "משה", "0502345678", "לא"):
        call.says(said)
    play(
        call,
        """
        פונה: בסוף שבע תשע
        סוכן: עכשיו ספרה ספרה, אפס, חמש, אפס, שתיים, שלוש, ארבע, חמש, שש, שבע, תשע. נכון?
        פונה: לא, שתיים שלוש חמש
        סוכן: עכשיו ספרה ספרה, אפס, חמש, אפס, שתיים, שלוש, חמש, חמש, שש, שבע, תשע. נכון?
        פונה: כן
        סוכן: מצוין. מתי הכי נוח לדבר?
        """,
    )
    assert call.lead.phone == "+972502355679"


def test_a_wrong_number_is_asked_for_again_and_after_some_tries_left_out() -> None:
    call = Call(caller="anonymous")
    play(
        call,
        """
        פונה: נזילה בחדר האמבטיה
        סוכן: הבנתי. עם מי אני מדבר?
        פונה: גיא
        סוכן: נעים מאוד, גיא. לאיזה מספר לחזור אליכם?
        פונה: 050 234 56 78
        סוכן: אני חוזר על המספר, אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה. נכון?
        פונה: לא נכון
        סוכן: סליחה. נרשום מההתחלה, ספרה ספרה.
        פונה: וואלה לא יודע מה להגיד
        סוכן: אפשר גם להקיש את המספר בטלפון, ובסוף סולמית.
        פונה: 05
        סוכן: עד עכשיו רשמתי, אפס חמש. מה ההמשך?
        פונה: 02345679#
        סוכן: קיבלתי את המספר. מתי הכי נוח לדבר?
        """,
    )
    assert (call.lead.phone, call.lead.phone_confirmed) == ("+972502345679", True)


def test_the_keypad_is_taken_wherever_a_number_is_asked() -> None:
    call = Call()
    call.says("יש לי סתימה")
    assert call.presses("0521234567#") == "קיבלתי את המספר. עם מי אני מדבר?"
    call.says("דני")
    assert call.expects is Expect.TIME
    assert call.lead.phone == "+972521234567"


def test_one_and_two_answer_yes_and_no_on_the_keypad() -> None:
    call = Call()
    call.says("יש לי סתימה")
    call.says("דני")
    assert call.presses("2") == "לאיזה מספר לחזור אליכם?"
    call.presses("0521234567")
    call.says("מחר")
    assert call.presses("1").endswith(GOODBYE)


def test_early_answers_are_not_asked_for_again() -> None:
    call = Call(caller="")
    answer = call.says("שלום, מדברת יעל לוי, הטלפון שלי 0521234567, יש לי נזילה, תחזרו אליי מחר בערב")
    assert answer == "נעים מאוד, יעל. אני חוזר על המספר, אפס חמש שתיים, אחת שתיים שלוש, ארבע חמש, שש שבע. נכון?"
    assert call.says("כן").startswith("מצוין. אז לסיכום")
    assert (call.lead.name, call.lead.best_time) == ("יעל לוי", "מחר בערב")


def test_misheard_answers_are_asked_again_and_then_skipped() -> None:
    call = Call()
    play(
        call,
        """
        פונה: שלום
        סוכן: סליחה, לא שמעתי טוב. במה אפשר לעזור?
        פונה: הברז מטפטף
        סוכן: הבנתי. עם מי אני מדבר?
        פונה: כן
        סוכן: סליחה, לא קלטתי את השם. אפשר שוב?
        פונה: מה?
        סוכן: סליחה, לא קלטתי את השם. אפשר שוב?
        פונה: לא
        סוכן: אפשר רק את השם הפרטי?
        פונה: לא
        סוכן: לא נורא, נמשיך. לחזור אליכם למספר שממנו התקשרתם?
        """,
    )
    assert call.lead.name == ""


def test_more_about_the_need_instead_of_a_name_is_kept() -> None:
    call = Call()
    call.says("יש לי נזילה")
    assert call.says("זה מטפטף כבר יומיים מהתקרה") == "הבנתי, רשמתי גם את זה. עם מי אני מדבר?"
    assert call.lead.need == "יש לי נזילה, זה מטפטף כבר יומיים מהתקרה"


def test_questions_are_answered_at_any_step_and_the_step_goes_on() -> None:
    call = Call()
    play(
        call,
        """
        פונה: יש לי נזילה
        סוכן: הבנתי. עם מי אני מדבר?
        פונה: למה אתם צריכים לדעת?
        סוכן: רק כדי שנדע למי לחזור. עם מי אני מדבר?
        פונה: יש לכם אחריות על העבודה?
        סוכן: כן, יש שנה אחריות על כל עבודה. עם מי אני מדבר?
        פונה: וכמה עולה ביקור?
        סוכן: ביקור ואבחון, 250 שקלים. הסכום מתקזז אם עושים את התיקון. עם מי אני מדבר?
        פונה: איפה אתם נמצאים?
        סוכן: הכתובת שלנו, רחוב האורגים 12, חולון. עם מי אני מדבר?
        פונה: רועי
        סוכן: נעים מאוד, רועי. לחזור אליכם למספר שממנו התקשרתם?
        """,
    )


def test_a_caller_who_only_wanted_to_know_the_hours() -> None:
    call = Call()
    answer = call.says("מה שעות הפתיחה שלכם?")
    assert (
        answer
        == f"{BUSINESS.hours_text(datetime(2026, 11, 22, 10, tzinfo=ZoneInfo('Asia/Jerusalem')))} במה עוד אפשר לעזור?"
    )
    assert call.says("לא תודה") == "תודה שהתקשרתם, להתראות."
    assert call.lead == LeadDraft()


def test_a_question_about_the_price_of_a_service_is_the_need() -> None:
    call = Call()
    assert call.says("כמה עולה פתיחת סתימה?") == "פתיחת סתימה, בין 350 ל-600 שקלים. עם מי אני מדבר?"
    assert call.lead.need == "פתיחת סתימה"


def test_a_question_nobody_foresaw_is_written_down() -> None:
    call = Call()
    call.says("יש לי נזילה")
    assert call.says("אתם עושים גם עבודות חשמל?") == "רשמתי את השאלה, ונחזור אליכם עם תשובה. עם מי אני מדבר?"
    assert call.lead.extra == {"שאלה": "אתם עושים גם עבודות חשמל?"}


def test_a_person_is_connected_in_opening_hours() -> None:
    call = Call()
    assert call.says("אפשר לדבר עם נציג?") == "בטח, אני מעביר אתכם לנציג."
    assert Transfer("+972502345678", "caller_asked") in call.done
    assert call.lead.extra == {"ביקשו נציג": "כן"}
    assert call.lead.need == ""


def test_a_person_is_promised_out_of_hours_and_the_intake_goes_on() -> None:
    call = Call(hour=22)
    answer = call.says("יש לי הצפה בבית, תעביר אותי לנציג")
    assert answer == "כרגע אין נציג פנוי, אבל מישהו מהצוות יחזור אליכם. אני אקח את הפרטים. במה אפשר לעזור?"
    assert call.lead.need.startswith("יש לי הצפה")
    assert call.presses("0").startswith("רשמתי שביקשתם נציג")
    assert not any(isinstance(action, Transfer) for action in call.done)


def test_a_farewell_ends_it_politely_with_what_is_known() -> None:
    call = Call()
    call.says("הדוד לא מחמם")
    call.says("דנה")
    assert call.says("אני חייבת לזוז, להתראות") == f"תודה, דנה. {GOODBYE}"
    assert call.ended == "farewell"
    assert (call.lead.name, call.lead.need) == ("דנה", "הדוד לא מחמם")


def test_a_farewell_from_a_withheld_number_asks_once_for_the_number() -> None:
    call = Call(caller="anonymous")
    play(
        call,
        """
        פונה: יש לי נזילה תודה להתראות
        סוכן: רגע לפני שנסיים, לאיזה מספר לחזור אליכם?
        פונה: אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה
        סוכן: אני חוזר על המספר, אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה. נכון?
        פונה: כן
        סוכן: מצוין. תודה. העברתי את הפרטים לצוות, ונחזור אליכם. יום טוב ולהתראות.
        """,
    )
    again = Call(caller="anonymous")
    again.says("יש לי נזילה תודה להתראות")
    assert again.says("לא צריך, ביי").endswith(GOODBYE)


def test_silence_is_nudged_and_then_ends_the_call() -> None:
    call = Call()
    play(
        call,
        """
        פונה: ...
        סוכן: אתם איתי? במה אפשר לעזור?
        פונה: יש לי נזילה
        סוכן: הבנתי. עם מי אני מדבר?
        פונה: ...
        סוכן: אתם איתי? עם מי אני מדבר?
        פונה: ...
        סוכן: אני עדיין על הקו. עם מי אני מדבר?
        פונה: ...
        סוכן: אני לא שומע אתכם, אז נסיים כאן. אפשר להתקשר שוב בכל רגע. להתראות.
        """,
    )
    assert call.ended == "silence"
    assert call.lead.need == "יש לי נזילה"


def test_hold_on_repeat_and_no_recording() -> None:
    call = Call()
    call.says("יש לי נזילה")
    assert call.says("רגע") == "בטח, אני ממתין."
    assert call.expects is Expect.NAME
    assert call.says("מה אמרת?") == "עם מי אני מדבר?"
    assert call.says("אל תקליטו אותי") == "בסדר גמור, השיחה לא מוקלטת. עם מי אני מדבר?"
    assert call.lead.extra == {"לא להקליט": "כן"}


def test_a_returning_caller_is_greeted_by_name_and_not_asked_for_it() -> None:
    call = Call(known_name="דנה לוי")
    assert spoken(call.done).endswith(f"טוב לשמוע אתכם שוב, דנה. {NEED_QUESTION}")
    assert call.lead == LeadDraft()  # knowing somebody is no lead
    assert call.says("הברז שוב מטפטף") == "הבנתי. לחזור אליכם למספר שממנו התקשרתם?"
    assert call.lead.name == "דנה לוי"
    call.says("לא, קוראים לי מיכל")  # somebody else on the same line
    assert call.lead.name == "מיכל"


def test_a_summary_that_is_wrong_is_corrected() -> None:
    call = Call()
    for text in ("יש לי נזילה", "דני", "כן", "מחר בבוקר"):
        call.says(text)
    play(
        call,
        """
        פונה: לא
        סוכן: מה לתקן?
        פונה: מחרתיים בערב
        סוכן: אז לסיכום, נזילה, נחזור אליכם מחרתיים בערב. הכול נכון?
        פונה: כן, ותגידו להם שיש כלב בחצר
        סוכן: מעולה. תודה, דני. העברתי את הפרטים לצוות, ונחזור אליכם. יום טוב ולהתראות.
        """,
    )
    assert call.lead.best_time == "מחרתיים בערב"
    assert "כלב בחצר" in call.lead.extra["הערה"]
    assert call.says("רגע, עוד משהו") == "תודה שהתקשרתם, להתראות."


def test_a_new_number_at_the_summary_is_confirmed() -> None:
    call = Call()
    for text in ("יש לי נזילה", "דני", "כן", "מחר בבוקר"):
        call.says(text)
    assert call.says("לא, המספר הוא 0521234567").startswith("אני חוזר על המספר, אפס חמש שתיים")
    assert call.says("כן").startswith("מצוין. אז לסיכום")
    assert call.lead.phone == "+972521234567"


def test_a_hang_up_in_the_middle_leaves_a_lead() -> None:
    call = Call()
    call.says("יש לי פיצוץ בצנרת")
    call.says("משה")
    assert call.lead.summary == "משה: יש לי פיצוץ בצנרת."


def test_a_question_that_was_cut_off_is_asked_again_without_blame() -> None:
    call = Call()
    call.says("יש לי נזילה")
    call.heard_only("הבנתי.")
    assert call.says("והיא ממש חזקה", cut_in=True) == "עם מי אני מדבר?"
    call.says("דני")
    assert call.lead.name == "דני"


def test_a_turn_that_goes_on_is_decided_anew() -> None:
    """The same turn number comes again with more words: as if the first had not been answered."""
    call = Call()
    call.says("יש לי נזילה")
    call.says("דני")
    call.turn -= 1
    call.history.withdraw(2)
    assert call.says("דני כהן") == "נעים מאוד, דני. לחזור אליכם למספר שממנו התקשרתם?"
    assert call.lead.name == "דני כהן"
    assert call.says("כן").startswith("מצוין.")


def test_the_recognisers_doubt_lowers_the_confidence() -> None:
    call = Call()
    call.says("יש לי נזילה", confidence=0.5)
    assert call.lead.sources["need"].confidence == pytest.approx(0.45)


# --- the factory and the file -------------------------------------------------------------------------------------


def test_phrases_hold_every_fixed_sentence_most_urgent_first() -> None:
    phrases = AGENTS.phrases()
    assert phrases[0] == BUSINESS.greeting
    assert phrases[1] == NEED_QUESTION
    assert len(set(phrases)) == len(phrases)
    assert {"אפס", "תשע", "נעים מאוד,", "נעים מאוד.", "נכון?"} <= set(phrases)
    assert all(phrase == phrase.strip() and "{" not in phrase for phrase in phrases)


def test_most_of_what_is_said_is_cached() -> None:
    fixed = set(AGENTS.phrases())
    call = Call()
    said: list[str] = []
    for text in ("יש לי נזילה", "דני כהן", "כן", "מחר בבוקר", "כן"):
        call.says(text)
        said += [action.text.strip() for action in call.done if isinstance(action, Say)]
    assert [text for text in said if text not in fixed] == ["דני.", "נזילה,", "נחזור אליכם מחר בבוקר.", "דני."]


def test_the_female_voice_speaks_of_herself() -> None:
    business = load_business()
    agents = ScriptAgents(type(business)(**{**_fields(business), "voice_gender": "female"}))
    assert "עם מי אני מדברת?" in agents.phrases()
    assert not any("מדבר?" in phrase for phrase in agents.phrases())


def _fields(value: object) -> dict[str, object]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}  # type: ignore[attr-defined]


def owners(tmp_path: Path, text: str) -> ScriptAgents:
    path = tmp_path / "script.yaml"
    path.write_text(text, encoding="utf-8")
    return ScriptAgents(BUSINESS, path)


def test_an_owners_script_takes_the_rest_from_the_usual_one(tmp_path: Path) -> None:
    agents = owners(
        tmp_path,
        """
        steps:
          - asks: need
            say: "מה קרה?"
          - asks: text
            id: "כתובת"
            say: "מה הכתובת?"
          - asks: choice
            id: "לקוח קיים"
            say: "הייתם אצלנו בעבר?"
        lines:
          goodbye: "תודה ולהתראות."
        """,
    )
    call = Call(agents=agents)
    play(
        call,
        """
        פונה: הדוד לא מחמם
        סוכן: הבנתי. מה הכתובת?
        פונה: הרצל חמש בחולון
        סוכן: הייתם אצלנו בעבר?
        פונה: אולי
        סוכן: הייתם אצלנו בעבר?
        פונה: כן
        סוכן: תודה ולהתראות.
        """,
    )
    assert call.lead.extra == {"כתובת": "הרצל חמש בחולון", "לקוח קיים": "כן"}
    assert call.lead.sources["extra.כתובת"].turn == 2


@pytest.mark.parametrize(
    ("text", "where", "right"),
    [
        ("steps: []", "steps", "at least one step"),
        ("stpes: []", "stpes", "did you mean 'steps'"),
        ("steps:\n  - asks: nmae", "steps[1].asks", "did you mean 'name'"),
        ("steps:\n  - asks: name\n    sya: x.", "steps[1].sya", "did you mean 'say'"),
        ("steps:\n  - asks: text\n    say: 'מה?'", "steps[1]", "needs an 'id'"),
        ("steps:\n  - asks: name\n    say: 'מה השם'", "steps[1].say", "ends with"),
        ("steps:\n  - asks: name\n    say: '{nmae}?'", "steps[1].say", "{name}"),
        ("steps:\n  - asks: name\n    say: '{מדבר?'", "steps[1].say", "left over"),
        ("steps:\n  - asks: name\n    tries: 9", "steps[1].tries", "from 1 to 5"),
        ("steps:\n  - asks: name\n    offer: 'כן?'", "steps[1].offer", "only a 'phone' step"),
        ("steps:\n  - asks: phone\n    confirm: 'נכון?'", "steps[1].confirm", "{phone}"),
        ("steps:\n  - asks: summary\n  - asks: name", "step 1", "last step"),
        ("steps:\n  - asks: name\n  - asks: name", "step 2", "second time"),
        ("lines:\n  goodby: 'x.'", "lines.goodby", "did you mean 'goodbye'"),
    ],
)
def test_a_mistake_in_the_script_names_the_step(tmp_path: Path, text: str, where: str, right: str) -> None:
    with pytest.raises(ProfileError) as caught:
        owners(tmp_path, text)
    assert "script.yaml" in str(caught.value)
    assert where in str(caught.value)
    assert right in str(caught.value)


# --- what holds for every call ------------------------------------------------------------------------------------

SAYINGS = (
    "יש לי נזילה", "שלום", "קוראים לי דני", "דני כהן", "כן", "לא", "לא נכון", "אפס חמש אפס",
    "שתיים שלוש ארבע חמש שש שבע שמונה",
    "0502345678", "מחר בבוקר", "רגע", "מה?", "כמה זה עולה?", "מה שעות הפתיחה?", "אל תקליטו", "למה?", "להתראות",
    "כן אבל רק בערב",
    "בסוף שמונה שמונה", "המספר שלי 0521234567", "אפשר לדבר עם נציג", "זה דחוף מאוד כי הכול מוצף", "", "הרבה הנש",
    "תחזרו אליי מחר",
    "למספר הזה", "אתם עושים גם עבודות חשמל?",
)  # fmt: skip
turns = st.lists(
    st.sampled_from(SAYINGS).map(lambda text: {"text": text})
    | st.sampled_from(["1", "2", "0", "#", "*", "05", "0521234567#", "12345"]).map(lambda keys: {"dtmf": keys})
    | st.just({"silent": True}),
    max_size=25,
)
callers = st.sampled_from([MOBILE, "", "anonymous", "+266696687", "+97236234567", "+14155550123", "*2700"])


@settings(max_examples=150, deadline=None)
@given(turns, callers, st.integers(0, 23), st.sampled_from(["", "דנה לוי"]), st.data())
def test_any_call_is_led_to_an_end(
    said: list[dict[str, object]], caller: str, hour: int, known_name: str, data: st.DataObject
) -> None:
    """Every reply says something or ends, one question at a time; abandoned ones leave no trace; leads are honest."""
    call = Call(caller, hour=hour, known_name=known_name)
    for number, what in enumerate(said, 1):
        before = call.lead
        turn = CallerTurn(number, cut_in=data.draw(st.booleans()), **what)  # type: ignore[arg-type]
        abandoned = call.agent.reply(CallerTurn(number, text=data.draw(st.sampled_from(SAYINGS))), call.history.entries)
        actions(abandoned)
        assert call.agent.lead() == before
        reply = call.agent.reply(turn, call.history.entries)
        twin = call.agent.reply(turn, call.history.entries)
        found = actions(reply)
        assert found == actions(twin)
        assert call.agent.lead() == before
        reply.commit()
        assert len([action for action in found if isinstance(action, Ask)]) == 1
        assert len([action for action in found if isinstance(action, EndCall | Transfer)]) <= 1
        assert spoken(found)
        assert "{" not in spoken(found)
        assert "None" not in spoken(found)
        assert "  " not in spoken(found)
        call.turn = number
        call.history.caller(number, str(what.get("text", "")))
        call.history.heard(number, spoken(found), cut=False)
        lead = call.agent.lead()
        assert not lead.phone or lead.phone.startswith("+")
        assert lead.phone or not lead.phone_confirmed
        quotes = {source.quote for source in lead.sources.values() if source.turn}
        heard = " ".join(str(part) for turn_ in said[:number] for part in turn_.values()) + " כן לא"
        assert all(piece in heard for quote in quotes for piece in quote.split(" / "))
        if any(isinstance(action, EndCall | Transfer) for action in found):
            break


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SAYINGS))
def test_a_caller_who_always_says_the_same_comes_to_an_end(text: str) -> None:
    call = Call()
    repeated = {"רגע", "מה?", "אל תקליטו", "למה?", "אתם עושים גם עבודות חשמל?", "כמה זה עולה?", "מה שעות הפתיחה?"}
    for _ in range(30):
        call.says(text)
        if any(isinstance(action, EndCall | Transfer) for action in call.done):
            return
    assert text in repeated


def test_history_entries_are_what_the_agent_gets() -> None:
    call = Call()
    call.says("יש לי נזילה")
    assert call.history.entries[1] == Entry(Speaker.CALLER, "יש לי נזילה")


# --- found by the properties above, kept by name ------------------------------------------------------------------


def test_a_lone_hash_while_a_number_is_confirmed_starts_it_over() -> None:
    call = Call(caller="anonymous")
    call.says("יש לי נזילה")
    call.says("דני")
    call.says("0502345678")
    call.presses("#")
    assert call.expects is Expect.PHONE
    assert call.says("0521234567").startswith("אני חוזר על המספר, אפס חמש שתיים")


def test_the_same_number_said_again_and_again_is_its_confirmation() -> None:
    call = Call(caller="anonymous")
    call.says("יש לי נזילה")
    call.says("דני")
    call.says("המספר שלי 0521234567")
    assert call.says("המספר שלי 0521234567") == "מצוין. מתי הכי נוח לדבר?"
    call.says("המספר שלי 0521234567")
    assert call.lead.phone_confirmed
    assert call.lead.best_time == ""


def test_words_misheard_for_digits_are_not_added_to_the_need() -> None:
    call = Call(caller="anonymous")
    call.says("יש לי נזילה")
    call.says("דני")
    assert call.says("תשמע אדון שוקולד גדול ועוד כמה דברים").startswith("סליחה, לא קלטתי את המספר")
    assert call.lead.need == "יש לי נזילה"


def test_a_number_said_over_two_turns_is_quoted_as_two() -> None:
    call = Call("+972502223344")
    for number, text in enumerate(
        ("יש לי נזילה", "קוראים לי דני", "אפס חמש אפס", "יש לי נזילה", "שתיים שלוש ארבע חמש שש שבע שמונה"), 1
    ):
        call.agent.reply(CallerTurn(number, text), call.history.entries).commit()
    assert call.agent.lead().sources["phone"].quote == "אפס חמש אפס / שתיים שלוש ארבע חמש שש שבע שמונה"


SENTENCES = (
    "יש לי נזילה במטבח",
    "קוראים לי דנה לוי",
    "כן",
    "לא",
    "אפס חמש שתיים שלוש ארבע",
    "מחר בבוקר",
    "כמה זה עולה",
    "תחזרו על זה בבקשה",
    "אל תקליטו אותי",
)


@given(st.lists(st.sampled_from(SENTENCES), max_size=6), st.sampled_from(SENTENCES), st.booleans())
def test_an_agent_of_another_process_goes_on_as_this_one_would(told, then, again):
    """Wherever the call moves, and also when the turn being answered comes again."""
    context = CallContext("CA1", MOBILE, datetime(2026, 11, 22, 10, tzinfo=ZoneInfo("Asia/Jerusalem")))
    one, other = AGENTS(context), AGENTS(context)
    one.greet().commit()
    for number, text in enumerate(told, start=1):
        one.reply(CallerTurn(number, text), ()).commit()
    other.take_up(json.loads(json.dumps(one.keep())))
    assert other.lead() == one.lead()
    number = len(told) + (0 if again and told else 1)
    turn = CallerTurn(number, then)
    assert actions(other.reply(turn, ())) == actions(one.reply(turn, ()))


def test_what_is_known_stays_when_the_owner_changed_the_script_and_nothing_else_can_be_taken_up():
    context = CallContext("CA1", MOBILE, datetime(2026, 11, 22, 10, tzinfo=ZoneInfo("Asia/Jerusalem")))
    one, other = AGENTS(context), AGENTS(context)
    one.greet().commit()
    one.reply(CallerTurn(1, "קוראים לי דנה לוי ויש לי נזילה"), ()).commit()
    kept = one.keep()
    other.take_up({**kept, "steps": ["need", "name"]})
    assert other.lead() == one.lead()
    assert spoken(actions(other.reply(CallerTurn(2, "כן"), ())))
    for broken in (None, {}, {**kept, "state": {"step": "x"}}):
        with pytest.raises(ValueError, match=r"xpected|missing"):
            AGENTS(context).take_up(broken)
