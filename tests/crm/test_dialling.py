"""Calls that we make: the gate before each attempt, pace, retries, the breaker, promised call-backs."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels.policy import Purpose
from moked.crm import consents, dialling
from moked.crm.dialling import Dialling, Placement
from moked.crm.models import Contact, Task
from moked.crm.service import Crm
from moked.crm.tables_policy import Campaign, CampaignState, Dial, DialKind, DialResult, DialState
from moked.records import CallEnd, CallStart, LeadDraft, Outcome

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)  # a Sunday
ME, OURS = "+972521119999", "+97235551234"


class Office:
    def __init__(self, engine):
        self.now, self.engine = NOW, engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.book = Dialling(engine, [self.business], default=OURS, clock=lambda: self.now)

    def writing(self):
        return Session(self.engine, expire_on_commit=False)

    def number(self, n):
        return f"+97250234{n:04}"

    def add(self, n=0, *, kind=DialKind.CALLBACK, purpose=Purpose.SERVICE, campaign=None, **more):
        with self.writing() as session, session.begin():
            contact = Contact(business_id=self.business, phone=self.number(n), created_at=NOW, updated_at=NOW)
            session.add(contact)
            session.flush()
            return dialling.add(
                session, business_id=self.business, contact_id=contact.id, kind=kind, purpose=purpose,
                number=contact.phone, subject="טיפול שנתי", key=f"k{n}", due_at=NOW, now=NOW,
                campaign_id=campaign, **more,
            )  # fmt: skip

    def campaign(self, count, *, purpose=Purpose.SERVICE, approved="דנה", **more):
        with self.writing() as session, session.begin():
            campaign = Campaign(
                business_id=self.business, name="מבצע", subject="טיפול שנתי", purpose=purpose,
                state=CampaignState.RUNNING, created_by="דנה", created_at=NOW,
                **{"per_minute": 60, "max_parallel": 60, "max_attempts": 2, "retry_minutes": 60, **more},
            )  # fmt: skip
            session.add(campaign)
            session.flush()
        ids = [
            self.add(n, kind=DialKind.CAMPAIGN, purpose=purpose, campaign=campaign.id, approved_by=approved)
            for n in range(count)
        ]
        return campaign.id, ids

    def dial(self, dial_id):
        with self.writing() as session:
            return session.get(Dial, dial_id)

    def state(self, campaign_id):
        with self.writing() as session:
            return session.get(Campaign, campaign_id)

    def claim(self, free, most=50):
        return self.book.claim(self.business, free, most)

    def attempt(self, status, free=100):
        """Place what may be placed, and let each attempt end so."""
        placed = self.claim(free)
        for one in placed:
            sid = f"CA{one.dial_id}-{self.dial(one.dial_id).attempts}"
            self.book.placed(one.dial_id, sid)
            self.book.ended(one.dial_id, sid, status)
        return placed

    def talk(self, one, detail="agent_hangup", draft=None):
        """A conversation from the ringing to both of its ends."""
        sid = f"CA{one.dial_id}"
        self.book.placed(one.dial_id, sid)
        errand = self.book.answered(one.dial_id, sid)
        self.crm.open_call(CallStart(sid, "AC1", errand.number, "+97235551234", "outbound"), self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        left = self.crm.finish_call(CallEnd(sid, Outcome.COMPLETED, detail, 60_000, draft or LeadDraft()))
        self.book.ended(one.dial_id, sid, "completed")
        return left


@pytest.fixture
def office(engine):
    return Office(engine)


def test_a_call_is_placed_once_and_a_talk_ends_it(office):
    dial_id = office.add()
    assert office.book.turns() == [office.business]
    (one,) = office.claim(10)
    assert one == Placement(dial_id, office.number(0), OURS)
    assert office.claim(10) == []
    left = office.talk(one, draft=LeadDraft(need="טיפול"))
    dial = office.dial(dial_id)
    assert (dial.state, dial.result, dial.lead_id) == (DialState.DONE, DialResult.ANSWERED, left.lead_id)
    assert office.book.turns() == []


def test_a_talk_that_taught_nothing_makes_no_lead(office):
    office.add()
    (one,) = office.claim(10)
    assert office.talk(one).lead_id is None


def test_the_night_waits_and_who_refused_is_not_called(office):
    waits, blocked = office.add(0), office.add(1)
    with office.writing() as session, session.begin():
        consents.suppress(
            session, business_id=office.business, number=office.number(1), reason="opt_out", source="x", now=NOW
        )
    office.now = NOW + timedelta(hours=12)
    assert office.claim(10) == []
    assert (office.dial(waits).due_at, office.dial(waits).reasons) == (
        datetime(2026, 11, 23, 6, 0, tzinfo=UTC), ["quiet_hours"],
    )  # fmt: skip
    assert (office.dial(blocked).state, office.dial(blocked).reasons) == (DialState.BLOCKED, ["suppressed"])


def test_a_person_may_click_at_any_hour_and_needs_no_place(office):
    office.now = NOW + timedelta(hours=12)
    dial_id = office.add(kind=DialKind.CLICK, ring_first=ME)
    (one,) = office.claim(0)
    assert (one.dial_id, one.ring_first) == (dial_id, ME)
    office.book.placed(dial_id, "CA1")
    assert office.book.answered(dial_id, "CA1").number == office.number(0)
    assert office.book.answered(dial_id, "CA2") is None
    office.book.ended(dial_id, "CA1", "completed")
    assert office.dial(dial_id).result is DialResult.ANSWERED


@pytest.mark.parametrize(("status", "result"), [("busy", "busy"), ("no-answer", "no_answer"), ("failed", "failed")])
def test_who_was_not_reached_is_tried_again_and_then_let_be(office, status, result):
    campaign, (dial_id,) = office.campaign(1)
    assert len(office.attempt(status)) == 1
    assert (office.dial(dial_id).state, office.dial(dial_id).due_at) == (
        DialState.WAITING, NOW + timedelta(hours=1),
    )  # fmt: skip
    assert office.attempt(status) == []
    office.now += timedelta(hours=1)
    assert len(office.attempt(status)) == 1
    assert (office.dial(dial_id).state, office.dial(dial_id).result.value) == (DialState.DONE, result)
    office.claim(10)
    assert office.state(campaign).state is CampaignState.DONE


def test_pace_parallel_calls_and_places_hold(office):
    office.campaign(8, per_minute=3, max_parallel=2)
    assert len(office.claim(100)) == 2  # at a time
    assert office.claim(100) == []
    office.now += timedelta(minutes=3)  # of which nothing was heard: they never rang
    assert len(office.claim(2)) == 1  # the last place is for who calls in
    for dial_id in (1, 2, 3):
        office.book.not_placed(dial_id)


def test_the_breaker_stops_a_campaign_whose_line_fails(office):
    campaign, _ = office.campaign(8, per_minute=60)
    office.attempt("failed")
    assert office.claim(100) == []
    state = office.state(campaign)
    assert (state.state, state.stopped_why) == (CampaignState.PAUSED, "failures")
    office.now += timedelta(hours=2)
    assert office.claim(100) == []


def test_an_advertisement_is_not_made_without_consent_and_registry(office):
    _, (bare, agreed, checked) = office.campaign(3, purpose=Purpose.MARKETING)
    with office.writing() as session, session.begin():
        for dial_id in (agreed, checked):
            consents.give(
                session, business_id=office.business, contact_id=session.get(Dial, dial_id).contact_id,
                purpose=Purpose.MARKETING, channel="voice", how="person", now=NOW - timedelta(days=1),
            )  # fmt: skip
        consents.record_checks(session, office.business, {office.number(2): False}, source="f", checked_at=NOW, now=NOW)
    assert [one.dial_id for one in office.claim(10)] == [checked]
    assert office.dial(bare).reasons == ["no_consent", "dnc_unchecked"]
    assert office.dial(agreed).reasons == ["dnc_unchecked"]


def test_a_service_campaign_nobody_looked_at_waits_for_a_person(office):
    campaign, (dial_id,) = office.campaign(1, approved="")
    assert office.claim(10) == []
    assert office.dial(dial_id).state is DialState.APPROVAL
    assert office.state(campaign).state is CampaignState.RUNNING


def test_a_machine_is_hung_up_on(office):
    dial_id = office.add()
    (one,) = office.claim(10)
    office.book.placed(one.dial_id, "CA1")
    assert not office.book.machine(dial_id, "CA1")  # nobody has picked up
    office.book.answered(dial_id, "CA1")
    assert not office.book.machine(dial_id, "CA2")
    assert office.book.machine(dial_id, "CA1")
    office.book.ended(dial_id, "CA1", "completed")
    assert (office.dial(dial_id).result, office.dial(dial_id).state) == (DialResult.MACHINE, DialState.WAITING)


@pytest.mark.parametrize(
    ("detail", "result"), [("machine_voicemail", DialResult.MACHINE), ("opted_out", DialResult.OPTED_OUT)]
)
def test_what_the_agent_heard_counts(office, detail, result):
    dial_id = office.add()
    (one,) = office.claim(10)
    office.talk(one, detail)
    assert office.dial(dial_id).result is result


@pytest.mark.parametrize("told", ["", "צריך גם מסנן חדש"])
def test_a_promised_call_is_made_at_its_hour_where_the_business_wants_it(office, told):
    at = NOW + timedelta(hours=2)
    office.crm.open_call(CallStart("CA1", "AC1", office.number(7), "+97235551234"), office.business)
    office.crm.redeem_ticket(office.crm.mint_ticket("CA1"), "CA1")
    draft = LeadDraft(name="רותי", need="המזגן מטפטף", best_time="היום בשתיים וחצי", callback_at=at)
    office.crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "agent_hangup", 60_000, draft))
    office.now = at
    assert office.book.promise(office.business) == 0
    with office.writing() as session, session.begin():
        consents.settings_of(session, office.business, NOW).agent_calls_back = True
    office.now = at - timedelta(minutes=1)
    assert office.book.promise(office.business) == 0
    office.now = at
    assert (office.book.promise(office.business), office.book.promise(office.business)) == (1, 0)
    (one,) = office.claim(10)
    dial = office.dial(one.dial_id)
    assert (dial.number, dial.agreed_for, dial.reasons) == (office.number(7), at, ["asked", "agreed"])
    errand = office.book.answered(one.dial_id, "CA9")
    assert errand.opening.startswith("שלום רותי, מדבר העוזר הקולי של מזגנים בצפון, סוכן וירטואלי. אני חוזר אליכם")
    office.crm.open_call(CallStart("CA9", "AC1", errand.number, "+97235551234", "outbound"), office.business)
    office.crm.redeem_ticket(office.crm.mint_ticket("CA9"), "CA9")
    office.crm.finish_call(CallEnd("CA9", Outcome.COMPLETED, "agent_hangup", 60_000, LeadDraft(need=told)))
    office.book.ended(one.dial_id, "CA9", "completed")
    with office.writing() as session:
        task = session.scalars(select(Task)).one()
        assert task.done_at == (None if told else office.now)  # what they told now is the next thing to do
        assert told in task.note
    assert office.book.promise(office.business) == 0


def test_a_lost_attempt_counts_and_comes_again(office):
    dial_id = office.add()
    office.claim(10)
    office.now += timedelta(minutes=3)
    office.claim(10)
    dial = office.dial(dial_id)
    assert (dial.state, dial.result, dial.attempts) == (DialState.WAITING, DialResult.FAILED, 1)
