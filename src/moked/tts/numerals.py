"""Hebrew number words (pure): cardinals by gender, counting before a noun, ordinals, years.

Hebrew counts in the feminine when nothing is counted (phone numbers, times, room numbers). Before a noun the number
takes its gender, two is shortened (שני, שתי), three to ten before a definite masculine noun stand in the construct
state (שלושת הימים), and one follows its noun (שקל אחד).
"""

from enum import StrEnum
from typing import Final


class Gender(StrEnum):
    MASCULINE = "m"
    FEMININE = "f"


DIGIT_WORDS: Final = ("אפס", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע")

_UNITS: Final = {
    Gender.FEMININE: DIGIT_WORDS,
    Gender.MASCULINE: ("אפס", "אחד", "שניים", "שלושה", "ארבעה", "חמישה", "שישה", "שבעה", "שמונה", "תשעה"),
}
_TEN: Final = {Gender.FEMININE: "עשר", Gender.MASCULINE: "עשרה"}
_TEENS: Final = {
    Gender.FEMININE: ("אחת", "שתים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע"),
    Gender.MASCULINE: ("אחד", "שנים", "שלושה", "ארבעה", "חמישה", "שישה", "שבעה", "שמונה", "תשעה"),
}
_TEEN_TAIL: Final = {Gender.FEMININE: "עשרה", Gender.MASCULINE: "עשר"}
_TENS: Final = ("", "", "עשרים", "שלושים", "ארבעים", "חמישים", "שישים", "שבעים", "שמונים", "תשעים")
_CONSTRUCT: Final = {
    3: "שלושת", 4: "ארבעת", 5: "חמשת", 6: "ששת", 7: "שבעת", 8: "שמונת", 9: "תשעת", 10: "עשרת",
}  # fmt: skip
_ORDINALS: Final = {
    Gender.MASCULINE: ("", "ראשון", "שני", "שלישי", "רביעי", "חמישי", "שישי", "שביעי", "שמיני", "תשיעי", "עשירי"),
    Gender.FEMININE: (
        "",
        "ראשונה",
        "שנייה",
        "שלישית",
        "רביעית",
        "חמישית",
        "שישית",
        "שביעית",
        "שמינית",
        "תשיעית",
        "עשירית",
    ),
}
_SCALES: Final = ((10**9, "מיליארד"), (10**6, "מיליון"))
LARGEST: Final = 10**12 - 1


def cardinal(number: int, gender: Gender = Gender.FEMININE) -> str:
    """A number that stands alone or after its noun: 1250 -> 'אלף מאתיים וחמישים'. 0 <= number <= `LARGEST`."""
    if number == 0:
        return "אפס"
    parts: list[str] = []
    for size, name in _SCALES:
        count, number = divmod(number, size)
        if count == 1:
            parts.append(name)
        elif count:
            parts.append(f"{before_noun(count, Gender.MASCULINE)} {name}")
    thousands, number = divmod(number, 1000)
    if thousands:
        parts.append(_thousands(thousands))
    hundreds, number = divmod(number, 100)
    if hundreds:
        parts.append(_hundreds(hundreds))
    if number:
        small = _below_hundred(number, gender)
        # one "and" only: before the last part, unless that part has its own (עשרים ואחת)
        parts.append(small if not parts or (number > 20 and number % 10) else f"ו{small}")
    return " ".join(parts)


def before_noun(number: int, gender: Gender, *, definite: bool = False) -> str:
    """A number that counts the noun after it: 2 -> 'שני' / 'שתי', 3 definite masculine -> 'שלושת'."""
    if number == 2:
        return "שתי" if gender is Gender.FEMININE else "שני"
    if definite and gender is Gender.MASCULINE and number in _CONSTRUCT:
        return _CONSTRUCT[number]
    return cardinal(number, gender)


def ordinal(number: int, gender: Gender) -> str | None:
    """1..10 as 'ראשון' / 'ראשונה'; None above, where Hebrew uses the cardinal."""
    return _ORDINALS[gender][number] if 1 <= number <= 10 else None


def digits(text: str) -> str:
    """Each digit by its name: '0042' -> 'אפס אפס ארבע שתיים'. Other characters are ignored."""
    return " ".join(DIGIT_WORDS[int(character)] for character in text if character in "0123456789")


def _below_hundred(number: int, gender: Gender) -> str:
    if number < 10:
        return _UNITS[gender][number]
    if number == 10:
        return _TEN[gender]
    if number < 20:
        return f"{_TEENS[gender][number - 11]} {_TEEN_TAIL[gender]}"
    tens, unit = divmod(number, 10)
    return _TENS[tens] if not unit else f"{_TENS[tens]} ו{_UNITS[gender][unit]}"


def _hundreds(count: int) -> str:
    if count == 1:
        return "מאה"
    return "מאתיים" if count == 2 else f"{DIGIT_WORDS[count]} מאות"


def _thousands(count: int) -> str:
    if count == 1:
        return "אלף"
    if count == 2:
        return "אלפיים"
    if count <= 10:
        return f"{_CONSTRUCT[count]} אלפים"
    return f"{cardinal(count, Gender.MASCULINE)} אלף"
