"""One streaming recognition by Google: what leaves when, what comes back, and how it ends. It knows no gRPC.

One stream is one task, which receives, and a child of it, which sends: the receiver sees the true status when a stream
dies, a sender alone does not.

    write -> Uplink -> _send -> call.write ... Google ... call.read -> _receive -> Results -> inbox -> the iterator

Three things Google does that shape this file: a model that Hebrew does not have is refused at the first read, after
audio was sent, so the refused audio is sent again on the next model; a stream that ends well before we asked is a
fault; and nothing at all is answered to silence.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from typing import Final as Const

import anyio

from moked import metrics
from moked.audio import FRAME_MS, SAMPLES_PER_MS, SILENCE
from moked.autoreset import AutoResetEvent
from moked.errors import Failure, ProviderError
from moked.stt import Final, Interim
from moked.stt import google_rules as rules
from moked.stt.google_messages import Ended
from moked.stt.google_wire import Call, Wire
from moked.stt.uplink import MAX_MESSAGE, Uplink

log = logging.getLogger(__name__)

_INBOX: Const = 256
_PATIENCE: Const = 5  # times `bound_ms`, with a full uplink
_HURRY_MS: Const = 600  # after a pause: the time in which a turn is decided
_KEEP_FOR_REPLAY: Const = 10_000 * SAMPLES_PER_MS


class GoogleStream:
    """One recognition. `open`, then `run` beside the user of the `Stream` methods, then `close`."""

    def __init__(self, wire: Wire, origin_ms: int, hints: Sequence[str]) -> None:
        self._wire = wire
        self._origin_ms = origin_ms
        self._wish = wire.wish(hints)
        settings = wire.settings
        self._results = rules.Results(
            wire.name,
            origin_ms,
            plain_interims=not wire.punctuation(final=False),
            plain_finals=not wire.punctuation(final=True),
            api=settings.api,
        )
        self._uplink = Uplink(batch_ms=settings.batch_ms, bound_ms=settings.bound_ms)
        self._loop = asyncio.get_running_loop()  # gRPC's own loop; its timers cost a tenth of a cancel scope
        self._timer: asyncio.TimerHandle | None = None
        self._due = AutoResetEvent(self._loop)
        self._room = AutoResetEvent(self._loop)
        self._hurry_until = 0  # until then audio leaves as it comes
        self._sent = 0  # bytes of the call's own audio
        self._kept: bytearray | None = None if wire.ladder.proven else bytearray()
        self._inbox: deque[Interim | Final] = deque()
        self._news = AutoResetEvent(self._loop)
        self._taken = AutoResetEvent(self._loop)
        self._error: ProviderError | None = None
        self._ended = False
        self._finishing = False
        self._call: Call | None = None
        self._receiving = anyio.CancelScope()

    # --- the port -----------------------------------------------------------------------------------------------------

    async def write(self, audio: bytes) -> None:
        """Waits for room, and gives the stream up when there is none for long. Nothing is pushed out: a hole in the
        audio is a word lost on a stream that lives, and whoever writes can say it all again to the next one."""
        if not self._uplink.fits(len(audio)):
            await self._wait_for_room(len(audio))
        if self._error is not None:
            raise self._error
        if self._over or self._finishing:
            raise ProviderError(self._wire.name, Failure.CLOSED, "written to after the end")
        now = self._now()
        self._uplink.put(audio, now)
        if now < self._hurry_until:
            self._flush()
        elif self._uplink.due(now):
            self._due.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._wire.settings.batch_ms / 1000, self._flush)

    async def _wait_for_room(self, size: int) -> None:
        with anyio.move_on_after(_PATIENCE * self._wire.settings.bound_ms / 1000) as patience:
            while not (self._uplink.fits(size) or self._over):
                await self._room.wait()
        if patience.cancelled_caught:
            self._fail(ProviderError(self._wire.name, Failure.TIMEOUT, "the stream does not take its audio"))

    def speech_started(self, at_ms: int) -> None:
        """Google hears for itself."""

    def speech_paused(self, at_ms: int) -> None:
        """The turn may be over, and the words of its end are all that is waited for: no batching now."""
        self._hurry_until = self._now() + _HURRY_MS
        self._flush()

    def speech_ended(self, at_ms: int) -> None:
        self._flush()

    def expect(self, what: str) -> None:
        """Its configuration was sent with the first message."""

    async def finish(self) -> None:
        self._finishing = True
        self._flush()

    def __aiter__(self) -> AsyncIterator[Interim | Final]:
        return self

    async def __anext__(self) -> Interim | Final:
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            await self._news.wait()
        self._taken.set()
        return self._inbox.popleft()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and send the configuration. Raises `ProviderError`."""
        self._wire.stats.streams += 1
        await self._dial()

    async def run(self) -> None:
        """Send and receive until the stream is over; climb down the models when one is refused."""
        billed_ms, status, text = 0, "", ""
        try:
            while True:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send)
                    with self._receiving:
                        status, text, billed_ms = await self._receive()
                    tasks.cancel_scope.cancel()
                if self._receiving.cancelled_caught:
                    status, text = "DEADLINE_EXCEEDED", "no end after the half-close"
                if self._kept is not None and rules.is_unexplained(status, text):
                    status, text = await self._ask_why(status, text)
                following = self._wire.next_wish(self._wish, status, text)
                if following is None:
                    break
                if self._kept is None:  # too much was said to say it again here; the next stream will be taken
                    raise ProviderError(self._wire.name, Failure.EXPIRED, text)
                self._hang_up()
                self._wish = following
                self._receiving = anyio.CancelScope()
                await self._dial()
            if status == "OK" and self._finishing:
                self._wire.served(self._wish.model)
            else:
                self._fail(self._wire.error(status, text or "the stream ended without being asked to"))
        except ProviderError as error:
            self._fail(error)
        finally:
            self._ended = True
            self._news.set()
            self._room.set()
            dropped_ms = self._uplink.dropped // SAMPLES_PER_MS
            self._wire.stats.dropped_ms += dropped_ms
            if dropped_ms:
                metrics.queue_drops.labels("stt_uplink").inc(-(-dropped_ms // FRAME_MS))
            self._wire.stats.billed_ms += billed_ms
            log.info(
                "Google stream ended",
                extra={
                    "engine": self._wire.name,
                    "model": self._wish.model or "unset",
                    "status": status or "LEFT",
                    "origin_ms": self._origin_ms,
                    "sent_ms": self._sent // SAMPLES_PER_MS,
                    "dropped_ms": dropped_ms,
                    "billed_ms": billed_ms,
                },
            )

    def close(self) -> None:
        """Leave it: whatever runs is cancelled."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()
        self._news.set()
        self._room.set()

    async def _dial(self, *, again: bool = True) -> None:
        call = self._call = self._wire.call()
        try:
            with anyio.fail_after(self._wire.settings.connect_timeout_s):
                await call.write(self._wire.dialect.first(self._wish))
        except TimeoutError:
            self._hang_up()
            self._wire.stats.failures[Failure.TIMEOUT.value] += 1
            raise ProviderError(self._wire.name, Failure.TIMEOUT, "no connection in time") from None
        except Ended as end:
            self._hang_up()
            lost = rules.is_unexplained(end.status, end.text) or rules.is_broken(end.status, end.text)
            if not (again and lost):
                raise self._wire.error(end.status, end.text) from None
            await self._dial(again=False)  # refused so fast that the reason was lost, or nobody was there any more
        except BaseException:
            self._hang_up()
            raise

    async def _ask_why(self, status: str, text: str) -> tuple[str, str]:
        """A write that met the end hid the reason, and it may be the model or the key: ask with the configuration
        alone. Where that is well, the reason stays unknown."""
        self._hang_up()
        await self._dial()
        with anyio.move_on_after(self._wire.settings.drain_s), suppress(Ended):
            await self._open_call.half_close()
            answer, reason, _ = await self._receive()
            if answer != "OK":
                return answer, reason
        return status, text

    def _hang_up(self) -> None:
        if self._call is not None:
            self._call.cancel()

    @property
    def _open_call(self) -> Call:
        assert self._call is not None, "after open() only"
        return self._call

    async def _send(self) -> None:
        """Everything that is written: first again what a refused model got, then what comes, then the half-close."""
        call, audio_message = self._open_call, self._wire.dialect.audio
        try:
            if self._kept:
                for at in range(0, len(self._kept), MAX_MESSAGE):
                    await call.write(audio_message(bytes(self._kept[at : at + MAX_MESSAGE])))
            while True:
                while not self._uplink.due(self._now()):
                    if self._finishing and self._uplink.empty:
                        break
                    await self._due.wait()
                audio = self._uplink.take(self._now())
                if not audio:
                    break
                self._sent += len(audio)
                self._keep(audio)
                self._make_room()
                await call.write(audio_message(audio))
            tail = SILENCE * (self._wire.settings.tail_ms * SAMPLES_PER_MS)
            if tail:
                await call.write(audio_message(tail))
            await call.half_close()
        except Ended:
            return  # the stream is dead, and the receiver learns how it died
        self._receiving.deadline = anyio.current_time() + self._wire.settings.drain_s

    async def _receive(self) -> tuple[str, str, int]:
        """Read to the end. Returns the status name, its text, and the billed time in ms."""
        call, billed_ms = self._open_call, 0
        while True:
            try:
                answer = await call.read()
            except Ended as end:
                return end.status, end.text, billed_ms
            if answer is None:
                return "OK", "", billed_ms
            billed_ms = self._wire.dialect.billed_ms(answer) or billed_ms
            if self._kept is not None:
                self._kept = None
                self._wire.served(self._wish.model)
            for item in self._results.read(answer.results, self._origin_ms + self._sent // SAMPLES_PER_MS):
                await self._deliver(item)

    async def _deliver(self, item: Interim | Final) -> None:
        """An interim nobody took yet is replaced by what comes after it; too many finals hold up the receiver."""
        if self._inbox and isinstance(self._inbox[-1], Interim):
            self._inbox.pop()
        while len(self._inbox) >= _INBOX:
            await self._taken.wait()
        self._inbox.append(item)
        self._news.set()

    def _keep(self, audio: bytes) -> None:
        """For the next model, while it is not known whether this one is taken; ten seconds are proof that it is."""
        if self._kept is not None:
            self._kept += audio
            if len(self._kept) > _KEEP_FOR_REPLAY:
                self._kept = None

    def _make_room(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._uplink.empty:
            self._timer = self._loop.call_later(self._wire.settings.batch_ms / 1000, self._flush)
        self._room.set()

    def _fail(self, error: ProviderError) -> None:
        if self._error is None:
            self._error = error
        self._news.set()
        self._room.set()

    def _flush(self) -> None:
        self._uplink.flush()
        self._due.set()

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    @property
    def _over(self) -> bool:
        return self._ended or self._error is not None
