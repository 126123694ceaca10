"""Whole utterances through the streaming port: in order, one at a time, bounded, and honest about failures."""

from itertools import pairwise

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.audio import FRAME_BYTES, ms, silence
from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Interim, Word
from moked.stt.agreement import Look
from moked.stt.utterance import Transcription, UtteranceStream
from tests.stt.hearing import VOCABULARY
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


# --- looks at an utterance that is still spoken


class Ear:
    """Hears one word for each 500 ms of voice. Every look and every final is on record with its length in ms."""

    def __init__(self, *, look_s: float = 0.2, final_s: float = 0.3, busy: bool = False) -> None:
        self.looks: list[tuple[str, int]] = []
        self.finals: list[int] = []
        self.cancelled = 0
        self._look_s, self._final_s, self._busy = look_s, final_s, busy

    async def look_at(self, audio: bytes, look: Look) -> Transcription | None:
        if self._busy:
            return None
        self.looks.append((look.value, ms(audio)))
        try:
            await anyio.sleep(self._look_s)
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        return self._says(audio)

    async def transcribe(self, audio: bytes) -> Transcription:
        self.finals.append(ms(audio))
        await anyio.sleep(self._final_s)
        return self._says(audio)

    @staticmethod
    def _says(audio: bytes) -> Transcription:
        voiced = sum(1 for byte in audio if byte != 0xFF) // 8
        return Transcription(" ".join(VOCABULARY[: voiced // 500]))


async def live(ear: Ear, sound: bytes, marks: list[tuple[int, bool, int]]) -> list[tuple[int, Interim | Final]]:
    """What a stream tells, with the time, of a call in real time. `marks`: (known, begins, at) in ms."""
    heard: list[tuple[int, Interim | Final]] = []
    begun = anyio.current_time()
    async with (
        UtteranceStream(ear.transcribe, engine="x", origin_ms=0, look_at=ear.look_at) as stream,
        anyio.create_task_group() as tasks,
    ):

        async def listen() -> None:
            async for item in stream:
                heard.append((round((anyio.current_time() - begun) * 1000), item))

        tasks.start_soon(listen)
        due = list(marks)
        for at in range(0, len(sound), FRAME_BYTES):
            await stream.write(sound[at : at + FRAME_BYTES])
            while due and due[0][0] * 8 <= at + FRAME_BYTES:
                _, begins, at_ms = due.pop(0)
                (stream.speech_started if begins else stream.speech_ended)(at_ms)
            await anyio.sleep(0.02)
        await stream.finish()
    return heard


MARKS = [(100, True, 0), (3000 + 160, False, 3000)]


async def test_partials_grow_while_the_caller_speaks_and_the_final_comes_from_the_pause() -> None:
    ear = Ear()
    heard = await live(ear, VOICE * 3 + silence(1500), MARKS)
    *partials, (at, final) = heard
    texts = [item.text for _, item in partials]
    assert len(texts) >= 3
    assert all(isinstance(item, Interim) and item.behind and item.start_ms == 0 for _, item in partials)
    assert all(after.startswith(before) and after != before for before, after in pairwise(texts))
    assert partials[0][0] <= 1800
    assert isinstance(final, Final)
    assert final.text == " ".join(VOCABULARY[:6])
    assert ear.finals == [], "the look in the pause was the final"
    assert at <= 3000 + 160 + 200
    assert [kind for kind, _ in ear.looks].count("careful") == 1


async def test_voice_after_the_pause_makes_the_look_void() -> None:
    ear = Ear(look_s=0.05)
    sound = VOICE + silence(140) + VOICE[:400] + silence(100) + silence(1400)
    heard = await live(ear, sound, [(100, True, 0), (1190 + 90, False, 1190), (1500, True, 3000)])
    final = next(item for _, item in heard if isinstance(item, Final))
    assert [kind for kind, _ in ear.looks].count("careful") >= 1
    assert ear.finals == [ms(sound[: (final.end_ms - final.start_ms) * 8])]


async def test_a_glance_under_way_gives_way_to_the_final() -> None:
    ear = Ear(look_s=5)
    heard = await live(ear, VOICE * 3 + silence(1500), [(100, True, 0), (2980, False, 2900)])
    assert ear.cancelled == 1
    assert len(ear.finals) == 1
    assert [type(item) for _, item in heard] == [Final]
    assert heard[0][0] <= 2980 + 400


async def test_a_busy_engine_gives_finals_alone() -> None:
    ear = Ear(busy=True)
    heard = await live(ear, VOICE * 3 + silence(1500), MARKS)
    assert [type(item) for _, item in heard] == [Final]
    assert len(ear.finals) == 1


async def test_a_look_that_fails_costs_nothing() -> None:
    ear = Ear()

    async def broken(audio: bytes, look: Look) -> Transcription | None:
        raise ProviderError("x", Failure.FULL, "no")

    ear.look_at = broken  # type: ignore[method-assign]
    heard = await live(ear, VOICE * 2 + silence(1500), [(100, True, 0), (2160, False, 2000)])
    assert [type(item) for _, item in heard] == [Final]


async def test_a_final_without_text_follows_partials_that_were_wrong() -> None:
    ear = Ear()

    async def nothing(audio: bytes) -> Transcription:
        return Transcription("")

    noisy = VOICE * 2 + b"\x60\xe0" * 6000  # it never gets quiet: no careful look
    ear.transcribe = nothing  # type: ignore[method-assign]
    heard = await live(ear, noisy, [(100, True, 0), (2160, False, 2000)])
    assert [type(item) for _, item in heard][-1] is Final
    assert heard[-1][1].text == ""


@settings(max_examples=25, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40)), min_size=1, max_size=4),
    look_ms=st.integers(10, 900),
    late_ms=st.integers(0, 300),
)
def test_looks_lose_and_double_nothing(pieces: list[tuple[int, int]], look_ms: int, late_ms: int) -> None:
    """Whatever is reused, the finals' texts are about all of the voice, once."""
    sound, marks = b"", []
    for voice, pause in pieces:
        begin = ms(sound)
        sound += VOICE[:FRAME_BYTES] * voice
        marks += [(begin + 60, True, begin), (ms(sound) + 100 + late_ms, False, ms(sound))]
        sound += silence(420 + pause * 20)
    sound += silence(1000)

    class Counting(Ear):
        @staticmethod
        def _says(audio: bytes) -> Transcription:
            return Transcription(str(len(audio) - audio.count(0xFF)))

    async def voiced() -> int:
        heard = await live(Counting(look_s=look_ms / 1000), sound, marks)
        finals = [item for _, item in heard if isinstance(item, Final)]
        assert all(one.end_ms <= other.start_ms for one, other in pairwise(finals))
        return sum(int(final.text) for final in finals)

    backend, options = VIRTUAL_TIME
    assert anyio.run(voiced, backend=backend, backend_options=options) == len(sound) - sound.count(0xFF)
