"""The ASGI front of a role: health, metrics and live events here, the media socket and the Flask app behind.

Only finite requests go to Flask: its adapter cannot see a client leave, so an endless response would hold its thread
for ever (measured with a2wsgi 1.10). Server-sent events are therefore served here.
"""

import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, cast

import msgspec
from a2wsgi import WSGIMiddleware
from anyio import to_thread
from flask import Flask
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moked import metrics
from moked.board import topic
from moked.bus import Bus, BusEvent
from moked.errors import ProviderError

SESSION_COOKIE = "moked_session"
BOARD_STREAM_S = 120
_FLASK_THREADS = 32


def session_of(request: HTTPConnection) -> str:
    """The token of the desk's session, '' without one. Over https its cookie has a name nobody else can set."""
    return request.cookies.get(f"__Host-{SESSION_COOKIE}") or request.cookies.get(SESSION_COOKIE, "")


def build(
    *,
    ready: Callable[[], dict[str, str]],
    about: Callable[[], dict[str, str]] = dict,
    sockets: Mapping[str, ASGIApp] | None = None,
    flask: Flask | None = None,
    bus: Bus | None = None,
    events_allowed: Callable[[str, str | None], bool] = lambda path, signature: False,
    board: Bus | None = None,
    board_of: Callable[[str], int | None] = lambda session: None,
) -> ASGIApp:
    """One app for a role. `ready()` names what is not ready yet, empty when all is; `about()` is told beside it.

    `sockets`: what serves WebSockets, by path. `events_allowed(path, signature)`: may this signed request watch a
    call? `board_of(session)`: the business whose calls this browser's session may watch on `board`, asked in a thread.
    """

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        missing = ready()
        return JSONResponse({"ready": not missing, "waiting_for": missing, **about()}, 503 if missing else 200)

    async def show_metrics(request: Request) -> Response:
        body, kind = metrics.render()
        return Response(body, media_type=kind)

    async def events(request: Request) -> Response:
        assert bus is not None
        if not events_allowed(request.url.path, request.headers.get("x-twilio-signature")):
            return PlainTextResponse("The request is not signed with the account's auth token.\n", 403)
        call_topic = f"call:{request.path_params['call_sid']}"
        return StreamingResponse(
            _event_stream(bus, call_topic, request.headers.get("last-event-id")),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    async def board_events(request: Request) -> Response:
        assert board is not None
        business = await to_thread.run_sync(board_of, session_of(request))
        if business is None:
            return PlainTextResponse("Log in first.\n", 401)
        return StreamingResponse(
            _board_stream(board, topic(business), request.headers.get("last-event-id")),
            media_type="text/event-stream",
            headers={"cache-control": "no-store", "x-accel-buffering": "no"},
        )

    routes: list[BaseRoute] = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", show_metrics),
    ]
    if bus is not None:
        routes.append(Route("/calls/{call_sid}/events", events))
    if board is not None:
        routes.append(Route("/board/events", board_events))
    if flask is not None:
        routes.append(Mount("/", cast(ASGIApp, WSGIMiddleware(cast(Any, flask), workers=_FLASK_THREADS))))
    pages = Starlette(routes=routes)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            served = (sockets or {}).get(scope["path"])
            if served is not None:
                await served(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": "unknown path"})
            return

        async def guarded(message: Message) -> None:
            """What is ours to answer is never taken for something else."""
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await pages(scope, receive, guarded)

    return app


async def _board_stream(bus: Bus, on: str, after: str | None) -> AsyncIterator[bytes]:
    """Events of all calls, from `after` on or from now. It ends now and then, so that a session that was ended is out;
    the browser comes back by itself with the last id it saw.
    """
    until = time.monotonic() + BOARD_STREAM_S
    try:
        async with bus.subscribe(on, after) as events:
            yield b": watching\nretry: 1000\n\n"
            async for event in events:
                yield (
                    f"id: {event.id}\nevent: {event.event}\ndata: ".encode() + msgspec.json.encode(event.data) + b"\n\n"
                )
                if time.monotonic() > until:
                    return
    except ProviderError:
        yield b"event: resync\ndata: {}\n\n"


async def _event_stream(bus: Bus, topic: str, after: str | None) -> AsyncIterator[bytes]:
    """Server-sent events of a topic (WHATWG HTML, section 9.2); ends with the call."""
    try:
        async with bus.subscribe(topic, after or "0-0") as events:
            yield b": watching\n\n"
            async for event in events:
                yield _sse(event)
                if event.event == "call.ended":
                    return
    except ProviderError:
        yield b"event: resync\ndata: {}\n\n"


def _sse(event: BusEvent) -> bytes:
    """As WHATWG HTML, section 9.2, wants it. JSON has no line breaks of its own."""
    return f"id: {event.id}\nevent: {event.event}\ndata: ".encode() + msgspec.json.encode(event.data) + b"\n\n"
