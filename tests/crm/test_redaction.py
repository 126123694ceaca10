"""What is hidden in what was said, however it was said; and what must survive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.number_runs import Word, runs
from moked.crm.redaction import MARK, Line, Policy, find, hide, hide_json, hide_lines, is_card, luhn
from moked.dialog.identity import check_digit, is_valid
from moked.dialog.spoken_phone import DIGIT_WORDS

ALL = Policy()
CARD = "4580458045804580"[:15]
CARD += next(digit for digit in "0123456789" if luhn(CARD + digit))
ID = "12345678" + check_digit("12345678")


def spoken(digits):
    return " ".join(DIGIT_WORDS[int(digit)] for digit in digits)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("ארבע חמש שמונה אפס", "4580"),
        ("4580-1234 5678", "458012345678"),
        ("עשרים ושלוש ארבעים וחמש", "2345"),
        ("ארבעת אלפים חמש מאות ושמונים", "4580"),
        ("שלוש עשרה", "13"),
        ("אחת עשרה שתים עשרה", "1112"),
        ("כפול שבע שלוש פעמים אפס", "77000"),
        ("חמישים ושתיים, אה, שלוש מאות עשרים ואחת", "52321"),
        ("ואפס ושלוש", "03"),
        ("אֶפֶס שָׁלוֹשׁ", "03"),
    ],
)
def test_numbers_are_read_as_they_are_dictated(text, digits):
    (run,) = [one for one in runs([text]) if not isinstance(one, Word)]
    assert "".join(group.digits for group in run) == digits
    assert (run[0].start, run[-1].end) == (0, len(text))


def test_without_its_and_a_ten_may_stand_alone():
    def read(*, joined):
        return ["".join(g.digits for g in run) for run in runs(["עשרים שלוש"], joined=joined)]

    assert (read(joined=True), read(joined=False)) == (["23"], ["203"])


@pytest.mark.parametrize(
    ("text", "after"),
    [
        (f"הכרטיס הוא {CARD} תודה", "הכרטיס הוא [כרטיס] תודה"),
        (f"{CARD[:4]}-{CARD[4:8]}-{CARD[8:12]}-{CARD[12:]}", "[כרטיס]"),
        (f"אז ככה, {spoken(CARD)} וזהו", "אז ככה, [כרטיס] וזהו"),
        ("מספר הכרטיס 4580 1111 2222 3334", "מספר הכרטיס [כרטיס]"),  # misheard: no check digit is right
        ("בגב הכרטיס כתוב שבע שתיים אחת", "בגב הכרטיס כתוב [קוד]"),
        ("CVV 123", "CVV [קוד]"),
        (f"תעודת זהות {ID}", "תעודת זהות [ת״ז]"),
        ('ת"ז 123456780', 'ת"ז [ת״ז]'),  # wrong, and meant all the same
        (f"המספר שלי {spoken(ID)}", "המספר שלי [ת״ז]"),
        ("ישראכרט 12345678", "ישראכרט [כרטיס]"),
        ("3782 822463 10005", "[כרטיס]"),
    ],
)
def test_it_is_hidden(text, after):
    assert hide(text, ALL) == after
    assert hide(after, ALL) == after


@pytest.mark.parametrize(
    "text",
    [
        "הטלפון שלי 050-2345678 או 03-5551234",
        "אפס חמש אפס, שתיים שלוש ארבע, חמש שש שבע שמונה",
        "050 234 5678, אז שוב, 050 234 5678",
        "+972 50-234-5678",
        "תחזרו אליי ב-12:30, זה עולה 1,450 שקלים",
        "רחוב הגפן 12 דירה 4 חיפה",
        "אבד לי הכרטיס, הנייד שלי 0521234567",
        "יש לי שלוש שאלות, ואחת מהן על 25 במאי 2026",
        "מספר ההזמנה 1234567",
        "קוד הכניסה לבניין 1234",
        "",
    ],
)
def test_it_survives(text):
    assert hide(text, ALL) == text


def test_a_card_over_several_turns_is_hidden_in_each():
    lines = [
        Line("מה מספר הכרטיס?", caller=False),
        Line(spoken(CARD[:4])),
        Line("כן, הלאה.", caller=False),
        Line(spoken(CARD[4:10])),
        Line("כן?", caller=False),
        Line(f"{spoken(CARD[10:])} זהו"),
        Line(f"אז {spoken(CARD[:4])}, {spoken(CARD[4:])}, נכון?", caller=False),
        Line("כן, והטלפון 0502345678"),
    ]
    after = hide_lines(lines, ALL)
    assert [after[n] for n in (1, 3, 5)] == ["[כרטיס]", "[כרטיס]", "[כרטיס] זהו"]
    assert after[6] == "אז [כרטיס], נכון?"
    assert after[7] == "כן, והטלפון 0502345678"
    assert {one.text for one in find(lines, ALL)} == {1, 3, 5, 6}


def test_a_code_that_was_asked_for_is_one():
    lines = [Line("מה שלוש הספרות בגב הכרטיס?", caller=False), Line("שבע שתיים אחת")]
    assert hide_lines(lines, ALL)[1] == "[קוד]"


def test_the_business_chooses():
    text = f"{CARD} ותעודת זהות {ID}"
    assert hide(text, Policy(cards=False)) == f"{CARD} ותעודת זהות [ת״ז]"
    assert hide(text, Policy(ids=False)) == f"[כרטיס] ותעודת זהות {ID}"
    assert hide(text, Policy(cards=False, ids=False)) == text


def test_a_foreign_number_of_the_lead_stays():
    assert hide("המספר +44 7700 900123", Policy(keep=frozenset({"+447700900123"}))) == "המספר +44 7700 900123"


def test_json_keeps_its_shape():
    value = {"need": f"שילמתי ב-{CARD}", "list": [1, None, f"ת״ז {ID}"], "phone": "+972502345678"}
    assert hide_json(value, ALL) == {
        "need": "שילמתי ב-[כרטיס]",
        "list": [1, None, "ת״ז [ת״ז]"],
        "phone": "+972502345678",
    }


_CARDS = st.from_regex(r"4[0-9]{14}", fullmatch=True).map(
    lambda digits: digits + next(d for d in "0123456789" if luhn(digits + d))
)
_IDS = st.from_regex(r"[1-9][0-9]{7}", fullmatch=True).map(lambda digits: digits + check_digit(digits))
_PHONES = st.from_regex(r"05[0-5][0-9]{7}", fullmatch=True)


@st.composite
def dictated(draw, digits):
    """Some digits as numerals and some as words, in groups, with what people put between them."""
    said, at = [], 0
    while at < len(digits):
        size = draw(st.integers(1, 4))
        group = digits[at : at + size]
        said.append(spoken(group) if draw(st.booleans()) else group)
        at += size
    between = st.sampled_from([" ", ", ", "-", " אה ", "  ואז "])
    return "".join(part for one in said for part in (one, draw(between)))[:-1].strip(" -,") or digits


@given(st.data())
def test_however_a_card_is_said_no_digit_of_it_is_left(data):
    card = data.draw(_CARDS)
    text = data.draw(dictated(card))
    before = data.draw(st.sampled_from(["", "אז המספר ", "הכרטיס: ", "רשום: "]))
    after = hide(f"{before}{text}", ALL)
    left = [one for one in runs([after]) if not isinstance(one, Word)]
    assert left == [], (text, after)


@given(st.data())
def test_however_a_mobile_number_is_said_it_survives(data):
    phone = data.draw(_PHONES)
    text = data.draw(dictated(phone))
    before = data.draw(st.sampled_from(["", "הטלפון שלי ", "תחזרו אליי ל"]))
    assert hide(f"{before}{text}", ALL) == f"{before}{text}"


@given(_IDS)
def test_an_identity_number_is_hidden_also_without_a_word_for_it(number):
    assert is_valid(number)
    assert not any(char.isdigit() for char in hide(f"רשום בבקשה {number}", ALL))


@given(st.text(max_size=80))
def test_any_text_can_be_looked_at_and_what_is_hidden_stays_hidden(text):
    once = hide(text, ALL)
    assert hide(once, ALL) == once


@given(st.lists(st.tuples(st.text("אבגד0123456789 ,", max_size=30), st.booleans()), max_size=6))
def test_nothing_but_what_was_found_changes(lines):
    lines = [Line(text, caller) for text, caller in lines]
    spots = find(lines, ALL)
    for number, (line, after) in enumerate(zip(lines, hide_lines(lines, ALL), strict=True)):
        mine = [one for one in spots if one.text == number]
        kept = "".join(char for at, char in enumerate(line.text) if not any(one.start <= at < one.end for one in mine))
        assert MARK.sub("", after) == kept


@pytest.mark.parametrize(
    "card", ["4111111111111111", "5555555555554444", "2223003122003222", "378282246310005", "30569309025904",
             "6011111111111117", "3530111333300000"],
)  # fmt: skip
def test_cards_of_all_issuers_are_known(card):
    assert is_card(card)
    assert not is_card(card[:-1] + str((int(card[-1]) + 1) % 10))
