"""One person's data handed out and erased, and the retention clock: shown by looking everywhere."""

import io
import json
import wave
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, LID, Address, Inbound, Kind
from moked.channels import PHONE as PHONE_SCHEME
from moked.crm import consents
from moked.crm.audit import Actor
from moked.crm.edits import Edits
from moked.crm.erasure import Erasure, Held, StillTalking
from moked.crm.inbox import Inbox
from moked.crm.leads import Stage
from moked.crm.models import AuditEntry, Call, Contact, Lead, Turn
from moked.crm.permissions import UserRole
from moked.crm.privacy import write_rules
from moked.crm.privacy_desk import PrivacyDesk
from moked.crm.privacy_rules import Rules
from moked.crm.retention import Retention
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_privacy import PurgeRun
from moked.crm.tables_whatsapp import Conversation, Message
from moked.erasing import Leftovers
from moked.errors import Failure, ProviderError
from moked.records import CallEnd, CallStart, FieldSource, LeadDraft, Outcome, Segment, TurnRecord
from moked.spool import Spool
from tests.recording.conftest import CALLER, DATA_KEY
from tests.recording.everything import furnish
from tests.searching import found

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PHONE, OTHER = "+972502345678", "+972521112233"
SECRET = "ברהיטים מהוגו דליפה סודית"
COPY = "RE" + "a1" * 16


class Provider:
    def __init__(self):
        self.deleted, self.away = [], False

    def delete_recording(self, sid):
        if self.away:
            raise ProviderError("twilio", Failure.UNAVAILABLE, "no connection")
        self.deleted.append(sid)


class Office:
    """Two people who called, with everything a call may leave; `data` is the data folder."""

    def __init__(self, studio, tmp_path):
        self.studio, self.engine, self.data, self.now = studio, studio.engine, tmp_path, NOW
        self.business = studio.business
        self.crm = Crm(self.engine, clock=lambda: self.now, sealer=Sealer(DATA_KEY))
        self.provider = Provider()
        self.by = Actor(None, self.business, "דנה", "dana@example.com", UserRole.OWNER, 1)
        self.desk = PrivacyDesk(self.engine, Sealer(DATA_KEY), records=True, clock=lambda: self.now)
        self.retention = Retention(self.engine, self.provider)
        self.erasure = Erasure(
            self.engine, source=studio.archive.library, provider=self.provider, clock=lambda: self.now,
            outside=Leftovers(tmp_path, studio.archive.keeper),
        )  # fmt: skip

    def calls(self, sid, phone, *, name="רותי", secret=SECRET, ago=timedelta(0), end=True, stage=None):
        later, self.now = self.now, self.now - ago
        self.crm.open_call(CallStart(sid, "AC1", phone, "+97235551234"), self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        with self.studio.recorder.running():
            recorder = self.studio.recorder.call(sid, 0)
            self.studio.talk(recorder, 2)
            recorder.close()
        self.studio.archive.keeper.round()
        draft = LeadDraft(name=name, need=secret, phone=phone, sources={"need": FieldSource(1, secret, 0.9)})
        self.crm.add_turn(sid, TurnRecord(1, secret, "רשמתי.", "רשמתי.", False, 1000, 2000), draft)
        self.crm.add_event(sid, "voicemail", {"url": f"https://api.twilio.com/Recordings/{COPY}"})
        lead = None
        if end:
            lead = self.crm.finish_call(CallEnd(sid, Outcome.COMPLETED, "done", 2000, draft)).lead_id
            self.crm.store_transcript(sid, [Segment(0, 900, "caller", secret, "whisper")])
            if stage:
                self.crm.move_lead(lead, stage)
        self.now = later
        return lead

    def writes(self, words, phone=PHONE, *, also=(), answer="רשמנו", ago=timedelta(0), **more):
        """A message that came `ago`, and what the agent answered, on its way out."""
        later, self.now = self.now, self.now - ago
        inbox = Inbox(self.engine, clock=lambda: self.now)
        self.written = getattr(self, "written", 0) + 1
        where = Address(PHONE_SCHEME, phone) if phone.startswith("+") else Address(LID, phone)
        came = Inbound(BAILEYS, "", f"3A{self.written}", where, self.now, also=also, name="רותי", text=words, **more)
        talk = inbox.receive(self.business, came).conversation_id
        draft = LeadDraft(name="רותי", need=words, sources={"need": FieldSource(1, words, 0.9)})
        for wanted in inbox.waiting(self.business, quiet_for=timedelta(0)):
            assert inbox.answered(wanted, [f"{answer}: {words}"], {"state": words}, draft)
        self.now = later
        return talk

    def contact(self, phone):
        return self.erasure.find(self.business, phone)

    def rows(self, what):
        with Session(self.engine) as session:
            return session.scalars(select(what) if isinstance(what, type) else what).all()


@pytest.fixture
def office(studio, tmp_path):
    return Office(studio, tmp_path)


def test_a_person_gets_all_there_is_about_them(office):
    office.calls("CA1", PHONE)
    office.calls("CA2", OTHER, name="אבי", secret="עניין אחר לגמרי")
    data = b"".join(office.erasure.export(office.by, office.business, office.contact(PHONE)))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["data.json", "recordings/CA1.wav"]
        found_data = json.loads(archive.read("data.json"))
        with wave.open(io.BytesIO(archive.read("recordings/CA1.wav"))) as read:
            assert read.getnframes() == 16_000
    assert found_data["contact"]["phone"] == PHONE
    assert found_data["leads"][0]["need"] == SECRET
    assert found_data["calls"][0]["turns"][0]["caller_text"] == SECRET
    assert "עניין אחר" not in json.dumps(found_data, ensure_ascii=False)
    (entry,) = office.rows(AuditEntry)
    assert (entry.action, entry.who) == ("contact.exported", "דנה")
    with pytest.raises(LookupError):
        office.erasure.export(office.by, office.business + 1, office.contact(PHONE))


def test_after_erasing_nothing_of_a_person_is_anywhere(office):
    office.calls("CA1", PHONE)
    office.calls("CA2", OTHER, name="אבי", secret="עניין אחר לגמרי")
    spool = Spool(office.data / "spool", Sealer(DATA_KEY), longest_ms=60_000)
    with spool.running():
        for sid in ("CA1", "CA2"):
            one = spool.call(sid)
            one.feed(CALLER * 8000)
            one.close()
    lines = [
        json.dumps({"kind": "turn", "call_sid": sid, "data": SECRET}, ensure_ascii=False) for sid in ("CA1", "CA2")
    ]
    (office.data / "spill.jsonl").write_text("\n".join((lines[0], lines[1].replace(SECRET, "אחר"))) + "\n", "utf-8")
    key = office.studio.archive.rows.find(office.business, "CA1")
    contact = office.contact(PHONE)
    sealed = [path.read_bytes()[:64] for path in office.studio.folder.rglob(f"{key.token}*")]
    assert sealed, "there is a recording"
    assert found([SECRET, PHONE, "רותי"], office.data, office.engine)

    done = office.erasure.erase(office.by, office.business, contact)
    assert (done.calls, done.leads, done.copies, office.provider.deleted) == (1, 1, 1, [COPY])
    needles = [SECRET, PHONE, PHONE[1:], "רותי", "CA1", key.token, *sealed]
    assert found(needles, office.data, office.engine) == []
    assert office.erasure.suppressed(office.business, PHONE)
    assert not office.erasure.suppressed(office.business, OTHER)
    assert not office.erasure.suppressed(office.crm.ensure_business("השכנים", key="other"), PHONE)
    # The other one's is all there.
    assert [lead.name for lead in office.rows(Lead)] == ["אבי"]
    assert office.studio.find("CA2").duration_ms == 2000
    assert sorted(path.name for path in (office.data / "spool").iterdir()) == ["CA2.marks", "CA2.sealed"]
    assert json.loads((office.data / "spill.jsonl").read_text("utf-8"))["call_sid"] == "CA2"
    assert [entry.action for entry in office.rows(AuditEntry)] == ["contact.erased"]


def test_whatever_table_tells_of_a_person_is_handed_out_and_forgotten(office):
    """Every table of the house is filled in; one that is new is asked about here."""
    needle = "סודינשכח"
    lead = office.calls("CA1", PHONE)
    other = office.calls("CA2", OTHER, name="אבי", secret="עניין אחר לגמרי")
    with Session(office.engine) as session, session.begin():
        kept = session.get_one(Lead, lead).contact_id
        gone = session.scalars(select(Contact.id).where(Contact.phone == OTHER)).one()
    Edits(office.engine, clock=lambda: NOW).merge_contacts(office.by, kept, gone)
    tables = furnish(office.engine, lead, needle)
    assert {"outbound_message", "webhook_delivery", "activity", "api_reply", "export_job", "job"} <= set(tables)
    data = b"".join(office.erasure.export(office.by, office.business, kept))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        told = json.loads(archive.read("data.json"))
    assert needle in json.dumps(told["records"]["activity"], ensure_ascii=False)
    assert [one["phone"] for one in told["merged"]] == [OTHER]
    assert {one["id"] for one in told["leads"]} == {lead, other}
    assert not {"recording", "recording_part", "search_entry"} & set(told["records"])

    with pytest.raises(Held):
        office.erasure.erase(office.by, office.business, kept)
    office.desk.release(office.by, kept)
    office.erasure.erase(office.by, office.business, kept)
    assert found([needle, PHONE, OTHER, SECRET, "רותי", "אבי"], office.data, office.engine) == []
    assert all(office.erasure.suppressed(office.business, number) for number in (PHONE, OTHER))
    assert office.rows(Contact) == []


def test_nothing_is_erased_by_halves(office):
    office.calls("CA1", PHONE)
    contact = office.contact(PHONE)
    office.desk.hold(office.by, contact, "תביעה 123")
    with pytest.raises(Held, match="תביעה 123"):
        office.erasure.erase(office.by, office.business, contact)
    office.desk.release(office.by, contact)
    office.provider.away = True
    with pytest.raises(ProviderError):
        office.erasure.erase(office.by, office.business, contact)
    office.provider.away = False
    office.calls("CA3", PHONE, end=False)
    with pytest.raises(StillTalking):
        office.erasure.erase(office.by, office.business, contact)
    assert len(office.rows(Call)) == 2
    with pytest.raises(LookupError):
        office.erasure.erase(office.by, office.business + 1, contact)


def days(number):
    return timedelta(days=number)


def test_each_kind_goes_at_its_own_age(office):
    with Session(office.engine) as session, session.begin():
        write_rules(session, office.business, Rules(recordings_days=30, transcripts_days=60, leads_days=90), NOW)
    for sid, phone, age in (("CA1", PHONE, 10), ("CA2", OTHER, 40), ("CA3", "+972523334455", 70)):
        office.calls(sid, phone, ago=days(age), stage=Stage.WON)
    office.calls("CA4", "+972524445566", secret="ישן מאוד", ago=days(100), stage=Stage.LOST)
    office.calls("CA5", "+972525556677", ago=days(100))  # still open: a lead nobody has closed does not go
    before = {sid: office.studio.find(sid) for sid in ("CA1", "CA2")}
    assert all(before.values())

    dry = office.retention.purge(NOW, dry=True)[office.business]
    assert (dry.recordings, dry.transcripts, dry.leads, dry.provider) == (4, 3, 1, 4)
    assert office.studio.find("CA2") is not None
    assert office.retention.last_run(office.business) is None

    counts = office.retention.purge(NOW)[office.business]
    assert (counts.recordings, counts.transcripts, counts.leads, counts.calls, counts.contacts) == (4, 3, 1, 1, 1)
    assert counts.provider == 4
    office.studio.archive.keeper.round()
    assert [sid for sid in ("CA1", "CA2", "CA3", "CA5") if office.studio.find(sid)] == ["CA1"]
    assert len(office.studio.files()) == 1
    words = {turn.call_id: turn.caller_text for turn in office.rows(Turn)}
    assert sorted(words.values()) == ["", "", SECRET, SECRET]
    assert "CA4" not in [call.sid for call in office.rows(Call)]
    assert len(office.rows(Contact)) == 4
    assert found(["ישן מאוד", "+972524445566"], office.data, office.engine) == []
    again = office.retention.purge(NOW)[office.business]
    assert not again, "a second run has nothing to do"
    assert [run.dry for run in office.rows(PurgeRun)] == [True, False, False]
    assert [entry.action for entry in office.rows(AuditEntry)] == ["privacy.purged"]
    assert office.retention.last_run(office.business) == NOW


def test_a_legal_hold_keeps_everything(office):
    office.calls("CA1", PHONE, ago=days(2000), stage=Stage.LOST)
    office.desk.hold(office.by, office.contact(PHONE), "הליך משפטי")
    counts = office.retention.purge(NOW)[office.business]
    assert (counts.recordings, counts.leads, counts.calls, counts.held) == (0, 0, 0, 1)
    assert office.studio.find("CA1") is not None
    assert office.rows(Turn)[0].caller_text == SECRET


def test_what_the_provider_does_not_delete_is_tried_again(office):
    office.calls("CA1", PHONE, ago=days(100))
    office.provider.away = True
    assert office.retention.purge(NOW)[office.business].provider == 0
    office.provider.away = False
    assert office.retention.purge(NOW)[office.business].provider == 1
    assert office.provider.deleted == [COPY]
    assert found([COPY], office.data, office.engine) == []
    assert office.retention.purge(NOW)[office.business].provider == 0


def test_zero_days_keep_for_ever(office):
    with Session(office.engine) as session, session.begin():
        write_rules(session, office.business, Rules(recordings_days=0, transcripts_days=0, leads_days=0), NOW)
    office.calls("CA1", PHONE, ago=days(3000), stage=Stage.LOST)
    assert not office.retention.purge(NOW)[office.business]


def test_a_sealed_field_is_shown_on_record(office):
    office.crm.open_call(CallStart("CA9", "AC1", PHONE, "+97235551234"), office.business)
    draft = LeadDraft(need="פוליסה", extra={"ת״ז": "123456782"})
    lead = office.crm.finish_call(CallEnd("CA9", Outcome.COMPLETED, "done", 1, draft)).lead_id
    assert office.desk.reveal(office.by, lead, "ת״ז") == "123456782"
    with pytest.raises(LookupError):
        office.desk.reveal(office.by, lead, "אחר")
    assert [entry.action for entry in office.rows(AuditEntry)] == ["lead.revealed"]


def test_what_was_written_with_a_person_is_handed_out_and_goes_with_them(office):
    office.writes(SECRET)
    office.writes(SECRET, "77001")  # before anybody knew whose this is
    office.writes("זה אני", "77001", also=(Address(PHONE_SCHEME, PHONE),))
    office.writes("עניין אחר לגמרי", OTHER)
    office.writes("", kind=Kind.VOICE, raw="cmF3LXNlY3JldA")
    contact = office.contact(PHONE)
    with Session(office.engine) as session, session.begin():
        proof = consents.Written("3AFF", "whatsapp", NOW, f"הסר {SECRET}")
        consents.revoke(session, business_id=office.business, contact_id=contact, how="message", now=NOW, written=proof)
    data = b"".join(office.erasure.export(office.by, office.business, contact))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        told = json.loads(archive.read("data.json"))
    records = told["records"]
    said = [one["text"] for one in records["message"]]
    assert said[:4] == [SECRET, f"רשמנו: {SECRET}"] * 2
    assert {one["value"] for one in records["channel_identity"]} == {PHONE, "77001"}
    assert (len(told["merged"]), records["consent"][0]["text"]) == (1, f"הסר {SECRET}")
    assert (records["consent"][0]["message_key"], records["consent"][0]["message_digest"]) == ("3AFF", proof.digest)
    assert f"רשמנו: {SECRET}" in [one["text"] for one in records["outbound_message"]]
    assert "עניין אחר" not in json.dumps(told, ensure_ascii=False)
    needles = [SECRET, PHONE, PHONE[1:], "77001", "cmF3LXNlY3JldA", "3AFF", proof.digest]
    assert len(found(needles, office.data, office.engine)) >= len(needles)

    assert office.erasure.erase(office.by, office.business, contact).leads == 2
    assert found(needles, office.data, office.engine) == []
    assert office.erasure.suppressed(office.business, PHONE)
    assert [row.text for row in office.rows(Message)] == ["עניין אחר לגמרי", "רשמנו: עניין אחר לגמרי"]


def test_old_messages_lose_their_words_and_old_conversations_go(office):
    office.writes(SECRET, ago=timedelta(days=400))
    office.writes("עניין אחר לגמרי", OTHER, ago=timedelta(days=20))
    with Session(office.engine) as session, session.begin():
        session.execute(update(OutboundMessage).values(state="sent"))
        write_rules(session, office.business, Rules(transcripts_days=30, leads_days=365), NOW)
    (dry,) = office.retention.purge(NOW, dry=True).values()
    assert (dry.messages, len(office.rows(Message))) == (3, 4)  # what came, what we said, what was sent
    (done,) = office.retention.purge(NOW).values()
    assert done.messages == 3
    said = office.rows(select(Message.text).order_by(Message.id))
    assert said == ["", "", "עניין אחר לגמרי", "רשמנו: עניין אחר לגמרי"]
    known = office.rows(select(Conversation.agent).order_by(Conversation.id))
    assert known == [None, {"state": "עניין אחר לגמרי"}]
    (lead, _) = office.rows(select(Lead).order_by(Lead.id))
    office.crm.move_lead(lead.id, Stage.LOST)
    with Session(office.engine) as session, session.begin():
        session.execute(update(Lead).where(Lead.id == lead.id).values(updated_at=NOW - timedelta(days=399)))
        session.execute(
            update(Contact).where(Contact.id == lead.contact_id).values(updated_at=NOW - timedelta(days=399))
        )
    office.retention.purge(NOW)
    assert [row.phone for row in office.rows(Contact)] == [OTHER]
    assert found([SECRET, PHONE], office.data, office.engine) == []
