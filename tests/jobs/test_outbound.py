"""The loop that places calls: what the carrier says goes on record, what nobody knows is left to the record."""

import anyio
import pytest

from moked.crm.dialling import Placement
from moked.errors import Failure, ProviderError
from moked.jobs.outbound import dial_due, place_one

pytestmark = pytest.mark.anyio
ONE = Placement(7, "+972541112233", "+97235551234")


class Book:
    def __init__(self, *due):
        self.due, self.told, self.asked = list(due), [], []
        self.done = anyio.Event()

    def turns(self):
        return [1] if self.due else []

    def promise(self, business_id):
        self.asked.append("promise")
        return 0

    def claim(self, business_id, free_places, most):
        self.asked.append(free_places)
        found, self.due = self.due[:most], self.due[most:]
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


async def test_what_fails_for_one_business_is_no_others(caplog):
    class Broken(Book):
        def turns(self):
            return [1, 2] if self.due else []

        def claim(self, business_id, free_places, most):
            if business_id == 1:
                raise RuntimeError("a row nobody understands")
            return super().claim(business_id, free_places, most)

    book = Broken(ONE)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: dial_due(book, taken, free_places=lambda: 4, every_s=0.001))
        with anyio.fail_after(10):
            await book.done.wait()
        tasks.cancel_scope.cancel()
    assert book.told == [(7, "CA7")]
    assert [record.business for record in caplog.records if hasattr(record, "business")][:1] == [1]


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
