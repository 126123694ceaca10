"""The business that is being called: one profile from a YAML file, for every agent, the voice and the recogniser.

`load_business` validates all of it at start, so that whoever holds a `Business` need not look again. Texts may be
written for both genders of the voice, "{מדבר|מדברת}"; a loaded `Business` has the right one only.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from moked.crm.phone import national, to_e164
from moked.crm.privacy_rules import DISCLOSES, first_sentence
from moked.dialog import hours
from moked.dialog.hours import WEEKDAYS, Span
from moked.dialog.moments import PART_HOURS, Moment, Precision, due
from moked.dialog.ownerfile import Place, parse, text_of

Gender = Literal["male", "female"]

_GENDERED: Final = re.compile(r"\{([^{}|]*)\|([^{}|]*)\}")
_SPAN: Final = re.compile(r"(\d{1,2}):(\d{2})\s*[-\u2013]\s*(\d{1,2}):(\d{2})")
_DISCLOSURE: Final = "שלום, {מדבר העוזר הקולי|מדברת העוזרת הקולית} של {business}."
MOST_HINTS: Final = 100
_LOOK_AHEAD_DAYS: Final = 400


@dataclass(frozen=True, slots=True)
class Closure:
    """Days that differ from the week, both inclusive. No `spans`: closed."""

    first: date
    last: date
    name: str = ""
    spans: tuple[Span, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """`price` as it shall be said ("350 שקלים"), empty when it is not told on the phone."""

    name: str
    price: str = ""
    note: str = ""
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Faq:
    """Answered when a question has one of the `keywords`."""

    question: str
    answer: str
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Business:
    """`hours` has seven days, Sunday first. `greeting` is all that is said first, the disclosure included."""

    name: str
    greeting: str
    description: str = ""
    address: str = ""
    timezone: str = "Asia/Jerusalem"
    hours: tuple[tuple[Span, ...], ...] = ((),) * 7
    closures: tuple[Closure, ...] = ()
    services: tuple[Service, ...] = ()
    faq: tuple[Faq, ...] = ()
    recording_notice: str = ""
    voice_gender: Gender = "male"
    transfer_number: str = ""
    pronunciation: tuple[tuple[str, str], ...] = ()
    hints: tuple[str, ...] = ()
    phone: str = ""

    def local(self, at: datetime) -> datetime:
        """`at` (aware) on the business's clock."""
        assert at.tzinfo is not None
        return at.astimezone(ZoneInfo(self.timezone))

    def spans_on(self, day: date) -> tuple[Span, ...]:
        """The opening hours of one date, exceptions included."""
        closure = self.closure_on(day)
        return closure.spans if closure else self.hours[_weekday(day)]

    def closure_on(self, day: date) -> Closure | None:
        return next((closure for closure in self.closures if closure.first <= day <= closure.last), None)

    def is_open(self, at: datetime) -> bool:
        """Whether the business is open at the moment `at` (aware)."""
        now = self.local(at)
        minute = now.hour * 60 + now.minute
        return any(span.opens <= minute < span.closes for span in self.spans_on(now.date()))

    def next_opening(self, at: datetime) -> datetime | None:
        """The first moment after `at` at which it opens, on the business's clock; None when it never does."""
        now = self.local(at)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        for days in range(_LOOK_AHEAD_DAYS):
            start = midnight + timedelta(days=days)
            for span in self.spans_on(start.date()):
                opens = start + timedelta(minutes=span.opens)
                if opens > now:
                    return opens
        return None

    def callback_at(self, wish: Moment) -> datetime | None:
        """When to call back somebody who wished for `wish` (aware UTC); None where it is too vague.

        A named day or part of a day begins when the business opens on it.
        """
        at = due(wish)
        if wish.day is None or wish.past or (at is None and wish.precision is not Precision.DAY):
            return None
        if wish.precision < Precision.HOUR:
            opens = [time(*divmod(span.opens, 60)) for span in self.spans_on(wish.day) if span.opens < 1440]
            first = datetime.combine(wish.day, opens[0]) if opens else None
            part_ends = PART_HOURS[wish.part][1] if wish.part else time.max
            if at is None or (first and at < first and opens[0] < part_ends):
                at = first
        return at.replace(tzinfo=ZoneInfo(self.timezone)).astimezone(UTC) if at else None

    def week_text(self) -> str:
        """The ordinary week in words: "בימים ראשון עד חמישי משמונה בבוקר עד חמש אחר הצהריים. בשבת סגור."."""
        return hours.week(self.hours)

    def hours_text(self, at: datetime) -> str:
        """Whether it is open now and when it opens, then the week; in words to be spoken."""
        return f"{self.now_text(at)} {self.week_text()}".strip()

    def now_text(self, at: datetime) -> str:
        """One sentence: open until when, or closed until when."""
        now = self.local(at)
        today = self.spans_on(now.date())
        minute = now.hour * 60 + now.minute
        for span in today:
            if span.opens <= minute < span.closes:
                return f"אנחנו פתוחים עכשיו, עד {hours.clock(span.closes)}."
        closure = self.closure_on(now.date())
        reason = f" לרגל {closure.name}" if closure and closure.name and not closure.spans else ""
        opening = self.next_opening(at)
        if opening is None:
            return f"כרגע אנחנו סגורים{reason}."
        return f"כרגע אנחנו סגורים{reason}, ונפתח {hours.moment(opening, now.date())}."

    def price_text(self, service: Service) -> str:
        """One sentence: what it costs."""
        price = f"{service.name}, {service.price}." if service.price else f"המחיר של {service.name} נקבע לפי העבודה."
        return f"{price} {service.note}".strip()

    def facts_text(self) -> str:
        """All that may be told, as plain Hebrew lines: for a language model's prompt."""
        lines = [f"שם העסק: {self.name}", self.description, f"כתובת: {self.address}" if self.address else ""]
        lines.append(f"טלפון: {national(self.phone)}" if self.phone else "")
        lines.append(f"שעות: {self.week_text()}")
        for closure in self.closures:
            days = f"{closure.first:%d.%m.%Y}" + (
                f" עד {closure.last:%d.%m.%Y}" if closure.last != closure.first else ""
            )
            lines.append(f"{days} {closure.name}: {hours.ranges(closure.spans) or 'סגור'}".replace("  ", " "))
        lines += [f"שירות: {self.price_text(service)}" for service in self.services]
        lines += [f"שאלה: {faq.question} תשובה: {faq.answer}" for faq in self.faq]
        if self.recording_notice:
            lines.append(f"נאמר לפונים: {self.recording_notice}")
        return "\n".join(line for line in lines if line)


def gendered(text: str, gender: Gender) -> str:
    """For example "{מדבר|מדברת}", in the gender of the voice."""
    return _GENDERED.sub(lambda found: found[1] if gender == "male" else found[2], text)


def load_business(path: Path | None = None) -> Business:
    """The profile in `path`, or the packaged example. Raises `ProfileError` naming the line and what is right."""
    return parse_business(profile_text(path), str(path or "business.yaml"))


def profile_text(path: Path | None = None) -> str:
    """What is written in `path`, or in the packaged example."""
    if path is not None:
        return text_of(Path(path))
    with as_file(files("moked.dialog").joinpath("defaults", "business.yaml")) as packaged:
        return text_of(packaged)


def parse_business(text: str, name: str = "profile") -> Business:
    """The profile written in `text`. Raises `ProfileError` naming the place and what is right."""
    return _business(parse(text, name))


# --- reading and checking -----------------------------------------------------------------------------------------

_FIELDS: Final = (
    "name", "description", "phone", "address", "timezone", "hours", "holidays", "services", "faq", "greeting",
    "disclosure", "recording_notice", "voice_gender", "transfer_number", "pronunciation", "hints",
)  # fmt: skip


def _business(root: Place) -> Business:
    fields = root.table(_FIELDS, required=("name", "greeting", "hours"))

    def text(key: str, default: str = "") -> str:
        return gendered(fields[key].text() if key in fields else default, gender).replace("{business}", name)

    gender: Gender = "male"
    if "voice_gender" in fields and fields["voice_gender"].one_of(("male", "female")) == "female":
        gender = "female"
    name = fields["name"].text()
    greeting = text("greeting")
    if not DISCLOSES.search(first_sentence(greeting)):
        disclosure = text("disclosure", _DISCLOSURE)
        if not DISCLOSES.search(first_sentence(disclosure)):
            fields["disclosure"].fail(
                f'must say that a voice assistant is speaking, for example "{_DISCLOSURE}"', "disclosure"
            )
        greeting = f"{disclosure} {greeting}"
    notice = text("recording_notice")
    return Business(
        name=name,
        greeting=f"{greeting} {notice}".strip(),
        description=text("description"),
        address=text("address"),
        timezone=_timezone(fields.get("timezone")),
        hours=_hours(fields["hours"]),
        closures=tuple(_closure(item) for item in fields["holidays"].items()) if "holidays" in fields else (),
        services=tuple(_service(item) for item in fields["services"].items()) if "services" in fields else (),
        faq=tuple(_faq(item, gender) for item in fields["faq"].items()) if "faq" in fields else (),
        recording_notice=notice,
        voice_gender=gender,
        transfer_number=_number(fields.get("transfer_number")),
        pronunciation=_pronunciation(fields.get("pronunciation")),
        hints=_hints(fields.get("hints")),
        phone=_number(fields.get("phone")),
    )


def _timezone(place: Place | None) -> str:
    name = place.text() if place else "Asia/Jerusalem"
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        assert place is not None
        place.fail(f"{name!r} is no time zone; for Israel write Asia/Jerusalem", "timezone", value=name)
    return name


def _hours(place: Place) -> tuple[tuple[Span, ...], ...]:
    days = place.table(WEEKDAYS)
    return tuple(_spans(days[day]) if day in days else () for day in WEEKDAYS)


def _spans(place: Place) -> tuple[Span, ...]:
    if not place.is_list and place.text() == "closed":
        return ()
    found: list[Span] = []
    for item in place.items():
        match = _SPAN.fullmatch(item.text())
        if not match:
            right = 'write hours as "08:00-17:00", a list of such, or "closed"'
            item.fail(f"{right}; not {item.text()!r}", "hours", value=item.text())
        hour, minute, end_hour, end_minute = map(int, match.groups())
        span = Span(hour * 60 + minute, end_hour * 60 + end_minute)
        if minute > 59 or end_minute > 59 or hour > 23 or span.closes > 24 * 60:
            item.fail(f"{item.text()!r} has no such hour; hours go from 00:00 to 24:00", "hour", value=item.text())
        if span.closes <= span.opens:
            why = "ends before it begins; hours over midnight are written as two days"
            item.fail(f"{item.text()!r} {why}", "hours_backwards", value=item.text())
        if found and span.opens < found[-1].closes:
            item.fail(f"{item.text()!r} begins before the hours above it end", "hours_overlap", value=item.text())
        found.append(span)
    return tuple(found)


def _closure(place: Place) -> Closure:
    fields = place.table(("date", "until", "name", "hours"), required=("date",))
    first = _date(fields["date"])
    last = _date(fields["until"]) if "until" in fields else first
    if last < first:
        fields["until"].fail(f"{last} is before {first}", "until", first=first, last=last)
    name = fields["name"].text() if "name" in fields else ""
    return Closure(first, last, name, _spans(fields["hours"]) if "hours" in fields else ())


def _date(place: Place) -> date:
    try:
        return date.fromisoformat(place.text())
    except ValueError:
        right = 'write a date as "2026-09-21" (year-month-day)'
        place.fail(f"{right}, not {place.text()!r}", "date", value=place.text())


def _service(place: Place) -> Service:
    fields = place.table(("name", "price", "note", "keywords"), required=("name",))
    texts = {key: fields[key].text() for key in ("name", "price", "note") if key in fields}
    return Service(**texts, keywords=fields["keywords"].texts() if "keywords" in fields else ())


def _faq(place: Place, gender: Gender) -> Faq:
    fields = place.table(("question", "answer", "keywords"), required=("question", "answer", "keywords"))
    keywords = fields["keywords"].texts()
    if not keywords:
        fields["keywords"].fail("at least one word is needed by which the question is recognised", "keywords")
    return Faq(fields["question"].text(), gendered(fields["answer"].text(), gender), keywords)


def _number(place: Place | None) -> str:
    if place is None:
        return ""
    number = to_e164(place.text())
    if number is None or not number.startswith("+"):
        right = "write it as 050-2345678 or +972502345678"
        place.fail(f"{place.text()!r} is no phone number that can be dialled; {right}", "phone", value=place.text())
    return number


def _pronunciation(place: Place | None) -> tuple[tuple[str, str], ...]:
    return tuple((word, said.text()) for word, said in place.table().items()) if place else ()


def _hints(place: Place | None) -> tuple[str, ...]:
    hints = place.texts() if place else ()
    if place and len(hints) > MOST_HINTS:
        place.fail(f"{len(hints)} phrases are too many; recognition takes {MOST_HINTS}", "hints", most=MOST_HINTS)
    return hints


def _weekday(day: date) -> int:
    """0 for Sunday."""
    return day.isoweekday() % 7
