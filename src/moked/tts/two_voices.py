"""Two voices behind one port: where the first gives no sound, the caller hears the second.

    speak -> first, unless it failed lately -- no sound in `patience_s`, or an error --> the same clause by the second

A clause that breaks off in the middle is said again from its beginning: a word twice is better than half of one. After
two failures in a row all clauses go to the second at once, and now and then one finds out whether the first is back
(`stt.failover.Breaker`). What the first has rendered before stays at hand whatever becomes of it.
"""

import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from moked import metrics
from moked.errors import Failure, ProviderError
from moked.stt.failover import Breaker, State
from moked.tts import Progress, Synthesizer
from moked.tts.cache import CachedSynthesizer

log = logging.getLogger(__name__)

_AHEAD = 8  # chunks


def _milliseconds() -> int:
    return int(anyio.current_time() * 1000)


class TwoVoices:
    """`patience_s`: so long the first may take to its first sound."""

    def __init__(
        self,
        first: CachedSynthesizer,
        second: Synthesizer,
        *,
        patience_s: float = 1.5,
        clock: Callable[[], int] = _milliseconds,
    ) -> None:
        self.name = first.name
        self._first = first
        self._second = second
        self._patience_s = patience_s
        self._clock = clock
        self._breaker = Breaker()

    def cached(self, text: str) -> bytes | None:
        return self._first.cached(text)

    def pronounce_as(self, words: Sequence[tuple[str, str]]) -> None:
        """The first one; the second says what it is given."""
        self._first.pronounce_as(words)

    async def prepare(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        await self._first.prepare(texts, progress)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._first.running(), self._second.running():
            yield

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        if self._breaker.state(self._clock()) is State.OPEN:
            async with aclosing(self._by_the_second(text)) as chunks:
                yield chunks
            return
        raised: Exception | None = None
        async with anyio.create_task_group() as tasks:
            send, receive = anyio.create_memory_object_stream[bytes | ProviderError](_AHEAD)
            tasks.start_soon(self._by_the_first, text, send)
            try:
                async with receive, aclosing(self._either(text, receive)) as chunks:
                    yield chunks
            except Exception as error:  # to be raised as itself, not in a group
                raised = error
            tasks.cancel_scope.cancel()
        if raised is not None:
            raise raised

    async def _either(
        self, text: str, first: MemoryObjectReceiveStream[bytes | ProviderError]
    ) -> AsyncGenerator[bytes, None]:
        patience_s = self._patience_s
        while True:
            item: bytes | ProviderError = ProviderError(self.name, Failure.TIMEOUT, "no sound in time")
            with anyio.move_on_after(patience_s):
                try:
                    item = await first.receive()
                except anyio.EndOfStream:
                    self._breaker.succeeded(self._clock())
                    return
            if isinstance(item, ProviderError):
                break
            patience_s = math.inf  # what has begun has the voice's own time limits
            yield item
        self._breaker.failed(self._clock(), item.kind)
        log.warning("a voice gave no sound", extra={"voice": self.name, "kind": item.kind.value})
        async with aclosing(self._by_the_second(text)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _by_the_first(self, text: str, out: MemoryObjectSendStream[bytes | ProviderError]) -> None:
        async with out:
            try:
                async with self._first.speak(text) as chunks:
                    async for chunk in chunks:
                        await out.send(chunk)
            except ProviderError as error:
                await out.send(error)
            except anyio.BrokenResourceError:
                """Nobody listens any more."""

    async def _by_the_second(self, text: str) -> AsyncGenerator[bytes, None]:
        metrics.second_voice.labels(self._second.name).inc()
        async with self._second.speak(text) as chunks:
            async for chunk in chunks:
                yield chunk
