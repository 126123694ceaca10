"""Which recognition engines the settings choose, in which order, and what else hears. Nothing is loaded."""

import pytest

from moked import parts
from moked.dialog.business import load_business
from moked.settings import Settings
from tests.wire.house import no_environment, settings

RECOMMENDED = "ivrit-ai/whisper-large-v3-turbo-ct2"
SERVER = {"whisper_base_url": "http://user:hush@gpu:8000/v1", "whisper_model": "whisper-he"}


@pytest.fixture
def hearing(monkeypatch, tmp_path):
    def choose(*, installed=True, **values):
        monkeypatch.setattr(parts, "_installed", lambda *_: installed)
        monkeypatch.setattr(parts.weights, "path", lambda name, root=None: tmp_path / name)
        with no_environment():
            engines, choice = parts.hearing(Settings(_env_file=None, **values), load_business(None))
        return [engine.name for engine in engines], choice

    return choose


def test_without_anything_the_embedded_whisper_hears_and_a_better_one_is_named(hearing):
    names, choice = hearing()
    assert names == ["whisper"]
    assert RECOMMENDED in choice.better


def test_a_named_model_needs_nothing_better(hearing):
    names, choice = hearing(whisper_model=RECOMMENDED)
    assert (names, choice.chosen, choice.better) == (["whisper"], f"Whisper ({RECOMMENDED})", "")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, ["whisper-http", "whisper"]),
        ({"installed": False}, ["whisper-http"]),
        ({"stt_fallback": "none"}, ["whisper-http"]),
        ({"speech_emulator_host": "localhost:9090"}, ["google", "google-batch", "whisper-http", "whisper"]),
        ({"speech_emulator_host": "localhost:9090", "installed": False}, ["google", "google-batch", "whisper-http"]),
        ({"speech_emulator_host": "localhost:9090", "stt_fallback": "none"}, ["google", "google-batch"]),
    ],
)
def test_a_transcription_server_is_the_whisper_and_the_embedded_one_stands_behind_it(hearing, values, expected):
    names, choice = hearing(**SERVER, **values)
    assert names == expected
    assert "hush" not in choice.chosen
    assert ("gpu:8000" in choice.chosen) is ("whisper-http" in expected)


@pytest.mark.parametrize(
    ("values", "needed"),
    [({}, True), ({"whisper_model": RECOMMENDED}, False), (SERVER, False), ({"stt_fallback": "none"}, True)],
)
def test_the_embedded_weights_are_needed_only_where_nothing_else_hears(values, needed):
    with no_environment():
        names = parts.needed_weights(Settings(_env_file=None, **values))
    assert ("whisper-base" in names) is needed


GOOGLE = {"speech_emulator_host": "127.0.0.1:9"}


@pytest.mark.parametrize(
    ("values", "hears_again", "writes", "own"),
    [
        ({**GOOGLE, "stt_fallback": "whisper"}, True, False, False),
        ({**GOOGLE, "stt_fallback": "none"}, False, False, False),
        ({**GOOGLE, "stt_fallback": "none", "stt_second_pass": "on"}, True, False, True),
        ({**GOOGLE, "stt_fallback": "whisper", "stt_second_pass": "off"}, False, False, False),
        ({**GOOGLE, "stt_fallback": "none", "stt_stored_transcript": "whisper"}, False, True, True),
        ({"stt_stored_transcript": "whisper"}, False, True, False),  # Whisper hears the calls already
        ({}, False, False, False),
    ],
)
def test_the_second_ear_is_there_where_it_is_wanted(tmp_path, monkeypatch, values, hears_again, writes, own):
    monkeypatch.setattr(parts, "_installed", lambda *_: True)
    chosen = settings(tmp_path, whisper_model=str(tmp_path), **values)
    engines, _ = parts.hearing(chosen, load_business())
    second = parts.second_hearing(chosen, engines)
    assert (second.ear is not None, second.scribe is not None, second.engine is not None) == (hears_again, writes, own)
    assert len(second.choices) == hears_again + writes


def test_without_weights_the_transcript_stays_live_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "_installed", lambda *_: False)
    chosen = settings(tmp_path, **GOOGLE, stt_stored_transcript="whisper")
    second = parts.second_hearing(chosen, parts.hearing(chosen, load_business())[0])
    assert (second.ear, second.scribe, second.engine) == (None, None, None)
    (choice,) = second.choices
    assert (choice.chosen, choice.better) == ("none", "run `moked models install`")
    assert "whisper-base" in parts.spared_weights(chosen)
