"""The nightly purge: once a business day, at an hour when nobody calls, by whichever worker comes first."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import anyio
from anyio import to_thread

log = logging.getLogger(__name__)

AT: Final = time(3, 20)
EVERY_S: Final = 600.0


class Retention(Protocol):
    def purge(self, now: datetime) -> dict[int, Any]: ...

    def last_run(self, business_id: int) -> datetime | None: ...


def due(last: datetime | None, now: datetime, zone: ZoneInfo) -> bool:
    """Whether the last purge was before the last time it should have been; `last` and `now` are aware."""
    here = now.astimezone(zone)
    should = datetime.combine(here.date(), AT, zone)
    if here < should:
        should = datetime.combine(here.date() - timedelta(days=1), AT, zone)
    return last is None or last < should


async def nightly(
    retention: Retention,
    business_id: int,
    zone: ZoneInfo,
    *,
    every_s: float = EVERY_S,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Run for ever. What fails is tried again at the next look."""
    while True:
        try:
            last = await to_thread.run_sync(retention.last_run, business_id)
            if due(last, clock(), zone):
                done = await to_thread.run_sync(retention.purge, clock())
                log.info("old data was purged", extra={"businesses": len(done)})
        except Exception as error:  # a database that is away
            log.warning("old data could not be purged", extra={"error": type(error).__name__})
        await anyio.sleep(every_s)
