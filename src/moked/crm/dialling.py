"""Calls that we make, on record: what is to be called, when the gate lets it, and what came of it.

    a click, a call-back, a campaign -> dial: waiting -> placing -> ringing -> talking -> done
                                               ^                                   |
                                               '---- busy, no answer, a machine ---'
    the gate, before every attempt: blocked | approval | waits until

All businesses of the installation are dialled for, each with its own hours, pace, breaker and number, one call of each
in turn (`campaigns.turns`).

A row is put to 'placing' before the carrier is asked. If we die in between, or its answer is lost, nobody knows whether
it rang: the attempt counts, and the next one comes when the campaign's retry says so.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import msgspec
from sqlalchemy import Engine, Select, exists, func, or_, select
from sqlalchemy.orm import Session

from moked.channels.policy import VOICE, Purpose, Request, Verdict, decide
from moked.crm import caller_ids, campaigns, sending
from moked.crm.campaigns import Pace
from moked.crm.db import Records
from moked.crm.models import Business, Call, Contact, Lead, Task, TaskKind
from moked.crm.settle import insert
from moked.crm.tables_policy import (
    Campaign,
    CampaignState,
    ConsentRow,
    Dial,
    DialKind,
    DialResult,
    DialState,
    SendingPolicy,
)
from moked.records import LeadDraft, Outcome

LOST_AFTER: Final = timedelta(minutes=2)
"""A placed call of which nothing was heard for so long never rang."""
_ON_THE_LINE: Final = (DialState.PLACING, DialState.RINGING, DialState.TALKING)
_CALLBACK: Final = Pace(per_minute=6, max_parallel=3, max_attempts=3, retry=timedelta(minutes=30))
_LATE: Final = timedelta(hours=4)
"""A promised hour that is longer past than this is a person's to make good."""
_SETTLING: Final = timedelta(seconds=60)
_RESULTS: Final = {
    "busy": DialResult.BUSY,
    "no-answer": DialResult.NO_ANSWER,
    "failed": DialResult.FAILED,
    "canceled": DialResult.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """A call to be placed now, from `caller_id`. `ring_first`: the phone of who clicked; '' = the agent calls."""

    dial_id: int
    number: str
    caller_id: str
    ring_first: str = ""


@dataclass(frozen=True, slots=True)
class Errand:
    """What whoever answers is called about."""

    dial_id: int
    business_id: int
    number: str
    name: str
    opening: str
    kind: DialKind


class Dialling(Records):
    """Calls of `businesses` on `engine`; each method is one transaction. More businesses may come. `default`:
    OUTBOUND_CALLER_ID. `male_voice`: whether a man's voice speaks for a business. `clock` gives aware UTC."""

    def __init__(
        self,
        engine: Engine,
        businesses: Collection[int],
        *,
        default: str,
        male_voice: Callable[[int], bool] = lambda business_id: True,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._all = businesses
        self._default = default
        self._male = male_voice
        self._clock = clock
        self._last = 0  # the business that was served last

    @property
    def _businesses(self) -> frozenset[int]:
        return frozenset(self._all)

    # ---- what the loop asks

    def turns(self) -> list[int]:
        """The businesses that have anything to do, in the order in which they are served: asked often, without the lock
        of a writer."""
        now = self._clock()
        due = (Dial.state == DialState.WAITING) & (Dial.due_at <= now)
        agents = Dial.state.in_(_ON_THE_LINE) & (Dial.kind != DialKind.CLICK)
        lines = (
            select(
                Dial.business_id,
                func.count().filter(due & (Dial.kind == DialKind.CLICK)),
                func.count().filter(agents),
            )
            .where(Dial.business_id.in_(self._businesses), or_(due, Dial.state.in_(_ON_THE_LINE)))
            .group_by(Dial.business_id)
        )
        running = select(Campaign.business_id).where(
            Campaign.business_id.in_(self._businesses), Campaign.state == CampaignState.RUNNING
        )
        with self._read.begin() as session:
            found = {
                business: campaigns.Line(business, clicked > 0, live)
                for business, clicked, live in session.execute(lines)
            }
            promised = _promised(now, self._businesses).with_only_columns(Task.business_id).order_by(None).limit(None)
            for query in (running.distinct(), promised.distinct()):
                for business in session.scalars(query):
                    found.setdefault(business, campaigns.Line(business))
        return campaigns.turns(found.values(), self._last)

    def promise(self, business_id: int) -> int:
        """Make calls of its call-backs that are due, where the business lets its agent make them; returns how many."""
        now = self._clock()
        with self._writing() as session:
            if not caller_ids.caller_id(session, business_id, self._default):
                return 0
            due = _promised(now, (business_id,))
            found = session.execute(due.with_for_update(skip_locked=True, of=Task)).all()
            for task, lead in found:
                call = session.get(Call, task.call_id) if task.call_id is not None else None
                draft = msgspec.convert(call.draft, LeadDraft) if call is not None and call.draft else LeadDraft()
                agreed = draft.callback_at if draft.callback_at == task.due_at else None
                add(
                    session,
                    business_id=task.business_id,
                    contact_id=lead.contact_id,
                    kind=DialKind.CALLBACK,
                    purpose=Purpose.SERVICE,
                    number=lead.phone,
                    subject=lead.need,
                    key=f"task:{task.id}",
                    due_at=now,
                    now=now,
                    lead_id=lead.id,
                    task_id=task.id,
                    agreed_for=agreed,
                )
            return len(found)

    def claim(self, business_id: int, free_places: int, most: int = 50) -> list[Placement]:
        """At most `most` calls of this business to be placed now; each went through the gate. `free_places`: of the
        media processes."""
        now = self._clock()
        with self._writing() as session:
            self._recover(session, business_id, now)
            self._settle_ended(session, business_id, now)
            coming = select(func.count()).where(
                Dial.state.in_((DialState.PLACING, DialState.RINGING)), Dial.kind != DialKind.CLICK
            )
            free_places -= session.scalar(coming) or 0  # they hold no place before they are answered
            number = caller_ids.caller_id(session, business_id, self._default)
            if not number:
                return []
            claim = partial(self._claim, session, business_id, number, now=now)
            found = claim(None, _CALLBACK, free_places, most)
            for campaign in self._running(session, business_id):
                if not self._stopped(session, campaign):
                    found += claim(campaign, _pace(campaign), free_places - len(found), most - len(found))
                    self._end(session, campaign, now)
        if found:
            self._last = business_id
        return found

    def placed(self, dial_id: int, call_sid: str) -> None:
        """The carrier has taken it."""
        with self._writing() as session:
            dial = self._locked(session, dial_id)
            if dial is not None and dial.state is DialState.PLACING:
                dial.state, dial.call_sid = DialState.RINGING, call_sid

    def not_placed(self, dial_id: int) -> None:
        """The carrier refused it: nothing rang."""
        now = self._clock()
        with self._writing() as session:
            dial = self._locked(session, dial_id)
            if dial is not None and dial.state is DialState.PLACING:
                self._over(session, dial, DialResult.FAILED, now)

    # ---- what the carrier tells

    def answered(self, dial_id: int, call_sid: str) -> Errand | None:
        """Somebody picked up; None where this call is not (or no longer) ours to make."""
        with self._writing() as session:
            dial = self._locked(session, dial_id)
            if dial is None or dial.state not in (DialState.PLACING, DialState.RINGING, DialState.TALKING):
                return None
            if dial.call_sid and dial.call_sid != call_sid:
                return None
            dial.state, dial.call_sid = DialState.TALKING, call_sid
            return self._errand(session, dial)

    def errand_of(self, call_sid: str) -> Errand | None:
        """What a running call that we made is about."""
        with self._read.begin() as session:
            dial = session.scalars(
                select(Dial).where(Dial.call_sid == call_sid, Dial.business_id.in_(self._businesses))
            ).first()
            return None if dial is None else self._errand(session, dial)

    def machine(self, dial_id: int, call_sid: str) -> bool:
        """The carrier heard a machine; True where the call is to be hung up."""
        with self._writing() as session:
            dial = self._locked(session, dial_id)
            if dial is None or dial.call_sid != call_sid or dial.state is not DialState.TALKING:
                return False
            dial.result = DialResult.MACHINE
            return True

    def ended(self, dial_id: int, call_sid: str, status: str) -> None:
        """The carrier's last word on the attempt: its CallStatus. Of a conversation the agent's record says more, and
        is waited for."""
        now = self._clock()
        with self._writing() as session:
            dial = self._locked(session, dial_id)
            if dial is None or dial.state not in _ON_THE_LINE or (dial.call_sid and dial.call_sid != call_sid):
                return
            if status in _RESULTS:
                self._over(session, dial, _RESULTS[status], now)
            elif dial.kind is DialKind.CLICK:
                self._over(session, dial, DialResult.ANSWERED, now)
            else:
                dial.call_sid, dial.ended_at = call_sid, now
                self._settle_ended(session, dial.business_id, now)

    # ---- inside

    def _running(self, session: Session, business_id: int) -> Sequence[Campaign]:
        """Its campaigns, the one that has waited longest for a call first."""
        last = select(func.max(Dial.placed_at)).where(Dial.campaign_id == Campaign.id).scalar_subquery()
        return session.scalars(
            select(Campaign)
            .where(Campaign.business_id == business_id, Campaign.state == CampaignState.RUNNING)
            .order_by(last.is_not(None), last, Campaign.id)
            .with_for_update()
        ).all()

    def _claim(
        self,
        session: Session,
        business_id: int,
        caller_id: str,
        campaign: Campaign | None,
        pace: Pace,
        free_places: int,
        most: int,
        *,
        now: datetime,
    ) -> list[Placement]:
        ours = [
            Dial.business_id == business_id,
            Dial.campaign_id.is_(None) if campaign is None else Dial.campaign_id == campaign.id,
        ]
        begun = session.scalar(select(func.count()).where(*ours, Dial.placed_at > now - timedelta(minutes=1))) or 0
        live = session.scalar(select(func.count()).where(*ours, Dial.state.in_(_ON_THE_LINE))) or 0
        room = campaigns.may_begin(pace, begun_last_minute=begun, on_the_line=live, free_places=max(0, free_places))
        due = select(Dial).where(*ours, Dial.state == DialState.WAITING, Dial.due_at <= now)
        if campaign is None and not room:  # a person who clicked needs no place of the agent's
            due, room = due.where(Dial.kind == DialKind.CLICK), 1
        room = min(room, most)
        if not room:
            return []
        rows = session.scalars(
            due.order_by(Dial.kind != DialKind.CLICK, Dial.due_at, Dial.id).limit(50).with_for_update(skip_locked=True)
        ).all()
        found: list[Placement] = []
        for dial in rows:
            if len(found) == room:
                break
            if self._let_through(session, dial, now):
                dial.state, dial.placed_at, dial.attempts = DialState.PLACING, now, dial.attempts + 1
                dial.call_sid, dial.ended_at, dial.result = "", None, DialResult.NONE
                session.flush()
                found.append(Placement(dial.id, dial.number, caller_id, dial.ring_first))
        return found

    def _let_through(self, session: Session, dial: Dial, now: datetime) -> bool:
        facts = sending.facts_of(session, dial.business_id, dial.contact_id, VOICE, dial.number, now)
        request = Request(
            dial.purpose,
            VOICE,
            asked_at=dial.created_at if dial.kind is DialKind.CALLBACK else None,
            agreed_for=dial.agreed_for,
            approved=bool(dial.approved_by),
            by_person=dial.kind is DialKind.CLICK,
        )
        decision = decide(request, facts, now)
        dial.reasons = list(decision.reasons)
        match decision.verdict:
            case Verdict.SEND | Verdict.TEMPLATE:
                return True
            case Verdict.WAIT_UNTIL:
                assert decision.until is not None
                dial.due_at = decision.until
            case Verdict.NEEDS_APPROVAL:
                dial.state = DialState.APPROVAL
            case Verdict.BLOCKED:
                dial.state, dial.ended_at = DialState.BLOCKED, now
        return False

    def _recover(self, session: Session, business_id: int, now: datetime) -> None:
        """Attempts of which nothing more is heard: the process died, or the carrier's word was lost."""
        silent = (DialState.PLACING, DialState.RINGING)
        lost = select(Dial).where(
            Dial.business_id == business_id, Dial.state.in_(silent), Dial.placed_at < now - LOST_AFTER
        )
        for dial in session.scalars(lost.with_for_update(skip_locked=True)):
            self._over(session, dial, DialResult.FAILED, now)

    def _settle_ended(self, session: Session, business_id: int, now: datetime) -> None:
        """Conversations that are over for the carrier, and by now for the agent too."""
        over = select(Dial).where(
            Dial.business_id == business_id, Dial.state == DialState.TALKING, Dial.ended_at.is_not(None)
        )
        for dial in session.scalars(over.with_for_update(skip_locked=True)):
            call = session.scalars(select(Call).where(Call.sid == dial.call_sid)).one_or_none()
            assert dial.ended_at is not None
            if call is not None and call.ended_at is None and now - dial.ended_at < _SETTLING:
                continue
            if dial.lead_id is None and call is not None:
                dial.lead_id = call.lead_id
            self._over(session, dial, self._how(session, dial, call), now)

    def _how(self, session: Session, dial: Dial, call: Call | None) -> DialResult:
        if dial.result is DialResult.MACHINE or (call is not None and call.detail.startswith("machine")):
            return DialResult.MACHINE
        refused = select(ConsentRow.id).where(
            ConsentRow.call_sid == dial.call_sid,
            ConsentRow.given_at.is_(None),
            ConsentRow.contact_id == dial.contact_id,
        )
        if (call is not None and call.detail == "opted_out") or session.scalar(refused.limit(1)) is not None:
            return DialResult.OPTED_OUT
        if call is None:
            return DialResult.NO_ANSWER
        ours = (Outcome.BROKEN, Outcome.NO_STREAM, Outcome.REFUSED)
        return DialResult.FAILED if call.outcome in ours else DialResult.ANSWERED

    def _over(self, session: Session, dial: Dial, result: DialResult, now: datetime) -> None:
        """The attempt is over: once more, or done."""
        campaign = session.get(Campaign, dial.campaign_id) if dial.campaign_id is not None else None
        pace = _CALLBACK if campaign is None else _pace(campaign)
        again = campaigns.next_try(result.value, attempts=dial.attempts, pace=pace, now=now)
        dial.result, dial.ended_at = result, now
        if again is not None and dial.kind is not DialKind.CLICK:
            dial.state, dial.due_at, dial.agreed_for = DialState.WAITING, again, None
            return
        dial.state = DialState.DONE
        if result is DialResult.ANSWERED and dial.task_id is not None:
            self._keep_promise(session, dial, now)

    def _keep_promise(self, session: Session, dial: Dial, now: datetime) -> None:
        """They were called back. Where the talk left something to follow up, the task is the next step, and stays."""
        task = session.get(Task, dial.task_id, with_for_update=True)
        left = session.scalar(select(Call.lead_id).where(Call.sid == dial.call_sid))
        if task is not None and task.done_at is None and left is None:
            task.done_at = now

    def _stopped(self, session: Session, campaign: Campaign) -> bool:
        """The breaker looks before the next call is begun."""
        since = campaign.resumed_at or campaign.created_at
        results = session.scalars(
            select(Dial.result)
            .where(Dial.campaign_id == campaign.id, Dial.result != DialResult.NONE, Dial.ended_at >= since)
            .order_by(Dial.ended_at.desc(), Dial.id.desc())
            .limit(campaigns.LOOKED_AT)
        ).all()
        if why := campaigns.breaker([result.value for result in results]):
            campaign.state, campaign.stopped_why = CampaignState.PAUSED, why
        return bool(why)

    def _end(self, session: Session, campaign: Campaign, now: datetime) -> None:
        left = select(Dial.id).where(
            Dial.campaign_id == campaign.id, Dial.state.in_((DialState.WAITING, DialState.APPROVAL, *_ON_THE_LINE))
        )
        if session.scalar(left.limit(1)) is None:
            campaign.state, campaign.ended_at = CampaignState.DONE, now

    def _errand(self, session: Session, dial: Dial) -> Errand:
        business = session.get_one(Business, dial.business_id)
        contact = session.get_one(Contact, dial.contact_id)
        text = campaigns.opening(
            business.name,
            dial.subject,
            purpose=dial.purpose,
            callback=dial.kind is DialKind.CALLBACK,
            male=self._male(dial.business_id),
            name=contact.name,
        )
        return Errand(dial.id, dial.business_id, dial.number, contact.name, text, dial.kind)

    def _locked(self, session: Session, dial_id: int) -> Dial | None:
        return session.scalars(
            select(Dial).where(Dial.id == dial_id, Dial.business_id.in_(self._businesses)).with_for_update()
        ).one_or_none()


def _promised(now: datetime, businesses: Collection[int]) -> Select[Task, Lead]:
    """Call-backs that are due, of businesses that let their agent make them."""
    called = exists().where(Dial.task_id == Task.id)
    return (
        select(Task, Lead)
        .join(Lead, Lead.id == Task.lead_id)
        .join(SendingPolicy, SendingPolicy.business_id == Task.business_id)
        .where(
            Task.business_id.in_(businesses),
            SendingPolicy.agent_calls_back,
            Task.kind == TaskKind.CALLBACK,
            Task.done_at.is_(None),
            Task.due_at <= now,
            Task.due_at > now - _LATE,
            Lead.phone.startswith("+"),
            ~called,
        )
        .order_by(Task.due_at)
        .limit(20)
    )


def _pace(campaign: Campaign) -> Pace:
    return Pace(
        campaign.per_minute,
        campaign.max_parallel,
        campaign.max_attempts,
        timedelta(minutes=campaign.retry_minutes),
    )


def add(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    kind: DialKind,
    purpose: Purpose,
    number: str,
    subject: str,
    key: str,
    due_at: datetime,
    now: datetime,
    campaign_id: int | None = None,
    lead_id: int | None = None,
    task_id: int | None = None,
    user_id: int | None = None,
    ring_first: str = "",
    approved_by: str = "",
    agreed_for: datetime | None = None,
) -> int | None:
    """A number to be called; None where this key is there already."""
    return session.execute(
        insert(session, Dial)
        .values(
            business_id=business_id,
            campaign_id=campaign_id,
            contact_id=contact_id,
            lead_id=lead_id,
            task_id=task_id,
            kind=kind,
            purpose=purpose,
            number=number,
            subject=subject,
            user_id=user_id,
            ring_first=ring_first,
            key=key,
            state=DialState.WAITING,
            result=DialResult.NONE,
            reasons=[],
            approved_by=approved_by,
            agreed_for=agreed_for,
            attempts=0,
            due_at=due_at,
            call_sid="",
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["business_id", "key"])
        .returning(Dial.id)
    ).scalar_one_or_none()
