"""The pages of keys and webhooks."""

import re

import pytest

from moked.crm.delivering import Result
from moked.crm.permissions import Permission, UserRole
from tests.web.desk_office import DeskOffice, draft


@pytest.fixture
def desk(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    found.web = found.browser("dana@example.com")
    return found


def test_a_key_is_made_shown_once_used_and_revoked(desk):
    page = desk.web.post("/keys", name="CRM של <b>", scope=["view", "edit"], days="30")
    token = re.search(r'id="key">(mk_[\w-]+)<', page.text)[1]
    assert token not in desk.web.get("/keys").text
    assert "CRM של &lt;b&gt;" in desk.web.get("/keys").text
    program = desk.program(desk.me)
    program.token = token
    assert program.get("/me").json["scopes"] == ["edit", "view"]
    key_id = next(key.id for key, _ in desk.keys.all(desk.business) if key.name.startswith("CRM של"))
    assert desk.web.post(f"/keys/{key_id}/revoke").status_code == 302
    assert program.get("/me").status_code == 401
    assert "בוטל" in desk.web.get("/keys").text
    assert desk.web.post("/keys/999999/revoke").status_code == 404


@pytest.mark.parametrize(("fields", "told"), [
    ({"name": " ", "scope": "view"}, "צריך לכתוב שם"), ({"name": "x"}, "לסמן לפחות דבר אחד"),
    ({"name": "x", "scope": "self"}, "לסמן לפחות דבר אחד"), ({"name": "x", "scope": "view", "days": "99999"},
     "משך התוקף"),
])  # fmt: skip
def test_a_key_that_makes_no_sense_is_told_in_hebrew(desk, fields, told):
    page = desk.web.post("/keys", **fields)
    assert page.status_code == 400
    assert told in page.text
    assert desk.keys.all(desk.business) == []


def test_a_webhook_is_added_changed_tried_and_removed(desk):
    refused = desk.web.post("/webhooks", name="CRM", url="javascript:alert(1)", event="lead.created")
    assert refused.status_code == 400
    assert "https" in refused.text
    there = desk.web.post("/webhooks", name="CRM", url="https://crm.example.com/x", event=["lead.created"]).location
    path = there.partition("?")[0]
    secret = re.search(r'id="secret">(whsec_[\w+/=]+)<', desk.web.post(path, do="secret").text)[1]
    assert secret not in desk.web.get(path).text
    changed = re.search(r'id="secret">(whsec_[\w+/=]+)<', desk.web.post(path, do="rotate").text)[1]
    assert changed != secret
    assert desk.web.post(path, do="ping").status_code == 302
    (claimed,) = desk.sending.claim(desk.now)
    desk.sending.settle(claimed, Result(500, response="<script>alert(1)</script>", took_ms=5), desk.now, 0)
    page = desk.web.get(path).text
    assert "HTTP 500" in page
    assert "<script>alert" not in page
    assert "הניסיון הבא" in page
    assert (
        desk.web.post(path, do="save", name="CRM 2", url="https://crm.example.com/y", event="call.ended").status_code
        == 302
    )
    (found,) = desk.hooks.endpoints(desk.business)
    assert (found.name, found.events, found.active) == ("CRM 2", ["call.ended"], False)
    assert "כבויה" in desk.web.post(path, do="ping").text
    assert desk.web.post(path, do="eat").status_code == 400
    assert desk.web.post(path, do="remove").location == "/webhooks?told=saved"
    assert desk.web.get(path).status_code == 404
    assert "הסרת כתובת לעדכונים" in desk.web.get("/audit").text


def test_what_was_given_up_is_sent_again(desk):
    found = desk.hooks.add(desk.me, "https://crm.example.com/", "CRM", ["lead.created"])
    desk.call("CA1", "+972502345678", draft())
    (claimed,) = desk.sending.claim(desk.now)
    desk.sending.settle(claimed, Result(410), desk.now, 0)
    page = desk.web.get("/board").text
    assert "הפסקנו לשלוח אירועים" in page
    viewer = desk.browser(desk.person(UserRole.MANAGER, desk.me))
    assert "הפסקנו לשלוח" not in viewer.get("/board").text
    path = f"/webhooks/{found.id}"
    assert "כבר אינה בשימוש" in desk.web.get(path).text
    assert desk.web.post(path, do="replay").status_code == 302
    assert desk.web.post(f"/webhooks/deliveries/{claimed.id}/replay").location.startswith(path)
    desk.web.post(path, do="save", name="CRM", url="https://crm.example.com/", event="lead.created", active="1")
    assert [one.id for one in desk.sending.claim(desk.now)] == [claimed.id]
    assert "הפסקנו לשלוח" not in desk.web.get("/board").text
    assert desk.web.post("/webhooks/deliveries/999999/replay").status_code == 404


def test_the_neighbours_keys_and_webhooks_are_not_there(desk):
    other = desk.crm.ensure_business("שכנים", key="neighbours")
    theirs = desk.owner("nir@example.com", other)
    desk.keys.make(theirs, "שלהם", {Permission.VIEW}, None)
    ((key, _),) = desk.keys.all(other)
    hook = desk.hooks.add(theirs, "https://x.example/", "שלהם", ["lead.created"])
    sent = desk.hooks.ping(theirs, hook.id)
    assert "שלהם" not in desk.web.get("/keys").text + desk.web.get("/webhooks").text
    assert desk.web.get(f"/webhooks/{hook.id}").status_code == 404
    for what in ("save", "remove", "rotate", "secret", "ping", "replay"):
        form = {"name": "x", "url": "https://y.example/", "event": "lead.created"}
        assert desk.web.post(f"/webhooks/{hook.id}", do=what, **form).status_code == 404
    assert desk.web.post(f"/webhooks/deliveries/{sent}/replay").status_code == 404
    assert desk.web.post(f"/keys/{key.id}/revoke").status_code == 404
    assert desk.hooks.endpoint(other, hook.id).name == "שלהם"
