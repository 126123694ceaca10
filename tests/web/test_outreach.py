"""The desk's pages of what leaves: messages, consents, rules of contact, calls and campaigns."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import BAILEYS, Address, Inbound, MessageState
from moked.channels import PHONE as PHONE_SCHEME
from moked.channels.policy import Purpose
from moked.crm import consents, sending
from moked.crm.businesses import Businesses
from moked.crm.followups import TEXTS
from moked.crm.inbox import Inbox
from moked.crm.models import Contact
from moked.crm.permissions import UserRole
from moked.crm.tables_policy import (
    Campaign,
    CampaignState,
    ConsentRow,
    Dial,
    DialKind,
    DialState,
    OutboundMessage,
    SendingPolicy,
    UserPhone,
)
from moked.crm.tables_whatsapp import Message
from moked.web.desk import words
from tests.web.desk_office import DeskOffice, draft

OWNER = "dana@example.com"
PHONE = "+972502345678"
SETTINGS = {
    **{f"opens_{day}": "09:00" for day in (6, 0, 1, 2, 3)},
    **{f"closes_{day}": "18:30" for day in (6, 0, 1, 2, 3)},
    "per_contact_day": "2", "per_channel_day": "50", "notify_by_0": "sms", "notify_to_0": "054-1112233",
    "notify_by_1": "email", "notify_to_1": "dana@example.com", "agent_calls_back": "1",
}  # fmt: skip
CAMPAIGN = {
    "name": "תזכורת לטיפול", "subject": "טיפול שנתי למזגן", "purpose": "service",
    "numbers": "רותי לוי, 050-2345678\n0541112233\nלא מספר 1", "per_minute": "2", "max_parallel": "1",
    "max_attempts": "3", "retry_minutes": "60",
}  # fmt: skip


class Office(DeskOffice):
    def furnish(self):
        self.me = self.owner()
        self.lead = self.call("CA0", PHONE, draft()).lead_id
        self.contact = self.one(select(Contact.id))
        self.web = self.browser(OWNER)
        return self

    def one(self, query):
        with Session(self.engine) as session:
            return session.scalars(query).one()

    def all(self, query):
        with Session(self.engine) as session:
            return session.scalars(query).all()

    def message(self, key="k1", **more):
        with Session(self.engine) as session, session.begin():
            return sending.queue(
                session, business_id=self.business, contact_id=self.contact, channel="sms", to=PHONE,
                text="המזגן מוכן לאיסוף", key=key, now=self.now, **{"purpose": Purpose.SERVICE, **more},
            )  # fmt: skip

    def state(self, queued):
        return self.one(select(OutboundMessage).where(OutboundMessage.id == queued.id))


@pytest.fixture
def office(engine, tmp_path):
    return Office(engine, tmp_path).furnish()


def test_a_message_says_why_it_waits_and_is_approved(office):
    queued = office.message()
    page = office.web.get(f"/contacts/{office.contact}").text
    assert "המזגן מוכן לאיסוף" in page
    assert "אדם צריך לאשר" in page
    assert "הודעה אחת ממתינה לאישור" in office.web.get("/messages").text
    answer = office.web.post(f"/messages/{queued.id}/approve", next=f"/contacts/{office.contact}")
    assert answer.location == f"/contacts/{office.contact}?told=saved"
    assert (office.state(queued).state, office.state(queued).approved_by) == (MessageState.QUEUED, "דנה כהן")
    assert office.web.post(f"/messages/{queued.id}/refuse", next="https://evil.example").location == (
        "/messages?told=saved"
    )
    assert office.state(queued).state is MessageState.BLOCKED
    assert office.web.post(f"/messages/{queued.id}/approve").status_code == 404


def test_why_an_advertisement_was_not_sent_is_on_the_leads_page_with_its_source(office):
    office.message(purpose=Purpose.MARKETING)
    page = office.web.get(f"/leads/{office.lead}").text
    assert "אין הסכמה מפורשת" in page
    assert "s. 30A(b)" in page


def test_a_consent_is_written_down_with_its_proof_and_taken_back(office):
    here = f"/contacts/{office.contact}"
    refused = office.web.post(f"{here}/consent", purpose="marketing", channel="sms", text=" ", next=here)
    assert (refused.status_code, "זו ההוכחה" in refused.text) == (400, True)
    assert office.web.post(f"{here}/consent", purpose="owner_notice", channel="sms", text="x").status_code == 400
    office.web.post(f"{here}/consent", purpose="marketing", channel="sms", text="טופס בחנות", next=here)
    assert office.one(select(ConsentRow.text)) == "דנה כהן: טופס בחנות"
    assert office.message(purpose=Purpose.MARKETING).state is MessageState.QUEUED
    office.web.post(f"{here}/removal", next=here)
    assert "ביקשו הסרה. לא פונים." in office.web.get(here).text
    assert office.message("k2", purpose=Purpose.MARKETING).state is MessageState.BLOCKED


def test_the_proof_in_a_call_is_linked(office):
    with Session(office.engine) as session, session.begin():
        consents.give(
            session, business_id=office.business, contact_id=office.contact, purpose=Purpose.SERVICE,
            channel="whatsapp", how="call", now=office.now, call_sid="CA0", offset_ms=65_000, text="כן, בוואטסאפ",
        )  # fmt: skip
    page = office.web.get(f"/contacts/{office.contact}").text
    assert '<a class="link" href="/calls/CA0">ההוכחה בשיחה</a> <bdi dir="ltr">1:05</bdi>' in page


def test_the_proof_in_a_message_is_linked_while_the_message_is_there(office):
    came = Inbound(
        BAILEYS, "972501111111", "3AF0", Address(PHONE_SCHEME, PHONE), office.now, text="מאשרת לקבל מכם דיוור במייל"
    )
    stored = Inbox(office.engine, clock=lambda: office.now).receive(office.business, came)
    row = office.one(select(ConsentRow))
    assert row.channel == "email"
    message = office.one(select(Message.id))
    link = f'href="/inbox/{stored.conversation_id}#m{message}">ההוכחה בהודעה</a>, וואטסאפ'
    for page in (f"/contacts/{office.contact}", f"/contacts/{office.contact}/privacy"):
        text = office.web.get(page).text
        assert "מאשרת לקבל מכם דיוור במייל" in text
        assert link in text
        assert '<bdi dir="ltr">3AF0</bdi>' in text
        assert row.message_digest in text


def test_a_click_rings_my_phone_once(office):
    here = f"/contacts/{office.contact}"
    assert office.web.post(f"{here}/call", my_phone="abc", next=here).status_code == 400
    answer = office.web.post(f"{here}/call", my_phone="052-1119999", next=f"/leads/{office.lead}")
    assert answer.location == f"/leads/{office.lead}?told=ringing"
    dial = office.one(select(Dial))
    assert (dial.kind, dial.number, dial.ring_first, dial.state) == (
        DialKind.CLICK, PHONE, "+972521119999", DialState.WAITING,
    )  # fmt: skip
    again = office.web.post(f"{here}/call", my_phone="052-1119999", next=here)
    assert (again.status_code, "כבר מתקשרים" in again.text) == (400, True)
    assert office.one(select(UserPhone.phone)) == "+972521119999"
    assert "052-111-9999" in office.web.get(here).text


def test_the_agent_is_sent_to_call_about_something(office):
    here = f"/contacts/{office.contact}"
    assert office.web.post(f"{here}/agent_call", subject=" ", next=here).status_code == 400
    office.web.post(f"{here}/agent_call", subject="החלק הגיע", next=here)
    dial = office.one(select(Dial))
    assert (dial.subject, dial.ring_first, dial.approved_by) == ("החלק הגיע", "", "דנה כהן")
    assert "החלק הגיע" in office.web.get(here).text


def test_rules_of_contact_are_saved_and_shown(office):
    texts = {"text_notice": "ליד: {name}\n{link}", "text_missed": "כאן {business}, נחזור. להסרה: הסר"}
    answer = office.web.post("/outreach", **SETTINGS, **texts)
    assert answer.location == "/outreach?told=saved"
    row = office.one(select(SendingPolicy))
    assert row.week == {day: ["09:00", "18:30"] for day in ("6", "0", "1", "2", "3")}
    assert row.notify == [
        {"channel": "sms", "to": "+972541112233"}, {"channel": "email", "to": "dana@example.com"},
    ]  # fmt: skip
    assert (row.texts, row.agent_calls_back, row.per_contact_day) == (
        {"notice": texts["text_notice"], "missed": texts["text_missed"]}, True, 2,
    )  # fmt: skip
    page = office.web.get("/outreach").text
    assert 'value="054-111-2233"' in page
    assert 'value="18:30"' in page


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"opens_0": "20:00"}, "שעות לא תקינות"),
        ({"opens_0": "", "closes_0": "12:00"}, "שעות לא תקינות"),
        ({"notify_to_0": "12"}, "נמען לא תקין"),
        ({"notify_by_1": "email", "notify_to_1": "dana"}, "נמען לא תקין"),
        ({"notify_by_0": "fax"}, "נמען לא תקין"),
        ({"per_contact_day": "0"}, "בטווח המותר"),
        ({"per_channel_day": "x"}, "בטווח המותר"),
        ({"text_notice": "שלום {nobody}"}, "שאינה ברשימה"),
        ({"text_missed": "בלי שם ובלי הסרה"}, "איך מבקשים הסרה"),
    ],
)
def test_bad_rules_change_nothing(office, change, told):
    office.web.post("/outreach", **SETTINGS)
    before = office.one(select(SendingPolicy))
    answer = office.web.post("/outreach", **{**SETTINGS, "per_contact_day": "7", **change})
    assert (answer.status_code, told in answer.text) == (400, True)
    after = office.one(select(SendingPolicy))
    assert (after.per_contact_day, after.week, after.notify) == (before.per_contact_day, before.week, before.notify)


def test_a_registry_check_is_uploaded(office):
    upload = {"numbers": "0502345678,לא רשום\n0541112233,רשום\nלא מספר 5", "checked_on": "2026-11-20"}
    assert "נקראו 2 מספרים. שורות שלא נקראו: 1." in office.web.post("/outreach/registry", **upload).text
    with Session(office.engine) as session, session.begin():
        found = consents.last_check(session, office.business, "+972541112233")
    assert found.listed
    for bad in ({"checked_on": "2026-12-20"}, {"checked_on": "x"}, {"numbers": "כלום"}):
        assert office.web.post("/outreach/registry", **{**upload, **bad}).status_code == 400


def test_a_campaign_is_made_started_paused_and_shows_its_numbers(office):
    answer = office.web.post("/campaigns/new", **CAMPAIGN)
    campaign = office.one(select(Campaign))
    assert answer.location == f"/campaigns/{campaign.id}?told=saved"
    assert campaign.state is CampaignState.DRAFT
    page = office.web.get(f"/campaigns/{campaign.id}").text
    for shown in ("050-234-5678", "054-111-2233", "0 מתוך 2", "טיפול שנתי למזגן"):
        assert shown in page
    assert len(office.all(select(Contact))) == 2  # the one we knew, and a new one
    run = f"/campaigns/{campaign.id}/run"
    office.web.post(run, running="1")
    assert office.one(select(Campaign)).state is CampaignState.RUNNING
    office.web.post(run, running="0")
    assert office.one(select(Campaign)).state is CampaignState.PAUSED
    assert "תזכורת לטיפול" in office.web.get("/campaigns").text
    assert "השהיית קמפיין" in office.web.get("/audit").text


def test_a_campaign_of_leads(office):
    office.web.post("/campaigns/new", **{**CAMPAIGN, "numbers": "", "stage": "new"})
    assert office.one(select(Dial.number)) == PHONE


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": " "}, "יש לתת שם"),
        ({"subject": ""}, "על מה השיחה"),
        ({"purpose": "owner_notice"}, "שירות או פרסומת"),
        ({"numbers": "כלום"}, "לא נמצאו מספרי טלפון"),
        ({"per_minute": "31"}, "בטווח המותר"),
    ],
)
def test_a_bad_campaign_is_refused_with_its_words_kept(office, change, told):
    answer = office.web.post("/campaigns/new", **{**CAMPAIGN, **change})
    assert (answer.status_code, told in answer.text) == (400, True)
    assert office.all(select(Campaign)) == []
    if "subject" not in change:
        assert 'value="טיפול שנתי למזגן"' in answer.text


def test_roles_and_neighbours(office):
    queued = office.message()
    office.web.post("/campaigns/new", **CAMPAIGN)
    campaign = office.one(select(Campaign.id))
    agent = office.browser(office.person(UserRole.AGENT, office.me))
    viewer = office.browser(office.person(UserRole.VIEWER, office.me))
    for path in ("/outreach", "/campaigns/new"):
        assert (agent.get(path).status_code, viewer.get(path).status_code) == (403, 403)
    for path in (f"/messages/{queued.id}/approve", f"/campaigns/{campaign}/run", "/outreach/registry"):
        assert agent.post(path).status_code == 403
    assert viewer.post(f"/contacts/{office.contact}/removal").status_code == 403
    assert agent.get("/campaigns").status_code == 200
    other = office.crm.ensure_business("השכן", key="other")
    office.owner("other@example.com", other, "שכן")
    neighbour = office.browser("other@example.com")
    for path in (
        f"/messages/{queued.id}/approve", f"/campaigns/{campaign}/run", f"/contacts/{office.contact}/removal",
        f"/contacts/{office.contact}/consent",
    ):  # fmt: skip
        form = {"purpose": "service", "channel": "sms", "text": "x", "running": "1"}
        assert neighbour.post(path, **form).status_code == 404
    assert neighbour.get(f"/campaigns/{campaign}").status_code == 404
    assert "המזגן מוכן" not in neighbour.get("/messages").text


def test_who_has_several_numbers_chooses_the_one_calls_come_from(office):
    assert 'name="caller_id"' not in office.web.get("/outreach").text
    Businesses(office.engine).give("+97248888888", "default")
    page = office.web.get("/outreach").text
    assert '<option value="+97235551234" selected>' in page
    texts = {f"text_{name}": text for name, text in TEXTS.items()}
    assert office.web.post("/outreach", **SETTINGS, **texts, caller_id="+97248888888").status_code == 302
    assert office.one(select(SendingPolicy.caller_id)) == "+97248888888"
    assert '<option value="+97248888888" selected>' in office.web.get("/outreach").text
    refused = office.web.post("/outreach", **SETTINGS, **texts, caller_id="+97249999999")
    assert (refused.status_code, "אינו של העסק" in refused.text) == (400, True)


def test_without_a_number_to_call_from_no_calls_are_offered(office):
    office.outreach.calls_from = ""
    office.app = office.build()
    web = office.browser(OWNER)
    assert "להתקשר דרכי" not in web.get(f"/contacts/{office.contact}").text
    assert web.post(f"/contacts/{office.contact}/call", my_phone="0521119999").status_code == 400
    web.post("/campaigns/new", **CAMPAIGN)
    campaign = office.one(select(Campaign.id))
    assert web.post(f"/campaigns/{campaign}/run", running="1").status_code == 400


def test_every_state_has_its_words():
    texts = words.catalogue("he")
    for member in (*MessageState, *CampaignState, *DialState):
        kinds = {MessageState: "outreach.state", CampaignState: "outreach.campaign", DialState: "outreach.dial"}
        assert f"{kinds[type(member)]}.{member.value}" in texts
