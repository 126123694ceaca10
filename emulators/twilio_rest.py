"""Twilio's REST API for calls, as far as a running call needs it: real HTTP, Twilio's answers, faults on request.

    POST /2010-04-01/Accounts/{sid}/Calls.json              place a call (To, From, Url | Twiml)
    POST /2010-04-01/Accounts/{sid}/Calls/{call}.json       Status=completed|canceled, Twiml=..., Url=...
    GET  /2010-04-01/Accounts/{sid}/Calls/{call}.json       look at it
    GET  /2010-04-01/Accounts/{sid}/Recordings/{RE...}.wav  what somebody said after a <Record>
    DELETE /2010-04-01/Accounts/{sid}/Recordings/{recording}.json
    POST /2010-04-01/Accounts/{sid}/Messages.json           send a message (To, From, Body | ContentSid)

Basic auth is checked (401, code 20003), an unknown or ended call is 404 with code 20404, Url and Twiml together are
refused on update and Twiml is ignored on creation, as Twilio documents. `on_update` and `on_create` tell whoever plays
the carrier, so that a hang-up commanded here ends the simulated call.

    emulator = TwilioRest("AC...", "token", on_update=act)
    async with emulator.running() as base_url: ...

    python -m emulators.twilio_rest --port 4010
"""

import argparse
import base64
import hmac
import inspect
import json
import secrets
import socket
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

Hook = Callable[[str, dict[str, str]], Awaitable[None] | None]

_PATH = "/2010-04-01/Accounts/{account}/Calls"
_RECORDINGS = "/2010-04-01/Accounts/{account}/Recordings"
_MESSAGES = "/2010-04-01/Accounts/{account}/Messages.json"
_LONGEST_TWIML = 4000


@dataclass(frozen=True, slots=True)
class Fault:
    """One request's bad luck: wait `delay_s`, then answer `status` with `code`, or with `cut` break the connection.

    Status 200 with a delay is only slow.
    """

    status: int = 500
    code: int = 20500
    delay_s: float = 0.0
    cut: bool = False


class TwilioRest:
    """The emulator. `counts` by what was answered: 'updated', 'created', 'not_found', 'unauthorized', 'fault' ...

    `accept_unknown`: calls nobody announced with `call_started` count as running, for use from the command line.
    `faults` are used up in order, one a request.
    """

    def __init__(
        self,
        account_sid: str,
        auth_token: str,
        *,
        on_update: Hook | None = None,
        on_create: Hook | None = None,
        accept_unknown: bool = False,
    ) -> None:
        self.calls: dict[str, str] = {}  # call SID -> status
        self.recordings: set[str] = set()
        self.updates: list[tuple[str, dict[str, str]]] = []
        self.messages: list[dict[str, str]] = []
        self.faults: deque[Fault] = deque()
        self.counts: Counter[str] = Counter()
        self.creates_refused = 0
        """Twilio's code for every call that is to be placed, such as 21216: that number may not be called."""
        self.recorded: bytes | None = None
        """The WAV of every recording; None: there is none yet, as for a moment after a <Record>."""
        self._account_sid = account_sid
        self._credentials = base64.b64encode(f"{account_sid}:{auth_token}".encode())
        self._on_update = on_update
        self._on_create = on_create
        self._accept_unknown = accept_unknown
        self.app = Starlette(
            routes=[
                Route(_MESSAGES, self._message, methods=["POST"]),
                Route(_PATH + ".json", self._create, methods=["POST"]),
                Route(_PATH + "/{call}.json", self._update, methods=["POST"]),
                Route(_PATH + "/{call}.json", self._fetch, methods=["GET"]),
                Route(_RECORDINGS + "/{recording}.wav", self._recording, methods=["GET"]),
                Route(_RECORDINGS + "/{recording}.json", self._delete, methods=["DELETE"]),
            ]
        )

    def call_started(self, call_sid: str) -> None:
        self.calls[call_sid] = "in-progress"

    def call_ended(self, call_sid: str) -> None:
        self.calls[call_sid] = "completed"

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator[str]:
        """Serve on loopback while entered; yields the base URL."""
        with socket.create_server(("127.0.0.1", port)) as listener:
            server = Server(uvicorn.Config(self.app, log_level="warning", lifespan="off", timeout_graceful_shutdown=1))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(server.serve, [listener])
                try:
                    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
                finally:
                    server.should_exit = True

    async def _create(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        form = await _form(request)
        if not form.get("To") or not form.get("From"):
            return self._refuse(400, 21201, "No 'To' or 'From' number is specified", "invalid")
        if not form.get("Url") and not form.get("Twiml"):
            return self._refuse(400, 21205, "Url parameter is required.", "invalid")
        if self.creates_refused:
            return self._refuse(400, self.creates_refused, "Account not allowed to call this number", "invalid")
        if form.get("Url"):
            form.pop("Twiml", None)
        sid = "CA" + secrets.token_hex(16)
        self.calls[sid] = "queued"
        self.counts["created"] += 1
        await _tell(self._on_create, sid, form)
        return JSONResponse(self._resource(sid, form), 201)

    async def _message(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        form = await _form(request)
        if not form.get("To") or not form.get("From"):
            return self._refuse(400, 21604, "'To' phone number is required", "invalid")
        if not form.get("Body") and not form.get("ContentSid"):
            return self._refuse(400, 21602, "Message body is required.", "invalid")
        self.messages.append(form)
        self.counts["messages"] += 1
        return JSONResponse({"sid": "SM" + secrets.token_hex(16), "status": "queued", **form}, 201)

    async def _update(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        sid = request.path_params["call"]
        if self._gone(sid):
            return self._not_found(request)
        form = await _form(request)
        if "Url" in form and "Twiml" in form:
            return self._refuse(400, 20001, "Url and Twiml are mutually exclusive", "invalid")
        if len(form.get("Twiml", "")) > _LONGEST_TWIML:
            return self._refuse(400, 20001, f"Twiml is longer than {_LONGEST_TWIML} characters", "invalid")
        status = form.get("Status")
        if status not in (None, "completed", "canceled"):
            return self._refuse(400, 20001, f"Status may not be {status}", "invalid")
        if status:
            self.calls[sid] = status
        self.updates.append((sid, form))
        self.counts["updated"] += 1
        await _tell(self._on_update, sid, form)
        return JSONResponse(self._resource(sid, form))

    async def _fetch(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        sid = request.path_params["call"]
        if sid not in self.calls:
            return self._not_found(request)
        self.counts["fetched"] += 1
        return JSONResponse(self._resource(sid, {}))

    async def _recording(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        if self.recorded is None:
            return self._not_found(request)
        self.counts["recordings"] += 1
        return Response(self.recorded, media_type="audio/x-wav")

    async def _delete(self, request: Request) -> Response:
        if (no := await self._gate(request)) is not None:
            return no
        sid = request.path_params["recording"]
        if sid not in self.recordings:
            return self._not_found(request)
        self.recordings.discard(sid)
        self.counts["recording_deleted"] += 1
        return Response(status_code=204)

    async def _gate(self, request: Request) -> Response | None:
        self.counts["requests"] += 1
        if self.faults:
            fault = self.faults.popleft()
            self.counts["fault"] += 1
            await anyio.sleep(fault.delay_s)
            if fault.cut:
                return Cut()
            if fault.status != 200:
                return self._refuse(fault.status, fault.code, "a fault was asked for", "refused")
        given = request.headers.get("authorization", "").removeprefix("Basic ").encode()
        if not hmac.compare_digest(given, self._credentials):
            return self._refuse(401, 20003, "Authenticate", "unauthorized")
        return None if request.path_params["account"] == self._account_sid else self._not_found(request)

    def _gone(self, sid: str) -> bool:
        if sid not in self.calls:
            return not self._accept_unknown
        return self.calls[sid] in ("completed", "canceled")

    def _not_found(self, request: Request) -> Response:
        return self._refuse(404, 20404, f"The requested resource {request.url.path} was not found", "not_found")

    def _refuse(self, status: int, code: int, message: str, count: str) -> Response:
        self.counts[count] += 1
        more = f"https://www.twilio.com/docs/errors/{code}"
        return JSONResponse({"code": code, "message": message, "more_info": more, "status": status}, status)

    def _resource(self, sid: str, form: dict[str, str]) -> dict[str, str | None]:
        return {
            "sid": sid,
            "account_sid": self._account_sid,
            "status": self.calls.get(sid, "in-progress"),
            "to": form.get("To"),
            "from": form.get("From"),
            "direction": "outbound-api" if "To" in form else "inbound",
            "api_version": "2010-04-01",
            "uri": f"/2010-04-01/Accounts/{self._account_sid}/Calls/{sid}.json",
        }


class Server(uvicorn.Server):
    """Leaves the signals to whoever runs the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Cut(Response):
    """Promises more than it sends: the server then breaks the connection in the middle of the answer."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})


async def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True))


async def _tell(hook: Hook | None, sid: str, form: dict[str, str]) -> None:
    if hook is not None and inspect.isawaitable(told := hook(sid, form)):
        await told


def main() -> None:
    options = argparse.ArgumentParser(description="Emulate Twilio's REST API for calls on loopback.")
    options.add_argument("--port", type=int, default=4010)
    options.add_argument("--account-sid", default="AC" + "0" * 32)
    options.add_argument("--auth-token", default="emulated")
    given = options.parse_args()

    def show(kind: str) -> Hook:
        return lambda sid, form: print(json.dumps({"event": kind, "call_sid": sid, "fields": form}), flush=True)

    emulator = TwilioRest(
        given.account_sid, given.auth_token, on_update=show("update"), on_create=show("create"), accept_unknown=True
    )
    print(f"TWILIO_API_BASE_URL=http://127.0.0.1:{given.port}", flush=True)
    uvicorn.run(emulator.app, host="127.0.0.1", port=given.port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main()
