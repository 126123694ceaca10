"""Jobs on the real engine, on both databases: done once, tried again, given up, taken over, started on time."""

from datetime import timedelta

import pytest
from dbos import DBOS
from sqlalchemy import text

from moked.crm.job_store import JobStore
from moked.crm.outbox import CALLS, LATER, REFUSED
from moked.crm.tables_jobs import JobState
from moked.errors import Failure, ProviderError
from moked.jobs import Lane, Patience
from moked.jobs.engine import Cron
from tests.jobs.house import LANES, NOW, Clock, Effects, working

MESSAGES = Lane("messages", 4, a_partition=(1, 3600), poll_s=0.02)


@pytest.fixture(scope="module")
def _house(_prepared, tmp_path_factory):
    """One engine for all tests on a database: starting and stopping one takes seconds."""
    with working(_prepared, tmp_path_factory.mktemp("worker"), lanes=(*LANES, MESSAGES)) as worker:
        yield worker


@pytest.fixture
def worker(_house, engine):
    """Without jobs, and at its own time."""
    _house.clock.now = NOW
    _house.works.clear()
    DBOS.delete_workflows([one.workflow_id for one in DBOS.list_workflows()])
    return _house


@pytest.fixture
def effects(worker):
    return Effects(worker.works)


@pytest.fixture
def clock(worker):
    return worker.clock


def test_steps_are_done_in_their_order_and_once(worker, effects):
    effects.work("a", "b")
    assert worker.store.enqueue("w", {"call": "1"}, key="k1")
    assert not worker.store.enqueue("w", {"call": "other"}, key="k1"), "the key makes it one"
    order = worker.store.due()[0]
    worker.engine.take(order)
    worker.engine.take(order)  # as two relays do
    status = worker.done("k1")
    assert status.state is JobState.DONE
    assert effects.seen == [("a", "1"), ("b", "1")]
    worker.store.enqueue("w", {"call": "2"}, key="k2", delay=timedelta(minutes=1))
    assert worker.runner.relay() == 0, "it is not due yet"


def test_while_calls_press_jobs_go_one_by_one_and_those_after_served_calls_go_first(worker, effects):
    effects.work("a")
    for key, lane in (("k1", LATER), ("k2", LATER), ("k3", CALLS)):
        worker.store.enqueue("w", {"call": key}, key=key, lane=lane)
        worker.clock.later(seconds=1)
    worker.runner.spare = lambda: False
    assert [worker.runner.relay() for _ in range(2)] == [1, 1]
    assert [order.key for order in worker.store.due()] == ["k2"]
    worker.runner.spare = lambda: True
    for key in ("k1", "k2", "k3"):
        assert worker.done(key).state is JobState.DONE


def test_of_a_crowd_that_was_refused_one_goes_a_round_and_nobody_else_waits_for_it(worker, effects):
    effects.work("a")
    for number in range(60):
        worker.store.enqueue("w", {"call": "r"}, key=f"r{number:02}", lane=REFUSED)
    worker.clock.later(seconds=1)
    for key, lane in (("later", LATER), ("call", CALLS)):
        worker.store.enqueue("w", {"call": key}, key=key, lane=lane)
    assert [order.key for order in worker.store.due()] == ["call", "r00", "later"]
    assert worker.runner.relay() == 3
    assert [order.key for order in worker.store.due()] == ["r01"]


def test_what_failed_is_done_again_and_what_was_done_is_not(worker, effects, clock):
    effects.failing["b"] = ProviderError("x", Failure.UNAVAILABLE, "away")
    effects.work("a", "b", "c")
    worker.store.enqueue("w", {"call": "1"}, key="k")
    status = worker.done("k")
    assert (status.state, status.run, status.failed) == (JobState.WAITING, 2, {"b": "unavailable"})
    assert [name for name, _ in effects.seen] == ["a", "b", "c"], "what follows is done all the same"
    effects.failing.clear()
    assert worker.runner.relay() == 0, "not before its time"
    clock.later(minutes=1)
    assert worker.done("k").state is JobState.DONE
    assert [name for name, _ in effects.seen] == ["a", "b", "c", "b"]


def test_what_time_does_not_heal_waits_for_a_person(worker, effects):
    effects.failing["a"] = ProviderError("x", Failure.AUTH, "who are you")
    effects.work("a", "b")
    worker.store.enqueue("w", {"call": "1"}, key="k")
    assert worker.done("k").state is JobState.FAILED
    effects.failing.clear()
    assert worker.store.retry("k")
    assert not worker.store.retry("k"), "it is on its way already"
    status = worker.done("k")
    assert (status.state, status.run) == (JobState.DONE, 2)
    assert [name for name, _ in effects.seen] == ["a", "b", "a"]


def test_a_job_that_fails_for_long_is_a_dead_letter(worker, effects, clock):
    effects.failing["a"] = RuntimeError("our own")
    effects.work("a")
    worker.store.enqueue("w", {"call": "1"}, key="k")
    states = []
    for _ in range(6):
        states.append(worker.done("k").state)
        clock.later(hours=7)
    assert states == [JobState.WAITING] * 5 + [JobState.FAILED]
    assert worker.store.status("k").failed == {"a": "bug"}
    assert worker.store.counts()[JobState.FAILED] == 1


def test_a_step_is_tried_as_patiently_as_it_asks(worker, effects):
    effects.failing["a"] = ProviderError("x", Failure.TIMEOUT, "slow")
    effects.work("a", patience=Patience(tries=3, first_s=0.001))
    worker.store.enqueue("w", {"call": "1"}, key="k")
    worker.done("k")
    assert len(effects.seen) == 3


def test_a_job_of_another_version_is_seen_to_be_one(worker, effects):
    effects.work("a")
    worker.store.enqueue("gone", {"call": "1"}, key="k")
    status = worker.done("k")
    assert (status.state, status.failed) == (JobState.FAILED, {"": "unknown"})


def test_what_the_engine_forgot_or_gave_up_is_found(worker, effects, clock, engine):
    effects.work("a")
    worker.store.enqueue("w", {"call": "1"}, key="lost")
    worker.store.handed(worker.store.due())  # the engine's tables were put back to before that
    worker.store.enqueue("w", {"call": "2"}, key="over")
    worker.engine.take(worker.store.due()[0])
    worker.done("over")
    with engine.begin() as connection:  # ours were
        connection.execute(text("UPDATE job SET state = 'running', run = 1 WHERE key = 'over'"))
    worker.runner.look()
    assert worker.store.status("over").state is JobState.RUNNING, "it may still be at it"
    clock.later(minutes=2)
    worker.runner.look()
    assert worker.store.status("over").state is JobState.WAITING
    assert worker.store.status("over").failed == {"": "unavailable"}
    assert worker.done("lost").state is JobState.DONE


def test_old_jobs_and_their_checkpoints_go(worker, effects, clock):
    effects.work("a")
    worker.store.enqueue("w", {"call": "1"}, key="k")
    worker.done("k")
    order = "k"
    assert DBOS.get_workflow_status(order) is not None
    clock.later(days=31)
    worker.runner.clean()
    assert worker.store.status("k") is None
    assert DBOS.get_workflow_status(order) is None


def test_a_lane_may_hold_its_partitions_back(worker, effects):
    effects.work("a")
    for number, sender in (("1", "+1"), ("2", "+1"), ("3", "+2")):
        worker.store.enqueue("w", {"call": number}, key=f"m{number}", lane="messages", partition=sender)
    assert worker.done("m3").state is JobState.DONE
    ran = {call for _, call in effects.seen}
    worker.store.enqueue("w", {"call": "4"}, key="c")
    worker.done("c")
    assert len(ran & {"1", "2"}) <= 1
    assert len({call for _, call in effects.seen} & {"1", "2"}) <= 1, "one an hour from one sender"


def test_a_scheduled_job_is_one_however_many_ask(worker, effects):
    effects.work("a", name="nightly")
    worker.engine.schedule([Cron("nightly", "20 3 * * *")])
    worker.engine.schedule([Cron("nightly", "20 3 * * *")])
    assert [one["schedule_name"] for one in DBOS.list_schedules()] == ["nightly"]
    DBOS.trigger_schedule("nightly").get_result()
    jobs = worker.store.due()
    assert [order.name for order in jobs] == ["nightly"]
    assert jobs[0].key.startswith("nightly:20")


def test_no_pickle_and_no_words_are_on_record(worker, effects):
    effects.work("a")
    worker.store.enqueue("w", {"call": "CA1"}, key="k")
    worker.done("k")
    status = DBOS.get_workflow_status("k")
    assert status.input["args"][0]["payload"] == {"call": "CA1"}


def test_a_store_without_an_engine_takes_orders(engine):
    store = JobStore(engine, clock=Clock())
    assert store.status("k") is None
    assert store.enqueue("w", {}, key="k")
    assert store.status("k").state is JobState.WAITING
