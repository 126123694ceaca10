"""One suite, every voice: what the calls rely on, whoever speaks. A new synthesizer is done when it passes."""

import shutil
from collections import deque
from contextlib import AsyncExitStack

import anyio
import pytest

from emulators.google_tts import Fault, GoogleTts
from moked import weights
from moked.audio import SAMPLES_PER_MS, ms, rms
from moked.errors import ModelError, ProviderError
from moked.tts.cache import CachedSynthesizer
from moked.tts.google import GoogleVoice
from moked.tts.local import EspeakVoice, LocalVoice

pytestmark = pytest.mark.anyio

SHORT, LONG = "שלום.", "שלום, הגעתם למשרד. אפשר להשאיר שם ומספר טלפון ונחזור אליכם בהקדם."


def _weights(name):
    try:
        return weights.path(name)
    except ModelError as missing:
        pytest.skip(str(missing))


def _nakdimon():
    path = _weights("nakdimon")
    return path / "nakdimon.onnx" if path.is_dir() else path


async def _google(stack, _):
    service, dead = GoogleTts(first_byte_ms=0), GoogleTts(faults=deque([Fault(hang=True)] * 9))
    serving = [await stack.enter_async_context(one.serving()) for one in (service, dead)]
    return [GoogleVoice(emulator_host=address, timeout=1.0) for address in serving]


async def _kokoro(*_):
    nakdimon, kokoro = _nakdimon(), _weights("kokoro")
    return LocalVoice(nakdimon, kokoro), LocalVoice(nakdimon, kokoro / "nowhere")


async def _espeak(*_):
    program = shutil.which("espeak-ng")
    if program is None:
        pytest.skip("espeak-ng is not installed")
    return EspeakVoice(program, nakdimon=_nakdimon()), EspeakVoice("/nowhere", nakdimon=_nakdimon())


async def _cached(stack, folder):
    return [CachedSynthesizer(voice, folder, key=voice.key) for voice in await _google(stack, folder)]


async def _cached_kokoro(stack, folder):
    return [CachedSynthesizer(voice, folder, key=voice.key) for voice in await _kokoro(stack, folder)]


@pytest.fixture(
    params=[
        _google,
        _cached,
        pytest.param(_kokoro, marks=pytest.mark.slow),
        pytest.param(_cached_kokoro, marks=pytest.mark.slow),
        pytest.param(_espeak, marks=pytest.mark.slow),
    ],
    ids=lambda make: make.__name__.strip("_"),
)
async def voices(request, tmp_path):
    """A voice that works, and one of its kind that does not."""
    async with AsyncExitStack() as stack:
        yield await request.param(stack, tmp_path)


@pytest.fixture
def voice(voices):
    return voices[0]


async def say(voice, text):
    async with voice.speak(text) as audio:
        return b"".join([chunk async for chunk in audio])


async def test_it_speaks_mulaw_that_can_be_heard(voice):
    async with voice.running():
        audio = await say(voice, LONG)
        assert 1500 < ms(audio) < 15_000
        assert rms(audio) > 300
        loud = [rms(audio[at : at + 800]) > 200 for at in range(0, len(audio) - 800, 800)]
        assert sum(loud) > len(loud) / 3
        assert len(await say(voice, SHORT)) < len(audio)


async def test_empty_text_is_silent_and_no_error(voice):
    async with voice.running():
        for text in ("", "   ", "...", "😀"):
            assert await say(voice, text) == b""
            assert not voice.cached(text)


async def test_numbers_are_spoken(voice):
    async with voice.running():
        assert ms(await say(voice, "14:30")) > 900  # שתיים וחצי אחר הצהריים


async def test_leaving_early_leaves_it_usable(voice):
    async with voice.running():
        async with voice.speak(LONG) as audio:
            async for chunk in audio:
                assert chunk
                break
        with anyio.move_on_after(0.05):
            await say(voice, LONG + " ועוד משהו")
        assert await say(voice, SHORT)


async def test_two_at_once_do_not_mix(voice):
    heard = {}

    async def keep(text):
        heard[text] = await say(voice, text)

    async with voice.running():
        async with anyio.create_task_group() as tasks:
            for text in ("להתראות בינתיים", "מה שלומך היום?"):
                tasks.start_soon(keep, text)
        for text, audio in heard.items():
            alone = await say(voice, text)
            assert abs(len(alone) - len(audio)) < 400 * SAMPLES_PER_MS
        assert len(set(heard.values())) == 2


async def test_preparing_is_safe_for_all(voice):
    async with voice.running():
        await voice.prepare([])


async def test_a_failure_is_a_provider_error(voices, monkeypatch):
    monkeypatch.setattr("moked.tts.local._WAIT_S", 3.0)
    _, broken = voices
    async with broken.running():
        with pytest.raises(ProviderError):
            await say(broken, LONG)
