"""Live events: one contract, both buses; then what each does alone."""

import itertools
import os
import socket
import uuid
from contextlib import asynccontextmanager

import anyio
import pytest

from moked import bus as bus_module
from moked import metrics
from moked.bus import PENDING, RING, MemoryBus, RedisBus, redis_ping
from moked.errors import ProviderError

URL = "redis://127.0.0.1:6379/0"

pytestmark = pytest.mark.anyio


def _redis_is_absent():
    try:
        socket.create_connection(("127.0.0.1", 6379), timeout=1).close()
    except OSError:
        return True
    return False


@pytest.fixture
async def redis_prefix():
    """A prefix of this test's own; its keys are deleted afterwards."""
    if _redis_is_absent():
        if os.environ.get("CI"):
            pytest.fail("no Redis on 127.0.0.1:6379")
        pytest.skip("no Redis on 127.0.0.1:6379")
    from redis.asyncio import Redis

    prefix = f"moked-test:{uuid.uuid4().hex}:"
    yield prefix
    async with Redis.from_url(URL) as redis:
        async for key in redis.scan_iter(prefix + "*"):
            await redis.delete(key)


@pytest.fixture(params=["memory", "redis"])
def make(request):
    """A function that makes a bus; those of one test see the same events where the kind can."""
    if request.param == "memory":
        one = MemoryBus()
        return lambda: one
    prefix = request.getfixturevalue("redis_prefix")
    return lambda: RedisBus(URL, prefix=prefix)


async def _take(events, count, within=5):
    with anyio.fail_after(within):
        return [await anext(events) for _ in range(count)]


def _told(events):
    return [(event.event, event.data) for event in events]


async def _nothing(events):
    with anyio.move_on_after(0.05) as scope:
        await anext(events)
    assert scope.cancelled_caught


async def _publish(bus, topic, count):
    """Publish and wait until all are kept: watched by a subscription of our own."""
    async with bus.subscribe(topic) as events:
        done = []
        for number in range(count):
            bus.publish(topic, "n", {"n": number})
            if number % 100 == 99:
                done += await _take(events, 100)
        return done + await _take(events, count % 100)


# --- the contract ---------------------------------------------------------------------------------------------------


async def test_live_events_come_in_order_to_every_watcher(make):
    bus = make()
    async with bus.running(), bus.subscribe("call:1") as first, bus.subscribe("call:1") as second:
        bus.publish("call:1", "turn.final", {"text": "שלום"})
        bus.publish("call:2", "turn.final", {"text": "other"})
        bus.publish("call:1", "call.ended", {})
        for events in (first, second):
            assert _told(await _take(events, 2)) == [("turn.final", {"text": "שלום"}), ("call.ended", {})]
            await _nothing(events)


async def test_only_from_now_on_unless_asked(make):
    bus = make()
    async with bus.running():
        await _publish(bus, "t", 3)
        async with bus.subscribe("t") as events:
            await _nothing(events)


async def test_a_viewer_that_comes_back_misses_nothing(make):
    bus = make()
    async with bus.running():
        sent = await _publish(bus, "t", 5)
        async with bus.subscribe("t", after=sent[1].id) as events:
            bus.publish("t", "live", {})
            assert await _take(events, 3) == sent[2:]
            assert _told(await _take(events, 1)) == [("live", {})]
        async with bus.subscribe("t", after=sent[-1].id) as events:
            assert _told(await _take(events, 1)) == [("live", {})]


async def test_events_during_coming_back_come_once(make):
    bus = make()
    async with bus.running(), bus.subscribe("t") as watcher:
        sent = await _publish(bus, "t", 2)
        await _take(watcher, 2)
        seen = []
        async with anyio.create_task_group() as tasks:

            async def publish():
                for number in range(60):
                    bus.publish("t", "n", {"n": number})
                    await anyio.sleep(0)

            tasks.start_soon(publish)
            for _ in range(10):
                async with bus.subscribe("t", after=sent[0].id) as events:
                    seen.append(await _take(events, 61))
        everything = [sent[1], *await _take(watcher, 60)]
        assert all(got == everything for got in seen)


@pytest.mark.parametrize("after", ["", "x", "-1", "1-x", "٣-٣", "9" * 50, "1-" + "9" * 50, "-", "0-0"])
async def test_an_id_that_is_none_means_resync_and_all_that_is_kept(make, after):
    bus = make()
    async with bus.running():
        sent = await _publish(bus, "t", 2)
        async with bus.subscribe("t", after=after) as events:
            resync, *rest = await _take(events, 3)
            assert (resync.event, rest) == ("resync", sent)


async def test_an_id_from_the_future_still_gets_live_events(make):
    bus = make()
    async with bus.running():
        await _publish(bus, "t", 1)
        async with bus.subscribe("t", after="99999999999999-0") as events:
            bus.publish("t", "live", {})
            assert _told(await _take(events, 1)) == [("live", {})]


async def test_a_topic_that_is_not_known_means_resync(make):
    bus = make()
    async with bus.running(), bus.subscribe("gone", after="1700000000000-3") as events:
        assert (await _take(events, 1))[0].event == "resync"


async def test_an_id_from_before_the_topic_was_forgotten_means_resync(make):
    bus = make()
    async with bus.running():
        sent = await _publish(bus, "t", 1)
        long_ago = f"{int(sent[0].id.partition('-')[0]) - 700_000}-0"
        async with bus.subscribe("t", after=long_ago) as events:
            resync, kept = await _take(events, 2)
            assert (resync.event, kept) == ("resync", sent[0])


async def test_a_slow_watcher_loses_the_oldest_and_is_told(make):
    bus = make()
    before = metrics.queue_drops.labels("bus_subscriber")._value.get()
    async with bus.running(), bus.subscribe("t") as slow:
        sent = await _publish(bus, "t", PENDING + 40)
        resync, *rest = await _take(slow, PENDING + 1)
        assert resync.event == "resync"
        assert rest == sent[40:]
        async with bus.subscribe("t", after=resync.id) as again:  # the id of a resync is a place to go on from
            assert await _take(again, 3) == sent[40:43]
    assert metrics.queue_drops.labels("bus_subscriber")._value.get() - before == 40


async def test_stopping_ends_every_subscription(make):
    bus = make()
    ended = []

    async def watch(opened):
        async with bus.subscribe("t") as events:
            opened.set()
            ended.append([event async for event in events])

    async with anyio.create_task_group() as tasks:
        async with bus.running():
            opened = anyio.Event()
            tasks.start_soon(watch, opened)
            await opened.wait()
            bus.publish("t", "last", {})
            if isinstance(bus, MemoryBus):
                await anyio.sleep(0)
        with anyio.fail_after(2):
            while not ended:
                await anyio.sleep(0.01)


# --- in one process -------------------------------------------------------------------------------------------------


async def test_the_ring_forgets_the_oldest_and_says_so():
    bus = MemoryBus()
    async with bus.running():
        sent = await _publish(bus, "t", RING + 10)
        async with bus.subscribe("t", after=sent[2].id) as events:
            assert (await _take(events, 1))[0].event == "resync"
        async with bus.subscribe("t", after=sent[RING].id) as events:
            assert await _take(events, 9) == sent[RING + 1 :]


async def test_topics_are_forgotten_when_idle_and_when_many(monkeypatch):
    now = [1_800_000_000.0]
    bus = MemoryBus(clock=lambda: now[0])
    bus.publish("old", "x", {})
    now[0] += 601
    bus.publish("new", "x", {})
    assert list(bus._topics) == ["new"]
    for number in range(bus_module.TOPICS + 5):
        bus.publish(f"call:{number}", "x", {})
    assert len(bus._topics) == bus_module.TOPICS
    now[0] -= 3600  # a clock that was put back
    bus.publish("call:7", "x", {})
    assert [int(event.id.split("-")[0]) for event in bus._topics["call:7"].events] == [1_800_000_601_000] * 2


async def test_ids_grow_even_within_a_millisecond():
    bus = MemoryBus(clock=lambda: 1.0)
    async with bus.subscribe("t") as events:
        for _ in range(12):
            bus.publish("t", "x", {})
        ids = [bus_module._key(event.id) for event in await _take(events, 12)]
    assert ids == sorted(set(ids))


# --- between processes ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def _pair(prefix):
    web, media = RedisBus(URL, prefix=prefix), RedisBus(URL, prefix=prefix)
    async with web.running(), media.running():
        yield web, media


async def test_one_process_sees_the_events_of_another(redis_prefix):
    async with _pair(redis_prefix) as (web, media), web.subscribe("a") as a:
        media.publish("a", "x", {"n": 1})
        (first,) = await _take(a, 1)
        async with web.subscribe("b") as b:  # a topic added while the reader waits on another
            media.publish("b", "y", {})
            media.publish("a", "x", {"n": 2})
            assert _told(await _take(b, 1)) == [("y", {})]
            assert _told(await _take(a, 1)) == [("x", {"n": 2})]
        async with web.subscribe("a", after=first.id) as again:
            assert _told(await _take(again, 1)) == [("x", {"n": 2})]


async def test_an_event_while_the_missed_ones_are_fetched_is_not_lost(redis_prefix):
    """The live reader gets ahead of a newcomer between its question and the answer."""
    bus = RedisBus(URL, prefix=redis_prefix)
    async with bus.running(), bus.subscribe("t") as watcher:
        sent = await _publish(bus, "t", 2)
        await _take(watcher, 2)
        real, late = bus._redis.xrange, []

        async def xrange(*args, **kwargs):
            answer = await real(*args, **kwargs)
            if not late and "min" in kwargs:
                bus.publish("t", "late", {})
                late.extend(await _take(watcher, 1))
            return answer

        bus._redis.xrange = xrange
        async with bus.subscribe("t", after=sent[0].id) as events:
            assert await _take(events, 2) == [sent[1], *late]
            await _nothing(events)


async def test_an_event_that_was_fetched_does_not_come_live_again(redis_prefix):
    """The live reader is behind a newcomer that already fetched the event."""
    bus = RedisBus(URL, prefix=redis_prefix)
    real, gate = bus._redis.xread, anyio.Event()
    gate.set()

    async def xread(*args, **kwargs):
        answer = await real(*args, **kwargs)
        await gate.wait()
        return answer

    bus._redis.xread = xread
    async with bus.running(), bus.subscribe("t") as watcher:
        sent = await _publish(bus, "t", 1)
        await _take(watcher, 1)
        gate = anyio.Event()
        bus.publish("t", "held", {})
        with anyio.fail_after(5):
            while await bus._redis.xlen(redis_prefix + "t") < 2:
                await anyio.sleep(0.005)
        async with bus.subscribe("t", after=sent[0].id) as events:
            (held,) = await _take(events, 1)
            gate.set()
            assert await _take(watcher, 1) == [held]
            await _nothing(events)


async def test_streams_are_trimmed_and_expire(redis_prefix):
    from redis.asyncio import Redis

    bus = RedisBus(URL, prefix=redis_prefix)
    async with bus.running(), Redis.from_url(URL) as redis:
        sent = await _publish(bus, "t", RING + 300)
        key = redis_prefix + "t"
        assert await redis.xlen(key) < RING + 150
        assert 590 < await redis.ttl(key) <= 600
        async with bus.subscribe("t", after=sent[0].id) as events:
            assert (await _take(events, 1))[0].event == "resync"


async def test_odd_data_and_foreign_entries_do_not_stop_the_reader(redis_prefix):
    from redis.asyncio import Redis

    bus = RedisBus(URL, prefix=redis_prefix)
    async with bus.running(), bus.subscribe("t") as events, Redis.from_url(URL) as redis:
        bus.publish("t", "x", {"half": "\ud800", "odd": 1j})
        assert _told(await _take(events, 1)) == [("x", {"half": "?", "odd": "1j"})]
        await redis.xadd(redis_prefix + "t", {"foreign": "entry"})
        assert _told(await _take(events, 1)) == [("resync", {})]


async def test_a_lost_connection_loses_no_event(redis_prefix):
    from redis.asyncio import Redis

    async with _pair(redis_prefix) as (web, media), web.subscribe("t") as events, Redis.from_url(URL) as redis:
        media.publish("t", "n", {"n": 0})
        await _take(events, 1)
        ours = {bus._redis.connection_pool for bus in (web, media)}
        for pool in ours:
            for connection in (*pool._in_use_connections, *pool._available_connections):
                if connection._writer is not None:
                    connection._writer.transport.abort()
        for number in range(1, 5):
            media.publish("t", "n", {"n": number})
        got = await _take(events, 4, within=15)
        assert [event.data["n"] for event in got] == [1, 2, 3, 4]
        assert await redis.ping()


async def test_what_is_sent_again_is_seen_once(redis_prefix):
    """Redis has it, and the word of it was lost: the sender cannot know."""
    async with _pair(redis_prefix) as (web, media), web.subscribe("t") as events:
        media.publish("t", "n", {"n": 0})
        first = (await _take(events, 1))[0]
        media._numbers = itertools.count()  # ... as it would number the first once more
        media.publish("t", "n", {"n": 0})
        media.publish("t", "n", {"n": 1})
        media.publish("t", "n", {"n": 2})
        assert [event.data["n"] for event in await _take(events, 2)] == [1, 2]
        async with web.subscribe("t", "0-1") as again, web.subscribe("t", first.id) as later:
            assert [event.data.get("n") for event in (await _take(again, 4))[1:]] == [0, 1, 2]  # after "resync"
            assert [event.data["n"] for event in await _take(later, 2)] == [1, 2]


async def test_publish_is_bounded_while_redis_is_away(unused_tcp_port, caplog):
    bus = RedisBus(f"redis://127.0.0.1:{unused_tcp_port}/0")
    before = metrics.queue_drops.labels("bus_outgoing")._value.get()
    for number in range(bus_module.OUTGOING + 7):
        bus.publish("t", "n", {"n": number, "odd": object(), "half": "\ud800"})
    assert len(bus._outgoing) == bus_module.OUTGOING
    assert metrics.queue_drops.labels("bus_outgoing")._value.get() - before == 7
    with pytest.raises(ProviderError, match="redis: unavailable"):
        async with bus.subscribe("t"):
            pass
    with pytest.raises(ProviderError, match="redis: unavailable"):
        await redis_ping(f"redis://127.0.0.1:{unused_tcp_port}/0")


async def test_ping(redis_prefix):
    await redis_ping(URL)


@pytest.fixture
def unused_tcp_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
