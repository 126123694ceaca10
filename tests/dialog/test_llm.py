"""The LLM agent with the real client against the emulator: words, tools, quirks, faults."""

import json
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import anyio
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from emulators.llm import Answer, Fault, LlmEmulator
from moked.dialog import Ask, CallContext, CallerTurn, EndCall, Entry, Expect, Say, Second, Speaker, ToolRan, Transfer
from moked.dialog.business import Business
from moked.dialog.chat import Chat
from moked.dialog.hours import Span
from moked.dialog.intake import HANDED_BACK
from moked.dialog.llm import GOODBYE_SILENCE, NOT_HEARD, WAITS, LlmAgents, expectation, system_prompt, two_readings
from moked.dialog.tools import BY_NAME, Toolbox
from moked.errors import Failure, ProviderError
from moked.records import Handover
from tests.serving import serving

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=ZoneInfo("Asia/Jerusalem"))
BUSINESS = Business(
    name="שרברבות הצפון",
    greeting="שלום, מדבר העוזר הקולי של שרברבות הצפון. במה אפשר לעזור?",
    hours=((Span(8 * 60, 17 * 60),),) * 7,
    transfer_number="+97248123456",
)


class Bench:
    def __init__(self, emulator, house):
        self.emulator, self.house = emulator, house
        self.agent = house(CallContext("CA1", "+972502345678", NOON, known_name="דנה"))

    async def say(self, text="", *, history=(), commit=True, number=1, **turn):
        reply = self.agent.reply(CallerTurn(number, text, **turn), history)
        got = []
        if commit:
            reply.commit()
        async with reply.actions() as actions:
            async for action in actions:
                got.append(action)
        return got


@pytest.fixture
async def bench():
    emulator = LlmEmulator(first_token_ms=5, tokens_per_s=2000)
    async with serving(emulator.app()) as url:
        house = LlmAgents(
            BUSINESS, model="emulated", api_key="k", base_url=f"{url}/v1", timeout_s=1, clock=lambda: NOON
        )
        async with house.running():
            yield Bench(emulator, house)


def words(actions):
    return "".join(action.text for action in actions if isinstance(action, Say))


async def test_words_stream_and_the_question_is_known(bench):
    bench.emulator.brain = lambda body: Answer("בשמחה. מה מספר הטלפון לחזרה?")
    got = await bench.say("יש לי נזילה")
    assert words(got) == "בשמחה. מה מספר הטלפון לחזרה?"
    assert len([a for a in got if isinstance(a, Say)]) == 5
    assert got[-1] == Ask(Expect.PHONE)


async def test_the_model_is_told_its_tools(bench):
    bench.emulator.brain = lambda body: Answer("כן.")
    await bench.say("מתי?")
    tools = bench.emulator.requests[-1]["tools"]
    assert [tool["function"]["name"] for tool in tools] == list(BY_NAME)
    assert tools[0]["function"]["parameters"]["properties"]["phone"]["description"]


async def test_the_model_is_told_what_was_heard_and_what_is_known(bench):
    bench.emulator.brain = lambda body: Answer("כן.")
    history = [Entry(Speaker.CALLER, "שלום"), Entry(Speaker.AGENT, "אפשר להגיע", cut=True)]
    await bench.say("מתי?", history=history)
    messages = bench.emulator.requests[-1]["messages"]
    assert messages[0]["content"] == system_prompt(BUSINESS)
    assert [m["content"] for m in messages[1:3]] == ["שלום", "אפשר להגיע [נקטע]"]
    assert "לקוח חוזר: דנה" in messages[3]["content"]
    assert "יום ראשון, 22.11.2026, 12:00" in messages[3]["content"]
    assert messages[-1] == {"role": "user", "content": "מתי?"}


@pytest.mark.parametrize("quirks", ["", "gemini"])
async def test_a_tool_runs_and_the_model_goes_on(bench, quirks):
    bench.emulator.quirks = quirks
    got = await bench.say("יש לי נזילה במטבח")
    (tool,) = [a.use for a in got if isinstance(a, ToolRan)]
    assert (tool.name, tool.ok) == ("save_lead", True)
    assert words(got) == "הבנתי, אני אעזור בזה. מה השם בבקשה?"
    lead = bench.agent.lead()
    assert lead.need == "יש לי נזילה במטבח"
    assert lead.sources["need"].quote == "יש לי נזילה במטבח"
    if quirks:
        sent_back = bench.emulator.requests[-1]["messages"][-2]["tool_calls"][0]
        assert sent_back["extra_content"] == {"google": {"thought_signature": "sig-0"}}


async def test_two_parallel_calls_are_two_calls(bench):
    def brain(body):
        if body["messages"][-1]["role"] == "tool":
            return Answer("רשמתי.")
        return Answer("", (("save_lead", {"name": "דנה"}), ("save_lead", {"phone": "050-234-5678"})))

    for bench.emulator.quirks in ("", "gemini"):
        bench.emulator.brain = brain
        got = await bench.say("אני דנה")
        assert len([a for a in got if isinstance(a, ToolRan)]) == 2
        assert (bench.agent.lead().name, bench.agent.lead().phone) == ("דנה", "+972502345678")


async def test_an_uncommitted_reply_changes_nothing(bench):
    reply = bench.agent.reply(CallerTurn(1, "יש לי נזילה"), ())
    heard = []
    with anyio.move_on_after(0.5):
        async with reply.actions() as actions:
            async for action in actions:
                heard.append(action)
    assert words(heard) == "הבנתי, אני אעזור בזה. "
    assert not [a for a in heard if isinstance(a, ToolRan)]
    assert bench.agent.lead().need == ""


async def test_wrong_arguments_go_back_to_the_model(bench):
    def brain(body):
        if body["messages"][-1]["role"] == "tool":
            return Answer("אפשר לחזור על המספר?")
        return Answer("", (("save_lead", {"phone": "12"}), ("save_lead", {"colour": "red"}), ("fly", {})))

    bench.emulator.brain = brain
    got = await bench.say("המספר שלי הוא 12")
    results = [a.use for a in got if isinstance(a, ToolRan)]
    assert [use.ok for use in results] == [False, False, False]
    assert "not an Israeli phone number" in results[0].result
    assert "colour" in results[1].result
    assert "save_lead" in results[2].result


async def test_transfer_and_end_are_left_to_the_call(bench):
    bench.emulator.brain = lambda body: (
        Answer("")
        if body["messages"][-1]["role"] == "tool"
        else Answer("אני מעביר אותך.", (("transfer_to_person", {"reason": "ביקש אדם"}),))
    )
    got = await bench.say("תן לי בן אדם")
    assert Transfer("+97248123456", "ביקש אדם") in got
    bench.emulator.brain = lambda body: (
        Answer("") if body["messages"][-1]["role"] == "tool" else Answer("להתראות.", (("end_call", {}),))
    )
    assert EndCall("done") in await bench.say("ביי", number=2)


async def test_silence_is_asked_about_twice_and_then_ends(bench):
    ends = []
    for number in range(1, 4):
        got = await bench.say(number=number, silent=True)
        ends.append(words(got))
    assert ends[2] == GOODBYE_SILENCE
    assert got[-1] == EndCall("silence")
    assert words(await bench.say("", number=9)) == NOT_HEARD


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(status=401), Failure.AUTH),
        (Fault(status=429), Failure.QUOTA),
        (Fault(status=400), Failure.CONFIG),
        (Fault(status=503), Failure.UNAVAILABLE),
        (Fault(stall_after=0), Failure.TIMEOUT),
    ],
)
async def test_a_failing_server_is_named(bench, fault, kind):
    bench.emulator.faults.extend([fault, fault])
    with pytest.raises(ProviderError) as caught:
        await bench.say("שלום")
    assert caught.value.kind is kind


async def test_one_fast_retry_saves_the_turn(bench):
    bench.emulator.faults.append(Fault(status=503))
    bench.emulator.brain = lambda body: Answer("הנה אני.")
    assert words(await bench.say("שלום")) == "הנה אני."


@pytest.mark.parametrize("fault", [Fault(cut_after=2), Fault(stall_after=2)])
@pytest.mark.parametrize("again", ["אחת שתיים שלוש ארבע.", "שלוש ארבע."])
async def test_an_answer_that_breaks_off_goes_on_and_repeats_nothing(bench, monkeypatch, fault, again):
    monkeypatch.setattr("moked.dialog.chat._BETWEEN_WORDS_S", 0.1)
    answers = iter(["אחת שתיים שלוש ארבע.", again])
    bench.emulator.brain = lambda body: Answer(next(answers))
    bench.emulator.faults.append(fault)
    assert words(await bench.say("שלום")) == "אחת שתיים שלוש ארבע."
    assert bench.emulator.requests[-1]["messages"][-2] == {"role": "assistant", "content": "אחת שתיים "}


async def test_an_answer_that_breaks_off_twice_ends_with_its_last_whole_sentence_or_fails(bench, monkeypatch):
    monkeypatch.setattr("moked.dialog.chat._BETWEEN_WORDS_S", 0.1)
    bench.emulator.brain = lambda body: Answer("מחר בבוקר. אולי גם מחרתיים.")
    bench.emulator.faults += [Fault(stall_after=2), Fault(stall_after=2)]
    assert words(await bench.say("שלום")).strip() == "מחר בבוקר."
    bench.emulator.faults += [Fault(stall_after=1), Fault(stall_after=1)]
    with pytest.raises(ProviderError):
        await bench.say("שלום", number=2)


async def test_keys_are_told_with_the_words_and_as_yes_or_no_where_that_was_asked(bench):
    bench.emulator.brain = lambda body: Answer("בסדר.")
    for history, turn, told in (
        ((), {"dtmf": "0502345678#"}, "[הקשה במקלדת: 0502345678#]"),
        ((), {"text": "המספר שלי", "dtmf": "0502345678"}, "המספר שלי [הקשה במקלדת: 0502345678]"),
        ([Entry(Speaker.AGENT, "זה המספר שלכם, נכון?")], {"dtmf": "1"}, "[הקשה במקלדת: 1 (כן)]"),
        ([Entry(Speaker.AGENT, "זה המספר שלכם, נכון?")], {"dtmf": "2#"}, "[הקשה במקלדת: 2# (לא)]"),
    ):
        await bench.say(history=history, **turn)
        assert bench.emulator.requests[-1]["messages"][-1]["content"] == told


async def test_leaving_a_reply_ends_the_request(bench):
    bench.emulator.first_token_ms = 5000
    with anyio.move_on_after(0.3):
        await bench.say("שלום")
    with anyio.fail_after(3):
        while not bench.emulator.cancelled:
            await anyio.sleep(0.02)


@pytest.mark.parametrize(
    ("said", "expect"),
    [
        ("מה השם בבקשה?", Expect.NAME),
        ("תודה. מתי נוח לכם?", Expect.TIME),
        ("המספר הוא 050-2345678, נכון?", Expect.YES_NO),
        ("תודה רבה ולהתראות.", Expect.NOTHING),
        ("במה אפשר לעזור?", Expect.OPEN),
        ("מה מספר הטלפון?", Expect.PHONE),
        ("תודה. ומה מספר תעודת הזהות?", Expect.ID),
        ('מה הת"ז שלכם?', Expect.ID),
        ("מה מספר הרכב?", Expect.PLATE),
        ("מה כתוב בלוחית הרישוי?", Expect.PLATE),
        ("לאיזו כתובת להגיע?", Expect.ADDRESS),
        ("באיזה רחוב ובאיזו עיר?", Expect.ADDRESS),
        ("ומה מספר הבית?", Expect.NUMBER),
        ("כמה חדרים יש בדירה?", Expect.NUMBER),
        ("אפשר לשאול כמה שאלות?", Expect.OPEN),
        ("לאיזה תאריך לקבוע?", Expect.DATE),
        ("באיזה יום נוח?", Expect.DATE),
        ("תעודת הזהות היא 123456782, נכון?", Expect.YES_NO),
    ],
)
def test_what_a_sentence_asks_for(said, expect):
    assert expectation(said) is expect


def saved(**given):
    box = Toolbox(BUSINESS, CallContext("CA1", "", NOON), lambda: NOON)
    result = box.use("save_lead", json.dumps(given, ensure_ascii=False), turn=3, quote="כך אמרו")
    return result, box.lead


@pytest.mark.parametrize(
    ("given", "extra"),
    [
        ({"id_number": "12345678-2"}, {"תעודת זהות": "123456782"}),
        ({"id_number": "אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים"}, {"תעודת זהות": "123456782"}),
        ({"id_number": "18"}, {}),
        ({"plate": "1234567"}, {"מספר רכב": "12-345-67"}),
        ({"plate": "123 45 678"}, {"מספר רכב": "123-45-678"}),
        ({"address": "רחוב הרצל 12 חיפה"}, {"כתובת": "הרצל 12, חיפה"}),
        ({"address": "הרצל 12"}, {"כתובת": "הרצל 12"}),
        ({"date": "2026-12-20"}, {"תאריך": "20.12.2026"}),
        ({"date": "2026-12-20T10:30"}, {"תאריך": "20.12.2026 10:30"}),
        ({"date": "חמישה עשר במרץ"}, {"תאריך": "15.3.2027"}),
        ({"date": "31.2"}, {}),
        ({"plate": "12", "id_number": "123456789", "address": "לא יודע"}, {}),
    ],
)
def test_details_are_checked_by_the_code_that_understands_callers(given, extra):
    result, lead = saved(**given)
    assert lead.extra == extra
    assert result.ok == (bool(extra) and given != {"address": "הרצל 12"})
    assert ("לבקש" in result.text) == (not result.ok)
    assert set(lead.sources) == {f"extra.{key}" for key in extra}


def test_what_is_missing_of_an_address_is_said():
    assert "חסרה העיר" in saved(address="הרצל 12")[0].text
    assert "חסר הרחוב" in saved(address="חיפה")[0].text


def test_the_best_time_is_resolved_and_told():
    result, lead = saved(best_time="מחר בעשר")
    assert lead.best_time == "מחר בעשר"
    assert lead.callback_at == datetime(2026, 11, 23, 8, tzinfo=UTC)
    assert "23.11.2026 10:00" in result.text
    result, lead = saved(best_time="היום בשמונה בבוקר")
    assert not result.ok
    assert "כבר עבר" in result.text
    assert lead.callback_at is None
    assert saved(best_time="מתי שנוח")[1].callback_at is None


async def test_two_readings_are_told_and_stay_with_the_lead(bench):
    def brain(body):
        if body["messages"][-1]["role"] == "tool":
            return Answer("השם הוא דנה או דינה?")
        return Answer("", (("save_lead", {"name": "דנה"}),))

    bench.emulator.brain = brain
    reading = Second(1, "קוראים לי דנה", "google", "קוראים לי דינה", "whisper", Expect.NAME)
    await bench.say("קוראים לי דנה", second=(reading,))
    situation = bench.emulator.requests[0]["messages"][-2]
    assert (situation["role"], "«דנה» או «דינה»" in situation["content"]) == ("system", True)
    assert bench.agent.lead().sources["name"].readings == {"google": "דנה", "whisper": "דינה"}


@pytest.mark.parametrize(
    ("first", "second", "note"),
    [
        ("דנה", "דנה.", ""),
        ("מה", "קוראים לי דינה", "האזנה שנייה: «דינה»"),  # only the second has it
        ("דנה", "דבנה", ""),
    ],
)
def test_a_model_is_told_only_what_matters(first, second, note):
    told = two_readings(CallerTurn(1, first, second=(Second(1, first, "google", second, "whisper", Expect.NAME),)))
    assert (note in told) if note else told == ""


async def test_a_reopened_turn_does_its_tools_again_from_where_it_began(bench):
    def brain(body):
        if body["messages"][-1]["role"] == "tool":
            return Answer("רשמתי.")
        words = body["messages"][-1]["content"]
        return Answer("", (("save_lead", {"need": words} if "בתל" in words else {"need": words, "name": "נזילה"}),))

    bench.emulator.brain = brain
    await bench.say("יש לי נזילה", number=1)
    assert bench.agent.lead().name == "נזילה"
    await bench.say("יש לי נזילה בתל אביב", number=1)
    assert (bench.agent.lead().name, bench.agent.lead().need) == ("", "יש לי נזילה בתל אביב")


async def test_a_line_that_is_no_json_is_the_servers_fault(bench):
    bench.emulator.faults.extend([Fault(garbage=True), Fault(garbage=True)])
    with pytest.raises(ProviderError) as caught:
        await bench.say("שלום")
    assert caught.value.kind is Failure.PROTOCOL


LINES = (
    b": a comment\r\n\r\n"
    b'data: {"choices":[{"delta":{"role":"assistant","content":null}}],"system_fingerprint":"x"}\r\n\r\n'
    + 'data:{"choices":[{"delta":{"content":"שלום, "}}]}\n\n'.encode()
    + 'event: x\ndata: {"choices":[{"delta":{"content":"מה השם?"},"finish_reason":"stop"}]}\n\n'.encode()
    + b'data: {"choices":[],"usage":{"total_tokens":42,"prompt_tokens":40}}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
async def test_however_the_network_cuts_it_the_answer_is_the_same(size):
    async def answer(request):
        async def pieces():
            for at in range(0, len(LINES), size):
                yield LINES[at : at + size]

        return StreamingResponse(pieces(), media_type="text/event-stream")

    async with serving(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        chat = Chat(base_url=f"{url}/v1/", api_key="k", timeout_s=2)
        async with chat.stream({"messages": []}) as chunks:
            got = [chunk async for chunk in chunks]
        await chat.close()
    assert "".join(choice.delta.content or "" for chunk in got for choice in chunk.choices) == "שלום, מה השם?"
    assert got[-1].usage.total_tokens == 42


async def test_an_error_inside_the_stream_and_an_end_without_done_are_failures():
    bodies = [b'data: {"error":{"message":"overloaded"}}\n\n', b'data: {"choices":[]}\n\n']

    async def answer(request):
        return PlainTextResponse(bodies.pop(0), media_type="text/event-stream")

    async with serving(Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])) as url:
        chat = Chat(base_url=f"{url}/v1", api_key="k", timeout_s=2)
        for what in ("overloaded", "ended in the middle"):
            with pytest.raises(ProviderError, match=what) as caught:
                async with chat.stream({}) as chunks:
                    async for _ in chunks:
                        pass
            assert caught.value.kind is Failure.UNAVAILABLE
        await chat.close()


async def test_what_a_person_said_to_do_is_the_models_from_the_next_answer_on(bench):
    bench.emulator.brain = lambda body: Answer("דני יחזור אליך בעוד שעה. מה עוד?")
    history = [Entry(Speaker.CALLER, "אני רוצה לדבר עם דני")]
    reply = bench.agent.handed_back(Handover.SENT_BACK, "תגיד לה שאני חוזר בעוד שעה", history)
    reply.commit()
    async with reply.actions() as actions:
        assert words([action async for action in actions]) == "דני יחזור אליך בעוד שעה. מה עוד?"
    first = bench.emulator.requests[-1]["messages"]
    assert [message["content"] for message in first if message["role"] == "user"] == ["אני רוצה לדבר עם דני", WAITS]
    assert "תגיד לה שאני חוזר בעוד שעה" in first[-2]["content"]
    other = bench.house(CallContext("CA1", "+972502345678", NOON))
    other.take_up(json.loads(json.dumps(bench.agent.keep())))
    bench.agent = other
    await bench.say("תודה", number=2)
    assert "תגיד לה שאני חוזר בעוד שעה" in bench.emulator.requests[-1]["messages"][-2]["content"]


async def test_without_an_instruction_the_model_is_not_asked(bench):
    reply = bench.agent.handed_back(Handover.UNANSWERED, "", ())
    async with reply.actions() as actions:
        assert words([action async for action in actions]) == HANDED_BACK[Handover.UNANSWERED]
    assert not bench.emulator.requests


async def test_an_agent_of_another_process_knows_what_this_one_saved(bench):
    bench.emulator.brain = lambda body: (
        Answer("תודה.")
        if body["messages"][-1]["role"] == "tool"
        else Answer(calls=(("save_lead", {"name": "דנה לוי"}),))
    )
    await bench.say("קוראים לי דנה לוי")
    other = bench.house(CallContext("CA1", "+972502345678", NOON))
    other.take_up(json.loads(json.dumps(bench.agent.keep())))
    assert other.lead() == bench.agent.lead()
    assert other.lead().name == "דנה לוי"
    # The same turn answered once more saves what it says once more, from where it began.
    other.reply(CallerTurn(1, "קוראים לי דנה לוי"), ()).commit()
    assert other.lead().name == ""
    with pytest.raises(ValueError, match=r"xpected|missing"):
        other.take_up({"state": {}})
