"""The auto-reset event: wakes its one waiter once for any number of sets, and loses none."""

import asyncio

import pytest

from moked.autoreset import AutoResetEvent

pytestmark = pytest.mark.anyio


async def _waiting(event, woken):
    while True:
        await event.wait()
        woken.append(len(woken))


async def test_it_wakes_once_for_many_sets_and_again_for_the_next():
    event, woken = AutoResetEvent(), []
    task = asyncio.create_task(_waiting(event, woken))
    await asyncio.sleep(0)
    event.set()
    event.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert woken == [0]
    event.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert woken == [0, 1]
    task.cancel()


async def test_what_was_set_before_is_not_lost_and_others_run_meanwhile():
    event, ran = AutoResetEvent(), []
    event.set()
    assert event.is_set()
    asyncio.get_running_loop().call_soon(ran.append, 1)
    await event.wait()
    assert ran
    assert not event.is_set()


async def test_a_waiter_that_is_cancelled_leaves_it_usable():
    event = AutoResetEvent()
    task = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    event.set()
    await asyncio.wait_for(event.wait(), 1)


async def test_a_second_waiter_is_told_so():
    event = AutoResetEvent()
    task = asyncio.create_task(event.wait())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="wakes one task"):
        await event.wait()
    task.cancel()
