"""The tape: every byte at its place, marks where they were known."""

from hypothesis import given
from hypothesis import strategies as st

from moked.stt.tape import Tape


@given(st.lists(st.binary(min_size=1, max_size=3000), max_size=30), st.integers(0, 40_000), st.integers(0, 20_000))
def test_it_reads_what_was_appended_and_silence_for_what_is_forgotten(parts, start, limit):
    tape = Tape(seconds=1)
    for part in parts:
        tape.append(part)
    whole = b"".join(parts)
    assert tape.head == len(whole)
    known = b"\xff" * tape.tail + whole[tape.tail :]
    assert tape.read(start, limit) == known[start : start + limit]


def test_marks_tell_speech_its_amount_and_its_beginning():
    tape = Tape()
    tape.append(bytes(8 * 1000))
    tape.mark(True, 900)
    tape.mark(True, 950)  # says nothing new
    assert tape.speaking
    tape.append(bytes(8 * 1000))
    tape.mark(False, 1800)
    tape.append(bytes(8 * 1000))
    tape.mark(True, 2900)
    assert list(tape.spans()) == [(900, 1800), (2900, 3000)]
    assert tape.voiced(0) == 1000
    assert tape.voiced(1500) == 400
    assert tape.speech_after(0) == 900
    assert tape.speech_after(1000) == 1000
    assert tape.speech_after(1800) == 2900
    assert tape.speech_after(3000) is None
    assert tape.last_speech_end() == 3000


def test_a_stream_that_begins_in_mid_speech_is_told_so():
    tape = Tape()
    for begins, at_ms, known_ms in [(True, 900, 1000), (False, 1800, 2000), (True, 2900, 3000)]:
        tape.append(bytes(known_ms * 8 - tape.head))
        tape.mark(begins, at_ms)
    assert tape.marks_from(0) == (False, 0)
    assert tape.marks_from(900) == (False, 0)
    assert tape.marks_from(1000) == (True, 1)
    assert tape.marks_from(1800) == (False, 2)
    assert tape.marks_from(2950) == (True, 3)
    assert tape.mark_number(2).at_ms == 2900
    assert tape.mark_number(3) is None


def test_old_marks_are_forgotten_and_their_numbers_stay():
    tape = Tape(seconds=2)
    for number in range(100):
        tape.append(bytes(8 * 500))
        tape.mark(number % 2 == 0, tape.head_ms)
    assert tape.first_mark > 80
    assert len(list(tape.spans())) < 10
    assert tape.mark_number(99).at_ms == 50_000
    assert tape.mark_number(0).at_ms >= 40_000
