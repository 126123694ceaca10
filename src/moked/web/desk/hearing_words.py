"""What was changed about hearing, for people (pure): the history keeps one English line for the command and the API."""

import re
from typing import Final

_LASTING: Final = r"(?:, for (?P<lasting>\d+[smhd]))?"
_KNOWN: Final = tuple(
    (key, re.compile(pattern))
    for key, pattern in (
        ("rolled_back", r"streaming off for all calls \(rollback\)"),
        ("all_on", rf"streaming on for all calls{_LASTING}"),
        ("all_off", rf"streaming off for all calls{_LASTING}"),
        ("share_on", rf"streaming on for (?P<percent>\d+) % of the calls{_LASTING}"),
        ("share_off", rf"streaming off for (?P<percent>\d+) % of the calls{_LASTING}"),
        ("number_on", rf"streaming on for (?P<number>[+*\d]+){_LASTING}"),
        ("number_off", rf"streaming off for (?P<number>[+*\d]+){_LASTING}"),
        ("cleared", r"no rule for (?P<number>[+*\d]+) any more"),
        ("shadow_on", r"shadow on (?P<percent>\d+) % of the calls"),
        ("shadow_off", r"shadow off"),
        ("stays", r"streaming stays on"),
    )
)


def read(what: str) -> tuple[str, dict[str, str]]:
    """The key of its words, and what they are filled with; '' for a line that is not known."""
    for key, pattern in _KNOWN:
        found = pattern.fullmatch(what)
        if found:
            return key, {name: value for name, value in found.groupdict().items() if value}
    return "", {}
