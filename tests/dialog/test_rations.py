"""A language model's ration of a call: what counts, and how the call goes on when it is used up."""

import json
from contextlib import AsyncExitStack
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from emulators.llm import Answer, LlmEmulator
from moked import metrics
from moked.dialog import CallContext, CallerTurn, EndCall, Say, Transfer
from moked.dialog.business import Business
from moked.dialog.hours import Span
from moked.dialog.llm import NO_MORE_TOOLS, LlmAgents
from moked.dialog.rations import DETAILS, RationedAgents, Rations
from moked.dialog.script import ScriptAgents
from tests.serving import serving

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=ZoneInfo("Asia/Jerusalem"))
CALLER = "+972502345678"


def business(transfer_number=""):
    return Business(
        name="שרברבות הצפון",
        greeting="שלום, מדבר העוזר הקולי.",
        hours=((Span(8 * 60, 17 * 60),),) * 7,
        transfer_number=transfer_number,
    )


class Bench:
    """One call's rationed agent on the real client, and what it says."""

    def __init__(self, emulator, house):
        self.emulator, self.house = emulator, house
        self.agent = house(CallContext("CA1", CALLER, NOON))
        self.turn = 0

    async def say(self, text="", *, commit=True, number=None, dtmf=""):
        self.turn = number or self.turn + 1
        reply = self.agent.reply(CallerTurn(self.turn, text, dtmf), ())
        if commit:
            reply.commit()
        got = []
        async with reply.actions() as actions:
            async for action in actions:
                got.append(action)
                if not commit and isinstance(action, Say):
                    break  # an abandoned reply
        return got


@pytest.fixture
async def bench():
    emulator = LlmEmulator(first_token_ms=2, tokens_per_s=5000)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(serving(emulator.app()))

        async def make(*, tokens=10**9, tools=10**9, transfer_number="", hour=12):
            of, at = business(transfer_number), NOON.replace(hour=hour)
            model = LlmAgents(of, model="m", api_key="k", base_url=f"{url}/v1", max_tools=tools, clock=lambda: NOON)
            house = RationedAgents(model, ScriptAgents(of), of, Rations(tokens, tools), clock=lambda: at)
            await stack.enter_async_context(house.running())
            return Bench(emulator, house)

        yield make


def words(actions):
    return "".join(action.text for action in actions if isinstance(action, Say))


def counted(limit):
    return metrics.call_limits.labels(limit)._value.get()


async def test_when_the_tokens_are_gone_the_script_takes_the_details_and_the_call_ends_well(bench):
    call = await bench(tokens=1)
    call.emulator.brain = lambda body: Answer("בשמחה. מה הבעיה?")
    before = counted("tokens")
    assert words(await call.say("שלום")) == "בשמחה. מה הבעיה?"
    answer = words(await call.say("הדוד נוזל"))
    assert answer.startswith(DETAILS)
    assert answer.endswith("?")
    assert len(call.emulator.requests) == 1  # the model is asked no more
    said = answer
    for line in ("יש לי נזילה בדוד", "קוראים לי דני כהן", "כן", "מחר בבוקר", "כן", "כן", "תודה"):
        got = await call.say(line)
        said += words(got)
        if any(isinstance(action, EndCall) for action in got):
            break
    else:
        raise AssertionError(said)
    lead = call.agent.lead()
    assert (lead.name, lead.phone, lead.phone_confirmed) == ("דני כהן", CALLER, True)
    assert "הדוד נוזל" in lead.extra.values()  # what was said to the model is not lost
    assert said.count(DETAILS) == 1
    assert counted("tokens") == before + 1
    assert len(call.emulator.requests) == 1


async def test_what_the_model_learned_is_kept_and_not_asked_again(bench):
    call = await bench(tools=1)
    known = {"name": "דנה לוי", "need": "תיקון מזגן", "phone": "0501112222", "phone_confirmed": True}
    calls = iter([Answer("", [("save_lead", known)]), Answer("רשמתי.")])
    call.emulator.brain = lambda body: next(calls)
    await call.say("אני דנה לוי")
    answer = words(await call.say("כמה זה עולה?"))
    assert answer.startswith(DETAILS)
    lead = call.agent.lead()
    assert (lead.name, lead.need, lead.phone, lead.phone_confirmed) == ("דנה לוי", "תיקון מזגן", "+972501112222", True)
    assert "מתי" in answer  # the only thing that is still unknown


async def test_a_number_nobody_agreed_to_is_read_back(bench):
    call = await bench(tools=1)
    saved = {"name": "דנה לוי", "need": "תיקון מזגן", "phone": "0501112222"}
    calls = iter([Answer("", [("save_lead", saved)]), Answer("רשמתי.")])
    call.emulator.brain = lambda body: next(calls)
    await call.say("אני דנה לוי")
    await call.say("כמה זה עולה?")
    assert call.agent.lead().phone == "+972501112222"
    assert not call.agent.lead().phone_confirmed
    await call.say("כן, נכון")
    assert call.agent.lead().phone_confirmed


@pytest.mark.parametrize(("hour", "transferred"), [(12, True), (23, False)])
async def test_a_person_takes_over_while_there_is_one(bench, hour, transferred):
    call = await bench(tokens=1, transfer_number="+97248123456", hour=hour)
    call.emulator.brain = lambda body: Answer("כן?")
    await call.say("שלום")
    got = await call.say("הלו")
    assert [action.number for action in got if isinstance(action, Transfer)] == ["+97248123456"] * transferred
    assert words(got).startswith("כדי לא לעכב אתכם, אני מעביר אתכם לנציג." if transferred else DETAILS)


async def test_a_speculative_answer_takes_nothing_over_and_a_reopened_turn_is_decided_anew(bench):
    call = await bench(tokens=1)
    call.emulator.brain = lambda body: Answer("כן?")
    await call.say("שלום")
    before = counted("tokens")
    await call.say("יש לי", commit=False)
    assert counted("tokens") == before
    await call.say("יש לי נזילה", number=call.turn)
    await call.say("יש לי נזילה במטבח", number=call.turn)  # the caller went on before anything was heard
    assert counted("tokens") == before + 1
    assert [value for value in call.agent.lead().extra.values() if "נזילה" in value] == ["יש לי נזילה במטבח"]


async def test_a_model_that_calls_tools_without_end_runs_no_more_than_its_ration(bench):
    call = await bench(tools=3)
    asked = []

    def brain(body):
        asked.append(body)
        return Answer("רגע.", [("opening_hours", {})] * 4)

    call.emulator.brain = brain
    await call.say("מתי פתוח?")
    answers = [message["content"] for message in asked[-1]["messages"] if message["role"] == "tool"]
    assert sum(answer != NO_MORE_TOOLS for answer in answers) == 3
    assert NO_MORE_TOOLS in answers


async def test_what_was_spent_comes_along_when_the_call_moves(bench):
    call = await bench(tokens=3000)
    call.emulator.brain = lambda body: Answer("כן?")
    call.emulator.usage = 2000
    await call.say("שלום")
    other = call.house(CallContext("CA1", CALLER, NOON))
    other.take_up(json.loads(json.dumps(call.agent.keep())))
    call.agent = other
    assert words(await call.say("הדוד נוזל")) == "כן?"
    assert words(await call.say("הלו")).startswith(DETAILS)


async def test_tokens_are_what_the_server_says_else_a_guess_and_abandoned_answers_count(bench):
    call = await bench()
    call.emulator.brain = lambda body: Answer("מילים " * 50)
    model = call.agent._model
    await call.say("שלום")
    guessed = model.spent.tokens
    assert guessed > 300  # the prompt alone is some thousand letters
    await call.say("שלום", commit=False)
    assert model.spent.tokens > guessed
    before = model.spent.tokens
    call.emulator.usage = 1234
    await call.say("שלום")
    assert model.spent.tokens == before + 1234
