"""A caller who wants a person, over real sockets: the person is rung, told who calls, and takes the call or not."""

import pytest

from emulators.llm import LlmEmulator
from emulators.second_leg import Manner
from moked.dialog.intake import HANDED_BACK
from moked.records import Handover
from moked.simulate.result import Ended
from moked.simulate.scenario import HangUp, Manners, Say
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

TOLD = Say(audio=says("קוראים לי דנה לוי והמזגן לא מקרר"))
PERSON = Say(audio=says("אני רוצה לדבר עם נציג"))
PATIENT = Manners(quiet_ms=1200, patience_ms=12_000, linger_ms=200)


async def place(home, *more):
    return await home.place([TOLD, PERSON, *more], manners=PATIENT, max_s=40)


def moved(report):
    return [event["data"]["why"] for event in report["events"] if event["kind"] == "moved"]


def outcomes(report):
    return [event["data"]["how"] for event in report["events"] if event["kind"] == "handover"]


async def test_taken_both_are_connected_and_the_person_knows_who_calls(tmp_path):
    async with house(tmp_path, rest=True, person=Manner.TAKES) as home:
        placed = await place(home)
    (rung,) = home.person.rung
    assert (rung["To"], rung["From"], rung["Timeout"]) == ("+97235550000", home.setup().called, "20")
    assert home.person.heard == ["דנה לוי, המזגן לא מקרר. ללחוץ 1 כדי לקבל, 2 כדי להחזיר עם הנחיה."]
    assert placed.result.ended is Ended.TRANSFERRED
    assert [item.verb for item in placed.result.after_stream] == ["say", "conference", "hangup"]
    report = placed.report
    assert (report["outcome"], report["detail"], outcomes(report)) == ("transferred", "taken", ["taken"])
    assert (report["lead"]["name"], moved(report)) == ("דנה לוי", [])


@pytest.mark.parametrize("manner", [Manner.NO_ANSWER, Manner.HANGS_UP, Manner.VOICEMAIL, Manner.SENDS_BACK])
async def test_not_taken_the_agent_has_the_caller_back_and_goes_on(tmp_path, manner):
    how = Handover.SENT_BACK if manner is Manner.SENDS_BACK else Handover.UNANSWERED
    async with house(tmp_path, rest=True, person=manner) as home:
        placed = await place(home, Say(audio=says("כן")), Say(audio=says("מחר בבוקר")), HangUp("agent_done"))
    assert placed.result.ended is Ended.CALLER_HUNG_UP
    assert len(placed.result.streams) == 2
    report = placed.report
    assert (outcomes(report), moved(report)) == ([how.value], ["handover"])
    answers = {turn["number"]: turn["heard"] for turn in report["turns"]}
    assert HANDED_BACK[how] in answers[2]
    assert "?" in answers[2].split(HANDED_BACK[how])[1]  # ... and asks for what is missing
    assert [turn["number"] for turn in report["turns"]] == list(range(len(report["turns"])))
    lead = report["lead"]
    assert (lead["name"], lead["confirmed"], report["outcome"]) == ("דנה לוי", True, "caller_hung_up")
    assert "מחר" in lead["best_time"]
    recorded = [event["data"].get("url") for event in report["events"] if event["kind"] == "handover"]
    assert bool(recorded[0]) == (manner is Manner.SENDS_BACK)


async def test_who_cannot_be_rung_is_dialled_without_a_word(tmp_path):
    async with house(tmp_path, rest=True, person=Manner.TAKES) as home:
        home.rest.creates_refused = 21216
        placed = await place(home)
    assert placed.result.ended is Ended.TRANSFERRED
    assert ("dial", "+97235550000 (completed)") in [(item.verb, item.text) for item in placed.result.twiml]
    assert (placed.report["outcome"], home.person.rung) == ("transferred", [])


async def test_a_model_goes_on_after_it_too(tmp_path):
    async with house(tmp_path, rest=True, person=Manner.NO_ANSWER, llm=LlmEmulator()) as home:
        placed = await home.place(
            [Say(audio=says("אני רוצה לדבר עם נציג")), Say(audio=says("יש לי נזילה")), HangUp("agent_done")],
            manners=PATIENT,
        )
    if moved(placed.report):  # the emulated model transfers who asks for a person
        told = home.llm.requests[-1]["messages"]
        assert any(HANDED_BACK[Handover.UNANSWERED] in (message["content"] or "") for message in told)
    assert placed.report["ended"]
