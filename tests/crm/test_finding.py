"""What a search box asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import finding
from moked.crm.finding import Wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Wanted()),
        (" \u200f ", Wanted()),
        ("רָותִי לֵוי", Wanted(("רותי", "לוי"))),
        ("גורביץ׳", Wanted(("גורביץ'",))),
        ("050-234", Wanted((), ("050234", "97250234"))),
        ("+972 50", Wanted((), ("97250",))),
        ("00972-50", Wanted((), ("0097250", "97250"))),
        ("5678", Wanted((), ("5678",))),
        ("120", Wanted(("120",), ("120",))),
        ("0", Wanted(("0",), ("0",))),
        ("3 חדרים", Wanted(("3", "חדרים"))),
        ("a b c d e f g h", Wanted(("a", "b", "c", "d", "e", "f"))),
    ],
)
def test_words_and_numbers(text, wanted):
    assert finding.read(text) == wanted


@given(st.text())
def test_any_text_is_read(text):
    wanted = finding.read(text)
    assert all(word and not word.isspace() for word in wanted.words)
    assert all(number.isdecimal() for number in wanted.numbers)
    assert finding.plain(finding.plain(text)) == finding.plain(text)
