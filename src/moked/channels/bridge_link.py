"""The bridge's connection to us: a WebSocket it dials in to, with a token. One bridge at a time, on this machine.

    ask(method) ------------------>  result | Refused | LinkLost
    <- auth.get, auth.set            `serve` answers, in a task each
    <- events, in order              `hear` stores, then they are acknowledged

What the bridge does not hear acknowledged it tells again, so `hear` sees everything at least once; what it has
acknowledged of the same run is passed over.
"""

import hmac
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

import anyio
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from moked.channels.bridge_wire import MAX_FRAME, Answered, Asked, BadFrame, Told, decode, encode

log = logging.getLogger(__name__)

_ASK_S: Final = 30.0
_PING_S: Final = 10.0
_MOST_EVENTS: Final = 6000  # the bridge keeps 5000
_MOST_SERVED: Final = 64
_AGAIN_S: Final = 1.0


class LinkLost(Exception):
    """There is no bridge now, or it went before it answered: what was asked may have been done or not."""


class Refused(Exception):
    """The bridge could not. `code` is its stable word."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message or code)
        self.code = code


Serve = Callable[[str, dict[str, Any]], Awaitable[Any]]
"""Answers a request of the bridge; raises `Refused`."""
Hear = Callable[[str, dict[str, Any]], Awaitable[None]]
"""Stores an event; one that fails is tried again, with all that follow waiting."""


class BridgeLink:
    """`token`: whoever dials in must know it. Use `listening`."""

    def __init__(self, token: str, *, serve: Serve, hear: Hear) -> None:
        self.port = 0
        self.connected = anyio.Event()
        self._token = token
        self._serve = serve
        self._hear = hear
        self._bridge: ServerConnection | None = None
        self._asked: dict[str, tuple[anyio.Event, list[tuple[Answered | None, bytes]]]] = {}
        self._number = 0
        self._run = ""
        self._stored = 0  # the last event of `_run` that is

    @asynccontextmanager
    async def listening(self, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator["BridgeLink"]:
        async with serve(
            self._connection,
            host,
            port,
            process_request=self._door,
            max_size=MAX_FRAME,
            ping_interval=_PING_S,
            ping_timeout=_PING_S * 2,
            compression=None,
            open_timeout=10,
        ) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            yield self

    async def ask(
        self, method: str, params: dict[str, Any], beside: bytes | None = None, *, within_s: float = _ASK_S
    ) -> tuple[Any, bytes]:
        """Its result, and bytes beside it. Raises `Refused`, and `LinkLost` also when it takes too long."""
        bridge = self._bridge
        if bridge is None:
            raise LinkLost("no bridge is connected")
        self._number += 1
        asked = str(self._number)
        done, answers = self._asked[asked] = (anyio.Event(), [])
        try:
            with anyio.fail_after(within_s):
                await bridge.send(encode({"id": asked, "method": method, "params": params}, beside))
                await done.wait()
        except (ConnectionClosed, TimeoutError) as error:
            raise LinkLost(f"{method} was not answered") from error
        finally:
            del self._asked[asked]
        answer, bytes_ = answers[0]
        if answer is None:
            raise LinkLost("the bridge went away")
        if answer.error is not None:
            raise Refused(answer.error.code, answer.error.message)
        return answer.result, bytes_

    def _door(self, connection: ServerConnection, request: Request) -> Response | None:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
            return connection.respond(HTTPStatus.UNAUTHORIZED, "unknown\n")
        if self._bridge is not None:
            return connection.respond(HTTPStatus.CONFLICT, "another bridge is connected\n")
        return None

    async def _connection(self, bridge: ServerConnection) -> None:
        assert bridge.request is not None
        if self._bridge is not None:  # two came through the door together
            await bridge.close(1008)
            return
        self._bridge = bridge
        run = bridge.request.headers.get("X-Bridge-Run", "")
        if run != self._run:
            self._run, self._stored = run, 0
        self.connected.set()
        told, heard = anyio.create_memory_object_stream[Told](_MOST_EVENTS)
        try:
            async with anyio.create_task_group() as tasks, told, heard:
                tasks.start_soon(self._store, bridge, heard)
                await self._read(bridge, told, tasks)
                tasks.cancel_scope.cancel()
        finally:
            self._bridge = None
            self.connected = anyio.Event()
            for done, answers in self._asked.values():
                answers.append((None, b""))
                done.set()

    async def _read(self, bridge: ServerConnection, told: Any, tasks: Any) -> None:
        served = anyio.CapacityLimiter(_MOST_SERVED)
        try:
            async for data in bridge:
                match decode(data):
                    case Told() as event, _:
                        if event.seq > self._stored:
                            await told.send(event)
                    case Asked() as asked, _:
                        tasks.start_soon(self._answer, bridge, asked, served)
                    case Answered() as answer, beside if answer.id in self._asked:
                        done, answers = self._asked[answer.id]
                        answers.append((answer, beside))
                        done.set()
        except BadFrame as problem:
            log.warning("the bridge does not keep to the protocol", extra={"error": str(problem)})
            await bridge.close(1002)
        except ConnectionClosed:
            pass

    async def _answer(self, bridge: ServerConnection, asked: Asked, served: anyio.CapacityLimiter) -> None:
        async with served:
            answer: dict[str, Any] = {"id": asked.id}
            try:
                answer["result"] = await self._serve(asked.method, asked.params)
            except Refused as refusal:
                answer["error"] = {"code": refusal.code, "message": str(refusal)}
        with suppress(ConnectionClosed):  # it asks again when it is back
            await bridge.send(encode(answer))

    async def _store(self, bridge: ServerConnection, heard: Any) -> None:
        async for event in heard:
            while True:
                try:
                    await self._hear(event.event, event.data)
                    break
                except Exception as error:  # the database is away: nothing is acknowledged that is not stored
                    log.warning("an event of the bridge could not be stored", extra={"error": type(error).__name__})
                    await anyio.sleep(_AGAIN_S)
            self._stored = event.seq
            try:
                await bridge.send(encode({"ack": event.seq}))
            except ConnectionClosed:
                return
