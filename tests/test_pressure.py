"""Pressure by example and by property: what raises it, what lets it fall, and that it does not flutter."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moked.pressure import FALL_S, WINDOW_S, Level, Pressure

LIMIT_S = 0.03


def fed(*stretches, pressure=None, start=0.0):
    """Feed (seconds, lag in ms) stretches at ten samples a second; the level after each sample."""
    pressure = pressure or Pressure(LIMIT_S)
    now, seen = start, []
    for seconds, lag_ms in stretches:
        for _ in range(round(seconds * 10)):
            now += 0.1
            pressure.note(now, lag_ms / 1000)
            seen.append((round(now, 3), pressure.level))
    return pressure, seen


def test_an_easy_loop_is_calm():
    pressure, seen = fed((60, 3))
    assert {level for _, level in seen} == {Level.CALM}
    assert pressure.calm
    assert pressure.p95_s == 0.003


def test_a_late_loop_is_full_within_a_second_and_calm_again_in_time():
    pressure, seen = fed((10, 2), (5, 80), (20, 2))
    full = [at for at, level in seen if level is Level.FULL]
    assert 10 < full[0] <= 11  # seconds
    assert 15 + WINDOW_S <= full[-1] + 1 <= 15 + WINDOW_S + FALL_S + 2  # the window forgets, then it must last
    assert pressure.calm
    assert [level for level, before in zip([s[1] for s in seen][1:], [s[1] for s in seen], strict=False)
            if level < before] == [Level.BUSY, Level.CALM]  # fmt: skip


def test_a_few_late_moments_are_nothing_and_a_halt_is_something():
    assert fed((10, 2), (0.2, 200), (3, 2))[0].calm
    assert fed((10, 2), (0.1, 700), (3, 2))[0].full


def test_the_first_second_of_a_process_says_nothing():
    assert fed((0.9, 500))[0].calm


def test_a_loop_that_hardly_runs_is_seen_although_it_is_measured_rarely():
    pressure, now = Pressure(LIMIT_S), 0.0
    for lag in (0.001, *[1.2] * 3):  # a measurement comes as late as the loop is
        now += 0.1 + lag
        pressure.note(now, lag)
    assert pressure.full


def test_between_the_edges_nothing_changes():
    pressure, _ = fed((10, 2), (6, 31))
    assert pressure.full
    _, seen = fed((120, 20), pressure=pressure, start=16)  # under the edge, over its lower edge
    assert {level for _, level in seen} == {Level.FULL}


LAGS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 900)), min_size=1, max_size=12)


@given(LAGS)
def test_it_falls_slowly_one_level_at_a_time(stretches):
    _, seen = fed(*((tenths / 10, lag) for tenths, lag in stretches))
    changed = -1e9
    for (_, before), (at, level) in pairwise(seen):
        if level < before:
            assert level == before - 1
            assert at - changed >= FALL_S - 0.2
        if level != before:
            changed = at


@given(LAGS)
def test_it_always_comes_to_rest_and_an_overload_is_always_seen(stretches):
    pressure, seen = fed(*((tenths / 10, lag) for tenths, lag in stretches))
    pressure, seen = fed((WINDOW_S + 2 * FALL_S + 1, 1), pressure=pressure, start=seen[-1][0])
    assert pressure.calm
    pressure, _ = fed((WINDOW_S, 40), pressure=pressure, start=seen[-1][0])
    assert pressure.full
