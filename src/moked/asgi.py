"""The ASGI front of a role: health, metrics and live events here, the media socket and the Flask app behind.

Only finite requests go to Flask: its adapter cannot see a client leave, so an endless response would hold its thread
for ever (measured with a2wsgi 1.10). Server-sent events are therefore served here.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import msgspec
from a2wsgi import WSGIMiddleware
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from moked import metrics
from moked.bus import Bus
from moked.errors import ProviderError

_MEDIA_PATH = "/media/twilio"
_FLASK_THREADS = 32


def media_path(number: int) -> str:
    """Where a media process takes streams; those of several on one host have their number in it, for the proxy."""
    return f"/media/{number}/twilio" if number else _MEDIA_PATH


def build(
    *,
    ready: Callable[[], dict[str, str]],
    about: Callable[[], dict[str, str]] = dict,
    media: ASGIApp | None = None,
    number: int = 0,
    flask: Flask | None = None,
    bus: Bus | None = None,
    events_allowed: Callable[[str, str | None], bool] = lambda path, signature: False,
) -> ASGIApp:
    """One app for a role. `ready()` names what is not ready yet, empty when all is; `about()` is told beside it.

    `number` is this media process's among several on the host. `events_allowed(path, signature)`: may this signed
    request watch a call?
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
        topic = f"call:{request.path_params['call_sid']}"
        return StreamingResponse(
            _event_stream(bus, topic, request.headers.get("last-event-id")),
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
    if flask is not None:
        routes.append(Mount("/", cast(ASGIApp, WSGIMiddleware(cast(Any, flask), workers=_FLASK_THREADS))))
    pages = Starlette(routes=routes)

    stream_path = media_path(number)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            if media is not None and scope["path"] == stream_path:
                await media(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008, "reason": "unknown path"})
            return
        await pages(scope, receive, send)

    return app


async def _event_stream(bus: Bus, topic: str, after: str | None) -> AsyncIterator[bytes]:
    """Server-sent events of a topic (WHATWG HTML, section 9.2); ends with the call."""
    try:
        async with bus.subscribe(topic, after or "0-0") as events:
            yield b": watching\n\n"
            async for event in events:
                data = msgspec.json.encode(event.data)
                yield f"id: {event.id}\nevent: {event.event}\ndata: ".encode() + data + b"\n\n"
                if event.event == "call.ended":
                    return
    except ProviderError:
        yield b"event: resync\ndata: {}\n\n"
