"""What people of the business tell an agent during a call: a model heeds it, a script says it."""

import json

from moked.dialog import CallerTurn
from moked.records import Handover
from tests.dialog.test_llm import Answer, bench, words  # noqa: F401  (its fixture)
from tests.dialog.test_script import Call, actions, spoken


def told(emulator):
    """The system messages after the fixed prompt, as the model got them last."""
    return "\n".join(m["content"] for m in emulator.requests[-1]["messages"][1:] if m["role"] == "system")


async def test_a_model_reads_the_instruction_in_its_next_reply_and_after(bench):  # noqa: F811
    bench.emulator.brain = lambda body: Answer("בסדר.")
    await bench.say("יקר לי")
    assert "הנחיות" not in told(bench.emulator)
    bench.agent.instruct("תציע לו עשרה אחוז  הנחה")
    await bench.say("נו?", number=2)
    assert "- תציע לו עשרה אחוז הנחה" in told(bench.emulator)
    assert "אין להזכיר שהתקבלו" in told(bench.emulator)
    for number in range(6):
        bench.agent.instruct(f"הנחיה {number}")
    await bench.say("נו?", number=3)
    lines = [line for line in told(bench.emulator).splitlines() if line.startswith("- ")]
    assert lines == [f"- הנחיה {number}" for number in range(1, 6)]


async def test_a_model_that_has_the_call_back_knows_what_was_agreed_also_elsewhere(bench):  # noqa: F811
    bench.emulator.brain = lambda body: Answer("בסדר.")
    reply = bench.agent.handed_back(Handover.RETURNED, "דנה כהן סיכמנו על יום שני", ())
    async with reply.actions() as found:
        assert words([action async for action in found]) == "אני שוב איתכם."
    kept = json.loads(json.dumps(bench.agent.keep()))
    bench.agent = bench.house(bench.agent._context)
    bench.agent.take_up(kept)
    await bench.say("אז מתי?")
    assert "דנה כהן סיכמנו על יום שני" in told(bench.emulator)


def test_a_script_says_it_once_before_its_next_answer():
    call = Call()
    call.agent.instruct("יש לנו היום\nעשרה אחוז הנחה")
    assert call.says("יש לי נזילה במטבח").startswith("יש לנו היום עשרה אחוז הנחה. ")
    assert "הנחה" not in call.says("רות לוי")


def test_a_turn_that_is_answered_anew_has_it_again():
    call = Call()
    call.agent.instruct("שנייה אחת!")
    turn = CallerTurn(call.turn + 1, "יש לי נזילה")
    abandoned = call.agent.reply(turn, ())
    assert spoken(actions(abandoned)).startswith("שנייה אחת! ")
    for _ in range(2):  # the second: nobody heard the first
        reply = call.agent.reply(turn, ())
        reply.commit()
        assert spoken(actions(reply)).startswith("שנייה אחת! ")


def test_a_script_that_has_the_call_back_asks_what_is_still_missing():
    call = Call()
    call.says("יש לי נזילה במטבח")
    said = spoken(actions(call.agent.handed_back(Handover.RETURNED, "דנה", ())))
    assert said.startswith("אני שוב איתכם.")
    assert "?" in said
