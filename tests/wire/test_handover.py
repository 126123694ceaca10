"""A caller who wants a person, over real sockets: the person is rung, told who calls, and takes the call or not."""

import io
import wave

import anyio
import pytest

from emulators.second_leg import Manner
from moked import telephony
from moked.audio import to_pcm16
from moked.dialog.intake import HANDED_BACK, PASSED_ON
from moked.records import Handover
from moked.simulate.result import Ended
from moked.simulate.scenario import HangUp, Manners, Say, Wait
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

TOLD = Say(audio=says("קוראים לי דנה לוי והמזגן לא מקרר"))
PERSON = Say(audio=says("אני רוצה לדבר עם נציג"))
PATIENT = Manners(quiet_ms=1200, patience_ms=12_000, linger_ms=200)


async def place(home, *more):
    return await home.place([TOLD, PERSON, *more], manners=PATIENT, max_s=60)


def moved(report):
    return [event["data"]["why"] for event in report["events"] if event["kind"] == "moved"]


def outcomes(report):
    return [event["data"]["how"] for event in report["events"] if event["kind"] == "handover"]


async def test_the_person_takes_the_call_or_the_agent_has_it_back(tmp_path):
    async with anyio.create_task_group() as tasks:  # side by side: a call takes its time
        for manner in Manner:
            (tmp_path / manner).mkdir()
            tasks.start_soon(taken if manner is Manner.TAKES else not_taken, tmp_path / manner, manner)


async def taken(folder, manner):
    """Both are connected, and the person knows who calls."""
    async with house(folder, rest=True, person=manner) as home:
        placed = await place(home, Wait(20_000))
    (rung,) = home.person.rung
    assert (rung["To"], rung["From"], rung["Timeout"]) == ("+97235550000", home.setup().called, "20")
    assert home.person.heard == [f"דנה לוי, {placed.report['lead']['need']}. {telephony.PRESS}"]
    assert placed.result.ended is Ended.TRANSFERRED
    assert [item.verb for item in placed.result.after_stream] == ["say", "conference", "hangup"]
    report = placed.report
    assert (report["outcome"], report["detail"], outcomes(report)) == ("transferred", "taken", ["taken"])
    assert (report["lead"]["name"], report["lead"]["handover"], moved(report)) == ("דנה לוי", "taken", [])


def wav(mulaw):
    """As the carrier keeps it: 16 bit, 8 kHz."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(to_pcm16(mulaw))
    return file.getvalue()


INSTRUCTION = "אני חוזר אליה בעוד שעה"


async def not_taken(folder, manner):
    """The agent has the caller back, passes on what it was told, and goes on."""
    how = Handover.SENT_BACK if manner is Manner.SENDS_BACK else Handover.UNANSWERED
    said = PASSED_ON.format(told=INSTRUCTION) if how is Handover.SENT_BACK else HANDED_BACK[how]
    async with house(folder, rest=True, person=manner) as home:
        home.rest.recorded = wav(says(INSTRUCTION))
        placed = await place(home, Say(audio=says("כן")), Say(audio=says("מחר בבוקר")), HangUp("agent_done"))
    assert placed.result.ended is Ended.CALLER_HUNG_UP
    assert len(placed.result.streams) == 2
    report = placed.report
    assert (outcomes(report), moved(report)) == ([how.value], ["handover"])
    answers = {turn["number"]: turn["heard"] for turn in report["turns"]}
    assert said in answers[2]
    assert "?" in answers[2].split(said)[1]  # ... and asks for what is missing
    assert [turn["number"] for turn in report["turns"]] == list(range(len(report["turns"])))
    lead = report["lead"]
    assert (lead["name"], lead["confirmed"], report["outcome"]) == ("דנה לוי", True, "caller_hung_up")
    assert "מחר" in lead["best_time"]
    told = f"{INSTRUCTION}." if how is Handover.SENT_BACK else ""
    assert (lead["handover"], [(note["how"], note["text"]) for note in lead["notes"]]) == (how, [(how, told)])


async def test_who_cannot_be_rung_is_dialled_without_a_word(tmp_path):
    async with house(tmp_path, rest=True, person=Manner.TAKES) as home:
        home.rest.creates_refused = 21216
        placed = await place(home)
    assert placed.result.ended is Ended.TRANSFERRED
    assert ("dial", "+97235550000 (completed)") in [(item.verb, item.text) for item in placed.result.twiml]
    assert (placed.report["outcome"], home.person.rung) == ("transferred", [])
