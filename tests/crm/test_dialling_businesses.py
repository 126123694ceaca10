"""Several businesses dial in one process: each by its own number, hours, pace and breaker, and none waits for another's
long list."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from moked.channels.policy import Purpose
from moked.crm import caller_ids, consents, dialling
from moked.crm.businesses import Businesses
from moked.crm.campaigns import Line, turns
from moked.crm.dialling import Dialling
from moked.crm.models import Contact
from moked.crm.service import Crm
from moked.crm.tables_policy import Campaign, CampaignState, Dial, DialKind, DialState

NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)  # a Sunday
OURS, CLINIC, GARAGE = "+97235551234", "+97248888888", "+97249999999"


class Street:
    """Three businesses; the first has the installation's number, the second its own, the third none."""

    def __init__(self, engine):
        self.now, self.engine, self.people = NOW, engine, 0
        crm = Crm(engine, clock=lambda: self.now)
        self.first = crm.ensure_business("מזגנים בצפון")
        self.clinic, self.garage = (crm.ensure_business(name, key=name) for name in ("clinic", "garage"))
        self.numbers = Businesses(engine, clock=lambda: self.now)
        self.numbers.give(CLINIC, "clinic")
        self.book = self.dialling(self.first, self.clinic, self.garage)

    def dialling(self, *businesses):
        return Dialling(self.engine, businesses, default=OURS, clock=lambda: self.now)

    def add(self, business, kind=DialKind.CALLBACK, **more):
        self.people += 1
        with Session(self.engine) as session, session.begin():
            number = f"+97250234{self.people:04}"
            contact = Contact(business_id=business, phone=number, created_at=NOW, updated_at=NOW)
            session.add(contact)
            session.flush()
            return dialling.add(
                session, business_id=business, contact_id=contact.id, kind=kind, purpose=Purpose.SERVICE,
                number=number, subject="טיפול", key=f"k{self.people}", due_at=self.now, now=self.now, **more,
            )  # fmt: skip

    def campaign(self, business, count):
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            campaign = Campaign(
                business_id=business, name="מבצע", subject="טיפול", purpose=Purpose.SERVICE,
                state=CampaignState.RUNNING, created_by="דנה", created_at=NOW, per_minute=60, max_parallel=60,
                max_attempts=2, retry_minutes=60,
            )  # fmt: skip
            session.add(campaign)
            session.flush()
        for _ in range(count):
            self.add(business, DialKind.CAMPAIGN, campaign_id=campaign.id, approved_by="דנה")
        return campaign.id

    def round(self, free=100):
        """As the loop does it: one call of each, in turn."""
        found = []
        for business in self.book.turns():
            found += [(business, one) for one in self.book.claim(business, free, 1)]
        return found

    def row(self, table, row_id):
        with Session(self.engine) as session:
            return session.get(table, row_id)

    def caller(self, business, default=OURS):
        with Session(self.engine) as session:
            return caller_ids.caller_id(session, business, default)


@pytest.fixture
def street(engine):
    return Street(engine)


def test_each_calls_from_a_number_of_its_own(street):
    for business in (street.first, street.clinic, street.garage):
        street.add(business)
    assert [(business, one.caller_id) for business, one in street.round()] == [
        (street.first, OURS), (street.clinic, CLINIC),
    ]  # fmt: skip
    street.numbers.give(GARAGE, "garage")
    assert [(business, one.caller_id) for business, one in street.round()] == [(street.garage, GARAGE)]


def test_its_people_choose_and_a_number_that_was_taken_is_not_called_from(street):
    other = "+97248888889"
    street.numbers.give(other, "clinic")
    with Session(street.engine) as session, session.begin():
        consents.settings_of(session, street.clinic, NOW).caller_id = other
    assert street.caller(street.clinic) == other
    street.numbers.take(other)
    street.numbers.give(other, "garage")
    assert (street.caller(street.clinic), street.caller(street.garage)) == (CLINIC, other)


def test_the_installations_number_is_the_first_business_s_unless_another_was_given_it(street):
    assert street.caller(street.first) == OURS
    street.numbers.give(OURS, "garage")
    assert (street.caller(street.first), street.caller(street.garage)) == ("", OURS)
    assert street.caller(street.garage, default="") == ""


def test_a_long_list_starves_nobody(street):
    street.campaign(street.first, 40)
    for _ in range(3):
        assert [business for business, _ in street.round()] == [street.first]
    late = street.add(street.clinic)
    (found, *_) = street.round(free=5)
    assert found[0] == street.clinic  # it has no call on the line yet
    assert street.row(Dial, late).state is DialState.PLACING


def test_the_last_free_place_goes_to_who_has_the_least(street):
    street.campaign(street.first, 10)
    street.campaign(street.clinic, 10)
    placed = [business for _ in range(4) for business, _ in street.round(free=7)]  # one of them is for who calls in
    assert sorted(placed) == sorted([street.first, street.clinic] * 3)


def test_a_click_comes_first_whoevers_it_is(street):
    street.campaign(street.first, 5)
    street.add(street.clinic, DialKind.CLICK, ring_first="+972521119999")
    assert street.round()[0][0] == street.clinic


def test_one_that_is_closed_waits_alone(street):
    with Session(street.engine) as session, session.begin():
        consents.settings_of(session, street.first, NOW).week = {"0": ["08:00", "09:00"]}
    waits, goes = street.add(street.first), street.add(street.clinic)
    assert [one.dial_id for _, one in street.round()] == [goes]
    assert street.row(Dial, waits).due_at == datetime(2026, 11, 23, 6, 0, tzinfo=UTC)


def test_the_breaker_of_one_stops_no_other(street):
    failing, other = street.campaign(street.first, 9), street.campaign(street.clinic, 9)
    for _ in range(7):
        for business, one in street.round():
            street.book.placed(one.dial_id, f"CA{one.dial_id}")
            street.book.ended(one.dial_id, f"CA{one.dial_id}", "failed" if business == street.first else "no-answer")
    assert street.row(Campaign, failing).state is CampaignState.PAUSED
    assert street.row(Campaign, other).state is CampaignState.RUNNING


def test_two_campaigns_of_one_business_take_turns(street):
    campaigns = [street.campaign(street.first, 3), street.campaign(street.first, 3)]
    order = []
    for _ in range(4):
        ((_, one),) = street.round()
        order.append(street.row(Dial, one.dial_id).campaign_id)
        street.now += timedelta(seconds=1)
    assert order == campaigns * 2


def test_what_the_carrier_tells_finds_every_business_that_is_served(street):
    street.add(street.clinic)
    ((_, one),) = street.round()
    assert street.dialling(street.first).answered(one.dial_id, "CA1") is None
    errand = street.book.answered(one.dial_id, "CA1")
    assert (errand.business_id, "של clinic" in errand.opening) == (street.clinic, True)
    assert street.book.errand_of("CA1").dial_id == one.dial_id
    street.book.ended(one.dial_id, "CA1", "busy")
    assert street.row(Dial, one.dial_id).state is DialState.WAITING


def test_who_is_not_served_here_is_not_dialled(street):
    street.add(street.clinic)
    assert street.dialling(street.first).turns() == []


lines = st.lists(
    st.builds(Line, st.integers(1, 9), st.booleans(), st.integers(0, 5)), unique_by=lambda line: line.business_id
)


@given(lines, st.integers(0, 9))
def test_turns_are_everybodys_and_the_least_served_come_first(waiting, last):
    order = turns(waiting, last)
    assert sorted(order) == sorted(line.business_id for line in waiting)
    by = {line.business_id: line for line in waiting}
    for one, other in pairwise(order):
        assert (not by[one].clicked, by[one].live) <= (not by[other].clicked, by[other].live)


@given(st.sets(st.integers(1, 9), min_size=1), st.integers(0, 9))
def test_who_has_as_much_as_others_waits_once_round_at_most(businesses, last):
    served = []
    for _ in businesses:
        last = turns([Line(one) for one in businesses], last)[0]
        served.append(last)
    assert sorted(served) == sorted(businesses)
