"""Recordings of every kind, and of none."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from moked import audio
from moked.errors import RecordingError
from moked.recordings import load, open_recording, same_on_both


def wav(path: Path, samples: np.ndarray, rate: int) -> Path:
    """`samples`: [length, channels], -1..1."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((samples * 32000).astype("<i2").tobytes())
    return path


def sine(seconds: float, rate: int, hertz: float = 440) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(path: Path, codec: str, samples: np.ndarray, rate: int, form: str = "s16") -> Path:
    """A mono file in any of FFmpeg's formats."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        resampler = av.AudioResampler(format=stream.codec_context.format or form, layout="mono", rate=rate)
        frame = av.AudioFrame.from_ndarray((samples * 32000).astype("<i2").reshape(1, -1), format="s16", layout="mono")
        frame.rate = rate
        for part in resampler.resample(frame):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return path


def whole(path: Path, rate: int = 16_000, **how: bool) -> np.ndarray:
    with open_recording(path, **how) as recording:
        return np.concatenate(list(recording.blocks(rate)), axis=1)


def hertz(samples: np.ndarray, rate: int) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples)))) * rate / len(samples)


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_the_wanted_one(tmp_path, rate):
    path = wav(tmp_path / "in.wav", sine(1, rate)[:, None], rate)
    heard = whole(path)
    assert heard.shape[0] == 1
    assert abs(heard.shape[1] - 16_000) <= 80
    assert hertz(heard[0, :16_000], 16_000) == pytest.approx(440, abs=2)
    mulaw = load(path)
    assert abs(audio.ms(mulaw) - 1000) <= 5
    assert audio.rms(mulaw) == pytest.approx(32000 * 0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp3", "libmp3lame"), ("a.ogg", "libopus"), ("a.flac", "flac"), ("a.m4a", "aac"), ("a.webm", "libopus")],
)
def test_any_format_is_read(tmp_path, name, codec):
    path = encoded(tmp_path / name, codec, sine(2, 48_000), 48_000)
    heard = whole(path)
    assert heard.shape[1] == pytest.approx(32_000, abs=3200)
    assert hertz(heard[0, 3200:25_600], 16_000) == pytest.approx(440, abs=3)


def test_it_comes_in_pieces_of_half_a_second(tmp_path):
    path = wav(tmp_path / "in.wav", sine(3.2, 44_100)[:, None], 44_100)
    with open_recording(path) as recording:
        assert recording.duration_ms == 3200
        sizes = [block.shape for block in recording.blocks(16_000)]
    assert set(sizes[:-1]) == {(1, 8000)}
    assert len(sizes) == 7


def test_two_channels_are_two_speakers_unless_they_hold_the_same(tmp_path):
    low, high = sine(1, 16_000, 300), sine(1, 16_000, 900)
    path = wav(tmp_path / "two.wav", np.stack([low, high], axis=1), 16_000)
    left, right = whole(path)
    assert hertz(left, 16_000) == pytest.approx(300, abs=2)
    assert hertz(right, 16_000) == pytest.approx(900, abs=2)
    assert whole(path, mix=True).shape[0] == 1
    assert not same_on_both(path)
    assert same_on_both(wav(tmp_path / "dual.wav", np.stack([low, low], axis=1), 16_000))
    assert not same_on_both(wav(tmp_path / "one.wav", low[:, None], 16_000))
    quiet = np.stack([low, np.zeros_like(low)], axis=1)
    assert not same_on_both(wav(tmp_path / "quiet.wav", quiet, 16_000)), "one of two who has not spoken yet"


def test_more_channels_are_mixed(tmp_path):
    with open_recording(wav(tmp_path / "six.wav", np.stack([sine(1, 8000)] * 6, axis=1), 8000)) as recording:
        assert (recording.tracks, recording.channels) == (6, 1)
        assert next(recording.blocks(16_000)).shape == (1, 8000)


def test_a_gap_in_the_time_stamps_is_silence(tmp_path):
    """Recorders that leave pauses out say so in the stamps: what comes after keeps its place."""
    path = tmp_path / "gap.mka"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        for start in (0, 8000 * 3):
            samples = (sine(1, 8000) * 32000).astype("<i2")
            for offset in range(0, 8000, 160):
                frame = av.AudioFrame.from_ndarray(samples[None, offset : offset + 160], format="s16", layout="mono")
                frame.rate, frame.pts = 8000, start + offset
                out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    heard = whole(path)[0]
    assert len(heard) == pytest.approx(64_000, abs=400)
    assert np.abs(heard[:15_000]).max() > 10_000
    assert np.abs(heard[17_000:47_000]).max() < 50
    assert np.abs(heard[49_000:]).max() > 10_000
    with open_recording(path) as recording:
        assert sum(block.shape[1] for block in recording.blocks(16_000, gaps=False)) == pytest.approx(32_000, abs=400)


def test_damaged_packets_do_not_take_the_rest_with_them(tmp_path):
    path = encoded(tmp_path / "a.mp3", "libmp3lame", sine(4, 44_100), 44_100)
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 2000] = b"\0" * 2000
    path.write_bytes(data)
    with open_recording(path) as recording:
        length = sum(block.shape[1] for block in recording.blocks(16_000))
    assert length > 3 * 16_000


def bad(path: Path, kind: str) -> Path:
    """One of the files that cannot be read."""
    match kind:
        case "absent":
            pass
        case "folder":
            path.mkdir()
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("hello")
        case "zeros":
            path.write_bytes(b"\0" * 5000)
        case "no length":
            wav(path, np.zeros((0, 1)), 8000)
        case "cut off":
            wav(path, sine(1, 8000)[:, None], 8000)
            path.write_bytes(path.read_bytes()[:30])
        case "rate of 1":
            wav(path, sine(1, 8000)[:, None], 1)
        case "video":
            with av.open(str(path), "w", format="matroska") as out:
                stream = out.add_stream("mpeg4", rate=24)
                stream.width = stream.height = 32
                stream.pix_fmt = "yuv420p"
                for _ in range(3):
                    frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), dtype=np.uint8), format="rgb24")
                    out.mux(stream.encode(frame))
                out.mux(stream.encode(None))
    return path


BAD = {
    "absent": r"no such file.*Check the path",
    "folder": r"a folder, not a recording",
    "empty": r"empty \(0 bytes\).*again",
    "text": r"cannot be read as audio.*export it as WAV",
    "zeros": r"cannot be read as audio.*export it as WAV",
    "no length": r"no sound in this file.*again",
    "cut off": r"in\.wav: .*(again|export)",
    "rate of 1": r"sample rate of 1 Hz.*export it again",
    "video": r"no audio in this file.*right one",
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_read_says_what_to_do(tmp_path, kind):
    path = bad(tmp_path / "in.wav", kind)
    with pytest.raises(RecordingError, match=BAD[kind]) as told:
        load(path)
    assert str(path) in str(told.value)


def test_no_permission_says_so(tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(RecordingError, match=r"no permission to read it.*right to read"):
        load(wav(tmp_path / "in.wav", sine(1, 8000)[:, None], 8000))


def test_a_few_words_of_text_are_no_recording(tmp_path):
    path = tmp_path / "note.ogg"
    path.write_bytes(b"no sound at all")
    with pytest.raises(RecordingError, match="cannot be read as audio"), open_recording(path):
        pass
