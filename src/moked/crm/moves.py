"""A call between two media processes: its snapshot, whose word counts, and how often it may move. Inside the caller's
transaction, `call` locked.

    save (stream n) ... the stream ends ... ask -> ticket (n + 1) | wait | no more ... taken_over, save (n + 1)

A stream that was replaced may live on for a moment and write: everything of an older stream is refused here, so that
two processes never tell two stories of one call.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import people
from moked.crm.models import Call, CallEvent, CallSnapshot, Turn
from moked.crm.settle import handover
from moked.records import HANDOVER, Handover, LeftCall, SnapshotSave

DIED: Final = "died"
"""Why a stream ended whose process had no time to say."""

RESUMED: Final = "resumed"
"""Kind of the `call_event` of a move that was allowed."""

MAX_MOVES: Final = 5
HASTY_MOVES: Final = 2
"""So many within `HASTY_S` without a turn in between; one more is a loop."""
HASTY_S: Final = 10.0

WAIT_S: Final = 20.0
"""A caller waits in silence at most this long for a process that serves: a media process starts in less."""

GRACE_S: Final = 30.0
"""A call that was left and that nobody has asked to go on with is over after this."""
HOLD_S: Final = 120.0
"""... and after this, where the caller waits for a person."""


@dataclass(frozen=True, slots=True)
class Move:
    """An earlier move: when, and how many turns the call had had."""

    at: datetime
    turns: int


def too_often(past: Sequence[Move], turns: int, now: datetime) -> bool:
    """Whether one more move would be a loop."""
    hasty = [move for move in past if move.turns == turns and now - move.at < timedelta(seconds=HASTY_S)]
    return len(past) >= MAX_MOVES or len(hasty) >= HASTY_MOVES


@dataclass(frozen=True, slots=True)
class Asked:
    """May the call go on? `stream` is the one to open; `wait` that nobody serves just now; else `refusal` says why."""

    stream: int = 0
    wait: bool = False
    refusal: str = ""


def save(session: Session, snapshots: Iterable[SnapshotSave], *, now: datetime) -> None:
    """Keep them, except where a newer stream has the call or the call has ended."""
    newest = {one.call_sid: one for one in snapshots}
    calls = session.execute(
        select(Call.sid, Call.id, Call.business_id).where(Call.sid.in_(sorted(newest)), Call.ended_at.is_(None))
    ).all()
    rows = [
        {
            "call_id": call_id,
            "business_id": business_id,
            "stream": newest[sid].stream,
            "data": newest[sid].data,
            "saved_at": now,
            "left_at": now if newest[sid].left else None,
            "left_why": newest[sid].left,
        }
        for sid, call_id, business_id in sorted(calls, key=lambda row: row[1])  # in one order: nobody waits in a circle
    ]
    if rows:
        connection = session.connection()
        columns = ("stream", "data", "saved_at", "left_at", "left_why")
        connection.execute(people.storing(connection.dialect.name, CallSnapshot, ("call_id",), columns, "stream"), rows)


def ask(session: Session, call: Call, *, serves: bool, may_wait: bool, now: datetime) -> Asked:
    """The carrier asks how a call goes on whose stream has ended. Notes when it first asked, and a move it allows."""
    row = session.get(CallSnapshot, call.id, populate_existing=True)
    if row is None:
        row = CallSnapshot(call_id=call.id, business_id=call.business_id, stream=0, data=b"", saved_at=now, left_why="")
        session.add(row)
    if row.left_at is None:
        row.left_at, row.left_why = now, DIED
    call.heartbeat_at = now
    if not serves:
        if may_wait and now - row.left_at < timedelta(seconds=WAIT_S):
            return Asked(wait=True)
        return Asked(refusal="nobody_serves")
    turns = session.scalar(select(func.count()).where(Turn.call_id == call.id)) or 0
    past = session.execute(
        select(CallEvent.at, CallEvent.data).where(CallEvent.call_id == call.id, CallEvent.kind == RESUMED)
    )
    if too_often([Move(at, data.get("turns", 0)) for at, data in past], turns, now):
        return Asked(refusal="too_many_moves")
    stream = row.stream + 1
    data = {"stream": stream, "turns": turns, "why": row.left_why}
    session.add(CallEvent(business_id=call.business_id, call_id=call.id, kind=RESUMED, key=None, at=now, data=data))
    return Asked(stream=stream)


def taken_over(session: Session, call_sid: str, stream: int) -> None:
    """`stream` has the call from now on; what older ones still write is refused."""
    session.execute(
        update(CallSnapshot)
        .where(
            CallSnapshot.call_id.in_(select(Call.id).where(Call.sid == call_sid)),
            CallSnapshot.stream < stream,
        )
        .values(stream=stream)
        .execution_options(synchronize_session=False)
    )


def left(session: Session, call_sid: str, *, now: datetime) -> LeftCall | None:
    """The call as its last stream left it; None where there is nothing to go on from."""
    row = session.scalars(select(CallSnapshot).join(Call).where(Call.sid == call_sid)).one_or_none()
    if row is None or not row.data:
        return None
    gap = now - (row.left_at or row.saved_at)
    became = handover(session, row.call_id) if row.left_why == HANDOVER else None
    data = became.data if became is not None else {}
    return LeftCall(
        row.data,
        row.left_why or DIED,
        max(0, int(gap / timedelta(milliseconds=1))),
        Handover(data["how"]) if data else None,
        recording=data.get("url", ""),
        told=data.get("told", ""),
    )


def waits_for_a_person(session: Session, call: Call, now: datetime) -> bool:
    """The caller is on hold, and not for too long."""
    row = state(session, call)
    if row is None or row.left_at is None:
        return False
    return row.left_why == HANDOVER and now - row.left_at < timedelta(seconds=HOLD_S)


def state(session: Session, call: Call) -> CallSnapshot | None:
    return session.get(CallSnapshot, call.id, populate_existing=True)


def abandoned(session: Session, *, now: datetime) -> list[str]:
    """SIDs of calls that were left and that nobody has gone on with in time."""
    limit = now - timedelta(seconds=GRACE_S)
    return list(
        session.scalars(
            select(Call.sid)
            .join(CallSnapshot)
            .where(Call.ended_at.is_(None), CallSnapshot.left_at < limit, Call.heartbeat_at < limit)
            .order_by(CallSnapshot.left_at)
        )
    )


def forget(session: Session, call: Call) -> None:
    """The call has ended: what was kept of it to go on with is nobody's any more."""
    session.execute(
        delete(CallSnapshot).where(CallSnapshot.call_id == call.id).execution_options(synchronize_session=False)
    )
