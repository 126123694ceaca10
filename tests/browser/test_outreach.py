"""The pages of what leaves, in Chromium: read by axe, and a campaign made and started by hand."""

import os
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels.policy import Purpose
from moked.crm import consents, sending
from moked.crm.models import Contact
from moked.crm.tables_policy import Campaign, CampaignState, Dial, DialResult, DialState

pytestmark = pytest.mark.browser

SHOTS = os.environ.get("MOKED_SCREENSHOTS", "")
OWNER = "dana@example.com"
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
NUMBERS = "רותי לוי, 050-2345678\nאבי מזרחי, 052-4445566\nסבטלנה גורביץ׳, 054-1112233\nיעל בן־דוד, 058-7776655"


@pytest.fixture
def told(furnished):
    """A contact with a consent, a refusal's worth of messages and calls; a campaign half done."""
    office = furnished.office
    with Session(office.engine) as session, session.begin():
        contact = session.scalars(select(Contact).where(Contact.phone == "+972502345678")).one()
        furnished.contact, ours = contact.id, {"business_id": office.business, "contact_id": contact.id}
        given = {**ours, "how": "call", "now": office.now, "call_sid": "CA0"}
        consents.give(
            session, purpose=Purpose.SERVICE, channel="whatsapp", offset_ms=3000, text="כן, תשלחו לי בוואטסאפ", **given
        )
        message = {**ours, "to": "+972502345678", "now": office.now}
        sending.queue(session, channel="sms", text="מבצע סוף עונה", purpose=Purpose.MARKETING, key="a", **message)
        sending.queue(session, channel="sms", text="המזגן מוכן לאיסוף", purpose=Purpose.SERVICE, key="b", **message)
        sending.queue(
            session, channel="whatsapp", text="שלום רותי, כאן מזגנים בצפון.\nתודה על השיחה.", purpose=Purpose.SERVICE,
            key="c", asked_at=office.now, **message,
        )  # fmt: skip
    return furnished


def make_campaign(page):
    page.goto("/campaigns/new")
    page.get_by_label("שם הקמפיין").fill("תזכורת לטיפול שנתי")
    page.get_by_label("נושא השיחה").fill("טיפול שנתי למזגן")
    page.get_by_label("שירות").check()
    page.get_by_label("מספרים").fill(NUMBERS)
    page.get_by_role("button", name="יצירה").click()
    page.wait_for_url("**/campaigns/*told=saved")


def test_a_campaign_is_made_and_started(told):
    page = told.page(OWNER, viewport=DESKTOP)
    make_campaign(page)
    page.get_by_role("button", name="הפעלה").click()
    page.get_by_role("button", name="השהיה").wait_for()
    with Session(told.office.engine) as session:
        assert session.scalars(select(Campaign.state)).one() is CampaignState.RUNNING


def test_a_message_is_approved_from_the_contacts_page(told):
    page = told.page(OWNER, viewport=PHONE)
    page.goto(f"/contacts/{told.contact}")
    page.get_by_role("button", name="אישור", exact=True).click()
    page.wait_for_url("**/contacts/*told=saved")
    assert page.get_by_text("אדם אישר.").is_visible()


def half_done(told):
    with Session(told.office.engine) as session, session.begin():
        results = (DialResult.ANSWERED, DialResult.NO_ANSWER, DialResult.OPTED_OUT)
        for dial, result in zip(session.scalars(select(Dial).order_by(Dial.id)), results, strict=False):
            dial.state, dial.result, dial.attempts = DialState.DONE, result, 1
            dial.placed_at = dial.ended_at = told.office.now
            dial.call_sid = "CA0"
        dial = session.scalars(select(Dial).order_by(Dial.id.desc())).first()
        dial.state, dial.reasons = DialState.BLOCKED, ["suppressed"]
        session.scalars(select(Campaign)).one().stopped_why = "opt_outs"


@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "light"), (DESKTOP, "dark"), (PHONE, "light"), (PHONE, "dark")])
def test_axe_finds_nothing_serious(told, size, theme):
    page = told.page(OWNER, viewport=size, color_scheme=theme)
    make_campaign(page)
    half_done(told)
    found = []
    for path in ("/messages", f"/contacts/{told.contact}", f"/leads/{told.leads[0]}", "/outreach", "/campaigns",
                 "/campaigns/1", "/campaigns/new"):  # fmt: skip
        page.goto(path)
        if path.startswith(("/contacts", "/leads")):
            page.get_by_text("רישום הסכמה").click()
        wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        found += [f"{path}: wider than the screen"] if wide else []
        for violation in Axe().run(page).response["violations"]:
            if violation["impact"] in ("serious", "critical"):
                found.append((path, violation["id"], [node["html"][:200] for node in violation["nodes"]][:3]))
        if SHOTS:
            name = f"out-{path.strip('/').replace('/', '-')}-{size['width']}-{theme}.png"
            page.screenshot(path=Path(SHOTS) / name, full_page=True)
    assert found == []
