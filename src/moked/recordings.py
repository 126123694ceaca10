"""Recordings of any format, read a piece at a time: an hour takes as much memory as a minute; and voice notes, made.

The only file that imports PyAV. One channel is one speaker, two are two speakers; more are mixed into one. Damaged
packets are passed over and counted, gaps in the time stamps of a file are silence (so that times stay those a player
shows), and everything that cannot be read is a `RecordingError` that says what to do.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray

from moked.audio import SAMPLE_RATE, from_pcm16, to_pcm16
from moked.errors import RecordingError

OWN_CALL: Final = "Moked call: caller left, agent right"
"""The comment in the WAV that `moked call --save` writes."""

EXTENSIONS: Final = frozenset(
    {
        ".3gp", ".aac", ".ac3", ".aif", ".aiff", ".amr", ".au", ".avi", ".awb", ".caf", ".flac", ".gsm", ".m4a",
        ".m4b", ".mka", ".mkv", ".mov", ".mp2", ".mp3", ".mp4", ".mpga", ".oga", ".ogg", ".opus", ".ra", ".snd",
        ".spx", ".w64", ".wav", ".wave", ".weba", ".webm", ".wma",
    }
)  # fmt: skip
"""What is taken for a recording in a folder. A file that is named itself may have any name."""

_LOWEST_RATE: Final = 4000
_HIGHEST_RATE: Final = 384_000
_BLOCK_S: Final = 0.5
_GAP_MS: Final = 200  # less is the rounding of time stamps
_SAME: Final = 0.001  # of the energy: two channels that differ less hold the same

_OPUS_RATE: Final = 48_000
_OPUS: Final = {"application": "voip", "vbr": "on", "frame_duration": "20"}
_OPUS_BIT_RATE: Final = 24_000

Samples = NDArray[np.int16]


class Recording:
    """An open file. `channels` is what `blocks` gives: 1, or 2 where there are two speakers."""

    def __init__(self, path: Path, container: Any, stream: Any, *, mix: bool) -> None:
        self.path = path
        self.rate = int(stream.rate or 0)
        self.tracks = int(stream.codec_context.layout.nb_channels)
        self.channels = 2 if self.tracks == 2 and not mix else 1
        self.duration_ms = _duration_ms(container, stream)  # as the file says; None where it does not
        self.own_call = container.metadata.get("comment", "") == OWN_CALL
        self.damaged = 0  # packets passed over, so far
        self._container = container
        self._stream = stream

    def blocks(self, rate: int, *, gaps: bool = True) -> Iterator[Samples]:
        """All of it from the start, half a second at a time: 16-bit [channels, samples] at `rate`.

        Without `gaps` those in the time stamps are left out. Can be iterated once; raises `RecordingError` where
        there is no sound at all.
        """
        size = int(rate * _BLOCK_S)
        waiting: list[Samples] = []
        held = total = 0
        for piece in self._pieces(rate, gaps):
            waiting.append(piece)
            held += piece.shape[1]
            total += piece.shape[1]
            if held >= size:
                block = np.concatenate(waiting, axis=1)
                whole = held - held % size
                for start in range(0, whole, size):
                    yield block[:, start : start + size]
                waiting, held = [block[:, whole:]], held - whole
        if held:
            yield np.concatenate(waiting, axis=1)
        if not total:
            reason = "all of it is damaged" if self.damaged else "its length is zero"
            raise RecordingError(f"{self.path}: there is no sound in this file: {reason}. Record or export it again")

    def _pieces(self, rate: int, gaps: bool) -> Iterator[Samples]:
        layout = "stereo" if self.channels == 2 else "mono"
        resampler: Any = None
        form: Any = None
        heard_ms = 0.0
        for frame in self._frames():
            if form != (frame.format.name, frame.layout.name, frame.sample_rate):  # some codecs change on the way
                if resampler is not None:
                    yield from map(_samples, resampler.resample(None))
                form = (frame.format.name, frame.layout.name, frame.sample_rate)
                resampler = av.AudioResampler(format="s16p", layout=layout, rate=rate)
            gap_ms = self._gap_ms(frame, heard_ms) if gaps else 0.0
            frame.pts = None  # the resampler would fill or drop by itself
            while gap_ms > 0:
                hush = min(gap_ms, _BLOCK_S * 1000)
                yield np.zeros((self.channels, round(hush * rate / 1000)), dtype=np.int16)
                gap_ms -= hush
                heard_ms += hush
            heard_ms += frame.samples * 1000 / frame.sample_rate
            yield from map(_samples, resampler.resample(frame))
        if resampler is not None:
            yield from map(_samples, resampler.resample(None))

    def _frames(self) -> Iterator[Any]:
        """Decoded frames. One broken packet does not take the rest with it."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except (OSError, ValueError):  # PyAV's errors are of both kinds
                self.damaged += 1
                if self.damaged > 1000:  # a demuxer that is stuck says the same for ever
                    return
                continue
            yield from frames

    def _gap_ms(self, frame: Any, heard_ms: float) -> float:
        """How much silence belongs before this frame, never beyond the length the file says it has."""
        if frame.pts is None or frame.time_base is None or self.duration_ms is None:
            return 0.0
        begin = (self._container.start_time or 0) / 1000
        gap = float(frame.pts * frame.time_base) * 1000 - begin - heard_ms
        return gap if gap > _GAP_MS and heard_ms + gap <= self.duration_ms else 0.0


def _samples(frame: Any) -> Samples:
    found: Samples = frame.to_ndarray()
    return found


def _duration_ms(container: Any, stream: Any) -> int | None:
    if container.duration:
        return int(container.duration // 1000)
    if stream.duration and stream.time_base:
        return int(stream.duration * stream.time_base * 1000)
    return None


@contextmanager
def open_recording(path: Path, *, mix: bool = False) -> Iterator[Recording]:
    """The first audio track of a file. With `mix` two channels become one speaker too. Raises `RecordingError`."""
    container = _open(path)
    try:
        yield _checked(path, container, mix=mix)
    finally:
        container.close()


def _checked(path: Path, container: Any, *, mix: bool) -> Recording:
    if not container.streams.audio:
        raise RecordingError(f"{path}: there is no audio in this file. Is it the right one?")
    stream = container.streams.audio[0]
    recording = Recording(path, container, stream, mix=mix)
    if not _LOWEST_RATE <= recording.rate <= _HIGHEST_RATE:
        raise RecordingError(
            f"{path}: a sample rate of {recording.rate} Hz cannot be right ({_LOWEST_RATE} to {_HIGHEST_RATE} can)."
            " Record or export it again, at 16000 Hz for example"
        )
    if recording.tracks < 1:
        raise RecordingError(f"{path}: there is no audio channel in this file. Record or export it again")
    return recording


def _open(path: Path) -> Any:
    try:
        if path.is_dir():
            raise RecordingError(f"{path}: this is a folder, not a recording")
        if not path.exists():
            raise RecordingError(f"{path}: there is no such file. Check the path")
        if not path.is_file():
            raise RecordingError(f"{path}: this is not a regular file. Save the audio to a file first")
        if path.stat().st_size == 0:
            raise RecordingError(f"{path}: this file is empty (0 bytes). Record or copy it again")
        return av.open(str(path))
    except PermissionError:
        raise RecordingError(f"{path}: no permission to read it. Give this user the right to read the file") from None
    except (OSError, ValueError, av.FFmpegError) as error:
        raise RecordingError(
            f"{path}: cannot be read as audio ({getattr(error, 'strerror', None) or error})."
            " If it plays elsewhere, export it as WAV, MP3, OGG, FLAC or M4A"
        ) from error


def same_on_both(path: Path) -> bool:
    """Whether the two channels of a file hold the same sound, as one microphone saved in stereo does.

    Reads only as far as the first half second that differs. False for any other number of channels.
    """
    with open_recording(path) as recording:
        if recording.channels != 2:
            return False
        for block in recording.blocks(SAMPLE_RATE):
            left, right = block.astype(np.float32)
            apart, loud = float(np.square(left - right).sum()), float(np.square(block.astype(np.float32)).sum())
            if apart > _SAME * loud + left.size:  # one step of 16 bits is the rounding
                return False
    return True


def load(path: Path) -> bytes:
    """A whole recording as mu-law, 8 kHz, mono. For short ones. Raises `RecordingError`."""
    with open_recording(path, mix=True) as recording:
        return from_pcm16(b"".join(block.tobytes() for block in recording.blocks(SAMPLE_RATE, gaps=False)))


def from_memory(data: bytes, name: str) -> bytes:
    """The same of the bytes of a file; `name` is for the error."""
    path = Path(name)
    try:
        container = av.open(BytesIO(data))
    except (OSError, ValueError) as error:
        raise RecordingError(f"{name}: cannot be read as audio ({error})") from error
    with container:
        blocks = _checked(path, container, mix=True).blocks(SAMPLE_RATE, gaps=False)
        return from_pcm16(b"".join(block.tobytes() for block in blocks))


def to_ogg_opus(mulaw: bytes) -> bytes:
    """Mu-law as an Ogg file with Opus, mono, of some 3 KB a second of speech: what WhatsApp takes for a voice note."""
    file = BytesIO()
    with av.open(file, "w", format="ogg") as container:
        stream = container.add_stream("libopus", rate=_OPUS_RATE, layout="mono", options=dict(_OPUS))
        stream.bit_rate = _OPUS_BIT_RATE
        resampler = av.AudioResampler(format="s16", layout="mono", rate=_OPUS_RATE)
        samples = np.frombuffer(to_pcm16(mulaw), dtype="<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for piece in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()
