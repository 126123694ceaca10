"""Small recognizers for the tests of the relay: programs that hear what is really in the audio they were given.

A word is a run of one mu-law byte, its number. Whoever gets at least half of the run hears the word, as a recognizer
would; so a replay that begins in the middle of a word can hear it twice, and one that begins too late loses it.
"""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import numpy as np

from moked.audio import FRAME_BYTES, FRAME_MS, SAMPLES_PER_MS, SILENCE
from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Interim, Word
from moked.stt.relay import Relay

_SENTENCE = (
    "שלום אני רוצה לקבוע תור למחר בבוקר אם אפשר תודה רבה השם שלי דני כהן והטלפון הוא אפס חמש "
    "שתיים שלוש ארבע שש שבע שמונה תשע עשר"
)
VOCABULARY = _SENTENCE.split()


@dataclass(frozen=True)
class Spoken:
    text: str
    start_ms: int
    end_ms: int


def speech(words: Sequence[str], *, from_ms: int = 500, word_ms: int = 320, gap_ms: int = 60) -> list[Spoken]:
    spoken, at = [], from_ms
    for word in words:
        spoken.append(Spoken(word, at, at + word_ms))
        at += word_ms + gap_ms
    return spoken


def sound(spoken: Sequence[Spoken], *, tail_ms: int) -> bytes:
    length = (max((s.end_ms for s in spoken), default=0) + tail_ms) * SAMPLES_PER_MS
    audio = bytearray(SILENCE * length)
    for s in spoken:
        start, end = s.start_ms * SAMPLES_PER_MS, s.end_ms * SAMPLES_PER_MS
        audio[start:end] = bytes([VOCABULARY.index(s.text)]) * (end - start)
    return bytes(audio)


def heard_in(audio: bytes, origin_ms: int, spoken: Sequence[Spoken], *, whole: bool = False) -> list[Word]:
    """The words in `audio`. The last one counts only when its run is over, unless the audio is `whole`."""
    words, at = [], 0
    sound = np.frombuffer(bytes(audio), np.uint8)
    ends = [*(np.flatnonzero(np.diff(sound)) + 1).tolist(), len(sound)] if len(sound) else []
    runs = [(int(sound[start]), end - start) for start, end in zip([0, *ends], ends, strict=False)]
    full = {VOCABULARY.index(s.text): (s.end_ms - s.start_ms) * SAMPLES_PER_MS for s in spoken}
    for number, (value, length) in enumerate(runs):
        over = whole or number < len(runs) - 1
        if value in full and length * 2 >= full[value] and over:
            start_ms = origin_ms + at // SAMPLES_PER_MS
            words.append(Word(VOCABULARY[value], start_ms, start_ms + length // SAMPLES_PER_MS))
        at += length
    return words


@dataclass
class Fault:
    """What happens to the `stream`-th stream of an engine (from 0) once it has `after_ms` of audio, or `at_ms` came."""

    kind: str  # kill, close, stall, block, refuse, hang
    stream: int = 0
    at_ms: int | None = None
    after_ms: int = 0
    failure: Failure = Failure.UNAVAILABLE


@dataclass
class FakeEngine:
    """style: 'exact' gives times of words, 'plain' only text, 'whole' hears utterances between the VAD's marks."""

    name: str
    spoken: Sequence[Spoken]
    style: str = "exact"
    faults: list[Fault] = field(default_factory=list)
    final_every: int = 0  # a final after so many words in mid-speech
    pause_ms: int = 600  # ... and after this much silence
    delay_ms: int = 50
    open_ms: int = 30
    limit_ms: int = 0  # the provider's own limit of a stream
    seats: int = 1000  # streams at a time
    batch_ms: int = 0  # it says that it waits for so much anyway
    writes: list[tuple[int, int]] = field(default_factory=list)  # when, and how many bytes
    opened: list[int] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    paused: list[int] = field(default_factory=list)
    open_now: int = 0
    finished: int = 0

    @property
    def whole_utterances(self) -> bool:
        return self.style == "whole"

    @asynccontextmanager
    async def running(self):
        yield

    @asynccontextmanager
    async def stream(self, *, origin_ms, hints=()):
        number = len(self.opened)
        self.opened.append(origin_ms)
        faults = [fault for fault in self.faults if fault.stream in (number, -1)]
        await anyio.sleep(self.open_ms / 1000)
        for fault in faults:
            if fault.kind == "refuse":
                raise ProviderError(self.name, fault.failure, "refused")
            if fault.kind == "hang":
                await anyio.sleep_forever()
        if self.open_now >= self.seats:
            raise Overloaded(f"all {self.seats} seats are taken")
        kind = _Whole if self.style == "whole" else _Streaming
        self.open_now += 1
        try:
            async with anyio.create_task_group() as tasks:  # as real engines have: an error passing it becomes a group
                stream = kind(self, origin_ms, faults)
                try:
                    yield stream
                finally:
                    stream.results.close()
                    stream.send.close()
                tasks.cancel_scope.cancel()
        finally:
            self.open_now -= 1


class _Base:
    def __init__(self, engine, origin_ms, faults):
        self.engine = engine
        self.origin_ms = origin_ms
        self.faults = faults
        self.audio = bytearray()
        self.send, self.results = anyio.create_memory_object_stream(1000)
        self.dead = None
        self.stalled = False
        self.opened_at = anyio.current_time()

    @property
    def at_ms(self):
        return self.origin_ms + len(self.audio) // SAMPLES_PER_MS

    async def write(self, audio: bytes) -> None:
        most = max(FRAME_BYTES, self.engine.batch_ms * SAMPLES_PER_MS)
        assert len(audio) <= most, "more at once overflows an engine's own bound instead of waiting for room"
        if self.dead:
            raise ProviderError(self.engine.name, Failure.UNAVAILABLE, "written to a dead stream")
        self.engine.writes.append((round(anyio.current_time() * 1000), len(audio)))
        self.audio += audio
        if self.engine.limit_ms and self.at_ms - self.origin_ms > self.engine.limit_ms:
            self.kill(Failure.EXPIRED)
        for fault in self.faults:
            due = self.at_ms >= fault.at_ms if fault.at_ms is not None else True
            if due and len(self.audio) >= fault.after_ms * SAMPLES_PER_MS:
                match fault.kind:
                    case "kill":
                        self.kill(fault.failure)
                    case "close":
                        self.dead = True
                        self.send.close()
                    case "stall":
                        self.stalled = True
                    case "block":
                        await anyio.sleep_forever()
        if self.dead:
            return
        self.listen()

    def kill(self, failure):
        self.dead = ProviderError(self.engine.name, failure, "killed by the test")
        self.tell(self.dead)

    def tell(self, result):
        if not self.stalled or result is self.dead:
            self.send.send_nowait((anyio.current_time() + self.engine.delay_ms / 1000, result))

    def speech_started(self, at_ms: int) -> None: ...

    def speech_paused(self, at_ms: int) -> None:
        self.engine.paused.append(at_ms)

    def speech_ended(self, at_ms: int) -> None: ...

    def expect(self, what: str) -> None:
        self.engine.expected.append(what)

    async def finish(self) -> None:
        if not self.dead:
            self.engine.finished += 1
            self.listen(last=True)
            if not self.stalled:
                self.send.close()

    async def __aiter__(self) -> AsyncIterator[Interim | Final]:
        with self.results, self.send:
            async for due, result in self.results:
                if isinstance(result, ProviderError):
                    raise result
                await anyio.sleep(max(0, due - anyio.current_time()))
                yield result


class _Streaming(_Base):
    parsed = 0  # samples whose runs are over
    waiting = ()  # words since the last final
    final_end = 0
    interim_at = 0
    interim_text = ""

    def listen(self, last=False):
        fresh = self.audio[self.parsed :]
        begun_ms = self.origin_ms + self.parsed // SAMPLES_PER_MS
        words = [*self.waiting, *heard_in(fresh, begun_ms, self.engine.spoken, whole=last)]
        self.parsed += len(fresh.rstrip(fresh[-1:]))
        self.waiting = words
        quiet = words and self.at_ms - words[-1].end_ms >= self.engine.pause_ms and self.audio[-1:] == SILENCE
        enough = self.engine.final_every and len(words) >= self.engine.final_every
        start = max(self.final_end, self.origin_ms)
        text = " ".join(word.text for word in words)
        if words and (last or quiet or enough):
            end = self.at_ms if quiet and self.engine.style == "plain" else words[-1].end_ms
            exact = tuple(words) if self.engine.style == "exact" else ()
            self.tell(Final(text, start, end, 0.9, self.engine.name, exact))
            self.waiting = []
            self.final_end = end
            self.interim_text = ""
        elif text != self.interim_text and self.at_ms >= self.interim_at:
            self.interim_at = self.at_ms + 200
            self.interim_text = text
            self.tell(Interim(text, start, self.at_ms, 0.8, self.engine.name))


class _Whole(_Base):
    begin = None

    def listen(self, last=False):
        if last and self.begin is not None:
            self.speech_ended(self.at_ms)

    def speech_started(self, at_ms: int) -> None:
        self.begin = max(at_ms - 200, self.origin_ms)

    def speech_ended(self, at_ms: int) -> None:
        if self.begin is None or self.dead:
            return
        start = (self.begin - self.origin_ms) * SAMPLES_PER_MS
        end = (at_ms + 100 - self.origin_ms) * SAMPLES_PER_MS
        words = heard_in(bytes(self.audio[start:end]), self.begin, self.engine.spoken, whole=True)
        self.tell(Final(" ".join(w.text for w in words), self.begin, at_ms, None, self.engine.name))
        self.begin = None


def vad_marks(spoken: Sequence[Spoken], *, late_ms: int = 120, hang_ms: int = 240) -> list[tuple[int, bool, int]]:
    """(known_ms, begins, at_ms) as a VAD would mark the speech: pauses under `hang_ms` belong to it."""
    marks = []
    for number, s in enumerate(spoken):
        if number == 0 or s.start_ms - spoken[number - 1].end_ms >= hang_ms:
            marks.append((s.start_ms + late_ms, True, s.start_ms))
        if number == len(spoken) - 1 or spoken[number + 1].start_ms - s.end_ms >= hang_ms:
            marks.append((s.end_ms + hang_ms, False, s.end_ms))
    return marks


async def talk(relay, spoken: Sequence[Spoken], *, tail_ms: int = 2500, marks=True, late_ms: int = 120) -> None:
    """One call in virtual time: 20 ms frames, the VAD's marks, then `finish`."""
    audio = sound(spoken, tail_ms=tail_ms)
    due = vad_marks(spoken, late_ms=late_ms) if marks else []
    for at in range(0, len(audio), FRAME_BYTES):
        relay.feed(audio[at : at + FRAME_BYTES])
        now = (at + FRAME_BYTES) // SAMPLES_PER_MS
        while due and due[0][0] <= now:
            _, begins, at_ms = due.pop(0)
            (relay.speech_started if begins else relay.speech_ended)(at_ms)
        await anyio.sleep(0.02)
    for _, begins, at_ms in due:  # as the session does: what was said is judged before it says that the call is over
        if at_ms < len(audio) // SAMPLES_PER_MS:
            (relay.speech_started if begins else relay.speech_ended)(at_ms)
    relay.finish()


async def speak(relay: Relay, audio: bytes, begins: int, ends: int) -> None:
    """All of it at the pace of a telephone, in real time, and what a voice detector says of it; then the call is over.

    `begins` and `ends`: of the speech, in ms.
    """
    marks = [(begins + 120, relay.speech_started, begins), (ends + 240, relay.speech_ended, ends)]
    began = time.monotonic()
    for number in range(len(audio) // FRAME_BYTES):
        relay.feed(audio[number * FRAME_BYTES : (number + 1) * FRAME_BYTES])
        while marks and marks[0][0] <= (number + 1) * FRAME_MS:
            _, tell, at_ms = marks.pop(0)
            tell(at_ms)
        await anyio.sleep(max(0.0, began + (number + 1) * FRAME_MS / 1000 - time.monotonic()))
    relay.finish()
