"""SIGTERM to a real `moked up` with a call running: it finishes, new callers are told kindly, and nothing is lost."""

import signal
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

import anyio
import httpx2
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked import telephony
from moked.crm import db
from moked.crm.service import Crm
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import Ended, StreamEnd
from moked.simulate.scenario import HangUp, Say, Wait
from moked.simulate.twiml import World
from tests.wire.house import CALLER, PROFILE, QUICK
from tests.wire.processes import free_port, moked
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

FIRST_LINE = Say(audio=says("קוראים לי דני כהן ויש לי נזילה"))


class Office:
    """A running `moked up`, the record of its database, and a call that has told name and need."""

    def __init__(self, process, crm, setup):
        self.process, self.crm, self.setup = process, crm, setup

    async def report(self, call):
        return await anyio.to_thread.run_sync(self.crm.call_report, call.call_sid)

    async def until_it_knows_the_need(self, call):
        with anyio.fail_after(30):
            while True:
                report = await self.report(call)
                if report is not None and any(turn["heard"] for turn in report["turns"] if turn["caller_text"]):
                    return
                await anyio.sleep(0.05)


async def office(stack, folder):
    (folder / "data").mkdir(parents=True)
    (folder / "business.yaml").write_text(PROFILE, encoding="utf-8")
    values = {
        "data_dir": folder / "data",
        "business_profile": folder / "business.yaml",
        "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
        "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
        "stt_fallback": "none",
        "tts_fallback": "none",
        "tts_rate": 2.0,
        "drain_seconds": 30,
    }
    process = await stack.enter_async_context(moked(folder / "moked", "up", port=free_port(), **values))
    engine = db.connect(f"sqlite:///{folder / 'data' / 'moked.db'}")
    stack.callback(engine.dispose)
    setup = CallSetup(
        base_url=process.url,
        auth_token=ensure_local_secret(folder / "data"),
        caller=CALLER,
        manners=QUICK,
        events=False,
        report_s=0,
        max_s=40,
    )
    return Office(process, Crm(engine), setup)


async def test_a_running_call_finishes_and_a_new_one_is_refused_kindly(tmp_path):
    async with AsyncExitStack() as stack:
        place = await office(stack, tmp_path)
        running = SimulatedCall(
            [FIRST_LINE, Say(audio=says("כן")), Say(audio=says("מחר")), HangUp("agent_done")], place.setup
        )
        late = SimulatedCall([Wait(1000)], replace(place.setup, world=World(digits="1#")))
        results = {}

        async def run(call):
            results[call] = await call.run()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run, running)
            tasks.start_soon(watch_for_nothing, place)
            await place.until_it_knows_the_need(running)
            place.process.signal(signal.SIGTERM)
            await place.process.says("draining")
            async with httpx2.AsyncClient(trust_env=False) as client:
                ready = await client.get(f"{place.process.url}/readyz")
                assert (ready.status_code, "draining" in ready.json()["waiting_for"]) == (503, True)
                assert (await client.get(f"{place.process.url}/healthz")).status_code == 200
            await run(late)
        code = await place.process.exit_code(within_s=8)

        assert [item.verb for item in results[late].twiml] == ["say", "gather", "say", "hangup"]
        assert telephony.CANNOT_NOW in results[late].twiml[0].text
        assert results[late].twiml[2].text == telephony.WILL_CALL_BACK
        assert (results[late].ended, results[late].streams) == (Ended.AGENT_HUNG_UP, ())
        report = await place.report(late)
        assert (report["ended"], report["outcome"], report["detail"]) == (True, "refused", "draining")
        assert report["lead"] is not None  # somebody called and must be called back

        assert results[running].streams[0].how is StreamEnd.CALLER
        report = await place.report(running)
        assert (report["outcome"], report["lead"]["name"], report["lead"]["phone"]) == (
            "caller_hung_up",
            "דני כהן",
            CALLER,
        )
        assert "נזילה" in report["lead"]["need"]
        assert len([turn for turn in report["turns"] if turn["caller_text"]]) == 3
        assert code == 0, place.process.output
        assert "Stopped. Every call is on record." in place.process.output


async def watch_for_nothing(place):
    """The live events of a call that will never come: that must not keep the process."""
    path = "/calls/CA00/events"
    url, signature = (
        place.setup.base_url + path,
        telephony.sign(place.setup.auth_token, place.setup.base_url + path, {}),
    )
    headers = {"X-Twilio-Signature": signature}
    async with (
        httpx2.AsyncClient(trust_env=False, timeout=60) as client,
        client.stream("GET", url, headers=headers) as r,
    ):
        assert r.status_code == httpx2.codes.OK
        with suppress(httpx2.TransportError):
            async for _ in r.aiter_raw():
                pass


async def test_a_second_signal_ends_it_at_once_and_loses_nothing(tmp_path):
    async with AsyncExitStack() as stack:
        place = await office(stack, tmp_path)
        call = SimulatedCall([FIRST_LINE, Wait(30_000)], place.setup)
        results = []

        async def run():
            results.append(await call.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await place.until_it_knows_the_need(call)
            place.process.signal(signal.SIGTERM)
            await place.process.says("draining")
            began = anyio.current_time()
            place.process.signal(signal.SIGTERM)
            code = await place.process.exit_code(within_s=20)
            took = anyio.current_time() - began
            tasks.cancel_scope.cancel()
        report = await place.report(call)
        assert took < 5
        assert not report["ended"]  # the next process goes on with it, or the sweep ends it
        await anyio.to_thread.run_sync(lambda: place.crm.sweep_orphans(-1))
        report = await place.report(call)
        assert (report["outcome"], report["detail"]) == ("broken", "shutdown")
        assert (report["lead"]["name"], report["lead"]["phone"]) == ("דני כהן", CALLER)
        assert code == 0, place.process.output
        assert "call left" in place.process.messages
        assert "Stopped. Every call is on record." in place.process.output
