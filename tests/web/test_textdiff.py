"""Differences between two texts."""

from hypothesis import given
from hypothesis import strategies as st

from moked.web.desk.textdiff import changes

LINES = st.lists(st.sampled_from(["א", "ב", "ג", ""]), max_size=12).map("\n".join)


@given(LINES, LINES)
def test_what_is_shown_leads_from_one_text_to_the_other(before, after):
    lines = changes(before, after)
    gone = [line.text for line in lines if line.kind == "gone"]
    new = [line.text for line in lines if line.kind == "new"]
    old = before.splitlines()
    for text in gone:
        old.remove(text)
    assert sorted([*old, *new]) == sorted(after.splitlines())
    assert (lines == []) == (before.splitlines() == after.splitlines())
    assert all(after.splitlines()[line.number - 1] == line.text for line in lines if line.number)


def test_equal_stretches_are_left_out():
    before = "\n".join(f"שורה {number}" for number in range(20))
    lines = changes(before, before.replace("שורה 10", "אחרת"))
    assert [line.kind for line in lines] == ["gap", "same", "same", "gone", "new", "same", "same"]
