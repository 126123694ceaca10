"""Several businesses in one database: the number that is called chooses, and nothing of one is ever another's."""

import ast
import inspect
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from sqlalchemy.orm import Session

from moked.crm import (
    access,
    agent_versions,
    analytics,
    desk,
    edits,
    edits_contacts,
    edits_setup,
    edits_tasks,
    erasure,
    exporting,
    finder,
    hooks,
    importing,
    keys,
    listing,
    live,
    outreach,
    privacy_desk,
    reading,
    reads_contacts,
    reads_work,
    rehearsals,
)  # fmt: skip
from moked.crm.access import Access
from moked.crm.businesses import Businesses, Refused, check_key
from moked.crm.desk import LeadFilter
from moked.crm.listing import Listing
from moked.crm.models import Base, UserAccount
from moked.crm.service import Crm
from moked.records import CallEnd, CallStart, LeadDraft, Outcome

NUMBERS = ("+97231111111", "+97232222222", "+97233333333")


def test_a_number_is_one_businesss(engine):
    crm, businesses = Crm(engine), Businesses(engine)
    first, second = crm.ensure_business("א"), crm.ensure_business("ב", key="second")
    assert businesses.of_number("03-1111111") is None
    assert businesses.give("03-1111111", "second") == "+97231111111"
    businesses.give("+97231111111", "second")
    assert businesses.of_number("03-1111111") == second
    assert businesses.of_number("anonymous") is None
    with pytest.raises(Refused, match="another business"):
        businesses.give("+97231111111", "default")
    with pytest.raises(Refused, match="no business"):
        businesses.give("+97232222222", "third")
    with pytest.raises(Refused, match="not a telephone number"):
        businesses.give("12", "second")
    assert [(one.id, one.key, one.numbers) for one in businesses.all()] == [
        (first, "default", ()), (second, "second", ("+97231111111",)),
    ]  # fmt: skip
    assert businesses.take("03-1111111")
    assert not businesses.take("03-1111111")
    for wrong in ("default", "Second", "a b", "", "-a"):
        with pytest.raises(Refused):
            check_key(wrong)


def test_an_owner_is_invited_into_their_own_business(engine):
    crm = Crm(engine)
    crm.ensure_business("א")
    second = crm.ensure_business("ב", key="second")
    who = Access(engine)
    token = who.invite_owner(second, "Nir@example.com", "ניר")
    assert who.invited(token) == "nir@example.com"
    assert who.invited(who.invite_owner(second, "nir@example.com", "ניר")) == "nir@example.com"
    who.accept(token := who.invite_owner(second, "nir@example.com", "ניר"), "סיסמה ארוכה מאוד")
    with Session(engine) as session, session.begin():
        session.execute(update(UserAccount).values(totp_sealed=b"x"))
    assert token != who.invite_owner(second, "nir@example.com", "ניר")
    assert who.users(second)[0].second_factor
    who.invite_owner(second, "nir@example.com", "ניר", lost_phone=True)
    assert not who.users(second)[0].second_factor
    with pytest.raises(access.Refused, match="taken"):
        who.invite_owner(crm.ensure_business("ג", key="third"), "nir@example.com", "ניר")


@given(calls=st.lists(st.tuples(st.sampled_from([*NUMBERS, "+97239999999"]), st.integers(0, 3)), max_size=12))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_same_people_call_several_businesses_and_each_has_its_own(engine, calls):
    crm, businesses, lists = Crm(engine), Businesses(engine), Listing(engine)
    first = crm.ensure_business("first")
    ids = {number: crm.ensure_business(number, key=f"b{number[-1]}") for number in NUMBERS}
    for number in NUMBERS:
        businesses.give(number, f"b{number[-1]}")
    told = {}
    for position, (called, person) in enumerate(calls):
        mine = businesses.of_number(called) or first
        assert mine == ids.get(called, first)
        sid, caller = f"CA{position}", f"+97250234567{person}"
        crm.open_call(CallStart(sid, "AC1", caller, called), mine)
        start = crm.redeem_ticket(crm.mint_ticket(sid), sid)
        assert isinstance(start, CallStart)
        assert start.business_id == mine
        crm.finish_call(CallEnd(sid, Outcome.COMPLETED, "", 1, LeadDraft(name=f"{person}", need=called)))
        told.setdefault(mine, set()).add((caller, called))
    for mine in (first, *ids.values()):
        leads = lists.lead_list(mine, LeadFilter(), "Asia/Jerusalem", limit=200).rows
        contacts = lists.contact_list(mine, limit=200).rows
        assert {lead.business_id for lead in leads} <= {mine}
        assert {contact.phone for contact in contacts} == {caller for caller, _ in told.get(mine, ())}
        assert {(lead.phone or caller, lead.need) for lead in leads for caller in [lead.phone]} == told.get(mine, set())
        for caller, _ in told.get(mine, ()):
            known = crm.contact_by_phone(caller, mine)
            assert known is not None
            assert known.last_need in {called for _, called in told[mine]}
    with Session(engine) as session, session.begin():
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


# ---- every function that pages and programs ask

_ASKED = {
    access: "Access", agent_versions: "AgentVersions", analytics: "Analytics", desk: "Desk", edits: "Edits",
    edits_contacts: "ContactEdits", edits_setup: "SetupEdits", edits_tasks: "TaskEdits", erasure: "Erasure",
    exporting: "Exports", finder: "Finder", hooks: "Hooks", importing: "Imports", keys: "Keys", listing: "Listing",
    live: "Live", outreach: "Outreach", privacy_desk: "PrivacyDesk", reading: "Reader", reads_contacts: "ContactReads",
    reads_work: "WorkReads", rehearsals: "Rehearsals",
}  # fmt: skip
_NOT_OF_A_BUSINESS = {
    "Access.anybody", "Access.log_in", "Access.actor", "Access.board_of", "Access.invited", "Access.accept",  # who asks
    "Keys.actor",
    "Access.seal_secrets",  # at the start
    "Reader.now",
    "WorkReads.tags_of",  # of leads that were asked for with their business
    "Analytics.today", "Analytics.fill", "Exports.write_next_export",  # the clock's, and the workers'
    "Live.node_addresses", "Live.redeem", "Live.note", "Live.take_orders",  # the media plane's: by ticket, by call
}  # fmt: skip


def test_every_query_takes_the_business_or_whoever_asks():
    """By name or by annotation; what is of no business stands in the list above, with its reason."""
    found = set()
    for module, name in _ASKED.items():
        parsed = ast.parse(Path(inspect.getfile(module)).read_text("utf-8"))
        (asked,) = [node for node in parsed.body if isinstance(node, ast.ClassDef) and node.name == name]
        for method in asked.body:
            if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                names = {argument.arg for argument in method.args.args}
                if not names & {"business_id", "by"}:
                    found.add(f"{name}.{method.name}")
    assert found == _NOT_OF_A_BUSINESS
