"""The linked WhatsApp device in the database: who serves it, its keys (sealed), what is wanted and how it stands.

A write of keys and the check of the lease are one transaction: a process that lost the account, and does not know it
yet, cannot turn the ratchet back. Values are sealed each in its own place (`whatsapp:<business>:<category>:<id>`).
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, delete, select
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, ChannelHealth, Link
from moked.channels.orders import NotOurs, Orders
from moked.crm.db import Records
from moked.crm.sealed import Sealer
from moked.crm.settle import insert
from moked.crm.tables_whatsapp import ChannelAccount, ChannelLease, WhatsAppAuth

_AT_ONCE = 400  # rows in a statement; SQLite has a limit on its variables


class WhatsAppStore(Records):
    """Of one business. `told` is called, after the transaction, when something people see has changed."""

    def __init__(
        self,
        engine: Engine,
        business_id: int,
        sealer: Sealer,
        *,
        channel: str = BAILEYS,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        told: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(engine)
        self._business = business_id
        self._sealer = sealer
        self._channel = channel
        self._clock = clock
        self._told = told

    # ---- the lease

    def take_lease(self, owner: str, seconds: float) -> bool:
        """Have it, keep it, or take one that ran out; False where another's holds."""
        now = self._clock()
        with self._writing() as session:
            session.execute(
                insert(session, ChannelLease)
                .values(business_id=self._business, channel=self._channel, owner=owner, expires_at=now)
                .on_conflict_do_nothing(index_elements=["business_id", "channel"])
            )
            lease = self._lease(session)
            if lease.owner != owner and lease.expires_at > now:
                return False
            lease.owner, lease.expires_at = owner, now + timedelta(seconds=seconds)
            return True

    def drop_lease(self, owner: str) -> None:
        with self._writing() as session:
            lease = session.get(ChannelLease, (self._business, self._channel), with_for_update=True)
            if lease is not None and lease.owner == owner:
                session.delete(lease)

    # ---- keys

    def auth_get(self, category: str, ids: Sequence[str]) -> dict[str, str]:
        found: dict[str, bytes] = {}
        with self._write.begin() as session:
            for start in range(0, len(ids), _AT_ONCE):
                rows = session.scalars(
                    select(WhatsAppAuth).where(
                        WhatsAppAuth.business_id == self._business,
                        WhatsAppAuth.category == category,
                        WhatsAppAuth.key_id.in_(ids[start : start + _AT_ONCE]),
                    )
                ).all()
                found |= {row.key_id: row.value for row in rows}
        return {
            key: self._sealer.open(value, sealed_for(self._business, category, key)).decode()
            for key, value in found.items()
        }

    def auth_set(self, owner: str, rows: Mapping[str, Mapping[str, str | None]]) -> None:
        """None deletes. Raises `NotOurs` and changes nothing where the lease is not `owner`'s."""
        now = self._clock()
        kept, gone = [], []
        for category, keys in rows.items():
            for key, value in keys.items():
                if value is None:
                    gone.append((category, key))
                    continue
                sealed = self._sealer.seal(value.encode(), sealed_for(self._business, category, key))
                kept.append(
                    {
                        "business_id": self._business,
                        "category": category,
                        "key_id": key,
                        "value": sealed,
                        "updated_at": now,
                    }
                )
        with self._writing() as session:
            self._own(session, owner)
            for start in range(0, len(kept), _AT_ONCE):
                statement = insert(session, WhatsAppAuth).values(kept[start : start + _AT_ONCE])
                session.execute(
                    statement.on_conflict_do_update(
                        index_elements=["business_id", "category", "key_id"],
                        set_={"value": statement.excluded.value, "updated_at": now},
                    )
                )
            for category, key in gone:
                session.execute(
                    delete(WhatsAppAuth).where(
                        WhatsAppAuth.business_id == self._business,
                        WhatsAppAuth.category == category,
                        WhatsAppAuth.key_id == key,
                    )
                )

    def forget(self, owner: str) -> None:
        """Delete the keys: the device is linked no more. The order to do so is done."""
        with self._writing() as session:
            self._own(session, owner)
            session.execute(delete(WhatsAppAuth).where(WhatsAppAuth.business_id == self._business))
            row = self._account(session)
            row.forget, row.wanted, row.changed_at = False, False, self._clock()

    # ---- orders and state

    def orders(self) -> Orders:
        with self._write.begin() as session:
            row = session.get(ChannelAccount, (self._business, self._channel))
            if row is None:
                return Orders()
            return Orders(row.wanted, row.forget, row.pair_phone, row.version, str(row.asked))

    def tell(self, health: ChannelHealth, *, version: str = "", count: str = "") -> None:
        with self._writing() as session:
            row = self._account(session)
            row.state, row.error, row.qr, row.code = health.state, health.error, health.qr, health.code
            row.account, row.version = health.account or row.account, version or row.version
            if health.state is Link.UNPAIRED:
                row.account = ""
            if count:
                row.counters = {**row.counters, count: row.counters.get(count, 0) + 1}
            row.changed_at = self._clock()
        self._told()

    # ---- inside

    def _own(self, session: Session, owner: str) -> None:
        lease = self._lease(session)
        if lease is None or lease.owner != owner or lease.expires_at <= self._clock():
            raise NotOurs

    def _lease(self, session: Session) -> ChannelLease:
        return session.get(ChannelLease, (self._business, self._channel), with_for_update=True, populate_existing=True)  # type: ignore[return-value]

    def _account(self, session: Session) -> ChannelAccount:
        return account_row(session, self._business, self._channel, self._clock())


def account_row(session: Session, business_id: int, channel: str, now: datetime) -> ChannelAccount:
    """The row of this channel, made where there is none, locked."""
    session.execute(
        insert(session, ChannelAccount)
        .values(
            business_id=business_id,
            channel=channel,
            wanted=False,
            forget=False,
            pair_phone="",
            state=Link.OFF,
            error="",
            qr="",
            code="",
            account="",
            version="",
            counters={},
            asked=0,
            changed_at=now,
        )
        .on_conflict_do_nothing(index_elements=["business_id", "channel"])
    )
    return session.get_one(ChannelAccount, (business_id, channel), with_for_update=True, populate_existing=True)


def sealed_for(business_id: int, category: str, key: str) -> str:
    """What one of WhatsApp's keys is sealed for."""
    return f"whatsapp:{business_id}:{category}:{key}"
