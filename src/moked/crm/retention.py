"""The retention clock: what a business keeps for how long, and the nightly purge that holds it to that.

    recordings   of calls that ended before the cut-off: their key goes, the files follow; the provider's copies too
    transcripts  turns, written transcripts, drafts, messages: their words go, the call stays in the lists
    leads        closed before the cut-off: deleted; calls, conversations and contacts that nothing points to any more
                 go with them

A contact under legal hold keeps everything. What the provider could not delete stays on our record and is tried again
the next night. A dry run counts and changes nothing but its own line in the log.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Engine, Select, and_, delete, exists, null, or_, select, update
from sqlalchemy.orm import Session

from moked.channels import MessageState
from moked.crm import db
from moked.crm.db import Records
from moked.crm.leads import OPEN_STAGES
from moked.crm.models import AuditEntry, Business, Call, CallEvent, Contact, Lead, StreamTicket, Turn
from moked.crm.privacy import forget_words, rules_of
from moked.crm.privacy_rules import cutoffs
from moked.crm.recordings import destroy
from moked.crm.settle import VOICEMAIL
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_privacy import PrivacyHold, PurgeRun, Recording
from moked.crm.tables_whatsapp import Conversation, Message
from moked.crm.traces import forget_calls
from moked.errors import ProviderError

log = logging.getLogger(__name__)

SYSTEM = "מוקד"
"""Who the audit log says did it, when nobody did."""
_BATCH = 500
_COPY = re.compile(r"RE[0-9a-f]{32}")


class Provider(Protocol):
    """The carrier's own recordings: of voicemails and of instructions. Raises `ProviderError`."""

    def delete_recording(self, sid: str) -> None:
        """One that is not there is deleted."""


@dataclass(slots=True)
class Purged:
    """How many of each."""

    recordings: int = 0
    transcripts: int = 0
    leads: int = 0
    calls: int = 0
    contacts: int = 0
    messages: int = 0  # written ones, whose words went, or that were sent
    provider: int = 0
    held: int = 0  # calls that were old enough, and stay

    def __bool__(self) -> bool:
        return any(asdict(self).values())


class Retention(Records):
    """On `engine`; `provider` None: nobody else has copies."""

    def __init__(self, engine: Engine, provider: Provider | None = None) -> None:
        super().__init__(engine)
        self._engine = engine
        self._provider = provider

    def purge(self, now: datetime, *, dry: bool = False, business_id: int | None = None) -> dict[int, Purged]:
        """All businesses, or one; by business. May run anywhere, twice, or be killed: what is left is done next
        time."""
        with self._read.begin() as session:
            ids = session.scalars(select(Business.id).order_by(Business.id)).all()
        done = {}
        for one in ids:
            if business_id in (None, one):
                done[one] = self._purge(one, now, dry=dry)
        if not dry and any(done.values()):
            db.scrub(self._engine)
        return done

    def last_run(self, business_id: int) -> datetime | None:
        """When it really ran last."""
        query = select(PurgeRun.at).where(PurgeRun.business_id == business_id, PurgeRun.dry.is_(False))
        with self._read.begin() as session:
            return session.scalar(query.order_by(PurgeRun.at.desc()).limit(1))

    def _purge(self, business: int, now: datetime, *, dry: bool) -> Purged:
        counts = Purged()
        with self._read.begin() as session:
            cut = cutoffs(rules_of(session, business), now)
        mine = Call.business_id == business
        if cut.recordings is not None:
            old = and_(mine, Call.ended_at < cut.recordings)
            recorded = exists().where(Recording.call_id == Call.id, Recording.key.is_not(None))
            counts.held = self._count(select(Call.id).where(old, recorded, _held()))
            counts.recordings = self._each(select(Call.id).where(old, recorded, ~_held()), destroy, dry=dry)
            counts.provider = self._copies(old, dry=dry)
        if cut.transcripts is not None:
            words = exists().where(Turn.call_id == Call.id, or_(Turn.caller_text != "", Turn.said != ""))
            old = and_(mine, Call.ended_at < cut.transcripts)
            counts.transcripts = self._each(select(Call.id).where(old, words, ~_held()), _forget, dry=dry)
            counts.messages = self._messages(business, cut.transcripts, dry=dry)
        if cut.leads is not None:
            free = ~exists().where(PrivacyHold.contact_id == Lead.contact_id)
            closed = and_(Lead.stage.not_in(OPEN_STAGES), Lead.updated_at < cut.leads)
            leads = select(Lead.id).where(Lead.business_id == business, closed, free)
            counts.leads = self._each(leads, delete_leads, dry=dry)
            calls = select(Call.id).where(mine, Call.ended_at < cut.leads, Call.lead_id.is_(None), ~_held())
            counts.calls = self._each(calls, delete_calls, dry=dry)
            free_talk = ~exists().where(PrivacyHold.contact_id == Conversation.contact_id)
            over = and_(Conversation.last_at < cut.leads, Conversation.lead_id.is_(None), free_talk)
            talks = select(Conversation.id).where(Conversation.business_id == business, over)
            self._each(talks, delete_conversations, dry=dry)
            alone = and_(
                ~exists().where(Conversation.contact_id == Contact.id),
                ~exists().where(Lead.contact_id == Contact.id),
                ~exists().where(Call.contact_id == Contact.id),
                ~exists().where(PrivacyHold.contact_id == Contact.id),
            )
            contacts = select(Contact.id).where(Contact.business_id == business, Contact.updated_at < cut.leads, alone)
            counts.contacts = self._each(contacts, delete_contacts, dry=dry)
        self._record(business, counts, now, dry=dry)
        return counts

    def _messages(self, business: int, before: datetime, *, dry: bool) -> int:
        """The words of old messages: those of conversations, and those of what was sent."""
        held = (
            exists()
            .where(Conversation.id == Message.conversation_id)
            .where(PrivacyHold.contact_id == Conversation.contact_id)
        )
        old = and_(Message.business_id == business, Message.at < before, or_(Message.text != "", Message.raw != ""))
        said = self._each(select(Message.id).where(old, ~held), _forget_messages, dry=dry)
        sent = and_(
            OutboundMessage.business_id == business,
            OutboundMessage.created_at < before,
            OutboundMessage.text != "",
            OutboundMessage.state.not_in((MessageState.QUEUED, MessageState.APPROVAL, MessageState.SENDING)),
            ~exists().where(PrivacyHold.contact_id == OutboundMessage.contact_id),
        )
        said += self._each(select(OutboundMessage.id).where(sent), _forget_sent, dry=dry)
        free = ~exists().where(PrivacyHold.contact_id == Conversation.contact_id)
        known = and_(
            Conversation.business_id == business, Conversation.last_at < before, Conversation.agent.is_not(None)
        )
        self._each(select(Conversation.id).where(known, free), _forget_agent, dry=dry)
        return said

    def _count(self, which: Select[int]) -> int:
        with self._read.begin() as session:
            return len(session.scalars(which).all())

    def _each(self, which: Select[int], work: Any, *, dry: bool) -> int:
        """`work` on all rows of `which`, so many a transaction; it makes them fall out of `which`."""
        if dry:
            return self._count(which)
        done = 0
        while True:
            with self._writing() as session:
                ids = session.scalars(which.limit(_BATCH)).all()
                if not ids:
                    return done
                work(session, ids)
                done += len(ids)

    def _copies(self, old: ColumnElement[bool], *, dry: bool) -> int:
        """The provider's recordings of old calls: deleted there first, then their addresses here."""
        with self._read.begin() as session:
            found = [
                (call_id, event_id, _COPY.findall(str(data)))
                for call_id, event_id, data in session.execute(
                    select(Call.id, CallEvent.id, CallEvent.data)
                    .join(Call, Call.id == CallEvent.call_id)
                    .where(old, ~_held(), CallEvent.kind.in_(COPIED))
                )
            ]
        found = [one for one in found if one[2]]
        if dry or self._provider is None:
            return len(found) if self._provider is not None else 0
        done = 0
        for call_id, event_id, sids in found:
            try:
                for sid in dict.fromkeys(sids):
                    self._provider.delete_recording(sid)
            except ProviderError as error:
                log.warning("the provider keeps a recording until tomorrow", extra={"kind": error.kind.value})
                continue
            with self._writing() as session:
                forget_copy(session, call_id, event_id)
            done += 1
        return done

    def _record(self, business: int, counts: Purged, now: datetime, *, dry: bool) -> None:
        with self._writing() as session:
            session.add(PurgeRun(business_id=business, at=now, dry=dry, counts=asdict(counts)))
            if counts and not dry:
                session.add(
                    AuditEntry(
                        business_id=business,
                        at=now,
                        who=SYSTEM,
                        action="privacy.purged",
                        target="",
                        data=asdict(counts),
                    )
                )


COPIED = (VOICEMAIL, "instruction", "handover")
"""Events that may name a recording of the provider's."""


def copies_of(session: Session, call_ids: Sequence[int]) -> list[str]:
    """The provider's recordings of these calls, by its SIDs."""
    rows = session.scalars(select(CallEvent.data).where(CallEvent.call_id.in_(call_ids))).all()
    return list(dict.fromkeys(sid for data in rows for sid in _COPY.findall(str(data))))


def forget_copy(session: Session, call_id: int, event_id: int) -> None:
    """Nothing leads to a copy that is gone: neither the event nor the lead's note."""
    event = session.get(CallEvent, event_id)
    call = session.get(Call, call_id)
    if event is None or call is None:
        return
    event.key = None
    event.data = {key: value for key, value in event.data.items() if not _COPY.search(str(value))} | {"deleted": True}
    lead = session.get(Lead, call.lead_id) if call.lead_id else None
    if lead is not None:
        lead.notes = [
            {**note, "url": ""} if note.get("call") == call.sid and _COPY.search(str(note.get("url", ""))) else note
            for note in lead.notes
        ]


def delete_calls(session: Session, call_ids: Sequence[int]) -> None:
    """With all that belongs to them; their recordings' files are the keeper's."""
    forget_calls(session, call_ids)
    sids = select(Call.sid).where(Call.id.in_(call_ids))
    for table, which in ((StreamTicket, StreamTicket.call_sid.in_(sids)), (Call, Call.id.in_(call_ids))):
        session.execute(delete(table).where(which).execution_options(synchronize_session=False))


def delete_leads(session: Session, lead_ids: Sequence[int]) -> None:
    session.execute(delete(Lead).where(Lead.id.in_(lead_ids)).execution_options(synchronize_session=False))


def delete_contacts(session: Session, contact_ids: Sequence[int]) -> None:
    session.execute(delete(Contact).where(Contact.id.in_(contact_ids)).execution_options(synchronize_session=False))


def delete_conversations(session: Session, ids: Sequence[int]) -> None:
    """With what was said in them, and the way out of our own messages."""
    ours = select(Message.outbound_id).where(Message.conversation_id.in_(ids), Message.outbound_id.is_not(None))
    for table, which in ((OutboundMessage, OutboundMessage.id.in_(ours)), (Conversation, Conversation.id.in_(ids))):
        session.execute(delete(table).where(which).execution_options(synchronize_session=False))


def _forget_messages(session: Session, ids: Sequence[int]) -> None:
    gone = update(Message).where(Message.id.in_(ids)).values(text="", raw="")
    session.execute(gone.execution_options(synchronize_session=False))


def _forget_sent(session: Session, ids: Sequence[int]) -> None:
    gone = update(OutboundMessage).where(OutboundMessage.id.in_(ids)).values(text="", subject="", template_values=[])
    session.execute(gone.execution_options(synchronize_session=False))


def _forget_agent(session: Session, ids: Sequence[int]) -> None:
    """What the agent had learnt in a talk."""
    gone = update(Conversation).where(Conversation.id.in_(ids)).values(agent=null())
    session.execute(gone.execution_options(synchronize_session=False))


def _forget(session: Session, call_ids: Sequence[int]) -> None:
    forget_words(session, list(call_ids))
    session.execute(
        update(Call).where(Call.id.in_(call_ids)).values(draft={}).execution_options(synchronize_session=False)
    )


def _held() -> ColumnElement[bool]:
    return exists().where(PrivacyHold.contact_id == Call.contact_id)
