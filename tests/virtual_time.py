"""An asyncio event loop whose clock jumps instead of waiting: a ten-second call takes milliseconds, the same each run.

Use it by overriding anyio's backend in a test module:

    @pytest.fixture
    def anyio_backend():
        return VIRTUAL_TIME

Only for code without threads and sockets: nothing real makes the clock move.
"""

import asyncio
import selectors
from typing import Any

_STUCK_SECONDS = 5.0


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            ready = super().select(_STUCK_SECONDS)  # a thread may still answer
            if not ready:
                raise RuntimeError("virtual time: every task waits and no timer is set")
            return ready
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self._jumping.now


VIRTUAL_TIME: tuple[str, dict[str, Any]] = ("asyncio", {"loop_factory": VirtualTimeLoop})
