"""A worker that dies with its host: another takes its jobs over, on both databases."""

import threading

from moked.crm.tables_jobs import JobState
from tests.jobs.house import Clock, Effects, working


def effects(worker, seen):
    made = Effects(worker.works)
    made.seen = seen
    made.work("a", "b")


def test_a_dead_hosts_jobs_are_taken_over(engine, tmp_path):
    """One worker begins and stops in the middle; another, on another host, sees it silent and goes on."""
    clock = Clock()
    reached, go = threading.Event(), threading.Event()

    def hold(key, step, when):
        if (step, when) == ("b", "after"):
            reached.set()
            go.wait(20)
            raise SystemExit  # the thread dies with nothing on record, as its process would

    seen = []
    with working(engine, tmp_path, executor="one", clock=clock, probe=hold) as worker:
        effects(worker, seen)
        worker.store.enqueue("w", {"call": "1"}, key="taken")
        worker.runner.beat()
        worker.runner.relay()
        assert reached.wait(20)
        go.set()
    clock.later(seconds=30)
    with working(engine, tmp_path, executor="two", clock=clock) as worker:
        effects(worker, seen)
        assert worker.store.status("taken").state is JobState.RUNNING
        worker.runner.beat()
        assert worker.done("taken").state is JobState.DONE
        assert [name for name, _ in seen] == ["a", "b", "b"], "a was on record, b was not yet"
        assert worker.store.silent(20) == []
