"""The jobs plane: what is done after calls and beside them, without being lost when a process dies.

    domain code registers `Work`: named steps, each run at least once, and its effect once by a key of its own
    whoever has work to do calls a `Jobs`: `crm.job_store.JobStore`, in any process; in a transaction, `crm.outbox.put`
    an engine (`engine`, the only file that knows DBOS) runs the steps, and remembers which are over

Plain values and protocols; nothing here does anything.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

Payload = Mapping[str, Any]
"""JSON. It names what is to be done (a call's SID, say) and holds no names, numbers or words of people."""


@dataclass(frozen=True, slots=True)
class Patience:
    """Tries of a step within one run, and the seconds between them: `first_s`, then `factor` times longer each."""

    tries: int = 3
    first_s: float = 0.5
    factor: float = 2.0


@dataclass(frozen=True, slots=True)
class Step:
    """`run(payload)` in a thread, as often as it takes: twice when the process dies after its effect and before that is
    on record. So its effect must have a key. It returns JSON without personal data, or None.

    Raises `ProviderError` where an outside service fails: AUTH and CONFIG wait for a person, the other kinds for time.
    Whatever else it raises is our bug. Later steps run all the same: they depend on records, not on each other.
    """

    name: str
    run: Callable[[Payload], Any]
    patience: Patience = Patience()


@dataclass(frozen=True, slots=True)
class Work:
    """`steps` are done in their order. A run that was begun keeps the list it was begun with."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Lane:
    """A queue of an engine, looked at every `poll_s`. `at_once`: jobs of it in one process.

    `a_partition`: (jobs, seconds) that one partition may start, such as the messages of one sender's number; every job
    of such a lane names its partition.
    """

    name: str
    at_once: int
    a_partition: tuple[int, float] | None = None
    poll_s: float = 0.5


class Jobs(Protocol):
    """What domain code asks for work. `key` makes a repeated order one."""

    def enqueue(
        self,
        name: str,
        payload: Payload,
        *,
        key: str,
        lane: str = ...,
        delay: timedelta = ...,
        partition: str = "",
        business_id: int | None = None,
    ) -> bool: ...

    def status(self, key: str) -> object: ...

    def retry(self, key: str) -> bool: ...
