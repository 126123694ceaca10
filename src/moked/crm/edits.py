"""What people change at the desk: each method is one transaction, of one business, with its line in the audit log.

A row of another business raises `LookupError`, as one that is not there. What the rules of leads forbid raises
`leads.IllegalMove`; what cannot be read raises `Unreadable` with the name of the field; a row that is no longer what
whoever changes it has seen (`Actor.expects`) raises `versions.Stale`.

    Edits = leads (here) + edits_contacts + edits_tasks + edits_setup + importing + exporting
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from moked.crm import activity, audit, hiding, people
from moked.crm.audit import Actor
from moked.crm.edits_contacts import ContactEdits
from moked.crm.edits_setup import SetupEdits
from moked.crm.edits_tasks import TaskEdits
from moked.crm.exporting import Exports
from moked.crm.importing import Imports
from moked.crm.lead_fields import LOST_REASONS, FieldKind, Unfit, read_shekels, read_value
from moked.crm.leads import Stage, move, set_by_person
from moked.crm.models import AuditEntry, Lead, UserAccount
from moked.crm.phone import to_e164
from moked.crm.settle import state_of, write_state
from moked.crm.tables_crm import LeadField, LeadSetting, LeadTag, Tag
from moked.crm.writing import Unreadable, clean, named

__all__ = ["NOTE", "Edits", "Unreadable"]

NOTE = "note"
LISTENED = "call.recording_heard"
LISTENING = timedelta(minutes=10)
_MOST_TAGS = 20
_LONGEST_TAG = 40


class Edits(ContactEdits, TaskEdits, SetupEdits, Imports, Exports):
    """Writes to `engine`. `clock` gives aware UTC."""

    def set_field(self, by: Actor, lead_id: int, name: str, value: str) -> None:
        """A person's word on a field; no later call changes it. An unknown field raises `ValueError`."""
        self.set_fields(by, lead_id, {name: value})

    def set_fields(self, by: Actor, lead_id: int, values: Mapping[str, str]) -> None:
        """All of them, or none."""
        read = {name: _field_value(name, value) for name, value in values.items()}
        with self._lead(by, lead_id) as (session, lead):
            for name, value in read.items():
                self._set_field(session, by, lead, name, value)

    def _set_field(self, session: Session, by: Actor, lead: Lead, name: str, value: str) -> None:
        if name != "phone":
            value = hiding.hide_text(session, by.business_id, value, lead.phone)
        state = state_of(lead)
        if name.startswith("extra.") and (own := _own_field(session, lead, name.removeprefix("extra."))):
            try:
                value = read_value(FieldKind(own.kind), own.choices, value)
            except Unfit as unfit:
                raise Unreadable(f"field.{unfit}") from None
            state = replace(state, extra={own.name: "", **state.extra})
        before = lead.name
        if _field(lead, name) == value and lead.sources.get(name, {}).get("by") == "person":
            return
        write_state(lead, set_by_person(state, name, value, by=by.name))
        lead.updated_at = self._clock()
        if name == "name" and value:
            contact = people.locked(session, lead.contact_id)
            if contact.name in ("", before):
                contact.name, contact.locked, contact.updated_at = value, True, self._clock()
        audit.note(session, by, "lead.edited", f"lead:{lead.id}", self._clock(), field=name)

    def set_value(self, by: Actor, lead_id: int, text: str) -> None:
        """What the lead may be worth, in shekels; '' = not known."""
        try:
            value = read_shekels(text)
        except Unfit:
            raise Unreadable("value") from None
        with self._lead(by, lead_id) as (session, lead):
            if lead.value != value:
                lead.value, lead.updated_at = value, self._clock()
                audit.note(session, by, "lead.edited", f"lead:{lead.id}", self._clock(), field="value")

    def move(self, by: Actor, lead_id: int, to: Stage, reason: str = "") -> None:
        """To another stage. A lead that is lost says why: one of the business's reasons, else `Unreadable`."""
        with self._lead(by, lead_id) as (session, lead):
            before = lead.stage
            if move(before, to) is before:
                return
            if to is Stage.LOST:
                setting = session.get(LeadSetting, by.business_id)
                if reason not in (setting.lost_reasons if setting else LOST_REASONS):
                    raise Unreadable("lost_reason")
            now = self._clock()
            lead.stage, lead.updated_at, lead.lost_reason = to, now, reason if to is Stage.LOST else ""
            data = {"before": before.value, "to": to.value}
            activity.record(session, lead, activity.STAGE, at=now, who=by.name, text=lead.lost_reason, data=data)
            audit.note(session, by, "lead.moved", f"lead:{lead.id}", now, **data)

    def assign(self, by: Actor, lead_id: int, user_id: int | None) -> None:
        """Who takes care of the lead; None = nobody yet."""
        with self._lead(by, lead_id) as (session, lead):
            if user_id is not None:
                user = session.get(UserAccount, user_id)
                if user is None or user.business_id != by.business_id or not user.active:
                    raise Unreadable("owner")
            lead.owner_id, lead.updated_at = user_id, self._clock()
            audit.note(session, by, "lead.assigned", f"lead:{lead.id}", self._clock(), user=user_id)

    def add_note(self, by: Actor, lead_id: int, text: str) -> None:
        text = clean(text, many_lines=True)
        if not text:
            raise Unreadable("note")
        with self._lead(by, lead_id) as (session, lead):
            text = hiding.hide_text(session, by.business_id, text, lead.phone)
            now = self._clock()
            lead.notes = [*lead.notes, {"kind": NOTE, "at": now.isoformat(), "by": by.name, "text": text}]
            lead.updated_at = now
            activity.record(session, lead, activity.NOTE, at=now, who=by.name, text=text)
            audit.note(session, by, "lead.noted", f"lead:{lead.id}", now)

    def note_listening(self, by: Actor, call_sid: str) -> None:
        """Somebody hears a recording: on record, once for each `LISTENING` in which they go on."""
        target, now = f"call:{call_sid}"[:64], self._clock()
        with self._writing() as session:
            heard = select(AuditEntry.id).where(
                AuditEntry.business_id == by.business_id,
                AuditEntry.at > now - LISTENING,
                AuditEntry.user_id == by.user_id,
                AuditEntry.action == LISTENED,
                AuditEntry.target == target,
            )
            if session.scalars(heard.limit(1)).first() is None:
                audit.note(session, by, LISTENED, target, now)

    def set_tags(self, by: Actor, lead_id: int, text: str) -> None:
        """The tags of a lead, as they are typed: between commas. Unknown ones are made, unused ones go."""
        names = list(dict.fromkeys(name for part in text.split(",") if (name := named(part, longest=_LONGEST_TAG))))
        if len(names) > _MOST_TAGS:
            raise Unreadable("tags")
        with self._lead(by, lead_id) as (session, lead):
            wanted = {_tag(session, by.business_id, name) for name in names}
            held = set(session.scalars(select(LeadTag.tag_id).where(LeadTag.lead_id == lead.id)))
            if wanted == held:
                return
            session.execute(delete(LeadTag).where(LeadTag.lead_id == lead.id, LeadTag.tag_id.in_(held - wanted)))
            session.add_all(LeadTag(lead_id=lead.id, tag_id=tag) for tag in sorted(wanted - held))
            session.flush()
            used = select(func.count()).where(LeadTag.tag_id == Tag.id).scalar_subquery()
            session.execute(delete(Tag).where(Tag.id.in_(held - wanted), used == 0))
            lead.updated_at = self._clock()
            audit.note(session, by, "lead.tagged", f"lead:{lead.id}", self._clock())


def _tag(session: Session, business_id: int, name: str) -> int:
    session.execute(
        people.insert(session, Tag)
        .values(business_id=business_id, name=name)
        .on_conflict_do_nothing(index_elements=["business_id", "name"])
    )
    return session.scalars(select(Tag.id).where(Tag.business_id == business_id, Tag.name == name)).one()


def _own_field(session: Session, lead: Lead, name: str) -> LeadField | None:
    return session.scalars(
        select(LeadField).where(LeadField.business_id == lead.business_id, LeadField.name == name)
    ).one_or_none()


def _field_value(name: str, value: str) -> str:
    value = clean(value, many_lines=True) if name in ("need", "summary") else named(value)
    if name != "phone" or not value:
        return value
    number = to_e164(value)
    if number is None or not number.startswith("+"):
        raise Unreadable("phone")
    return number


def _field(lead: Lead, name: str) -> str:
    group, _, key = name.partition(".")
    return str(lead.extra.get(key, "")) if group == "extra" else str(getattr(lead, name, ""))
