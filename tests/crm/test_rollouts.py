"""How calls are heard, in both databases."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.models import RolloutChange, ShadowCall
from moked.crm.rollouts import Rollouts, Stored
from moked.crm.service import Crm
from moked.records import CallStart, TurnRecord, Waterfall
from moked.rollout.compare import Side, summary
from moked.rollout.policy import Policy


@pytest.fixture
def crm(engine):
    return Crm(engine)


@pytest.fixture
def rollouts(engine, crm):
    return Rollouts(engine, crm.ensure_business("עסק"))


def share(percent):
    return lambda policy: policy.with_share(True, percent, by="dana", now=5)


def test_nothing_set(rollouts):
    assert rollouts.load() == Stored(0, Policy())
    assert rollouts.history() == []


def test_a_change_is_the_state_and_a_line_of_history(rollouts, engine):
    first = rollouts.change(share(10), by="dana", what="on for 10 %", why="begin\0")
    again = rollouts.change(share(10), by="eli", what="the same")
    second = rollouts.change(share(20), by="eli", what="on for 20 %", figures={"turns": 5})
    assert (first.version, again.version, second.version) == (1, 1, 2)
    assert rollouts.load() == second == Rollouts(engine).load()  # the only business
    told = [(one["version"], one["by"], one["what"], one["why"], one["figures"]) for one in rollouts.history()]
    assert told == [(2, "eli", "on for 20 %", "", {"turns": 5}), (1, "dana", "on for 10 %", "begin", {})]
    assert len(rollouts.history(1)) == 1
    with Session(engine) as session:
        kept = session.scalars(select(RolloutChange.policy).order_by(RolloutChange.version)).all()
    assert [policy["share"]["streaming_percent"] for policy in kept] == [10, 20]


def test_a_note_changes_nothing(rollouts):
    rollouts.note(by="guard", what="streaming stays on", why="both fail", figures={})
    assert rollouts.load() == Stored()
    rollouts.change(share(10), by="dana", what="on for 10 %")
    rollouts.note(by="guard", what="streaming stays on", why="both fail", figures={})
    assert rollouts.load().policy.share.streaming_percent == 10
    assert [one["version"] for one in rollouts.history()] == [3, 2, 1]


def test_a_change_that_fails_leaves_no_trace(rollouts):
    with pytest.raises(LookupError):
        rollouts.change(lambda policy: policy.without_number("+972501234567"), by="dana", what="x")
    assert rollouts.history() == []


def test_without_a_business_it_says_what_to_do(engine):
    assert Rollouts(engine).load() == Stored()
    with pytest.raises(LookupError, match="start Moked once"):
        Rollouts(engine).change(share(1), by="dana", what="x")


def test_two_people_at_once_do_not_undo_one_another(rollouts):
    def add(number):
        rollouts.change(lambda policy: policy.with_number(f"+97250000000{number}", True, now=1), by="x", what="y")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert len(rollouts.load().policy.numbers) == 8
    assert sorted(one["version"] for one in rollouts.history()) == list(range(1, 9))


def measured(text, other="שלום עולם"):
    one, two = Side(), Side()
    one.texts, two.texts = [text], [other]
    return summary("streaming", one, "utterances", two, "call")


def test_shadows_and_live_turns_are_reported(crm, rollouts, engine):
    business = crm.ensure_business("עסק")
    for sid in ("CA1", "CA2"):
        crm.open_call(CallStart(sid, "AC1", "+972501234567", "+97231234567"), business)
    assert rollouts.add_shadow("CA1", measured("שלום"))
    assert rollouts.add_shadow("CA1", measured("שלום כיתה"))  # again: the newer one
    assert rollouts.add_shadow("CA2", measured("שלום עולם"))
    assert not rollouts.add_shadow("CA9", measured("x"))
    for number, took in enumerate((400, 600, 800), 1):
        waterfall = Waterfall(speech_end_ms=1000, sent_ms=1000 + took)
        crm.add_turn("CA1", TurnRecord(number, "א", "", "", False, 1, 2, engine="google", waterfall=waterfall))
    report = rollouts.report(3600)
    assert report["shadow"]["calls"] == 2
    assert report["shadow"]["words"]["edits"] == 1
    assert "examples" not in report["shadow"]
    assert report["live"] == {"google": {"calls": 1, "turns": 3, "response_p50_ms": 600, "response_p95_ms": 800}}
    (example,) = rollouts.report(3600, examples=True)["shadow"]["examples"]
    assert example == {"streaming": "כיתה", "utterances": "עולם", "call_sid": "CA1"}
    with Session(engine) as session:
        assert "כיתה" not in str(session.scalars(select(ShadowCall.result)).all())
