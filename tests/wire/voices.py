"""A caller's voice that both ends understand: words that the emulated recognizer reads, over vowels for the real VAD.

`emulators.wordcodec` writes words as tones; Silero takes them for speech only now and then. Vowels sung under and
between them make it sure, and stay weak enough for the decoder.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from emulators.wordcodec import SLOT, encode_words, word_times
from moked import audio
from moked.media.wakeup import vowels

GAP_MS = 60
LEAD_MS, TAIL_MS = 100, 60  # of vowels around the words
_UNDER, _BETWEEN = 0.1, 0.4


def says(sentence: str, *, gap_ms: int = GAP_MS) -> bytes:
    """The sentence as mu-law: its words without punctuation, 200 ms each (longer words last longer)."""
    return _voiced(tuple(words_of(sentence)), gap_ms)


def words_of(sentence: str) -> list[str]:
    return sentence.replace(",", " ").replace(".", " ").replace("?", " ").split()


def times_of(words: Sequence[str], *, gap_ms: int = GAP_MS) -> list[tuple[int, int, str]]:
    """Where each word is in `says`: (start_ms, end_ms, word)."""
    return word_times(words, gap_ms, lead_ms=LEAD_MS)


@lru_cache(maxsize=256)
def _voiced(words: tuple[str, ...], gap_ms: int) -> bytes:
    tones = audio.to_float(encode_words(words, gap_ms, lead_ms=LEAD_MS, tail_ms=TAIL_MS))
    sung = vowels()
    sung = sung[np.abs(sung) > 0.002]  # no pauses: the gaps between words must not look like the end
    sung = np.resize(sung / np.abs(sung).max(), len(tones))
    loud = np.repeat(np.abs(tones).reshape(-1, SLOT).max(axis=1) > 0.01, SLOT)
    return audio.from_float((tones + np.where(loud, _UNDER, _BETWEEN) * sung).astype(np.float32))
