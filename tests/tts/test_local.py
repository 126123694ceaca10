"""The keyless voice: what is pure in it, and with the real weights that it can be understood."""

import re
from pathlib import Path

import anyio
import numpy as np
import pytest

from moked import weights
from moked.audio import from_float, ms, to_float
from moked.errors import Failure, ModelError, ProviderError
from moked.tts.hebrew import DIGIT_WORDS, prepare
from moked.tts.kokoro_child import Nakdimon, Phones, espeak_phonemes, finish
from moked.tts.local import EspeakVoice, LocalVoice

pytestmark = pytest.mark.anyio

SENTENCES = [
    "אני רושם את הפרטים ונחזור אליכם היום אחר הצהריים.",
    "שלום, הגעתם למשרד עורכי הדין כהן ולוי. במה אפשר לעזור?",
    "מה השם המלא שלך בבקשה?",
    "נקבעה פגישה ביום שלישי בשעה 10:30 בבוקר.",
    "אפשר לקבל מספר טלפון לחזרה?",
]


@pytest.mark.slow
def test_phones_are_those_the_voice_reads_well():
    phones = Phones(_file("phonikud", ""))
    ipa = phones("צִ'יפְּס חַם, רַק רֶגַע עִם דּוֹר.")
    assert not set(ipa) & set("ʔʁχ")
    assert "ʧ" in ipa
    assert ipa.endswith(".")
    assert phones("WhatsApp")
    assert phones("") == ""


def test_espeak_is_given_its_own_letters():
    assert espeak_phonemes("ʃalˈom, x") == "[[Sa:l'o:m_:_ x]]"


def test_the_loudness_is_the_same_and_the_edges_are_cut():
    time = np.arange(24_000) / 24_000
    tone = (np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * 3 * time) > -0.5)).astype(np.float32)
    padded = np.concatenate([np.zeros(12_000, np.float32), tone, np.zeros(24_000, np.float32)])
    quiet, loud = finish(0.02 * padded, 24_000), finish(0.9 * padded, 24_000)
    assert abs(len(quiet) - len(loud)) < 80
    assert 1000 <= ms(loud) <= 1000 + 2 * 70
    peaks = [float(np.abs(to_float(audio)).max()) for audio in (quiet, loud)]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.05)
    assert max(peaks) <= 0.75


def test_a_click_does_not_clip_and_silence_is_nothing():
    spike = np.full(24_000, 0.05, np.float32) * np.sign(np.sin(np.arange(24_000)))
    spike[12_000:12_010] = 1.0
    assert float(np.abs(to_float(finish(spike.astype(np.float32), 24_000))).max()) <= 0.75
    assert finish(np.zeros(24_000, np.float32), 24_000) == b""
    assert finish(np.zeros(0, np.float32), 24_000) == b""


async def test_weights_that_are_missing_fail_in_time(monkeypatch, tmp_path):
    monkeypatch.setattr("moked.tts.local._WAIT_S", 1.0)
    voice = LocalVoice(tmp_path / "nakdimon.onnx", tmp_path)
    async with voice.running():
        with pytest.raises(ProviderError) as caught:
            async with voice.speak("שלום") as audio:
                assert [chunk async for chunk in audio]
    assert caught.value.kind in (Failure.TIMEOUT, Failure.UNAVAILABLE)


async def test_a_full_queue_is_a_provider_error(tmp_path):
    voice = EspeakVoice("/nowhere", max_pending=1)
    with pytest.raises(ProviderError) as caught:
        async with voice.speak("אחת") as _, voice.speak("שתיים") as _:
            pass
    assert caught.value.kind is Failure.QUOTA


def test_the_key_tells_voices_apart():
    keys = {
        LocalVoice(Path("n"), Path("k")).key,
        LocalVoice(Path("n"), Path("k"), rate=0.96).key,
        LocalVoice(Path("n"), Path("k"), voice="jf_alpha").key,
        EspeakVoice("e").key,
        EspeakVoice("e", nakdimon=Path("n")).key,
    }
    assert len(keys) == 5


# --- real weights ---------------------------------------------------------------------------------------------------


def _file(name, file):
    try:
        return weights.path(name) / file if weights.path(name).is_dir() else weights.path(name)
    except ModelError as missing:
        pytest.skip(str(missing))


@pytest.mark.slow
def test_niqqud_of_plain_hebrew():
    import onnxruntime

    nakdimon = Nakdimon(_file("nakdimon", "nakdimon.onnx"), onnxruntime.SessionOptions())
    pointed = nakdimon.point('אני רושם את הפרטים, צה"ל ו-abc 12')
    assert re.sub("[\u0591-\u05c7]", "", pointed) == 'אני רושם את הפרטים, צה"ל ו-abc 12'
    assert Phones(_file("phonikud", ""))(nakdimon.point("אני רושם את הפרטים")) == "anˈi ɾoʃˈem ˈet hapɾatˈim"
    assert nakdimon.point("") == ""
    assert "שָׁ" in nakdimon.point("שָׁלֹם")  # niqqud that is there already is kept


def _errors(said, heard):
    """Character error rate on letters only."""
    said, heard = (re.sub("[^א-ת]", "", text) for text in (said, heard))
    row = list(range(len(heard) + 1))
    for at, letter in enumerate(said, 1):
        last, row[0] = row[0], at
        for other, candidate in enumerate(heard, 1):
            last, row[other] = row[other], min(row[other] + 1, row[other - 1] + 1, last + (letter != candidate))
    return row[-1] / len(said)


@pytest.mark.slow
async def test_whisper_understands_it_over_the_phone():
    import soxr
    from faster_whisper import WhisperModel

    voice = LocalVoice(_file("nakdimon", "nakdimon.onnx"), _file("kokoro", ""))
    whisper = WhisperModel(str(_file("whisper-base", "")), device="cpu", compute_type="int8", cpu_threads=1)
    errors = []
    async with voice.running():
        for text in SENTENCES:
            async with voice.speak(text) as audio:
                spoken = b"".join([chunk async for chunk in audio])
            wide = soxr.resample(to_float(spoken), 8000, 16000).astype(np.float32)
            segments, _ = await anyio.to_thread.run_sync(
                lambda wide=wide: whisper.transcribe(wide, language="he", beam_size=5, temperature=0.0)
            )
            heard = " ".join(segment.text for segment in segments)
            errors.append(_errors(prepare(text), heard))
    assert sum(errors) / len(errors) < 0.35, errors


@pytest.mark.slow
async def test_every_digit_is_short_and_audible():
    voice = LocalVoice(_file("nakdimon", "nakdimon.onnx"), _file("kokoro", ""))
    async with voice.running():
        for word in DIGIT_WORDS:
            async with voice.speak(word) as audio:
                spoken = b"".join([chunk async for chunk in audio])
            assert 300 < ms(spoken) < 1100
            assert len(spoken) == len(from_float(to_float(spoken)))
