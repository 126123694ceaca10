"""Whole calls heard by a transcription server: as the first choice, and when Google is down for everybody."""

from functools import partial

import pytest

from emulators.google_speech import Fault, GoogleSpeech
from emulators.whisper_server import MODEL, WhisperServer
from moked import parts
from moked.simulate.scenario import HangUp, Say
from moked.stt.transcripts import normalise as plain
from tests.serving import serving
from tests.wire.house import house, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

NEED = "יש לי נזילה גדולה במטבח מאז אתמול בערב ואני צריך אינסטלטור דחוף"


async def test_a_call_is_heard_by_a_transcription_server_with_partials(tmp_path):
    server = WhisperServer(api_key="hush")
    async with (
        serving(server.app()) as url,
        house(
            tmp_path,
            speech_emulator_host="",
            whisper_base_url=f"{url}/v1",
            whisper_api_key="hush",
            whisper_model=MODEL,
        ) as home,
    ):
        placed = await home.place([Say(audio=says(NEED)), HangUp("agent_done")])
    assert placed.report["engines"] == ["whisper-http"]
    assert plain(placed.turns[1]["caller_text"]) == NEED
    partials = [plain(event["text"]) for event in placed.of("turn.partial")]
    assert partials
    assert all(NEED.startswith(text) for text in partials)


async def test_when_google_is_down_for_all_the_first_calls_are_heard_and_nobody_blames_the_server(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(parts, "_installed", lambda *_: False)  # no embedded model behind the server
    server = WhisperServer()
    google = GoogleSpeech(mode="codec")
    google.fault = Fault("refuse", status="UNAVAILABLE", message="502:Bad Gateway")
    async with (
        serving(server.app()) as url,
        house(
            tmp_path,
            speech=google,
            stt_fallback="whisper",
            whisper_base_url=f"{url}/v1",
            whisper_model=MODEL,
            whisper_max_calls=2,
        ) as home,
    ):
        calls = await together(*[partial(home.place, [Say(audio=says(NEED)), HangUp("agent_done")], max_s=15)] * 4)
        again = await home.place([Say(audio=says(NEED)), HangUp("agent_done")])
    heard = [NEED in plain(placed.said) for placed in calls]
    assert sum(heard) >= 2
    assert all(placed.report["ended"] for placed in calls)
    assert NEED in plain(again.said), "a seat is free again"
