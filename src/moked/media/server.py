"""The door to the media plane: a bare ASGI application for Twilio's WebSocket, and the register of who is inside.

    handshake --signature, room--> accept --start, ticket--> session --stop, silence, failure, drain--> closed

It admits, counts and drains; the life of one socket is in `media/connection.py`. Messages are raw ASGI: no framework
object stands between the socket and the codec. Refused before the handshake is accepted (the reasons are stable,
`count` gets them):

    bad_signature   403   the header is missing or does not sign the URL Twilio was given
    foreign_origin  403   at the browsers' door (`entrance`): the page is none of ours
    draining, full  503   this process takes no (more) calls; Twilio goes on to the TwiML after <Connect>

Run it under uvicorn with `UVICORN_OPTIONS`: they bound a message before it is assembled, do without compression
(base64 of noise does not compress, and Twilio's frames are small), and hand audio over without a task switch
(`media/frames.py`).
"""

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from moked.media import frames
from moked.media.connection import Connection, Count, Gone, Limits, Outlet, Redeem, Refusal, Session, SessionFactory
from moked.media.twilio import MAX_MESSAGE_BYTES

__all__ = [
    "UVICORN_OPTIONS",
    "Admits",
    "Count",
    "Gone",
    "Limits",
    "MediaServer",
    "Outlet",
    "Redeem",
    "Refusal",
    "Session",
    "SessionFactory",
]

log = logging.getLogger(__name__)

UVICORN_OPTIONS: Final[dict[str, Any]] = {
    "ws": frames.MediaSocket,
    "ws_max_size": MAX_MESSAGE_BYTES,
    "ws_per_message_deflate": False,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}

Admits = Callable[[Scope], str]
"""Why this handshake is refused; '' if it is not."""

_STRANGERS: Final = ("bad_signature", "foreign_origin")
_SERVICE_RESTART: Final = 1012
_TRY_AGAIN_LATER: Final = 1013
_POLICY: Final = 1008


def _no_count(name: str, **labels: str) -> None:
    pass


class MediaServer:
    """The ASGI application for `/media/twilio`.

    `signature_ok` judges the `X-Twilio-Signature` header (None when absent) for the public wss URL. `redeem` exchanges
    a ticket and the CallSid of the stream for the call, once. `account_sid`, when given, is the only account whose
    streams are taken. Sockets beyond `max_calls` are refused. `count` is told what was refused or unusable.
    """

    def __init__(
        self,
        *,
        sessions: SessionFactory,
        redeem: Redeem,
        signature_ok: Callable[[str | None], bool],
        account_sid: str | None = None,
        max_calls: int = 100,
        limits: Limits | None = None,
        count: Count = _no_count,
    ) -> None:
        self._sessions = sessions
        self._redeem = redeem
        self._signature_ok = signature_ok
        self._account_sid = account_sid
        self._max_calls = max_calls
        self._limits = limits or Limits()
        self._count = count
        self._inside: set[Connection] = set()
        self._calls: dict[str, Connection] = {}
        self._empty = anyio.Event()
        self.draining = False

    @property
    def active(self) -> int:
        """Sockets that are open: calls, those about to become one, and those whose session is finishing."""
        return len(self._inside)

    @property
    def call_sids(self) -> list[str]:
        """The calls that have a session now."""
        return list(self._calls)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._serve(scope, receive, send, self._signed, self._redeem, self._account_sid)

    def entrance(self, admits: Admits, redeem: Redeem) -> ASGIApp:
        """Another door to the same room, for streams that no carrier signs: one count, one register, one drain.
        `admits` judges the handshake instead of the signature, `redeem` the ticket."""

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            await self._serve(scope, receive, send, admits, redeem, None)

        return door

    def session(self, call_sid: str) -> Session | None:
        """The session of this call, if it is served here."""
        connection = self._calls.get(call_sid)
        return connection.session if connection is not None else None

    async def _serve(
        self, scope: Scope, receive: Receive, send: Send, admits: Admits, redeem: Redeem, account_sid: str | None
    ) -> None:
        if scope["type"] != "websocket":
            await _answer(send, "http.response", 426, b"This address speaks WebSocket.\n")
            return
        await receive()  # websocket.connect
        reason = admits(scope) or self._no_room()
        if reason:
            self._count("refused", reason=reason)
            log.warning("media socket refused", extra={"reason": reason, "peer": _peer(scope)})
            await _refuse(scope, send, reason)
            return
        connection = Connection(
            receive,
            send,
            sessions=self._sessions,
            redeem=redeem,
            account_sid=account_sid,
            limits=self._limits,
            count=self._count,
            calls=self._calls,
            short_way=scope.get("extensions", {}).get(frames.SHORT_WAY),
        )
        self._inside.add(connection)
        try:
            await send({"type": "websocket.accept"})
            await connection.serve()
        except OSError:
            log.info("media socket died in the handshake", extra={"peer": _peer(scope)})
        finally:
            self._inside.discard(connection)
            if not self._inside:
                self._empty.set()
                self._empty = anyio.Event()

    def move(self) -> None:
        """Another process serves: let every call go there at its next quiet moment."""
        for connection in self._inside:
            connection.move()

    async def drain(self, seconds: float) -> int:
        """Take no more calls, wait up to `seconds` for those inside, then close the rest and return their number."""
        self.draining = True
        log.info("draining", extra={"active": self.active, "seconds": seconds})
        with anyio.move_on_after(seconds):
            await self._until_empty()
        left = list(self._inside)
        for connection in left:
            connection.end(_SERVICE_RESTART, "drain")
        with anyio.move_on_after(self._limits.finish_s + self._limits.close_s):
            await self._until_empty()
        return len(left)

    async def _until_empty(self) -> None:
        while self._inside:
            await self._empty.wait()

    def _signed(self, scope: Scope) -> str:
        signature = next((value for name, value in scope["headers"] if name == b"x-twilio-signature"), None)
        return "" if self._signature_ok(None if signature is None else signature.decode("latin-1")) else "bad_signature"

    def _no_room(self) -> str:
        if self.draining:
            return "draining"
        return "full" if len(self._inside) >= self._max_calls else ""


async def _refuse(scope: Scope, send: Send, reason: str) -> None:
    """An HTTP answer instead of the handshake: 403 for a stranger, 503 for want of room."""
    try:
        if reason in _STRANGERS:
            await send({"type": "websocket.close", "code": _POLICY, "reason": reason})
        elif "websocket.http.response" in scope.get("extensions", {}):
            await _answer(send, "websocket.http.response", 503, reason.encode() + b"\n")
        else:
            await send({"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": reason})
    except OSError:
        pass  # the peer did not wait for the answer


async def _answer(send: Send, kind: str, status: int, body: bytes) -> None:
    start: Message = {"type": f"{kind}.start", "status": status, "headers": [(b"content-type", b"text/plain")]}
    await send(start)
    await send({"type": f"{kind}.body", "body": body})


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return f"{client[0]}:{client[1]}" if client else ""
