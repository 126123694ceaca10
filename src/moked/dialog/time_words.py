"""The words of days and hours in Hebrew (pure): where they stand in a text, and what each says by itself.

`scan` gathers them; what they leave open ("בשמונה": of which day, in the morning or the evening?) `moments` fills in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from moked.dialog.numbers import number_at
from moked.dialog.words import is_break, listed, phrases

_MONTHS: Final = {
    "ינואר": 1, "פברואר": 2, "מרץ": 3, "מרס": 3, "מארס": 3, "אפריל": 4, "מאי": 5, "יוני": 6, "יולי": 7, "אוגוסט": 8,
    "ספטמבר": 9, "אוקטובר": 10, "נובמבר": 11, "דצמבר": 12, "ינואור": 1, "אוקטבר": 10, "אפרל": 4, "אוגוס": 8,
}  # fmt: skip
_WEEKDAYS: Final = {"ראשון": 0, "שני": 1, "שלישי": 2, "רביעי": 3, "חמישי": 4, "שישי": 5, "ששי": 5, "שבת": 6}
_ORDINALS: Final = {
    "ראשון": 1, "שני": 2, "שלישי": 3, "רביעי": 4, "חמישי": 5, "שישי": 6, "שביעי": 7, "שמיני": 8, "תשיעי": 9,
    "עשירי": 10,
}  # fmt: skip
_NEAR: Final = {"היום": 0, "הערב": 0, "הלילה": 0, "הבוקר": 0, "הצהריים": 0, "מחר": 1, "מחרתיים": 2, "מוחרתיים": 2}
_PARTS: Final = {
    "morning": phrases("בוקר|הבוקר|לפנות בוקר|לפני הצהריים|לפני צהריים|בבקרים|בשעות הבוקר"),
    "afternoon": phrases("אחר הצהריים|אחרי הצהריים|אחהצ|אחר צהריים|אחרי צהריים"),
    "noon": phrases("צהריים|הצהריים|צהרים"),
    "evening": phrases("ערב|הערב|ערבים|שעות הערב"),
    "night": phrases("לילה|הלילה"),
}
_NEXT: Final = listed("הבא הבאה הבאים")
_THIS: Final = listed("הזה הזאת הקרוב הקרובה הנוכחי")
_UNITS: Final = {
    "דקה": (0, 1), "דקות": (0, 1), "שעה": (0, 60), "שעות": (0, 60), "יום": (1, 0), "ימים": (1, 0), "שבוע": (7, 0),
    "שבועות": (7, 0), "חודש": (30, 0), "חודשים": (30, 0),
}  # fmt: skip
_DOUBLE: Final = {
    "שעתיים": "שעה", "יומיים": "יום", "שבועיים": "שבוע", "חודשיים": "חודש", "שעתים": "שעה", "יומים": "יום",
}  # fmt: skip
_AFTER: Final = listed("אחרי החל")
_BEFORE: Final = listed("לפני עד ועד")
_AROUND: Final = listed("שעה השעה סביבות בסביבות סביב לקראת בערך סביבות")
_LONGEST_GAP: Final = 4  # words between two parts of one wish ("מחר, אם נוח לכם, בבוקר")


@dataclass(slots=True)
class Found:
    """What a scan gathered; `spans` are the tokens it used."""

    spans: list[tuple[int, int]] = field(default_factory=list)
    day: date | None = None
    until: date | None = None
    weekday: bool = False
    part: str = ""
    clocks: list[tuple[str, int, int, bool]] = field(default_factory=list)  # (relation, hour, minute, is 24-hour)
    at: datetime | None = None  # "בעוד שעה"
    named: bool = False  # today, tomorrow: said outright
    impossible: bool = False  # 31 February


def spaced(said: tuple[str, ...]) -> tuple[str, ...]:
    """Letters before digits ("ב-15", "ל 8") joined to them, so that every word is looked at with its prefix."""
    out: list[str] = []
    for token in said:
        if token.isdecimal() and out and out[-1] in ("ב", "ל", "מ", "ה", "ו", "בה"):
            out[-1] += token
        else:
            out.append(token)
    return tuple(out)


def joined(said: Sequence[str]) -> str:
    text = " ".join(word for word in said if not is_break(word) or word in (":", "."))
    text = re.sub(r"(?<=\d) ([:.]) (?=\d)", r"\1", text)
    return re.sub(r"\b([בלמהו])(?=\d)", r"\1-", text).replace(" .", "").strip(" .:")


@lru_cache(maxsize=4096)
def _forms(word: str) -> tuple[tuple[str, str], ...]:
    """(prefix, rest) of a word, the whole word first."""
    found = [("", word)]
    cuts = (cut for cut in (1, 2) if len(word) > cut and all(letter in "ובלמשכה" for letter in word[:cut]))
    return (*found, *((word[:cut], word[cut:]) for cut in cuts))


def bare(word: str, table: Sequence[str] | frozenset[str] | dict[str, int]) -> str:
    return next((rest for _, rest in _forms(word) if rest in table), "")


def scan(said: tuple[str, ...], now: datetime, found: Found) -> None:
    at = 0
    while at < len(said):
        if found.spans and at - found.spans[-1][1] > _LONGEST_GAP:
            break
        before = found.day, found.weekday, found.until
        end = (
            _in_a_while(said, at, now, found)
            or _dated(said, at, now, found)
            or _clocked(said, at, found)
            or _day(said, at, now, found)
            or _part(said, at, found)
        )
        another = end and before[0] not in (None, found.day)
        if another and not (before[1] and not found.weekday):  # "ביום ראשון, ה-15 במרץ" is one day
            found.day, found.weekday, found.until = before
            break
        if another:
            found.weekday = False
        if end:
            found.spans.append((at, end))
        at = end or at + 1


def _in_a_while(said: tuple[str, ...], at: int, now: datetime, found: Found) -> int:
    """ "בעוד שבועיים", "עוד שעה", "תוך עשר דקות", "בעוד חצי שעה"."""
    if said[at] not in ("בעוד", "עוד", "תוך", "שבעוד"):
        return 0
    at += 1
    if at >= len(said):
        return 0
    count: float = 1
    if said[at] in _DOUBLE:
        count, unit, end = 2, _DOUBLE[said[at]], at + 1
    elif said[at] in _UNITS:
        unit, end = said[at], at + 1
    else:
        read = number_at(said, at)
        if read is None or read[1] >= len(said) or said[read[1]] not in _UNITS:
            return 0
        count, unit, end = read[0], said[read[1]], read[1] + 1
    if end < len(said) and said[end] in ("וחצי", "ורבע") and unit in ("שעה", "שעות"):
        count, end = count + (0.5 if said[end] == "וחצי" else 0.25), end + 1
    days, minutes = _UNITS[unit]
    if minutes:
        found.at = (now.astimezone(UTC) + timedelta(minutes=round(count * minutes))).astimezone(now.tzinfo)
    elif unit in ("חודש", "חודשים"):
        month = now.month - 1 + int(count)
        found.day = _real(now.year + month // 12, month % 12 + 1, now.day, last=True)
    else:
        found.day = now.date() + timedelta(days=int(count * days))
    return end


def _dated(said: tuple[str, ...], at: int, now: datetime, found: Found) -> int:
    """ "חמישה עשר במרץ", "ב-15 לחודש", "15.3", "15/3/27", "הראשון במאי"."""
    read = _number(said, at)
    if read is None:
        ordinal = bare(said[at], _ORDINALS)
        read = (_ORDINALS[ordinal], at + 1) if ordinal else None
    if read is None or not 1 <= read[0] <= 31:
        return 0
    day, end = read
    if end >= len(said):
        return 0
    word = said[end]
    month = bare(word, _MONTHS)
    if month and (word[0] in "בלה" or word == month):
        year, after = _year(said, end + 1, now)
        found.day = _coming(day, _MONTHS[month], year, now)
        found.impossible = found.day is None
        return after
    if word in ("לחודש", "בחודש", "לחודש הזה"):
        found.day = _in_month(day, now)
        return end + 1 if found.day else 0
    numeral = said[at].lstrip("בלמהו").isdecimal()
    if numeral and word in (".", "/") and end + 1 < len(said) and said[end + 1].isdecimal():
        number = int(said[end + 1])
        if not 1 <= number <= 12:
            return 0
        after, year = end + 2, 0
        if after + 1 < len(said) and said[after] == word and said[after + 1].isdecimal():
            year, after = int(said[after + 1]), after + 2
            year += 2000 if year < 100 else 0
        found.day = _coming(day, number, year, now)
        return after if found.day else 0
    # "חמישה עשר לשלישי": the month by its number
    ordinal = bare(word, _ORDINALS)
    if word[:1] == "ל" and ordinal and not _hour_like(said, at):
        found.day = _coming(day, _ORDINALS[ordinal], 0, now)
        return end + 1 if found.day else 0
    return 0


def _hour_like(said: tuple[str, ...], at: int) -> bool:
    return at > 0 and said[at - 1] in _AROUND


def _year(said: tuple[str, ...], at: int, now: datetime) -> tuple[int, int]:
    read = _number(said, at) if at < len(said) else None
    if read and now.year - 120 <= read[0] <= now.year + 10:
        return read[0], read[1]
    return 0, at


def _coming(day: int, month: int, year: int, now: datetime) -> date | None:
    if year:
        return _real(year, month, day)
    this = _real(now.year, month, day)
    if this is None or this < now.date():
        return next((d for more in range(1, 5) if (d := _real(now.year + more, month, day))), None)
    return this


def _in_month(day: int, now: datetime) -> date | None:
    for month in range(now.month - 1, now.month + 12):
        found = _real(now.year + month // 12, month % 12 + 1, day)
        if found and found >= now.date():
            return found
    return None


def _real(year: int, month: int, day: int, *, last: bool = False) -> date | None:
    """The date, or None where there is none; `last` takes the month's last day instead."""
    for back in range(4 if last else 1):
        try:
            return date(year, month, day - back)
        except ValueError:
            continue
    return None


def _number(said: Sequence[str], at: int) -> tuple[int, int] | None:
    """A whole number at `at`, its first word with or without a prefix."""
    if at >= len(said):
        return None
    digits = said[at].lstrip("בלמהו")
    if digits.isdecimal() and len(digits) <= 4:
        return int(digits), at + 1
    read = number_at(said, at, prefixed=True, halves=False)
    return (int(read[0]), read[1]) if read and read[0] == int(read[0]) else None


def _day(said: tuple[str, ...], at: int, now: datetime, found: Found) -> int:
    """A day by its name: "מחר", "ביום ראשון הבא", "בשבת", "מוצאי שבת", "שבוע הבא", "סוף השבוע"."""
    today, word = now.date(), said[at]
    weekday = today.isoweekday() % 7
    near = bare(word, _NEAR)
    if near and near != "הצהריים":
        found.day, found.named = today + timedelta(days=_NEAR[near]), True
        found.part = {"הערב": "evening", "הלילה": "night", "הבוקר": "morning"}.get(near, found.part)
        return at + 1
    after = said[at + 1] if at + 1 < len(said) else ""
    if bare(word, frozenset({"מוצאי", "מוצש"})) and (after == "שבת" or word.endswith("מוצש")):
        found.day, found.part = today + timedelta(days=(6 - weekday) % 7), "evening"
        return at + (1 if word.endswith("מוצש") else 2)
    if bare(word, frozenset({"ערב"})) and after == "שבת":
        found.day, found.weekday = today + timedelta(days=(5 - weekday) % 7), True
        return at + 2
    if bare(word, frozenset({"שבוע"})) and after in _NEXT:
        found.day = today + timedelta(days=7 - weekday)
        found.until = found.day + timedelta(days=4)
        return at + 2
    if bare(word, frozenset({"שבוע"})) and after in _THIS:
        found.day, found.until = today, today + timedelta(days=max(0, 5 - weekday))
        return at + 2
    if bare(word, frozenset({"סוף", "סופש"})) and (after in ("השבוע", "שבוע") or word.endswith("סופש")):
        found.day = today + timedelta(days=(5 - weekday) % 7)
        found.until = found.day + timedelta(days=1)
        return at + (1 if word.endswith("סופש") else 2)
    if bare(word, frozenset({"תחילת", "אמצע"})) and after == "השבוע":
        begins = today - timedelta(days=weekday) + timedelta(days=7 if weekday >= 2 else 0)
        found.day = begins + timedelta(days=0 if word.endswith("תחילת") else 2)
        found.until = found.day + timedelta(days=1)
        return at + 2
    if bare(word, frozenset({"חודש"})) and after in _NEXT:
        first = _real(now.year + now.month // 12, now.month % 12 + 1, 1)
        assert first
        found.day, found.until = first, _real(first.year, first.month, 31, last=True)
        return at + 2
    return _weekday(said, at, now, found)


def _weekday(said: tuple[str, ...], at: int, now: datetime, found: Found) -> int:
    today, end = now.date(), at
    marked = bare(said[at], frozenset({"יום", "ימי"}))
    if marked:
        end += 1
        if end >= len(said):
            return 0
    name = bare(said[end], _WEEKDAYS)
    prefix = said[end].removesuffix(name)
    # "שני" and "שלישי" alone are numbers; "בשני" is a day, "בשני ימים" is not
    if not name or not (marked or prefix in ("ב", "לב", "ל", "שב", "וב", "עד", "מ") or name == "שבת"):
        lone = name and all(is_break(word) for word in (*said[:at], *said[end + 1 :]))
        if not (lone or (name and end + 1 < len(said) and said[end + 1] in (*_NEXT, *_THIS))):
            return 0
    if not marked and end + 1 < len(said) and (said[end + 1] in _UNITS or bare(said[end + 1], _MONTHS)):
        return 0
    away = (_WEEKDAYS[name] - today.isoweekday() % 7) % 7
    end += 1
    if end < len(said) and said[end] in _NEXT:
        away = away + 7 if away <= 1 else away
        end += 1
    elif end < len(said) and said[end] in _THIS:
        end += 1
    else:
        found.weekday = True
    found.day = today + timedelta(days=away)
    if end + 1 < len(said) and said[end] == "בעוד" and said[end + 1] == "שבוע":
        found.day, end, found.weekday = found.day + timedelta(days=7), end + 2, False
    if end + 1 < len(said) and said[end] == "שבוע" and said[end + 1] in _NEXT:  # "ביום שני שבוע הבא"
        sunday = today + timedelta(days=7 - today.isoweekday() % 7)
        found.day, end, found.weekday = sunday + timedelta(days=_WEEKDAYS[name]), end + 2, False
    return end


def _part(said: tuple[str, ...], at: int, found: Found) -> int:
    for part, options in _PARTS.items():
        for phrase in options:
            first = bare(said[at], frozenset({phrase[0]}))
            if first and said[at + 1 : at + len(phrase)] == phrase[1:]:
                if part == "noon" and at and said[at - 1] in ("אחרי", "אחר", "לפני"):
                    continue
                found.part = part
                return at + len(phrase)
    return 0


# --- the clock ----------------------------------------------------------------------------------------------------

_Clock = tuple[int, int, bool, int]  # hour, minute, written as 24 hours, end


def _clocked(said: tuple[str, ...], at: int, found: Found) -> int:
    """An hour with what stands before it, or two: "אחרי ארבע", "בשמונה", "עד 17:30", "בין ארבע לשש", "מתשע עד אחת"."""
    word = said[at]
    if bare(word, frozenset({"בין"})) and (first := _time(said, at + 1)):
        second_at = first[3]
        if second_at < len(said) and (said[second_at][0] in "לו" or said[second_at] in ("עד", "לבין")):
            second = _time(said, second_at + (said[second_at] in ("עד", "לבין")))
            if second:
                found.clocks = [("from", *first[:3]), ("to", *second[:3])]
                return second[3]
    begin, relation = at, ""
    if word in _AFTER or word in ("משעה", "מהשעה"):
        relation, begin = "from", at + 1
    elif word in _BEFORE:
        relation, begin = "to", at + 1
    if begin < len(said) and said[begin] in ("ב", "מ", "ל") and begin + 1 < len(said):
        begin += 1
    while begin < len(said) and bare(said[begin], _AROUND):
        begin += 1
        relation = relation or "at"
    if begin >= len(said):
        return 0
    first = _time(said, begin)
    if first is None:
        return 0
    prefix = said[begin][0]
    if not relation:
        if prefix == "מ" and not said[begin].isdecimal() and said[begin] != "מאה":
            relation = "from"
        elif (
            prefix in "בל"
            or first[2]  # 17:00 is no quantity, nor is half past
            or first[1]
            or found.day
            or found.part
            or _part_follows(said, first[3])
            or _alone(said, at, first[3])
        ):
            relation = "at"
        else:
            return 0
    hour, minute, full, end = first
    if end < len(said) and said[end] in ("דקות", "ימים", "שבועות", "חודשים", "חדרים", "שקל", "שקלים", "אנשים"):
        return 0
    found.clocks = [*[c for c in found.clocks if c[0] != relation and c[0] != "at"], (relation, hour, minute, full)]
    if relation == "from" and end < len(said) and (said[end] in ("עד", "ועד") or said[end][0] == "ל"):
        second = _time(said, end + (said[end] in ("עד", "ועד")))
        if second:
            found.clocks = [("from", hour, minute, full), ("to", *second[:3])]
            return second[3]
    return end


def _part_follows(said: tuple[str, ...], at: int) -> bool:
    return at < len(said) and bool(_part(said, at, Found()))


def _alone(said: tuple[str, ...], start: int, end: int) -> bool:
    """Nothing but this was said: the answer to "when"."""
    return all(is_break(word) for word in (*said[:start], *said[end:]))


def _time(said: tuple[str, ...], at: int) -> _Clock | None:
    """ "שמונה וחצי", "רבע לתשע", "עשרה לשש", "17:30", "שבע עשרים", "חצות"."""
    if at >= len(said):
        return None
    word = said[at]
    if bare(word, frozenset({"חצות"})):
        return 0, 0, True, at + 1
    # so many minutes before the hour
    quarter = bare(word, frozenset({"רבע", "עשרה", "חמישה", "עשרים", "חמש", "עשר"}))
    minutes = {"רבע": 15, "עשרה": 10, "חמישה": 5, "עשרים": 20, "חמש": 5, "עשר": 10}.get(quarter, 0)
    after = at + 1
    if minutes and after < len(said) and said[after] == "דקות":
        after += 1
    if minutes and after < len(said) and said[after][:1] == "ל" and len(said[after]) > 1:
        hour = _number(said, after)
        if hour and 1 <= hour[0] <= 12 and not _counts(said, hour[1]):
            return (hour[0] - 1) % 12 or 12, 60 - minutes, False, hour[1]
    if said[at].lstrip("בלמהוש").isdecimal():
        digits = said[at].lstrip("בלמהוש")
        hour_said, end = int(digits), at + 1
        if hour_said > 24 or len(digits) > 2:
            return None
        if end + 1 < len(said) and said[end] in (":", ".") and said[end + 1].isdecimal() and len(said[end + 1]) == 2:
            minute = int(said[end + 1])
            return (hour_said % 24, minute, hour_said > 12 or digits[0] == "0", end + 2) if minute < 60 else None
    else:
        read = number_at(said, at, prefixed=True, halves=False)
        if read is None or not 1 <= read[0] <= 24 or read[0] != int(read[0]):
            return None
        hour_said, end = int(read[0]), read[1]
        if hour_said > 12 and hour_said not in range(13, 25):
            return None
    minute, end = _minutes(said, end)
    return hour_said % 24, minute, hour_said > 12, end


def _minutes(said: tuple[str, ...], at: int) -> tuple[int, int]:
    if at >= len(said):
        return 0, at
    if said[at] in ("וחצי", "ורבע"):
        return (30 if said[at] == "וחצי" else 15), at + 1
    if said[at][:1] == "ו" or number_at(said, at, halves=False):
        read = number_at(said, at, prefixed=True, halves=False)
        if read and read[0] == int(read[0]) and (1 <= read[0] < 60) and not _counts(said, read[1]):
            named = read[1] < len(said) and said[read[1]] in ("דקות", "דקה")
            end = read[1] + named
            if named or read[0] >= 10 or (said[at][:1] == "ו" and read[0] >= 5):
                return int(read[0]), end
    return 0, at


def _counts(said: tuple[str, ...], at: int) -> bool:
    """Whether a counted noun follows, so that the number was no clock."""
    return at < len(said) and said[at] in ("ימים", "שבועות", "חודשים", "אנשים", "חדרים", "שקל", "שקלים", "לחודש")
