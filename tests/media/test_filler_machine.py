"""Fillers by their times, and machines by their words, pauses and tones."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.media.filler import FillerPolicy, Fillers
from moked.media.machine import Machine, MachineDetector


def said(fillers, waits):
    """What is said in turns that wait so long for their answer."""
    out, now = [], 0
    for wait in waits:
        fillers.waiting(now)
        turn = []
        while fillers.due is not None and fillers.due <= now + wait:
            due = fillers.due
            turn.append((due - now, fillers.take()))
        fillers.over()
        assert fillers.due is None
        out.append(turn)
        now += wait + 1000
    return out


def test_one_after_900_ms_and_one_after_four_seconds():
    assert said(Fillers(("א", "ב"), ("ג",), FillerPolicy()), [800, 1000, 9000]) == [
        [],
        [(900, "א")],
        [(900, "ב"), (4000, "ג")],
    ]


@given(st.lists(st.integers(0, 8000), max_size=20))
def test_never_the_same_twice_in_a_row_and_at_most_two_a_turn(waits):
    turns = said(Fillers(("א", "ב", "ג"), ("ד", "ה"), FillerPolicy()), waits)
    assert all(len(turn) <= 2 for turn in turns)
    sentences = [sentence for turn in turns for _, sentence in turn]
    assert all(one != other for one, other in itertools.pairwise(sentences))


def test_without_sentences_nothing_is_ever_due():
    fillers = Fillers((), (), FillerPolicy())
    fillers.waiting(0)
    assert fillers.due is None
    fillers = Fillers(("א",), ("ב",), None)
    fillers.waiting(0)
    assert fillers.due is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("שלום, הגעתם לתא הקולי של דני", Machine.VOICEMAIL),
        ("אנא השאירו הודעה לאחר הצפצוף", Machine.VOICEMAIL),
        ("המנוי אינו זמין כעת", Machine.VOICEMAIL),
        ("לשירות בעברית הקישו 1", Machine.MENU),
        ("לתמיכה טכנית נא להקיש שתיים", Machine.MENU),
        ("שלום, יש לי נזילה במטבח", None),
        ("הלו, מי זה?", None),
        ("הטלפון עושה צפצוף כל הזמן", None),
        ("אני רוצה שתחזרו אליי אחרי חמש", None),
    ],
)
def test_machines_are_known_by_their_words(text, found):
    detector = MachineDetector()
    assert detector.heard(3000, text) == found
    assert detector.heard(3500, text) is None  # once


def test_people_are_people_later_in_the_call():
    detector = MachineDetector()
    assert detector.heard(30_000, "תשאירו לי הודעה") is None
    detector = MachineDetector()
    detector.answered()
    assert detector.heard(8000, "תשאיר לי הודעה") is None


def test_a_monologue_without_a_pause_is_a_machines():
    detector = MachineDetector()
    detector.speech(1000, begins=True)
    assert detector.tick(12_900) is None
    assert detector.tick(13_000) is Machine.MONOLOGUE
    detector = MachineDetector()
    detector.speech(1000, begins=True)
    detector.speech(6000, begins=False)
    assert detector.tick(20_000) is None


def tone(ms, hz, loud=0.2):
    time = np.arange(ms * 8) / 8000
    samples = (loud * np.sin(2 * np.pi * hz * time)).astype(np.float32)
    return samples[: len(samples) // 256 * 256].reshape(-1, 256)


def noise(ms):
    return np.random.default_rng(1).normal(0, 0.1, (ms // 32, 256)).astype(np.float32)


@pytest.mark.parametrize("hz", [440, 1000, 1400])
def test_a_beep_counts_after_a_machines_words_and_when_it_is_over(hz):
    detector = MachineDetector()
    assert detector.windows([*tone(400, hz), *noise(100)]) is None  # nobody asked for one
    detector.heard(2000, "לאחר הצפצוף")
    assert detector.windows(tone(400, hz)) is None
    assert detector.windows(noise(100)) is Machine.BEEP


@pytest.mark.parametrize("windows", [noise(800), tone(100, 1000), tone(500, 100), tone(500, 1000, loud=0.005)])
def test_other_sounds_are_no_beep(windows):
    detector = MachineDetector()
    detector.heard(2000, "לאחר הצפצוף")
    assert detector.windows([*windows, *noise(100)]) is None
