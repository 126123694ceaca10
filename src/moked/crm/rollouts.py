"""How calls are heard, in the database: what holds now, its history, and what shadow recognitions found.

Every public method is one transaction and may run in many threads; never on an event loop. A change is a function of
the policy, applied under the row's lock, so that two people who change at once do not undo one another.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session, sessionmaker

from moked.crm.businesses import FIRST
from moked.crm.db import READ_ONLY
from moked.crm.models import Business, Call, RolloutChange, RolloutState, ShadowCall, Turn
from moked.crm.privacy import words_kept
from moked.crm.privacy_rules import RefusedWords
from moked.crm.settle import insert
from moked.rollout import compare
from moked.rollout.guard import percentile
from moked.rollout.policy import Policy, as_json, from_json


@dataclass(frozen=True, slots=True)
class Stored:
    """`version` 0: nothing was ever set at run time."""

    version: int = 0
    policy: Policy = field(default_factory=Policy)


class Rollouts:
    """Of one business. `clock` gives aware UTC."""

    def __init__(
        self,
        engine: Engine,
        business_id: int | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._read = sessionmaker(engine.execution_options(**READ_ONLY))
        self._write = sessionmaker(engine, expire_on_commit=False)
        self._business_id = business_id
        self._clock = clock

    def now(self) -> int:
        """Unix time in seconds, as the policy wants it."""
        return int(self._clock().timestamp())

    def load(self) -> Stored:
        """What holds: one row by its key, asked for every second. Raises `ValueError` where it is not a policy."""
        with self._read.begin() as session:
            found = session.execute(
                select(RolloutState.version, RolloutState.policy).where(RolloutState.business_id == self._business())
            ).one_or_none()
        return Stored(found.version, from_json(found.policy)) if found is not None else Stored()

    def change(
        self,
        make: Callable[[Policy], Policy],
        *,
        by: str,
        what: str,
        why: str = "",
        figures: Mapping[str, Any] | None = None,
    ) -> Stored:
        """Apply `make` to what holds now and put it on record. A change to the same policy changes nothing.

        Raises what `make` raises, and `LookupError` before the first start has made the business.
        """
        now = self._clock()
        with self._write.begin() as session:
            # The business's row is the lock: the state's own may not be there yet.
            business = session.scalars(
                select(Business.id).where(Business.id == self._business()).with_for_update(key_share=True)
            ).one_or_none()
            if business is None:
                raise LookupError("this database has no business yet: start Moked once")
            state = session.get(RolloutState, business)
            held = from_json(state.policy) if state is not None else Policy()
            policy = make(held)
            if policy == held and state is not None:
                return Stored(state.version, held)
            version = self._next_version(session, business)
            session.add(
                RolloutChange(
                    business_id=business,
                    version=version,
                    at=now,
                    by=by,
                    what=what,
                    why=why,
                    figures=dict(figures or {}),
                    policy=as_json(policy),
                )
            )
            if state is None:
                state = RolloutState(business_id=business)
                session.add(state)
            state.version, state.policy, state.changed_at = version, as_json(policy), now
        return Stored(version, policy)

    def note(self, *, by: str, what: str, why: str, figures: Mapping[str, Any]) -> None:
        """Put into the history what was looked at and not changed."""
        now = self._clock()
        with self._write.begin() as session:
            business = session.scalars(
                select(Business.id).where(Business.id == self._business()).with_for_update(key_share=True)
            ).one()
            state = session.get(RolloutState, business)
            held = state.policy if state is not None else as_json(Policy())
            session.add(
                RolloutChange(
                    business_id=business,
                    version=self._next_version(session, business),
                    at=now,
                    by=by,
                    what=what,
                    why=why,
                    figures=dict(figures),
                    policy=held,
                )
            )

    def history(self, limit: int = 50) -> list[dict[str, Any]]:
        """The last changes, newest first, JSON-ready."""
        with self._read.begin() as session:
            rows = session.scalars(
                select(RolloutChange)
                .where(RolloutChange.business_id == self._business())
                .order_by(RolloutChange.version.desc())
                .limit(limit)
            )
            return [
                {
                    "version": row.version,
                    "at": row.at.isoformat(),
                    "by": row.by,
                    "what": row.what,
                    "why": row.why,
                    "figures": row.figures,
                }
                for row in rows
            ]

    # --- what was measured

    def add_shadow(self, call_sid: str, result: Mapping[str, Any]) -> bool:
        """Store what a shadow found about a call; False where the call is not on record (erased, say)."""
        numbers = {name: value for name, value in result.items() if name != "examples"}
        with self._write.begin() as session:
            call = session.execute(select(Call.id, Call.business_id).where(Call.sid == call_sid)).one_or_none()
            if call is None:
                return False
            kept = words_kept(session, call.id)  # who refused leaves numbers, no words
            examples = list(result["examples"]) if kept in (None, RefusedWords.TRANSCRIPT) else []
            values = {"at": self._clock(), "result": numbers, "examples": examples}
            session.execute(
                insert(session, ShadowCall)
                .values(call_id=call.id, business_id=call.business_id, **values)
                .on_conflict_do_update(index_elements=["call_id"], set_=values)
            )
            return True

    def report(self, since_s: int, *, examples: bool = False) -> dict[str, Any]:
        """What live calls were like with each engine, and both modes side by side where a shadow ran."""
        since = self._clock() - timedelta(seconds=since_s)
        with self._read.begin() as session:
            shadows = session.execute(
                select(ShadowCall.result, ShadowCall.examples, Call.sid)
                .join(Call, Call.id == ShadowCall.call_id)
                .where(ShadowCall.business_id == self._business(), ShadowCall.at >= since)
                .order_by(ShadowCall.at)
            )
            measured = [{**row.result, "examples": row.examples, "call_sid": row.sid} for row in shadows]
            live = self._live(session, since)
        return {"since_s": since_s, "live": live, "shadow": compare.aggregate(measured, examples=examples)}

    def _live(self, session: Session, since: datetime) -> dict[str, Any]:
        rows = session.execute(
            select(Turn.engine, Turn.call_id, Turn.sent_ms, Turn.speech_end_ms).where(
                Turn.business_id == self._business(),
                Turn.created_at >= since,
                Turn.engine != "",
                Turn.sent_ms.is_not(None),
                Turn.speech_end_ms.is_not(None),
            )
        ).all()
        engines: dict[str, list[Any]] = {}
        for row in rows:
            engines.setdefault(row.engine, []).append(row)
        return {
            name: {
                "calls": len({row.call_id for row in found}),
                "turns": len(found),
                "response_p50_ms": percentile((row.sent_ms - row.speech_end_ms for row in found), 50),
                "response_p95_ms": percentile((row.sent_ms - row.speech_end_ms for row in found), 95),
            }
            for name, found in sorted(engines.items())
        }

    @staticmethod
    def _next_version(session: Session, business: int) -> int:
        last = session.scalar(select(func.max(RolloutChange.version)).where(RolloutChange.business_id == business))
        return (last or 0) + 1

    def _business(self) -> Any:
        if self._business_id is not None:
            return self._business_id
        return select(Business.id).where(Business.key == FIRST).scalar_subquery()
