"""The last seconds of a call as it came in (pure): raw mu-law and the marks of our own VAD, by sample number.

Every stream of the call reads from here at its own place, so that one can die and the next hear the same again.
`head` is the number of samples that came so far; what is older than `seconds` is forgotten and reads as silence.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from moked.audio import FRAME_BYTES, SAMPLE_RATE, SAMPLES_PER_MS, SILENCE

_QUIET = bytes(sample for sample in range(256) if sample & 0x7F >= 0x60)  # below about 1 % of full scale
_SOUND_FRAMES = 4  # what is audible for less is a click


@dataclass(frozen=True, slots=True)
class Mark:
    """Speech begins or ends at `at_ms`. It was known when `known` samples had come: VAD is always a little late."""

    begins: bool
    at_ms: int
    known: int


class Tape:
    def __init__(self, seconds: int = 35) -> None:
        self._size = seconds * SAMPLE_RATE
        self._ring = bytearray(SILENCE * self._size)
        self._marks: deque[Mark] = deque()
        self.first_mark = 0  # the number of the oldest mark that is still known
        self.head = 0
        self.speaking = False

    @property
    def head_ms(self) -> int:
        return self.head // SAMPLES_PER_MS

    @property
    def tail(self) -> int:
        """The first sample that is still known."""
        return max(0, self.head - self._size)

    def append(self, audio: bytes) -> None:
        at = self.head % self._size
        end = at + len(audio)
        if end <= self._size:
            self._ring[at:end] = audio
            self.head += len(audio)
        else:
            room = self._size - at
            self._ring[at:] = audio[:room]
            self.head += room
            self.append(audio[room:])

    def mark(self, begins: bool, at_ms: int) -> None:
        """The VAD says so now. A mark that says nothing new is ignored."""
        if begins is self.speaking:
            return
        self.speaking = begins
        at_ms = min(max(at_ms, 0), self.head_ms)
        self._marks.append(Mark(begins, at_ms, self.head))
        while len(self._marks) > 2 and self._marks[1].known < self.tail:  # a whole stretch of forgotten audio
            del self._marks[0], self._marks[0]
            self.first_mark += 2

    def read(self, start: int, limit: int) -> bytes:
        """At most `limit` bytes from sample `start`; silence for what is forgotten."""
        end = min(start + limit, self.head)
        if start >= end:
            return b""
        known = max(start, min(self.tail, end))
        at, length = known % self._size, end - known
        part = bytes(self._ring[at : at + length])
        if len(part) < length:
            part += self._ring[: length - len(part)]
        return SILENCE * (known - start) + part

    # --- marks --------------------------------------------------------------------------------------------------------

    def marks_from(self, origin_ms: int) -> tuple[bool, int]:
        """For a stream from `origin_ms`: whether the caller is in mid-speech there, and its first mark after that."""
        speaking = False
        number = self.first_mark
        for mark in self._marks:
            if mark.at_ms > origin_ms or (mark.begins and mark.at_ms == origin_ms):
                break
            speaking = mark.begins
            number += 1
        return speaking, number

    def mark_number(self, number: int) -> Mark | None:
        """Marks count from 0 over the whole call. None while it has not come."""
        index = max(number, self.first_mark) - self.first_mark
        return self._marks[index] if index < len(self._marks) else None

    def spans(self) -> Iterator[tuple[int, int]]:
        """Stretches of speech, oldest first, as (start_ms, end_ms); the last may still go on and ends at the head."""
        start: int | None = None
        for mark in self._marks:
            if mark.begins:
                start = mark.at_ms
            elif start is not None:
                yield start, mark.at_ms
                start = None
        if start is not None:
            yield start, self.head_ms

    def voiced(self, from_ms: int) -> int:
        """Milliseconds of speech since `from_ms`."""
        return sum(end - max(start, from_ms) for start, end in self.spans() if end > from_ms)

    def speech_after(self, at_ms: int) -> int | None:
        """Where the first speech after `at_ms` begins (not before `at_ms`), as far back as the audio is known."""
        known_ms = max(at_ms, self.tail // SAMPLES_PER_MS)
        return next((max(start, known_ms) for start, end in self.spans() if end > known_ms), None)

    def sound_after(self, at_ms: int) -> int | None:
        """Where the first audible sound after `at_ms` begins that the VAD has not judged yet; None where all is quiet.

        For the moments when the VAD is late: no judgement is a judgement about what was said.
        """
        if self.speaking:
            return None  # judged, to the head
        judged_ms = self._marks[-1].at_ms if self._marks else 0
        at = max(at_ms, judged_ms, self.tail // SAMPLES_PER_MS) * SAMPLES_PER_MS
        frames, first = 0, 0
        while at + FRAME_BYTES <= self.head:
            if len(self.read(at, FRAME_BYTES).translate(None, _QUIET)) > FRAME_BYTES // 4:
                first = first if frames else at // SAMPLES_PER_MS
                frames += 1
                if frames == _SOUND_FRAMES:
                    return first
            at += FRAME_BYTES
        return None

    def last_speech_end(self) -> int | None:
        """The end of the latest stretch of speech; the head while it goes on."""
        return max((end for _, end in self.spans()), default=None)
