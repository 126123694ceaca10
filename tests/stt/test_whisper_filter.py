"""What Whisper makes up is dropped, what callers say is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.audio import silence
from moked.stt.whisper_filter import Clip, loud_ms, made_up
from tests.stt.hearing import VOCABULARY

CLEAR = Clip(ms=3000, loud_ms=2000, avg_logprob=-0.3, no_speech=0.05)


@pytest.mark.parametrize(
    "text",
    [
        "שלום, אני רוצה לקבוע תור",
        "תודה רבה",
        "כן",
        "אפס אפס אפס אפס",
        "אפס חמש שתיים שתיים שתיים שתיים שלוש",
        "חמש שש, חמש שש, חמש שש",
        "אני צריך תרגום של תעודת לידה",
        "לא לא לא לא",
        "אפס אפס אפס אפס אפס אפס אפס אפס אפס אפס",
        "תודה רבה לך, להתראות",
        "אני רוצה לבטל את הכתוביות בטלוויזיה",
        "שלום, הגעתי לערוץ עשר?",
        "0000",
        "שששש",
    ],
)
def test_what_callers_say_stays(text):
    assert made_up(text, CLEAR) == ""


@pytest.mark.parametrize(
    ("text", "clip", "reason"),
    [
        (" ... ", CLEAR, "empty"),
        ("שלום", Clip(1000, 20, -0.2, 0.1), "silence"),
        ("אהה", Clip(1000, 300, -1.4, 0.8), "no speech"),
        ("תודה על הצפייה!", CLEAR, "subtitle phrase"),
        ("תודה רבה שצפיתם", CLEAR, "subtitle phrase"),
        ("כתוביות: דני לוי", CLEAR, "subtitle credits"),
        ("תודה רבה", Clip(600, 100, -0.5, 0.3), "polite noise"),
        ("אני רוצה לקבוע תור למחר בבוקר אם אפשר בבקשה", Clip(600, 500, -0.5, 0.1), "too fast to be said"),
        ("אה... אה...", Clip(2500, 2300, -1.4, 0.5), "no speech"),
        ("הכתוביות נוצרו על ידי קהילת Amara.org", CLEAR, "subtitle credits"),
        ("ההההה", CLEAR, "a tone"),
        ("אההההה...", CLEAR, "a tone"),
        ("איזה איזה איזה", Clip(3000, 1700, -0.9, 0.65), "no speech"),
        ("[מוזיקה]", CLEAR, "subtitle phrase"),
        ("♪♪♪", CLEAR, "empty"),
        ("בואו!", Clip(400, 100, -0.6, 0.3), "polite noise"),
        ("אפס " * 40, CLEAR, "too fast to be said"),
        ("אפס " * 40, Clip(9000, 8000, -0.3, 0.1), "repetition"),
        ("שיש, " * 12, CLEAR, "repetition"),
        ("בוא הנה " * 4, CLEAR, "repetition"),
    ],
)
def test_what_whisper_makes_up_goes(text, clip, reason):
    assert made_up(text, clip) == reason


def test_a_long_clear_sentence_may_name_subtitles():
    assert made_up("כתוביות לסרט זה מה שאני מחפש", Clip(6000, 4000, -0.2, 0.01)) == ""


ORDINARY = st.lists(
    st.sampled_from([*VOCABULARY, "רחוב", "הרצל", "בחיפה", "מזגן", "נזילה", "דחוף", "בבקשה", "כן", "לא"]),
    min_size=1,
    max_size=14,
    unique=True,
)
DIGIT = st.sampled_from(["אפס", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע"])


@given(ORDINARY, st.sampled_from(["", ".", "?", "!"]))
def test_ordinary_sentences_pass(words, end):
    text = " ".join(words) + end
    spoken = Clip(ms=400 * len(words), loud_ms=300 * len(words), avg_logprob=-0.5, no_speech=0.1)
    assert made_up(text, spoken) == ""


@given(st.lists(DIGIT, min_size=1, max_size=13), st.sampled_from([" ", ", "]))
def test_numbers_pass_whatever_repeats_in_them(digits, between):
    spoken = Clip(ms=350 * len(digits), loud_ms=250 * len(digits), avg_logprob=-0.9, no_speech=0.2)
    assert made_up(between.join(digits), spoken) == ""


def test_how_much_of_a_clip_is_loud():
    voice = b"\x10\x90" * 800
    assert loud_ms(silence(500)) == 0
    assert loud_ms(silence(500) + voice + silence(500)) == 200
    assert loud_ms(b"") == 0
