"""A CPU-heavy part in a process of its own: asks in, answers out, bounded, restarted when it dies.

The parent never waits on the CPU of the child: it writes a frame, and gets an awaitable. Frames on the child's stdin
and stdout are a 4-byte big-endian length and a msgpack map. The child handles one ask at a time, in order; an ask may
yield several answers. Its stderr is the parent's.

    async with Child("moked.stt.whisper_child", {"model": path}, name="whisper").running() ...
    async with child.ask({"audio": pcm}, timeout=8) as answers:
        async for answer in answers: ...

A child module defines `def serve(config: dict) -> Callable[[dict], Iterable[dict]]`: called once in the child, it loads
the model and returns the handler. An exception of the handler fails that ask alone. Each ask carries a function
"withdrawn": whether its asker has gone meanwhile, for a handler that can stop early.
"""

import importlib
import itertools
import logging
import os
import queue
import signal
import struct
import sys
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import anyio
import msgspec
from anyio.abc import ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from moked import metrics
from moked.errors import Failure, Overloaded, ProviderError

log = logging.getLogger(__name__)

Payload = Mapping[str, Any]
Handler = Callable[[dict[str, Any]], Iterable[dict[str, Any]]]

_LENGTH = struct.Struct(">I")
_MAX_FRAME = 64 * 1024 * 1024
_RESTART_DELAYS = (0.1, 0.5, 2.0, 5.0)
_WITHDRAW_S = 0.5
_MEMORY_EVERY_S = 5.0


_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError)


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
    """One child process and its queue of asks. `max_pending` asks may wait or run; one more raises `Overloaded`.

    `label` is its name in metrics, where several children have one `name`. `on_free` is called when it may take another
    ask at once.
    """

    def __init__(
        self,
        module: str,
        config: Payload,
        *,
        name: str,
        max_pending: int = 16,
        nice: int = 0,
        label: str = "",
        on_free: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._label = label or name
        self._on_free = on_free
        self._module = module
        self._config = config
        self._max_pending = max_pending
        self._nice = nice
        self._numbers = itertools.count(1)
        self._waiting: deque[_Ask] = deque()  # not yet sent to the child
        self._current: _Ask | None = None
        self._wake = anyio.Event()
        self._ready = anyio.Event()
        self._pipe: ByteSendStream | None = None  # to the child, while it serves
        self.restarts = 0
        self.pid: int | None = None

    @property
    def pending(self) -> int:
        return len(self._waiting) + (self._current is not None)

    @property
    def loaded(self) -> bool:
        return self._ready.is_set()

    @property
    def memory(self) -> int:
        """Resident memory of the process in bytes; 0 where there is none, or where the system does not tell."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text("ascii").split()[1]
        except (OSError, IndexError):
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Start the child and keep it alive. Returns from entry at once; the first ask waits until it has loaded."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._supervise, name=f"child-{self._label}")
            tasks.start_soon(self._report_memory, name=f"child-{self._label}-memory")
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
        the context early withdraws the ask; one that is already being worked on goes on unheard, until its handler
        looks at "withdrawn".
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
            elif item is self._current and not item.done:
                await self._withdraw(item)

    async def _withdraw(self, item: _Ask) -> None:
        """The child is told, as well as it can be: it may just be ending."""
        if self._pipe is not None:
            with anyio.move_on_after(_WITHDRAW_S, shield=True), suppress(OSError, *_GONE):
                await self._pipe.send(_frame({"withdraw": item.number}))

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
                self._on_free()
            delay = _RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)]
            failures += 1
            self.restarts += 1
            metrics.child_restarts.labels(self._label).inc()
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
            self._pipe = process.stdin
            self._on_free()
            while True:
                while not self._waiting:
                    await self._wake.wait()
                self._current = item = self._waiting.popleft()
                await process.stdin.send(item.frame)
                await self._collect(reader, item)
                self._current = None
                self._on_free()
        finally:
            self.pid = self._pipe = None
            with anyio.CancelScope(shield=True):
                await _end(process)

    async def _report_memory(self) -> None:
        while True:
            metrics.child_memory.labels(self._label).set(self.memory)
            await anyio.sleep(_MEMORY_EVERY_S)

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


class _Inbox:
    """Frames of the parent, read beside the work: an ask may be withdrawn while it is worked on."""

    def __init__(self, stream: BinaryIO) -> None:
        self.asks: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()  # at most one: the parent waits
        self._withdrawn = 0
        threading.Thread(target=self._read, args=(stream,), name="inbox", daemon=True).start()

    def withdrawn(self, number: int) -> bool:
        return self._withdrawn == number

    def _read(self, stream: BinaryIO) -> None:
        while (frame := _read_blocking(stream)) is not None:
            if "withdraw" in frame:
                self._withdrawn = frame["withdraw"]
            else:
                self.asks.put(frame)
        self.asks.put(None)


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
    inbox = _Inbox(asks)
    while (ask := inbox.asks.get()) is not None:
        number = ask["number"]
        error: str | None = None
        try:
            for answer in handler({**ask["request"], "withdrawn": partial(inbox.withdrawn, number)}):
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
