"""A person's voice on its way to the caller: gathered a little, never held for long."""

from hypothesis import given, settings
from hypothesis import strategies as st

from moked.media.person import Person

FRAME = bytes(160)


def test_a_little_is_gathered_before_the_first_sound():
    person = Person("דנה", 0, 1)
    assert [len(person.voice(FRAME, 0)) for _ in range(3)] == [0, 0, 480]
    assert len(person.voice(FRAME, 40)) == 160


def test_a_voice_that_ran_dry_is_gathered_anew():
    person = Person("דנה", 0, 1)
    for _ in range(3):
        person.voice(FRAME, 0)
    assert len(person.voice(FRAME, 0)) == 0


@settings(deadline=None)
@given(st.lists(st.integers(0, 600), max_size=100))
def test_the_caller_never_waits_long(waits):
    person = Person("דנה", 0, 1)
    let_out = 0
    for waiting in waits:
        audio = person.voice(FRAME, waiting)
        assert not audio or waiting + len(audio) // 8 <= 400
        let_out += len(audio) // 8
    assert let_out + person.dropped_ms <= 20 * len(waits)


def test_the_callers_words_are_turns():
    person = Person("דנה", 0, 3, carried="רגע")
    assert person.taken("אני כאן") == "רגע אני כאן"
    assert (person.turn, person.taken("כן")) == (4, "כן")
