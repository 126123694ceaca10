"""What a simulated call yields: the caller's side of the story (plain values). The server's side is its `report`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

from moked.audio import SAMPLES_PER_MS
from moked.simulate.audio import write_wav
from moked.simulate.measure import TurnResult
from moked.simulate.twiml import Experienced
from moked.simulate.wire import CarrierWarning, Heard, MarkEcho


class StreamEnd(StrEnum):
    """Who ended a media stream."""

    CALLER = "caller"
    SERVER = "server"  # closed the socket properly
    LOST = "lost"  # the socket died, or was closed with an error code
    REST = "rest"  # the server asked the carrier's REST API to end or redirect the call
    NOT_OPENED = "not_opened"
    TIME_LIMIT = "time_limit"


class Ended(StrEnum):
    """How the whole call ended."""

    CALLER_HUNG_UP = "caller_hung_up"
    AGENT_HUNG_UP = "agent_hung_up"
    TRANSFERRED = "transferred"  # somebody answered a <Dial>
    REJECTED = "rejected"
    FAILED = "failed"  # the webhook or the TwiML could not be used
    TIME_LIMIT = "time_limit"


@dataclass(frozen=True, slots=True)
class StreamRun:
    """One media stream of the call. `detail` is a close code, an HTTP status or an error's words."""

    stream_sid: str
    url: str
    started_ms: int
    ended_ms: int
    how: StreamEnd
    detail: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """Times are call ms: 0 is the first `start`. None: it did not happen.

    `heard` is the agent's audio as it was played, `said` the caller's lines as (first ms, mu-law). `refused` counts the
    server's bad messages by reason; `warnings` shows them as Twilio would, once a stream. `late_ms` is the worst delay
    of a frame of ours: when it is large, this machine was too busy for the figures to mean much. `report` is what the
    server tells about the call, as JSON.
    """

    call_sid: str
    ended: Ended
    detail: str
    duration_ms: int
    greeting_ms: int | None
    greeting_heard_ms: int | None
    turns: tuple[TurnResult, ...]
    streams: tuple[StreamRun, ...]
    twiml: tuple[Experienced, ...]
    heard: tuple[Heard, ...] = field(repr=False)
    said: tuple[tuple[int, bytes], ...] = field(repr=False)
    marks: tuple[MarkEcho, ...]
    warnings: tuple[CarrierWarning, ...]
    refused: Mapping[str, int]
    late_ms: int
    report: Mapping[str, Any] | None

    def write_wav(self, path: Path) -> None:
        """The call as a stereo WAV: caller left, agent right."""
        write_wav(
            path,
            caller=((at * SAMPLES_PER_MS, audio) for at, audio in self.said),
            agent=((part.start_sample, part.audio) for part in self.heard),
            ms=self.duration_ms,
        )

    @property
    def gaps_ms(self) -> tuple[int, ...]:
        """How long nobody served the call, each time one stream had ended and another was to come."""
        opened = [stream for stream in self.streams if stream.how is not StreamEnd.NOT_OPENED]
        return tuple(after.started_ms - before.ended_ms for before, after in pairwise(opened))

    @property
    def after_stream(self) -> tuple[Experienced, ...]:
        """What the caller went through after the last media stream ended: what a break sounds like."""
        last = max((number for number, item in enumerate(self.twiml) if item.verb == "connect"), default=-1)
        return self.twiml[last + 1 :]
