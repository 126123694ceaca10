"""Who is told what after a call (pure). Sending is `sending`'s, which asks the gate.

    the owner   every lead, and every call we could not serve: who, what for, what next, a link
    the caller  what was promised: the details they asked for, on the channel they agreed to; where no line was free or
                we failed, that we call back

Texts are the owner's to change. {names} stand for what is known; a line whose word is not known is left out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from moked.channels.policy import Purpose
from moked.crm.leads import Origin
from moked.crm.phone import national

DESK: Final = "desk"
WORDS: Final = frozenset({"name", "phone", "need", "time", "summary", "business", "link", "next", "about"})
LONGEST_TEXT: Final = 1000
_WORD: Final = re.compile(r"{(\w+)}")

TEXTS: Final[Mapping[str, str]] = {
    "notice": "פנייה חדשה: {name}\nטלפון: {phone}\n{need}\n{summary}\nהצעד הבא: {next}\n{link}",
    "missed_notice": "שיחה שלא טופלה: {name}\nטלפון: {phone}\n{summary}\nהצעד הבא: {next}\n{link}",
    "details": "שלום {name}, כאן {business}.\nתודה על השיחה. רשמנו: {need}\nנחזור אליך: {time}\n{about}\n"
    "להסרה אפשר להשיב: הסר",
    "missed": "שלום, כאן {business}.\nהתקשרת אלינו ולא הצלחנו לענות. נחזור אליך בהקדם.\nלהסרה אפשר להשיב: הסר",
}
"""The packaged wording. `details` and `missed` go to callers, the others to the owner."""

_MISSED: Final = frozenset({Origin.BROKEN, Origin.REFUSED, Origin.UNANSWERED, Origin.UNHEARD})


class WrongText(ValueError):
    """A text that cannot be used. `str` is 'empty', 'long', 'word' or 'removal'."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the owner wants to be told."""

    channel: str
    to: str


@dataclass(frozen=True, slots=True)
class Ended:
    """An ended call as the rules see it. `phone`: of who called, E.164 or ''. `agreed`: channels that details may be
    sent on. `due_at`: of the open call-back. `rehearsal`: nobody outside is told."""

    call_sid: str
    business: str
    ended_at: datetime
    phone: str = ""
    lead_id: int | None = None
    origin: Origin | None = None
    name: str = ""
    need: str = ""
    best_time: str = ""
    summary: str = ""
    next_step: str = ""
    about: str = ""
    agreed: tuple[str, ...] = ()
    opted_out: bool = False
    outbound: bool = False
    rehearsal: bool = False
    links: Mapping[str, str] = field(default_factory=dict)  # 'lead', 'call'


@dataclass(frozen=True, slots=True)
class Message:
    """One to be queued. `to_owner`: not to the caller. The same `key` is the same message."""

    key: str
    channel: str
    to: str
    subject: str
    text: str
    purpose: Purpose
    asked_at: datetime | None = None

    @property
    def to_owner(self) -> bool:
        return self.purpose is Purpose.OWNER_NOTICE


def plan(ended: Ended, notify: Sequence[Target], texts: Mapping[str, str]) -> tuple[Message, ...]:
    """Every message this call calls for, the owner's first. The same call gives the same keys."""
    return (*_to_owner(ended, notify, texts), *_to_caller(ended, texts))


def _to_owner(ended: Ended, notify: Sequence[Target], texts: Mapping[str, str]) -> Iterator[Message]:
    if ended.lead_id is None:
        return
    missed = ended.origin in _MISSED
    text = fill(_text("missed_notice" if missed else "notice", texts), _values(ended))
    subject = f"{'שיחה שלא טופלה' if missed else 'פנייה חדשה'}: {ended.name or _shown(ended.phone) or 'ללא שם'}"
    told = [] if ended.rehearsal else list(dict.fromkeys(notify))
    for target in told or [Target(DESK, "")]:
        key = f"call:{ended.call_sid}:notice:{target.channel}:{target.to}"
        yield Message(key[:128], target.channel, target.to, subject, text, Purpose.OWNER_NOTICE)


def _to_caller(ended: Ended, texts: Mapping[str, str]) -> Iterator[Message]:
    if not ended.phone or ended.opted_out or ended.rehearsal:
        return
    for channel in ended.agreed:
        text = fill(_text("details", texts), _values(ended))
        key = f"call:{ended.call_sid}:details:{channel}"
        yield Message(key, channel, ended.phone, ended.business, text, Purpose.SERVICE, asked_at=ended.ended_at)
    if ended.origin in (Origin.BROKEN, Origin.REFUSED) and not ended.agreed and not ended.outbound:
        text = fill(_text("missed", texts), _values(ended))
        yield Message(f"call:{ended.call_sid}:missed", "sms", ended.phone, ended.business, text, Purpose.SERVICE)


def _text(name: str, texts: Mapping[str, str]) -> str:
    return texts.get(name) or TEXTS[name]


def _values(ended: Ended) -> dict[str, str]:
    link = ended.links.get("lead" if ended.lead_id is not None else "call", "")
    return {
        "name": ended.name,
        "phone": _shown(ended.phone),
        "need": ended.need,
        "time": ended.best_time,
        "summary": "" if ended.summary == ended.need else ended.summary,
        "business": ended.business,
        "link": link,
        "next": ended.next_step,
        "about": ended.about,
    }


def _shown(phone: str) -> str:
    digits = national(phone)
    return f"{digits[:3]}-{digits[3:]}" if len(digits) == 10 else digits


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its words. A line of which a word is not known is left out, but for a name: there its words stay."""
    lines = []
    for line in text.splitlines():
        names = _WORD.findall(line)
        if all(values.get(name) for name in names):
            lines.append(_WORD.sub(lambda found: values[found[1]], line))
        elif "name" in names and all(values.get(name) for name in names if name != "name"):
            without = _WORD.sub(lambda found: values.get(found[1], ""), line)
            lines.append(re.sub(r"\s+([,.:])", r"\1", " ".join(without.split())).rstrip(": "))
    return "\n".join(lines)


def checked(name: str, text: str) -> str:
    """An owner's wording, or `WrongText`. What goes to callers must say who writes and how to be removed, as the law
    wants of advertisements and as is right for all."""
    text = "\n".join(line.rstrip() for line in text.replace("\r", "").strip().split("\n"))
    if not text:
        raise WrongText("empty")
    if len(text) > LONGEST_TEXT:
        raise WrongText("long")
    if {*_WORD.findall(text)} - WORDS or re.search(r"[{}]", _WORD.sub("", text)):
        raise WrongText("word")
    if name in ("details", "missed") and ("הסר" not in text or "{business}" not in text):
        raise WrongText("removal")
    return text
