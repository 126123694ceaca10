"""Addresses as callers give them: in one breath, in parts, misspelled by the recogniser."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.dialog.addresses import Address, address, merged, without_number
from moked.dialog.gazetteer import localities, streets
from moked.tts.numerals import cardinal

STREETS = [name for name in streets().names if not re.search(r"\d", name)]
TOWNS = localities().names[: localities().smaller]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("הרצל 12 תל אביב", "הרצל 12, תל אביב"),
        ("אני גר ברחוב הרצל שתים עשרה דירה ארבע בחיפה", "הרצל 12, דירה 4, חיפה"),
        ("ויצמן 5 כניסה ב קומה שלישית, ראשון", "ויצמן 5, כניסה ב, קומה 3, ראשון לציון"),
        ("רחוב האורגים 12, חולון", "האורגים 12, חולון"),
        ("אני גרה בפתח תקוה ברחוב רוטשילד מספר 20", "רוטשילד 20, פתח תקווה"),
        ('בן יהודה שלושים וחמש ת"א', "בן יהודה 35, תל אביב"),
        ("הרצל 12/4, רמת גן", "הרצל 12, דירה 4, רמת גן"),
        ("רח' סוקולוב 10 ר\"ג", "סוקולוב 10, רמת גן"),
        ("ז'בוטינסקי מאה ועשרים, בני ברק, דירה 7", "ז'בוטינסקי 120, דירה 7, בני ברק"),
        ("זבוטינסקי 120 בבני ברק", "ז'בוטינסקי 120, בני ברק"),
        ("רחוב הרב קוק שבע קומה ראשונה בבאר שבע", "הרב קוק 7, קומה 1, באר שבע"),
        ("רחוב סמילנסקי 8 א ברחובות", "סמילנסקי 8א, רחובות"),
        ("שינקין אחת שתיים, תל אביב", "שינקין 12, תל אביב"),  # the number digit by digit
        ("סמטת הכובשים 3 בנתניה", "סמטת הכובשים 3, נתניה"),
        ("שדרות ירושלים 45 חולון", "שדרות ירושלים 45, חולון"),
        ("ירושלים 12 חולון", "ירושלים 12, חולון"),
        ("דרך חיפה 3, קרית אתא", "דרך חיפה 3, קריית אתא"),
        ("קרית שמונה הרצל 5", "הרצל 5, קריית שמונה"),
        ("הרצליה סוקולוב 12", "סוקולוב 12, הרצליה"),
        ("נוף הגליל רחוב הגליל 4", "הגליל 4, נוף הגליל"),
        ("נצרת עילית, הגליל 4", "הגליל 4, נוף הגליל"),
        ("מודיעין עמק דותן 12", "עמק דותן 12, מודיעין"),
        ("אלנבי 40 תל אביב, קומה 2, דירה 8, כניסה א", "אלנבי 40, כניסה א, קומה 2, דירה 8, תל אביב"),
        ('כ"ט בנובמבר 3 רעננה', 'כ"ט בנובמבר 3, רעננה'),
        ("רחוב הגפן 5 מושב פלוני", "הגפן 5, פלוני"),
        ("קיבוץ יגור", "יגור"),
        ("אנחנו במושב בית זית", "בית זית"),
        ("רחוב הדוגית 7 אשדוד", "הדוגית 7, אשדוד"),
        ("הרצל 4 פתח תקבה", "הרצל 4, פתח תקווה"),  # misspelled
        ("הרצל 4 ראשוןלציון", "הרצל 4, ראשון לציון"),  # run together
        ("ארלוזרב 9 באר שבא", "ארלוזורוב 9, באר שבע"),
        ("רחוב השוק מאה תשעים ושש, חיפה", "השוק 196, חיפה"),
        ("דיזינגוף 99 תלאביב", "דיזנגוף 99, תל אביב"),
    ],
)
def test_whole_addresses(said: str, written: str) -> None:
    found = address(said)
    assert found.written == written
    assert found.missing == ""


@pytest.mark.parametrize(
    ("said", "written", "missing"),
    [
        ("הרצל 12", "הרצל 12", "city"),
        ("בחיפה", "חיפה", "street"),
        ("מראשון לציון", "ראשון לציון", "street"),
        ("רחוב הרצל בחיפה", "הרצל, חיפה", "house"),
        ("שתים עשרה", "12", "street"),
        ("רחוב ירושלים", "ירושלים", "city"),
    ],
)
def test_what_is_missing(said: str, written: str, missing: str) -> None:
    found = address(said)
    assert (found.written, found.missing) == (written, missing)


@pytest.mark.parametrize("said", ["", "לא יודע", "יש לי נזילה במטבח", "רגע", "אני אגיד לך אחר כך", "כן"])
def test_no_address(said: str) -> None:
    assert not address(said)


def test_read_back_in_words() -> None:
    assert address("הרצל 12/4, רמת גן").spoken == "הרצל שתים עשרה, דירה ארבע, רמת גן"
    assert address("סמילנסקי 8 א ברחובות").spoken == "סמילנסקי שמונה א, רחובות"


def test_not_asked_a_street_needs_its_marker() -> None:
    assert not address("הרצל 12", asked=False)
    assert address("אני גר ברחוב הרצל 12 בחיפה", asked=False).written == "הרצל 12, חיפה"
    assert not address("ראשוןלציון", asked=False)  # only as it is spelled


def test_parts_come_together_and_are_corrected() -> None:
    found = merged(address("הרצל 12"), address("בחיפה"))
    assert found.written == "הרצל 12, חיפה"
    assert merged(found, address("לא, ארבע עשרה")).written == "הרצל 14, חיפה"
    assert merged(found, address("לא, דירה חמש")).written == "הרצל 12, דירה 5, חיפה"
    assert merged(found, address("לא, ויצמן 3")).written == "ויצמן 3, חיפה"
    assert merged(found, address("ברמת גן")).written == "הרצל 12, רמת גן"
    assert merged(Address(), found) == found


def test_a_house_without_a_number() -> None:
    assert without_number("אין מספר")
    assert not without_number("מספר שבע")


@given(st.sampled_from(STREETS), st.integers(1, 250), st.sampled_from(TOWNS), st.booleans(), st.booleans())
def test_street_number_and_town_in_either_order(street: str, house: int, town: str, words: bool, first: bool) -> None:
    number = cardinal(house) if words else str(house)
    said = f"{town}, רחוב {street} {number}" if first else f"רחוב {street} {number}, {town}"
    found = address(said)
    assert (found.street, found.house, found.city) == (street, str(house), town)


@given(st.sampled_from(TOWNS), st.sampled_from(["", "ב", "מ", "ל"]))
def test_every_town_is_known_with_its_prefixes(town: str, prefix: str) -> None:
    assert address(prefix + town).city == town


def test_every_other_name_leads_to_a_place_of_the_list() -> None:
    assert len(localities().names) == len(set(localities().names))
    assert len(streets().names) == len(set(streets().names))


@given(st.text(alphabet="אבגדהוזחטיכלמנסעפצקרשת 0123456789,.-/:?'\"", max_size=60))
def test_never_fails(text: str) -> None:
    found = address(text)
    assert 0 < found.confidence <= 1
    if found:
        assert found.written
        assert found.spoken
    merged(address("הרצל 12, חיפה"), found)
