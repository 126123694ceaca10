"""Two businesses in one running server: the number that is called decides who answers."""

import os
from unittest import mock

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session
from typer.testing import CliRunner

from moked.businesses_cli import app
from moked.crm.models import Business, Call, Contact, Lead
from moked.simulate.scenario import HangUp, Say
from tests.wire.house import GREETING, PROFILE, house, no_environment, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

OTHER = "שלום, מדבר העוזר הקולי של המרפאה."


def ran(folder, *words):
    with no_environment(), mock.patch.dict(os.environ, {"DATA_DIR": str(folder / "data")}):
        result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


async def test_each_business_answers_its_own_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "clinic.yaml"
    profile.write_text(PROFILE.replace(GREETING, OTHER).replace("אורן אינסטלציה", "מרפאת הכרמל"), "utf-8")
    assert "מרפאת הכרמל" in ran(tmp_path, "add", "clinic", "--profile", str(profile), "--number", "04-8888888")
    assert "/join?token=" in ran(tmp_path, "owner", "clinic", "nir@example.com")
    assert "+97248888888" in ran(tmp_path, "list")
    async with house(tmp_path) as home:
        steps = [Say(audio=says("יש לי נזילה גדולה במטבח", gap_ms=20)), HangUp()]
        ours, theirs = await together(
            lambda: home.place(steps, called="+97231234567"), lambda: home.place(steps, called="+97248888888")
        )
        assert ours.turns[0]["said"].startswith(GREETING)
        assert theirs.turns[0]["said"].startswith(OTHER)
        with Session(home.house.engine) as session:
            clinic = session.scalars(select(Business.id).where(Business.key == "clinic")).one()
            for placed, business in ((ours, home.house.business_id), (theirs, clinic)):
                call = session.scalars(select(Call).where(Call.sid == placed.result.call_sid)).one()
                assert call.business_id == business
                assert session.get(Lead, call.lead_id).business_id == business
                assert session.get(Contact, call.contact_id).business_id == business
            assert len(session.scalars(select(Contact)).all()) == 2  # one person, whom each business knows for itself
