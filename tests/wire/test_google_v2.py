"""A whole call on Google's API v2, on a model that has not all that is asked."""

import pytest

from emulators.google_speech import GoogleSpeech
from moked.simulate.scenario import HangUp, Say
from moked.stt.transcripts import normalise as plain
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]


async def test_a_call_on_chirp_needs_no_whisper(tmp_path):
    speech = GoogleSpeech(mode="codec")
    speech.world.lacking = {"chirp_3": frozenset(("word_time_offsets", "speech_adaptation_boost"))}
    line = "שלום יש לי נזילה גדולה במטבח"
    values = {"gcp_stt_api": "v2", "gcp_stt_location": "eu", "gcp_project": "mine", "gcp_stt_model": "chirp_3"}
    async with house(tmp_path, speech=speech, **values) as home:
        placed = await home.place([Say(audio=says(line, gap_ms=20)), HangUp("agent_done")])
    assert [plain(turn["caller_text"]) for turn in placed.turns if turn["caller_text"]] == [plain(line)]
    logs = [log for log in speech.streams if log.messages]
    assert {(log.api, log.project, log.location, log.language) for log in logs} == {("v2", "mine", "eu", "iw-IL")}
    assert (logs[-1].model, logs[-1].boost) == ("chirp_3", 0.0)
    assert placed.report["engines"] == ["google"]
