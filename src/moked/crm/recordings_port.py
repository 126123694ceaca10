"""Where pages get recordings from: found by business and call, read in pieces, never whole on a disk in the clear."""

from typing import Protocol


class Recorded(Protocol):
    """One call's recording as a WAV file, caller left, agent right; its first sample is the call's first
    millisecond."""

    @property
    def duration_ms(self) -> int: ...

    @property
    def channels(self) -> int: ...  # 2

    @property
    def sample_rate(self) -> int: ...  # 8000

    @property
    def size(self) -> int:
        """Bytes of the WAV."""

    def read(self, start: int, length: int) -> bytes:
        """WAV bytes, decrypted; fewer at the end. Raises `ProviderError` when the storage is away."""

    def peaks(self, points: int) -> tuple[list[float], list[float]]:
        """The loudest sample, 0..1, of each of so many equal stretches: caller, agent."""


class RecordingSource(Protocol):
    def find(self, business_id: int, call_sid: str) -> Recorded | None:
        """None where there is no recording, or none any more. Waits for the database: not on an event loop."""
