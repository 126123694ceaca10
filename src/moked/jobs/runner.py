"""What a worker does all day: hands due jobs to the engine, says that it lives, and takes over from those that do not.

    every RELAY_S   outbox -> engine: enqueue with the order's id, then note that it was; one alone while calls press,
                    and never more than one that was refused
    every BEAT_S    heartbeat; workers silent for SILENT_S are dead: what they had begun is taken up here
    every LOOK_S    jobs the engine has had for STUCK_S without a word are asked about; figures for the metrics

All of it may be done by any number of workers at once. What fails is tried at the next round.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import anyio
from anyio import to_thread

from moked import metrics
from moked.crm.job_store import AT_ONCE, JobStore, Order
from moked.jobs.engine import ALIVE

log = logging.getLogger(__name__)

RELAY_S: Final = 0.5
BEAT_S: Final = 5.0
SILENT_S: Final = 20.0
LOOK_S: Final = 15.0
STUCK_S: Final = 60.0


class Engine(Protocol):
    """The part of `engine.Engine` that is needed here."""

    executor: str

    def take(self, order: Order) -> None: ...

    def fate(self, order: Order) -> str | None: ...

    def take_over(self, executor: str) -> None: ...

    def forget(self, order_ids: Sequence[str]) -> None: ...


@dataclass(slots=True)
class Runner:
    """The rounds of one worker. Each method waits for the database: never on an event loop.

    `spare`: nothing more urgent needs this process. Jobs compute, and the calls of the same process wait meanwhile.
    """

    store: JobStore
    engine: Engine
    spare: Callable[[], bool] = lambda: True
    relay_s: float = RELAY_S
    silent_s: float = SILENT_S

    def relay(self) -> int:
        """How many jobs were handed over. Killed in the middle, the next round hands them over again, to no effect."""
        due = self.store.due(AT_ONCE if self.spare() else 1)
        for order in due:
            self.engine.take(order)
        self.store.handed(due)
        return len(due)

    def beat(self) -> None:
        self.store.beat(self.engine.executor)
        for executor in self.store.silent(self.silent_s):
            log.warning("a silent worker's jobs are taken over", extra={"executor": executor})
            self.engine.take_over(executor)
            self.store.forget(executor)  # last: who dies before it is followed by the next one who looks

    def look(self, stuck_s: float = STUCK_S) -> None:
        stuck = self.store.stuck(stuck_s)
        alive = []
        for order in stuck:
            match self.engine.fate(order):
                case None:
                    self.store.never_came(order)
                case fate if fate == ALIVE:
                    alive.append(order)
                case code:
                    log.error("a job ended without a word", extra={"job": order.key, "why": code})
                    self.store.closed(order.key, order.run, order.done, {"": code})
        self.store.still_held(alive)
        for state, count in self.store.counts().items():
            metrics.jobs_open.labels(state.value).set(count)

    def clean(self) -> None:
        """Once a day: what was done long ago, in our tables and the engine's."""
        self.engine.forget(self.store.prune())

    async def run(self) -> None:
        """For ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_rounds, "jobs could not be handed over", self.relay, self.relay_s)
            tasks.start_soon(_rounds, "workers could not be looked at", self.beat, BEAT_S)
            tasks.start_soon(_rounds, "jobs could not be looked at", self.look, LOOK_S)


async def _rounds(complaint: str, work: Callable[[], object], every_s: float) -> None:
    """`work` in a thread, again and again. A database that is away is tried again at the next round, and said once."""
    failing = False
    while True:
        began = time.monotonic()
        try:
            await to_thread.run_sync(work, abandon_on_cancel=True)
            failing = False
        except Exception as error:  # the next round may do
            if not failing:
                log.warning(complaint, extra={"error": type(error).__name__})
            failing = True
        await anyio.sleep(max(every_s / 10, every_s - (time.monotonic() - began)))
