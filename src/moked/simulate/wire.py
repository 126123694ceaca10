"""The carrier's end of Media Streams (pure): what Twilio says on the socket, and what its play buffer does.

The other end of `media.twilio`. It writes the messages a server gets from Twilio, reads the server's three messages as
strictly as Twilio does, and plays the audio: everything queued is heard in order at 8 kHz, a mark is echoed when the
audio before it has played, and `clear` drops what has not played and echoes every pending mark at once. Twilio's
documentation gives no limit for that buffer and neither does this one.

    server --media/mark/clear--> receive(text, now) --> PlayBuffer --> heard()
    server <--connected/start/media/dtmf/mark/stop-- opening() media() dtmf() due(now) stop()

`now` is whole milliseconds of call time, non-decreasing. Measuring, pacing and sockets stay out.
"""

import binascii
import json
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import assert_never

import msgspec

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS, SILENCE

INVALID_MESSAGE = 31951
"""Twilio's warning for a message it cannot use: bad JSON, unknown event, missing or extra field, wrong streamSid."""


@dataclass(frozen=True, slots=True)
class CarrierWarning:
    """What Twilio's debugger would show. `reason` is a short stable word, `detail` is for people."""

    code: int
    reason: str
    detail: str
    at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """Audio arrived at `at_ms` and plays from `start_ms`. `opens`: nothing was queued before it, the line was quiet."""

    at_ms: int
    start_ms: int
    audio: bytes = field(repr=False)
    opens: bool


@dataclass(frozen=True, slots=True)
class MarkAsked:
    at_ms: int
    name: str


@dataclass(frozen=True, slots=True)
class Cleared:
    """`dropped_ms` of audio will never be heard."""

    at_ms: int
    dropped_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that Twilio ignores."""

    at_ms: int
    reason: str
    detail: str


Received = Queued | MarkAsked | Cleared | Refused


@dataclass(frozen=True, slots=True)
class MarkEcho:
    """One mark's life. `cleared`: it came back because of a `clear`, not because the audio was heard."""

    name: str
    asked_ms: int
    echoed_ms: int
    cleared: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """A gapless stretch of mu-law that was audible from `start_sample` (call time times 8)."""

    start_sample: int
    audio: bytes = field(repr=False)

    @property
    def start_ms(self) -> int:
        return self.start_sample // SAMPLES_PER_MS

    @property
    def end_ms(self) -> int:
        return -(-(self.start_sample + len(self.audio)) // SAMPLES_PER_MS)


class PlayBuffer:
    """What Twilio has been given to play, on call time. Bytes are samples."""

    def __init__(self) -> None:
        self._stretches: list[tuple[int, bytearray]] = []
        self._end = 0

    @property
    def end_ms(self) -> int:
        """When the last queued sample has played; in the past if the line is quiet."""
        return -(-self._end // SAMPLES_PER_MS)

    def play(self, audio: bytes, now: int) -> int:
        """Queue `audio`; returns the sample at which it begins to be heard."""
        start = max(self._end, now * SAMPLES_PER_MS)
        if self._stretches and self._stretches[-1][0] + len(self._stretches[-1][1]) == start:
            self._stretches[-1][1].extend(audio)
        else:
            self._stretches.append((start, bytearray(audio)))
        self._end = start + len(audio)
        return start

    def clear(self, now: int) -> int:
        """Forget what has not played by `now`; returns the number of samples dropped."""
        cut = now * SAMPLES_PER_MS
        dropped = max(0, self._end - cut)
        if dropped:
            while self._stretches and self._stretches[-1][0] >= cut:
                self._stretches.pop()
            if self._stretches:
                start, audio = self._stretches[-1]
                del audio[cut - start :]
            self._end = cut
        return dropped

    def played(self, start_ms: int, samples: int) -> bytes:
        """What was audible from call ms `start_ms` on, silence included; for the past only."""
        first = start_ms * SAMPLES_PER_MS
        line = bytearray(SILENCE * samples)
        for start, audio in reversed(self._stretches):
            if start + len(audio) <= first:
                break
            skip = max(0, first - start)
            piece = audio[skip : skip + max(0, samples - max(0, start - first))]
            line[max(0, start - first) : max(0, start - first) + len(piece)] = piece
        return bytes(line)

    def heard(self, now: int) -> tuple[Heard, ...]:
        """What has been audible until `now`, in order, without the silences between."""
        cut = now * SAMPLES_PER_MS
        return tuple(
            Heard(start, bytes(audio[: cut - start])) for start, audio in self._stretches if start < cut and audio
        )


class CarrierStream:
    """One bidirectional media stream as Twilio runs it.

    `parameters` are the TwiML's `<Parameter>`s. The messages' own timestamps count from this stream's `start`, as
    Twilio's do; `now` is call time, which goes on when a call opens a second stream.
    """

    def __init__(
        self,
        stream_sid: str,
        call_sid: str,
        account_sid: str,
        parameters: Mapping[str, str],
    ) -> None:
        self.stream_sid = stream_sid
        self._call_sid = call_sid
        self._account_sid = account_sid
        self._parameters = dict(parameters)
        self._buffer = PlayBuffer()
        self._sequence = 0
        self._chunks = 0
        self._samples = 0
        self._pending: deque[tuple[str, int, int, bool]] = deque()  # name, asked, due, cleared
        self._echoes: list[MarkEcho] = []
        self._warning: CarrierWarning | None = None
        self.refused: Counter[str] = Counter()
        self._tail = json.dumps(stream_sid) + "}"

    # ---- to the server

    def opening(self) -> tuple[str, str]:
        """The first two messages: `connected`, which names no stream, and `start`, which tells everything."""
        start = {
            "event": "start",
            "sequenceNumber": self._next(),
            "start": {
                "accountSid": self._account_sid,
                "streamSid": self.stream_sid,
                "callSid": self._call_sid,
                "tracks": ["inbound"],
                "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": SAMPLE_RATE, "channels": 1},
                "customParameters": self._parameters,
            },
            "streamSid": self.stream_sid,
        }
        return '{"event":"connected","protocol":"Call","version":"1.0.0"}', _compact(start)

    def media(self, audio: bytes) -> str:
        """The caller's next audio, usually 160 bytes. Timestamps are of its first sample, in ms since `start`."""
        timestamp = self._samples // SAMPLES_PER_MS
        self._samples += len(audio)
        self._chunks += 1
        self._sequence += 1
        payload = binascii.b2a_base64(audio, newline=False).decode("ascii")
        return (  # concatenated by hand: fifty times a second for each of many calls
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound",'
            f'"chunk":"{self._chunks}","timestamp":"{timestamp}","payload":"{payload}"}},"streamSid":{self._tail}'
        )

    def dtmf(self, digit: str) -> str:
        """A key press. (`track` is 'inbound_track' here and 'inbound' in media: so it is documented.)"""
        return _compact(
            {
                "event": "dtmf",
                "streamSid": self.stream_sid,
                "sequenceNumber": self._next(),
                "dtmf": {"track": "inbound_track", "digit": digit},
            }
        )

    def stop(self) -> str:
        """The last message: the call ended or other TwiML took over."""
        return _compact(
            {
                "event": "stop",
                "sequenceNumber": self._next(),
                "stop": {"accountSid": self._account_sid, "callSid": self._call_sid},
                "streamSid": self.stream_sid,
            }
        )

    def due(self, now: int) -> tuple[str, ...]:
        """Mark echoes to send now, in the order the marks were asked for."""
        messages = []
        while self._pending and self._pending[0][2] <= now:
            name, asked, _, cleared = self._pending.popleft()
            self._echoes.append(MarkEcho(name, asked, now, cleared))
            messages.append(
                _compact(
                    {
                        "event": "mark",
                        "sequenceNumber": self._next(),
                        "streamSid": self.stream_sid,
                        "mark": {"name": name},
                    }
                )
            )
        return tuple(messages)

    @property
    def deadline(self) -> int | None:
        """When `due` has something next; None while no mark is pending."""
        return self._pending[0][2] if self._pending else None

    # ---- from the server

    def receive(self, text: str | bytes, now: int) -> Received:
        """Take one message from the server at `now`. Never raises: what Twilio would ignore comes back as `Refused`."""
        if not isinstance(text, str):
            return self._refuse("binary", f"{len(text)} bytes in a binary frame; only text frames are read", now)
        message: _Message
        try:
            message = _decode(text)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            return self._refuse(_reason(text), str(error), now)
        if message.stream_sid != self.stream_sid:
            return self._refuse("wrong_stream", f"streamSid {message.stream_sid!r} is not this stream's", now)
        match message:
            case _Media():
                opens = self._buffer.end_ms <= now
                start = self._buffer.play(message.media.payload, now)
                return Queued(now, start // SAMPLES_PER_MS, message.media.payload, opens)
            case _Mark():
                self._pending.append((message.mark.name, now, max(now, self._buffer.end_ms), False))
                return MarkAsked(now, message.mark.name)
            case _Clear():
                dropped = self._buffer.clear(now)
                self._pending = deque(
                    (name, asked, now, cleared or due > now) for name, asked, due, cleared in self._pending
                )
                return Cleared(now, dropped // SAMPLES_PER_MS)
            case _:
                assert_never(message)

    def played(self, start_ms: int, samples: int) -> bytes:
        """What the caller has heard from call ms `start_ms` on."""
        return self._buffer.played(start_ms, samples)

    @property
    def playing_until(self) -> int:
        """Call time at which the queued audio has all been heard; not after `now` if the line is quiet."""
        return self._buffer.end_ms

    def heard(self, now: int) -> tuple[Heard, ...]:
        """What the caller's ear got until `now`."""
        return self._buffer.heard(now)

    @property
    def marks(self) -> tuple[MarkEcho, ...]:
        """Every mark echoed so far, in order."""
        return tuple(self._echoes)

    @property
    def marks_pending(self) -> int:
        return len(self._pending)

    @property
    def warnings(self) -> tuple[CarrierWarning, ...]:
        """As in Twilio's debugger: the first bad message of the stream. `refused` counts them all by reason."""
        return () if self._warning is None else (self._warning,)

    def _refuse(self, reason: str, detail: str, now: int) -> Refused:
        self.refused[reason] += 1
        if self._warning is None:
            self._warning = CarrierWarning(INVALID_MESSAGE, reason, detail, now)
        return Refused(now, reason, detail)

    def _next(self) -> str:
        self._sequence += 1
        return str(self._sequence)


def _compact(message: Mapping[str, object]) -> str:
    return json.dumps(message, separators=(",", ":"))


class _Payload(msgspec.Struct, forbid_unknown_fields=True):
    payload: bytes  # msgspec decodes the base64


class _Name(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Media(
    msgspec.Struct, tag_field="event", tag="media", forbid_unknown_fields=True, rename={"stream_sid": "streamSid"}
):
    stream_sid: str
    media: _Payload


class _Mark(
    msgspec.Struct, tag_field="event", tag="mark", forbid_unknown_fields=True, rename={"stream_sid": "streamSid"}
):
    stream_sid: str
    mark: _Name


class _Clear(
    msgspec.Struct, tag_field="event", tag="clear", forbid_unknown_fields=True, rename={"stream_sid": "streamSid"}
):
    stream_sid: str


_Message = _Media | _Mark | _Clear
_decode = msgspec.json.Decoder(_Message).decode
_FIELDS = {"media": "payload", "mark": "name", "clear": None}


def _reason(text: str) -> str:
    """A word for why `_decode` refused `text`; the slow way, bad messages are rare."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        return "json"
    if not isinstance(message, dict):
        return "json"
    event = message.get("event")
    if event is None:
        return "missing_field"
    if not isinstance(event, str) or event not in _FIELDS:
        return "unknown_event"
    inner = _FIELDS[event]
    wanted = {"event", "streamSid"} | ({event} if inner else set())
    body = message.get(event) if inner else None
    if message.keys() < wanted or (isinstance(body, dict) and inner not in body):
        return "missing_field"
    if message.keys() - wanted or (isinstance(body, dict) and len(body) > 1):
        return "extra_field"
    return "bad_field" if message.keys() == wanted else "missing_field"
