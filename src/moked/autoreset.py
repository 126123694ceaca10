"""An auto-reset event for the paths of a call that run fifty times a second.

anyio's event is set once: whoever waits again makes a new one, and each asks which loop it is on and what kind. That
is two microseconds of a processor where this takes a third of one (measured; docs/decisions/0021-density.md).
"""

import asyncio


class AutoResetEvent:
    """Set by anybody on its loop, waited for by one task, which finds it reset: `wait` returns once for any number of
    `set` since it last returned.
    """

    __slots__ = ("_loop", "_set", "_waiter")

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """`loop`: the running one, where it is known already."""
        self._loop = loop or asyncio.get_running_loop()
        self._set = False
        self._waiter: asyncio.Future[None] | None = None

    def set(self) -> None:
        """Never waits. On the loop's thread only."""
        self._set = True
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def is_set(self) -> bool:
        """`wait` would return at once."""
        return self._set

    async def wait(self) -> None:
        """Until it is set, also before; others run meanwhile in any case. Raises `RuntimeError` where another task
        waits."""
        if self._set:
            await asyncio.sleep(0)
        else:
            if self._waiter is not None:
                raise RuntimeError("an AutoResetEvent wakes one task, and another waits for it")
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        self._set = False
