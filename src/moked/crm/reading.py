"""What all looks from the desk share: transactions that only read, lists in pages, rows of one business."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql import operators

from moked.crm import search
from moked.crm.db import READ_ONLY
from moked.crm.search import Kind

Row = TypeVar("Row")

PAGE = 50


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    """`total` counts all rows that fit; `number` begins at 1."""

    rows: Sequence[Row]
    total: int
    number: int

    @property
    def last(self) -> int:
        return max(1, -(-self.total // PAGE))


class Reader:
    """Reads from `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._read = sessionmaker(engine.execution_options(**READ_ONLY), expire_on_commit=False)
        self._dialect = engine.dialect.name
        self._clock = clock

    def now(self) -> datetime:
        return self._clock()

    @contextmanager
    def _reading(self) -> Iterator[Session]:
        with self._read.begin() as session:
            yield session

    def _found(self, business_id: int, kind: Kind, text: str) -> list[ColumnElement[bool]]:
        """Rules of a search."""
        return search.rule(self._dialect, business_id, kind, text)

    def _page(self, table: type[Row], rules: Sequence[Any], order: Sequence[Any], page: int) -> Page[Row]:
        with self._reading() as session:
            query: Any = select(table).where(*rules).order_by(*order)
            if page <= 1:  # what fits on one page is counted by looking at it: a search for a rare word reads all once
                rows = session.scalars(query.limit(PAGE + 1)).all()
                total = len(rows) if len(rows) <= PAGE else count(session, table, *rules)
                return Page(rows[:PAGE], total, 1)
            total = count(session, table, *rules)
            last = max(1, -(-total // PAGE))
            number = min(page, last)
            if number <= last // 2:
                return Page(session.scalars(query.limit(PAGE).offset((number - 1) * PAGE)).all(), total, number)
            # From the end: no page is farther than half of the list.
            after = max(0, total - number * PAGE)
            wanted = min(PAGE, total - (number - 1) * PAGE)
            turned = select(table).where(*rules).order_by(*map(_turned, order)).limit(wanted).offset(after)
            return Page(session.scalars(turned).all()[::-1], total, number)


def _turned(by: Any) -> Any:
    """The other way round."""
    return by.element.asc() if getattr(by, "modifier", None) is operators.desc_op else by.desc()


def one_of(session: Session, table: type[Row], business_id: int, row_id: int) -> Row | None:
    found: Any = session.get(table, row_id)
    return found if found is not None and found.business_id == business_id else None


def count(session: Session, table: Any, *rules: Any) -> int:
    return session.scalar(select(func.count()).select_from(table).where(*rules)) or 0
