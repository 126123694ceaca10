"""The carrier's webhooks about calls that we make: only calls on record get anywhere."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from moked.channels.policy import Purpose
from moked.crm import dialling
from moked.crm.dialling import Dialling
from moked.crm.models import Contact
from moked.crm.tables_policy import Dial, DialKind, DialResult, DialState
from moked.telephony import NOT_REACHED

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
THEIRS, MINE, OURS = "+972541112233", "+972521119999", "+97235551234"


class Calls:
    def __init__(self, office, engine):
        self.office, self.engine = office, engine
        self.book = Dialling(engine, [office.business], default="+97235551234", clock=lambda: NOW)
        self.hung_up = []
        office.options = {"dialling": self.book, "hang_up_call": self.hung_up.append}

    def place(self, kind=DialKind.CALLBACK, **more):
        """A dial whose phone rings, as CA1."""
        with Session(self.engine) as session, session.begin():
            contact = Contact(
                business_id=self.office.business, phone=THEIRS, name="רותי", created_at=NOW, updated_at=NOW
            )
            session.add(contact)
            session.flush()
            dial_id = dialling.add(
                session, business_id=self.office.business, contact_id=contact.id, kind=kind, number=THEIRS,
                purpose=Purpose.SERVICE, subject="טיפול", key="k", due_at=NOW, now=NOW, **more,
            )  # fmt: skip
        (placed,) = self.book.claim(self.office.business, 10)
        self.book.placed(placed.dial_id, "CA1")
        return dial_id

    def post(self, name, dial_id, **fields):
        form = {"From": OURS, "To": THEIRS, "Direction": "outbound-api", **fields}
        return self.office.post(f"https://phone.example.com/webhook/{name}?dial={dial_id}", **form)

    def dial(self, dial_id):
        with Session(self.engine) as session:
            return session.get(Dial, dial_id)


@pytest.fixture
def calls(office, engine):
    return Calls(office, engine)


def test_who_answers_gets_the_media_stream_and_is_the_caller_on_record(calls):
    dial_id = calls.place()
    answer = calls.post("outbound", dial_id).text
    assert "<Stream" in answer
    report = calls.office.crm.call_report("CA1")
    assert (report["direction"], report["caller"], report["called"]) == ("outbound", THEIRS, OURS)
    assert calls.dial(dial_id).state is DialState.TALKING
    assert "<Stream" in calls.post("outbound", dial_id).text  # the carrier asks again
    errand = calls.book.errand_of("CA1")
    assert "סוכן וירטואלי" in errand.opening


@pytest.mark.parametrize(("dial", "sid"), [(999, "CA1"), ("x", "CA1"), (None, "CA2")])
def test_a_call_nobody_placed_is_hung_up(calls, dial, sid):
    dial_id = calls.place()
    answer = calls.post("outbound", dial_id if dial is None else dial, CallSid=sid).text
    assert ("<Hangup" in answer, "<Stream" in answer) == (True, False)
    assert calls.office.crm.call_report(sid) is None


def test_no_place_means_an_apology_and_another_try(calls):
    calls.office.node = {"active": 9, "accepting": False}
    dial_id = calls.place()
    answer = calls.post("outbound", dial_id).text
    assert ("נתקשר שוב" in answer, "<Stream" in answer) == (True, False)
    calls.post("outbound_status", dial_id, CallStatus="completed")
    assert (calls.dial(dial_id).result, calls.dial(dial_id).state) == (DialResult.FAILED, DialState.WAITING)


@pytest.mark.parametrize(("by", "hung_up"), [("machine_start", ["CA1"]), ("fax", ["CA1"]), ("human", []), ("", [])])
def test_only_a_machine_is_hung_up_on(calls, by, hung_up):
    dial_id = calls.place()
    calls.post("outbound", dial_id)
    assert calls.post("outbound_amd", dial_id, AnsweredBy=by).status_code == 204
    assert calls.hung_up == hung_up


def test_the_carriers_last_word_ends_the_attempt(calls):
    dial_id = calls.place()
    calls.post("outbound_status", dial_id, CallStatus="ringing")
    assert calls.dial(dial_id).state is DialState.RINGING
    calls.post("outbound_status", dial_id, CallStatus="busy")
    assert (calls.dial(dial_id).result, calls.dial(dial_id).state) == (DialResult.BUSY, DialState.WAITING)
    calls.post("outbound_status", dial_id, CallStatus="no-answer")  # repeated, and late
    assert calls.dial(dial_id).result is DialResult.BUSY


@pytest.mark.parametrize(
    ("status", "result"), [("completed", DialResult.ANSWERED), ("no-answer", DialResult.NO_ANSWER)]
)
def test_a_click_is_connected(calls, status, result):
    dial_id = calls.place(DialKind.CLICK, ring_first=MINE)
    answer = calls.post("bridge", dial_id, To=MINE).text
    assert "מחבר אתכם אל רותי." in answer
    assert f'callerId="{OURS}"' in answer
    assert f">{THEIRS}</Dial>" in answer
    done = calls.post("bridge_done", dial_id, To=MINE, DialCallStatus=status).text
    assert (NOT_REACHED in done) == (status != "completed")
    assert calls.dial(dial_id).result is result


def test_nothing_of_it_is_taken_without_the_signature(calls):
    dial_id = calls.place()
    for name in ("outbound", "outbound_amd", "outbound_status", "bridge", "bridge_done"):
        answer = calls.office.client().post(f"/webhook/{name}?dial={dial_id}", data={"CallSid": "CA1"})
        assert answer.status_code == 403
    assert calls.dial(dial_id).state is DialState.RINGING
