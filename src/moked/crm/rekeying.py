"""A new DATA_KEY: everything that is sealed with an older one is sealed anew. Every batch is one transaction.

    recording.key                each recording's own key; its audio, wherever it lies, is not touched
    user_account.totp_sealed     second factors
    webhook_endpoint             secrets of webhooks
    whatsapp_auth                the linked device's keys
    'sealed:...' in JSON         identity numbers in leads, drafts, and what was made of them

What is under the current key already is left alone, so whoever is killed begins anew and finds the rest. Rows are
locked while they change: whatever runs beside it waits, and loses nothing. What no key opens stays as it is, and is
counted.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine, Text, cast, select, update
from sqlalchemy.orm import InstrumentedAttribute

from moked.crm import access, hiding, hooks, recordings, whatsapp_store
from moked.crm.db import Records
from moked.crm.lead_fields import SEALED
from moked.crm.models import Base, Business, Json, UserAccount
from moked.crm.sealed import Sealer
from moked.crm.tables_api import WebhookEndpoint
from moked.crm.tables_privacy import Recording
from moked.crm.tables_whatsapp import WhatsAppAuth
from moked.errors import SealError

_BATCH: Final = 200
FIELDS: Final = "sealed fields"


@dataclass(slots=True)
class Count:
    """`renewed`: were, or in a dry run are, under an older key. `lost`: no key that we have opens them."""

    total: int = 0
    renewed: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class _Place:
    """A column of sealed bytes, and what they are sealed for, by their row."""

    name: str
    column: InstrumentedAttribute[Any]
    context: Callable[[Any], str]


PLACES: Final = (
    _Place("recordings", Recording.key, lambda row: recordings.sealed_for(row.token)),
    _Place("second factors", UserAccount.totp_sealed, lambda row: access.sealed_for(row.id)),
    _Place("webhook secrets", WebhookEndpoint.secret, hooks.place),
    _Place("former webhook secrets", WebhookEndpoint.old_secret, hooks.place),
    _Place(
        "WhatsApp keys",
        WhatsAppAuth.value,
        lambda row: whatsapp_store.sealed_for(row.business_id, row.category, row.key_id),
    ),
)


class Rekeying(Records):
    """On `engine`; `sealer` has the new key, and the older ones to open with."""

    def __init__(self, engine: Engine, sealer: Sealer) -> None:
        super().__init__(engine)
        self._sealer = sealer

    def run(self, *, dry: bool = False, batch: int = _BATCH) -> dict[str, Count]:
        """By what it is; `dry` changes nothing. Waits for the database: not on an event loop."""
        done = {place.name: self._place(place, dry, batch) for place in PLACES}
        done[FIELDS] = self._fields(dry, batch)
        return done

    def _place(self, place: _Place, dry: bool, batch: int) -> Count:
        count = Count()

        def new(row: Any) -> bytes | None:
            sealed = getattr(row, place.column.key)
            return None if sealed is None else self._renewed(sealed, [place.context(row)], count)

        self._change(place.column, place.column.is_not(None), new, dry, batch)
        return count

    def _fields(self, dry: bool, batch: int) -> Count:
        """In whatever row's JSON they are: a lead has them, and events and drafts that were made of it."""
        count = Count()
        with self._read.begin() as session:
            everyone = list(session.scalars(select(Business.id)))
        for mapper in Base.registry.mappers:
            for name, column in mapper.columns.items():
                if isinstance(column.type, Json):
                    attribute = getattr(mapper.class_, name)
                    has = cast(attribute, Text).contains(f'"{SEALED}', autoescape=True)
                    self._change(attribute, has, partial(self._in_json, name, everyone, count), dry, batch)
        return count

    def _in_json(self, name: str, everyone: Sequence[int], count: Count, row: Any) -> Any:
        owner = getattr(row, "business_id", None)
        contexts = [hiding.sealed_for(one) for one in (everyone if owner is None else (owner,))]
        old = getattr(row, name)
        new = self._walked(old, contexts, count)
        return None if new == old else new

    def _walked(self, value: Any, contexts: Sequence[str], count: Count) -> Any:
        match value:
            case str() if value.startswith(SEALED):
                try:
                    sealed = base64.b64decode(value.removeprefix(SEALED), validate=True)
                except ValueError:  # somebody's own words
                    return value
                new = self._renewed(sealed, contexts, count)
                return value if new is None else SEALED + base64.b64encode(new).decode()
            case dict():
                return {key: self._walked(item, contexts, count) for key, item in value.items()}
            case list():
                return [self._walked(item, contexts, count) for item in value]
        return value

    def _renewed(self, sealed: bytes, contexts: Sequence[str], count: Count) -> bytes | None:
        """Under the current key; None: it is, or no key opens it."""
        count.total += 1
        for context in contexts:
            try:
                new = self._sealer.renewed(sealed, context)
            except SealError:
                continue
            count.renewed += new is not None
            return new
        count.lost += 1
        return None

    def _change(
        self, attribute: InstrumentedAttribute[Any], which: Any, new: Callable[[Any], Any], dry: bool, batch: int
    ) -> None:
        """Put `new` of each row there, unless it is None. Locked row by row, a transaction for each batch, and past the
        session: nothing about the row has changed that anybody is to be told of."""
        model: Any = attribute.class_
        table = model.__table__
        key = list(table.primary_key.columns)
        with self._read.begin() as session:
            keys = [tuple(one) for one in session.execute(select(*key).where(which).order_by(*key))]
        for start in range(0, len(keys), batch):
            with self._read.begin() if dry else self._writing() as session:
                for one in keys[start : start + batch]:
                    row = session.get(model, one, with_for_update=None if dry else True)
                    value = None if row is None else new(row)
                    if value is not None and not dry:
                        same = [column == part for column, part in zip(key, one, strict=True)]
                        session.execute(update(table).where(*same).values({attribute.key: value}))


def current(done: dict[str, Count]) -> bool:
    """Nothing needs an older key."""
    return not any(count.renewed or count.lost for count in done.values())
