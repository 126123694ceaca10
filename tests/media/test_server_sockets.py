"""Hostile peers on a real socket: uvicorn as in the product, a real client, and a neighbour who must not notice."""

import base64
import itertools
import json
import logging
import os
import socket
from contextlib import asynccontextmanager, suppress

import anyio
import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from moked.media.server import UVICORN_OPTIONS, Gone, Limits, MediaServer
from moked.media.twilio import Media, Stop
from moked.records import CallStart
from moked.telephony import sign, signature_valid

pytestmark = pytest.mark.anyio

AUTH_TOKEN = "an auth token"
URL = "wss://calls.example.co.il/media/twilio"
ACCOUNT = "AC1"
GOOD = {"X-Twilio-Signature": sign(AUTH_TOKEN, URL, {})}


class Refused:
    def __init__(self, reason):
        self.reason = reason


class Echo:
    """A session that sends the caller's audio back."""

    def __init__(self, start, call, outlet):
        self._outlet = outlet
        self._send, self._receive = anyio.create_memory_object_stream(200)
        self.gone = None

    def handle(self, event):
        if isinstance(event, Media):
            self._send.send_nowait(event.audio)
        if isinstance(event, Stop | Gone):
            self.gone = event
            self._send.close()

    async def run(self):
        with self._receive:
            async for audio in self._receive:
                await self._outlet.send(self._outlet.media(audio))


class Host:
    def __init__(self, port):
        self.port = port
        self.sessions = {}
        self.counted = []
        self.used = set()
        self.app = MediaServer(
            sessions=self.session,
            redeem=self.redeem,
            signature_ok=lambda header: signature_valid(AUTH_TOKEN, URL, {}, header),
            account_sid=ACCOUNT,
            limits=Limits(start_s=0.4, silence_s=0.6, grace_s=0.1, finish_s=2.0),
            count=lambda name, **labels: self.counted.append((name, labels["reason"])),
        )

    def session(self, start, call, outlet):
        self.sessions[call.call_sid] = made = Echo(start, call, outlet)
        return made

    async def redeem(self, token, call_sid):
        if token in self.used:
            return Refused("used")
        if not token.startswith("ticket-"):
            return Refused("unknown")
        if token != f"ticket-{call_sid}":
            return Refused("other_call")
        self.used.add(token)
        return CallStart(call_sid, ACCOUNT, "+972502345678", "+97231234567")

    def connect(self, headers=GOOD, **options):
        address = f"ws://127.0.0.1:{self.port}/media/twilio"
        return connect(address, additional_headers=headers, compression=None, proxy=None, **options)


@asynccontextmanager
async def running():
    """The server on a free port, a neighbour on the line from the first moment to the last."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        host = Host(listener.getsockname()[1])
        config = uvicorn.Config(host.app, lifespan="off", log_config=None, access_log=False, **UVICORN_OPTIONS)
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server._serve, [listener])
            with anyio.fail_after(5):
                while not server.started:
                    await anyio.sleep(0.01)
            async with host.connect() as line:
                neighbour = Caller(line, "CAneighbour")
                await neighbour.start()
                async with anyio.create_task_group() as talking:
                    talking.start_soon(neighbour.talk)
                    yield host
                    enough = neighbour.echoes + 3  # it is served to the last
                    while neighbour.echoes < enough:
                        await anyio.sleep(0.01)
                    neighbour.talking = False
                assert neighbour.worst < 0.5, "the neighbour waited"
                assert host.sessions["CAneighbour"].gone is None
                await line.send(json.dumps({"event": "stop", "streamSid": "MZCAneighbour"}))
            with anyio.fail_after(5):
                while host.app.active:
                    await anyio.sleep(0.01)
            server.should_exit = True


class Caller:
    """Twilio's side of one call."""

    def __init__(self, line, sid):
        self.line, self.sid = line, sid
        self._chunks = itertools.count(1)
        self.echoes = 0
        self.worst = 0.0
        self.talking = True

    async def start(self, **changes):
        body = {
            "accountSid": ACCOUNT,
            "streamSid": f"MZ{self.sid}",
            "callSid": self.sid,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": f"ticket-{self.sid}"},
            **changes,
        }
        await self.line.send(json.dumps({"event": "connected", "protocol": "Call", "version": "1.0.0"}))
        start = {"event": "start", "sequenceNumber": "1", "streamSid": f"MZ{self.sid}", "start": body}
        await self.line.send(json.dumps(start))

    def media(self, audio, stream_sid=None):
        chunk = next(self._chunks)
        body = {
            "track": "inbound",
            "chunk": str(chunk),
            "timestamp": str(chunk * 20),
            "payload": base64.b64encode(audio).decode(),
        }
        return json.dumps(
            {
                "event": "media",
                "sequenceNumber": str(chunk + 1),
                "streamSid": stream_sid or f"MZ{self.sid}",
                "media": body,
            }
        )

    async def echo(self):
        """One frame there and back."""
        audio = os.urandom(160)
        await self.line.send(self.media(audio))
        with anyio.fail_after(5):
            answer = json.loads(await self.line.recv())
        assert answer["streamSid"] == f"MZ{self.sid}"
        assert base64.b64decode(answer["media"]["payload"]) == audio
        self.echoes += 1

    async def talk(self):
        while self.talking:
            before = anyio.current_time()
            await self.echo()
            self.worst = max(self.worst, anyio.current_time() - before)
            await anyio.sleep(0.02)


async def closed(line):
    """Code and reason the server closed with."""
    with anyio.fail_after(5):
        try:
            while True:
                await line.recv()
        except ConnectionClosed as error:
            return (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")


async def test_an_honest_call():
    async with running() as host:
        async with host.connect() as line:
            caller = Caller(line, "CA1")
            await caller.start()
            for _ in range(5):
                await caller.echo()
            await line.send(json.dumps({"event": "stop", "streamSid": "MZCA1", "stop": {}}))
            assert await closed(line) == (1000, "stop")
        assert host.sessions["CA1"].gone == Stop()
        assert host.counted == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="},
        {"X-Twilio-Signature": sign("another token", URL, {})},
        {"X-Twilio-Signature": sign(AUTH_TOKEN, "wss://elsewhere.example/media/twilio", {})},
    ],
)
async def test_without_our_signature_there_is_no_handshake(headers):
    async with running() as host:
        with pytest.raises(InvalidStatus) as refused:
            async with host.connect(headers):
                pass
        assert refused.value.response.status_code == 403
        assert host.counted == [("refused", "bad_signature")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"customParameters": {"token": "guess"}}, "ticket_unknown"),
        ({"customParameters": {"token": "ticket-CAneighbour"}}, "ticket_used"),
        ({"customParameters": {"token": "ticket-CA2"}}, "ticket_other_call"),
        ({"customParameters": {}}, "no_token"),
        ({"accountSid": "AC2"}, "wrong_account"),
        ({"mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 16000, "channels": 1}}, "wrong_format"),
    ],
)
async def test_a_wrong_start_is_closed_with_its_reason(changes, reason, caplog):
    async with running() as host, host.connect() as line:
        with caplog.at_level(logging.WARNING):
            await Caller(line, "CA1").start(**changes)
            assert await closed(line) == (1008, reason)
        assert reason in [getattr(record, "reason", "") for record in caplog.records]
        assert host.counted[-1] == ("refused", reason)
        assert "CA1" not in host.sessions


async def test_no_start():
    async with running() as host, host.connect() as line:
        assert await closed(line) == (1008, "no_start")


async def test_garbage_is_survived_until_it_is_too_much():
    async with running() as host, host.connect() as line:
        caller = Caller(line, "CA1")
        await caller.start()
        for garbage in ("", "garbage", "{", "[]", "null", '{"event":"media"}', "\u0000" * 100, "[" * 60_000):
            await line.send(garbage)
        await caller.echo()
        for _ in range(60):
            await line.send("garbage")
        assert await closed(line) == (1008, "too_many_bad")
        assert host.sessions["CA1"].gone == Gone("too_many_bad")


async def test_another_streams_audio_is_not_ours():
    async with running() as host, host.connect() as line:
        caller = Caller(line, "CA1")
        await caller.start()
        await line.send(caller.media(b"\x00" * 160, stream_sid="MZCAneighbour"))
        await caller.echo()
        assert host.counted == [("bad_message", "wrong_stream")]


async def test_a_message_of_ten_megabytes():
    async with running() as host, host.connect() as line:
        await Caller(line, "CA1").start()
        with anyio.move_on_after(5):
            with suppress(ConnectionClosed):
                await line.send("x" * 10_000_000)
        code, _ = await closed(line)
        assert code in (1009, 1006)  # 1006: the connection was reset while we were still sending
        while not host.counted:
            await anyio.sleep(0.01)
        assert host.counted == [("refused", "oversized")]


async def test_ten_megabytes_in_small_pieces():
    async with running() as host, host.connect() as line:
        await Caller(line, "CA1").start()
        with suppress(ConnectionClosed):
            await line.send("x" * 10_000 for _ in range(1000))
        code, _ = await closed(line)
        assert code in (1009, 1006)


async def test_fragments_and_binary_frames_are_messages_too():
    async with running() as host, host.connect() as line:
        caller = Caller(line, "CA1")
        await caller.start()
        text = caller.media(b"\x11" * 160)
        await line.send([text[:1], text[1:50], text[50:]])
        assert base64.b64decode(json.loads(await line.recv())["media"]["payload"]) == b"\x11" * 160
        await line.send(caller.media(b"\x12" * 160).encode())
        assert base64.b64decode(json.loads(await line.recv())["media"]["payload"]) == b"\x12" * 160
        await line.send(os.urandom(500))
        await caller.echo()
        assert host.counted == [("bad_message", "not_json")]


async def test_text_that_is_not_utf8_is_closed(caplog):
    async with running() as host, host.connect() as line:
        await Caller(line, "CA1").start()
        await line.send(b"\xff\xfe\xfd", text=True)
        code, _ = await closed(line)
        assert code in (1007, 1006)
        while host.sessions["CA1"].gone is None:
            await anyio.sleep(0.01)


async def test_sudden_death():
    async with running() as host:
        async with host.connect() as line:
            caller = Caller(line, "CA1")
            await caller.start()
            await caller.echo()
            line.transport.abort()
        with anyio.fail_after(5):
            while host.app.active > 1:
                await anyio.sleep(0.01)
        assert host.sessions["CA1"].gone == Gone("disconnect")


async def test_a_peer_that_falls_silent():
    async with running() as host, host.connect() as line:
        caller = Caller(line, "CA1")
        await caller.start()
        await caller.echo()
        assert await closed(line) == (1008, "silent")


async def test_a_second_socket_for_the_same_call():
    async with running() as host, host.connect() as line:
        await Caller(line, "CAneighbour").start(customParameters={"token": "ticket-CAneighbour"})
        assert await closed(line) == (1008, "ticket_used")


async def test_half_a_handshake_and_noise_on_the_port():
    async with running() as host:
        for noise in (
            b"",
            b"GET /media/twilio HTTP/1.1\r\nUpgrade: web",
            os.urandom(4000),
            b"\x16\x03\x01" + bytes(300),
        ):
            stream = await anyio.connect_tcp("127.0.0.1", host.port)
            await stream.send(noise)
            await stream.aclose()
        assert host.counted == []
