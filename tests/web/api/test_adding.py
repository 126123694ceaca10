"""What programs add and set up: leads, users, fields, tags, contacts, consents."""

import re

import pytest

from moked.crm.leads import Stage
from moked.crm.permissions import Permission, UserRole
from tests.web.desk_office import PASSWORD, furnish


@pytest.fixture
def shop(desk):
    desk.me = desk.owner()
    desk.leads = furnish(desk)
    desk.api = desk.program(desk.me)
    return desk


NEW = {
    "phone": "052-111 2233", "name": "רון לוי", "need": "מזגן חדש", "value": 4500, "tags": ["אתר", "חם"],
    "note": "מילא טופס באתר", "best_time": "בערב",
}  # fmt: skip


def wrong(answer):
    return [one["where"] for one in answer.json["errors"]]


# ---- leads


def test_a_lead_is_added_with_all_that_is_known(shop):
    shop.hooks.add(shop.me, "https://crm.example.com/", "CRM", ["lead.created", "lead.updated"])
    made = shop.api("POST", "/leads", {**NEW, "owner_id": shop.me.user_id})
    assert made.status_code == 201, made.text
    lead = made.json
    assert made.headers["Location"] == f"/api/v1/leads/{lead['id']}"
    assert (lead["phone"], lead["confirmed"], lead["origin"], lead["stage"]) == ("+972521112233", True, "added", "new")
    assert (lead["value"], lead["tags"], lead["owner_id"]) == (4500, ["אתר", "חם"], shop.me.user_id)
    assert lead["sources"]["need"]["by"] == "person"
    assert lead["notes"][0]["text"] == "מילא טופס באתר"
    assert shop.api.get(f"/leads/{lead['id']}").json == lead
    assert shop.crm.contact_by_phone("+972521112233", shop.business).name == "רון לוי"
    (sent,) = shop.hooks.deliveries(shop.business, 1, limit=5)
    assert (sent.type, sent.payload["data"]["value"]) == ("lead.created", 4500)
    assert shop.api.get("/audit?limit=1").json["items"][0]["action"] == "lead.added"
    page = shop.browser("dana@example.com").get(f"/leads/{lead['id']}").text
    assert "הוזן ללא שיחה" in page


def test_a_second_lead_of_the_same_number_joins_the_open_one(shop):
    first = shop.api("POST", "/leads", NEW).json["id"]
    again = shop.api("POST", "/leads", {"phone": "+972521112233", "need": "תיקון דוד", "tags": ["טלפון"]})
    assert (again.status_code, again.json["id"]) == (200, first)
    assert again.json["need"] == "מזגן חדש; תיקון דוד"
    assert set(again.json["tags"]) == {"אתר", "חם", "טלפון"}
    assert again.json["value"] == 4500
    refused = shop.api("POST", "/leads", {"phone": "0521112233", "if_open": "refuse"})
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert str(first) in refused.json["detail"]
    other = shop.api("POST", "/leads", {"phone": "0521112233", "if_open": "add"})
    assert (other.status_code, other.json["name"], other.json["contact_id"]) == (
        201,
        "רון לוי",
        again.json["contact_id"],
    )
    of_caller = shop.desk.lead(shop.business, shop.leads[0]).lead
    called = shop.api("POST", "/leads", {"contact_id": of_caller.contact_id, "note": "חזר אלינו"})
    assert (called.status_code, called.json["id"]) == (200, of_caller.id)


def test_the_same_request_makes_one_lead(shop):
    one = shop.api("POST", "/leads", {**NEW, "if_open": "add"}, Idempotency_Key="form-7")
    two = shop.api("POST", "/leads", {**NEW, "if_open": "add"}, Idempotency_Key="form-7")
    assert two.headers["Idempotent-Replayed"] == "true"
    assert (one.json["id"], two.status_code) == (two.json["id"], 201)
    assert two.headers["Location"] == one.headers["Location"]


@pytest.mark.parametrize(("body", "where"), [
    ({}, "body"), ({"phone": "123"}, "body.phone"), ({"phone": "0521112233", "contact_id": 1}, "body"),
    ({**NEW, "value": -1}, "body.value"), ({**NEW, "owner_id": 10**6}, "body.owner_id"),
    ({**NEW, "extra": {"אין כזה": "x"}}, "body.extra"), ({**NEW, "tags": ["a,b"]}, "body.tags.0"),
    ({**NEW, "nonsense": 1}, "body.nonsense"),
])  # fmt: skip
def test_a_lead_that_makes_no_sense_is_refused_whole(shop, body, where):
    before = shop.api.all("/leads", limit=100)
    answer = shop.api("POST", "/leads", body)
    assert (answer.status_code, wrong(answer)) == (422, [where]), answer.text
    assert shop.api.all("/leads", limit=100) == before


def test_scopes_and_people_who_asked_to_be_forgotten(shop):
    assert shop.api("POST", "/leads", {"contact_id": 10**6}).status_code == 404
    editor = shop.program(shop.me, {Permission.VIEW, Permission.EDIT})
    refused = editor("POST", "/leads", {**NEW, "owner_id": shop.me.user_id})
    assert (refused.status_code, "`assign`" in refused.json["detail"]) == (403, True)
    assert shop.program(shop.me, {Permission.VIEW})("POST", "/leads", NEW).status_code == 403
    made = editor("POST", "/leads", NEW).json
    shop.privacy.erasure.erase(shop.me, shop.business, made["contact_id"])
    gone = editor("POST", "/leads", NEW)
    assert (gone.status_code, gone.json["code"]) == (409, "conflict")
    assert editor("POST", "/leads", {**NEW, "turned_to_us": True}).status_code == 201


def test_fields_of_the_business_are_made_filled_and_filtered(shop):
    made = shop.api("POST", "/lead-fields", {"name": "אזור", "kind": "choice", "choices": ["צפון", "דרום"]})
    assert made.status_code == 201
    shop.api("POST", "/lead-fields", {"name": "שטח", "kind": "number"})
    fields = {one["name"]: one["id"] for one in shop.api.get("/lead-fields").json["items"]}
    assert shop.api("POST", "/lead-fields", {"name": "אזור", "kind": "text"}).json["code"] == "conflict"
    assert wrong(shop.api("POST", "/lead-fields", {"name": "א.ב", "kind": "text"})) == ["body.name"]
    assert wrong(shop.api("POST", "/lead-fields", {"name": "א", "kind": "choice"})) == ["body.choices"]
    lead = shop.api("POST", "/leads", {**NEW, "extra": {"אזור": "צפון", "שטח": "80.5"}}).json
    assert wrong(shop.api("POST", "/leads", {**NEW, "extra": {"שטח": "גדול"}})) == ["body.extra"]

    def found(own):
        answer = shop.api.get(f"/leads?own={own}")
        assert answer.status_code == 200, answer.text
        return [one["id"] for one in answer.json["items"]]

    region, size = fields["אזור"], fields["שטח"]
    assert found(f"{region}=צפון;{size}%3E=80;{size}%3C=81") == [lead["id"]]
    assert found(f"{region}~צפ") == [lead["id"]]
    assert found(f"{region}=דרום") == []
    assert lead["id"] not in found(f"{region}=")
    assert shop.api.get("/leads?own=nonsense").status_code == 422
    assert shop.api("DELETE", f"/lead-fields/{size}").status_code == 204
    assert shop.program(shop.me, {Permission.VIEW})("DELETE", f"/lead-fields/{region}").status_code == 403


def test_lost_reasons_tags_value_and_views(shop):
    lead = shop.leads[0]
    assert "המחיר" in shop.api.get("/lost-reasons").json["items"]
    assert shop.api("PUT", "/lost-reasons", {"items": ["יקר", "רחוק"]}).json == {"items": ["יקר", "רחוק"]}
    assert wrong(shop.api("POST", f"/leads/{lead}/move", {"stage": "lost"})) == ["body.lost_reason"]
    lost = shop.api("POST", f"/leads/{lead}/move", {"stage": "lost", "lost_reason": "יקר"})
    assert (lost.json["stage"], lost.json["lost_reason"]) == (Stage.LOST, "יקר")
    tagged = shop.api("PUT", f"/leads/{lead}/tags", {"tags": ["חם", "אתר"]})
    assert tagged.json["tags"] == ["אתר", "חם"]
    tag = next(one["id"] for one in shop.api.get("/tags").json["items"] if one["name"] == "חם")
    assert [one["id"] for one in shop.api.get(f"/leads?tag={tag}").json["items"]] == [lead]
    version = shop.api.get(f"/leads/{lead}").headers["ETag"]
    edited = shop.api("PATCH", f"/leads/{lead}", {"name": "רות", "value": 900}, If_Match=version)
    assert (edited.json["name"], edited.json["value"]) == ("רות", 900)
    assert [one["id"] for one in shop.api.get("/leads?least=900&most=900").json["items"]] == [lead]
    assert shop.api("PATCH", f"/leads/{lead}", {"value": None}).json["value"] is None
    shop.edits.save_view(shop.me, "שלי", {"stage": "new"}, board=False, shared=False)
    assert [one["name"] for one in shop.api.get("/views").json["items"]] == ["שלי"]


def test_tasks_are_given_to_somebody_and_put_off(shop):
    body = {"due_at": "2026-11-30T10:00:00Z", "note": "להביא שמאי", "kind": "todo", "assignee_id": shop.me.user_id}
    task = shop.api("POST", f"/leads/{shop.leads[0]}/tasks", body).json
    assert (task["kind"], task["assignee_id"], task["remind_at"]) == ("todo", shop.me.user_id, "2026-11-30T10:00:00Z")
    path = f"/tasks/{task['id']}"
    assert shop.api("PUT", f"{path}/assignee", {"user_id": None}).json["assignee_id"] is None
    assert wrong(shop.api("PUT", f"{path}/assignee", {"user_id": 10**6})) == ["body.user_id"]
    later = shop.api("POST", f"{path}/snooze", {"until": "2026-12-01T08:00:00Z"}).json
    assert (later["remind_at"], later["due_at"]) == ("2026-12-01T08:00:00Z", "2026-11-30T10:00:00Z")
    assert wrong(shop.api("POST", f"{path}/snooze", {"until": "2020-01-01T08:00:00Z"})) == ["body.until"]
    shop.api("PATCH", path, {"done": True})
    assert shop.api("POST", f"{path}/snooze", {"until": "2026-12-01T08:00:00Z"}).json["code"] == "conflict"


# ---- contacts


def test_contacts_are_added_merged_and_left_alone(shop):
    made = shop.api("POST", "/contacts", {"phone": "052-7654321", "name": "גיל"})
    assert made.status_code == 201
    one = made.json["id"]
    known = shop.api("POST", "/contacts", {"phone": "0527654321", "name": "אחר"})
    assert (known.status_code, known.json["id"], known.json["name"]) == (200, one, "גיל")
    assert shop.api("POST", f"/contacts/{one}/phones", {"phone": "0527654322"}).status_code == 200
    other = shop.api("POST", "/contacts", {"phone": "0521234567", "name": "גיל בר"}).json["id"]
    taken = shop.api("POST", f"/contacts/{one}/phones", {"phone": "0521234567"})
    assert (taken.status_code, taken.json["code"]) == (409, "conflict")
    assert shop.api("POST", f"/contacts/{one}/notes", {"text": "לקוח ותיק"}).status_code == 201
    merge = shop.api("POST", f"/contacts/{one}/merge", {"contact_id": other}).json["merge_id"]
    assert shop.api("POST", f"/contacts/{one}/merge", {"contact_id": other}).json["code"] == "conflict"
    assert shop.api("POST", f"/merges/{merge}/undo").json["id"] == other
    assert shop.api("POST", f"/merges/{merge}/undo").json["code"] == "conflict"
    agreed = shop.api(
        "POST", f"/contacts/{one}/consents", {"purpose": "marketing", "channel": "email", "text": "טופס באתר"}
    )
    assert (agreed.status_code, agreed.json["items"][0]["how"]) == (201, "person")
    nowhere = {"purpose": "marketing", "channel": "pigeon", "text": "x"}
    assert wrong(shop.api("POST", f"/contacts/{one}/consents", nowhere)) == ["body.channel"]
    left = shop.api("PUT", f"/contacts/{one}/do-not-contact").json
    assert left["do_not_contact"]
    assert all(row["revoked_at"] for row in left["items"])
    assert shop.api.get(f"/contacts/{one}/consents").json == left


# ---- users


def test_somebody_is_invited_comes_in_and_is_closed_out(shop):
    body = {"email": "Noa@Example.com", "name": "נועה", "role": "agent"}
    made = shop.api("POST", "/users", body, Idempotency_Key="hire-1")
    assert (made.status_code, made.json["role"], made.json["active"]) == (201, "agent", True)
    path = f"/users/{made.json['id']}"
    assert made.headers["Location"] == f"/api/v1{path}"
    taken = shop.api("POST", "/users", body)
    assert (taken.status_code, taken.json["code"]) == (409, "conflict")
    old = shop.api("PUT", f"{path}/link").json["link"]
    link = shop.api("PUT", f"{path}/link").json
    token = re.fullmatch(rf"{re.escape(shop.base)}/join\?token=([\w-]+)", link["link"])[1]
    assert shop.access.invited(old.partition("=")[2]) is None
    shop.access.accept(token, PASSWORD)
    assert shop.browser("noa@example.com").get("/leads").status_code == 200
    assert shop.api("PATCH", path, {"role": "manager"}).json["role"] == "manager"
    assert shop.api("PATCH", path, {"active": False}).json == {
        "id": made.json["id"], "name": "נועה", "role": "manager", "active": False,
    }  # fmt: skip
    assert shop.access.log_in("noa@example.com", PASSWORD, address="", browser="").refusal == "wrong"
    assert shop.api("PATCH", path, {}).status_code == 422
    with shop.engine.connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT body FROM api_reply").all())
    assert "join" not in kept


def test_owners_are_for_people_and_the_scope_is_for_owners(shop):
    assert wrong(shop.api("POST", "/users", {"email": "x@example.com", "name": "x", "role": "owner"})) == ["body.role"]
    assert wrong(shop.api("POST", "/users", {"email": "x", "name": "x", "role": "agent"})) == ["body.email"]
    for method, path, body in (("PATCH", "", {"active": False}), ("PUT", "/link", None)):
        answer = shop.api(method, f"/users/{shop.me.user_id}{path}", body)
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    manager = shop.as_actor(shop.person(UserRole.MANAGER, shop.me))
    assert Permission.USERS not in {scope for scope in Permission if manager.may(scope)}
    small = shop.program(shop.me, {Permission.VIEW, Permission.EDIT})
    assert small("POST", "/users", {"email": "y@example.com", "name": "y", "role": "viewer"}).status_code == 403
