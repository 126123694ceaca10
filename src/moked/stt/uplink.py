"""The audio on its way to a streaming recognizer (pure): batched by audio time, bounded, and never out of step.

Rules. A batch leaves when `batch_ms` of audio wait, when the first waiting byte is `batch_ms` old, or when somebody
flushes. At most `bound_ms` wait; more pushes out the oldest. What is pushed out leaves as mu-law silence of the same
length, so that a sample's place in the stream stays its place in the call: results are placed by that clock.

    put(audio, now) -> [ owed silence | waiting audio ] -> take(now) -> one message
"""

from typing import Final

from moked.audio import SAMPLES_PER_MS, SILENCE

# A later message may have 10 MB on v1 and 15-25 KB on v2 of the API; 12,000 bytes are right for both.
MAX_MESSAGE: Final = 12_000


class Uplink:
    """One stream's queue. `now` is whole milliseconds of any monotonic clock; audio is mu-law at 8 kHz."""

    def __init__(self, *, batch_ms: int, bound_ms: int = 1000) -> None:
        self._batch = max(1, batch_ms) * SAMPLES_PER_MS
        self._bound = max(batch_ms, bound_ms) * SAMPLES_PER_MS
        self._batch_ms = batch_ms
        self._waiting = bytearray()
        self._owed = 0
        self._first_at: int | None = None
        self._flush = False
        self.dropped = 0  # bytes in all
        self.dropped_in_a_row = 0  # bytes since the last `take`

    def fits(self, size: int) -> bool:
        """Whether so many more bytes would push nothing out."""
        return not self._waiting or len(self._waiting) + size <= self._bound

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._owed

    @property
    def deadline(self) -> int | None:
        """When a batch is due though it is not complete; None when nothing waits."""
        return None if self._first_at is None else self._first_at + self._batch_ms

    def put(self, audio: bytes, now: int) -> None:
        """Next audio, in order."""
        if not audio:
            return
        if self._first_at is None:
            self._first_at = now
        self._waiting += audio
        excess = len(self._waiting) - self._bound
        if excess > 0:
            del self._waiting[:excess]
            self._owed += excess
            self.dropped += excess
            self.dropped_in_a_row += excess

    def flush(self) -> None:
        """What waits now is due now."""
        self._flush = not self.empty

    def due(self, now: int) -> bool:
        if self.empty:
            return False
        if self._flush or self._owed or len(self._waiting) >= self._batch:
            return True
        return self._first_at is not None and now >= self._first_at + self._batch_ms

    def take(self, now: int) -> bytes:
        """The next message, at most `MAX_MESSAGE` bytes; empty when nothing waits. Takes whether due or not."""
        hush = min(self._owed, MAX_MESSAGE)
        self._owed -= hush
        part = bytes(self._waiting[: MAX_MESSAGE - hush])
        del self._waiting[: len(part)]
        self.dropped_in_a_row = 0
        if self.empty:
            self._first_at, self._flush = None, False
        else:
            self._first_at = now
        return SILENCE * hush + part
