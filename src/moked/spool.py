"""The caller's audio while a call runs, so that a better engine can write the transcript after it. Off by default.

    CallSpool --queue--> one writer thread --> spool/<sid>.sealed  mu-law, 8 kHz, a second at a time: length, sealed
    bytes
                                               spool/<sid>.marks   "+1200" speech begins, "-2400" it ends; call ms

The audio is sealed before it reaches the disk. Files are readable by their owner alone. While a process writes one it
holds a lock on it, which ends with the process however it ends: what is not locked is left over, and whoever takes it
(`take`) is alone with it. A caller who does not want to be recorded has the file deleted at once (`discard`). Nothing
here waits on the loop: a full queue or a full disk costs the spool of that call, and its transcript stays the live one.
"""

import fcntl
import itertools
import logging
import os
import queue
import re
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from moked.audio import SAMPLES_PER_MS
from moked.crm.sealed import Sealer
from moked.errors import SealError

log = logging.getLogger(__name__)

LEAD_IN_MS, TAIL_MS = 300, 200
LONGEST_MS: Final = 25_000  # of one utterance: Whisper hears 30 s at a time
_LENGTH: Final = ">I"
_SUFFIX: Final = ".sealed"
_CHUNK: Final = 1000 * SAMPLES_PER_MS
_QUEUED: Final = 4096  # chunks: a minute of 60 calls
_SID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class _Order:
    """For the writer. `audio` and `marks` are added; `done` closes the file, and `discard` deletes it."""

    sid: str
    audio: bytes = b""
    marks: str = ""
    done: bool = False
    discard: bool = False


class Spool:
    """The process's spool in `folder`. Calls longer than `longest_ms` are kept up to there."""

    def __init__(self, folder: Path, sealer: Sealer, *, longest_ms: int) -> None:
        self._folder = folder
        self._sealer = sealer
        self._longest = longest_ms * SAMPLES_PER_MS
        self._orders: queue.Queue[_Order | None] = queue.Queue(_QUEUED)
        self._open: dict[str, tuple[int, ...]] = {}  # the writer's: file descriptors of audio and marks
        self._pieces: dict[str, int] = {}  # the writer's: how many are written
        self._given_up: set[str] = set()  # the writer's: calls it cannot write

    def call(self, sid: str) -> "CallSpool":
        return CallSpool(self._orders, sid, self._longest)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Write while entered; what is queued at the end is written first."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for clear in self._folder.glob("*.ulaw"):  # of a version that did not seal
            _delete(clear)
        writer = threading.Thread(target=self._write_all, name="spool", daemon=True)
        writer.start()
        try:
            yield
        finally:
            self._orders.put(None)
            writer.join(10)

    def _write_all(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._write(order)
            except OSError as error:
                log.warning("the spool of a call cannot be written", extra={"call_sid": order.sid, "error": str(error)})
                self._given_up.add(order.sid)
                if order.sid in self._open:  # else the file is of another stream of the call, and stays
                    self._close(order.sid)
                    _delete(self._folder / f"{order.sid}{_SUFFIX}")
            if order.done:
                self._given_up.discard(order.sid)
        for sid in tuple(self._open):
            self._close(sid)

    def _write(self, order: _Order) -> None:
        path = self._folder / f"{order.sid}{_SUFFIX}"
        if order.discard:
            self._close(order.sid)
            _delete(path)
        elif order.sid not in self._given_up:
            audio, marks = self._open.get(order.sid) or self._begin(order.sid, path)
            if order.audio:
                number = self._pieces[order.sid]
                piece = self._sealer.seal(order.audio, _context(order.sid, number))
                os.write(audio, struct.pack(_LENGTH, len(piece)) + piece)
                self._pieces[order.sid] = number + 1
            os.write(marks, order.marks.encode())
        if order.done:
            self._close(order.sid)

    def _begin(self, sid: str, path: Path) -> tuple[int, ...]:
        how = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND
        audio = os.open(path, how, 0o600)
        self._open[sid] = (audio,)
        self._pieces[sid] = 0
        fcntl.flock(audio, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._open[sid] = audio, os.open(path.with_suffix(".marks"), how, 0o600)
        return self._open[sid]

    def _close(self, sid: str) -> None:
        self._pieces.pop(sid, None)
        for descriptor in self._open.pop(sid, ()):
            os.close(descriptor)


class CallSpool:
    """One call's. Nothing waits or raises; after `discard` nothing is kept any more."""

    def __init__(self, orders: "queue.Queue[_Order | None]", sid: str, longest: int) -> None:
        self._orders = orders
        self._sid = sid
        self._left = longest
        self._audio = b""
        self._marks = ""
        self._over = _SID.fullmatch(sid) is None  # a name we would not give a file

    def feed(self, audio: bytes) -> None:
        audio = audio[: max(0, self._left)]
        self._left -= len(audio)
        self._audio += audio
        if len(self._audio) >= _CHUNK:
            self._flush()

    def mark(self, begins: bool, at_ms: int) -> None:
        self._marks += f"{'+' if begins else '-'}{at_ms}\n"

    def discard(self) -> None:
        """The caller does not want it: what there is goes, and no more comes."""
        self._audio, self._marks = b"", ""
        self._put(_Order(self._sid, discard=True, done=True))
        self._over = True

    def close(self) -> None:
        """The call is over: the file may be read from here on."""
        if not self._over:
            self._flush(done=True)
            self._over = True

    def _flush(self, *, done: bool = False) -> None:
        order = _Order(self._sid, self._audio, self._marks, done=done)
        self._audio, self._marks = b"", ""
        self._put(order)

    def _put(self, order: _Order) -> None:
        if self._over:
            return
        try:
            self._orders.put_nowait(order)
        except queue.Full:
            log.warning("the spool is too slow: a call's is given up", extra={"call_sid": self._sid})
            self._over = True
            last = _Order(self._sid, discard=True, done=True)
            threading.Thread(target=self._orders.put, args=(last,), daemon=True).start()


# --- reading what is left ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Spooled:
    """A call's audio, and what of it is speech: (from, to) in call ms."""

    call_sid: str
    audio: bytes
    utterances: tuple[tuple[int, int], ...]

    def cut(self, from_ms: int, to_ms: int) -> bytes:
        return self.audio[from_ms * SAMPLES_PER_MS : to_ms * SAMPLES_PER_MS]


def left(folder: Path) -> list[Path]:
    """The spool files there are, oldest first; some may still be written."""
    with suppress(FileNotFoundError):
        return sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.name)
    return []


def stale(path: Path, sealer: Sealer) -> bool:
    """What is in the file is sealed with an older key; False where nothing whole is."""
    head = struct.calcsize(_LENGTH)
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack(_LENGTH, file.read(head))
            return sealer.renewed(file.read(size), _context(path.stem, 0)) is not None
    except (FileNotFoundError, struct.error, SealError):
        return False


def age_s(path: Path) -> float:
    """Since it was last written to."""
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except FileNotFoundError:
        return 0.0


@contextmanager
def take(path: Path, sealer: Sealer) -> Iterator[Spooled | None]:
    """The call in `path`, for us alone while entered; None where another process writes or reads it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        yield None
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        if not path.exists():  # whoever had it was done with it
            yield None
            return
        audio = _opened(path.read_bytes(), path.stem, sealer)
        with suppress(FileNotFoundError):
            marks = path.with_suffix(".marks").read_text("ascii", errors="replace").splitlines()
            yield Spooled(path.stem, audio, utterances(marks, len(audio) // SAMPLES_PER_MS))
            return
        yield Spooled(path.stem, audio, ())
    finally:
        os.close(descriptor)


def _opened(stored: bytes, sid: str, sealer: Sealer) -> bytes:
    """Up to the first piece that is not whole: its process was killed while it wrote. With another key, nothing."""
    audio, at, head = bytearray(), 0, struct.calcsize(_LENGTH)
    for number in itertools.count():
        if len(stored) < at + head:
            break
        (size,) = struct.unpack_from(_LENGTH, stored, at)
        try:
            audio += sealer.open(stored[at + head : at + head + size], _context(sid, number))
        except SealError:
            break
        at += head + size
    return bytes(audio)


def _context(sid: str, number: int) -> str:
    return f"spool:{sid}:{number}"


def delete(path: Path) -> None:
    """It is not needed any more."""
    _delete(path)


def _delete(path: Path) -> None:
    for one in (path, path.with_suffix(".marks")):
        one.unlink(missing_ok=True)


def utterances(marks: Sequence[str], length_ms: int) -> tuple[tuple[int, int], ...]:
    """Stretches of speech with lead-in and tail, none overlapping, none longer than `LONGEST_MS`.

    Speech whose end nobody wrote down, because the process died, reaches to the end of the audio.
    """
    stretches: list[tuple[int, int]] = []
    began: int | None = None
    for mark in (*marks, f"-{length_ms}"):
        if not re.fullmatch(r"[+-]\d{1,9}", mark):
            continue  # half a line
        at = int(mark[1:])
        if mark[0] == "+" and began is None:
            began = at
        elif mark[0] == "-" and began is not None:
            stretches.append((began, at))
            began = None
    joined: list[list[int]] = []
    for first, last in stretches:
        start, end = max(0, first - LEAD_IN_MS), min(length_ms, last + TAIL_MS)
        if start >= end:
            continue
        if joined and start < joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    return tuple((at, min(at + LONGEST_MS, end)) for start, end in joined for at in range(start, end, LONGEST_MS))
