"""Decisions on record, on both databases, and the command that prints them."""

import csv
import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from moked.cli import app
from moked.crm import db
from moked.crm.decisions import COLUMNS, Decisions
from moked.crm.service import Crm
from moked.records import CallStart, Decision, TurnRecord, Waterfall
from moked.settings import Settings

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
FIRST = Decision("sentence", 560, "closed", 550, 10, "open", 2, 1, outcome="reopened", after_ms=220)
DECISION = Decision(
    "may_go_on", 730, "unsure", 715, 15, "name", 3, 1, 1, final=False, outcome="cut_in", after_ms=640, before=(FIRST,)
)
TURN = TurnRecord(
    number=1,
    caller_text="קוראים לי דנה",
    said="נעים מאוד, דנה.",
    heard="נעים",
    cut=True,
    started_ms=2000,
    ended_ms=3000,
    engine="google",
    waterfall=Waterfall(speech_end_ms=1270, endpoint_ms=2000, sent_ms=2040),
    decision=DECISION,
)


def record(engine):
    clock = [NOW]
    crm = Crm(engine, clock=lambda: clock[0])
    business = crm.ensure_business("עסק")
    crm.receive_call(CallStart("CA1", "AC1", "+972501234567", "+97235551234"), business)
    crm.add_turn("CA1", replace(TURN, number=0, decision=None))
    crm.add_turn("CA1", replace(TURN, ended_ms=2000, decision=replace(DECISION, outcome="", after_ms=None)))
    crm.add_turn("CA1", TURN)
    clock[0] += timedelta(hours=2)
    crm.add_turn("CA1", replace(TURN, number=2, decision=replace(DECISION, outcome="answered", before=())))
    return crm, Decisions(engine, clock=lambda: clock[0])


def test_each_decision_is_a_row_with_what_came_of_it(engine):
    crm, decisions = record(engine)
    rows = list(decisions.rows())
    assert [(row["turn"], row["reason"], row["outcome"], row["cut_off"]) for row in rows] == [
        (1, "sentence", "reopened", False),
        (1, "may_go_on", "cut_in", True),
        (2, "may_go_on", "answered", False),
    ]
    assert [row["response_ms"] for row in rows] == [None, 770, 770]
    assert set(rows[0]) == set(COLUMNS)
    assert rows[1]["call"] == "CA1"
    assert [row["turn"] for row in decisions.rows(3600)] == [2]
    assert [row["heard"] for row in decisions.rows(with_text=True)] == ["", "נעים", "נעים"]
    report = crm.call_report("CA1")
    assert report["turns"][0]["decision"] is None
    assert report["turns"][1]["decision"]["before"][0]["reason"] == "sentence"
    json.dumps(report)


@pytest.fixture
def office(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/moked.db")
    monkeypatch.setenv("COLUMNS", "200")
    engine = db.connect(f"sqlite:///{tmp_path}/moked.db")
    db.migrate(engine)
    record(engine)
    engine.dispose()


def moked(*arguments, code=0):
    result = CliRunner().invoke(app, ["turns", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_the_command_prints_no_words_unless_asked(office):
    rows = list(csv.DictReader(io.StringIO(moked("export"))))
    assert [row["reason"] for row in rows] == ["sentence", "may_go_on", "may_go_on"]
    assert "דנה" not in moked("export") + moked("export", "--json")
    lines = [json.loads(line) for line in moked("export", "--json", "--with-text").splitlines()]
    assert lines[1]["caller_text"] == "קוראים לי דנה"
    assert "may_go_on" in moked("show", "--since", "3650d")
    moked("export", "--csv", "--json", code=2)
    moked("export", "--since", "tomorrow", code=2)
