"""Workers and seats: bounded, urgent work first, partials give way, refusals at once. On virtual time."""

import anyio
import pytest

from moked.errors import Failure, Overloaded, ProviderError
from moked.stt.fairqueue import Rank
from moked.stt.seats import Seats, capacity
from moked.stt.workers import Displaced, Workers
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Shop:
    """Workers, and what became of each piece of work with the time."""

    def __init__(self, count=1, **options):
        self.workers = Workers(count, name="x", **options)
        self.log = []
        self.running = self.most = 0

    async def do(self, name, *, rank=Rank.FINAL, takes=1.0, call=None, timeout_s=60, after=0.0):
        await anyio.sleep(after)

        async def work(worker):
            self.running += 1
            self.most = max(self.most, self.running)
            try:
                await anyio.sleep(takes)
            finally:
                self.running -= 1

        try:
            await self.workers.run(work, call=call or name, rank=rank, size=100, timeout_s=timeout_s)
        except Displaced:
            self.log.append((name, "displaced", self.now))
        except ProviderError as problem:
            self.log.append((name, problem.kind.value, self.now))
        else:
            self.log.append((name, "done", self.now))

    @property
    def now(self):
        return round(anyio.current_time() - self.begun, 3)

    async def day(self, *jobs):
        self.begun = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            for job in jobs:
                tasks.start_soon(job)
        assert self.workers.pending == 0
        return self.log


def job(shop, *args, **options):
    return lambda: shop.do(*args, **options)


async def test_as_many_at_a_time_as_there_are_workers():
    shop = Shop(2)
    await shop.day(*(job(shop, str(n)) for n in range(5)))
    assert shop.most == 2
    assert [at for *_, at in shop.log] == [1, 1, 2, 2, 3]


async def test_a_final_takes_the_worker_of_a_partial():
    shop = Shop()
    log = await shop.day(job(shop, "partial", rank=Rank.PARTIAL, takes=5), job(shop, "final", after=0.5, takes=1))
    assert log == [("partial", "displaced", 0.5), ("final", "done", 1.5)]


async def test_finals_do_not_displace_finals_and_second_passes_do_not_displace_partials():
    shop = Shop()
    log = await shop.day(
        job(shop, "one", takes=2),
        job(shop, "two", after=0.1),
        job(shop, "partial", after=4, rank=Rank.PARTIAL),
        job(shop, "again", after=4.5, rank=Rank.SECOND_PASS),
    )
    assert [entry[:2] for entry in log] == [("one", "done"), ("two", "done"), ("partial", "done"), ("again", "done")]


async def test_a_partial_is_refused_at_once_where_no_worker_is_free():
    shop = Shop()
    log = await shop.day(job(shop, "final"), job(shop, "partial", rank=Rank.PARTIAL, after=0.2))
    assert log == [("partial", "full", 0.2), ("final", "done", 1)]


async def test_what_waits_too_long_was_our_fault_and_what_works_too_long_was_not():
    shop = Shop()
    log = await shop.day(job(shop, "slow", takes=9, timeout_s=5), job(shop, "late", after=0.1, timeout_s=3))
    assert log == [("late", "full", 3.1), ("slow", "timeout", 5)]


async def test_a_worker_that_is_not_ready_is_waited_for():
    ready = False
    shop = Shop(ready=lambda worker: ready)

    async def open_up():
        nonlocal ready
        await anyio.sleep(2)
        ready = True
        shop.workers.wake()

    assert await shop.day(job(shop, "final"), open_up) == [("final", "done", 3)]


async def test_a_flood_is_refused_beyond_the_bound_and_served_in_turns():
    shop = Shop(max_items=20)
    log = await shop.day(
        *(job(shop, f"flood {n}", rank=Rank.BACKGROUND, call=n, takes=1) for n in range(200)),
        *(job(shop, f"live {n}", after=0.5 + 6 * n, takes=0.4) for n in range(3)),
    )
    done = {name: at for name, how, at in log if how == "done"}
    refused = [at for name, how, at in log if how == "full" and name.startswith("flood")]
    assert len(refused) >= 179
    assert max(refused) <= 0.5, "at once, or when a caller needed the room"
    assert [done[f"live {n}"] for n in range(3)] == [0.9, 6.9, 12.9], "no caller waits for a recording"


async def test_whoever_is_cancelled_leaves_nothing_behind():
    shop = Shop()
    with anyio.move_on_after(0.5):
        await shop.day(job(shop, "one", takes=9), job(shop, "two", takes=9))
    assert shop.workers.pending == 0
    assert await shop.day(job(shop, "three")) == [("three", "done", 1)]


def test_a_seat_is_kept_and_given_back():
    seats = Seats("x", 2)
    with seats.seat():
        with seats.seat():
            assert seats.taken == 2
            with pytest.raises(Overloaded), seats.seat():
                pytest.fail("there is none")
        with seats.seat():
            assert seats.taken == 2
    assert (seats.taken, seats.refused) == (0, 1)


@pytest.mark.parametrize(("decode_s", "workers", "calls"), [(0.25, 1, 12), (0.5, 2, 12), (30, 1, 1), (0, 1, 3000)])
def test_how_many_calls_a_machine_can_serve(decode_s, workers, calls):
    assert capacity(decode_s, workers) == calls


async def test_refusals_are_full():
    workers = Workers(1, name="x", max_items=1)

    async def work(worker):
        await anyio.sleep(1)

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(lambda n=number: workers.run(work, call=n, rank=Rank.FINAL, size=1, timeout_s=9))
        await anyio.sleep(0.1)
        with pytest.raises(ProviderError) as caught:
            await workers.run(work, call=3, rank=Rank.FINAL, size=1, timeout_s=9)
    assert caught.value.kind is Failure.FULL
