"""Utterances are cut where the VAD says, never overlap, and nothing marked is lost."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.audio import from_float, silence
from moked.stt.cuts import Cut, Cutter


def voice(ms: int, level: float = 0.1) -> bytes:
    return from_float(np.random.default_rng(ms).normal(0, level, ms * 8).astype(np.float32))


def drain(cutter: Cutter) -> list[Cut]:
    cuts = []
    while (cut := cutter.next_cut()) is not None:
        cuts.append(cut)
    return cuts


def places(cutter: Cutter) -> list[tuple[int, int]]:
    return [(cut.start_ms, cut.end_ms) for cut in drain(cutter)]


def test_a_cut_has_a_lead_in_and_a_tail() -> None:
    cutter = Cutter(10_000)
    cutter.feed(silence(1000) + voice(800) + silence(500))
    cutter.speech_started(11_000)
    assert cutter.next_cut() is None
    cutter.speech_ended(11_800)
    (cut,) = drain(cutter)
    assert (cut.start_ms, cut.end_ms) == (10_700, 12_000)
    assert cut.audio == silence(300) + voice(800) + silence(200)


def test_a_mark_told_late_is_cut_at_once_with_what_there_is() -> None:
    cutter = Cutter(0)
    cutter.speech_started(0)
    cutter.feed(voice(800) + silence(60))
    cutter.speech_ended(800)
    assert places(cutter) == [(0, 860)]


def test_a_mark_told_before_its_audio_waits_for_the_tail() -> None:
    cutter = Cutter(0)
    cutter.speech_started(300)
    cutter.speech_ended(800)
    cutter.feed(silence(300) + voice(500) + silence(100))
    assert cutter.next_cut() is None
    cutter.feed(silence(100))
    assert places(cutter) == [(0, 1000)]


def test_neighbours_do_not_overlap() -> None:
    cutter = Cutter(0)
    cutter.feed(voice(3000))
    cutter.speech_started(0)
    cutter.speech_ended(1000)
    first = drain(cutter)
    cutter.told()
    cutter.speech_started(1100)
    cutter.speech_ended(2000)
    assert [(cut.start_ms, cut.end_ms) for cut in first + drain(cutter)] == [(0, 1200), (1200, 2200)]


def test_a_breath_does_not_divide_a_sentence_until_its_words_are_told() -> None:
    for told, gap, expected in ((False, 500, [(0, 2700)]), (True, 500, [(1200, 2700)]), (False, 900, [(1600, 3100)])):
        cutter = Cutter(0)
        cutter.feed(voice(1000) + silence(gap))
        cutter.speech_started(0)
        cutter.speech_ended(1000)
        (first,) = drain(cutter)
        if told:
            cutter.told()
        cutter.feed(voice(1000) + silence(500))
        cutter.speech_started(1000 + gap)
        cutter.speech_ended(2000 + gap)
        assert (cutter.taken_back is first) == (not told and gap < 700)
        assert places(cutter) == expected


def test_a_sentence_that_waits_is_taken_back_without_a_word() -> None:
    cutter = Cutter(0)
    cutter.feed(voice(1000) + silence(300) + voice(1000) + silence(500))
    cutter.speech_started(0)
    cutter.speech_ended(1000)
    cutter.speech_started(1300)
    cutter.speech_ended(2300)
    assert cutter.taken_back is None
    assert places(cutter) == [(0, 2500)]


def test_long_speech_is_cut_at_its_quietest_place() -> None:
    cutter = Cutter(0, max_ms=10_000)
    cutter.speech_started(0)
    cutter.feed(voice(7000) + silence(400) + voice(6000))
    cutter.speech_ended(13_400)
    first, second = drain(cutter)
    assert (first.start_ms, second.end_ms) == (0, 13_400)
    assert 7000 <= first.end_ms <= 7400
    assert second.start_ms == first.end_ms


def test_what_is_open_at_the_end_is_cut() -> None:
    cutter = Cutter(0)
    cutter.speech_started(400)
    cutter.feed(silence(400) + voice(300))
    cutter.finish()
    assert places(cutter) == [(100, 700)]
    assert cutter.finished


def test_a_voice_that_was_never_marked_is_cut_at_the_end() -> None:
    cutter = Cutter(5000)
    cutter.feed(silence(500) + voice(300) + silence(500))
    cutter.finish()
    assert places(cutter) == [(5000, 6300)]


def test_silence_and_what_a_living_vad_did_not_mark_are_nothing() -> None:
    cutter = Cutter(0)
    cutter.feed(silence(3000))
    cutter.finish()
    assert places(cutter) == []
    cutter = Cutter(0)
    cutter.speech_started(0)
    cutter.feed(voice(500))
    cutter.speech_ended(500)
    cutter.feed(silence(500) + voice(500, 0.05))
    cutter.finish()
    assert places(cutter) == [(0, 500)]


def test_a_call_without_a_vad_is_heard_in_pieces() -> None:
    cutter = Cutter(0, max_ms=10_000)
    for _ in range(25):
        cutter.feed(voice(900) + silence(100))
    cutter.finish()
    cuts = drain(cutter)
    assert cuts[0].start_ms == 0
    assert cuts[-1].end_ms == 25_000
    assert all(a.end_ms == b.start_ms for a, b in itertools.pairwise(cuts))


def test_a_silent_hour_takes_no_memory() -> None:
    for marks in (False, True):
        cutter = Cutter(0, max_ms=10_000)
        for second in range(3600):
            cutter.feed(silence(1000))
            if marks and second == 0:
                cutter.speech_started(100)
                cutter.speech_ended(200)
                drain(cutter)
            assert not cutter.full


@settings(deadline=None)
@given(
    spans=st.lists(st.tuples(st.integers(400, 3000), st.integers(20, 4000)), min_size=1, max_size=6),
    late_ms=st.integers(0, 600),
    frame_ms=st.sampled_from([20, 60, 400]),
    told=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_everything_marked_is_in_exactly_one_cut(
    spans: list[tuple[int, int]], late_ms: int, frame_ms: int, told: list[bool]
) -> None:
    """Whatever is told in between, and whatever is taken back because the speech went on."""
    marks, at = [], 0
    for quiet, speech in spans:
        marks += [(at + quiet, True), (at + quiet + speech, False)]
        at += quiet + speech
    total = at + 1000
    audio = bytes(i // 8 % 251 for i in range(total * 8))
    cutter, cuts, pending = Cutter(0, max_ms=2000), [], list(marks)
    for now in range(0, total, frame_ms):
        cutter.feed(audio[now * 8 : (now + frame_ms) * 8])
        while pending and pending[0][0] + late_ms <= now + frame_ms:
            place, begins = pending.pop(0)
            (cutter.speech_started if begins else cutter.speech_ended)(place)
            if cutter.taken_back is not None:
                cuts.remove(cutter.taken_back)
                cutter.taken_back = None
        cuts += drain(cutter)
        if told[len(cuts) % 8]:
            cutter.told()
    for place, begins in pending:
        (cutter.speech_started if begins else cutter.speech_ended)(place)
        if cutter.taken_back is not None:
            cuts.remove(cutter.taken_back)
            cutter.taken_back = None
    cutter.finish()
    cuts += drain(cutter)
    for cut in cuts:
        assert cut.audio == audio[cut.start_ms * 8 : cut.end_ms * 8]
        assert cut.end_ms - cut.start_ms <= 2000 + 200
    assert all(a.end_ms <= b.start_ms for a, b in itertools.pairwise(cuts))
    covered = {ms for cut in cuts for ms in range(cut.start_ms, cut.end_ms)}
    for (begin, _), (end, _) in zip(marks[::2], marks[1::2], strict=True):
        assert covered.issuperset(range(begin, end))
