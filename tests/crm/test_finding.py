"""What a search box asks for, and what an index keeps for it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import finding
from moked.crm.finding import Wanted

HEBREW = st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת", min_size=2, max_size=10)
NIQQUD = st.sampled_from("ְֱֲֳִֵֶַָֹֻּׁׂ")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", Wanted()),
        (" \u200f ", Wanted()),
        ("%", Wanted(("\ufffd",))),
        ("רָותִי לֵוי", Wanted(("רותי", "לוי"))),
        ("גורביץ׳", Wanted(("גורביצ",))),
        ("יעל בן־דוד", Wanted(("יעל", "בנ", "דוד"))),
        ('חב"ד', Wanted(("חבד",))),
        ("050-234", Wanted((), ("050234",))),
        ("+972 50", Wanted((), ("97250",))),
        ("00972-50", Wanted((), ("0097250", "97250"))),
        ("5678", Wanted((), ("5678",))),
        ("120", Wanted(("120",), ("120",))),
        ("3 חדרים", Wanted(("3", "חדרימ"))),
        ("a b c d e f g h", Wanted(("a", "b", "c", "d", "e", "f"))),
    ],
)
def test_words_and_numbers(text, wanted):
    assert finding.read(text) == wanted


@pytest.mark.parametrize(
    ("one", "other"),
    [("מַזְגָן", "מזגן"), ("ג׳ורג׳", "ג'ורג'"), ("שווי", "שוי"), ("Élan", "elan"), ("צה״ל", 'צה"ל'), ("שלוׁם", "שלום")],
)
def test_spellings_of_one_word_are_one(one, other):
    assert finding.normal(one) == finding.normal(other)


@pytest.mark.parametrize("asked", ["מזגן", "המזגן", "והמזגן", "מַזגָן", "מזג", "לַמזגן"])
@pytest.mark.parametrize("said", ["המזגן מטפטף", "מזגנים", "כשהמזגן", "ולמזגן", "אין לי מזגן"])
def test_a_word_is_found_behind_its_prefixes_and_by_its_beginning(asked, said):
    assert any(finding.fits(word, finding.read(asked)) for word in said.split())


def test_who_asks_for_cohen_does_not_mean_they():
    assert not finding.fits("הן", finding.read("כהן"))
    assert finding.fits("לכהן", finding.read("כהן"))


@pytest.mark.parametrize("asked", ["050-234", "0502345678", "0234", "678", "+972 50 234", "972502345678", "0097250"])
def test_any_run_of_digits_finds_the_number(asked):
    kept = finding.kept_numbers(["+972502345678"])
    assert any(one.startswith(number) for one in kept for number in finding.read(asked).numbers)


@given(st.text())
def test_any_text_is_read(text):
    wanted = finding.read(text)
    assert all(word and not word.isspace() for word in wanted.words)
    assert all(number.isdecimal() for number in wanted.numbers)
    assert finding.plain(finding.plain(text)) == finding.plain(text)


@given(st.text(max_size=40))
def test_a_normal_form_is_its_own(text):
    for form in finding.words(text):
        assert finding.normal(form) == form
        assert form.isalnum()


@given(HEBREW, st.lists(NIQQUD, max_size=5), st.sampled_from(["", "ו", "ה", "ב", "שה", "ולכשה", "מה", "וב"]))
def test_niqqud_and_prefixes_hide_no_word(word, marks, prefix):
    dressed = prefix + "".join(letter + mark for letter, mark in zip(word, [*marks, *[""] * 10], strict=False))
    if len(finding.normal(word)) > 1 and finding.normal(prefix + word).endswith(finding.normal(word)):
        assert finding.fits(dressed, finding.read(word))


@given(st.from_regex(r"\+972[2-9][0-9]{7,8}", fullmatch=True), st.data())
def test_a_fragment_of_a_number_is_the_beginning_of_something_kept(number, data):
    digits = number[1:]
    start = data.draw(st.integers(0, len(digits) - 4))
    fragment = digits[start : data.draw(st.integers(start + 4, len(digits)))]
    assert any(one.startswith(fragment) for one in finding.kept_numbers([number]))


@given(st.text(max_size=300), st.text(max_size=20))
def test_a_snippet_is_part_of_the_text(text, asked):
    pieces = finding.snippet(text, finding.read(asked))
    assert "".join(piece.text for piece in pieces).strip("…") in text
    assert any(piece.hit for piece in pieces) or not pieces


def test_a_snippet_marks_the_words():
    text = "שלום, " + "מילה " * 40 + "המזגן בסלון מטפטף " + "עוד " * 60
    pieces = finding.snippet(text, finding.read("מזגן טפטף"))
    assert [piece.text for piece in pieces if piece.hit] == ["המזגן", "מטפטף"]
    assert pieces[0].text == "…"
    assert len("".join(piece.text for piece in pieces)) < 250
