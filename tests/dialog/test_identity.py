"""Identity numbers and plates: spoken in any grouping, checked, and corrected in part."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from moked.dialog.corrections import patched, placed
from moked.dialog.identity import ID, check_digit, is_valid, meant, near
from moked.dialog.plate import PLATE, written
from moked.dialog.spoken_digits import DigitsHeard, Kind, amend, hear, join, readback, taken
from moked.dialog.spoken_phone import spell
from moked.tts.numerals import cardinal

GOOD = "034567810"[:8] + check_digit("03456781")
ids = st.text("0123456789", min_size=8, max_size=8).map(lambda text: text + check_digit(text)).filter(is_valid)
plates = st.text("0123456789", min_size=7, max_size=8).filter(lambda text: text.strip("0") != "")


def grouped(digits: str, cuts: list[int]) -> list[str]:
    edges = sorted({0, len(digits), *(cut % len(digits) for cut in cuts)})
    return [digits[a:b] for a, b in pairwise(edges)]


def as_said(group: str, whole: bool) -> str:
    """A group as a number ("ארבעים וחמש") where it can be one, else digit by digit."""
    if whole and not group.startswith("0") and len(group) <= 3:
        return cardinal(int(group))
    return spell(group)


@pytest.mark.parametrize(
    ("digits", "valid"),
    [
        ("000000018", True),
        ("123456782", True),
        ("123456789", False),
        ("000000000", False),
        ("12345678", False),
        ("", False),
    ],
)
def test_the_check_digit(digits: str, valid: bool) -> None:
    assert is_valid(digits) is valid


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים", "123456782"),
        ("מספר תעודת הזהות שלי הוא 123456782", "123456782"),
        ("123-456-782", "123456782"),
        ("שתים עשרה, שלושים וארבע, חמישים ושש, שבעים ושמונה, שתיים", "123456782"),
        ("מאה עשרים ושלוש, ארבע מאות חמישים ושש, שבע מאות שמונים ושתיים", "123456782"),
        ("עשרים שלוש ארבעים חמש שישים שבע שמונים שתיים", "023456782" if is_valid("023456782") else ""),
        ("אחת שתיים שלוש ארבע חמש שש שבע תשע, סליחה, שמונה שתיים", "123456782"),
        ("שתי אפסים אפס אפס אפס אפס אפס אחת שמונה", "000000018"),
        ("אחת שתיים שלוש ארבה חמיש שש שבע שמונה שתיים", "123456782"),  # misspelled
        ("תז אחת שתיים שלוש 456 שבע שמונה שתיים", "123456782"),
    ],
)
def test_spoken_identity_numbers(said: str, value: str) -> None:
    assert hear(ID, said).value == value


def test_eight_digits_get_the_zero_they_lost() -> None:
    assert is_valid("012345674")
    assert hear(ID, "אחת שתיים שלוש ארבע חמש שש שבע ארבע").value == "012345674"


@given(ids, st.lists(st.integers(0, 8), max_size=5), st.booleans())
def test_an_identity_number_is_heard_in_any_grouping(digits: str, cuts: list[int], whole: bool) -> None:
    said = ", ".join(as_said(group, whole) for group in grouped(digits, cuts))
    assert hear(ID, said).value == digits


@given(ids, st.integers(0, 8), st.integers(1, 9))
def test_one_wrong_digit_is_noticed_and_the_right_number_is_near(digits: str, at: int, by: int) -> None:
    wrong = digits[:at] + str((int(digits[at]) + by) % 10) + digits[at + 1 :]
    assert not is_valid(wrong)
    assert taken(ID, wrong) == DigitsHeard(wrong, "", 1.0, wrong=True)
    assert digits in near(wrong)
    assert all(is_valid(candidate) for candidate in near(wrong))


@given(ids, st.integers(0, 7))
def test_a_swap_of_neighbours_is_noticed_but_for_nought_and_nine(digits: str, at: int) -> None:
    pair = digits[at : at + 2]
    assume(pair[0] != pair[1])
    swapped = digits[:at] + pair[::-1] + digits[at + 2 :]
    assert is_valid(swapped) is (set(pair) == {"0", "9"})


def test_the_likeliest_mishearing_comes_first() -> None:
    assert "123456782" in near("123456482")[:3]  # seven heard as four


def test_two_wrong_hearings_have_one_number_in_common() -> None:
    assert meant("123456482", "123450782") == "123456782"
    assert meant("123456482", "123456482") == ""  # many are near it


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("שתים עשרה, שלוש מאות ארבעים וחמש, שישים ושבע", "12-345-67"),
        ("12-345-67", "12-345-67"),
        ("המספר של הרכב 123-45-678", "123-45-678"),
        ("אחת שתיים שלוש ארבע חמש שש שבע שמונה", "123-45-678"),
        ("מאה עשרים ושלוש, ארבעים וחמש, שש מאות שבעים ושמונה", "123-45-678"),
        ("לוחית רישוי שבע שבע כפול שמונה תשע תשע תשע", "77-889-99"),
        ("שמונים ושתיים, תשע מאות, אפס שלוש", "82-900-03"),
    ],
)
def test_spoken_plates(said: str, value: str) -> None:
    assert written(hear(PLATE, said).value) == value


@given(plates, st.lists(st.integers(0, 7), max_size=5), st.booleans())
def test_a_plate_is_heard_in_any_grouping(digits: str, cuts: list[int], whole: bool) -> None:
    said = ", ".join(as_said(group, whole) for group in grouped(digits, cuts))
    assert hear(PLATE, said).value == digits


@given(plates | ids, st.booleans())
def test_a_readback_says_every_digit(digits: str, slow: bool) -> None:
    kind = ID if len(digits) == 9 else PLATE
    said = readback(kind, digits, slow=slow)
    assert hear(kind, said).digits == digits
    assert said.count(",") == (len(digits) - 1 if slow else len(kind.groups(digits)) - 1)


@pytest.mark.parametrize("kind", [ID, PLATE])
def test_not_asked_only_what_speaks_of_it(kind: Kind) -> None:
    assert hear(kind, "אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה", asked=False) == DigitsHeard()
    assert hear(kind, "יש לי נזילה במטבח", asked=False) == DigitsHeard()
    assert hear(kind, "המספר שלי 123456782", asked=False) == DigitsHeard()  # may be any number


def test_not_asked_a_named_number_counts() -> None:
    assert hear(ID, "תעודת הזהות שלי 123456782", asked=False).value == "123456782"
    assert hear(PLATE, "הרכב שלי 12-345-67", asked=False).value == "1234567"


@given(ids, st.integers(1, 8))
def test_a_number_dictated_in_two_turns(digits: str, at: int) -> None:
    first, second = taken(ID, digits[:at]), taken(ID, digits[at:])
    assume(not first.value and not second.value)
    assert join(ID, first, second).value == digits


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("לא, בסוף שבע שמונה", "123456778"),
        ("לא, בהתחלה מאה עשרים וארבע", "124456782"),
        ("לא, ארבע חמש שבע", "123457782"),  # the one group it resembles
        ("לא ארבע חמש שש, ארבע חמש תשע", "123459782"),
        ("תשע שמונה במקום שבע שמונה", "123456982"),
        ("לא, אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים", "123456782"),
    ],
)
def test_a_part_is_corrected(said: str, value: str) -> None:
    assert amend(ID, "123456782", said).digits == value


def test_what_cannot_be_placed_is_not() -> None:
    assert patched("123456782", ("123", "456", "782"), "999", ["תשע", "תשע", "תשע"]) == ""
    assert patched("123456782", ("123", "456", "782"), "", []) == ""
    assert placed(("בסוף", "שבע"))
    assert not placed(("שבע",))


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת 0123456789,.-?*+", max_size=60))
def test_never_fails(text: str) -> None:
    for kind in (ID, PLATE):
        found = hear(kind, text)
        assert 0 <= found.confidence <= 1
        assert not found.value or kind.value(found.value)
        amend(kind, "1234567", text)
