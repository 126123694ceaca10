"""This media process among the others: what it tells of itself once a second, so that webhooks anywhere can choose it.

Several processes on one host (one a core), or on many, need nothing but one database, and each an address of its own
where the carrier reaches it (`MEDIA_PUBLIC_URL`). The rules are in `crm.places`.
"""

import logging
import os
import secrets
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import anyio
from anyio import to_thread

from moked.crm.places import NodeReport
from moked.crm.service import Crm
from moked.pressure import Pressure

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
_LAST_WORD_S: Final = 2.0  # what a database that is away may hold up a drain for


class Node:
    """Reports how this process fares. `address` and `active` are asked at every report."""

    def __init__(
        self, crm: Crm, pressure: Pressure, *, address: Callable[[], str], active: Callable[[], int], capacity: int
    ) -> None:
        self.name = f"{socket.gethostname()[:40]}-{os.getpid()}-{secrets.token_hex(3)}"
        self.draining = False
        self._crm = crm
        self._pressure = pressure
        self._address = address
        self._active = active
        self._capacity = capacity

    def report(self) -> NodeReport:
        """As it is now."""
        return NodeReport(
            name=self.name,
            address=self._address(),
            capacity=self._capacity,
            active=self._active(),
            lag_ms=int(self._pressure.p95_s * 1000),
            accepting=not self._pressure.full,
            draining=self.draining,
        )

    async def beat(self) -> None:
        """Report for ever. While the database is away nobody is admitted anyway; the next beat may be heard."""
        while True:
            await self.tell()
            await anyio.sleep(EVERY_S)

    async def tell(self) -> None:
        """Report once, now."""
        try:
            await to_thread.run_sync(self._crm.report_node, self.report(), abandon_on_cancel=True)
        except Exception as error:
            log.warning(
                "the media process could not report itself",
                extra={"error": type(error).__name__, "pii.error": str(error)},
            )

    async def drain(self, seconds: float) -> None:
        """No webhook sends a call here from now on. Returns when the streams of those it had sent have come, or after
        `seconds`."""
        self.draining = True
        with anyio.move_on_after(_LAST_WORD_S):
            await self.tell()
        with anyio.move_on_after(min(seconds, _LAST_WORD_S)), suppress(Exception):
            while await to_thread.run_sync(self._crm.awaited_calls, self.name, abandon_on_cancel=True):
                await anyio.sleep(0.1)

    async def leave(self) -> None:
        """The last report: it is gone."""
        with anyio.move_on_after(_LAST_WORD_S, shield=True):
            try:
                await to_thread.run_sync(self._crm.forget_node, self.name, abandon_on_cancel=True)
            except Exception as error:  # it is forgotten within seconds anyway
                log.warning(
                    "the media process could not take its leave",
                    extra={"error": type(error).__name__, "pii.error": str(error)},
                )
