"""uvicorn's WebSocket, with a short way for the one message that comes fifty times a second for each call.

    bytes -> frames -> whole text of one frame, ASCII, and somebody has asked for it -> `sink`, at once
                 '---> everything else -> uvicorn and the websockets library, as if this file were not there

uvicorn queues a message, stops reading, wakes the task that waits for it and reads on: two system calls and a task
switch for twenty milliseconds of audio. Here it is handed over inside the transport's own callback. That took 100 us a
message off the server (measured by `bench/density.py` at 60 calls: decision 0021).

The short way only cuts the stream of bytes into frames (RFC 6455, section 5.2). What is a handshake, a fragment, a
control frame, too long or against the rules goes on to the library in whole frames, which knows what to answer; it is
always between two frames when the short way is taken, so neither notices the other. Order is kept: while a message
waits in uvicorn's queue, what follows is queued as well.
"""

import contextvars
from collections.abc import Callable
from typing import Any, Final, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

from moked.media.twilio import MAX_MESSAGE_BYTES

try:
    from websockets.speedups import apply_mask
except ImportError:  # where the library was built without its C part
    from websockets.utils import apply_mask

SHORT_WAY: Final = "moked.short_way"
"""ASGI extension, `connection.ShortWay`. What came goes to its sink in the context of whoever asked for it."""

_TEXT: Final = 0x81  # the last and only frame of a text message, no extension bits
_MASKED: Final = 0x80
_LENGTH: Final = 0x7F
_DATA_OPCODES: Final = (0, 1, 2)


class MediaSocket(WebSocketsSansIOProtocol):
    """One connection, from the request of the handshake on; give it to uvicorn as `ws`."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._sink: Callable[[bytes], None] | None = None
        self._context: contextvars.Context | None = None
        self._framing = False
        self._part = b""  # of a frame
        self._in_message = False  # a fragment came, its message goes on

    def take(self, sink: Callable[[bytes], None]) -> None:
        """Hand every ordinary text message to `sink`, as its UTF-8 bytes. It must neither wait nor raise."""
        self._sink, self._context = sink, contextvars.copy_context()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(dict[str, Any], self.scope["extensions"])[SHORT_WAY] = self

    def data_received(self, data: bytes) -> None:
        if not self._framing:
            super().data_received(data)
            # Whoever sends frames along with the request is served by the library for as long as it lasts.
            self._framing = self.handshake_initiated and not self.conn.reader.buffer
            return
        if self._part:
            data, self._part = self._part + data, b""
        at, size = 0, len(data)
        while size - at >= 2:
            first, second = data[at], data[at + 1]
            length = second & _LENGTH
            start = at + 2
            if length > 125:  # the length is in the next two or eight bytes
                wide = 2 if length == 126 else 8
                start += wide
                if start > size:
                    break
                length = int.from_bytes(data[start - wide : start])
            if length > MAX_MESSAGE_BYTES:  # not worth waiting for: the library says so, and ends it
                self._framing = False
                super().data_received(data[at:])
                return
            start += 4 if second & _MASKED else 0
            end = start + length
            if end > size:
                break
            if first == _TEXT and second & _MASKED and self._sink is not None and self._straight:
                text = apply_mask(data[start:end], data[start - 4 : start])
                if text.isascii():
                    assert self._context is not None
                    self._context.run(self._sink, text)
                    at = end
                    continue
            if first & 0x0F in _DATA_OPCODES:
                self._in_message = not first & 0x80
            super().data_received(data[at:end])
            at = end
        self._part = data[at:]

    @property
    def _straight(self) -> bool:
        """Nothing is before this message, and the socket is open."""
        return not self._in_message and self.conn.state is State.OPEN and self.queue.empty()

    def write(self, text: str) -> bool:
        """Send one text message at once; False where the socket is not open, or its buffer is full."""
        if self.conn.state is not State.OPEN or not self.writable.is_set() or self.close_sent or self.disconnected:
            return False
        data = text.encode()
        size = len(data)
        if size < 126:
            head = bytes((_TEXT, size))
        elif size < 65536:
            head = bytes((_TEXT, 126)) + size.to_bytes(2)
        else:
            head = bytes((_TEXT, 127)) + size.to_bytes(8)
        self.transport.write(head + data)
        return True

    async def send(self, message: Any) -> None:
        if message["type"] != "websocket.send" or not self.write(message["text"]):
            await super().send(message)
