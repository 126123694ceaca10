"""The rules of calls that we make (pure): how fast, whether again, and when to stop.

A campaign places a call when its pace, its own limit of calls at a time and the house's free places all allow it. Busy,
no answer and a machine are tried again after a while; who answered is not called again. The breaker looks at the last
attempts since the campaign was (re)started and stops it where the line fails, or where people ask to be left alone.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moked.channels.policy import Purpose
from moked.crm.phone import to_e164

MOST_NUMBERS: Final = 2000
FAILURE_SHARE: Final = 0.5
FAILURES_FROM: Final = 6
OPT_OUT_SHARE: Final = 0.1
OPT_OUTS_FROM: Final = 3
LOOKED_AT: Final = 30
"""The last attempts the breaker looks at."""

ANSWERED, MACHINE, BUSY, NO_ANSWER, FAILED, OPTED_OUT = (
    "answered", "machine", "busy", "no_answer", "failed", "opted_out",
)  # fmt: skip
_AGAIN: Final = frozenset({MACHINE, BUSY, NO_ANSWER, FAILED})


@dataclass(frozen=True, slots=True)
class Pace:
    """`per_minute` calls are begun, `max_parallel` are on the line; each is tried `max_attempts` times."""

    per_minute: int = 2
    max_parallel: int = 1
    max_attempts: int = 3
    retry: timedelta = timedelta(hours=2)


def may_begin(pace: Pace, *, begun_last_minute: int, on_the_line: int, free_places: int) -> int:
    """How many calls may be begun now. Never the house's last place: somebody may be calling in."""
    return max(0, min(pace.per_minute - begun_last_minute, pace.max_parallel - on_the_line, free_places - 1))


@dataclass(frozen=True, slots=True)
class Line:
    """What a business has to call now. `clicked`: somebody of it waits at their phone; `live`: its calls that are on
    the line."""

    business_id: int
    clicked: bool = False
    live: int = 0


def turns(waiting: Iterable[Line], last: int) -> list[int]:
    """Whose turn it is, one call each, then again: who clicked, then who has the fewest calls on the line, then in a
    circle behind `last`, the business that was served last. So nobody waits for another's long list, and places that
    become free go to who has the least of them."""

    def key(line: Line) -> tuple[bool, int, bool, int]:
        return not line.clicked, line.live, line.business_id <= last, line.business_id

    return [line.business_id for line in sorted(waiting, key=key)]


def next_try(result: str, *, attempts: int, pace: Pace, now: datetime) -> datetime | None:
    """When to call again, or None: it is over."""
    return now + pace.retry if result in _AGAIN and attempts < pace.max_attempts else None


def breaker(results: Sequence[str]) -> str:
    """'failures', 'opt_outs' or '': why to stop. `results` are the latest first."""
    last = results[:LOOKED_AT]
    failures = sum(result == FAILED for result in last)
    if len(last) >= FAILURES_FROM and failures / len(last) >= FAILURE_SHARE:
        return "failures"
    reached = sum(result in (ANSWERED, OPTED_OUT) for result in last)
    refusals = sum(result == OPTED_OUT for result in last)
    if refusals >= OPT_OUTS_FROM and refusals / reached >= OPT_OUT_SHARE:
        return "opt_outs"
    return ""


# ---- what is said first


def opening(business: str, subject: str, *, purpose: Purpose, callback: bool, male: bool = True, name: str = "") -> str:
    """The first sentences of a call that we make: who calls, that it is no person, and why."""
    whom = f"שלום {name.split(maxsplit=1)[0]}" if name else "שלום"
    who = "מדבר העוזר הקולי" if male else "מדברת העוזרת הקולית"
    agent, calls, returns = ("סוכן וירטואלי", "מתקשר", "חוזר") if male else ("סוכנת וירטואלית", "מתקשרת", "חוזרת")
    about = subject.strip().rstrip(".!?")
    if callback:
        why = f"אני {returns} אליכם כפי שביקשתם" + (f", בנוגע לפנייה: {about}." if about else ".")
    else:
        why = f"אני {calls} בנושא: {about}."
    out = " זו שיחה פרסומית, ואפשר לבקש הסרה בכל רגע." if purpose is Purpose.MARKETING else ""
    return f"{whom}, {who} של {business}, {agent}. {why}{out}"


# ---- lists


@dataclass(frozen=True, slots=True)
class Row:
    """`name` may be ''."""

    number: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class ReadList:
    """What a list holds: each number once, and the lines that hold none."""

    rows: tuple[Row, ...]
    unreadable: tuple[str, ...]
    repeated: int = 0


def read_list(text: str) -> ReadList:
    """Numbers, one a line, as CSV with names in any order of columns; a heading is no number and is passed over."""
    found: dict[str, Row] = {}
    unreadable, repeated = [], 0
    for index, cells in enumerate(_lines(text)):
        numbers = [number for cell in cells if (number := to_e164(cell)) and number.startswith("+")]
        if not numbers:
            if index or not _heading(cells):
                unreadable.append(", ".join(cells)[:100])
            continue
        name = next((cell for cell in cells if cell and not to_e164(cell) and any(c.isalpha() for c in cell)), "")
        if numbers[0] in found:
            repeated += 1
        else:
            found[numbers[0]] = Row(numbers[0], name[:200])
    return ReadList(tuple(found.values()), tuple(unreadable), repeated)


def read_checks(text: str) -> tuple[dict[str, bool], tuple[str, ...]]:
    """A registry's answer: a number a line, and whether it is listed ('כן', 'רשום', '1'). Without a second column the
    line is one that is listed: that is how the registry's own lists look."""
    listed: dict[str, bool] = {}
    unreadable = []
    for index, cells in enumerate(_lines(text)):
        number = next((found for cell in cells if (found := to_e164(cell)) and found.startswith("+")), None)
        if number is None:
            if index or not _heading(cells):
                unreadable.append(", ".join(cells)[:100])
            continue
        words = {cell.casefold() for cell in cells if to_e164(cell) != number}
        listed[number] = not words & _NOT_LISTED
    return listed, tuple(unreadable)


_NOT_LISTED: Final = frozenset({"לא", "לא רשום", "לא רשומה", "0", "no", "false", "not listed", "נקי"})


def _lines(text: str) -> Iterable[list[str]]:
    text = text.lstrip("\ufeff")
    for line in text.splitlines():
        separator = next((mark for mark in (";", "\t") if mark in line), ",")
        for cells in csv.reader(io.StringIO(line), delimiter=separator):
            if kept := [cell.strip() for cell in cells if cell.strip()]:
                yield kept


def _heading(cells: Sequence[str]) -> bool:
    return not any(char.isdigit() for cell in cells for char in cell)
