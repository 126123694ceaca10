"""Fields that a business defines for its leads (pure): what may stand in one, as text that sorts and is compared.

A value stands in `lead.extra` under the field's name, so that the agent and people fill the same one, with its source.
What the agent heard may be anything; what a person writes fits the kind.
"""

import re
from collections.abc import Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final

LOST_REASONS: Final = ("המחיר", "בחרו בעסק אחר", "לא היה מענה", "כבר לא צריך", "מחוץ לאזור או לתחום", "אחר")
"""Why leads are lost, until a business says otherwise."""

SEALED: Final = "sealed:"
"""Begins the value of a field that is sealed in place: what the business asked for, and nobody else may read."""

MOST_VALUE: Final = 1_000_000_000
_SHEKELS: Final = re.compile(r"\d{1,3}(?:,\d{3})+|\d+")
_DATE: Final = re.compile(r"(\d{1,2})[./](\d{1,2})[./](\d{4})")


class FieldKind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    DATE = "date"
    CHOICE = "choice"
    YES_NO = "yes_no"


class Unfit(ValueError):
    """The text is no value of the field's kind; `str` is the kind."""


YES, NO = "כן", "לא"


def read_value(kind: FieldKind, choices: Sequence[str], text: str) -> str:
    """`text` as it is kept: "12.5", "2026-11-22", one of `choices`, "כן" or "לא"; '' empties the field."""
    text = text.strip()
    if not text:
        return ""
    match kind:
        case FieldKind.TEXT:
            return text
        case FieldKind.NUMBER:
            try:
                number = Decimal(text.replace(",", ""))
            except InvalidOperation:
                raise Unfit(kind.value) from None
            if not number.is_finite() or abs(number) >= 10**15:
                raise Unfit(kind.value)
            return f"{number.normalize():f}" if number else "0"
        case FieldKind.DATE:
            return _date(text).isoformat()
        case FieldKind.CHOICE:
            if text not in choices:
                raise Unfit(kind.value)
            return text
        case FieldKind.YES_NO:
            if text not in (YES, NO):
                raise Unfit(kind.value)
            return text


def _date(text: str) -> date:
    try:
        if found := _DATE.fullmatch(text):
            day, month, year = map(int, found.groups())
            return date(year, month, day)
        return date.fromisoformat(text)
    except ValueError:
        raise Unfit(FieldKind.DATE.value) from None


def read_shekels(text: str) -> int | None:
    """ "12,500 ₪" is 12500; '' is None. Raises `Unfit` for what is no amount of whole shekels."""
    text = "".join(text.replace("₪", "").split())
    if not text:
        return None
    if not text.isascii() or not _SHEKELS.fullmatch(text) or int(text.replace(",", "")) > MOST_VALUE:
        raise Unfit("value")
    return int(text.replace(",", ""))


def read_lines(text: str, *, most: int = 50, longest: int = 100) -> list[str]:
    """A list that was typed one a line: without empty lines and repetitions."""
    lines = (" ".join("".join(c for c in line if c.isprintable()).split())[:longest] for line in text.splitlines())
    return list(dict.fromkeys(line for line in lines if line))[:most]
