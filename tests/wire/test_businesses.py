"""Two businesses in one running server: the number that is called decides who answers."""

import os
from unittest import mock

import anyio
import pytest
from anyio import to_thread
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


async def test_a_business_added_to_a_running_server_answers_its_number(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    profile = tmp_path / "clinic.yaml"
    profile.write_text(PROFILE.replace(GREETING, OTHER), "utf-8")
    async with house(tmp_path) as home:
        broken = home.crm.ensure_business("בלי פרופיל", key="broken")
        words = ("add", "clinic", "--profile", str(profile), "--number", "04-8888888")
        await to_thread.run_sync(lambda: ran(tmp_path, *words))
        placed = await home.place([Say(audio=says("יש לי נזילה", gap_ms=20)), HangUp()], called="+97248888888")
        assert placed.turns[0]["said"].startswith(OTHER)  # and it waited for no restart, nor for a look
        again = PROFILE.replace(GREETING, "ערב טוב, כאן המרפאה.")
        profile.write_text(again, "utf-8")
        await to_thread.run_sync(lambda: ran(tmp_path, *words))
        clinic = max(home.house.practices)
        with anyio.fail_after(15):
            while "ערב טוב" not in home.house.practices[clinic].answers.current.business.greeting:
                await anyio.sleep(0.05)
        assert broken not in home.house.practices
        assert len(home.house.practices) == 2


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
