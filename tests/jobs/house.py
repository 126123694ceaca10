"""A worker in this process, for tests: its rounds are called by hand, and nothing waits longer than it has to."""

import time
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta

from moked.crm.job_store import JobStore
from moked.crm.outbox import CALLS, LATER
from moked.crm.tables_jobs import JobState
from moked.jobs import Lane, Patience, Step, Work, engine
from moked.jobs.runner import Runner

LANES = (Lane(CALLS, 4, poll_s=0.02), Lane(LATER, 1, poll_s=0.02))
ONCE = Patience(tries=1)
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now

    def later(self, **by):
        self.now += timedelta(**by)


class Effects:
    """Steps that note what they do; `failing` names steps that fail, with how. `works` gets what is made of them."""

    def __init__(self, works):
        self.works = works
        self.seen = []
        self.failing = {}

    def work(self, *names, name="w", patience=ONCE):
        self.works[name] = Work(name, tuple(self._step(one, patience) for one in names))

    def _step(self, name, patience):
        def run(given):
            self.seen.append((name, given.get("call")))
            if error := self.failing.get(name):
                raise error
            return {"of": given.get("call")}

        return Step(name, run, patience)


class Worker:
    """`done(key)` runs its rounds until the job is no longer on its way. `works` may be changed as it runs."""

    def __init__(self, store, running, clock):
        self.store = store
        self.engine = running
        self.clock = clock
        self.works = engine._now().works
        self.runner = Runner(store, running)

    def done(self, key, rounds=1000):
        for _ in range(rounds):
            self.runner.relay()
            status = self.store.status(key)
            if status.state not in (JobState.QUEUED, JobState.RUNNING) and not self.store.due():
                return status
            time.sleep(0.01)  # of the engine's own queue; how long it takes is not looked at
        raise AssertionError(f"{key} does not end: {status}")


@contextmanager
def working(database, folder, *, executor="here", clock=None, lanes=LANES, probe=None):
    """`database` is an engine of SQLAlchemy; the worker has the same one."""
    clock = clock or Clock()
    store = JobStore(database, clock=clock)
    with ExitStack() as stack:
        running = stack.enter_context(
            engine.running(
                database.url.render_as_string(hide_password=False),
                folder,
                executor,
                [],
                store,
                lanes=lanes,
                enqueue=lambda name, key: store.enqueue(name, {}, key=key, lane=LATER),
                **({"probe": probe} if probe else {}),
            )
        )
        yield Worker(store, running, clock)
