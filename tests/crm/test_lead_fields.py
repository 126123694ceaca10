"""Fields of a business's own, and amounts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.crm.lead_fields import FieldKind, Unfit, read_lines, read_shekels, read_value


@pytest.mark.parametrize(
    ("kind", "text", "kept"),
    [
        (FieldKind.TEXT, " שלום ", "שלום"),
        (FieldKind.NUMBER, "12.50", "12.5"),
        (FieldKind.NUMBER, "1,000", "1000"),
        (FieldKind.NUMBER, "-0", "0"),
        (FieldKind.DATE, "22.11.2026", "2026-11-22"),
        (FieldKind.DATE, "1/2/2026", "2026-02-01"),
        (FieldKind.DATE, "2026-02-01", "2026-02-01"),
        (FieldKind.CHOICE, "אדום", "אדום"),
        (FieldKind.YES_NO, "כן", "כן"),
        (FieldKind.CHOICE, "", ""),
    ],
)
def test_a_value_is_kept_in_one_form(kind, text, kept):
    assert read_value(kind, ["אדום", "כחול"], text) == kept


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (FieldKind.NUMBER, "הרבה"), (FieldKind.NUMBER, "inf"), (FieldKind.NUMBER, "1e99"),
        (FieldKind.DATE, "31.2.2026"),
        (FieldKind.DATE, "מחר"), (FieldKind.CHOICE, "ירוק"), (FieldKind.YES_NO, "אולי"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(kind, text):
    with pytest.raises(Unfit, match=kind.value):
        read_value(kind, ["אדום", "כחול"], text)


@given(st.sampled_from(FieldKind), st.text(max_size=20))
def test_a_kept_value_is_its_own_form(kind, text):
    try:
        kept = read_value(kind, ["אדום", "כחול"], text)
    except Unfit:
        return
    assert read_value(kind, ["אדום", "כחול"], kept) == kept


@pytest.mark.parametrize(("text", "value"), [("", None), ("12,500 ₪", 12500), ("0", 0), (" 7 ", 7)])
def test_amounts(text, value):
    assert read_shekels(text) == value


@pytest.mark.parametrize("text", ["1,2", "12.5", "-3", "מאה", "9" * 12, "٣"])
def test_what_is_no_amount(text):
    with pytest.raises(Unfit):
        read_shekels(text)


def test_a_list_is_typed_one_a_line():
    assert read_lines(" א \n\nב\u202e\nא\n") == ["א", "ב"]
