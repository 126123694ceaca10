"""Lists of contacts as files of text (pure): any CSV that Excel, Google or an old program in Israel writes, read; and
one that Excel opens right, written.

    bytes -> decode -> text -> table -> header and rows -> guess: which column is what -> read_row -> Person | Problem
    cells -> line, with what Excel would take for a formula made harmless
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from moked.crm.finding import words
from moked.crm.lead_fields import FieldKind, Unfit, read_shekels, read_value
from moked.crm.phone import to_e164

BOM: Final = "\ufeff"
MOST_BYTES: Final = 10 * 1024 * 1024
MOST_ROWS: Final = 20_000
_MOST_COLUMNS: Final = 100
_LONGEST_CELL: Final = 4000
_LONGEST_NAME: Final = 200
_DELIMITERS: Final = ",;\t|"
_TURNED: Final = re.compile("[\u202a-\u202e\u2066-\u2069]")
_EMAIL: Final = re.compile(r"[^\s@]+@[^\s@]+\.[^\s@]+")
_FORMULA: Final = ("=", "@", "\t", "\r")
_MAYBE_FORMULA: Final = re.compile(r"[+\-].*[(!|]")
_ACTIVE: Final = ("=", "+", "-", "@", "\t", "\r")


class BadFile(ValueError):
    """The whole file cannot be used. `str` says why: 'empty', 'xlsx', 'binary', 'encoding', 'csv', 'columns',
    'rows' or 'too_big'.
    """


def decode(data: bytes) -> tuple[str, str]:
    """The text and its encoding: UTF-8 with or without a mark, UTF-16 with one or with the zeros of Latin signs,
    Windows-1255.
    """
    if not data.strip():
        raise BadFile("empty")
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise BadFile("xlsx")
    encoding = "windows-1255"
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
    elif b"\0" in data[:200]:
        encoding = "utf-16-le" if data[1:200:2].count(0) > data[0:200:2].count(0) else "utf-16-be"
    else:
        try:
            return data.decode("utf-8-sig"), "utf-8"
        except UnicodeDecodeError:
            pass
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise BadFile("encoding") from None
    if "\0" in text:
        raise BadFile("binary")
    return text.removeprefix(BOM), encoding


def delimiter(text: str) -> str:
    """What separates the columns: the sign that the first lines have most evenly."""
    lines = [line for line in text[:20_000].splitlines()[:20] if line.strip()]

    def evenness(sign: str) -> tuple[int, int]:
        counts = [line.count(sign) for line in lines]
        return (sum(count == counts[0] for count in counts) if counts and counts[0] else 0, counts[0] if counts else 0)

    return max(_DELIMITERS, key=evenness)


def table(text: str) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The header, and the rows with the numbers of their lines. Empty rows are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text), strict=True)

    def rows() -> Iterator[tuple[int, list[str]]]:
        try:
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
        except csv.Error:
            raise BadFile("csv") from None

    found = rows()
    _, header = next(found, (0, []))
    if not header:
        raise BadFile("empty")
    if len(header) > _MOST_COLUMNS:
        raise BadFile("columns")
    return [cell.strip() for cell in header], found


class Column(StrEnum):
    """What a column of the file may be; a field of the business's own is 'extra.<name>'."""

    NAME = "name"
    PHONE = "phone"
    EMAIL = "email"
    NEED = "need"
    NOTE = "note"
    VALUE = "value"
    TAGS = "tags"


_KNOWN: Final[Mapping[Column, tuple[str, ...]]] = {
    Column.NAME: ("שם", "שם מלא", "שם הלקוח", "שם לקוח", "לקוח", "איש קשר", "name", "full name", "contact"),
    Column.PHONE: ("טלפון", "נייד", "טלפון נייד", "מספר טלפון", "סלולרי", "phone", "mobile", "tel", "phone number"),
    Column.EMAIL: ("דואל", "מייל", "אימייל", "דואר אלקטרוני", "email", "e mail", "mail"),
    Column.NEED: ("הצורך", "צורך", "נושא", "need", "subject"),
    Column.NOTE: ("הערה", "הערות", "note", "notes", "comment"),
    Column.VALUE: ("שווי", "סכום", "ערך", "value", "amount"),
    Column.TAGS: ("תגיות", "תגית", "תגים", "tags", "tag"),
}
_BY_NAME: Final = {tuple(words(name)): column for column, names in _KNOWN.items() for name in names}


def guess(header: Sequence[str], own: Sequence[str] = ()) -> list[str]:
    """What each column probably is; '' where nobody knows. No two columns are the same."""
    found: list[str] = []
    for title in header:
        known = _BY_NAME.get(tuple(words(title)))
        meant = known.value if known else f"extra.{title}" if title in own else ""
        found.append("" if meant in found else meant)
    return found


@dataclass(frozen=True, slots=True)
class Person:
    """One row. `phone` is E.164."""

    line: int
    name: str
    phone: str
    email: str = ""
    need: str = ""
    note: str = ""
    value: int | None = None
    tags: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def wants_lead(self) -> bool:
        return bool(self.need or self.value is not None or self.tags or self.extra)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a row cannot be taken. `code`: 'no_phone', 'phone', 'email', 'value', 'formula', 'bidi', 'name', 'long',
    'cells', 'erased', or 'field' for a field of the business's own; `column`: its title in the file.
    """

    line: int
    code: str
    column: str = ""


@dataclass(frozen=True, slots=True)
class OwnField:
    kind: FieldKind
    choices: Sequence[str] = ()


def read_row(
    line: int, row: Sequence[str], header: Sequence[str], columns: Sequence[str], own: Mapping[str, OwnField]
) -> Person | Problem:
    """A person, or the first thing that is wrong. `columns`: what each is, as `guess` says it."""
    if len(row) > len(header) and any(cell.strip() for cell in row[len(header) :]):
        return Problem(line, "cells")
    cells: dict[str, str] = {}
    titles: dict[str, str] = {}
    for title, meant, cell in zip(header, columns, row, strict=False):
        if not meant:
            continue
        text = cell.strip().removeprefix("'")
        if meant != Column.PHONE:
            if text.startswith(_FORMULA) or _MAYBE_FORMULA.match(text):
                return Problem(line, "formula", title)
            if _TURNED.search(text):
                return Problem(line, "bidi", title)
        if len(text) > (_LONGEST_NAME if meant in (Column.NAME, Column.EMAIL) else _LONGEST_CELL):
            return Problem(line, "long", title)
        cells[meant], titles[meant] = _tidy(text, many_lines=meant in (Column.NOTE, Column.NEED)), title
    return _person(line, cells, titles, own)


def _person(
    line: int, cells: Mapping[str, str], titles: Mapping[str, str], own: Mapping[str, OwnField]
) -> Person | Problem:
    written = cells.get(Column.PHONE, "")
    if not written:
        return Problem(line, "no_phone", titles.get(Column.PHONE, ""))
    phone = to_e164(written)
    if phone is None or not phone.startswith("+"):
        return Problem(line, "phone", titles[Column.PHONE])
    email = cells.get(Column.EMAIL, "").lower()
    if email and not _EMAIL.fullmatch(email):
        return Problem(line, "email", titles[Column.EMAIL])
    try:
        value = read_shekels(cells.get(Column.VALUE, ""))
    except Unfit:
        return Problem(line, "value", titles[Column.VALUE])
    extra: dict[str, str] = {}
    for name, asked in own.items():
        text = cells.get(f"extra.{name}", "")
        try:
            if kept := read_value(asked.kind, asked.choices, text):
                extra[name] = kept
        except Unfit:
            return Problem(line, "field", name)
    written_tags = (part.strip()[:40] for part in re.split("[,;]", cells.get(Column.TAGS, "")))
    tags = tuple(dict.fromkeys(tag for tag in written_tags if tag))
    return Person(
        line, cells.get(Column.NAME, ""), phone, email, cells.get(Column.NEED, ""), cells.get(Column.NOTE, ""), value,
        tags[:20], extra,
    )  # fmt: skip


def _tidy(text: str, *, many_lines: bool) -> str:
    kept = "".join(c for c in text if c.isprintable() or (many_lines and c == "\n") or c == "\t")
    return kept.strip() if many_lines else " ".join(kept.split())


def harmless(text: str) -> str:
    """A cell that no spreadsheet runs: one that begins like a formula gets an apostrophe before it."""
    return "'" + text if text.startswith(_ACTIVE) else text


def line(cells: Sequence[str]) -> str:
    """One line of a file for Excel; the file begins with `BOM`."""
    written = io.StringIO(newline="")
    csv.writer(written).writerow([harmless(cell) for cell in cells])
    return written.getvalue()
