"""Cutting recordings with the real detector: places, speakers, loudness, memory."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import soxr

from moked import audio, weights
from moked.media.vad import SileroVad
from moked.utterances import Position, Utterance, utterances
from tests.wire.voices import says

pytestmark = pytest.mark.skipif(
    not weights.available("silero-vad"), reason="`moked models install` brings the detector"
)
SPEECH = says("שלום אני צריכה טכנאי למזגן")


@dataclass
class Tracks:
    """A recording that is made up as it is read."""

    tracks: list[np.ndarray]  # 16 kHz, -1..1
    times: int = 1

    @property
    def channels(self) -> int:
        return len(self.tracks)

    def blocks(self, rate: int) -> Iterator[np.ndarray]:
        assert rate == 16_000
        both = (np.stack(self.tracks) * 32767).astype(np.int16)
        for _ in range(self.times):
            for start in range(0, both.shape[1], 8000):
                yield both[:, start : start + 8000]


def track(*parts: bytes | int, gain: float = 1.0) -> np.ndarray:
    """Mu-law, and ms of silence, at 16 kHz."""
    mulaw = b"".join(audio.silence(part) if isinstance(part, int) else part for part in parts)
    return soxr.resample(audio.to_float(mulaw) * gain, 8000, 16_000)


@pytest.fixture(scope="module")
def vad() -> SileroVad:
    return SileroVad(weights.path("silero-vad"))


def cut(recording: Tracks, vad: SileroVad) -> list[Utterance]:
    return [one for one in utterances(recording, vad) if isinstance(one, Utterance)]  # type: ignore[arg-type]


def test_each_speaker_is_cut_where_they_speak(vad):
    ms = audio.ms(SPEECH)
    left = track(1000, SPEECH, 2000, SPEECH, 3000)
    right = track(1000 + ms + 400, SPEECH, len(left) // 16 - 1400 - 2 * ms)
    found = cut(Tracks([left, right[: len(left)]]), vad)
    places = [(one.channel, one.start_ms, one.end_ms) for one in found]
    expected = [(0, 1000), (0, 3000 + ms), (1, 1400 + ms)]
    assert sorted(channel for channel, *_ in places) == [0, 0, 1]
    for (channel, start, end), (wanted, begin) in zip(sorted(places), expected, strict=True):
        assert channel == wanted
        assert begin - 450 <= start <= begin + 100, "300 ms of lead-in"
        assert begin + ms - 300 <= end <= begin + ms + 350, "200 ms of tail"
    for one in found:
        assert len(one.pcm16k) == (one.end_ms - one.start_ms) * 32
        assert len(one.mulaw) // 8 == one.end_ms - one.start_ms
        wide = np.frombuffer(one.pcm16k, "<i2").astype(np.float32) / 32768
        heard = audio.to_float(one.mulaw)
        assert np.corrcoef(wide[::2][: len(heard)], heard)[0, 1] > 0.7, "both are the same sound, at the same place"


def test_a_breath_does_not_cut_a_sentence_and_the_end_of_the_file_does(vad):
    found = cut(Tracks([track(500, SPEECH, 450, SPEECH)]), vad)
    assert len(found) == 1
    assert found[0].end_ms == pytest.approx(950 + 2 * audio.ms(SPEECH), abs=60)


def test_long_speech_is_cut_short_enough_and_none_of_it_comes_twice(vad):
    found = cut(Tracks([track(500, *([SPEECH, 250] * 20), 500)]), vad)
    assert len(found) >= 2
    assert all(one.end_ms - one.start_ms <= 20_000 for one in found)
    covered = sum(one.end_ms - one.start_ms for one in found)
    assert covered >= 0.9 * 20 * (audio.ms(SPEECH) + 250), "here and there the detector takes a sung vowel for silence"
    assert all(before.end_ms <= after.start_ms for before, after in pairwise(found))


def test_what_is_no_speech_is_not_cut(vad):
    noise = np.random.default_rng(1).normal(0, 0.05, 16_000 * 25).astype(np.float32)
    hum = (0.3 * np.sin(2 * np.pi * 50 * np.arange(16_000 * 25) / 16_000)).astype(np.float32)
    assert cut(Tracks([noise, hum]), vad) == []
    assert cut(Tracks([np.zeros(100, dtype=np.float32)]), vad) == []


def test_a_quiet_recording_is_made_louder(vad):
    (found,) = cut(Tracks([track(1000, SPEECH, 1500, gain=0.05)]), vad)
    peak = np.abs(np.frombuffer(found.pcm16k, "<i2")).max()
    assert 0.2 * 32768 < peak <= 0.31 * 32768
    assert audio.rms(found.mulaw) > 1000


def test_the_position_comes_between(vad):
    positions = [one.ms for one in utterances(Tracks([track(2000)]), vad) if isinstance(one, Position)]
    assert positions == [500, 1000, 1500, 2000]


def test_memory_does_not_grow_with_the_length(vad):
    """Three minutes of two speakers are 12 MB at 16 kHz, and more in the detector; a minute of each is 4 MB."""
    recording = Tracks([track(500, SPEECH, 7500), track(4000, SPEECH, 4000)], times=20)
    tracemalloc.start()
    try:
        count = sum(isinstance(one, Utterance) for one in utterances(recording, vad))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 40
    assert peak < 10e6
