"""One voice made many, at 8 kHz: tempo, pitch, formants, line colour and noise. For teaching and for trying hearing."""

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from moked.audio import SAMPLE_RATE

Floats = NDArray[np.float32]

HIDDEN_VOICE: Final = "jf_tebukuro"
"""The voice of Kokoro that nothing is ever taught with."""

_WINDOW: Final = 240  # 30 ms
_SEEK: Final = 80
_HOP: Final = 80  # 10 ms


def stretch(sound: Floats, tempo: float) -> Floats:
    """At the same pitch, `tempo` times as fast: overlapping windows, each laid where it continues the one before."""
    if abs(tempo - 1) < 0.01:
        return sound
    hop = _WINDOW // 2
    window = np.hanning(_WINDOW + 1)[:_WINDOW].astype(np.float32)
    length = int(len(sound) / tempo)
    out, weight = np.zeros(length + _WINDOW, np.float32), np.zeros(length + _WINDOW, np.float32)
    padded = np.concatenate((np.zeros(_SEEK, np.float32), sound, np.zeros(2 * _WINDOW + _SEEK, np.float32)))
    last: int | None = None
    for place in range(0, length, hop):
        at = int(place * tempo) + _SEEK
        if last is not None:
            wanted = padded[last + hop : last + hop + _WINDOW]
            low = max(0, at - _SEEK)
            around = padded[low : at + _SEEK + _WINDOW]
            if len(wanted) < _WINDOW or len(around) < _WINDOW:
                break
            at = low + int(np.correlate(around, wanted, "valid").argmax())
        piece = padded[at : at + _WINDOW]
        if len(piece) < _WINDOW:
            break
        out[place : place + _WINDOW] += piece * window
        weight[place : place + _WINDOW] += window
        last = at
    stretched: Floats = out[:length] / np.maximum(weight[:length], np.float32(1e-3))
    return stretched


def formants(sound: Floats, factor: float) -> Floats:
    """Played `1/factor` times as fast: pitch and formants move together, as with a larger or smaller throat."""
    if abs(factor - 1) < 0.005:
        return sound
    return soxr.resample(sound, SAMPLE_RATE * factor, SAMPLE_RATE).astype(np.float32)  # type: ignore[no-any-return]


def pitch(sound: Floats, semitones: float) -> Floats:
    """Higher or lower at the same length."""
    ratio = 2 ** (semitones / 12)
    return stretch(formants(sound, ratio), 1 / ratio)


def _levels(sound: Floats) -> Floats:
    hops = len(sound) // _HOP
    rms: Floats = np.sqrt((sound[: hops * _HOP].reshape(hops, _HOP) ** 2).mean(axis=1))
    return rms


def level(sound: Floats) -> float:
    """RMS of the voiced part."""
    levels = _levels(sound)
    voiced = levels[levels > 0.1 * levels.max()]
    return max(1e-6, float(np.sqrt((voiced**2).mean())))


def trim(sound: Floats) -> Floats:
    """Without the silence around it, but for 20 ms."""
    levels = _levels(sound)
    voiced = np.flatnonzero(levels > 0.03 * levels.max())
    return sound[max(0, int(voiced[0]) - 2) * _HOP : (int(voiced[-1]) + 3) * _HOP]


def noisy(sound: Floats, snr_db: float, rng: np.random.Generator, *, low: bool = False) -> Floats:
    """With noise this far below the voice: white, or low as in a car."""
    noise = rng.normal(0, 1, len(sound)).astype(np.float32)
    if low:
        noise = np.convolve(noise, np.ones(8, np.float32) / 8, "same").astype(np.float32)
    noise /= max(1e-9, float(np.sqrt((noise**2).mean())))
    return sound + noise * np.float32(level(sound) * 10 ** (-snr_db / 20))


def colour(sound: Floats, rng: np.random.Generator) -> Floats:
    """Through a random telephone: up to 5 dB up and down over the band, its edges cut."""
    gains = rng.uniform(-5, 5, 8)
    gains[[0, 1, -1]] -= (25, 8, 20)
    spectrum = np.fft.rfft(sound)
    at = np.interp(np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE), (0, 150, 300, 700, 1500, 2500, 3400, 4000), gains)
    return np.fft.irfft(spectrum * 10 ** (at / 20), len(sound)).astype(np.float32)
