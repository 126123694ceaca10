"""`moked up --processes 2`: calls on both processes, one killed and started again, all ended by one signal."""

import os
import signal
from dataclasses import replace

import anyio
import httpx2
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import StreamEnd
from moked.simulate.scenario import HangUp, Say
from tests.wire.house import CALLER, PROFILE, QUICK
from tests.wire.processes import free_ports, moked
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_two_media_processes_on_one_host(tmp_path):
    profile, data = tmp_path / "business.yaml", tmp_path / "data"
    profile.write_text(PROFILE, encoding="utf-8")
    data.mkdir()
    async with GoogleSpeech(mode="codec").running() as speech, GoogleTts(first_byte_ms=20).serving() as tts:
        values = {
            "data_dir": data,
            "business_profile": profile,
            "speech_emulator_host": speech,
            "texttospeech_emulator_host": tts,
            "stt_fallback": "none",
            "tts_fallback": "none",
            "tts_rate": 2.0,
            "drain_seconds": 5,
        }
        port = free_ports(3)
        async with moked(tmp_path / "up", "up", "--processes", "2", port=port, **values) as up:
            await _ready(port + 1)
            await _ready(port + 2)
            setup = CallSetup(
                base_url=up.url,
                auth_token=ensure_local_secret(data),
                caller=CALLER,
                manners=QUICK,
                report_s=0,
                max_s=40,
            )
            steps = [Say(audio=says("קוראים לי רות לוי ויש לי סתימה")), HangUp("agent_done")]
            calls = [SimulatedCall(steps, replace(setup, caller=f"+97252345678{n}")) for n in range(2)]
            async with anyio.create_task_group() as tasks:
                results = []

                async def place(call):
                    results.append(await call.run())

                for call in calls:
                    tasks.start_soon(place, call)
            assert [result.streams[0].how for result in results] == [StreamEnd.CALLER] * 2
            # The less loaded one each time, at its own address.
            assert {result.streams[0].url for result in results} == {
                f"ws://127.0.0.1:{port + n}/media/{n}/twilio" for n in (1, 2)
            }
            with anyio.fail_after(30):
                while {line["process"] for line in up.lines if line["message"] == "call ended"} != {1, 2}:
                    await anyio.sleep(0.1)

            first = [line for line in up.lines if line.get("process_name") == "media 2"]
            os.kill(first[0]["pid"], signal.SIGKILL)
            await up.says("process died")
            await _ready(port + 2)
            again = [line for line in up.lines if line.get("process_name") == "media 2" and "pid" in line]
            assert len(again) == 2

            up.signal(signal.SIGTERM)
            assert await up.exit_code(30) == 0
            for line in up.lines:
                if line["message"] == "process started":
                    with pytest.raises(ProcessLookupError):
                        os.kill(line["pid"], 0)


async def _ready(port):
    async with httpx2.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(100):
            while True:
                try:
                    if (await client.get(f"http://127.0.0.1:{port}/readyz")).status_code == httpx2.codes.OK:
                        return
                except httpx2.TransportError:
                    pass
                await anyio.sleep(0.1)
