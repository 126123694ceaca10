"""Files in, a stereo WAV out."""

import audioop
import wave
from pathlib import Path

import numpy as np
import pytest

from moked import audio
from moked.errors import MokedError
from moked.simulate.audio import load, write_wav
from tests.simulate.fake_server import tone


def wav(path: Path, samples: np.ndarray, rate: int) -> None:
    with wave.open(str(path), "wb") as out:
        out.setnchannels(samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32000).astype("<i2").tobytes())


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_any_rate_and_channels_become_telephone_audio(tmp_path: Path, rate: int) -> None:
    time = np.arange(rate, dtype=np.float64) / rate
    voice = 0.5 * np.sin(2 * np.pi * 440 * time)
    wav(tmp_path / "in.wav", np.stack([voice, voice], axis=1), rate)
    mulaw = load(tmp_path / "in.wav")
    assert abs(audio.ms(mulaw) - 1000) <= 5
    spectrum = np.abs(np.fft.rfft(audio.to_float(mulaw)[:8000]))
    assert abs(int(np.argmax(spectrum)) * 8000 / 8000 - 440) <= 2
    assert audio.rms(mulaw) == pytest.approx(32000 * 0.5 / np.sqrt(2), rel=0.05)


def test_what_is_no_audio_says_so(tmp_path: Path) -> None:
    with pytest.raises(MokedError, match="no such file"):
        load(tmp_path / "none.wav")
    (tmp_path / "text.wav").write_text("hello")
    with pytest.raises(MokedError, match="cannot be read as audio"):
        load(tmp_path / "text.wav")
    wav(tmp_path / "empty.wav", np.zeros((0, 1)), 8000)
    with pytest.raises(MokedError, match=r"empty\.wav"):
        load(tmp_path / "empty.wav")


def test_the_caller_is_left_and_the_agent_right_each_at_its_time(tmp_path: Path) -> None:
    caller, agent = tone(20, 300), tone(40, 700)
    path = tmp_path / "call.wav"
    write_wav(path, caller=[(80, caller)], agent=[(0, agent), (720, agent)], ms=100)
    with wave.open(str(path)) as read:
        assert (read.getnchannels(), read.getsampwidth(), read.getframerate(), read.getnframes()) == (2, 2, 8000, 800)
        both = np.frombuffer(read.readframes(800), dtype="<i2").reshape(-1, 2)
    left, right = both[:, 0].tobytes(), both[:, 1].tobytes()
    assert left == b"\0" * 160 + audioop.ulaw2lin(caller, 2) + b"\0" * (1600 - 160 - 320)
    assert right[:640] == audioop.ulaw2lin(agent, 2)
    assert right[640:1440] == b"\0" * 800
    assert right[1440:] == audioop.ulaw2lin(agent, 2)[:160]  # cut off at the end of the call
