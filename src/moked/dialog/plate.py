"""Israeli licence plates (pure): seven digits 12-345-67, or eight since 2017, 123-45-678. Said in any grouping."""

from itertools import pairwise
from typing import Final

from moked.dialog.spoken_digits import Kind
from moked.dialog.words import listed

_OLD, _NEW = 7, 8
_WORDS: Final = listed(
    """
    רכב הרכב לרכב אוטו האוטו מכונית המכונית לוחית הלוחית רישוי הרישוי מספר המספר זיהוי הזיהוי לוחיות קטנוע אופנוע משאית
    שלי הוא זה
    """
)


def _value(digits: str) -> str:
    right = len(digits) in (_OLD, _NEW) and digits.isascii() and digits.isdecimal() and digits.strip("0")
    return digits if right else ""


def _groups(digits: str) -> tuple[str, ...]:
    sizes = (2, 3, 2) if len(digits) <= _OLD else (3, 2, 3)
    edges = (0, sizes[0], sizes[0] + sizes[1], len(digits))
    return tuple(digits[a:b] for a, b in pairwise(edges) if digits[a:b])


PLATE: Final = Kind((_OLD, _NEW), _value, _groups, _WORDS, listed("רכב הרכב האוטו לוחית רישוי הרישוי"))


def written(digits: str) -> str:
    """As on the plate: "12-345-67"."""
    return "-".join(_groups(digits))
