"""Real sockets for tests: an ASGI app on an ephemeral loopback port."""

from contextlib import asynccontextmanager

import anyio

from moked.server import Server


@asynccontextmanager
async def serving(app):
    """Yields the base URL, for example 'http://127.0.0.1:43210'."""
    server = Server(app, "127.0.0.1", 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        port = await server.listening()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.end()
            server.force_exit = True
