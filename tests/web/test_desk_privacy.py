"""The privacy page, and what an owner does with one person's data."""

import io
import json
import zipfile

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.models import AuditEntry, Contact
from moked.crm.permissions import UserRole
from moked.crm.privacy_rules import RefusedWords, Rules
from moked.records import CallStart, LeadDraft
from tests.web.desk_office import DeskOffice, draft, turns

PHONE = "+972502345678"
FORM = {
    "record": "1", "notice": "", "refuse_key": "*", "refused_words": "service", "recordings_days": "90",
    "transcripts_days": "365", "leads_days": "730", "hide_cards": "1", "hide_ids": "1", "hide_audio": "1",
}  # fmt: skip


@pytest.fixture
def office(engine, tmp_path):
    office = DeskOffice(engine, tmp_path)
    office.by = office.owner()
    return office


@pytest.fixture
def browser(office):
    return office.browser("dana@example.com")


def contact_of(office, phone=PHONE):
    return office.privacy.erasure.find(office.business, phone)


def audit(office):
    with Session(office.engine) as session:
        actions = [one.action for one in session.scalars(select(AuditEntry).order_by(AuditEntry.id))]
    return [one for one in actions if not one.startswith("user.")]


def test_the_page_shows_what_holds(office, browser):
    office.call("CA1", PHONE, draft(), turns=turns())
    page = browser.get("/privacy").text
    assert "שלום, אני העוזר הקולי הווירטואלי של מזגנים בצפון, השיחה מוקלטת ומתומללת." in page
    assert "או להקיש כוכבית" in page
    assert 'name="recordings_days" min="0" max="3650" required value="90"' in page
    assert "עוד לא נמחק דבר" in page
    assert browser.get("/board").text.count('href="/privacy"') == 1


def test_what_an_owner_decides_holds_from_then_on(office, browser):
    notice = "שלום, כאן הבוט של {business}. השיחה מוקלטת."
    changed = {
        **FORM,
        "notice": notice,
        "refuse_key": "#",
        "refused_words": "none",
        "recordings_days": "30",
        "hide_ids": "",
    }
    answer = browser.post("/privacy", "/privacy", **changed)
    assert answer.status_code == 302
    assert office.privacy.desk.rules(office.business) == Rules(
        notice=notice, refuse_key="#", refused_words=RefusedWords.NONE, recordings_days=30, hide_ids=False
    )
    assert audit(office) == ["privacy.changed"]
    page = browser.get("/privacy").text
    assert "שלום, כאן הבוט של מזגנים בצפון. השיחה מוקלטת. כדי שלא נקליט" in page
    assert "או להקיש סולמית" in page


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("notice", "שלום, השיחה מוקלטת.", "במשפט הראשון"),
        ("notice", "שלום, מדבר העוזר הקולי.", "שהשיחה מוקלטת"),
        ("recordings_days", "-1", "הקלטות: יש לכתוב"),
        ("transcripts_days", "שנה", "תמלולים: יש לכתוב"),
        ("leads_days", "99999", "לידים: יש לכתוב"),
        ("refuse_key", "5", "אפשר לבחור כוכבית"),
    ],
)
def test_what_cannot_be_changes_nothing(office, browser, field, value, told):
    answer = browser.post("/privacy", "/privacy", **{**FORM, field: value})
    assert answer.status_code == 400
    assert told in answer.text
    assert office.privacy.desk.rules(office.business) == Rules()
    assert audit(office) == []


def test_counting_deletes_nothing(office, browser):
    office.call("CA1", PHONE, draft(), turns=turns())
    office.privacy.desk.change(office.by, Rules(transcripts_days=1))
    office.now = office.now.replace(day=25)
    answer = browser.post("/privacy/purge", "/privacy")
    assert 'תמלולים: <bdi dir="ltr">1</bdi>' in answer.text
    assert "המזגן בסלון" in browser.get("/calls/CA1").text


@pytest.mark.parametrize("role", [UserRole.MANAGER, UserRole.AGENT, UserRole.VIEWER])
def test_it_is_for_owners_alone(office, role):
    office.call("CA1", PHONE, draft())
    browser = office.browser(office.person(role, office.by))
    contact = contact_of(office)
    assert browser.get("/privacy").status_code == 403
    assert browser.get(f"/contacts/{contact}/privacy").status_code == 403
    assert 'href="/privacy"' not in browser.get("/contacts").text
    for path in ("/privacy", "/privacy/purge", f"/contacts/{contact}/erase", f"/contacts/{contact}/export",
                 f"/contacts/{contact}/hold", "/leads/1/sealed"):  # fmt: skip
        assert browser.post(path, confirm=PHONE).status_code == 403
    assert contact_of(office) == contact


def test_a_person_is_erased_after_typing_their_number(office, browser):
    office.call("CA1", PHONE, draft(), turns=turns())
    contact = contact_of(office)
    path = f"/contacts/{contact}"
    assert f'href="{path}/privacy"' in browser.get(path).text
    wrong = browser.post(f"{path}/erase", f"{path}/privacy", confirm="0501111111")
    assert (wrong.status_code, "שום דבר לא נמחק" in wrong.text) == (400, True)
    assert contact_of(office) == contact
    done = browser.post(f"{path}/erase", f"{path}/privacy", confirm="050-234-5678")
    assert done.headers["Location"].endswith("/contacts?told=erased")
    assert contact_of(office) is None
    assert browser.get("/calls/CA1").status_code == 404
    assert "נמחק" in browser.get("/contacts?told=erased").text
    assert audit(office) == ["contact.erased"]
    assert "מחיקת אדם" in browser.get("/audit").text


def test_a_hold_stops_it_until_it_is_released(office, browser):
    office.call("CA1", PHONE, draft())
    path = f"/contacts/{contact_of(office)}"
    assert browser.post(f"{path}/hold", f"{path}/privacy", reason=" ").status_code == 400
    browser.post(f"{path}/hold", f"{path}/privacy", reason="תביעה 17")
    assert "תביעה 17" in browser.get(f"{path}/privacy").text
    assert "תביעה 17" in browser.get("/privacy").text
    assert "תביעה 17" in browser.post(f"{path}/erase", f"{path}/privacy", confirm=PHONE).text
    browser.post(f"{path}/hold", f"{path}/privacy", release="1")
    assert browser.post(f"{path}/erase", f"{path}/privacy", confirm=PHONE).status_code == 302
    assert audit(office) == ["contact.held", "contact.released", "contact.erased"]


def test_who_talks_now_is_not_erased(office, browser):
    office.call("CA1", PHONE, draft())
    office.crm.open_call(CallStart("CA2", "AC1", PHONE, "+97235551234"), office.business)
    path = f"/contacts/{contact_of(office)}"
    assert "מתנהלת עכשיו" in browser.post(f"{path}/erase", f"{path}/privacy", confirm=PHONE).text


def test_a_copy_is_downloaded_and_noted(office, browser):
    office.call("CA1", PHONE, draft(), turns=turns())
    path = f"/contacts/{contact_of(office)}"
    answer = browser.post(f"{path}/export", f"{path}/privacy")
    assert answer.headers["Cache-Control"] == "no-store"
    with zipfile.ZipFile(io.BytesIO(answer.data)) as archive:
        data = json.loads(archive.read("data.json"))
    assert data["leads"][0]["name"] == "רותי לוי"
    assert audit(office) == ["contact.exported"]


def test_a_neighbours_contact_is_not_there(office, browser):
    neighbour = office.crm.ensure_business("שכן", key="other")
    office.call("CA9", "+972529999999", draft(), business=neighbour)
    with Session(office.engine) as session:
        theirs = session.scalars(select(Contact.id).where(Contact.business_id == neighbour)).one()
    for what in ("erase", "export", "hold"):
        assert browser.post(f"/contacts/{theirs}/{what}", confirm="+972529999999", reason="x").status_code == 404
    assert browser.get(f"/contacts/{theirs}/privacy").status_code == 404


def test_an_identity_number_is_shown_on_request_and_on_record(office, browser):
    left = office.call("CA1", PHONE, LeadDraft(name="רותי", need="פוליסה", extra={"ת״ז": "123456782"}))
    page = browser.get(f"/leads/{left.lead_id}").text
    assert "123456782" not in page
    assert "sealed:" not in page
    shown = browser.post(f"/leads/{left.lead_id}/sealed", f"/leads/{left.lead_id}", name="ת״ז")
    assert "123456782" in shown.text
    assert shown.headers["Cache-Control"] == "no-store"
    assert browser.post(f"/leads/{left.lead_id}/sealed", name="עיר").status_code == 404
    assert audit(office) == ["lead.revealed"]
