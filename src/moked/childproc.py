"""A CPU-heavy part in a process of its own: asks in, answers out, bounded, restarted when it dies.

The parent never waits on the CPU of the child: it writes a frame, and gets an awaitable. Frames on the child's stdin
and stdout are a 4-byte big-endian length and a msgpack map. The child handles one ask at a time, in order; an ask may
yield several answers. Its stderr is the parent's.

    async with Child("moked.stt.whisper_child", {"model": path}, name="whisper").running() ...
    async with child.ask({"audio": pcm}, timeout=8) as answers:
        async for answer in answers: ...

A child module defines `def serve(config: dict) -> Callable[[dict], Iterable[dict]]`: called once in the child, it loads
the model and returns the handler. An exception of the handler fails that ask alone.
"""

import importlib
import itertools
import logging
import os
import signal
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import anyio
import msgspec
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from moked import metrics
from moked.errors import Failure, Overloaded, ProviderError

log = logging.getLogger(__name__)

Payload = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]

_LENGTH = struct.Struct(">I")
_MAX_FRAME = 64 * 1024 * 1024
_RESTART_DELAYS = (0.1, 0.5, 2.0, 5.0)


@dataclass(slots=True, eq=False)
class _Ask:
    number: int
    frame: bytes
    answers: deque[dict[str, Any]] = field(default_factory=deque)
    news: anyio.Event = field(default_factory=anyio.Event)
    done: bool = False
    error: str | None = None
    abandoned: bool = False

    def tell(self) -> None:
        self.news.set()
        self.news = anyio.Event()


class Child:
    """One child process and its queue of asks. `max_pending` asks may wait or run; one more raises `Overloaded`."""

    def __init__(self, module: str, config: Payload, *, name: str, max_pending: int = 16, nice: int = 0) -> None:
        self.name = name
        self._module = module
        self._config = config
        self._max_pending = max_pending
        self._nice = nice
        self._numbers = itertools.count(1)
        self._waiting: deque[_Ask] = deque()  # not yet sent to the child
        self._current: _Ask | None = None
        self._wake = anyio.Event()
        self._ready = anyio.Event()
        self.restarts = 0
        self.pid: int | None = None

    @property
    def pending(self) -> int:
        return len(self._waiting) + (self._current is not None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the child and keep it alive. Returns from entry at once; the first ask waits until it has loaded."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._supervise, name=f"child-{self.name}")
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()

    async def ready(self) -> None:
        """Wait until the child has loaded what it needs."""
        await self._ready.wait()

    @asynccontextmanager
    async def ask(self, request: Payload, *, timeout: float) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """Queue `request`; iterate the answers. `timeout` (seconds) covers waiting and work.

        Raises `Overloaded` when the queue is full and `ProviderError` when the child fails, dies or is late. Leaving
        the context early withdraws the ask; one that is already being worked on runs to its end unheard.
        """
        if self.pending >= self._max_pending:
            raise Overloaded(f"{self.name}: {self._max_pending} requests are waiting; try again later")
        number = next(self._numbers)
        item = _Ask(number, _frame({"number": number, "request": dict(request)}))
        self._waiting.append(item)
        self._notify()
        deadline = anyio.current_time() + timeout
        try:
            yield self._answers(item, deadline)
        finally:
            item.abandoned = True
            if item in self._waiting:
                self._waiting.remove(item)

    async def _answers(self, item: _Ask, deadline: float) -> AsyncIterator[dict[str, Any]]:
        while True:
            while item.answers:
                yield item.answers.popleft()
            if item.error is not None:
                raise ProviderError(self.name, Failure.UNAVAILABLE, item.error)
            if item.done:
                return
            news = item.news
            with anyio.move_on_at(deadline) as scope:
                await news.wait()
            if scope.cancelled_caught:
                raise ProviderError(self.name, Failure.TIMEOUT, "no answer in time")

    def _notify(self) -> None:
        self._wake.set()
        self._wake = anyio.Event()

    async def _supervise(self) -> None:
        failures = 0
        reason = ""
        while True:
            try:
                await self._serve_once()
            except (OSError, anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, EOFError) as error:
                reason = f"the process died ({type(error).__name__})"
            self._ready = anyio.Event()
            if self._current is not None:
                self._current.error = reason
                self._current.tell()
                self._current = None
                failures = 0  # it had loaded and was at work
            delay = _RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)]
            failures += 1
            self.restarts += 1
            metrics.child_restarts.labels(self.name).inc()
            log.warning("child process ended", extra={"child": self.name, "reason": reason, "restart_in_s": delay})
            await anyio.sleep(delay)

    async def _serve_once(self) -> None:
        command = [sys.executable, "-m", "moked.childproc", self._module, str(self._nice)]
        process = await anyio.open_process(command, stderr=None)
        self.pid = process.pid
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            reader = BufferedByteReceiveStream(process.stdout)
            await process.stdin.send(_frame(dict(self._config)))
            await _read(reader)  # the hello
            self._ready.set()
            while True:
                while not self._waiting:
                    await self._wake.wait()
                self._current = item = self._waiting.popleft()
                await process.stdin.send(item.frame)
                await self._collect(reader, item)
                self._current = None
        finally:
            self.pid = None
            with anyio.CancelScope(shield=True):
                await _end(process)

    async def _collect(self, reader: BufferedByteReceiveStream, item: _Ask) -> None:
        while True:
            answer = await _read(reader)
            if answer.get("number") != item.number:
                raise EOFError("the child answered another ask")
            if "answer" in answer:
                if not item.abandoned:
                    item.answers.append(answer["answer"])
                    item.tell()
                continue
            item.error = answer.get("error")
            item.done = True
            item.tell()
            return


async def _read(reader: BufferedByteReceiveStream) -> dict[str, Any]:
    (length,) = _LENGTH.unpack(await reader.receive_exactly(_LENGTH.size))
    if length > _MAX_FRAME:
        raise EOFError(f"a frame of {length} bytes")
    return msgspec.msgpack.decode(await reader.receive_exactly(length), type=dict[str, Any])


async def _end(process: Process) -> None:
    if process.stdin is not None:
        await process.stdin.aclose()
    if process.returncode is None:
        process.kill()
    await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


def _frame(message: Payload) -> bytes:
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


# --- in the child ---------------------------------------------------------------------------------------------------


def _read_blocking(stream: BinaryIO) -> dict[str, Any] | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    return msgspec.msgpack.decode(stream.read(length), type=dict[str, Any])


def main(argv: list[str]) -> None:
    """Serve asks from stdin until it closes: the parent is gone then, and so are we.

    A signal to the whole process group (Ctrl-C, a service manager's stop) is the parent's to act on: calls that are
    still running need us to the end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    module, nice = argv
    if int(nice):
        os.nice(int(nice))
    asks, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a stray print must not break the frames
    config = _read_blocking(asks)
    if config is None:
        return
    handler: Handler = importlib.import_module(module).serve(config)
    answers.write(_frame({"hello": module}))
    answers.flush()
    while (ask := _read_blocking(asks)) is not None:
        number = ask["number"]
        error: str | None = None
        try:
            for answer in handler(ask["request"]):
                answers.write(_frame({"number": number, "answer": answer}))
                answers.flush()
        except Exception as problem:  # one bad ask must not end the others; the parent gets its name
            error = f"{type(problem).__name__}: {problem}"
        answers.write(_frame({"number": number, "error": error, "end": True}))
        answers.flush()


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except BrokenPipeError:
        os._exit(0)
