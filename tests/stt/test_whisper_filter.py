"""What Whisper makes up is dropped, what callers say is not."""

import pytest

from moked.stt.whisper_filter import Clip, made_up

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
        ("שיש, " * 12, CLEAR, "repetition"),
        ("בוא הנה " * 4, CLEAR, "repetition"),
    ],
)
def test_what_whisper_makes_up_goes(text, clip, reason):
    assert made_up(text, clip) == reason


def test_a_long_clear_sentence_may_name_subtitles():
    assert made_up("כתוביות לסרט זה מה שאני מחפש", Clip(6000, 4000, -0.2, 0.01)) == ""
