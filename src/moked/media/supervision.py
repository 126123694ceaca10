"""The supervisors' door: hear a call that runs here, and speak in the agent's place. One socket a person and call.

    page: start {call, token}   us: started {talks}, then audio {caller, agent} every 40 ms, floor {who, mine}
          take_over                 the agent is silent; media {payload} is what the caller hears
          hand_back {note}          the agent has the call again; so too when the socket ends
                                    over: the call has ended, or goes on elsewhere
                              closed with 'elsewhere': not served here; the ticket is as good as before

Who listens never holds a call up: what a socket does not take is dropped, the oldest first. Messages are JSON text,
audio in them base64 of mu-law. Tickets are single-use, for one call, and say whether their holder may speak.
"""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import anyio
import msgspec
from starlette.types import Message, Receive, Scope, Send

from moked.media.server import Admits
from moked.media.tap import Frame, Listener
from moked.records import Supervisor

log = logging.getLogger(__name__)

MAX_LISTENERS: Final = 32
"""In one process. Calls come first."""

_FRAMES: Final = 2  # of 20 ms in a message
_WAITING: Final = 25  # messages: a second
_START_S: Final = 5.0
_SEND_S: Final = 5.0
_LONGEST: Final = 4096  # letters of a message: 20 ms of audio need 300
_LONGEST_AUDIO: Final = 1600
_LONGEST_NOTE: Final = 500
_NORMAL, _POLICY, _TOO_BIG, _TRY_LATER = 1000, 1008, 1009, 1013


class Supervised(Protocol):
    """A call that can be heard and taken over: `media.session.CallSession`."""

    def listen(self, listener: Listener) -> None: ...

    def leave(self, listener: Listener) -> None: ...

    def take_over(self, who: str) -> bool: ...

    def speak(self, audio: bytes) -> None: ...

    def hand_back(self, told: str = "") -> None: ...


class _In(msgspec.Struct, tag_field="event", forbid_unknown_fields=False):
    pass


class _Start(_In, tag="start"):
    call: str
    token: str


class _TakeOver(_In, tag="take_over"):
    pass


class _Media(_In, tag="media"):
    payload: bytes


class _HandBack(_In, tag="hand_back"):
    note: str = ""


_Known = _Start | _TakeOver | _Media | _HandBack
_decode: Final[Callable[[str], _Known]] = msgspec.json.Decoder(_Known).decode
_encode: Final = msgspec.json.Encoder().encode


class SupervisionServer:
    """The ASGI application of the door. `admits` judges the handshake, `redeem(token, call)` the ticket; `session`
    finds a call that is served here; `note` puts an act on record; `dropped` counts messages that a socket
    did not take."""

    def __init__(
        self,
        *,
        admits: Admits,
        redeem: Callable[[str, str], Awaitable[Supervisor | None]],
        session: Callable[[str], Supervised | None],
        note: Callable[[Supervisor, str, str], Awaitable[None]],
        dropped: Callable[[], None] = lambda: None,
    ) -> None:
        self._admits = admits
        self.redeem = redeem
        self.session = session
        self.note = note
        self.dropped = dropped
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            return
        await receive()  # websocket.connect
        if reason := self._admits(scope):
            log.warning("supervisor's socket refused", extra={"reason": reason})
            await send({"type": "websocket.close", "code": _POLICY, "reason": reason})
            return
        if self.inside >= MAX_LISTENERS:
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": _TRY_LATER, "reason": "full"})
            return
        self.inside += 1
        try:
            await send({"type": "websocket.accept"})
            await _Socket(self, receive, send).serve()
        except OSError:
            log.info("supervisor's socket died")
        finally:
            self.inside -= 1


class _Socket:
    """One person at one call; a `Listener`."""

    def __init__(self, server: SupervisionServer, receive: Receive, send: Send) -> None:
        self._server = server
        self._receive = receive
        self._send = send
        self._outgoing: deque[dict[str, Any]] = deque()
        self._frames: list[Frame] = []
        self._wake = anyio.Event()
        self._ended: tuple[int, str] | None = None
        self._mine = False  # the floor is

    # --- what the session tells

    def hear(self, frame: Frame) -> None:
        self._frames.append(frame)
        if len(self._frames) < _FRAMES:
            return
        caller = b"".join(one.caller for one in self._frames)
        agent = b"".join(one.agent for one in self._frames)
        self._frames.clear()
        if sum("caller" in message for message in self._outgoing) >= _WAITING:
            self._outgoing.remove(next(message for message in self._outgoing if "caller" in message))
            self._server.dropped()
        self._put({"event": "audio", "caller": caller, "agent": agent})

    def floor(self, who: str) -> None:
        self._mine = self._mine and bool(who)
        self._put({"event": "floor", "who": who, "mine": self._mine})

    def over(self) -> None:
        self._put({"event": "over"})
        self._end(_NORMAL, "over")

    def _put(self, message: dict[str, Any]) -> None:
        self._outgoing.append(message)
        self._wake.set()

    def _end(self, code: int, reason: str) -> None:
        self._ended = self._ended or (code, reason)
        self._wake.set()

    # --- its life

    async def serve(self) -> None:
        start, session, who = None, None, None
        with anyio.move_on_after(_START_S):
            start = await self._next()
            if isinstance(start, _Start):
                session = self._server.session(start.call)
                if session is not None:
                    who = await self._server.redeem(start.token, start.call)
        if isinstance(start, _Start) and session is not None and who is not None:
            await self._supervise(start.call, who, session)
        elif isinstance(start, _Start) and session is None:
            self._end(_TRY_LATER, "elsewhere")
        elif start is not None:
            self._end(_POLICY, "ticket")
        await self._close()

    async def _supervise(self, sid: str, who: Supervisor, session: Supervised) -> None:
        log.info("somebody listens", extra={"call": sid, "talks": who.talks})
        self._put({"event": "started", "talks": who.talks})
        session.listen(self)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._write, tasks.cancel_scope)
                await self._read(sid, who, session)
                self._end(_NORMAL, "left")
        finally:
            session.leave(self)
            if self._mine:  # the caller must not be left with nobody
                session.hand_back()
                with anyio.CancelScope(shield=True):
                    await self._server.note(who, "call.handed_back", sid)

    async def _read(self, sid: str, who: Supervisor, session: Supervised) -> None:
        while self._ended is None:
            match await self._next():
                case _Media(payload) if self._mine and len(payload) <= _LONGEST_AUDIO:
                    session.speak(payload)
                case _TakeOver() if who.talks and not self._mine:
                    self._mine = session.take_over(who.name)
                    if not self._mine:
                        self._put({"event": "refused"})
                    else:
                        self._put({"event": "floor", "who": who.name, "mine": True})
                case _HandBack(note) if self._mine:
                    self._mine = False
                    session.hand_back(note[:_LONGEST_NOTE].strip())
                    await self._server.note(who, "call.handed_back", sid)
                case None:
                    return
                case _:
                    pass  # not now, or not by this person

    async def _next(self) -> _Known | None:
        """The next message that can be understood; None when there will be none."""
        while self._ended is None:
            message: Message = await self._receive()
            if message["type"] != "websocket.receive":
                self._end(_NORMAL, "")
                return None
            text = message.get("text") or ""
            if len(text) > _LONGEST:
                self._end(_TOO_BIG, "oversized")
                return None
            try:
                return _decode(text)
            except (ValueError, RecursionError):
                continue
        return None

    async def _write(self, done: anyio.CancelScope) -> None:
        while True:
            self._wake = anyio.Event()
            while self._outgoing:
                text = _encode(self._outgoing.popleft()).decode()
                with anyio.move_on_after(_SEND_S) as scope:
                    try:
                        await self._send({"type": "websocket.send", "text": text})
                    except (OSError, RuntimeError):
                        self._end(_NORMAL, "")
                if scope.cancelled_caught:
                    self._end(_TRY_LATER, "stuck")
            if self._ended is not None:
                done.cancel()
                return
            await self._wake.wait()

    async def _close(self) -> None:
        code, reason = self._ended or (_POLICY, "no_start")
        with anyio.move_on_after(_SEND_S), suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
