"""Word and character errors: by hand, and against the plainest possible edit distance."""

from functools import lru_cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.stt.wer import Errors, align, character_errors, count, differences, word_errors, words

WORDS = st.lists(st.sampled_from(["שלום", "כן", "לא", "דנה"]), max_size=9)
TEXT = st.text(alphabet=st.sampled_from('אבוישםןתך 0159-.,:/"׳״־\u200fִּ'), max_size=40)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("שָׁלוֹם, עוֹלָם!", "שלום עולם"),
        ("\u200fשלום\u202c עולם\ufeff", "שלום עולם"),
        ('דו"ח', "דו״ח"),
        ("ג'ירפה", "ג׳ירפה"),
        ("תל־אביב", "תל אביב"),
        ("תל-אביב", "תל אביב"),
        ("3 ילדים", "שלושה ילדים"),
        ("ב-14:30", "בשתיים וחצי אחר הצהריים"),
        ("050-2345678", "אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה"),
        ("0 5 0", "אפס חמש אפס"),
        ("1,250", "אלף מאתיים וחמישים"),
        ("OK", "ok"),
        ("שלומ", "שלום"),
    ],
)
def test_two_ways_of_writing_are_no_error(one, other):
    assert words(one) == words(other)
    assert word_errors(one, other).edits == character_errors(one, other).edits == 0


@pytest.mark.parametrize(
    ("full", "short"), [("תוכנית", "תכנית"), ("שתיים", "שתים"), ("אישה", "אשה"), ("עיתון", "עתון")]
)
def test_plene_spelling_is_forgiven_only_where_asked(full, short):
    assert word_errors(full, short) == Errors(1, 0, 0, 1)
    assert word_errors(full, short, fold_plene=True).edits == 0


def test_first_and_last_letters_are_no_vowels():
    assert words("ילד ולא אני לו", fold_plene=True) == ["ילד", "ולא", "אני", "לו"]


def test_each_kind_of_error_is_counted():
    assert word_errors("אני צריכה טכנאי מחר", "אני צריך טכנאי") == Errors(1, 1, 0, 4)
    assert word_errors("טכנאי", "אני רוצה טכנאי") == Errors(0, 0, 2, 1)
    assert word_errors("אני צריכה טכנאי מחר", "אני צריך טכנאי").rate == 0.5
    assert word_errors("", "תודה").rate is None
    assert character_errors("מזגן", "מזגם") == Errors(1, 0, 0, 4)
    assert word_errors("א ב", "א") + word_errors("ג", "ד") == Errors(1, 1, 0, 3)


def test_the_words_that_differ_come_in_order():
    assert differences("קוראים לי דנה לוי שלום", "קוראים דנה לביא שלום כן") == [
        ("לי", None),
        ("לוי", "לביא"),
        (None, "כנ"),
    ]
    assert differences("טוב", "טוב.") == []


def test_of_equally_short_edits_the_one_with_more_equal_words_is_told():
    pairs = align(["קוראים", "לי", "דנה", "לוי"], ["קוראים", "דנה", "לביא", "כן"])
    assert ("דנה", "דנה") in pairs


def plain_distance(one, other):
    @lru_cache(None)
    def of(at, to):
        if not at or not to:
            return at + to
        return min(of(at - 1, to) + 1, of(at, to - 1) + 1, of(at - 1, to - 1) + (one[at - 1] != other[to - 1]))

    return of(len(one), len(other))


@given(WORDS, WORDS)
def test_an_alignment_is_a_shortest_one_and_keeps_both_sides(one, other):
    pairs = align(one, other)
    assert [said for said, _ in pairs if said is not None] == one
    assert [heard for _, heard in pairs if heard is not None] == other
    found = count(pairs)
    assert found.edits == plain_distance(tuple(one), tuple(other))
    assert found.length == len(one)
    assert align(one, one) == [(word, word) for word in one]


@given(TEXT, TEXT)
def test_any_text_can_be_compared(one, other):
    for fold in (False, True):
        assert word_errors(one, one, fold_plene=fold).edits == 0
        assert words(" ".join(words(one, fold_plene=fold)), fold_plene=fold) == words(one, fold_plene=fold)
        there, back = (word_errors(*pair, fold_plene=fold) for pair in ((one, other), (other, one)))
        assert there.edits == back.edits
        assert there.edits <= max(there.length, back.length)
    assert not set("".join(words(one))) & set("0123456789ךםןףץ\"'׳״־")
