"""The page of work after calls, on both databases: what is shown, to whom, and what a retry does."""

import pytest

from moked.crm.after import AfterCalls
from moked.crm.extraction import Extraction
from moked.crm.outbox import call_key
from moked.crm.permissions import UserRole
from moked.crm.tables_jobs import JobState
from tests.web.desk_office import DeskOffice, draft


@pytest.fixture
def desk(engine, tmp_path):
    office = DeskOffice(engine, tmp_path)
    office.me = office.owner()
    office.call("CA1", "+972502345678", draft())
    office.web = office.browser("dana@example.com")
    return office


def run(office, sid, failed, times=1):
    for _ in range(times):
        order = next(one for one in office.jobs.due() if one.key == call_key(sid))
        office.jobs.began(order.key, order.run)
        office.jobs.closed(order.key, order.run, {"read": {}}, failed)


def test_what_waits_is_shown_with_whose_call_it_was(desk):
    page = desk.web.get("/jobs").text
    assert "סיכום שיחה" in page
    assert "רותי לוי" in page
    assert "/calls/CA1" in page
    assert "בהמתנה" in page
    assert "ניסיון חוזר" not in page, "it was not tried yet"


def test_a_dead_letter_says_why_and_is_tried_again(desk):
    run(desk, "CA1", {"notice": "auth", "somebody_elses": "never_heard_of"})
    page = desk.web.get("/jobs")
    assert page.status_code == 200
    run_words = ("שלב אחר", "סיבה לא ידועה", "הודעה לבעלי העסק")
    assert all(word in page.text for word in run_words)
    assert desk.jobs.status(call_key("CA1")).state is JobState.WAITING, "what is unknown may heal"
    job = desk.jobs.listed(desk.business, (JobState.WAITING,)).rows[0].job
    answer = desk.web.post(f"/jobs/{job.id}/retry", page="/jobs?show=open")
    assert answer.headers["Location"] == "/jobs?show=open&told=retried"
    assert [order.key for order in desk.jobs.due()] == [call_key("CA1")]
    run(desk, "CA1", {"notice": "auth"})
    page = desk.web.get("/jobs").text
    assert "יש לבדוק שם משתמש וסיסמה" in page
    job = desk.jobs.listed(desk.business, (JobState.FAILED,)).rows[0].job
    desk.web.post(f"/jobs/{job.id}/retry", page="/jobs")
    order = desk.jobs.due()[0]
    assert (order.run, order.done) == (3, {"read": {}}), "what was done is not done again"
    assert desk.web.post(f"/jobs/{job.id}/retry", page="/jobs").headers["Location"] == "/jobs"
    audit = desk.web.get("/audit").text
    assert audit.count("ביצוע חוזר של עבודה") == 2


def test_another_business_is_not_seen_and_not_touched(desk):
    other = desk.crm.ensure_business("השכנים", key="other")
    desk.call("CA2", "+972501111111", business=other)
    run(desk, "CA2", {"notice": "auth"})
    theirs = desk.jobs.listed(other, (JobState.FAILED,)).rows[0].job
    assert "CA2" not in desk.web.get("/jobs?show=failed").text
    assert desk.web.post(f"/jobs/{theirs.id}/retry", page="/jobs").status_code == 404
    assert desk.jobs.status(call_key("CA2")).state is JobState.FAILED


@pytest.mark.parametrize("role", [UserRole.VIEWER, UserRole.AGENT, UserRole.MANAGER])
def test_who_may_look(desk, role):
    web = desk.browser(desk.person(role, desk.me))
    assert web.get("/jobs").status_code == (200 if role is UserRole.MANAGER else 403)
    assert ("/jobs" in web.get("/board").text) is (role is UserRole.MANAGER)


def test_done_ones_and_nonsense(desk):
    run(desk, "CA1", {})
    assert "הושלמה" in desk.web.get("/jobs?show=done").text
    assert "שום דבר לא נכשל" in desk.web.get("/jobs?show=failed").text
    assert "אין עבודות פתוחות" in desk.web.get("/jobs?show=nonsense&page=-4").text
    assert desk.web.client.post("/jobs/1/retry", data={}).status_code == 400, "without its token"


def test_the_lead_says_what_to_do_next(desk):
    path = f"/leads/{desk.crm.contact_by_phone('+972502345678').open_lead_id}"
    assert "הצעד הבא" not in desk.web.get(path).text
    after = AfterCalls(desk.engine, clock=lambda: desk.now)
    after.learn("CA1", Extraction("m", "", "לחזור אל רותי <מחר>"))
    page = desk.web.get(path).text
    assert "הצעד הבא" in page
    assert "לחזור אל רותי &lt;מחר&gt;" in page
