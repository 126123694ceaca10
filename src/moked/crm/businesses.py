"""The businesses of an installation, and the numbers they are called at. Every public method is one transaction.

Which business a call belongs to is decided once, by the number that was called, when the call comes in. A number nobody
was given is the first business's: an installation with one needs no list. All else follows from the row of the call.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, select

from moked.crm.db import Records
from moked.crm.models import Business
from moked.crm.phone import to_e164
from moked.crm.tables_api import BusinessNumber

FIRST = "default"
"""Key of the business that the settings describe."""
_KEY = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Refused(ValueError):
    """A business cannot be like that; the message says why."""


@dataclass(frozen=True, slots=True)
class Known:
    id: int
    key: str
    name: str
    numbers: tuple[str, ...]


class Businesses(Records):
    """All of `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def all(self) -> Sequence[Known]:
        """The first one first."""
        with self._read.begin() as session:
            numbers: dict[int, list[str]] = {}
            for row in session.scalars(select(BusinessNumber).order_by(BusinessNumber.number)):
                numbers.setdefault(row.business_id, []).append(row.number)
            rows = session.scalars(select(Business).order_by(Business.key != FIRST, Business.id)).all()
            return [Known(row.id, row.key, row.name, tuple(numbers.get(row.id, ()))) for row in rows]

    def of_number(self, called: str) -> int | None:
        """Whose number it is; None where nobody was given it."""
        number = to_e164(called)
        if not number:
            return None
        with self._read.begin() as session:
            return session.scalar(select(BusinessNumber.business_id).where(BusinessNumber.number == number))

    def give(self, number: str, key: str) -> str:
        """This number is that business's from the next call on. Returns it as it is stored. Raises `Refused`."""
        e164 = to_e164(number)
        if not e164 or not e164.startswith("+"):
            raise Refused(f"{number!r} is not a telephone number such as +97231234567")
        with self._writing() as session:
            business = session.scalars(select(Business).where(Business.key == key)).one_or_none()
            if business is None:
                raise Refused(f"there is no business {key!r}")
            row = session.get(BusinessNumber, e164, with_for_update=True)
            if row is None:
                session.add(BusinessNumber(number=e164, business_id=business.id, created_at=self._clock()))
            elif row.business_id != business.id:
                raise Refused(f"{e164} belongs to another business; take it from there first")
        return e164

    def take(self, number: str) -> bool:
        """Nobody's from now on; False where it was nobody's before."""
        with self._writing() as session:
            gone = session.execute(delete(BusinessNumber).where(BusinessNumber.number == (to_e164(number) or number)))
            return bool(gone.rowcount)  # type: ignore[attr-defined]


def check_key(key: str) -> str:
    """The stable name of another business. Raises `Refused`."""
    if not _KEY.fullmatch(key) or key == FIRST:
        raise Refused(f"{key!r}: a key is small letters, digits and hyphens, such as haifa-clinic, and not {FIRST!r}")
    return key
