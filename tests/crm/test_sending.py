"""The single door: what is queued, what the gate makes of it, what is claimed, and what a crash leaves."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import MEDIA_REFUSED, ChannelCaps, MessageState, SendResult
from moked.channels.policy import ANY, Purpose, Verdict
from moked.crm import consents, sending
from moked.crm.audit import Actor
from moked.crm.inbound import REMOVED, received
from moked.crm.models import AuditEntry, Contact, UserAccount
from moked.crm.permissions import UserRole
from moked.crm.service import Crm
from moked.crm.tables_policy import ConsentRow, OutboundMessage, Suppression

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)  # a Sunday, half past twelve in Israel
NIGHT = NOW + timedelta(hours=12)
PHONE = "+972502345678"
CAPS = {"sms": ChannelCaps()}


class Office:
    def __init__(self, session):
        self.session = session
        self.contact = self.person(PHONE)

    def person(self, phone):
        contact = Contact(business_id=self.business, phone=phone, created_at=NOW, updated_at=NOW)
        self.session.add(contact)
        self.session.flush()
        return contact.id

    def queue(self, key="k1", *, purpose=Purpose.SERVICE, now=NOW, channel="sms", contact=None, to=PHONE, **more):
        return sending.queue(
            self.session, business_id=self.business, contact_id=contact or self.contact, channel=channel, to=to,
            text="הפרטים שביקשת", purpose=purpose, key=key, now=now, **more,
        )  # fmt: skip

    def give(self, purpose=Purpose.MARKETING, channel="sms", now=NOW - timedelta(days=1), **more):
        return consents.give(
            self.session, business_id=self.business, contact_id=self.contact, purpose=purpose, channel=channel,
            how="call", now=now, **more,
        )  # fmt: skip

    def write(self, text, key="m1", now=NOW):
        return received(
            self.session, business_id=self.business, contact_id=self.contact, channel="sms", to=PHONE, text=text,
            key=key, now=now,
        )  # fmt: skip

    def claim(self, now=NOW, caps=CAPS):
        return sending.claim(self.session, caps, now)

    def row(self, queued):
        self.session.flush()
        self.session.expire_all()
        return self.session.get(OutboundMessage, queued.id)

    def manager(self):
        user = UserAccount(
            business_id=self.business, email="m@example.com", name="נועם", role=UserRole.MANAGER, recovery=[],
            created_at=NOW,
        )  # fmt: skip
        self.session.add(user)
        self.session.flush()
        return Actor(user.id, self.business, "נועם", "m@example.com", UserRole.MANAGER, 1)


@pytest.fixture
def office(engine):
    Office.business = Crm(engine, clock=lambda: NOW).ensure_business("מזגנים בצפון")
    with Session(engine) as session, session.begin():
        yield Office(session)


def test_what_they_asked_for_is_sent_once(office):
    first = office.queue(asked_at=NOW)
    again = office.queue(asked_at=NOW)
    assert (first.new, again.new, again.id) == (True, False, first.id)
    (claimed,) = office.claim()
    assert (claimed.line, claimed.out.key, claimed.out.to.value) == ("sms", f"{office.business}:k1", PHONE)
    assert office.claim() == []
    sending.settle(office.session, first.id, SendResult(MessageState.SENT, "SM1"), NOW)
    assert (office.row(first).state, office.row(first).sent_at) == (MessageState.SENT, NOW)
    sending.reported(office.session, office.business, "SM1", MessageState.READ, NOW)
    sending.reported(office.session, office.business, "SM1", MessageState.DELIVERED, NOW)
    assert office.row(first).state is MessageState.READ


def test_an_advertisement_without_consent_is_kept_with_its_reason(office):
    queued = office.queue(purpose=Purpose.MARKETING)
    assert (queued.state, office.row(queued).reasons) == (MessageState.BLOCKED, ["no_consent"])
    assert office.claim() == []


def test_the_night_waits_for_the_morning(office):
    office.give()
    queued = office.queue(purpose=Purpose.MARKETING, now=NIGHT)
    morning = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
    assert (queued.state, office.row(queued).due_at) == (MessageState.QUEUED, morning)
    assert office.claim(NIGHT) == []
    assert [one.id for one in office.claim(morning)] == [queued.id]


def test_a_refusal_that_comes_in_between_stops_what_was_queued(office):
    office.give()
    queued = office.queue(purpose=Purpose.MARKETING)
    assert office.write("הסר")
    (confirmation,) = office.claim()
    assert confirmation.out.text == REMOVED
    assert (office.row(queued).state, office.row(queued).reason) == (MessageState.BLOCKED, "suppressed")
    assert office.queue("k2", asked_at=None).state is MessageState.BLOCKED


def test_a_removal_ends_all_consents_and_leaves_a_hash(office):
    office.give()
    office.write("תסירו אותי מהרשימה")
    rows = office.session.scalars(select(ConsentRow).order_by(ConsentRow.id)).all()
    assert [(row.channel, row.revoked_at, row.text) for row in rows] == [
        ("sms", NOW, ""), (ANY, NOW, "תסירו אותי מהרשימה"),
    ]  # fmt: skip
    (kept,) = office.session.scalars(select(Suppression)).all()
    assert (len(kept.hash), kept.reason) == (64, "opt_out")
    assert PHONE not in kept.hash


def test_somebody_else_with_the_number_of_who_was_removed_is_not_written_to(office):
    office.write("הסר")
    office.session.delete(office.session.get(Contact, office.contact))
    office.session.flush()
    assert office.queue("k9", contact=office.person(PHONE), asked_at=NOW).decision.reasons == ("suppressed",)


def test_a_new_consent_of_their_own_lifts_the_refusal(office):
    office.write("הסר")
    assert office.give(Purpose.SERVICE, now=NOW + timedelta(hours=1), call_sid="CA1", offset_ms=4200)
    assert not office.give(Purpose.SERVICE, now=NOW + timedelta(hours=2), call_sid="CA1", offset_ms=4200)
    later = NOW + timedelta(hours=1, minutes=1)
    assert office.queue("k2", now=later).decision.verdict is Verdict.SEND
    proof = office.session.scalars(select(ConsentRow).where(ConsentRow.given_at.is_not(None))).one()
    assert (proof.call_sid, proof.offset_ms) == ("CA1", 4200)


def test_an_ordinary_message_refuses_nothing_and_opens_the_free_window(office):
    caps = {"whatsapp": ChannelCaps(free_window_s=24 * 3600, cold_ok=False)}
    rules = sending.rules_of(caps["whatsapp"])
    assert office.queue("a", channel="whatsapp", asked_at=NOW, rules=rules).decision.reasons == ("window_closed",)
    received(
        office.session, business_id=office.business, contact_id=office.contact, channel="whatsapp", to=PHONE,
        text="שלום, מתי פתוח?", key="m", now=NOW,
    )  # fmt: skip
    queued = office.queue("b", channel="whatsapp", now=NOW + timedelta(hours=2), rules=rules)
    assert queued.decision.reasons == ("reply",)
    assert [one.id for one in office.claim(NOW + timedelta(hours=2), caps)] == [queued.id]


def test_the_daily_limit_of_a_person_counts_what_has_left(office):
    office.give()
    ids = [office.queue(f"k{number}", purpose=Purpose.MARKETING).id for number in range(5)]
    assert [one.id for one in office.claim()] == ids[:3]
    left = office.session.get(OutboundMessage, ids[3])
    assert (left.state, left.reason, left.due_at) == (
        MessageState.QUEUED, "cap_contact", datetime(2026, 11, 23, 6, 0, tzinfo=UTC),
    )  # fmt: skip


def test_a_text_too_long_for_the_channel_is_cut_but_for_its_last_line(office):
    sending.queue(
        office.session, business_id=office.business, contact_id=None, channel="sms", to=PHONE,
        text="א" * 500 + "\nhttps://desk/leads/7", purpose=Purpose.OWNER_NOTICE, key="n", now=NOW,
    )  # fmt: skip
    (claimed,) = office.claim(caps={"sms": ChannelCaps(max_text=160)})
    assert len(claimed.out.text) <= 160
    assert claimed.out.text.endswith("א…\nhttps://desk/leads/7")


def test_an_owner_hears_of_a_lead_at_night_and_whatever_the_caller_refused(office):
    office.write("הסר")
    notice = sending.queue(
        office.session, business_id=office.business, contact_id=None, channel="sms", to=PHONE, text="ליד חדש",
        purpose=Purpose.OWNER_NOTICE, key="n1", now=NIGHT,
    )  # fmt: skip
    assert [one.id for one in office.claim(NIGHT) if one.out.text == "ליד חדש"] == [notice.id]


def test_a_channel_that_is_not_there_is_said(office):
    queued = office.queue(asked_at=NOW)
    assert office.claim(caps={}) == []
    assert (office.row(queued).state, office.row(queued).reason) == (MessageState.FAILED, "no_channel")


def test_a_failure_is_tried_again_later_and_not_for_ever(office):
    queued = office.queue(asked_at=NOW)
    now = NOW
    for _ in range(5):
        office.claim(now)
        sending.settle(office.session, queued.id, SendResult(MessageState.QUEUED, error="smtp_451"), now)
        now += timedelta(hours=1)
    assert (office.row(queued).state, office.row(queued).attempts) == (MessageState.FAILED, 5)


@pytest.mark.parametrize(("idempotent", "state"), [(True, MessageState.QUEUED), (False, MessageState.FAILED)])
def test_a_sender_that_died_sends_again_only_where_the_channel_knows_the_key(office, idempotent, state):
    caps = {"sms": ChannelCaps(idempotent=idempotent)}
    queued = office.queue(asked_at=NOW)
    office.claim(caps=caps)
    assert sending.recover(office.session, caps, NOW + timedelta(minutes=1)) == 0
    assert sending.recover(office.session, caps, NOW + timedelta(minutes=3)) == 1
    assert office.row(queued).state is state


def test_what_waits_for_its_turn_in_a_long_batch_is_not_lost(office):
    caps = {"sms": ChannelCaps(idempotent=False)}
    first, second = office.queue("a", asked_at=NOW), office.queue("b", asked_at=NOW)
    office.claim(caps=caps)
    sending.settle(office.session, first.id, SendResult(MessageState.SENT, "SM1"), NOW)
    soon = NOW + timedelta(minutes=1)
    assert sending.hold(office.session, [first.id, second.id], soon) == {second.id}
    assert sending.recover(office.session, caps, NOW + timedelta(minutes=3)) == 0
    assert sending.recover(office.session, caps, NOW + timedelta(minutes=4)) == 1
    assert sending.hold(office.session, [second.id], soon) == set()


def test_a_person_approves_or_refuses(office):
    by = office.manager()
    first, second = office.queue("a"), office.queue("b")
    assert first.state is MessageState.APPROVAL
    assert sending.approve(office.session, by, first.id, NOW).verdict is Verdict.SEND
    sending.refuse(office.session, by, second.id, NOW)
    assert [one.id for one in office.claim()] == [first.id]
    assert office.row(second).state is MessageState.BLOCKED
    audits = office.session.scalars(select(AuditEntry.action).order_by(AuditEntry.id)).all()
    assert audits == ["message.approved", "message.refused"]
    with pytest.raises(LookupError):
        sending.approve(office.session, by, second.id, NOW)
    with pytest.raises(LookupError):
        sending.approve(office.session, Actor(1, office.business + 1, "x", "x", UserRole.OWNER, 1), first.id, NOW)


def test_a_registry_check_is_kept_by_its_day(office):
    def check(listed, day):
        consents.record_checks(office.session, office.business, {PHONE: listed}, source="קובץ", checked_at=day, now=NOW)

    check(True, NOW)
    check(False, NOW - timedelta(days=3))  # an older file, uploaded later
    found = consents.last_check(office.session, office.business, PHONE)
    assert (found.listed, found.checked_at) == (True, NOW)
    consents.suppress(
        office.session, business_id=office.business, number=PHONE, reason=consents.ERASED, source="privacy", now=NOW
    )
    assert consents.last_check(office.session, office.business, PHONE) is None
    assert consents.suppressed(office.session, office.business, PHONE)


def test_two_senders_never_claim_the_same_message(engine):
    business = Crm(engine, clock=lambda: NOW).ensure_business("מזגנים בצפון")
    with Session(engine) as session, session.begin():
        for number in range(30):
            sending.queue(
                session, business_id=business, contact_id=None, channel="sms", to=PHONE, text="ליד",
                purpose=Purpose.OWNER_NOTICE, key=f"n{number}", now=NOW,
            )  # fmt: skip
    claimed = []

    def run():
        box = sending.Outbox(engine, clock=lambda: NOW)
        while found := box.claim(CAPS):
            claimed.extend(one.id for one in found)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(run) for _ in range(4)]:
            done.result(30)
    assert sorted(claimed) == sorted(set(claimed))
    with Session(engine) as session:
        left = session.scalars(select(OutboundMessage.id).where(OutboundMessage.state == MessageState.QUEUED)).all()
    assert len(claimed) + len(left) == 30


def test_a_voice_note_is_one_until_it_went_as_words(office):
    queued = office.queue(asked_at=NOW, voice=True)
    assert office.claim()[0].voice
    sending.settle(office.session, queued.id, SendResult(MessageState.SENT, "SM1"), NOW)
    assert not office.row(queued).voice
    other = office.queue("k2", asked_at=NOW, voice=True)
    office.claim()
    sending.settle(office.session, other.id, SendResult(MessageState.SENT, "SM2", voice=True), NOW)
    assert office.row(other).voice


def test_a_voice_note_whose_sender_died_is_one_still_under_the_same_id(office):
    office.queue(asked_at=NOW, voice=True)
    caps = {"sms": ChannelCaps(idempotent=True)}
    (first,) = office.claim(caps=caps)
    later = NOW + timedelta(minutes=5)
    assert sending.recover(office.session, caps, later) == 1
    (again,) = office.claim(later, caps)
    assert (again.out.key, again.voice) == (first.out.key, True)


def test_a_sound_that_is_tried_twice_in_vain_goes_as_words(office):
    office.queue(asked_at=NOW, voice=True)
    now, tried = NOW, []
    for _ in range(3):
        (claimed,) = office.claim(now)
        tried.append(claimed.voice)
        sending.settle(office.session, claimed.id, SendResult(MessageState.QUEUED, error="timeout"), now)
        now += timedelta(minutes=5)
    assert tried == [True, True, False]


@pytest.mark.parametrize("late", [False, True])
def test_a_sound_the_carrier_cannot_use_goes_again_as_words(office, late):
    queued = office.queue(asked_at=NOW, voice=True)
    office.claim()
    if late:
        sending.settle(office.session, queued.id, SendResult(MessageState.SENT, "w1", voice=True), NOW)
        sending.reported(office.session, office.business, "w1", MessageState.FAILED, NOW, MEDIA_REFUSED)
    else:
        sending.settle(office.session, queued.id, SendResult(MessageState.FAILED, error=MEDIA_REFUSED), NOW)
    (claimed,) = office.claim()
    assert (claimed.voice, claimed.out.text) == (False, "הפרטים שביקשת")
    sending.settle(office.session, queued.id, SendResult(MessageState.FAILED, error=MEDIA_REFUSED), NOW)
    assert office.row(queued).state is MessageState.FAILED
