"""Voice notes become words: an Ogg/Opus file as WhatsApp sends it, through Whisper as it is installed."""

import anyio
import pytest

from moked.errors import ModelError, ProviderError
from moked.recordings import to_ogg_opus
from moked.settings import load_settings
from moked.stt.transcripts import normalise
from moked.tts.local import LocalVoice
from moked.voice_notes import VoiceNotes
from moked.weights import path


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.mark.slow
async def test_a_note_in_hebrew_is_written_down(settings):
    try:
        voice = LocalVoice(path("nakdimon"), path("kokoro"), voice="jm_kumo")
        path("whisper-base")
    except ModelError as problem:
        pytest.skip(str(problem))
    async with voice.running(), voice.speak("שלום, המזגן לא עובד.") as pieces:
        spoken = b"".join([piece async for piece in pieces])
    notes = VoiceNotes(settings)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.run)
        words = normalise(await notes.hear(to_ogg_opus(spoken)))
        with pytest.raises(ProviderError, match="protocol"):
            await notes.hear(b"no sound at all")
        assert normalise(await notes.hear(to_ogg_opus(spoken))) == words
        tasks.cancel_scope.cancel()
    assert "שלום" in words
