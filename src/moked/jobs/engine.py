"""The durable engine: DBOS, which records every step of a job before the next one begins. The only file that knows it.

    order -> its queue -> began | step | step | ... | closed      each line a checkpoint in the engine's own tables

DBOS runs each step at least once and the job's outcome once, whoever dies when. It takes a dead process's jobs up only
under that process's own name, so a name is a slot of the machine, held by a lock the kernel lets go of (`slots`), and
`runner` takes over what no slot's owner comes back for. On SQLite its tables are a file of their own: its polling must
not stand in the line of writers that calls wait in. On PostgreSQL they are a schema beside ours. Inputs and results are
JSON, never pickles, and hold no personal data. Nothing is reported to anybody: no telemetry, no console of theirs.

One engine a process, because DBOS is one.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, cast

from dbos import DBOS, DBOSConfig, EnqueueOptions
from dbos._serialization import Serializer
from sqlalchemy import Engine as SqlEngine
from sqlalchemy import create_engine, event
from sqlalchemy.engine import make_url

from moked.crm import retries
from moked.crm.job_store import Order
from moked.crm.tables_jobs import JobState
from moked.errors import Failure
from moked.jobs import Lane, Step, Work
from moked.jobs.attempt import FAILED, OK, attempt

log = logging.getLogger(__name__)

_NAME: Final = "moked"
_JOB: Final = "job"
_CRON: Final = "cron"
_VERSION: Final = "1"  # of how a job is run: an engine takes up only jobs of its own version
_DEATHS: Final = 50  # of processes at one run, before it is given up as lost
_SQLITE_FILE: Final = "jobs.db"
_ERROR: Final = "__error__"
_BUSY_MS: Final = 30_000
_STOP_S: Final = 10.0
ALIVE: Final = "alive"
_ALIVE: Final = ("ENQUEUED", "DELAYED", "PENDING")
_TOO_OFTEN: Final = "MAX_RECOVERY_ATTEMPTS_EXCEEDED"

Probe = Callable[[str, str, str], None]
"""(job's key, step, 'before' or 'after' its effect): a test's own hand on the process."""


class Records(Protocol):
    """The part of `crm.job_store.JobStore` a run reports to."""

    def began(self, key: str, run: int) -> bool: ...

    def at(self, key: str, run: int, step: str) -> None: ...

    def closed(self, key: str, run: int, done: Mapping[str, Any], failed: Mapping[str, str]) -> JobState | None: ...


@dataclass(frozen=True, slots=True)
class Cron:
    """A job named `name` at the times of `cron` ('0 3 * * *') in `zone`; one, however many processes there are."""

    name: str
    cron: str
    zone: str = "Asia/Jerusalem"


@dataclass(slots=True)
class _Running:
    """What the engine of this process stands on; DBOS finds functions by name, so it is found the same way."""

    works: Mapping[str, Work]
    records: Records
    enqueue: Callable[[str, str], object]
    probe: Probe
    stopping: threading.Event = field(default_factory=threading.Event)
    active: set[str] = field(default_factory=set)
    idle: threading.Condition = field(default_factory=threading.Condition)


_running: _Running | None = None


class Engine:
    """What `runner` uses; made by `running`."""

    def __init__(self, executor: str) -> None:
        self.executor = executor

    def take(self, order: Order) -> None:
        """Have it run; a second time is the same order."""
        work = _now().works.get(order.name)
        options: EnqueueOptions = {
            "workflow_name": _JOB,
            "queue_name": order.lane,
            "workflow_id": order.order_id,
            "app_version": _VERSION,
        }
        if order.partition:
            options["queue_partition_key"] = order.partition
        given = {
            "key": order.key,
            "run": order.run,
            "name": order.name,
            "payload": dict(order.payload),
            "done": dict(order.done),
            "plan": [step.name for step in work.steps] if work is not None else [""],
        }
        DBOS.enqueue_workflow_with_options(options, given)

    def fate(self, order: Order) -> str | None:
        """ALIVE, or a code of `retries`: it ended without a word, and why; None: the engine has never heard of it."""
        found = DBOS.list_workflows(workflow_ids=[order.order_id], load_input=False, load_output=False)
        if not found:
            return None
        if found[0].status in _ALIVE:
            return ALIVE
        # An error or a success of which our records do not know: they were away, or were put back to an older state.
        return retries.LOST if found[0].status == _TOO_OFTEN else Failure.UNAVAILABLE.value

    def take_over(self, executor: str) -> None:
        """Run what a dead process had begun."""
        DBOS._recover_pending_workflows([executor])

    def forget(self, order_ids: Sequence[str]) -> None:
        """Take their checkpoints out."""
        if order_ids:
            DBOS.delete_workflows(list(order_ids))

    def schedule(self, crons: Sequence[Cron]) -> None:
        DBOS.apply_schedules(
            [
                {
                    "schedule_name": one.name,
                    "workflow_fn": cast(Any, _cron),  # it is given text, as all of ours is JSON
                    "schedule": one.cron,
                    "context": one.name,
                    "cron_timezone": one.zone,
                }
                for one in crons
            ]
        )


@contextmanager
def running(
    database: str,
    folder: Path,
    executor: str,
    works: Sequence[Work],
    records: Records,
    *,
    lanes: Sequence[Lane],
    enqueue: Callable[[str, str], object],
    probe: Probe = lambda key, step, when: None,
) -> Iterator[Engine]:
    """Run jobs until the end of the block; what is running then may finish, for a while.

    `database`: ours, whose kind decides where the engine's tables are: `folder`'s own file, or a schema beside ours.
    `enqueue(name, key)`: put a scheduled job into the outbox.
    """
    global _running  # noqa: PLW0603  (DBOS is one a process)
    assert _running is None, "one engine a process"
    own = _own_tables(database, folder)
    _quiet()
    config: DBOSConfig = {
        "name": _NAME,
        "executor_id": executor,
        "application_version": _VERSION,
        "serializer": _Json(),
        "log_level": "WARNING",
        "enable_otlp": False,
        "notification_listener_polling_interval_sec": 1.0,
        "scheduler_polling_interval_sec": 30.0,
        **own,
    }
    _running = _Running({work.name: work for work in works}, records, enqueue, probe)
    try:
        DBOS(config=config)
        DBOS.listen_queues([lane.name for lane in lanes])
        DBOS.launch()
        for lane in lanes:
            _open(lane)
        yield Engine(executor)
    finally:
        _stop(_running)
        DBOS.destroy()
        if (made := own.get("system_database_engine")) is not None:
            made.dispose()
        _running = None


def _now() -> _Running:
    assert _running is not None, "no engine runs"
    return _running


def _open(lane: Lane) -> None:
    limits: dict[str, Any] = {"worker_concurrency": lane.at_once}
    if lane.a_partition is not None:
        count, seconds = lane.a_partition
        limits["partition_limiter"] = {"limit": count, "period": seconds}
    DBOS.register_queue(lane.name, polling_interval_sec=lane.poll_s, on_conflict="always_update", **limits)


def _stop(running: _Running) -> None:
    """Let what runs come to its end: between tries nobody waits any more."""
    running.stopping.set()
    with running.idle:
        running.idle.wait_for(lambda: not running.active, _STOP_S)


# --- what DBOS runs, found by these names in every process and version ------------------------------------------------


@DBOS.workflow(name=_JOB, max_recovery_attempts=_DEATHS)
def _job(given: dict[str, Any]) -> str:
    """One run of a job: its steps, whichever of them fails. All it does is a step, so that it can be repeated."""
    house = _now()
    key, run, payload = given["key"], given["run"], given["payload"]
    order = f"{key}~{run}"
    with house.idle:
        house.active.add(order)
    try:
        if not _step(house, key, "began", lambda: house.records.began(key, run)):
            return "given up"
        work = house.works.get(given["name"])
        steps = {step.name: step for step in work.steps} if work is not None else {}
        done, failed = dict(given["done"]), {}
        for name in given["plan"]:
            if name in done:
                continue
            outcome = _step(house, key, name, partial(_tried, house, steps.get(name), payload, key, run))
            if OK in outcome:
                done[name] = outcome[OK]
            else:
                failed[name] = outcome[FAILED]
        state = _step(house, key, "closed", lambda: house.records.closed(key, run, done, failed))
        if state == JobState.FAILED:
            log.error("a job failed for good", extra={"job": key, "failed": failed})
        return str(state or "given up")
    finally:
        with house.idle:
            house.active.discard(order)
            house.idle.notify_all()


def _step(house: _Running, key: str, name: str, work: Callable[[], Any]) -> Any:
    def probed() -> Any:
        house.probe(key, name, "before")
        result = work()
        house.probe(key, name, "after")
        return result

    return DBOS.run_step({"name": name, "retries_allowed": True, "max_attempts": 5, "interval_seconds": 0.5}, probed)


def _tried(house: _Running, step: Step | None, payload: dict[str, Any], key: str, run: int) -> Any:
    name = step.name if step is not None else ""
    return attempt(step, payload, key=key, pause=house.stopping.wait, slow=lambda: house.records.at(key, run, name))


@DBOS.workflow(name=_CRON)
def _cron(at: str, name: str) -> None:
    """`at` is the moment as ISO 8601; to the minute it is the job's own."""
    _now().enqueue(name, f"{name}:{at[:16]}")


# --- how it is set up -------------------------------------------------------------------------------------------------


class _Json(Serializer):
    """What a later version, or a person, can read; a pickle runs code."""

    def serialize(self, data: Any) -> str:
        return json.dumps(data, ensure_ascii=False, default=_plain)

    def deserialize(self, serialized_data: str) -> Any:
        return json.loads(serialized_data, object_hook=_error)

    def name(self) -> str:
        return "moked_json"


def _plain(value: Any) -> Any:
    """A moment, or an error: its kind alone, for its text may hold anything."""
    return value.isoformat() if isinstance(value, datetime) else {_ERROR: type(value).__name__}


def _error(found: dict[str, Any]) -> Any:
    return RuntimeError(found[_ERROR]) if found.keys() == {_ERROR} else found


def _quiet() -> None:
    """Its log goes where ours goes, from warnings up. It would add a handler of its own where there is none."""
    logger = logging.getLogger("dbos")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
    logger.propagate = True


def _own_tables(database: str, folder: Path) -> DBOSConfig:
    url = make_url(database)
    if url.get_backend_name() == "sqlite":
        path = folder / _SQLITE_FILE
        return {"system_database_url": f"sqlite:///{path}", "system_database_engine": _sqlite(path)}
    url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    with engine.connect() as connection:
        schema = connection.exec_driver_sql("SELECT current_schema()").scalar()
    engine.dispose()
    return {
        "system_database_url": url.render_as_string(hide_password=False),
        "dbos_system_schema": f"{schema}_jobs" if schema not in (None, "public") else "moked_jobs",
        "sys_db_pool_size": 5,
    }


def _sqlite(path: Path) -> SqlEngine:
    """As DBOS opens one, with a log of its own beside it, so that its readers and its writer do not wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = "IMMEDIATE"
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_BUSY_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = NORMAL")
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.close()

    return engine
