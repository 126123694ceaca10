"""Contacts: made, named, given another number, noted on, merged and taken apart again."""

from sqlalchemy import select

from moked.crm import activity, audit, hiding, people
from moked.crm.audit import Actor
from moked.crm.lead_writing import read_phone
from moked.crm.models import Contact
from moked.crm.people import TEL, UNDO_FOR
from moked.crm.tables_crm import ContactMerge
from moked.crm.writing import Unreadable, Writer, clean, held, named


class ContactEdits(Writer):
    def add_contact(self, by: Actor, name: str, phone: str) -> tuple[int, bool]:
        """A contact of this number, and whether it is new. One that is there keeps the name it has."""
        name, number = named(name), read_phone(phone)
        if not name:
            raise Unreadable("name")
        with self._writing() as session:
            known = people.known_at(session, by.business_id, number)
            contact = people.at_number(session, by.business_id, number, self._clock())
            if known is None:
                contact.name, contact.locked = name, True
                audit.note(session, by, "contact.added", f"contact:{contact.id}", self._clock())
            return contact.id, known is None

    def rename_contact(self, by: Actor, contact_id: int, name: str) -> None:
        name = named(name)
        if not name:
            raise Unreadable("name")
        with self._writing() as session:
            contact = held(session, Contact, by, contact_id)
            contact.aliases = [other for other in contact.aliases if other["name"] != name]
            contact.name, contact.locked, contact.updated_at = name, True, self._clock()
            audit.note(session, by, "contact.renamed", f"contact:{contact.id}", self._clock())

    def add_phone(self, by: Actor, contact_id: int, phone: str) -> None:
        """Another number of this person; one that is somebody else's is refused ('phone_taken')."""
        number = read_phone(phone)
        with self._writing() as session:
            contact = held(session, Contact, by, contact_id)
            owner = people.known_at(session, by.business_id, number)
            if owner is not None and owner.id != contact.id:
                raise Unreadable("phone_taken")
            people.add_identity(session, contact, TEL, number, self._clock())
            if contact.phone is None:
                taken = select(Contact.id).where(Contact.business_id == by.business_id, Contact.phone == number)
                if session.scalar(taken) is None:
                    contact.phone = number
            contact.updated_at = self._clock()
            audit.note(session, by, "contact.phone_added", f"contact:{contact.id}", self._clock())

    def note_contact(self, by: Actor, contact_id: int, text: str) -> None:
        text = clean(text, many_lines=True)
        if not text:
            raise Unreadable("note")
        with self._writing() as session:
            contact = held(session, Contact, by, contact_id)
            text = hiding.hide_text(session, by.business_id, text, contact.phone or "")
            activity.record(session, contact, activity.NOTE, at=self._clock(), who=by.name, text=text)
            audit.note(session, by, "contact.noted", f"contact:{contact.id}", self._clock())

    def merge_contacts(self, by: Actor, kept_id: int, gone_id: int) -> int:
        """`gone_id` becomes `kept_id`, for 30 days with a way back. Returns the merge's id."""
        with self._writing() as session:
            first, second = sorted((kept_id, gone_id))  # in one order, so that two merges never wait in a circle
            rows = {row_id: held(session, Contact, by, row_id) for row_id in (first, second)}
            kept, gone = rows[kept_id], rows[gone_id]
            if kept_id == gone_id or kept.merged_into_id is not None or gone.merged_into_id is not None:
                raise Unreadable("merge")
            now = self._clock()
            done = people.merge(session, kept, gone, who=by.name, now=now)
            activity.record(session, kept, activity.MERGED, at=now, who=by.name, text=gone.name or gone.phone or "")
            audit.note(session, by, "contact.merged", f"contact:{kept.id}", now, gone=gone.id)
            return done.id

    def unmerge_contacts(self, by: Actor, merge_id: int) -> int:
        """Two people after all; 'merge_over' where it was undone or is too long ago. Returns who was merged away."""
        with self._writing() as session:
            done = held(session, ContactMerge, by, merge_id)
            later = select(ContactMerge.id).where(ContactMerge.undone_at.is_(None), ContactMerge.id > done.id)
            later = later.where(ContactMerge.gone_id == done.kept_id)  # who was kept has gone on into somebody else
            if done.undone_at is not None or self._clock() - done.at > UNDO_FOR or session.scalar(later) is not None:
                raise Unreadable("merge_over")
            people.unmerge(session, done, now=self._clock())
            audit.note(session, by, "contact.unmerged", f"contact:{done.kept_id}", self._clock(), gone=done.gone_id)
            return done.gone_id
