"""What people at the desk tell calls, on its way from the database to the sessions of this process.

Orders are looked for when the bus says that there is one, and every second anyway: the process that was asked may be
another one, and the bus may reach only this one.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Protocol

import anyio
from sqlalchemy.exc import SQLAlchemyError

from moked.bus import Bus, heed
from moked.records import Order

log = logging.getLogger(__name__)

TOPIC: Final = "orders"
_LOOK_S: Final = 1.0


class Ordered(Protocol):
    """A call: `media.session.CallSession`."""

    def order(self, order: Order) -> None: ...


async def deliver(
    bus: Bus,
    calls: Callable[[], Sequence[str]],
    take: Callable[[Sequence[str]], Awaitable[list[Order]]],
    session: Callable[[str], Ordered | None],
) -> None:
    """Run for ever. `calls`: those that are served here; `take` gives each order once."""
    told = anyio.Event()

    def tell() -> None:
        nonlocal told
        told.set()
        told = anyio.Event()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(heed, bus, TOPIC, tell, again_s=_LOOK_S))
        while True:
            news = told
            if sids := calls():
                try:
                    orders = await take(sids)
                except SQLAlchemyError:
                    log.warning("orders could not be looked for", exc_info=True)
                    orders = []
                for order in orders:
                    found = session(order.call_sid)
                    if found is not None:
                        found.order(order)
            with anyio.move_on_after(_LOOK_S):
                await news.wait()
