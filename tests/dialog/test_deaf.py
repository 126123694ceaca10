"""The keypad's agent: what a caller can do whom nobody can hear."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import CallContext, CallerTurn, EndCall, Entry, Speaker, Transfer
from moked.dialog.business import load_business
from moked.dialog.deaf import CALLBACK, UnheardAgents, open_question
from moked.dialog.script import ScriptAgents
from moked.dialog.scriptfile import load_script
from tests.dialog.test_script import MOBILE, actions, spoken

BUSINESS = load_business()
AGENTS = UnheardAgents(BUSINESS, load_script(None, BUSINESS.voice_gender, BUSINESS.name))


class Call:
    def __init__(self, caller=MOBILE, hour=10):
        context = CallContext("CA1", caller, datetime(2026, 11, 22, hour, tzinfo=ZoneInfo("Asia/Jerusalem")))
        self.agent = AGENTS(context, ScriptAgents(BUSINESS)(context))
        self.number = 0
        self.nothing()

    def presses(self, keys):
        return self._turn(dtmf=keys)

    def nothing(self):
        return self._turn(silent=True)

    def _turn(self, **what):
        self.number += 1
        reply = self.agent.reply(CallerTurn(self.number, **what), ())
        self.done = actions(reply)
        reply.commit()
        return spoken(self.done)

    @property
    def then(self):
        return next((action for action in self.done if isinstance(action, EndCall | Transfer)), None)


def test_a_number_ends_the_call_with_a_promise():
    call = Call()
    assert "קיבלתי את המספר" in call.presses("0541112233#")
    assert call.then == EndCall(CALLBACK)
    lead = call.agent.lead()
    assert (lead.phone, lead.phone_confirmed, lead.unheard) == ("+972541112233", True, True)


def test_a_number_in_pieces_and_one_begun_anew():
    call = Call()
    assert "חלק מהמספר" in call.presses("05411")
    call.presses("12233")
    assert call.agent.lead().phone == "+972541112233"
    call = Call()
    call.presses("05499")
    call.presses("*0541112233#")
    assert call.agent.lead().phone == "+972541112233"


def test_half_a_number_is_asked_for_again():
    call = Call()
    assert "לא שלם" in call.presses("05411#")
    assert call.then is None
    call.presses("0541112233#")
    assert call.agent.lead().phone == "+972541112233"


def test_one_is_their_own_number_where_there_is_one():
    call = Call()
    assert "שממנו התקשרתם" in call.presses("1")
    assert call.agent.lead().phone == MOBILE
    call = Call(caller="")
    assert "הקישו אחת" not in spoken(call.done)
    assert call.presses("1")
    assert not call.agent.lead().phone


def test_zero_is_a_person_where_one_is_there():
    call = Call()
    done = call.presses("0")
    if BUSINESS.transfer_number:
        assert isinstance(call.then, Transfer)
    call = Call(hour=3)  # closed
    done = call.presses("0")
    assert done.startswith("כרגע אין נציג פנוי")
    assert call.then is None
    assert call.agent.lead().extra == {"ביקשו נציג": "כן"}


def test_nothing_at_all_is_offered_three_times():
    call = Call()
    said = [call.nothing() for _ in range(3)]
    assert [text.startswith("אני עדיין לא") for text in said] == [True, True, False]
    assert call.then == EndCall(CALLBACK)
    assert not any("אתם איתי" in text for text in said)


@given(st.lists(st.text("0123456789*#", min_size=1, max_size=12), max_size=6), st.sampled_from([MOBILE, ""]))
def test_whatever_is_typed_ends_or_is_answered(keys, caller):
    """There is always something to say; a number on record is one that can be called."""
    call = Call(caller=caller)
    for pressed in keys:
        if call.then is not None:
            break
        assert call.presses(pressed)
    phone = call.agent.lead().phone
    assert phone == "" or (phone.startswith("+") and len(phone) >= 9)


@pytest.mark.parametrize(
    ("heard", "question"),
    [
        ([(Speaker.AGENT, "שלום, במה אפשר לעזור?")], ""),
        (
            [(Speaker.CALLER, "נזילה"), (Speaker.AGENT, "הבנתי. עם מי אני מדבר?"), (Speaker.AGENT, "סליחה.")],
            "עם מי אני מדבר?",
        ),
        ([(Speaker.AGENT, "עם מי אני מדבר?"), (Speaker.CALLER, "דנה")], ""),
    ],
)
def test_the_question_that_was_open(heard, question):
    assert open_question([Entry(*one) for one in heard]) == question
