"""A recording heard once: the first engine that answers is believed."""

from contextlib import asynccontextmanager

import pytest

from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Interim
from moked.stt.once import hear_once

pytestmark = pytest.mark.anyio

AUDIO = bytes(range(256)) * 10


class Scripted:
    """An engine that notes what it was given, and answers with `finals` or fails with `error`."""

    def __init__(self, name, finals=(), error=None):
        self.name, self._finals, self._error = name, finals, error
        self.given, self.marks = b"", []

    @asynccontextmanager
    async def stream(self, *, origin_ms, hints=()):
        if self._error is not None:
            raise self._error
        yield self

    async def write(self, audio):
        self.given += audio

    def speech_started(self, at_ms):
        self.marks.append(at_ms)

    def speech_ended(self, at_ms):
        self.marks.append(at_ms)

    async def finish(self):
        self.marks.append("finished")

    async def __aiter__(self):
        yield Interim("תגיד", 0, 100, 0.5, self.name)
        for text in self._finals:
            yield Final(text, 0, 320, 0.9, self.name)


async def test_all_of_it_is_heard_and_the_finals_are_the_words():
    engine = Scripted("one", ("תגיד לה ", "שאני חוזר"))
    assert await hear_once([engine], AUDIO) == "תגיד לה שאני חוזר"
    assert (engine.given, engine.marks) == (AUDIO, [0, 320, "finished"])


@pytest.mark.parametrize("error", [ProviderError("one", Failure.UNAVAILABLE, "down"), Overloaded("full")])
async def test_the_next_engine_hears_what_the_first_could_not(error):
    assert await hear_once([Scripted("one", error=error), Scripted("two", ("שלום",))], AUDIO) == "שלום"


async def test_where_none_can_there_are_no_words():
    assert await hear_once([Scripted("one", error=ProviderError("one", Failure.QUOTA, "gone"))], AUDIO) == ""
    assert await hear_once([], AUDIO) == ""
