"""Leads by what stands in the business's own fields, on both databases."""

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.filters import NOTHING, LeadFilter
from moked.crm.lead_fields import FieldKind
from moked.crm.lead_values import OwnFilter
from moked.crm.models import Lead
from moked.crm.tables_crm import LeadField, LeadValue
from tests.web.desk_office import DeskOffice, draft


@pytest.fixture
def office(engine, tmp_path):
    desk = DeskOffice(engine, tmp_path)
    desk.me = desk.owner()
    desk.leads = [desk.call(f"CA{n}", f"+97250234567{n}", draft(f"פונה {n}")).lead_id for n in range(4)]
    for name, kind, choices in (
        ("עיר", FieldKind.TEXT, ""), ("תקציב", FieldKind.NUMBER, ""), ("מועד", FieldKind.DATE, ""),
        ("דירה", FieldKind.CHOICE, "קטנה\nגדולה\nגדולה מאוד"),
    ):  # fmt: skip
        desk.edits.add_lead_field(desk.me, name, kind, choices)
    desk.field = {one.name: one.id for one in desk.desk.lead_field_rows(desk.business)}
    for lead, city, budget, day, flat in zip(
        desk.leads, ("Tel Aviv", "חיפה", "ליד חיפה", ""), ("900", "12,000.5", "-3", ""),
        ("1.12.2026", "2026-12-31", "2027-01-01", ""), ("גדולה", "גדולה מאוד", "קטנה", ""), strict=True,
    ):  # fmt: skip
        given = {"extra.עיר": city, "extra.תקציב": budget, "extra.מועד": day, "extra.דירה": flat}
        desk.edits.set_fields(desk.me, lead, {name: value for name, value in given.items() if value})
    return desk


def found(office, **own):
    wanted = LeadFilter(own=(OwnFilter(**own),))
    assert LeadFilter.of_query(wanted.as_query()) == wanted
    rows = office.desk.leads(office.business, wanted, "Asia/Jerusalem").rows
    board = office.desk.board(office.business, wanted, "Asia/Jerusalem").values()
    assert {one.id for column in board for one in column.rows} == {one.id for one in rows}
    return sorted(office.leads.index(one.id) for one in rows)


def test_every_kind_is_found_in_its_own_way(office):
    field = office.field
    assert found(office, field_id=field["עיר"], has="חיפה") == [1, 2]
    assert found(office, field_id=field["עיר"], has="tel a") == [0]
    assert found(office, field_id=field["עיר"], has="%") == []
    assert found(office, field_id=field["עיר"], text="חיפה") == [1]
    assert found(office, field_id=field["תקציב"], least="-5", most="900") == [0, 2]
    assert found(office, field_id=field["תקציב"], least="12,000") == [1]
    assert found(office, field_id=field["מועד"], least="2026-12-31") == [1, 2]
    assert found(office, field_id=field["מועד"], most="2026-12-30") == [0]
    assert found(office, field_id=field["דירה"], text="גדולה") == [0]
    assert found(office, field_id=field["דירה"]) == [3]  # nothing stands there
    for nonsense in ("מחר", "2026-13-01", "nan", "1e999"):
        assert found(office, field_id=field["מועד"], least=nonsense) == []
    assert found(office, field_id=10**9, text="חיפה") == []


def test_several_conditions_hold_together_and_with_others(office):
    field = office.field
    query = {f"f{field['עיר']}_has": "חיפה", f"f{field['תקציב']}_min": "0", "stage": "new", "f7x": "1", "f": "2"}
    wanted = LeadFilter.of_query(query)
    assert [one.field_id for one in wanted.own] == [field["עיר"], field["תקציב"]]
    assert [one.id for one in office.desk.leads(office.business, wanted, "Asia/Jerusalem").rows] == [office.leads[1]]
    assert LeadFilter.of_query({f"f{field['עיר']}": NOTHING}).own == (OwnFilter(field_id=field["עיר"]),)
    many = {f"f{number}": "x" for number in range(1, 40)}
    assert len(LeadFilter.of_query(many).own) == 10


def test_what_changes_is_found_anew_and_what_is_emptied_is_not(office):
    city, lead = office.field["עיר"], office.leads[0]
    office.edits.set_field(office.me, lead, "extra.עיר", "באר שבע")
    assert found(office, field_id=city, has="tel") == []
    assert found(office, field_id=city, has="שבע") == [0]
    office.edits.set_field(office.me, lead, "extra.עיר", "")
    assert found(office, field_id=city) == [0, 3]


def test_a_new_field_knows_what_callers_have_said_and_a_removed_one_leaves_nothing(office):
    with Session(office.engine) as session, session.begin():
        lead = session.get_one(Lead, office.leads[3])
        lead.extra = {"קומה": "שלישית", "גודל": "80"}
    office.edits.add_lead_field(office.me, "קומה", FieldKind.NUMBER, "")
    rows = {one.name: one.id for one in office.desk.lead_field_rows(office.business)}
    assert found(office, field_id=rows["קומה"], has="שליש") == [3]  # what the agent heard is no number
    assert found(office, field_id=rows["קומה"], least="0") == []
    office.edits.remove_lead_field(office.me, rows["קומה"])
    with Session(office.engine) as session:
        left = set(session.scalars(select(LeadValue.field_id)))
        assert left <= set(session.scalars(select(LeadField.id)))


def test_a_file_brings_values_too_and_the_neighbours_see_none(office):
    data = "שם,טלפון,עיר\nרון,052-1112222,אילת\n".encode()
    job = office.edits.keep_file(office.me, "a.csv", data)
    office.edits.map_columns(office.me, job, ["name", "phone", "extra.עיר"])
    office.edits.apply_import(office.me, job)
    city = office.field["עיר"]
    wanted = LeadFilter(own=(OwnFilter(field_id=city, has="אילת"),))
    assert [one.name for one in office.desk.leads(office.business, wanted, "Asia/Jerusalem").rows] == ["רון"]
    other = office.crm.ensure_business("שכנים", key="neighbours")
    assert office.desk.leads(other, wanted, "Asia/Jerusalem").rows == []
