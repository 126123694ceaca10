"""The journal: what a call leaves behind, written off the loop, in order, and never lost.

    put_* -> queue (bounded) -> one writer, in a worker thread -> the database
                 | full              | away, also when tried again
                 '------> spill file <-'  --> the database, when the queue is empty and the next heartbeat comes

Of a turn whose versions wait in the queue together only the newest is written; they are given a moment to, unless
somebody waits (`flush`): a turn has five versions within a second or two, and each is a transaction. The spill file has
one JSON object a line; what it still holds when the process ends is written at the next start. `metrics` counts what
was spilt.
"""

import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import anyio
import msgspec
from anyio import to_thread

from moked.records import CallEnd, LeadDraft, SnapshotSave, TurnRecord

log = logging.getLogger(__name__)

QUEUE_BOUND = 1024
_COMPANY_S = 0.25
_RETRY_DELAYS = (0.1, 0.5, 2.0)
_AWAY = 3  # failures in a row of the spill file's records mean that the database is away, not that a record is bad


class Store(Protocol):
    """The part of `crm.service.Crm` the media plane writes to. Synchronous; each call is one transaction.

    `add_turn` keeps the newer of two versions, whichever comes first.
    """

    def add_turn(self, call_sid: str, turn: TurnRecord, lead: LeadDraft | None = None) -> None: ...

    def add_event(self, call_sid: str, kind: str, data: dict[str, Any]) -> None: ...

    def finish_call(self, end: CallEnd) -> object: ...

    def save_snapshots(self, snapshots: Sequence[SnapshotSave]) -> None: ...

    def touch(self, call_sids: list[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str  # 'turn', 'event', 'end', 'snapshot'
    call_sid: str
    data: Any  # `_DATA` of the kind; nothing is copied or encoded before it has to be


class _Turn(msgspec.Struct, frozen=True):
    turn: TurnRecord
    lead: LeadDraft


class _Event(msgspec.Struct, frozen=True):
    kind: str
    data: dict[str, Any]


_DATA: dict[str, type] = {"turn": _Turn, "event": _Event, "end": CallEnd}


@dataclass(frozen=True, slots=True)
class _Replay:
    """Asks the writer to look at the spill file."""


class Journal:
    """`put_*` never wait and never fail. `flush` waits until everything put before it is safe."""

    def __init__(self, store: Store, spill: Path, *, on_spill: Callable[[], None] = lambda: None) -> None:
        self._store = store
        self._spill = spill
        self._on_spill = on_spill
        self._send, self._receive = anyio.create_memory_object_stream[_Entry | _Replay | anyio.Event](QUEUE_BOUND)
        self._standing: dict[str, Callable[[], SnapshotSave]] = {}
        self._live: set[str] = set()
        self._file = threading.Lock()  # the loop and the writer's thread both spill
        self._spilt = False
        self._urgent = anyio.Event()  # somebody begins to wait
        self._waiting = 0  # how many do

    def put_turn(self, call_sid: str, turn: TurnRecord, lead: LeadDraft) -> None:
        """A turn, or its newer version, and what the agent knows so far: a crash must not lose it."""
        self._put(_Entry("turn", call_sid, _Turn(turn, lead)))

    def put_event(self, call_sid: str, kind: str, data: dict[str, Any]) -> None:
        self._put(_Entry("event", call_sid, _Event(kind, data)))

    def put_end(self, end: CallEnd) -> None:
        self._put(_Entry("end", end.call_sid, end))

    def put_snapshot(self, call_sid: str, snapshot: Callable[[], SnapshotSave]) -> None:
        """Where a call stands, which is asked when it is written: once for all that changed until then. Only the
        newest is worth writing, and only soon: nothing of it is ever spilt."""
        if call_sid not in self._standing:
            self._put(_Entry("snapshot", call_sid, None))
        self._standing[call_sid] = snapshot

    async def flush(self) -> None:
        done = anyio.Event()
        self._hurry()
        try:
            await self._send.send(done)
            await done.wait()
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return  # what is put now is spilt at once
        finally:
            self._waiting -= 1

    def _hurry(self) -> None:
        self._waiting += 1
        self._urgent.set()

    @asynccontextmanager
    async def call(self, call_sid: str) -> AsyncIterator[None]:
        """While entered the call counts as alive: its heartbeat is kept."""
        self._live.add(call_sid)
        try:
            yield
        finally:
            self._live.discard(call_sid)

    @asynccontextmanager
    async def running(self, *, heartbeat_s: float = 10.0) -> AsyncIterator[None]:
        """Write while entered; on exit everything queued is written first."""
        await to_thread.run_sync(self._replay)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write_all)
            beats = anyio.CancelScope()
            tasks.start_soon(self._beat, heartbeat_s, beats)
            try:
                yield
            finally:
                beats.cancel()
                self._hurry()
                self._send.close()  # the writer ends when the queue is empty

    def _put(self, entry: _Entry) -> None:
        try:
            self._send.send_nowait(entry)
        except (anyio.WouldBlock, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._keep([entry])

    async def _write_all(self) -> None:
        # Shielded: whatever ends the process, what is in the queue is written first.
        with anyio.CancelScope(shield=True), self._receive:
            await self._write_until_closed()

    async def _write_until_closed(self) -> None:
        async for entry in self._receive:
            if isinstance(entry, anyio.Event):
                entry.set()
                continue
            if isinstance(entry, _Replay):
                if self._spilt and not self._receive.statistics().current_buffer_used:
                    await to_thread.run_sync(self._replay)
                continue
            if not self._waiting:
                self._urgent = anyio.Event()
                with anyio.move_on_after(_COMPANY_S):
                    await self._urgent.wait()
            batch = [entry]
            markers: list[anyio.Event] = []
            while True:
                try:
                    more = self._receive.receive_nowait()
                except (anyio.WouldBlock, anyio.EndOfStream):
                    break
                if isinstance(more, anyio.Event):
                    markers.append(more)
                    break
                if isinstance(more, _Entry):
                    batch.append(more)
            await to_thread.run_sync(self._write_batch, _newest(batch), self._snapshots())
            for marker in markers:
                marker.set()

    def _snapshots(self) -> list[SnapshotSave]:
        standing, self._standing = self._standing, {}
        made = []
        for call_sid, snapshot in standing.items():
            try:
                made.append(snapshot())
            except Exception:  # of one call; the others have theirs
                log.exception("a snapshot could not be made", extra={"call_sid": call_sid})
        return made

    def _write_batch(self, batch: list[_Entry], snapshots: list[SnapshotSave]) -> None:
        # After the turns they tell of, before the ends: a call that has ended keeps none.
        rest = [entry for entry in batch if entry.kind != "snapshot"]
        self._write_each([entry for entry in rest if entry.kind != "end"])
        if snapshots:
            try:
                self._store.save_snapshots(snapshots)
            except Exception as error:  # the next one comes soon; without any the caller hears an apology at worst
                log.warning("snapshots could not be written", extra={"error": str(error)})
        self._write_each([entry for entry in rest if entry.kind == "end"])

    def _write_each(self, batch: list[_Entry]) -> None:
        for entry in batch:
            for delay in (*_RETRY_DELAYS, None):
                try:
                    self._write(entry)
                    break
                except Exception as error:  # whatever the database says, the record must survive it
                    if delay is None:
                        log.exception("record could not be written, spilling it", extra={"kind": entry.kind})
                        self._keep([entry])
                        break
                    log.warning("record could not be written yet", extra={"kind": entry.kind, "error": str(error)})
                    time.sleep(delay)  # a worker thread

    def _write(self, entry: _Entry) -> None:
        match entry.kind:
            case "turn":
                self._store.add_turn(entry.call_sid, entry.data.turn, entry.data.lead)
            case "event":
                self._store.add_event(entry.call_sid, entry.data.kind, entry.data.data)
            case "end":
                self._store.finish_call(entry.data)
            case other:
                raise AssertionError(other)

    def _keep(self, entries: list[_Entry]) -> None:
        entries = [entry for entry in entries if entry.kind != "snapshot"]
        if not entries:
            return
        with self._file:
            self._spilt = True
            self._spill.parent.mkdir(parents=True, exist_ok=True)
            with self._spill.open("a", encoding="utf-8") as file:
                for entry in entries:
                    self._on_spill()
                    file.write(json.dumps(_plain(entry), ensure_ascii=False) + "\n")

    def _replay(self) -> None:
        """Write what had to be spilt, by this run or a former one. What still cannot be written is spilt again."""
        with self._file:
            self._spilt = False
            if not self._spill.exists():
                return
            taken = self._spill.with_suffix(f".{datetime.now(UTC):%Y%m%dT%H%M%S%f}")
            self._spill.rename(taken)
        entries = [_read(line) for line in taken.read_text(encoding="utf-8").splitlines() if line]
        log.info("writing spilt records", extra={"count": len(entries)})
        left, failures = [], 0
        for entry in entries:
            try:
                if failures < _AWAY:
                    self._write(entry)
                    failures = 0
                    continue
            except Exception as error:  # as in `_write_batch`
                failures += 1
                log.warning("spilt record could not be written", extra={"kind": entry.kind, "error": str(error)})
            left.append(entry)
        if left:
            self._keep(left)
        taken.unlink()

    async def _beat(self, every_s: float, scope: anyio.CancelScope) -> None:
        with scope:
            while True:
                await anyio.sleep(every_s)
                if self._spilt:
                    with suppress(anyio.WouldBlock):  # the queue is full: another time
                        self._send.send_nowait(_Replay())
                if not self._live:
                    continue
                try:
                    await to_thread.run_sync(self._store.touch, sorted(self._live))
                except Exception as error:  # the next beat may do
                    log.warning("heartbeat could not be written", extra={"error": str(error)})


def _newest(batch: list[_Entry]) -> list[_Entry]:
    """Without the versions of a turn that another in the batch replaces."""
    last = {(entry.call_sid, entry.data.turn.number): entry for entry in batch if entry.kind == "turn"}
    return [entry for entry in batch if entry.kind != "turn" or last[entry.call_sid, entry.data.turn.number] is entry]


def _plain(entry: _Entry) -> dict[str, Any]:
    """As it stands in the spill file."""
    return {"kind": entry.kind, "call_sid": entry.call_sid, "data": msgspec.to_builtins(entry.data)}


def _read(line: str) -> _Entry:
    """What `_plain` wrote."""
    spilt = json.loads(line)
    return _Entry(spilt["kind"], spilt["call_sid"], msgspec.convert(spilt["data"], _DATA[spilt["kind"]]))
