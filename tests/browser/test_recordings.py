"""A recording as a real browser gets it: it plays, has two sides, and can be sought in."""

import base64

import numpy as np
import pytest

from moked.audio import SILENCE, from_float
from moked.crm import db
from moked.crm.sealed import Sealer
from moked.crm.service import Crm
from moked.recording.archive import Archive
from moked.recording.recorder import Recorder
from moked.records import CallStart

PLAY = """async (wav) => {
  const audio = new Audio("data:audio/wav;base64," + wav);
  audio.muted = true;
  await new Promise((done, failed) => { audio.oncanplaythrough = done; audio.onerror = () => failed(audio.error) });
  audio.currentTime = 2.5;
  await new Promise((done) => { audio.onseeked = done });
  const bytes = Uint8Array.from(atob(wav), (char) => char.charCodeAt(0));
  const heard = await new OfflineAudioContext(2, 8000, 8000).decodeAudioData(bytes.buffer);
  const loud = (channel) => Math.max(...heard.getChannelData(channel).map(Math.abs));
  return [audio.duration, audio.currentTime, heard.numberOfChannels, loud(0), loud(1)];
}"""


@pytest.fixture
def wav(tmp_path):
    """Three seconds: a tone on the caller's side, nothing on ours."""
    engine = db.connect(f"sqlite:///{tmp_path}/moked.db")
    db.migrate(engine)
    crm, archive = Crm(engine), Archive(engine, Sealer(bytes(32)), tmp_path / "recordings")
    business = crm.ensure_business("מזגנים בצפון")
    crm.open_call(CallStart("CA1", "AC1", "+972502345678", "+97235551234"), business)
    tone = from_float((np.sin(np.arange(160) * np.pi / 10) * 0.5).astype(np.float32))
    recorder = Recorder(archive.live, archive.rows)
    with recorder.running():
        call = recorder.call("CA1", 0)
        for at in range(0, 3000, 20):
            call.played(at, SILENCE * 160)
            call.feed(at + 20, tone)
        call.close()
    archive.keeper.round()
    recorded = archive.library.find(business, "CA1")
    yield recorded.read(0, recorded.size)
    engine.dispose()


def test_a_recording_plays_in_chromium(chromium, wav):
    page = chromium.new_page()
    try:
        duration, at, channels, left, right = page.evaluate(PLAY, base64.b64encode(wav).decode())
    finally:
        page.close()
    assert (duration, at, channels) == (pytest.approx(3.0, abs=0.01), pytest.approx(2.5, abs=0.01), 2)
    assert left == pytest.approx(0.5, abs=0.03)
    assert right < 0.001
