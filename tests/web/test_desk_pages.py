"""The desk's pages over the real app, on both databases."""

import re
from datetime import timedelta

import pytest

from moked.crm.leads import Stage
from moked.records import CallStart
from tests.web.desk_office import DeskOffice, draft, furnish, turns


@pytest.fixture
def desk(engine, tmp_path):
    return DeskOffice(engine, tmp_path)


@pytest.fixture
def furnished(desk):
    desk.me = desk.owner()
    desk.leads = furnish(desk)
    desk.web = desk.browser("dana@example.com")
    return desk


def test_every_page_of_a_furnished_desk(furnished):
    web, lead = furnished.web, furnished.leads[0]
    contact = furnished.desk.lead(furnished.business, lead).contact.id
    paths = ("/board", "/leads", "/leads/board", f"/leads/{lead}", "/contacts", f"/contacts/{contact}", "/calls",
             "/calls/CA0", "/calls/CA90", "/calls/CA91", "/calls/CA92", "/tasks", "/tasks?done=1", "/account",
             "/users", "/audit", "/analytics", "/settings/business", "/settings/script", "/settings/prompt",
             "/settings/pronunciation", "/settings/numbers", "/settings/hearing", "/settings/rehearsal",
             "/settings/script/versions/0")  # fmt: skip
    for language, direction in (("he", "rtl"), ("en", "ltr")):
        web.client.set_cookie("moked_language", language)
        for path in paths:
            page = web.get(path)
            assert page.status_code == 200, path
            assert f'<html lang="{language}" dir="{direction}"' in page.text
            assert not re.search(r"<script(?![^>]*\bsrc=)|\son\w+=|\sstyle=", page.text), path
            assert "script-src 'self'" in page.headers["Content-Security-Policy"]
            assert page.headers["Cache-Control"] == "no-store"


def test_an_empty_desk_says_what_to_do(desk):
    desk.owner()
    web = desk.browser("dana@example.com")
    assert "moked call" in web.get("/board").text
    for path, words in (("/leads", "עוד אין לידים"), ("/contacts", "עוד אין אנשי קשר"), ("/calls", "עוד לא היו"),
                        ("/tasks", "אין משימות פתוחות"), ("/leads?q=x", "אין לידים שמתאימים")):  # fmt: skip
        assert words in web.get(path).text


def test_the_front_page_becomes_the_desk_when_somebody_can_log_in(desk):
    web = desk.browser()
    assert "moked admin-link" in web.get("/").text
    desk.owner()
    answer = web.get("/")
    assert (answer.status_code, answer.location) == (302, "/board")
    assert web.get("/board").location == "/login?next=/board"


def test_what_is_not_there_is_a_page_for_people_and_a_line_for_machines(furnished):
    page = furnished.web.get("/leads/999999")
    assert page.status_code == 404
    assert "הדף לא נמצא" in page.text
    assert furnished.web.get("/nowhere").status_code == 404
    assert "<html" in furnished.web.get("/nowhere").text
    assert furnished.web.client.get("/webhook/nowhere").mimetype == "text/plain"
    assert furnished.web.client.post("/webhook/incoming_call").status_code == 403


def test_words_of_callers_are_text(furnished):
    page = furnished.web.get("/calls/CA0").text
    assert "<b>מחר</b>" not in page
    assert "&lt;b&gt;מחר" in page


def test_a_list_is_filtered_searched_and_paged(furnished):
    web = furnished.web
    furnished.edits.move(furnished.me, furnished.leads[0], Stage.IN_PROGRESS)

    def names(query):
        return re.findall(r'<th scope="row"><a[^>]*><bdi>([^<]+)</bdi>', web.get(f"/leads?{query}").text)

    assert names("q=רותי") == ["רותי לוי"]
    assert names("q=מַזגן מטפטף") == ["רותי לוי"]  # with niqqud, and two words anywhere
    assert names("q=050-234") == ["רותי לוי"]
    assert names("q=%25") == []  # a sign of the database's own is a letter
    assert names("stage=in_progress") == ["רותי לוי"]
    assert "רותי לוי" not in names("stage=new")
    assert len(names("since=2026-11-22&until=2026-11-22")) == 5
    assert names("since=2027-01-01") == []
    assert names("owner=0&q=אבי") == ["אבי מזרחי"]
    assert names("stage=nonsense&owner=x&since=x&page=-4&q=אבי") == ["אבי מזרחי"]
    furnished.edits.assign(furnished.me, furnished.leads[1], furnished.me.user_id)
    assert names(f"owner={furnished.me.user_id}") == ["אבי מזרחי"]


def test_pages_of_a_long_list(desk):
    desk.owner()
    for number in range(53):
        desk.call(f"CA{number}", f"+97250300{number:04}", draft(f"פונה {number}"), ago=timedelta(minutes=number))
    web = desk.browser("dana@example.com")
    assert "עמוד 1 מתוך 2" in web.get("/leads").text
    second = web.get("/leads?page=2&stage=new")
    assert second.text.count('<th scope="row">') == 3
    assert 'href="/leads?page=1&amp;stage=new"' in second.text
    assert web.get("/leads?page=99").text.count('<th scope="row">') == 3
    assert "ועוד 23 ברשימה" in web.get("/leads/board").text


def test_a_lead_shows_where_its_fields_come_from(furnished):
    page = furnished.web.get(f"/leads/{furnished.leads[0]}").text
    for shown in ("קוראים לי רותי לוי", "ודאות 93%", "/calls/CA0#turn-1", "רוטי לוי", "050-234-5678", "חיפה"):
        assert shown in page


def test_what_a_person_wrote_stays_when_the_caller_calls_again(furnished):
    lead = furnished.leads[0]
    answer = furnished.web.post(f"/leads/{lead}/field", field="name", value="רות לוי־כהן")
    assert (answer.status_code, answer.location) == (302, f"/leads/{lead}?told=saved")
    furnished.web.post(f"/leads/{lead}/field", field="extra.עיר", value="נשר")
    furnished.call("CA50", "+972502345678", draft("רוטי", "עוד בקשה", extra={"עיר": "עכו"}))
    now = furnished.desk.lead(furnished.business, lead)
    assert (now.lead.name, now.contact.name, now.lead.extra["עיר"]) == ("רות לוי־כהן", "רות לוי־כהן", "נשר")
    assert "עוד בקשה" in now.lead.need
    assert "נכתב ביד: דנה כהן" in furnished.web.get(f"/leads/{lead}").text


def test_a_number_is_read_and_a_bad_one_refused(furnished):
    lead = furnished.leads[0]
    furnished.web.post(f"/leads/{lead}/field", field="phone", value="052-1234567")
    assert furnished.desk.lead(furnished.business, lead).lead.phone == "+972521234567"
    refused = furnished.web.post(f"/leads/{lead}/field", field="phone", value="לא מספר")
    assert refused.status_code == 400
    assert "זה אינו מספר טלפון תקין" in refused.text
    assert furnished.desk.lead(furnished.business, lead).lead.phone == "+972521234567"
    for field in ("stage", "extra.none", "sources"):
        assert furnished.web.post(f"/leads/{lead}/field", field=field, value="x").status_code == 400


def test_a_lead_moves_as_the_rules_allow_and_says_why_not(furnished):
    lead, web = furnished.leads[0], furnished.web
    assert web.post(f"/leads/{lead}/move", stage="won").status_code == 302
    refused = web.post(f"/leads/{lead}/move", stage="quoted")
    assert refused.status_code == 409
    assert "הליד בשלב ״נסגר״" in refused.text
    refused = web.post(f"/leads/{lead}/move", stage="new")
    assert "לא חוזר להיות חדש" in refused.text
    assert web.post(f"/leads/{lead}/move", stage="gone").status_code == 400
    csrf = re.search(r'name="csrf" content="([^"]+)"', web.get("/board").text)[1]
    by_script = web.client.post(f"/leads/{lead}/move", data={"stage": "new"}, headers={"X-CSRF-Token": csrf})
    assert (by_script.status_code, by_script.json["message"]) == (409, "ליד שכבר טופל לא חוזר להיות חדש.")
    assert furnished.desk.lead(furnished.business, lead).lead.stage is Stage.WON


def test_notes_tasks_and_owner(furnished):
    lead, web = furnished.leads[0], furnished.web
    assert web.post(f"/leads/{lead}/notes", text="  ").status_code == 400
    web.post(f"/leads/{lead}/notes", text="חזרתי, לא ענו\u202e")
    assert web.post(f"/leads/{lead}/tasks", note="לנסות שוב", due="מתישהו").status_code == 400
    assert web.post(f"/leads/{lead}/tasks", note="לנסות שוב", due="2026-11-23T16:00").status_code == 302
    assert web.post(f"/leads/{lead}/owner", owner=str(furnished.me.user_id)).status_code == 302
    assert web.post(f"/leads/{lead}/owner", owner="99999").status_code == 400
    page = furnished.desk.lead(furnished.business, lead)
    assert page.lead.notes[-1]["text"] == "חזרתי, לא ענו"
    assert page.owner.name == "דנה כהן"
    task = next(task for task in page.tasks if task.note == "לנסות שוב")
    assert task.due_at.isoformat() == "2026-11-23T14:00:00+00:00"  # four in the afternoon in Israel
    answer = web.post(f"/tasks/{task.id}/done", done="1", next="/tasks")
    assert answer.location == "/tasks"
    assert "לנסות שוב" in web.get("/tasks?done=1").text
    assert web.post(f"/tasks/{task.id}/done", done="0", next="//evil.example").location == f"/leads/{lead}"
    assert "לנסות שוב" in web.get("/tasks").text
    assert "הוספת משימה" in web.get("/audit").text


def test_a_contact_is_renamed_for_good(furnished):
    contact = furnished.desk.lead(furnished.business, furnished.leads[1]).contact
    assert furnished.web.post(f"/contacts/{contact.id}/name", name=" ").status_code == 400
    furnished.web.post(f"/contacts/{contact.id}/name", name="אברהם מזרחי")
    furnished.call("CA51", contact.phone, draft("אבי"))
    page = furnished.web.get(f"/contacts/{contact.id}").text
    assert "אברהם מזרחי" in page
    assert page.count("/calls/CA") == 3  # two calls, and the one in which another name was given
    assert [row.id for row in furnished.desk.contacts(furnished.business, "אברהם").rows] == [contact.id]
    assert [row.id for row in furnished.desk.contacts(furnished.business, "524445").rows] == [contact.id]


def test_calls_are_listed_by_day_outcome_and_name(furnished):
    def sids(query):
        return re.findall(r'<th scope="row"><a[^>]*href="/calls/(CA\d+)"', furnished.web.get(f"/calls?{query}").text)

    assert sids("day=2026-11-21") == ["CA90", "CA91"]
    assert sids("outcome=broken") == ["CA90"]
    assert sids("q=סבטלנה") == ["CA2"]
    assert sids("q=מצוין") == ["CA0", "CA1", "CA2", "CA3", "CA4"]  # what was said
    assert sids("q=0502345678") == ["CA0"]
    assert "0.99 שניות" in furnished.web.get("/calls?q=סבטלנה").text  # the middle one of 0.85 and 0.99


def test_a_call_shows_what_was_said_heard_and_how_fast(furnished):
    page = furnished.web.get("/calls/CA0").text
    assert "<del" in page
    assert "מחר אחרי ארבע. יום טוב." in page
    assert page.count('<svg class="waterfall mt-2') == 2
    assert "save_lead" in page
    assert "התמלול השמור" in page
    assert "היה שקט בקו" not in page
    assert "ניתקו בלי לדבר" in furnished.web.get("/calls/CA91").text


def test_another_business_is_not_there(furnished):
    other = furnished.crm.ensure_business("השכנים", key="other")
    furnished.owner("eve@example.com", other, "איב")
    left = furnished.call("CA77", "+972541231231", draft("סוד"), turns=turns(), business=other)
    theirs = furnished.desk.lead(other, left.lead_id)
    task, contact, lead = theirs.tasks[0].id, theirs.contact.id, left.lead_id
    for path in (f"/leads/{lead}", f"/contacts/{contact}", "/calls/CA77"):
        assert furnished.web.get(path).status_code == 404
    for path in (
        "/leads",
        "/leads/board",
        "/contacts",
        "/calls",
        "/tasks",
        "/board",
        "/leads?q=סוד",
        "/users",
        "/audit",
    ):
        assert ">סוד<" not in furnished.web.get(path).text
    changes = (
        (f"/leads/{lead}/move", {"stage": "won"}), (f"/leads/{lead}/field", {"field": "name", "value": "x"}),
        (f"/leads/{lead}/notes", {"text": "x"}), (f"/leads/{lead}/tasks", {"due": "2026-11-23T16:00"}),
        (f"/leads/{lead}/owner", {"owner": str(furnished.me.user_id)}), (f"/tasks/{task}/done", {"done": "1"}),
        (f"/contacts/{contact}/name", {"name": "x"}),
    )  # fmt: skip
    for path, fields in changes:
        assert furnished.web.post(path, **fields).status_code == 404, path
    their_user = furnished.access.users(other)[0].id
    assert furnished.web.post(f"/users/{their_user}", role="viewer").status_code == 404
    assert furnished.web.post(f"/users/{their_user}/link").status_code == 404
    mine = furnished.web.post(f"/leads/{furnished.leads[0]}/owner", owner=str(their_user))
    assert mine.status_code == 400
    after = furnished.desk.lead(other, lead)
    assert (after.lead.name, after.lead.stage, after.tasks[0].done_at) == ("סוד", Stage.NEW, None)


def test_a_live_call_is_on_the_board_until_it_is_over(furnished):
    assert "מתקיימת עכשיו" in furnished.web.get("/board").text
    furnished.now += timedelta(minutes=10)
    furnished.crm.open_call(CallStart("CA93", "AC1", "+972505550001", "+97235551234"), furnished.business)
    assert "CA93" not in furnished.web.get("/board").text  # its stream has not come
