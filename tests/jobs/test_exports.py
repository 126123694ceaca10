"""The loop that writes long lists."""

import anyio
import pytest

from moked.jobs.exports import write_exports

pytestmark = pytest.mark.anyio


class Office:
    """Three lists wait; the database is away once."""

    def __init__(self):
        self.asked = 0
        self.done = anyio.Event()

    def write_next_export(self):
        self.asked += 1
        if self.asked == 2:
            raise OSError("the database is away")
        if self.asked == 5:
            anyio.from_thread.run_sync(self.done.set)
        return self.asked < 5


async def test_lists_are_written_one_after_the_other_and_a_failure_ends_nothing():
    office = Office()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: write_exports(office, every_s=0))
        with anyio.fail_after(10):
            await office.done.wait()
        tasks.cancel_scope.cancel()
    assert office.asked >= 5
