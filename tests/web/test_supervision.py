"""Supervision from the board: each act with its own permission, on calls that run, with a clear word for the rest."""

import re
from dataclasses import replace

import pytest

from moked.crm.permissions import UserRole
from moked.crm.places import NodeReport
from moked.records import OrderKind
from tests.web.desk_office import DeskOffice, furnish

MEDIA = "wss://media.example/media/2/twilio"


@pytest.fixture
def desk(engine, tmp_path):
    office = DeskOffice(engine, tmp_path)
    office.me = office.owner()
    furnish(office)  # CA92 runs, the others are over
    office.crm.report_node(NodeReport("a", MEDIA, 5, 0, 0, True, False))
    return office


@pytest.fixture
def web(desk):
    sid = "CA92"
    desk.crm.redeem_ticket(desk.crm.mint_ticket(sid), sid, node="a")
    return desk.browser("dana@example.com")


def test_who_may_listen_gets_a_ticket_and_the_address(desk, web):
    given = web.post("/calls/CA92/listen").json
    assert given["url"] == "wss://media.example/media/2/supervise"
    assert not desk.live.redeem(given["token"], "CA92").talks
    assert desk.live.redeem(web.post("/calls/CA92/take-over").json["token"], "CA92").talks
    for sid in ("CA0", "CA999"):
        refused = web.post(f"/calls/{sid}/listen")
        assert refused.status_code == 409
        assert "כבר לא מתקיימת" in refused.json["message"]


def test_orders_go_to_the_call(desk, web):
    assert "בתשובה הבאה" in web.post("/calls/CA92/whisper", text=" תציע לו\nעשרה אחוז ").json["message"]
    assert web.post("/calls/CA92/transfer", number="03-555-0000").status_code == 200
    assert web.post("/calls/CA92/end").status_code == 200
    found = desk.live.take_orders(["CA92"])
    assert [(one.kind, one.text) for one in found] == [
        (OrderKind.WHISPER, "תציע לו עשרה אחוז"),
        (OrderKind.TRANSFER, "+97235550000"),
        (OrderKind.END, ""),
    ]
    assert web.post("/calls/CA0/end").status_code == 409


@pytest.mark.parametrize(
    ("act", "fields", "told"),
    [
        ("whisper", {"text": "  "}, "לא נכתב כלום"),
        ("whisper", {"text": "א" * 501}, "ארוך מדי"),
        ("transfer", {"number": "בלה"}, "זה לא מספר טלפון"),
        ("transfer", {}, "לא הוגדר מספר"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(desk, web, act, fields, told):
    refused = web.post(f"/calls/CA92/{act}", **fields)
    assert refused.status_code == 400
    assert told in refused.json["message"]
    assert desk.live.take_orders(["CA92"]) == []


def test_the_board_offers_each_role_what_it_may_do(desk, web):
    agent = desk.browser(desk.person(UserRole.AGENT, desk.me)).get("/board").text
    assert "data-act" not in agent
    assert "supervise.js" not in agent
    manager = desk.browser(desk.person(UserRole.MANAGER, desk.me)).get("/board")
    assert set(re.findall('data-act="([a-z-]+)"', manager.text)) == {"listen", "take-over", "stop", "end"}
    assert set(re.findall('data-order="([a-z_]+)"', manager.text)) == {"whisper", "transfer", "hand_back"}
    assert "wss://media.example" in manager.headers["Content-Security-Policy"]
    assert "יאמר את זה" in manager.text  # a script follows no instructions


def test_the_wallboard_has_the_days_figures(desk, web):
    page = web.get("/wall").text
    assert re.search(r'data-figure="live"><bdi dir="ltr">1<', page)
    figures = web.get("/board/figures").json
    assert figures["live"] == 1
    assert figures["answered"] == 6
    assert figures["leads"] == 5
    assert figures["answer_ms"] == 920
    assert figures["at"] == desk.now.isoformat()


def test_a_calls_page_says_who_answered_in_the_agents_place(desk, web):
    first = desk.desk.call(desk.business, "CA92")
    assert first is not None
    from tests.web.desk_office import turns

    desk.crm.add_turn("CA92", replace(turns()[1], said="", heard="", spoken_by="דנה <כהן>"))
    desk.crm.add_event("CA92", "taken_over", {"who": "דנה <כהן>", "at_ms": 10})
    page = web.get("/calls/CA92").text
    assert "דנה &lt;כהן&gt; בשיחה במקום הסוכן" in page
    assert "כניסה לשיחה במקום הסוכן: <bdi>דנה &lt;כהן&gt;</bdi>" in page
