"""What of a call may lie outside the database on this host: spooled audio, spilt records, recordings' files."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from moked import spool
from moked.recording.keeper import Keeper

log = logging.getLogger(__name__)


class Leftovers:
    """`crm.erasure.Outside`. Files of other hosts go when their keepers look, within half a minute."""

    def __init__(self, data_dir: Path, keeper: Keeper) -> None:
        self._data_dir = data_dir
        self._keeper = keeper

    def __call__(self, call_sids: Sequence[str]) -> None:
        sids = set(call_sids)
        for path in spool.left(self._data_dir / "spool"):
            if path.stem in sids:
                spool.delete(path)
        for path in self._data_dir.glob("spill*.jsonl*"):
            self._without(path, sids)
        self._keeper.round()

    def _without(self, path: Path, sids: set[str]) -> None:
        """Records are only ever appended, to a file that is opened each time: what is kept is appended again."""
        taken = path.with_name(f".{path.name}.erasing")
        try:
            path.rename(taken)
        except FileNotFoundError:
            return  # its process has just written it to the database
        kept = [
            line for line in taken.read_text("utf-8").splitlines() if line and json.loads(line)["call_sid"] not in sids
        ]
        if kept:
            with path.open("a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in kept)
        taken.unlink()
