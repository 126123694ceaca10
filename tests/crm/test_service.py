"""The record of calls, on both databases: whole, idempotent, and right when many threads write at once."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from moked.crm import leads
from moked.crm.leads import IllegalMove, NoLead, Origin, Stage
from moked.crm.models import Call, CallEvent, CallSnapshot, Contact, Lead, StreamTicket, Task, Turn
from moked.crm.places import NodeReport
from moked.crm.service import Crm, NextStep, Step
from moked.crm.tables_jobs import Job
from moked.crm.tickets import TicketReason, TicketRefusal
from moked.records import (
    CallEnd,
    CallStart,
    FieldSource,
    LeadDraft,
    LeftCall,
    Outcome,
    Segment,
    SnapshotSave,
    ToolUse,
    TurnRecord,
    Waterfall,
)

DANA = "+972501234567"
OFFICE = "+97235551234"
DRAFT = LeadDraft(
    name="דנה לוי",
    phone=DANA,
    need="תיקון מזגן",
    best_time="מחר בבוקר",
    summary="המזגן נוזל",
    extra={"city": "חיפה"},
    sources={"need": FieldSource(2, "המזגן שלי נוזל", 0.9)},
    phone_confirmed=True,
)
TURN = TurnRecord(
    number=1,
    caller_text="המזגן שלי נוזל",
    said="אני מבין. מה השם?",
    heard="אני מבין.",
    cut=True,
    started_ms=100,
    ended_ms=3000,
    engine="whisper",
    confidence=0.7,
    dtmf="5",
    waterfall=Waterfall(900, 1000, 1300, 1500, 1700, 1750, 2400),
    tools=(ToolUse("save_lead", '{"need": "מזגן"}', "ok", True, 12),),
)


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def forward(self, **much):
        self.now += timedelta(**much)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def crm(engine, clock):
    return Crm(engine, clock=clock, next_opening=lambda now: now + timedelta(hours=1))


@pytest.fixture
def business(crm):
    return crm.ensure_business("מזגנים בצפון", phone=OFFICE)


def start(sid="CA1", caller=DANA):
    return CallStart(call_sid=sid, account_sid="AC1", caller=caller, called=OFFICE)


def node(name="here", **more):
    return NodeReport(name, f"wss://{name}.example.com/media/twilio", **{"capacity": 10, **more})


def end(sid="CA1", outcome=Outcome.COMPLETED, detail="agent_hangup", lead=DRAFT):
    return CallEnd(sid, outcome, detail, 61_000, lead, engines=("google", "whisper"))


def rows(engine, table):
    with Session(engine) as session:
        return session.scalars(select(table).order_by(table.id)).all()


def together(work, items):
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(work, items))


# ---- a whole call


def test_a_transcript_written_after_the_call_takes_the_callers_place_in_the_report(crm, business):
    crm.open_call(start(), business)
    crm.add_turn(
        "CA1", replace(TURN, heard="במה אפשר לעזור?", started_ms=4000, ended_ms=6000, waterfall=Waterfall(sent_ms=4500))
    )
    live = crm.call_report("CA1")["transcript"]
    assert live["source"] == "live"
    assert [one["speaker"] for one in live["segments"]] == ["caller", "agent"]
    first = [Segment(1000, 2000, "caller", "שלום", "whisper"), Segment(2500, 3000, "caller", "נוזל", "whisper")]
    assert crm.store_transcript("CA1", [Segment(0, 1, "caller", "ישן", "whisper")])
    assert crm.store_transcript("CA1", first)  # again: the newer one counts
    stored = crm.call_report("CA1")["transcript"]
    assert stored["source"] == "stored"
    assert [one["text"] for one in stored["segments"]] == ["שלום", "נוזל", "במה אפשר לעזור?"]
    assert not crm.store_transcript("CA404", first)


def test_a_call_that_nobody_could_hear_says_so(crm, business):
    crm.open_call(start(), business)
    draft = LeadDraft(phone="+972541112233", phone_confirmed=True, unheard=True)
    result = crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "unheard_callback", 9000, draft))
    lead = crm.call_report("CA1")["lead"]
    assert (lead["origin"], lead["phone"], lead["summary"]) == ("unheard", "+972541112233", leads.WAS_UNHEARD)
    assert result.task_id


def test_a_call_from_the_webhook_to_its_lead(crm, business, engine, clock):
    assert crm.call_report("CA1") is None
    ticket = crm.receive_call(start(), business).ticket
    assert crm.redeem_ticket(ticket, "CA1") == start()
    crm.add_turn("CA1", TURN)
    clock.forward(seconds=61)
    tomorrow = clock() + timedelta(days=1)
    result = crm.finish_call(end(lead=replace(DRAFT, callback_at=tomorrow)))
    assert result.created
    assert result.lead_id
    assert result.task_id
    assert result.reason is None

    report = json.loads(json.dumps(crm.call_report("CA1")))
    assert report["ended"] is True
    assert report["status"] == "ended"
    assert report["outcome"] == "completed"
    assert report["engines"] == ["google", "whisper"]
    assert report["contact"] == {"id": result.contact_id, "name": "דנה לוי", "phone": DANA}
    assert report["lead"]["need"] == "תיקון מזגן"
    assert report["lead"]["confirmed"] is True
    assert report["lead"]["origin"] == "conversation"
    assert report["lead"]["extra"] == {"city": "חיפה"}
    assert report["lead"]["sources"]["need"] == {
        "call_sid": "CA1", "turn": 2, "quote": "המזגן שלי נוזל", "confidence": 0.9, "by": "agent",
        "readings": {},
    }  # fmt: skip
    assert report["lead_missing_reason"] is None
    assert [task["due_at"] for task in report["tasks"]] == [tomorrow.isoformat()]
    (turn,) = report["turns"]
    assert turn["waterfall"] == {
        "speech_end_ms": 900, "transcript_ms": 1000, "endpoint_ms": 1300, "llm_first_ms": 1500, "tts_first_ms": 1700,
        "sent_ms": 1750, "heard_ms": 2400, "response_ms": 850,
    }  # fmt: skip
    assert turn["heard"] == "אני מבין."
    assert turn["tools"][0]["name"] == "save_lead"
    assert turn["confidence"] == 0.7

    known = crm.contact_by_phone(DANA)
    assert known is not None
    assert (known.name, known.last_need, known.calls, known.open_lead_id) == (
        "דנה לוי",
        "תיקון מזגן",
        1,
        result.lead_id,
    )
    assert crm.contact_by_phone(DANA, business + 1) is None
    assert crm.contact_by_phone("+972500000000") is None


def test_everything_may_be_said_twice(crm, business, engine):
    for _ in range(2):
        crm.open_call(start(), business)
        crm.add_turn("CA1", TURN)
        crm.add_turn("CA1", replace(TURN, heard="אני מבין. מה השם?", cut=False))
        crm.add_event("CA1", "stream_status", {"event": "stream-started"}, key="a")
    first = crm.finish_call(end())
    second = crm.finish_call(end(outcome=Outcome.BROKEN, detail="socket_lost", lead=LeadDraft()))
    assert replace(first, created=False) == second
    assert [len(rows(engine, table)) for table in (Call, Turn, CallEvent, Lead, Contact, Task)] == [1, 1, 1, 1, 1, 1]
    assert rows(engine, Turn)[0].heard == "אני מבין. מה השם?"
    assert rows(engine, Call)[0].outcome is Outcome.COMPLETED


@pytest.mark.parametrize("outcome", Outcome)
@pytest.mark.parametrize("caller", [DANA, "anonymous"])
@pytest.mark.parametrize("said", ["", "הלו, שומעים אותי?"])
@pytest.mark.parametrize("draft", [LeadDraft(), LeadDraft(need="מזגן")])
def test_every_call_leaves_a_lead_or_a_reason(crm, business, engine, outcome, caller, said, draft):
    crm.open_call(start(caller=caller), business)
    crm.add_turn("CA1", replace(TURN, caller_text=said, dtmf=""))
    result = crm.finish_call(end(outcome=outcome, lead=draft))
    assert (result.lead_id is None) != (result.reason is None)
    (call,) = rows(engine, Call)
    assert (call.lead_id, call.lead_missing_reason) == (result.lead_id, result.reason)
    if result.lead_id:
        (lead,) = rows(engine, Lead)
        assert (lead.origin is Origin.BROKEN) == (outcome in (Outcome.BROKEN, Outcome.NO_STREAM))
        assert len(rows(engine, Task)) == (outcome is not Outcome.TRANSFERRED)


def test_a_second_call_belongs_to_the_open_lead_and_a_closed_one_rests(crm, business, engine):
    for sid in ("CA1", "CA2", "CA3"):
        crm.open_call(start(sid), business)
    first = crm.finish_call(end("CA1"))
    second = crm.finish_call(end("CA2", lead=LeadDraft(need="הצעת מחיר למזגן חדש")))
    assert second.lead_id == first.lead_id
    assert not second.created
    (lead,) = rows(engine, Lead)
    assert (lead.name, lead.need) == ("דנה לוי", "תיקון מזגן; הצעת מחיר למזגן חדש")
    assert len(rows(engine, Task)) == 1
    crm.move_lead(lead.id, Stage.WON)
    with pytest.raises(IllegalMove):
        crm.move_lead(lead.id, Stage.MEETING)
    with pytest.raises(LookupError):
        crm.move_lead(0, Stage.WON)
    assert crm.finish_call(end("CA3")).lead_id != lead.id


def test_a_borrowed_phone_the_lead_keeps_the_confirmed_number(crm, business, engine):
    crm.open_call(start(caller=OFFICE), business)
    result = crm.finish_call(end())
    assert {contact.phone: contact.name for contact in rows(engine, Contact)} == {OFFICE: "דנה לוי", DANA: "דנה לוי"}
    (lead,) = rows(engine, Lead)
    assert lead.phone == DANA
    crm.open_call(start("CA2", DANA), business)  # and calls from her own next time: still the same lead
    assert crm.finish_call(end("CA2", lead=LeadDraft(need="נו?"))).lead_id == result.lead_id


def test_a_withheld_caller_with_a_need_is_an_anonymous_contact(crm, business, engine):
    for sid in ("CA1", "CA2"):
        crm.open_call(start(sid, "anonymous"), business)
        crm.finish_call(end(sid, lead=LeadDraft(name="רון", need="מזגן")))
    assert [contact.phone for contact in rows(engine, Contact)] == [None, None]
    assert len(rows(engine, Lead)) == 2


def test_unknown_calls_do_no_harm(crm, business):
    crm.add_turn("CA9", TURN)
    crm.add_event("CA9", "x", {})
    crm.call_status("CA9", "completed", {})
    crm.touch(["CA9"])
    assert crm.finish_call(end("CA9")).lead_id is None
    assert crm.resume_call("CA9", serves=True).step == NextStep(Step.WAY_ON)
    with pytest.raises(LookupError):
        crm.mint_ticket("CA9")


def test_hostile_text_is_stored_without_what_no_database_takes(crm, business):
    crm.open_call(start(caller="x\0" * 500), business)
    crm.add_turn("CA1", replace(TURN, caller_text="א\0ב\ud800", dtmf="1" * 100))
    crm.add_event("CA1", "x" * 99, {"a\0": ["\ud800", {"b": "\0"}]})
    crm.finish_call(end(lead=LeadDraft(name="ש" * 5000, need="\0", best_time="x" * 999, extra={"\0": "\0"})))
    report = crm.call_report("CA1")
    assert report is not None
    assert report["turns"][0]["caller_text"] == "אב?"
    assert report["lead"]["name"] == "ש" * 200


# ---- tickets and admission


def test_a_ticket_opens_its_own_call_once_in_time(crm, business, clock, engine):
    for sid in ("CA1", "CA2"):
        crm.open_call(start(sid), business)
    ticket = crm.mint_ticket("CA1")
    assert crm.redeem_ticket("nonsense", "CA1") == TicketRefusal(TicketReason.UNKNOWN)
    assert crm.redeem_ticket(ticket, "CA2") == TicketRefusal(TicketReason.OTHER_CALL)
    assert crm.redeem_ticket(ticket, "CA1") == start()
    assert crm.redeem_ticket(ticket, "CA1") == TicketRefusal(TicketReason.USED)
    late = crm.mint_ticket("CA2", ttl_s=60)
    clock.forward(seconds=60)
    assert crm.redeem_ticket(late, "CA2") == TicketRefusal(TicketReason.EXPIRED)
    with Session(engine) as session:
        stored = session.scalars(select(StreamTicket.token_hash)).all()
    assert ticket not in stored
    assert all(len(digest) == 64 for digest in stored)
    clock.forward(days=2)
    crm.sweep_orphans()
    assert crm.redeem_ticket(ticket, "CA1") == TicketRefusal(TicketReason.UNKNOWN)


def test_of_many_who_show_one_ticket_one_gets_in(crm, business):
    crm.open_call(start(), business)
    ticket = crm.mint_ticket("CA1")
    answers = together(lambda _: crm.redeem_ticket(ticket, "CA1"), range(16))
    assert sum(isinstance(answer, CallStart) for answer in answers) == 1
    assert answers.count(TicketRefusal(TicketReason.USED)) == 15


def test_the_last_place_is_given_once_and_comes_back(crm, business, clock):
    def call(sid, caller=DANA):
        return crm.receive_call(start(sid, caller), business, reserve=True, here=node(capacity=3))

    answers = together(lambda n: call(f"CA{n}", f"+97250000000{n}"), range(8))
    assert sum(bool(answer.ticket) for answer in answers) == 3
    assert [answer.refusal for answer in answers].count("overload") == 5
    assert crm.active_calls() == crm.active_calls(business) == 3
    assert crm.active_calls(business + 1) == 0
    winner = next(f"CA{n}" for n, answer in enumerate(answers) if answer.ticket)
    assert call(winner).ticket  # the carrier asks again: still admitted
    crm.finish_call(end(winner))
    assert call("CA10").ticket
    clock.forward(seconds=91)  # nobody serves them: they hold no place
    assert crm.active_calls() == 0


def test_a_refused_call_is_a_lead_with_a_callback_and_stays_refused(crm, business, engine, clock):
    for _ in range(2):
        reception = crm.receive_call(start(), business, refuse="draining")
        assert (reception.ticket, reception.refusal) == ("", "draining")
    assert crm.receive_call(start(), business).refusal == "draining"
    assert rows(engine, Lead) == []  # whoever is refused costs little at the webhook: the work after the call makes it
    for _ in range(2):
        crm.settle_refused("CA1")
    (lead,) = rows(engine, Lead)
    (task,) = rows(engine, Task)
    assert (lead.origin, lead.phone, lead.summary) == (Origin.REFUSED, DANA, leads.WAS_REFUSED)
    assert (task.note, task.due_at) == (leads.WAS_REFUSED, clock() + timedelta(hours=1))
    crm.receive_call(start("CA2", "anonymous"), business, refuse="overload")
    crm.settle_refused("CA2")
    assert rows(engine, Call)[1].lead_missing_reason is NoLead.REFUSED_OVERLOAD
    crm.settle_refused("CA3")  # nobody knows it: no error


def test_the_lead_of_a_refused_call_waits_for_its_keys_or_its_end(crm, business, engine, clock):
    began = clock()
    for number in range(3):
        crm.receive_call(start(f"CA{number}"), business, refuse="overload")
    assert [(job.lane, job.due_at - began) for job in rows(engine, Job)] == [("refused", timedelta(seconds=30))] * 3
    clock.forward(seconds=9)
    crm.request_callback("CA1", DANA, key="1 " + DANA)
    crm.call_status("CA2", "ringing", {}, key="ringing")
    crm.call_status("CA2", "completed", {}, key="completed")
    due = {job.key: job.due_at - began for job in rows(engine, Job)}
    assert due == {f"call:CA{number}": timedelta(seconds=seconds) for number, seconds in enumerate((30, 9, 9))}
    crm.settle_refused("CA1")
    assert rows(engine, Lead)[0].summary.startswith(leads.WAS_REFUSED + " ")  # with where they want to be called
    crm.request_callback("CA1", "+972521111111", key="2 +972521111111")  # later than the lead: it is told at once
    assert rows(engine, Lead)[0].phone == "+972521111111"
    crm.call_status("CA1", "completed", {}, key="completed")
    assert len(rows(engine, Lead)) == 1


# ---- breaking


def test_an_orphan_is_finished_from_what_was_stored(crm, business, engine, clock):
    for sid, caller in (("CA1", DANA), ("CA2", "+972502222222"), ("CA3", "+972503333333")):
        crm.redeem_ticket(crm.receive_call(start(sid, caller), business).ticket, sid)
    crm.add_turn("CA1", TURN, lead=LeadDraft(name="דנה", need="תיקון מזגן"))
    crm.receive_call(start("CA4", "+972504444444"), business)
    clock.forward(seconds=60)
    crm.touch(["CA2"])
    crm.add_turn("CA3", replace(TURN, caller_text="", dtmf=""))
    clock.forward(seconds=60)
    assert sorted(crm.sweep_orphans(90)) == ["CA1", "CA4"]
    assert crm.sweep_orphans(90) == []
    broken = crm.call_report("CA1")
    assert broken is not None
    assert (broken["outcome"], broken["detail"], broken["lead"]["name"]) == ("broken", "orphaned", "דנה")
    assert leads.BROKE in broken["lead"]["summary"]
    never = crm.call_report("CA4")
    assert never is not None
    assert (never["outcome"], never["lead"]["summary"]) == ("no_stream", leads.NEVER_STARTED)
    # The session was alive after all: its own word replaces the sweep's, the lead stays one.
    crm.finish_call(end("CA1"))
    again = crm.call_report("CA1")
    assert again is not None
    assert (again["outcome"], again["lead"]["origin"], again["lead"]["id"]) == (
        "completed", "conversation", broken["lead"]["id"],
    )  # fmt: skip
    assert len(again["tasks"]) == 1


def test_two_sweeps_finish_each_orphan_once(crm, business, engine, clock):
    for n in range(6):
        crm.receive_call(start(f"CA{n}", f"+97250000000{n}"), business)
    clock.forward(minutes=5)
    swept = together(lambda _: crm.sweep_orphans(90), range(4))
    assert sorted(sid for sids in swept for sid in sids) == [f"CA{n}" for n in range(6)]
    assert len(rows(engine, Task)) == 6


def test_the_carriers_word_ends_a_call_whose_stream_never_came(crm, business, engine):
    ticket = crm.receive_call(start(), business).ticket
    crm.call_status("CA1", "in-progress", {}, key="in-progress 1")
    assert rows(engine, Call)[0].outcome is None
    crm.call_status("CA1", "completed", {"CallDuration": "9"}, key="completed 2")
    crm.call_status("CA1", "completed", {"CallDuration": "9"}, key="completed 2")
    assert rows(engine, Call)[0].outcome is Outcome.NO_STREAM
    assert crm.redeem_ticket(ticket, "CA1") == TicketRefusal(TicketReason.EXPIRED)
    assert crm.receive_call(start(), business).refusal == "ended"
    live = crm.receive_call(start("CA2"), business).ticket
    crm.redeem_ticket(live, "CA2")
    crm.call_status("CA2", "completed", {})
    assert rows(engine, Call)[1].outcome is None  # its session will tell


def test_words_that_were_written_late_still_make_a_lead(crm, business, engine):
    crm.open_call(start(), business)
    assert crm.finish_call(end(outcome=Outcome.CALLER_HUNG_UP, lead=LeadDraft())).reason is NoLead.NO_SPEECH
    crm.add_turn("CA1", TURN)
    (call,) = rows(engine, Call)
    assert call.lead_missing_reason is None
    assert "המזגן שלי נוזל" in rows(engine, Lead)[0].summary


def test_the_hour_they_named_stays_when_more_is_learned_about_the_call(crm, business, engine, clock):
    at_four = clock() + timedelta(hours=6)
    crm.open_call(start(), business)
    crm.add_turn("CA1", TURN, lead=replace(DRAFT, callback_at=at_four))  # also as a draft on the way
    crm.finish_call(end(lead=replace(DRAFT, callback_at=at_four)))
    crm.add_event("CA1", "voicemail", {"url": "https://x/RE1"}, key="RE1")
    (task,) = rows(engine, Task)
    assert task.due_at == at_four


def test_a_second_call_moves_the_task_to_the_hour_it_names(crm, business, engine, clock):
    crm.open_call(start(), business)
    crm.finish_call(end(lead=replace(DRAFT, callback_at=clock() + timedelta(hours=2))))
    later = clock() + timedelta(hours=30)
    crm.open_call(start("CA2"), business)
    crm.finish_call(end("CA2", lead=replace(DRAFT, callback_at=later)))
    (task,) = rows(engine, Task)
    assert task.due_at == later


def test_a_voicemail_is_a_note_on_the_lead_whenever_it_comes(crm, business, engine):
    crm.open_call(start(caller="anonymous"), business)
    crm.add_event("CA1", "voicemail", {"url": "https://x/RE1"}, key="RE1")
    crm.finish_call(end(outcome=Outcome.BROKEN, lead=LeadDraft()))
    crm.open_call(start("CA2"), business)
    assert crm.finish_call(end("CA2", Outcome.COMPLETED, lead=LeadDraft())).reason is NoLead.SPAM_OR_SILENCE
    for _ in range(2):
        crm.add_event("CA2", "voicemail", {"url": "https://x/RE2"}, key="RE2")
    early, late = rows(engine, Lead)
    assert [note["url"] for note in early.notes] == ["https://x/RE1"]
    assert [note["url"] for note in late.notes] == ["https://x/RE2"]
    assert late.origin is Origin.VOICEMAIL
    assert len(rows(engine, Task)) == 2


def test_a_transfer_nobody_answered_becomes_a_callback(crm, business, engine):
    crm.open_call(start(), business)
    crm.finish_call(end(outcome=Outcome.TRANSFERRED))
    assert rows(engine, Task) == []
    with Session(engine) as session, session.begin():
        session.execute(update(Lead).values(need="תוקן ביד"))  # somebody worked on it since
    crm.add_event("CA1", "dial_result", {"status": "no-answer"}, key="CA77")
    (task,) = rows(engine, Task)
    (lead,) = rows(engine, Lead)
    assert leads.NOBODY_ANSWERED in task.note
    assert (lead.need, lead.origin) == ("תוקן ביד", Origin.UNANSWERED)


@pytest.mark.parametrize(
    ("outcome", "step"),
    [
        (Outcome.COMPLETED, Step.HANG_UP),
        (Outcome.CALLER_HUNG_UP, Step.HANG_UP),
        (Outcome.REFUSED, Step.HANG_UP),
        (Outcome.TRANSFERRED, Step.TRANSFER),
        (Outcome.BROKEN, Step.WAY_ON),
        (Outcome.NO_STREAM, Step.WAY_ON),
        (None, Step.WAY_ON),
    ],
)
def test_what_comes_after_the_stream(crm, business, outcome, step):
    crm.open_call(start(), business)
    if outcome is not None:
        crm.finish_call(end(outcome=outcome))
    assert crm.resume_call("CA1", serves=False).step.step is step
    crm.set_next_step("CA1", NextStep(Step.TRANSFER, OFFICE))
    assert crm.resume_call("CA1", serves=False).step == NextStep(Step.TRANSFER, OFFICE)


# ---- between two streams


def a_live_call(crm, business, sid="CA1"):
    crm.redeem_ticket(crm.receive_call(start(sid), business).ticket, sid)


def moves(crm, sid="CA1"):
    """The carrier asks, and the next stream comes: its number, or why there is none."""
    resumption = crm.resume_call(sid, serves=True)
    return crm.redeem_ticket(resumption.ticket, sid).stream if resumption.ticket else resumption.refusal


def test_a_call_goes_on_from_its_last_snapshot_and_an_older_stream_has_no_word(crm, business, engine, clock):
    a_live_call(crm, business)
    assert crm.left_call("CA1") is None
    crm.save_snapshots([SnapshotSave("CA1", 0, b"one"), SnapshotSave("CA1", 0, b"two"), SnapshotSave("CA9", 0, b"x")])
    crm.save_snapshots([SnapshotSave("CA1", 0, b"three", "disconnect")])
    clock.forward(milliseconds=400)
    assert moves(crm) == 1
    assert crm.left_call("CA1") == LeftCall(b"three", "disconnect", 400)
    # What the former process still says comes too late: its state, and its idea of an end.
    crm.save_snapshots([SnapshotSave("CA1", 0, b"zombie")])
    crm.finish_call(replace(end(outcome=Outcome.BROKEN), stream=0))
    assert crm.left_call("CA1").data == b"three"
    crm.save_snapshots([SnapshotSave("CA1", 1, b"four")])
    assert crm.left_call("CA1") == LeftCall(b"four", "died", 0)
    crm.finish_call(replace(end(), stream=1))
    report = crm.call_report("CA1")
    assert (report["outcome"], report["lead"]["name"]) == ("completed", "דנה לוי")
    with Session(engine) as session:  # nothing personal is kept longer than it is needed
        assert session.scalars(select(CallSnapshot)).all() == []


def test_a_call_that_moves_in_circles_is_ended_and_one_that_talks_moves_five_times(crm, business, clock):
    for sid in ("CA1", "CA2"):
        a_live_call(crm, business, sid)
    assert [moves(crm) for _ in range(3)] == [1, 2, "too_many_moves"]
    assert crm.call_report("CA1")["detail"] == "too_many_moves"
    streams = []
    for number in range(6):
        crm.add_turn("CA2", replace(TURN, number=number + 1))
        clock.forward(seconds=3)
        streams.append(moves(crm, "CA2"))
    assert streams == [1, 2, 3, 4, 5, "too_many_moves"]


def test_a_caller_waits_for_a_process_but_not_for_ever(crm, business, clock):
    a_live_call(crm, business)
    crm.save_snapshots([SnapshotSave("CA1", 0, b"one")])
    for _ in range(20):
        assert crm.resume_call("CA1", serves=False, may_wait=True).wait
        assert crm.sweep_orphans(5) == []  # between two processes, not an orphan
        clock.forward(seconds=1)
    given_up = crm.resume_call("CA1", serves=False, may_wait=True)
    assert (given_up.wait, given_up.step.step, given_up.refusal) == (False, Step.WAY_ON, "nobody_serves")
    assert crm.call_report("CA1")["outcome"] == "broken"
    assert crm.resume_call("CA1", serves=True).step.step is Step.WAY_ON


def test_a_call_that_was_left_and_that_nobody_asks_about_is_over(crm, business, clock):
    for sid in ("CA1", "CA2", "CA3"):
        a_live_call(crm, business, sid)
        crm.save_snapshots([SnapshotSave(sid, 0, b"one", "silent")])
    crm.call_status("CA3", "completed", {})  # the caller hung up in the gap
    assert crm.call_report("CA3")["detail"] == "silent"
    moves(crm, "CA2")
    crm.save_snapshots([SnapshotSave("CA2", 1, b"two")])
    clock.forward(seconds=31)
    crm.touch(["CA2"])
    assert crm.sweep_orphans(90) == ["CA1"]
    assert [crm.call_report(sid)["ended"] for sid in ("CA1", "CA2", "CA3")] == [True, False, True]
    crm.call_status("CA2", "completed", {})  # its session is there to see it
    assert not crm.call_report("CA2")["ended"]
    crm.save_snapshots([SnapshotSave("CA2", 1, b"three", "disconnect")])
    assert crm.call_report("CA2")["detail"] == "disconnect"


# ---- many at once


def test_calls_of_one_person_that_end_together_make_one_lead(crm, business, engine):
    sids = [f"CA{n}" for n in range(12)]
    for sid in sids:
        crm.open_call(start(sid), business)
    results = together(lambda sid: crm.finish_call(end(sid)), sids)
    assert len({result.lead_id for result in results}) == 1
    assert sum(result.created for result in results) == 1
    assert [len(rows(engine, table)) for table in (Lead, Contact, Task)] == [1, 1, 1]


def test_calls_that_borrow_each_others_phones_do_not_wait_in_a_circle(crm, business, engine):
    def run(n):
        mine, other = (DANA, OFFICE) if n % 2 else (OFFICE, DANA)
        caller = "anonymous" if n % 5 == 0 else mine
        crm.receive_call(start(f"CA{n}", caller), business, reserve=True, here=node(capacity=100))
        crm.add_turn(f"CA{n}", TURN)
        return crm.finish_call(end(f"CA{n}", lead=replace(DRAFT, phone=other)))

    assert all(result.lead_id for result in together(run, range(24)))
    assert len(rows(engine, Lead)) <= 2  # two, where withheld callers came before anybody who links the two numbers
    assert len(rows(engine, Contact)) == 2


def test_one_call_ended_by_many_is_ended_once(crm, business, engine):
    crm.open_call(start(), business)
    outcomes = [Outcome.COMPLETED, Outcome.BROKEN, Outcome.CALLER_HUNG_UP, Outcome.COMPLETED]
    results = together(lambda outcome: crm.finish_call(end(outcome=outcome)), outcomes * 3)
    assert len({(result.lead_id, result.task_id) for result in results}) == 1
    assert sum(result.created for result in results) == 1


def test_turns_written_from_many_threads_are_all_there(crm, business, engine):
    crm.open_call(start(), business)
    together(lambda n: crm.add_turn("CA1", replace(TURN, number=n % 20)), range(60))
    with Session(engine) as session:
        assert session.scalar(select(func.count()).select_from(Turn)) == 20


def test_a_business_keeps_its_id_and_gets_its_new_name(crm, engine):
    ids = together(lambda n: crm.ensure_business(f"שם {n}"), range(8))
    assert len(set(ids)) == 1
    assert crm.ensure_business("אחר", key="b") not in ids
