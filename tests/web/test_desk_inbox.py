"""The inbox and the account it goes through, on both databases."""

import re
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import ChannelHealth, Kind, Link, MessageState, SendResult, Template
from moked.channels.official import CloudChannel
from moked.channels.templates import Approved, Blank
from moked.crm.models import AuditEntry
from moked.crm.permissions import UserRole
from moked.crm.sealed import Sealer
from moked.crm.sending import Outbox, rules_of
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_whatsapp import Conversation
from moked.crm.whatsapp_store import WhatsAppStore
from tests.web.desk_office import DeskOffice, draft

OWNER = "dana@example.com"
REMINDER = Approved("reminder", "תזכורת", "שלום {{1}}, נקבע לך תור ב־{{2}}.", (Blank("שם", "name"), Blank("מועד")))
CALL_US = Approved("call_us", "בקשה לחזור", "נשמח שתתקשרו אלינו.", language="he")


@pytest.fixture
def official(office):
    """Over an official interface: free text for a day, and two templates."""
    office.rules["whatsapp"] = rules_of(CloudChannel.caps)
    office.templates[office.business] = (REMINDER, CALL_US)
    return office


@pytest.fixture
def office(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    return found


@pytest.fixture
def browser(office):
    return office.browser(OWNER)


def rows(office, table):
    with Session(office.engine) as session:
        return session.scalars(select(table).order_by(table.id)).all()


def test_an_empty_inbox_says_so(browser):
    page = browser.get("/inbox")
    assert page.status_code == 200
    assert "אין כאן התכתבויות" in page.text


def test_the_list_shows_who_wrote_last_and_what_nobody_saw(office, browser):
    office.writes("המזגן מטפטף", ago=timedelta(hours=1))
    office.writes("<b>שלום</b>", "+972524445566", "אבי")
    page = browser.get("/inbox").text
    assert page.index("אבי") < page.index("רותי לוי")
    assert "&lt;b&gt;שלום" in page
    assert "data-unread" in page
    assert "רותי" in browser.get("/inbox?which=unread").text
    assert "אין כאן התכתבויות" in browser.get("/inbox?which=people").text


def test_a_conversation_shows_states_and_reasons(office, browser):
    talk = office.writes("המזגן מטפטף")
    office.answers("מתי נוח?", "ואיפה?", draft=draft())
    office.writes("במטבח", "+972524445566", "אבי")
    assert len(office.leaves(SendResult(MessageState.FAILED, error="reachout_limited"))) == 2
    office.answers("רשמתי")
    page = browser.get(f"/inbox/{talk}").text
    assert "לא נשלחה" in page
    assert "וואטסאפ לא מאפשרת" in page
    assert "ממתינה לשליחה" in browser.get(f"/inbox/{talk + 1}").text
    assert "הסוכן עונה כאן" in page
    lead = re.search(r"/leads/(\d+)", page)[1]
    assert f"/inbox/{talk}" in browser.get(f"/leads/{lead}").text
    assert browser.get(f"/inbox/{talk}").status_code == 200


def test_a_person_takes_over_and_hands_back(office, browser):
    talk = office.writes("המזגן מטפטף")
    assert browser.post(f"/inbox/{talk}/take", page=f"/inbox/{talk}").status_code == 302
    assert "התשובות כאן אצל דנה כהן" in browser.get(f"/inbox/{talk}").text
    office.writes("אתם שם?")
    assert office.inbox.waiting(office.business, quiet_for=timedelta(0)) == []
    browser.post(f"/inbox/{talk}/hand_back", page=f"/inbox/{talk}")
    assert office.inbox.waiting(office.business, quiet_for=timedelta(0)) == []  # that was for the person
    office.writes("ומה עכשיו?")
    assert len(office.inbox.waiting(office.business, quiet_for=timedelta(0))) == 1
    assert [row.action for row in rows(office, AuditEntry)][-2:] == ["inbox.taken", "inbox.handed_back"]


def test_an_answer_of_the_agent_that_comes_too_late_is_not_sent(office, browser):
    talk = office.writes("המזגן מטפטף")
    (wanted,) = office.inbox.waiting(office.business, quiet_for=timedelta(0))
    browser.post(f"/inbox/{talk}/take", page=f"/inbox/{talk}")
    assert not office.inbox.answered(wanted, ["שלום"], None, None)
    assert rows(office, OutboundMessage) == []


def test_who_writes_takes_over_and_the_same_form_is_one_message(office, browser):
    talk = office.writes("המזגן מטפטף")
    for _ in range(2):
        browser.post(f"/inbox/{talk}/send", page=f"/inbox/{talk}", text="מדברת דנה.\r\nמתי נוח?", key="k1")
    (out,) = rows(office, OutboundMessage)
    assert (out.text, out.to) == ("מדברת דנה.\nמתי נוח?", "+972502345678")
    (row,) = rows(office, Conversation)
    assert (row.taken_by, row.unread) == (office.me.user_id, 0)
    assert talk in office.changed


@pytest.mark.parametrize("text", ["", "  \n ", "א" * 4001])
def test_what_cannot_be_sent_is_said_and_kept(office, browser, text):
    talk = office.writes("המזגן מטפטף")
    answer = browser.post(f"/inbox/{talk}/send", page=f"/inbox/{talk}", text=text, key="k")
    assert answer.status_code == 400
    assert "אין מה לשלוח" in answer.text
    assert rows(office, OutboundMessage) == []
    assert rows(office, Conversation)[0].taken_by is None


def test_a_neighbours_conversation_is_not_there(office, browser):
    other = office.crm.ensure_business("השכנים", key="other")
    talk = office.writes("סוד", "+972501119999", business=other)
    assert browser.get(f"/inbox/{talk}").status_code == 404
    for what in ("take", "hand_back", "seen", "send"):
        assert browser.post(f"/inbox/{talk}/{what}", text="x", key="k").status_code == 404
    assert "סוד" not in browser.get("/inbox").text


def test_who_may_only_look_cannot_write(office):
    talk = office.writes("המזגן מטפטף")
    viewer = office.browser(office.person(UserRole.VIEWER, office.me))
    assert '<form method="post" action="/inbox' not in viewer.get(f"/inbox/{talk}").text
    assert viewer.post(f"/inbox/{talk}/send", text="x", key="k").status_code == 403
    assert viewer.get("/channels").status_code == 403


def test_a_voice_note_is_shown_as_one(office, browser):
    talk = office.writes("", kind=Kind.VOICE, raw="x")
    assert "בתמלול" in browser.get(f"/inbox/{talk}").text


def test_an_answer_that_was_heard_is_shown_as_one_with_its_words(office, browser):
    talk = office.writes("המזגן מטפטף", kind=Kind.VOICE)
    (wanted,) = office.inbox.waiting(office.business, quiet_for=timedelta(0))
    assert office.inbox.answered(wanted, ["מתי נוח?"], None, None, voice=True)
    assert len(office.leaves(SendResult(MessageState.SENT, "k", voice=True))) == 1
    page = browser.get(f"/inbox/{talk}").text
    assert page.count("הודעה קולית</span>") == 2
    assert "מתי נוח?" in page


def test_the_account_is_linked_by_a_picture_or_a_code(office, browser):
    store = WhatsAppStore(office.engine, office.business, Sealer(bytes(32)), clock=lambda: office.now)
    assert "כבוי" in browser.get("/channels").text
    browser.post("/channels/whatsapp", page="/channels", order="start")
    assert store.orders().wanted
    store.tell(ChannelHealth(Link.PAIRING, qr="https://wa.me/settings/linked_devices#2@x,y,z,w"))
    page = browser.get("/channels").text
    assert '<svg class="qr"' in page
    assert "linked_devices" not in page  # only drawn
    browser.post("/channels/whatsapp", page="/channels", order="start", phone="050-1234567")
    assert store.orders().pair_phone == "+972501234567"
    store.tell(ChannelHealth(Link.PAIRING, code="ABCD1234"))
    assert "ABCD-1234" in browser.get("/channels").text
    store.tell(ChannelHealth(Link.OPEN, account="972501111111"), count="connects")
    assert "מחובר" in browser.get("/channels").text
    assert "050-111-1111" in browser.get("/channels").text
    store.tell(ChannelHealth(Link.UNPAIRED, "logged_out"))
    assert "נותק מהחשבון" in browser.get("/channels").text
    browser.post("/channels/whatsapp", page="/channels", order="forget")
    assert store.orders().forget


@pytest.mark.parametrize(("fields", "told"), [({"order": "x"}, 400), ({"order": "start", "phone": "abc"}, 400)])
def test_a_wrong_order_changes_nothing(office, browser, fields, told):
    answer = browser.post("/channels/whatsapp", page="/channels", **fields)
    assert answer.status_code == told
    store = WhatsAppStore(office.engine, office.business, Sealer(bytes(32)))
    assert not store.orders().wanted


def test_a_day_after_their_last_message_a_template_is_chosen_and_sent(official, browser):
    talk = official.writes("המזגן מטפטף")
    assert "שליחת תבנית" not in browser.get(f"/inbox/{talk}").text
    official.now += timedelta(hours=25)
    page = browser.get(f"/inbox/{talk}").text
    assert 'name="text"' not in page
    assert "תזכורת" in page
    assert 'value="רותי לוי"' in page  # the name is filled in beforehand
    fields = {"template": "reminder", "value": ["רותי", "מחר ב-10:00"], "key": "k1"}
    for _ in range(2):
        assert browser.post(f"/inbox/{talk}/template", page=f"/inbox/{talk}", **fields).status_code == 302
    (row,) = rows(official, OutboundMessage)
    assert (row.state, row.text) == (MessageState.QUEUED, "שלום רותי, נקבע לך תור ב־מחר ב-10:00.")
    assert "שלום רותי, נקבע לך תור" in browser.get(f"/inbox/{talk}").text
    (claimed,) = Outbox(official.engine, clock=lambda: official.now).claim({"whatsapp": CloudChannel.caps})
    assert claimed.out.template == Template("reminder", "he", ("רותי", "מחר ב-10:00"))
    assert rows(official, Conversation)[0].taken_by == official.me.user_id


def test_who_writes_again_meanwhile_gets_the_words_of_the_template(official, browser):
    talk = official.writes("המזגן מטפטף")
    official.now += timedelta(hours=25)
    browser.post(f"/inbox/{talk}/template", page=f"/inbox/{talk}", template="call_us", key="k1")
    official.writes("אני כאן")
    (claimed,) = Outbox(official.engine, clock=lambda: official.now).claim({"whatsapp": CloudChannel.caps})
    assert (claimed.out.template, claimed.out.text) == (None, "נשמח שתתקשרו אלינו.")


@pytest.mark.parametrize(
    "fields", [{"template": "reminder", "value": ["רותי", " "]}, {"template": "reminder"}, {"template": "other"}, {}]
)
def test_a_template_that_cannot_be_sent_is_said_and_kept(official, browser, fields):
    talk = official.writes("המזגן מטפטף")
    official.now += timedelta(hours=25)
    answer = browser.post(f"/inbox/{talk}/template", page=f"/inbox/{talk}", key="k", **fields)
    assert answer.status_code == 400
    assert "התבנית לא נשלחה" in answer.text
    assert rows(official, OutboundMessage) == []
    assert rows(official, Conversation)[0].taken_by is None


def test_who_asked_to_be_left_alone_is_sent_no_template(official, browser):
    talk = official.writes("הסר")
    official.now += timedelta(hours=25)
    browser.post(f"/inbox/{talk}/template", page=f"/inbox/{talk}", template="call_us", key="k1")
    row = rows(official, OutboundMessage)[-1]
    assert (row.state, row.template) == (MessageState.BLOCKED, "call_us")
    assert "suppressed" in row.reasons


def test_without_templates_it_is_said_what_can_be_done(official, browser):
    official.templates.clear()
    talk = official.writes("המזגן מטפטף")
    official.now += timedelta(hours=25)
    assert "לא הוגדרו כאן תבניות" in browser.get(f"/inbox/{talk}").text


def test_templates_are_for_who_may_write_and_for_their_own_business(official, browser):
    talk = official.writes("המזגן מטפטף")
    other = official.crm.ensure_business("השכנים", key="other")
    theirs = official.writes("סוד", "+972501119999", business=other)
    official.now += timedelta(hours=25)
    viewer = official.browser(official.person(UserRole.VIEWER, official.me))
    assert "שליחת התבנית" not in viewer.get(f"/inbox/{talk}").text
    assert viewer.post(f"/inbox/{talk}/template", template="call_us", key="k").status_code == 403
    assert browser.post(f"/inbox/{theirs}/template", template="call_us", key="k").status_code == 404
