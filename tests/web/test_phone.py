"""The browser's phone: a place and a ticket for who may, and what comes after the stream."""

from datetime import timedelta

import pytest

from moked.crm.permissions import UserRole
from moked.crm.places import NodeReport
from moked.crm.service import NextStep, Step
from tests.web.desk_office import DeskOffice

MEDIA = "ws://media.example/media/twilio"


@pytest.fixture
def desk(engine, tmp_path):
    return DeskOffice(engine, tmp_path)


@pytest.fixture
def web(desk):
    desk.owner()
    desk.crm.report_node(NodeReport("a", MEDIA, 2, 0, 0, True, False))
    return desk.browser("dana@example.com")


def test_a_call_from_the_page_is_admitted_like_any(desk, web):
    answer = web.post("/phone/calls", caller="050-234-5678")
    place = answer.json
    assert place["url"] == "ws://media.example/media/browser"
    start = desk.crm.redeem_ticket(place["token"], place["sid"])
    assert (start.caller, start.direction, start.simulated) == ("+972502345678", "browser", False)
    assert desk.crm.redeem_ticket(place["token"], place["sid"]).reason == "used"
    call = desk.desk.call(desk.business, place["sid"]).call
    assert (call.node, call.direction) == ("a", "browser")
    rows, _ = desk.access.audit_log(desk.business)
    assert (rows[0].action, rows[0].target) == ("phone.called", f"call:{place['sid']}")
    assert "מהדפדפן" in web.get("/calls").text


def test_a_number_may_be_left_out_but_not_be_nonsense(desk, web):
    refused = web.post("/phone/calls", caller="בלה")
    assert refused.status_code == 400
    assert "זה לא מספר טלפון" in refused.json["message"]
    place = web.post("/phone/calls").json
    assert desk.crm.redeem_ticket(place["token"], place["sid"]).caller == "anonymous"


def test_who_finds_no_place_is_told_so(desk, web):
    for _ in range(2):
        assert web.post("/phone/calls").status_code == 200
    full = web.post("/phone/calls")
    assert full.status_code == 409
    assert "כל הקווים תפוסים" in full.json["message"]
    desk.now += timedelta(seconds=60)
    assert "אין כרגע שרת" in web.post("/phone/calls").json["message"]


def test_the_page_asks_what_comes_after_the_stream(desk, web):
    place = web.post("/phone/calls").json
    sid = place["sid"]
    desk.crm.redeem_ticket(place["token"], sid)
    desk.crm.set_next_step(sid, NextStep(Step.TRANSFER, "+97235550000"))
    told = web.post(f"/phone/calls/{sid}/next").json
    assert told["over"]
    assert "03-555-0000" in told["message"]
    assert web.post(f"/phone/calls/{sid}/over").status_code == 204


def test_calls_of_the_carrier_and_of_others_are_none_of_the_page(desk, web):
    desk.call("CA1", "+972501112222")
    other = desk.crm.ensure_business("אחרים", key="other")
    desk.call("BR1", "anonymous", business=other)
    for sid in ("CA1", "BR1", "BR2"):
        for what in ("next", "over"):
            assert web.post(f"/phone/calls/{sid}/{what}").status_code == 404


def test_the_page_may_open_sockets_to_the_media_processes_alone(desk, web):
    policy = web.get("/phone").headers["Content-Security-Policy"]
    connect = next(part for part in policy.split("; ") if part.startswith("connect-src"))
    assert connect == "connect-src 'self' ws://localhost ws://media.example"
    assert "microphone=(self)" in web.get("/phone").headers["Permissions-Policy"]


def test_who_only_looks_may_not_call(desk, web):
    viewer = desk.browser(desk.person(UserRole.VIEWER, desk.as_actor("dana@example.com")))
    assert viewer.get("/phone").status_code == 403
    assert viewer.post("/phone/calls").status_code == 403
    assert "/phone" not in viewer.get("/board").text
