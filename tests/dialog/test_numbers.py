"""Spoken quantities: as people say them, as recognisers write them, and what holds for every number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog.numbers import number, numbers, say
from moked.tts.numerals import Gender, cardinal


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("שלוש", 3),
        ("שלושה", 3),
        ("בערך שלושים", 30),
        ("אחת עשרה", 11),
        ("שנים עשר", 12),
        ("שתים-עשרה", 12),
        ("שלושעשרה", 13),  # one word
        ("עשרים ושלוש", 23),
        ("עשרים שלוש", 23),  # the ו was not heard
        ("מאה", 100),
        ("מאה עשרים ואחת", 121),
        ("מאה 20", 120),
        ("מאתיים חמישים", 250),
        ("שלוש מאות וחמש", 305),
        ("אלף מאתיים וחמישים", 1250),
        ("אלפיים עשרים ושש", 2026),
        ("אלף תשע מאות תשעים ותשע", 1999),
        ("שלושת אלפים וארבע מאות", 3400),
        ("עשרת אלפים", 10_000),
        ("חמישה עשר אלף", 15_000),
        ("מאה אלף", 100_000),
        ("שלוש מאות חמישים אלף", 350_000),
        ("מיליון מאתיים אלף", 1_200_000),
        ("2 מיליון", 2_000_000),
        ("3 אלף וחמש מאות", 3500),
        ("3 אלף חמש מאות", 3500),
        ("1,250", 1250),
        ("12.5", 12.5),
        ("שלוש וחצי", 3.5),
        ("חצי", 0.5),
        ("שתיים ורבע", 2.25),
        ("מיליון וחצי", 1_500_000),
        ("אלף וחצי", 1500),
        ("אפס נקודה חמש", 0.5),
        ("שלוש נקודה אחת ארבע", 3.14),
        ("ארבה", 4),  # misspelled, by its sound
        ("תישע", 9),
        ("חמיש", 5),
        ("שלוש, לא, ארבע", 4),
        ("שלוש, סליחה, חמש", 5),
    ],
)
def test_values(said: str, value: float) -> None:
    found = number(said)
    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    ("said", "value", "unit", "spoken", "written"),
    [
        ("מאתיים חמישים שקל", 250, "שקל", "מאתיים וחמישים שקל", "250 שקל"),
        ("שלושה חדרים", 3, "חדרים", "שלושה חדרים", "3 חדרים"),
        ("שלושה חדרים וחצי", 3.5, "חדרים", "שלושה וחצי חדרים", "3.5 חדרים"),
        ("שלושה וחצי חדרים", 3.5, "חדרים", "שלושה וחצי חדרים", "3.5 חדרים"),
        ("שתי דלתות", 2, "דלתות", "שתי דלתות", "2 דלתות"),
        ("שני מזגנים", 2, "מזגנים", "שני מזגנים", "2 מזגנים"),
        ("יש לנו חמישה ילדים", 5, "ילדים", "חמישה ילדים", "5 ילדים"),
        ("שעה וחצי", 1.5, "שעה", "שעה וחצי", "1.5 שעה"),
        ("80 מטר", 80, "מטר", "שמונים מטר", "80 מטר"),
    ],
)
def test_counted_things(said: str, value: float, unit: str, spoken: str, written: str) -> None:
    found = number(said)
    assert found is not None
    assert (found.value, found.unit, found.spoken, found.written) == (value, unit, spoken, written)


@pytest.mark.parametrize("said", ["", "לא יודע", "הרבה", "בשבוע הבא", "יש לי נזילה", "שלוש או ארבע", "אפס חמש"])
def test_no_single_quantity(said: str) -> None:
    assert number(said) is None


def test_several_numbers_in_one_sentence() -> None:
    found = numbers("צריך שלוש דלתות ושני חלונות, בערך 4,000 שקל")
    assert [(item.value, item.unit) for item in found] == [(3, "דלתות"), (2, "חלונות"), (4000, "שקל")]


@given(st.integers(0, 999_999), st.sampled_from(Gender))
def test_every_number_is_understood_as_it_is_said(value: int, gender: Gender) -> None:
    found = number(cardinal(value, gender))
    assert found is not None
    assert found.value == value


@given(st.integers(0, 9_999), st.sampled_from([0, 0.5, 0.25, 0.75]))
def test_what_is_read_back_means_the_same(whole: int, part: float) -> None:
    found = number(say(whole + part))
    assert found is not None
    assert found.value == whole + part


@given(st.integers(0, 10**9))
def test_digits_are_understood_with_and_without_separators(value: int) -> None:
    for written in (str(value), f"{value:,}"):
        found = number(written)
        assert found is not None
        assert found.value == value


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת 0123456789,.-/:?", max_size=60))
def test_never_fails(text: str) -> None:
    for found in numbers(text, asked=True):
        assert found.start < found.end
        assert found.value >= 0
        assert found.spoken
        assert found.written
