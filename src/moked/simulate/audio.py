"""The call's audio out: a stereo WAV of what was said and heard."""

import audioop
import struct
import wave
from collections.abc import Iterable
from pathlib import Path

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS
from moked.recordings import OWN_CALL


def write_wav(path: Path, *, caller: Iterable[tuple[int, bytes]], agent: Iterable[tuple[int, bytes]], ms: int) -> None:
    """Write a call as 16-bit stereo: the caller on the left, what was heard of the agent on the right.

    Both sides are pieces of mu-law with the sample (8 a millisecond) where each begins; pieces do not overlap. `ms` is
    the length of the call; what is later is cut off. A comment in the file says who is where, so that `moked
    transcribe` knows.
    """
    left, right = (_track(pieces, ms) for pieces in (caller, agent))
    stereo = bytearray(2 * len(left))
    view = memoryview(stereo).cast("h")
    view[0::2] = memoryview(left).cast("h")
    view[1::2] = memoryview(right).cast("h")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(2)
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(stereo)
    _comment(path, OWN_CALL)


def _comment(path: Path, text: str) -> None:
    """Append RIFF's INFO list with a comment (ICMT). The length of the whole is the second word of the file."""
    value = text.encode("ascii") + b"\0"
    value += b"\0" * (len(value) % 2)
    body = b"INFO" + struct.pack("<4sI", b"ICMT", len(value)) + value
    with path.open("r+b") as out:
        out.seek(0, 2)
        out.write(struct.pack("<4sI", b"LIST", len(body)) + body)
        size = out.tell() - 8
        out.seek(4)
        out.write(struct.pack("<I", size))


def _track(pieces: Iterable[tuple[int, bytes]], ms: int) -> bytes:
    track = bytearray(2 * ms * SAMPLES_PER_MS)
    for start, mulaw in pieces:
        pcm = audioop.ulaw2lin(mulaw, 2)[: max(0, len(track) - 2 * start)]
        track[2 * start : 2 * start + len(pcm)] = pcm
    return bytes(track)
