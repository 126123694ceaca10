"""The cache: rendered once, composed from pieces, personal data never on disk."""

import hashlib
from contextlib import asynccontextmanager

import anyio
import numpy as np
import pytest

from moked.audio import from_float, ms, silence
from moked.errors import Failure, ProviderError
from moked.tts.cache import CachedSynthesizer, trim
from moked.tts.hebrew import prepare

pytestmark = pytest.mark.anyio

READ_BACK = "אז המספר הוא 050-234-5678, נכון?"


def tone(text):
    """200 ms that only this text has."""
    pitch = 200 + int(hashlib.sha256(text.encode()).hexdigest(), 16) % 1500
    return from_float((0.5 * np.sin(2 * np.pi * pitch * np.arange(1600) / 8000)).astype(np.float32))


class Fake:
    """A synthesizer whose every text is a tone with silent edges. `gate` holds it, `broken` makes it fail."""

    name = "fake"

    def __init__(self):
        self.spoken = []
        self.broken = False
        self.gate = None
        self.active = self.peak = 0

    def cached(self, text):
        return None

    @asynccontextmanager
    async def speak(self, text):
        async def pieces():
            self.spoken.append(text)
            self.active += 1
            self.peak = max(self.peak, self.active)
            try:
                if self.gate is not None:
                    await self.gate.wait()
                if self.broken:
                    raise ProviderError(self.name, Failure.UNAVAILABLE, "broken on purpose")
                await anyio.lowlevel.checkpoint()
                yield silence(100) + tone(text)[:800]
                yield tone(text)[800:] + silence(100)
            finally:
                self.active -= 1

        stream = pieces()
        try:
            yield stream
        finally:
            await stream.aclose()

    async def prepare(self, texts, progress=None):
        pass

    @asynccontextmanager
    async def running(self):
        yield


def cache(fake, folder, **options):
    return CachedSynthesizer(fake, folder, key="fake/1", **options)


async def say(voice, text):
    async with voice.speak(text) as audio:
        return b"".join([chunk async for chunk in audio])


async def test_prepared_phrases_are_on_disk_for_the_next_run(tmp_path):
    fake = Fake()
    first = cache(fake, tmp_path)
    seen = []
    await first.prepare(["שלום וברכה. מה שלומך?", "להתראות"], lambda done, total: seen.append((done, total)))
    assert seen[0] == (0, 14)
    assert seen[-1] == (14, 14)
    assert fake.spoken[:3] == ["שלום וברכה.", "מה שלומך?", "להתראות"]

    again = Fake()
    second = cache(again, tmp_path)
    audio = second.cached("שלום וברכה. מה שלומך?")
    assert audio == first.cached("שלום וברכה. מה שלומך?")
    assert trim(silence(100) + tone("שלום וברכה.") + silence(100)) in audio
    await second.prepare(["להתראות"], None)
    assert again.spoken == []


async def test_another_voice_has_its_own_cache(tmp_path):
    await cache(Fake(), tmp_path).prepare(["להתראות"])
    other = CachedSynthesizer(Fake(), tmp_path, key="fake/2")
    assert other.cached("להתראות") is None


async def test_a_phone_number_is_composed_of_single_digits(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path)
    await voice.prepare(["אז המספר הוא", "נכון?"])
    rendered = len(fake.spoken)
    audio = voice.cached(READ_BACK)
    assert audio is not None
    assert len(fake.spoken) == rendered
    order = ["אז המספר הוא", *prepare("050-234-5678").replace(",", "").split(), "נכון?"]
    at = 0
    gaps = []
    for word in order:
        found = audio.index(tone(word), at)
        gaps.append(ms(audio[at:found]))
        at = found + len(tone(word))
    edges = 20  # 10 ms of silence stay on both sides of a piece
    assert gaps[2:4] == [60 + edges, 60 + edges]  # inside a group
    assert gaps[4] == gaps[7] == 220 + edges  # between groups
    assert gaps[1] == 90 + edges
    assert voice.cached("050-234-5678") is not None
    assert voice.cached("050-234-5678") != voice.cached("050-234-5679")


async def test_a_name_beside_a_fixed_phrase_is_all_that_is_rendered(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path)
    await voice.prepare(["נעים מאוד", "במה אפשר לעזור?"])
    before = len(fake.spoken)
    assert voice.cached("נעים מאוד, דנה. במה אפשר לעזור?") is None
    audio = await say(voice, "נעים מאוד, דנה. במה אפשר לעזור?")
    assert fake.spoken[before:] == ["דנה."]
    assert all(tone(text) in audio for text in ("נעים מאוד", "דנה.", "במה אפשר לעזור?"))
    assert voice.cached("נעים מאוד, דנה.") is not None


async def test_names_are_not_written_to_disk(tmp_path):
    voice = cache(Fake(), tmp_path)
    await voice.prepare([])
    before = {path.name for path in tmp_path.iterdir()}
    async with voice.running():
        await say(voice, "נעים מאוד, דנה.")
        await say(voice, "יוסי כהן")
        assert voice.cached("יוסי כהן") is not None
    assert {path.name for path in tmp_path.iterdir()} == before
    assert cache(Fake(), tmp_path).cached("יוסי כהן") is None


async def test_a_damaged_file_is_rendered_again(tmp_path):
    await cache(Fake(), tmp_path).prepare(["להתראות"])
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-7])
    fake = Fake()
    voice = cache(fake, tmp_path)
    assert voice.cached("להתראות") is None
    await voice.prepare(["להתראות"])
    assert "להתראות" in fake.spoken
    assert cache(Fake(), tmp_path).cached("להתראות") is not None


async def test_what_was_rendered_before_an_interruption_stays(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path)
    with anyio.CancelScope() as scope:

        def stop(done, total):
            if done == 2:
                scope.cancel()

        await voice.prepare(["אחת ועוד", "שתיים ועוד", "שלוש ועוד"], stop)
    assert scope.cancelled_caught
    later = cache(Fake(), tmp_path)
    assert later.cached("אחת ועוד") is not None
    assert later.cached("שלוש ועוד") is None


async def test_a_dead_engine_ends_the_preparation_and_a_hiccup_does_not(tmp_path):
    fake = Fake()
    fake.broken = True
    with pytest.raises(ProviderError) as caught:
        await cache(fake, tmp_path, parallel=2).prepare(["א ב", "ג ד", "ה ו", "ז ח", "ט י"])
    assert caught.value.kind is Failure.UNAVAILABLE
    assert 3 <= len(fake.spoken) <= 4

    def mend(done, total):
        fake.broken = done == 0

    voice = cache(fake, tmp_path)
    await voice.prepare(["א ב", "ג ד"], mend)
    assert voice.cached("א ב") is None
    assert voice.cached("ג ד") is not None


async def test_an_error_while_speaking_reaches_the_caller(tmp_path):
    fake = Fake()
    fake.broken = True
    with pytest.raises(ProviderError):
        await say(cache(fake, tmp_path), "שלום")
    fake.broken = False
    assert await say(cache(fake, tmp_path), "שלום")


async def test_preparation_is_bounded_and_lets_the_live_ones_pass(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path, parallel=2)
    async with anyio.create_task_group() as tasks, voice.speak("משהו חי") as audio:
        tasks.start_soon(voice.prepare, ["א ב", "ג ד", "ה ו"])
        for _ in range(20):
            await anyio.sleep(0)
        assert fake.spoken == []
        assert [chunk async for chunk in audio]
        assert fake.spoken == ["משהו חי"]
    assert fake.peak == 2


async def test_speaking_waits_for_the_background_instead_of_rendering_twice(tmp_path):
    fake = Fake()
    fake.gate = anyio.Event()
    voice = cache(fake, tmp_path)
    async with voice.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(voice.prepare, ["יוסי כהן"])
        while not fake.spoken:
            await anyio.sleep(0)
        tasks.start_soon(say, voice, "יוסי כהן")
        for _ in range(10):
            await anyio.sleep(0)
        fake.gate.set()
    assert fake.spoken.count("יוסי כהן") == 1
    assert voice.hits == 1


async def test_two_who_prepare_the_same_phrase_render_it_once(tmp_path):
    fake = Fake()
    fake.gate = anyio.Event()
    voice = cache(fake, tmp_path)
    async with voice.running(), anyio.create_task_group() as tasks:
        for _ in range(2):
            tasks.start_soon(voice.prepare, ["יוסי כהן"])
        while not fake.spoken:
            await anyio.sleep(0)
        for _ in range(10):
            await anyio.sleep(0)
        fake.gate.set()
    assert fake.spoken.count("יוסי כהן") == 1


async def test_memory_is_bounded_and_the_oldest_leaves(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path, memory_bytes=6000)
    for text in ("אבא בא", "אמא באה", "סבא בא", "סבתא באה"):
        await say(voice, text)
    assert voice.cached("אבא בא") is None
    assert voice.cached("סבתא באה") is not None


async def test_leaving_early_stops_the_engine_and_keeps_no_half(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path)
    async with voice.speak("שלום לכולם") as audio:
        async for _ in audio:
            break
    assert fake.active == 0
    assert voice.cached("שלום לכולם") is None


async def test_empty_text_is_at_hand_and_silent(tmp_path):
    voice = cache(Fake(), tmp_path)
    assert voice.cached("") == b""
    assert voice.cached(" 😀 ...") == b""
    assert await say(voice, "") == b""


async def test_without_a_folder_it_is_memory_only():
    voice = cache(Fake(), None)
    await voice.prepare(["שלום"])
    assert voice.cached("שלום.") is not None
    assert voice.cached("שלום?") is None


async def test_digits_in_running_text_are_left_alone(tmp_path):
    fake = Fake()
    voice = cache(fake, tmp_path)
    await voice.prepare([])
    await say(voice, "יש לי עוד שאלה אחת")
    assert fake.spoken[-1] == prepare("יש לי עוד שאלה אחת")
