"""One suite, every engine: what the recognition port promises, kept by each that implements it.

A new engine is done when this passes on it: add a `Case` to `ENGINES` (with `marks=pytest.mark.slow` where it needs
real weights). A case brings its engine, utterances it understands, and what it should hear in them.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import numpy as np
import pytest

from emulators.google_speech import Fault, GoogleSpeech
from emulators.whisper_server import MODEL
from emulators.wordcodec import encode_words
from moked.audio import FRAME_BYTES, from_float, ms, silence
from moked.errors import Failure, ModelError, ProviderError
from moked.stt import Engine, Final, Interim, Stream
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances
from moked.stt.google_rules import Api
from moked.stt.transcripts import normalise
from moked.stt.whisper_http import WhisperHttp
from moked.stt.whisper_local import WhisperLocal
from moked.weights import path

pytestmark = pytest.mark.anyio

VOICES = Path(__file__).parents[3] / "shared" / "data" / "gcompris-he"


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance: its audio without silence around it, and its text as a person would write it."""

    audio: bytes
    text: str


@dataclass(slots=True)
class Case:
    """A running engine under test. `break_it` makes the next recognition fail; None where that cannot be arranged."""

    engine: Engine
    spoken: Sequence[Spoken]  # two different utterances
    interims: bool
    same: Callable[[str, str], bool] = lambda heard, said: heard.strip(" .") == said
    break_it: Callable[[], None] | None = None
    slack_ms: int = 60  # how far a final's place may be from the truth
    real_time: bool = False  # its interims need time to be made


def codec(*texts: str) -> list[Spoken]:
    return [Spoken(encode_words(text.split(), 60), text) for text in texts]


CODEC = codec("שלום קוראים לי דנה", "אני צריכה טכנאי למזגן")
LONG = codec(
    "שלום קוראים לי דנה ואני צריכה טכנאי למזגן שלי מחר בבוקר",
    "הכתובת היא רחוב הרצל חמש בחיפה והטלפון שלי הוא אותו מספר",
)


@asynccontextmanager
async def google_streaming(api: Api) -> AsyncIterator[Case]:
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        engine = GoogleStreaming(GoogleSettings(api=api, emulator_host=target))
        async with engine.running():
            yield Case(engine, CODEC, interims=True, break_it=lambda: emulator.faults.append(Fault("error", at_ms=600)))


@asynccontextmanager
async def google_batch(api: Api) -> AsyncIterator[Case]:
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        engine = GoogleUtterances(GoogleSettings(api=api, emulator_host=target))
        async with engine.running():
            yield Case(
                engine,
                CODEC,
                interims=False,
                break_it=lambda: emulator.faults.extend([Fault("error"), Fault("error")]),
                slack_ms=320,  # a cut keeps a lead-in and a tail
            )


def recorded(name: str) -> bytes:
    """A person's Hebrew words as telephone audio, without the silence around them."""
    if not VOICES.is_dir():
        pytest.skip("the recorded Hebrew words are not here")
    from faster_whisper.audio import decode_audio

    sound = decode_audio(str(VOICES / name), sampling_rate=8000) * 0.9
    loud = np.flatnonzero(np.abs(sound) > 0.02)
    return from_float(sound[loud[0] : loud[-1]])


def sounds_like(heard: str, said: str) -> bool:
    """The smallest model hears the sounds of Hebrew and spells them as it likes."""
    fold = str.maketrans("העחקטסךםןףץ", "אאככתשכמנפצ", "וי")
    one, other = (normalise(text).translate(fold) for text in (heard, said))
    return SequenceMatcher(None, one, other).ratio() >= 0.6


@asynccontextmanager
async def whisper() -> AsyncIterator[Case]:
    try:
        weights = path("whisper-base")
    except ModelError as problem:
        pytest.skip(str(problem))
    spoken = [
        Spoken(recorded("misc/check_answer.ogg"), "תשובה לא נכונה"),
        Spoken(recorded("colors/red.ogg"), "אדום"),
    ]
    engine = WhisperLocal(weights)
    async with engine.running():
        yield Case(engine, spoken, interims=False, same=sounds_like, slack_ms=320)  # a cut keeps a lead-in and a tail


@asynccontextmanager
async def whisper_http() -> AsyncIterator[Case]:
    """A server process of its own, which hears the words written into the audio."""
    command = [sys.executable, "-m", "emulators.whisper_server", "--mode", "codec"]
    async with await anyio.open_process(command, stderr=None, env=_environment()) as process:
        try:
            assert process.stdout is not None
            address = f"http://127.0.0.1:{int(await process.stdout.receive(64))}"

            def break_it() -> None:
                httpx2.post(f"{address}/emulator/faults", json=[{"status": 503}]).raise_for_status()

            engine = WhisperHttp(f"{address}/v1", MODEL)
            async with engine.running():
                yield Case(engine, LONG, interims=True, break_it=break_it, slack_ms=320, real_time=True)
        finally:
            process.kill()


def _environment() -> dict[str, str]:
    root = Path(__file__).parents[2]
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(root / "src"), str(root)))}


ENGINES = [
    pytest.param(partial(google_streaming, "v1"), id="google-v1"),
    pytest.param(partial(google_batch, "v1"), id="google-batch-v1"),
    pytest.param(partial(google_streaming, "v2"), id="google-v2"),
    pytest.param(partial(google_batch, "v2"), id="google-batch-v2"),
    pytest.param(whisper, id="whisper", marks=pytest.mark.slow),
    pytest.param(whisper_http, id="whisper-http"),
]


@pytest.fixture(params=ENGINES)
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    async with request.param() as made:
        yield made


PAUSE_MS = 1000


async def say(stream: Stream, audio: bytes, at_ms: int) -> int:
    """Write an utterance with silence around it and the VAD's marks; `at_ms` is where it begins. Returns its end."""
    await write(stream, silence(300))
    stream.speech_started(at_ms + 300)
    await write(stream, audio)
    await write(stream, silence(400))
    stream.speech_ended(at_ms + 300 + ms(audio))
    return at_ms + 700 + ms(audio)


async def write(stream: Stream, audio: bytes) -> None:
    for start in range(0, len(audio), FRAME_BYTES):
        await stream.write(audio[start : start + FRAME_BYTES])


async def hear(stream: Stream) -> list[Interim | Final]:
    return [item async for item in stream]


def finals(heard: Sequence[Interim | Final]) -> list[Final]:
    return [item for item in heard if isinstance(item, Final)]


async def test_it_hears_utterances_in_order_and_in_call_time(case: Case) -> None:
    first, second = case.spoken[:2]
    origin = 61_000
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=origin) as stream:
            middle = await say(stream, first.audio, origin)
            await write(stream, silence(PAUSE_MS))  # longer than a breath: two utterances for every engine
            middle += PAUSE_MS
            await say(stream, second.audio, middle)
            await stream.finish()
            heard = finals(await hear(stream))
    assert len(heard) == 2
    for final, spoken, begin in zip(heard, (first, second), (origin, middle), strict=True):
        assert case.same(final.text, spoken.text), final.text
        assert final.engine == case.engine.name
        assert abs(final.start_ms - (begin + 300)) <= case.slack_ms
        assert abs(final.end_ms - (begin + 300 + ms(spoken.audio))) <= case.slack_ms
        assert final.start_ms < final.end_ms
        assert final.confidence is None or 0 < final.confidence <= 1
        places = [place for word in final.words for place in (word.start_ms, word.end_ms)]
        assert places == sorted(places)
        assert all(begin <= place <= begin + 700 + ms(spoken.audio) for place in places)
    assert heard[0].end_ms <= heard[1].start_ms


async def test_a_final_comes_without_finish(case: Case) -> None:
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            await say(stream, case.spoken[0].audio, 0)
            async for item in stream:
                if isinstance(item, Final):
                    assert case.same(item.text, case.spoken[0].text)
                    break


async def test_interims_grow_towards_the_final(case: Case) -> None:
    if not case.interims:
        pytest.skip("this engine hears whole utterances")
    texts: list[str] = []
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:

            async def speak() -> None:
                audio = silence(300) + case.spoken[0].audio
                stream.speech_started(300)
                for start in range(0, len(audio), 1280):
                    await write(stream, audio[start : start + 1280])
                    await anyio.sleep(0.16 if case.real_time else 0.02)
                await stream.finish()

            tasks.start_soon(speak)
            async for item in stream:
                if isinstance(item, Interim):
                    texts.append(item.text)
                    assert 0 <= item.stability <= 1
                    assert 0 <= item.start_ms <= item.end_ms <= 300 + ms(case.spoken[0].audio)
    assert len(texts) >= 2
    assert all(case.spoken[0].text.startswith(text) for text in texts)
    assert [len(text) for text in texts] == sorted(len(text) for text in texts)


async def test_speech_still_open_at_finish_is_heard(case: Case) -> None:
    spoken = case.spoken[0]
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            stream.speech_started(0)
            await write(stream, spoken.audio)
            await stream.finish()
            heard = finals(await hear(stream))
    assert [case.same(final.text, spoken.text) for final in heard] == [True]


async def test_nothing_is_lost_without_a_vad(case: Case) -> None:
    spoken = case.spoken[0]
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            await write(stream, silence(500) + spoken.audio + silence(200))
            await stream.finish()
            heard = finals(await hear(stream))
    assert [case.same(final.text, spoken.text) for final in heard] == [True]


async def test_silence_is_nothing(case: Case) -> None:
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            await write(stream, silence(2000))
            await stream.finish()
            assert await hear(stream) == []


async def test_a_stream_without_audio_ends(case: Case) -> None:
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            await stream.finish()
            assert await hear(stream) == []


async def test_two_streams_do_not_mix(case: Case) -> None:
    heard: dict[int, list[Final]] = {}

    async def call(number: int) -> None:
        async with case.engine.stream(origin_ms=0) as stream:
            await say(stream, case.spoken[number].audio, 0)
            await stream.finish()
            heard[number] = finals(await hear(stream))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, 0)
            tasks.start_soon(call, 1)
    for number in (0, 1):
        assert [case.same(final.text, case.spoken[number].text) for final in heard[number]] == [True]


async def test_a_failure_is_a_provider_error(case: Case) -> None:
    if case.break_it is None:
        pytest.skip("this engine cannot be broken on request")
    case.break_it()
    with anyio.fail_after(30):
        with pytest.raises(ProviderError) as caught:
            async with case.engine.stream(origin_ms=0) as stream:
                await say(stream, case.spoken[0].audio, 0)
                await hear(stream)
        assert caught.value.kind is Failure.UNAVAILABLE
        assert caught.value.provider == case.engine.name
        async with case.engine.stream(origin_ms=0) as stream:  # the engine lives on
            await say(stream, case.spoken[0].audio, 0)
            await stream.finish()
            assert len(finals(await hear(stream))) == 1


async def test_a_dead_stream_takes_no_more_audio(case: Case) -> None:
    if case.break_it is None:
        pytest.skip("this engine cannot be broken on request")
    case.break_it()
    with anyio.fail_after(30):
        async with case.engine.stream(origin_ms=0) as stream:
            await say(stream, case.spoken[0].audio, 0)
            with pytest.raises(ProviderError):
                await hear(stream)
            with pytest.raises(ProviderError):
                await stream.write(silence(20))


async def test_leaving_early_cancels(case: Case) -> None:
    before = asyncio.all_tasks()
    with anyio.fail_after(30):
        async with AsyncExitStack() as stack, anyio.create_task_group() as tasks:
            stream = await stack.enter_async_context(case.engine.stream(origin_ms=0))
            ended = anyio.Event()

            async def listen() -> None:
                async for _ in stream:
                    pass
                ended.set()

            tasks.start_soon(listen)
            await say(stream, case.spoken[0].audio, 0)
            await stack.aclose()
            await ended.wait()
    await settle(before)


async def test_an_error_of_the_user_comes_out_as_it_is(case: Case) -> None:
    with pytest.raises(ZeroDivisionError):
        async with case.engine.stream(origin_ms=0):
            _ = 1 / 0


async def test_no_task_stays_behind(case: Case) -> None:
    before = asyncio.all_tasks()
    for _ in range(3):
        async with case.engine.stream(origin_ms=0) as stream:
            await say(stream, case.spoken[0].audio, 0)
            await stream.finish()
            await hear(stream)
    with anyio.move_on_after(0.05):
        async with case.engine.stream(origin_ms=0) as stream:
            await hear(stream)
    await settle(before)


async def settle(before: set[asyncio.Task[Any]]) -> None:
    """Every task that came after `before` is gone within a second, but for the emulator's own wait for a next call."""
    with anyio.fail_after(1):
        while any("AioServer" not in repr(task) for task in asyncio.all_tasks() - before):
            await anyio.sleep(0.01)
