"""Does watching cost the calls anything? The same calls without and with people at the board and in the line.

    python -m bench.viewers [--calls 50] [--viewers 20] [--listeners 5] [--turns 150] [--rounds 2]
                            [--processes 1 --redis redis://127.0.0.1] [--quick] [--out FOLDER]

Rounds alternate, so that what the machine does beside it meets both halves. Watched means: viewers of the live board
(server-sent events), listeners to single calls, and one of each who opens their stream and never reads. `added` is as
in `bench.density`. A viewer's delay is from the event's own id, which is the time it was made, to its arrival; what one
viewer got and another did not, between its own first and last event, is missed. With `--processes 1` the media process
has its core to itself, and the office shares the callers'.
"""

import argparse
import asyncio
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec
import numpy as np
import uvloop
from websockets.asyncio.client import connect

from bench import page
from bench.density import CYCLE_S, Call, Window, answers, describe, level
from bench.stage import RESULTS, Delays, Stage, caller_lines, machine, save, spread, stage

OWNER: Final = {"email": "bench@example.com", "password": "a long enough password"}
DROPS: Final = 'moked_queue_drops_total{queue="listener"}'
MESSAGES_A_S: Final = 25  # of a listener's audio


@dataclass(slots=True)
class Viewer:
    """One browser at the board."""

    host: str
    port: int
    cookie: str
    seen: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    resyncs: int = 0

    async def watch(self) -> None:
        while True:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                after = f"Last-Event-ID: {self.seen[-1]}\r\n" if self.seen else ""
                writer.write(_request(self.host, self.cookie, after))
                while line := await reader.readline():
                    if line.startswith(b"id: "):
                        self._arrived(line[4:].strip().decode())
                    elif line.startswith(b"event: resync"):
                        self.resyncs += 1
            finally:
                writer.close()

    def _arrived(self, id_: str) -> None:
        self.seen.append(id_)
        self.delays.append(time.time() * 1000 - int(id_.partition("-")[0]))


def _request(host: str, cookie: str, more: str = "") -> bytes:
    return f"GET /board/events HTTP/1.1\r\nHost: {host}\r\nCookie: moked_session={cookie}\r\n{more}\r\n".encode()


async def never_reads(host: str, port: int, cookie: str) -> None:
    """A viewer whose connection stays open and full."""
    with socket.create_connection((host, port)) as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.sendall(_request(host, cookie))
        await asyncio.Event().wait()


@dataclass(slots=True)
class Desk:
    """Somebody logged in at the server's desk."""

    http: httpx2.AsyncClient
    csrf: str = ""

    @property
    def cookie(self) -> str:
        return str(self.http.cookies["moked_session"])

    async def enter(self, setup: str) -> None:
        """Open the first account by its link, and log in."""
        form = {**OWNER, "name": "Bench", "again": OWNER["password"]}
        await self._post(setup, form, page=setup)
        await self._post("/login", OWNER, page="/login")
        self.csrf = await self._token("/account")

    async def ticket(self, sid: str) -> Mapping[str, str]:
        answer = await self.http.post(f"/calls/{sid}/listen", headers={"X-CSRF-Token": self.csrf})
        answer.raise_for_status()
        return dict(answer.json())

    async def _post(self, path: str, form: Mapping[str, str], *, page: str) -> None:
        answer = await self.http.post(path, data={**form, "csrf": await self._token(page)})
        if answer.status_code != httpx2.codes.FOUND:
            raise RuntimeError(f"{path} answered {answer.status_code}")

    async def _token(self, path: str) -> str:
        found = re.search(r'name="csrf" content="([^"]+)"', (await self.http.get(path)).text)
        assert found is not None, path
        return found[1]


@dataclass(slots=True)
class Listener:
    """One person in the line of a call. `reads`: else what is sent is left where it is."""

    reads: bool = True
    messages: int = 0
    seconds: float = 0.0

    async def listen(self, desk: Desk, sid: str, origin: str) -> None:
        given = await desk.ticket(sid)
        async with connect(
            given["url"], origin=origin, max_queue=1 if not self.reads else 16, compression=None, proxy=None
        ) as line:
            await line.send(msgspec.json.encode({"event": "start", "call": sid, "token": given["token"]}).decode())
            if not self.reads:
                await asyncio.Event().wait()
            began = time.monotonic()
            async for message in line:
                self.messages += b'"audio"' in (message if isinstance(message, bytes) else message.encode())
                self.seconds = time.monotonic() - began


class Crowd:
    """Everybody who watches, until it is cancelled."""

    def __init__(self, desk: Desk, url: str, viewers: int, listeners: int) -> None:
        place = urlsplit(url)
        self.desk, self.url = desk, url
        self.place = str(place.hostname), int(place.port or 80)
        self.viewers = [Viewer(*self.place, desk.cookie) for _ in range(viewers)]
        self.listeners = [Listener() for _ in range(listeners)]

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for viewer in self.viewers:
                tasks.create_task(viewer.watch())
            tasks.create_task(never_reads(*self.place, self.desk.cookie))
            if not self.listeners:
                return
            sids = await self._calls(len(self.listeners))
            everyone = [*self.listeners, Listener(reads=False)]
            for number, listener in enumerate(everyone):
                tasks.create_task(listener.listen(self.desk, sids[number % len(sids)], self.url))

    async def _calls(self, wanted: int) -> list[str]:
        """Calls that run; asked for until there are so many, or for five seconds."""
        found: list[str] = []
        for _ in range(50):
            text = (await self.desk.http.get("/board")).text
            found = re.findall(r'<article class="live" data-call="([^"]+)"', text)
            if len(found) >= wanted:
                break
            await asyncio.sleep(0.1)
        if not found:
            raise RuntimeError("no call runs")
        return found


@asynccontextmanager
async def watched(crowd: Crowd | None) -> AsyncIterator[None]:
    """With the crowd there, if any; what fails in it fails the bench."""
    if crowd is None:
        yield
        return
    watching = asyncio.create_task(crowd.watch())
    try:
        yield
        if watching.done():
            await watching
            raise RuntimeError("everybody went")
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def missed(viewers: Sequence[Viewer]) -> int:
    """Events that somebody got and another viewer, who was there before and after them, did not; and doubles."""
    everything = {id_ for viewer in viewers for id_ in viewer.seen}
    lost = 0
    for viewer in viewers:
        if not viewer.seen:
            lost += len(everything)
            continue
        first, last = _key(viewer.seen[0]), _key(viewer.seen[-1])
        due = {id_ for id_ in everything if first <= _key(id_) <= last}
        lost += len(due - set(viewer.seen)) + len(viewer.seen) - len(set(viewer.seen))
    return lost


def _key(id_: str) -> tuple[int, int]:
    ms, _, number = id_.partition("-")
    return int(ms), int(number)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    rows: dict[str, list[dict[str, Any]]] = {"alone": [], "watched": []}
    crowds: list[Crowd] = []
    settings = {"REDIS_URL": options.redis} if options.redis else None
    on_stage = stage(delays, processes=options.processes, settings=settings)
    async with on_stage as on, httpx2.AsyncClient(base_url=on.base_url, trust_env=False) as http:
        for process in on.server.children():
            if "office" in process.cmdline():  # a host with calls for a core has others for the rest
                process.cpu_affinity([on.load_core])
        setup = re.search(r"/setup\?token=\S+", on.log.read_text("utf-8"))
        assert setup is not None, "the server printed no link"
        desk = Desk(http)
        await desk.enter(setup[0])
        idle = on.rss
        calls, window = await level(on, 1, options.alone * CYCLE_S, lines)
        usual = {line: float(np.median(some)) for line, some in answers(calls, window).items()}
        seconds = max(options.seconds, options.turns * CYCLE_S / options.calls)
        for _ in range(options.rounds):
            rows["alone"].append(_row(on, *await level(on, options.calls, seconds, lines), usual, idle))
            crowd = Crowd(desk, on.base_url, options.viewers, options.listeners)
            crowds.append(crowd)
            rows["watched"].append(_row(on, *await _level(on, crowd, options, seconds, lines), usual, idle))
    viewers = [viewer for crowd in crowds for viewer in crowd.viewers]
    listeners = [one for crowd in crowds for one in crowd.listeners]
    return {
        "machine": machine("python -m bench.viewers " + " ".join(sys.argv[1:])),
        "setting": {
            "delays": asdict(delays),
            "voice": voice,
            "calls": options.calls,
            "viewers": options.viewers,
            "processes": options.processes,
            "listeners": options.listeners,
            "never_read": 1 + (options.listeners > 0),
        },
        **rows,
        "viewers": {
            "events": sum(len(viewer.seen) for viewer in viewers),
            "delay": spread([delay for viewer in viewers for delay in viewer.delays]),
            "missed": sum(missed(crowd.viewers) for crowd in crowds),
            "resyncs": sum(viewer.resyncs for viewer in viewers),
        },
        "listeners": {
            "messages": sum(one.messages for one in listeners),
            "heard_share": spread(
                [one.messages / (MESSAGES_A_S * one.seconds) for one in listeners if one.seconds > 1]
            ),
        },
    }


async def _level(
    on: Stage, crowd: Crowd, options: argparse.Namespace, seconds: float, lines: Sequence[Any]
) -> tuple[list[Call], Window]:
    talking = asyncio.create_task(level(on, options.calls, seconds, lines))
    await asyncio.sleep(CYCLE_S + 1)  # until most of them have called
    async with watched(crowd):
        return await talking


def _row(on: Stage, calls: Sequence[Call], window: Window, usual: Mapping[str, float], idle: int) -> dict[str, Any]:
    row = describe(on, calls, window, usual, idle)
    row["listener_drops"] = round(window.metrics_end.get(DROPS, 0.0) - window.metrics.get(DROPS, 0.0))
    added = row["added"] or {}
    print(f"{row['calls']} calls: added p50 {added.get('p50')} p95 {added.get('p95')} ms", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.viewers", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--viewers", type=int, default=20)
    parser.add_argument("--listeners", type=int, default=5)
    parser.add_argument("--processes", type=int, default=0, help="media processes beside an office; needs --redis")
    parser.add_argument("--redis", default="", metavar="URL", help="live events go by this server")
    parser.add_argument("--turns", type=int, default=150, help="least turns of a round")
    parser.add_argument("--seconds", type=float, default=30, help="least seconds of a round")
    parser.add_argument("--rounds", type=int, default=2, help="of each half")
    parser.add_argument("--alone", type=int, default=10, help="turns of the one call alone")
    parser.add_argument("--quick", action="store_true", help="a small round: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.viewers, options.listeners, options.rounds = 3, 3, 2, 1
        options.turns, options.seconds, options.alone = 3, 8, 1
    result = uvloop.run(measure(options))
    print(page.viewers(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "viewers", result)
    if not options.out and not options.quick:
        page.write()


if __name__ == "__main__":
    main()
