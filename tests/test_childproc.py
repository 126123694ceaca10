"""The child-process runner: answers in order, bounded, and back after a kill."""

import os
import signal
import time
from pathlib import Path

import anyio
import pytest

from moked.childproc import Child
from moked.errors import Failure, Overloaded, ProviderError


def serve(config):
    def handler(request):
        if request.get("fail"):
            raise ValueError("bad ask")
        if request.get("until_withdrawn"):
            while not request["withdrawn"]():
                time.sleep(0.01)
            raise InterruptedError
        for number in range(request.get("times", 1)):
            time.sleep(request.get("nap", 0))
            print("a stray print does not break the frames")
            yield {"text": config["prefix"] + request["text"], "number": number}

    return handler


@pytest.fixture
async def child(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (Path.cwd(), Path.cwd() / "src"))))
    part = Child("tests.test_childproc", {"prefix": "<"}, name="echo", max_pending=3)
    async with part.running():
        yield part


async def _all(child, request, seconds=20):
    async with child.ask(request, timeout=seconds) as answers:
        return [answer["text"] async for answer in answers]


async def test_answers_come_in_order_and_an_error_fails_one_ask(child):
    assert await _all(child, {"text": "שלום", "times": 3}) == ["<שלום"] * 3
    with pytest.raises(ProviderError, match="bad ask"):
        await _all(child, {"text": "x", "fail": True})
    assert await _all(child, {"text": "y"}) == ["<y"]


async def test_a_killed_child_fails_its_ask_and_serves_the_next(child):
    await _all(child, {"text": "warm"})
    async with anyio.create_task_group() as tasks:

        async def doomed():
            with pytest.raises(ProviderError) as caught:
                await _all(child, {"text": "x", "nap": 5})
            assert caught.value.kind is Failure.UNAVAILABLE

        tasks.start_soon(doomed)
        while child.pending == 0 or child.pid is None:
            await anyio.sleep(0.01)
        await anyio.sleep(0.05)
        os.kill(child.pid, signal.SIGKILL)
    assert await _all(child, {"text": "again"}) == ["<again"]
    assert child.restarts == 1


async def test_a_full_queue_refuses_and_a_late_answer_is_an_error(child):
    await _all(child, {"text": "warm"})
    async with anyio.create_task_group() as tasks:

        async def late():
            with pytest.raises(ProviderError) as caught:
                await _all(child, {"text": "x", "nap": 0.6}, 0.2)
            assert caught.value.kind is Failure.TIMEOUT

        for _ in range(3):
            tasks.start_soon(late)
        await anyio.sleep(0.05)
        with pytest.raises(Overloaded):
            await _all(child, {"text": "one too many"})
    assert child.pending <= 1


async def test_a_withdrawn_ask_is_never_worked_on(child):
    await _all(child, {"text": "warm"})
    with anyio.move_on_after(0.05):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_all, child, {"text": "long", "nap": 0.5})
            tasks.start_soon(_all, child, {"text": "waiting", "nap": 60})
    started = time.monotonic()
    assert await _all(child, {"text": "next"}) == ["<next"]
    assert time.monotonic() - started < 10


async def test_a_handler_can_see_that_its_asker_has_gone(child):
    freed = 0

    def count():
        nonlocal freed
        freed += 1

    child._on_free = count
    await _all(child, {"text": "warm"})
    with anyio.move_on_after(0.2):
        await _all(child, {"text": "x", "until_withdrawn": True})
    with anyio.fail_after(10):
        assert await _all(child, {"text": "next"}) == ["<next"]
    assert child.restarts == 0
    assert freed >= 3, "after each ask"


async def test_the_memory_of_the_child_is_told(child):
    assert child.memory == 0 or child.pid is not None
    await _all(child, {"text": "warm"})
    assert child.loaded
    assert 5_000_000 < child.memory < 2_000_000_000


async def test_a_signal_to_all_processes_leaves_it_to_its_parent(child):
    """Ctrl-C reaches the whole group: while calls are drained the child still serves."""
    await _all(child, {"text": "warm"})
    pid = child.pid
    os.kill(pid, signal.SIGINT)
    os.kill(pid, signal.SIGTERM)
    assert await _all(child, {"text": "still"}) == ["<still"]
    assert (child.pid, child.restarts) == (pid, 0)
