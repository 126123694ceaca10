"""The Text-to-Speech emulator refuses what Google refuses, and its audio passes for speech."""

import anyio
import grpc.aio
import pytest
from google.cloud.texttospeech_v1 import TextToSpeechAsyncClient
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport
from google.cloud.texttospeech_v1.types import (
    AudioConfig,
    AudioEncoding,
    SynthesisInput,
    SynthesizeSpeechRequest,
    VoiceSelectionParams,
)

from emulators.google_tts import GoogleTts, refusal, speech, wav
from moked.audio import FRAME_BYTES, ms, rms
from moked.tts.google import GoogleVoice

pytestmark = pytest.mark.anyio


def request(text="שלום", *, voice="he-IL-Wavenet-D", language="he-IL", ssml="", **audio):
    config = {"audio_encoding": AudioEncoding.MULAW, "sample_rate_hertz": 8000, **audio}
    return SynthesizeSpeechRequest(
        input=SynthesisInput(ssml=ssml) if ssml else SynthesisInput(text=text),
        voice=VoiceSelectionParams(language_code=language, name=voice),
        audio_config=AudioConfig(**config),
    )


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (request(speaking_rate=0.2), "speaking_rate"),
        (request(speaking_rate=2.1), "speaking_rate"),
        (request(pitch=21.0), "pitch"),
        (request(voice="he-IL-Chirp3-HD-Kore", pitch=-2.0), "does not support pitch"),
        (request(voice="he-IL-Chirp3-HD-Kore", ssml="<speak>א</speak>"), "SSML"),
        (request("א" * 2501), "5000 bytes"),
        (request(""), "must be set"),
        (request(voice="he-IL-Nobody"), "does not exist"),
        (request(language="en-US"), "language code"),
        (request(audio_encoding=AudioEncoding.MP3), "MULAW"),
    ],
)
def test_refusals(wrong, reason):
    assert reason in refusal(wrong)


def test_what_is_allowed():
    assert refusal(request("א" * 2500, speaking_rate=0.96, pitch=-2.0)) is None
    assert refusal(request(voice="he-IL-Chirp3-HD-Kore", speaking_rate=0.96)) is None


def test_the_audio_looks_like_speech():
    audio = speech("שלום, אני המוקד של דנה")
    assert ms(audio) == len("שלום, אני המוקד של דנה") * 70
    levels = [rms(audio[at : at + FRAME_BYTES]) for at in range(0, len(audio) - FRAME_BYTES, FRAME_BYTES)]
    assert min(levels[3:-3]) > 200
    assert max(levels) > 3 * min(levels[3:-3])  # syllables
    assert speech("אחר") != speech("שונה")


def test_the_container_is_the_canonical_one():
    assert len(wav(b"\x00" * 100)) == 158
    assert wav(b"\x00" * 100, "list").count(b"LIST") == 1


async def test_sixty_calls_at_once():
    service = GoogleTts(first_byte_ms=50)
    async with service.serving() as address:
        voice = GoogleVoice(emulator_host=address, concurrency=60)

        async def call(number):
            async with voice.speak(f"שלום {number}") as audio:
                assert [chunk async for chunk in audio]

        async with voice.running():
            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    for number in range(60):
                        tasks.start_soon(call, number)
    assert service.counts["answered"] == 60
    assert service.peak > 30


async def test_a_caller_who_leaves_is_counted():
    service = GoogleTts(first_byte_ms=5000)
    async with service.serving() as address:
        voice = GoogleVoice(emulator_host=address)
        async with voice.running():
            with anyio.move_on_after(0.2):
                async with voice.speak("שלום") as audio:
                    assert [chunk async for chunk in audio]
            with anyio.fail_after(5):
                while not service.counts["cancelled"]:
                    await anyio.sleep(0.01)
    assert service.running == 0


async def test_a_real_client_lists_the_voices_of_a_language():
    async with GoogleTts().serving() as address, grpc.aio.insecure_channel(address) as channel:
        client = TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(channel=channel))
        hebrew = (await client.list_voices(language_code="he-IL", retry=None, timeout=5)).voices
        assert {"he-IL-Wavenet-D", "he-IL-Chirp3-HD-Kore"} <= {voice.name for voice in hebrew}
        assert all(list(voice.language_codes) == ["he-IL"] for voice in hebrew)
        assert not (await client.list_voices(language_code="xx-XX", retry=None, timeout=5)).voices
