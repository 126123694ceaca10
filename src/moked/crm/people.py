"""Who is who, inside the caller's transaction: the one contact of an address, and two contacts that are one person.

A number has one contact in a business: `channel_identity` says which, and a contact that was merged away leads on to
the one that stays. Merging moves every row that points to the contact, whatever table it is in, and remembers which,
so that it can be undone for 30 days.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Insert, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from moked.channels import PHONE, Address
from moked.crm import folding, search
from moked.crm.models import Base, Contact
from moked.crm.tables_crm import ChannelIdentity, ContactMerge, SearchEntry
from moked.crm.tables_policy import ChannelSeen
from moked.crm.tables_whatsapp import Conversation

TEL = PHONE
UNDO_FOR = timedelta(days=30)
_LEARNT = "WhatsApp"
"""Who merged two contacts, where nobody did: their number was learnt."""


def insert(session: Session, table: type[Base]) -> Any:
    """An INSERT that knows ON CONFLICT; both databases spell it the same, SQLAlchemy keeps two constructs."""
    return _insert(session.get_bind().dialect.name, table)


def _insert(dialect: str, table: Any) -> Any:
    statement: Insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    return statement


@cache
def storing(dialect: str, table: type[Base], key: tuple[str, ...], columns: tuple[str, ...], newer: str) -> Any:
    """The statement that stores a row, or its newer version by the column `newer`: an older one that comes late changes
    nothing. For paths of calls: it is made once, which takes longer than to run it."""
    made = _insert(dialect, table.__table__)
    return made.on_conflict_do_update(
        index_elements=list(key),
        set_={name: made.excluded[name] for name in columns},
        where=table.__table__.c[newer] <= made.excluded[newer],
    )


def known_at(session: Session, business_id: Any, value: str, scheme: str = TEL) -> Contact | None:
    """Whose address this is."""
    return session.scalars(
        select(Contact)
        .join(ChannelIdentity, ChannelIdentity.contact_id == Contact.id)
        .where(
            ChannelIdentity.business_id == business_id,
            ChannelIdentity.scheme == scheme,
            ChannelIdentity.value == value,
        )
    ).one_or_none()


def at_number(session: Session, business_id: int, number: str, now: datetime) -> Contact:
    """The contact of this number (E.164), made if there is none; locked."""
    known = known_at(session, business_id, number)
    if known is None:
        session.execute(
            insert(session, Contact)
            .values(business_id=business_id, phone=number, name="", created_at=now, updated_at=now)
            .on_conflict_do_nothing(index_elements=["business_id", "phone"])
        )
        who = session.scalars(select(Contact).where(Contact.business_id == business_id, Contact.phone == number)).one()
        add_identity(session, who, TEL, number, now)
        search.index_contacts(session, [who.id])
        known = who
    return locked(session, known.id)


def at_addresses(session: Session, business_id: int, addresses: Sequence[Address], name: str, now: datetime) -> Contact:
    """The one person behind `addresses`, made where nobody knows any of them; locked.

    WhatsApp may tell a number, an identity of its own, or both. Who was known by the identity alone is merged into who
    has the number as soon as both are told together; two numbers are two people, whoever's telephone they use.
    """
    number = next((one.value for one in addresses if one.scheme == PHONE), None)
    known = [known_at(session, business_id, one.value, one.scheme) for one in addresses]
    if number is not None:
        query = select(Contact).where(Contact.business_id == business_id, Contact.phone == number)
        known.append(session.scalars(query).one_or_none())
    ids = sorted({contact.id for contact in known if contact is not None})
    found = {who.id: who for who in (locked(session, contact_id) for contact_id in ids)}
    if found:
        ordered = sorted(found.values(), key=lambda one: (one.phone != number, one.phone is None, one.id))
        kept = ordered[0]
        for other in ordered[1:]:
            if other.phone is None:
                merge(session, kept, other, who=_LEARNT, now=now)
        if number is not None and kept.phone is None:
            kept.phone, kept.updated_at = number, now
    elif number is not None:
        kept = at_number(session, business_id, number, now)
    else:
        kept = Contact(business_id=business_id, phone=None, name="", created_at=now, updated_at=now)
        session.add(kept)
        session.flush()
    if name and not kept.name and not kept.locked:
        kept.name, kept.updated_at = name, now
    for address in addresses:
        add_identity(session, kept, address.scheme, address.value, now)
        session.execute(
            update(ChannelIdentity)
            .where(
                ChannelIdentity.contact_id == kept.id,
                ChannelIdentity.scheme == address.scheme,
                ChannelIdentity.value == address.value,
            )
            .values(verified_at=now)
            .execution_options(synchronize_session=False)
        )
    session.flush()
    search.index_contacts(session, [kept.id])
    return kept


def locked(session: Session, contact_id: int) -> Contact:
    """The contact, or the one it was merged into, held by this transaction."""
    while True:
        contact = session.scalars(
            select(Contact)
            .where(Contact.id == contact_id)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        ).one()
        if contact.merged_into_id is None:
            return contact
        contact_id = contact.merged_into_id


def add_identity(session: Session, contact: Contact, scheme: str, value: str, now: datetime) -> None:
    """An address leads to this contact; one that leads to somebody already stays theirs."""
    session.execute(
        insert(session, ChannelIdentity)
        .values(business_id=contact.business_id, contact_id=contact.id, scheme=scheme, value=value, created_at=now)
        .on_conflict_do_nothing(index_elements=["business_id", "scheme", "value"])
    )


def merge(session: Session, kept: Contact, gone: Contact, *, who: str, now: datetime) -> ContactMerge:
    """`gone` becomes `kept`: everything of theirs moves, their name becomes another name. Both are locked."""
    before = {"name": kept.name, "aliases": kept.aliases, "locked": kept.locked}
    others = [*kept.aliases, *gone.aliases]
    if not kept.name:
        kept.name, kept.locked = gone.name, gone.locked
    elif gone.name and gone.name != kept.name:
        others.append({"name": gone.name, "call": "", "at": now.isoformat()})
    kept.aliases = list({other["name"]: other for other in others if other["name"] != kept.name}.values())
    before["folded"] = folding.fold(session, kept, gone)
    session.flush()
    staying = {Conversation.__tablename__: folding.stay(session, kept, gone)}
    moved = {
        table.name: _move(session, table, column, gone.id, kept.id, staying.get(table.name, ()))
        for table, column in _belongings()
    }
    gone.merged_into_id, kept.updated_at = kept.id, now
    done = ContactMerge(
        business_id=kept.business_id,
        kept_id=kept.id,
        gone_id=gone.id,
        who=who,
        at=now,
        moved={table: ids for table, ids in moved.items() if ids},
        before=before,
    )
    session.add(done)
    session.flush()
    search.index_contacts(session, [kept.id, gone.id])
    return done


def unmerge(session: Session, done: ContactMerge, *, now: datetime) -> None:
    """What moved goes back, as far as it is still where it went. What has come since stays with who was kept."""
    kept, gone = (session.get_one(Contact, one, with_for_update=True) for one in (done.kept_id, done.gone_id))
    for table, column in _belongings():
        _back(session, table, column, done.moved.get(table.name, []), kept.id, gone.id)
    before = done.before
    folding.unfold(session, before.get("folded", {}), kept)
    if kept.name == gone.name and not before["name"]:
        kept.name, kept.locked = before["name"], before["locked"]
    theirs = {gone.name, *(other["name"] for other in gone.aliases)}
    own = {other["name"] for other in before["aliases"]}
    kept.aliases = [other for other in kept.aliases if other["name"] in own or other["name"] not in theirs]
    gone.merged_into_id, done.undone_at, kept.updated_at, gone.updated_at = None, now, now, now
    session.flush()
    search.index_contacts(session, [kept.id, gone.id])


def _belongings() -> Sequence[tuple[Table, str]]:
    """Every table whose rows belong to a contact, by the column that says so; a part adds one by having such a key."""
    return [
        (table, column.name)
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if any(key.column.table.name == Contact.__tablename__ for key in column.foreign_keys)
        and table.name not in (ContactMerge.__tablename__, SearchEntry.__tablename__, ChannelSeen.__tablename__)
    ]


def _move(session: Session, table: Table, column: str, source: int, to: int, but: Sequence[int] = ()) -> list[int]:
    key = table.primary_key.columns.values()[0]
    ids = list(session.scalars(select(key).where(table.c[column] == source, key.not_in(but))))
    if ids:
        session.execute(update(table).where(key.in_(ids)).values({column: to}))
    return ids


def _back(session: Session, table: Table, column: str, ids: Sequence[int], source: int, to: int) -> None:
    key = table.primary_key.columns.values()[0]
    if ids:
        session.execute(update(table).where(key.in_(ids), table.c[column] == source).values({column: to}))
