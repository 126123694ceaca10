import time

import anyio
import pytest

from tests.virtual_time import VIRTUAL_TIME


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


async def test_an_hour_passes_at_once():
    started, real = anyio.current_time(), time.monotonic()
    await anyio.sleep(3600)
    assert anyio.current_time() - started == pytest.approx(3600)
    assert time.monotonic() - real < 5


async def test_order_is_kept():
    seen = []

    async def note(delay, name):
        await anyio.sleep(delay)
        seen.append(name)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(note, 0.3, "c")
        tasks.start_soon(note, 0.1, "a")
        tasks.start_soon(note, 0.2, "b")
    assert seen == ["a", "b", "c"]
