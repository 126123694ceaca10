"""Which parts serve, by the settings alone: nothing is loaded or connected."""

import pytest

from moked import parts
from moked.dialog.business import load_business
from tests.wire.house import settings

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
