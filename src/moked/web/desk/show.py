"""How values are shown to people (pure): numbers, times, lengths, and the bars of a turn's waterfall."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from moked.crm.phone import shown

MOMENTS = ("transcript", "endpoint", "llm_first", "tts_first", "sent", "heard")
"""The steps of an answer in their order; each bar ends at its moment. The first begins at the caller's last sound."""


class Timed(Protocol):
    speech_end_ms: int | None
    transcript_ms: int | None
    endpoint_ms: int | None
    llm_first_ms: int | None
    tts_first_ms: int | None
    sent_ms: int | None
    heard_ms: int | None


@dataclass(frozen=True, slots=True)
class Bar:
    """`start_ms` since the caller's last sound. What was done ahead, while they spoke, took nothing: width 0."""

    name: str
    start_ms: int
    width_ms: int


def bars(turn: Timed) -> list[Bar]:
    """The waterfall of a turn; empty without a caller's last sound, as for the greeting."""
    if turn.speech_end_ms is None:
        return []
    found, at = [], 0
    for name in MOMENTS:
        moment: int | None = getattr(turn, f"{name}_ms")
        if moment is None:
            continue
        end = max(at, moment - turn.speech_end_ms)
        found.append(Bar(name, at, end - at))
        at = end
    return found


def response_ms(turn: Timed) -> int | None:
    if turn.speech_end_ms is None or turn.sent_ms is None:
        return None
    return turn.sent_ms - turn.speech_end_ms


def longest(all_bars: Sequence[Sequence[Bar]]) -> int:
    """The scale all turns of a call share, in ms: at least a second."""
    return max([1000, *(row[-1].start_ms + row[-1].width_ms for row in all_bars if row)])


def number(e164: str) -> str:
    """ "050-234-5678"; what is no number comes back as it is. To be shown left to right."""
    return shown(e164)


def money(shekels: int | None) -> str:
    """ "12,500 ₪", to be shown left to right; '' where nobody knows."""
    return "" if shekels is None else f"{shekels:,} ₪"


def length(ms: int | None) -> str:
    """ "2:05", or "1:02:05"."""
    if ms is None:
        return ""
    minutes, seconds = divmod(max(ms, 0) // 1000, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def seconds(ms: int | None) -> str:
    """ "0.84"."""
    return "" if ms is None else f"{ms / 1000:.2f}"


@dataclass(frozen=True, slots=True)
class When:
    """A moment in the business's zone. `day` is 'today', 'yesterday', 'tomorrow', or '' with `date` as "22.11"."""

    day: str
    weekday: int  # Monday = 0
    date: str
    time: str


def when(moment: datetime, now: datetime, zone_name: str) -> When:
    here, today = moment.astimezone(zone(zone_name)), now.astimezone(zone(zone_name)).date()
    named = {today: "today", today - timedelta(days=1): "yesterday", today + timedelta(days=1): "tomorrow"}
    date = f"{here.day}.{here.month}" + ("" if here.year == today.year else f".{here.year}")
    return When(named.get(here.date(), ""), here.weekday(), date, f"{here:%H:%M}")


def zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def field_value(moment: datetime, zone_name: str) -> str:
    """As `<input type="datetime-local">` wants it."""
    return f"{moment.astimezone(zone(zone_name)):%Y-%m-%dT%H:%M}"


def split_heard(said: str, heard: str) -> tuple[str, str]:
    """What reached the caller, and what was left of `said` when they cut in."""
    heard = heard.strip()
    rest = said.strip().removeprefix(heard) if said.strip().startswith(heard) else ""
    return heard, rest.strip()
