"""Who is who: one contact of a number, other names beside the first, two that are one and apart again."""

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.edits import Unreadable
from moked.crm.leads import Called, called, is_fuller
from moked.crm.models import Contact
from moked.crm.tables_crm import ChannelIdentity
from tests.web.desk_office import NOW, DeskOffice, draft

RUTI, OTHER = "+972502345678", "+972541112233"


@pytest.fixture
def office(engine, tmp_path):
    found = DeskOffice(engine, tmp_path)
    found.me = found.owner()
    return found


def contact(office, contact_id):
    return office.desk.contact(office.business, contact_id)


@pytest.mark.parametrize(
    ("known", "given", "name", "others"),
    [
        (Called(), "רותי", "רותי", []),
        (Called("רותי"), "רותי לוי", "רותי לוי", []),  # the same name, and more of it
        (Called("רותי לוי"), "רותי", "רותי לוי", []),
        (Called("רותי לוי"), "רוּתי  לוי", "רותי לוי", []),
        (Called("רותי לוי"), "דנה כהן", "רותי לוי", ["דנה כהן"]),
        (Called("רותי", locked=True), "רותי לוי", "רותי", ["רותי לוי"]),
        (Called("רותי", aliases=[{"name": "דנה", "call": "CA0", "at": ""}]), "דנה", "רותי", ["דנה"]),
        (Called("רותי"), "", "רותי", []),
    ],
)
def test_the_first_name_stays_and_another_stands_beside_it(known, given, name, others):
    now = called(known, given, "CA1", NOW)
    assert (now.name, [one["name"] for one in now.aliases]) == (name, others)


def test_a_name_is_fuller_by_its_words():
    assert is_fuller("רותי", "רותי לוי")
    assert not is_fuller("רות", "רותי לוי")
    assert not is_fuller("", "רותי")


def test_a_second_call_under_another_name_changes_no_name(office):
    first = office.call("CA1", RUTI, draft("רותי לוי"))
    second = office.call("CA2", RUTI, draft("דנה כהן", "עוד בקשה"))
    assert second.lead_id == first.lead_id
    page = contact(office, first.contact_id)
    assert page.contact.name == "רותי לוי"
    assert [(one["name"], one["call"]) for one in page.contact.aliases] == [("דנה כהן", "CA2")]
    lead = office.desk.lead(office.business, first.lead_id).lead
    assert lead.name == "רותי לוי"
    assert lead.sources["name"]["call_sid"] == "CA1"


def test_a_merged_contact_leads_on_and_comes_back_whole(office):
    kept = office.call("CA1", RUTI, draft("רותי לוי"))
    gone = office.call("CA2", OTHER, draft("רותי לוי־כהן", "דוד"))
    office.edits.add_note(office.me, gone.lead_id, "הערה")
    merge = office.edits.merge_contacts(office.me, kept.contact_id, gone.contact_id)
    page = contact(office, kept.contact_id)
    assert {one.value for one in page.identities} == {RUTI, OTHER}
    assert {lead.id for lead in page.leads} == {kept.lead_id, gone.lead_id}
    assert [one["name"] for one in page.contact.aliases] == ["רותי לוי־כהן"]
    assert {"call", "lead", "task", "activity"} <= {one.kind for one in page.timeline}
    assert contact(office, gone.contact_id).merged_into == kept.contact_id
    assert office.desk.contacts(office.business).total == 1
    assert office.desk.contacts(office.business, "0541112233").rows[0].id == kept.contact_id

    again = office.call("CA3", OTHER, draft("רותי לוי"))  # who was merged calls: it is the one who stays
    assert again.contact_id == kept.contact_id
    assert office.crm.contact_by_phone(OTHER, office.business).id == kept.contact_id

    office.now += timedelta(days=29)
    assert office.edits.unmerge_contacts(office.me, merge) == gone.contact_id
    page, back = contact(office, kept.contact_id), contact(office, gone.contact_id)
    assert [one.value for one in page.identities] == [RUTI]
    assert [one.value for one in back.identities] == [OTHER]
    assert back.contact.name == "רותי לוי־כהן"
    assert page.contact.aliases == []
    assert gone.lead_id in {lead.id for lead in back.leads}
    assert office.call("CA4", OTHER, draft()).contact_id == gone.contact_id
    with pytest.raises(Unreadable, match="merge_over"):
        office.edits.unmerge_contacts(office.me, merge)


def test_a_merge_is_undone_for_thirty_days_and_from_the_last_one_on(office):
    a, b, c = (office.call(f"CA{n}", f"+97250200000{n}", draft(f"פונה {n}")).contact_id for n in range(3))
    first = office.edits.merge_contacts(office.me, b, c)
    second = office.edits.merge_contacts(office.me, a, b)
    assert contact(office, c).merged_into == a
    with pytest.raises(Unreadable, match="merge_over"):
        office.edits.unmerge_contacts(office.me, first)
    for pair in ((a, a), (a, b), (b, a)):
        with pytest.raises(Unreadable, match="merge"):
            office.edits.merge_contacts(office.me, *pair)
    office.now += timedelta(days=31)
    assert contact(office, a).merges == []
    with pytest.raises(Unreadable, match="merge_over"):
        office.edits.unmerge_contacts(office.me, second)


def test_nobody_merges_across_businesses(office):
    ours = office.call("CA1", RUTI, draft("רותי")).contact_id
    other = office.crm.ensure_business("אחר", key="other")
    theirs = office.call("CA2", OTHER, draft("דנה"), business=other).contact_id
    for pair in ((ours, theirs), (theirs, ours)):
        with pytest.raises(LookupError):
            office.edits.merge_contacts(office.me, *pair)


def test_a_number_has_one_contact(office, engine):
    row, new = office.edits.add_contact(office.me, "דנה כהן", "050-2345678")
    assert new
    assert office.edits.add_contact(office.me, "אחרת", "+972-50-234-5678") == (row, False)
    assert contact(office, row).contact.name == "דנה כהן"
    assert office.call("CA1", RUTI, draft("רותי")).contact_id == row
    assert contact(office, row).contact.name == "דנה כהן"  # a person wrote it
    office.edits.add_phone(office.me, row, "054-1112233")
    assert office.call("CA2", OTHER, draft("רותי")).contact_id == row
    second, _ = office.edits.add_contact(office.me, "משה", "03-1234567")
    with pytest.raises(Unreadable, match="phone_taken"):
        office.edits.add_phone(office.me, second, "054-1112233")
    with Session(engine) as session:
        assert len(session.scalars(select(Contact)).all()) == 2
        assert len(session.scalars(select(ChannelIdentity)).all()) == 3


@pytest.mark.parametrize("name", ["דנה\u202eכהן", "\u2066דנה\u2069"])
def test_a_name_that_turns_the_writing_is_refused(office, name):
    row, _ = office.edits.add_contact(office.me, "דנה", "050-2345678")
    with pytest.raises(Unreadable, match="bidi"):
        office.edits.rename_contact(office.me, row, name)
    with pytest.raises(Unreadable, match="bidi"):
        office.edits.add_contact(office.me, name, "03-1234567")
    assert contact(office, row).contact.name == "דנה"
