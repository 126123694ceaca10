"""Recordings are tested on both databases, with calls that are on record."""

from pathlib import Path

import pytest

from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.recording.archive import Archive
from moked.recording.recorder import Recorder
from moked.records import CallEnd, CallStart, LeadDraft, Outcome
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]

DATA_KEY = b"k" * 32
CALLER, AGENT = b"\x21", b"\x12"


class Studio:
    """An installation's recordings, and calls to be recorded."""

    def __init__(self, engine, folder: Path, store=None):
        self.engine = engine
        self.crm = Crm(engine)
        self.business = self.crm.ensure_business("מזגנים בצפון")
        self.archive = Archive(engine, Sealer(DATA_KEY), folder, store)
        self.folder = folder
        self.dropped = []
        self.recorder = self.new_recorder()

    def new_recorder(self, **options):
        return Recorder(self.archive.live, self.archive.rows, dropped=lambda: self.dropped.append(1), **options)

    def open(self, sid):
        self.crm.open_call(CallStart(sid, "AC1", "+972502345678", "+97235551234"), self.business)
        self.crm.redeem_ticket(self.crm.mint_ticket(sid), sid)
        return sid

    def finish(self, sid):
        self.crm.finish_call(CallEnd(sid, Outcome.COMPLETED, "agent_hangup", 10_000, LeadDraft(need="נזילה")))

    def talk(self, call, seconds, *, since_ms=0):
        """The caller speaks for so long; in each second's second half so do we."""
        for at in range(since_ms, since_ms + seconds * 1000, 20):
            if at % 1000 == 500:
                call.played(at, AGENT * 8 * 500)
            call.feed(at + 20, CALLER * 160)

    def find(self, sid):
        return self.archive.library.find(self.business, sid)

    def files(self):
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())


@pytest.fixture
def studio(engine, tmp_path):
    return Studio(engine, tmp_path / "recordings")
