"""The canary goes in before any caller: an engine is back when it has answered it."""

from contextlib import asynccontextmanager

import anyio
import pytest

from moked.errors import Failure, Overloaded
from moked.stt import canary
from moked.stt.failover import Breaker, State
from moked.stt.utterance import Transcription, UtteranceStream
from tests.stt.hearing import FakeEngine, Fault
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


def now():
    return int(anyio.current_time() * 1000)


async def until(state, breaker, within_s):
    with anyio.fail_after(within_s):
        while breaker.state(now()) is not state:
            await anyio.sleep(0.1)


async def test_nobody_asks_before_the_time_and_the_first_answer_closes_it():
    engine, breaker = FakeEngine("google", []), Breaker()
    breaker.failed(now(), Failure.QUOTA)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(canary.watch, [engine], {"google": breaker})
        await anyio.sleep(59.9)
        assert engine.opened == []
        await until(State.CLOSED, breaker, 2)
        await anyio.sleep(100)
        tasks.cancel_scope.cancel()
    assert engine.opened == [0]
    assert engine.finished == 1
    assert engine.open_now == 0


@pytest.mark.parametrize("kind", ["refuse", "hang", "kill", "close", "stall", "block"])
async def test_an_engine_that_is_not_back_is_left_alone_for_longer_each_time(kind):
    faults = [Fault(kind, stream=0, failure=Failure.UNAVAILABLE), Fault(kind, stream=1, failure=Failure.UNAVAILABLE)]
    engine, breaker = FakeEngine("google", [], faults=faults), Breaker()
    for _ in range(2):
        breaker.failed(now(), Failure.UNAVAILABLE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(canary.watch, [engine], {"google": breaker})
        await until(State.CLOSED, breaker, 300)
        tasks.cancel_scope.cancel()
    assert len(engine.opened) == 3
    assert now() > 30_000 + 60_000 + 120_000


async def test_where_our_own_request_is_refused_it_is_asked_again_without_haste():
    engine = FakeEngine("google", [], faults=[Fault("refuse", stream=n, failure=Failure.CONFIG) for n in range(2)])
    breaker = Breaker()
    breaker.failed(now(), Failure.QUOTA)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(canary.watch, [engine], {"google": breaker})
        await until(State.CLOSED, breaker, 100)
        tasks.cancel_scope.cancel()
    assert len(engine.opened) == 3
    assert now() > 60_000 + 2 * 10_000


async def test_whole_utterances_are_really_asked():
    class Whole:
        name = "whole"
        asked = 0
        full = False

        @asynccontextmanager
        async def stream(self, *, origin_ms, hints=()):
            async def transcribe(audio):
                self.asked += 1
                if self.full:
                    raise Overloaded("full")
                return Transcription("")

            async with UtteranceStream(transcribe, engine=self.name, origin_ms=origin_ms) as stream:
                yield stream

    engine = Whole()
    assert await canary.ask(engine) is None
    assert engine.asked == 1
    engine.full = True
    assert (await canary.ask(engine)).kind is Failure.TIMEOUT
