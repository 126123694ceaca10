"""One open media stream in real time: the socket and the pacing around the pure `CarrierStream` and `Caller`.

One task sends, one receives. A frame goes out when its last sample has been spoken, and the schedule counts from the
first frame, so that it does not drift. This runs fifty times a second for each of up to a hundred calls in a process:
no work in it that can be done elsewhere. The only file that imports websockets.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import urlsplit

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from moked.audio import FRAME_MS
from moked.simulate.carrier import LOCAL_HOSTS
from moked.simulate.measure import AgentVoice
from moked.simulate.result import StreamEnd
from moked.simulate.scenario import Caller
from moked.simulate.wire import CarrierStream, Cleared, Queued

_CLOSED_PROPERLY: Final = frozenset({1000, 1001})


class CallClock:
    """Call ms: 0 until the first stream opens, then monotonic real time."""

    def __init__(self) -> None:
        self._zero: float | None = None

    def start(self) -> None:
        """Once; later streams of the call go on with the same time."""
        if self._zero is None:
            self._zero = time.monotonic()

    def now(self) -> int:
        return 0 if self._zero is None else int((time.monotonic() - self._zero) * 1000)

    async def sleep_until(self, at: int) -> None:
        assert self._zero is not None
        await anyio.sleep(max(0.0, self._zero + at / 1000 - time.monotonic()))


class NotOpened(Exception):
    """The stream could not be opened. `code` is Twilio's error, `reason` a few words."""

    def __init__(self, code: int, reason: str, detail: str) -> None:
        super().__init__(f"{code} {reason}: {detail}")
        self.code = code
        self.reason = reason


async def open_socket(url: str, headers: Mapping[str, str]) -> ClientConnection:
    """Connect as Twilio does: no compression, no pings of its own, messages of nearly any size. Raises `NotOpened`."""
    try:
        return await connect(
            url,
            additional_headers=headers,
            compression=None,
            proxy=None if urlsplit(url).hostname in LOCAL_HOSTS else True,
            ping_interval=None,
            close_timeout=1,
            max_size=16 * 1024 * 1024,
            user_agent_header="moked-call",
        )
    except InvalidStatus as error:
        raise NotOpened(31920, f"handshake answered {error.response.status_code}", url) from error
    except InvalidURI as error:
        raise NotOpened(31923, "malformed URL", url) from error
    except InvalidHandshake as error:
        raise NotOpened(31920, "handshake", f"{url}: {error}") from error
    except TimeoutError as error:
        raise NotOpened(31901, "timeout", url) from error
    except ConnectionRefusedError as error:
        raise NotOpened(31902, "refused", url) from error
    except OSError as error:
        raise NotOpened(31904, "unreachable", f"{url}: {error}") from error


class MediaRun:
    """Drive one stream to its end. `taken_away` tells whether the carrier has other plans for the call."""

    def __init__(
        self,
        socket: ClientConnection,
        stream: CarrierStream,
        caller: Caller,
        voice: AgentVoice,
        clock: CallClock,
        *,
        taken_away: Callable[[], bool],
        limit_ms: int,
    ) -> None:
        self._socket = socket
        self._stream = stream
        self._caller = caller
        self._voice = voice
        self._clock = clock
        self._taken_away = taken_away
        self._limit = limit_ms
        self._how = StreamEnd.CALLER
        self.late_ms = 0
        """The worst lateness of a frame."""

    async def run(self) -> StreamEnd:
        """Until the caller hangs up, the server closes, the carrier takes the call away, or time is up."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._receive, tasks)
            try:
                await self._send()
            except ConnectionClosed:
                self._closed()
            tasks.cancel_scope.cancel()
        return self._how

    async def _send(self) -> None:
        """The only writer."""
        send, stream, caller = self._socket.send, self._stream, self._caller
        echo = caller.echo
        for message in stream.opening():
            await send(message)
        at = self._clock.now()
        while not (caller.hung_up or at >= self._limit or self._taken_away()):
            frame, keys = caller.frame(at)
            at += FRAME_MS
            now = await self._until(at)
            self.late_ms = max(self.late_ms, now - at)
            if echo is not None:
                frame = echo.mixed(frame, stream.played(at - FRAME_MS - echo.ms, len(frame)))
            await send(stream.media(frame))
            for key in keys:
                await send(stream.dtmf(key))
        if self._taken_away():
            self._how = StreamEnd.REST
        elif not caller.hung_up:
            self._how = StreamEnd.TIME_LIMIT
        await send(stream.stop())

    async def _until(self, at: int) -> int:
        """Wait until call ms `at`, echoing marks on the way. Who is late still lets the others have a turn."""
        waited = False
        while True:
            now = self._clock.now()
            for message in self._stream.due(now):
                await self._socket.send(message)
            if now >= at:
                if not waited:
                    await checkpoint()
                return now
            deadline = self._stream.deadline
            await self._clock.sleep_until(at if deadline is None else min(at, deadline))
            waited = True

    async def _receive(self, tasks: TaskGroup) -> None:
        receive, stream, voice, clock = self._socket.recv, self._stream, self._voice, self._clock
        try:
            while True:
                event = stream.receive(await receive(), clock.now())
                if isinstance(event, Queued):
                    voice.queued(event)
                elif isinstance(event, Cleared):
                    voice.cleared(event.at_ms)
        except ConnectionClosed:
            self._closed()
            tasks.cancel_scope.cancel()

    def _closed(self) -> None:
        self._how = StreamEnd.SERVER if self._socket.close_code in _CLOSED_PROPERLY else StreamEnd.LOST
