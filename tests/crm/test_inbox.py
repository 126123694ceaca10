"""Written conversations on record, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, LID, PHONE, Address, Inbound, Kind, MessageState, Report, SendResult
from moked.crm.inbox import TALK_ENDS, Inbox
from moked.crm.leads import Stage
from moked.crm.models import Contact, Lead, Task
from moked.crm.past import CALL, CHAT, Past
from moked.crm.service import Crm
from moked.crm.tables_whatsapp import ContactIdentity, Conversation, Message, OutboundMessage
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, TurnRecord

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
RUTI = Address(PHONE, "+972502345678")
HIDDEN = Address(LID, "77001")
QUIET = timedelta(seconds=2)


class Room:
    def __init__(self, engine):
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.inbox = Inbox(engine, clock=lambda: self.now)
        self.number = 0

    def comes(self, text="שלום", who=RUTI, also=(), *, id=None, name="רותי", **more):
        self.number += 1
        came = Inbound(
            BAILEYS, "972501111111", id or f"3A{self.number}", who, self.now, also=also, name=name, text=text, **more
        )
        return self.inbox.receive(self.business, came)

    def waiting(self):
        return self.inbox.waiting(self.business, quiet_for=QUIET)

    def later(self, **gone):
        self.now += timedelta(**gone)

    def rows(self, table):
        with Session(self.engine) as session:
            return session.scalars(select(table).order_by(table.id)).all()

    def to_send(self):
        return self.inbox.to_send(self.business, [BAILEYS])


@pytest.fixture
def room(engine):
    return Room(engine)


def draft(**known):
    return LeadDraft(need="המזגן מטפטף", sources={"need": FieldSource(1, "המזגן מטפטף", 0.9)}, **known)


def test_what_comes_twice_is_stored_once(room):
    assert room.comes(id="3A1").new
    assert not room.comes(id="3A1").new
    assert [row.text for row in room.rows(Message)] == ["שלום"]
    (talked,) = room.rows(Conversation)
    assert (talked.unread, talked.address) == (1, str(RUTI))
    (contact,) = room.rows(Contact)
    assert (contact.phone, contact.name) == (RUTI.value, "רותי")


def test_a_caller_who_writes_is_the_same_contact(room):
    room.crm.open_call(CallStart("CA1", "AC1", RUTI.value, "+97235551234"), room.business)
    room.crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "agent_hangup", 1000, draft(name="רותי לוי")))
    room.comes()
    (contact,) = room.rows(Contact)
    assert contact.name == "רותי לוי"


def test_an_identity_without_a_number_joins_its_person_when_the_number_is_learnt(room):
    room.comes("מי שם", RUTI)
    room.comes("שלום", HIDDEN, name="")
    hidden = room.rows(Contact)[1]
    assert hidden.phone is None
    room.comes("זה אני", HIDDEN, also=(RUTI,))
    (contact,) = room.rows(Contact)
    assert contact.phone == RUTI.value
    (talked,) = room.rows(Conversation)
    assert [row.text for row in room.rows(Message)] == ["מי שם", "שלום", "זה אני"]
    assert {row.conversation_id for row in room.rows(Message)} == {talked.id}
    assert (talked.unread, talked.address) == (3, str(HIDDEN))  # answered where they wrote from
    assert {(row.scheme, row.value) for row in room.rows(ContactIdentity)} == {("pn", RUTI.value), ("lid", "77001")}


def test_a_number_learnt_by_an_identity_nobody_knew_under_it_is_kept(room):
    room.comes("שלום", HIDDEN)
    room.comes("שוב", HIDDEN, also=(RUTI,))
    (contact,) = room.rows(Contact)
    assert contact.phone == RUTI.value


def test_the_agent_answers_when_they_have_finished_writing(room):
    room.comes("שלום")
    assert room.waiting() == []
    room.later(seconds=1)
    room.comes("המזגן מטפטף")
    room.later(seconds=1)
    assert room.waiting() == []
    room.later(seconds=1)
    (wanted,) = room.waiting()
    assert [line.text for line in wanted.new] == ["שלום", "המזגן מטפטף"]
    assert room.inbox.answered(wanted, ["מתי נוח?"], {"state": 1}, draft())
    assert room.waiting() == []
    (out,) = room.to_send()
    assert (out.out.text, out.out.to) == ("מתי נוח?", RUTI)
    (lead,) = room.rows(Lead)
    assert (lead.need, lead.phone, lead.stage, lead.source_call_sid) == (
        "המזגן מטפטף", RUTI.value, Stage.NEW, f"chat:{wanted.id}",
    )  # fmt: skip
    assert len(room.rows(Task)) == 1


def test_an_answer_is_given_once(room):
    room.comes()
    room.later(seconds=5)
    (first,), (second,) = room.waiting(), room.waiting()
    assert room.inbox.answered(first, ["שלום"], None, None)
    assert not room.inbox.answered(second, ["שלום שלום"], None, None)
    assert [row.text for row in room.rows(OutboundMessage)] == ["שלום"]


def test_more_words_change_the_lead_and_nothing_is_doubled(room):
    for number, known in enumerate([{}, {"name": "רותי לוי"}, {"name": "רותי לוי", "best_time": "מחר"}]):
        room.comes(f"מילים {number}")
        room.later(seconds=5)
        (wanted,) = room.waiting()
        assert room.inbox.answered(wanted, ["תודה"], {"state": number}, draft(**known))
    (lead,) = room.rows(Lead)
    assert (lead.name, lead.best_time, lead.need) == ("רותי לוי", "מחר", "המזגן מטפטף")
    assert len(room.rows(Task)) == 1
    assert room.rows(Contact)[0].name == "רותי לוי"


def test_after_a_long_silence_the_agent_begins_anew(room):
    room.comes("המזגן מטפטף")
    room.later(seconds=5)
    assert room.inbox.answered(room.waiting()[0], ["תודה"], {"state": 1}, draft())
    room.now += TALK_ENDS + timedelta(minutes=1)
    room.comes("שלום שוב")
    room.later(seconds=5)
    (wanted,) = room.waiting()
    assert (wanted.agent, wanted.talk, [line.text for line in wanted.lines]) == (None, 1, ["שלום שוב"])


def test_a_voice_note_is_written_down_before_it_is_answered(room):
    room.comes("", kind=Kind.VOICE, raw="cmF3")
    room.later(seconds=5)
    assert room.waiting() == []
    (note,) = room.inbox.unheard(room.business)
    room.inbox.heard(room.business, note.message_id, "המזגן מטפטף")
    assert room.inbox.unheard(room.business) == []
    assert [line.text for line in room.waiting()[0].new] == ["המזגן מטפטף"]


def test_a_message_is_tried_until_it_is_sent_and_never_twice_at_once(room):
    room.comes()
    room.later(seconds=5)
    room.inbox.answered(room.waiting()[0], ["אחת", "שתיים"], None, None)
    (message,) = room.to_send()
    assert room.to_send() == []  # the second waits for the first, and nobody else takes the first
    room.inbox.sent(message, SendResult(MessageState.QUEUED, error="connection_lost"))
    assert room.to_send() == []
    room.later(seconds=3)
    (again,) = room.to_send()
    assert (again.out.key, again.attempts) == (message.out.key, 2)
    room.inbox.sent(again, SendResult(MessageState.SENT, again.out.key))
    (second,) = room.to_send()
    assert second.out.text == "שתיים"
    room.later(seconds=61)  # whoever was sending it was killed
    assert [one.out.key for one in room.to_send()] == [second.out.key]


def test_a_message_nobody_could_send_for_a_day_is_not_sent(room):
    room.comes()
    room.later(seconds=5)
    room.inbox.answered(room.waiting()[0], ["שלום"], None, None)
    room.later(hours=25)
    assert room.to_send() == []
    assert [(row.state, row.reason) for row in room.rows(OutboundMessage)] == [(MessageState.FAILED, "too_old")]


@pytest.mark.parametrize(
    ("told", "state"),
    [
        (["read", "delivered"], "read"),
        (["delivered", "failed"], "delivered"),
        (["failed", "delivered"], "failed"),
        (["failed"], "failed"),
        (["delivered", "delivered", "read"], "read"),
    ],
)
def test_reports_come_in_any_order(room, told, state):
    room.comes()
    room.later(seconds=5)
    room.inbox.answered(room.waiting()[0], ["שלום"], None, None)
    (message,) = room.to_send()
    room.inbox.sent(message, SendResult(MessageState.SENT, "wamid.1"))
    for one in told:
        assert room.inbox.reported(room.business, Report(BAILEYS, "wamid.1", MessageState(one), "x"))
    assert room.rows(OutboundMessage)[0].state == state
    assert not room.inbox.reported(room.business, Report(BAILEYS, "nobody's", MessageState.READ))


def test_calls_and_writing_know_of_one_another(room):
    room.crm.open_call(CallStart("CA1", "AC1", RUTI.value, "+97235551234"), room.business)
    room.crm.redeem_ticket(room.crm.mint_ticket("CA1"), "CA1")
    room.crm.add_turn("CA1", TurnRecord(1, "הדוד לא מחמם", "נשלח טכנאי מחר.", "נשלח טכנאי מחר.", False, 0, 900))
    room.crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "agent_hangup", 1000, draft()))
    stored = room.comes("מתי הוא מגיע?")
    contact = room.rows(Contact)[0].id
    past = Past(room.engine)
    assert past.of_contact(contact, stored.conversation_id)[CALL] == "הפונה: הדוד לא מחמם / אנחנו: נשלח טכנאי מחר."
    assert CHAT not in past.of_contact(contact, stored.conversation_id)
    assert past.of_contact(contact)[CHAT] == "הפונה: מתי הוא מגיע?"
