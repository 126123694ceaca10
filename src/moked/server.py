"""uvicorn, made to end calls well: on the first signal it stops taking calls and waits for the running ones.

uvicorn itself closes every WebSocket a tenth of a second after SIGTERM, whatever its time-out says (Kludex/uvicorn
issues 1140 and 1344). Here the first signal only asks for the end; the role drains its calls and then lets uvicorn
go. A second signal ends it at once.
"""

import socket
from types import FrameType
from typing import Any

import anyio
import uvicorn

from moked.media.server import UVICORN_OPTIONS

_LAST_REQUESTS_S = 2  # after the calls are over; who watches one that will never come must not hold us


class Server(uvicorn.Server):
    """Serves `app` inside a running loop. `stopping` is set by the first SIGINT or SIGTERM, or by `stop`."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            **UVICORN_OPTIONS,
            http="httptools",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_LAST_REQUESTS_S,
        )
        super().__init__(config)
        self.stopping = anyio.Event()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the loop or by the interpreter between two of the loop's steps: setting an event is safe in
        both. uvicorn would raise the signal once more at the end, and so kill us before the last records are written.
        """
        if self.stopping.is_set():
            self.should_exit = self.force_exit = True
        else:
            self.stop()

    def stop(self) -> None:
        """Ask for the end; the role decides when."""
        self.stopping.set()

    def end(self) -> None:
        """No more calls: close the listener and the idle connections."""
        self.should_exit = True

    async def listening(self) -> int:
        """Wait until connections are taken; the port they are taken on."""
        while not self.started:
            await anyio.sleep(0.01)
        bound: list[socket.socket] = [found for one in self.servers for found in one.sockets]
        return int(bound[0].getsockname()[1])
