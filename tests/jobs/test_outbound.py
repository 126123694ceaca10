"""The loop that places calls: what the carrier says goes on record, what nobody knows is left to the record."""

import anyio
import pytest

from moked.crm.dialling import Placement
from moked.errors import Failure, ProviderError
from moked.jobs.outbound import dial_due, place_one

pytestmark = pytest.mark.anyio
ONE = Placement(7, "+972541112233")


class Book:
    def __init__(self, *due):
        self.due, self.told, self.asked = list(due), [], []
        self.done = anyio.Event()

    def idle(self):
        return not self.due

    def promise(self):
        self.asked.append("promise")
        return 0

    def claim(self, free_places):
        self.asked.append(free_places)
        found, self.due = self.due, []
        return found

    def placed(self, dial_id, call_sid):
        self.told.append((dial_id, call_sid))
        anyio.from_thread.run_sync(self.done.set)

    def not_placed(self, dial_id):
        self.told.append((dial_id, "not placed"))


async def taken(one):
    return f"CA{one.dial_id}"


def failing(kind):
    async def place(one):
        raise ProviderError("twilio", kind, "no")

    return place


async def test_what_is_due_is_placed_with_the_places_there_are():
    book = Book(ONE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: dial_due(book, taken, free_places=lambda: 4, every_s=0.001))
        with anyio.fail_after(10):
            await book.done.wait()
        tasks.cancel_scope.cancel()
    assert book.told == [(7, "CA7")]
    assert book.asked == ["promise", 4]


async def test_a_house_that_drains_places_nothing():
    book, rounds = Book(ONE), iter([False, False, True])
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(
            lambda: dial_due(book, taken, free_places=lambda: 1, may=lambda: next(rounds, True), every_s=0.001)
        )
        with anyio.fail_after(10):
            await book.done.wait()
        tasks.cancel_scope.cancel()
    assert list(rounds) == []  # it was asked until it might


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Failure.CONFIG, [(7, "not placed")]), (Failure.QUOTA, [(7, "not placed")]), (Failure.TIMEOUT, []),
     (Failure.UNAVAILABLE, [])],
)  # fmt: skip
async def test_a_refusal_is_known_and_a_lost_answer_is_not(kind, told):
    book = Book()
    await place_one(book, failing(kind), ONE)
    assert book.told == told
