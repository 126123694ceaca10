"""Days that are over are counted in the background, so that nobody waits for them at the page of figures."""

import logging
from typing import Final

import anyio
from anyio import to_thread

from moked.crm.analytics import Analytics

log = logging.getLogger(__name__)

_EVERY_S: Final = 600.0
_BREATH_S: Final = 1.0  # between parts of a long past: calls come first


async def count_days(analytics: Analytics) -> None:
    """For ever. A database that is away is asked again."""
    while True:
        try:
            found = await to_thread.run_sync(analytics.fill, abandon_on_cancel=True)
        except Exception as error:  # whatever it is, the page counts for itself
            log.warning("days could not be counted", extra={"error": type(error).__name__})
            found = 0
        await anyio.sleep(_BREATH_S if found else _EVERY_S)
