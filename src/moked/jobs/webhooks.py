"""Sends what waits in the outbox. Any number of workers may: each claims what it sends.

`deliver_due` is the whole step, for whoever runs it; the loop below is the least that can.
"""

import logging
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

import anyio
from anyio import to_thread

from moked.crm.delivering import Claimed, Result
from moked.crm.tables_api import DeliveryState
from moked.jobs.posting import post

log = logging.getLogger(__name__)

EVERY_S = 2.0
_PRUNE_EVERY = 1800  # rounds: an hour


class Outbox(Protocol):
    @property
    def private(self) -> bool: ...

    def claim(self, now: datetime) -> Sequence[Claimed]: ...

    def settle(self, claimed: Claimed, result: Result, now: datetime, spread: float) -> DeliveryState | None: ...

    def prune(self, now: datetime) -> None: ...


def _now() -> datetime:
    return datetime.now(UTC)


def deliver_due(
    outbox: Outbox, clock: Callable[[], datetime] = _now, *, count: Callable[[str], None] = lambda what: None
) -> int:
    """Send what is due, a bounded lot, all at the same time, and put on record what came of it; returns how many.

    Synchronous, and takes as long as the slowest endpoint, 15 s at most. `count(outcome)` feeds the metrics.
    """
    claimed = outbox.claim(clock())
    if not claimed:
        return 0
    results = anyio.run(_post_all, claimed, clock().timestamp(), outbox.private)
    for one, result in zip(claimed, results, strict=True):
        state = outbox.settle(one, result, clock(), random.random())
        count("gone" if state is None else "retry" if state is DeliveryState.PENDING else state.value)
        if not result.good:
            log.info(
                "a webhook was not taken",
                extra={"delivery": one.id, "status": result.status, "reason": result.error, "attempt": one.attempt},
            )
    return len(claimed)


async def _post_all(claimed: Sequence[Claimed], now: float, private: bool) -> list[Result]:
    results: list[Result] = [Result()] * len(claimed)

    async def one(number: int) -> None:
        results[number] = await post(claimed[number], now, private=private)

    async with anyio.create_task_group() as tasks:
        for number in range(len(claimed)):
            tasks.start_soon(one, number)
    return results


async def deliver(
    outbox: Outbox, *, every_s: float = EVERY_S, count: Callable[[str], None] = lambda what: None
) -> None:
    """Run for ever. A database that is away is tried again at the next round."""
    rounds = 0
    while True:
        sent = 0
        try:
            sent = await to_thread.run_sync(lambda: deliver_due(outbox, count=count))
            if rounds % _PRUNE_EVERY == 0:
                await to_thread.run_sync(lambda: outbox.prune(_now()))
        except Exception as error:  # the next round may do
            log.warning(
                "webhooks could not be delivered", extra={"error": type(error).__name__, "pii.error": str(error)}
            )
        rounds += 1
        if not sent:
            await anyio.sleep(every_s)
