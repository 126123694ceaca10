"""Businesses that are added, and profiles that are brought up to date, while a process runs.

    rows of businesses, BUSINESSES_DIR --looked at every other second, bus--> Newcomers --Practice--> join

What cannot be read is told to the log, once, and changes nothing for the others; it is looked at again when its files
change. A call that comes sooner than the look has it done at once (`need`).
"""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Final

import anyio
from anyio import to_thread

from moked.bus import Bus, heed
from moked.crm.businesses import Known
from moked.errors import ProfileError
from moked.practice import Practice, Register

log = logging.getLogger(__name__)

TOPIC: Final = "businesses"
"""On the bus: 'business.changed' whenever somebody added one or brought its profile up to date."""

_POLL_S: Final = 2.0
_TRY_AGAIN_S: Final = 30.0

Stamp = tuple[tuple[int, int], ...]


class Newcomers:
    """`served` are the businesses of this process by id, and grows. `join` begins to serve one, and may raise: then it
    is tried again."""

    def __init__(
        self,
        register: Register,
        served: MutableMapping[int, Practice],
        bus: Bus,
        join: Callable[[Practice], Awaitable[None]],
    ) -> None:
        self._register = register
        self._served = served
        self._bus = bus
        self._join = join
        self._news = anyio.Event()
        self._looking = anyio.Lock()
        self._away = False
        self._seen: dict[int, Stamp] = {}
        self._again_at: dict[int, float] = {}  # of those whose files are good and that could not be served

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, self._bus, TOPIC, self._told)
            while True:
                await self.look()
                with anyio.move_on_after(_POLL_S):
                    await self._news.wait()
                self._news = anyio.Event()

    def _told(self) -> None:
        self._news.set()

    async def need(self, business_id: int) -> Practice | None:
        """The business, looked for where it is not served yet; None where it cannot be."""
        if business_id not in self._served:
            await self.look()
        return self._served.get(business_id)

    async def look(self) -> None:
        """Serve what is there by now. The database may be away: then what was last known does."""
        async with self._looking:
            try:
                known = await to_thread.run_sync(self._register.others)
                self._away = False
            except Exception as error:  # whatever it is, calls go on with what is known
                if not self._away:
                    self._away = True
                    log.warning("businesses cannot be looked for", extra={"error": type(error).__name__})
                return
            for one in known:
                await self._see(one)

    async def _see(self, one: Known) -> None:
        about = {"business_id": one.id, "business": one.key}
        stamp = await to_thread.run_sync(self._register.stamp, one)
        due = anyio.current_time() >= self._again_at.get(one.id, float("inf"))
        if self._seen.get(one.id) == stamp and not due:
            return
        self._seen[one.id] = stamp
        self._again_at.pop(one.id, None)
        try:
            if (practice := self._served.get(one.id)) is not None:
                if await to_thread.run_sync(self._register.renew, practice, one):
                    await practice.follow(practice.plan)
                    log.info("the profile of a business was brought up to date", extra=about)
                return
            practice = await to_thread.run_sync(self._register.open, one)
            await self._join(practice)
        except ProfileError as error:  # until its files are others
            log.error("the profile of a business cannot be used", extra={**about, "key": error.key, "why": str(error)})
            return
        except Exception as error:  # its voice did not start, say: that may pass
            self._again_at[one.id] = anyio.current_time() + _TRY_AGAIN_S
            told = {**about, "error": type(error).__name__}
            log.error("a business could not be served and is tried again", extra=told, exc_info=error)
            return
        self._served[one.id] = practice
        log.info("a business was added", extra=about)
        try:
            await practice.follow(practice.plan)  # its first sentences are rendered before somebody hears them
        except Exception as error:  # they are made when they are needed, then
            log.warning("a business begins without its sentences", extra={**about, "error": type(error).__name__})
