"""What the work after a call reads and writes, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.access import Access
from moked.crm.after import AfterCalls
from moked.crm.edits import Edits
from moked.crm.extraction import Extraction, Read
from moked.crm.job_store import JobStore
from moked.crm.models import Lead
from moked.crm.outbox import call_key
from moked.crm.permissions import UserRole
from moked.crm.service import Crm
from moked.crm.tables_jobs import CallSummary, JobState
from moked.records import CallEnd, CallStart, LeadDraft, Outcome, Segment, TurnRecord, Waterfall

NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)  # half past eleven at night in Jerusalem
PASSWORD = "סיסמה ארוכה מאוד"


class Office:
    def __init__(self, engine):
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=self.clock)
        self.after = AfterCalls(engine, clock=self.clock)
        self.jobs = JobStore(engine, clock=self.clock)
        self.access = Access(engine, clock=self.clock)
        self.business = self.crm.ensure_business("מזגנים בצפון")

    def clock(self):
        return self.now

    def call(self, sid="CA1", draft=None, *, caller="+972502345678", outcome=Outcome.COMPLETED, said="המזגן מטפטף"):
        self.crm.open_call(CallStart(sid, "AC1", caller, "+97235551234"), self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        fall = Waterfall(speech_end_ms=1000, sent_ms=1600)
        self.crm.add_turn(sid, TurnRecord(0, "", "שלום", "שלום", False, 0, 900))
        self.crm.add_turn(sid, TurnRecord(1, said, "מתי נוח?", "מתי נוח?", False, 1000, 2000, waterfall=fall))
        return self.crm.finish_call(CallEnd(sid, outcome, "x", 60_000, draft or LeadDraft()))

    def lead(self):
        with Session(self.engine) as session:
            return session.scalars(select(Lead)).one()


@pytest.fixture
def office(engine):
    return Office(engine)


def test_the_end_of_a_call_is_the_beginning_of_its_work(office):
    office.call()
    (order,) = office.jobs.due()
    assert (order.key, order.order_id, order.payload) == ("call:CA1", "call:CA1", {"call": "CA1"})
    office.call()  # told twice: the same end
    assert len(office.jobs.due()) == 1


def test_so_is_an_end_that_somebody_else_concludes(office):
    office.crm.open_call(CallStart("CA2", "AC1", "+972502345678", "+97235551234"), office.business)
    office.now += timedelta(minutes=5)
    assert office.crm.sweep_orphans() == ["CA2"]
    assert [order.key for order in office.jobs.due()] == [call_key("CA2")]


def test_the_sessions_own_end_is_worked_at_anew(office):
    """The sweeper concluded it, its work began, and then the session's own word came."""
    office.crm.open_call(CallStart("CA2", "AC1", "+972502345678", "+97235551234"), office.business)
    office.crm.redeem_ticket(office.crm.mint_ticket("CA2"), "CA2")
    office.now += timedelta(minutes=5)
    office.crm.sweep_orphans()
    (first,) = office.jobs.due()
    office.jobs.handed([first])
    assert office.jobs.began(first.key, first.run)
    office.crm.finish_call(CallEnd("CA2", Outcome.COMPLETED, "agent_hangup", 1000, LeadDraft(need="מזגן")))
    (second,) = office.jobs.due()
    assert (second.run, second.order_id) == (2, "call:CA2~2")
    assert office.jobs.closed(first.key, first.run, {}, {"a": "bug"}) is None, "the first run was given up"
    assert not office.jobs.began(first.key, first.run)
    assert office.jobs.began(second.key, second.run)
    assert office.jobs.closed(second.key, second.run, {"a": 1}, {}) is JobState.DONE
    assert office.jobs.closed(second.key, second.run, {}, {"a": "bug"}) is None, "it is over"


def test_a_new_transcript_is_read_again_in_its_words(office):
    office.call()
    office.jobs.handed(office.jobs.due())
    office.crm.store_transcript("CA1", [Segment(1100, 1900, "caller", "המזגן בסלון מטפטף", "whisper")])
    (order,) = office.jobs.due()
    assert (order.name, order.key, order.lane) == ("read_again", "read:CA1", "later")
    assert [one.caller for one in office.after.material("CA1").turns] == ["", "המזגן בסלון מטפטף"]
    office.crm.store_transcript("CA1", [Segment(1100, 1900, "caller", "המזגן מטפטף", "whisper")])
    assert [order.run for order in office.jobs.due()] == [2]


def test_a_reading_goes_into_the_lead_and_is_on_record(office):
    left = office.call()
    found = Extraction("m", "פנה בגלל מזגן.", "לחזור", {"name": Read("אבי", 1, "אבי", 0.9)})
    assert office.after.learn("CA1", found) == left.lead_id
    assert office.after.learn("CA1", found) == left.lead_id
    lead = office.lead()
    assert (lead.name, lead.summary) == ("אבי", "פנה בגלל מזגן.")
    assert lead.sources["name"]["quote"] == "אבי"
    with Session(office.engine) as session:
        summary = session.scalars(select(CallSummary)).one()
        assert (summary.by, summary.next_step) == ("m", "לחזור")
        assert summary.fields == {"name": {"value": "אבי", "turn": 1, "quote": "אבי", "confidence": 0.9}}
    assert office.crm.contact_by_phone("+972502345678").name == "אבי"


def test_a_persons_word_is_respected(office):
    left = office.call()
    office.access.set_up_owner(office.business, "dana@example.com", "דנה", PASSWORD)
    token = office.access.log_in("dana@example.com", PASSWORD, "", address="x", browser="x").token
    dana = office.access.actor(token)
    Edits(office.engine, clock=office.clock).set_field(dana, left.lead_id, "name", "אברהם")
    office.after.learn("CA1", Extraction("m", "סיכום", "", {"name": Read("אבי", 1, "אבי", 0.9)}))
    assert office.lead().name == "אברהם"


def test_a_call_without_a_lead_tells_nobody(office):
    office.call(caller="anonymous", said="", outcome=Outcome.CALLER_HUNG_UP)
    assert office.after.letter("CA1") is None
    assert office.after.material("CA1").lead is None
    assert office.after.learn("CA1", Extraction("m")) is None
    assert office.after.letter("CA404") is None
    assert office.after.material("CA404") is None
    assert not office.after.open_notice("CA404", "k", "email", "a@b")


def test_the_letter_has_the_lead_and_goes_to_the_owners(office):
    office.access.set_up_owner(office.business, "dana@example.com", "דנה", PASSWORD)
    token = office.access.log_in("dana@example.com", PASSWORD, "", address="x", browser="x").token
    office.access.invite(office.access.actor(token), "invited@example.com", "נועם", UserRole.OWNER)
    office.access.invite(office.access.actor(token), "agent@example.com", "גל", UserRole.AGENT)
    left = office.call(draft=LeadDraft(name="רותי", need="מזגן"))
    office.after.learn("CA1", Extraction("rules", "", "לחזור אל רותי"))
    letter = office.after.letter("CA1")
    assert letter.to == ("dana@example.com",)
    assert (letter.lead_id, letter.name, letter.next_step, letter.new) == (left.lead_id, "רותי", "לחזור אל רותי", True)
    assert letter.sure, "the carrier vouches for the number they called from"
    office.call("CA2")
    assert not office.after.letter("CA2").new, "the second call is of the same lead"


def test_a_notice_is_sent_once(office):
    office.call()
    office.now += timedelta(seconds=4)
    assert office.after.open_notice("CA1", "k", "email", "a@b")
    assert office.after.open_notice("CA1", "k", "email", "a@b"), "it was not out yet"
    assert office.after.notice_sent("k") == timedelta(seconds=4)
    assert office.after.notice_sent("k") is None
    assert not office.after.open_notice("CA1", "k", "email", "a@b")
