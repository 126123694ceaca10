"""The gate: when a stretch of speech begins and ends, in call audio time."""

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from moked.media.speech import WINDOW_MS, SpeechEnded, SpeechGate, SpeechPaused, SpeechPolicy, SpeechStarted

LOUDNESS = SpeechPolicy(start=0.3, end=0.2, start_windows=2, end_windows=5, pause_windows=0)
POLICY = replace(LOUDNESS, start_above_db=-99.0, end_above_db=-99.0)  # the probability alone decides


def run(probabilities, policy=POLICY, levels=None):
    """All events, each with the moment it was told."""
    gate = SpeechGate(policy)
    told = []
    for i, probability in enumerate(probabilities):
        event = gate.feed(probability) if levels is None else gate.feed(probability, levels[i])
        if event is not None:
            told.append((gate.now_ms, event))
    return told


def test_a_start_is_backdated_to_its_first_window_and_an_end_to_the_last_voiced_one():
    told = run([0.0] * 10 + [0.9] * 5 + [0.0] * 10)
    assert told == [(12 * 32, SpeechStarted(10 * 32)), (20 * 32, SpeechEnded(15 * 32))]


def test_one_word_answers_of_a_fifth_of_a_second_are_heard():
    told = run([0.01] * 30 + [0.1, 0.35, 0.6, 0.5, 0.25, 0.1] + [0.01] * 10)
    assert [event for _, event in told] == [SpeechStarted(31 * 32), SpeechEnded(35 * 32)]


def test_a_pause_is_told_once_before_the_end_and_a_gap_between_words_too():
    policy = replace(POLICY, pause_windows=2)
    told = run([0.9] * 5 + [0.0] * 3 + [0.9] * 4 + [0.0] * 8, policy)
    assert [event for _, event in told] == [SpeechStarted(0), SpeechPaused(160), SpeechPaused(384), SpeechEnded(384)]
    assert told[2][0] == 384 + 2 * 32
    assert told[3][0] == 384 + 5 * 32


def test_one_loud_window_is_not_speech():
    assert run([0.0, 0.99, 0.0, 0.99, 0.0]) == []


def test_a_short_dip_does_not_end_speech():
    assert len(run([0.9] * 5 + [0.0] * 4 + [0.9] * 5 + [0.0] * 4)) == 1


def test_between_the_thresholds_nothing_changes():
    assert run([0.25] * 20) == []
    assert len(run([0.9] * 2 + [0.25] * 100)) == 1


def test_steady_noise_is_not_speech_whatever_the_detector_says():
    quiet_then_hum = [-60.0] * 100 + [-35.0] * 300
    told = run([0.01] * 100 + [0.6] * 300, LOUDNESS, quiet_then_hum)
    assert [type(event) for _, event in told] == [SpeechStarted, SpeechEnded]  # once: at first it might be a voice
    assert told[-1][0] < (100 + LOUDNESS.background_windows + 10) * WINDOW_MS


def test_a_voice_over_noise_is_heard():
    levels = [-38.0] * 100 + [-23.0] * 10 + [-38.0] * 20
    told = run([0.0] * 100 + [0.8] * 10 + [0.4] * 20, LOUDNESS, levels)
    assert [event for _, event in told] == [SpeechStarted(100 * 32), SpeechEnded(110 * 32)]


def test_a_caller_who_speaks_at_once_is_heard():
    assert run([0.9] * 3, LOUDNESS, [-25.0] * 3) == [(64, SpeechStarted(0))]


def test_windows_nobody_looked_at_only_take_time():
    told = run([0.9, None, 0.9, None, None, 0.0, None, 0.0, 0.0, 0.0, None, 0.0])
    assert told == [(3 * 32, SpeechStarted(0)), (12 * 32, SpeechEnded(3 * 32))]


def test_a_detector_that_sticks_is_let_go_until_it_dips():
    windows = 60_000 // 32
    told = run([0.9] * (3 * windows) + [0.0] + [0.9] * 3)
    assert told == [
        (64, SpeechStarted(0)),
        (60_000, SpeechEnded(60_000)),
        ((3 * windows + 3) * 32, SpeechStarted((3 * windows + 1) * 32)),
    ]


def test_a_dip_of_one_window_is_enough_to_show_that_it_does_not_stick():
    assert len(run(([0.9] * 1000 + [0.0]) * 10)) == 1


def test_voiced_time_counts_voiced_windows_and_outlives_the_end():
    gate = SpeechGate(POLICY)
    for probability in [0.9] * 4 + [0.0] * 2 + [0.9] * 3 + [0.0] * 5:
        gate.feed(probability)
    assert not gate.speaking
    assert gate.voiced_ms == 7 * 32
    assert gate.last_voiced_ms == 9 * 32


probabilities = st.lists(
    st.none() | st.sampled_from([0.0, 0.19, 0.2, 0.25, 0.3, 0.9, 1.0, math.nan]) | st.floats(0, 1), max_size=300
)


@given(probabilities, st.integers(1, 4), st.integers(1, 6), st.integers(64, 2000))
def test_starts_and_ends_alternate_and_make_sense(windows, start_windows, end_windows, stuck_ms):
    policy = replace(POLICY, start_windows=start_windows, end_windows=end_windows, stuck_ms=stuck_ms)
    gate = SpeechGate(policy)
    last = 0
    started = None
    for window in windows:
        event = gate.feed(window)
        assert gate.last_voiced_ms <= gate.now_ms
        match event:
            case SpeechStarted(at_ms):
                assert started is None
                assert gate.speaking
                assert last <= at_ms <= gate.now_ms - start_windows * WINDOW_MS
                started = last = at_ms
            case SpeechEnded(at_ms):
                assert started is not None
                assert not gate.speaking
                assert started < at_ms <= gate.now_ms
                assert 0 < gate.voiced_ms <= at_ms - started
                assert (
                    at_ms - started <= max(stuck_ms, start_windows * WINDOW_MS) + WINDOW_MS
                    or gate.voiced_ms < at_ms - started
                )
                last, started = at_ms, None
    assert gate.now_ms == len(windows) * WINDOW_MS


@given(probabilities)
def test_same_input_same_events(windows):
    assert run(windows) == run(windows)


@given(st.lists(st.floats(-90, 0), min_size=1, max_size=60), st.integers(1, 12))
def test_the_background_is_the_quietest_of_the_last_windows(levels, windows):
    """Told by what is just loud enough over it, after every window."""
    policy = SpeechPolicy(start_windows=1, background_windows=windows, faintest_db=-80.0, start_above_db=6.0)
    for count in range(1, len(levels) + 1):
        gate = SpeechGate(policy)
        for level in levels[:count]:
            gate.feed(0.0, level)
        known = [-80.0, *levels[:count]][-windows:]  # the line is taken for silent before the first
        background = max(min(known), -80.0)
        event = gate.feed(1.0, background + 6.001)
        assert isinstance(event, SpeechStarted)
        gate = SpeechGate(policy)
        for level in levels[:count]:
            gate.feed(0.0, level)
        assert gate.feed(1.0, background + 5.999) is None
