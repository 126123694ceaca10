"""What there is of a person: rows that belong to them, and copies in rows that do not.

Rows with a key to a contact, a lead or a call go with them. These have none, or outlive it on purpose:

    of a call      messages and notices to the business's own people, work after the call
    of a person    WhatsApp's keys for writing to them; events for other programs and answers to them; lists on their
                   way in and out, which are the whole business's: any may have the person in it, and people make them
                   again
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, false, or_, select
from sqlalchemy.orm import Session

from moked.channels import LID
from moked.crm.models import Base, Call, Contact, Lead
from moked.crm.outbox import call_key
from moked.crm.tables_api import ApiReply, WebhookDelivery
from moked.crm.tables_crm import ChannelIdentity, ExportJob, ImportJob
from moked.crm.tables_jobs import Job, Notice
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_whatsapp import WhatsAppAuth

_NOT_THEIRS = frozenset(
    {"search_entry", "stream_ticket", "supervise_ticket", "call_snapshot", "recording", "recording_part"}
)
"""Rows of the house about them that tell nothing more, or would open something."""


@dataclass(frozen=True, slots=True)
class Person:
    """Everything that is theirs, by id. `contact_ids`: who was merged into them too; `numbers`: E.164."""

    business_id: int
    contact_ids: Sequence[int]
    lead_ids: Sequence[int]
    call_sids: Sequence[str]
    numbers: Sequence[str]


def same_person(session: Session, contact: Contact) -> tuple[list[int], list[str]]:
    """This contact and whoever was merged into it, and all their numbers."""
    ids = [contact.id]
    while gone := session.scalars(
        select(Contact.id).where(Contact.merged_into_id.in_(ids), Contact.id.not_in(ids))
    ).all():
        ids += gone
    own = session.scalars(select(Contact.phone).where(Contact.id.in_(ids), Contact.phone.is_not(None)))
    further = session.scalars(
        select(ChannelIdentity.value).where(ChannelIdentity.contact_id.in_(ids), ChannelIdentity.value.startswith("+"))
    )
    return ids, sorted({number for number in (*own, *further) if number})


def belongings(
    session: Session, contact_ids: Sequence[int], lead_ids: Sequence[int], call_ids: Sequence[int]
) -> dict[str, list[dict[str, Any]]]:
    """By table, every row that has a key to one of these, and every row that has a key to such a row."""
    owners: dict[str, set[Any]] = {
        Contact.__tablename__: set(contact_ids), Lead.__tablename__: set(lead_ids), Call.__tablename__: set(call_ids),
    }  # fmt: skip
    found: dict[str, list[dict[str, Any]]] = {}
    for table in Base.metadata.sorted_tables:
        rules = [
            column.in_(owners[key.column.table.name])
            for column in table.columns
            for key in column.foreign_keys
            if key.column.table.name in owners and key.column.primary_key
        ]
        if table.name in owners or table.name in _NOT_THEIRS or not rules:
            continue
        rows = [dict(row) for row in session.execute(select(table).where(or_(*rules))).mappings()]
        if rows:
            found[table.name] = [{name: row[name] for name in row if name != "business_id"} for row in rows]
            if (key := _key(table)) is not None:
                owners[table.name] = {row[key] for row in rows}
    return found


def _key(table: Table) -> str | None:
    columns = table.primary_key.columns.values()
    return columns[0].name if len(columns) == 1 else None


def forget_calls(session: Session, call_ids: Sequence[int]) -> None:
    """What calls left with the business's own people and with the workers. Before the calls themselves."""
    rows = session.execute(select(Call.business_id, Call.sid).where(Call.id.in_(call_ids))).all()
    sids = [sid for _, sid in rows]
    businesses = {business for business, _ in rows}
    ours = OutboundMessage.business_id.in_(businesses)
    for table, which in (
        (OutboundMessage, ours & OutboundMessage.call_sid.in_(sids)),
        (Notice, Notice.call_id.in_(call_ids)),
        (Job, or_(Job.key.in_([call_key(sid) for sid in sids]), Job.payload["call"].as_string().in_(sids))),
    ):
        session.execute(delete(table).where(which).execution_options(synchronize_session=False))


def forget_person(session: Session, person: Person) -> None:
    """What was made of them for other programs, and lists. Call it beside `forget_calls`."""
    business = person.business_id
    events = select(WebhookDelivery.id, WebhookDelivery.payload, WebhookDelivery.log)
    rows = session.execute(events.where(WebhookDelivery.business_id == business)).all()
    told = [row_id for row_id, payload, log in rows if _names(payload.get("data", {}), log, person)]
    for table, which in (
        (WhatsAppAuth, _keys_for(session, person)),
        (WebhookDelivery, WebhookDelivery.id.in_(told)),
        (ApiReply, ApiReply.business_id == business),
        (ExportJob, ExportJob.business_id == business),
        (ImportJob, ImportJob.business_id == business),
    ):
        session.execute(delete(table).where(which).execution_options(synchronize_session=False))


def _keys_for(session: Session, person: Person) -> ColumnElement[bool]:
    """WhatsApp's keys for writing to them: these are named by their number, or by its own identity of them."""
    hidden = select(ChannelIdentity.value).where(
        ChannelIdentity.contact_id.in_(person.contact_ids), ChannelIdentity.scheme == LID
    )
    known = [*(number.removeprefix("+") for number in person.numbers), *session.scalars(hidden)]
    named = [
        rule
        for one in known
        for rule in (WhatsAppAuth.key_id == one, *(WhatsAppAuth.key_id.startswith(one + mark) for mark in ".:@-"))
    ]
    named += [WhatsAppAuth.key_id.startswith(f"{one}_", autoescape=True) for one in known]
    return (WhatsAppAuth.business_id == person.business_id) & or_(false(), *named)


def _names(data: dict[str, object], log: object, person: Person) -> bool:
    """Whether an event is about them: `data` as `events.facts` makes it, `log` what the other side answered."""
    text = json.dumps([data, log], ensure_ascii=False)
    if data.get("contact_id") in person.contact_ids or data.get("lead_id") in person.lead_ids:
        return True
    if "stage" in data and data.get("id") in person.lead_ids:
        return True
    return any(word in text for word in (*person.numbers, *person.call_sids))
