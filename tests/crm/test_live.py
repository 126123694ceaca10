"""Tickets of supervisors, orders to calls, and the day's figures; on both databases, strictly apart by business."""

from datetime import UTC, datetime, timedelta

import pytest

from moked.crm.access import Access
from moked.crm.live import Live
from moked.crm.places import NodeReport
from moked.crm.service import Crm
from moked.records import CallEnd, CallStart, LeadDraft, Order, OrderKind, Outcome, Supervisor, TurnRecord, Waterfall

PASSWORD = "סיסמה ארוכה מאוד"
ADDRESS = "ws://m.example/media/twilio"


class Office:
    def __init__(self, engine):
        self.now = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
        self.crm = Crm(engine, clock=lambda: self.now)
        self.live = Live(engine, clock=lambda: self.now)
        self.access = Access(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("אורן")
        self.other = self.crm.ensure_business("אחרים", key="other")
        self.me, self.them = self.owner(self.business, "a@x.co"), self.owner(self.other, "b@x.co")
        self.crm.report_node(NodeReport("a", ADDRESS, 5, 0, 0, True, False))

    def owner(self, business, email):
        self.access.set_up_owner(business, email, "דנה", PASSWORD)
        return self.access.actor(self.access.log_in(email, PASSWORD, address="x", browser="").token)

    def call(self, sid, *, ends=None, turns=(), business=None):
        self.crm.open_call(CallStart(sid, "AC1", "+972501112222", "+97235551234"), business or self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid, node="a")
        for turn in turns:
            self.crm.add_turn(sid, turn)
        if ends is not None:
            self.crm.finish_call(CallEnd(sid, ends, "", 1000, LeadDraft(name="רות", need="נזילה")))

    @property
    def actions(self):
        return [row.action for row in self.access.audit_log(self.business)[0]]


@pytest.fixture
def office(engine):
    return Office(engine)


def test_a_ticket_is_good_once_for_its_call_and_soon_no_more(office):
    office.call("CA1")
    office.call("CA2")
    given = office.live.ticket(office.me, "CA1", talks=True)
    assert given.media_url == ADDRESS
    assert office.live.redeem(given.token, "CA2") is None
    assert office.live.redeem("x", "CA1") is None
    assert office.live.redeem(given.token, "CA1") == Supervisor(office.business, office.me.user_id, "דנה", talks=True)
    assert office.live.redeem(given.token, "CA1") is None
    late = office.live.ticket(office.me, "CA1", talks=False)
    office.now += timedelta(seconds=31)
    assert office.live.redeem(late.token, "CA1") is None
    assert office.actions[:2] == ["call.listened", "call.taken_over"]


def test_only_a_call_of_ones_own_that_runs_can_be_supervised(office):
    office.call("CA1")
    office.call("CA2", ends=Outcome.COMPLETED)
    for by, sid in ((office.them, "CA1"), (office.me, "CA2"), (office.me, "CA3")):
        with pytest.raises(LookupError):
            office.live.ticket(by, sid, talks=False)
        with pytest.raises(LookupError):
            office.live.order(by, sid, OrderKind.END)
    assert not {"call.listened", "call.ended"} & set(office.actions)


def test_an_order_is_taken_once_by_who_serves_the_call_and_not_when_it_is_old(office):
    office.call("CA1")
    office.call("CA2")
    office.live.order(office.me, "CA1", OrderKind.WHISPER, "תציע לו עשרה אחוז")
    office.live.order(office.me, "CA1", OrderKind.TRANSFER, "+97235550000")
    assert office.live.take_orders([]) == office.live.take_orders(["CA2"]) == []
    assert office.live.take_orders(["CA1", "CA2"]) == [
        Order("CA1", OrderKind.WHISPER, "תציע לו עשרה אחוז", "דנה"),
        Order("CA1", OrderKind.TRANSFER, "+97235550000", "דנה"),
    ]
    assert office.live.take_orders(["CA1"]) == []
    office.live.order(office.me, "CA2", OrderKind.END)
    office.now += timedelta(seconds=31)
    assert office.live.take_orders(["CA2"]) == []
    assert office.actions[:3] == ["call.ended", "call.transferred", "call.whispered"]


def test_what_was_done_on_the_socket_is_on_record(office):
    office.live.note(Supervisor(office.business, office.me.user_id, "דנה", talks=True), "call.handed_back", "CA1")
    row = office.access.audit_log(office.business)[0][0]
    assert (row.action, row.target, row.who) == ("call.handed_back", "call:CA1", "דנה")


def answered(number, took):
    fall = Waterfall(speech_end_ms=1000, sent_ms=1000 + took)
    return TurnRecord(number, "x", "y", "y", False, 0, 2000, waterfall=fall)


def test_figures_begin_anew_at_the_businesss_own_midnight(office):
    office.now = datetime(2026, 11, 22, 21, 59, tzinfo=UTC)  # 23:59 in Jerusalem
    office.call("CA0", ends=Outcome.COMPLETED, turns=[answered(1, 900)])
    late = office.live.figures(office.business, "Asia/Jerusalem")
    assert (late.answered, late.leads, late.answer_ms) == (1, 1, 900)
    office.now += timedelta(minutes=2)
    office.call("CA1", turns=[answered(1, 500), answered(2, 700), answered(3, 2000)])
    office.call("CA2", business=office.other, turns=[answered(1, 100)])
    office.crm.open_call(CallStart("CA3", "AC1", "+972501112223", "x"), office.business)
    office.crm.receive_call(CallStart("CA3", "AC1", "+972501112223", "x"), office.business, refuse="overload")
    figures = office.live.figures(office.business, "Asia/Jerusalem")
    assert (figures.live, figures.answered, figures.missed, figures.answer_ms) == (1, 1, 1, 700)
    assert figures.at == office.now
    empty = office.live.figures(office.crm.ensure_business("ריק", key="empty"), "Asia/Jerusalem")
    assert (empty.live, empty.answered, empty.missed, empty.leads, empty.answer_ms) == (0, 0, 0, 0, None)
