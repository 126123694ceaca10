"""The record of calls: every public method is one transaction, may be repeated, and may run in many threads at once.

    webhook   receive_call -> a place and a ticket | refused, with its lead
    media     redeem_ticket -> add_turn, touch ... -> finish_call -> lead, or the reason why not
              save_snapshots ... the stream ends -> resume_call -> redeem_ticket -> left_call: another process goes on
    carrier   call_status, add_event ('voicemail' and 'dial_result' may still change what an ended call left)
    anybody   sweep_orphans: what nobody serves any more is finished as broken, from what was stored so far

A method about a call that is not on record (erased, say) logs it and does nothing: a late report is no error.
Everything here is synchronous and may wait for the database: never on an event loop.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
from sqlalchemy import CursorResult, Engine, delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import events, hiding, moves, nodes, outbox, people, privacy, report, search, tickets
from moked.crm.db import Records
from moked.crm.leads import OPEN_STAGES, Stage, move
from moked.crm.models import Business, Call, CallEvent, CallState, Lead, TranscriptSegment, Turn
from moked.crm.nodes import SLOT_TTL_S
from moked.crm.places import NodeReport, Refusal
from moked.crm.privacy_rules import RefusedWords
from moked.crm.sealed import Sealer
from moked.crm.settle import (
    CALLBACK_REQUEST,
    DIAL_RESULT,
    HANDED_OVER,
    VOICEMAIL,
    LeadResult,
    handover,
    insert,
    settle,
    stored_result,
)
from moked.crm.tickets import TicketReason, TicketRefusal
from moked.records import (
    HANDOVER,
    CallEnd,
    CallStart,
    Handover,
    LeadDraft,
    LeftCall,
    Outcome,
    Segment,
    SnapshotSave,
    TurnRecord,
)

log = logging.getLogger(__name__)

HEARTBEAT_LIMIT_S = 90
"""A live call without a heartbeat for this long holds no place any more. Serving processes beat several times within
it."""

_NEVER_CAME = "stream_never_came"
_ORPHANED = "orphaned"
_PROVISIONAL = (_NEVER_CAME, _ORPHANED)  # endings that others concluded; the session's own replaces them
_CALL_STATUS = "call_status"
_TYPING = timedelta(
    seconds=30
)  # for whoever is refused to say where to be called, if the carrier does not tell the end
_OVER = ("completed", "busy", "failed", "no-answer", "canceled")  # CallStatus values after which nothing comes


@dataclass(frozen=True, slots=True)
class Reception:
    """The answer to an incoming call: a ticket for the stream, or '' and why: a `places.Refusal`, or 'ended'.

    `media_url` is the address of the node that has a place for it; '' where none was asked for.
    """

    ticket: str
    refusal: str = ""
    media_url: str = ""


class Step(StrEnum):
    """What the carrier does with a call whose stream has closed."""

    HANG_UP = "hang_up"
    TRANSFER = "transfer"
    WAY_ON = "way_on"  # it broke: apologise, then a person or a voicemail


@dataclass(frozen=True, slots=True)
class NextStep:
    """`number` is where to transfer to, E.164; '' = the business's own transfer number."""

    step: Step
    number: str = ""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a call goes on whose stream has ended: with another stream (`ticket`), after a `wait`, or with `step`."""

    step: NextStep
    ticket: str = ""
    wait: bool = False
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class ContactSummary:
    """What is known about a returning caller."""

    id: int
    phone: str
    name: str
    last_need: str
    calls: int
    last_call_at: datetime | None
    open_lead_id: int | None


class Crm(Records):
    """The record on `engine`. `clock` gives aware UTC; `next_opening` tells when the business is next open (now, if it
    is), for the due time of callbacks; `openings` the same of others, by id.
    `sealer` seals what the business asks for and nobody else may read.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        next_opening: Callable[[datetime], datetime] | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        super().__init__(engine)
        self._clock = clock
        events.watch(self._write, clock)
        self._next_opening = next_opening
        self.openings: dict[int, Callable[[datetime], datetime]] = {}
        self._sealer = sealer

    # ---- businesses and contacts

    def ensure_business(
        self, name: str, *, key: str = "default", phone: str = "", timezone: str = "Asia/Jerusalem"
    ) -> int:
        """The id of business `key`, made or brought up to date."""
        with self._writing() as session:
            facts = {"name": name, "phone": phone, "timezone": timezone}
            return int(
                session.scalars(
                    insert(session, Business)
                    .values(key=key, created_at=self._clock(), **facts)
                    .on_conflict_do_update(index_elements=["key"], set_=facts)
                    .returning(Business.id)
                ).one()
            )

    def contact_by_phone(self, e164: str, business_id: int | None = None) -> ContactSummary | None:
        """Who calls from this number. Without `business_id`: of the first business, for a server that has one."""
        with self._read.begin() as session:
            business = business_id or select(func.min(Business.id)).scalar_subquery()
            contact = people.known_at(session, business, e164)
            if contact is None:
                return None
            calls, last = session.execute(
                select(func.count(), func.max(Call.started_at)).where(Call.contact_id == contact.id)
            ).one()
            leads = session.scalars(select(Lead).where(Lead.contact_id == contact.id).order_by(Lead.id.desc())).all()
            return ContactSummary(
                id=contact.id,
                phone=e164,
                name=contact.name,
                last_need=next((lead.need for lead in leads if lead.need), ""),
                calls=calls,
                last_call_at=last,
                open_lead_id=next((lead.id for lead in leads if lead.stage in OPEN_STAGES), None),
            )

    def move_lead(self, lead_id: int, to: Stage) -> None:
        """Raises `leads.IllegalMove`, and `LookupError` where there is no such lead."""
        with self._writing() as session:
            lead = session.scalars(select(Lead).where(Lead.id == lead_id).with_for_update(key_share=True)).one_or_none()
            if lead is None:
                raise LookupError(f"no lead {lead_id}")
            if (stage := move(lead.stage, to)) is not lead.stage:
                lead.stage, lead.updated_at = stage, self._clock()

    # ---- a call comes in

    def receive_call(
        self,
        start: CallStart,
        business_id: int,
        *,
        reserve: bool = False,
        here: NodeReport | None = None,
        refuse: str = "",
        ttl_s: float = SLOT_TTL_S,
        also: Callable[[Session], None] = lambda session: None,
    ) -> Reception:
        """Answer the webhook: record the call and mint a ticket, or refuse it and keep its lead; in one transaction.

        `reserve`: only with a place at a media process, which is given under a lock, so that no two webhooks get the
        last one; `here` is this process's own report, if it is one. `refuse` (a `Refusal`) refuses without asking.
        The carrier's retry gets the same answer, with a fresh ticket. `also` is done in the same transaction.
        """
        with self._writing() as session:
            also(session)
            now = self._clock()
            new = self._open(session, start, business_id, now)
            call = self._locked(session, start.call_sid)
            assert call is not None
            if call.ended_at is not None:
                return Reception("", call.detail if call.outcome is Outcome.REFUSED else "ended")
            media_url = ""
            if reserve and not refuse:
                # The lock of admission is taken late to be held shortly: who waits here then sees who came before.
                place = nodes.reserve(session, call, here=here, now=now, heartbeat_limit_s=HEARTBEAT_LIMIT_S)
                if isinstance(place, Refusal):
                    refuse = place.value
                else:
                    media_url = place.address
            if refuse:
                if call.status is CallState.OPEN:
                    self._turn_away(session, call, refuse, now)
                return Reception("", refuse)
            if not new:
                call.heartbeat_at = now
            return Reception(tickets.mint(session, call, ttl_s=ttl_s, now=now), media_url=media_url)

    def open_call(self, start: CallStart, business_id: int) -> None:
        """Put the call on record; a second time changes nothing."""
        with self._writing() as session:
            self._open(session, start, business_id, self._clock())

    def mint_ticket(self, call_sid: str, ttl_s: float = 60) -> str:
        """A token that opens this call's media stream once within `ttl_s`. Raises `LookupError` for an unknown call."""
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None:
                raise LookupError(f"no call {call_sid}")
            return tickets.mint(session, call, ttl_s=ttl_s, now=self._clock())

    def redeem_ticket(self, token: str, call_sid: str, *, node: str = "") -> CallStart | TicketRefusal:
        """Use the ticket up; the call is live from then on, at `node`. At most one attempt succeeds."""
        now = self._clock()
        with self._writing() as session:
            start = tickets.redeem(session, token, call_sid, now=now)
            if isinstance(start, TicketRefusal):
                return start
            if start.stream:
                moves.taken_over(session, call_sid, start.stream)
            opened = _changed(
                session,
                update(Call)
                .where(Call.sid == call_sid, Call.ended_at.is_(None))
                .values(
                    status=CallState.LIVE,
                    answered_at=func.coalesce(Call.answered_at, now),
                    heartbeat_at=now,
                    next_step="",  # a second stream of the same call decides anew
                    transfer_to="",
                    **({"node": node} if node else {}),
                ),
            )
            if not opened:  # given up in the meantime, with a lead that says so
                return TicketRefusal(TicketReason.EXPIRED)
            return start

    # ---- while it runs

    def active_calls(self, business_id: int | None = None) -> int:
        """Calls that hold a place: admitted a moment ago, or live with a heartbeat."""
        query = select(func.count()).select_from(Call).where(nodes.holding(self._clock(), HEARTBEAT_LIMIT_S))
        if business_id is not None:
            query = query.where(Call.business_id == business_id)
        with self._read.begin() as session:
            return session.scalar(query) or 0

    def report_node(self, node: NodeReport) -> None:
        """How a media process fares; it says so once a second."""
        with self._writing() as session:
            nodes.report(session, node, now=self._clock())

    def forget_node(self, name: str) -> None:
        """The media process ends."""
        with self._writing() as session:
            nodes.forget(session, name)

    def awaited_calls(self, node: str) -> int:
        """Calls that were admitted to this media process and whose stream is still to come."""
        query = select(func.count()).where(
            nodes.holding(self._clock(), HEARTBEAT_LIMIT_S), Call.status == CallState.OPEN, Call.node == node
        )
        with self._read.begin() as session:
            return session.scalar(query) or 0

    def live_nodes(self) -> list[NodeReport]:
        """The media processes that report now."""
        with self._read.begin() as session:
            return nodes.live(session, now=self._clock())

    def node_elsewhere(self, call_sid: str, *, but: str = "") -> str:
        """The address of the least loaded media process that takes calls: not `but`, nor the one that had this call."""
        with self._read.begin() as session:
            had = session.scalar(select(Call.node).where(Call.sid == call_sid))
            there = [
                node
                for node in nodes.live(session, now=self._clock())
                if node.accepting and not node.draining and node.name not in (but, had)
            ]
        return min(there, key=lambda node: node.active / max(1, node.capacity)).address if there else ""

    def touch(self, call_sids: Iterable[str]) -> None:
        """Heartbeat of the calls this process serves."""
        with self._writing() as session:
            _changed(
                session,
                update(Call)
                .where(Call.sid.in_(list(call_sids)), Call.ended_at.is_(None))
                .values(heartbeat_at=self._clock()),
            )

    def save_snapshots(self, snapshots: Sequence[SnapshotSave]) -> None:
        """Where running calls stand; the last one of each counts. A stream that was replaced has no word any more."""
        with self._writing() as session:
            moves.save(session, snapshots, now=self._clock())
            for sid in dict.fromkeys(one.call_sid for one in snapshots if one.left):
                call = self._locked(session, sid)
                if call is not None and call.ended_at is None and self._carrier_is_done(session, call):
                    self._finish(session, call, self._abandoned(session, call))

    def left_call(self, call_sid: str) -> LeftCall | None:
        """The call as its last stream left it."""
        with self._read.begin() as session:
            return moves.left(session, call_sid, now=self._clock())

    def add_turn(self, call_sid: str, turn: TurnRecord, lead: LeadDraft | None = None) -> None:
        """Store a turn, or its newer version (by `ended_ms`).

        `lead`: what the agent knows so far, for the case that we die.
        """
        now = self._clock()
        alive: dict[str, Any] = {"heartbeat_at": now}
        with self._writing() as session:
            kept = privacy.words_kept_of(session, call_sid)
            if lead is not None:
                alive["draft"] = self._draft(session, call_sid, lead, kept)
            found = session.execute(
                update(Call)
                .where(Call.sid == call_sid)
                .values(alive)
                .returning(Call.id, Call.business_id, Call.ended_at, Call.lead_id)
                .execution_options(synchronize_session=False)
            ).one_or_none()
            if found is None:
                log.warning("turn of an unknown call", extra={"call_sid": call_sid, "turn": turn.number})
                return
            numbers = hiding.has_numbers(turn)
            turn = hiding.still_hidden(session, found.id, turn) if numbers else replace(turn, word_times=())
            values = asdict(privacy.turn_kept(turn, kept))
            values.update(values.pop("waterfall"))
            keys = {"call_id": found.id, "business_id": found.business_id, "created_at": now}
            connection = session.connection()
            statement = people.storing(connection.dialect.name, Turn, ("call_id", "number"), tuple(values), "ended_ms")
            connection.execute(statement, {**keys, **values})
            if numbers and (call := session.get(Call, found.id, populate_existing=True)) is not None:
                hiding.hide_turns(session, call, hiding.policy_of_call(session, call), turn.number)
                search.index_call(session, found.id)
            else:
                search.add_words(session, found.id, found.business_id, (values["caller_text"], values["heard"]))
            if found.ended_at is not None and found.lead_id is None:  # it came late: there were words after all
                self._settle_again(session, call_sid)

    def add_event(self, call_sid: str, kind: str, data: dict[str, Any], *, key: str | None = None) -> None:
        """Store what happened. Events of one kind with the same `key` are one report, repeated.

        'voicemail' {url, ...} and 'dial_result' {status, ...} change what a call that has ended leaves behind.
        """
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None:
                log.warning("event of an unknown call", extra={"call_sid": call_sid, "kind": kind})
                return
            self._event(session, call, kind, data, key)
            if kind == privacy.REFUSED:
                privacy.refuse(session, call, self._clock())
            if call.ended_at is not None and kind in (VOICEMAIL, DIAL_RESULT):
                self._settle_again(session, call_sid)

    def request_callback(self, call_sid: str, number: str, *, key: str) -> None:
        """A caller nobody had a line for wants to be called at `number` (E.164). The same `key` is the same request."""
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None:
                log.warning("callback request of an unknown call", extra={"call_sid": call_sid})
                return
            self._event(session, call, CALLBACK_REQUEST, {"number": number}, key)
            if _unsettled(call):
                outbox.hurry(session, outbox.call_key(call_sid), self._clock())
            elif call.ended_at is not None:
                self._settle(session, call, learn=True)

    def settle_refused(self, call_sid: str) -> None:
        """Make a refused call's lead, of all its caller has typed. Nothing, where it is made; any number of times."""
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is not None and _unsettled(call):
                search.index_call(session, call.id)
                self._settle(session, call, learn=True)

    def call_status(self, call_sid: str, status: str, data: dict[str, Any], *, key: str | None = None) -> None:
        """The carrier's word on the call. Over before its stream came: it is finished as `NO_STREAM`; over between two
        streams: as what ended the first.

        A live call is left to its session, which sees the socket close, and to the sweep.
        """
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None:
                log.warning("status of an unknown call", extra={"call_sid": call_sid, "status": status})
                return
            self._event(session, call, _CALL_STATUS, {"status": status, **data}, key)
            if status not in _OVER:
                return
            if _unsettled(call):
                outbox.hurry(session, outbox.call_key(call_sid), self._clock())
            elif call.ended_at is None:
                between = moves.state(session, call)
                if call.status is CallState.OPEN or (between is not None and between.left_at is not None):
                    self._finish(session, call, self._abandoned(session, call))

    # ---- how it goes on, and ends

    def set_next_step(self, call_sid: str, step: NextStep) -> None:
        """Decide what the carrier does when the stream closes; to be stored before the socket is closed."""
        with self._writing() as session:
            _changed(
                session,
                update(Call).where(Call.sid == call_sid).values(next_step=step.step.value, transfer_to=step.number),
            )

    def draft_of(self, call_sid: str) -> LeadDraft | None:
        """What a running call has told so far; None where it does not run."""
        with self._read.begin() as session:
            call = session.scalars(select(Call).where(Call.sid == call_sid, Call.ended_at.is_(None))).one_or_none()
            if call is None:
                return None
            return msgspec.convert(call.draft, LeadDraft) if call.draft else LeadDraft()

    def handed_over(self, call_sid: str, how: Handover, data: dict[str, Any]) -> bool:
        """What became of the attempt to reach a person, once an attempt; False for anything but its first answer.

        Taken ends the call for us. Sent back with an instruction, the lead says so.
        """
        with self._writing() as session:
            call = self._locked(session, call_sid)
            kept = moves.state(session, call) if call is not None else None
            if call is None or call.ended_at is not None or kept is None or kept.left_why != HANDOVER:
                return False
            key = str(kept.stream)
            told = select(CallEvent.id).where(
                CallEvent.call_id == call.id, CallEvent.kind == HANDED_OVER, CallEvent.key == key
            )
            if session.scalar(told) is not None:
                return False
            self._event(session, call, HANDED_OVER, {"how": how.value, **data}, key)
            call.heartbeat_at = self._clock()
            if how is Handover.TAKEN:
                end = replace(self._abandoned(session, call), outcome=Outcome.TRANSFERRED, detail="taken")
                self._finish(session, call, end)
            return True

    def instruction_heard(self, call_sid: str, told: str) -> None:
        """The words of what a person said to do with the caller they sent back."""
        with self._writing() as session:
            call = self._locked(session, call_sid)
            became = handover(session, call.id) if call is not None else None
            if became is not None:
                became.data = {**became.data, "told": told}

    def resume_call(self, call_sid: str, *, serves: bool, may_wait: bool = False, ttl_s: float = 30) -> Resumption:
        """The carrier asks what to do with a call whose stream has ended. Where nobody decided to end it, it goes on.

        `serves`: some media process takes calls now; `may_wait`: one will soon. A call that moves in circles, or that
        nobody can serve, is ended as broken: the answer is the way on.
        """
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None:
                return Resumption(NextStep(Step.WAY_ON), refusal="unknown")
            if call.next_step or call.ended_at is not None:
                return Resumption(_step(call), refusal="ended")
            now = self._clock()
            asked = moves.ask(session, call, serves=serves, may_wait=may_wait, now=now)
            if asked.refusal:
                end = replace(self._abandoned(session, call), outcome=Outcome.BROKEN, detail=asked.refusal)
                self._finish(session, call, end)
                return Resumption(NextStep(Step.WAY_ON), refusal=asked.refusal)
            if asked.wait:
                return Resumption(NextStep(Step.WAY_ON), wait=True)
            ticket = tickets.mint(session, call, ttl_s=ttl_s, now=now, stream=asked.stream)
            return Resumption(NextStep(Step.WAY_ON), ticket=ticket)

    def finish_call(self, end: CallEnd) -> LeadResult:
        """End the call and give it its contact, its lead or the reason why not, and its follow-up task; once.

        The session's own ending replaces one that a sweep or the carrier concluded.
        """
        with self._writing() as session:
            call = self._locked(session, end.call_sid)
            if call is None:
                log.error("end of an unknown call", extra={"call_sid": end.call_sid, "outcome": end.outcome.value})
                return LeadResult(end.call_sid)
            kept = moves.state(session, call)
            if kept is not None and kept.stream > end.stream:
                log.warning("end of a call that has moved on", extra={"call_sid": end.call_sid, "detail": end.detail})
                return LeadResult(end.call_sid)
            concluded = call.detail in _PROVISIONAL and end.detail not in _PROVISIONAL
            if call.ended_at is not None and not concluded:
                return stored_result(session, call)
            return self._finish(session, call, end)

    def sweep_orphans(self, older_than_s: float = HEARTBEAT_LIMIT_S) -> list[str]:
        """Finish calls without a heartbeat for `older_than_s`, and those whose stream ended `moves.GRACE_S` ago and
        that nobody has gone on with; each in its own transaction; returns their SIDs.

        A live one whose process died is `BROKEN`, one whose stream never came is `NO_STREAM`. Old tickets and nodes
        go too.
        """
        limit = self._clock() - timedelta(seconds=older_than_s)
        with self._read.begin() as session:
            suspects = session.scalars(
                select(Call.sid)
                .where(Call.ended_at.is_(None), Call.heartbeat_at < limit)
                .order_by(Call.heartbeat_at)  # as the index of unended calls has them: no look at all calls
            ).all()
            left = moves.abandoned(session, now=self._clock())
        finished = []
        for sid in dict.fromkeys([*suspects, *left]):
            with self._writing() as session:
                call = self._locked(session, sid)
                if call is None or call.ended_at is not None or moves.waits_for_a_person(session, call, self._clock()):
                    continue  # somebody else was faster, or it is nobody's turn
                if call.heartbeat_at >= limit and sid not in moves.abandoned(session, now=self._clock()):
                    continue  # it came back to life
                self._finish(session, call, self._abandoned(session, call))
                finished.append(sid)
        with self._writing() as session:
            tickets.prune(session, now=self._clock())
            nodes.prune(session, now=self._clock())
        if finished:
            log.warning("calls nobody served were finished", extra={"count": len(finished), "call_sids": finished})
        return finished

    def store_transcript(self, call_sid: str, segments: Sequence[Segment]) -> bool:
        """The transcript that was written after the call; a former one is replaced. False for an unknown call,
        and for one whose caller's words are not kept."""
        with self._writing() as session:
            call = self._locked(session, call_sid)
            if call is None or privacy.words_kept(session, call.id) not in (None, RefusedWords.TRANSCRIPT):
                return False
            segments = hiding.hide_segments(session, call, segments, hiding.policy_of_call(session, call))
            session.execute(delete(TranscriptSegment).where(TranscriptSegment.call_id == call.id))
            session.add_all(
                TranscriptSegment(
                    business_id=call.business_id,
                    call_id=call.id,
                    number=number,
                    created_at=self._clock(),
                    **asdict(segment),
                )
                for number, segment in enumerate(segments)
            )
            search.index_call(session, call.id)
            if segments and call.ended_at is not None:
                self._follow(session, call, outbox.READ_AGAIN, outbox.reading_key(call.sid), lane=outbox.LATER)
            return True

    def call_report(self, call_sid: str) -> dict[str, Any] | None:
        """Everything about a call, JSON-ready, or None. `ended` tells whether it is final."""
        with self._read.begin() as session:
            call = session.scalars(select(Call).where(Call.sid == call_sid)).one_or_none()
            return report.call_report(session, call) if call else None

    # ---- inside a transaction

    def _locked(self, session: Session, call_sid: str) -> Call | None:
        return session.scalars(
            select(Call)
            .where(Call.sid == call_sid)
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        ).one_or_none()

    def _draft(self, session: Session, call_sid: str, lead: LeadDraft, kept: RefusedWords | None) -> dict[str, Any]:
        """As it may be stored."""
        draft = privacy.draft_kept(msgspec.to_builtins(lead), kept)
        if not hiding.draft_has_numbers(draft):
            return draft
        row = session.execute(select(Call.business_id, Call.caller).where(Call.sid == call_sid)).one_or_none()
        if row is None:
            return draft
        policy = hiding.policy_of(session, row.business_id, (row.caller, lead.phone))
        return hiding.hide_draft(draft, policy, self._sealer, row.business_id)

    def _open(self, session: Session, start: CallStart, business_id: int, now: datetime) -> bool:
        """Whether the call is new."""
        row = session.execute(
            insert(session, Call)
            .values(
                sid=start.call_sid,
                business_id=business_id,
                account_sid=start.account_sid,
                caller=start.caller,
                called=start.called,
                direction=start.direction,
                simulated=start.simulated,
                status=CallState.OPEN,
                started_at=now,
                heartbeat_at=now,
                detail="",
                engines=[],
                next_step="",
                transfer_to="",
                draft={},
            )
            .on_conflict_do_nothing(index_elements=["sid"])
            .returning(Call.id)
        )
        return row.scalar_one_or_none() is not None

    def _event(self, session: Session, call: Call, kind: str, data: dict[str, Any], key: str | None) -> None:
        session.execute(
            insert(session, CallEvent)
            .values(
                business_id=call.business_id, call_id=call.id, kind=kind, key=key, at=self._clock(), data=dict(data)
            )
            .on_conflict_do_nothing(index_elements=["call_id", "kind", "key"])
        )

    def _carrier_is_done(self, session: Session, call: Call) -> bool:
        """The carrier has said that the call is over, and nobody comes to ask how it goes on."""
        told = select(CallEvent.data).where(CallEvent.call_id == call.id, CallEvent.kind == _CALL_STATUS)
        return any(data.get("status") in _OVER for data in session.scalars(told))

    def _abandoned(self, session: Session, call: Call) -> CallEnd:
        draft = msgspec.convert(call.draft, LeadDraft) if call.draft else LeadDraft()
        if call.status is CallState.OPEN:
            return CallEnd(call.sid, Outcome.NO_STREAM, _NEVER_CAME, 0, draft)
        lasted = call.heartbeat_at - (call.answered_at or call.started_at)
        duration = int(lasted / timedelta(milliseconds=1))
        kept = moves.state(session, call)
        detail = kept.left_why if kept is not None and kept.left_at is not None else _ORPHANED
        if detail == HANDOVER:  # on hold: who waits for a person and is gone has hung up
            return CallEnd(call.sid, Outcome.CALLER_HUNG_UP, "on_hold", duration, draft)
        return CallEnd(call.sid, Outcome.BROKEN, detail, duration, draft, ended_at=call.heartbeat_at)

    def _finish(self, session: Session, call: Call, end: CallEnd) -> LeadResult:
        now = self._clock()
        call.status = CallState.ENDED
        call.outcome = end.outcome
        call.detail = end.detail
        call.duration_ms = end.duration_ms
        call.engines = list(end.engines)
        call.ended_at = end.ended_at or now
        if end.lead != LeadDraft():
            call.draft = self._draft(session, call.sid, end.lead, privacy.words_kept(session, call.id))
        session.flush()
        moves.forget(session, call)
        search.index_call(session, call.id)
        left = self._settle(session, call, learn=True)
        self._follow(session, call, outbox.AFTER_CALL, outbox.call_key(call.sid))
        return left

    def _turn_away(self, session: Session, call: Call, why: str, now: datetime) -> None:
        """End a call that is refused. Its lead is left to the work after it (`settle_refused`), which is promised by
        this transaction: who is refused costs the calls in progress as little as can be, and a lead made once has what
        the caller typed meanwhile."""
        call.status, call.outcome, call.detail = CallState.ENDED, Outcome.REFUSED, why
        call.ended_at, call.duration_ms = now, 0
        self._follow(session, call, outbox.AFTER_CALL, outbox.call_key(call.sid), lane=outbox.REFUSED, delay=_TYPING)

    def _follow(
        self,
        session: Session,
        call: Call,
        name: str,
        key: str,
        *,
        lane: str = outbox.CALLS,
        delay: timedelta = timedelta(0),
    ) -> None:
        """Work after the call, due from this transaction on; once more, where its end is told a second time."""
        given, now = {"call": call.sid}, self._clock()
        if not outbox.put(session, name, given, key=key, business_id=call.business_id, now=now, lane=lane, delay=delay):
            outbox.put_again(session, key, now)

    def _settle_again(self, session: Session, call_sid: str) -> None:
        call = self._locked(session, call_sid)
        if call is not None and call.outcome is not None:
            self._settle(session, call, learn=call.lead_id is None)

    def _settle(self, session: Session, call: Call, *, learn: bool) -> LeadResult:
        now = self._clock()
        next_opening = self.openings.get(call.business_id, self._next_opening)
        opening = next_opening(now) if next_opening else None
        return settle(session, call, learn=learn, now=now, opening=opening)


def _unsettled(call: Call) -> bool:
    """It was refused, and its lead is not made yet."""
    return call.outcome is Outcome.REFUSED and call.lead_id is None and call.lead_missing_reason is None


def _step(call: Call) -> NextStep:
    """What to do with a call whose stream has closed. Not decided, not ended well: it broke."""
    if call.next_step:
        return NextStep(Step(call.next_step), call.transfer_to)
    match call.outcome:
        case Outcome.COMPLETED | Outcome.CALLER_HUNG_UP | Outcome.REFUSED:
            return NextStep(Step.HANG_UP)
        case Outcome.TRANSFERRED:
            return NextStep(Step.TRANSFER, call.transfer_to)
        case Outcome.BROKEN | Outcome.NO_STREAM | None:
            return NextStep(Step.WAY_ON)


def _changed(session: Session, statement: Any) -> int:
    """Run an UPDATE or DELETE whose rows no loaded object mirrors; returns how many rows it hit."""
    result = session.execute(statement.execution_options(synchronize_session=False))
    assert isinstance(result, CursorResult)
    return result.rowcount
