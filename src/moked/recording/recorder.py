"""Writes calls down while they run: a second at a time, off the event loop, sealed before it reaches the disk.

    CallRecorder (a call's, on the loop) --Order--> queue --> one thread --> live/<token>-<stream>.rec, locked

Nothing here waits on the loop or slows a call. A full queue drops that second, counted; the place it would have had is
silence, since every block says where it belongs. A killed process loses the second that was being filled and what was
queued. The lock ends with the process, however it ends: what is not locked is left to the `keeper`.

A caller who does not want to be recorded: the file is deleted here at once, the key with the call's event in the
database (`crm.privacy.refuse`), and both again by the keeper should either of them be hindered.
"""

import fcntl
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from moked.audio import SILENCE
from moked.crm.sealed import Sealer
from moked.recording import container
from moked.recording.store import SUFFIX
from moked.recording.timeline import Timeline

log = logging.getLogger(__name__)

_QUEUED: Final = 1024  # blocks of 16 KB: a quarter of a minute of 60 calls
_LONGEST_GAP: Final = 60  # chunks of silence for seconds that were dropped


class Rows(Protocol):
    """The part of `crm.recordings.Recordings` that is needed here."""

    def begin(self, call_sid: str, stream: int, at: int) -> tuple[str, bytes] | None: ...


@dataclass(frozen=True, slots=True)
class _Order:
    """`frames` from call sample `at` on; `done` closes the part, `erase` deletes it."""

    call: tuple[str, int]  # SID, stream
    at: int = 0
    frames: bytes = b""
    done: bool = False
    erase: bool = False


@dataclass(slots=True)
class _File:
    """An open part, the writer's."""

    path: Path
    descriptor: int
    sealer: Sealer
    token: str
    stream: int
    at: int  # call sample of its first
    chunks: int = 0
    pending: bytearray = field(default_factory=bytearray)  # less than a chunk


class Recorder:
    """The process's recorder in `folder`, that of live files. `dropped` is told of each second that found the queue
    full, `closed` of each part that is complete."""

    def __init__(
        self,
        folder: Path,
        rows: Rows,
        *,
        dropped: Callable[[], None] = lambda: None,
        closed: Callable[[], None] = lambda: None,
        queued: int = _QUEUED,
    ) -> None:
        self._folder = folder
        self._rows = rows
        self._dropped = dropped
        self._closed = closed
        self._orders: queue.Queue[_Order | None] = queue.Queue(queued)
        self._open: dict[tuple[str, int], _File] = {}
        self._not_recorded: set[tuple[str, int]] = set()

    def call(self, sid: str, stream: int) -> "CallRecorder":
        return CallRecorder(self._put, sid, stream)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write while entered; what is queued at the end is written first."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        writer = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        writer.start()
        try:
            yield
        finally:
            self._orders.put(None)
            writer.join(20)

    def _put(self, order: _Order) -> None:
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            if order.frames:
                self._dropped()
            if order.done:  # must arrive, but nobody waits for it
                last = _Order(order.call, done=True, erase=order.erase)
                threading.Thread(target=self._orders.put, args=(last,), daemon=True).start()

    def _write_all(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._write(order)
            except Exception as error:  # a disk or a database that is away costs this call its recording, no more
                log.warning(
                    "a call cannot be recorded any more",
                    extra={"call_sid": order.call[0], "error": type(error).__name__},
                )
                self._not_recorded.add(order.call)
                with suppress(OSError):
                    self._close(order.call, flush=False)
            if order.done:
                self._not_recorded.discard(order.call)
        for call in tuple(self._open):
            with suppress(OSError):
                self._close(call, flush=True)

    def _write(self, order: _Order) -> None:
        if order.erase:
            file = self._open.get(order.call)
            self._close(order.call, flush=False)
            if file is not None:
                file.path.unlink(missing_ok=True)
            return
        if order.frames and order.call not in self._not_recorded:
            file = self._open.get(order.call) or self._begin(order)
            if file is not None:
                self._add(file, order)
        if order.done:
            self._close(order.call, flush=True)

    def _begin(self, order: _Order) -> _File | None:
        sid, stream = order.call
        begun = self._rows.begin(sid, stream, order.at)
        if begun is None:  # the business does not record, or this caller is not to be
            self._not_recorded.add(order.call)
            return None
        token, key = begun
        path = self._folder / f"{token}-{stream}{SUFFIX}"
        new = path.with_suffix(".new")
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(path)  # under its name it is locked from the first moment
        file = self._open[order.call] = _File(path, descriptor, Sealer(key), token, stream, order.at)
        return file

    def _add(self, file: _File, order: _Order) -> None:
        have = file.at + (file.chunks * container.CHUNK + len(file.pending)) // container.CHANNELS
        missing = min(order.at - have, _LONGEST_GAP * container.CHUNK // container.CHANNELS)
        if missing > 0:
            file.pending += SILENCE * (missing * container.CHANNELS)
        file.pending += order.frames
        while len(file.pending) >= container.CHUNK:
            self._seal(file, container.CHUNK)

    def _seal(self, file: _File, size: int) -> None:
        chunk = bytes(file.pending[:size])
        sealed = file.sealer.seal(chunk, container.context(file.token, file.stream, file.chunks))
        os.write(file.descriptor, sealed)
        del file.pending[:size]
        file.chunks += 1

    def _close(self, call: tuple[str, int], *, flush: bool) -> None:
        file = self._open.pop(call, None)
        if file is None:
            return
        try:
            if flush and file.pending:
                self._seal(file, len(file.pending))
        finally:
            os.close(file.descriptor)
        self._closed()


class CallRecorder:
    """One stream of a call. Nothing waits or raises; after `erase` nothing is kept any more. Times are call ms."""

    def __init__(self, put: Callable[[_Order], None], sid: str, stream: int) -> None:
        self._put = put
        self._call = sid, stream
        self._timeline = Timeline()
        self._over = False

    def feed(self, now_ms: int, audio: bytes) -> None:
        """The caller's."""
        if not self._over:
            self._timeline.hear(now_ms, audio)
            while (block := self._timeline.take()) is not None:
                self._put(_Order(self._call, *block))

    def place(self, heard_ms: int) -> int:
        """Where on the recording, in call ms, the caller's sample at `heard_ms` of this stream's audio is."""
        return self._timeline.place(heard_ms)

    def played(self, at_ms: int, audio: bytes) -> None:
        """Ours: was sent, and is played from `at_ms` on unless it is `cut`."""
        if not self._over:
            self._timeline.play(at_ms, audio)

    def cut(self, now_ms: int) -> None:
        """The carrier was told to clear."""
        if not self._over:
            self._timeline.cut(now_ms)

    def erase(self) -> None:
        """The caller does not want it: what there is goes, and no more comes."""
        if not self._over:
            self._over = True
            self._timeline = Timeline()
            self._put(_Order(self._call, done=True, erase=True))

    def close(self) -> None:
        if not self._over:
            self._over = True
            at, frames = self._timeline.rest() or (0, b"")
            self._put(_Order(self._call, at, frames, done=True))
