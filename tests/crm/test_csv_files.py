"""Files of contacts, as all kinds of programs write them, and as Excel reads them."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm import csv_files
from moked.crm.csv_files import BadFile, OwnField, Person, Problem
from moked.crm.lead_fields import FieldKind

TEXT = "שם,טלפון\r\nדנה,050-2345678\r\n"
HEADER, COLUMNS = ["שם", "טלפון", "שווי", "הערה"], ["name", "phone", "value", "note"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1255", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_encoding_is_read(encoding):
    text, found = csv_files.decode(TEXT.encode(encoding))
    assert text == TEXT
    assert found == encoding.removesuffix("-sig")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty"),
        (b" \r\n", "empty"),
        (b"PK\x03\x04rest", "xlsx"),
        (b"\xd0\xcf\x11\xe0old", "xlsx"),
        (b"name\xff\xfb\xfc,\xd9\xda", "encoding"),
        (b"\x89PNG\r\n" + bytes(range(256)), "encoding"),
        (b"a" * 300 + b"\0\xe0", "binary"),
    ],
)
def test_what_is_no_text_says_what_it_is(data, why):
    with pytest.raises(BadFile, match=why):
        csv_files.decode(data)


@pytest.mark.parametrize("sign", [",", ";", "\t", "|"])
def test_every_separator_is_read(sign):
    header, rows = csv_files.table(f"שם{sign}טלפון{sign}הערה\nדנה{sign}050{sign}א, ב; ג\n".replace("א, ב; ג", "שלום"))
    assert header == ["שם", "טלפון", "הערה"]
    assert list(rows) == [(2, ["דנה", "050", "שלום"])]


def test_quotes_hold_lines_and_separators_and_the_line_is_told():
    _, rows = csv_files.table('שם,הערה\n"לוי, דנה","שורה\nועוד"\n\n,\nאבי,כן\n')
    assert list(rows) == [(3, ["לוי, דנה", "שורה\nועוד"]), (6, ["אבי", "כן"])]


@pytest.mark.parametrize("text", ['שם,טלפון\n"דנה,050\n', 'שם,טלפון\n"דנה"x,050\n'])
def test_a_broken_file_is_refused(text):
    _, rows = csv_files.table(text)
    with pytest.raises(BadFile, match="csv"):
        list(rows)


def test_columns_are_guessed():
    header = ["שם מלא", "טלפון נייד", "Email", "הערות", "תקציב", "Phone", "xyz"]
    assert csv_files.guess(header, ["תקציב"]) == ["name", "phone", "email", "note", "extra.תקציב", "", ""]


def test_a_row_is_a_person():
    own = {"תקציב": OwnField(FieldKind.NUMBER)}
    found = csv_files.read_row(
        2, ["דנה ", "'0502345678", "1,200 ₪", "a\nb", "12.50"], [*HEADER, "תקציב"], [*COLUMNS, "extra.תקציב"], own
    )
    assert found == Person(2, "דנה", "+972502345678", value=1200, note="a\nb", extra={"תקציב": "12.5"})
    assert csv_files.read_row(3, ["", "502345678"], HEADER, COLUMNS, {}) == Person(3, "", "+972502345678")


@pytest.mark.parametrize(
    ("row", "code", "column"),
    [
        (["דנה", ""], "no_phone", "טלפון"),
        (["דנה", "123"], "phone", "טלפון"),
        (["דנה", "*2700"], "phone", "טלפון"),
        (['=HYPERLINK("http://x","y")', "0502345678"], "formula", "שם"),
        (["@SUM(A1)", "0502345678"], "formula", "שם"),
        (["-2+3+cmd|' /C calc'!A0", "0502345678"], "formula", "שם"),
        (["דנה\u202eכהן", "0502345678"], "bidi", "שם"),
        (["ד" * 201, "0502345678"], "long", "שם"),
        (["דנה", "0502345678", "הרבה"], "value", "שווי"),
        (["דנה", "0502345678", "1", "", "עוד"], "cells", ""),
    ],
)
def test_a_bad_row_says_what_is_wrong(row, code, column):
    assert csv_files.read_row(7, row, HEADER, COLUMNS, {}) == Problem(7, code, column)


@given(st.lists(st.text(), min_size=1, max_size=5), st.lists(st.sampled_from(["", *COLUMNS]), min_size=1, max_size=5))
def test_no_row_breaks_anything(row, columns):
    found = csv_files.read_row(2, row, HEADER, columns, {})
    assert isinstance(found, Problem) or found.phone.startswith("+")


@given(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0")), min_size=2))
def test_what_is_written_is_read_and_no_cell_is_a_formula(cells):
    line = csv_files.line(cells)
    (found,) = csv.reader(io.StringIO(line, newline=""))
    assert not any(cell.startswith(("=", "+", "-", "@", "\t")) for cell in found)
    assert [cell.removeprefix("'") if cell.startswith("'") and not mine.startswith("'") else cell
            for cell, mine in zip(found, cells, strict=True)] == cells  # fmt: skip


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        text, _ = csv_files.decode(data)
        list(csv_files.table(text)[1])
    except BadFile:
        pass
