"""The composition root, where it decides something: a voice that is away must not keep the house closed."""

from contextlib import AsyncExitStack
from types import SimpleNamespace

import anyio

from moked.errors import Failure, ProviderError
from moked.roles import URGENT_PHRASES, Watcher, _prepare_voice


class Away:
    def __init__(self):
        self.asked = []

    async def prepare(self, texts, progress=None):
        self.asked.append(len(texts))
        raise ProviderError("google", Failure.UNAVAILABLE, "nobody there")


async def test_a_voice_that_is_away_at_the_start_does_not_stop_it():
    house, voice = SimpleNamespace(missing={}), Away()
    phrases = [f"משפט {number}." for number in range(10)]
    async with AsyncExitStack() as stack:
        await _prepare_voice(house, voice, phrases, stack, Watcher())
        with anyio.fail_after(5):
            while "voice" in house.missing:
                await anyio.sleep(0)
    assert voice.asked == [URGENT_PHRASES, 10]
