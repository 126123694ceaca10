"""The figures of a business over days: those that are over are counted once and kept, today's each time anew.

    period(first, last) = kept days (day_figures) + days counted now, by the index on the calls' start

A day is kept when it has been over for `SETTLED` and none of its calls is open, so nothing of it can change but what is
erased: figures hold no words, names or numbers of anybody. Reads only, but for the days it keeps.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from moked.crm.db import Records
from moked.crm.figures import LIVE, SHAPE, Figures, Period, Tally, as_json, from_json, steps
from moked.crm.leads import Stage
from moked.crm.models import Business, Call, CallEvent, Lead, Turn
from moked.crm.settle import insert
from moked.crm.tables_pages import DayFigures

LONGEST_DAYS: Final = 400
SWITCHED: Final = "engine_switched"
MODEL_USED: Final = "model_used"
_PLANNED: Final = ("recovered", "rollout")  # as `stt.PLANNED_MOVES`
_MOMENTS: Final = (Turn.transcript_ms, Turn.endpoint_ms, Turn.llm_first_ms, Turn.tts_first_ms, Turn.sent_ms)
_AT_ONCE: Final = 30
SETTLED: Final = timedelta(hours=3)
"""After midnight: a voicemail, a report of the carrier's and a process that was away have come by then."""


class Analytics(Records):
    """`clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def today(self, zone: str) -> date:
        return self._clock().astimezone(ZoneInfo(zone)).date()

    def _settled(self, zone: str) -> date:
        """The last day that is over for good."""
        return (self._clock() - SETTLED).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)

    def period(self, business_id: int, zone: str, first: date, last: date, *, simulated: bool = False) -> Period:
        """Whole days from `first` to `last`, `LONGEST_DAYS` at most; `simulated`: rehearsed calls instead of real."""
        first = max(first, last - timedelta(days=LONGEST_DAYS - 1))
        wanted = [first + timedelta(days=number) for number in range((last - first).days + 1)]
        with self._read.begin() as session:
            known = self._kept(session, business_id, zone, first, last, simulated)
            begun = _first_day(session, business_id, zone)
            missing = [day for day in wanted if day not in known and begun is not None and begun <= day]
            counted = {day: _count(session, business_id, zone, day, simulated) for day in missing}
        self._keep(business_id, zone, simulated, counted)
        figures = {**known, **{day: found for day, (found, _) in counted.items()}}
        return Period(first, last, {day: figures.get(day, Figures()) for day in wanted})

    def stages(self, business_id: int, zone: str, first: date, last: date) -> Mapping[Stage, int]:
        """Where the leads of these days stand now."""
        with self._read.begin() as session:
            rows = session.execute(
                select(Lead.stage, func.count())
                .where(
                    Lead.business_id == business_id,
                    Lead.created_at >= _start(first, zone),
                    Lead.created_at < _start(last + timedelta(days=1), zone),
                )
                .group_by(Lead.stage)
            ).all()
        return {stage: int(count) for stage, count in rows}

    def fill(self) -> int:
        """Count days that are over and not kept yet, some at a time; how many there were. For a background task."""
        done = 0
        with self._read.begin() as session:
            businesses = session.execute(select(Business.id, Business.timezone)).all()
        for business_id, zone in businesses:
            for simulated in (False, True):
                with self._read.begin() as session:
                    begun, last = _first_day(session, business_id, zone), self._settled(zone)
                    if begun is None or begun > last:
                        continue
                    first = max(begun, last - timedelta(days=LONGEST_DAYS))
                    known = self._kept(session, business_id, zone, first, last, simulated)
                    days = (last - timedelta(days=number) for number in range((last - first).days + 1))
                    missing = [day for day in days if day not in known][:_AT_ONCE]
                    counted = {day: _count(session, business_id, zone, day, simulated) for day in missing}
                done += self._keep(business_id, zone, simulated, counted)
        return done

    def _kept(
        self, session: Session, business_id: int, zone: str, first: date, last: date, simulated: bool
    ) -> dict[date, Figures]:
        rows = session.execute(
            select(DayFigures.day, DayFigures.figures).where(
                DayFigures.business_id == business_id,
                DayFigures.day.between(first, last),
                DayFigures.simulated.is_(simulated),
                DayFigures.zone == zone,
                DayFigures.shape == SHAPE,
            )
        ).all()
        return {day: from_json(figures) for day, figures in rows}

    def _keep(self, business_id: int, zone: str, simulated: bool, counted: Mapping[date, tuple[Figures, bool]]) -> int:
        newest = self._settled(zone)
        final = {day: figures for day, (figures, over) in counted.items() if over and day <= newest}
        if not final:
            return 0
        with self._writing() as session:
            for day, figures in final.items():
                values = {"zone": zone, "shape": SHAPE, "figures": as_json(figures), "counted_at": self._clock()}
                keys = {"business_id": business_id, "day": day, "simulated": simulated}
                session.execute(
                    insert(session, DayFigures)
                    .values(**keys, **values)
                    .on_conflict_do_update(index_elements=list(keys), set_=values)
                )
        return len(final)


def _count(session: Session, business_id: int, zone: str, day: date, simulated: bool) -> tuple[Figures, bool]:
    """The day's figures, and whether all its calls are over."""
    start, end = _start(day, zone), _start(day + timedelta(days=1), zone)
    ours = (
        Call.business_id == business_id,
        Call.started_at >= start,
        Call.started_at < end,
        Call.simulated.is_(simulated),
    )
    calls: Counter[str] = Counter()
    heard: Counter[str] = Counter()
    talk, lead_calls, where, over = 0, 0, ZoneInfo(zone), True
    rows = session.execute(
        select(Call.started_at, Call.ended_at, Call.outcome, Call.duration_ms, Call.lead_id, Call.engines).where(*ours)
    )
    for started, ended, outcome, duration, lead, engines in rows:
        calls[f"{started.astimezone(where).hour:02} {outcome.value if outcome else LIVE}"] += 1
        over = over and ended is not None
        talk += duration or 0
        lead_calls += lead is not None
        if engines and duration:
            heard[engines[0]] += duration
    turns, cut, letters, by_engine, tally = _turns(session, ours) if calls else (0, 0, 0, Counter(), Tally())
    failovers, tokens = _events(session, ours) if calls else (Counter(), 0)
    leads = select(func.count()).select_from(Lead).join(Call, Call.sid == Lead.source_call_sid)
    new = leads.where(
        Lead.business_id == business_id,
        Lead.created_at >= start,
        Lead.created_at < end,
        Call.simulated.is_(simulated),
    )
    figures = Figures(
        calls, talk, heard, lead_calls, session.scalar(new) or 0, turns, cut, tally.buckets, by_engine, failovers,
        letters, tokens,
    )  # fmt: skip
    return figures, over


def _turns(session: Session, ours: Iterable[Any]) -> tuple[int, int, int, Counter[str], Tally]:
    """How many turns, how many of them cut, letters said, turns by engine, latencies."""
    turns, cut, letters = 0, 0, 0
    engines: Counter[str] = Counter()
    tally = Tally()
    rows = session.execute(
        select(Turn.engine, Turn.cut, func.length(Turn.said), Turn.speech_end_ms, *_MOMENTS)
        .join(Call, Call.id == Turn.call_id)
        .where(*ours)
    )
    for engine, was_cut, said, speech_end, *moments in rows:
        turns += 1
        cut += was_cut
        letters += said
        if engine:
            engines[engine] += 1
        for component, took in steps(speech_end, moments):
            tally.add(component, took)
    return turns, cut, letters, engines, tally


def _events(session: Session, ours: Iterable[Any]) -> tuple[Counter[str], int]:
    """Moves between engines that were no plan of ours, and tokens of the language model."""
    failovers: Counter[str] = Counter()
    tokens = 0
    rows = session.execute(
        select(CallEvent.kind, CallEvent.data)
        .join(Call, Call.id == CallEvent.call_id)
        .where(*ours, CallEvent.kind.in_((SWITCHED, MODEL_USED)))
    )
    for kind, data in rows:
        if kind == MODEL_USED:
            tokens += int(data.get("tokens", 0))
        elif data.get("before") and data["before"] != data.get("after") and data.get("reason") not in _PLANNED:
            failovers[f"{data['before']}>{data['after']} {data['reason']}"] += 1
    return failovers, tokens


def _first_day(session: Session, business_id: int, zone: str) -> date | None:
    """Of the first call on record: before it there is nothing to count."""
    first = session.scalar(
        select(Call.started_at).where(Call.business_id == business_id).order_by(Call.started_at).limit(1)
    )
    return first.astimezone(ZoneInfo(zone)).date() if first is not None else None


def _start(day: date, zone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(zone))
