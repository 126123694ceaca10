"""Everything about recordings that a process has: the rows, the folders, the library, and the keeper's rounds."""

import logging
from pathlib import Path

import anyio
from anyio import to_thread
from sqlalchemy import Engine

from moked.crm.recordings import Recordings
from moked.crm.sealed import Sealer
from moked.recording.keeper import EVERY_S, Keeper
from moked.recording.library import Library
from moked.recording.store import DiskStore, Store

log = logging.getLogger(__name__)


class Archive:
    """In `folder`; complete parts go to `store`, None: they stay in the folder. `keep` runs on the event loop."""

    def __init__(self, engine: Engine, sealer: Sealer, folder: Path, store: Store | None = None) -> None:
        self.live = folder / "live"
        self.rows = Recordings(engine, sealer)
        disk = DiskStore(folder / "kept")
        self.library = Library(self.rows, DiskStore(self.live), disk, () if store is None else (store,))
        self.keeper = Keeper(self.live, self.rows, disk, store or disk)
        self._news = anyio.Event()

    def wake(self) -> None:
        """A part is complete: look at it soon."""
        self._news.set()

    async def keep(self, *, every_s: float = EVERY_S) -> None:
        """Run for ever; what is away is tried again in the next round."""
        while True:
            self._news = anyio.Event()
            try:
                await to_thread.run_sync(self.keeper.round)
            except Exception as error:  # a database that is away
                log.warning("recordings could not be looked after", extra={"error": type(error).__name__})
            with anyio.move_on_after(every_s):
                await self._news.wait()
