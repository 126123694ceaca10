"""Telephone numbers: every way they arrive, and the way back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.phone import groups, masked, national, to_e164


@pytest.mark.parametrize(
    ("written", "e164"),
    [
        ("050-2345678", "+972502345678"),
        ("052-123-4567", "+972521234567"),  # a real range that phonenumbers calls invalid
        ("(054) 234 56 78", "+972542345678"),
        ("\u200f050\u05be2345678", "+972502345678"),  # right-to-left mark and a maqaf
        ("٠٥٠٢٣٤٥٦٧٨", "+972502345678"),
        ("502345678", "+972502345678"),
        ("+972-50-234-5678", "+972502345678"),
        ("+972 (0)50 2345678", "+972502345678"),
        ("972502345678", "+972502345678"),
        ("00972502345678", "+972502345678"),
        ("tel:+972502345678", "+972502345678"),
        ("sip:+972502345678@example.invalid", "+972502345678"),
        ("03-6234567", "+97236234567"),
        ("09 7 65 43 21", "+97297654321"),
        ("077-2345678", "+972772345678"),
        ("1-800-234-567", "+9721800234567"),
        ("1700234567", "+9721700234567"),
        ("+1 415 555 0123", "+14155550123"),
        ("*2700", "*2700"),
        ("* 27 00", "*2700"),
    ],
)
def test_written_numbers(written: str, e164: str) -> None:
    assert to_e164(written) == e164
    assert to_e164(e164) == e164


@pytest.mark.parametrize(
    "text",
    [
        "", "anonymous", "Anonymous", "+266696687", "266696687", "+7378742833", "unknown", "restricted", "private",
        "050", "05023456789", "06-2345678", "2345678", "דני", "050-CALL-NOW", "*", "*27", "*123456", "+972", "+9725023",
        "+", "00", "+99999999999999999999", "-", "100", "client:bob",
    ],
)  # fmt: skip
def test_no_number(text: str) -> None:
    assert to_e164(text) is None


def test_groups_and_masks() -> None:
    assert groups("+972502345678") == ("050", "234", "56", "78")
    assert groups("+97236234567") == ("03", "623", "45", "67")
    assert groups("+9721800234567") == ("1", "800", "234", "567")
    assert groups("*2700") == ("*2700",)
    assert masked("+972502345678") == "050*****78"
    assert masked("*2700") == "*2700"
    assert masked("") == ""


mobiles = st.from_regex(r"05[0-9]{8}", fullmatch=True)
landlines = st.from_regex(r"0[23489][0-9]{7}", fullmatch=True)
voip = st.from_regex(r"07[0-9]{8}", fullmatch=True)
special = st.from_regex(r"1(700|800|599)[0-9]{6}", fullmatch=True)


@given(mobiles | landlines | voip | special, st.sampled_from(["", "-", " ", ".", "\u2013"]), st.data())
def test_round_trip(digits: str, separator: str, data: st.DataObject) -> None:
    cut = data.draw(st.integers(1, len(digits) - 1))
    e164 = to_e164(digits[:cut] + separator + digits[cut:])
    assert e164 is not None
    assert national(e164) == digits
    assert "".join(groups(e164)) == digits
    assert to_e164(e164) == e164
    assert to_e164(e164.removeprefix("+")) == e164
    assert to_e164("00" + e164.removeprefix("+")) == e164
    assert len(masked(e164)) == len(digits)
    assert digits[3:-2] not in masked(e164)


@given(st.text(max_size=40))
def test_any_text_is_survived(text: str) -> None:
    e164 = to_e164(text)
    assert e164 is None or to_e164(e164) == e164
    assert isinstance(masked(text), str)
