"""Where which second lies, and what a browser gets."""

import io
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.audio import SILENCE, from_float, to_pcm16
from moked.recording import container
from moked.recording.container import CHUNK, OVERHEAD, SEALED, Silence


def test_the_wav_is_one():
    tone = from_float(np.sin(np.arange(8000) / 5).astype(np.float32))
    frames = bytearray(16_000)
    frames[0::2], frames[1::2] = tone, SILENCE * 8000
    data = container.wav_header(8000) + container.widen(bytes(frames))
    assert len(data) == container.wav_size(8000)
    with wave.open(io.BytesIO(data)) as read:
        assert (read.getnchannels(), read.getframerate(), read.getsampwidth(), read.getnframes()) == (2, 8000, 2, 8000)
        samples = np.frombuffer(read.readframes(8000), "<i2").reshape(-1, 2)
    assert samples[:, 0].tobytes() == to_pcm16(tone)
    assert not samples[:, 1].any()


@pytest.mark.parametrize(
    ("plain", "size"), [(0, 0), (CHUNK, SEALED), (CHUNK + 100, SEALED + 100 + OVERHEAD), (2 * CHUNK, 2 * SEALED)]
)
def test_the_size_says_how_many_samples_there_are(plain, size):
    assert container.samples(size) == plain // 2


@pytest.mark.parametrize("torn", [1, OVERHEAD - 1, OVERHEAD])
def test_a_torn_chunk_has_none(torn):
    assert container.samples(SEALED + torn) == 8000


@given(st.binary(min_size=2, max_size=400).filter(lambda frames: len(frames) % 2 == 0), st.integers(0, 1000), st.data())
def test_a_silence_hides_its_side_and_nothing_else(frames, at, data):
    start = data.draw(st.integers(0, 1500))
    one = Silence(data.draw(st.integers(0, 1)), start, start + data.draw(st.integers(0, 400)))
    after = container.silenced(frames, at, [one])
    for number, (a, b) in enumerate(zip(frames, after, strict=True)):
        hidden = number % 2 == one.channel and one.start <= at + number // 2 < one.end
        assert b == (255 if hidden else a)


def test_peaks_are_the_loudest_of_each_stretch():
    frames = bytearray(SILENCE * 2 * 2000)
    frames[2 * 900] = 0x80  # the caller's loudest sample, in the second 100 ms
    found = container.peaks(bytes(frames))
    assert len(found) == 2 * 3
    assert found[2] > 240
    assert sum(found) == found[2]


@given(st.lists(st.integers(0, 255), max_size=300), st.integers(0, 400))
def test_peaks_at_any_width_keep_the_loudest(values, points):
    found = container.resampled(values, points)
    assert len(found) == points
    assert all(0 <= one <= 1 for one in found)
    if values and points:
        assert max(found) == max(values) / 255
