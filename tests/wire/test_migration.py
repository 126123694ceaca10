"""Calls that survive the process that serves them: two media processes, one web plane, real sockets and signals.

A process that is told to end lets its calls go to the other one between two sentences; one that is killed leaves them
in the middle of a sentence. The caller hears a short pause, and an apology where somebody was speaking.
"""

import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass

import anyio
import pytest
from anyio import to_thread

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from emulators.llm import LlmEmulator
from moked.crm import db
from moked.crm.service import Crm
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import Ended, StreamEnd
from moked.simulate.scenario import HangUp, Manners, Say
from tests.databases import KINDS
from tests.serving import serving
from tests.wire.house import PROFILE, database
from tests.wire.processes import free_port, moked
from tests.wire.test_roles import both
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

PATIENT = Manners(quiet_ms=1200, patience_ms=9000, linger_ms=300)
NAMES = ("רות לוי", "דני כהן", "יעל מזרחי")


@dataclass
class Office:
    """A web plane and media processes; `values` are everybody's settings."""

    stack: AsyncExitStack
    folder: object
    values: dict
    ports: list
    crm: Crm
    starts: int = 0

    def process(self, role, port, **more):
        self.starts += 1
        folder = self.folder / f"{role}{self.starts}"
        return moked(folder, "serve", "--role", role, port=port, **{**self.values, **more})

    def media(self, number):
        port = self.ports[number]
        return self.process("media", port, media_public_url=f"http://127.0.0.1:{port}")

    async def report(self, call):
        return await to_thread.run_sync(self.crm.call_report, call.call_sid)

    async def until(self, call, holds):
        with anyio.fail_after(40):
            while True:
                report = await self.report(call)
                if report is not None and holds(report):
                    return
                await anyio.sleep(0.05)

    def setup(self, number):
        return CallSetup(
            base_url=self.values["public_base_url"],
            auth_token=ensure_local_secret(self.values["data_dir"]),
            caller=f"+97252345678{number}",
            manners=PATIENT,
            events=False,
            report_s=0,
            max_s=60,
        )


async def office(stack, kind, folder, **more):
    (folder / "data").mkdir(parents=True)
    (folder / "business.yaml").write_text(PROFILE, encoding="utf-8")
    web, ports = free_port(), [free_port(), free_port()]
    url = stack.enter_context(database(kind, folder))
    values = {
        "data_dir": folder / "data",
        "business_profile": folder / "business.yaml",
        "database_url": url,
        "public_base_url": f"http://127.0.0.1:{web}",
        "media_urls": ",".join(f"http://127.0.0.1:{port}" for port in ports),
        "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
        "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
        "stt_fallback": "none",
        "tts_fallback": "none",
        "tts_rate": 2.0,
        "drain_seconds": 20,
        **more,
    }
    engine = db.connect(url)
    stack.callback(engine.dispose)
    await to_thread.run_sync(db.migrate, engine)
    place = Office(stack, folder, values, ports, Crm(engine))
    media = await both(stack, place.process("web", web), place.media(0), place.media(1))
    return place, media[1:]


def turns(report):
    return len([turn for turn in report["turns"] if turn["caller_text"] and turn["heard"]])


def moved(report):
    return [event["data"] for event in report["events"] if event["kind"] == "moved"]


def lines(name):
    told = (f"קוראים לי {name} ויש לי נזילה", "כן", "מחר בבוקר", "כן תודה")
    return [*(Say(audio=says(line)) for line in told), HangUp("agent_done")]


async def test_calls_go_through_a_rolling_restart_and_a_kill(tmp_path):
    async with anyio.create_task_group() as tasks:  # on each database, side by side: starting takes the time
        for kind in KINDS:
            tasks.start_soon(scene, kind, tmp_path / kind)


async def scene(kind, folder):
    async with AsyncExitStack() as stack:
        place, media = await office(stack, kind, folder)
        calls = [SimulatedCall(lines(name), place.setup(number)) for number, name in enumerate(NAMES)]
        results = {}

        async def run(call):
            results[call] = await call.run()

        async with anyio.create_task_group() as tasks:
            for call in calls:
                tasks.start_soon(run, call)
            for call in calls:
                await place.until(call, lambda report: turns(report) >= 1)
            media[0].signal(signal.SIGTERM)
            assert await media[0].exit_code(within_s=20) == 0, media[0].output
            (media[0],) = await both(stack, place.media(0))
            for call in calls:
                await place.until(call, lambda report: turns(report) >= 2)
            media[1].signal(signal.SIGKILL)

        for call, name in zip(calls, NAMES, strict=True):
            await place.until(call, lambda report: report["ended"])
            result, report = results[call], await place.report(call)
            assert result.ended in (Ended.AGENT_HUNG_UP, Ended.CALLER_HUNG_UP), result
            assert report["outcome"] in ("completed", "caller_hung_up"), report
            # One conversation: one greeting, every turn once, and what was said before the moves is in the lead.
            assert (report["lead"]["name"], report["lead"]["phone"]) == (name, call._setup.caller)
            assert "נזילה" in report["lead"]["need"]
            assert [turn["number"] for turn in report["turns"]] == list(range(len(report["turns"])))
            assert len([turn for turn in report["turns"] if "מדבר העוזר" in turn["heard"]]) == 1
            said = " ".join(turn["caller_text"] for turn in report["turns"])
            lost = [line for line in (name, "מחר בבוקר", "כן תודה") if line not in said.replace(",", "")]
            assert len(lost) <= 1, said
            assert all(stream.how in (StreamEnd.SERVER, StreamEnd.LOST, StreamEnd.CALLER) for stream in result.streams)
            assert len(moved(report)) == len(result.streams) - 1 == len(result.gaps_ms)
        whys = [move["why"] for call in calls for move in moved(await place.report(call))]
        assert "moving" in whys
        assert "died" in whys
        assert "drain" not in whys
        assert max(gap for call in calls for gap in results[call].gaps_ms) < 3000


async def test_a_model_goes_on_with_what_it_knew(tmp_path):
    async with AsyncExitStack() as stack:
        llm = LlmEmulator()
        address = await stack.enter_async_context(serving(llm.app()))
        place, media = await office(stack, "sqlite", tmp_path / "model", openai_base_url=f"{address}/v1")
        call = SimulatedCall(
            [Say(audio=says("יש לי נזילה במטבח")), Say(audio=says("תודה רבה")), HangUp("agent_done")], place.setup(1)
        )
        results = []

        async def run():
            results.append(await call.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await place.until(call, lambda report: turns(report) >= 1)
            serving_it = next(one for one in media if "call connected" in one.messages)
            serving_it.signal(signal.SIGKILL)
        await place.until(call, lambda report: report["ended"])
        report = await place.report(call)
        assert len(results[0].streams) == 2
        assert "נזילה במטבח" in report["turns"][1]["caller_text"]
        history = [message["content"] for message in llm.requests[-1]["messages"]]
        assert any("נזילה במטבח" in text for text in history[:-1])
        assert len(moved(report)) == 1
