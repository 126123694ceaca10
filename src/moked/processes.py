"""Several processes on one host: one media process a core, each with a number, a port and a path of its own.

    moked up --processes 4                    moked serve --role media --processes 4
      office      PORT                          media 1..4  PORT .. PORT+3
      media 1..4  PORT+1 .. PORT+4

The office has the webhooks, the pages and what is done after calls. It steps back for the calls: where all cores are
taken, the kernel lets a media process run first. So neither a crowd of callers that have to be refused nor an export of
all leads makes a voice falter, and one media process beside an office holds its calls better than both in one.

The interpreter's lock makes one core the most a process can use. The webhook picks the process with the least load
(`crm.places`) and tells the carrier its address: `/media/<number>/twilio`, which a proxy sends to that process's port.
A shared port would let the kernel pick, which knows nothing of calls.

The first media process starts alone, and webhooks are taken when it listens; the other media processes start when it
has rendered the voice's phrases and downloaded what is missing, so that they find all of it. One that dies is started
again, later each time it dies soon. SIGTERM goes to all; each drains its own calls. A process whose supervisor is gone
ends as if it had got the signal itself.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import anyio
import httpx2
from anyio.abc import TaskGroup

from moked.settings import Settings, environment_with

log = logging.getLogger(__name__)

BAD_SETTINGS: Final = 2
"""Exit code of a process that cannot start as it is told: another try would end the same way."""

_DELAYS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SETTLED_S: Final = 60.0  # who has lived so long is started again at once
_FIRST_S: Final = 300.0  # for the first media process, until the rest starts without it
_MORE_THAN_DRAIN_S: Final = 30.0
_LOOK_S: Final = 0.5
_NICE: Final = 5  # a third of the usual weight: where others press too, a quarter of a core is left, and 10 starved
_AUTOGROUP: Final = Path("/proc/self/autogroup")


@dataclass(frozen=True, slots=True)
class Member:
    """One process to run. `environment` goes over our own."""

    name: str
    arguments: tuple[str, ...]
    url: str  # from this machine
    environment: Mapping[str, str] = field(default_factory=dict)


class Process(Protocol):
    """What `supervise` needs of a process; `anyio.abc.Process` has it."""

    @property
    def pid(self) -> int: ...

    async def wait(self) -> int: ...

    def send_signal(self, signal: signal.Signals, /) -> None: ...

    def kill(self) -> None: ...


def plan(settings: Settings, role: str, host: str, ports: Sequence[int], count: int) -> list[Member]:
    """The processes of `role` ('all' or 'media') with `count` media processes; `ports` as `ports_needed` says."""
    everything = role == "all"
    base = settings.public_base_url or (_url(host, ports[0]) if everything else "")
    members = []
    if everything:
        members.append(_member("office", "office", host, ports[0], {"PUBLIC_BASE_URL": base}))
    for number in range(1, count + 1):
        port = ports[number if everything else number - 1]
        own = {"PUBLIC_BASE_URL": base} if base else {}
        if not settings.public_base_url and not settings.media_public_url:  # only this machine calls: no proxy
            own["MEDIA_PUBLIC_URL"] = _url(host, port)
        if not settings.whisper_workers:  # the cores are shared
            own["WHISPER_WORKERS"] = str(max(1, (os.cpu_count() or 1) // 4 // count))
        members.append(_member(f"media {number}", "media", host, port, own, "--number", str(number)))
    return members


def _member(name: str, role: str, host: str, port: int, environment: Mapping[str, str], *more: str) -> Member:
    arguments = ("serve", "--role", role, "--host", host, "--port", str(port), *more)
    return Member(name, arguments, _url(host, port), environment)


def _url(host: str, port: int) -> str:
    reached = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  (compared, not bound)
    return f"http://{reached}:{port}"


def ports_needed(role: str, count: int) -> int:
    return count + 1 if role == "all" else count


def choose_ports(host: str, first: int, count: int) -> list[int]:
    """`count` ports from `first` on; with 0 any that are free now."""
    if first:
        return list(range(first, first + count))
    sockets = [socket.create_server((host, 0)) for _ in range(count)]
    try:
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def delay_s(deaths: int, lived_s: float) -> float:
    """How long to wait before a process that died is started again; `deaths` in a row, this one included."""
    return 0.0 if lived_s >= _SETTLED_S else _DELAYS_S[min(deaths, len(_DELAYS_S)) - 1]


# --- the one file of its own that a process writes --------------------------------------------------------------------


def spill(data_dir: Path, number: int) -> Path:
    """Where process `number` (0: the only one) puts records that the database does not take. Two in one file would
    lose some: whoever writes them to the database takes the file away."""
    return data_dir / (f"spill-{number}.jsonl" if number else "spill.jsonl")


def adopt(data_dir: Path, count: int) -> None:
    """Before `count` numbered processes start (0: one without a number): the first gets the records of those that are
    no more."""
    heir = spill(data_dir, min(count, 1))
    kept = {heir, *(spill(data_dir, number) for number in range(1, count + 1))}
    for left in sorted({spill(data_dir, 0), *data_dir.glob("spill-*.jsonl")} - kept):
        if left.is_file():
            with heir.open("ab") as records:
                records.write(left.read_bytes())
            left.unlink()


# --- running ----------------------------------------------------------------------------------------------------------


class Supervisor:
    """Runs the members until a signal. `spawn` starts one; `reached(member, path)` waits until one says 200 there."""

    def __init__(
        self,
        members: Sequence[Member],
        *,
        drain_s: float,
        spawn: Callable[[Member], Awaitable[Process]],
        reached: Callable[[Member, str], Awaitable[None]],
        settled: Callable[[], None] = lambda: None,
    ) -> None:
        self._members = members
        self._grace_s = drain_s + _MORE_THAN_DRAIN_S
        self._spawn = spawn
        self._reached = reached
        self._settled = settled
        self._stopping = anyio.Event()
        self._running: dict[str, Process] = {}
        self.failed = False

    def stop(self) -> None:
        """Ask all to drain and end. A second time: to end at once."""
        again = self._stopping.is_set()
        self._stopping.set()
        for process in list(self._running.values()):
            _signal(process, signal.SIGTERM)
        if again:
            log.warning("ending at once", extra={"processes": len(self._running)})

    async def run(self) -> None:
        """Returns when all have ended after `stop`, or `failed` because one cannot start as it is told."""
        media = [member for member in self._members if "--number" in member.arguments]
        others = [member for member in self._members if member not in media]
        async with anyio.create_task_group() as keepers:
            keepers.start_soon(self._keep, media[0])
            await self._until(media[0], "/healthz")
            self._start(keepers, others)
            if not self._stopping.is_set():
                self._settled()
            await self._until(media[0], "/readyz")
            self._start(keepers, media[1:])
            await self._stopping.wait()
            with anyio.move_on_after(self._grace_s):
                while self._running:
                    await anyio.sleep(_LOOK_S)
            for name, process in self._running.items():
                log.error("a process did not end in time", extra={"process_name": name})
                process.kill()

    def _start(self, keepers: TaskGroup, members: Sequence[Member]) -> None:
        for member in members if not self._stopping.is_set() else ():
            keepers.start_soon(self._keep, member)

    async def _until(self, first: Member, path: str) -> None:
        """It says so, or we stop, or it takes too long."""
        with anyio.move_on_after(_FIRST_S):
            async with anyio.create_task_group() as waiting:

                async def until_stopping() -> None:
                    await self._stopping.wait()
                    waiting.cancel_scope.cancel()

                waiting.start_soon(until_stopping)
                await self._reached(first, path)
                waiting.cancel_scope.cancel()

    async def _keep(self, member: Member) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = anyio.current_time()
            process = self._running[member.name] = await self._spawn(member)
            log.info("process started", extra={"process_name": member.name, "pid": process.pid, "url": member.url})
            if self._stopping.is_set():
                _signal(process, signal.SIGTERM)
            code = await process.wait()
            del self._running[member.name]
            if self._stopping.is_set():
                return
            lived = anyio.current_time() - began
            if code == BAD_SETTINGS:
                log.error("a process cannot start", extra={"process_name": member.name})
                self.failed = True
                self.stop()
                return
            deaths = 1 if lived >= _SETTLED_S else deaths + 1
            delay = delay_s(deaths, lived)
            log.error("process died", extra={"process_name": member.name, "code": code, "again_in_s": delay})
            with anyio.move_on_after(delay):
                await self._stopping.wait()


def _signal(process: Process, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # it has ended this moment
        process.send_signal(number)


def step_back() -> None:
    """Let others of this machine compute first from here on; threads and children that begin later do so too.

    Where the kernel makes a group of every session (sched_autogroup, sched(7)) a process's own niceness counts within
    its group alone; the group has one of its own.
    """
    os.nice(_NICE)
    with suppress(OSError):  # no such groups here
        _AUTOGROUP.write_text(str(_NICE))


async def spawn(member: Member) -> Process:
    """Start a member; what it prints goes where ours goes."""
    command = [sys.executable, "-m", "moked", *member.arguments, "--parent", str(os.getpid())]
    environment = environment_with(member.environment)
    # A session of its own: Ctrl-C at the terminal is for us alone, or it would be taken for a second signal.
    return await anyio.open_process(
        command, env=environment, stdin=None, stdout=None, stderr=None, start_new_session=True
    )


async def reached(member: Member, path: str) -> None:
    """Wait until the member answers 200 at `path`."""
    async with httpx2.AsyncClient(trust_env=False) as http:
        while True:
            with suppress(httpx2.TransportError):
                if (await http.get(member.url + path)).status_code == httpx2.codes.OK:
                    return
            await anyio.sleep(_LOOK_S)


async def supervise(members: Sequence[Member], *, drain_s: float, settled: Callable[[], None]) -> bool:
    """Run the members until SIGINT or SIGTERM; False when one could not start. `settled` when the first takes calls."""
    supervisor = Supervisor(members, drain_s=drain_s, spawn=spawn, reached=reached, settled=settled)
    async with anyio.create_task_group() as tasks:

        async def listen() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    supervisor.stop()

        tasks.start_soon(listen)
        await supervisor.run()
        tasks.cancel_scope.cancel()
    return not supervisor.failed
