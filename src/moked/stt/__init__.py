"""The recognition port: what an engine is, and what a call hears from it.

Audio is headerless mu-law, 8 kHz, mono (`SAMPLES_PER_MS` bytes a millisecond), exactly as the carrier sends it.
Times are whole milliseconds of *call audio*: sample number since the stream's `start`, divided by 8. An engine's own
clock starts at `origin_ms`; it adds that itself, so that everything it reports is in call time.

    CallSession -> Recognizer (per call: `stt.relay.Relay`) -> Engine (per process) -> Stream (per call and span)
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

SAMPLE_RATE = 8000
SAMPLES_PER_MS = 8


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its place in call audio time, where the engine tells."""

    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Interim:
    """The whole current hypothesis after the last final of this stream; it replaces the interim before it."""

    text: str
    start_ms: int
    end_ms: int
    stability: float  # 0..1; 0 = the engine does not say
    engine: str
    behind: bool = False  # it lags: the last words are missing until the final, which is worth waiting for


@dataclass(frozen=True, slots=True)
class Final:
    """Text that will not change, for the audio in [start_ms, end_ms]."""

    text: str
    start_ms: int
    end_ms: int
    confidence: float | None
    engine: str
    words: tuple[Word, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineSwitched:
    """The call is heard by another engine now. `reason` is a `Failure` value or 'rotation', or one of
    `PLANNED_MOVES`."""

    before: str
    after: str
    reason: str


PLANNED_MOVES = ("recovered", "rollout")
"""Reasons of moves between engines that wait for a pause in which all that was said has been told."""


@dataclass(frozen=True, slots=True)
class HearingLost:
    """No engine at all hears the call now: every one refuses or fails. `reason`: a `Failure` value of the last one."""

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class HearingBack:
    """An engine hears the call again. Told before its first transcript."""

    engine: str


Transcript = Interim | Final | EngineSwitched | HearingLost | HearingBack


@runtime_checkable
class Stream(Protocol):
    """One open recognition of one call. Iterate it for results; it ends after `finish`, or raises `ProviderError`."""

    async def write(self, audio: bytes) -> None:
        """Next audio, in order. May wait (back-pressure). Raises `ProviderError` when the stream is dead."""

    def speech_started(self, at_ms: int) -> None:
        """Our VAD heard speech begin. Streaming engines may ignore it; utterance engines cut here. Never waits."""

    def speech_paused(self, at_ms: int) -> None:
        """No voice since `at_ms`, which may be the end: what is batched should leave, and what follows soon after."""

    def speech_ended(self, at_ms: int) -> None:
        """Our VAD heard speech end: flush what is batched; utterance engines recognise now. Never waits."""

    def expect(self, what: str) -> None:
        """What the agent asked for (a `dialog.Expect` value): a hint for how to decode what comes. Never waits."""

    async def finish(self) -> None:
        """No more audio. Remaining finals still come out of the iterator, which then ends."""

    def __aiter__(self) -> AsyncIterator[Interim | Final]: ...


class Engine(Protocol):
    """A way to recognise, one a process, shared by all calls.

    It may have `batch_ms`: its streams send audio in batches of so much, and need not be woken for less.
    """

    name: str  # 'google', 'whisper', ...: in logs, metrics and records

    def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AbstractAsyncContextManager[Stream]:
        """Open a stream whose first byte is call time `origin_ms`. `hints`: business-specific phrases, at most 100.

        Entering raises `ProviderError` when it cannot be opened, `Overloaded` when our capacity for it is used up.
        """

    def running(self) -> AbstractAsyncContextManager[None]:
        """Connect, load and warm up on entry, serve while entered, release on exit. Entered once, by the role."""


class Recognizer(Protocol):
    """What a call listens through. All but `run` never wait and never raise."""

    def feed(self, audio: bytes) -> None: ...

    def speech_started(self, at_ms: int) -> None: ...

    def speech_paused(self, at_ms: int) -> None: ...

    def speech_ended(self, at_ms: int) -> None: ...

    def expect(self, what: str) -> None:
        """What the agent asked for (a `dialog.Expect` value); kept for the streams that are opened later too."""

    def prefer(self, engines: Sequence[str]) -> None:
        """From now on these engines are wanted, most wanted first; others come after them. The call moves at its next
        pause, in unbroken speech a little later (`RelayPolicy.rollout_ms`). The newest order counts."""

    def audio(self, from_ms: int, to_ms: int) -> bytes:
        """The call's own mu-law in call time, as far as the last 30 s reach; what is forgotten reads as silence."""

    async def run(self) -> None:
        """Serve the call until `finish` was called and the last final came out. Cancel to abandon."""

    def finish(self) -> None:
        """The caller is gone: flush, take the last finals, then `run` returns."""
