"""Nobody can hear the caller: Google is gone and nothing stands by. The keypad takes the call on to a lead."""

from functools import partial

import anyio
import pytest

from emulators.google_speech import GoogleSpeech
from moked.simulate.scenario import Dtmf, HangUp, Say, Wait
from tests.wire.house import CALLER, house, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio


def texts(placed):
    return [turn["said"] for turn in placed.turns]


async def keyed(folder, keys):
    """The call of a house whose Google is killed as the call begins."""
    folder.mkdir()
    speech = GoogleSpeech(mode="codec")
    async with house(folder, speech=speech) as home, anyio.create_task_group() as tasks:

        def gone(event, data):
            if event == "call.started":
                tasks.start_soon(speech.kill)

        return await home.place([Wait(4000), Dtmf(keys, after=100), HangUp(15_000)], at=gone)


async def away_for_a_while(folder):
    """Google comes back in the middle of the call, at the address it had."""
    folder.mkdir()
    speech = GoogleSpeech(mode="codec")
    async with house(folder, speech=speech) as home, anyio.create_task_group() as tasks:

        async def away():
            port = int(speech.target.rpartition(":")[2])
            await speech.kill()
            await anyio.sleep(3)
            await speech.start(port)

        def gone(event, data):
            if event == "call.started":
                tasks.start_soon(away)

        steps = [Wait(14_000), Say(audio=says("יש לי נזילה גדולה במטבח"), after=100), HangUp("agent_done")]
        return await home.place(steps, at=gone, max_s=60)


async def test_the_keypad_takes_the_call_on_and_hearing_that_comes_back_takes_it_over(tmp_path):
    another, own, back = await together(
        partial(keyed, tmp_path / "another", "0541112233#"),
        partial(keyed, tmp_path / "own", "1"),
        partial(away_for_a_while, tmp_path / "back"),
    )
    for placed, phone in ((another, "+972541112233"), (own, CALLER)):
        report = placed.report
        assert (report["outcome"], report["detail"]) == ("completed", "unheard_callback")
        lead = report["lead"]
        assert (lead["phone"], lead["confirmed"], lead["origin"]) == (phone, True, "unheard")
        assert "לא שמענו את הפונה" in lead["summary"]
        assert len(report["tasks"]) == 1
        assert any(text.startswith("סליחה, יש לי תקלה") for text in texts(placed))
        assert not any("אתם איתי" in text for text in texts(placed))
        assert "hearing_lost" in [event["kind"] for event in report["events"]]
        assert placed.of("hearing.lost")
    assert any(text.startswith("סליחה, יש לי תקלה") for text in texts(back))
    assert "עכשיו אני שומע אתכם. במה אפשר לעזור?" in texts(back)
    assert "נזילה" in back.report["lead"]["need"]
    assert back.report["lead"]["origin"] == "conversation"
