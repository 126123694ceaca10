"""More callers than places, on real sockets: who has a place is served, who has none is told kindly and called back."""

import time
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import anyio
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked import pressure, telephony
from moked.pressure import Level
from moked.roles import Role
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import Ended, StreamEnd
from moked.simulate.scenario import HangUp, Say, Wait
from moked.simulate.twiml import World
from tests.databases import KINDS
from tests.wire.house import GREETING, QUICK, TOKEN, database, house, serve, settings, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

PLACES = 5
LINE = Say(audio=says("יש לי נזילה גדולה במטבח"))


def number(n):
    return f"+9725023400{n:02d}"


async def crowd(home, numbers, *steps):
    """These callers at once. Who is refused asks to be called back."""
    steps, world = steps or (LINE, HangUp("agent_done")), World(digits="1#", recorded_seconds=0)
    return await together(
        *(lambda n=n: home.place(steps, caller=number(n), world=world, events=False) for n in numbers)
    )


async def all_places_free(home):
    with anyio.fail_after(10):
        while home.house.media.active or await anyio.to_thread.run_sync(home.crm.active_calls):
            await anyio.sleep(0.05)


async def settled(home, call_sid):
    """The report after the work that follows a call."""
    await anyio.to_thread.run_sync(home.crm.settle_refused, call_sid)
    return await anyio.to_thread.run_sync(home.crm.call_report, call_sid)


async def test_twice_as_many_as_places(tmp_path):
    async with anyio.create_task_group() as tasks:  # on each database, side by side
        for kind in KINDS:
            (tmp_path / kind).mkdir()
            tasks.start_soon(too_many, kind, tmp_path / kind)


async def too_many(kind, folder):
    with database(kind, folder) as url:
        async with house(folder, max_calls=PLACES, database_url=url) as home:
            placed = await crowd(home, range(2 * PLACES))
            await all_places_free(home)
            refused = [one for one in placed if not one.result.streams]
            reports = [await settled(home, one.report["call_sid"]) for one in refused]
            again = await crowd(home, range(20, 20 + PLACES), Wait(200), HangUp())

    served = [one for one in placed if one.result.streams]
    assert (len(served), len(refused)) == (PLACES, PLACES)
    for one in served:
        assert (one.result.ended, one.result.streams[0].how) == (Ended.CALLER_HUNG_UP, StreamEnd.CALLER)
        assert "נזילה" in one.said
        assert one.turns[0]["heard"].startswith(GREETING)
        assert one.result.turns[0].response_ms is not None  # nobody waited in vain
        assert one.report["lead"]["phone"] == one.report["caller"]
    for one, report in zip(refused, reports, strict=True):
        assert [item.verb for item in one.result.twiml] == ["say", "gather", "say", "hangup"]
        assert one.result.twiml[0].text.startswith(telephony.ALL_BUSY)
        assert one.result.twiml[2].text == telephony.WILL_CALL_BACK
        assert (one.report["outcome"], one.report["detail"]) == ("refused", "overload")
        (task,) = report["tasks"]
        assert report["lead"]["phone"] == one.report["caller"]
        assert "0" + one.report["caller"].removeprefix("+972") in task["note"]
    assert not any(one.result.warnings for one in placed)
    assert [len(one.result.streams) for one in again] == [1] * PLACES
    assert all(one.report["outcome"] == "caller_hung_up" for one in again)


async def test_a_process_whose_loop_is_late_serves_who_is_there_and_takes_nobody_until_it_is_at_ease(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(pressure, "WINDOW_S", 1.0)
    monkeypatch.setattr(pressure, "FALL_S", 0.3)
    async with house(tmp_path, admit_lag_ms=150) as home:
        level = home.house.pressure
        talking = anyio.Event()
        results = {}

        async def inside():
            steps = [LINE, Say(audio=says("קוראים לי דני כהן")), HangUp("agent_done")]
            results["inside"] = await home.place(
                steps, caller=number(1), at=lambda name, data: talking.set() if name == "turn.final" else None
            )

        async def be_late():
            while True:
                time.sleep(0.3)
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(inside)
            await talking.wait()
            async with anyio.create_task_group() as trouble:
                trouble.start_soon(be_late)
                with anyio.fail_after(20):
                    while level.level is not Level.FULL:
                        await anyio.sleep(0.05)
                (results["late"],) = await crowd(home, [2])
                trouble.cancel_scope.cancel()
            with anyio.fail_after(20):
                while level.full:
                    await anyio.sleep(0.05)
            (results["after"],) = await crowd(home, [3])

    assert (results["late"].result.streams, results["late"].report["detail"]) == ((), "overload")
    assert results["after"].report["outcome"] == "caller_hung_up"
    assert "דני כהן" in results["inside"].said  # it was served all the while
    assert all(turn.response_ms is not None for turn in results["inside"].result.turns)


async def test_a_web_process_sends_each_call_to_the_media_process_that_has_a_place(tmp_path):
    with database("postgresql", tmp_path) as url:
        async with AsyncExitStack() as stack:
            values = {
                "database_url": url,
                "twilio_auth_token": TOKEN,
                "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
                "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
                "max_calls": 1,
            }
            web = await stack.enter_async_context(serve(settings(tmp_path, **values), Role.WEB))
            setup = CallSetup(
                base_url=web.base_url,
                auth_token=TOKEN,
                manners=QUICK,
                events=False,
                max_s=30,
                world=World(recorded_seconds=0),
            )

            async def call(n, *steps):
                return await SimulatedCall(steps, replace(setup, caller=number(n))).run()

            nobody = await call(0, Wait(100))
            media = [
                await stack.enter_async_context(
                    serve(settings(tmp_path, **values, data_dir=tmp_path / f"media{n}"), Role.MEDIA)
                )
                for n in range(2)
            ]
            results = await together(*(lambda n=n: call(n, LINE, HangUp("agent_done")) for n in (1, 2, 3)))
            media[0].node.draining = True
            with suppress(TimeoutError), anyio.fail_after(5):
                while await anyio.to_thread.run_sync(web.crm.active_calls):
                    await anyio.sleep(0.05)
            await media[0].node.tell()
            last = await call(4, LINE, HangUp("agent_done"))

    assert (nobody.report["detail"], nobody.twiml[0].text.startswith(telephony.CANNOT_NOW)) == ("no_media", True)
    streams = [result.streams[0] for result in results if result.streams]
    assert {stream.url for stream in streams} == {one.media_url for one in media}
    assert [result.report["detail"] for result in results if not result.streams] == ["overload"]
    assert [stream.url for stream in last.streams] == [media[1].media_url]
