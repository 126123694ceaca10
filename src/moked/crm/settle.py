"""Carrying out what `leads` decided: contact, lead, note and task rows, inside the caller's transaction.

Settling a call again changes nothing that stands, and adds what has come since (a voicemail, a transfer nobody
answered, a turn that was written late). Rows are locked in one order, call, contacts by number, lead, so that calls of
one family on PostgreSQL wait for each other and never in a circle; SQLite has one writer anyway.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from moked import metrics
from moked.crm import lead_values, people
from moked.crm.leads import (
    OPEN_STAGES,
    Called,
    CallFacts,
    FollowUp,
    LeadState,
    NoLead,
    Origin,
    Provenance,
    Stage,
    called,
    caller_phone,
    decide,
    follow_up,
    merge,
)
from moked.crm.models import Call, CallEvent, Contact, Lead, Task, TaskKind, Turn
from moked.crm.privacy_rules import RefusedWords
from moked.crm.tables_privacy import Recording
from moked.records import LeadDraft

assert lead_values, "whoever writes leads keeps their values"

insert = people.insert
VOICEMAIL = "voicemail"
DIAL_RESULT = "dial_result"
CALLBACK_REQUEST = "callback_request"
"""{number}: whoever found no line free typed where to be called. The last one holds."""
HANDED_OVER = "handover"
"""{how: `records.Handover`}: what became of an attempt to reach a person; its key is the stream that left."""
ANSWERED = ("completed", "answered")
"""DialCallStatus of a transfer that reached a person; anything else (busy, no-answer, failed, canceled) did not."""


@dataclass(frozen=True, slots=True)
class LeadResult:
    """What a finished call left behind: a lead, or `reason` why not. `created`: the lead is new with this call."""

    call_sid: str
    lead_id: int | None = None
    reason: NoLead | None = None
    task_id: int | None = None
    contact_id: int | None = None
    created: bool = False


def settle(
    session: Session,
    call: Call,
    *,
    learn: bool,
    now: datetime,
    opening: datetime | None = None,
) -> LeadResult:
    """Give an ended call its contact, lead and task, or the reason why not. `call` is locked by the caller.

    `learn`: the call's words are news. Without it a lead the call already has only gets remark, note and task.
    """
    facts = _facts(session, call)
    wanted = decide(facts)
    contacts = _contacts(session, call, facts, now)
    if who := contacts.get(facts.phone) or next(iter(contacts.values()), None):
        call.contact_id = who.id
    lead = _locked_lead(session, call.lead_id)
    if isinstance(wanted, NoLead):
        if lead is None:
            call.lead_missing_reason = wanted
        return stored_result(session, call)
    if lead is not None and not learn:
        # Its words are in the lead already, and newer ones may be: only what has happened since is added.
        write_state(lead, merge(state_of(lead), CallFacts(facts.call_sid, facts.outcome), wanted))
    elif lead := lead or open_lead(session, call.business_id, contacts):
        write_state(lead, merge(state_of(lead), facts, wanted))
    else:
        state = merge(None, facts, wanted)
        who = who or _unknown(session, call, state, now)
        lead = new_lead(session, who, call.sid, Origin.CONVERSATION, state, now)
    created = lead.source_call_sid == call.sid and call.lead_id is None
    if created:
        metrics.leads.labels(wanted.origin.value).inc()
    lead.origin = wanted.origin
    lead.updated_at = now
    _add_notes(session, call, lead)
    call.lead_id, call.lead_missing_reason = lead.id, None
    call.contact_id = call.contact_id or lead.contact_id
    if todo := follow_up(facts, wanted, now=now, opening=opening):
        asked = learn and facts.draft.callback_at is not None  # settled again, the hour they named is no news
        _keep_task(session, call, lead, todo, asked=asked, now=now)
    elif facts.reached:
        _close_task(session, call, now)
    session.flush()
    return replace(stored_result(session, call), created=created)


def stored_result(session: Session, call: Call) -> LeadResult:
    """What is on record for an ended call."""
    task_id = None
    if call.lead_id is not None:
        task_id = session.scalar(
            select(Task.id).where(Task.lead_id == call.lead_id, Task.done_at.is_(None)).order_by(Task.due_at).limit(1)
        )
    return LeadResult(call.sid, call.lead_id, call.lead_missing_reason, task_id, call.contact_id)


def _facts(session: Session, call: Call) -> CallFacts:
    assert call.outcome is not None, "only an ended call is settled"
    turns = session.execute(select(Turn.caller_text, Turn.dtmf).where(Turn.call_id == call.id).order_by(Turn.number))
    words = [(text.strip(), digits) for text, digits in turns]
    happened = session.execute(
        select(CallEvent.kind, CallEvent.data)
        .where(CallEvent.call_id == call.id, CallEvent.kind.in_((VOICEMAIL, DIAL_RESULT, CALLBACK_REQUEST)))
        .order_by(CallEvent.id)
    ).all()
    dials = [data.get("status", "") for kind, data in happened if kind == DIAL_RESULT]
    phone = caller_phone(call.caller)
    draft = msgspec.convert(call.draft, LeadDraft) if call.draft else LeadDraft()
    asked = [data.get("number", "") for kind, data in happened if kind == CALLBACK_REQUEST]
    callback = asked[-1] if asked else ""
    if callback and callback != phone:  # keys are no hearsay, and were read back
        draft = replace(draft, phone=callback, phone_confirmed=True)
    return CallFacts(
        call_sid=call.sid,
        outcome=call.outcome,
        phone=phone,
        draft=draft,
        said=" ".join(text for text, _ in words if text),
        wordless=_is_wordless(session, call),
        pressed="".join(digits for _, digits in words),
        voicemail=any(kind == VOICEMAIL for kind, _ in happened),
        transfer_failed=bool(dials) and not any(status in ANSWERED for status in dials),
        reached=any(status in ANSWERED for status in dials),
        callback=callback,
        outbound=call.direction != "inbound",
    )


def _is_wordless(session: Session, call: Call) -> bool:
    """The caller refused to be recorded, and their words are not kept."""
    refused = select(Recording.words).where(Recording.call_id == call.id, Recording.refused_at.is_not(None))
    return session.scalar(refused) in (RefusedWords.SERVICE, RefusedWords.NONE)


def _contacts(session: Session, call: Call, facts: CallFacts, now: datetime) -> dict[str, Contact]:
    """The people this call tells about, by number: whoever called, and whoever's number was confirmed. Locked."""
    given = facts.draft.phone if facts.draft.phone_confirmed or not facts.phone else ""
    numbers = sorted({number for number in (facts.phone, given) if number})
    found = {}
    for number in numbers:
        contact = people.at_number(session, call.business_id, number, now)
        # A name belongs to the number that was given with it; whose phone they borrowed keeps the name it has.
        if facts.draft.name and (not contact.name or number == (given or facts.phone)):
            known = called(Called(contact.name, contact.locked, contact.aliases), facts.draft.name, call.sid, now)
            if (known.name, known.aliases) != (contact.name, contact.aliases):
                contact.name, contact.aliases, contact.updated_at = known.name, list(known.aliases), now
        found[number] = contact
    return found


def handover(session: Session, call_id: int) -> CallEvent | None:
    """What became of the last attempt to reach a person: {how, url of what they said to do, told: its words}."""
    told = select(CallEvent).where(CallEvent.call_id == call_id, CallEvent.kind == HANDED_OVER)
    return session.scalars(told.order_by(CallEvent.id.desc()).limit(1)).one_or_none()


def _locked_lead(session: Session, lead_id: int | None) -> Lead | None:
    if lead_id is None:
        return None
    return session.scalars(
        select(Lead).where(Lead.id == lead_id).with_for_update(key_share=True).execution_options(populate_existing=True)
    ).one_or_none()


def open_lead(session: Session, business_id: int, contacts: dict[str, Contact]) -> Lead | None:
    """The oldest lead of these people that nobody has closed yet: a second call belongs to it."""
    if not contacts:
        return None
    theirs = or_(
        Lead.contact_id.in_([contact.id for contact in contacts.values()]), Lead.phone.in_(list(filter(None, contacts)))
    )
    return session.scalars(
        select(Lead)
        .where(Lead.business_id == business_id, Lead.stage.in_(OPEN_STAGES), theirs)
        .order_by(Lead.id)
        .limit(1)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    ).one_or_none()


def _unknown(session: Session, call: Call, state: LeadState, now: datetime) -> Contact:
    """Withheld, and no number was given: a person all the same."""
    contact = Contact(business_id=call.business_id, name=state.name, created_at=now, updated_at=now)
    session.add(contact)
    session.flush()
    return contact


def new_lead(session: Session, contact: Contact, source: str, origin: Origin, state: LeadState, now: datetime) -> Lead:
    """`source`: the call's SID, or what else it came of."""
    lead = Lead(
        business_id=contact.business_id,
        contact_id=contact.id,
        source_call_sid=source,
        stage=Stage.NEW,
        origin=origin,
        created_at=now,
        updated_at=now,
        notes=[],
    )
    write_state(lead, state)
    session.add(lead)
    session.flush()
    return lead


def state_of(lead: Lead) -> LeadState:
    return LeadState(
        name=lead.name,
        phone=lead.phone,
        confirmed=lead.confirmed,
        need=lead.need,
        best_time=lead.best_time,
        summary=lead.summary,
        extra=lead.extra,
        sources={name: msgspec.convert(source, Provenance) for name, source in lead.sources.items()},
    )


def write_state(lead: Lead, state: LeadState) -> None:
    for name, value in asdict(state).items():
        setattr(lead, name, value)


def _add_notes(session: Session, call: Call, lead: Lead) -> None:
    """One note a voicemail: when, and where to hear it; one of a person who was rung: what they did, and said to do."""
    notes = list(lead.notes)
    if (became := handover(session, call.id)) is not None:
        lead.handover = became.data["how"]
        told = {"kind": HANDED_OVER, "call": call.sid, "at": became.at.isoformat(), "how": lead.handover}
        if not any(note.get("kind") == HANDED_OVER and note.get("at") == told["at"] for note in notes):
            notes.append({**told, "text": became.data.get("told", "")})
    known = {note.get("url") for note in notes}
    for event in session.scalars(
        select(CallEvent).where(CallEvent.call_id == call.id, CallEvent.kind == VOICEMAIL).order_by(CallEvent.id)
    ):
        url = event.data.get("url", "")
        if url and url not in known:
            known.add(url)
            notes.append({"kind": VOICEMAIL, "call": call.sid, "at": event.at.isoformat(), "url": url})
    if len(notes) != len(lead.notes):
        lead.notes = notes


def _keep_task(session: Session, call: Call, lead: Lead, todo: FollowUp, *, asked: bool, now: datetime) -> None:
    """The lead's one open callback: made, or moved to the hour the caller just asked for, else to the earlier one."""
    task = session.scalars(
        select(Task)
        .where(
            Task.lead_id == lead.id,
            Task.kind == TaskKind.CALLBACK,
            or_(Task.done_at.is_(None), Task.call_id == call.id),  # done for this very call: stays done
        )
        .order_by(Task.done_at.is_not(None), Task.id)
        .limit(1)
    ).one_or_none()
    if task is None:
        session.add(
            Task(
                business_id=call.business_id,
                lead_id=lead.id,
                call_id=call.id,
                kind=TaskKind.CALLBACK,
                note=todo.note,
                due_at=todo.due_at,
                remind_at=todo.due_at,
                created_at=now,
            )
        )
    elif task.done_at is None:
        due = todo.due_at if asked else min(task.due_at, todo.due_at)
        if due != task.due_at:
            task.due_at = task.remind_at = due
        if todo.note.startswith(task.note):
            task.note = todo.note  # the same, with what has come since
        elif todo.note not in task.note:
            task.note = f"{task.note}\n{todo.note}"


def _close_task(session: Session, call: Call, now: datetime) -> None:
    """Somebody talks to the caller after all: this call's own callback is done."""
    theirs = select(Task).where(Task.call_id == call.id, Task.kind == TaskKind.CALLBACK, Task.done_at.is_(None))
    for task in session.scalars(theirs):
        task.done_at = now
