"""The emulator says what Google's API v2 says. Spoken to with Google's own client library, as a stranger would."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc.aio
import pytest
from google.api_core import exceptions
from google.cloud.speech_v2 import SpeechAsyncClient
from google.cloud.speech_v2.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.speech_v2.types import cloud_speech

from emulators.google_dialects import V2_AUDIO_TIMEOUT, V2_STREAM_LIMIT
from emulators.google_speech import GoogleSpeech
from emulators.wordcodec import encode_words, numbered
from moked.audio import silence
from tests.emulators.speech_client import chunks, exchange

pytestmark = pytest.mark.anyio
WORDS = numbered(6)
SPEECH = encode_words(WORDS, 100, lead_ms=200, tail_ms=500)
RECOGNIZER = "projects/p/locations/{location}/recognizers/_"


@pytest.fixture
async def emulator() -> AsyncIterator[GoogleSpeech]:
    made = GoogleSpeech(mode="codec")
    async with made.running():
        yield made


def config(model: str = "long", language: str = "iw-IL", **features: Any) -> cloud_speech.RecognitionConfig:
    mulaw = cloud_speech.ExplicitDecodingConfig.AudioEncoding.MULAW
    return cloud_speech.RecognitionConfig(
        explicit_decoding_config={"encoding": mulaw, "sample_rate_hertz": 8000, "audio_channel_count": 1},
        model=model,
        language_codes=[language],
        features=features,
    )


async def recognize(
    emulator: GoogleSpeech,
    audio: Sequence[bytes],
    *,
    asked: cloud_speech.RecognitionConfig | None = None,
    location: str = "global",
    recognizer: str = RECOGNIZER,
    pause_s: float = 0.0,
) -> list[cloud_speech.StreamingRecognizeResponse]:
    async with grpc.aio.insecure_channel(emulator.target) as channel:
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))
        call = await client.streaming_recognize(requests=None, retry=None, timeout=20)
        streaming = cloud_speech.StreamingRecognitionConfig(
            config=asked or config(enable_word_time_offsets=True),
            streaming_features={"interim_results": True, "enable_voice_activity_events": True},
        )
        first = cloud_speech.StreamingRecognizeRequest(
            recognizer=recognizer.format(location=location), streaming_config=streaming
        )
        rest = [cloud_speech.StreamingRecognizeRequest(audio=part) for part in audio]
        return await exchange(call, first, rest, pause_s)


async def test_a_real_client_hears_interims_and_finals(emulator: GoogleSpeech) -> None:
    got = await recognize(emulator, chunks(SPEECH))
    results = [response.results for response in got if response.results]
    (final,) = [parts[0] for parts in results if parts[0].is_final]
    best = final.alternatives[0]
    assert best.transcript == " ".join(WORDS)
    assert [word.word for word in best.words] == WORDS
    assert best.words[0].start_offset.total_seconds() == 0.2
    assert abs(final.result_end_offset.total_seconds() - (len(SPEECH) / 8000 - 0.5)) < 0.03
    assert len([parts for parts in results if not parts[0].is_final]) >= 5
    events = [response.speech_event_type.name for response in got if response.speech_event_type]
    assert events == ["SPEECH_ACTIVITY_BEGIN", "SPEECH_ACTIVITY_END"]
    assert got[-1].metadata.total_billed_duration.total_seconds() == -(-len(SPEECH) // 8000)


async def test_recognize_answers_at_once(emulator: GoogleSpeech) -> None:
    async with grpc.aio.insecure_channel(emulator.target) as channel:
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))
        request = cloud_speech.RecognizeRequest(
            recognizer=RECOGNIZER.format(location="global"), config=config(), content=SPEECH * 10
        )
        response = await client.recognize(request=request, retry=None, timeout=5)
    assert [result.alternatives[0].transcript for result in response.results] == [" ".join(WORDS)] * 10
    assert response.metadata.total_billed_duration


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"asked": config("telephony")}, 'language "iw-IL" is not supported by the model "telephony" in the location'),
        ({"asked": config("long", "he-IL")}, 'language "he-IL" is not supported by the model "long"'),
        ({"asked": config("chirp_3")}, 'model "chirp_3" does not exist in the location named "global"'),
        ({"asked": config("")}, "Invalid 'model': field must be non-empty"),
        ({"location": "mars"}, "Expected resource location to be global, but found mars"),
        ({"recognizer": "recognizers/_"}, "Invalid resource field value"),
        (
            {"asked": config("chirp_3", enable_word_time_offsets=True), "location": "eu"},
            "Recognizer does not support feature: word_time_offsets",
        ),
        (
            {"asked": cloud_speech.RecognitionConfig(model="long", language_codes=["iw-IL"], auto_decoding_config={})},
            "explicit decoding",
        ),
    ],
)
async def test_what_it_does_not_serve_it_refuses_in_googles_words(
    emulator: GoogleSpeech, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument) as caught:
        await recognize(emulator, [], **more)
    assert words in caught.value.message


async def test_a_closed_model_is_a_denied_permission(emulator: GoogleSpeech) -> None:
    emulator.world.closed = frozenset(("long",))
    with pytest.raises(exceptions.PermissionDenied, match="on model long locale iw-IL"):
        await recognize(emulator, [])


async def test_the_limits_are_googles(emulator: GoogleSpeech) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Received audio of 25601 bytes"):
        await recognize(emulator, [bytes(25_601)], pause_s=0.02)
    emulator.audio_timeout_s = 0.2
    with pytest.raises(exceptions.Aborted, match=V2_AUDIO_TIMEOUT):
        await recognize(emulator, chunks(silence(300)), pause_s=0.5)
    emulator.audio_timeout_s, emulator.limit_s = 10.0, 1.0
    with pytest.raises(exceptions.Aborted, match=V2_STREAM_LIMIT):
        await recognize(emulator, chunks(silence(3000)), pause_s=0.05)
