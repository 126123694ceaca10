"""What holds, and what it means for one call."""

from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.rollout.policy import (
    MAX_NUMBERS,
    Decision,
    Engines,
    Mode,
    Policy,
    Why,
    as_json,
    from_json,
    in_words,
    seconds,
)

CALLER, CALLED = "+972501234567", "+97231234567"
NOW = 1_800_000_000
sids = st.uuids().map(lambda one: f"CA{one.hex}")
percents = st.integers(0, 100)


def on(percent, **more):
    return Policy().with_share(True, percent, by="dana", now=NOW, **more)


def decide(policy, sid="CA1", *, default=True, now=NOW, caller=CALLER, called=CALLED):
    return policy.decide(sid, caller, called, default=default, now=now)


@given(sids, percents, percents)
def test_whoever_is_streamed_at_a_lower_percentage_is_at_a_higher(sid, one, other):
    low, high = sorted((one, other))
    if decide(on(low), sid).mode is Mode.STREAMING:
        assert decide(on(high), sid).mode is Mode.STREAMING


@given(sids, percents, st.booleans())
def test_a_decision_is_sticky_and_the_two_ways_to_say_it_agree(sid, percent, default):
    first = decide(on(percent), sid, default=default)
    assert first == decide(on(percent), sid, default=not default)
    off = Policy().with_share(False, 100 - percent, by="dana", now=NOW)
    assert decide(off, sid).mode is first.mode


@pytest.mark.parametrize("percent", [0, 1, 10, 37, 50, 99, 100])
def test_the_share_is_close_to_what_was_asked_for(percent):
    calls = 4000
    streamed = sum(decide(on(percent), f"CA{n:032x}").mode is Mode.STREAMING for n in range(calls))
    allowed = 0 if percent in (0, 100) else 5 * (calls * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(streamed - calls * percent / 100) <= allowed


@given(sids, percents, st.booleans(), st.booleans())
def test_a_number_wins(sid, percent, streaming, by_caller):
    number = CALLER if by_caller else CALLED
    policy = on(percent).with_number(number, streaming, now=NOW)
    wanted = Mode.STREAMING if streaming else Mode.UTTERANCES
    assert decide(policy, sid) == Decision(wanted, Why.NUMBER)
    stranger = decide(policy, sid, caller="+972520000000", called="+97220000000")
    assert stranger == decide(on(percent), sid)


@given(sids, percents)
def test_shadows_are_independent_of_how_the_call_is_heard(sid, percent):
    policy = Policy().with_shadow(percent)
    assert policy.shadows(sid) == on(50).with_shadow(percent).shadows(sid)
    assert not policy.with_shadow(0).shadows(sid)
    assert policy.with_shadow(100).shadows(sid)


def test_shadow_and_share_do_not_take_the_same_calls():
    both = on(10).with_shadow(10)
    each = [(decide(both, sid).mode is Mode.STREAMING, both.shadows(sid)) for sid in map(str, range(4000))]
    assert 10 < sum(one and other for one, other in each) < 100  # 1 % by chance, not 10 %


def test_nothing_set_is_the_setting():
    assert decide(Policy(), default=True) == Decision(Mode.STREAMING, Why.DEFAULT)
    assert decide(Policy(), default=False) == Decision(Mode.UTTERANCES, Why.DEFAULT)
    assert decide(on(100)).why is Why.ALL
    assert decide(on(50)).why is Why.PERCENT


def test_a_rule_that_ends_gives_way_to_what_held_before():
    policy = on(30).with_share(True, 80, by="eli", now=NOW, until=NOW + 60)
    again = policy.with_share(False, 100, by="eli", now=NOW + 10, until=NOW + 90)  # over the one that ends
    assert again.at(NOW + 89).share.streaming_percent == 0
    for one in (policy, again):
        assert one.at(NOW + 90).share.streaming_percent == 30
        assert decide(one, now=NOW + 90) == decide(on(30), now=NOW + 90)
    assert on(80, until=NOW + 60).at(NOW + 60).share is None
    numbered = Policy().with_number(CALLER, False, now=NOW, until=NOW + 60)
    assert decide(numbered).why is Why.NUMBER
    assert decide(numbered, now=NOW + 60).why is Why.DEFAULT


@given(sids, percents, st.booleans())
def test_a_rollback_leaves_nobody_streamed_for_ever(sid, percent, default):
    policy = on(percent, until=NOW + 60).with_number(CALLER, True, now=NOW).with_number(CALLED, False, now=NOW)
    back = policy.rolled_back(by="guard", reason="9 of 10 streams failed", now=NOW)
    for now in (NOW, NOW + 10**6):
        assert decide(back, sid, default=default, now=now).mode is Mode.UTTERANCES
        assert not back.streams_any(default=default, now=now)
    assert decide(back, sid, called="+97220000000").why is Why.ROLLBACK
    assert [rule.number for rule in back.numbers] == [CALLED]
    assert decide(back.with_share(True, 100, by="dana", now=NOW), sid, called="") == Decision(Mode.STREAMING, Why.ALL)


def test_whether_any_call_is_streamed():
    assert Policy().streams_any(default=True, now=NOW)
    assert not Policy().streams_any(default=False, now=NOW)
    assert on(1).streams_any(default=False, now=NOW)
    assert on(0).with_number(CALLER, True, now=NOW).streams_any(default=False, now=NOW)


def test_numbers_are_bounded_and_can_go():
    policy = Policy()
    for n in range(MAX_NUMBERS):
        policy = policy.with_number(f"+97250{n:07}", True, now=NOW)
    with pytest.raises(ValueError, match="clear some"):
        policy.with_number(CALLER, True, now=NOW)
    assert len(policy.with_number("+972500000001", False, now=NOW).numbers) == MAX_NUMBERS
    assert len(policy.without_number("+972500000001").numbers) == MAX_NUMBERS - 1
    with pytest.raises(LookupError):
        policy.without_number(CALLER)


policies = st.builds(
    lambda percent, until, number, shadow, back: (
        on(percent, until=until).with_number(CALLER, number, now=NOW).with_shadow(shadow)
        if not back
        else on(percent).rolled_back(by="guard", reason="למה", now=NOW)
    ),
    percents,
    st.none() | st.integers(NOW + 1, NOW + 10**6),
    st.booleans(),
    percents,
    st.booleans(),
)


@given(policies)
def test_a_policy_survives_the_database(policy):
    assert from_json(msgspec.json.decode(msgspec.json.encode(as_json(policy)))) == policy


def test_what_is_no_policy_is_said():
    with pytest.raises(ValueError, match="cannot be read"):
        from_json({"share": 5})
    assert from_json({"later": "versions may add"}) == Policy()


def test_the_other_mode_comes_last():
    engines = Engines.of(["google", "google-batch", "whisper"], streaming="google", utterances="google-batch")
    assert engines.order(Mode.STREAMING) == ("google", "whisper", "google-batch")
    assert engines.order(Mode.UTTERANCES) == ("google-batch", "whisper", "google")
    alone = Engines.of(["whisper"], streaming="google", utterances="google-batch")
    assert not alone.switchable
    assert alone.order(Mode.STREAMING) == alone.order(Mode.UTTERANCES) == ("whisper",)


def test_it_is_said_in_words():
    assert in_words(Policy(), default=False, now=NOW) == "streaming is off for all calls (ENABLE_STREAMING_STT)"
    assert in_words(on(20, reason="try it"), default=True, now=NOW) == "streaming is on for 20 %, set by dana: try it"
    back = on(20).rolled_back(by="guard", reason="bad", now=NOW)
    assert in_words(back, default=True, now=NOW) == "streaming is off for all calls, rolled back by guard: bad"
    assert replace(back).numbers == ()


def test_lengths_of_time():
    assert [seconds(text) for text in ("90s", "30m", "2h", "7d")] == [90, 1800, 7200, 604_800]
    for wrong in ("", "2", "h", "-2h", "2w", "0s", "1.5h", "٢h"):
        with pytest.raises(ValueError, match="length of time"):
            seconds(wrong)
