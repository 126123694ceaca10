"""What has changed between two texts, line by line (pure)."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_AROUND: Final = 2


@dataclass(frozen=True, slots=True)
class DiffLine:
    """`kind`: 'same', 'gone', 'new', or 'gap' where equal lines are left out. `number`: in the newer text, or 0."""

    kind: str
    text: str = ""
    number: int = 0


def changes(before: str, after: str) -> list[DiffLine]:
    """Each change with two lines around it; [] for equal texts."""
    old, new = before.splitlines(), after.splitlines()
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    out: list[DiffLine] = []
    for group in matcher.get_grouped_opcodes(_AROUND):
        if out or group[0][3] > 0:
            out.append(DiffLine("gap"))
        for what, old_from, old_to, new_from, new_to in group:
            if what == "equal":
                out += _numbered("same", new, new_from, new_to)
                continue
            out += [DiffLine("gone", line) for line in old[old_from:old_to]]
            out += _numbered("new", new, new_from, new_to)
    return out


def _numbered(kind: str, lines: list[str], start: int, end: int) -> Iterator[DiffLine]:
    return (DiffLine(kind, lines[at], at + 1) for at in range(start, end))
