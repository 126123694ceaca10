"""The caller's audio in and the call's audio out: any file to mu-law 8 kHz, and a stereo WAV of what was said.

The only file that imports PyAV.
"""

import audioop
import wave
from collections.abc import Iterable
from pathlib import Path

import av

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS
from moked.errors import MokedError


def load(path: Path) -> bytes:
    """The first audio track of a file (WAV, OGG, MP3, ...) as mu-law, 8 kHz, mono.

    Raises `MokedError` when the file is missing, is not audio, or has no sound in it.
    """
    pcm = bytearray()
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise MokedError(f"{path}: there is no audio in this file")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)
            for frame in container.decode(audio=0):
                frame.pts = None  # files with gaps in their time stamps are played without the gaps
                for piece in resampler.resample(frame):
                    pcm += bytes(piece.planes[0])[: piece.samples * 2]
            for piece in resampler.resample(None):
                pcm += bytes(piece.planes[0])[: piece.samples * 2]
    except FileNotFoundError:
        raise MokedError(f"{path}: there is no such file") from None
    except (OSError, ValueError) as error:  # PyAV's errors are of both kinds
        raise MokedError(f"{path}: cannot be read as audio ({error})") from error
    if not pcm:
        raise MokedError(f"{path}: there is no audio in this file")
    return audioop.lin2ulaw(bytes(pcm), 2)


def write_wav(path: Path, *, caller: Iterable[tuple[int, bytes]], agent: Iterable[tuple[int, bytes]], ms: int) -> None:
    """Write a call as 16-bit stereo: the caller on the left, what was heard of the agent on the right.

    Both sides are pieces of mu-law with the sample (8 a millisecond) where each begins; pieces do not overlap. `ms` is
    the length of the call; what is later is cut off.
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


def _track(pieces: Iterable[tuple[int, bytes]], ms: int) -> bytes:
    track = bytearray(2 * ms * SAMPLES_PER_MS)
    for start, mulaw in pieces:
        pcm = audioop.ulaw2lin(mulaw, 2)[: max(0, len(track) - 2 * start)]
        track[2 * start : 2 * start + len(pcm)] = pcm
    return bytes(track)
