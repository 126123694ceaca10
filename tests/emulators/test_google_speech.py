"""The emulator says what Google says. Spoken to with Google's own client library, as a stranger would."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc.aio
import psutil
import pytest
from google.api_core import exceptions
from google.cloud.speech_v1 import SpeechAsyncClient
from google.cloud.speech_v1.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.speech_v1.types import cloud_speech

from emulators.google_speech import AUDIO_TIMEOUT, STREAM_LIMIT, Fault, GoogleSpeech
from emulators.wordcodec import encode_words, numbered
from moked.audio import silence
from tests.emulators.speech_client import chunks, exchange

pytestmark = pytest.mark.anyio
WORDS = numbered(6)
SPEECH = encode_words(WORDS, 100, lead_ms=200, tail_ms=500)


@pytest.fixture
async def emulator() -> AsyncIterator[GoogleSpeech]:
    made = GoogleSpeech(mode="codec")
    async with made.running():
        yield made


def config(model: str = "default", **more: Any) -> cloud_speech.RecognitionConfig:
    encoding = cloud_speech.RecognitionConfig.AudioEncoding.MULAW
    return cloud_speech.RecognitionConfig(
        encoding=encoding, sample_rate_hertz=8000, language_code="he-IL", model=model, **more
    )


async def recognize(
    emulator: GoogleSpeech,
    audio: Sequence[bytes],
    *,
    events: bool = False,
    pause_s: float = 0.0,
    model: str = "default",
) -> list[cloud_speech.StreamingRecognizeResponse]:
    async with grpc.aio.insecure_channel(emulator.target) as channel:
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))
        call = await client.streaming_recognize(requests=None, retry=None, timeout=20)
        asked = cloud_speech.StreamingRecognitionConfig(
            config=config(model, enable_word_time_offsets=True),
            interim_results=True,
            enable_voice_activity_events=events,
        )
        first = cloud_speech.StreamingRecognizeRequest(streaming_config=asked)
        rest = [cloud_speech.StreamingRecognizeRequest(audio_content=part) for part in audio]
        return await exchange(call, first, rest, pause_s)


async def test_a_real_client_hears_interims_and_finals(emulator: GoogleSpeech) -> None:
    got = await recognize(emulator, chunks(SPEECH))
    results = [response.results for response in got if response.results]
    interims = [parts for parts in results if not parts[0].is_final]
    (final,) = [parts[0] for parts in results if parts[0].is_final]
    best = final.alternatives[0]
    assert best.transcript == " ".join(WORDS)
    assert [word.word for word in best.words] == WORDS
    assert best.words[0].start_time.total_seconds() == 0.2
    assert abs(final.result_end_time.total_seconds() - (len(SPEECH) / 8000 - 0.5)) < 0.03
    assert final.language_code == "iw-il"
    assert len(interims) >= 5
    assert any(len(parts) == 2 for parts in interims), "a hypothesis comes in several results"
    assert all(0.1 <= part.stability <= 0.9 and not part.alternatives[0].confidence for p in interims for part in p)
    assert got[-1].total_billed_time.total_seconds() == -(-len(SPEECH) // 8000)


async def test_silence_is_answered_with_nothing(emulator: GoogleSpeech) -> None:
    got = await recognize(emulator, chunks(silence(3000)), events=True)
    assert [response for response in got if response.results or response.speech_event_type] == []


async def test_speech_events_only_when_asked(emulator: GoogleSpeech) -> None:
    kinds = cloud_speech.StreamingRecognizeResponse.SpeechEventType
    for events, expected in ((False, []), (True, [kinds.SPEECH_ACTIVITY_BEGIN, kinds.SPEECH_ACTIVITY_END])):
        got = await recognize(emulator, chunks(SPEECH), events=events)
        assert [response.speech_event_type for response in got if response.speech_event_type] == expected


async def test_hebrew_has_no_phone_call_model(emulator: GoogleSpeech) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=r"phone_call model is currently not supported .* iw-IL"):
        await recognize(emulator, [], model="phone_call")


async def test_the_limits_are_googles(emulator: GoogleSpeech) -> None:
    emulator.limit_s = 1.0
    with pytest.raises(exceptions.OutOfRange, match=STREAM_LIMIT):
        await recognize(emulator, chunks(silence(3000)), pause_s=0.05)
    emulator.limit_s, emulator.audio_timeout_s = 305.0, 0.2
    with pytest.raises(exceptions.OutOfRange, match=AUDIO_TIMEOUT):
        await recognize(emulator, chunks(silence(300)), pause_s=0.5)
    emulator.audio_timeout_s, emulator.max_message = 10.0, 2000
    with pytest.raises(exceptions.InvalidArgument, match="payload size"):
        await recognize(emulator, [silence(300)], pause_s=0.02)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("error", 400, "ABORTED", "Max duration of 5 minutes reached for stream."), exceptions.Aborted),
        (Fault("refuse", 0, "RESOURCE_EXHAUSTED", "Quota exceeded"), exceptions.ResourceExhausted),
        (Fault("reset", 400), exceptions.ServiceUnavailable),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
async def test_faults_end_streams(emulator: GoogleSpeech, fault: Fault, error: type[Exception]) -> None:
    emulator.faults.append(fault)
    with pytest.raises((error, exceptions.InternalServerError)):  # the latter where a write met the end
        await recognize(emulator, chunks(SPEECH), pause_s=0.02)
    assert emulator.streams[-1].ended in (fault.status, "OK", "CANCELLED")
    assert len(await recognize(emulator, chunks(SPEECH))) > 3, "the next stream is well"


async def test_half_open_is_silence_with_the_connection_open(emulator: GoogleSpeech) -> None:
    """The client's data is not even acknowledged, no stream of the connection says anything, and nothing closes."""
    own = [("grpc.use_local_subchannel_pool", 1)]  # or the channel below would share this one's connection
    async with grpc.aio.insecure_channel(emulator.target, options=own) as channel:
        emulator.audio_timeout_s = 0.5  # what a stream on a living connection would end with
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))
        other = await client.streaming_recognize(requests=None, retry=None, timeout=20)
        asked = cloud_speech.StreamingRecognitionConfig(config=config(), interim_results=True)
        first = cloud_speech.StreamingRecognizeRequest(streaming_config=asked)
        await other.write(first)
        while not emulator.open_streams:
            await asyncio.sleep(0.01)
        emulator.faults.append(Fault("half_open", 100))
        call = await client.streaming_recognize(requests=None, retry=None, timeout=20)
        await call.write(first)
        for part in chunks(SPEECH):
            await call.write(cloud_speech.StreamingRecognizeRequest(audio_content=part))
        readers = [asyncio.create_task(stream.read()) for stream in (call, other)]
        done, _ = await asyncio.wait(readers, timeout=1.0)
        assert not done
        (peer,) = emulator._half_open
        (ours,) = [c for c in psutil.Process().net_connections() if c.raddr and peer.endswith(f":{c.laddr.port}")]
        assert ours.status == psutil.CONN_ESTABLISHED
        emulator.audio_timeout_s = 10.0
        assert len(await recognize(emulator, chunks(SPEECH))) > 3, "another connection is well"
        for stream in (call, other):
            stream.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def test_garbage_is_no_message(emulator: GoogleSpeech, caplog: pytest.LogCaptureFixture) -> None:
    emulator.faults.append(Fault("garbage", 400))
    got = await recognize(emulator, chunks(SPEECH))
    assert [response for response in got if response is None] == [None]
    assert "Exception deserializing message" in caplog.text
    assert got[-1].total_billed_time, "the stream goes on"


async def test_a_close_and_a_shuffle_are_no_errors(emulator: GoogleSpeech) -> None:
    emulator.faults.extend([Fault("close", 900), Fault("shuffle"), Fault("slow_results", delay_ms=100)])
    assert len(await recognize(emulator, chunks(SPEECH), pause_s=0.01)) < 8
    plain = await recognize(emulator, chunks(SPEECH))
    late = await recognize(emulator, chunks(SPEECH))
    assert plain != late
    assert sorted(map(repr, plain)) == sorted(map(repr, late))


async def test_recognize_answers_at_once(emulator: GoogleSpeech) -> None:
    async with grpc.aio.insecure_channel(emulator.target) as channel:
        client = SpeechAsyncClient(transport=SpeechGrpcAsyncIOTransport(channel=channel))
        response = await client.recognize(config=config(), audio={"content": SPEECH + SPEECH}, retry=None, timeout=5)
    assert [result.alternatives[0].transcript for result in response.results] == [" ".join(WORDS)] * 2


async def test_it_runs_as_a_program(tmp_path: Path) -> None:
    (tmp_path / "a.ulaw").write_bytes(SPEECH)
    script = tmp_path / "script.json"
    script.write_text(json.dumps([{"audio": "a.ulaw", "words": [[200, 400, "שלום"]]}]), encoding="utf-8")
    arguments = ("-m", "emulators.google_speech", "--script", str(script), "--faults", '[null, {"kind": "refuse"}]')
    root = Path(__file__).parents[2]
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=root, stdout=asyncio.subprocess.PIPE)
    try:
        assert child.stdout is not None
        port = int(await asyncio.wait_for(child.stdout.readline(), 20))
        remote = GoogleSpeech()
        remote._port = port
        got = await recognize(remote, chunks(silence(500) + SPEECH))
        finals = [response.results[0] for response in got if response.results and response.results[0].is_final]
        assert [final.alternatives[0].transcript for final in finals] == ["שלום"]
        with pytest.raises((exceptions.ServiceUnavailable, exceptions.InternalServerError)):
            await recognize(remote, [])  # the client may lose the status when its first write meets the refusal
    finally:
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 10) == 0
