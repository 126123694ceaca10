"""Whole utterances through the streaming port: in order, one at a time, bounded, and honest about failures."""

import anyio
import pytest

from moked.audio import ms, silence
from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Word
from moked.stt.utterance import Transcription, UtteranceStream
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio
VOICE = b"\x10\x90" * 4000  # one loud second


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    return VIRTUAL_TIME


async def length(audio: bytes) -> Transcription:
    return Transcription(f"{ms(audio)}", 0.5, (Word("מילה", 300, 500),))


async def say(stream: UtteranceStream, at_ms: int) -> None:
    """One second of speech and one of silence, from `at_ms` on."""
    stream.speech_started(at_ms)
    await stream.write(VOICE + silence(1000))
    stream.speech_ended(at_ms + 1000)


async def test_finals_carry_call_time_and_words() -> None:
    async with UtteranceStream(length, engine="x", origin_ms=9000) as stream:
        await say(stream, 9000)
        await stream.finish()
        assert [item async for item in stream] == [
            Final("1200", 9000, 10_200, 0.5, "x", (Word("מילה", 9300, 9500),)),
        ]


async def test_one_at_a_time_and_in_order() -> None:
    running, most, delays = 0, 0, iter((3.0, 0.1, 1.0))

    async def transcribe(audio: bytes) -> Transcription:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(next(delays))
        running -= 1
        return Transcription("כן")

    async with UtteranceStream(transcribe, engine="x", origin_ms=0) as stream:
        for number in range(3):
            await say(stream, number * 2000)
        await stream.finish()
        starts = [item.start_ms async for item in stream]
    assert starts == [0, 1700, 3700]
    assert most == 1


async def test_an_empty_transcription_is_no_final() -> None:
    async def nothing(audio: bytes) -> Transcription:
        return Transcription("")

    async with UtteranceStream(nothing, engine="x", origin_ms=0) as stream:
        await say(stream, 0)
        await stream.finish()
        assert [item async for item in stream] == []


@pytest.mark.parametrize("problem", [ProviderError("x", Failure.TIMEOUT, "late"), Overloaded("full")])
async def test_a_failure_comes_out_and_stays(problem: Exception) -> None:
    async def fail(audio: bytes) -> Transcription:
        raise problem

    async with UtteranceStream(fail, engine="x", origin_ms=0) as stream:
        await say(stream, 0)
        with pytest.raises(type(problem)):
            await anext(aiter(stream))
        with pytest.raises(type(problem)):
            await stream.write(silence(20))
        with pytest.raises(type(problem)):
            await anext(aiter(stream))


async def test_a_slow_engine_holds_up_the_writer() -> None:
    release = anyio.Event()

    async def slow(audio: bytes) -> Transcription:
        await release.wait()
        return Transcription("כן")

    async def read(stream: UtteranceStream) -> None:
        async for _ in stream:
            pass

    written = 0
    async with (
        UtteranceStream(slow, engine="x", origin_ms=0, max_ms=4000, bound_ms=8000) as stream,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(read, stream)
        with anyio.move_on_after(5):
            for number in range(100):
                await say(stream, number * 1500)
                written += 1500
        assert 6000 <= written <= 12_000
        release.set()
        with anyio.fail_after(5):
            await say(stream, written)
        await stream.finish()


async def test_leaving_cancels_what_runs_and_ends_the_iteration() -> None:
    cancelled = ended = False

    async def forever(audio: bytes) -> Transcription:
        nonlocal cancelled
        try:
            await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class():
            cancelled = True
            raise
        raise AssertionError

    async def read(stream: UtteranceStream) -> None:
        nonlocal ended
        async for _ in stream:
            pass
        ended = True

    async with anyio.create_task_group() as tasks, UtteranceStream(forever, engine="x", origin_ms=0) as stream:
        tasks.start_soon(read, stream)
        await say(stream, 0)
        await anyio.sleep(1)
    assert cancelled
    assert ended


async def test_nothing_is_taken_after_the_end() -> None:
    async with UtteranceStream(length, engine="x", origin_ms=0) as stream:
        await stream.finish()
        with pytest.raises(ProviderError) as caught:
            await stream.write(silence(20))
        assert caught.value.kind is Failure.CLOSED


async def test_speech_that_goes_on_is_transcribed_once_as_a_whole() -> None:
    asked = []

    async def transcribe(audio: bytes) -> Transcription:
        asked.append(ms(audio))
        await anyio.sleep(0.2)
        return Transcription("שלום")

    async with UtteranceStream(transcribe, engine="x", origin_ms=0) as stream, anyio.create_task_group() as tasks:
        got = []

        async def listen() -> None:
            got.extend([(item.start_ms, item.end_ms) async for item in stream])

        tasks.start_soon(listen)
        stream.speech_started(0)
        await stream.write(VOICE + silence(400))
        stream.speech_ended(1000)
        await anyio.sleep(0.05)
        await stream.write(VOICE + silence(400))
        stream.speech_started(1400)
        await anyio.sleep(0.05)
        stream.speech_ended(2400)
        await stream.finish()
    assert got == [(0, 2600)]
    assert asked == [1200, 2600]
