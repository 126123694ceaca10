"""Hebrew number words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.tts.numerals import LARGEST, Gender, before_noun, cardinal, digits, ordinal

M, F = Gender.MASCULINE, Gender.FEMININE


@pytest.mark.parametrize(
    ("number", "feminine", "masculine"),
    [
        (0, "אפס", "אפס"),
        (1, "אחת", "אחד"),
        (2, "שתיים", "שניים"),
        (10, "עשר", "עשרה"),
        (12, "שתים עשרה", "שנים עשר"),
        (20, "עשרים", "עשרים"),
        (21, "עשרים ואחת", "עשרים ואחד"),
        (100, "מאה", "מאה"),
        (105, "מאה וחמש", "מאה וחמישה"),
        (112, "מאה ושתים עשרה", "מאה ושנים עשר"),
        (125, "מאה עשרים וחמש", "מאה עשרים וחמישה"),
        (1250, "אלף מאתיים וחמישים", "אלף מאתיים וחמישים"),
        (2026, "אלפיים עשרים ושש", "אלפיים עשרים ושישה"),
        (3000, "שלושת אלפים", "שלושת אלפים"),
        (10_000, "עשרת אלפים", "עשרת אלפים"),
        (11_500, "אחד עשר אלף חמש מאות", "אחד עשר אלף חמש מאות"),
        (1_000_000, "מיליון", "מיליון"),
        (2_500_000, "שני מיליון חמש מאות אלף", "שני מיליון חמש מאות אלף"),
        (3_000_000_001, "שלושה מיליארד ואחת", "שלושה מיליארד ואחד"),
    ],
)
def test_cardinals(number, feminine, masculine):
    assert cardinal(number) == feminine
    assert cardinal(number, M) == masculine


def test_counting_a_noun():
    assert (before_noun(2, M), before_noun(2, F)) == ("שני", "שתי")
    assert before_noun(3, M, definite=True) == "שלושת"
    assert before_noun(3, F, definite=True) == "שלוש"
    assert ordinal(2, F) == "שנייה"
    assert ordinal(11, M) is None
    assert digits("0-4 2") == "אפס ארבע שתיים"


@given(st.integers(0, LARGEST), st.integers(0, LARGEST), st.sampled_from(Gender))
def test_different_numbers_sound_different(one, other, gender):
    assert (cardinal(one, gender) == cardinal(other, gender)) is (one == other)
    assert cardinal(one, gender).replace(" ", "").isalpha()
