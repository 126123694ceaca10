"""Answers as voice notes: made once, kept in memory, and never in the way of the words."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import numpy as np
import pytest

from moked import audio, recordings, voice_replies
from moked.dialog.business import load_business
from moked.errors import Failure, ModelError, ProviderError
from moked.voice_replies import VoiceReplies, shape

TONE = audio.from_float((np.sin(np.arange(8000) * (2 * np.pi * 300 / 8000)) * 0.3).astype(np.float32))
QUIET = audio.silence(1000)


@dataclass
class Office:
    id: int = 1
    business: object = field(default_factory=lambda: load_business(None))


class Voice:
    name = "test"

    def __init__(self, sound=TONE, error=None):
        self.said, self.sound, self.error = [], sound, error

    @asynccontextmanager
    async def speak(self, text):
        self.said.append(text)

        async def pieces():
            yield self.sound[:3000]
            if self.error:
                raise self.error
            yield self.sound[3000:]

        yield pieces()


class Voices:
    def __init__(self, voice, error=None):
        self.voice, self.error, self.loaded = voice, error, 0

    @asynccontextmanager
    async def running(self):
        self.loaded += 1
        yield

    async def started(self, business_id, business):
        if self.error:
            raise self.error
        return self.voice


@asynccontextmanager
async def serving(voices):
    replies = VoiceReplies(None, voices=lambda: voices)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(replies.run)
        yield replies
        tasks.cancel_scope.cancel()


async def test_words_become_an_ogg_that_sounds_and_are_made_once():
    voices = Voices(Voice())
    async with serving(voices) as replies:
        note = await replies.note(Office(), "מתי נוח?\nמחר")
        assert await replies.note(Office(), "מתי נוח?\nמחר") is note
        assert await replies.note(Office(2), "מתי נוח?\nמחר") is not note
    assert voices.voice.said == ["מתי נוח? מחר."] * 2
    assert note.sound.startswith(b"OggS")
    assert b"OpusHead" in note.sound[:64]
    heard = recordings.from_memory(note.sound, "note.ogg")
    assert abs(audio.ms(heard) - note.ms) <= 20
    assert abs(audio.rms(heard) - audio.rms(TONE)) < 0.1 * audio.rms(TONE)
    assert (len(note.shape), max(note.shape)) == (64, 100)


@pytest.mark.parametrize(
    "voices",
    [
        Voices(None, ModelError("no weights")),
        Voices(Voice(error=ProviderError("test", Failure.TIMEOUT, "late"))),
        Voices(Voice(error=ValueError("a bug"))),
        Voices(Voice(b"")),
        Voices(Voice(QUIET)),
    ],
)
async def test_where_there_is_no_sound_there_is_no_note_and_the_next_is_tried(voices):
    async with serving(voices) as replies:
        assert await replies.note(Office(), "מתי נוח?") is None
        voices.error, voices.voice = None, Voice()
        assert await replies.note(Office(), "מתי נוח?") is not None


async def test_the_last_resort_of_voices_is_not_sent_to_anybody():
    voice = Voice()
    voice.name = "espeak"
    async with serving(Voices(voice)) as replies:
        assert await replies.note(Office(), "מתי נוח?") is None
    assert voice.said == []


async def test_what_is_to_be_read_loads_no_voice():
    voices = Voices(Voice())
    async with serving(voices) as replies:
        assert await replies.note(Office(), "הטופס: https://example.com") is None
    assert voices.loaded == 0


async def test_nobody_waits_for_a_voice_that_hangs(monkeypatch):
    monkeypatch.setattr(voice_replies, "LONGEST_S", 0.01)

    class Hanging(Voices):
        async def started(self, business_id, business):
            await anyio.sleep_forever()

    async with serving(Hanging(Voice())) as replies:
        assert await replies.note(Office(), "מתי נוח?") is None


async def test_a_voice_nobody_wants_is_released(monkeypatch):
    monkeypatch.setattr(voice_replies, "_IDLE_S", 0.0)
    voices = Voices(Voice())
    async with serving(voices) as replies:
        for text in ("אחת", "שתיים"):
            assert await replies.note(Office(), text) is not None
            await anyio.wait_all_tasks_blocked()
    assert voices.loaded == 2


def test_the_picture_of_a_note_is_as_loud_as_it_is():
    drawn = shape(QUIET + TONE)
    assert max(drawn[:31]) == 0
    assert min(drawn[33:]) > 90
    assert shape(b"") == bytes(64)
