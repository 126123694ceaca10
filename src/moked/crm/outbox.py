"""The outbox: work that is written down in the very transaction that makes it due, so that neither is without
the other.

`job_store` has what becomes of it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import update
from sqlalchemy.orm import Session

from moked.crm.settle import insert
from moked.crm.tables_jobs import Job, JobState

AFTER_CALL: Final = "after_call"
READ_AGAIN: Final = "read_again"
"""The job of a call whose transcript has been written anew."""
CALLS: Final = "calls"
"""The lane of what follows a call at once."""
LATER: Final = "later"
"""The lane of what may take its time."""
REFUSED: Final = "refused"
"""The lane of callers nobody had a line for. They come in crowds, just when the calls in progress need the machine."""


def call_key(call_sid: str) -> str:
    """The key of the work after a call."""
    return f"call:{call_sid}"


def reading_key(call_sid: str) -> str:
    """The key of reading a call whose transcript has been written anew."""
    return f"read:{call_sid}"


def put(
    session: Session,
    name: str,
    payload: Mapping[str, Any],
    *,
    key: str,
    business_id: int | None,
    now: datetime,
    lane: str = CALLS,
    partition: str = "",
    delay: timedelta = timedelta(0),
) -> bool:
    """Write a job down in the caller's transaction. False: there is one with this key already."""
    row = session.execute(
        insert(session, Job)
        .values(
            business_id=business_id,
            name=name,
            key=key,
            payload=dict(payload),
            lane=lane,
            partition=partition,
            state=JobState.WAITING,
            run=1,
            tries=1,
            step="",
            done={},
            failed={},
            created_at=now,
            due_at=now + delay,
            changed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["key"])
        .returning(Job.id)
    )
    return row.scalar_one_or_none() is not None


def put_again(session: Session, key: str, now: datetime) -> None:
    """Done once more from the beginning: what it was about has changed. A run that is on its way is given up."""
    session.execute(
        update(Job)
        .where(Job.key == key)
        .values(
            state=JobState.WAITING, run=Job.run + 1, tries=1, step="", done={}, failed={}, due_at=now, changed_at=now
        )
        .execution_options(synchronize_session=False)
    )


def hurry(session: Session, key: str, now: datetime) -> None:
    """What it waited for has come: it is due now."""
    session.execute(
        update(Job)
        .where(Job.key == key, Job.state == JobState.WAITING, Job.due_at > now)
        .values(due_at=now, changed_at=now)
        .execution_options(synchronize_session=False)
    )
