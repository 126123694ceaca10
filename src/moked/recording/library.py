"""Recordings to be heard: found, opened second by second, put on the call's line of time, widened to a WAV.

A part that another process recorded begins where it began; what lies between two parts is silence, and where they
overlap the later stream is right. Silences hold from the moment they are on record, whether or not the stored audio has
them yet. Nothing decrypted is written anywhere.
"""

from collections.abc import Callable, Mapping

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS, SILENCE
from moked.crm.recordings import Found, Part, Recordings
from moked.crm.recordings_port import Recorded
from moked.crm.sealed import Sealer
from moked.errors import SealError
from moked.recording import container
from moked.recording.container import CHANNELS, CHUNK, FRAME, SEALED, WAV_HEADER, Silence
from moked.recording.store import DiskStore, Store


class Library:
    """`crm.recordings_port.RecordingSource` on the rows and the stores; `live` has what is still written."""

    def __init__(self, rows: Recordings, live: DiskStore, disk: DiskStore, others: tuple[Store, ...] = ()) -> None:
        self._rows = rows
        self._live = live
        self._stores: Mapping[str, Store] = {store.name: store for store in (disk, *others)}

    def find(self, business_id: int, call_sid: str) -> Recorded | None:
        found = self._rows.find(business_id, call_sid)
        return None if found is None else self.open(found)

    def open(self, found: Found) -> "SealedRecording | None":
        """None where none of its parts is within reach."""
        parts = [(part, self._samples(part)) for part in found.parts if part.place in self._stores]
        heard = tuple((part, length) for part, length in parts if length)
        return SealedRecording(found, heard, self._read) if heard else None

    def _samples(self, part: Part) -> int:
        if part.samples is not None and part.place != "disk":
            return part.samples
        size = self._live.size(part.name) or self._stores[part.place].size(part.name)
        return container.samples(size)

    def _read(self, part: Part, start: int, length: int) -> bytes:
        if part.place == "disk" and (found := self._live.read(part.name, start, length)):
            return found
        return self._stores[part.place].read(part.name, start, length)


class SealedRecording:
    """`recordings_port.Recorded`. `parts` with the samples they have, by stream."""

    channels = CHANNELS
    sample_rate = SAMPLE_RATE

    def __init__(
        self, found: Found, parts: tuple[tuple[Part, int], ...], read: Callable[[Part, int, int], bytes]
    ) -> None:
        self._parts = parts
        self._read = read
        self._sealer = Sealer(found.key)
        self._silences = tuple(Silence(c, a * SAMPLES_PER_MS, b * SAMPLES_PER_MS) for c, a, b in found.silences)
        self._total = max(part.at + length for part, length in parts)

    @property
    def duration_ms(self) -> int:
        return self._total // SAMPLES_PER_MS

    @property
    def size(self) -> int:
        return container.wav_size(self._total)

    def read(self, start: int, length: int) -> bytes:
        end = min(self.size, start + length)
        if start < 0 or start >= end:
            return b""
        head = container.wav_header(self._total)[start:end] if start < WAV_HEADER else b""
        first, last = max(0, start - WAV_HEADER), max(0, end - WAV_HEADER)
        if first >= last:
            return head
        frames = self.frames(first // FRAME, -(-last // FRAME))
        offset = first % FRAME
        return head + container.widen(frames)[offset : offset + last - first]

    def frames(self, start: int, end: int) -> bytes:
        """Interleaved mu-law of the call samples [start, end)."""
        out = bytearray(SILENCE * ((end - start) * CHANNELS))
        for part, length in self._parts:
            first, last = max(start, part.at), min(end, part.at + length)
            if first < last:
                piece = self._opened(part, first - part.at, last - part.at)
                at = (first - start) * CHANNELS
                out[at : at + len(piece)] = piece
        return container.silenced(bytes(out), start, self._silences)

    def peaks(self, points: int) -> tuple[list[float], list[float]]:
        """From the stored peaks; a part that has none yet is measured."""
        step = container.PEAK_MS * SAMPLES_PER_MS
        line = bytearray(CHANNELS * -(-self._total // step))
        for part, length in self._parts:
            found = part.peaks if part.peaks is not None else container.peaks(self._opened(part, 0, length))
            at = CHANNELS * (part.at // step)
            found = found[: max(0, len(line) - at)]
            line[at : at + len(found)] = found
        for one in self._silences:
            first, last = one.start // step, -(-one.end // step)
            for at in range(first * CHANNELS + one.channel, min(len(line), last * CHANNELS), CHANNELS):
                line[at] = 0
        return container.resampled(line[0::2], points), container.resampled(line[1::2], points)

    def _opened(self, part: Part, start: int, end: int) -> bytes:
        """Frames of a part, by its own samples. A chunk that does not open is silence: a second that was being written
        when its process was killed."""
        first, last = start * CHANNELS // CHUNK, -(-end * CHANNELS // CHUNK)
        sealed = self._read(part, first * SEALED, (last - first) * SEALED)
        plain = bytearray()
        for number in range(first, last):
            chunk = sealed[(number - first) * SEALED : (number - first + 1) * SEALED]
            try:
                plain += self._sealer.open(chunk, container.context(part.token, part.stream, number))
            except SealError:
                break
        skip = start * CHANNELS - first * CHUNK
        wanted = (end - start) * CHANNELS
        piece = bytes(plain[skip : skip + wanted])
        return piece + SILENCE * (wanted - len(piece))
