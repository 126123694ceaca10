"""The API for programs: what it gives, what it changes, and what it refuses."""

from datetime import timedelta

import pytest

from moked.crm.keys import Unusable
from moked.crm.permissions import SCOPES, Permission, UserRole
from tests.web.desk_office import DeskOffice, furnish


@pytest.fixture
def shop(desk):
    desk.me = desk.owner()
    desk.leads = furnish(desk)
    desk.api = desk.program(desk.me)
    return desk


# ---- keys


def test_a_key_is_shown_once_and_says_who_it_acts_for(shop):
    token = shop.keys.make(shop.me, "  חיבור ל\u200fCRM ", {Permission.VIEW}, None)
    (made, name), *_ = shop.keys.all(shop.business)
    assert (token[:11], name) == (made.prefix, "דנה כהן")
    assert token not in repr(vars(made))
    shop.api.token = token
    answer = shop.api.get("/me")
    assert answer.json == {
        "business": "מזגנים בצפון", "timezone": "Asia/Jerusalem", "acts_for": shop.me.user_id, "scopes": ["view"],
    }  # fmt: skip
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["Cache-Control"] == "no-store"
    assert shop.keys.all(shop.business)[0][0].used_at == shop.now


@pytest.mark.parametrize(("name", "scopes", "days", "why"), [
    (" ", {Permission.VIEW}, None, "name"), ("x", set(), None, "scopes"), ("x", {Permission.SELF}, None, "scopes"),
    ("x", {Permission.VIEW}, 0, "expiry"), ("x", {Permission.VIEW}, 99_999, "expiry"),
])  # fmt: skip
def test_a_key_that_makes_no_sense_is_not_made(shop, name, scopes, days, why):
    with pytest.raises(Unusable, match=why):
        shop.keys.make(shop.me, name, scopes, days)
    assert len(shop.keys.all(shop.business)) == 1


def test_a_key_ends_by_revoking_by_age_and_with_its_maker(shop):
    def fails(program):
        answer = program.get("/leads")
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        return answer.json["code"] == "unauthenticated"

    short = shop.program(shop.me, days=1)
    assert short.get("/leads").status_code == 200
    shop.now += timedelta(days=1)
    assert fails(short)
    other = shop.program(shop.me)
    shop.keys.revoke(shop.me, shop.keys.all(shop.business)[0][0].id)
    assert fails(other)
    with pytest.raises(LookupError):
        shop.keys.revoke(shop.me, 10**6)
    second = shop.as_actor(shop.person(UserRole.OWNER, shop.me))
    theirs = shop.program(second)
    shop.access.change_user(shop.me, second.user_id, role=UserRole.VIEWER, active=True)
    assert theirs.get("/leads").status_code == 200
    assert (
        theirs("POST", f"/leads/{shop.leads[0]}/notes", {"text": "x"}).status_code == 403
    )  # no more than they may now
    shop.access.change_user(shop.me, second.user_id, role=UserRole.VIEWER, active=False)
    assert fails(theirs)
    theirs.token = "mk_guessed"
    assert fails(theirs)
    theirs.token = ""
    assert fails(theirs)
    assert shop.app.test_client().get("/api/v1/leads", headers={"Authorization": "Basic x"}).status_code == 401


def test_a_session_of_a_browser_is_no_key(shop):
    assert shop.browser("dana@example.com").get("/api/v1/leads").status_code == 401


def test_a_scope_that_is_missing_is_named(shop):
    viewer = shop.program(shop.me, {Permission.VIEW})
    answer = viewer("PATCH", f"/leads/{shop.leads[0]}", {"name": "x"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")
    assert "`edit`" in answer.json["detail"]
    assert answer.mimetype == "application/problem+json"


def test_too_many_requests_are_told_to_wait(engine, tmp_path):
    shop = DeskOffice(engine, tmp_path, a_minute=60)
    api = shop.program(shop.owner())
    answers = [api.get("/me") for _ in range(22)]
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    assert (answers[21].status_code, answers[21].json["code"]) == (429, "rate_limited")
    assert int(answers[21].headers["Retry-After"]) >= 1
    assert shop.program(shop.as_actor("dana@example.com")).get("/me").status_code == 200
    stranger = shop.program(shop.as_actor("dana@example.com"))
    stranger.token = "mk_no"
    assert [stranger.get("/me").status_code for _ in range(61)][-2:] == [401, 429]


# ---- reading


def test_lists_come_page_by_page_and_whole(shop):
    leads = shop.api.all("/leads")
    assert [lead["id"] for lead in leads] == sorted((lead["id"] for lead in leads), reverse=True)
    assert {lead["id"] for lead in leads} >= set(shop.leads)
    assert [lead["updated_at"] for lead in shop.api.all("/leads?order=updated")] == sorted(
        lead["updated_at"] for lead in leads
    )
    calls = shop.api.all("/calls", limit=3)
    assert [call["started_at"] for call in calls] == sorted((call["started_at"] for call in calls), reverse=True)
    assert len(calls) == 8
    assert {call["sid"] for call in shop.api.all("/calls?outcome=broken")} == {"CA90"}
    assert len(shop.api.all("/contacts", limit=1)) == 6
    assert [who["name"] for who in shop.api.all("/users")] == ["דנה כהן"]
    tasks = shop.api.all("/tasks?done=false")
    assert [task["due_at"] for task in tasks] == sorted(task["due_at"] for task in tasks)
    assert shop.api.all("/tasks?done=true") == []
    assert shop.api.all("/audit")[0]["action"] == "key.made"


def test_whoever_follows_changes_misses_none(shop):
    first = shop.api.get("/leads?order=updated&limit=3").json
    seen = [lead["id"] for lead in first["items"]]
    shop.now += timedelta(minutes=1)
    shop.edits.set_field(shop.me, seen[0], "name", "רות")
    after, cursor = [], first["next"]
    while cursor:
        page = shop.api.get(f"/leads?order=updated&limit=3&cursor={cursor}").json
        after, cursor = [*after, *page["items"]], page["next"]
    assert after[-1]["id"] == seen[0]
    assert after[-1]["name"] == "רות"
    since = after[-1]["updated_at"]
    assert [lead["id"] for lead in shop.api.all(f"/leads?updated_since={since}")] == [seen[0]]


def test_leads_are_found_as_at_the_desk(shop):
    assert [lead["name"] for lead in shop.api.all("/leads?q=רותי")] == ["רותי לוי"]
    assert [lead["name"] for lead in shop.api.all("/leads?q=050-234")] == ["רותי לוי"]
    assert shop.api.all("/leads?stage=won") == []
    assert len(shop.api.all("/leads?owner=0")) == 6
    assert shop.api.all("/leads?since=2026-11-23") == []


def test_a_call_has_its_turns_and_decisions(shop):
    call = shop.api.get("/calls/CA0").json
    assert [turn["number"] for turn in call["turns"]] == [0, 1, 2]
    assert call["turns"][2]["heard"] == "מצוין, נחזור"
    assert call["turns"][1]["tools"][0]["name"] == "save_lead"
    assert call["segments"][0]["engine"] == "whisper"
    assert call["lead_id"] == shop.leads[0]
    assert shop.api.get("/calls/CA404").status_code == 404


# ---- changing


def test_fields_are_edited_all_or_none(shop):
    lead = f"/leads/{shop.leads[0]}"
    answer = shop.api("PATCH", lead, {"name": "רות לוי", "phone": "03-5551234", "extra": {"עיר": "עכו"}})
    assert (answer.status_code, answer.json["phone"], answer.json["extra"]) == (200, "+97235551234", {"עיר": "עכו"})
    assert answer.json["sources"]["name"] == {
        "call_sid": "", "turn": 0, "quote": "דנה כהן (CRM)", "confidence": 1.0, "by": "person", "readings": {},
    }  # fmt: skip
    for wrong in (
        {"name": "אחר", "phone": "12"},
        {"name": "אחר", "extra": {"אין": "x"}},
        {"name": None},
        {"nam": "x"},
        [],
    ):
        refused = shop.api("PATCH", lead, wrong)
        assert (refused.status_code, refused.json["code"]) == (422, "invalid"), wrong
    assert shop.api.get(lead).json["name"] == "רות לוי"
    entry = shop.api.get("/audit?limit=1").json["items"][0]
    assert (entry["who"], entry["action"], "key" in entry["data"]) == ("דנה כהן (CRM)", "lead.edited", True)


def test_an_edit_does_not_undo_another(shop):
    lead = f"/leads/{shop.leads[0]}"
    seen = shop.api.get(lead).headers["ETag"]
    assert shop.api.get(lead, If_None_Match=seen).status_code == 304
    shop.edits.set_field(shop.me, shop.leads[0], "need", "מזגן חדש")
    refused = shop.api("PATCH", lead, {"need": "אחר"}, If_Match=seen)
    assert (refused.status_code, refused.json["code"]) == (412, "stale")
    fresh = shop.api.get(lead)
    assert fresh.json["need"] == "מזגן חדש"
    done = shop.api("PATCH", lead, {"need": "אחר"}, If_Match=fresh.headers["ETag"])
    assert (done.status_code, done.json["need"]) == (200, "אחר")
    assert done.headers["ETag"] == shop.api.get(lead).headers["ETag"] != fresh.headers["ETag"]
    assert shop.api("PATCH", lead, {"need": "x"}, If_Match="*").status_code == 200
    assert shop.api("PATCH", lead, {"need": "y"}, If_Match='W/"x"').json["code"] == "bad_request"
    assert shop.api("PATCH", lead, {"need": "y"}, If_Match='"x"').status_code == 412
    task = shop.api.get("/tasks?limit=1").json["items"][0]["id"]
    etag = shop.api.get(f"/tasks/{task}").headers["ETag"]
    assert shop.api("PATCH", f"/tasks/{task}", {"done": True}, If_Match=etag).json["done_at"]
    assert shop.api("PATCH", f"/tasks/{task}", {"done": False}, If_Match=etag).status_code == 412
    contact = f"/contacts/{fresh.json['contact_id']}"
    etag = shop.api.get(contact).headers["ETag"]
    assert shop.api("PATCH", contact, {"name": "רותי"}, If_Match=etag).json["locked"]
    assert shop.api("PATCH", contact, {"name": "רות"}, If_Match=etag).status_code == 412


def test_a_lead_is_moved_assigned_noted_and_promised_a_call(shop):
    lead = f"/leads/{shop.leads[0]}"
    assert shop.api("POST", f"{lead}/move", {"stage": "won"}).json["stage"] == "won"
    refused = shop.api("POST", f"{lead}/move", {"stage": "lost"})
    assert (refused.status_code, refused.json["code"]) == (409, "illegal_move")
    assert shop.api("PUT", f"{lead}/owner", {"user_id": shop.me.user_id}).json["owner_id"] == shop.me.user_id
    assert shop.api("PUT", f"{lead}/owner", {"user_id": 10**6}).json["errors"][0]["where"] == "body.user_id"
    assert shop.api("PUT", f"{lead}/owner", {"user_id": None}).json["owner_id"] is None
    assert shop.api("POST", f"{lead}/notes", {"text": "דיברנו"}).json["notes"][-1]["text"] == "דיברנו"
    assert shop.api("POST", f"{lead}/notes", {"text": " \n"}).status_code == 422
    made = shop.api("POST", f"{lead}/tasks", {"due_at": "2026-11-29T10:00:00+02:00", "note": "לחזור"})
    assert (made.status_code, made.json["due_at"]) == (201, "2026-11-29T08:00:00Z")
    assert shop.api.get(made.headers["Location"].removeprefix("/api/v1")).json == made.json
    assert shop.api("POST", f"{lead}/tasks", {"due_at": "2050-11-29T10:00:00Z"}).status_code == 422
    assert shop.api("POST", f"{lead}/tasks", {"due_at": "2026-11-29T10:00:00"}).status_code == 422


def test_a_repeated_post_is_done_once(shop):
    path = f"/leads/{shop.leads[0]}/notes"
    first = shop.api("POST", path, {"text": "פעם אחת"}, Idempotency_Key="k1")
    again = shop.api("POST", path, {"text": "פעם אחת"}, Idempotency_Key="k1")
    assert (again.status_code, again.json) == (201, first.json)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["ETag"] == first.headers["ETag"]
    assert len(shop.api.get(f"/leads/{shop.leads[0]}").json["notes"]) == 1
    other = shop.api("POST", path, {"text": "אחר"}, Idempotency_Key="k1")
    assert (other.status_code, other.json["code"]) == (422, "idempotency_mismatch")
    assert (
        shop.program(shop.me)("POST", path, {"text": "אחר"}, Idempotency_Key="k1").status_code == 201
    )  # of another key
    shop.now += timedelta(hours=25)
    assert shop.api("POST", path, {"text": "אחר"}, Idempotency_Key="k1").status_code == 201
    refused = shop.api("POST", path, {"text": " "}, Idempotency_Key="k2")
    assert refused.status_code == 422
    assert shop.api("POST", path, {"text": "עכשיו כן"}, Idempotency_Key="k2").status_code == 201
    assert shop.api("POST", path, {"text": "x"}, Idempotency_Key="k" * 129).json["code"] == "bad_request"


def test_the_first_request_is_still_being_worked_on(shop):
    by = shop.keys.actor(shop.api.token)
    path = f"/leads/{shop.leads[0]}/notes"
    assert shop.keys.begin(by, "k", "x") is None
    assert shop.keys.begin(by, "k", "x").status == 0
    shop.now += timedelta(minutes=3)  # whoever worked on it is dead
    assert shop.api("POST", path, {"text": "x"}, Idempotency_Key="k").status_code == 201


def test_how_calls_are_heard_is_changed_by_whoever_may(shop):
    assert shop.api.get("/rollout").json["version"] == 0
    changed = shop.api("POST", "/rollout", {"streaming": "off", "percent": 30, "why": "בדיקה"})
    assert (changed.status_code, changed.json["share"]["streaming_percent"]) == (200, 70)
    assert shop.api("POST", "/rollout", {"streaming": "off", "number": "+972501234567"}).status_code == 200
    assert shop.api("DELETE", "/rollout/numbers/+972501234567").status_code == 200
    assert shop.api("DELETE", "/rollout/numbers/+972501234567").status_code == 404
    assert shop.api("POST", "/rollout", {"streaming": "off", "rollback": True}).status_code == 422
    assert [one["by"] for one in shop.api.get("/rollout/history").json["changes"]] == ["api:דנה כהן (CRM)"] * 3
    assert shop.api.get("/rollout/report?since=1h").json["since_s"] == 3600
    assert shop.api.get("/rollout/report?since=99999999999999h").status_code == 422
    assert (
        shop.program(shop.me, SCOPES - {Permission.ROLLOUT})("POST", "/rollout", {"rollback": True}).status_code == 403
    )


# ---- what cannot be read


def test_what_cannot_be_read_is_a_problem_that_says_why(shop):
    def code(method, path, **given):
        headers = {"Authorization": f"Bearer {shop.api.token}", **given.pop("headers", {})}
        answer = shop.api.client.open(f"/api/v1{path}", method=method, headers=headers, **given)
        assert answer.mimetype == "application/problem+json"
        assert answer.json["status"] == answer.status_code
        assert answer.json["detail"]
        assert answer.json["type"] == f"/api/v1/docs#{answer.json['code']}"
        return answer.status_code, answer.json["code"]

    lead = f"/leads/{shop.leads[0]}"
    json = {"content_type": "application/json"}
    assert code("PATCH", lead, data="{", **json) == (400, "bad_json")
    assert code("PATCH", lead, data="[" * 50_000, **json) == (400, "bad_json")
    assert code("PATCH", lead, data='{"name": "\\ud800"}', **json)[0] in (400, 422)
    assert code("PATCH", lead, data="name=x", content_type="text/plain") == (415, "unsupported_media_type")
    assert code("PATCH", lead, data='{"name": "' + "x" * 70_000 + '"}', **json) == (413, "too_large")
    assert code("GET", "/leads?limit=0") == (422, "invalid")
    assert code("GET", "/leads?stages=new") == (422, "invalid")
    assert code("GET", "/leads?stage=new&stage=won") == (422, "invalid")
    assert code("GET", "/leads?cursor=x") == (400, "bad_cursor")
    assert code("GET", "/me?x=1") == (422, "invalid")
    assert code("GET", "/leads/99999999999999999999") == (404, "not_found")
    assert code("GET", "/nothing") == (404, "not_found")
    assert code("DELETE", "/leads") == (405, "method_not_allowed")
    assert code("OPTIONS", "/leads") == (405, "method_not_allowed")


def test_what_breaks_here_is_told_without_its_inside(shop, monkeypatch):
    monkeypatch.setattr(shop.desk, "row", lambda *given: {}["secret"])
    answer = shop.api.get(f"/leads/{shop.leads[0]}")
    assert (answer.status_code, answer.json["code"]) == (500, "internal")
    assert "secret" not in answer.text


def test_the_description_and_its_page_are_open_to_all(desk):
    web = desk.app.test_client()
    about = web.get("/api/v1/openapi.json").json
    assert about["openapi"] == "3.1.0"
    assert set(about["paths"]["/leads/{lead_id}"]) == {"get", "patch"}
    page = web.get("/api/v1/docs")
    assert page.status_code == 200
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    for operation in desk.app.extensions["moked_api"]:
        assert operation.summary in page.text
        assert operation.summary[0].isupper()
