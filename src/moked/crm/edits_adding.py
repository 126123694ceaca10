"""Leads that no call has brought: a person or a program adds them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from sqlalchemy.orm import Session

from moked import metrics
from moked.crm import audit, consents, people
from moked.crm.audit import Actor
from moked.crm.lead_fields import MOST_VALUE
from moked.crm.lead_writing import (
    add_note,
    check_owner,
    read_field,
    read_phone,
    read_tags,
    tags_of,
    write_field,
    write_tags,
)
from moked.crm.leads import LeadState, Origin, joined_needs
from moked.crm.models import Contact
from moked.crm.settle import new_lead, open_lead
from moked.crm.writing import Unreadable, Writer, clean, held


class Again(StrEnum):
    """What becomes of a lead whose contact has an open one."""

    JOIN = "join"  # it is the open one, as when they call a second time
    ADD = "add"
    REFUSE = "refuse"


class OpenLead(Exception):
    """The contact has an open lead already; `lead_id` is it."""

    def __init__(self, lead_id: int) -> None:
        super().__init__(f"lead {lead_id} is open")
        self.lead_id = lead_id


class Erased(Exception):
    """Whoever has this number asked to be forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewLead:
    """`phone` (as people write it) or `contact_id` says who. `fields` as `Edits.set_fields` takes them. `turned`: they
    have turned to the business themselves just now, so that even who asked to be forgotten is taken in.
    """

    phone: str = ""
    contact_id: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    value: int | None = None
    tags: Sequence[str] = ()
    owner_id: int | None = None
    note: str = ""
    again: Again = Again.JOIN
    turned: bool = False


class LeadAdding(Writer):
    def add_lead(self, by: Actor, new: NewLead) -> tuple[int, bool]:
        """The lead's id, and whether it is new. What is given stands as a person's word; of an open lead that it joins,
        other fields stay, a second need stands beside the first, and tags are added.

        Raises `Unreadable` with the field, `LookupError` for no such contact, `OpenLead`, `Erased`; `ValueError` for a
        field the business does not have.
        """
        given = {name: value for name, text in new.fields.items() if (value := read_field(name, text))}
        number, tags = read_phone(new.phone) if new.phone else "", read_tags(new.tags)
        note = clean(new.note, many_lines=True)
        if new.value is not None and not 0 <= new.value <= MOST_VALUE:
            raise Unreadable("value")
        with self._writing() as session:
            contact = self._whose(session, by, number, new)
            check_owner(session, by, new.owner_id)
            lead = open_lead(session, by.business_id, {contact.phone or "": contact})
            if lead is not None and new.again is Again.REFUSE:
                raise OpenLead(lead.id)
            now, fresh = self._clock(), lead is None or new.again is Again.ADD
            if lead is None or fresh:
                state = LeadState(name=contact.name, phone=contact.phone or "", confirmed=bool(contact.phone))
                lead = new_lead(session, contact, "", Origin.ADDED, state, now)
                metrics.leads.labels(Origin.ADDED.value).inc()
            else:
                tags = read_tags([*tags_of(session, lead), *tags])
                if "need" in given:
                    given["need"] = joined_needs(lead.need, given["need"])
            for name, value in given.items():
                write_field(session, by, lead, name, value, now)
            if tags:
                write_tags(session, by.business_id, lead, tags, now)
            if new.value is not None:
                lead.value = new.value
            if new.owner_id is not None:
                lead.owner_id = new.owner_id
            if note:
                add_note(session, by, lead, note, now)
            lead.updated_at = now
            audit.note(session, by, "lead.added" if fresh else "lead.edited", f"lead:{lead.id}", now)
            return lead.id, fresh

    def _whose(self, session: Session, by: Actor, number: str, new: NewLead) -> Contact:
        if number:
            if not new.turned and consents.erased(session, by.business_id, [number]):
                raise Erased
            return people.at_number(session, by.business_id, number, self._clock())
        if new.contact_id is None:
            raise Unreadable("phone")
        return people.locked(session, held(session, Contact, by, new.contact_id).id)
