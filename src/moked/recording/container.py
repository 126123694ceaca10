"""How a part lies in its file or object (pure): sealed chunks of one second, one after the other, no header.

    chunk n = sealed(frames n * 8000 .. )    all of 16,000 bytes when open, but for the last of a part that was closed

A second can be opened without the others, an index says where it is, and a killed process leaves whole seconds. The
chunk's context binds it to its recording, stream and place: chunks cannot be swapped. A WAV of 16-bit PCM is what every
browser plays, so mu-law is widened when it is read.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS, SILENCE, to_float, to_pcm16

CHANNELS: Final = 2
OVERHEAD: Final = 30
"""What sealing adds (`crm.sealed.OVERHEAD`)."""
CHUNK: Final = SAMPLE_RATE * CHANNELS
"""Plain bytes of a whole chunk."""
SEALED: Final = CHUNK + OVERHEAD
WAV_HEADER: Final = 44
FRAME: Final = 2 * CHANNELS
"""Bytes of a WAV's frame: 16 bits a channel."""
PEAK_MS: Final = 100
_PEAK: Final = PEAK_MS * SAMPLES_PER_MS


def context(token: str, stream: int, chunk: int) -> str:
    return f"{token}:{stream}:{chunk}"


def samples(size: int) -> int:
    """Call samples in a part of `size` sealed bytes; the rest of a chunk that was being written does not count."""
    whole, rest = divmod(size, SEALED)
    return whole * SAMPLE_RATE + max(0, rest - OVERHEAD) // CHANNELS


def wav_header(total: int) -> bytes:
    """Of `total` call samples."""
    data = total * FRAME
    fields = (1, CHANNELS, SAMPLE_RATE, SAMPLE_RATE * FRAME, FRAME, 16)
    return (
        struct.pack("<4sI4s", b"RIFF", 36 + data, b"WAVE")
        + struct.pack("<4sIHHIIHH", b"fmt ", 16, *fields)
        + struct.pack("<4sI", b"data", data)
    )


def wav_size(total: int) -> int:
    return WAV_HEADER + total * FRAME


def widen(frames: bytes) -> bytes:
    """Interleaved mu-law frames as a WAV's."""
    return to_pcm16(frames)


@dataclass(frozen=True, slots=True)
class Silence:
    """What of one side nobody may hear, in call samples: 0 is the caller, 1 the agent."""

    channel: int
    start: int
    end: int


def silenced(frames: bytes, at: int, silences: Sequence[Silence]) -> bytes:
    """`frames`, whose first is call sample `at`, with the silences in them."""
    changed: bytearray | None = None
    length = len(frames) // CHANNELS
    for one in silences:
        first, last = max(0, one.start - at), min(length, one.end - at)
        if first < last:
            changed = bytearray(frames) if changed is None else changed
            changed[first * CHANNELS + one.channel : last * CHANNELS : CHANNELS] = SILENCE * (last - first)
    return frames if changed is None else bytes(changed)


def peaks(frames: bytes) -> bytes:
    """The loudest of each 100 ms, 0..255, caller and agent in turn; what is left at the end counts as one."""
    loud = np.abs(to_float(frames)).reshape(-1, CHANNELS)
    missing = -len(loud) % _PEAK
    loud = np.pad(loud, ((0, missing), (0, 0)))
    highest = loud.reshape(-1, _PEAK, CHANNELS).max(axis=1)
    return bytes(np.minimum(255, np.rint(highest * 255)).astype(np.uint8).tobytes())


def resampled(channel: Sequence[int], points: int) -> list[float]:
    """`channel` (0..255) as so many values of 0..1, each the loudest of its stretch."""
    values = np.asarray(channel, dtype=np.float64) / 255
    if not len(values) or points <= 0:
        return [0.0] * max(0, points)
    edges = np.linspace(0, len(values), points + 1)
    return [float(values[int(a) : max(int(a) + 1, int(np.ceil(b)))].max()) for a, b in pairwise(edges)]
