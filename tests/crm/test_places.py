"""Which media process gets a call: the rules by example and by property, and the places on both databases."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.nodes import NODE_LIMIT_S, SLOT_TTL_S
from moked.crm.places import NodeReport, Refusal, choose
from moked.crm.service import Crm
from moked.records import CallEnd, CallStart, LeadDraft, Outcome


def node(name="a", **more):
    return NodeReport(name, f"wss://{name}.example.com/media/twilio", **{"capacity": 5, **more})


# ---- the rules


def test_the_one_with_the_smallest_share_of_its_places_taken():
    big, small = node("big", capacity=10), node("small", capacity=2)
    assert choose([big, small], {"big": 4, "small": 1}) is big
    assert choose([big, small], {"big": 6, "small": 1}) is small
    assert choose([big, small], {"big": 5, "small": 1}) is big  # a tie
    assert choose([replace(big, lag_ms=30), small], {"big": 5, "small": 1}).name == "small"


def test_why_there_is_no_place():
    assert choose([], {}) is Refusal.NO_MEDIA
    assert choose([node(draining=True)], {}) is Refusal.DRAINING
    assert choose([node(draining=True), node("b", accepting=False)], {}) is Refusal.OVERLOAD
    assert choose([node()], {"a": 5}) is Refusal.OVERLOAD
    assert choose([node(active=5)], {"a": 1}).name == "a"  # sockets of calls that are over


NODES = st.lists(
    st.builds(
        NodeReport,
        name=st.sampled_from("abcdef"),
        address=st.just("wss://x"),
        capacity=st.integers(1, 8),
        active=st.integers(0, 9),
        lag_ms=st.integers(0, 500),
        accepting=st.booleans(),
        draining=st.booleans(),
    ),
    unique_by=lambda one: one.name,
)


@given(NODES, st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 9)))
def test_a_chosen_node_has_a_place_and_none_is_refused_while_one_has(nodes, taken):
    def free(one):
        return one.accepting and not one.draining and taken.get(one.name, 0) < one.capacity

    chosen = choose(nodes, taken)
    if isinstance(chosen, NodeReport):
        assert free(chosen)
        assert choose(reversed(nodes), taken) == chosen  # whatever the order of the rows
    else:
        assert not any(map(free, nodes))


# ---- on record


class Clock:
    def __init__(self):
        self.now = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

    def __call__(self):
        return self.now

    def forward(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def crm(engine, clock):
    return Crm(engine, clock=clock)


@pytest.fixture
def business(crm):
    return crm.ensure_business("מזגנים בצפון")


@pytest.fixture
def ring(crm, business):
    def ring(number, here=None):
        start = CallStart(f"CA{number}", "AC1", f"+9725012345{number:02d}", "+97235551234")
        return crm.receive_call(start, business, reserve=True, here=here)

    return ring


def together(run, arguments):
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(run, arguments))


def test_of_thirty_callers_at_once_five_get_the_five_places(crm, ring):
    answers = together(lambda n: ring(n, node()), range(30))
    assert sum(bool(answer.ticket) for answer in answers) == 5
    assert [answer.refusal for answer in answers].count("overload") == 25
    assert crm.active_calls() == 5


def test_two_processes_at_once_fill_both_and_not_one_more(crm, ring):
    reports = [node("a"), node("b", capacity=3)]
    for report in reports:
        crm.report_node(report)
    answers = together(lambda n: ring(n, reports[n % 2]), range(30))
    admitted = [answer.media_url for answer in answers if answer.ticket]
    assert sorted(admitted) == ["wss://a.example.com/media/twilio"] * 5 + ["wss://b.example.com/media/twilio"] * 3


def test_calls_go_to_the_least_loaded_process(crm, ring):
    crm.report_node(node("a", capacity=4))
    crm.report_node(node("b", capacity=2))
    where = [ring(n).media_url[6] for n in range(6)]
    assert where == ["a", "b", "a", "a", "b", "a"]
    assert ring(7).refusal == "overload"


def test_a_process_that_is_silent_drains_or_lags_takes_no_call(crm, ring, clock):
    assert ring(1).refusal == "no_media"
    crm.report_node(node("a"))
    clock.forward(NODE_LIMIT_S + 1)
    assert ring(2).refusal == "no_media"
    assert crm.live_nodes() == []
    crm.report_node(node("a", draining=True))
    assert ring(3).refusal == "draining"
    crm.report_node(node("b", accepting=False, lag_ms=90))
    assert ring(4).refusal == "overload"
    crm.report_node(node("b", lag_ms=10))
    assert ring(5).media_url == "wss://b.example.com/media/twilio"
    crm.forget_node("b")
    assert [one.name for one in crm.live_nodes()] == ["a"]


def test_the_webhooks_own_process_is_asked_as_it_is_now(crm, ring):
    crm.report_node(node("a"))
    assert ring(1, node("a", accepting=False)).refusal == "overload"
    assert ring(2).refusal == "overload"  # and the others know it too


def test_a_place_comes_back_however_the_call_goes(crm, ring, clock):
    here = node("a", capacity=1)

    def gets_in(number):
        answer = ring(number, here)
        assert answer.ticket, answer
        assert ring(number + 50, here).refusal == "overload"
        return answer.ticket

    gets_in(1)  # whose stream never comes
    clock.forward(SLOT_TTL_S + 1)
    gets_in(2)  # the caller hangs up before the stream
    crm.call_status("CA2", "completed", {})
    crm.redeem_ticket(gets_in(3), "CA3", node="a")  # an ordinary call
    clock.forward(SLOT_TTL_S + 1)
    assert ring(70, here).refusal == "overload"  # a live one keeps its place
    crm.finish_call(CallEnd("CA3", Outcome.COMPLETED, "agent_hangup", 1000, LeadDraft()))
    crm.finish_call(CallEnd("CA3", Outcome.COMPLETED, "agent_hangup", 1000, LeadDraft()))
    crm.redeem_ticket(gets_in(4), "CA4", node="a")  # whose process dies
    clock.forward(91)
    gets_in(5)
    assert crm.active_calls() == 1


def test_a_retry_of_the_webhook_keeps_the_place_it_has(crm, ring):
    here = node("a", capacity=1)
    assert ring(1, here).ticket
    again = ring(1, here)
    assert (again.refusal, again.media_url) == ("", here.address)
    assert ring(2, here).refusal == ring(2, here).refusal == "overload"
    assert crm.active_calls() == 1


def test_a_retry_that_comes_when_the_place_is_gone_needs_another(crm, ring, clock):
    here = node("a", capacity=1)
    assert ring(1, here).ticket
    clock.forward(SLOT_TTL_S + 1)
    assert ring(2, here).ticket
    assert ring(1, here).refusal == "overload"


def test_reports_and_admissions_of_many_processes_do_not_wait_in_a_circle(crm, ring, clock):
    nodes = [node(name, capacity=100) for name in "abcd"]
    for one in nodes:
        crm.report_node(one)
    clock.forward(NODE_LIMIT_S + 1)  # all are silent, and come back in the midst of it

    def run(n):
        if n % 3 == 0:
            crm.report_node(nodes[n % 4])
            return ""
        return ring(n, nodes[-n % 4]).refusal

    assert set(together(run, range(60))) == {""}
    assert crm.active_calls() == 40


def test_the_node_whose_stream_came_holds_the_call(crm, ring):
    crm.report_node(node("a", capacity=1))
    crm.redeem_ticket(ring(1).ticket, "CA1", node="b")
    assert ring(2).media_url == "wss://a.example.com/media/twilio"


def test_dead_nodes_are_forgotten_in_time(crm, ring, clock, engine):
    crm.report_node(node("a"))
    clock.forward(11 * 60)
    crm.report_node(node("b"))
    crm.sweep_orphans()
    with engine.connect() as connection:
        assert [row[0] for row in connection.exec_driver_sql("SELECT name FROM media_node")] == ["b"]
