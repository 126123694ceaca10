"""Israeli identity numbers, ת"ז (pure): nine digits, the last of which checks the others.

    אפס שלוש ארבע, חמש שש שבע, שמונה אחת אפס   ->  034567810, or "wrong" when the check digit disagrees

The check is Luhn's: digits in turn times one and two, the digits of the products added, the sum a multiple of ten. It
finds every single wrong digit and every swap of neighbours but 09 and 90. Old numbers are often said without their
leading zero, so eight digits that are right with a zero before them are taken; nine are never cut.
"""

from typing import Final

from moked.dialog.spoken_digits import Kind
from moked.dialog.words import listed

SIZE: Final = 9
_WORDS: Final = listed("תעודת זהות הזהות תז התז בתז ת ז מספר המספר זיהוי תעודה התעודה מזהה שלי הוא היא זה ספרת ביקורת")
# Digits whose words are taken for one another on the telephone: תשע/שבע/ארבע, שש/שלוש/חמש, אפס/חמש.
_SOUND_ALIKE: Final = frozenset(frozenset(pair) for pair in ("97", "74", "94", "63", "65", "35", "05"))


def is_valid(digits: str) -> bool:
    """Nine digits whose check digit is right; all zeros belong to nobody."""
    if len(digits) != SIZE or not (digits.isascii() and digits.isdecimal()) or not digits.strip("0"):
        return False
    return _sum(digits) % 10 == 0


def _sum(digits: str) -> int:
    return sum(sum(divmod(int(digit) * (1 + place % 2), 10)) for place, digit in enumerate(digits))


def check_digit(first_eight: str) -> str:
    """The ninth digit."""
    return str(-_sum(first_eight + "0") % 10)


def _value(digits: str) -> str:
    if len(digits) == SIZE - 1 and is_valid("0" + digits):
        return "0" + digits
    return digits if is_valid(digits) else ""


def _groups(digits: str) -> tuple[str, ...]:
    return tuple(digits[at : at + 3] for at in range(0, len(digits), 3))


ID: Final = Kind((SIZE - 1, SIZE), _value, _groups, _WORDS, listed("זהות הזהות תז התז בתז"))


def near(digits: str) -> tuple[str, ...]:
    """Valid numbers that differ from nine wrong `digits` by one digit or by a swap, the likeliest mishearing first."""
    if len(digits) != SIZE or is_valid(digits):
        return ()
    found: dict[str, int] = {}
    for at, digit in enumerate(digits):
        for other in "0123456789":
            candidate = digits[:at] + other + digits[at + 1 :]
            if is_valid(candidate):
                found[candidate] = 0 if frozenset(digit + other) in _SOUND_ALIKE else 2
    for at in range(SIZE - 1):
        swapped = digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
        if is_valid(swapped):
            found.setdefault(swapped, 1)
    return tuple(sorted(found, key=lambda candidate: found[candidate]))


def meant(first: str, second: str) -> str:
    """The one valid number that is near both of two wrong hearings of it; '' when there is none, or more."""
    both = [candidate for candidate in near(first) if candidate in near(second)]
    return both[0] if len(both) == 1 else ""
