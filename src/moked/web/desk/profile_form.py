"""The business's profile as a form, and back (pure): what the YAML says, in the fields people fill in.

Rows that are left empty are not there; what the form does not show (the words of the pronunciation page) stays as it
was. Nothing is checked here: the profile's own reader does, and names the field (`error_field`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final

from moked.dialog.hours import WEEKDAYS

TEXTS: Final = (
    "name", "phone", "address", "description", "greeting", "recording_notice", "transfer_number", "timezone",
)  # fmt: skip
ROWS: Final[Mapping[str, tuple[str, ...]]] = {
    "holidays": ("date", "until", "name", "hours"),
    "services": ("name", "price", "note", "keywords"),
    "faq": ("question", "answer", "keywords"),
}
CLOSED: Final = ("closed", "סגור", "")
_SPARE_ROWS: Final = 2
_INDEX: Final = re.compile(r"\[(\d+)\]")

Values = Callable[[str], Sequence[str]]
"""All values of a form's field, by its name; the rows of a list share their names."""


@dataclass(frozen=True, slots=True)
class ProfileForm:
    """What stands in the fields. `hours`: by day, ranges with commas between them. Each list ends in empty rows."""

    texts: Mapping[str, str]
    voice_gender: str
    hours: Mapping[str, str]
    rows: Mapping[str, Sequence[Mapping[str, str]]]
    hints: str


def shown(fields: Mapping[str, Any]) -> ProfileForm:
    """`fields` as `ownerfile.plain` gives them, whatever an owner has made of them."""
    hours = fields.get("hours")
    return ProfileForm(
        texts={key: _text(fields.get(key)) for key in TEXTS},
        voice_gender=_text(fields.get("voice_gender")) or "male",
        hours={day: _hours(hours.get(day)) if isinstance(hours, dict) else "" for day in WEEKDAYS},
        rows={name: _rows(fields.get(name), columns) for name, columns in ROWS.items()},
        hints="\n".join(_list(fields.get("hints"))),
    )


def taken(before: Mapping[str, Any], values: Values) -> dict[str, Any]:
    """The fields after the form was filled in: `before`, with what the form shows put in its place."""
    fields: dict[str, Any] = {key: _first(values, key) for key in TEXTS}
    fields["voice_gender"] = _first(values, "voice_gender") or "male"
    fields["hours"] = {day: _spans(_first(values, f"hours_{day}")) for day in WEEKDAYS}
    for name, columns in ROWS.items():
        fields[name] = _filled(name, columns, values)
    fields["hints"] = [hint for line in values("hints") for hint in _split(line.replace("\n", ","))]
    kept = {key: value for key, value in before.items() if key not in fields}
    return {key: value for key, value in {**fields, **kept}.items() if value not in ("", [], {}, None)}


def said_words(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The pronunciation's (written, said) pairs."""
    words = fields.get("pronunciation")
    return [(str(word), _text(said)) for word, said in words.items()] if isinstance(words, dict) else []


def with_words(fields: Mapping[str, Any], written: Sequence[str], said: Sequence[str]) -> dict[str, Any]:
    """The fields with these pairs; a word without a sound is left out, of two with the same word the last holds."""
    pairs = {_line(word): _line(sound) for word, sound in zip(written, said, strict=False)}
    words = {word: sound for word, sound in pairs.items() if word and sound}
    kept = {key: value for key, value in fields.items() if key != "pronunciation"}
    return {**kept, "pronunciation": words} if words else kept


def error_field(path: str) -> str:
    """The `id` of the input that a `ProfileError`'s path means: "services[2].price" is "services-1-price"."""
    plain = _INDEX.sub(lambda found: f"-{int(found[1]) - 1}", path).replace(".", "-")
    return re.sub(r"^(hours-[a-z]+)-.*", r"\1", re.sub(r"-(keywords|hours)-\d+$", r"-\1", plain))


def _filled(name: str, columns: Sequence[str], values: Values) -> list[dict[str, Any]]:
    rows = []
    for row in zip_longest(*(values(f"{name}_{column}") for column in columns), fillvalue=""):
        cells = {column: _line(cell) for column, cell in zip(columns, row, strict=True)}
        if not any(cells.values()):
            continue
        filled: dict[str, Any] = {column: cell for column, cell in cells.items() if cell}
        if cells.get("keywords"):
            filled["keywords"] = _split(cells["keywords"])
        if cells.get("hours"):
            filled["hours"] = _spans(cells["hours"])
        rows.append(filled)
    return rows


def _rows(value: Any, columns: Sequence[str]) -> list[dict[str, str]]:
    rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
    found = [
        {
            column: _hours(row.get(column)) if column == "hours" else ", ".join(_list(row.get(column)))
            for column in columns
        }
        for row in rows
    ]
    return found + [dict.fromkeys(columns, "")] * _SPARE_ROWS


def _hours(value: Any) -> str:
    spans = [span for span in _list(value) if span not in CLOSED]
    return ", ".join(spans)


def _spans(text: str) -> str | list[str]:
    if text.strip() in CLOSED:
        return "closed"
    spans = _split(text)
    return spans[0] if len(spans) == 1 else spans


def _split(text: str) -> list[str]:
    return [part for part in (_line(part) for part in text.split(",")) if part]


def _list(value: Any) -> list[str]:
    return [_text(item) for item in value] if isinstance(value, list) else [_text(value)] if _text(value) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _first(values: Values, name: str) -> str:
    return _line(next(iter(values(name)), ""))


def _line(text: str) -> str:
    """On one line, without marks that turn the direction of what follows."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
