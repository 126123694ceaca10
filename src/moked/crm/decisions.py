"""Every decision that a turn was over, row by row, for tuning: what was known, what was decided, what came of it.

Without the caller's words unless they are asked for. A turn that had been reopened has a row for each time.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, select
from sqlalchemy.orm import sessionmaker

from moked.crm.db import READ_ONLY
from moked.crm.models import Call, Turn
from moked.records import CUT_OFF_MS

COLUMNS: Final = (
    "call", "turn", "at", "reason", "ending", "hold_ms", "silence_ms", "pace_ms", "asked", "begun", "early",
    "reopened", "final", "engine", "outcome", "after_ms", "cut_off", "response_ms",
)  # fmt: skip
TEXTS: Final = ("caller_text", "heard")
_AT_A_TIME: Final = 500


class Decisions:
    """`clock` gives aware UTC. Synchronous: never on an event loop."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = sessionmaker(engine.execution_options(**READ_ONLY))
        self._clock = clock

    def rows(self, since_s: int | None = None, *, with_text: bool = False) -> Iterator[dict[str, Any]]:
        """Oldest first, of the last `since_s` seconds; JSON-ready, with the keys of `COLUMNS` (and `TEXTS`)."""
        wanted = (
            select(Call.sid, Call.started_at, Turn)
            .join(Call, Turn.call_id == Call.id)
            .where(Turn.decision.is_not(None))
            .order_by(Turn.id)
        )
        if since_s is not None:
            wanted = wanted.where(Turn.created_at >= self._clock() - timedelta(seconds=since_s))
        with self._read.begin() as session:
            for sid, started, turn in session.execute(wanted.execution_options(yield_per=_AT_A_TIME)):
                assert turn.decision is not None
                for decision in (*turn.decision.get("before", ()), turn.decision):
                    yield _row(sid, started, turn, decision, with_text=with_text)


def _row(sid: str, started: datetime, turn: Turn, decision: dict[str, Any], *, with_text: bool) -> dict[str, Any]:
    last = decision is turn.decision
    answered = last and turn.sent_ms is not None and turn.speech_end_ms is not None
    known = {
        **decision,
        "call": sid,
        "turn": turn.number,
        "at": (started + timedelta(milliseconds=turn.started_ms)).isoformat(timespec="milliseconds"),
        "engine": turn.engine,
        "cut_off": decision.get("outcome") == "cut_in" and (decision.get("after_ms") or 0) < CUT_OFF_MS,
        "response_ms": turn.sent_ms - turn.speech_end_ms if answered else None,  # type: ignore[operator]
        "caller_text": turn.caller_text,
        "heard": turn.heard if last else "",
    }
    return {name: known.get(name) for name in (*COLUMNS, *(TEXTS if with_text else ()))}
