"""Stress and spoken shva from the form of a pointed word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.tts.pronounce import SAID, SPOKEN_SHVA, STRESS, mark


def _stressed(word):
    marked = mark(word)
    at = marked.find(STRESS)
    return None if at < 0 else sum("א" <= letter <= "ת" for letter in marked[:at]) - 1


@pytest.mark.parametrize(
    ("word", "letter"),
    [
        ("מֶלֶךְ", 0),
        ("סֵפֶר", 0),
        ("בֹּקֶר", 0),
        ("מְדַבֶּרֶת", 2),
        ("שֶׁבַע", 0),
        ("לִשְׁמוֹעַ", 2),
        ("שְׁתַּיִים", 1),
        ("דִּיבַּרְתִּי", 2),
        ("רָשַׁמְנוּ", 1),
        ("שָׁלוֹם", None),
        ("רוֹצֶה", None),
        ("אֲלֵיכֶם", None),
        ("חָבֵר", None),
        ("פְּרָטִים", None),
        ("אֲנִי", None),
    ],
)
def test_where_the_stress_is(word, letter):
    assert _stressed(word) == letter


@pytest.mark.parametrize(
    ("word", "spoken"),
    [
        ("בְּיוֹם", True),
        ("כְּשֶׁתַּגִּיעַ", True),
        ("לְמִשְׂרַד", True),
        ("שְׁאֵלָה", True),
        ("פְּרָטִים", False),
        ("בְּדִיקָה", False),
        ("כְּבָר", False),
        ("בַּיִת", False),
    ],
)
def test_where_a_shva_is_said(word, spoken):
    assert (SPOKEN_SHVA in mark(word)) is spoken


def test_words_with_their_own_stress_keep_it():
    for word in SAID.values():
        assert mark(word).count(STRESS) <= 1
        assert mark(word).replace(SPOKEN_SHVA, "").replace(STRESS, "") == word.replace(STRESS, "")


@given(st.text(alphabet="אבהוילמנשת\u05b0\u05b4\u05b6\u05b7\u05b9\u05bc ,.a1", max_size=30))
def test_nothing_but_marks_is_added(text):
    marked = mark(text)
    assert marked.replace(STRESS, "").replace(SPOKEN_SHVA, "") == text
