"""A recording's utterances, each speaker's, cut by the same detector and the same rules as a call's.

    blocks of 16 kHz --> 8 kHz mu-law --> Silero --> SpeechGate --> Cutter --> Utterance (16 kHz and mu-law)

Synchronous and in bounded memory: a minute of each channel at most is held. Between utterances the position comes out,
so that whoever iterates can show it, or stop.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from moked import audio
from moked.media.speech import WINDOW_SAMPLES, SpeechEnded, SpeechEvent, SpeechGate, SpeechStarted
from moked.media.vad import CONTEXT, Floats, Quiet, SileroVad, levels_db
from moked.recordings import Recording, Samples
from moked.stt.cuts import MERGE_MS, TAIL_MS, Cut, Cutter

WIDE_RATE: Final = 16_000
_WIDE_PER_MS: Final = WIDE_RATE // 1000
_MAX_MS: Final = 20_000  # more makes subtitles that nobody can place
_KEPT_MS: Final = 60_000
_TARGET: Final = 0.3  # of full scale: the peak that a quiet recording is brought to
_MOST_GAIN: Final = 16.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One piece of speech. `pcm16k` is 16-bit at 16 kHz, `mulaw` the same as a telephone carries it."""

    channel: int
    start_ms: int
    end_ms: int
    pcm16k: bytes
    mulaw: bytes


@dataclass(frozen=True, slots=True)
class Position:
    """How far the recording has been read."""

    ms: int


def utterances(recording: Recording, vad: SileroVad) -> Iterator[Utterance | Position]:
    """All of a recording; of each channel in order. Raises `RecordingError` when there is no sound in it."""
    detector = _Detector(vad, recording.channels)
    channels = [_Channel(number) for number in range(recording.channels)]
    read = 0
    for block in recording.blocks(WIDE_RATE):
        read += block.shape[1]
        narrow = [channel.take(block[number]) for number, channel in enumerate(channels)]
        for number, event in detector.feed(narrow):
            channels[number].mark(event)
        for channel in channels:
            yield from channel.ready()
        yield Position(read // _WIDE_PER_MS)
    rests = [channel.take(np.zeros(0, dtype=np.int16), last=True) for channel in channels]
    for number, event in detector.feed(rests):
        channels[number].mark(event)
    for channel in channels:
        yield from channel.finish()


class _Channel:
    """One speaker's audio on its way to be cut."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._cutter = Cutter(0, max_ms=_MAX_MS)
        self._cutter.speech_started(0)  # an empty stretch: the detector is alive, so what it never marks (music, an
        self._cutter.speech_ended(0)  # engine) is not cut by its loudness
        self._narrow = soxr.ResampleStream(WIDE_RATE, audio.SAMPLE_RATE, 1, dtype="float32")
        self._heard_ms = 0
        self._wide = bytearray()  # 16-bit, the last minute
        self._base_ms = 0
        self._held: list[Cut] = []  # may still be taken back: the speaker only drew breath

    def take(self, samples: Samples, *, last: bool = False) -> bytes:
        """The next audio; gives it back as mu-law, which lags behind by what the resampler holds."""
        self._wide += samples.astype("<i2").tobytes()
        over = len(self._wide) // 2 // _WIDE_PER_MS - _KEPT_MS
        if over > 0:
            del self._wide[: over * 2 * _WIDE_PER_MS]
            self._base_ms += over
        floats = samples.astype(np.float32) / 32768
        mulaw = audio.from_float(self._narrow.resample_chunk(floats, last=last))
        self._cutter.feed(mulaw)
        self._heard_ms += audio.ms(mulaw)
        return mulaw

    def mark(self, event: SpeechEvent) -> None:
        if isinstance(event, SpeechStarted):
            self._cutter.speech_started(event.at_ms)
        elif isinstance(event, SpeechEnded):  # a pause is no end: here nothing is in a hurry
            self._cutter.speech_ended(event.at_ms)

    def ready(self, *, all_of_it: bool = False) -> Iterator[Utterance]:
        self._collect()
        while self._held and (all_of_it or self._heard_ms > self._held[0].end_ms + MERGE_MS + TAIL_MS):
            yield self._utterance(self._held.pop(0))

    def finish(self) -> Iterator[Utterance]:
        self._cutter.finish()
        yield from self.ready(all_of_it=True)

    def _collect(self) -> None:
        if self._cutter.taken_back is not None:
            self._held.remove(self._cutter.taken_back)
            self._cutter.taken_back = None
        while (cut := self._cutter.next_cut()) is not None:
            self._held.append(cut)

    def _utterance(self, cut: Cut) -> Utterance:
        first, end = ((ms - self._base_ms) * 2 * _WIDE_PER_MS for ms in (cut.start_ms, cut.end_ms))
        wide = np.frombuffer(bytes(self._wide[max(0, first) : end]), "<i2").astype(np.float32) / 32768
        peak = float(np.abs(wide).max(initial=0.0))
        gain = min(_MOST_GAIN, _TARGET / peak) if 0 < peak < _TARGET else 1.0
        mulaw = cut.audio if gain == 1.0 else audio.from_float(audio.to_float(cut.audio) * np.float32(gain))
        pcm = (np.clip(wide * gain, -1, 1) * 32767).astype("<i2").tobytes()
        return Utterance(self._number, cut.start_ms, cut.end_ms, pcm, mulaw)


class _Detector:
    """Silero over all channels at once, a window of each at a time; they have the same length."""

    def __init__(self, vad: SileroVad, channels: int) -> None:
        self._vad = vad
        self._state: Floats = np.stack([vad.awake] * channels, axis=1)  # [2, channels, 128]
        self._gates = [SpeechGate() for _ in range(channels)]
        self._quiet = [Quiet() for _ in range(channels)]
        self._rest: NDArray[np.float32] = np.zeros((channels, CONTEXT), dtype=np.float32)

    def feed(self, mulaw: list[bytes]) -> Iterator[tuple[int, SpeechEvent]]:
        sound = np.concatenate([self._rest, np.stack([audio.to_float(part) for part in mulaw])], axis=1)
        start = 0
        while start + CONTEXT + WINDOW_SAMPLES <= sound.shape[1]:
            rows = np.ascontiguousarray(sound[:, start : start + CONTEXT + WINDOW_SAMPLES])
            probabilities, state = self._vad.infer(rows, self._state)
            self._state = np.array(state)
            levels = levels_db(rows[:, CONTEXT:]).tolist()
            for number, (probability, level) in enumerate(zip(probabilities.tolist(), levels, strict=True)):
                if self._quiet[number].passed(probability):
                    self._state[:, number] = self._vad.awake
                event = self._gates[number].feed(probability, level)
                if event is not None:
                    yield number, event
            start += WINDOW_SAMPLES
        self._rest = sound[:, start:]
