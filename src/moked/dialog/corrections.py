"""A correction of digits that were just read back (pure): "לא, בסוף שבע שמונה", "לא שתיים שלוש, שתיים ארבע"."""

from collections.abc import Sequence
from typing import Final

from moked.dialog.words import listed

_END: Final = listed("בסוף הסוף אחרון האחרון אחרונה האחרונה אחרונות האחרונות אחרונים האחרונים")
_START: Final = listed("בהתחלה ההתחלה מההתחלה קידומת הקידומת ראשונות הראשונות ראשונים הראשונים")
_INSTEAD: Final = listed("אלא במקום")


def patched(digits: str, groups: Sequence[str], new: str, said: Sequence[str]) -> str:
    """`digits`, read back in `groups`, after the caller corrected a part of them with `new`; '' when unclear.

    `said` are the caller's words: "בסוף" and "קידומת" tell the place. Without them it is the one group of that length
    that differs in a single digit, or, of "this, that", the place where "this" stands.
    """
    if not new or len(new) >= len(digits):
        return ""
    if _END.intersection(said):
        return digits[: -len(new)] + new
    if _START.intersection(said):
        return new + digits[len(new) :]
    half, odd = divmod(len(new), 2)
    old, right = new[:half], new[half:]
    if "במקום" in said[1:]:  # "שבע שמונה במקום שש שמונה"
        old, right = right, old
    if not odd and old != right and digits.count(old) == 1 and (half > 1 or _INSTEAD.intersection(said)):
        return digits.replace(old, right)
    if new in groups:
        return ""
    places, at = [], 0
    for group in groups:
        if len(group) == len(new) > 1 and sum(a != b for a, b in zip(group, new, strict=True)) == 1:
            places.append(at)
        at += len(group)
    if len(places) != 1:
        return ""
    return digits[: places[0]] + new + digits[places[0] + len(new) :]


def placed(said: Sequence[str]) -> bool:
    """Whether the caller said which part they correct ("בסוף", "הקידומת", "במקום")."""
    return bool((_END | _START | _INSTEAD).intersection(said))
