"""The figures of a business from its record, on both databases; days that are over are counted once."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from moked.crm.analytics import _PLANNED, Analytics
from moked.crm.figures import Figures
from moked.crm.leads import Stage
from moked.crm.service import Crm
from moked.crm.tables_pages import DayFigures
from moked.records import CallEnd, CallStart, LeadDraft, Outcome, TurnRecord, Waterfall
from moked.stt import PLANNED_MOVES

ZONE = "Asia/Jerusalem"
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
TODAY = date(2026, 11, 22)


class Office:
    def __init__(self, engine):
        self.now = NOW
        self.engine = engine
        self.crm = Crm(engine, clock=lambda: self.now)
        self.analytics = Analytics(engine, clock=lambda: self.now)
        self.business = self.crm.ensure_business("מזגנים")

    def call(self, sid, ago, *, outcome=Outcome.COMPLETED, named=True, simulated=False, business=None, events=()):
        self.now = NOW - ago
        start = CallStart(sid, "AC1", f"+97250{abs(hash(sid)) % 10**7:07}", "+97235551234", simulated=simulated)
        self.crm.open_call(start, business or self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        fall = Waterfall(5000, 5100, 5450, 5600, 5800, 5850, 6100)
        self.crm.add_turn(sid, TurnRecord(0, "", "שלום.", "שלום.", False, 0, 2500))
        self.crm.add_turn(sid, TurnRecord(1, "נזילה", "מתי נוח?", "מתי", True, 3000, 8000, "google", waterfall=fall))
        for number, (kind, data) in enumerate(events):
            self.crm.add_event(sid, kind, data, key=str(number))
        draft = LeadDraft(name="רותי לוי", need="נזילה") if named else LeadDraft()
        self.crm.finish_call(CallEnd(sid, outcome, "agent_hangup", 60_000, draft, ("google",)))
        self.now = NOW

    def period(self, days=7, **more):
        return self.analytics.period(self.business, ZONE, TODAY - timedelta(days=days - 1), TODAY, **more)

    def kept(self):
        with Session(self.engine) as session:
            return session.scalar(select(func.count()).select_from(DayFigures))


@pytest.fixture
def office(engine):
    return Office(engine)


def test_what_is_counted(office):
    switched = {"before": "google", "after": "whisper", "reason": "failed"}
    office.call("CA1", timedelta(hours=2), events=(("engine_switched", switched), ("model_used", {"tokens": 700})))
    office.call("CA2", timedelta(hours=2), events=(("engine_switched", {**switched, "reason": "recovered"}),))
    office.call("CA3", timedelta(days=1), outcome=Outcome.REFUSED)
    office.call("SIM", timedelta(hours=1), simulated=True)
    found = office.period()
    today = found.days[TODAY]
    assert today.calls == {"10 completed": 2}
    assert (today.turns, today.cut, today.leads, today.lead_calls) == (4, 2, 2, 2)
    assert (today.talk_ms, today.heard_ms, today.tokens) == (120_000, {"google": 120_000}, 700)
    assert today.letters == 2 * len("שלום.מתי נוח?")
    assert today.engines == {"google": 2}
    assert today.failovers == {"google>whisper failed": 1}
    assert today.percentile("response", 50) == 850
    assert [today.percentile(name, 50) for name in ("transcript", "endpoint")] == [110, 350]
    assert found.total.answered == 2
    assert found.total.outcomes() == {"completed": 2, "refused": 1}
    assert found.week()[0][10] == 2  # Sunday, ten in the morning
    assert list(found.days) == [TODAY - timedelta(days=number) for number in range(6, -1, -1)]
    assert office.period(simulated=True).total.total == 1


def test_a_day_begins_at_the_business_s_midnight(office):
    office.call("CA1", timedelta(hours=10, minutes=29))  # 02:01 in Jerusalem
    office.call("CA2", timedelta(hours=12, minutes=31))  # 23:59 the day before
    days = office.period().days
    assert days[TODAY].calls == {"02 completed": 1}
    assert days[TODAY - timedelta(days=1)].calls == {"23 completed": 1}


def test_days_that_are_over_are_counted_once_and_stay_right(office):
    for number in range(6):
        office.call(f"CA{number}", timedelta(days=number))
    first = office.period(10)
    assert office.kept() == 5  # all but today; before the first call there is nothing to count
    office.call("LATE", timedelta(hours=1))
    again = office.period(10)
    assert again.total.total == first.total.total + 1
    assert office.analytics.fill() == 5  # of the rehearsed calls, none
    assert office.analytics.fill() == 0
    assert office.period(10) == again


def test_yesterday_is_kept_when_the_night_is_well_on(office):
    office.call("CA1", timedelta(days=1))
    for hour, kept in ((2, 0), (4, 1)):
        office.now = datetime(2026, 11, 22, hour, tzinfo=ZoneInfo(ZONE)).astimezone(UTC)
        office.period()
        assert office.kept() == kept


def test_a_day_with_an_open_call_is_not_kept(office):
    office.call("CA1", timedelta(days=3))
    office.now = NOW - timedelta(days=3)
    office.crm.open_call(CallStart("OPEN", "AC1", "+972501112222", "+97235551234"), office.business)
    office.now = NOW
    assert office.period().days[TODAY - timedelta(days=3)].calls == {"12 completed": 1, "12 live": 1}
    office.crm.sweep_orphans(60)
    assert "12 no_stream" in office.period().days[TODAY - timedelta(days=3)].calls


def test_another_clock_counts_anew(office):
    office.call("CA1", timedelta(days=3, hours=12))
    there = office.analytics.period(office.business, "Pacific/Auckland", TODAY - timedelta(days=6), TODAY)
    assert there.total.total == office.period().total.total == 1
    assert there.days != office.period().days


def test_where_leads_stand_now_and_the_neighbour_s_are_not_ours(office):
    other = office.crm.ensure_business("השכן", key="other")
    office.call("CA1", timedelta(hours=2))
    office.call("CA2", timedelta(hours=3), business=other)
    assert office.analytics.stages(office.business, ZONE, TODAY, TODAY) == {Stage.NEW: 1}
    assert office.period().total.total == 1
    assert office.analytics.period(other, ZONE, TODAY, TODAY).total.leads == 1


def test_an_empty_business_has_empty_days(office):
    assert list(office.period().days.values()) == [Figures()] * 7
    assert office.kept() == 0
    assert office.analytics.fill() == 0


def test_planned_moves_are_those_of_hearing():
    assert _PLANNED == PLANNED_MOVES
