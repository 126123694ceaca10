"""Twilio Media Streams, our end of the wire (pure): text in, events out; audio, marks and clear out as text.

    new --start--> open --stop--> over          `connected` may come before `start`; media, dtmf, mark only while open

Bad input is data: nothing that arrives makes `receive` raise, it becomes `Bad` with one of the stable `REASONS`, and
the stream goes on as if it had not come. What to do about it (close, count, log) is the server's.

The format is Twilio's "WebSocket messages" reference. Its traps, which the tests hold: `sequenceNumber`, `chunk` and
`timestamp` are strings while `sampleRate` and `channels` are numbers; `dtmf.track` says `inbound_track` where
`media.track` says `inbound`; `connected` has neither `streamSid` nor `sequenceNumber`; a message of audio is usually
20 ms but need not be. Numbers are accepted as numbers or strings everywhere, unknown fields are ignored.

Nearly every message is audio, so `media` has a typed decoder of its own (base64 is decoded inside it); whatever that
one does not take, and every other event, goes through `_lenient`, which names what is wrong.
"""

import json
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_PAYLOAD_BYTES: Final = 32 * 1024

NOT_JSON: Final = "not_json"
OVERSIZED: Final = "oversized"  # the message, or the audio in it
UNKNOWN_EVENT: Final = "unknown_event"  # JSON, but not an object with an event we know: maybe Twilio's news
MISSING_FIELD: Final = "missing_field"  # absent, or of a kind or value that cannot be used
BAD_PAYLOAD: Final = "bad_payload"  # not base64
WRONG_STREAM: Final = "wrong_stream"  # another streamSid than `start` gave
OUT_OF_ORDER: Final = "out_of_order"  # a chunk that is not newer than the last: late or repeated
BEFORE_START: Final = "before_start"
SECOND_START: Final = "second_start"
WRONG_TRACK: Final = "wrong_track"
WRONG_FORMAT: Final = "wrong_format"  # not mu-law, 8000 Hz, one channel
AFTER_STOP: Final = "after_stop"

REASONS: Final = frozenset(
    {
        NOT_JSON,
        OVERSIZED,
        UNKNOWN_EVENT,
        MISSING_FIELD,
        BAD_PAYLOAD,
        WRONG_STREAM,
        OUT_OF_ORDER,
        BEFORE_START,
        SECOND_START,
        WRONG_TRACK,
        WRONG_FORMAT,
        AFTER_STOP,
    }
)

_INBOUND: Final = frozenset({"inbound", "inbound_track"})
_DIGITS: Final = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket speaks Media Streams; `start` follows."""


@dataclass(frozen=True, slots=True)
class Start:
    """The stream is open. `parameters` are the `<Parameter>`s of the TwiML, all as strings."""

    stream_sid: str
    call_sid: str
    account_sid: str
    tracks: tuple[str, ...] = ("inbound",)
    encoding: str = "audio/x-mulaw"
    sample_rate: int = 8000
    channels: int = 1
    parameters: Mapping[str, str] = field(default_factory=dict)


class Media(msgspec.Struct, frozen=True, gc=False):
    """Mu-law audio of the caller. `timestamp_ms` is presentation time since the stream began; `chunk` counts from 1.

    Chunks arrive in rising order; a gap in the numbers is audio that never came. `sequence` is 0 when absent.
    """

    audio: bytes
    timestamp_ms: int
    chunk: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Dtmf:
    """One key: 0-9, *, #, A-D."""

    digit: str


@dataclass(frozen=True, slots=True)
class Mark:
    """Our mark came back: the audio before it was played, or `clear` threw it away; the wire does not say which."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Twilio ended the stream; nothing more comes."""


@dataclass(frozen=True, slots=True)
class Bad:
    """A message that was not taken. `reason` is one of `REASONS`; `detail` names the place, never the caller's data."""

    reason: str
    detail: str = ""


Event = Connected | Start | Media | Dtmf | Mark | Stop | Bad


class _MediaBody(msgspec.Struct, gc=False):
    payload: bytes
    chunk: int
    timestamp: int
    track: str = "inbound"


class _MediaMessage(msgspec.Struct, tag_field="event", tag="media", rename="camel", gc=False):
    stream_sid: str
    media: _MediaBody
    sequence_number: int = 0


_decode_media = msgspec.json.Decoder(_MediaMessage, strict=False).decode
_decode_any = msgspec.json.Decoder().decode


class _Wrong(Exception):
    """Inside this file only: carries the `Bad` out of the lenient path."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.bad = Bad(reason, detail)


class MediaStream:
    """One stream, from `start` to `stop`. `stream_sid` is empty before `start`."""

    __slots__ = ("_audio_head", "_chunk", "_stopped", "_tail", "stream_sid")

    def __init__(self) -> None:
        self.stream_sid = ""
        self._stopped = False
        self._chunk = -1  # the last one taken
        self._audio_head = ""
        self._tail = ""

    def receive(self, text: str | bytes) -> Event:
        """The event in one WebSocket message. Never raises."""
        size = len(text) if isinstance(text, bytes) or text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_MESSAGE_BYTES:
            return Bad(OVERSIZED, f"{size} bytes")
        try:
            message = _decode_media(text)
        except (ValueError, RecursionError):  # everything msgspec raises, and text that is not Unicode
            return self._receive_other(text)
        return self._media(message)

    def media(self, audio: bytes) -> str:
        """Mu-law audio to play, any length. Only after `start`."""
        assert self._audio_head, "no stream to answer to"
        return self._audio_head + b2a_base64(audio, newline=False).decode("ascii") + '"}}'

    def mark(self, name: str) -> str:
        """Ask to be told when everything sent so far has been played."""
        return '{"event":"mark"' + self._tail + ',"mark":{"name":' + json.dumps(name) + "}}"

    def clear(self) -> str:
        """Throw away what was sent and not yet played; pending marks come back at once."""
        return '{"event":"clear"' + self._tail + "}"

    def _media(self, message: _MediaMessage) -> Media | Bad:
        body = message.media
        if self._stopped:
            return Bad(AFTER_STOP, "media")
        if not self.stream_sid:
            return Bad(BEFORE_START, "media")
        if message.stream_sid != self.stream_sid:
            return Bad(WRONG_STREAM, "media")
        if body.track not in _INBOUND:
            return Bad(WRONG_TRACK, "media.track")
        if body.chunk < 0 or body.timestamp < 0:
            return Bad(MISSING_FIELD, "media.chunk" if body.chunk < 0 else "media.timestamp")
        if len(body.payload) > MAX_PAYLOAD_BYTES:
            return Bad(OVERSIZED, f"{len(body.payload)} bytes of audio")
        if body.chunk <= self._chunk:
            return Bad(OUT_OF_ORDER, "media.chunk")
        self._chunk = body.chunk
        return Media(body.payload, body.timestamp, body.chunk, message.sequence_number)

    def _receive_other(self, text: str | bytes) -> Event:
        try:
            message = _decode_any(text)
        except (ValueError, RecursionError):
            return Bad(NOT_JSON, f"{len(text)} long")
        try:
            return self._lenient(message)
        except _Wrong as wrong:
            return wrong.bad

    def _lenient(self, message: Any) -> Event:
        if not isinstance(message, dict):
            raise _Wrong(UNKNOWN_EVENT, "not an object")
        name = message.get("event")
        match name:
            case "connected" | "start":
                if self._stopped:
                    raise _Wrong(AFTER_STOP, name)
                if self.stream_sid:
                    raise _Wrong(SECOND_START, name)
                return Connected() if name == "connected" else self._start(message)
            case "media" | "dtmf" | "mark" | "stop":
                if self._stopped:
                    raise _Wrong(AFTER_STOP, name)
                if not self.stream_sid:
                    raise _Wrong(BEFORE_START, name)
                if _text(message, "streamSid") != self.stream_sid:
                    raise _Wrong(WRONG_STREAM, name)
            case str():
                raise _Wrong(UNKNOWN_EVENT, ascii(name[:40])[:100])
            case _:
                raise _Wrong(UNKNOWN_EVENT, "no event name")
        if name == "stop":
            self._stopped = True
            return Stop()
        body = _object(message, name)
        if name == "media":
            return self._odd_media(message, body)
        if name == "mark":
            return Mark(_text(body, "name", "mark."))
        if "track" in body and _text(body, "track", "dtmf.") not in _INBOUND:
            raise _Wrong(WRONG_TRACK, "dtmf.track")
        digit = _text(body, "digit", "dtmf.").upper()
        if digit not in _DIGITS:
            raise _Wrong(MISSING_FIELD, "dtmf.digit")
        return Dtmf(digit)

    def _odd_media(self, message: dict[str, Any], body: dict[str, Any]) -> Media | Bad:
        """Audio that the typed decoder did not take: mostly wrong, sometimes only written in another way."""
        payload = body.get("payload")
        if payload is None:
            raise _Wrong(MISSING_FIELD, "media.payload")
        try:
            audio = a2b_base64(payload, strict_mode=True)
        except (Base64Error, TypeError, ValueError):
            raise _Wrong(BAD_PAYLOAD, "media.payload") from None
        return self._media(
            _MediaMessage(
                self.stream_sid,
                _MediaBody(
                    payload=audio,
                    chunk=_number(body, "chunk", "media."),
                    timestamp=_number(body, "timestamp", "media."),
                    track="inbound" if body.get("track") is None else _text(body, "track", "media."),
                ),
                0 if message.get("sequenceNumber") is None else _number(message, "sequenceNumber"),
            )
        )

    def _start(self, message: dict[str, Any]) -> Start:
        body = _object(message, "start")
        stream_sid = _text(body, "streamSid", "start.")
        if message.get("streamSid", stream_sid) != stream_sid:
            raise _Wrong(WRONG_STREAM, "start")
        tracks = body.get("tracks", ["inbound"])
        if not isinstance(tracks, list) or _INBOUND.isdisjoint(t for t in tracks if isinstance(t, str)):
            raise _Wrong(WRONG_TRACK, "start.tracks")
        sound = _object(body, "mediaFormat", "start.")
        encoding = _text(sound, "encoding", "start.mediaFormat.")
        sample_rate = _number(sound, "sampleRate", "start.mediaFormat.")
        channels = _number(sound, "channels", "start.mediaFormat.")
        if (encoding, sample_rate, channels) != ("audio/x-mulaw", 8000, 1):
            raise _Wrong(WRONG_FORMAT, "start.mediaFormat")
        parameters = body.get("customParameters")
        start = Start(
            stream_sid=stream_sid,
            call_sid=_text(body, "callSid", "start."),
            account_sid=_text(body, "accountSid", "start."),
            tracks=tuple(t for t in tracks if isinstance(t, str)),
            encoding=encoding,
            sample_rate=sample_rate,
            channels=channels,
            parameters={k: v if isinstance(v, str) else json.dumps(v) for k, v in parameters.items()}
            if isinstance(parameters, dict)
            else {},
        )
        self.stream_sid = stream_sid
        self._tail = ',"streamSid":' + json.dumps(stream_sid)
        self._audio_head = '{"event":"media"' + self._tail + ',"media":{"payload":"'
        return start


def _object(parent: dict[str, Any], key: str, place: str = "") -> dict[str, Any]:
    value = parent.get(key)
    if not isinstance(value, dict):
        raise _Wrong(MISSING_FIELD, place + key)
    return value


def _text(parent: dict[str, Any], key: str, place: str = "") -> str:
    value = parent.get(key)
    if not isinstance(value, str) or not value:
        raise _Wrong(MISSING_FIELD, place + key)
    return value


def _number(parent: dict[str, Any], key: str, place: str = "") -> int:
    """A number, or a string that is one; whole and not negative."""
    value = parent.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _Wrong(MISSING_FIELD, place + key)
    try:
        number = int(value)
    except (ValueError, OverflowError):
        raise _Wrong(MISSING_FIELD, place + key) from None
    if number < 0:
        raise _Wrong(MISSING_FIELD, place + key)
    return number
