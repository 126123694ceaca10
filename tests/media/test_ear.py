"""The ear without the network: windows, time, and who hears what."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked import audio
from moked.media.ear import Ear
from moked.media.speech import WINDOW_SAMPLES, SpeechEnded, SpeechPaused, SpeechPolicy, SpeechStarted
from moked.media.vad import CONTEXT, ROW, levels_db

POLICY = SpeechPolicy(start=0.5, end=0.3, start_windows=2, end_windows=3)


class Slot:
    """A detector that takes loud windows for speech; `late` results are held back until `answer`."""

    def __init__(self, late=False):
        self.windows = []
        self.closed = False
        self.late = late
        self._unanswered = []

    def open(self, on_result):
        self.on_result = on_result
        return self

    def submit(self, row):
        assert len(row) == ROW
        before = self.windows[-1][-CONTEXT:] if self.windows else audio.silence(4)
        assert row[:CONTEXT] == before
        self.windows.append(row[CONTEXT:])
        level = float(levels_db(audio.to_float(row[CONTEXT:]).reshape(1, -1))[0])
        self._unanswered.append((0.9 if level > -40 else 0.01, level))
        if not self.late:
            self.answer()

    def answer(self):
        for probability, level in self._unanswered:
            self.on_result(probability, level)
        self._unanswered = []

    def close(self):
        self.closed = True


LOUD = audio.from_float(np.tile(np.float32([0.3, -0.3]), 4000))
SOUND = audio.silence(1000) + LOUD[: 512 * 8] + audio.silence(1000)


@given(st.lists(st.integers(0, 700), min_size=1, max_size=60))
def test_any_cut_of_the_audio_gives_the_same_windows_and_events(cuts):
    whole, pieces = Slot(), Slot()
    events, same = [], []
    first = Ear(whole.open, events.append, POLICY)
    first.feed(SOUND)
    second = Ear(pieces.open, same.append, POLICY)
    place = 0
    for cut in cuts:
        second.feed(SOUND[place : place + cut])
        place = min(place + cut, len(SOUND))
        assert second.received_ms == place // 8
    second.feed(SOUND[place:])
    assert same == events
    assert whole.windows == pieces.windows


def test_events_are_in_call_audio_time():
    events = []
    ear = Ear(Slot().open, events.append, POLICY)
    ear.feed(SOUND)
    assert events == [
        SpeechStarted(992),
        SpeechPaused(1536),
        SpeechEnded(1536),
    ]
    assert ear.received_ms == 2512
    assert ear.judged_ms == 2496
    assert ear.last_voiced_ms == 1536
    assert ear.voiced_ms == 544
    assert not ear.speaking


def test_late_results_are_judged_with_their_own_loudness():
    slot = Slot(late=True)
    events = []
    ear = Ear(slot.open, events.append, POLICY)
    for start in range(0, len(SOUND), 160):
        ear.feed(SOUND[start : start + 160])
        if start % 1600 == 0:
            slot.answer()
    slot.answer()
    assert events == [SpeechStarted(992), SpeechPaused(1536), SpeechEnded(1536)]


def test_dropped_windows_take_time():
    slot = Slot(late=True)
    ear = Ear(slot.open, lambda _: None, POLICY)
    ear.feed(SOUND[: 5 * WINDOW_SAMPLES])
    for result in (None, None, 0.1, None, 0.1):
        slot.on_result(result, -90.0)
    assert ear.judged_ms == 5 * 32


def test_closing_closes_the_slot():
    slot = Slot()
    Ear(slot.open, lambda _: None).close()
    assert slot.closed


@pytest.mark.parametrize(("amplitude", "level"), [(1.0, 0.0), (0.1, -20.0), (0.0, -90.0)])
def test_levels_are_db_below_full_scale(amplitude, level):
    windows = np.full((3, 256), amplitude, dtype=np.float32)
    assert levels_db(windows) == pytest.approx([level] * 3, abs=0.01)
