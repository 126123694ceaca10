"""The media processes on record, and the places at them; inside the caller's transaction.

    each media process, once a second   report ------------> media_node
    the webhook                         reserve: lock the nodes, count the calls at each, `places.choose`, `call.node`

A place is no counter, which could leak or be given back twice: it is the row of a call that is not over and names its
node. A call that was admitted holds it for `SLOT_TTL_S` until its stream comes, a live one as long as its process
beats. So refusing, hanging up, never coming and dying all release it, once, by what is true.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, or_, select
from sqlalchemy.orm import Session

from moked.crm.models import Call, CallState, MediaNode
from moked.crm.places import NodeReport, Refusal, choose
from moked.crm.settle import insert

NODE_LIMIT_S = 5
"""A node that has not reported for this long takes no calls. The clocks of the machines must agree to a second."""

SLOT_TTL_S = 30
"""An admitted call holds its place for this long; the carrier opens the stream within a second or two."""

_FORGOTTEN = timedelta(minutes=10)


def holding(now: datetime, heartbeat_limit_s: float) -> ColumnElement[bool]:
    """The condition on `call` of holding a place."""
    return and_(
        Call.ended_at.is_(None),
        or_(
            and_(Call.status == CallState.OPEN, Call.heartbeat_at >= now - timedelta(seconds=SLOT_TTL_S)),
            and_(Call.status == CallState.LIVE, Call.heartbeat_at >= now - timedelta(seconds=heartbeat_limit_s)),
        ),
    )


def report(session: Session, node: NodeReport, *, now: datetime) -> None:
    """Put down how this node fares now."""
    facts: dict[str, Any] = {**asdict(node), "beat_at": now}
    del facts["name"]
    session.execute(
        insert(session, MediaNode)
        .values(name=node.name, started_at=now, **facts)
        .on_conflict_do_update(index_elements=["name"], set_=facts)
    )


def reserve(
    session: Session, call: Call, *, here: NodeReport | None, now: datetime, heartbeat_limit_s: float
) -> NodeReport | Refusal:
    """A place for `call` at the least loaded node, put down in `call.node`.

    `here`: how this very process fares, if it takes calls itself; fresher than its last report, and put down too. Two
    admissions wait for each other at the nodes' rows: all of them, silent ones too, in the order of their names, so
    that they never wait in a circle.
    """
    session.execute(select(MediaNode.name).order_by(MediaNode.name).with_for_update(key_share=True))
    if here is not None:
        report(session, here, now=now)
    nodes = {node.name: node for node in live(session, now=now)}
    kept = nodes.get(call.node)
    if kept is not None and not kept.draining and session.scalar(select(_has_place(call, now, heartbeat_limit_s))):
        return kept  # the carrier asks again
    chosen = choose(nodes.values(), _taken(session, call, nodes, now, heartbeat_limit_s))
    if isinstance(chosen, NodeReport):
        call.node = chosen.name
    return chosen


def live(session: Session, *, now: datetime) -> list[NodeReport]:
    """The nodes that report, by name."""
    rows = select(MediaNode).where(MediaNode.beat_at >= now - timedelta(seconds=NODE_LIMIT_S)).order_by(MediaNode.name)
    return [_plain(row) for row in session.scalars(rows.execution_options(populate_existing=True))]


def forget(session: Session, name: str) -> None:
    """The node ends."""
    session.execute(delete(MediaNode).where(MediaNode.name == name).execution_options(synchronize_session=False))


def prune(session: Session, *, now: datetime) -> None:
    """Forget nodes that died long ago."""
    session.execute(
        delete(MediaNode).where(MediaNode.beat_at < now - _FORGOTTEN).execution_options(synchronize_session=False)
    )


def _has_place(call: Call, now: datetime, heartbeat_limit_s: float) -> ColumnElement[bool]:
    return select(Call.id).where(Call.id == call.id, holding(now, heartbeat_limit_s)).exists()


def _taken(
    session: Session, call: Call, names: Collection[str], now: datetime, heartbeat_limit_s: float
) -> dict[str, int]:
    counted = session.execute(
        select(Call.node, func.count())
        .where(holding(now, heartbeat_limit_s), Call.id != call.id, Call.node.in_(names))
        .group_by(Call.node)
    )
    return {name: count for name, count in counted}  # noqa: C416  (rows, not pairs, to the type checker)


def _plain(row: MediaNode) -> NodeReport:
    return NodeReport(row.name, row.address, row.capacity, row.active, row.lag_ms, row.accepting, row.draining)
