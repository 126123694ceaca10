"""Calls that we make, consent to details, and who wants to be left alone: with the script and with the tools."""

from datetime import datetime
from zoneinfo import ZoneInfo

from moked.channels.wishes import DETAILS, OPT_OUT, YES
from moked.dialog import CallContext, EndCall
from moked.dialog.script import ScriptAgents
from moked.dialog.tools import Toolbox
from moked.records import LeadDraft
from tests.dialog.test_script import BUSINESS, MOBILE, Call, spoken

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=ZoneInfo("Asia/Jerusalem"))
OPENING = "שלום, מדבר העוזר הקולי, סוכן וירטואלי, של אורן אינסטלציה. אני מתקשר בנוגע לנזילה."


def outbound(context):
    return ScriptAgents(BUSINESS)(
        CallContext(context.call_sid, context.caller, context.now, "דנה לוי", opening=OPENING)
    )


def test_a_call_that_we_make_says_who_calls_and_asks_no_number():
    call = Call(agents=outbound)
    assert spoken(call.done).startswith(OPENING)
    call.says("יש לי נזילה במטבח")
    text = call.says("מחר בבוקר")
    assert "לאיזה מספר" not in text
    assert (call.agent.lead().phone, call.agent.lead().phone_confirmed) == (MOBILE, True)


def test_a_call_that_we_make_and_nobody_talks_on_leaves_nothing():
    assert Call(agents=outbound).agent.lead() == LeadDraft()


def test_who_wants_to_be_left_alone_is_told_so_and_let_go():
    call = Call()
    assert "הסרתי אתכם" in call.says("תסירו אותי מהרשימה בבקשה")
    assert call.done[-1] == EndCall("opted_out")
    assert call.agent.lead().extra[OPT_OUT] == YES


def test_an_hour_that_does_not_suit_is_no_refusal():
    call = Call()
    call.says("יש לי נזילה, אל תתקשרו אליי לפני שמונה")
    assert OPT_OUT not in call.agent.lead().extra


def test_an_owners_step_asks_for_consent(tmp_path):
    script = tmp_path / "script.yaml"
    script.write_text(
        f'steps:\n  - asks: need\n  - asks: choice\n    id: "{DETAILS["whatsapp"]}"\n'
        '    say: "לשלוח לך פרטים בוואטסאפ?"\n',
        encoding="utf-8",
    )
    call = Call(agents=ScriptAgents(BUSINESS, script))
    assert "לשלוח לך פרטים בוואטסאפ?" in call.says("יש לי נזילה במטבח")
    call.says("כן, תודה")
    lead = call.agent.lead()
    assert lead.extra[DETAILS["whatsapp"]] == YES
    assert lead.sources[f"extra.{DETAILS['whatsapp']}"].quote == "כן, תודה"


def test_the_models_tools_keep_the_answer_and_its_words():
    box = Toolbox(BUSINESS, CallContext("CA1", MOBILE, NOON), lambda: NOON)
    box.use("send_details", '{"channel": "sms", "agreed": true}', turn=4, quote="כן, במסרון")
    source = box.lead.sources[f"extra.{DETAILS['sms']}"]
    assert (box.lead.extra[DETAILS["sms"]], source.turn, source.quote) == (YES, 4, "כן, במסרון")
    box.use("send_details", '{"channel": "sms", "agreed": false}', turn=5, quote="בעצם לא")
    assert box.lead.extra[DETAILS["sms"]] != YES
    result = box.use("do_not_contact", "{}", turn=6, quote="תסירו אותי")
    assert (box.lead.extra[OPT_OUT], result.then) == (YES, EndCall("opted_out"))
    assert not box.use("send_details", '{"channel": "fax", "agreed": true}', turn=7, quote="").ok
