"""Written conversations on record, on both databases."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, LID, NOT_CONNECTED, PHONE, Address, Inbound, Kind, MessageState, Report, SendResult
from moked.channels.baileys import BaileysChannel
from moked.channels.policy import ChannelRules, Purpose, Standing, standing
from moked.channels.wishes import ADVERTISEMENTS, OPT_OUT, YES
from moked.crm import consents, people, sending
from moked.crm.audit import Actor
from moked.crm.desk import Desk
from moked.crm.inbound import REMOVED
from moked.crm.inbox import TALK_ENDS, Inbox, write
from moked.crm.inbox_desk import InboxDesk
from moked.crm.leads import Stage
from moked.crm.models import Contact, Lead, Task
from moked.crm.past import CALL, CHAT, Past
from moked.crm.permissions import UserRole
from moked.crm.sending import BEHIND, Outbox
from moked.crm.service import Crm
from moked.crm.tables_crm import ChannelIdentity, ContactMerge
from moked.crm.tables_policy import ChannelSeen, ConsentRow, OutboundMessage, Reply, Suppression
from moked.crm.tables_whatsapp import Conversation, Message
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, TurnRecord

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
RUTI = Address(PHONE, "+972502345678")
HIDDEN = Address(LID, "77001")
QUIET = timedelta(seconds=2)
CAPS = {"whatsapp": BaileysChannel.caps}


class Room:
    def __init__(self, engine):
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.inbox = Inbox(engine, clock=lambda: self.now)
        self.outbox = Outbox(engine, clock=lambda: self.now)
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

    def claim(self):
        return self.outbox.claim(CAPS)

    def answered(self, *texts):
        self.later(seconds=5)
        (wanted,) = self.waiting()
        assert self.inbox.answered(wanted, texts, None, None)


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
    contact, gone = room.rows(Contact)
    assert (contact.phone, gone.merged_into_id) == (RUTI.value, contact.id)
    talked, emptied = room.rows(Conversation)
    assert [row.text for row in room.rows(Message)] == ["מי שם", "שלום", "זה אני"]
    assert {row.conversation_id for row in room.rows(Message)} == {talked.id}
    assert (talked.unread, talked.address) == (3, str(HIDDEN))  # answered where they wrote from
    assert emptied.contact_id == gone.id
    known = {(row.scheme, row.value, row.contact_id) for row in room.rows(ChannelIdentity)}
    assert known == {("tel", RUTI.value, contact.id), ("lid", "77001", contact.id)}
    assert len(InboxDesk(room.engine).conversations(room.business).rows) == 1


def test_a_merge_of_two_who_write_can_be_undone(room):
    room.comes("מי שם", RUTI)
    room.later(minutes=1)
    room.comes("שלום", HIDDEN, name="")
    hidden_at = room.now
    room.comes("זה אני", HIDDEN, also=(RUTI,))
    room.later(minutes=1)
    room.comes("כן, אני")
    with Session(room.engine) as session, session.begin():
        people.unmerge(session, session.scalars(select(ContactMerge)).one(), now=room.now)
    ours, theirs = room.rows(Conversation)
    said = {row.text: row.conversation_id for row in room.rows(Message)}
    assert said == {"מי שם": ours.id, "שלום": theirs.id, "זה אני": ours.id, "כן, אני": ours.id}  # what came since stays
    contact, gone = room.rows(Contact)
    assert (ours.contact_id, theirs.contact_id, gone.merged_into_id) == (contact.id, gone.id, None)
    assert {(row.value, row.contact_id) for row in room.rows(ChannelIdentity)} == {
        (RUTI.value, contact.id), ("77001", gone.id),
    }  # fmt: skip
    with Session(room.engine) as session:
        seen = {row.contact_id: row.last_inbound_at for row in session.scalars(select(ChannelSeen))}
    assert seen == {contact.id: room.now, gone.id: hidden_at}


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
    (out,) = room.claim()
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


def test_answers_go_in_order_and_none_overtakes_one_that_was_put_off(room):
    room.comes()
    room.answered("אחת", "שתיים")
    first, second = room.claim()
    assert (first.line, first.out.to, room.claim()) == ("whatsapp", RUTI, [])
    room.outbox.settle(first.id, SendResult(MessageState.QUEUED, error="connection_lost"))
    room.outbox.settle(second.id, SendResult(MessageState.QUEUED, error=BEHIND))
    assert room.claim() == []  # the second could go at once, and waits for the first
    room.later(seconds=3)
    assert [one.out.key for one in room.claim()] == [first.out.key]
    room.outbox.settle(first.id, SendResult(MessageState.SENT, first.out.key))
    assert [one.out.text for one in room.claim()] == ["שתיים"]
    assert [row.attempts for row in room.rows(OutboundMessage)] == [2, 1]


def test_an_answer_waits_for_the_connection_a_day_and_no_longer(room):
    room.comes()
    room.answered("שלום")
    for _ in range(7):
        (message,) = room.claim()
        room.outbox.settle(message.id, SendResult(MessageState.QUEUED, error=NOT_CONNECTED))
        room.later(seconds=2)
    assert room.rows(OutboundMessage)[0].attempts == 0
    room.later(hours=25)
    assert room.claim() == []
    assert [(row.state, row.reason) for row in room.rows(OutboundMessage)] == [(MessageState.FAILED, "too_old")]


def test_a_report_that_comes_before_the_channels_answer_finds_its_message(room):
    room.comes()
    room.answered("שלום")
    (message,) = room.claim()
    assert room.inbox.reported(room.business, Report(BAILEYS, message.out.key, MessageState.DELIVERED))
    room.outbox.settle(message.id, SendResult(MessageState.QUEUED, error="timeout"))
    (row,) = room.rows(OutboundMessage)
    assert (row.state, row.sent_at is not None) == (MessageState.DELIVERED, True)


def test_answers_in_a_conversation_are_no_approach_that_is_counted(room):
    for number in range(5):
        room.comes(f"שאלה {number}")
        room.answered(f"תשובה {number}")
        room.outbox.settle(room.claim()[0].id, SendResult(MessageState.SENT, f"id{number}"))
    with Session(room.engine) as session:
        facts = sending.facts_of(session, room.business, room.rows(Contact)[0].id, "whatsapp", RUTI.value, room.now)
        assert set(facts.sent_to_contact.values()) == {0}
        assert set(facts.sent_by_channel.values()) == {0}


def test_who_wants_to_be_left_alone_is_removed_at_once_and_told_so_once(room):
    room.comes("המזגן מטפטף")
    room.comes("הסר")
    room.comes("הסר", id="3A2")
    room.later(seconds=5)
    assert room.waiting() == []
    (told,) = room.claim()
    assert told.out.text == REMOVED
    assert [row.text for row in room.rows(Message)] == ["המזגן מטפטף", "הסר", REMOVED]
    assert room.rows(Suppression)[0].reason == "opt_out"
    room.comes("בעצם יש לי שאלה")
    room.later(seconds=5)
    (wanted,) = room.waiting()
    assert room.inbox.answered(wanted, ["בבקשה"], None, None)
    (answer,) = room.claim()  # they asked, and are answered; nothing else is sent to them
    assert answer.out.text == "בבקשה"
    assert "wrote_since" in room.rows(OutboundMessage)[-1].reasons


def test_who_tells_the_agent_to_leave_them_alone_is_left_alone(room):
    room.comes("די, לא מעוניין שתפנו אליי")
    room.later(seconds=5)
    known = LeadDraft(extra={OPT_OUT: YES})
    assert room.inbox.answered(room.waiting()[0], ["בסדר, לא נפנה"], {"state": 1}, known)
    room.comes("תודה")
    room.later(seconds=5)
    assert room.inbox.answered(room.waiting()[0], ["להתראות"], {"state": 2}, known)
    assert [one.out.text for one in room.claim()] == [REMOVED]
    assert [row.text for row in room.rows(OutboundMessage)] == [REMOVED]
    assert len(room.rows(Suppression)) == 1
    assert [row.text for row in room.rows(ConsentRow)] == ["די, לא מעוניין שתפנו אליי"]


def test_words_of_removal_in_a_voice_note_hold_when_they_are_written_down(room):
    room.comes("", kind=Kind.VOICE, raw="cmF3")
    room.inbox.heard(room.business, room.inbox.unheard(room.business)[0].message_id, "תסירו אותי מהרשימה")
    room.later(seconds=5)
    assert room.waiting() == []
    assert [one.out.text for one in room.claim()] == [REMOVED]


def test_who_agrees_to_advertisements_in_writing_is_on_the_ledger_with_the_message(room):
    room.comes("כמה עולה טכנאי?")
    room.comes("כן, אפשר לשלוח לי מבצעים", id="3AF0")
    room.comes("כן, אפשר לשלוח לי מבצעים", id="3AF0")
    (row,) = room.rows(ConsentRow)
    assert (row.purpose, row.channel, row.how, row.given_at) == (Purpose.MARKETING, "whatsapp", "message", NOW)
    assert (row.message_key, row.message_channel, row.message_at) == ("3AF0", "whatsapp", NOW)
    assert (row.text, row.message_digest) == (
        "כן, אפשר לשלוח לי מבצעים", hashlib.sha256("כן, אפשר לשלוח לי מבצעים".encode()).hexdigest(),
    )  # fmt: skip
    room.later(minutes=1)
    room.comes("הסר", id="3AF1")
    given, refused = room.rows(ConsentRow)
    assert (given.revoked_at, refused.message_key, refused.text) == (room.now, "3AF1", "הסר")


def test_a_consent_that_was_written_before_a_refusal_and_comes_late_changes_nothing(room):
    room.comes("הסר")
    written = room.now - timedelta(hours=1)
    room.inbox.receive(room.business, Inbound(BAILEYS, "972501111111", "3B1", RUTI, written, text="מאשר לקבל דיוור"))
    (late,) = [row for row in room.rows(ConsentRow) if row.given_at]
    assert late.given_at == written
    assert len(room.rows(Suppression)) == 1
    with Session(room.engine) as session:
        stands = standing(consents.ledger(session, room.rows(Contact)[0].id), Purpose.MARKETING, "whatsapp", room.now)
    assert stands is Standing.REVOKED


def test_a_voice_note_agrees_to_no_advertisements(room):
    room.comes("", kind=Kind.VOICE, raw="cmF3")
    room.inbox.heard(room.business, room.inbox.unheard(room.business)[0].message_id, "אני מאשר לקבל דיוור")
    assert room.rows(ConsentRow) == []


def test_a_yes_to_the_agents_question_is_written_down_once_with_question_and_message(room):
    room.comes("המזגן מטפטף")
    room.answered("רשמתי. לשלוח גם מבצעים בוואטסאפ?")
    room.comes("כן", id="3AF2")
    room.later(seconds=5)
    name = ADVERTISEMENTS["whatsapp"]
    agreed = LeadDraft(extra={name: YES}, sources={f"extra.{name}": FieldSource(2, "כן", 1.0)})
    assert room.inbox.answered(room.waiting()[0], ["תודה"], {"state": 1, "turns": 2}, agreed)
    room.comes("להתראות")
    room.later(seconds=5)
    assert room.inbox.answered(room.waiting()[0], ["להתראות"], {"state": 1, "turns": 3}, agreed)
    (row,) = room.rows(ConsentRow)
    assert (row.purpose, row.message_key, row.text) == (
        Purpose.MARKETING, "3AF2", "כן ← לשלוח גם מבצעים בוואטסאפ?",
    )  # fmt: skip


def test_outside_the_free_window_an_answer_is_blocked_with_its_reason(room):
    closed = {"whatsapp": ChannelRules(timedelta(hours=24), cold_ok=True, templates=True)}
    stored = room.comes()
    room.later(hours=25)
    with Session(room.engine) as session, session.begin():
        talked = session.get_one(Conversation, stored.conversation_id)
        queued = write(session, talked, "שלום", author="דנה", key="k", now=room.now, reply=Reply.PERSON, rules=closed)
    assert (queued.state, queued.decision.reasons) == (MessageState.BLOCKED, ("window_closed",))


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
    room.answered("שלום")
    room.outbox.settle(room.claim()[0].id, SendResult(MessageState.SENT, "wamid.1"))
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


def test_numbers_that_nobody_should_keep_are_hidden(room):
    room.comes("הכרטיס 4580 4580 4580 4580")
    room.comes("תעודת זהות 123456782")
    assert "4580" not in room.rows(Message)[0].text
    room.later(seconds=5)
    (wanted,) = room.waiting()
    assert "123456782" in wanted.lines[1].text  # the agent has asked for it
    known = draft(extra={"תעודת זהות": "123456782"})
    assert room.inbox.answered(wanted, ["תודה"], None, known)
    assert "123456782" not in room.rows(Message)[1].text
    assert "123456782" not in str(room.rows(Lead)[0].extra)


def test_a_contact_without_a_number_is_on_lists_and_found(room):
    room.comes("המזגן מטפטף", HIDDEN, name="רותי לוי")
    room.later(seconds=5)
    assert room.inbox.answered(room.waiting()[0], ["מתי נוח?"], None, draft())
    desk, (contact,) = Desk(room.engine, clock=lambda: room.now), room.rows(Contact)
    assert contact.phone is None
    assert [row.id for row in desk.contacts(room.business, "רותי").rows] == [contact.id]
    page = desk.contact(room.business, contact.id)
    assert [one.value for one in page.identities] == ["77001"]
    (talk,) = [one.row for one in page.timeline if one.kind == "talk"]
    assert (talk.count, talk.text, talk.channel) == (2, "מתי נוח?", "whatsapp")
    assert [lead.need for lead in page.leads] == ["המזגן מטפטף"]


def test_a_business_sends_by_its_own_account(room):
    other = room.crm.ensure_business("השכנים", key="other")
    room.comes()
    room.answered("שלום")
    lines = {sending.own_line("whatsapp", other): CAPS["whatsapp"]}
    assert room.outbox.claim(lines, sending.own_line("whatsapp", other)) == []
    assert room.rows(OutboundMessage)[0].state is MessageState.QUEUED
    mine = sending.own_line("whatsapp", room.business)
    (claimed,) = room.outbox.claim({**lines, mine: CAPS["whatsapp"]}, mine)
    assert (claimed.line, claimed.business_id) == (mine, room.business)
    room.comes("עוד")
    room.answered("עוד אחת")
    assert room.outbox.strand(lines) == 1
    assert room.rows(OutboundMessage)[1].reason == "no_channel"


def test_what_a_person_reads_at_the_desk_is_told_once_and_the_rest_is_not(room):
    actor = Actor(0, room.business, "דנה", "d@example.com", UserRole.OWNER, 1)
    talk = room.comes("אחת", id="3A1").conversation_id
    room.comes("שתיים", id="3A2")
    assert room.inbox.unshown(room.business, ("whatsapp",)) == []
    InboxDesk(room.engine, clock=lambda: room.now).seen(actor, talk)
    room.comes("שלוש", id="3A3")
    (one,) = room.inbox.unshown(room.business, ("whatsapp",))
    assert (one.provider_ids, one.address, one.channel) == (("3A1", "3A2"), RUTI, "whatsapp")
    assert room.inbox.unshown(room.business, ("sms",)) == []
    room.inbox.shown(one)
    assert room.inbox.unshown(room.business, ("whatsapp",)) == []
    room.inbox.read(room.business, talk, room.rows(Message)[-1].id)
    room.later(days=8)
    assert [one.provider_ids for one in room.inbox.unshown(room.business, ("whatsapp",))] == [()]  # too old to be told
