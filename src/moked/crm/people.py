"""Who writes: a contact found by any of their addresses, and made one where two turn out to be the same person.

WhatsApp may tell a number (`pn`), an identity of its own (`lid`) or both. A LID alone is a contact whose number is not
known; when the number is learnt, the two become one. Inside the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from moked.channels import PHONE, Address
from moked.crm.models import Call, Contact, Lead
from moked.crm.settle import insert
from moked.crm.tables_whatsapp import ContactIdentity, Conversation, Message, OutboundMessage


def contact_of(session: Session, business_id: int, addresses: Sequence[Address], name: str, now: datetime) -> Contact:
    """The one person behind `addresses`, made where nobody knows any of them; the first is where they wrote from."""
    phone = next((one.value for one in addresses if one.scheme == PHONE), None)
    found = _known(session, business_id, addresses, phone)
    if found:
        kept, *others = sorted(found, key=lambda one: (one.phone is None, one.id))
        for other in others:
            if other.phone is None:  # two numbers are two people, whoever's phone they use
                _join(session, kept, other)
    elif phone is not None:
        kept = _by_phone(session, business_id, phone, name, now)
    else:
        kept = Contact(business_id=business_id, phone=None, name=name, created_at=now, updated_at=now)
        session.add(kept)
        session.flush()
    if phone is not None and kept.phone is None:
        kept.phone, kept.updated_at = phone, now
    if name and not kept.name and not kept.locked:
        kept.name, kept.updated_at = name, now
    session.flush()
    for address in addresses:
        statement = insert(session, ContactIdentity).values(
            business_id=business_id,
            contact_id=kept.id,
            scheme=address.scheme,
            value=address.value,
            verified_at=now,
        )
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["business_id", "scheme", "value"], set_={"contact_id": kept.id, "verified_at": now}
            )
        )
    return kept


def _known(session: Session, business_id: int, addresses: Sequence[Address], phone: str | None) -> list[Contact]:
    ids = {
        contact_id
        for address in addresses
        if (
            contact_id := session.scalar(
                select(ContactIdentity.contact_id).where(
                    ContactIdentity.business_id == business_id,
                    ContactIdentity.scheme == address.scheme,
                    ContactIdentity.value == address.value,
                )
            )
        )
    }
    rule = Contact.id.in_(ids) if phone is None else Contact.id.in_(ids) | (Contact.phone == phone)
    rows = session.scalars(
        select(Contact)
        .where(Contact.business_id == business_id, rule)
        .order_by(Contact.phone, Contact.id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return list(rows)


def _by_phone(session: Session, business_id: int, phone: str, name: str, now: datetime) -> Contact:
    """As calls make one; both may at the same time."""
    session.execute(
        insert(session, Contact)
        .values(business_id=business_id, phone=phone, name=name, locked=False, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["business_id", "phone"])
    )
    return session.scalars(
        select(Contact)
        .where(Contact.business_id == business_id, Contact.phone == phone)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one()


def _join(session: Session, kept: Contact, other: Contact) -> None:
    """`other`, whose number nobody knew, is `kept`: all that is theirs moves, and the empty contact goes."""
    talks = {
        row.channel: row
        for row in session.scalars(select(Conversation).where(Conversation.contact_id == kept.id).with_for_update())
    }
    for theirs in session.scalars(select(Conversation).where(Conversation.contact_id == other.id).with_for_update()):
        if (ours := talks.get(theirs.channel)) is None:
            theirs.contact_id = kept.id
            continue
        session.execute(
            update(Message)
            .where(Message.conversation_id == theirs.id)
            .values(conversation_id=ours.id, talk=ours.talk)
            .execution_options(synchronize_session=False)
        )
        ours.unread += theirs.unread
        ours.answered_id = max(ours.answered_id, theirs.answered_id)
        ours.last_at = max(ours.last_at, theirs.last_at)
        ours.lead_id = ours.lead_id or theirs.lead_id
        ours.taken_by = ours.taken_by or theirs.taken_by
        session.delete(theirs)
    session.flush()
    for table in (ContactIdentity, OutboundMessage, Lead, Call):
        session.execute(
            update(table)
            .where(table.contact_id == other.id)
            .values(contact_id=kept.id)
            .execution_options(synchronize_session=False)
        )
    if other.name and not kept.name:
        kept.name, kept.locked = other.name, other.locked
    session.execute(delete(Contact).where(Contact.id == other.id).execution_options(synchronize_session=False))
    session.expunge(other)
