"""What somebody types into a search box (pure): words as they are stored, and digits as numbers are stored.

Niqqud and geresh variants fall away. A word is found inside another, so "דנה" finds "לדנה". Digits with at most the
separators of a telephone number also look for the number: "050-234" finds +97250234…, and so does "0234".
"""

import re
import unicodedata
from dataclasses import dataclass

_NUMBER = re.compile(r"[\d\s()+*./-]+")
_LONGEST, _MOST_WORDS = 100, 6
_SURELY_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """All `words` must be found, each anywhere; or one of `numbers`, digits inside an E.164 number. Four digits and
    more are looked for in numbers alone, so `words` is empty then.
    """

    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.numbers)


def read(text: str) -> Wanted:
    """What `text` asks for; nothing, for an empty one."""
    text = plain(text)[:_LONGEST]
    words = tuple(text.split()[:_MOST_WORDS])
    digits = "".join(c for c in text if c.isdecimal() and c.isascii()) if _NUMBER.fullmatch(text) else ""
    numbers = [digits] if digits else []
    if digits.startswith("00"):
        numbers.append(digits[2:])
    elif digits.startswith("0") and len(digits) > 1:
        numbers.append("972" + digits[1:])  # as it is stored: without the zero, with the country
    if len(digits) >= _SURELY_NUMBER:
        words = ()
    return Wanted(words, tuple(number for number in numbers if number))


def plain(text: str) -> str:
    """Without niqqud and marks of direction, with one space between words and the ASCII signs people type."""
    decomposed = unicodedata.normalize("NFD", text)
    kept = "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf", "Cc") or c in "\t\n")
    swapped = unicodedata.normalize("NFC", kept).translate({0x5F3: "'", 0x5F4: '"', 0x5BE: "-"})
    return " ".join(swapped.split())
