"""A stereo WAV of a call."""

import audioop
import wave
from pathlib import Path

import numpy as np

from moked.recordings import open_recording
from moked.simulate.audio import write_wav
from tests.simulate.fake_server import tone


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
    with open_recording(path) as saved:
        assert saved.own_call, "the transcript of a saved call knows who is who"
        assert (saved.channels, saved.duration_ms) == (2, 100)
