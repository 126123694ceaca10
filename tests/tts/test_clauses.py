"""Clauses: early, safe, and never a letter lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.tts.clauses import ClauseCutter, CutPolicy, clauses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("כן.", ["כן."]),
        (
            "שלום, הגעתם למספרת דנה, אני העוזר הקולי. במה אפשר לעזור היום?",
            ["שלום, הגעתם למספרת דנה,", " אני העוזר הקולי.", " במה אפשר לעזור היום?"],
        ),
        ("בסדר גמור. נמשיך", ["בסדר גמור.", " נמשיך"]),
        ("יש לנו פגישה מחר - אם זה נוח", ["יש לנו פגישה מחר -", " אם זה נוח"]),
        (
            "אני בודק את היומן של המשרד אבל זה לוקח רגע",
            ["אני בודק את היומן של המשרד", " אבל זה לוקח רגע"],
        ),
        ("יש לנו שתי אפשרויות:\nמחר בבוקר\nמחר בערב", ["יש לנו שתי אפשרויות:", "\nמחר בבוקר", "\nמחר בערב"]),
        ("המחיר הוא 350. מתאים?", ["המחיר הוא 350.", " מתאים?"]),
        ("מה?! באמת", ["מה?!", " באמת"]),
    ],
)
def test_examples(text, expected):
    assert clauses(text) == expected


@pytest.mark.parametrize(
    "whole",
    [
        "1,250",
        "3.5",
        "14:30",
        "03/05/2026",
        "050-234-5678",
        "050, 234, 5678",
        "9 - 17",
        'ד"ר',
        'עו"ד',
        "רח' הרצל",
        "ת.ד. 123",
        "ב. כהן",
        "טל. 050",
        "www.moked.co.il",
        "info@moked.co.il",
        "https://moked.co.il/a,b?c=d",
        'צה"ל',
        "וכו'",
    ],
)
@pytest.mark.parametrize("policy", [CutPolicy(), CutPolicy(1, 1, 400, 1, 400)])
def test_what_belongs_together_is_never_cut(whole, policy):
    text = f"אני רוצה לומר לך את זה: {whole} וגם עוד משהו אחר לגמרי"
    assert sum(whole in clause for clause in clauses(text, policy)) == 1


def test_the_first_clause_comes_as_soon_as_its_comma():
    cutter = ClauseCutter()
    assert cutter.feed("שלום, הגעתם למספרת") == []
    assert cutter.feed(" דנה,") == ["שלום, הגעתם למספרת דנה,"]
    assert cutter.feed(" אני") == []
    assert cutter.flush() == [" אני"]
    assert cutter.flush() == []


def test_long_text_without_punctuation_is_cut_at_a_word():
    text = " ".join(["מילה"] * 100)
    parts = clauses(text)
    assert len(parts) > 2
    assert all(part.strip().split()[-1] == "מילה" for part in parts)
    assert len(parts[0]) < 90
    assert all(len(part) < 250 for part in parts)


def test_later_clauses_are_longer():
    text = "זה המשפט הראשון, " + "ועוד פסוקית קצרה, " * 12
    lengths = [len(part) for part in clauses(text)]
    assert lengths[0] < 20
    assert min(lengths[1:-1]) > 40


PIECES = st.sampled_from([*"אבגדה ,.:;-?!\n'\"", "שלום", " אבל ", "12", "3.5", "14:30", " - ", "ת.ד.", "a.co.il", "  "])
TEXTS = st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=80).map("".join))


@given(TEXTS)
def test_the_clauses_joined_are_the_text(text):
    parts = clauses(text)
    assert "".join(parts) == text
    assert all(parts)


@given(TEXTS, st.randoms(use_true_random=False))
def test_how_the_text_came_makes_no_difference(text, random):
    cutter, parts, at = ClauseCutter(), [], 0
    while at < len(text):
        size = random.randint(1, 12)
        parts += cutter.feed(text[at : at + size])
        at += size
    assert parts + cutter.flush() == clauses(text)


@given(TEXTS)
def test_no_cut_between_two_characters_of_a_word(text):
    at = 0
    for clause in clauses(text)[:-1]:
        at += len(clause)
        assert text[at].isspace() or text[at - 1].isspace() or text[at - 1] == ","
        assert not (text[at - 1].isdigit() and text[at : at + 1].isdigit())
        if text[at - 1] == "," and not text[at].isspace():
            assert "א" <= text[at - 2] <= "ת"
