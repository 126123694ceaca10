"""Contacts as the desk shows them: the list, one with all that happened in one line of time, who may be the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from moked.crm.models import Call, Contact, Lead, Task
from moked.crm.people import UNDO_FOR
from moked.crm.reading import Page, Reader, one_of
from moked.crm.search import Kind
from moked.crm.tables_crm import Activity, ChannelIdentity, ContactMerge
from moked.crm.tables_whatsapp import Conversation, Message

TIMELINE = 50
_LIKELY = 10


@dataclass(frozen=True, slots=True)
class Talk:
    """What was written at one stretch. `channel` is the family, `text` the last words, `author` as in `Message`."""

    conversation_id: int
    channel: str
    count: int
    author: str
    text: str


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of a timeline. `kind`: 'call', 'talk', 'task', 'lead', or 'activity'."""

    at: datetime
    kind: str
    row: Call | Task | Lead | Activity | Talk


@dataclass(frozen=True, slots=True)
class ContactPage:
    """`timeline`: the latest first; `more`: the moment before which it goes on, or None. `merges`: those that can be
    undone. `merged_into`: the contact is only a signpost to that one.
    """

    contact: Contact
    identities: Sequence[ChannelIdentity]
    leads: Sequence[Lead]
    timeline: Sequence[Happening]
    more: datetime | None
    merges: Sequence[tuple[ContactMerge, Contact]]
    merged_into: int | None = None


class ContactReads(Reader):
    def contacts(self, business_id: int, text: str = "", page: int = 1) -> Page[Contact]:
        rules = [Contact.business_id == business_id, Contact.merged_into_id.is_(None)]
        rules += self._found(business_id, Kind.CONTACT, text)
        return self._page(Contact, rules, (Contact.updated_at.desc(), Contact.id.desc()), page)

    def contact(self, business_id: int, contact_id: int, before: datetime | None = None) -> ContactPage | None:
        with self._reading() as session:
            contact = one_of(session, Contact, business_id, contact_id)
            if contact is None:
                return None
            leads = session.scalars(
                select(Lead).where(Lead.contact_id == contact.id).order_by(Lead.id.desc()).limit(TIMELINE)
            ).all()
            timeline = _timeline(session, contact, before)
            last = timeline[TIMELINE - 1].at if len(timeline) > TIMELINE else None
            shown = [one for one in timeline if last is None or one.at >= last]
            undoable = (
                select(ContactMerge, Contact)
                .join(Contact, Contact.id == ContactMerge.gone_id)
                .where(
                    ContactMerge.kept_id == contact.id,
                    ContactMerge.undone_at.is_(None),
                    ContactMerge.at > self._clock() - UNDO_FOR,
                )
                .order_by(ContactMerge.id.desc())
            )
            return ContactPage(
                contact,
                session.scalars(
                    select(ChannelIdentity)
                    .where(ChannelIdentity.contact_id == contact.id)
                    .order_by(ChannelIdentity.scheme, ChannelIdentity.id)
                ).all(),
                leads,
                shown,
                last if last is not None and len(shown) < len(timeline) else None,
                [(done, gone) for done, gone in session.execute(undoable)],
                _lasting(session, contact) if contact.merged_into_id is not None else None,
            )

    def likely_same(self, business_id: int, contact_id: int, text: str = "") -> Sequence[Contact]:
        """Contacts that may be the same person: those found by `text`, or of the same name."""
        with self._reading() as session:
            contact = one_of(session, Contact, business_id, contact_id)
            asked = text.strip() or (contact.name if contact else "")
            if contact is None or not asked:
                return []
            return session.scalars(
                select(Contact)
                .where(
                    Contact.business_id == business_id,
                    Contact.merged_into_id.is_(None),
                    Contact.id != contact.id,
                    *self._found(business_id, Kind.CONTACT, asked),
                )
                .order_by(Contact.updated_at.desc())
                .limit(_LIKELY)
            ).all()


def _timeline(session: Session, contact: Contact, before: datetime | None) -> list[Happening]:
    """The latest things, some more than are shown: those of one moment stay together."""

    def latest(query: Any, column: Any) -> Any:
        query = query.order_by(column.desc()).limit(TIMELINE + 10)
        return session.scalars(query if before is None else query.where(column < before))

    calls = latest(select(Call).where(Call.contact_id == contact.id), Call.started_at)
    leads = latest(select(Lead).where(Lead.contact_id == contact.id), Lead.created_at)
    theirs = select(Lead.id).where(Lead.contact_id == contact.id)
    tasks = latest(select(Task).where(Task.lead_id.in_(theirs)), Task.created_at)
    others = latest(select(Activity).where(Activity.contact_id == contact.id), Activity.at)
    found = [
        *(Happening(call.started_at, "call", call) for call in calls),
        *_talks(session, contact, before),
        *(Happening(task.created_at, "task", task) for task in tasks),
        *(Happening(lead.created_at, "lead", lead) for lead in leads),
        *(Happening(other.at, "activity", other) for other in others),
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


def _talks(session: Session, contact: Contact, before: datetime | None) -> list[Happening]:
    """One line a talk, at its last message."""
    last = func.max(Message.at)
    talks = (
        select(func.max(Message.id).label("newest"), func.count().label("count"), last.label("at"))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .where(Conversation.contact_id == contact.id)
        .group_by(Message.conversation_id, Message.talk)
        .order_by(last.desc())
        .limit(TIMELINE + 10)
    )
    found = (talks if before is None else talks.having(last < before)).subquery()
    rows = session.execute(select(Message, found.c.count, found.c.at).join(found, found.c.newest == Message.id))
    return [
        Happening(at, "talk", Talk(row.conversation_id, row.channel, count, row.author, row.text))
        for row, count, at in rows
    ]


def _lasting(session: Session, contact: Contact) -> int:
    while contact.merged_into_id is not None:
        contact = session.get_one(Contact, contact.merged_into_id)
    return contact.id
