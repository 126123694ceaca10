"""Drafts that people try out at the desk: one a person, a new one takes the place of the old. No effects, no audit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete

from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.tables_pages import AgentRehearsal
from moked.dialog import Speaker
from moked.dialog.published import Part
from moked.dialog.tryout import Line, Tryout


@dataclass(frozen=True, slots=True)
class Draft:
    """`text` of `part`, written over version `base`."""

    part: Part
    text: str
    base: int


class Rehearsals(Records):
    """`clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def find(self, by: Actor) -> tuple[Draft, Tryout] | None:
        """This person's own, of the business they are in."""
        with self._read.begin() as session:
            row = session.get(AgentRehearsal, by.user_id)
            if row is None or row.business_id != by.business_id:
                return None
            lines = tuple(
                Line(Speaker(line["speaker"]), line["text"], tuple(line["tools"]), line["then"]) for line in row.lines
            )
            kept: dict[str, Any] = row.kept
            return Draft(Part(row.part), row.draft, row.base), Tryout(kept.get("agent"), lines, kept.get("lead", {}))

    def keep(self, by: Actor, draft: Draft, talk: Tryout) -> None:
        lines = [
            {"speaker": line.speaker.value, "text": line.text, "tools": list(line.tools), "then": line.then}
            for line in talk.lines
        ]
        with self._writing() as session:
            session.merge(
                AgentRehearsal(
                    user_id=by.user_id,
                    business_id=by.business_id,
                    at=self._clock(),
                    base=draft.base,
                    part=draft.part.value,
                    draft=draft.text,
                    kept={"agent": talk.kept, "lead": dict(talk.lead)},
                    lines=lines,
                )
            )

    def forget(self, by: Actor) -> None:
        with self._writing() as session:
            session.execute(delete(AgentRehearsal).where(AgentRehearsal.user_id == by.user_id))
