"""Spoken telephone numbers: examples from real calls in form, not in digits, and what holds for every number."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.phone import national, to_e164
from moked.dialog.spoken_phone import DIGIT_WORDS, amend, heard, join, phone, readback, spell

numbers = st.from_regex(r"(05[0-9]|07[0-9]|0[23489])[0-9]{7}", fullmatch=True)


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה", "0502345678"),
        ("אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה.", "0502345678"),
        ("אפס, חמישה, אפס, שניים, שלושה, ארבעה, חמישה, שישה, שבעה, שמונה", "0502345678"),  # masculine
        ("המספר שלי הוא אפס חמישים, עשרים ושלוש, ארבעים וחמש, שישים ושבע, שמונה", "0502345678"),
        ("אפס חמישים ושתיים, מאה עשרים ושלוש, ארבעים וחמש, שישים ושבע", "0521234567"),
        ("אפס חמישים ושתיים שלוש מאות ארבעים וחמש, שש, שבע, שמונה, תשע", "0523456789"),
        ("050-2345678", "0502345678"),
        ("050 234 56 78", "0502345678"),
        ("זה 050, שתיים שלוש ארבע, 56, שבעים ושמונה", "0502345678"),
        ("אפס חמש אפס כפול שתיים, שלוש שלוש, שלוש אפסים", "0502233000"),
        ("אפס חמש אפס פעמיים שבע שלוש ארבע חמש שש שמונה", "0507734568"),
        ("אפס חמש אפס שלוש פעמים שבע ארבע חמש שש שמונה", "0507774568"),
        ("אפס חמש אפס שתיים שלוש ארבע חמש שש שבע פעמיים", "0502345677"),
        ("אפס חמש אפס שתיים שלוש ארבע חמש שש שני אפסים", "0502345600"),
        ("אפס חמש ארבע אחת עשרה שתים-עשרה שלוש עשרה ארבע", "0541112134"),
        ("אפס שלוש שש עשרים ושלוש ארבעים וחמש שישים ושבע", "036234567"),
        ("פלוס תשע שבע שתיים חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה", "+972502345678"),
        ("אחת שבע מאות, שתיים שלוש ארבע, חמש שש שבע", "1700234567"),
        ("אלף שמונה מאות, שתיים שלוש ארבע, חמש שש שבע", "1800234567"),
        ("כוכבית אלפיים שבע מאות", "*2700"),
        ("אפס חמישים עשרים שלוש ארבעים חמש שישים שבע שמונה", "0502345678"),  # the ו was not heard
        # every kind of number, in the groupings people use
        ("אפס שתיים, חמש שש אחת, שתיים שלוש, ארבע חמש", "025612345"),
        ("אפס ארבע שמונים ושלוש עשרים ושלוש ארבעים וחמש שש", "048323456"),
        ("אפס שמונה שש שתיים שלוש ארבע חמש שש שבע", "086234567"),
        ("אפס תשע, שבע שתיים שלוש, ארבע חמש שש שבע", "097234567"),
        ("אפס שבעים ושבע שתיים שלוש ארבע חמש שש שבע שמונה", "0772345678"),
        ("אפס שבע שתיים שתיים שלוש ארבע חמש שש שבע שמונה", "0722345678"),
        ("אחת שמונה מאות שתיים שלוש ארבע חמש שש שבע", "1800234567"),
        ("1-800-234-567", "1800234567"),
        ("אלף חמש מאות תשעים ותשע, שתיים שלוש ארבע, חמש שש שבע", "1599234567"),
        ("כוכבית שלושים ותשע ארבעים וחמש", "*3945"),
        ("כוכבית ארבע פעמים שבע", "*7777"),
        ("פלוס תשע מאות שבעים ושתיים חמישים ושתיים שלוש ארבע חמש שש שבע שמונה תשע", "+972523456789"),
        ("+972 50 234 5678", "+972502345678"),
        ("972-50-2345678", "972502345678"),
        ("05 שתיים שלוש 4 חמש 678 תשע", "0523456789"),  # numerals between words
        ("אפס חמש שמונה דאבל שלוש ארבע ארבע חמש חמש שש", "0583344556"),
        ("אפס חמישים מאה ואחת עשרה, ארבעים וחמש, שישים ושבע", "0501114567"),
        ("אפס חמישים ושלוש שבע מאות ושתיים שלושים ארבעים", "0537023040"),
        ("אֶפֶס חָמֵשׁ אֶפֶס שתיים שלוש ארבע חמש שש שבע שמונה", "0502345678"),  # niqqud
        ("אפסחמש אפס שתיים שלושארבע חמש שש שבע שמונה", "0502345678"),  # words run together
    ],
)
def test_whole_numbers(said: str, digits: str) -> None:
    heard_ = phone(said)
    assert heard_.digits == digits
    assert heard_.complete
    assert heard_.e164 == to_e164(digits)
    assert heard_.confidence > 0.6


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        ("אפס חמש שתיים, לא, אפס חמש אפס, שתיים שלוש ארבע, חמש שש שבע שמונה", "0502345678"),
        ("אפס חמש אפס שתיים שלוש ארבע חמש שש שבע תשע, סליחה, שמונה", "0502345678"),
        ("אפס חמש אפס, שתיים שלוש חמש, לא סליחה שתיים שלוש ארבע, חמש שש, שבע שמונה", "0502345678"),
        ("0502345679 לא רגע 0502345678", "0502345678"),
        ("לא, המספר הוא אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה", "0502345678"),
        ("אפס חמש אפס שתיים שלוש ארבע, טעות, שתיים שלוש חמש", "050235"),
    ],
)
def test_corrections(said: str, digits: str) -> None:
    assert phone(said).digits == digits


@pytest.mark.parametrize(
    ("said", "digits"),
    [
        # spellings of Whisper base on real speakers (facts: speech.md, section 1), alone and in a number
        ("איפס", "0"),
        ("תישה", "9"),
        ("הרבה", "4"),
        ("הנש", "5"),
        ("המש", "5"),
        ("איסטיים", "2"),
        ("אינסס", "0"),
        ("איפס המש איפס שטיים שאלוש הרבה חמס שש שבא שמונא", "0502345678"),
        ("אפס חמש אפס, שתים שלוס ארבה, חאמש ששש, סבע שמונע", "0502345678"),
    ],
)
def test_weak_spellings_are_snapped(said: str, digits: str) -> None:
    snapped = phone(said)
    assert snapped.digits == digits
    assert snapped.confidence < 1


@pytest.mark.parametrize(
    "said",
    [
        "", "שלום", "אין לי מספר אחר", "למה אתם צריכים את זה?", "כן", "לא", "תחזרו אליי לנייד שלי בבקשה", "רגע",
        "זה המספר שממנו התקשרתי", "מה זאת אומרת", "אתם יכולים לחזור אליי לכאן",
    ],
)  # fmt: skip
def test_no_digits(said: str) -> None:
    assert phone(said).digits == ""
    assert not phone(said).complete


def test_unasked_a_sentence_is_not_snapped() -> None:
    assert phone("הרבה זמן שהברז מטפטף", asked=False).digits == ""
    assert phone("הרבה", asked=True).digits == "4"
    assert phone("הטלפון שלי איפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה", asked=False).complete


def test_partial_numbers_join_over_turns() -> None:
    first = phone("אפס חמש אפס")
    assert (first.digits, first.complete) == ("050", False)
    assert join(first, phone("שתיים שלוש ארבע")).digits == "050234"
    assert join(join(first, phone("שתיים שלוש ארבע")), phone("חמש שש שבע שמונה")).e164 == "+972502345678"
    assert join(first, phone("אה, רגע")) == first
    again = join(phone("אפס חמש אפס שתיים שלוש"), phone("אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה"))
    assert again.e164 == "+972502345678"
    assert join(phone("050234"), phone("234 56 78")).e164 == "+972502345678"  # the last group again
    assert join(phone("050234"), phone("אפס חמש ארבע")).digits == "054"  # from the beginning
    assert join(heard(""), first) == first


def test_amending_after_a_readback() -> None:
    assert amend("0502345679", "לא, בסוף שבע שמונה").e164 == "+972502345678"
    assert amend("0502345679", "הספרה האחרונה שמונה").e164 == "+972502345678"
    assert amend("0522345678", "לא, הקידומת אפס חמש אפס").e164 == "+972502345678"
    assert amend("0522345678", "לא, אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה").e164 == "+972502345678"
    assert amend("0522345678", "לא נכון").digits == ""


@given(numbers, st.sampled_from(["", "לא ", "המספר שלי הוא ", "לא המספר ", "סליחה "]), st.integers(1, 8))
def test_a_number_written_in_digits_after_a_few_words(digits: str, before: str, cut: int) -> None:
    """As an ear for digits writes it: groups with a space between, the words before it kept."""
    said = f"{before}{digits[:cut]} {digits[cut:]}"
    assert phone(said).e164 == to_e164(digits)
    assert amend("0502345678", said).e164 == to_e164(digits)


def test_readback() -> None:
    assert readback("+972502345678") == "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"
    assert readback("+97236234567") == "אפס שלוש, שש שתיים שלוש, ארבע חמש, שש שבע"
    assert readback("*2700") == "כוכבית שתיים שבע אפס אפס"
    assert spell("05#") == "אפס חמש סולמית"


MASCULINE = ("אפס", "אחד", "שניים", "שלושה", "ארבעה", "חמישה", "שישה", "שבעה", "שמונה", "תשעה")
TENS = ("", "עשר", "עשרים", "שלושים", "ארבעים", "חמישים", "שישים", "שבעים", "שמונים", "תשעים")


@given(numbers)
def test_what_is_read_back_is_heard(digits: str) -> None:
    e164 = to_e164(digits)
    assert e164 is not None
    again = phone(readback(e164))
    assert again.e164 == e164
    assert again.confidence == 1.0


@given(numbers, st.data())
def test_every_way_of_saying_is_the_same_number(digits: str, data: st.DataObject) -> None:
    """Digit by digit in either gender, as written groups, or in pairs: the number does not change."""
    said: list[str] = []
    rest = digits
    while rest:
        pair = rest[:2]
        tens = len(pair) == 2 and pair[0] in "23456789" and pair[1] != "0"
        match data.draw(st.sampled_from(["feminine", "masculine", "written", *(["pair"] if tens else [])])):
            case "pair":
                said.append(f"{TENS[int(pair[0])]} ו{DIGIT_WORDS[int(pair[1])]}")
                rest = rest[2:]
            case "written":
                size = data.draw(st.integers(1, min(4, len(rest))))
                said.append(rest[:size])
                rest = rest[size:]
            case gender:
                said.append((DIGIT_WORDS if gender == "feminine" else MASCULINE)[int(rest[0])])
                rest = rest[1:]
    assert phone(", ".join(said)).digits == digits


@given(numbers, st.integers(1, 9))
def test_a_number_over_two_turns(digits: str, cut: int) -> None:
    cut = min(cut, len(digits) - 1)
    together = join(heard(digits[:cut]), heard(digits[cut:]))
    if not heard(digits[:cut]).complete and not heard(digits[cut:]).complete:
        assert together.complete or digits[cut] == "0"
        if together.complete:
            assert together.e164 is not None
            assert national(together.e164).endswith(digits[cut:])


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת 0123456789,.לא*+#?", max_size=60), st.booleans())
def test_any_text_is_survived(text: str, asked: bool) -> None:
    found = phone(text, asked=asked)
    assert 0.0 <= found.confidence <= 1.0
    assert found.complete == (found.e164 is not None)
    assert found.digits or not found.complete
    assert set(found.digits) <= set("0123456789*+#")
    amend("0502345678", text)
    join(found, phone(text[::-1]))
