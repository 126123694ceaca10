"""Voice activity of every call at once: Silero's 8 kHz network, one inference batched over all calls.

    slot.submit(row) -> rows wait gather_ms -> one run in the worker thread -> slot's on_result, on the loop

The network is recurrent: each call has its own state and its windows run in order, one of a call in a batch; calls do
not touch one another (a batched row equals a single run, which a test holds). A run of 32 windows takes about as long
as five single ones, so windows wait `gather_ms` for company; when runs take longer than that, the batch grows by
itself up to `max_batch`, which bounds the time of a run.

A call's state begins with, and after each quiet second returns to, what the network remembers after `wakeup.vowels()`:
left alone it misses first words and can go deaf (see there; the bench has the figures).

The loop only collects rows of mu-law, as they came. The one worker thread makes numbers of a whole batch at once, says
how loud each window is, and runs the network (onnxruntime lets the interpreter lock go). Row by row on the loop that
was 0.5 ms a second for each call (measured by `bench/density.py`: decision 0021).

A slot holds at most `MAX_PENDING` windows; the oldest is dropped beyond that, counted, and reported as None in its
place, so that whoever counts windows keeps the time.

The only user of onnxruntime for this model. Its interface, from the model file and Silero's own wrapper: `input`
[N, 32 + 256] float32 (each window is preceded by the last 32 samples before it), `state` [2, N, 128], `sr` int64.
"""

import asyncio
import contextvars
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from moked import audio, metrics
from moked.errors import ModelError
from moked.media import wakeup
from moked.media.speech import WINDOW_SAMPLES

log = logging.getLogger(__name__)

CONTEXT: Final = 32
ROW: Final = CONTEXT + WINDOW_SAMPLES
STATE: Final = 128
MAX_PENDING: Final = 32
QUIET: Final = 0.2
QUIET_WINDOWS: Final = 31  # a second

Floats = NDArray[np.float32]
OnResult = Callable[[float | None, float], None]
"""(probability of speech or None, loudness of the window in dB below full scale)"""

_RATE: Final = np.array(8000, dtype=np.int64)


class SileroVad:
    """The network. `infer` may run in any thread; it holds one core for 70 us (one row) to 1.2 ms (48 rows)."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes differ from release to release
            raise ModelError(f"the voice activity model {path} cannot be loaded: {error}") from error
        self.awake = self._listen(wakeup.vowels())  # [2, 128]: the state for a call's first window

    def infer(self, rows: Floats, state: Floats) -> tuple[Floats, Floats]:
        """Rows [N, 288] and state [2, N, 128] -> probabilities [N] and the next state."""
        output, state = self._session.run(None, {"input": rows, "state": state, "sr": _RATE})
        return output[:, 0], state

    def _listen(self, sound: Floats) -> Floats:
        padded = np.concatenate([np.zeros(CONTEXT, dtype=np.float32), sound])
        state: Floats = np.zeros((2, 1, STATE), dtype=np.float32)
        for start in range(0, len(sound) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES):
            _, state = self.infer(padded[start : start + ROW].reshape(1, ROW), state)
        return state[:, 0]


def levels_db(windows: Floats) -> Floats:
    """Loudness of each window [N, samples] in dB below full scale; -90 for digital silence."""
    power = np.einsum("ij,ij->i", windows, windows) / windows.shape[1]
    levels: Floats = 10.0 * np.log10(power + np.float32(1e-9))
    return levels


class Quiet:
    """When to wake the network again: after each `QUIET_WINDOWS` in a row below `QUIET`."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def passed(self, probability: float) -> bool:
        self._count = self._count + 1 if probability < QUIET else 0
        if self._count < QUIET_WINDOWS:
            return False
        self._count = 0
        return True


@dataclass(slots=True)
class VadStats:
    """What the batcher did so far."""

    windows: int = 0
    batches: int = 0
    largest: int = 0
    dropped: int = 0
    failed: int = 0
    busy_s: float = 0.0  # time spent in runs, queueing included


class VadSlot:
    """One call's place. `submit` never waits; close it when the call ends."""

    __slots__ = (
        "_batcher",
        "_context",
        "_failure",
        "_lost",
        "_on_result",
        "_pending",
        "_quiet",
        "_running",
        "closed",
        "index",
    )

    def __init__(self, batcher: "VadBatcher", index: int, on_result: OnResult) -> None:
        self.index = index
        self.closed = False
        self._batcher = batcher
        self._on_result = on_result
        self._context = contextvars.copy_context()  # results are logged under the call that asked
        self._pending: deque[bytes] = deque()
        self._quiet = Quiet()
        self._running = False  # one of its windows is in the batch that runs
        self._lost: list[float] = []  # levels of those dropped since that one was taken, all older than what is pending
        self._failure: BaseException | None = None

    def submit(self, row: bytes) -> None:
        """The next window: `ROW` bytes of mu-law, the last `CONTEXT` of the window before it first. Raises what
        `on_result` raised: it belongs to this call."""
        if self._failure is not None:
            raise self._failure
        if not self.closed:
            self._pending.append(row)
            self._batcher._submitted(self)

    def close(self) -> None:
        """No more results come, also for what is pending or running."""
        if not self.closed:
            self.closed = True
            self._pending.clear()
            self._batcher._closed(self)

    def _take(self) -> tuple[bytes, list[float]]:
        """The next row to run, and the levels of what was dropped just before it."""
        self._running = True
        lost, self._lost = self._lost, []
        return self._pending.popleft(), lost

    def _deliver(self, lost: list[float], probability: float | None, level_db: float) -> None:
        try:
            for level in lost:
                if not self.closed:
                    self._context.run(self._on_result, None, level)
            if not self.closed:
                self._context.run(self._on_result, probability, level_db)
        except Exception as error:  # one call's failure must not silence the others: its next `submit` raises it
            self._failure = error
            self.close()


class VadBatcher:
    """Detection for all calls of the process. `stats` says how it fares."""

    def __init__(self, path: Path, *, max_batch: int = 48, gather_ms: int = 6) -> None:
        self.stats = VadStats()
        self._path = path
        self._max_batch = max_batch
        self._gather_s = gather_ms / 1000
        self._awake: Floats = np.zeros((2, STATE), dtype=np.float32)  # the model's, once it runs
        self._state: Floats = np.zeros((2, 64, STATE), dtype=np.float32)  # by slot index
        self._free = list(range(64))
        self._ready: deque[VadSlot] = deque()  # slots with a window to run, oldest first
        self._since = 0.0  # when the first of them became ready
        self._batch: list[tuple[VadSlot, list[float]]] = []  # being run now, each with what it lost just before
        self._started = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._inbox: queue.SimpleQueue[tuple[list[bytes], Floats] | None] = queue.SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the model, then serve. Raises `ModelError` when it cannot be loaded."""
        model = await anyio.to_thread.run_sync(SileroVad, self._path)
        self._awake = model.awake
        self._loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._work, args=(model, self._loop), name="vad", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._loop = None
            self._cancel_timer()
            self._ready.clear()
            self._inbox.put(None)
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(thread.join)

    def open(self, on_result: OnResult) -> VadSlot:
        """A place for a call, while `running`. `on_result` is called once a window, in order, on the loop thread and in
        the context of this call: with the probability of speech, or None for a window that was dropped."""
        if not self._free:
            held = self._state.shape[1]
            self._state = np.concatenate([self._state, np.zeros_like(self._state)], axis=1)
            self._free = list(range(held, 2 * held))
        index = self._free.pop()
        self._state[:, index] = self._awake
        return VadSlot(self, index, on_result)

    # --- the loop's side --------------------------------------------------------------------------------------------

    def _submitted(self, slot: VadSlot) -> None:
        pending = slot._pending
        if len(pending) > MAX_PENDING:
            slot._lost.append(float(levels_db(_sound([pending.popleft()])[:, CONTEXT:])[0]))
            self.stats.dropped += 1
            metrics.queue_drops.labels("vad").inc()
        elif len(pending) == 1 and not slot._running:
            self._enqueue(slot)
            self._arm()

    def _closed(self, slot: VadSlot) -> None:
        self._free.append(slot.index)  # a run in flight works on copies, and `_finish` skips closed slots

    def _enqueue(self, slot: VadSlot) -> None:
        if not self._ready and self._loop is not None:
            self._since = self._loop.time()
        self._ready.append(slot)

    def _arm(self) -> None:
        """Run now if a full batch waits or the first has waited enough, else when it has."""
        if self._loop is None or self._batch or not self._ready:
            return
        wait = self._since + self._gather_s - self._loop.time()
        if wait <= 0 or len(self._ready) >= self._max_batch:
            self._cancel_timer()
            self._launch()
        elif self._timer is None:
            self._timer = self._loop.call_later(wait, self._launch)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _launch(self) -> None:
        self._timer = None
        batch: list[tuple[VadSlot, list[float]]] = []
        rows: list[bytes] = []
        while self._ready and len(batch) < self._max_batch:
            slot = self._ready.popleft()
            if not slot.closed:
                row, lost = slot._take()
                rows.append(row)
                batch.append((slot, lost))
        if self._ready and self._loop is not None:
            self._since = self._loop.time() - self._gather_s  # the rest has waited too
        if batch:
            self._batch = batch
            self._started = time.perf_counter()
            state = self._state[:, [slot.index for slot, _ in batch]]
            self._inbox.put((rows, state))

    def _finish(self, levels: list[float], result: tuple[Floats, Floats] | Exception) -> None:
        batch, self._batch = self._batch, []
        if self._loop is None:
            return
        stats = self.stats
        stats.busy_s += time.perf_counter() - self._started
        stats.batches += 1
        stats.windows += len(batch)
        metrics.vad_batch.observe(len(batch))
        stats.largest = max(stats.largest, len(batch))
        probabilities: list[Any]
        if isinstance(result, Exception):
            if stats.failed == 0:
                log.error("voice activity detection failed", exc_info=result)
            stats.failed += len(batch)
            probabilities = [None] * len(batch)
        else:
            probabilities = result[0].tolist()
            live = [(i, slot) for i, (slot, _) in enumerate(batch) if not slot.closed]
            self._state[:, [slot.index for _, slot in live]] = result[1][:, [i for i, _ in live]]
            for i, slot in live:
                if slot._quiet.passed(probabilities[i]):
                    self._state[:, slot.index] = self._awake
        for slot, _ in batch:
            slot._running = False
            if slot._pending:
                self._enqueue(slot)
                self._since = self._loop.time() - self._gather_s  # a call that is behind does not wait for company
        self._arm()  # the thread works on while the results are handed out
        for (slot, lost), probability, level in zip(batch, probabilities, levels, strict=True):
            slot._deliver(lost, probability, level)

    # --- the worker's side ------------------------------------------------------------------------------------------

    def _work(self, model: SileroVad, loop: asyncio.AbstractEventLoop) -> None:
        while (job := self._inbox.get()) is not None:
            rows, state = job
            sound = _sound(rows)
            levels = levels_db(sound[:, CONTEXT:]).tolist()
            result: tuple[Floats, Floats] | Exception
            try:
                result = model.infer(sound, state)
            except Exception as error:
                result = error
            try:
                loop.call_soon_threadsafe(self._finish, levels, result)
            except RuntimeError:  # the loop is gone, and with it everybody who asked
                return


def _sound(rows: list[bytes]) -> Floats:
    return audio.to_float(b"".join(rows)).reshape(len(rows), ROW)
