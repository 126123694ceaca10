"""The search for digits and the rules when it is believed, on made-up scores: no model is loaded."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.stt import digit_ear
from moked.stt.digit_ear import CLASSES, OTHER, SILENCE, STATES, DigitEar, Heard, log_softmax, search, told

NET = Path(digit_ear.__file__).with_name("digit_ear.npz")


def scores(path: list[int], seed: int = 0, clear: float = 6.0):
    """Scores of a speaker who goes through these classes, with some doubt in every frame."""
    made = np.random.default_rng(seed).normal(0, 1, (len(path), CLASSES)).astype(np.float32)
    made[np.arange(len(path)), path] += clear
    return log_softmax(made)


def spoken(digit: int, frames: int) -> list[int]:
    return [digit * STATES + at * STATES // frames for at in range(frames)]


pieces = st.lists(st.tuples(st.integers(0, 9), st.integers(10, 30), st.integers(0, 20)), min_size=1, max_size=12)


@given(pieces, st.integers(0, 1000))
def test_every_digit_that_was_said_is_found_in_order_and_in_its_place(said, seed) -> None:
    path, places = [SILENCE] * 5, []
    for digit, frames, pause in said:
        places.append((len(path), len(path) + frames))
        path += spoken(digit, frames) + [SILENCE] * pause
    logs = scores(path, seed)
    heard = search(logs, logs)
    assert [item.digit for item in heard] == [digit for digit, *_ in said]
    for item, (start, end) in zip(heard, places, strict=True):
        assert abs(item.start - start) <= 2
        assert abs(item.end - end) <= 2
        assert 0.5 < item.sure <= 1


def test_the_same_digit_twice_without_a_pause_is_two_digits() -> None:
    logs = scores([SILENCE] * 3 + spoken(0, 15) + spoken(0, 15) + [SILENCE] * 3)
    assert [item.digit for item in search(logs, logs)] == [0, 0]


def test_other_speech_is_no_digit() -> None:
    logs = scores([SILENCE] * 3 + [OTHER] * 30 + [SILENCE] * 6 + spoken(5, 18))
    assert [item.digit for item in search(logs, logs)] == [None, 5]
    quiet = scores([SILENCE] * 20)
    assert search(quiet, quiet) == []


def number(digits: str, *, sure: float = 0.9, start: int = 0) -> list[Heard]:
    return [Heard(int(digit), start + 25 * n, start + 25 * n + 20, sure) for n, digit in enumerate(digits)]


def never() -> str:
    raise AssertionError("the decoder was asked for nothing")


def test_a_dictated_number_needs_no_decoder() -> None:
    assert told(number("0502345678"), never, asked=True) == ("0502345678", pytest.approx(0.9, abs=0.01))
    assert told(number("0502345678"), never, asked=False) is not None
    apart = number("050") + number("234", start=110)
    assert told(apart, never, asked=True) == ("050 234", pytest.approx(0.9, abs=0.01))


def test_one_digit_is_believed_where_a_number_was_asked_for_and_only_when_clear() -> None:
    assert told(number("7"), lambda: "שווה", asked=True) is not None
    assert told(number("4"), lambda: "אה...", asked=True) is None  # the decoder knows a hesitation when it hears one
    assert told(number("7"), never, asked=False) is None
    assert told(number("7", sure=0.3), never, asked=True) is None
    assert told(number("0502345678", sure=0.2), never, asked=True) is None
    assert told([], never, asked=True) is None


def test_what_is_said_beside_a_number_is_kept() -> None:
    before = [Heard(None, 0, 20), *number("0502345678", start=30)]
    assert told(before, lambda: "לא, אפס חמש הפס", asked=True)[0] == "לא 0502345678"
    assert told(before, lambda: "המספר שלי הוא אפס", asked=True)[0] == "המספר שלי הוא 0502345678"
    assert told(before, lambda: "איזה יופי אפס", asked=True)[0] == "0502345678"
    after = [*number("678"), Heard(None, 90, 120)]
    assert told(after, lambda: "שש שבע שמונה בסוף", asked=True)[0] == "678 בסוף"


def test_a_number_with_anything_else_in_it_is_left_to_the_decoder() -> None:
    corrected = [*number("0504"), Heard(None, 110, 140), *number("2345678", start=150)]
    assert told(corrected, never, asked=True) is None  # "לא, סליחה": too many digits for a number
    twenty = [*number("0502"), Heard(None, 110, 145), *number("345678", start=145)]
    assert told(twenty, never, asked=True) is None  # "עשרים ושלוש": the word goes on into the digit
    breath = [*number("050"), Heard(None, 76, 80), *number("2345678", start=85)]
    assert told(breath, lambda: "", asked=True)[0] == "050 2345678"
    teen = [*number("0503"), Heard(None, 95, 115)]
    assert told(teen, never, asked=True) is None  # "שלוש עשרה" is not three
    assert told([Heard(None, 0, 40), *number("78", start=50)], never, asked=True) is None  # "בסוף שבע שמונה"


def test_what_sounds_like_a_digit_in_other_words_is_no_digit() -> None:
    whole = number("0502345678", start=60)
    doubtful = [Heard(5, 0, 15, 0.3), Heard(None, 15, 50), *whole]
    assert told(doubtful, lambda: "המספר הוא", asked=True)[0] == "המספר הוא 0502345678"
    group = [Heard(5, 0, 15, 0.3), Heard(None, 15, 50), *number("678", start=60)]
    assert told(group, lambda: "המספר", asked=True)[0] == "המספר 678"
    amid = [Heard(None, 0, 20), Heard(4, 20, 32, 0.7), Heard(None, 32, 50), *whole]
    assert told(amid, lambda: "לא המספר", asked=True)[0] == "לא המספר 0502345678"
    amid_group = [*amid[:3], *number("678", start=60)]
    assert told(amid_group, lambda: "לא המספר", asked=True)[0] == "לא המספר 678"
    clear = [Heard(3, 0, 20, 0.9), Heard(None, 24, 50), *whole]  # a new beginning: the whole number counts alone
    assert told(clear, lambda: "", asked=True)[0] == "0502345678"
    rest = [*number("05"), Heard(None, 60, 80), *number("2345678", start=90)]
    assert told(rest, never, asked=True) is None  # not whole alone: what came before may belong to it


def test_a_hesitation_in_a_whole_number_does_not_cost_it() -> None:
    hesitant = [*number("050"), Heard(None, 90, 110), *number("2345678", start=120)]
    assert told(hesitant, lambda: "", asked=True)[0] == "050 2345678"
    landline = [*number("03"), Heard(None, 60, 80), *number("6234567", start=90)]
    assert told(landline, lambda: "", asked=True)[0] == "03 6234567"
    doubled = [*number("050"), Heard(None, 90, 110), *number("234568", start=120)]
    assert told(doubled, never, asked=True) is None  # a digit is missing: "כפול" may have been said


stretches = st.lists(st.tuples(st.none() | st.integers(0, 9), st.integers(5, 40), st.integers(0, 40), st.floats(0, 1)))


@given(stretches, st.text(alphabet="אבגדהוזחטילמנסעפצקרשת ,.", max_size=30), st.booleans())
def test_nothing_is_told_that_was_not_heard(said, free, asked) -> None:
    heard, place = [], 0
    for digit, frames, pause, sure in said:
        heard.append(Heard(digit, place, place + frames, sure))
        place += frames + pause
    found = told(heard, lambda: free, asked=asked)
    if found is not None:
        text, sure = found
        digits = "".join(letter for letter in text if letter.isdecimal())
        assert "".join(str(item.digit) for item in heard if item.digit is not None).endswith(digits) or any(
            item.digit is None for item in heard
        )
        left = iter(item.digit for item in heard if item.digit is not None)
        assert all(int(digit) in left for digit in digits), "in this order, and nothing else"
        assert 0 < sure <= 1.001


def test_the_net_knows_its_encoder() -> None:
    with np.load(NET) as stored:
        net = dict(stored)
    ear = DigitEar(net)
    probe = net["probe"].astype(np.float32)
    assert net["w2"].shape[1] == CLASSES
    assert ear.fits(probe)
    assert ear.fits(probe + np.random.default_rng(0).normal(0, 0.01, probe.shape).astype(np.float32))
    assert not ear.fits(np.random.default_rng(0).normal(0, 1, probe.shape).astype(np.float32))
    assert not ear.fits(np.ones(384, np.float32)), "another size of model"
    assert ear.hear(np.zeros((0, len(probe)), np.float32)) == []
