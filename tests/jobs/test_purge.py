"""When the nightly purge is due."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import anyio
import pytest

from moked.jobs.purge import due, nightly

ZONE = ZoneInfo("Asia/Jerusalem")


def at(hour, day=22, minute=0):
    return datetime(2026, 11, day, hour, minute, tzinfo=ZONE).astimezone(UTC)


@pytest.mark.parametrize(
    ("last", "now", "is_due"),
    [
        (None, at(12), True),
        (at(3, minute=21), at(23), False),
        (at(3, minute=21), at(3, day=23), False),
        (at(3, minute=21), at(4, day=23), True),
        (at(23, day=21), at(2), False),
        (at(23, day=21), at(3, minute=30), True),
    ],
)
def test_once_a_night(last, now, is_due):
    assert due(last, now, ZONE) is is_due


@pytest.mark.anyio
async def test_a_night_that_fails_is_tried_again():
    class Retention:
        ran, failures = 0, 2

        def last_run(self, business_id):
            return at(12) if self.ran else None

        def purge(self, now):
            if self.failures:
                self.failures -= 1
                raise OSError("no database")
            self.ran += 1
            return {}

    retention = Retention()
    async with anyio.create_task_group() as tasks:
        clock = lambda: at(12) + timedelta(hours=1)  # noqa: E731
        tasks.start_soon(lambda: nightly(retention, 1, ZONE, every_s=0.01, clock=clock))
        with anyio.fail_after(5):
            while not retention.ran:
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert retention.ran == 1
