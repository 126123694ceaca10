"""Hours and days in spoken Hebrew (pure): "משמונה וחצי בבוקר עד חמש אחר הצהריים", "מחר בשמונה בבוקר"."""

from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Final

_HOURS: Final = (
    "שתים עשרה", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע", "עשר", "אחת עשרה",
)  # fmt: skip
_DAYS: Final = ("ראשון", "שני", "שלישי", "רביעי", "חמישי", "שישי", "שבת")
_UNITS: Final = ("", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע")
_TENS: Final = ("", "עשר", "עשרים", "שלושים", "ארבעים", "חמישים")
_SATURDAY: Final = 6

WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes since midnight, 0..1440; `closes` is the first minute after."""

    opens: int
    closes: int


def clock(minute: int) -> str:
    """A time of day without a preposition: "שמונה וחצי בבוקר", "חצות"."""
    hour, rest = divmod(minute % 1440, 60)
    if (hour, rest) == (0, 0):
        return "חצות"
    return f"{_HOURS[hour % 12]}{_past(rest)} {_part(hour)}"


def moment(at: datetime, today: date) -> str:
    """A day and a time after `today`: "היום בחמש אחר הצהריים", "מחר בשמונה בבוקר", "ביום ראשון בשמונה בבוקר"."""
    days = (at.date() - today).days
    time = "ב" + clock(at.hour * 60 + at.minute)
    if days == 0:
        return f"היום {time}"
    if days == 1:
        return f"מחר {time}"
    day = on_day(at.isoweekday() % 7)
    return f"{day} {time}" if days < 7 else f"{day}, {at.day}.{at.month}, {time}"


def on_day(weekday: int) -> str:
    """0 is Sunday: "ביום ראשון" ... "בשבת"."""
    return "בשבת" if weekday == _SATURDAY else f"ביום {_DAYS[weekday]}"


def ranges(spans: tuple[Span, ...]) -> str:
    """For example "משמונה בבוקר עד אחת בצהריים ומארבע אחר הצהריים עד שבע בערב"; '' for a closed day."""
    return " ו".join(f"מ{clock(span.opens)} עד {clock(span.closes)}" for span in spans)


def week(days: tuple[tuple[Span, ...], ...]) -> str:
    """Seven days, Sunday first, days with the same hours together; closed ones last, in one sentence."""
    if not any(days):
        return "אנחנו סגורים כל השבוע."
    said: list[str] = []
    for spans, numbers in groupby(range(len(days)), key=lambda day: days[day]):
        if spans:
            said.append(f"{_together(list(numbers))} {ranges(spans)}.")
    closed = [day for day, spans in enumerate(days) if not spans]
    if closed:
        said.append(f"{' ו'.join(on_day(day) for day in closed)} סגור.")
    return " ".join(said)


def _together(days: list[int]) -> str:
    if len(days) == 7:
        return "בכל יום"
    if len(days) == 1:
        return on_day(days[0])
    last = _DAYS[days[-1]]
    return f"בימים {_DAYS[days[0]]} ו{last}" if len(days) == 2 else f"בימים {_DAYS[days[0]]} עד {last}"


def _past(minutes: int) -> str:
    match minutes:
        case 0:
            return ""
        case 15:
            return " ורבע"
        case 30:
            return " וחצי"
        case 10:
            return " ועשרה"
        case 5:
            return " וחמישה"
        case _ if minutes < 10:
            return f" ו{_UNITS[minutes]} דקות"
        case _ if minutes < 20:
            return f" ו{_UNITS[minutes - 10].replace('שתיים', 'שתים')} עשרה דקות"
        case _:
            tens, unit = divmod(minutes, 10)
            return f" {_TENS[tens]} ו{_UNITS[unit]}" if unit else f" ו{_TENS[tens]}"


def _part(hour: int) -> str:
    match hour:
        case _ if hour < 5:
            return "בלילה"
        case _ if hour < 12:
            return "בבוקר"
        case _ if hour < 14:
            return "בצהריים"
        case _ if hour < 18:
            return "אחר הצהריים"
        case _ if hour < 22:
            return "בערב"
    return "בלילה"
