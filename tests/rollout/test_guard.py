"""When streaming is taken back: a window, a suspicion that holds, one trip."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.rollout.guard import EXCUSED_MS, WINDOW_MS, Guard, Limits, Reason, State, percentile

LIMITS = Limits(error_percent=20, p95_ms=1200, min_turns=20)


def suspected(guard, now=1000):
    """The second look in a row decides."""
    return guard.look(now) or guard.look(now + 1000)


def streams(guard, good, bad, now=0):
    for number in range(good + bad):
        guard.tried(now)
        guard.call(now, f"CA{number}")
    for _ in range(bad):
        guard.failed(now, "unavailable")


def test_failed_streams_trip_it_and_it_says_why():
    guard = Guard(LIMITS)
    streams(guard, 8, 2)
    assert guard.look(1000) is None  # once is no trend
    found = guard.look(2000)
    assert found.reason is Reason.FAILED_STREAMS
    assert found.words == "2 of 10 streams failed in 5 minutes (unavailable)"
    assert guard.look(3000) is None  # it waits for the answer
    assert guard.ruled(3000, other_is_better=True)
    assert guard.state is State.TRIPPED


def test_fewer_do_not():
    guard = Guard(LIMITS)
    streams(guard, 9, 1)
    assert suspected(guard) is None
    few = Guard(LIMITS)
    streams(few, 0, LIMITS.min_streams - 1)
    assert suspected(few) is None


def test_calls_that_were_taken_over_trip_it_though_no_stream_was_tried():
    """As when the breaker is open: nobody even asks."""
    guard = Guard(LIMITS)
    for number in range(10):
        (guard.fallback if number % 4 == 0 else guard.call)(0, f"CA{number}")
    assert suspected(guard).reason is Reason.FALLBACK_CALLS


def test_a_call_taken_over_counts_once_and_stays_taken_over():
    guard = Guard(LIMITS)
    for _ in range(50):
        guard.fallback(0, "CA1")
    guard.call(0, "CA1")
    seen = guard.figures(1)
    assert (seen.calls, seen.fallback) == (1, 1)


def test_late_words_trip_it_a_slow_model_does_not():
    slow_model, slow_words = Guard(LIMITS), Guard(LIMITS)
    for _ in range(20):
        slow_model.turn(0, 2500, 300)
        slow_words.turn(0, 1900, 1300)
    assert suspected(slow_model) is None
    found = suspected(slow_words)
    assert found.reason is Reason.LATENCY
    assert "1900 ms at p95 over 20 turns (limit 1200), 1300 ms of it waiting for words" in found.words


def test_where_the_other_mode_is_no_better_it_waits_and_looks_again():
    guard = Guard(LIMITS)
    streams(guard, 0, 10)
    assert suspected(guard, 0)
    assert not guard.ruled(2000, other_is_better=False)
    assert guard.state is State.EXCUSED
    assert suspected(guard, 10_000) is None
    assert suspected(guard, 2000 + EXCUSED_MS)
    assert guard.ruled(70_000, other_is_better=True)


def test_a_person_who_turns_it_on_begins_anew():
    guard = Guard(LIMITS)
    streams(guard, 0, 10)
    suspected(guard)
    guard.ruled(3000, other_is_better=True)
    guard.rearm()
    assert suspected(guard, 4000) is None
    streams(guard, 0, 10, 5000)
    assert suspected(guard, 6000)


def test_the_window_forgets():
    guard = Guard(LIMITS)
    streams(guard, 0, 10)
    guard.turn(0, 5000, 5000)
    seen = guard.figures(WINDOW_MS)
    assert (seen.streams, seen.failed, seen.calls, seen.turns, seen.p95_ms) == (0, 0, 0, 0, None)


events = st.lists(
    st.tuples(
        st.sampled_from(["tried", "failed", "call", "fallback", "turn", "look", "better", "worse", "wait"]),
        st.integers(0, 3000),
    ),
    max_size=300,
)


def play(guard, script):
    """Times it tripped, and what it saw then."""
    now, trips = 0, []
    for what, value in script:
        match what:
            case "tried" | "failed":
                getattr(guard, what)(now)
            case "call" | "fallback":
                getattr(guard, what)(now, f"CA{value % 40}")
            case "turn":
                guard.turn(now, value, value // 2)
            case "look":
                now += 1000
                guard.look(now)
            case "better" | "worse":
                figures = guard.figures(now)
                if guard.ruled(now, other_is_better=what == "better"):
                    trips.append(figures)
            case "wait":
                now += value * 100
    return trips


@given(events, st.integers(1, 40))
def test_it_trips_once_and_only_with_enough_to_go_by(script, min_turns):
    limits = Limits(min_turns=min_turns)
    trips = play(Guard(limits), script * 3)
    assert len(trips) <= 1
    for seen in trips:
        enough = max(seen.streams, seen.calls) >= limits.min_streams or seen.turns >= limits.min_turns
        # what it saw at the look may have left the window until the answer
        assert enough or any(what == "wait" for what, _ in script)


@given(events)
def test_zero_turns_it_off(script):
    assert play(Guard(Limits(0, 0, 1)), script * 3) == []


@given(events)
def test_an_answer_without_a_question_trips_nothing(script):
    assert play(Guard(LIMITS), [event for event in script if event[0] != "look"]) == []


@given(events)
def test_it_never_trips_where_the_other_mode_is_never_better(script):
    assert play(Guard(Limits(min_turns=1)), [event for event in script if event[0] != "better"] * 3) == []


@given(st.integers(2, 400), st.integers(0, 400))
def test_it_trips_exactly_from_the_limit_on(good, bad):
    guard = Guard(Limits(20, 0, 8))
    streams(guard, good, bad)
    assert bool(suspected(guard)) == (bad * 100 >= 20 * (good + bad))


@given(st.lists(st.integers(0, 10_000), min_size=1), st.integers(1, 100))
def test_a_percentile_is_one_of_the_values_and_enough_are_below(values, percent):
    found = percentile(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


def test_of_nothing_there_is_no_percentile():
    assert percentile([], 95) is None


@pytest.mark.parametrize("min_turns", [1, 4, 20])
def test_a_quarter_as_many_streams_but_never_one(min_turns):
    assert Limits(min_turns=min_turns).min_streams == max(2, min_turns // 4)
