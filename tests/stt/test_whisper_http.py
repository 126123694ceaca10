"""The engine over HTTP against a real transcription server on a socket: what is sent, what becomes of each refusal."""

import logging
import wave
from contextlib import asynccontextmanager
from io import BytesIO

import anyio
import httpx2
import numpy as np
import pytest

from emulators.whisper_server import MODEL, Fault, WhisperServer
from emulators.wordcodec import encode_words
from moked.audio import from_float, silence
from moked.errors import Failure, Overloaded, ProviderError
from moked.stt.fairqueue import Rank
from moked.stt.whisper_http import WhisperHttp, _wav
from tests.serving import serving

pytestmark = pytest.mark.anyio

SENTENCE = "שלום קוראים לי דנה"
SOUND = encode_words(SENTENCE.split(), 60)


@asynccontextmanager
async def engine_at(server, **options):
    async with serving(server.app()) as url:
        engine = WhisperHttp(f"{url}/v1", options.pop("model", MODEL), **options)
        async with engine.running():
            server.requests.clear()
            yield engine


async def test_an_utterance_is_a_wav_with_a_name_the_model_and_the_language():
    server = WhisperServer(api_key="hush")
    async with engine_at(server, api_key="hush") as engine:
        heard = await engine.transcribe(SOUND, ["מזגן", "אורן"])
    assert (heard.text, heard.confidence) == (SENTENCE, None)
    (request,) = server.requests
    assert request == {
        "model": MODEL,
        "language": "he",
        "response_format": "json",
        "prompt": "מזגן, אורן",
        "filename": "utterance.wav",
        "audio_ms": len(SOUND) // 8,
    }


async def test_the_newer_family_takes_languages_and_keywords():
    engine = WhisperHttp("http://x/v1", "gpt-transcribe")
    assert engine._form(["מזגן", "אורן"]) == {
        "model": "gpt-transcribe",
        "response_format": "json",
        "languages[]": "he",
        "keywords[]": ["מזגן", "אורן"],
    }


def test_the_wav_is_one_that_everybody_reads():
    with wave.open(BytesIO(_wav(SOUND))) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 8000)
        assert sound.getnframes() == len(SOUND)


@pytest.mark.parametrize(
    ("status", "kind", "advice"),
    [
        (400, Failure.CONFIG, "WHISPER_MODEL"),
        (401, Failure.AUTH, "WHISPER_API_KEY"),
        (403, Failure.AUTH, "WHISPER_API_KEY"),
        (404, Failure.CONFIG, "WHISPER_BASE_URL"),
        (408, Failure.TIMEOUT, "late"),
        (413, Failure.CONFIG, "WHISPER_MODEL"),
        (418, Failure.CONFIG, "refused"),
        (422, Failure.CONFIG, "WHISPER_MODEL"),
        (429, Failure.QUOTA, "WHISPER_MAX_CALLS"),
        (500, Failure.UNAVAILABLE, "trouble"),
        (503, Failure.UNAVAILABLE, "trouble"),
        (504, Failure.TIMEOUT, "late"),
    ],
)
async def test_each_refusal_has_its_kind_and_says_what_to_do(status, kind, advice):
    server = WhisperServer()
    async with engine_at(server, api_key="hush-hush") as engine:
        server.faults.append(Fault(status=status))
        with pytest.raises(ProviderError, match=advice) as caught:
            await engine.transcribe(SOUND)
        assert caught.value.kind is kind
        assert "hush-hush" not in str(caught.value)
        assert (await engine.transcribe(SOUND)).text == SENTENCE


async def test_garbage_a_late_answer_and_a_dead_server_are_told_apart():
    server = WhisperServer()
    async with engine_at(server, timeout_s=0.3) as engine:
        server.faults.append(Fault(garbage=True))
        with pytest.raises(ProviderError) as caught:
            await engine.transcribe(SOUND)
        assert caught.value.kind is Failure.PROTOCOL
        server.faults.append(Fault(stall_ms=2000))
        with pytest.raises(ProviderError) as caught:
            await engine.transcribe(SOUND)
        assert caught.value.kind is Failure.TIMEOUT
    gone = WhisperHttp("http://127.0.0.1:9/v1", MODEL)
    async with gone.running():
        with pytest.raises(ProviderError, match="WHISPER_BASE_URL") as caught:
            await gone.transcribe(SOUND)
        assert caught.value.kind is Failure.UNAVAILABLE
    with pytest.raises(ProviderError) as caught:
        await gone.transcribe(SOUND)
    assert caught.value.kind is Failure.CLOSED


async def test_a_wrong_address_or_model_is_told_at_the_start_and_does_not_keep_the_house_closed(caplog):
    server = WhisperServer()
    async with serving(server.app()) as url:
        for base, model in ((url, MODEL), (f"{url}/v1", "base")):
            caplog.clear()
            async with WhisperHttp(base, model).running():
                record = next(one for one in caplog.records if one.levelno == logging.ERROR)
                assert "HTTP 404" in record.reason
                assert "WHISPER_MODEL" in record.reason


async def test_silence_costs_no_request_and_made_up_text_is_dropped():
    server = WhisperServer()
    async with engine_at(server) as engine:
        assert (await engine.transcribe(silence(2000))).text == ""
        assert not server.requests
        subtitles = encode_words(["תודה", "על", "הצפייה"], 60)
        assert (await engine.transcribe(subtitles)).text == ""
        assert len(server.requests) == 1


async def test_requests_run_side_by_side_up_to_the_bound_and_finals_before_second_passes():
    server = WhisperServer(delay_ms=100)
    done = []
    async with engine_at(server, parallel=2) as engine:

        async def one(number, rank):
            await engine.transcribe(SOUND, rank=rank, call=number)
            done.append((rank, number))

        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(one, number, Rank.SECOND_PASS)
            await anyio.sleep(0.02)
            for number in range(2):
                tasks.start_soon(one, number, Rank.FINAL)
    assert [rank for rank, _ in done[:2]] == [Rank.FINAL] * 2, "they displaced what can be asked again"
    assert len(done) == 8
    assert server.most_running <= 2


async def test_seats_are_measured_or_set():
    server = WhisperServer(delay_ms=150)
    async with engine_at(server, parallel=4) as engine:
        assert 1 <= engine.seats.limit <= 80, "0.5 x 4 x 6 s / at least 0.15 s"
    async with engine_at(server, max_calls=1) as engine:
        async with engine.stream(origin_ms=0):
            with pytest.raises(Overloaded):
                async with engine.stream(origin_ms=0):
                    pytest.fail("there is one seat")
        async with engine.stream(origin_ms=0):
            assert engine.seats.taken == 1


async def test_the_server_refuses_what_is_no_wav_and_a_wrong_key():
    server = WhisperServer(api_key="hush")
    async with serving(server.app()) as url, httpx2.AsyncClient() as client:
        form = {"files": {"file": ("a.wav", b"nothing")}, "data": {"model": MODEL}}
        answer = await client.post(f"{url}/v1/audio/transcriptions", **form)
        assert answer.status_code == 401
        key = {"Authorization": "Bearer hush"}
        answer = await client.post(f"{url}/v1/audio/transcriptions", headers=key, **form)
        assert (answer.status_code, "message" in answer.json()["error"]) == (400, True)
        assert (await client.get(f"{url}/v1/models", headers=key)).json()["data"][0]["id"] == MODEL


async def test_hum_below_the_telephones_noise_is_no_request():
    server = WhisperServer()
    async with engine_at(server) as engine:
        hum = from_float((0.002 * np.sin(np.arange(16000) * 0.04)).astype(np.float32))
        assert (await engine.transcribe(hum)).text == ""
    assert not server.requests
