"""Recorded Hebrew digits on a telephone line, by the embedded model. Nothing here was taught with these recordings."""

import os
import signal

import numpy as np
import pytest

from moked.audio import from_float, silence
from moked.dialog.spoken_phone import phone
from moked.stt.whisper_local import WhisperLocal
from tests.stt.test_whisper_local import VOICES, weights

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


def dictated(digits: str, gap_ms: int = 150) -> bytes:
    if not VOICES.is_dir():
        pytest.skip("the recorded Hebrew words are not here")
    from faster_whisper.audio import decode_audio

    audio = silence(300)
    for digit in digits:
        sound = decode_audio(str(VOICES / "alphabet" / f"U003{digit}.ogg"), sampling_rate=8000)
        loud = np.flatnonzero(np.abs(sound) > 0.02 * np.abs(sound).max())
        audio += from_float(sound[loud[0] : loud[-1]] * 0.8) + silence(gap_ms)
    return audio + silence(200)


@pytest.fixture
async def whisper():
    engine = WhisperLocal(weights())
    async with engine.running():
        yield engine


async def test_a_number_of_recorded_digits_is_heard_whole(whisper) -> None:
    for digits in ("0543218769", "036590127"):
        heard = await whisper.transcribe(dictated(digits), expect="phone")
        assert phone(heard.text).digits == digits
        assert heard.confidence > 0.5


async def test_a_stream_decodes_as_what_was_asked_for(whisper) -> None:
    audio = dictated("27")
    async with whisper.stream(origin_ms=0) as stream:
        stream.expect("phone")
        await stream.write(audio)
        stream.speech_started(300)
        stream.speech_ended(len(audio) // 8 - 300)
        await stream.finish()
        finals = [result.text async for result in stream]
    assert finals == ["27"]
    os.kill(whisper._children[0].pid, signal.SIGKILL)
    again = await whisper.transcribe(audio, expect="phone")
    assert again.text == "27", "the process that takes its place hears digits too"


async def test_noise_and_words_are_no_digits_even_when_a_number_is_asked_for(whisper) -> None:
    noise = from_float(np.random.default_rng(0).normal(0, 0.03, 16_000).astype(np.float32))
    for audio in (silence(1500), noise):
        assert (await whisper.transcribe(audio, expect="phone")).text == ""
    if VOICES.is_dir():
        from faster_whisper.audio import decode_audio

        red = from_float(decode_audio(str(VOICES / "colors" / "red.ogg"), sampling_rate=8000) * 0.9)
        clip = silence(240) + red + silence(240)
        assert (await whisper.transcribe(clip, expect="phone")).text == (await whisper.transcribe(clip)).text


async def test_a_word_before_the_number_does_not_cost_it(whisper) -> None:
    number = dictated("0528190736")
    from faster_whisper.audio import decode_audio

    word = from_float(decode_audio(str(VOICES / "colors" / "blue.ogg"), sampling_rate=8000) * 0.9)
    heard = await whisper.transcribe(silence(240) + word + number, expect="phone")
    assert phone(heard.text).digits == "0528190736"


async def test_another_encoder_gets_no_digits() -> None:
    """The net answers for the encoder it was taught on, whatever the folder is called."""
    from moked.stt.whisper_child import Ear

    ear = Ear({"model": str(weights()), "language": "he", "compute_type": "float32", "cpu_threads": 1})
    ear.warm_up()
    assert ear._digits is not None, "the same weights in another arithmetic are the same encoder"
    probe = ear.probe()
    assert not ear._digits.fits(np.roll(probe, 1))
