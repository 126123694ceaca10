"""`moked` as processes of their own, for tests that kill them. Each is ended by the id it was started with."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx2

from moked.settings import Settings

START_S = 60  # of a process on a machine that does much else


@dataclass
class Running:
    """One process. `lines` is its log so far."""

    process: "subprocess.Popen[bytes]"
    url: str
    folder: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        text = (self.folder / "stderr").read_text("utf-8")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    @property
    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines]

    @property
    def output(self) -> str:
        return (self.folder / "stdout").read_text("utf-8") + (self.folder / "stderr").read_text("utf-8")

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def exit_code(self, within_s: float) -> int:
        with anyio.fail_after(within_s):
            while (code := self.process.poll()) is None:
                await anyio.sleep(0.02)
        return code

    async def says(self, message: str, within_s: float = 10) -> None:
        """Wait for a line of the log."""
        with anyio.fail_after(within_s):
            while message not in self.messages:
                await anyio.sleep(0.05)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def free_ports(count: int) -> int:
    """The first of `count` ports in a row that are free now."""
    while True:
        first = free_port()
        with ExitStack() as listeners, suppress(OSError, OverflowError):
            for n in range(count):
                listeners.enter_context(socket.create_server(("127.0.0.1", first + n)))
            return first


@asynccontextmanager
async def moked(folder: Path, *arguments: str, port: int, **values: object) -> AsyncIterator[Running]:
    """`moked ARGUMENTS --port PORT` with these settings alone, once it is ready. `folder` gets what it prints."""
    folder.mkdir(parents=True)
    env = _environment({"log_format": "json", "admit_lag_ms": 60_000, **values})
    command = [str(Path(sys.executable).with_name("moked")), *arguments, "--port", str(port)]
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=out, stderr=err)
    running = Running(process, f"http://127.0.0.1:{port}", folder)
    try:
        await _ready(running)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


def _environment(values: Mapping[str, object]) -> dict[str, str]:
    own = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in own}
    return kept | {name.upper(): str(value) for name, value in values.items()}


async def _ready(running: Running) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        with anyio.fail_after(START_S):
            while True:
                assert running.process.poll() is None, running.output
                try:
                    if (await client.get(f"{running.url}/readyz")).status_code == httpx2.codes.OK:
                        return
                except httpx2.TransportError:
                    pass
                await anyio.sleep(0.1)
