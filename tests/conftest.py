"""Fixtures for all tests."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from anyio._backends import _asyncio
from hypothesis import settings

settings.register_profile("moked", deadline=None)  # a busy machine is no finding
settings.load_profile("moked")


_LONG = ("browser", "bench", "wire", "channels", "stt", "tts", "web")
"""Folders whose files take long begin first, so that no worker is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def turn(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return _LONG.index(folder) if folder in _LONG else len(_LONG)

    items.sort(key=turn)


@pytest.fixture
def anyio_backend() -> str:
    """The asyncio backend: it is what the product runs on."""
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def _grpc_outlives_loops():
    """gRPC's asyncio poller is one a process and may hand out a late event of a loop that a former test closed.

    The product has one loop. Only that complaint, from that callback, is passed over; everything else still fails.
    """
    report = _asyncio.TestRunner._exception_handler

    def handler(self: Any, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        late = str(context.get("exception")) == "Event loop is closed"
        if not (late and "PollerCompletionQueue" in repr(context.get("handle"))):
            report(self, loop, context)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_asyncio.TestRunner, "_exception_handler", handler)
        yield
