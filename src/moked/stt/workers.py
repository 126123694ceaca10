"""A few workers for many calls: whoever is next by `fairqueue` gets the next free one, in its own task.

A partial is worth a worker only when that is free now, and gives it up when a caller's finished utterance needs it; so
does everything that can be done again later. Waiting and work together have a time limit.
"""

import logging
from collections.abc import Awaitable, Callable, Hashable
from typing import Final, TypeVar

import anyio

from moked import metrics
from moked.errors import Failure, ProviderError
from moked.stt.fairqueue import FairQueue, Rank

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

MAX_ITEMS: Final = 64
MAX_BYTES: Final = 16_000_000  # of audio: half an hour


class Displaced(Exception):
    """The worker was needed for something more urgent."""


class _Ticket:
    def __init__(self, rank: Rank) -> None:
        self.rank = rank
        self.worker: int | None = None
        self.refused = False
        self.displaced = False
        self.called = anyio.Event()
        self.work = anyio.CancelScope()


class Workers:
    """`name` is the engine's. `ready` tells whether a worker can begin at once; `wake` is for when that changed."""

    def __init__(
        self,
        count: int,
        *,
        name: str,
        ready: Callable[[int], bool] = lambda worker: True,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.count = count
        self._name = name
        self._ready = ready
        self._queue = FairQueue[_Ticket](max_items=max_items, max_bytes=max_bytes)
        self._busy: dict[int, _Ticket] = {}

    @property
    def pending(self) -> int:
        """Pieces of work that wait or are being done."""
        return len(self._queue) + len(self._busy)

    @property
    def idle(self) -> bool:
        """A partial would be begun at once."""
        return not self._queue and self._free() is not None

    async def run(
        self,
        work: Callable[[int], Awaitable[Answer]],
        *,
        call: Hashable,
        rank: Rank,
        size: int,
        timeout_s: float,
    ) -> Answer:
        """Do `work` with the number of a worker, when its turn has come.

        Raises `ProviderError` FULL when there is no room for it or its turn did not come in time, TIMEOUT when the work
        took too long, and `Displaced` when it had to give way: partials, and whatever is not a call's own.
        """
        deadline = anyio.current_time() + timeout_s
        ticket = _Ticket(rank)
        if rank is Rank.PARTIAL and not self.idle:
            raise self._full(rank, "no worker is free for a partial")
        gone = self._queue.put(ticket, call=call, rank=rank, size=size)
        if gone is None:
            raise self._full(rank, "too much waits already")
        for one in gone:
            one.refused = True
            one.called.set()
        self._call_next()
        if ticket.worker is None and rank is Rank.FINAL:
            self._make_way()
        try:
            with anyio.move_on_at(deadline):
                await ticket.called.wait()
            if ticket.worker is None:
                raise self._full(rank, "it had to give way" if ticket.refused else "its turn did not come in time")
            ticket.work.deadline = deadline
            with ticket.work:
                return await work(ticket.worker)
        finally:
            self._queue.discard(ticket)
            if ticket.worker is not None:
                del self._busy[ticket.worker]
            self._call_next()
        if ticket.displaced:
            raise Displaced
        raise ProviderError(self._name, Failure.TIMEOUT, "no answer in time")

    def wake(self) -> None:
        """A worker may have become ready."""
        self._call_next()

    def _call_next(self) -> None:
        while self._queue and (worker := self._free()) is not None:
            ticket = self._queue.take()
            assert ticket is not None
            ticket.worker = worker
            self._busy[worker] = ticket
            ticket.called.set()

    def _free(self) -> int | None:
        return next((one for one in range(self.count) if one not in self._busy and self._ready(one)), None)

    def _make_way(self) -> None:
        """The least urgent work that is not a call's own is given up; its worker stops as soon as it can."""
        lesser = [one for one in self._busy.values() if one.rank > Rank.FINAL and not one.displaced]
        if lesser:
            ticket = max(lesser, key=lambda one: one.rank)
            ticket.displaced = True
            ticket.work.cancel()

    def _full(self, rank: Rank, why: str) -> ProviderError:
        metrics.queue_drops.labels(f"{self._name}_{rank.name.lower()}").inc()
        return ProviderError(self._name, Failure.FULL, why)
