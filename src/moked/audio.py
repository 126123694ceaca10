"""Telephone audio (pure): mu-law 8 kHz mono as the carrier sends it, and the conversions the parts need.

One byte is one sample; `SAMPLES_PER_MS` bytes are a millisecond. 0xFF is mu-law silence (ITU-T G.711).
"""

import audioop
from typing import Final

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 8000
SAMPLES_PER_MS: Final = 8
FRAME_MS: Final = 20
FRAME_BYTES: Final = FRAME_MS * SAMPLES_PER_MS
SILENCE: Final = b"\xff"

_FLOAT: Final[NDArray[np.float32]] = (
    np.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), dtype="<i2").astype(np.float32) / 32768.0
)


def silence(ms: int) -> bytes:
    """`ms` of mu-law silence."""
    return SILENCE * (ms * SAMPLES_PER_MS)


def ms(audio: bytes) -> int:
    """Length of mu-law audio in whole milliseconds."""
    return len(audio) // SAMPLES_PER_MS


def to_float(mulaw: bytes) -> NDArray[np.float32]:
    """Mu-law to float32 in -1..1 at 8 kHz."""
    return _FLOAT[np.frombuffer(mulaw, dtype=np.uint8)]


def to_pcm16(mulaw: bytes) -> bytes:
    """Mu-law to little-endian signed 16-bit at 8 kHz."""
    return audioop.ulaw2lin(mulaw, 2)


def from_pcm16(pcm: bytes) -> bytes:
    """Little-endian signed 16-bit at 8 kHz to mu-law."""
    return audioop.lin2ulaw(pcm, 2)


def from_float(samples: NDArray[np.float32]) -> bytes:
    """Float32 in -1..1 at 8 kHz to mu-law; louder is clipped."""
    return audioop.lin2ulaw((np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes(), 2)


def rms(mulaw: bytes) -> int:
    """Root mean square on the 16-bit scale; 0 for no audio."""
    return audioop.rms(audioop.ulaw2lin(mulaw, 2), 2) if mulaw else 0
