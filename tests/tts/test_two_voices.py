"""Two voices: the caller hears the one that has sound."""

from contextlib import asynccontextmanager

import anyio
import pytest

from moked.errors import Failure, ProviderError
from moked.tts.two_voices import TwoVoices
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Scripted:
    """A voice that gives `chunks`; a number among them is a pause in seconds, an error is raised."""

    def __init__(self, name, *chunks):
        self.name, self.chunks, self.spoken = name, chunks, []
        self.running_now = False

    def cached(self, text):
        return b"cached" if text == "known" else None

    @asynccontextmanager
    async def speak(self, text):
        self.spoken.append(text)
        yield self._audio()

    async def _audio(self):
        for chunk in self.chunks:
            match chunk:
                case bytes():
                    yield chunk
                case ProviderError():
                    raise chunk
                case _:
                    await anyio.sleep(chunk)

    async def prepare(self, texts, progress=None):
        self.spoken += texts

    @asynccontextmanager
    async def running(self):
        self.running_now = True
        yield
        self.running_now = False


DEAD = ProviderError("first", Failure.UNAVAILABLE, "gone")


async def said(voice, text="שלום"):
    async with voice.speak(text) as chunks:
        return [chunk async for chunk in chunks]


async def test_the_first_voice_speaks_while_it_can():
    first, second = Scripted("first", b"1", 0.1, b"2"), Scripted("second", b"3")
    voice = TwoVoices(first, second)
    async with voice.running():
        assert first.running_now
        assert second.running_now
        assert await said(voice) == [b"1", b"2"]
    assert voice.cached("known") == b"cached"
    await voice.prepare(["a"])
    assert (first.spoken, second.spoken) == (["שלום", "a"], [])


@pytest.mark.parametrize(
    ("chunks", "heard"),
    [
        ((DEAD,), [b"3"]),
        ((b"1", DEAD), [b"1", b"3"]),  # the clause once more, from its beginning
        ((60, b"1"), [b"3"]),
    ],
)
async def test_without_sound_the_second_speaks(chunks, heard):
    assert await said(TwoVoices(Scripted("first", *chunks), Scripted("second", b"3"))) == heard


async def test_after_two_failures_the_first_is_left_in_peace_and_comes_back():
    now = 0
    first, second = Scripted("first", DEAD), Scripted("second", b"3")
    voice = TwoVoices(first, second, clock=lambda: now)
    for _ in range(5):
        assert await said(voice) == [b"3"]
    assert len(first.spoken) == 2
    now += 120_000
    assert await said(voice) == [b"3"]  # it is asked, and still dead
    assert len(first.spoken) == 3
    now += 600_000
    first.chunks = (b"1",)
    for _ in range(3):
        assert await said(voice) == [b"1"]


async def test_where_both_fail_the_error_is_the_seconds_own():
    with pytest.raises(ProviderError, match="burnt"):
        await said(
            TwoVoices(Scripted("first", DEAD), Scripted("second", ProviderError("second", Failure.PROTOCOL, "burnt")))
        )


async def test_whoever_stops_listening_stops_both():
    voice = TwoVoices(Scripted("first", *[b"1"] * 1000), Scripted("second"))
    async with voice.speak("שלום") as chunks:
        assert await anext(chunks) == b"1"
    with pytest.raises(KeyError):
        async with voice.speak("שלום") as chunks:
            raise KeyError
