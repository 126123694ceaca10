"""A text has times of words only where the very words were heard, in this order."""

from hypothesis import given
from hypothesis import strategies as st

from moked.stt import Word
from moked.stt.word_times import WordTimes


def heard(*words, at=0):
    return tuple(Word(word, at + 100 * place, at + 100 * place + 80) for place, word in enumerate(words))


def test_a_turn_over_two_finals_has_the_times_of_its_words():
    times = WordTimes()
    times.heard(heard("הכרטיס", "שלי"))
    times.heard(heard("4580", "1234.", at=1000))
    assert times.of("שלי, 4580 1234") == ((100, 180), (1000, 1080), (1100, 1180))


def test_a_guess_that_differs_and_words_without_times_have_none():
    times = WordTimes()
    times.heard(heard("הכרטיס"))
    times.heard(())
    times.heard(heard("שלי", at=500))
    assert times.of("הכרטיס שלי") == ()
    assert times.of("הכרטיס שלכם") == ()
    assert times.of("") == ()
    assert times.of("שלי") == ((500, 580),)


def test_what_was_said_twice_has_the_times_of_the_last():
    times = WordTimes()
    times.heard(heard("כן"))
    times.heard(heard("כן", at=9000))
    assert times.of("כן") == ((9000, 9080),)


@given(st.lists(st.sampled_from("אבגד"), min_size=1, max_size=300))
def test_the_last_words_always_have_theirs(words):
    times = WordTimes()
    times.heard(heard(*words))
    size = min(len(words), 7)
    assert times.of(" ".join(words[-size:])) == tuple(
        (100 * place, 100 * place + 80) for place in range(len(words) - size, len(words))
    )
