"""Fields and tags of a lead as people write them, inside the caller's transaction, which holds the lead."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from moked.crm import activity, hiding, people
from moked.crm.audit import Actor
from moked.crm.lead_fields import FieldKind, Unfit, read_value
from moked.crm.leads import set_by_person
from moked.crm.models import Lead, UserAccount
from moked.crm.phone import to_e164
from moked.crm.settle import state_of, write_state
from moked.crm.tables_crm import LeadField, LeadTag, Tag
from moked.crm.writing import Unreadable, clean, named

NOTE = "note"
_MOST_TAGS = 20
_LONGEST_TAG = 40


def read_field(name: str, value: str) -> str:
    """A field's text as it is kept. Raises `Unreadable`."""
    value = clean(value, many_lines=True) if name in ("need", "summary") else named(value)
    return read_phone(value) if name == "phone" and value else value


def read_phone(text: str) -> str:
    """E.164. Raises `Unreadable`."""
    number = to_e164(text)
    if number is None or not number.startswith("+"):
        raise Unreadable("phone")
    return number


def read_tags(names: Sequence[str]) -> list[str]:
    """Each once. Raises `Unreadable` where there are too many."""
    kept = list(dict.fromkeys(name for part in names if (name := named(part, longest=_LONGEST_TAG))))
    if len(kept) > _MOST_TAGS:
        raise Unreadable("tags")
    return kept


def write_field(session: Session, by: Actor, lead: Lead, name: str, value: str, now: datetime) -> bool:
    """A person's word on a field, as `read_field` gave it; no later call changes it. False where it is that already.
    Raises `ValueError` for a field the lead does not have."""
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
        return False
    write_state(lead, set_by_person(state, name, value, by=by.name))
    lead.updated_at = now
    if name == "name" and value:
        contact = people.locked(session, lead.contact_id)
        if contact.name in ("", before):
            contact.name, contact.locked, contact.updated_at = value, True, now
    return True


def write_tags(session: Session, business_id: int, lead: Lead, names: Sequence[str], now: datetime) -> bool:
    """These and no others, as `read_tags` gave them. Unknown ones are made, unused ones go. False where it has them."""
    wanted = {_tag(session, business_id, name) for name in names}
    held = set(session.scalars(select(LeadTag.tag_id).where(LeadTag.lead_id == lead.id)))
    if wanted == held:
        return False
    session.execute(delete(LeadTag).where(LeadTag.lead_id == lead.id, LeadTag.tag_id.in_(held - wanted)))
    session.add_all(LeadTag(lead_id=lead.id, tag_id=tag) for tag in sorted(wanted - held))
    session.flush()
    used = select(func.count()).where(LeadTag.tag_id == Tag.id).scalar_subquery()
    session.execute(delete(Tag).where(Tag.id.in_(held - wanted), used == 0))
    lead.updated_at = now
    return True


def tags_of(session: Session, lead: Lead) -> list[str]:
    held = select(Tag.name).join(LeadTag, LeadTag.tag_id == Tag.id).where(LeadTag.lead_id == lead.id)
    return list(session.scalars(held))


def check_owner(session: Session, by: Actor, user_id: int | None) -> None:
    """Whether somebody of the business can take care of it. Raises `Unreadable`."""
    if user_id is not None:
        user = session.get(UserAccount, user_id)
        if user is None or user.business_id != by.business_id or not user.active:
            raise Unreadable("owner")


def add_note(session: Session, by: Actor, lead: Lead, text: str, now: datetime) -> None:
    """A note on a lead, and on its contact's timeline. The text is `clean`."""
    text = hiding.hide_text(session, by.business_id, text, lead.phone)
    lead.notes = [*lead.notes, {"kind": NOTE, "at": now.isoformat(), "by": by.name, "text": text}]
    lead.updated_at = now
    activity.record(session, lead, activity.NOTE, at=now, who=by.name, text=text)


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


def _field(lead: Lead, name: str) -> str:
    group, _, key = name.partition(".")
    return str(lead.extra.get(key, "")) if group == "extra" else str(getattr(lead, name, ""))
