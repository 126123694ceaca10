"""Meta's Graph API for WhatsApp, as far as messages need it: real HTTP, Meta's answers, faults on request.

    POST /{phone_id}/messages      text, template or audio; the answer has the message's id. Or: one of theirs is read
    POST /{phone_id}/media         a sound is left; the answer has its id
    GET  /{media_id}               where a medium lies     GET /lookaside/{media_id}   the medium itself

The bearer token is checked (401, code 190). Free text to somebody who is not in `window` fails with 131047, as Meta
says of who wrote last more than a day ago; a template reaches them. `webhook` and `sign` make what Meta would post.

    emulator = GraphApi("100", "token", secret="s")
    async with emulator.running() as base_url: ...
"""

import hashlib
import hmac
import json
import secrets
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from werkzeug.formparser import parse_form_data

from emulators.twilio_rest import Cut, Fault, Server


class GraphApi:
    """`sent` holds the bodies of messages that were taken; `media` sounds by id; `read` ids of theirs that were read.
    `deaf`: no sound can be left."""

    def __init__(self, phone_id: str, token: str, *, secret: str = "") -> None:
        self.phone_id = phone_id
        self.sent: list[dict[str, Any]] = []
        self.read: list[str] = []
        self.deaf = False
        self.window: set[str] = set()
        self.unknown: set[str] = set()
        self.media: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.base = ""
        self._token = token
        self._secret = secret
        self.app = Starlette(
            routes=[
                Route("/lookaside/{media}", self._medium, methods=["GET"]),
                Route("/{phone}/messages", self._send, methods=["POST"]),
                Route("/{phone}/media", self._left, methods=["POST"]),
                Route("/{media}", self._where, methods=["GET"]),
            ]
        )

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback while entered; yields the base URL."""
        with socket.create_server(("127.0.0.1", port)) as listener:
            server = Server(uvicorn.Config(self.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
            self.base = f"http://127.0.0.1:{listener.getsockname()[1]}"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [listener])
                try:
                    yield self.base
                finally:
                    server.should_exit = True

    def sign(self, body: bytes) -> str:
        return "sha256=" + hmac.new(self._secret.encode(), body, hashlib.sha256).hexdigest()

    def webhook(self, **value: Any) -> bytes:
        """A notification: `messages`, `contacts` or `statuses` as Meta nests them."""
        about = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": self.phone_id}, **value}
        entry = {"id": "0", "changes": [{"field": "messages", "value": about}]}
        return json.dumps({"object": "whatsapp_business_account", "entry": [entry]}, ensure_ascii=False).encode()

    async def _send(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        body = await request.json()
        to = body.get("to", "")
        if request.path_params["phone"] != self.phone_id or body.get("messaging_product") != "whatsapp":
            return _refuse(400, 100, "Invalid parameter")
        if body.get("status") == "read":
            self.read.append(body["message_id"])
            return JSONResponse({"success": True})
        if body.get("type") == "audio" and body["audio"].get("id") not in self.media:
            return _refuse(400, 131053, "Media upload error")
        if to in self.unknown:
            return _refuse(400, 131026, "Message undeliverable")
        if body.get("type") != "template" and to not in self.window:
            return _refuse(400, 131047, "Re-engagement message")
        self.sent.append(body)
        found = {"messages": [{"id": f"wamid.{secrets.token_hex(8)}"}]}
        return JSONResponse({"messaging_product": "whatsapp", "contacts": [{"input": to, "wa_id": to}], **found})

    async def _left(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        body = await request.body()
        given = {"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), "REQUEST_METHOD": "POST"}
        _, form, files = parse_form_data({**given, "CONTENT_TYPE": request.headers.get("content-type", "")})
        file = files.get("file")
        if file is None or form.get("messaging_product") != "whatsapp":
            return _refuse(400, 100, "Invalid parameter")
        found, sound = secrets.token_hex(6), file.read()
        file.close()
        if self.deaf or file.mimetype != "audio/ogg":
            return _refuse(400, 131053, "Media upload error")
        self.media[found] = sound
        return JSONResponse({"id": found})

    async def _where(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        media = request.path_params["media"]
        if media not in self.media:
            return _refuse(404, 100, "Unsupported get request")
        return JSONResponse({"url": f"{self.base}/lookaside/{media}", "mime_type": "audio/ogg; codecs=opus"})

    async def _medium(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        return Response(self.media[request.path_params["media"]], media_type="audio/ogg")

    async def _gate(self, request: Request) -> Response | None:
        if self.faults:
            fault = self.faults.popleft()
            await anyio.sleep(fault.delay_s)
            if fault.cut:
                return Cut()
            return _refuse(fault.status, fault.code, "a fault was asked for")
        given = request.headers.get("authorization", "").encode()
        if not hmac.compare_digest(given, f"Bearer {self._token}".encode()):
            return _refuse(401, 190, "Invalid OAuth access token")
        return None


def _refuse(status: int, code: int, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "type": "OAuthException"}}, status)
