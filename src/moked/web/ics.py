"""A calendar file as RFC 5545 wants it (pure): lines of at most 75 octets that end in CRLF, text in UTF-8.

Times are in UTC, which needs no table of a zone's rules; a day without an hour is a DATE. The grammar wants one
component at least, so that a calendar without events has the zone UTC in it, which says nothing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

_LONGEST: Final = 75  # octets of a line, without its end
_NOT_TEXT: Final = re.compile("[\x00-\x09\x0b-\x1f\x7f]")
_NOTHING: Final = (
    "BEGIN:VTIMEZONE", "TZID:Etc/UTC", "BEGIN:STANDARD", "DTSTART:19700101T000000", "TZOFFSETFROM:+0000",
    "TZOFFSETTO:+0000", "TZNAME:UTC", "END:STANDARD", "END:VTIMEZONE",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`uid` stays for ever and is nobody else's. `begins`: an aware moment, or a day. `stamp`: when it last changed.
    `remind`: when to bring it up, if at all.
    """

    uid: str
    begins: datetime | date
    stamp: datetime
    title: str
    lasts: timedelta = timedelta(minutes=15)
    text: str = ""
    url: str = ""
    remind: datetime | None = None


def calendar(name: str, zone: str, events: Iterable[Event], *, every: timedelta) -> bytes:
    """The whole file. `zone` is the IANA name a program shows times in; `every`: how often to ask again."""
    components = [line for event in events for line in _event(event)] or list(_NOTHING)
    lines = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "PRODID:-//Moked//Tasks//HE",
        "CALSCALE:GREGORIAN",
        f"NAME:{_text(name)}",
        f"X-WR-CALNAME:{_text(name)}",
        f"X-WR-TIMEZONE:{_text(zone)}",
        f"REFRESH-INTERVAL;VALUE=DURATION:{_duration(every)}",
        f"X-PUBLISHED-TTL:{_duration(every)}",
        *components,
        "END:VCALENDAR",
    ]
    return "".join(f"{part}\r\n" for line in lines for part in _folded(line)).encode("utf-8")


def _event(event: Event) -> Iterator[str]:
    yield "BEGIN:VEVENT"
    yield f"UID:{_text(event.uid)}"
    yield f"DTSTAMP:{_moment(event.stamp)}"
    if isinstance(event.begins, datetime):
        yield f"DTSTART:{_moment(event.begins)}"
        yield f"DURATION:{_duration(event.lasts)}"
    else:
        yield f"DTSTART;VALUE=DATE:{event.begins:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{event.begins + timedelta(days=1):%Y%m%d}"
    yield f"SUMMARY:{_text(event.title)}"
    if event.text:
        yield f"DESCRIPTION:{_text(event.text)}"
    if event.url:
        yield f"URL:{_NOT_TEXT.sub('', event.url)}"
    yield "TRANSP:TRANSPARENT"
    if event.remind is not None:
        yield "BEGIN:VALARM"
        yield "ACTION:DISPLAY"
        yield f"DESCRIPTION:{_text(event.title)}"
        yield f"TRIGGER;VALUE=DATE-TIME:{_moment(event.remind)}"
        yield "END:VALARM"
    yield "END:VEVENT"


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _duration(span: timedelta) -> str:
    """Whole minutes."""
    return f"PT{int(span.total_seconds()) // 60}M"


def _text(value: str) -> str:
    """TEXT: what has a meaning in the format is escaped, controls are left out."""
    kept = _NOT_TEXT.sub("", value.replace("\r\n", "\n").replace("\r", "\n"))
    return kept.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")


def _folded(line: str) -> Iterator[str]:
    """Parts of at most 75 octets; all but the first begin with a space. No letter is cut in two."""
    part, size = "", 0
    for letter in line:
        octets = len(letter.encode("utf-8"))
        if size + octets > _LONGEST:
            yield part
            part, size = " ", 1
        part, size = part + letter, size + octets
    yield part
