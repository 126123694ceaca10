"""Transcripts of recordings and their three written forms (pure): text for people, JSON for programs, SRT for players.

Text is a line an utterance, `[0:01:02] caller: שלום`, and a blank line nowhere. JSON is `Transcript` as it is; its
fields are described there and in docs/howto/transcribe.md. SRT has cues of at most two lines and about seven seconds:
an utterance that is longer is shared out by its letters, since engines of whole utterances tell no times of words. A
line with Hebrew in it begins with a right-to-left mark, so that a player puts its full stop on the left.
"""

import textwrap
from collections.abc import Iterable, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Final

import msgspec

_LINE: Final = 42  # letters in a line of subtitles
_LINES: Final = 2
_CUE_MS: Final = 7000
_RLM: Final = "\u200f"
SCHEMA: Final = 1


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    SRT = "srt"

    @property
    def suffix(self) -> str:
        return ".txt" if self is Format.TEXT else f".{self.value}"


class Segment(msgspec.Struct, frozen=True):
    """What was said without a longer pause. Times from the start of the file; `start_ms` < `end_ms`."""

    start_ms: int
    end_ms: int
    speaker: str | None  # None where there is only one
    text: str
    confidence: float | None  # 0..1, the engine's own; None where it does not say


class Transcript(msgspec.Struct, frozen=True):
    """One recording. `schema` grows when a field changes its meaning, not when one is added."""

    file: str  # the recording's path, as it was given
    duration_ms: int
    engine: str
    model: str
    language: str
    audio: str  # what the engine heard: "wideband" (16 kHz) or "telephone" (8 kHz mu-law)
    speakers: tuple[str, ...]  # empty for one
    segments: tuple[Segment, ...]
    warnings: tuple[str, ...] = ()
    schema: int = SCHEMA


def merged(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """All speakers' segments in the order in which they began to speak; those without words are left out."""
    spoken = [msgspec.structs.replace(one, text=" ".join(one.text.split())) for one in segments]
    return tuple(sorted((one for one in spoken if one.text), key=lambda one: (one.start_ms, one.end_ms)))


def written(transcript: Transcript, form: Format) -> str:
    """The contents of the file, with a newline at its end."""
    match form:
        case Format.TEXT:
            return "".join(f"{text_line(segment)}\n" for segment in transcript.segments)
        case Format.JSON:
            return msgspec.json.format(msgspec.json.encode(transcript), indent=2).decode() + "\n"
        case Format.SRT:
            return srt(transcript.segments)


def text_line(segment: Segment) -> str:
    speaker = f"{segment.speaker}: " if segment.speaker else ""
    return f"[{clock(segment.start_ms)}] {speaker}{segment.text}"


def clock(ms: int) -> str:
    """Hours, minutes and seconds: 3723000 -> '1:02:03'."""
    seconds = ms // 1000
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def srt(segments: Sequence[Segment]) -> str:
    """SubRip: numbered from 1, times with a comma, blank lines between cues and nowhere else."""
    cues = sorted((cue for segment in segments for cue in _cues(segment)), key=lambda cue: cue[:2])
    return "\n".join(
        f"{number}\n{_srt_time(start)} --> {_srt_time(end)}\n{text}\n"
        for number, (start, end, text) in enumerate(cues, 1)
    )


def _srt_time(ms: int) -> str:
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def _cues(segment: Segment) -> list[tuple[int, int, str]]:
    """(start_ms, end_ms, text of one or two lines), one after the other within the segment."""
    text = segment.text.replace("-->", "->")  # the one thing that would be read as a time
    if segment.speaker:
        text = f"{segment.speaker}: {text}"
    length = segment.end_ms - segment.start_ms
    pieces = _shared(text.split(" "), max(-(-len(text) // (_LINE * _LINES)), -(-length // _CUE_MS)))
    letters = [sum(map(len, piece)) for piece in pieces]
    cues, before, start = [], 0, segment.start_ms
    for piece, count in zip(pieces, letters, strict=True):
        before += count
        end = max(start + 1, segment.start_ms + length * before // sum(letters))
        cues.append((start, end, "\n".join(map(_directed, piece))))
        start = end
    return cues


def _shared(words: Sequence[str], cues: int) -> list[list[str]]:
    """The lines of each cue: the words in `cues` even parts, or in the first number more that needs no third line."""
    for parts in range(min(cues, len(words)), len(words) + 1):
        borders = [len(words) * number // parts for number in range(parts + 1)]
        lines = [_wrapped(words[first:last]) for first, last in pairwise(borders)]
        if all(len(cue) <= _LINES for cue in lines):
            break
    return lines


def _wrapped(words: Sequence[str]) -> list[str]:
    return textwrap.wrap(" ".join(words), _LINE, break_on_hyphens=False, break_long_words=False)


def _directed(line: str) -> str:
    return f"{_RLM}{line}" if any("א" <= letter <= "ת" for letter in line) else line
