"""Frames between Moked and the bridge (pure); `whatsapp-bridge/wire.mjs` is the other side.

A text frame is JSON; a binary one is the length of the JSON (4 bytes, big-endian), the JSON, and bytes. What does not
fit the protocol is a `BadFrame`, and ends the connection: the other side has no business saying it.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

MAX_TEXT: Final = 1024 * 1024
MAX_BYTES: Final = 16 * 1024 * 1024
MAX_FRAME: Final = MAX_BYTES + MAX_TEXT
_LENGTH: Final = 4


class BadFrame(ValueError):
    """The other side does not keep to the protocol."""


class Fault(msgspec.Struct, frozen=True):
    code: str
    message: str = ""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request: of the bridge for keys, or of ours."""

    id: str
    method: str
    params: dict[str, Any] = {}


class Answered(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    id: str
    result: Any = None
    error: Fault | None = None


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event of the bridge. `seq` rises by one; it comes again until it is acknowledged."""

    seq: int
    event: str
    data: dict[str, Any]


Frame = Asked | Answered | Told


class _Any(msgspec.Struct):
    id: str | None = None
    method: str | None = None
    seq: int | None = None


_peek: Final = msgspec.json.Decoder(_Any).decode
_told: Final = msgspec.json.Decoder(Told).decode
_asked: Final[Callable[[bytes], Frame]] = msgspec.json.Decoder(Asked).decode
_answered: Final[Callable[[bytes], Frame]] = msgspec.json.Decoder(Answered).decode


def encode(message: dict[str, Any], beside: bytes | None = None) -> str | bytes:
    text = msgspec.json.encode(message)
    if beside is None:
        return text.decode()
    if len(beside) > MAX_BYTES:
        raise ValueError("too large to be handed over")
    return len(text).to_bytes(_LENGTH, "big") + text + beside


def decode(frame: str | bytes) -> tuple[Frame, bytes]:
    """What was said, and the bytes beside it. Raises `BadFrame`."""
    beside = b""
    if isinstance(frame, bytes):
        length = int.from_bytes(frame[:_LENGTH], "big")
        if len(frame) < _LENGTH or length > min(MAX_TEXT, len(frame) - _LENGTH):
            raise BadFrame("a binary frame is broken")
        text, beside = frame[_LENGTH : _LENGTH + length], frame[_LENGTH + length :]
    else:
        text = frame.encode()
    if len(text) > MAX_TEXT or len(beside) > MAX_BYTES:
        raise BadFrame("a frame is too large")
    try:
        peeked = _peek(text)
        if peeked.seq is not None:
            return _told(text), beside
        return (_answered if peeked.method is None else _asked)(text), beside
    except msgspec.DecodeError as error:
        raise BadFrame(str(error)) from error
