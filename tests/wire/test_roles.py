"""The planes as processes of their own on one database: a call over all of them, and a media process that is killed."""

import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked.crm import db
from moked.crm.models import Call
from moked.crm.service import Crm
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import Ended, StreamEnd
from moked.simulate.scenario import HangUp, Say, Wait
from tests.databases import KINDS
from tests.wire.house import CALLER, PROFILE, QUICK, database
from tests.wire.processes import free_port, moked
from tests.wire.voices import says

ANOTHER = "+972523456789"

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_a_killed_media_process_loses_no_lead(tmp_path):
    async with anyio.create_task_group() as tasks:  # on each database, side by side: starting takes the time
        for kind in KINDS:
            (tmp_path / kind).mkdir()
            tasks.start_soon(scene, kind, tmp_path / kind)


async def scene(kind, folder):
    profile, data = folder / "business.yaml", folder / "data"
    profile.write_text(PROFILE, encoding="utf-8")
    data.mkdir()
    web_port, media_port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        url = stack.enter_context(database(kind, folder))
        values = {
            "data_dir": data,
            "business_profile": profile,
            "database_url": url,
            "public_base_url": f"http://127.0.0.1:{web_port}",
            "media_public_url": f"http://127.0.0.1:{media_port}",
            "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
            "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
            "stt_fallback": "none",
            "tts_fallback": "none",
            "tts_rate": 2.0,
        }
        media, _ = await both(
            stack,
            moked(folder / "media", "serve", "--role", "media", port=media_port, **values),
            moked(folder / "web", "serve", "--role", "web", port=web_port, **values),
        )
        engine = db.connect(url)
        stack.callback(engine.dispose)
        crm = Crm(engine)

        async def report_of(sid):
            return await to_thread.run_sync(crm.call_report, sid)

        setup = CallSetup(
            base_url=values["public_base_url"],
            auth_token=ensure_local_secret(data),
            caller=CALLER,
            manners=QUICK,
            events=False,
            report_s=0,
            max_s=40,
        )

        # One call over both, from the webhook to the end.
        line = Say(audio=says("קוראים לי רות לוי ויש לי סתימה"))
        call = SimulatedCall([line, Say(audio=says("כן")), HangUp("agent_done")], setup)
        result = await call.run()
        with anyio.move_on_after(5):  # the end is written when the socket is closed
            while not (report := await report_of(call.call_sid))["ended"]:
                await anyio.sleep(0.05)
        assert (report["outcome"], result.streams[0].how) == ("caller_hung_up", StreamEnd.CALLER)
        assert (report["lead"]["name"], report["lead"]["phone"]) == ("רות לוי", CALLER)
        assert result.streams[0].url == f"ws://127.0.0.1:{media_port}/media/twilio"

        # Another is being served when the media process is killed.
        line = Say(audio=says("קוראים לי דני כהן ויש לי נזילה"))
        calls = replace(setup, caller=ANOTHER, status_path="")  # and its number has no status callback
        call = SimulatedCall([line, Wait(4_000), HangUp("immediately")], calls)
        async with anyio.create_task_group() as tasks:

            async def kill_it():
                with anyio.fail_after(30):
                    while not heard_something(await report_of(call.call_sid)):
                        await anyio.sleep(0.05)
                media.signal(signal.SIGKILL)

            tasks.start_soon(kill_it)
            result = await call.run()
        assert result.streams[0].how is StreamEnd.LOST
        # Nobody serves: the carrier is asked to wait for somebody, and the caller hangs up meanwhile.
        assert [item.verb for item in result.after_stream][:4] == ["redirect", "pause", "redirect", "pause"]
        assert result.ended is Ended.CALLER_HUNG_UP
        assert not (await report_of(call.call_sid))["ended"]

        # Nobody beats for that call any more. Two minutes later a worker finds it, and its lead.
        with Session(engine) as session, session.begin():
            left = session.scalars(select(Call).where(Call.sid == call.call_sid)).one()
            left.heartbeat_at -= timedelta(minutes=2)
        worker = moked(folder / "worker", "serve", "--role", "worker", port=free_port(), **values)
        worker = await stack.enter_async_context(worker)
        await worker.says("orphaned call ended")
        report = await report_of(call.call_sid)
        assert (report["outcome"], report["detail"]) == ("broken", "died")
        assert (report["lead"]["name"], report["lead"]["phone"]) == ("דני כהן", ANOTHER)
        assert "נזילה" in report["lead"]["need"]
        assert [task["kind"] for task in report["tasks"]] == ["callback"]


async def both(stack, *managers):
    """Start side by side: each takes some seconds."""
    running = {}

    async def start(number, manager):
        running[number] = await manager.__aenter__()
        stack.push_async_exit(manager.__aexit__)

    async with anyio.create_task_group() as tasks:
        for number, manager in enumerate(managers):
            tasks.start_soon(start, number, manager)
    return [running[number] for number in range(len(managers))]


def heard_something(report):
    return report is not None and any(turn["caller_text"] for turn in report["turns"])
