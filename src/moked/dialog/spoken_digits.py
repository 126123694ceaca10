"""Numbers of a fixed length that are dictated digit by digit (pure): what identity numbers and plates share.

A `Kind` says how long one is, which are possible and how it is grouped; everything else (words to digits, a number
dictated over several turns, the correction of a part) is the same. Telephone numbers have `spoken_phone`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from moked.dialog.corrections import patched
from moked.dialog.spoken_phone import NUMBER_WORDS, digits_said, slowly, spell
from moked.dialog.words import tokens


@dataclass(frozen=True)
class Kind:
    """`value` is the whole number that digits are ('' for none), `groups` how it is said.

    `words` may stand around it; `marks` among them say by themselves that it is meant.
    """

    sizes: tuple[int, ...]
    value: Callable[[str], str]
    groups: Callable[[str], tuple[str, ...]]
    words: frozenset[str]
    marks: frozenset[str]

    @property
    def longest(self) -> int:
        return max(self.sizes)


@dataclass(frozen=True, slots=True)
class DigitsHeard:
    """`digits` are all that was heard, `value` the whole number they make, or ''. `confidence` is 0..1.

    `wrong`: as many digits as there should be, and yet impossible.
    """

    digits: str = ""
    value: str = ""
    confidence: float = 0.0
    wrong: bool = False


def taken(kind: Kind, digits: str, confidence: float = 1.0) -> DigitsHeard:
    """`DigitsHeard` for digits from anywhere, the keypad included."""
    value = kind.value(digits)
    return DigitsHeard(digits, value, confidence if digits else 0.0, len(digits) >= kind.longest and not value)


@lru_cache(maxsize=256)
def hear(kind: Kind, text: str, *, asked: bool = True) -> DigitsHeard:
    """The number of this kind in `text`. Not `asked`, only whole and only where the text names it."""
    if not asked:
        text = _named(kind, tokens(text))
    digits, sure = digits_said(text, size=kind.longest, whole=kind.value, skip=kind.words, asked=asked)
    found = taken(kind, digits, sure)
    return found if asked or found.value else DigitsHeard()


def _named(kind: Kind, said: tuple[str, ...]) -> str:
    """The run of number words after the first word that names this kind; '' without one."""
    at = next((i + 1 for i, word in enumerate(said) if word in kind.marks), len(said))
    while at < len(said) and not _is_number(said[at]):
        at += 1
    end = at
    while end < len(said) and (_is_number(said[end]) or said[end] == ","):
        end += 1
    return " ".join(said[at:end])


def _is_number(word: str) -> bool:
    return word.isdecimal() or word in NUMBER_WORDS or (word[0] == "ו" and word[1:] in NUMBER_WORDS)


def join(kind: Kind, before: DigitsHeard, now: DigitsHeard) -> DigitsHeard:
    """A number dictated over several turns; a whole one, or one too many, replaces what was there."""
    if now.value or now.wrong or not before.digits or before.wrong:
        return now
    if not now.digits:
        return before
    sure = min(before.confidence, now.confidence)
    together = before.digits + now.digits
    if kind.value(together):
        return taken(kind, together, sure)
    for size in range(min(len(before.digits), len(now.digits)), 1, -1):  # the last group was said again
        overlapped = before.digits + now.digits[size:]
        if before.digits.endswith(now.digits[:size]) and kind.value(overlapped):
            return taken(kind, overlapped, sure * 0.9)
    for zeros in ("00", "0"):  # "שלוש מאות", a breath, "ארבעים וחמש"
        spliced = before.digits.removesuffix(zeros) + now.digits
        if before.digits.endswith(zeros) and len(together) > kind.longest and kind.value(spliced):
            return taken(kind, spliced, sure * 0.9)
    return now if len(together) > kind.longest else taken(kind, together, sure)


def amend(kind: Kind, digits: str, text: str) -> DigitsHeard:
    """A correction after `digits` were read back: one group of them, or the whole number again."""
    new = hear(kind, text)
    if new.value or not new.digits:
        return new
    better = patched(digits, kind.groups(digits), new.digits, tokens(text))
    return taken(kind, better, new.confidence * 0.9) if better else new


def readback(kind: Kind, digits: str, *, slow: bool = False) -> str:
    """In groups with commas, or (`slow`) one by one."""
    return slowly(digits) if slow else ", ".join(spell(group) for group in kind.groups(digits))
