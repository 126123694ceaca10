"""The command, on a database of its own."""

import json

import anyio
import pytest
from typer.testing import CliRunner

from moked.bus import RedisBus, announce, redis_ping
from moked.cli import app
from moked.crm import db
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm
from moked.errors import ProviderError
from moked.records import CallStart
from moked.rollout.compare import Side, summary
from moked.rollout.live import TOPIC
from moked.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def url(tmp_path, monkeypatch):
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/moked.db")
    monkeypatch.setenv("SPEECH_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setenv("COLUMNS", "200")
    engine = db.connect(f"sqlite:///{tmp_path}/moked.db")
    db.migrate(engine)
    Crm(engine).ensure_business("עסק")
    yield engine
    engine.dispose()


def moked(*arguments, code=0):
    result = CliRunner().invoke(app, ["rollout", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_set_show_history(url):
    assert moked("show") == "Streaming is on for all calls (ENABLE_STREAMING_STT).\n"
    told = moked("set", "--streaming", "on", "--percent", "20", "--for", "2h", "--why", "begin small")
    assert "Streaming is on for 20 %, set by cli:" in told
    assert "then what held before" in told
    assert "Why: begin small" in told
    assert "+972501234567: streaming off." in moked("set", "--streaming", "off", "--number", "050-1234567")
    assert "beside 5 % of the calls" in moked("shadow", "--percent", "5")
    assert "+972501234567" not in moked("clear-number", "+972501234567").partition("Last:")[0]
    assert "rolled back by cli:" in moked("rollback", "--why", "complaints")
    assert [one["what"] for one in json.loads(moked("history", "--json"))][:2] == [
        "streaming off for all calls (rollback)",
        "no rule for +972501234567 any more",
    ]
    assert "begin small" in moked("history")
    held = json.loads(moked("show", "--json"))
    assert (held["share"]["streaming_percent"], held["share"]["rollback"], held["shadow_percent"]) == (0, True, 5)


def test_without_google_it_says_that_there_is_nothing_to_switch(url, monkeypatch):
    monkeypatch.delenv("SPEECH_EMULATOR_HOST")
    assert "No Google is set, so there is nothing to switch: Whisper hears all calls." in moked("show")
    assert "nothing to switch" in moked("set", "--streaming", "off")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["set", "--streaming", "maybe"], "neither on nor off"),
        (["set", "--streaming", "on", "--percent", "101"], "100"),
        (["set", "--streaming", "on", "--number", "5"], "not a telephone number"),
        (["set", "--streaming", "on", "--for", "x"], "length of time"),
        (["clear-number", "+972501234567"], "no rule for this number"),
        (["report", "--since", "x"], "length of time"),
    ],
)
def test_what_makes_no_sense_is_one_line(url, arguments, says):
    assert says in " ".join(moked(*arguments, code=2).replace("│", " ").split())


def test_before_the_first_start_it_says_what_to_do(url):
    with url.begin() as connection:
        connection.exec_driver_sql("DELETE FROM business")
    told = " ".join(moked("set", "--streaming", "off", code=2).replace("│", " ").split())
    assert "start Moked once" in told


async def test_servers_behind_redis_are_told_at_once():
    url = "redis://127.0.0.1:6379/0"
    try:
        await redis_ping(url)
    except ProviderError:
        pytest.skip(f"no Redis at {url}")
    bus = RedisBus(url)
    async with bus.running(), bus.subscribe(TOPIC) as events:
        await announce(url, TOPIC, "rollout.changed")
        with anyio.fail_after(10):
            assert (await anext(events)).event == "rollout.changed"


def test_a_report_side_by_side(url):
    crm, rollouts = Crm(url), Rollouts(url)
    crm.open_call(CallStart("CA1", "AC1", "+972501234567", "+97231234567"), 1)
    live, other = Side(), Side()
    live.texts, other.texts = ["תור מחר בבוקר"], ["דוד מחר בבוקר"]
    live.utterances = other.utterances = 1
    live.finals_ms, other.finals_ms = [310], [905]
    rollouts.add_shadow("CA1", summary("streaming", live, "utterances", other, "call"))
    told = moked("report")
    assert "Same audio, both modes: 1 calls" in told
    for part in ("310 ms", "905 ms", "33.3 %"):
        assert part in told
    assert "דוד" not in told
    assert "דוד" in moked("report", "--examples")
    assert json.loads(moked("report", "--json"))["shadow"]["words"]["edits"] == 1
