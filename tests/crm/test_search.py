"""The index of words on both databases: current, apart by business, and never a query that fails."""

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text
from sqlalchemy.orm import Session

from moked.crm import search
from moked.crm.models import Call, Contact, Lead
from moked.crm.search import Kind
from moked.crm.tables_crm import SearchEntry
from moked.records import Segment
from tests.web.desk_office import DeskOffice, draft, furnish, turns


@pytest.fixture
def office(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    return found


def hits(office, asked):
    found = office.desk.find(office.business, asked)
    assert found is not None
    return len(found.leads), len(found.contacts), len(found.calls)


def test_leads_contacts_and_calls_are_found_in_the_hebrew_people_type(office):
    furnish(office)
    for asked in ("רותי", "רוּתִי", "לרותי", "לוי רותי", "רות"):
        assert hits(office, asked)[:2] == (1, 1), asked
    for asked in ("מזגן בסלון", "והמזגן בסלון", "סלון מטפטף"):
        assert hits(office, asked)[0] == 1, asked
    assert hits(office, "והמזגן")[0] == 4  # המזגן, מזגן, למזגן, מזגנים
    assert hits(office, "מצוין")[2] == 5  # what the agent said and was heard, in each of five calls
    assert hits(office, "גורביץ'") == hits(office, "גורביץ׳") == (1, 1, 0)
    for asked in ("050-234", "0502345678", "345678", "+972502345678"):
        assert hits(office, asked) == (1, 1, 1), asked
    assert hits(office, "איןכזה") == hits(office, "%") == (0, 0, 0)
    assert office.desk.find(office.business, " ") is None


def test_the_place_is_shown_with_what_was_asked_marked(office):
    furnish(office)
    call = office.desk.find(office.business, "ארבע").calls[0]
    assert [piece.text for piece in call.place if piece.hit] == ["ארבע"]
    assert call.turn == 2
    assert "<b>" in "".join(piece.text for piece in call.place)  # as text: the page escapes it


def test_the_index_is_current(office):
    left = office.call("CA1", "+972502345678", draft("רותי לוי"), turns=turns())
    assert hits(office, "מטפטף") == (1, 0, 1)
    office.edits.set_field(office.me, left.lead_id, "need", "דוד שמש")
    assert hits(office, "מטפטף") == (0, 0, 1)
    assert hits(office, "דוד שמש")[0] == 1
    office.edits.add_note(office.me, left.lead_id, "ביקשה קבלה")
    assert hits(office, "קבלה")[0] == 1
    office.edits.rename_contact(office.me, left.contact_id, "רות כהן")
    assert hits(office, "כהן")[1] == 1
    office.crm.store_transcript("CA1", [Segment(0, 10, "caller", "צינור", "whisper")])
    assert hits(office, "הצינור")[2] == 1


def test_words_are_found_while_the_call_still_runs(office):
    furnish(office)
    office.crm.add_turn("CA92", turns()[0])
    office.crm.add_turn("CA92", turns()[1])
    assert any(hit.row.sid == "CA92" for hit in office.desk.find(office.business, "מטפטף").calls)


def test_what_is_gone_is_not_found(office, engine):
    furnish(office)
    with Session(engine) as session, session.begin():
        session.execute(delete(Call))
        session.execute(delete(Lead))
        session.execute(delete(Contact))
        assert session.scalars(select(SearchEntry.id)).all() == []
    assert hits(office, "רותי") == (0, 0, 0)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.execute(text("INSERT INTO search_fts(search_fts) VALUES ('integrity-check')"))


def test_rows_that_were_written_past_the_session_are_indexed_anew(office, engine):
    furnish(office)
    before = hits(office, "מטפטף")
    with Session(engine) as session, session.begin():
        session.execute(delete(SearchEntry))
    assert hits(office, "מטפטף") == (0, 0, 0)
    search.rebuild(engine)
    assert hits(office, "מטפטף") == before
    search.rebuild(engine)
    assert hits(office, "מטפטף") == before


def test_another_business_finds_nothing_of_ours(office):
    furnish(office)
    other = office.crm.ensure_business("אחר", key="other")
    assert not office.desk.find(other, "רותי")
    assert not office.desk.find(other, "0502345678")


@given(st.text(max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_no_question_and_no_text_breaks_the_database(office, engine, asked):
    business, moment = office.business, datetime.now(UTC)
    with Session(engine) as session:
        session.add(Contact(business_id=business, name=asked, created_at=moment, updated_at=moment))
        session.flush()
        for kind, table in ((Kind.LEAD, Lead), (Kind.CONTACT, Contact), (Kind.CALL, Call)):
            rules = search.rule(engine.dialect.name, business, kind, asked)
            assert session.scalars(select(table).where(*rules).limit(1)).all() is not None
        session.rollback()
