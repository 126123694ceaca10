"""Days are counted in the background, also after the database was away."""

import anyio
import pytest

from moked.jobs import counting
from moked.jobs.counting import count_days

pytestmark = pytest.mark.anyio


class Days:
    def __init__(self, *left):
        self.left = list(left)
        self.done = anyio.Event()

    def fill(self):
        found = self.left.pop(0) if self.left else 0
        if isinstance(found, Exception):
            raise found
        if not self.left:
            anyio.from_thread.run_sync(self.done.set)
        return found


async def test_all_of_the_past_is_counted_and_failures_are_outlived(monkeypatch):
    monkeypatch.setattr(counting, "_EVERY_S", 0)
    monkeypatch.setattr(counting, "_BREATH_S", 0)
    days = Days(30, OSError("away"), 30, 4, 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count_days, days)
        with anyio.fail_after(5):
            await days.done.wait()
        tasks.cancel_scope.cancel()
    assert days.left == []
