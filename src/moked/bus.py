"""Live events: what happens in a call, for those who watch it now. Nothing depends on it being seen.

    publish(topic, event, data)  -->  ring of the last events of the topic  -->  each subscriber's bounded queue

Event ids are "milliseconds-sequence", as Redis Streams make them, and serve as ids of server-sent events: a viewer that
reconnects says the last one it saw and gets what it missed. When that is no longer possible, or when it read too
slowly, it gets one `resync` event: fetch the whole state again, then go on from here.

`MemoryBus` serves one process, `RedisBus` several. `publish` never waits and never raises: no watcher slows a
call. Both are used from the event loop's thread only, and inside `running()`.
"""

import itertools
import json
import logging
import time
from collections import OrderedDict, defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, Protocol
from uuid import uuid4

import anyio
import msgspec

from moked import metrics
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

RING: Final = 1000  # events kept a topic
TOPICS: Final = 1000
IDLE_SECONDS: Final = 600  # a topic without events is forgotten
PENDING: Final = 256  # events waiting for one subscriber
OUTGOING: Final = 1024  # events waiting for Redis

Key = tuple[int, int]
"""An event id as numbers, so that ids can be compared."""

_START: Final[Key] = (0, 0)


class BusEvent(msgspec.Struct, frozen=True, gc=False):
    """`data` is JSON-ready. An event named `resync` means: some events are missing before this point."""

    id: str
    event: str
    data: dict[str, Any]


class Bus(Protocol):
    def publish(self, topic: str, event: str, data: dict[str, Any]) -> None:
        """Tell the watchers of `topic`. Never waits, never raises."""

    def subscribe(self, topic: str, after: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[BusEvent]]:
        """Events of `topic` from now on; with `after`, first those kept that came after that id.

        The iterator ends when the bus stops. `after` may come from a stranger: what cannot be an id counts as too old.
        Entering raises `ProviderError` when the events cannot be reached.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Serve while entered; on exit every subscription ends. Entered once, by the role."""


async def heed(bus: Bus, topic: str, heard: Callable[[], None], *, again_s: float = 5.0) -> None:
    """Call `heard` for everything that is said on `topic`, until the bus is closed; while it is away, ask again every
    `again_s`. For who looks at the record all the same, only later."""
    while True:
        try:
            async with bus.subscribe(topic) as events:
                async for _ in events:
                    heard()
            return
        except ProviderError:
            await anyio.sleep(again_s)


async def announce(redis_url: str, topic: str, event: str) -> None:
    """Say it on the bus of other processes, from one that is on no bus. Who looks at the record learns of it anyway."""
    bus = RedisBus(redis_url)
    async with bus.running():
        bus.publish(topic, event, {})


def _key(text: str) -> Key:
    """The id as numbers; the oldest possible for what is no id."""
    first, _, second = text.partition("-")
    ok = first.isascii() and first.isdigit() and len(first) < 20 and (not second or second.isascii())
    if not ok or not (second or "0").isdigit() or len(second) >= 20:
        return _START
    return int(first), int(second or "0")


def _id(key: Key) -> str:
    return f"{key[0]}-{key[1]}"


class _Subscription:
    """One watcher's queue: bounded, oldest dropped, with a `resync` where something is missing."""

    def __init__(self) -> None:
        self._events: deque[BusEvent] = deque()
        self._news = anyio.Event()
        self._lost = False
        self._closed = False
        self.last = _START  # the newest event offered; older ones are repetitions

    def offer(self, event: BusEvent) -> None:
        key = _key(event.id)
        if key <= self.last:
            return
        self.last = key
        if len(self._events) >= PENDING:
            self._events.popleft()
            self._lost = True
            metrics.queue_drops.labels("bus_subscriber").inc()
        self._events.append(event)
        self._news.set()

    def resync(self) -> None:
        self._lost = True
        self._news.set()

    def close(self) -> None:
        self._closed = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[BusEvent]:
        return self

    async def __anext__(self) -> BusEvent:
        while not self._lost and not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        if not self._lost:
            return self._events.popleft()
        self._lost = False
        # A viewer that comes back with this id must get the next event again: the id is just before it.
        return BusEvent(_id(_before(self._events[0]) if self._events else self.last), "resync", {})


def _before(event: BusEvent) -> Key:
    ms, sequence = _key(event.id)
    return (ms, sequence - 1) if sequence else (ms - 1, 999_999)


class _Watchers:
    """The subscriptions of one process, by topic."""

    def __init__(self) -> None:
        self._by_topic: defaultdict[str, set[_Subscription]] = defaultdict(set)
        self._closed = False

    def add(self, topic: str) -> _Subscription:
        subscription = _Subscription()
        self._by_topic[topic].add(subscription)
        if self._closed:
            subscription.close()
        return subscription

    def remove(self, topic: str, subscription: _Subscription) -> None:
        self._by_topic[topic].discard(subscription)
        if not self._by_topic[topic]:
            del self._by_topic[topic]

    def tell(self, topic: str, event: BusEvent) -> None:
        for subscription in self._by_topic.get(topic, ()):
            subscription.offer(event)

    def __contains__(self, topic: str) -> bool:
        return topic in self._by_topic

    def close(self) -> None:
        self._closed = True
        for subscription in itertools.chain.from_iterable(self._by_topic.values()):
            subscription.close()


# --- in one process -------------------------------------------------------------------------------------------------


class _Topic:
    def __init__(self, floor: Key) -> None:
        self.events: deque[BusEvent] = deque(maxlen=RING)
        self.floor = floor  # events up to this id may have been forgotten
        self.touched = 0.0


class MemoryBus:
    """The bus of one process. `clock` is in seconds and may be a test's."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._topics: OrderedDict[str, _Topic] = OrderedDict()  # longest idle first
        self._watchers = _Watchers()
        self._last: Key = (int(clock() * 1000), 0)
        self._floor = self._last  # of topics that are forgotten, or were before this process began

    def publish(self, topic: str, event: str, data: dict[str, Any]) -> None:
        now = self._clock()
        self._last = max((int(now * 1000), 0), (self._last[0], self._last[1] + 1))
        kept = self._topics.get(topic)
        if kept is None:
            kept = self._topics[topic] = _Topic(self._floor)
        self._topics.move_to_end(topic)
        kept.touched = now
        if len(kept.events) == RING:
            kept.floor = _key(kept.events[0].id)
        news = BusEvent(_id(self._last), event, data)
        kept.events.append(news)
        self._watchers.tell(topic, news)
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._topics:
            topic, oldest = next(iter(self._topics.items()))
            if len(self._topics) <= TOPICS and now - oldest.touched <= IDLE_SECONDS:
                return
            self._floor = max(self._floor, _key(oldest.events[-1].id))
            del self._topics[topic]

    @asynccontextmanager
    async def subscribe(self, topic: str, after: str | None = None) -> AsyncIterator[AsyncIterator[BusEvent]]:
        subscription = self._watchers.add(topic)
        try:
            if after is None:
                subscription.last = self._last
            else:
                kept = self._topics.get(topic)
                subscription.last = min(_key(after), self._last)
                if subscription.last < (kept.floor if kept else self._floor):
                    subscription.resync()
                missed = [event for event in kept.events if _key(event.id) > subscription.last] if kept else []
                _replay(subscription, missed)
            yield subscription
        finally:
            self._watchers.remove(topic, subscription)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            self._watchers.close()


def _replay(subscription: _Subscription, missed: list[BusEvent]) -> None:
    """The newest of `missed` that fit; a viewer that missed more starts over anyway."""
    if len(missed) > PENDING:
        subscription.resync()
    for event in missed[-PENDING:]:
        subscription.offer(event)


# --- between processes ----------------------------------------------------------------------------------------------


class RedisBus:
    """The bus of several processes, on Redis Streams. One blocking reader a process, fanned out here.

    While Redis is away, up to `OUTGOING` events wait and are sent when it is back; the oldest are dropped. An event
    whose confirmation was lost is sent again; it carries its number, so that nobody sees it twice. Streams expire after
    `IDLE_SECONDS` without an event.
    """

    def __init__(self, url: str, *, prefix: str = "moked:bus:") -> None:
        from redis.asyncio import Redis  # an optional dependency

        # Any: the types of its answers are unions of everything, for protocols and decodings that are not used here.
        self._redis: Any = Redis.from_url(
            url, protocol=2, decode_responses=True, socket_connect_timeout=3, socket_timeout=5
        )
        self._prefix = prefix
        self._wake_key = f"{prefix}wake:{uuid4().hex}"
        self._watchers = _Watchers()
        self._positions: dict[str, Key] = {}  # topics being read, and the last id read
        self._seen: dict[str, dict[str, int]] = {}  # by topic: the highest number of each process
        self._name, self._numbers = uuid4().hex[:12], itertools.count()
        self._outgoing: deque[tuple[str, dict[str, Any]]] = deque()
        self._work = anyio.Event()

    def publish(self, topic: str, event: str, data: dict[str, Any]) -> None:
        if len(self._outgoing) >= OUTGOING:
            self._outgoing.popleft()
            metrics.queue_drops.labels("bus_outgoing").inc()
        sent = {"event": event, "data": _json(data), "by": self._name, "n": next(self._numbers)}
        self._outgoing.append((self._prefix + topic if topic else self._wake_key, sent))
        self._work.set()

    @asynccontextmanager
    async def subscribe(self, topic: str, after: str | None = None) -> AsyncIterator[AsyncIterator[BusEvent]]:
        """See `Bus`: what was missed is fetched until the live reader is not ahead of it, then the two are joined."""
        with _provider_errors():
            key = self._prefix + topic
            newest = await self._redis.xrevrange(key, count=1)
            last = end = _key(newest[0][0]) if newest else _START
            lost = False
            missed: list[BusEvent] = []
            seen: dict[str, int] = {}
            if after is not None:
                lost = await self._lost_after(key, _key(after))
                last = min(_key(after), end)
                for _, fields in await self._redis.xrange(key, min=_id(last), max=_id(last)):
                    _is_double(seen, fields)  # what came with it, or before it, is known
            while last < end or self._positions.get(topic, _START) > last:
                entries = await self._redis.xrange(key, min=f"({_id(last)}")
                missed += [_event(*entry) for entry in entries if not _is_double(seen, entry[1])]
                last = end = _key(entries[-1][0]) if entries else max(end, self._positions.get(topic, _START))
        # From here on nothing waits: no event can come between.
        if topic not in self._positions:
            self._positions[topic], self._seen[topic] = last, seen
            self.publish("", "wake", {})  # the reader reads a stream of its own too, so this makes it look again
        subscription = self._watchers.add(topic)
        try:
            if lost:
                subscription.resync()
            _replay(subscription, missed)
            subscription.last = last
            yield subscription
        finally:
            self._watchers.remove(topic, subscription)
            if topic not in self._watchers:
                self._positions.pop(topic, None)
                self._seen.pop(topic, None)

    async def _lost_after(self, key: str, after: Key) -> bool:
        """Whether events after `after` may have been trimmed away, or have expired with their stream."""
        oldest = await self._redis.xrange(key, count=1)
        if not oldest or after == _START:
            return True
        first = _key(oldest[0][0])
        if after >= first:
            return False
        about = await self._redis.xinfo_stream(key)
        trimmed = about.get("entries-added", 0) != about["length"]  # Redis 7; before that nobody can tell
        return bool(trimmed) or first[0] - after[0] >= IDLE_SECONDS * 1000

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._keep, self._send, name="bus-send")
            tasks.start_soon(self._keep, self._read, name="bus-read")
            try:
                yield
            finally:
                self._watchers.close()
                with anyio.move_on_after(1, shield=True):
                    while self._outgoing:  # the last events, such as call.ended
                        await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    await self._redis.aclose()

    async def _keep(self, work: Callable[[], Awaitable[None]]) -> None:
        """Run `work` for ever, with a pause after each failure of Redis. One warning an outage."""
        from redis.exceptions import RedisError

        pause = 0.1
        while True:
            started = time.monotonic()
            try:
                await work()
            except (RedisError, OSError) as error:
                if time.monotonic() - started > 5:
                    pause = 0.1
                if pause == 0.1:
                    log.warning("live events: redis failed", extra={"error": type(error).__name__})
                await anyio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _send(self) -> None:
        while True:
            batch = list(itertools.islice(self._outgoing, 100))
            if not batch:
                self._work = anyio.Event()
                await self._work.wait()
                continue
            sending = self._redis.pipeline(transaction=True)
            for key, fields in batch:
                sending.xadd(key, fields, maxlen=RING, approximate=True)
                sending.expire(key, IDLE_SECONDS)
            await sending.execute()
            sent = set(map(id, batch))  # meanwhile a full queue may have dropped some of them
            while self._outgoing and id(self._outgoing[0]) in sent:
                self._outgoing.popleft()

    async def _read(self) -> None:
        wake = "0-0"
        while True:
            positions = {self._prefix + topic: _id(last) for topic, last in self._positions.items()}
            # The wait is shorter than the socket's timeout, which finds a peer that died without a word.
            answer = await self._redis.xread({**positions, self._wake_key: wake}, count=200, block=2000)
            for key, entries in answer:
                if key == self._wake_key:
                    wake = entries[-1][0]
                    continue
                topic = key.removeprefix(self._prefix)
                if topic in self._positions:  # else the last watcher left meanwhile
                    for entry in entries:
                        self._positions[topic] = max(self._positions[topic], _key(entry[0]))
                        if not _is_double(self._seen[topic], entry[1]):
                            self._watchers.tell(topic, _event(*entry))


def _is_double(seen: dict[str, int], fields: Mapping[str, str]) -> bool:
    """Whether this event of its process came before. `seen` remembers it."""
    by, number = fields.get("by", ""), fields.get("n", "")
    if not number.isdecimal():
        return False
    if int(number) <= seen.get(by, -1):
        return True
    seen[by] = int(number)
    return False


def _event(entry: str, fields: Mapping[str, str]) -> BusEvent:
    try:
        return BusEvent(entry, fields["event"], msgspec.json.decode(fields["data"], type=dict[str, Any]))
    except (KeyError, msgspec.DecodeError):  # somebody else wrote into our stream
        return BusEvent(entry, "resync", {})


def _json(data: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(data, enc_hook=str)
    except UnicodeEncodeError:  # half a surrogate pair, from the network
        return json.dumps(data, default=str, ensure_ascii=False).encode("utf-8", "replace")


@contextmanager
def _provider_errors() -> Iterator[None]:
    from redis.exceptions import AuthenticationError, RedisError

    try:
        yield
    except (RedisError, OSError) as error:
        kind = Failure.AUTH if isinstance(error, AuthenticationError) else Failure.UNAVAILABLE
        raise ProviderError("redis", kind, str(error) or type(error).__name__) from error


async def redis_ping(url: str, timeout: float = 3.0) -> None:
    """Ask the Redis at `url` for a sign of life. Raises `ProviderError`."""
    from redis.asyncio import Redis

    with _provider_errors():
        client = Redis.from_url(url, socket_connect_timeout=timeout, socket_timeout=timeout)
        try:
            await client.ping()
        finally:
            await client.aclose()
