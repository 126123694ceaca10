"""Versions of what the agent says, on both databases."""

from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions, Outdated
from moked.crm.audit import Actor
from moked.crm.models import AuditEntry, Business
from moked.crm.permissions import UserRole
from moked.crm.service import Crm
from moked.dialog.published import Part, files_of, read_agent
from moked.errors import ProfileError

FILES = files_of(None, None)
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


@pytest.fixture
def office(engine):
    return AgentVersions(engine, FILES, clock=lambda: NOW)


@pytest.fixture
def me(engine):
    business = Crm(engine).ensure_business("אורן אינסטלציה")
    Access(engine).set_up_owner(business, "dana@example.com", "דנה כהן", "סיסמה ארוכה מאוד")
    user = Access(engine).users(business)[0]
    return Actor(user.id, business, "דנה כהן", user.email, UserRole.OWNER, 1)


def script(goodbye):
    return f'lines:\n  goodbye: "{goodbye}"\n'


def test_before_the_first_version_the_files_hold(office, me):
    assert office.version(me.business_id) == 0
    assert office.current(me.business_id).texts == FILES
    assert office.history(me.business_id, Part.SCRIPT) == []


def test_a_version_holds_until_the_next_and_comes_back(office, me, engine):
    assert office.publish(me, Part.SCRIPT, script("שלום ולהתראות."), base=0, note="  קצר\nיותר ") == 1
    assert office.publish(me, Part.SCRIPT, script("יום טוב."), base=1) == 2
    assert office.publish(me, Part.SCRIPT, script("יום טוב."), base=2) == 2  # nothing new
    assert office.publish(me, Part.PROMPT, "{facts}", base=0) == 3  # another part: nobody is in its way
    held = office.current(me.business_id)
    assert (held.version, held.texts.script, held.texts.prompt) == (3, script("יום טוב."), "{facts}")
    assert office.restore(me, Part.SCRIPT, 1, base=3) == 4
    assert office.current(me.business_id).texts.script == script("שלום ולהתראות.")
    assert office.restore(me, Part.SCRIPT, 0, base=4) == 5
    assert office.current(me.business_id).texts.script == FILES.script
    rows = office.history(me.business_id, Part.SCRIPT)
    assert [(row.version, row.by, row.note, row.restored) for row in rows] == [
        (5, "דנה כהן", "", 0), (4, "דנה כהן", "", 1), (2, "דנה כהן", "", 0), (1, "דנה כהן", "קצר יותר", 0),
    ]  # fmt: skip
    with Session(engine) as session:
        audits = session.scalars(select(AuditEntry).where(AuditEntry.action == "agent.published")).all()
    assert [entry.target for entry in audits] == [f"version:{number}" for number in (1, 2, 3, 4, 5)]


def test_what_cannot_be_read_is_refused_and_changes_nothing(office, me, engine):
    for part, text in ((Part.SCRIPT, "steps: []"), (Part.PROFILE, "name: א"), (Part.PROMPT, "בלי עובדות")):
        with pytest.raises(ProfileError):
            office.publish(me, part, text, base=0)
    assert office.version(me.business_id) == 0
    with Session(engine) as session:
        assert session.scalars(select(AuditEntry).where(AuditEntry.action == "agent.published")).all() == []


def test_two_people_do_not_undo_one_another(office, me):
    office.publish(me, Part.SCRIPT, script("ראשון."), base=0)
    with pytest.raises(Outdated) as caught:
        office.publish(me, Part.SCRIPT, script("שני."), base=0)
    assert caught.value.version == 1
    assert office.current(me.business_id).texts.script == script("ראשון.")


def test_the_business_is_called_as_published(office, me, engine):
    text = FILES.profile.replace("אורן אינסטלציה", "צינור ובניו")
    office.publish(me, Part.PROFILE, text, base=0)
    with Session(engine) as session:
        assert session.get(Business, me.business_id).name == "צינור ובניו"
    assert read_agent(office.current(me.business_id).texts).business.name == "צינור ובניו"


def test_versions_of_another_business_are_not_there(office, me, engine):
    other = Crm(engine).ensure_business("השכן", key="other")
    office.publish(me, Part.SCRIPT, script("שלנו."), base=0)
    assert office.version(other) == 0
    with pytest.raises(LookupError):
        office.get(other, 1)
