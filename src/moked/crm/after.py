"""What the work after a call reads and writes: each method is one transaction, and may be repeated.

material -> (a model, or rules) -> learn     the summary, the next step, and the lead's empty fields
letter -> open_notice -> (a channel) -> notice_sent
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from moked.crm import extraction
from moked.crm.db import Records
from moked.crm.extraction import Extraction, Said
from moked.crm.leads import LeadState, Origin, caller_phone
from moked.crm.models import Business, Call, CallEvent, Contact, Lead, TranscriptSegment, Turn, UserAccount
from moked.crm.permissions import UserRole
from moked.crm.settle import ANSWERED, DIAL_RESULT, VOICEMAIL, insert, state_of, write_state
from moked.crm.tables_jobs import CallSummary, Notice
from moked.crm.tables_policy import SendingPolicy
from moked.records import Outcome


@dataclass(frozen=True, slots=True)
class Material:
    """What there is to read of a call: its turns, in the words of the better transcript where there is one.

    `lead` None: it left none.
    """

    business: str
    turns: Sequence[Said]
    lead: LeadState | None
    origin: Origin | None
    voicemail: bool
    reached: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """What somebody of the business is told about a call's lead. `to`: e-mail addresses of whoever is to be told.

    `sure`: the phone is the one they called from, or was read back to them. `new`: the lead began with this call.
    """

    call_sid: str
    business: str
    timezone: str
    to: tuple[str, ...]
    lead_id: int
    name: str
    phone: str
    sure: bool
    need: str
    best_time: str
    summary: str
    next_step: str
    origin: Origin
    outcome: Outcome
    ended_at: datetime
    new: bool


class AfterCalls(Records):
    """Reads and writes on `engine`. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def material(self, call_sid: str) -> Material | None:
        """None for a call that is not on record any more."""
        with self._read.begin() as session:
            call = _call(session, call_sid)
            if call is None or call.ended_at is None:
                return None
            business = session.get(Business, call.business_id)
            assert business is not None, "the key holds"
            turns = session.execute(
                select(Turn.number, Turn.caller_text, Turn.heard, Turn.started_ms)
                .where(Turn.call_id == call.id)
                .order_by(Turn.number)
            ).all()
            better = session.execute(
                select(TranscriptSegment.start_ms, TranscriptSegment.end_ms, TranscriptSegment.text)
                .where(TranscriptSegment.call_id == call.id)
                .order_by(TranscriptSegment.number)
            ).all()
            happened = session.execute(
                select(CallEvent.kind, CallEvent.data).where(
                    CallEvent.call_id == call.id, CallEvent.kind.in_((VOICEMAIL, DIAL_RESULT))
                )
            ).all()
            lead = session.get(Lead, call.lead_id) if call.lead_id is not None else None
            return Material(
                business=business.name,
                turns=extraction.with_better(
                    [(started, Said(number, caller, heard)) for number, caller, heard, started in turns],
                    [(start, end, text) for start, end, text in better],
                ),
                lead=state_of(lead) if lead is not None else None,
                origin=lead.origin if lead is not None else None,
                voicemail=any(kind == VOICEMAIL for kind, _ in happened),
                reached=any(kind == DIAL_RESULT and data.get("status") in ANSWERED for kind, data in happened),
            )

    def learn(self, call_sid: str, found: Extraction) -> int | None:
        """Put a reading on record, and into the call's lead. The lead's id; None where there is none."""
        with self._writing() as session:
            call = _call(session, call_sid)
            if call is None:
                return None
            now = self._clock()
            former = session.scalar(select(CallSummary.summary).where(CallSummary.call_id == call.id)) or ""
            values = {
                "by": found.by,
                "summary": found.summary,
                "next_step": found.next_step,
                "fields": {name: asdict(value) for name, value in found.fields.items()},
            }
            session.execute(
                insert(session, CallSummary)
                .values(call_id=call.id, business_id=call.business_id, created_at=now, **values)
                .on_conflict_do_update(index_elements=["call_id"], set_=values)
            )
            if call.lead_id is None:
                return None
            lead = session.scalars(
                select(Lead)
                .where(Lead.id == call.lead_id)
                .with_for_update(key_share=True)
                .execution_options(populate_existing=True)  # a person may have written while we waited
            ).one()
            before = state_of(lead)
            after = extraction.apply(before, found, call_sid, former=former)
            if after != before:
                write_state(lead, after)
                lead.updated_at = now
                contact = session.get(Contact, lead.contact_id, with_for_update={"key_share": True})
                if contact is not None and not contact.name and not contact.locked and after.name:
                    contact.name, contact.updated_at = after.name, now
            return lead.id

    # ---- messages

    def letter(self, call_sid: str) -> Letter | None:
        """None where nobody has to be told by this: the call left no lead, is not on record any more, or the business
        has written down itself who is told by e-mail."""
        with self._read.begin() as session:
            call = _call(session, call_sid)
            if call is None or call.lead_id is None or call.ended_at is None or call.outcome is None:
                return None
            lead, business = session.get(Lead, call.lead_id), session.get(Business, call.business_id)
            assert lead is not None, "the key holds"
            assert business is not None, "the key holds"
            policy = session.get(SendingPolicy, business.id)
            if policy is not None and any(one.get("channel") == "email" for one in policy.notify):
                return None  # they have said themselves who is told by e-mail: `followups` does
            summary = session.get(CallSummary, call.id)
            owners = session.scalars(
                select(UserAccount.email)
                .where(
                    UserAccount.business_id == business.id,
                    UserAccount.role == UserRole.OWNER,
                    UserAccount.active.is_(True),
                    UserAccount.password_hash != "",
                )
                .order_by(UserAccount.id)
            )
            return Letter(
                call_sid=call.sid,
                business=business.name,
                timezone=business.timezone,
                to=tuple(owners),
                lead_id=lead.id,
                name=lead.name,
                phone=lead.phone,
                sure=lead.confirmed or lead.phone == caller_phone(call.caller),
                need=lead.need,
                best_time=lead.best_time,
                summary=lead.summary,
                next_step=summary.next_step if summary is not None else "",
                origin=lead.origin,
                outcome=call.outcome,
                ended_at=call.ended_at,
                new=lead.source_call_sid == call.sid,
            )

    def open_notice(self, call_sid: str, key: str, channel: str, recipient: str) -> bool:
        """Say that this message is about to be sent. False: it was."""
        with self._writing() as session:
            call = _call(session, call_sid)
            if call is None:
                return False
            session.execute(
                insert(session, Notice)
                .values(
                    business_id=call.business_id,
                    call_id=call.id,
                    key=key,
                    channel=channel,
                    recipient=recipient,
                    created_at=self._clock(),
                )
                .on_conflict_do_nothing(index_elements=["key"])
            )
            return session.scalar(select(Notice.sent_at).where(Notice.key == key)) is None

    def notice_sent(self, key: str) -> timedelta | None:
        """It is out. How long after its call's end; None: that was on record already."""
        with self._writing() as session:
            now = self._clock()
            call_id = session.execute(
                update(Notice)
                .where(Notice.key == key, Notice.sent_at.is_(None))
                .values(sent_at=now)
                .returning(Notice.call_id)
                .execution_options(synchronize_session=False)
            ).scalar_one_or_none()
            call = session.get(Call, call_id) if call_id is not None else None
            return now - call.ended_at if call is not None and call.ended_at is not None else None


def _call(session: Session, call_sid: str) -> Call | None:
    return session.scalars(select(Call).where(Call.sid == call_sid)).one_or_none()
