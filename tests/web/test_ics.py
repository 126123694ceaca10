"""Calendar files by the rules of RFC 5545, and who is given which tasks."""

import base64
import re
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.permissions import Permission, UserRole
from moked.web.ics import Event, calendar
from tests.web.desk_office import DeskOffice, furnish

AT = datetime(2026, 11, 29, 16, 30, tzinfo=timezone(timedelta(hours=2)))
STAMP = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


def file(*events, name="משימות"):
    return calendar(name, "Asia/Jerusalem", events, every=timedelta(minutes=15))


def unfolded(data):
    """The content lines, as RFC 5545 3.1 says they are put together again."""
    return data.decode("utf-8").replace("\r\n ", "").removesuffix("\r\n").split("\r\n")


def unescaped(text):
    return re.sub(r"\\(.)", lambda found: {"n": "\n", "N": "\n"}.get(found[1], found[1]), text)


def event(**more):
    return Event(**{"uid": "a@moked", "begins": AT, "stamp": STAMP, "title": "לחזור אל דנה", **more})


def test_a_calendar_with_an_hour_and_one_without():
    lines = unfolded(
        file(event(text="050-1234567\nמזגן", url="https://x.example/leads/7"), event(begins=date(2026, 12, 1)))
    )
    assert lines[:4] == ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Moked//Tasks//HE", "CALSCALE:GREGORIAN"]
    assert lines[-1] == "END:VCALENDAR"
    assert "DTSTART:20261129T143000Z" in lines
    assert "DURATION:PT15M" in lines
    assert "DTSTART;VALUE=DATE:20261201" in lines
    assert "DTEND;VALUE=DATE:20261202" in lines
    assert "DESCRIPTION:050-1234567\\nמזגן" in lines
    assert "URL:https://x.example/leads/7" in lines
    assert lines.count("DTSTAMP:20261122T103000Z") == 2
    assert "TRIGGER;VALUE=DATE-TIME:20261129T143000Z" in unfolded(file(event(remind=AT)))


def test_a_calendar_without_events_is_one_still():
    assert "BEGIN:VTIMEZONE" in unfolded(file())


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_file(title, text):
    data = file(event(title=title, text=text), name=title)
    for line in data.split(b"\r\n"):
        assert len(line) <= 75
        line.decode("utf-8")  # no letter is cut in two
        assert b"\n" not in line
        assert b"\r" not in line
    lines = unfolded(data)
    assert lines.count("BEGIN:VEVENT") == lines.count("END:VEVENT") == 1
    assert [line.partition(":")[0] for line in lines if line.startswith(("BEGIN", "END"))] == [
        "BEGIN", "BEGIN", "END", "END",
    ]  # fmt: skip
    (found,) = [line.removeprefix("SUMMARY:") for line in lines if line.startswith("SUMMARY:")]
    kept = re.sub("[\x00-\x09\x0b-\x1f\x7f]", "", title.replace("\r\n", "\n").replace("\r", "\n"))
    assert unescaped(found) == kept


# ---- whose tasks


@pytest.fixture
def desk(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    found.leads = furnish(found)
    return found


def asked(desk, password, name="מי שלא", **headers):
    given_ = base64.b64encode(f"{name}:{password}".encode()).decode()
    return desk.app.test_client().get("/api/v1/calendar.ics", headers={"Authorization": f"Basic {given_}", **headers})


def made(browser, name="הטלפון"):
    return re.search(r'id="key">(mk_[\w-]+)<', browser.post("/account/calendar", name=name).text)[1]


def test_ones_own_tasks_and_nobodys_are_in_ones_calendar(desk):
    agent = desk.person(UserRole.AGENT, desk.me)
    theirs = desk.as_actor(agent)
    mine = desk.edits.add_task(desk.me, desk.leads[0], "שלי", "2026-11-29T16:30", assignee=desk.me.user_id)
    other = desk.edits.add_task(desk.me, desk.leads[0], "שלהם; דחוף, מאוד", "2026-11-30T00:00", assignee=theirs.user_id)
    done = desk.edits.add_task(desk.me, desk.leads[0], "נעשה", "2026-11-30T09:00", assignee=theirs.user_id)
    desk.edits.set_task_done(theirs, done, True)
    web = desk.browser(agent)
    token = made(web)
    answer = asked(desk, token)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/calendar; charset=utf-8"
    lines = unfolded(answer.data)
    uids = [line for line in lines if line.startswith("UID:")]
    assert any(f"task-{other}-" in uid for uid in uids)
    assert not any(f"task-{mine}-" in uid or f"task-{done}-" in uid for uid in uids)
    assert len(uids) > 1  # nobody's
    assert "DTSTART;VALUE=DATE:20261130" in lines  # no hour
    assert any("שלהם\\; דחוף\\, מאוד" in line for line in lines)
    assert f"URL:{desk.base}/leads/{desk.leads[0]}" in lines
    assert unfolded(asked(desk, token).data) == lines
    assert asked(desk, token, **{"If-None-Match": answer.headers["ETag"]}).status_code == 304
    desk.edits.snooze_task(theirs, other, "2026-12-02T10:00")
    again = [line for line in unfolded(asked(desk, token).data) if line.startswith("UID:")]
    assert again == uids
    saved = web.get("/tasks.ics")
    assert "attachment" in saved.headers["Content-Disposition"]
    assert [line for line in unfolded(saved.data) if line.startswith("UID:")] == uids


def test_the_password_opens_the_calendar_alone_and_is_taken_back(desk):
    web = desk.browser("dana@example.com")
    token = made(web)
    refused = asked(desk, "mk_guessed")
    assert (refused.status_code, refused.json["code"]) == (401, "unauthenticated")
    assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
    program = desk.program(desk.me)
    program.token = token
    assert program.get("/leads").status_code == 403
    assert program.get("/calendar.ics").status_code == 200
    broad = desk.program(desk.me, {Permission.VIEW}).token
    assert asked(desk, broad).status_code == 403
    everything = {"Authorization": "Basic " + base64.b64encode(f"x:{desk.program(desk.me).token}".encode()).decode()}
    assert desk.app.test_client().get("/api/v1/leads", headers=everything).status_code == 401
    (key,) = desk.keys.own(desk.me)
    stranger = desk.browser(desk.person(UserRole.MANAGER, desk.me))
    assert stranger.post(f"/account/calendar/{key.id}/revoke").status_code == 404
    other = next(one.id for one, _ in desk.keys.all(desk.business) if one.id != key.id)
    assert web.post(f"/account/calendar/{other}/revoke").status_code == 404
    assert web.post(f"/account/calendar/{key.id}/revoke").status_code == 302
    assert asked(desk, token).status_code == 401
    assert web.post("/account/calendar", name=" ").status_code == 400
    for number in range(10):
        made(web, f"מכשיר {number}")
    assert web.post("/account/calendar", name="עוד").status_code == 400
