"""Looks after what was recorded: completes parts whose process is done or gone, and deletes what may not be there.

    a live file nobody locks --> its recording is on record and has its key?  no: deleted
                                 yes: silences, peaks --> the store, and the row says so
    what is stored of recordings that are gone or were destroyed --> deleted, then their rows

Any number of keepers may run; each sees the live files of its own host. Everything is tried again in the next round.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from moked import metrics
from moked.audio import SAMPLES_PER_MS
from moked.crm.recordings import Found, Part, Recordings
from moked.crm.sealed import Sealer
from moked.errors import ProviderError, SealError
from moked.recording import container
from moked.recording.container import CHANNELS, CHUNK, SEALED, Silence
from moked.recording.store import SUFFIX, DiskStore, Store

log = logging.getLogger(__name__)

EVERY_S: Final = 30.0
_STALE_S: Final = 3600.0  # a file somebody was rewriting when they were killed


class Keeper:
    """`live` is the folder that recorders write in; `store` where complete parts go: `disk`, or an object store."""

    def __init__(self, live: Path, rows: Recordings, disk: DiskStore, store: Store) -> None:
        self._folder = live
        self._rows = rows
        self._disk = disk
        self._store = store

    def round(self) -> None:
        """One look at everything. Waits for disk, store and database: in a worker thread."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder.is_dir() else ():
            try:
                with _alone(path) as free:
                    if free:
                        self._look_at(path)
            except (ProviderError, SealError, OSError) as error:
                log.warning("a recording could not be kept yet", extra={"error": type(error).__name__})
        for left in self._folder.glob("*.new"):
            if time.time() - left.stat().st_mtime > _STALE_S:
                left.unlink(missing_ok=True)
        for found in self._rows.to_silence():
            self._silence_stored(found)
        self.delete_doomed()
        self._rows.scrub()

    def delete_doomed(self) -> int:
        """Parts of recordings that are gone or have no key: their audio is deleted; returns how many are."""
        done = []
        for part in self._rows.doomed():
            store = self._store if part.place == self._store.name else self._disk
            if part.place not in (self._store.name, "disk"):
                continue  # of a store this process does not know
            try:
                self._disk.delete(part.name)
                store.delete(part.name)
            except (ProviderError, OSError) as error:
                log.warning("a recording could not be deleted yet", extra={"error": type(error).__name__})
            else:
                done.append(part.id)
        if done:
            self._rows.gone(done)
        return len(done)

    def _look_at(self, path: Path) -> None:
        token, _, stream = path.stem.rpartition("-")
        found = self._rows.by_token(token)
        part = None if found is None else next((one for one in found.parts if str(one.stream) == stream), None)
        if found is None or part is None:
            path.unlink(missing_ok=True)
            metrics.recordings.labels("deleted").inc()
            return
        self._complete(path, found, part)

    def _complete(self, path: Path, found: Found, part: Part) -> None:
        """The part as it will stay: whole chunks, with the silences that are known."""
        frames = self._opened(path, found, part)
        if not frames:  # not one second was written
            path.unlink(missing_ok=True)
            self._rows.gone([part.id])
            return
        hidden = container.silenced(frames, part.at, _silences(found))
        if hidden != frames or path.stat().st_size != _sealed_size(len(frames)):
            self._rewrite(path, found, part, hidden)
        on_disk = self._store.name == "disk"
        if not on_disk:  # before the row says so; a file that is still here is completed again after a crash
            self._store.put(part.name, path)
        length = len(frames) // CHANNELS
        kept = self._rows.kept(part, length, self._store.name, container.peaks(hidden), len(found.silences))
        if not kept:
            self._store.delete(part.name)
        if kept and on_disk:
            self._store.put(part.name, path)
        else:
            path.unlink(missing_ok=True)
        metrics.recordings.labels("kept" if kept else "deleted").inc()

    def _silence_stored(self, found: Found) -> None:
        """Silences that came after a part was stored: once into the audio itself."""
        for part in found.parts:
            if part.samples is None or part.silenced == len(found.silences):
                continue
            store = self._store if part.place == self._store.name else self._disk
            try:
                size = store.size(part.name)
                if not size and part.place == "disk":
                    continue  # on another host, whose keeper does it
                frames = _open(store.read(part.name, 0, size), found, part)
                hidden = container.silenced(frames, part.at, _silences(found))
                working = self._folder / f".{part.name}.new"
                self._write(working, found, part, hidden)
                store.put(part.name, working)
                working.unlink(missing_ok=True)
                self._rows.kept(part, len(frames) // CHANNELS, part.place, container.peaks(hidden), len(found.silences))
            except (ProviderError, SealError, OSError) as error:
                log.warning("a recording could not be silenced yet", extra={"error": type(error).__name__})

    def _opened(self, path: Path, found: Found, part: Part) -> bytes:
        return _open(path.read_bytes(), found, part)

    def _rewrite(self, path: Path, found: Found, part: Part, frames: bytes) -> None:
        working = path.with_name(f".{path.name}.new")
        self._write(working, found, part, frames)
        working.replace(path)

    def _write(self, path: Path, found: Found, part: Part, frames: bytes) -> None:
        sealer = Sealer(found.key)
        descriptor = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            for number in range(-(-len(frames) // CHUNK)):
                chunk = frames[number * CHUNK : (number + 1) * CHUNK]
                file.write(sealer.seal(chunk, container.context(part.token, part.stream, number)))


def _silences(found: Found) -> list[Silence]:
    return [Silence(c, a * SAMPLES_PER_MS, b * SAMPLES_PER_MS) for c, a, b in found.silences]


def _sealed_size(plain: int) -> int:
    chunks = -(-plain // CHUNK)
    return plain + chunks * container.OVERHEAD


def _open(sealed: bytes, found: Found, part: Part) -> bytes:
    """All chunks up to the first that does not open: it was being written when its process was killed."""
    sealer, plain = Sealer(found.key), bytearray()
    for number in range(-(-len(sealed) // SEALED)):
        chunk = sealed[number * SEALED : (number + 1) * SEALED]
        try:
            plain += sealer.open(chunk, container.context(part.token, part.stream, number))
        except SealError:
            break
    return bytes(plain)


@contextmanager
def _alone(path: Path) -> Iterator[bool]:
    """Whether the file is there and nobody writes it; while entered nobody else takes it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield False
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield path.exists()
    finally:
        os.close(descriptor)
