"""`moked privacy` on a real data folder."""

import base64
import struct
import zipfile
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from moked.cli import app
from moked.crm import db
from moked.crm.recordings import Recordings
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.errors import PrivacyError
from moked.records import CallEnd, CallStart, LeadDraft, Outcome, TurnRecord
from tests.searching import found
from tests.wire.house import no_environment

PHONE = "+972502345678"
SECRET = "דליפה סודית מאוד"


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A data folder with one caller, two years ago."""
    with no_environment():
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        monkeypatch.setenv("DATA_KEY", base64.b64encode(b"k" * 32).decode())
        engine = db.connect(f"sqlite:///{tmp_path}/data/moked.db")
        db.migrate(engine)
        crm = Crm(engine, clock=lambda: datetime.now(UTC) - timedelta(days=500))
        crm.open_call(CallStart("CA1", "AC1", PHONE, "+97235551234"), crm.ensure_business("אורן אינסטלציה"))
        crm.redeem_ticket(crm.mint_ticket("CA1"), "CA1")
        crm.add_turn("CA1", TurnRecord(1, SECRET, "", "", False, 0, 1))
        crm.finish_call(CallEnd("CA1", Outcome.COMPLETED, "done", 1, LeadDraft(name="רותי", need=SECRET, phone=PHONE)))
        yield tmp_path / "data", engine
        engine.dispose()


def run(*arguments):
    return CliRunner().invoke(app, ["privacy", *arguments], env={"COLUMNS": "200"})


def test_a_dry_run_counts_and_the_real_one_deletes(house):
    _data, engine = house
    dry = run("purge", "--dry-run")
    assert (dry.exit_code, "nothing was deleted" in dry.output) == (0, True)
    assert Crm(engine).call_report("CA1")["turns"][0]["caller_text"] == SECRET
    assert run("purge").exit_code == 0
    assert Crm(engine).call_report("CA1")["turns"][0]["caller_text"] == ""


def test_a_new_key_takes_over_and_says_when_the_old_one_may_go(house, tmp_path, monkeypatch):
    data, engine = house
    old, new = base64.b64encode(b"k" * 32).decode(), base64.b64encode(b"n" * 32).decode()
    key = Recordings(engine, Sealer(b"k" * 32)).begin("CA1", 0, 0)[1]
    spooled = data / "spool" / "CA9.sealed"
    spooled.parent.mkdir()
    piece = Sealer(b"k" * 32).seal(b"x", "spool:CA9:0")
    spooled.write_bytes(struct.pack(">I", len(piece)) + piece)
    monkeypatch.setenv("DATA_KEY", f"{new},{old}")
    dry = run("rekey", "--dry-run")
    assert (dry.exit_code, "nothing was changed" in dry.output, "may be removed" in dry.output) == (0, True, False)
    done = run("rekey")
    assert (done.exit_code, "Run it once more" in done.output, "waits to be transcribed" in done.output) == (
        0, True, True,
    )  # fmt: skip
    assert "may be removed" not in run("rekey").output
    spooled.unlink()
    assert "may be removed from DATA_KEY" in run("rekey").output
    monkeypatch.setenv("DATA_KEY", new)
    assert "may be removed" in run("rekey").output
    assert (
        Recordings(engine, Sealer(b"n" * 32)).by_token(Recordings(engine, Sealer(b"n" * 32)).find(1, "CA1").token).key
        == key
    )
    monkeypatch.setenv("DATA_KEY", old)
    assert isinstance(run("rekey").exception, PrivacyError)


def test_a_copy_and_then_nothing(house, tmp_path):
    data, engine = house
    copy = tmp_path / "copy.zip"
    assert run("export", "--phone", "050-2345678", "--to", str(copy)).exit_code == 0
    assert copy.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(copy) as archive:
        assert SECRET in archive.read("data.json").decode()
    done = run("erase", "--phone", "050-2345678", "--yes")
    assert done.exit_code == 0, done.output
    assert "1 calls, 1 leads" in done.output
    assert found([SECRET, PHONE, "רותי"], data, engine) == []
    again = run("erase", "--phone", "050-2345678", "--yes")
    assert isinstance(again.exception, PrivacyError)


def test_erasing_asks_first(house):
    assert run("erase", "--phone", "050-2345678").exit_code == 1
    assert Crm(house[1]).call_report("CA1") is not None
