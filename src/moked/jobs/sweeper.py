"""Ends the calls nobody will end: a media process that was killed, a stream that never came.

Such a call has no heartbeat any more. It is finished from the turns that were stored while it ran, so that it leaves a
record and a lead like every other. Any number of sweepers may run; finishing a call twice does nothing.
"""

import logging
from typing import Protocol

import anyio
from anyio import to_thread

log = logging.getLogger(__name__)

EVERY_S = 15.0
SILENT_S = 45.0  # several heartbeats of the media plane


class Orphanage(Protocol):
    def sweep_orphans(self, older_than_s: float) -> list[str]: ...


async def sweep(crm: Orphanage, *, every_s: float = EVERY_S, silent_s: float = SILENT_S) -> None:
    """Run for ever. A database that is away is tried again at the next round."""
    while True:
        try:
            ended = await to_thread.run_sync(crm.sweep_orphans, silent_s)
        except Exception as error:  # the next round may do
            log.warning(
                "orphaned calls could not be swept", extra={"error": type(error).__name__, "pii.error": str(error)}
            )
        else:
            for sid in ended:
                log.warning("orphaned call ended", extra={"call_sid": sid})
        await anyio.sleep(every_s)
