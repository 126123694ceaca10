"""Written Hebrew as it is spoken: a table of examples, and what holds for any text."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moked.tts.hebrew import DIGIT_WORDS, prepare, spell_digits

SPOKEN = {
    "times": [
        ("14:30", "שתיים וחצי אחר הצהריים"),
        ("ב-14:30", "בשתיים וחצי אחר הצהריים"),
        ("08:05", "שמונה וחמש דקות בבוקר"),
        ("9:15", "תשע ורבע בבוקר"),
        ("9:15 בערב", "תשע ורבע בערב"),
        ("ב-4:30", "בארבע וחצי"),
        ("14:45", "רבע לשלוש אחר הצהריים"),
        ("23:50", "עשרה לשתים עשרה בלילה"),
        ("12:00", "שתים עשרה בצהריים"),
        ("00:00", "חצות"),
        ("10:01", "עשר ודקה בבוקר"),
        ("10:02", "עשר ושתי דקות בבוקר"),
        ("בשעה 17", "בשעה חמש אחר הצהריים"),
        ("בשעה 9 בבוקר", "בשעה תשע בבוקר"),
        ("ב-20.11 בשעה 10:00", "בעשרים בנובמבר בשעה עשר בבוקר"),
    ],
    "hours": [
        ("9-17", "מתשע עד חמש"),
        ("9:00-17:00", "מתשע בבוקר עד חמש אחר הצהריים"),
        ("מ-9:00 עד 17:30", "מתשע בבוקר עד חמש וחצי אחר הצהריים"),
        ("מ-9 עד 17", "מתשע עד חמש"),
        ("בשעות 9 עד 17", "בשעות תשע עד חמש"),
        ("ימים א'-ה' בין 9:00-17:00", "ימים ראשון עד חמישי בין תשע בבוקר לחמש אחר הצהריים"),
        ("א'-ה' 9-17", "ראשון עד חמישי מתשע עד חמש"),
        ("ביום ג' בבוקר", "ביום שלישי בבוקר"),
        ("מ-3 עד 5", "משלוש עד חמש"),
    ],
    "dates": [
        ("3.5", "השלושה במאי"),
        ("ב-3.5", "בשלושה במאי"),
        ("עד 3.5", "עד השלושה במאי"),
        ("03/05/2026", "השלושה במאי אלפיים עשרים ושש"),
        ("3.5.26", "השלושה במאי אלפיים עשרים ושש"),
        ("2026-05-03", "השלושה במאי אלפיים עשרים ושש"),
        ("ה-3 במאי", "השלושה במאי"),
        ("ב-21 ביוני 2026", "בעשרים ואחד ביוני אלפיים עשרים ושש"),
        ("ביום שישי, 1.1", "ביום שישי, האחד בינואר"),
    ],
    "money": [
        ("1,250₪", "אלף מאתיים וחמישים שקלים"),
        ("₪1,250", "אלף מאתיים וחמישים שקלים"),
        ('1250 ש"ח', "אלף מאתיים וחמישים שקלים"),
        ("300 NIS", "שלוש מאות שקלים"),
        ('12.90 ש"ח', "שנים עשר שקלים ותשעים אגורות"),
        ("מחיר: 99.90₪.", "מחיר: תשעים ותשעה שקלים ותשעים אגורות."),
        ('1 ש"ח', "שקל אחד"),
        ("2₪", "שני שקלים"),
        ("50 שקל", "חמישים שקל"),
        ("0.50₪", "חמישים אגורות"),
        ("1500000 ₪", "מיליון חמש מאות אלף שקלים"),
        ("$50", "חמישים דולר"),
    ],
    "counting": [
        ("3 ילדים ו-2 בנות", "שלושה ילדים ושתי בנות"),
        ("10-15 דקות", "עשר עד חמש עשרה דקות"),
        ("3-5 ימים", "שלושה עד חמישה ימים"),
        ("ל-5 אנשים", "לחמישה אנשים"),
        ("2 שעות", "שעתיים"),
        ("2.5 שעות", "שעתיים וחצי"),
        ("2 דקות", "שתי דקות"),
        ("1 שעה", "שעה אחת"),
        ("3 הימים", "שלושת הימים"),
        ("11 שקלים", "אחד עשר שקלים"),
        ("12 פגישות", "שתים עשרה פגישות"),
        ("קומה 3", "קומה שלוש"),
        ("הקומה ה-3", "הקומה השלישית"),
        ("המקום ה-2", "המקום השני"),
        ("יש לי 7", "יש לי שבע"),
        ("15,000", "חמישה עשר אלף"),
        ("2026", "אלפיים עשרים ושש"),
        ("-5 מעלות", "מינוס חמש מעלות"),
        ("בגיל 35", "בגיל שלושים וחמש"),
    ],
    "fractions": [
        ("12.5%", "שנים עשר וחצי אחוז"),
        ("5%", "חמישה אחוזים"),
        ("1%", "אחוז אחד"),
        ("100%", "מאה אחוז"),
        ("1.5 קילו", "אחד וחצי קילו"),
        ("1/2 שעה", "חצי שעה"),
        ("½ שעה", "חצי שעה"),
        ("ציון 4.8", "ציון ארבע נקודה שמונה"),
        ("24/7", "עשרים וארבע שבע"),
    ],
    "phones": [
        ("050-234-5678", "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"),
        ("0502345678", "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"),
        ("050 234 5678", "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"),
        ("+972-50-234-5678", "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"),
        ("03-6543210", "אפס שלוש, שש חמש ארבע, שלוש שתיים, אחת אפס"),
        ("1-800-123-456", "אחת שמונה אפס אפס, אחת שתיים שלוש, ארבע חמש שש"),
        ("חייגו *2700", "חייגו כוכבית, שתיים שבע אפס אפס"),
        ("2700*", "כוכבית, שתיים שבע אפס אפס"),
        ("קוד 0042", "קוד אפס אפס ארבע שתיים"),
        ("הקוד הוא 4821", "הקוד הוא ארבע שמונה שתיים אחת"),
        ('ת"ז 123456782', "תעודת זהות אחת שתיים שלוש, ארבע חמש שש, שבע שמונה שתיים"),
    ],
    "abbreviations": [
        ("רח' הרצל 5, ת\"א", "רחוב הרצל חמש, תל אביב"),
        ('ד"ר כהן ועו"ד לוי', "דוקטור כהן ועורך דין לוי"),
        ("ד״ר כהן", "דוקטור כהן"),
        ("מס' 12", "מספר שתים עשרה"),
        ('חברת אור בע"מ', "חברת אור בעירבון מוגבל"),
        ('נשלח ע"י הלקוח', "נשלח על ידי הלקוח"),
        ("תה, קפה וכו'", "תה, קפה וכולי"),
        ('100 מ"ר', "מאה מטר רבוע"),
        ('90 קמ"ש', "תשעים קילומטר לשעה"),
        ('5ק"מ', "חמישה קילומטר"),
        ('צה"ל', 'צה"ל'),
    ],
    "rest": [
        ("info@moked.co.il", "info שטרודל moked נקודה co נקודה il"),
        ("www.moked.co.il.", "www נקודה moked נקודה co נקודה il."),
        ("**שלום** 😀 *עולם*", "שלום עולם"),
        ("- קפה\n- תה", "קפה, תה"),
        ("אשמח/ה לעזור", "אשמח לעזור"),
        ("כן/לא", "כן או לא"),
        ("WhatsApp", "WhatsApp"),
        ("", ""),
        ("😀", ""),
    ],
}


@pytest.mark.parametrize(("written", "spoken"), [pair for pairs in SPOKEN.values() for pair in pairs])
def test_examples(written, spoken):
    assert prepare(written) == spoken


@pytest.mark.parametrize(("written", "spoken"), [pair for pairs in SPOKEN.values() for pair in pairs])
def test_spoken_text_is_left_as_it_is(written, spoken):
    assert prepare(spoken) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [pair for name in ("times", "money", "phones") for pair in SPOKEN[name] if not pair[0].endswith(".")],
)
def test_examples_inside_a_sentence(written, spoken):
    assert prepare(f"אז {written}, נכון?") == f"אז {spoken}, נכון?"


def test_the_voice_settles_forms_written_both_ways():
    assert prepare("אני בטוח/ה שאשמח/ה", gender="f") == "אני בטוחה שאשמחה"
    assert prepare("מעוניין/ת, רוצה/ת, מעוניינים/ות", gender="f") == "מעוניינת, רוצה, מעוניינות"
    assert prepare("את/ה", gender="m") == "אתה"


def test_spelling_digits_for_a_read_back():
    assert spell_digits("0502345678") == "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"
    assert spell_digits("+972502345678") == spell_digits("0502345678")
    assert spell_digits("*2700") == "כוכבית, שתיים שבע אפס אפס"
    assert spell_digits("") == ""
    assert all(spell_digits(str(digit)) == word for digit, word in enumerate(DIGIT_WORDS))


@given(st.from_regex(r"[0-9]{1,24}", fullmatch=True))
def test_spelling_says_every_digit_in_order(number):
    words = spell_digits(number).replace(",", "").split()
    assert "".join(str(DIGIT_WORDS.index(word)) for word in words) == number


PIECES = st.sampled_from(
    [
        *"אבגהולמשת ,.:;-–/'\"*()₪%$+#\n",
        *["ב-", "ל", "ה-", "9", "17", "3.5", "14:30", "1,250", "050-2345678", "2026-05-03", "½", "٣", "²", "**", "😀"],
        *["שעות", "ימים", "בשעה ", "קוד ", 'ש"ח', "רח' ", "יום א'", "http://a.il/1", "a1@b.co.il"],
    ]
)
TEXTS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=12).map("".join))


@settings(max_examples=600, deadline=None)
@given(TEXTS, st.sampled_from("mf"))
@example("0:00:00:0", "m")
@example("99:99 31.31.31 0/0 9-9-9", "m")
def test_any_text_comes_out_without_digits(text, gender):
    spoken = prepare(text, gender=gender)
    assert not any(character.isdigit() for character in spoken)
    assert spoken == spoken.strip()
    assert "  " not in spoken


@settings(max_examples=600, deadline=None)
@given(TEXTS)
def test_preparing_twice_changes_nothing(text):
    once = prepare(text)
    assert prepare(once) == once


@given(st.lists(st.sampled_from(["שלום", "אני", "שלומך,", "טוב.", "האם", "עכשיו?", "תודה!"]), min_size=1))
def test_plain_hebrew_passes_unchanged(words):
    text = " ".join(words)
    assert prepare(text) == text


@given(st.integers(0, 23), st.integers(0, 59), st.sampled_from(["", "ב-", "ל-", "מ-", "עד "]))
def test_every_minute_of_the_day_is_a_time(hour, minute, particle):
    spoken = prepare(f"{particle}{hour:02}:{minute:02}")
    assert spoken.startswith(particle.removesuffix("-"))
    assert "נקודה" not in spoken
    assert "," not in spoken
