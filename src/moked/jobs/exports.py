"""Writes the long lists that people at the desk have asked for as files, one after the other.

The thread that writes gives way to others every few rows; a file that a killed process left half written is begun anew
by any other (`crm.exporting`).
"""

import logging
from typing import Protocol

import anyio
from anyio import to_thread

log = logging.getLogger(__name__)

EVERY_S = 3.0


class Office(Protocol):
    def write_next_export(self) -> bool: ...


async def write_exports(office: Office, *, every_s: float = EVERY_S) -> None:
    """Run for ever. A database that is away is tried again at the next round."""
    while True:
        try:
            more = await to_thread.run_sync(office.write_next_export)
        except Exception as error:  # the next round may do
            log.warning("a list could not be written", extra={"error": type(error).__name__, "pii.error": str(error)})
            more = False
        if not more:
            await anyio.sleep(every_s)
