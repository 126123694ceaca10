"""Which version of a row somebody has seen, so that two who edit at once do not undo one another.

A version is a digest of all that is stored in the row: nothing to keep, and whatever changes the row changes it.
"""

import hashlib

import msgspec
from sqlalchemy import inspect

from moked.crm.models import Base


class Stale(Exception):
    """The row has changed since whoever asks has seen it."""


def version(row: Base) -> str:
    """Of a row as it was read from the database."""
    values = {column.key: getattr(row, column.key) for column in inspect(type(row)).column_attrs}
    return hashlib.sha256(msgspec.json.encode(values, order="deterministic")).hexdigest()[:20]


def check(expected: str, row: Base) -> None:
    """Raises `Stale`; '' expects nothing. Ask inside the transaction that holds the row."""
    if expected and expected != version(row):
        raise Stale
