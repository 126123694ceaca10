"""What a request asks for: values of its query and form, read leniently. Nonsense in a filter is no filter."""

from datetime import date
from enum import Enum
from typing import TypeVar

from flask import request

Word = TypeVar("Word", bound=Enum)
_LAST_PAGE = 1_000_000


def page() -> int:
    text = request.args.get("page", "1")
    return min(max(int(text), 1), _LAST_PAGE) if text.isascii() and text.isdigit() and len(text) < 9 else 1


def text(name: str = "q") -> str:
    return request.args.get(name, "").strip()[:100]


def word(kind: type[Word], value: str) -> Word | None:
    try:
        return kind(value)
    except ValueError:
        return None


def day(name: str) -> date | None:
    try:
        return date.fromisoformat(request.args.get(name, ""))
    except ValueError:
        return None


def row(value: str) -> int | None:
    """A row's number, or None."""
    return int(value) if value.isascii() and value.isdigit() and len(value) < 10 else None
