"""A thousand short calls, fifty at a time, of every kind: afterwards nothing is left of them but their records.

The callers are light (frames of 100 ms, no marks), so that two cores can play both ends of fifty calls a second.
"""

import asyncio
import ctypes
import gc
import logging
import os
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import anyio
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from moked import bus
from moked.crm import db
from moked.crm.models import Call, CallEvent, Lead, StreamTicket, Turn
from moked.media.vad import VadBatcher
from moked.simulate.carrier import Carrier, new_client
from moked.simulate.twiml import ConnectStream, TwimlRun
from moked.simulate.wire import CarrierStream
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = pytest.mark.slow

CALLS, AT_ONCE, WARM = 1000, 50, 500
CHUNK = 800  # 100 ms
LINE = b"\xff" * 4000 + says("נזילה") + b"\xff" * 800
KINDS = ("talks", "talks", "talks", "talks", "greeting", "greeting", "dies", "dies", "wrong_token", "never_comes")


async def one_call(home, http, number):
    kind = KINDS[number % len(KINDS)]
    sid = "CA" + uuid4().hex
    setup = home.setup(caller=f"+97252{number:07}")
    carrier = Carrier(sid, setup, http)
    answer = await carrier.request("POST", carrier.url("/webhook/incoming_call"), {}, status="ringing")
    twiml = TwimlRun()
    twiml.load(setup.base_url, answer.text)
    step = twiml.step()
    assert isinstance(step, ConnectStream), (home.house.media.active, number, answer.text)
    if kind != "never_comes":
        parameters = {**step.parameters, **({"token": "x" * 43} if kind == "wrong_token" else {})}
        await media(kind, step.url, carrier, CarrierStream("MZ" + uuid4().hex, sid, setup.account_sid, parameters))
    await carrier.call_completed(1)
    while sid in home.house.media.call_sids:  # no more than AT_ONCE, those that are finishing included
        await anyio.sleep(0.05)


async def media(kind, url, carrier, stream):
    line = LINE if kind == "talks" else LINE[: 3 * CHUNK]
    async with (
        connect(
            url, additional_headers=carrier.signature(url), compression=None, proxy=None, ping_interval=None
        ) as socket,
        anyio.create_task_group() as tasks,
    ):

        async def listen():
            with suppress(ConnectionClosed):
                while True:
                    await socket.recv()

        tasks.start_soon(listen)
        with suppress(ConnectionClosed):
            for message in stream.opening():
                await socket.send(message)
            began = time.monotonic()
            for at in range(0, len(line), CHUNK):
                await anyio.sleep(max(0, began + (at + CHUNK) / 8000 - time.monotonic()))
                await socket.send(stream.media(line[at : at + CHUNK]))
            if kind == "dies":
                socket.transport.abort()
            else:
                await socket.send(stream.stop())
                await socket.wait_closed()
        tasks.cancel_scope.cancel()


class Left:
    """What the process holds now, once all calls are over."""

    def __init__(self):
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)  # what is free but not given back yet is not held
        tasks = [task for task in asyncio.all_tasks() if not task.done()]
        self.tasks = Counter(task.get_coro().__qualname__ for task in tasks)
        self.threads = Counter(thread.name.rsplit("-", 1)[0].rstrip("0123456789_") for thread in threading.enumerate())
        links = [str(fd.readlink()) for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink()]
        self.database = sum("/moked.db" in link for link in links)
        self.files = len(links) - self.database
        self.objects = len(gc.get_objects())
        self.megabytes = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**20

    def __repr__(self):
        counted = f"{sum(self.tasks.values())} tasks, {self.files} files, {self.objects} objects"
        return f"{counted}, {self.megabytes:.1f} MB, threads: {dict(self.threads)}"


async def quiet(home):
    """All calls are over, and so is what their ends have begun."""
    with anyio.fail_after(20):
        while home.house.media.active or home.speech.open_streams:
            await anyio.sleep(0.05)
    await anyio.sleep(0.5)
    home.crm._write.kw["bind"].dispose()  # connections keep caches of bounded size, and come again when needed


def test_a_thousand_calls_leave_nothing_behind(tmp_path):
    """In a process of its own: what is there is counted, and nobody else's is."""
    told = subprocess.run(
        [sys.executable, "-m", "tests.wire.test_soak", str(tmp_path)],
        capture_output=True, text=True, timeout=280, check=False,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},  # an arena a thread is no leak, and hides one
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr


async def soak(tmp_path):
    # What is kept on purpose, and bounded, is full before the measurement begins.
    bus.TOPICS = 100
    logging.disable()
    async with house(tmp_path, max_calls=200) as home:
        home.speech.streams = deque(maxlen=10)  # the emulator remembers them; that is not what is measured
        numbers = iter(range(CALLS))

        async def callers(until, http):
            for number in numbers:
                await one_call(home, http, number)
                if number >= until:
                    return

        async def some(until):
            async with new_client(home.base_url) as http, anyio.create_task_group() as tasks:
                for _ in range(AT_ONCE):
                    tasks.start_soon(callers, until, http)
            await quiet(home)

        await some(WARM - AT_ONCE)
        warm, began, cpu = Left(), time.monotonic(), time.process_time()
        await some(CALLS)
        took, cpu = time.monotonic() - began, time.process_time() - cpu
        after = Left()
        print(f"\nwarm:  {warm}\nafter: {after}\n{took:.1f} s, {cpu:.1f} s of CPU")

        assert after.tasks == warm.tasks
        assert after.files <= warm.files
        assert after.database <= warm.database + 10  # connections of pools that have a bound
        assert sum(after.threads.values()) <= sum(warm.threads.values()) + 4  # of pools that have a bound
        assert after.objects - warm.objects < CALLS - WARM  # less than one a call: of those calls nothing is there
        assert after.megabytes - warm.megabytes < 10
        media_server, memory_bus = home.house.media, home.house.bus
        assert (media_server.active, media_server.call_sids) == (0, [])
        assert len(memory_bus._topics) <= bus.TOPICS
        assert memory_bus._watchers._by_topic.keys() == {
            "rollout",
            "orders",
            "agent",
            "businesses",
        }  # the process's own
        (vad,) = (thing for thing in gc.get_objects() if isinstance(thing, VadBatcher) and thing._loop is not None)
        assert sorted(vad._free) == list(range(vad._state.shape[1]))
        assert not (home.house.settings.data_dir / "spill.jsonl").exists()

        engine = db.connect(home.house.settings.database)
        with Session(engine) as session:
            ended = dict(
                session.execute(
                    select(Call.outcome, func.count()).where(Call.ended_at.is_not(None)).group_by(Call.outcome)
                ).all()
            )
            assert ended == {"caller_hung_up": 600, "broken": 200, "no_stream": 200}
            assert session.scalar(select(func.count()).select_from(Call)) == CALLS
            lead_or_reason = (Call.lead_id.is_(None)) == (Call.lead_missing_reason.is_(None))
            assert session.scalar(select(func.count()).select_from(Call).where(lead_or_reason)) == 0
            greeted = select(func.count(Turn.call_id.distinct())).where(Turn.number == 0)
            assert session.scalar(greeted) == 800
            assert (
                session.scalar(select(func.count()).select_from(Turn).where(Turn.caller_text.contains("נזילה"))) == 400
            )
            assert session.scalar(select(func.count()).select_from(Lead)) > 0
            assert session.scalar(select(func.count()).select_from(CallEvent)) >= CALLS
            used = select(func.count()).select_from(StreamTicket).where(StreamTicket.used_at.is_not(None))
            assert session.scalar(used) == 800
        engine.dispose()


if __name__ == "__main__":
    asyncio.run(soak(Path(sys.argv[1])))
