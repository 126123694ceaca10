"""Words written into telephone audio, so that an emulated recognizer can hear exactly what was said.

A word is a burst of tones, 10 ms each: START, two tones a letter (six bits), a check sum, END. Words of up to eight
letters last `WORD_MS`; longer ones longer. Whoever hears a burst from its first to its last sample knows the word and
its place; whoever hears a part of it knows nothing. That is what proofs of "no word lost, none doubled" need: the words
travel in the audio itself, through any replay, rotation or failover.

    START | l0 l0 | l1 l1 | ... | l7 l7 | sum sum | END
"""

import audioop
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

RATE: Final = 8000
SLOT: Final = 80  # samples: 10 ms
LETTERS: Final = 8  # a word is padded to this
WORD_MS: Final = (2 + 2 * LETTERS + 2) * 10
MAX_LETTERS: Final = 24

_ALPHABET: Final = "\0" + "אבגדהוזחטיךכלםמןנסעףפץצקרשת" + "0123456789" + "abcdefghijklmnopqrstuvwxyz"
_START, _END = 8, 9
_TONES: Final = [500 + 300 * number for number in range(10)]
_KEEP: Final = slice(16, 64)  # the middle of a slot: 2 ms of tolerance on either side
_LEVEL: Final = (np.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), dtype="<i2") / 32768.0).astype(np.float32)
_LOUD: Final = np.abs(_LEVEL) > 0.06
_STEP: Final = 20  # samples to move on where no burst begins


def _tone(hertz: int) -> bytes:
    wave = 0.5 * np.cos(2 * np.pi * hertz * np.arange(SLOT) / RATE)
    return audioop.lin2ulaw((wave * 32767).astype("<i2").tobytes(), 2)


_SOUNDS: Final = [_tone(hertz) for hertz in _TONES]
_EARS: Final = np.exp(-2j * np.pi * np.outer(np.arange(SLOT)[_KEEP], _TONES) / RATE).astype(np.complex64)


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word and its place, in samples of the audio given to the decoder."""

    text: str
    start: int
    end: int


def _check(codes: Sequence[int]) -> int:
    total = 17
    for code in codes:
        total = (total * 31 + code + 1) % 61
    return total


def encode_word(word: str) -> bytes:
    """One word as mu-law. Letters: Hebrew without points, digits, lower-case Latin; at most `MAX_LETTERS`."""
    if not 1 <= len(word) <= MAX_LETTERS or any(letter not in _ALPHABET[1:] for letter in word):
        raise ValueError(f"the word codec has no code for {word!r}")
    codes = [_ALPHABET.index(letter) for letter in word.ljust(LETTERS, "\0")]
    codes.append(_check(codes))
    tones = [_START, *(tone for code in codes for tone in divmod(code, 8)), _END]
    return b"".join(_SOUNDS[tone] for tone in tones)


def encode_words(words: Sequence[str], gap_ms: int = 100, *, lead_ms: int = 0, tail_ms: int = 0) -> bytes:
    """Words with `gap_ms` of silence between them, as mu-law at 8 kHz."""
    gap = b"\xff" * (gap_ms * 8)
    return b"\xff" * (lead_ms * 8) + gap.join(encode_word(word) for word in words) + b"\xff" * (tail_ms * 8)


def word_times(words: Sequence[str], gap_ms: int = 100, *, lead_ms: int = 0) -> list[tuple[int, int, str]]:
    """Where `encode_words` puts each word: (start_ms, end_ms, word)."""
    times, at = [], lead_ms
    for word in words:
        end = at + (4 + 2 * max(LETTERS, len(word))) * 10
        times.append((at, end, word))
        at = end + gap_ms
    return times


def numbered(count: int, first: int = 0) -> list[str]:
    """Distinct words for counting: מילה0, מילה1, ..."""
    return [f"מילה{number}" for number in range(first, first + count)]


class WordDecoder:
    """Give it audio as it comes; it returns the words that became complete."""

    def __init__(self) -> None:
        self._audio = bytearray()
        self._base = 0  # place of the first byte kept

    def hear(self, mulaw: bytes) -> list[HeardWord]:
        self._audio += mulaw
        sound = np.frombuffer(bytes(self._audio), dtype=np.uint8)
        loud = _LOUD[sound]
        at, words = 0, []
        while True:
            quiet = int(loud[at:].argmax()) if at < len(loud) else 0
            if at >= len(loud) or not loud[at + quiet]:
                at = len(loud)
                break
            at += quiet
            if len(loud) - at < SLOT:
                break
            tones = self._tones(sound[at:])
            if tones[0] != _START:
                at += _STEP
                continue
            if _END not in tones[: 4 + 2 * MAX_LETTERS]:
                if len(tones) < 4 + 2 * MAX_LETTERS and -1 not in tones:
                    break  # the rest is on its way
                at += _STEP
                continue
            last = tones.index(_END)
            text = _read(tones[1:last])
            if text is None:
                at += _STEP
                continue
            end = at + (last + 1) * SLOT
            words.append(HeardWord(text, self._base + at, self._base + end))
            at = end
        del self._audio[:at]
        self._base += at
        return words

    @staticmethod
    def _tones(sound: NDArray[np.uint8]) -> list[int]:
        """The tone in each whole slot; -1 where there is no clear one."""
        slots = min(len(sound) // SLOT, 4 + 2 * MAX_LETTERS)
        heard = _LEVEL[sound[: slots * SLOT]].reshape(slots, SLOT)[:, _KEEP]
        power = np.abs(heard @ _EARS) ** 2
        best = power.argmax(axis=1)
        energy = (heard**2).sum(axis=1) * (heard.shape[1] / 2)
        clear = (power[np.arange(slots), best] > 0.7 * energy) & (energy > 1.0)
        return [int(tone) if ok else -1 for tone, ok in zip(best, clear, strict=True)]


def _read(tones: Sequence[int]) -> str | None:
    if len(tones) < 2 * LETTERS + 2 or len(tones) % 2 or not all(0 <= tone < 8 for tone in tones):
        return None
    codes = [high * 8 + low for high, low in zip(tones[::2], tones[1::2], strict=True)]
    *letters, check = codes
    if _check(letters) != check:
        return None
    return "".join(_ALPHABET[code] for code in letters).rstrip("\0") or None
