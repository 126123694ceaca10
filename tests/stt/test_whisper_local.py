"""Whisper in its process: real weights and a person's real voice where they are at hand."""

import logging
import os
import signal
from pathlib import Path

import anyio
import numpy as np
import pytest

from moked.audio import from_float, silence
from moked.errors import ModelError, ProviderError
from moked.stt import Final
from moked.stt.transcripts import normalise
from moked.stt.whisper_local import WhisperLocal
from moked.weights import path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VOICES = Path(__file__).parents[3] / "shared" / "data" / "gcompris-he"


def weights() -> Path:
    try:
        return path("whisper-base")
    except ModelError as problem:
        pytest.skip(str(problem))


def voice(name: str) -> bytes:
    """One recorded Hebrew word as telephone audio."""
    if not VOICES.is_dir():
        pytest.skip("the recorded Hebrew words are not here")
    from faster_whisper.audio import decode_audio

    return silence(240) + from_float(decode_audio(str(VOICES / name), sampling_rate=8000) * 0.9) + silence(240)


@pytest.fixture
async def whisper():
    engine = WhisperLocal(weights())
    async with engine.running():
        yield engine


async def test_it_hears_a_person_say_hebrew_words(whisper):
    heard = [(await whisper.transcribe(voice(f"colors/{name}.ogg"))).text for name in ("red", "blue")]
    red, blue = (normalise(text) for text in heard)
    assert red == "אדום"
    assert blue.endswith("חול"), "the model hears the sounds and spells the first one as it likes"


async def test_silence_and_noise_say_nothing(whisper):
    for audio in (silence(2000), from_float(np.random.default_rng(0).normal(0, 0.03, 16000).astype(np.float32))):
        result = await whisper.transcribe(audio)
        assert (result.text, result.confidence) == ("", None)


async def test_it_streams_utterances_in_call_time_and_survives_the_death_of_its_process(whisper):
    word = voice("colors/red.ogg")
    length = len(word) // 8
    for _ in range(2):
        async with whisper.stream(origin_ms=60_000) as stream:
            await stream.write(silence(500) + word + silence(500))
            stream.speech_started(60_500 + 240)
            stream.speech_ended(60_500 + length - 240)
            await stream.finish()
            finals = [result async for result in stream]
        assert len(finals) == 1
        final = finals[0]
        assert isinstance(final, Final)
        assert "אדום" in final.text
        assert final.engine == "whisper"
        assert 60_000 <= final.start_ms <= 60_740
        assert final.end_ms >= 60_500 + length - 240
        assert 0 < final.confidence <= 1
        os.kill(whisper._children[0].pid, signal.SIGKILL)


async def test_a_model_that_cannot_be_loaded_names_the_setting(tmp_path, caplog):
    (tmp_path / "model.bin").write_bytes(b"not a model")
    engine = WhisperLocal(tmp_path)
    with caplog.at_level(logging.INFO), pytest.raises(ModelError, match="WHISPER_MODEL"):
        async with engine.running():
            pytest.fail("it must not start")
    assert "Whisper is loading" in caplog.text
    assert "Whisper cannot be used" in caplog.text
    engine = WhisperLocal(tmp_path)
    async with engine.running(wait=False):
        with pytest.raises(ModelError, match="WHISPER_MODEL"):
            await engine.ready()
        with pytest.raises(ProviderError, match="WHISPER_MODEL"):
            async with engine.stream(origin_ms=0):
                pytest.fail("it must not open")


async def test_more_than_may_wait_is_refused():
    engine = WhisperLocal(weights(), max_pending=2)
    refused = []
    async with engine.running():

        async def one():
            try:
                await engine.transcribe(silence(1000))
            except ProviderError as problem:
                refused.append(str(problem))

        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)
    assert len(refused) == 2
