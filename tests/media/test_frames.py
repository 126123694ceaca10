"""The short way of a media socket against the library's own: whatever way the bytes are cut, the same messages come."""

import asyncio
import base64
import contextvars
import os

import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from moked.media.frames import SHORT_WAY, MediaSocket
from moked.media.twilio import MAX_MESSAGE_BYTES

pytestmark = pytest.mark.anyio

call = contextvars.ContextVar("call", default="")


class Transport(asyncio.Transport):
    def __init__(self):
        super().__init__()
        self.sent = b""
        self.paused = 0
        self.closing = False

    def write(self, data):
        self.sent += bytes(data)

    def get_extra_info(self, name, default=None):
        return default

    def pause_reading(self):
        self.paused += 1

    def resume_reading(self):
        pass

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True


class Line:
    """A socket whose handshake is done; `short` and `long` are what came by each way, in order in `all`."""

    def __init__(self, *, short_way=True, early=b""):
        self.short, self.all = [], []
        self._short_way = short_way
        self._early = early

    async def __aenter__(self):
        taken = asyncio.Event()

        async def app(scope, receive, send):
            await receive()
            await send({"type": "websocket.accept"})
            if self._short_way:
                call.set("CA1")
                scope["extensions"][SHORT_WAY].take(self._came)
                call.set("")
            self.send = send
            taken.set()
            while True:
                message = await receive()
                self.all.append(message.get("text", message))
                if message["type"] == "websocket.disconnect":
                    return

        config = uvicorn.Config(app, ws=MediaSocket, ws_max_size=MAX_MESSAGE_BYTES, ws_per_message_deflate=False)
        config.load()
        self.socket = MediaSocket(config, ServerState(), {})
        self.transport = Transport()
        self.socket.connection_made(self.transport)
        key = base64.b64encode(os.urandom(16))
        self.socket.data_received(
            b"GET /media/twilio HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + b"\r\n\r\n" + self._early
        )
        await taken.wait()
        self.transport.sent = b""
        return self

    async def __aexit__(self, *problem):
        self.socket.connection_lost(None)
        await self.settle()

    def _came(self, text):
        assert call.get() == "CA1"
        self.short.append(text.decode())
        self.all.append(text.decode())

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)

    def arrives(self, data):
        self.socket.data_received(data)


def frame(text, opcode=Opcode.TEXT, fin=True):
    data = text.encode() if isinstance(text, str) else text
    return Frame(opcode, data, fin).serialize(mask=True)


async def test_audio_takes_the_short_way_in_the_context_of_whoever_asked():
    async with Line() as line:
        line.arrives(frame("one") + frame("x" * 200) + frame("y" * 60_000))
        assert [len(text) for text in line.short] == [3, 200, 60_000]
        assert line.transport.paused == 0


async def test_without_a_taker_everything_waits_in_the_queue():
    async with Line(short_way=False) as line:
        line.arrives(frame("one"))
        await line.settle()
        assert (line.short, line.all) == ([], ["one"])


MESSAGES = st.lists(
    st.tuples(st.sampled_from(["text", "hebrew", "long", "bytes", "fragments", "ping", "pong"]), st.integers(0, 300)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 400), min_size=1, max_size=8))
def test_every_cut_of_the_bytes_gives_the_messages_of_the_library_in_their_order(messages, cuts):
    async def heard(short_way):
        async with Line(short_way=short_way) as line:
            rest, number = wire(messages), 0
            while rest:
                size = cuts[number % len(cuts)]
                number += 1
                line.arrives(rest[:size])
                rest = rest[size:]
                if number % 3 == 0:
                    await line.settle()
            await line.settle()
            return list(line.all), line.transport.sent

    assert asyncio.run(heard(True)) == asyncio.run(heard(False))


def wire(messages):
    made = b""
    for number, (kind, size) in enumerate(messages):
        match kind:
            case "text":
                made += frame(f"{number}:" + "x" * size)
            case "hebrew":
                made += frame(f"{number}:" + "א" * size)
            case "long":
                made += frame(f"{number}:" + "x" * size * 100)
            case "bytes":
                made += frame(b"%d" % number, Opcode.BINARY)
            case "fragments":  # a ping may come between them
                made += frame(f"{number}:", fin=False) + frame("ping", Opcode.PING)
                made += frame("x" * size, Opcode.CONT, fin=False) + frame("", Opcode.CONT)
            case "ping":
                made += frame("x" * min(size, 125), Opcode.PING)
            case "pong":
                made += frame("", Opcode.PONG)
    return made


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\xff" + (MAX_MESSAGE_BYTES + 1).to_bytes(8), 1009),  # announced, not sent: nobody waits for it
        (b"\x81\x05hello", 1002),  # not masked
        (b"\xc1\x85\0\0\0\0hello", 1002),  # a bit of an extension nobody agreed on
        (b"\x83\x85\0\0\0\0hello", 1002),  # an unknown kind
        (frame(b"\xff\xfe"), 1007),  # not UTF-8
        (frame("a", fin=False) + frame("b"), 1002),  # a message inside another
        (frame("a", Opcode.CONT), 1002),
    ],
    ids=range(7),  # not the bytes, whose masks differ each time
)
async def test_what_is_against_the_rules_is_answered_as_the_library_does(data, code):
    async with Line() as line:
        line.arrives(frame("good"))
        line.arrives(data)
        line.arrives(frame("too late"))
        await line.settle()
        assert line.short == ["good"]
        assert line.all[1]["code"] == code
        assert line.transport.sent[:2] == bytes((0x88, len(line.transport.sent) - 2))
        assert int.from_bytes(line.transport.sent[2:4]) == code


@pytest.mark.parametrize("cut", [1, 5, 9])
async def test_who_sends_part_of_a_frame_along_with_the_request_loses_nothing(cut):
    early = frame("early")
    async with Line(early=early[:cut]) as line:
        line.arrives(early[cut:] + frame("later"))
        await line.settle()
        assert line.all == ["early", "later"]


async def test_what_comes_after_our_close_is_dropped():
    async with Line() as line:
        await line.send({"type": "websocket.close", "code": 1000})
        line.arrives(frame("late"))
        assert line.short == []


@pytest.mark.parametrize("size", [0, 5, 125, 126, 65_535, 65_536])
async def test_what_we_send_is_what_the_library_would_send(size):
    async with Line() as line:
        await line.send({"type": "websocket.send", "text": "x" * size})
        assert line.transport.sent == Frame(Opcode.TEXT, b"x" * size).serialize(mask=False)
        line.transport.sent = b""
        await line.send({"type": "websocket.send", "text": "שלום"})
        assert line.transport.sent == Frame(Opcode.TEXT, "שלום".encode()).serialize(mask=False)


async def test_nothing_can_be_sent_into_a_lost_connection():
    async with Line() as line:
        line.socket.connection_lost(OSError())
        with pytest.raises(OSError):
            await line.send({"type": "websocket.send", "text": "x"})
        line.socket.connections.add(line.socket)
