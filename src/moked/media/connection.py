"""The life of one media socket, from the accepted handshake to the closed session.

    start within 5 s -> ticket -> session.run beside: the reader (here), the watchdog
    ... until the first `end(code, reason)` -> tell the session -> close the socket -> wait for the session -> done

Everything that can end a call calls `end`; the first one counts. The socket is closed before the session has finished,
so that the carrier can go on with the TwiML after <Connect> while we still write our record.

    reason (stable)                                            code
    stop, done, disconnect                                     1000, 1000, none: how calls should end
    no_start                                                   1008: no `start` in time
    wrong_format, wrong_track                                  1008: not mu-law 8 kHz mono of the caller
    no_token, wrong_account                                    1008
    ticket_unknown, ticket_used, ticket_expired, ticket_...    1008: the ticket's own reason
    ticket_unavailable, session_failed                         1011: ours to repair
    too_many_bad, oversized                                    1008, 1009
    silent                                                     1008: no audio for 3 s; Twilio sends silence as audio
    send_stuck                                                 1011: the peer takes nothing for 5 s
    drain, moving, replaced                                    1012, 1001, 1008: another process, or another socket of
                                                               this one, goes on with the call
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Final, Protocol

import anyio
from starlette.types import Receive, Send

from moked.log import call_id
from moked.media import twilio
from moked.media.twilio import Bad, Connected, Dtmf, Event, Mark, Media, MediaStream, Start, Stop
from moked.records import CallStart

log = logging.getLogger(__name__)

NORMAL: Final = 1000
NO_STATUS: Final = 1005
POLICY: Final = 1008
TOO_BIG: Final = 1009
INTERNAL: Final = 1011

GOING_AWAY: Final = 1001
MOVING: Final = "moving"
REPLACED: Final = "replaced"

_AS_IT_SHOULD: Final = frozenset({"stop", "done", "disconnect", MOVING, REPLACED})
# What the server below us closed for, by the code it tells us.
_CLOSED_BELOW: Final = {1002: "protocol_error", 1007: "not_utf8", 1009: "oversized", 1012: "shutdown"}


@dataclass(frozen=True, slots=True)
class Gone:
    """The socket is of no more use, and `Stop` did not come. `reason` is one of the table at the top."""

    reason: str


class Session(Protocol):
    """A call, as the socket sees it."""

    def handle(self, event: Event | Gone) -> None:
        """What arrived: Media, Dtmf and Mark, then one Stop or Gone and nothing after it. Never waits.

        When `run` returned or raised, nothing more is handed in.
        """

    def move(self) -> None:
        """Another process goes on with the call: return from `run` as soon as nobody is speaking. Never waits."""

    async def run(self) -> str | None:
        """Serve the call; return when the socket should close, and why, if not because all is "done". Cancelled when
        it goes on too long after the end."""


class Outlet(Protocol):
    """The way back to the caller: the outgoing half of the codec, and the socket."""

    def media(self, audio: bytes) -> str: ...

    def mark(self, name: str) -> str: ...

    def clear(self) -> str: ...

    async def send(self, text: str) -> None:
        """In order. Raises `anyio.BrokenResourceError` when the socket is dead or takes nothing for `send_s`."""


class Refusal(Protocol):
    """Why a ticket was not taken; `reason` is a short stable word."""

    @property
    def reason(self) -> str: ...


class ShortWay(Protocol):
    """Past the server's queues, where it has such a way (`frames`). Neither waits."""

    def take(self, sink: Callable[[bytes], None]) -> None:
        """Hand every ordinary text message to `sink`, as its UTF-8 bytes. It must neither wait nor raise."""

    def write(self, text: str) -> bool:
        """Send one text message; False, and nothing was sent, where it has to go the usual way."""


SessionFactory = Callable[[Start, CallStart, Outlet], Session]
Redeem = Callable[[str, str], Awaitable[CallStart | Refusal]]


class Count(Protocol):
    """Told `refused` for each socket refused or ended otherwise than it should, and `bad_message`; both by `reason`."""

    def __call__(self, name: str, **labels: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, and `max_bad` messages that could not be used."""

    start_s: float = 5.0  # from accept to `start`
    redeem_s: float = 5.0
    silence_s: float = 3.0  # without audio
    grace_s: float = 0.5  # more, for the audio that waited while this process was busy
    send_s: float = 5.0
    close_s: float = 2.0
    finish_s: float = 15.0  # what a session may take after the socket is closed
    max_bad: int = 50


class Connection:
    """One accepted socket; `serve` it once. It is the session's `Outlet`."""

    def __init__(
        self,
        receive: Receive,
        send: Send,
        *,
        sessions: SessionFactory,
        redeem: Redeem,
        account_sid: str | None,
        limits: Limits,
        count: Count,
        calls: MutableMapping[str, "Connection"],
        short_way: ShortWay | None = None,
    ) -> None:
        self._receive = receive
        self._send = send
        self._sessions = sessions
        self._redeem = redeem
        self._account_sid = account_sid
        self._limits = limits
        self._count = count
        self._calls = calls  # one socket a call; shared with the other connections
        self._short_way = short_way  # past `receive` and `send`, where the server has one
        self._now = asyncio.get_running_loop().time
        self._stream = MediaStream()
        self._writer = anyio.Lock(fast_acquire=True)
        self._waiting = anyio.CancelScope()  # what to interrupt when the call ends
        self._ended: tuple[int, str] | None = None
        self._dead = False  # nothing can be sent any more
        self._heard_at = 0.0
        self._over = False  # the session
        self._finished = anyio.Event()
        self._session: Session | None = None
        self._bad = 0
        self._bad_logged: set[str] = set()

    # --- the session's way out ----------------------------------------------------------------------------------------

    def media(self, audio: bytes) -> str:
        return self._stream.media(audio)

    def mark(self, name: str) -> str:
        return self._stream.mark(name)

    def clear(self) -> str:
        return self._stream.clear()

    async def send(self, text: str) -> None:
        short = self._short_way
        if short is not None and not self._dead and not self._writer.locked() and short.write(text):
            return
        async with self._writer:
            if self._dead:
                raise anyio.BrokenResourceError("the media socket is closed")
            with anyio.move_on_after(self._limits.send_s) as scope:
                try:
                    await self._send({"type": "websocket.send", "text": text})
                except (OSError, RuntimeError) as error:  # the peer went, or the server below us closed
                    self._dead = True
                    self.end(NO_STATUS, "disconnect")
                    raise anyio.BrokenResourceError("the media socket is closed") from error
            if scope.cancelled_caught:
                self._dead = True
                self.end(INTERNAL, "send_stuck")
                raise anyio.BrokenResourceError("the media socket takes nothing")

    # --- its life -----------------------------------------------------------------------------------------------------

    def end(self, code: int, reason: str) -> None:
        """End this connection; the first reason holds. Never waits."""
        if self._ended is None:
            self._ended = code, reason
            self._waiting.cancel()

    @property
    def session(self) -> Session | None:
        """Once there is one."""
        return self._session

    def move(self) -> None:
        """Let the call go to another process at its next quiet moment. Never waits."""
        if self._session is not None:
            self._session.move()

    async def serve(self) -> None:
        """Returns when the socket is closed and the session, if there was one, has finished."""
        start = await self._wait_for_start()
        call = None if start is None else await self._check(start)
        if start is None or call is None:
            await self._close()
        else:
            former = self._calls.get(start.call_sid)
            if former is not None:  # the carrier has one stream a call: that one is dead, whatever its socket says
                former.end(POLICY, REPLACED)
            self._calls[start.call_sid] = self
            token = call_id.set(start.call_sid)
            try:
                await self._converse(start, call)
            finally:
                call_id.reset(token)
                if self._calls.get(start.call_sid) is self:
                    del self._calls[start.call_sid]

    async def _wait_for_start(self) -> Start | None:
        with anyio.move_on_after(self._limits.start_s) as self._waiting:
            while self._ended is None:
                event = await self._next()
                if isinstance(event, Start):
                    return event
        self.end(POLICY, "no_start")
        return None

    async def _check(self, start: Start) -> CallStart | None:
        """The call this stream may serve, or None after `end`."""
        token = start.parameters.get("token", "")
        if not token:
            self.end(POLICY, "no_token")
        elif self._account_sid is not None and start.account_sid != self._account_sid:
            self.end(POLICY, "wrong_account")
        else:
            with anyio.move_on_after(self._limits.redeem_s) as self._waiting:
                try:
                    answer = await self._redeem(token, start.call_sid)
                except Exception:  # the database's own; the caller hears the TwiML after <Connect>
                    log.exception("ticket could not be looked up")
                else:
                    if not isinstance(answer, CallStart):
                        self.end(POLICY, f"ticket_{answer.reason}")
                    elif self._ended is None:
                        return answer
            self.end(INTERNAL, "ticket_unavailable")
        return None

    async def _converse(self, start: Start, call: CallStart) -> None:
        try:
            session = self._sessions(start, call, self)
        except Exception:
            log.exception("session could not be made")
            self.end(INTERNAL, "session_failed")
            await self._close()
            return
        self._session = session
        log.info("call connected", extra={"stream_sid": start.stream_sid})
        self._heard_at = self._now()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run, session)
            tasks.start_soon(self._watch)
            if self._short_way is not None:
                self._short_way.take(lambda text: self._arrived(session, text))
            with anyio.CancelScope() as self._waiting:
                await self._read(session)
            reason = self._ended[1] if self._ended is not None else "done"
            if reason not in ("stop", "done", "session_failed"):
                self._hand(session, Gone(reason))
            await self._close()
            if reason != "session_failed":
                await self._let_finish()
            tasks.cancel_scope.cancel()

    async def _let_finish(self) -> None:
        with anyio.move_on_after(self._limits.finish_s) as scope:
            await self._finished.wait()
        if scope.cancelled_caught:
            log.error("session did not finish in time")

    async def _run(self, session: Session) -> None:
        why = "done"
        try:
            why = await session.run() or why
        except Exception as error:  # this call is lost; the others are not
            if not (self._dead and isinstance(error, anyio.BrokenResourceError)):  # our own, about the dead socket
                log.exception("session failed")
            self.end(INTERNAL, "session_failed")
        else:
            self.end(GOING_AWAY if why == MOVING else NORMAL, why)
        finally:
            self._over = True
            self._finished.set()

    async def _watch(self) -> None:
        """Twilio sends audio as long as the stream lives, silence too: none means that nobody is there."""
        while self._ended is None:
            heard_at = self._heard_at
            wait = heard_at + self._limits.silence_s - self._now()
            if wait > 0:
                await anyio.sleep(wait)
                continue
            await anyio.sleep(self._limits.grace_s)
            if self._heard_at == heard_at:
                self.end(POLICY, "silent")

    async def _read(self, session: Session) -> None:
        while self._ended is None:
            self._take(session, await self._next())

    def _arrived(self, session: Session, text: bytes) -> None:
        """A message by the short way. It comes outside of any task, so nothing here may wait."""
        if self._ended is None:
            self._take(session, self._understood(text))

    def _take(self, session: Session, event: Event | None) -> None:
        match event:
            case Media():
                self._heard_at = self._now()
                self._hand(session, event)
            case Mark() | Dtmf():
                self._hand(session, event)
            case Stop():
                self._hand(session, event)
                self.end(NORMAL, "stop")
            case Connected() | Start() | Bad() | None:
                pass

    def _hand(self, session: Session, event: Event | Gone) -> None:
        if self._over:
            return
        try:
            session.handle(event)
        except Exception:
            log.exception("session failed")
            if self._ended is None:
                self.end(INTERNAL, "session_failed")

    # --- the wire -----------------------------------------------------------------------------------------------------

    async def _next(self) -> Event | None:
        message = await self._receive()
        if message["type"] != "websocket.receive":
            self._disconnected(message)
            return None
        text = message.get("text")
        return self._understood(message.get("bytes") or b"" if text is None else text)

    def _understood(self, text: str | bytes) -> Event:
        event = self._stream.receive(text)
        if isinstance(event, Bad):
            self._note(event)
        return event

    def _disconnected(self, message: Mapping[str, object]) -> None:
        self._dead = True
        code = message.get("code")
        reason = _CLOSED_BELOW.get(code, "disconnect") if isinstance(code, int) else "disconnect"
        self.end(code if isinstance(code, int) else NO_STATUS, reason)

    def _note(self, bad: Bad) -> None:
        """Count a message that could not be used, and end the call when there are too many.

        Events of a kind we do not know are counted and logged but do not end an open call: they may be Twilio's news.
        """
        self._count("bad_message", reason=bad.reason)
        if bad.reason not in self._bad_logged:
            self._bad_logged.add(bad.reason)
            log.warning("bad media message", extra={"reason": bad.reason, "detail": bad.detail})
        if bad.reason != twilio.UNKNOWN_EVENT or not self._stream.stream_sid:
            self._bad += 1
        if bad.reason == twilio.OVERSIZED:
            self.end(TOO_BIG, "oversized")
        elif bad.reason in (twilio.WRONG_FORMAT, twilio.WRONG_TRACK) and not self._stream.stream_sid:
            self.end(POLICY, bad.reason)
        elif self._bad > self._limits.max_bad:
            self.end(POLICY, "too_many_bad")

    async def _close(self) -> None:
        code, reason = self._ended or (NORMAL, "done")
        if reason in _AS_IT_SHOULD:
            log.info("media socket closed", extra={"reason": reason, "code": code, "bad_messages": self._bad})
        else:
            self._count("refused", reason=reason)
            log.warning("media socket closed", extra={"reason": reason, "code": code, "bad_messages": self._bad})
        if self._dead:
            return
        self._dead = True
        # It may have gone by itself meanwhile, or its buffer may be full of what nobody reads.
        with anyio.move_on_after(self._limits.close_s), contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code, "reason": reason})
