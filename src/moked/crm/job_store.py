"""Jobs and what becomes of them; each method is one transaction.

    outbox.put -> waiting
    due -> an engine has it -> handed -> queued -> began -> running -> closed -> done | waiting again | failed
    retry, by a person -> waiting

Any number of relays may hand a job over at once: its `order_id` is the engine's own key, and a second order with it is
none. `run` fences: what a run that was given up still reports changes nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import audit, retries
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.desk import PAGE, Page
from moked.crm.models import Call, Contact
from moked.crm.outbox import CALLS, REFUSED, put
from moked.crm.settle import insert
from moked.crm.tables_jobs import Job, JobState, JobWorker

_OURS: Final = (JobState.QUEUED, JobState.RUNNING)
_KEEP: Final = timedelta(days=30)
AT_ONCE: Final = 50


@dataclass(frozen=True, slots=True)
class Order:
    """A job as an engine is given it. `done`: what former runs have done already, by step."""

    key: str
    run: int
    name: str
    payload: Mapping[str, Any]
    lane: str
    partition: str
    done: Mapping[str, Any]

    @property
    def order_id(self) -> str:
        """Unique for every run: the first has the job's own key."""
        return self.key if self.run == 1 else f"{self.key}~{self.run}"


@dataclass(frozen=True, slots=True)
class JobRow:
    """`call_sid` '': it is about no call, or about one that is gone. `caller` as the carrier sent it."""

    job: Job
    call_sid: str = ""
    name: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class JobStatus:
    state: JobState
    run: int
    failed: Mapping[str, str]


class JobStore(Records):
    """Jobs on `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    # ---- whoever has work to be done

    def enqueue(
        self,
        name: str,
        payload: Mapping[str, Any],
        *,
        key: str,
        lane: str = CALLS,
        delay: timedelta = timedelta(0),
        partition: str = "",
        business_id: int | None = None,
    ) -> bool:
        """`put` in a transaction of its own."""
        with self._writing() as session:
            now = self._clock()
            return put(
                session,
                name,
                payload,
                key=key,
                business_id=business_id,
                now=now,
                lane=lane,
                partition=partition,
                delay=delay,
            )

    def status(self, key: str) -> JobStatus | None:
        with self._read.begin() as session:
            job = session.scalars(select(Job).where(Job.key == key)).one_or_none()
            return None if job is None else JobStatus(JobState(job.state), job.run, dict(job.failed))

    def retry(self, key: str) -> bool:
        """Run a dead letter, or what waits for its next run, now. False: there is nothing to be tried again."""
        with self._writing() as session:
            job = session.scalars(select(Job).where(Job.key == key).with_for_update()).one_or_none()
            return job is not None and self._again(job)

    def retry_by(self, by: Actor, job_id: int) -> bool:
        """`retry` by somebody at the desk, on record. Raises `LookupError` for another business's job."""
        with self._writing() as session:
            job = session.get(Job, job_id, with_for_update=True)
            if job is None or job.business_id != by.business_id:
                raise LookupError(f"no job {job_id}")
            if not self._again(job):
                return False
            audit.note(session, by, "job.retried", f"job:{job.id}", self._clock())
            return True

    def _again(self, job: Job) -> bool:
        now = self._clock()
        if job.state == JobState.FAILED:
            job.state, job.run, job.tries, job.failed = JobState.WAITING, job.run + 1, 1, {}
        elif job.state != JobState.WAITING or job.due_at <= now:
            return False
        job.due_at = job.changed_at = now
        return True

    # ---- whoever does it

    def due(self, most: int = AT_ONCE) -> list[Order]:
        """What is to be handed to an engine now, the oldest first; after calls that were served before all else. Of
        callers nobody had a line for one at a time: a crowd of them comes just when calls in progress need the machine.
        """
        waiting = select(Job).where(Job.state == JobState.WAITING, Job.due_at <= self._clock())
        with self._read.begin() as session:
            others = waiting.where(Job.lane != REFUSED).order_by(Job.lane != CALLS, Job.due_at).limit(most)
            refused = waiting.where(Job.lane == REFUSED).order_by(Job.due_at).limit(1)
            jobs = [*session.scalars(others), *session.scalars(refused)]
            jobs.sort(key=lambda job: (job.lane != CALLS, job.due_at))
            return [_order(job) for job in jobs[:most]]

    def handed(self, orders: Sequence[Order]) -> None:
        """An engine has them, for good."""
        if not orders:
            return
        with self._writing() as session:
            for order in orders:
                self._move(session, order.key, order.run, (JobState.WAITING,), state=JobState.QUEUED)

    def began(self, key: str, run: int) -> bool:
        """False: this run was given up, or is over; nothing is to be done."""
        with self._writing() as session:
            # Waiting too: the engine may be faster than the relay that tells us it has it.
            return self._move(session, key, run, (JobState.WAITING, *_OURS), state=JobState.RUNNING, step="")

    def at(self, key: str, run: int, step: str) -> None:
        """A run takes its time at this step, so that people see where."""
        with self._writing() as session:
            self._move(session, key, run, _OURS, step=step)

    def closed(self, key: str, run: int, done: Mapping[str, Any], failed: Mapping[str, str]) -> JobState | None:
        """A run is over. What became of the job; None where the run had been given up, or closed before."""
        with self._writing() as session:
            job = session.scalars(select(Job).where(Job.key == key).with_for_update()).one_or_none()
            if job is None or job.run != run or job.state not in _OURS:
                return None
            now = self._clock()
            verdict = retries.verdict(failed, job.tries, now)
            job.done, job.failed, job.step, job.changed_at = dict(done), dict(failed), "", now
            if verdict.again_at is not None:
                job.state, job.due_at, job.run, job.tries = JobState.WAITING, verdict.again_at, run + 1, job.tries + 1
                return JobState.WAITING
            job.state = JobState.FAILED if verdict.dead else JobState.DONE
            return JobState(job.state)

    def stuck(self, for_s: float) -> list[Order]:
        """What an engine has had without a word for so long: it is to be asked about."""
        with self._read.begin() as session:
            limit = self._clock() - timedelta(seconds=for_s)
            query = select(Job).where(Job.state.in_(_OURS), Job.changed_at < limit).order_by(Job.id).limit(AT_ONCE)
            return [_order(job) for job in session.scalars(query)]

    def still_held(self, orders: Sequence[Order]) -> None:
        """They were asked about, and are at it."""
        with self._writing() as session:
            for order in orders:
                self._move(session, order.key, order.run, _OURS)

    def never_came(self, order: Order) -> None:
        """The engine does not know it (its database was put back, say): it is handed over once more."""
        with self._writing() as session:
            self._move(session, order.key, order.run, _OURS, state=JobState.WAITING)

    # ---- workers

    def beat(self, executor: str) -> None:
        with self._writing() as session:
            now = self._clock()
            session.execute(
                insert(session, JobWorker)
                .values(executor=executor, started_at=now, beat_at=now)
                .on_conflict_do_update(index_elements=["executor"], set_={"beat_at": now})
            )

    def silent(self, for_s: float) -> list[str]:
        """Workers without a heartbeat for so long."""
        with self._read.begin() as session:
            limit = self._clock() - timedelta(seconds=for_s)
            return list(session.scalars(select(JobWorker.executor).where(JobWorker.beat_at < limit)))

    def forget(self, executor: str) -> None:
        with self._writing() as session:
            session.execute(delete(JobWorker).where(JobWorker.executor == executor))

    def prune(self) -> list[str]:
        """Take out jobs that were done long ago; returns the order ids they had."""
        with self._writing() as session:
            old = (Job.state == JobState.DONE, Job.changed_at < self._clock() - _KEEP)
            gone = session.execute(select(Job.key, Job.run).where(*old)).all()
            session.execute(delete(Job).where(*old))
            return [key if number == 1 else f"{key}~{number}" for key, run in gone for number in range(1, run + 1)]

    # ---- whoever looks

    def counts(self) -> dict[JobState, int]:
        """Jobs that are not done, by state."""
        query = select(Job.state, func.count()).where(Job.state != JobState.DONE).group_by(Job.state)
        with self._read.begin() as session:
            found = {JobState(state): count for state, count in session.execute(query)}
        return {state: found.get(state, 0) for state in JobState if state is not JobState.DONE}

    def workers(self, within_s: float = 20.0) -> int:
        """How many gave a sign of life a moment ago."""
        with self._read.begin() as session:
            limit = self._clock() - timedelta(seconds=within_s)
            query = select(func.count()).select_from(JobWorker).where(JobWorker.beat_at >= limit)
            return session.scalar(query) or 0

    def listed(self, business_id: int, states: Sequence[JobState], page: int = 1) -> Page[JobRow]:
        """A business's jobs, the latest first, each with whom its call was from."""
        rules = (Job.business_id == business_id, Job.state.in_(states))
        with self._read.begin() as session:
            total = session.scalar(select(func.count()).select_from(Job).where(*rules)) or 0
            number = min(page, max(1, -(-total // PAGE)))
            rows = session.scalars(
                select(Job)
                .where(*rules)
                .order_by(Job.changed_at.desc(), Job.id.desc())
                .limit(PAGE)
                .offset((number - 1) * PAGE)
            ).all()
            return Page(_with_calls(session, business_id, rows), total, number)

    def failed_of(self, business_id: int) -> int:
        """How many dead letters a business has."""
        query = select(func.count()).where(Job.business_id == business_id, Job.state == JobState.FAILED)
        with self._read.begin() as session:
            return session.scalar(query) or 0

    # ---- inside

    def _move(self, session: Session, key: str, run: int, states: Sequence[JobState], **values: Any) -> bool:
        moved = session.execute(
            update(Job)
            .where(Job.key == key, Job.run == run, Job.state.in_(states))
            .values(changed_at=self._clock(), **values)
            .returning(Job.id)
            .execution_options(synchronize_session=False)
        )
        return moved.scalar_one_or_none() is not None


def _with_calls(session: Session, business_id: int, jobs: Sequence[Job]) -> list[JobRow]:
    sids = {str(job.payload.get("call", "")) for job in jobs} - {""}
    found = session.execute(
        select(Call.sid, Call.caller, Contact.name)
        .outerjoin(Contact, Contact.id == Call.contact_id)
        .where(Call.business_id == business_id, Call.sid.in_(sids))
    )
    calls = {sid: (name or "", caller) for sid, caller, name in found}
    rows = []
    for job in jobs:
        sid = str(job.payload.get("call", ""))
        rows.append(JobRow(job, sid, *calls[sid]) if sid in calls else JobRow(job))
    return rows


def _order(job: Job) -> Order:
    return Order(job.key, job.run, job.name, dict(job.payload), job.lane, job.partition, dict(job.done))
