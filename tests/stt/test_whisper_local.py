"""Whisper in its process: real weights and a person's real voice where they are at hand."""

import logging
import os
import signal
from itertools import pairwise
from pathlib import Path

import anyio
import numpy as np
import pytest

from moked.audio import from_float, silence
from moked.errors import Failure, ModelError, Overloaded, ProviderError
from moked.stt import Final, Interim
from moked.stt.agreement import Agreement
from moked.stt.fairqueue import Rank
from moked.stt.transcripts import normalise
from moked.stt.utterance import Transcription
from moked.stt.whisper_local import WhisperLocal
from moked.weights import path

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

VOICES = Path(__file__).parents[3] / "shared" / "data" / "gcompris-he"


def weights() -> Path:
    try:
        return path("whisper-base")
    except ModelError as problem:
        pytest.skip(str(problem))


def voice(name: str) -> bytes:
    """One recorded Hebrew word as telephone audio."""
    if not VOICES.is_dir():
        pytest.skip("the recorded Hebrew words are not here")
    from faster_whisper.audio import decode_audio

    return silence(240) + from_float(decode_audio(str(VOICES / name), sampling_rate=8000) * 0.9) + silence(240)


@pytest.fixture
async def whisper():
    engine = WhisperLocal(weights())
    async with engine.running():
        yield engine


async def test_it_hears_a_person_say_hebrew_words(whisper):
    heard = [(await whisper.transcribe(voice(f"colors/{name}.ogg"))).text for name in ("red", "blue")]
    red, blue = (normalise(text) for text in heard)
    assert red == "אדום"
    assert blue.endswith("חול"), "the model hears the sounds and spells the first one as it likes"


def sounds():
    """What is on a telephone line besides people: silence, noise, hum, keys, tones, music."""
    rng = np.random.default_rng(11)

    def time_of(seconds):
        return np.arange(int(8000 * seconds)) / 8000

    def noise(colour, level, seconds):
        spectrum = np.fft.rfft(rng.normal(0, 1, int(8000 * seconds)))
        spectrum /= np.maximum(np.arange(len(spectrum)), 1) ** (colour / 2)
        sound = np.fft.irfft(spectrum)
        return level * sound / sound.std()

    def tone(*hertz, seconds, level=0.15):
        return level * sum(np.sin(2 * np.pi * one * time_of(seconds)) for one in hertz)

    keys = {"1": (697, 1209), "5": (770, 1336), "9": (852, 1477), "0": (941, 1336), "#": (941, 1477)}
    pause = np.zeros(800)
    yield from ((f"silence {s}", np.zeros(int(8000 * s))) for s in (0.5, 2, 5))
    for colour in (0, 1, 2):
        for level in (0.008, 0.03, 0.1):
            yield f"noise {colour} {level}", noise(colour, level, 0.9 if level == 0.03 else 2.3)
    yield from ((f"hum {hertz}", tone(hertz, 2 * hertz, seconds=2, level=0.08)) for hertz in (50, 100, 150))
    yield from ((f"key {key}", np.append(tone(*pair, seconds=0.25), pause)) for key, pair in keys.items())
    yield "keys", np.concatenate([part for pair in keys.values() for part in (tone(*pair, seconds=0.2), pause)])
    yield "dial tone", tone(400, seconds=3)
    yield "ringing", np.append(tone(400, seconds=1) * (1 + 0.5 * np.sin(2 * np.pi * 25 * time_of(1))), np.zeros(16000))
    yield "busy", np.concatenate([tone(400, seconds=0.5), np.zeros(4000)] * 3)
    for tempo in (0.2, 0.35):
        notes = [
            tone(h, 2 * h, 3 * h, seconds=tempo) * np.exp(-3 * time_of(tempo) / tempo) for h in (262, 330, 392, 523)
        ]
        yield f"melody {tempo}", np.concatenate(notes * 3)
    yield "chords", np.concatenate([tone(h, 1.25 * h, 1.5 * h, seconds=0.8, level=0.06) for h in (220, 196, 262, 175)])
    yield "clicks", (rng.random(16000) < 0.002) * 0.5
    yield "tremolo", tone(300, seconds=3) * (1 + np.sin(2 * np.pi * 5 * time_of(3))) / 2
    yield "gusts", noise(1, 0.05, 3) * (np.sin(2 * np.pi * 4 * time_of(3)) > 0)
    yield "breath", noise(0, 0.02, 1.2) * np.hanning(9600)
    yield "sweep", 0.1 * np.sin(2 * np.pi * (300 * time_of(3) + 300 * time_of(3) ** 2))


async def test_what_is_no_voice_says_nothing(whisper):
    said, clips = {}, list(sounds())
    for name, sound in clips:
        result = await whisper.transcribe(from_float(sound.astype(np.float32)))
        if result != Transcription(""):
            said[name] = result.text
    assert len(clips) >= 30
    assert said == {}


def sentence():
    """Recorded words joined with short breaths."""
    parts = [voice(f"{name}.ogg") for name in ("colors/red", "colors/blue", "misc/check_answer", "colors/red")]
    return b"".join(part[1200:-1200] for part in parts)


async def test_a_growing_utterance_is_agreed_on_word_by_word(whisper):
    words, agreement = sentence(), Agreement()
    for until_ms in range(900, len(words) // 8, 500):
        ask = {"audio": words[: until_ms * 8], "hints": [], "glance": True}
        answer = await whisper._ask(ask, call=1, rank=Rank.PARTIAL, timeout_s=20)
        agreement.hear(answer["text"])
    assert "אדום" in normalise(agreement.text)


async def test_a_call_in_real_time_gets_its_final_and_partials_that_grow(whisper):
    """How many partials depends on how busy the machine is; what they are does not."""
    words, heard = sentence(), []
    async with whisper.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:

        async def listen():
            heard.extend([item async for item in stream])

        tasks.start_soon(listen)
        stream.speech_started(0)
        for at in range(0, len(words), 320):
            await stream.write(words[at : at + 320])
            await anyio.sleep(0.04)
        await stream.write(silence(300))
        stream.speech_ended(len(words) // 8)
        await stream.finish()
    *partials, final = heard
    texts = [item.text for item in partials]
    assert all(isinstance(item, Interim) and item.behind for item in partials)
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert isinstance(final, Final)
    assert "אדום" in normalise(final.text)
    assert whisper.pending == 0


async def test_a_flood_of_second_passes_leaves_the_calls_their_finals(whisper):
    """200 utterances at once: most are refused, the memory stays, and a caller is served between them."""
    audio = voice("colors/red.ogg")
    await whisper.transcribe(audio, rank=Rank.FINAL)
    before, outcomes, live = whisper.memory, [], []

    async def flood(number):
        try:
            await whisper.transcribe(audio, call=number, rank=Rank.BACKGROUND, timeout_s=120)
        except ProviderError as problem:
            outcomes.append(problem.kind)
        else:
            outcomes.append("heard")

    async with anyio.create_task_group() as tasks:
        for number in range(200):
            tasks.start_soon(flood, number)
        await anyio.sleep(0.1)
        assert whisper.pending <= 65
        for _ in range(5):
            live.append(await whisper.transcribe(audio, rank=Rank.FINAL, call="live"))
        assert len(outcomes) < 200, "the caller was served before the flood was over"
        tasks.cancel_scope.cancel()
    assert ["אדום" in result.text for result in live] == [True] * 5
    assert outcomes.count(Failure.FULL) >= 130
    assert set(outcomes) <= {"heard", Failure.FULL}
    assert whisper.pending == 0
    assert whisper.memory - before < 60_000_000


async def test_more_calls_than_seats_are_refused_at_the_door():
    engine = WhisperLocal(weights(), max_calls=2)
    async with engine.running():
        async with engine.stream(origin_ms=0), engine.stream(origin_ms=0):
            with pytest.raises(Overloaded):
                async with engine.stream(origin_ms=0):
                    pytest.fail("there is no seat")
        async with engine.stream(origin_ms=0):
            assert engine.seats.taken == 1


async def test_the_machine_says_how_many_calls_it_can_serve(whisper, caplog):
    assert 1 <= whisper.seats.limit <= 100
    assert whisper.memory > 100_000_000


async def test_it_streams_utterances_in_call_time_and_survives_the_death_of_its_process(whisper):
    word = voice("colors/red.ogg")
    length = len(word) // 8
    for _ in range(2):
        async with whisper.stream(origin_ms=60_000) as stream:
            await stream.write(silence(500) + word + silence(500))
            stream.speech_started(60_500 + 240)
            stream.speech_ended(60_500 + length - 240)
            await stream.finish()
            finals = [result async for result in stream]
        assert len(finals) == 1
        final = finals[0]
        assert isinstance(final, Final)
        assert "אדום" in final.text
        assert final.engine == "whisper"
        assert 60_000 <= final.start_ms <= 60_740
        assert final.end_ms >= 60_500 + length - 240
        assert 0 < final.confidence <= 1
        os.kill(whisper._children[0].pid, signal.SIGKILL)


def truncated(folder):
    """The embedded model, its weights cut short."""
    for file in weights().iterdir():
        if file.name != "model.bin":
            (folder / file.name).write_bytes(file.read_bytes())
    with (weights() / "model.bin").open("rb") as whole:
        (folder / "model.bin").write_bytes(whole.read(5_000_000))
    return folder


async def test_a_model_that_cannot_be_loaded_names_the_setting(tmp_path, caplog):
    engine = WhisperLocal(truncated(tmp_path))
    with caplog.at_level(logging.INFO), pytest.raises(ModelError, match="WHISPER_MODEL"):
        async with engine.running():
            pytest.fail("it must not start")
    assert "Whisper is loading" in caplog.text
    assert "Whisper cannot be used" in caplog.text
    engine = WhisperLocal(tmp_path)
    async with engine.running(wait=False):
        with pytest.raises(ModelError, match="WHISPER_MODEL"):
            await engine.ready()
        with pytest.raises(ProviderError, match="WHISPER_MODEL"):
            async with engine.stream(origin_ms=0):
                pytest.fail("it must not open")


async def test_a_name_without_its_hub_fails_soon_and_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with anyio.fail_after(60), pytest.raises(ModelError, match="set WHISPER_MODEL to the folder"):
        async with WhisperLocal("ivrit-ai/whisper-large-v3-turbo-ct2").running():
            pytest.fail("it must not start")


async def test_a_folder_that_is_not_there_is_told_without_a_process(monkeypatch):
    with pytest.raises(ModelError, match="no such folder"):
        async with WhisperLocal("/nowhere/whisper").running():
            pytest.fail("it must not start")
