"""The second ear: behind everybody else, bounded, and never the reason of an error."""

from types import SimpleNamespace

import anyio
import pytest

from moked.errors import Failure, Overloaded, ProviderError
from moked.stt.second import SecondEar, Transcriber
from moked.stt.utterance import Transcription
from moked.stt.whisper_local import WhisperLocal
from tests.virtual_time import VIRTUAL_TIME


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Engine:
    name = "whisper"

    def __init__(self, takes_s=1.0, error=None):
        self.takes_s, self.error = takes_s, error
        self.others = self.mine = 0
        self.expected = []

    @property
    def pending(self):
        return self.others + self.mine

    async def transcribe(self, audio, hints=(), *, expect="", **_):
        self.expected.append(expect)
        self.mine += 1
        try:
            await anyio.sleep(self.takes_s)
            if self.error:
                raise self.error
            return Transcription(audio.decode())
        finally:
            self.mine -= 1


@pytest.mark.anyio
async def test_it_hears_with_what_was_asked_for():
    engine = Engine()
    assert await SecondEar(engine).hear("דנה".encode(), "name") == "דנה"
    assert engine.expected == ["name"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "engine",
    [
        Engine(takes_s=100),
        Engine(error=ProviderError("whisper", Failure.UNAVAILABLE, "gone")),
        Engine(error=Overloaded("full")),
    ],
    ids=["too late", "failed", "overloaded"],
)
async def test_what_it_cannot_hear_is_nothing(engine):
    ear = SecondEar(engine)
    assert await ear.hear(b"x") is None
    assert ear.free
    assert anyio.current_time() < 10


@pytest.mark.anyio
async def test_calls_that_wait_for_the_engine_come_first():
    engine = Engine()
    engine.others = 1
    assert await SecondEar(engine).hear(b"x") is None
    assert engine.expected == []


@pytest.mark.anyio
async def test_no_more_than_some_at_once():
    ear, heard = SecondEar(Engine(), at_once=2), []

    async def one():
        heard.append(await ear.hear(b"x"))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert sorted(heard, key=str) == [None, None, None, "x", "x"]


def test_the_local_whisper_is_such_an_engine():
    assert isinstance(WhisperLocal("nowhere"), Transcriber)
    assert not isinstance(SimpleNamespace(name="google"), Transcriber)
