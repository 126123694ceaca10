"""What people change at the desk: each method is one transaction, of one business, with its line in the audit log.

A row of another business raises `LookupError`, as one that is not there. What the rules of leads forbid raises
`leads.IllegalMove`; what cannot be read raises `Unreadable` with the name of the field; a row that is no longer what
whoever changes it has seen (`Actor.expects`) raises `versions.Stale`.

    Edits = leads (here) + edits_adding + edits_contacts + edits_tasks + edits_setup + importing + exporting
"""

from collections.abc import Mapping
from datetime import timedelta

from sqlalchemy import select

from moked.crm import activity, audit
from moked.crm.audit import Actor
from moked.crm.edits_adding import LeadAdding
from moked.crm.edits_contacts import ContactEdits
from moked.crm.edits_setup import SetupEdits
from moked.crm.edits_tasks import TaskEdits
from moked.crm.exporting import Exports
from moked.crm.importing import Imports
from moked.crm.lead_fields import LOST_REASONS, Unfit, read_shekels
from moked.crm.lead_writing import NOTE, add_note, check_owner, read_field, read_tags, write_field, write_tags
from moked.crm.leads import Stage, move
from moked.crm.models import AuditEntry
from moked.crm.tables_crm import LeadSetting
from moked.crm.writing import Unreadable, clean

__all__ = ["NOTE", "Edits", "Unreadable"]

VALUE = "value"
LISTENED = "call.recording_heard"
LISTENING = timedelta(minutes=10)


class Edits(LeadAdding, ContactEdits, TaskEdits, SetupEdits, Imports, Exports):
    """Writes to `engine`. `clock` gives aware UTC."""

    def set_field(self, by: Actor, lead_id: int, name: str, value: str) -> None:
        """A person's word on a field; no later call changes it. An unknown field raises `ValueError`."""
        self.set_fields(by, lead_id, {name: value})

    def set_fields(self, by: Actor, lead_id: int, values: Mapping[str, str]) -> None:
        """All of them, or none. 'value' is what the lead may be worth, in shekels ('' = not known)."""
        read = {name: read_field(name, value) for name, value in values.items() if name != VALUE}
        try:
            worth = read_shekels(values.get(VALUE, ""))
        except Unfit:
            raise Unreadable(VALUE) from None
        with self._lead(by, lead_id) as (session, lead):
            now = self._clock()
            changed = [name for name, value in read.items() if write_field(session, by, lead, name, value, now)]
            if VALUE in values and lead.value != worth:
                lead.value, lead.updated_at = worth, now
                changed.append(VALUE)
            for name in changed:
                audit.note(session, by, "lead.edited", f"lead:{lead.id}", now, field=name)

    def set_value(self, by: Actor, lead_id: int, text: str) -> None:
        """What the lead may be worth, in shekels; '' = not known."""
        self.set_fields(by, lead_id, {VALUE: text})

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
            check_owner(session, by, user_id)
            lead.owner_id, lead.updated_at = user_id, self._clock()
            audit.note(session, by, "lead.assigned", f"lead:{lead.id}", self._clock(), user=user_id)

    def add_note(self, by: Actor, lead_id: int, text: str) -> None:
        text = clean(text, many_lines=True)
        if not text:
            raise Unreadable("note")
        with self._lead(by, lead_id) as (session, lead):
            add_note(session, by, lead, text, self._clock())
            audit.note(session, by, "lead.noted", f"lead:{lead.id}", self._clock())

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
        names = read_tags(text.split(","))
        with self._lead(by, lead_id) as (session, lead):
            if write_tags(session, by.business_id, lead, names, self._clock()):
                audit.note(session, by, "lead.tagged", f"lead:{lead.id}", self._clock())
