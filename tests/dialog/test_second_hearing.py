"""Two readings of the same words: what is compared, and what a caller is asked about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog import Expect, Second
from moked.dialog.second_hearing import (
    Verdict,
    compare,
    difference,
    material,
    same_name,
    wanted,
    with_readings,
)
from moked.dialog.spoken_phone import spell
from moked.records import FieldSource, LeadDraft

DIGITS = st.text("0123456789", min_size=7, max_size=7)


def two(first, second, expect=Expect.OPEN, turn=3):
    return Second(turn, first, "google", second, "whisper", expect)


def verdict(first, second, expect):
    return {one.slot: one.verdict for one in compare(two(first, second, expect))}[expect]


@pytest.mark.parametrize(
    ("text", "expect", "slots"),
    [
        ("דנה", Expect.NAME, (Expect.NAME,)),
        ("אפס חמש", Expect.PHONE, (Expect.PHONE,)),
        ("יש לי נזילה", Expect.OPEN, ()),
        ("כן", Expect.YES_NO, ()),
        ("קוראים לי דנה ויש לי נזילה", Expect.OPEN, (Expect.NAME,)),
        ("הטלפון שלי 0541112233", Expect.OPEN, (Expect.PHONE,)),
        ("אני צריך 3 חדרים", Expect.OPEN, ()),
        ("קוראים לי דנה", Expect.PHONE, (Expect.PHONE, Expect.NAME)),
    ],
)
def test_what_is_heard_again(text, expect, slots):
    assert wanted(text, expect) == slots


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("דנה", "דנה.", Verdict.AGREE),
        ("קוראים לי דני", "דני כהן", Verdict.AGREE),
        ("סיגל", "שיגל", Verdict.AGREE),  # a spelling
        ("דנה", "דינה", Verdict.DIFFER),  # two names, though they fold to one
        ("דנה", "רינה", Verdict.DIFFER),
        ("דנה", "דבנה", Verdict.FIRST),  # nobody is called that: a weak engine's word is no reason to ask
        ("דבנה", "דנה", Verdict.DIFFER),
        ("לא יודע מה", "דנה", Verdict.SECOND),
        ("דנה", "לא יודע מה", Verdict.FIRST),
        ("דנה", "", Verdict.FIRST),
        ("קוראים לי דנה לוי", "קוראים לדינה לביא", Verdict.DIFFER),  # as a weak engine writes it
        ("קוראים לי דנה לוי", "קוראים לדנה לביא", Verdict.FIRST),
        ("קוראים לי דנה לוי", "קוראים ליוסי לביא", Verdict.FIRST),  # sounds like nothing of the first
    ],
)
def test_names(first, second, expected):
    assert verdict(first, second, Expect.NAME) is expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("0541112233", "אפס חמש ארבע אחת אחת אחת שתיים שתיים שלוש שלוש", Verdict.AGREE),
        ("0541112233", "0541112234", Verdict.DIFFER),
        ("054111", "0541112234", Verdict.SECOND),
        ("0541112233", "054111", Verdict.FIRST),
        ("054", "0541", Verdict.FIRST),
    ],
)
def test_numbers(first, second, expected):
    assert verdict(first, second, Expect.PHONE) is expected


def test_the_check_digit_decides_between_two_identity_numbers():
    assert verdict("123456782", "123456783", Expect.ID) is Verdict.FIRST
    assert verdict("123456783", "123456782", Expect.ID) is Verdict.SECOND
    assert verdict("123456782", "000000018", Expect.ID) is Verdict.DIFFER


def test_of_an_address_only_the_house_is_compared():
    assert verdict("הרצל 5 חיפה", "הרצל 9 חיפה", Expect.ADDRESS) is Verdict.DIFFER
    assert verdict("הרצל 5 חיפה", "ערצל 5 כיפה", Expect.ADDRESS) in (Verdict.AGREE, Verdict.FIRST)


@pytest.mark.parametrize(
    ("first", "second", "place", "said"),
    [
        ("+972541112233", "+972541112234", "ends", "שלוש שלוש"),
        ("+972541112233", "+972541115533", "ends", "חמש חמש שלוש שלוש"),
        ("+972541112233", "+972521112233", "begins", "אפס חמש ארבע"),
        ("+972541112233", "+972549912233", "middle", "אחת אחת אחת"),
        ("+972541112233", "+972529992233", None, ""),
    ],
)
def test_the_part_of_a_number_to_ask_about(first, second, place, said):
    apart = difference(Expect.PHONE, first, second)
    assert (apart.place if apart else None) == place
    assert apart is None or said in (apart.first, apart.second)


@given(DIGITS, DIGITS)
def test_asking_about_a_difference_names_two_things_that_differ(one, other):
    """Whatever two engines heard: equal is agreed, and what is asked has two answers that are not the same."""
    first, second = f"054{one}", f"052{other}"
    if first == second:
        return
    (compared,) = compare(two(first, second, Expect.PHONE))
    assert compared.verdict is Verdict.DIFFER
    apart = difference(Expect.PHONE, compared.first, compared.second)
    assert apart is None or (apart.first and apart.first != apart.second)


@given(DIGITS)
def test_the_same_number_in_words_and_in_digits_is_one(rest):
    digits = f"054{rest}"
    assert verdict(digits, spell(digits), Expect.PHONE) is Verdict.AGREE


@given(st.text("אבגדהוזחטיכלמנסעפצקרשת ", max_size=12), st.text("אבגדהוזחטיכלמנסעפצקרשת ", max_size=12))
def test_whatever_is_heard_twice_the_same_is_never_in_doubt(text, other):
    for expect in Expect:
        assert not material(two(text, text, expect))
        compare(two(text, other, expect))  # and nothing makes it fail
    assert same_name(text, text)


def test_both_readings_stand_at_the_source():
    lead = LeadDraft(name="דנה", sources={"name": FieldSource(3, "דנה", 0.9), "need": FieldSource(3, "נזילה", 0.9)})
    told = with_readings(lead, [two("דנה", "רינה", Expect.NAME)])
    assert told.sources["name"].readings == {"google": "דנה", "whisper": "רינה"}
    assert told.sources["need"].readings == {}
    assert with_readings(lead, [two("דנה", "רינה", Expect.NAME, turn=2)]) == lead
