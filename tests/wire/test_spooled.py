"""A process is killed in the middle of a call that is to be transcribed after it: the next start does it."""

from contextlib import AsyncExitStack

import anyio
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked.crm import db
from moked.crm.service import Crm
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.scenario import Say, Wait
from moked.spool import left
from tests.wire.house import CALLER, PROFILE, QUICK, settings
from tests.wire.processes import free_port, moked
from tests.wire.test_failover import voice_of

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SENTENCE = "שלום, אני רוצה לדעת כמה עולה לתקן את המזגן"


async def test_what_a_killed_process_has_spooled_is_transcribed_at_the_next_start(tmp_path):
    profile, data, port = tmp_path / "business.yaml", tmp_path / "data", free_port()
    profile.write_text(PROFILE, encoding="utf-8")
    data.mkdir()
    (tmp_path / "voice").mkdir()
    spoken = await voice_of(tmp_path / "voice", SENTENCE)
    async with AsyncExitStack() as stack:
        values = {
            "data_dir": data,
            "business_profile": profile,
            "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="energy").running()),
            "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=20).serving()),
            "stt_fallback": "none",
            "tts_fallback": "none",
            "stt_stored_transcript": "whisper",
        }
        setup = CallSetup(
            base_url=f"http://127.0.0.1:{port}",
            auth_token=ensure_local_secret(data),
            caller=CALLER,
            manners=QUICK,
            events=False,
            report_s=0,
            max_s=60,
        )
        call = SimulatedCall([Say(audio=spoken), Wait(60_000)], setup)
        async with moked(tmp_path / "first", "serve", port=port, **values) as first, anyio.create_task_group() as tasks:
            tasks.start_soon(call.run)
            with anyio.fail_after(40):
                while not left(data / "spool") or left(data / "spool")[0].stat().st_size < len(spoken) + 40_000:
                    await anyio.sleep(0.1)
            first.process.kill()
            await first.exit_code(10)
            tasks.cancel_scope.cancel()
        (path,) = left(data / "spool")
        assert path.stat().st_mode & 0o777 == 0o600

        engine = db.connect(settings(tmp_path, data_dir=data).database)
        stack.callback(engine.dispose)
        crm = Crm(engine)
        async with moked(tmp_path / "second", "serve", port=port, **values):
            with anyio.fail_after(60):
                while left(data / "spool"):
                    await anyio.sleep(0.1)
            report = await anyio.to_thread.run_sync(crm.call_report, call.call_sid)
    words = " ".join(one["text"] for one in report["transcript"]["segments"] if one["speaker"] == "caller")
    assert report["transcript"]["source"] == "stored"
    assert "לדעת" in words or "עולה" in words, words
    assert list((data / "spool").iterdir()) == []
