"""Google's voice against its emulator: the real client on a real wire."""

import contextlib
import gc
import struct

import anyio
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulators.google_tts import Fault, GoogleTts, speech, wav
from moked.audio import ms, rms
from moked.errors import Failure, ProviderError
from moked.tts.google import GoogleVoice, _in_own_task, mulaw_of, split

pytestmark = pytest.mark.anyio


async def say(voice, text):
    async with voice.speak(text) as audio:
        return b"".join([chunk async for chunk in audio])


class Service(GoogleTts):
    """With a place for its address."""

    address = ""


@pytest.fixture
async def emulator():
    service = Service(first_byte_ms=0)
    async with service.serving() as address:
        service.address = address
        yield service


@pytest.mark.parametrize("header", ["fact", "list", "none"])
async def test_the_audio_is_headerless_whatever_the_container(emulator, header):
    emulator.header = header
    voice = GoogleVoice(emulator_host=emulator.address)
    async with voice.running():
        assert await say(voice, "שלום וברכה") == speech("שלום וברכה", 0.96)


async def test_a_voice_that_is_not_there_is_told_at_the_start(emulator, caplog):
    async with GoogleVoice(voice="he-IL-Wavenet-Z", emulator_host=emulator.address).running():
        pass
    (told,) = [record for record in caplog.records if "does not have the voice" in record.message]
    assert (told.voice, "he-IL-Wavenet-D" in told.available) == ("he-IL-Wavenet-Z", True)


async def test_a_list_that_does_not_come_does_not_stop_the_start(emulator, caplog):
    emulator.away = grpc.StatusCode.UNAVAILABLE
    voice = GoogleVoice(emulator_host=emulator.address)
    async with voice.running():
        assert await say(voice, "שלום") == speech("שלום", 0.96)
    assert "does not answer yet" in caplog.text
    assert "does not have the voice" not in caplog.text


async def test_the_voices_of_a_language(emulator):
    voices = await GoogleVoice(emulator_host=emulator.address).voices()
    assert "he-IL-Wavenet-D" in voices
    assert voices == sorted(voices)
    assert await GoogleVoice(voice="xx-XX-A", emulator_host=emulator.address).voices() == []
    emulator.away = grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(ProviderError) as caught:
        await GoogleVoice(emulator_host=emulator.address).voices()
    assert caught.value.kind is Failure.AUTH


async def test_text_is_prepared_and_settings_are_sent(emulator):
    voice = GoogleVoice(emulator_host=emulator.address, rate=1.5)
    async with voice.running():
        audio = await say(voice, "ב-14:30")
    assert list(emulator.texts) == ["בשתיים וחצי אחר הצהריים"]
    assert ms(audio) == pytest.approx(len("בשתיים וחצי אחר הצהריים") * 70 / 1.5, abs=2)
    assert rms(audio) > 500


async def test_a_chirp_voice_is_sent_no_pitch(emulator):
    voice = GoogleVoice(emulator_host=emulator.address, voice="he-IL-Chirp3-HD-Charon", pitch=-2.0)
    async with voice.running():
        assert await say(voice, "שלום")


@pytest.mark.parametrize(
    "options", [{"rate": 2.5}, {"pitch": -30.0}, {"voice": "he-IL-Wavenet-Z"}, {"voice": "en-US-Wavenet-D"}]
)
async def test_what_google_refuses_is_our_configuration(emulator, options):
    voice = GoogleVoice(emulator_host=emulator.address, **options)
    async with voice.running():
        with pytest.raises(ProviderError) as caught:
            await say(voice, "שלום")
    assert caught.value.kind is Failure.CONFIG
    assert emulator.counts["requests"] == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Failure.AUTH),
        (grpc.StatusCode.PERMISSION_DENIED, Failure.AUTH),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Failure.QUOTA),
        (grpc.StatusCode.INVALID_ARGUMENT, Failure.CONFIG),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Failure.TIMEOUT),
        (grpc.StatusCode.UNAVAILABLE, Failure.UNAVAILABLE),
        (grpc.StatusCode.INTERNAL, Failure.UNAVAILABLE),
        (grpc.StatusCode.ABORTED, Failure.UNAVAILABLE),
    ],
)
async def test_errors_have_kinds(emulator, status, kind):
    emulator.faults.extend([Fault(status)] * 2)
    voice = GoogleVoice(emulator_host=emulator.address)
    async with voice.running():
        with pytest.raises(ProviderError) as caught:
            await say(voice, "שלום")
    assert caught.value.kind is kind
    assert emulator.counts["requests"] == (2 if kind is Failure.UNAVAILABLE else 1)


async def test_one_hiccup_is_not_heard(emulator):
    emulator.faults.append(Fault(grpc.StatusCode.UNAVAILABLE))
    voice = GoogleVoice(emulator_host=emulator.address)
    async with voice.running():
        assert await say(voice, "שלום")
    assert voice.retries == 1


async def test_a_stall_ends_in_time(emulator):
    emulator.faults.append(Fault(hang=True))
    voice = GoogleVoice(emulator_host=emulator.address, timeout=0.3)
    async with voice.running():
        started = anyio.current_time()
        with pytest.raises(ProviderError) as caught:
            await say(voice, "שלום")
        assert anyio.current_time() - started < 1.5
        assert caught.value.kind is Failure.TIMEOUT
        assert await say(voice, "שלום")


async def test_nobody_there_is_unavailable_at_once():
    voice = GoogleVoice(emulator_host="127.0.0.1:9")
    async with voice.running():
        with pytest.raises(ProviderError) as caught:
            await say(voice, "שלום")
    assert caught.value.kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)


async def test_an_empty_answer_is_an_error_not_silence(emulator):
    emulator.faults.append(Fault(garbage=True))
    voice = GoogleVoice(emulator_host=emulator.address)
    async with voice.running():
        with pytest.raises(ProviderError) as caught:
            await say(voice, "שלום")
    assert caught.value.kind is Failure.PROTOCOL


async def test_no_more_requests_at_a_time_than_allowed(emulator):
    emulator.first_byte_ms = 20
    voice = GoogleVoice(emulator_host=emulator.address, concurrency=3)
    async with voice.running(), anyio.create_task_group() as tasks:
        for number in range(12):
            tasks.start_soon(say, voice, f"שלום {number}")
    assert emulator.peak == 3
    assert emulator.counts["answered"] == 12


async def test_long_text_goes_in_pieces_within_the_limit(emulator):
    voice = GoogleVoice(emulator_host=emulator.address)
    text = "משפט ארוך למדי שחוזר על עצמו שוב ושוב. " * 200
    async with voice.running():
        await say(voice, text)
    assert emulator.counts["refused"] == 0
    assert "".join(emulator.texts).split() == text.split()
    assert 2 < len(emulator.texts) < 8


async def test_a_request_that_fails_just_as_it_is_given_up_leaves_no_complaint():
    ended = anyio.Event()

    async def request():
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()
            raise ValueError("just then")  # as a deadline does that passes while we give up

    with anyio.move_on_after(0.01) as waited:
        await _in_own_task(request())
    assert waited.cancelled_caught
    assert ended.is_set()
    gc.collect()  # a task whose error nobody looked at would tell the loop, which fails the test


async def test_bad_credentials_are_named(tmp_path):
    key = tmp_path / "key.json"
    key.write_text("{}")
    voice = GoogleVoice(credentials_file=str(key))
    with pytest.raises(ProviderError) as caught:
        async with voice.running():
            pass
    assert caught.value.kind is Failure.AUTH


def test_riff_of_any_shape():
    audio = bytes(range(256)) * 3 + b"\x01"
    assert mulaw_of(wav(audio)) == audio
    assert len(wav(audio)) - len(audio) in (58, 59)
    assert mulaw_of(wav(audio, "list")) == audio
    assert mulaw_of(audio) == audio
    for size in (0, 0xFFFFFFFF):  # written by a stream that did not know its length
        at = wav(audio).index(b"data") + 4
        streamed = bytearray(wav(audio)[: at + 4] + audio)
        struct.pack_into("<I", streamed, at, size)
        assert mulaw_of(bytes(streamed)) == audio


def test_a_wav_of_something_else_is_refused():
    body = bytearray(wav(b"\x00" * 10))
    struct.pack_into("<H", body, 20, 1)
    with pytest.raises(ValueError, match="format 1"):
        mulaw_of(bytes(body))
    with pytest.raises(ValueError, match="without data"):
        mulaw_of(b"RIFF\x04\x00\x00\x00WAVE")


@given(st.binary(max_size=80))
def test_no_bytes_break_the_parser(content):
    for candidate in (content, b"RIFF\x00\x00\x00\x00WAVE" + content):
        with contextlib.suppress(ValueError):
            assert isinstance(mulaw_of(candidate), bytes)


@given(st.text(alphabet="אבג ,.ab😀", max_size=300), st.integers(8, 60))
def test_splitting_loses_nothing(text, limit):
    pieces = split(text, limit)
    assert "".join(pieces) == text
    assert all(len(piece.encode()) <= limit for piece in pieces)
