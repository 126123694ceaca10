"""A lead of a written conversation: the same rules as a call's, inside the caller's transaction.

A call is over when its lead is settled, a conversation goes on: it is settled after each answer, and the same words
again change nothing. `source_call_sid` is 'chat:<conversation>', which the desk turns into a link.
"""

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from moked import metrics
from moked.crm.leads import (
    OPEN_STAGES,
    Called,
    CallFacts,
    LeadWanted,
    called,
    decide,
    follow_up,
    learnt_something,
    merge,
)
from moked.crm.models import Contact, Lead, Task, TaskKind
from moked.crm.settle import new_lead, state_of, write_state
from moked.crm.tables_whatsapp import Conversation
from moked.records import LeadDraft, Outcome

SOURCE = "chat:"


def settle(
    session: Session, talked: Conversation, draft: LeadDraft, said: str, *, now: datetime, opening: datetime | None
) -> Lead | None:
    """Its lead as it stands now; None while nothing was learnt that is worth following up."""
    contact = session.get_one(Contact, talked.contact_id, with_for_update={"key_share": True})
    facts = CallFacts(f"{SOURCE}{talked.id}", Outcome.COMPLETED, contact.phone or "", draft, said)
    wanted = decide(facts)
    if not isinstance(wanted, LeadWanted) or not learnt_something(draft):
        return None
    lead = _lead(session, talked)
    if lead is None:
        lead = new_lead(session, contact, facts.call_sid, wanted.origin, merge(None, facts, wanted), now)
        metrics.leads.labels(wanted.origin.value).inc()
    else:
        before = state_of(lead)
        after = merge(before, facts, wanted)
        if after != before:
            write_state(lead, after)
            lead.updated_at = now
    talked.lead_id = lead.id
    if draft.name and not _given_for_another(draft, contact):
        known = called(Called(contact.name, contact.locked, contact.aliases), draft.name, "", now)
        if (known.name, known.aliases) != (contact.name, contact.aliases):
            contact.name, contact.aliases, contact.updated_at = known.name, list(known.aliases), now
    if todo := follow_up(facts, wanted, now=now, opening=opening):
        _keep_task(session, talked, lead, todo.note, todo.due_at, asked=draft.callback_at is not None, now=now)
    return lead


def _given_for_another(draft: LeadDraft, contact: Contact) -> bool:
    """They gave another number to call: the name may be that one's."""
    return bool(draft.phone and contact.phone and draft.phone != contact.phone)


def _lead(session: Session, talked: Conversation) -> Lead | None:
    """This talk's, else the oldest of theirs that is still open."""
    own = Lead.id == talked.lead_id if talked.lead_id is not None else Lead.stage.in_(OPEN_STAGES)
    return session.scalars(
        select(Lead)
        .where(Lead.business_id == talked.business_id, Lead.contact_id == talked.contact_id, own)
        .order_by(Lead.id)
        .limit(1)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _keep_task(
    session: Session, talked: Conversation, lead: Lead, note: str, due: datetime, *, asked: bool, now: datetime
) -> None:
    """The lead's one open call-back. A person who marked it done has done it: it does not come back for more words."""
    task = session.scalars(
        select(Task)
        .where(Task.lead_id == lead.id, Task.kind == TaskKind.CALLBACK)
        .order_by(Task.done_at.is_not(None), Task.id)
        .limit(1)
    ).one_or_none()
    if task is None:
        session.add(
            Task(
                business_id=talked.business_id,
                lead_id=lead.id,
                kind=TaskKind.CALLBACK,
                note=note,
                due_at=due,
                remind_at=due,
                created_at=now,
            )
        )
    elif task.done_at is None:
        if asked and due != task.due_at:
            task.due_at = task.remind_at = due
        if task.note not in note and note not in task.note:
            task.note = f"{task.note}\n{note}"
        elif task.note in note:
            task.note = note
