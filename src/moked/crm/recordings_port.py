"""The recordings port: where a call's page finds the audio, whoever keeps it and however it is encrypted."""

from typing import Protocol


class Recorded(Protocol):
    """One call's recording as a WAV file: 16-bit PCM, the caller on the left, the agent on the right.

    `duration_ms` is call time; `sample_rate` in Hz; `size` in bytes, of the whole file.
    """

    @property
    def duration_ms(self) -> int: ...

    @property
    def channels(self) -> int: ...

    @property
    def sample_rate(self) -> int: ...

    @property
    def size(self) -> int: ...

    def read(self, start: int, length: int) -> bytes:
        """Bytes of the WAV file, decrypted; fewer at its end."""

    def peaks(self, points: int) -> tuple[list[float], list[float]]:
        """The loudest sample of each of `points` stretches, 0 to 1: of the caller, and of the agent."""


class RecordingSource(Protocol):
    """Synchronous: never on an event loop."""

    def find(self, business_id: int, call_sid: str) -> Recorded | None:
        """None where this business has no recording of such a call, or has none any more."""
