"""A WAV file in memory (pure): what browsers play, of the audio that calls have."""

import struct

import numpy as np

from moked.audio import to_float


def of_ulaw(audio: bytes, rate: int) -> bytes:
    """Mu-law samples as a mono file of 16-bit PCM. `rate` in Hz."""
    samples = np.clip(to_float(audio) * 32767, -32768, 32767).astype("<i2").tobytes()
    return header(len(samples), rate, 1) + samples


def header(size: int, rate: int, channels: int) -> bytes:
    """Of 16-bit PCM; `size` in bytes, of the samples."""
    frame = 2 * channels
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, channels, rate, rate * frame, frame, 16, b"data", size,
    )  # fmt: skip
