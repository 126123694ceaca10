"""The message about a call's lead, for a person who has ten seconds (pure): text, and the same as right-to-left HTML.

Who, what they want, what to do now, and where: the link has the lead's number and no more. Every value is a caller's
word: it is escaped, and numbers keep their own direction.
"""

from dataclasses import dataclass
from html import escape
from typing import Final
from zoneinfo import ZoneInfo

from moked.crm.after import Letter
from moked.crm.leads import Origin
from moked.crm.phone import shown

_NAMELESS: Final = "פונה ללא שם"
_LONGEST_SUBJECT: Final = 110
_HEADINGS: Final = {
    Origin.CONVERSATION: "שיחה עם הסוכן",
    Origin.BROKEN: "השיחה נקטעה בגלל תקלה",
    Origin.REFUSED: "כל הקווים היו תפוסים",
    Origin.VOICEMAIL: "הודעה קולית",
    Origin.UNHEARD: "תקלה בשמיעה",
    Origin.UNANSWERED: "התבקש נציג ולא היה מענה",
    Origin.IMPORTED: "ייבוא מקובץ",
    Origin.ADDED: "הוזן ללא שיחה",
}
_URGENT: Final = frozenset({Origin.BROKEN, Origin.REFUSED, Origin.UNHEARD, Origin.UNANSWERED})
_LRM: Final = "\N{LEFT-TO-RIGHT MARK}"


@dataclass(frozen=True, slots=True)
class Message:
    subject: str
    text: str
    html: str


def message(letter: Letter, *, base_url: str) -> Message:
    """`base_url` is the desk's own address, without a slash at the end."""
    link = f"{base_url}/leads/{letter.lead_id}"
    rows = _rows(letter)
    title = "ליד חדש" if letter.new else "פנייה נוספת מליד קיים"
    if letter.origin in _URGENT:
        title = f"דחוף: {title}"
    subject = " – ".join(part for part in (f"{title}: {letter.name or _NAMELESS}", _line(letter.need)) if part)
    return Message(_cut(_line(subject)), _text(title, rows, link, letter), _html(title, rows, link, letter))


def _rows(letter: Letter) -> list[tuple[str, str, bool]]:
    """(label, value, whether it is a number): those there is something to say of."""
    unsure = " (לא אושר)" if letter.phone and not letter.sure else ""
    when = letter.ended_at.astimezone(ZoneInfo(letter.timezone))
    found = [
        ("שם", letter.name or _NAMELESS, False),
        (f"טלפון{unsure}", shown(letter.phone) if letter.phone else "חסוי", bool(letter.phone)),
        ("מה צריך", letter.need, False),
        ("מתי נוח", letter.best_time, False),
        ("הצעד הבא", letter.next_step, False),
        ("סיכום", letter.summary, False),
        ("סוג הפנייה", _HEADINGS[letter.origin], False),
        ("סיום השיחה", f"{when:%H:%M} {when:%d.%m.%Y}", True),
    ]
    return [row for row in found if row[1]]


def _text(title: str, rows: list[tuple[str, str, bool]], link: str, letter: Letter) -> str:
    lines = [f"{label}: {_LRM if number else ''}{value}" for label, value, number in rows]
    return "\n".join([f"{title} – {letter.business}", "", *lines, "", "לפתיחת הליד:", link, ""])


_CELL: Final = "padding:6px 0 6px 16px;vertical-align:top"


def _html(title: str, rows: list[tuple[str, str, bool]], link: str, letter: Letter) -> str:
    """What mail programs understand: a table, styles on the elements, nothing fetched."""
    cells = "".join(
        f'<tr><th scope="row" style="{_CELL};text-align:right;color:#57534e;font-weight:normal;white-space:nowrap">'
        f'{escape(label)}</th><td style="{_CELL};font-weight:{_weight(label)}">'
        + (_number(value, letter.phone) if number else f"<bdi>{_lines(value)}</bdi>")
        + "</td></tr>"
        for label, value, number in rows
    )
    return (
        '<!doctype html><html lang="he" dir="rtl"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title></head>"
        '<body dir="rtl" style="margin:0;padding:24px;background:#f5f5f4;color:#1c1917;'
        'font-family:Heebo,Arial,sans-serif;font-size:16px;line-height:1.5;text-align:right">'
        '<div style="max-width:560px;margin:0 auto;background:#fff;border-radius:12px;padding:24px">'
        f'<p style="margin:0;color:#57534e"><bdi>{escape(letter.business)}</bdi></p>'
        f'<h1 style="margin:0 0 12px;font-size:22px">{escape(title)}</h1>'
        f'<table role="presentation" style="border-collapse:collapse;width:100%">{cells}</table>'
        f'<p style="margin:20px 0 0"><a href="{escape(link)}" '
        'style="display:inline-block;background:#0f766e;color:#fff;'
        'text-decoration:none;border-radius:8px;padding:10px 20px">פתיחת הליד</a></p></div></body></html>'
    )


def _number(value: str, phone: str) -> str:
    """A phone can be pressed on a phone."""
    inner = f'<bdi dir="ltr">{escape(value)}</bdi>'
    is_phone = phone.startswith("+") and value == shown(phone)
    return f'<a href="tel:{escape(phone)}" style="color:#0f766e">{inner}</a>' if is_phone else inner


def _weight(label: str) -> str:
    return "bold" if label == "הצעד הבא" else "normal"


def _lines(value: str) -> str:
    return "<br>".join(escape(line) for line in value.splitlines())


def _line(text: str) -> str:
    """A header has one line, and no marks in it."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SUBJECT else text[: _LONGEST_SUBJECT - 1].rstrip() + "…"
