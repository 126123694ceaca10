"""Breakers, the choice of an engine, and the limits of a call: pure, with an explicit clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.errors import Failure
from moked.stt.failover import Breaker, EngineChooser, RelayPolicy, SlowAnswers, State


def test_two_failures_in_ten_seconds_open_it_and_an_answer_after_its_time_closes_it():
    breaker = Breaker()
    assert not breaker.failed(0, Failure.UNAVAILABLE)
    assert not breaker.failed(10_001, Failure.CLOSED)
    assert breaker.admits(10_001)
    assert breaker.failed(12_000, Failure.TIMEOUT, jitter=0.0)
    assert breaker.state(41_999) is State.OPEN
    assert breaker.state(42_000) is State.HALF_OPEN
    assert not breaker.admits(42_000), "no caller finds out"
    breaker.succeeded(43_000)
    assert breaker.state(43_000) is State.CLOSED
    assert not breaker.failed(43_001, Failure.CLOSED), "the count begins anew"


def test_a_failed_try_opens_it_for_longer():
    breaker = Breaker()
    breaker.failed(0, Failure.AUTH)
    assert breaker.state(300_000) is State.HALF_OPEN
    assert breaker.failed(300_100, Failure.UNAVAILABLE)
    assert breaker.state(360_099) is State.OPEN
    assert breaker.state(360_100) is State.HALF_OPEN
    assert not breaker.failed(360_100, Failure.CONFIG), "our own request says nothing about it"
    assert breaker.state(360_100) is State.HALF_OPEN


@pytest.mark.parametrize(("kind", "open_ms"), [(Failure.AUTH, 300_000), (Failure.QUOTA, 60_000)])
def test_auth_and_quota_open_it_at_once_and_jitter_makes_it_longer(kind, open_ms):
    for jitter in (0.0, 1.0):
        breaker = Breaker()
        assert breaker.failed(0, kind, jitter)
        assert breaker.state(int(open_ms * (1 + 0.2 * jitter)) - 1) is State.OPEN
        assert breaker.state(int(open_ms * (1 + 0.2 * jitter))) is State.HALF_OPEN


@pytest.mark.parametrize("kind", [Failure.CONFIG, Failure.EXPIRED, Failure.FULL])
def test_our_own_request_and_the_end_of_a_stream_are_not_the_providers_fault(kind):
    breaker = Breaker()
    assert not any(breaker.failed(now, kind) for now in range(20))
    assert breaker.state(20) is State.CLOSED


def test_an_open_one_is_not_closed_by_streams_of_before():
    breaker = Breaker()
    breaker.failed(0, Failure.QUOTA)
    breaker.succeeded(1)
    assert breaker.state(1) is State.OPEN


def chooser():
    breakers = {"google": Breaker(), "whisper": Breaker()}
    return EngineChooser(["google", "whisper"], breakers), breakers


def test_a_call_leaves_the_engine_that_failed_it_and_comes_back_later():
    choice, _ = chooser()
    assert choice.choose(0) == "google"
    choice.failed("google", Failure.CLOSED, 0)
    assert choice.choose(1) == "whisper"
    assert choice.better("whisper", 9_999) is None
    assert choice.better("whisper", 10_000) == "google"
    choice.failed("google", Failure.CONFIG, 10_500)
    assert choice.better("whisper", 30_499) is None, "twice as long the second time"
    assert choice.better("whisper", 30_500) == choice.other("whisper", 30_500) == "google"
    assert choice.other("google", 30_500) == "whisper"


def test_the_end_of_a_stream_is_no_reason_to_leave():
    choice, _ = chooser()
    choice.failed("google", Failure.EXPIRED, 0)
    assert choice.choose(0) == "google"


def test_what_another_call_learned_counts():
    choice, breakers = chooser()
    breakers["google"].failed(0, Failure.AUTH)
    assert choice.choose(1) == "whisper"


def test_answers_are_slow_when_three_of_five_turns_had_nothing_quick():
    answers = SlowAnswers(2000)

    def turn(*late):
        return [answers.heard(ms, final=False) for ms in late[:-1]] + [answers.heard(late[-1], final=True)]

    assert turn(2500, 2600) == [False, False]
    assert turn(2500, 300, 2600) == [False] * 3, "one of its results was quick"
    assert turn(2001) == [False]
    assert turn(1999) == [False]
    assert turn(2001, 2001) == [False, True]
    assert turn(100) == [False], "the first is forgotten"


def test_fewer_slow_turns_are_borne_and_a_short_guess_does_not_count_for_the_next_turn():
    answers = SlowAnswers(2000)
    answers.heard(100, final=True)
    assert [answers.heard(5000, final=True) for _ in range(3)] == [False, False, True]


kinds = st.sampled_from(Failure)


@given(
    st.lists(
        st.tuples(st.sampled_from(["google", "other", "whisper", ""]), kinds, st.integers(0, 40_000), st.floats(0, 1))
    )
)
def test_some_engine_is_always_chosen_and_good_ones_first(story):
    names = ["google", "other", "whisper"]
    breakers = {name: Breaker() for name in names}
    choice = EngineChooser(names, breakers)
    now = 0
    for name, kind, wait, jitter in story:
        now += wait
        if name:
            choice.failed(name, kind, now, jitter)
        chosen = choice.choose(now)
        assert chosen in names
        for better in names[: names.index(chosen)]:
            assert choice.better(chosen, now) is None or not breakers[better].admits(now)
    now += 100_000_000
    for breaker in breakers.values():
        breaker.succeeded(now)
    assert choice.choose(now) == "google", "nothing is left for ever"


def test_a_call_without_engines_is_a_mistake():
    with pytest.raises(ValueError, match="at least one"):
        EngineChooser([], {})


def test_a_full_engine_is_not_to_blame_and_is_asked_again_soon_after_the_others():
    breakers = {"a": Breaker(), "b": Breaker()}
    chooser = EngineChooser(["a", "b"], breakers)
    for now in range(0, 10_000, 100):
        chooser.failed("a", Failure.FULL, now)
    assert breakers["a"].state(10_000) is State.CLOSED
    assert chooser.choose(10_000) == "b"
    assert chooser.choose(11_500) == "a"


# --- the limits of a call ---


@given(st.lists(st.booleans(), max_size=300))
def test_a_stream_is_always_replaced_before_the_providers_limit(quiet):
    policy = RelayPolicy()
    ages = range(0, 305_000, 1000)
    quiet += [False] * (len(ages) - len(quiet))
    rotated = next(age for age, q in zip(ages, quiet, strict=False) if policy.rotate(age, quiet=q))
    assert policy.rotate_soft_ms <= rotated <= policy.rotate_hard_ms
    assert rotated + policy.connect_ms + policy.drain_ms + policy.move_again_ms < 305_000


@given(st.integers(0, 400_000), st.integers(0, 400_000), st.none() | st.integers(0, 400_000))
def test_a_replay_covers_what_is_not_committed_and_is_bounded(head, committed, speech):
    policy = RelayPolicy()
    committed = min(committed, head)
    speech = None if speech is None or speech < committed else min(speech, head)
    start = policy.replay_from(head, committed, speech)
    assert max(0, head - policy.max_replay_ms) <= start <= head
    if speech is not None and head - speech <= policy.max_replay_ms:
        assert start <= speech
    assert start >= committed - policy.overlap_ms


def test_each_engine_is_tried_at_once_then_with_growing_pauses():
    policy = RelayPolicy()
    assert [policy.retry_in(n, 2) for n in range(1, 8)] == [0, 100, 300, 1000, 2000, 2000, 2000]
