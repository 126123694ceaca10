"""Places the calls that are due: a click to call, promised call-backs, campaigns.

The record decides (`crm.dialling`): the gate, the pace, the places, whose turn it is. Here the carrier is asked, one
call after another, at most one a second, as Twilio takes them from an account by default. While the house drains
nothing is placed.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import anyio
from anyio import to_thread

from moked import metrics
from moked.crm.dialling import Placement
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
_UNKNOWN: Final = (Failure.TIMEOUT, Failure.UNAVAILABLE)
"""After these it may ring all the same: the webhook, or the record's own limit, will tell."""


class Book(Protocol):
    """`crm.dialling.Dialling`."""

    def turns(self) -> list[int]: ...

    def promise(self, business_id: int) -> int: ...

    def claim(self, business_id: int, free_places: int, most: int) -> list[Placement]: ...

    def placed(self, dial_id: int, call_sid: str) -> None: ...

    def not_placed(self, dial_id: int) -> None: ...


Place = Callable[[Placement], Awaitable[str]]
"""Asks the carrier for the call; its SID. Raises `ProviderError`."""


async def dial_due(
    book: Book,
    place: Place,
    *,
    free_places: Callable[[], int],
    may: Callable[[], bool] = lambda: True,
    every_s: float = EVERY_S,
) -> None:
    """Run for ever. `free_places` asks the database; `may`: the house does not drain. One call of each business in
    turn; what fails for one is no other's."""
    while True:
        try:
            waiting = await to_thread.run_sync(book.turns) if may() else []
        except Exception as error:  # a database that is away
            log.warning("calls could not be looked for", extra={"error": type(error).__name__})
            waiting = []
        for business in waiting:
            if not may():
                break
            try:
                if await _serve(book, place, business, free_places):
                    await anyio.sleep(every_s)
            except Exception as error:  # the next round may do
                log.warning(
                    "calls of a business could not be placed",
                    extra={"business": business, "error": type(error).__name__},
                )
        await anyio.sleep(every_s)


async def _serve(book: Book, place: Place, business: int, free_places: Callable[[], int]) -> bool:
    """One call of this business, where one is due; whether the carrier was asked."""
    await to_thread.run_sync(book.promise, business)
    free = await to_thread.run_sync(free_places)
    found = await to_thread.run_sync(book.claim, business, free, 1)
    for one in found:
        await place_one(book, place, one)
    return bool(found)


async def place_one(book: Book, place: Place, one: Placement) -> None:
    kind = "click" if one.ring_first else "agent"
    try:
        sid = await place(one)
    except ProviderError as error:
        metrics.dials.labels(kind, error.kind.value).inc()
        log.warning("the carrier did not take a call", extra={"dial": one.dial_id, "why": str(error)})
        if error.kind not in _UNKNOWN:
            await to_thread.run_sync(book.not_placed, one.dial_id)
        return
    metrics.dials.labels(kind, "placed").inc()
    log.info("call placed", extra={"dial": one.dial_id, "call_sid": sid})
    await to_thread.run_sync(book.placed, one.dial_id, sid)
