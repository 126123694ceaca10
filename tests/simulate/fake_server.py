"""A server small enough to read: webhook, callbacks, live events and report by hand over asyncio, media by websockets.

Its agent greets with a tone, answers 80 ms after the caller falls silent with another, and stops when cut in on. It
speaks with the product's own codec, so that the simulator is tried against the other end of the wire.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from moked import audio
from moked.media import twilio

Form = dict[str, str]


def tone(ms: int, hertz: int = 440) -> bytes:
    """A steady loud sound, as mu-law."""
    time = np.arange(ms * 8, dtype=np.float32) / 8000
    return audio.from_float((0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32))


@dataclass
class HttpRequest:
    method: str
    path: str
    headers: dict[str, str]
    form: Form


@dataclass
class FakeServer:
    """`requests` holds every HTTP request in order. `answers` maps the beginning of a path to what is answered there:
    status, content type, body; the longest beginning counts.
    """

    http_port: int = 0
    media_port: int = 0
    requests: list[HttpRequest] = field(default_factory=list)
    answers: dict[str, Callable[[HttpRequest], tuple[int, str, str]]] = field(default_factory=dict)
    handshakes: list[dict[str, str]] = field(default_factory=list)
    received: list[twilio.Event] = field(default_factory=list)
    agent: Callable[[ServerConnection, "FakeServer"], Awaitable[None]] | None = None
    refuse_handshake: int = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def media_url(self) -> str:
        return f"ws://127.0.0.1:{self.media_port}/media/twilio"

    def answer(self, path: str, body: str, *, status: int = 200, kind: str = "text/xml") -> None:
        self.answers[path] = lambda request: (status, kind, body)

    def forms(self, path: str) -> list[Form]:
        return [request.form for request in self.requests if request.path == path]

    def names(self) -> list[str]:
        """The received events' names without the audio."""
        return [type(event).__name__ for event in self.received if not isinstance(event, twilio.Media)]

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
            body = (await reader.readexactly(int(headers.get("content-length", 0)))).decode()
            request = HttpRequest(method, urlsplit(target).path, headers, dict(parse_qsl(body, keep_blank_values=True)))
            self.requests.append(request)
            longest_first = sorted(self.answers.items(), key=lambda item: -len(item[0]))
            answer = next((made for path, made in longest_first if request.path.startswith(path)), None)
            status, kind, text = answer(request) if answer else (404, "text/plain", "")
            content = text.encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n"
                "Connection: close\r\n\r\n".encode()
                + content
            )
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _media(self, socket: ServerConnection) -> None:
        assert self.agent is not None
        with suppress(ConnectionClosed):
            await self.agent(socket, self)

    def _handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append({name.lower(): value for name, value in request.headers.raw_items()})
        return socket.respond(self.refuse_handshake, "no\n") if self.refuse_handshake else None

    @asynccontextmanager
    async def running(self) -> AsyncIterator["FakeServer"]:
        http = await asyncio.start_server(self._http, "127.0.0.1", 0)
        self.http_port = http.sockets[0].getsockname()[1]
        async with http, serve(self._media, "127.0.0.1", 0, process_request=self._handshake, compression=None) as media:
            self.media_port = next(iter(media.sockets)).getsockname()[1]
            yield self


async def polite_agent(
    socket: ServerConnection, server: FakeServer, *, reply_ms: int = 120, lead: bool = False
) -> None:
    """Greets, answers after 80 ms of silence, clears when the caller cuts in. `lead`: one big message a reply."""
    wire = twilio.MediaStream()
    quiet, heard_speech, playing, replies = 0, False, "", 0

    async def say(ms: int) -> str:
        nonlocal replies
        replies += 1
        sound = tone(ms)
        for at in range(0, len(sound), len(sound) if lead else 480):
            await socket.send(wire.media(sound[at : at + (len(sound) if lead else 480)]))
        await socket.send(wire.mark(f"reply-{replies}"))
        return f"reply-{replies}"

    async for text in socket:
        event = wire.receive(text)
        server.received.append(event)
        match event:
            case twilio.Start():
                playing = await say(reply_ms)
            case twilio.Mark(name):
                playing = "" if name == playing else playing
            case twilio.Media(audio=sound):
                loud = audio.rms(sound) > 500
                quiet = 0 if loud else quiet + audio.ms(sound)
                if loud and playing:
                    await socket.send(wire.clear())
                    playing = ""
                heard_speech = heard_speech or loud
                if heard_speech and quiet >= 80:
                    heard_speech = False
                    playing = await say(reply_ms)
            case twilio.Bad() as bad:
                raise AssertionError(bad)


def connect_twiml(server: FakeServer, after: str = "", attributes: str = "", callback: str = "") -> str:
    status = f' statusCallback="{callback}"' if callback else ""
    return (
        f'<?xml version="1.0"?><Response><Connect{attributes}><Stream url="{server.media_url}" name="agent"{status}>'
        f'<Parameter name="token" value="t0"/></Stream></Connect>{after}</Response>'
    )


def report(**more: Any) -> str:
    return json.dumps({"ended": True, "turns": [], "lead": None, **more})
