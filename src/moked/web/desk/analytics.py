"""Figures of a period beside the one before it: calls, outcomes, leads, busy hours, latency, engines, cost."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from flask import Blueprint, Response, render_template, request

from moked.crm.analytics import LONGEST_DAYS, Analytics
from moked.crm.costs import cost
from moked.crm.figures import COMPONENTS, LIVE, Figures, Period
from moked.crm.permissions import Permission
from moked.records import Outcome
from moked.web.desk import asked, charts, gate, words
from moked.web.desk.gate import actor, needs
from moked.web.parts import DeskParts

RANGES: Final = (7, 30, 90)
_USUAL: Final = 7
_SHARES: Final = (50, 90, 95, 99)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Whole days, both included; `days` is the preset that was chosen, or 0."""

    first: date
    last: date
    days: int
    simulated: bool

    @property
    def length(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def before(self) -> tuple[date, date]:
        """As many days, just before."""
        return self.first - timedelta(days=self.length), self.first - timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Headline:
    """A number, and how it differs from the period before: in percent, or None where there was nothing to compare."""

    name: str
    value: str
    change: int | None
    better: bool | None  # None: neither more nor less of it is good


def add(views: Blueprint, desk: DeskParts, source: Analytics) -> None:
    """`/analytics`, `/analytics.csv`."""

    def period(first: date, last: date, simulated: bool) -> Period:
        who = actor()
        return source.period(who.business_id, who.timezone, first, last, simulated=simulated)

    @views.get("/analytics")
    @needs(Permission.ANALYTICS)
    def analytics() -> str:
        who, today = actor(), source.today(actor().timezone)
        wanted = _wanted(today)
        now, before = period(wanted.first, wanted.last, wanted.simulated), period(*wanted.before, wanted.simulated)
        total = now.total
        days = [f"{day.day}.{day.month}" for day in now.days]
        return render_template(
            "desk/analytics.html",
            section="analytics",
            wanted=wanted,
            ranges=RANGES,
            today=today,
            total=total,
            headlines=_headlines(total, before.total),
            by_day=charts.columns(days, [figures.total for figures in now.days.values()]),
            by_hour=charts.columns([f"{hour:02}" for hour in range(24)], total.hours()),
            latency=charts.lines(
                days,
                [
                    [_seconds(figures.percentile("response", share)) for figures in now.days.values()]
                    for share in (50, 95)
                ],
            ),
            heat=charts.heat(now.week()),
            cell=charts.CELL,
            gap=charts.GAP,
            outcome_names=[*Outcome, LIVE],
            stages_now=source.stages(who.business_id, who.timezone, wanted.first, wanted.last),
            components=[(name, [total.percentile(name, share) for share in _SHARES]) for name in COMPONENTS],
            shares=_SHARES,
            failovers=_failovers(total),
            cost=cost(total, desk.prices),
            prices=desk.prices,
        )

    @views.get("/analytics.csv")
    @needs(Permission.ANALYTICS)
    def analytics_csv() -> Response:
        """A line a day; with the mark by which Excel knows UTF-8."""
        wanted = _wanted(source.today(actor().timezone))
        found = period(wanted.first, wanted.last, wanted.simulated)
        out = io.StringIO()
        out.write("\ufeff")
        writer = csv.writer(out)
        writer.writerows(_rows(found, gate.language(), desk))
        name = f"moked-{wanted.first}-{wanted.last}.csv"
        answer = Response(out.getvalue(), mimetype="text/csv")
        answer.headers["Content-Disposition"] = f"attachment; filename={name}"
        return answer


def _wanted(today: date) -> Wanted:
    """From the address: `days`, or `first` and `last`; nonsense is the usual week."""
    simulated = request.args.get("simulated") == "1"
    first, last = asked.day("first"), asked.day("last")
    if first is not None and last is not None and first <= last:
        last = min(last, today)
        first = max(min(first, last), last - timedelta(days=LONGEST_DAYS - 1))
        return Wanted(first, last, 0, simulated)
    days = asked.row(request.args.get("days", "")) or _USUAL
    days = days if days in RANGES else _USUAL
    return Wanted(today - timedelta(days=days - 1), today, days, simulated)


def _headlines(now: Figures, before: Figures) -> list[Headline]:
    def one(name: str, value: float | None, old: float | None, text: str, more_is_better: bool | None) -> Headline:
        change = round((value - old) * 100 / old) if value is not None and old else None
        better = None if more_is_better is None or not change else (change > 0) == more_is_better
        return Headline(name, text if value is not None else "–", change, better)

    p95, old_p95 = now.percentile("response", 95), before.percentile("response", 95)
    p50, old_p50 = now.percentile("response", 50), before.percentile("response", 50)
    answered, conversion = _share(now.answered, now.total), _share(now.lead_calls, now.answered)
    average = now.talk_ms / now.answered if now.answered else None
    old_average = before.talk_ms / before.answered if before.answered else None
    minutes, seconds = divmod(round((average or 0) / 1000), 60)
    return [
        one("calls", now.total, before.total, f"{now.total:,}", None),
        one("answered", answered, _share(before.answered, before.total), f"{answered}%", True),
        one("leads", now.leads, before.leads, f"{now.leads:,}", True),
        one("conversion", conversion, _share(before.lead_calls, before.answered), f"{conversion}%", True),
        one("length", average, old_average, f"{minutes}:{seconds:02}", None),
        one("median", p50, old_p50, f"{(p50 or 0) / 1000:.2f}", False),
        one("slow", p95, old_p95, f"{(p95 or 0) / 1000:.2f}", False),
        one(
            "cut", _share(now.cut, now.turns), _share(before.cut, before.turns), f"{_share(now.cut, now.turns)}%", None
        ),
    ]


def _share(part: int, whole: int) -> int | None:
    return round(part * 100 / whole) if whole else None


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def _failovers(total: Figures) -> list[tuple[str, str, str, int]]:
    """(from, to, reason, how often), the most frequent first."""
    found = []
    for key, count in sorted(total.failovers.items(), key=lambda item: -item[1]):
        move, _, reason = key.partition(" ")
        before, _, after = move.partition(">")
        found.append((before, after, reason, count))
    return found


def _rows(period: Period, language: str, desk: DeskParts) -> Iterator[list[object]]:
    def say(key: str) -> str:
        return words.say(language, key)

    outcomes = [outcome.value for outcome in Outcome]
    yield [
        say("analytics.day"), say("analytics.calls"), *(say(f"outcome.{name}") for name in outcomes),
        say("analytics.leads"), say("analytics.with_lead"), say("analytics.minutes"), say("analytics.median"),
        say("analytics.slow"), f"{say('analytics.cost')} ({desk.prices.currency})",
    ]  # fmt: skip
    for day, figures in period.days.items():
        counts = figures.outcomes()
        p50, p95 = (_seconds(figures.percentile("response", share)) for share in (50, 95))
        yield [
            day.isoformat(), figures.total, *(counts[name] for name in outcomes), figures.leads, figures.lead_calls,
            round(figures.talk_ms / 60_000, 1), "" if p50 is None else p50, "" if p95 is None else p95,
            round(cost(figures, desk.prices).total, 4),
        ]  # fmt: skip
