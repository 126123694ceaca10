"""Two seconds of sung vowels, made of sines (pure): what the voice activity network hears before it hears a call.

Silero's network is recurrent and has two habits that cost first words (measured by `bench/vad_threshold.py`, and
reported by others: snakers4/silero-vad issues 538 and 725). From its zero state it is hard of hearing: one word after
silence stays under any useful threshold. And after some tens of seconds of words and silence it can lock up, deaf
until something very clear comes. A state that has just heard a voice and then quiet has neither habit, so calls begin
with that state and go back to it whenever they have been quiet for a while. Any voice will do; this one needs no data.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000

# Formants of a, e, i, o, u in Hz (a textbook male voice) with one bandwidth each; they only have to sound like speech.
_FORMANTS: Final = ((700, 1220, 2600), (480, 1800, 2500), (300, 2200, 2950), (480, 900, 2400), (320, 800, 2250))
_WIDTHS: Final = (80.0, 100.0, 140.0)
_VOICES: Final = ((120.0, (3, 2, 0, 4, 1)), (220.0, (0, 1, 2, 3, 4)))  # pitch in Hz, vowels
_LEVEL: Final = 0.025  # about -32 dBFS: the voice of a soft caller, so that soft callers are heard


def vowels() -> NDArray[np.float32]:
    """Two voices, five vowels each, then half a second of almost silence: float32 at 8 kHz."""
    parts: list[NDArray[np.float64]] = []
    for pitch, sequence in _VOICES:
        for vowel in sequence:
            parts += [_vowel(pitch, _FORMANTS[vowel]), np.zeros(RATE // 20)]
        parts.append(np.zeros(RATE // 4))
    parts.append(np.zeros(RATE // 4))
    sound = np.concatenate(parts)
    hiss = np.random.default_rng(1).normal(0.0, 10 ** (-75 / 20), len(sound))
    level = float(np.sqrt(np.mean(np.square(sound[sound != 0.0]))))
    return (sound * (_LEVEL / level) + hiss).astype(np.float32)


def _vowel(pitch: float, formants: tuple[int, ...]) -> NDArray[np.float64]:
    """160 ms: the harmonics of a slightly falling pitch, each as loud as the formants let it through."""
    n = RATE * 160 // 1000
    time = np.arange(n) / RATE
    phase = 2 * np.pi * np.cumsum(pitch * np.linspace(1.08, 0.95, n)) / RATE
    sound = np.zeros(n)
    for harmonic in range(1, int(RATE / 2 / (pitch * 1.08))):
        frequency = pitch * harmonic
        through = sum(1.0 / (1.0 + ((frequency - f) / w) ** 2) for f, w in zip(formants, _WIDTHS, strict=True))
        sound += through / harmonic * np.sin(harmonic * phase)
    return sound * np.minimum(1.0, np.minimum(time, time[::-1]) / 0.025)
