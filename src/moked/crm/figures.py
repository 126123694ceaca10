"""The figures of a day of calls, and of days together (pure).

Everything in `Figures` is a count that can be added, so a month is the sum of its days, and a day that is over need
never be looked at again. Latencies are counted in buckets of `BUCKET_MS`; a percentile is right to within one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from typing import Any, Final

from moked.records import Outcome

SHAPE: Final = 1
"""Raised when what is counted changes: stored days of another shape are counted again."""

BUCKET_MS: Final = 20
LONGEST_MS: Final = 20_000
COMPONENTS: Final = ("transcript", "endpoint", "llm_first", "tts_first", "sent", "response")
"""The steps of an answer, each from the one before (the first from the caller's last sound), and the whole of it."""

LIVE: Final = "live"
_UNANSWERED: Final = (Outcome.REFUSED.value, Outcome.NO_STREAM.value)
Counts = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Figures:
    """`calls`: by "hour outcome" of the business's clock ("09 completed"). `talk_ms`: their length, `heard_ms` by the
    engine that began them. `lead_calls` left a lead, `leads` are new ones. `latency`: by component, by bucket number.
    `engines`: turns by the engine that heard them. `failovers`: "from>to reason". `letters` were said, `tokens` used.
    """

    calls: Counts = field(default_factory=dict)
    talk_ms: int = 0
    heard_ms: Counts = field(default_factory=dict)
    lead_calls: int = 0
    leads: int = 0
    turns: int = 0
    cut: int = 0
    latency: Mapping[str, Counts] = field(default_factory=dict)
    engines: Counts = field(default_factory=dict)
    failovers: Counts = field(default_factory=dict)
    letters: int = 0
    tokens: int = 0

    @property
    def total(self) -> int:
        return sum(self.calls.values())

    @property
    def answered(self) -> int:
        """Calls that reached the agent."""
        return sum(count for key, count in self.calls.items() if key.split()[1] not in _UNANSWERED)

    def outcomes(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for key, count in self.calls.items():
            found[key.split()[1]] += count
        return found

    def hours(self) -> list[int]:
        """Calls of each of the 24 hours."""
        found = [0] * 24
        for key, count in self.calls.items():
            found[int(key.split()[0])] += count
        return found

    def percentile(self, component: str, percent: float) -> int | None:
        """In ms; None where nothing was measured."""
        return percentile(self.latency.get(component, {}), percent)


def percentile(buckets: Counts, percent: float) -> int | None:
    """The middle of the bucket in which `percent` of what was counted is reached; None where nothing was."""
    total = sum(buckets.values())
    if not total:
        return None
    wanted, seen, last = total * percent / 100, 0, 0
    for bucket in sorted(map(int, buckets)):
        last = bucket
        seen += buckets[str(bucket)]
        if seen >= wanted:
            break
    return last * BUCKET_MS + BUCKET_MS // 2


def together(days: Iterable[Figures]) -> Figures:
    """The sum."""
    numbers: Counter[str] = Counter()
    counts: dict[str, Counter[str]] = {}
    latency: dict[str, Counter[str]] = {}
    for day in days:
        for name in _NUMBERS:
            numbers[name] += getattr(day, name)
        for name in _COUNTS:
            counts.setdefault(name, Counter()).update(getattr(day, name))
        for component, buckets in day.latency.items():
            latency.setdefault(component, Counter()).update(buckets)
    return Figures(latency=latency, **counts, **numbers)  # type: ignore[arg-type]


def steps(speech_end: int | None, moments: Iterable[int | None]) -> list[tuple[str, int]]:
    """What each step of one answer took, in ms; [] without a caller's last sound, or without an answer.

    `moments` in the order of `COMPONENTS`, without the whole. What was done ahead, while they spoke, took nothing.
    """
    known = list(moments)
    if speech_end is None or known[-1] is None:
        return []
    found, at = [], 0
    for name, moment in zip(COMPONENTS, known, strict=False):
        if moment is None:
            continue
        end = max(at, moment - speech_end)
        found.append((name, end - at))
        at = end
    return [*found, ("response", at)]


class Tally:
    """Counts latencies."""

    def __init__(self) -> None:
        self.buckets: dict[str, Counter[str]] = {}

    def add(self, component: str, took_ms: int) -> None:
        bucket = min(max(took_ms, 0), LONGEST_MS) // BUCKET_MS
        self.buckets.setdefault(component, Counter())[str(bucket)] += 1


def as_json(figures: Figures) -> dict[str, Any]:
    data: dict[str, Any] = {name: getattr(figures, name) for name in _NUMBERS}
    data |= {name: dict(getattr(figures, name)) for name in _COUNTS}
    return {**data, "latency": {component: dict(buckets) for component, buckets in figures.latency.items()}}


def from_json(data: Mapping[str, Any]) -> Figures:
    return Figures(**{name: data[name] for name in (*_NUMBERS, *_COUNTS, "latency")})


@dataclass(frozen=True, slots=True)
class Period:
    """Whole days of the business, both ends included; one of `days` a day, also where nothing happened."""

    first: date
    last: date
    days: Mapping[date, Figures]

    @property
    def total(self) -> Figures:
        return together(self.days.values())

    def week(self) -> list[list[int]]:
        """Calls by weekday (Sunday first) and hour."""
        found = [[0] * 24 for _ in range(7)]
        for day, figures in self.days.items():
            for hour, count in enumerate(figures.hours()):
                found[day.isoweekday() % 7][hour] += count
        return found


_COUNTS: Final = ("calls", "heard_ms", "engines", "failovers")
_NUMBERS: Final = tuple(one.name for one in fields(Figures) if one.name not in (*_COUNTS, "latency"))
