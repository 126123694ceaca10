"""Voice notes become words: an Ogg/Opus file as WhatsApp sends it, through Whisper as it is installed."""

import io

import anyio
import av
import numpy as np
import pytest

from moked import audio
from moked.errors import ModelError, ProviderError
from moked.settings import load_settings
from moked.stt.transcripts import normalise
from moked.tts.local import LocalVoice
from moked.voice_notes import VoiceNotes
from moked.weights import path

RATE = 48_000


def note(mulaw: bytes) -> bytes:
    """The same as an Ogg file with Opus, mono."""
    samples = audio.to_float(mulaw).repeat(RATE // 8000)
    file = io.BytesIO()
    with av.open(file, "w", format="ogg") as made:
        stream = made.add_stream("libopus", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None, :], format="flt", layout="mono")
        frame.sample_rate = RATE
        for packet in (*stream.encode(frame), *stream.encode(None)):
            made.mux(packet)
    return file.getvalue()


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
        words = normalise(await notes.hear(note(spoken)))
        with pytest.raises(ProviderError, match="protocol"):
            await notes.hear(b"no sound at all")
        assert normalise(await notes.hear(note(spoken))) == words
        tasks.cancel_scope.cancel()
    assert "שלום" in words
