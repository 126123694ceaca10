"""Which recognition engines the settings choose, in which order."""

import pytest

from moked import parts
from moked.dialog.business import load_business
from moked.settings import Settings
from tests.wire.house import no_environment

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
        ({"speech_emulator_host": "localhost:9090"}, ["google", "whisper-http", "whisper"]),
        ({"speech_emulator_host": "localhost:9090", "installed": False}, ["google", "whisper-http"]),
        ({"speech_emulator_host": "localhost:9090", "stt_fallback": "none"}, ["google"]),
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
