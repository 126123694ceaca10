"""Whole calls through the whole product: every part real but Google, the model and the telephone network."""

import anyio
import pytest

from emulators.llm import Answer, LlmEmulator
from moked.simulate.result import Ended, StreamEnd
from moked.simulate.scenario import CutIn, Dtmf, HangUp, Say
from tests.databases import KINDS
from tests.wire.house import CALLER, GREETING, database, house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

MOMENTS = ("speech_end_ms", "transcript_ms", "endpoint_ms", "llm_first_ms", "tts_first_ms", "sent_ms", "heard_ms")


def plumber(body):
    """A model that saves what it hears and says goodbye after the second turn."""
    messages = body["messages"]
    ran = messages[-1]["role"] == "tool"
    turn = sum(message["role"] == "user" for message in messages)
    if turn == 1:
        if ran:
            return Answer("איך קוראים לכם?")
        return Answer("הבנתי. ", (("save_lead", {"need": "נזילה במטבח", "phone": "050-2345678"}),))
    if ran:
        return Answer("")
    return Answer(
        "תודה דני, נחזור אליכם. להתראות.",
        (("save_lead", {"name": "דני כהן", "phone_confirmed": True}), ("end_call", {"reason": "done"})),
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_call_with_a_model_ends_in_a_lead(kind, tmp_path):
    with database(kind, tmp_path) as url:
        async with house(tmp_path, llm=LlmEmulator(brain=plumber), rest=True, database_url=url) as home:
            placed = await home.place([Say(audio=says("יש לי נזילה גדולה במטבח")), Say(audio=says("קוראים לי דני כהן"))])
            import json
            print(json.dumps(placed.report, ensure_ascii=False, indent=1))
            print(placed.result)
            print(*placed.events, sep="\n")
