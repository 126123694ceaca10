"""Voice notes become words, and words voice notes: an Ogg/Opus file as WhatsApp has it, through what is installed."""

from types import SimpleNamespace

import anyio
import pytest

from moked.dialog.business import load_business
from moked.errors import ModelError, ProviderError
from moked.settings import load_settings
from moked.stt.transcripts import normalise
from moked.voice_notes import VoiceNotes
from moked.voice_replies import VoiceReplies
from moked.weights import path


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return load_settings()


@pytest.mark.slow
async def test_a_note_in_hebrew_is_written_down(settings):
    try:
        for name in ("nakdimon", "kokoro", "whisper-base"):
            path(name)
    except ModelError as problem:
        pytest.skip(str(problem))
    notes, replies = VoiceNotes(settings), VoiceReplies(settings)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(notes.run)
        tasks.start_soon(replies.run)
        note = await replies.note(SimpleNamespace(id=1, business=load_business(None)), "שלום, המזגן לא עובד.")
        assert note.ms > 1000
        words = normalise(await notes.hear(note.sound))
        with pytest.raises(ProviderError, match="protocol"):
            await notes.hear(b"no sound at all")
        assert normalise(await notes.hear(note.sound)) == words
        tasks.cancel_scope.cancel()
    assert "שלום" in words
