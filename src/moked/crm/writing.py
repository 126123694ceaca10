"""What all changes from the desk share: one transaction of one business, and what people type made fit to be kept."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from moked.crm import events, lead_values, search
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import Base, Lead
from moked.crm.versions import check

assert search, "whoever writes leads and contacts keeps the index of words"
assert lead_values, "and the values of leads"

LONGEST_TEXT = 4000
LONGEST_LINE = 200

_TURNED = re.compile("[\u202a-\u202e\u2066-\u2069]")

Row = TypeVar("Row", bound=Base)


class Unreadable(ValueError):
    """What was typed cannot be used. `str` is the field: 'phone', 'due', 'note', 'owner', 'name' and so on."""


class Writer(Records):
    """Writes to `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock
        events.watch(self._write, clock)

    @contextmanager
    def _lead(self, by: Actor, lead_id: int) -> Iterator[tuple[Session, Lead]]:
        """A transaction that holds the lead, so that a call that ends at this moment waits, and then respects it."""
        with self._writing() as session:
            yield session, held(session, Lead, by, lead_id)


def held(session: Session, table: type[Row], by: Actor, row_id: int) -> Row:
    """A row of the actor's business, locked; raises `LookupError`, and `Stale` where they have seen another version."""
    columns: Any = table
    found = session.scalars(
        select(table)
        .where(columns.id == row_id, columns.business_id == by.business_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()
    if found is None:
        raise LookupError(f"no {columns.__tablename__} {row_id}")
    check(by.expects, found)
    return found


def clean(text: str, *, many_lines: bool = False, longest: int = LONGEST_LINE) -> str:
    """Without control characters and marks that turn the direction of what follows."""
    kept = "".join(c for c in text if c.isprintable() or c == "\n")
    if many_lines:
        return "\n".join(line.rstrip() for line in kept.replace("\r", "").strip().split("\n"))[:LONGEST_TEXT]
    return " ".join(kept.split())[:longest]


def named(text: str, *, longest: int = LONGEST_LINE) -> str:
    """A name as it is kept. One that turns the direction of what stands beside it is refused ('bidi')."""
    if _TURNED.search(text):
        raise Unreadable("bidi")
    return clean(text, longest=longest)


def moment(text: str, zone: str) -> datetime | None:
    """As a browser sends it ('2026-11-29T10:00'), in the business's own time, or with its own offset."""
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=ZoneInfo(zone))).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
