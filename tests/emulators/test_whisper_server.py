"""The transcription server as a process of its own, with the embedded model: it hears a person."""

import os
import sys
from pathlib import Path

import anyio
import httpx2
import pytest

from emulators.whisper_server import MODEL
from moked.audio import from_float
from moked.errors import ModelError
from moked.stt.transcripts import normalise
from moked.stt.whisper_http import WhisperHttp
from moked.weights import path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RED = ROOT.parent / "shared" / "data" / "gcompris-he" / "colors" / "red.ogg"


async def test_it_hears_a_person_and_takes_faults_while_it_runs():
    try:
        path("whisper-base")
    except ModelError as problem:
        pytest.skip(str(problem))
    if not RED.is_file():
        pytest.skip("the recorded Hebrew words are not here")
    from faster_whisper.audio import decode_audio

    sound = from_float(decode_audio(str(RED), sampling_rate=8000) * 0.9)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    command = [sys.executable, "-m", "emulators.whisper_server", "--api-key", "hush"]
    async with await anyio.open_process(command, stderr=None, env=environment) as process:
        try:
            assert process.stdout is not None
            with anyio.fail_after(60):
                address = f"http://127.0.0.1:{int(await process.stdout.receive(64))}"
            async with httpx2.AsyncClient() as client:
                engine = WhisperHttp(f"{address}/v1", MODEL, api_key="hush")
                async with engine.running():
                    assert normalise((await engine.transcribe(sound)).text) == "אדום"
                answer = await client.post(f"{address}/emulator/faults", json=[{"status": 418}])
                assert answer.status_code == 204
                answer = await client.post(
                    f"{address}/v1/audio/transcriptions",
                    headers={"Authorization": "Bearer hush"},
                    files={"file": ("a.wav", b"")},
                    data={"model": MODEL},
                )
                assert answer.status_code == 418
        finally:
            process.kill()
