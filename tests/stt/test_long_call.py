"""A long call over streams of 20 seconds, faster than it is spoken: `bench.long_call` runs its twenty minutes."""

import pytest

from bench import long_call

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def test_a_call_of_many_streams_keeps_every_word():
    result = await long_call.run(minutes=2.5, limit_s=20, speed=15)
    assert (result["lost"], result["doubled"]) == ([], [])
    assert result["words"] > 300
    assert result["moves"]["rotation"] >= 5
