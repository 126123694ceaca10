"""Days and times in spoken Hebrew (pure): words to a date, hours and a part of the day, seen from a local `now`.

    מחר בבוקר                    tomorrow, the morning          בין ארבע לשש       today or tomorrow, 16:00 to 18:00
    ביום ראשון הבא בשמונה וחצי   that Sunday, 8:30              בעוד שבועיים       the same weekday in two weeks
    חמישה עשר במרץ, רבע לתשע     15 March, 8:45                 אחרי החגים         kept as words

How what is left open is filled, always towards the future:

- A weekday is the next one, today only with an hour still to come; with "הבא" it is never today, and on the day before
  it (tomorrow) it is the one a week later. The week starts on Sunday: "שבוע הבא" runs from the coming Sunday.
- A day of a month or a date without a year that is over is the next month's or year's.
- An hour 1 to 12 with a part of the day takes it ("שמונה בערב" is 20:00). Without one, on a named day: 1 to 6 are after
  noon, 7 to 11 before it, 12 is noon. Without a day: the first of its two readings between 7:00 and 21:59 that is still
  to come, today or tomorrow ("בשמונה" said at 10:00 is 20:00 today, said at 21:00 it is 8:00 tomorrow).
- A part of the day without a day is today while it lasts, else tomorrow.
- What would be past on the day that was named ("היום בשמונה בבוקר" at noon) keeps its day and has `past` set.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final

from moked.dialog import hours
from moked.dialog.time_words import Found, bare, joined, scan, spaced
from moked.dialog.words import phrases, tokens
from moked.tts.numerals import Gender, cardinal


class Precision(IntEnum):
    """How exactly the time is known."""

    WORDS = 0  # "אחרי החגים"
    SPAN = 1  # several days
    DAY = 2
    PART = 3  # a part of a day
    HOUR = 4  # an hour, or from and to


@dataclass(frozen=True, slots=True)
class Moment:
    """`day` .. `until` are dates (`until` only for a span), `start` and `end` local times; None is not known.

    "אחרי ארבע" has a start only, "עד ארבע" an end only. `part`: morning, noon, afternoon, evening, night or ''.
    `exact`: `start` is the time itself and not only its beginning. `past`: it was over when it was said.
    """

    quote: str
    precision: Precision
    day: date | None = None
    until: date | None = None
    start: time | None = None
    end: time | None = None
    part: str = ""
    exact: bool = False
    past: bool = False
    today: date | None = None  # when it was said, for reading it back

    @property
    def spoken(self) -> str:
        """To read back: "ביום שלישי, חמישה עשר במרץ, בשמונה וחצי בבוקר"; the caller's words where no day is known."""
        if self.day is None or self.today is None:
            return self.quote
        if self.until:
            same = (self.until.year, self.until.month) == (self.day.year, self.day.month)
            first = cardinal(self.day.day, Gender.MASCULINE) if same else say_date(self.day)
            return f"בין {first} ל{say_date(self.until)} {_WRITTEN[self.part]}".strip()
        near = 0 <= (self.day - self.today).days <= _NAMED_DAYS
        time_said = self._say_time()
        return (" " if near else ", ").join(filter(None, (_say_day(self.day, self.today), time_said)))

    @property
    def written(self) -> str:
        """As the owner reads it: "15.3.2027 08:30", "15.3.2027 בבוקר"; the caller's words where no day is known."""
        if self.day is None:
            return self.quote
        days = f"{self.day.day}.{self.day.month}.{self.day.year}"
        if self.until:
            days += f" עד {self.until.day}.{self.until.month}.{self.until.year}"
        if self.exact and self.start:
            return f"{days} {self.start:%H:%M}"
        if self.start and self.end:
            return f"{days} {self.start:%H:%M}-{self.end:%H:%M}"
        edge = f"אחרי {self.start:%H:%M}" if self.start else f"עד {self.end:%H:%M}" if self.end else _WRITTEN[self.part]
        return f"{days} {edge}".strip()

    def _say_time(self) -> str:
        start, end = (hours.clock(t.hour * 60 + t.minute) if t else "" for t in (self.start, self.end))
        if start and end and self.start and self.end:
            same = (self.start.hour < 12) == (self.end.hour < 12)
            return f"בין {start.rsplit(' ב', 1)[0] if same else start} ל{end}"
        if start:
            return f"ב{start}" if self.exact else f"אחרי {start}"
        return f"עד {end}" if end else _WRITTEN[self.part]


_WRITTEN: Final = {
    "": "", "morning": "בבוקר", "noon": "בצהריים", "afternoon": "אחר הצהריים", "evening": "בערב", "night": "בלילה",
}  # fmt: skip
PART_HOURS: Final = {
    "morning": (time(8), time(12)),
    "noon": (time(12), time(15)),
    "afternoon": (time(15), time(18)),
    "evening": (time(18), time(22)),
    "night": (time(21), time(23, 59)),
}
"""What the parts of a day mean for a task or a call."""

_MONTH_NAMES: Final = (
    "", "ינואר", "פברואר", "מרץ", "אפריל", "מאי", "יוני", "יולי", "אוגוסט", "ספטמבר", "אוקטובר", "נובמבר", "דצמבר",
)  # fmt: skip
_WORDS_ONLY: Final = phrases(
    """
    אחרי החגים|אחרי החג|אחרי פסח|אחרי סוכות|אחרי ראש השנה|אחרי הפגרה|אחרי המילואים|אחרי החופש|לפני החג|לפני החגים|
    לפני פסח|לפני ראש השנה|בחול המועד|בחנוכה|בפורים|ערב חג
    """
)
_SLASHES: Final = re.compile(r"(?<=\d)/(?=\d)")
_NOON: Final = 12
_NAMED_DAYS: Final = 2  # today, tomorrow and the day after have names
_YEAR_UNSAID: Final = 330  # days ahead within which nobody doubts the year


@lru_cache(maxsize=256)
def moment(text: str, now: datetime) -> Moment | None:
    """The time that `text` speaks of, seen from `now` (aware, local); None when it speaks of none."""
    said = spaced(tokens(_SLASHES.sub(".", text)))
    found = Found()
    scan(said, now, found)
    if found.impossible:
        return None
    if not found.spans:
        return _words_only(said, now)
    if (corrected := _after_correction(said, found)) is not None:
        again = moment(" ".join(corrected), now)
        if again is not None and again.precision >= Precision.DAY:
            return again
    start = min(a for a, _ in found.spans)
    end = max(b for _, b in found.spans)
    quote = joined(said[start:end])
    return _settled(found, quote, now)


def due(wish: Moment) -> datetime | None:
    """When to act on `wish`, naive local: its hour, or the beginning of its part of the day; None where vaguer."""
    if wish.day is None or wish.past or wish.precision < Precision.PART:
        return None
    if wish.start is None and wish.end is not None:
        return None  # "until five" names no time to call
    return datetime.combine(wish.day, wish.start or PART_HOURS[wish.part][0])


def say_date(day: date) -> str:
    """ "חמישה עשר במרץ"."""
    return f"{cardinal(day.day, Gender.MASCULINE)} ב{_MONTH_NAMES[day.month]}"


def _say_day(day: date, today: date) -> str:
    away = (day - today).days
    if 0 <= away <= _NAMED_DAYS:
        return ("היום", "מחר", "מחרתיים")[away]
    if not 0 < away < _YEAR_UNSAID:
        return f"{say_date(day)}, {cardinal(day.year)}"
    named = hours.on_day(day.isoweekday() % 7)
    return f"{named}, {say_date(day)}"


# --- filling in what was left open ---------------------------------------------------------------------------------


def _settled(found: Found, quote: str, now: datetime) -> Moment | None:
    today = now.date()
    if found.at:
        then = found.at.replace(second=0, microsecond=0)
        return Moment(quote, Precision.HOUR, then.date(), start=then.time(), exact=True, today=today)
    times = {relation: time(_of_day(hour, full, found.part), minute) for relation, hour, minute, full in found.clocks}
    start, end = times.get("at", times.get("from")), times.get("to")
    if start and end and end <= start:  # "מתשע עד שתיים בצהריים": the part belongs to the second
        _, hour, minute, full = found.clocks[0]
        start = time(_of_day(hour, full, ""), minute)
        end = end.replace(hour=end.hour + _NOON) if end <= start and end.hour < _NOON else end
        end = end if end > start else None
    day, bare = found.day, found.day is None
    ambiguous = not found.part and all(not full and hour <= _NOON for _, hour, _, full in found.clocks)
    if bare and (start or end):
        day, start, end = _first_to_come(start, end, now, either=ambiguous)
    elif bare and found.part:
        day = today if now.time() < PART_HOURS[found.part][1] else today + timedelta(days=1)
    if day is None:
        return None
    if found.part == "night" and "at" in times and start and start.hour < 5 and found.day:
        day += timedelta(days=1)  # "מחר בשתים עשרה בלילה" is the end of tomorrow
    if found.weekday and day == today and not ((start or end) and (end or start) > now.time()):  # type: ignore[operator]
        day += timedelta(days=0 if found.part and now.time() < PART_HOURS[found.part][1] and not start else 7)
    if day == today and found.named and ambiguous and start and start <= now.time() and start.hour < _NOON:
        later = start.replace(hour=start.hour + _NOON)
        start = later if later > now.time() else start
    precision = Precision.DAY
    if found.until:
        precision = Precision.SPAN
    elif start or end:
        precision = Precision.HOUR
    elif found.part:
        precision = Precision.PART
    over = day < today or (day == today and bool(start and "at" in times and start <= now.time()))
    over = over or (day == today and bool(found.part and not start and now.time() >= PART_HOURS[found.part][1]))
    exact = "at" in times and end is None
    return Moment(quote, precision, day, found.until, start, end, found.part, exact, over, today)


def _of_day(hour: int, full: bool, part: str) -> int:
    """The hour 0..23 by the part of the day, or by what is usual."""
    if full:
        return hour
    match part:
        case "morning":
            return hour % 24 if hour != _NOON else _NOON
        case "noon":
            return hour if hour >= 10 else hour + _NOON
        case "afternoon":
            return hour % _NOON + _NOON
        case "evening":
            return (hour + _NOON) % 24 if 4 <= hour < _NOON else hour if hour < 4 else 0
        case "night":
            return hour + _NOON if 7 <= hour < _NOON else hour % _NOON
        case _:
            return hour if hour >= 7 else hour + _NOON


def _first_to_come(
    start: time | None, end: time | None, now: datetime, *, either: bool
) -> tuple[date, time | None, time | None]:
    """Of the readings of hours without a day, the first from 7:00 to 21:59 that is not over, today or tomorrow."""
    lead = start or end
    assert lead
    readings = [(start, end)]
    if either:
        shifts = (hour - lead.hour for hour in (lead.hour % _NOON, lead.hour % _NOON + _NOON) if 7 <= hour < 22)
        moved = [(_moved(start, by), _moved(end, by)) for by in shifts]
        readings = [way for way in moved if not (way[0] and way[1] and way[1] <= way[0])] or readings
    for first, last in readings:
        if (last or first or lead) > now.time():
            return now.date(), first, last
    return now.date() + timedelta(days=1), start, end


def _moved(at: time | None, by: int) -> time | None:
    return at if at is None else at.replace(hour=(at.hour + by) % 24)


def _words_only(said: tuple[str, ...], now: datetime) -> Moment | None:
    for phrase in _WORDS_ONLY:
        for at in range(len(said) - len(phrase) + 1):
            if bare(said[at], frozenset({phrase[0]})) and said[at + 1 : at + len(phrase)] == phrase[1:]:
                return Moment(joined(said[at : at + len(phrase)]), Precision.WORDS, today=now.date())
    return None


def _after_correction(said: tuple[str, ...], found: Found) -> tuple[str, ...] | None:
    """ "ראשון? לא, ביום שני": what follows the correction counts."""
    for at, word in enumerate(said[:-1]):
        if word in ("לא", "סליחה", "בעצם", "טעות") and found.spans and at > found.spans[0][0]:
            return said[at + 1 :]
    return None
