"""What an emulated recognizer hears (pure): audio in, utterances of timed words out. All times are stream audio ms.

An utterance begins with the first voiced frame and ends when `final_ms` of silence followed its last one. Interims come
every 200 ms while there is a voice, and after it as long as there are words that no interim has told. Where the words
come from is the mode's business:

    codec   the words are in the audio itself (`emulators.wordcodec`)
    script  they are listed with their times, after the start of the stream or inside a reference recording
    energy  voiced time turns into the words of given sentences, 2.5 a second

The clock is the audio's own: the same audio gives the same results, in real time or in a burst.
"""

import audioop
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np

from emulators.wordcodec import WordDecoder

FRAME: Final = 160  # bytes: 20 ms
FRAME_MS: Final = 20
INTERIM_EVERY_MS: Final = 200
VOICED_RMS: Final = 300.0  # on the 16-bit scale
_SQUARE: Final = (np.frombuffer(audioop.ulaw2lin(bytes(range(256)), 2), dtype="<i2").astype(np.float32)) ** 2


@dataclass(frozen=True, slots=True)
class TimedWord:
    text: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Heard:
    """News about an utterance: `words` are all of it so far; `at_ms` is how far the audio was heard."""

    kind: Literal["begin", "interim", "end", "final"]
    at_ms: int
    words: tuple[TimedWord, ...] = ()


class Source(Protocol):
    """Where words come from."""

    def hear(self, audio: bytes, at_ms: int) -> None:
        """The next message; it begins at `at_ms`."""

    def begin(self, at_ms: int) -> None:
        """An utterance begins."""

    def words(self, now_ms: int, voiced: bool) -> list[TimedWord]:
        """Those that became complete by `now_ms`; `voiced` tells whether there is a voice right now."""

    def rest(self, voice_end_ms: int, now_ms: int, said: int) -> list[TimedWord]:
        """The utterance is over after `said` words: what it still says."""


class Codec:
    """Words carried by the audio."""

    def __init__(self) -> None:
        self._decoder = WordDecoder()
        self._ready: deque[TimedWord] = deque()

    def hear(self, audio: bytes, at_ms: int) -> None:
        del at_ms
        self._ready.extend(TimedWord(word.text, word.start // 8, word.end // 8) for word in self._decoder.hear(audio))

    def begin(self, at_ms: int) -> None:
        pass

    def words(self, now_ms: int, voiced: bool) -> list[TimedWord]:
        del voiced
        out = []
        while self._ready and self._ready[0].end_ms <= now_ms:
            out.append(self._ready.popleft())
        return out

    def rest(self, voice_end_ms: int, now_ms: int, said: int) -> list[TimedWord]:
        del voice_end_ms, said
        return self.words(now_ms, False)


@dataclass(frozen=True, slots=True)
class Recording:
    """Timed words (start_ms, end_ms, text) of a mu-law recording; without audio they count from the stream's start."""

    words: tuple[tuple[int, int, str], ...]
    audio: bytes = b""


class Script:
    """Words by their place. Each utterance is found again in the recordings by its first 50 ms, byte for byte."""

    _KEY: Final = 400

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self._recordings = [recording for recording in recordings if recording.audio]
        self._plan = deque(sorted(word for recording in recordings if not recording.audio for word in recording.words))
        self._recent = b""
        self._recent_end = 0  # in ms
        self._seeking: int | None = None
        self._found: deque[tuple[int, int, str]] = deque()

    def hear(self, audio: bytes, at_ms: int) -> None:
        self._recent = (self._recent + audio)[-16_000:]
        self._recent_end = at_ms + len(audio) // 8

    def begin(self, at_ms: int) -> None:
        self._seeking = at_ms
        self._found.clear()

    def words(self, now_ms: int, voiced: bool) -> list[TimedWord]:
        del voiced
        if self._seeking is not None and self._recordings:
            self._seek(self._seeking)
        out = []
        for plan in (self._plan, self._found):
            while plan and plan[0][1] <= now_ms:
                start, end, text = plan.popleft()
                out.append(TimedWord(text, start, end))
        return out

    def rest(self, voice_end_ms: int, now_ms: int, said: int) -> list[TimedWord]:
        del voice_end_ms, said
        return self.words(now_ms, False)

    def _seek(self, begin_ms: int) -> None:
        first = len(self._recent) - (self._recent_end - begin_ms) * 8
        key = self._recent[max(0, first) : max(0, first) + self._KEY]
        if len(key) < self._KEY:
            return
        self._seeking = None
        for recording in self._recordings:
            place = recording.audio.find(key)
            if place >= 0:
                shift = begin_ms - place // 8
                # what began before the first sound of this utterance was not heard whole
                heard = [(s + shift, e + shift, text) for s, e, text in recording.words if s + shift >= begin_ms - 60]
                self._found = deque(sorted(heard))
                return


class Energy:
    """Sentences spoken word by word while there is voice; with `whole` an utterance is always one whole sentence."""

    WORD_MS: Final = 400

    def __init__(self, sentences: Sequence[str], *, whole: bool = False) -> None:
        self._sentences = [sentence.split() for sentence in sentences if sentence.split()] or [["שלום"]]
        self._whole = whole
        self._sentence = 0
        self._left: deque[str] = deque()
        self._next_at = 0

    def hear(self, audio: bytes, at_ms: int) -> None:
        pass

    def begin(self, at_ms: int) -> None:
        self._next_at = at_ms
        if self._whole:
            self._left.clear()
            self._refill()

    def words(self, now_ms: int, voiced: bool) -> list[TimedWord]:
        out = []
        while voiced and self._next_at + self.WORD_MS <= now_ms and (self._left or not self._whole):
            out.append(self._say(self.WORD_MS))
        return out

    def rest(self, voice_end_ms: int, now_ms: int, said: int) -> list[TimedWord]:
        del now_ms
        left_ms = voice_end_ms - self._next_at
        if self._whole:
            each = max(1, left_ms // max(1, len(self._left)))
            return [self._say(each) for _ in range(len(self._left))]
        if not said or left_ms >= self.WORD_MS // 2:
            return [self._say(max(1, left_ms))]
        return []

    def _refill(self) -> None:
        self._left.extend(self._sentences[self._sentence % len(self._sentences)])
        self._sentence += 1

    def _say(self, length_ms: int) -> TimedWord:
        if not self._left:
            self._refill()
        word = TimedWord(self._left.popleft(), self._next_at, self._next_at + length_ms)
        self._next_at += length_ms
        return word


class Listener:
    """One stream's ears. `hear` each message, `close` at the half-close; both return what became known."""

    def __init__(self, source: Source, *, final_ms: int = 300, min_voiced_frames: int = 1) -> None:
        self._source = source
        self._final_ms = final_ms
        self._min_voiced = min_voiced_frames
        self._rest = b""
        self._at_ms = 0
        self._voiced_run = 0
        self._begin_ms: int | None = None
        self._voice_end_ms = 0
        self._speaking = False
        self._words: list[TimedWord] = []
        self._next_interim_ms = 0
        self._told = 0  # words of the last interim
        self.heard_bytes = 0

    def hear(self, audio: bytes) -> list[Heard]:
        self.heard_bytes += len(audio)
        self._source.hear(audio, self._at_ms + len(self._rest) // 8)
        audio = self._rest + audio
        frames = len(audio) // FRAME
        self._rest = audio[frames * FRAME :]
        if not frames:
            return []
        sound = np.frombuffer(audio, dtype=np.uint8, count=frames * FRAME)
        voiced = (_SQUARE[sound].reshape(frames, FRAME).mean(axis=1) > VOICED_RMS**2).tolist()
        if self._begin_ms is None and not any(voiced):
            self._at_ms += frames * FRAME_MS
            self._voiced_run = 0
            return []
        news: list[Heard] = []
        interim_due = False
        for voice in voiced:
            interim_due = self._frame(voice, news) or interim_due
        if interim_due and self._words:
            news.append(Heard("interim", self._at_ms, tuple(self._words)))
        return news

    def close(self) -> list[Heard]:
        """No more audio: what is open becomes final."""
        news: list[Heard] = []
        if self._begin_ms is not None:
            self._end(news)
        return news

    def _frame(self, voice: bool, news: list[Heard]) -> bool:
        """One frame of 20 ms; True when an interim is due."""
        self._at_ms += FRAME_MS
        self._voiced_run = self._voiced_run + 1 if voice else 0
        if self._begin_ms is None:
            if self._voiced_run < self._min_voiced:
                return False
            self._begin_ms = self._at_ms - self._voiced_run * FRAME_MS
            self._next_interim_ms = self._begin_ms + INTERIM_EVERY_MS
            self._speaking = True
            self._source.begin(self._begin_ms)
            news.append(Heard("begin", self._begin_ms))
        if voice:
            self._voice_end_ms = self._at_ms
            if not self._speaking:
                self._speaking = True
                news.append(Heard("begin", self._at_ms - FRAME_MS))
        fresh = self._source.words(self._at_ms, voice)
        self._words += fresh
        silent_ms = self._at_ms - self._voice_end_ms
        if silent_ms >= self._final_ms:
            self._end(news)
            return False
        if silent_ms >= 200 and self._speaking:
            self._speaking = False
            news.append(Heard("end", self._voice_end_ms))
        if self._at_ms >= self._next_interim_ms and (voice or len(self._words) > self._told):
            self._told = len(self._words)
            self._next_interim_ms += INTERIM_EVERY_MS * (1 + (self._at_ms - self._next_interim_ms) // INTERIM_EVERY_MS)
            return True
        return False

    def _end(self, news: list[Heard]) -> None:
        self._words += self._source.rest(self._voice_end_ms, self._at_ms + len(self._rest) // 8, len(self._words))
        if self._speaking:
            news.append(Heard("end", self._voice_end_ms))
        if self._words:
            news.append(Heard("final", self._voice_end_ms, tuple(self._words)))
        self._words = []
        self._told = 0
        self._begin_ms = None
        self._speaking = False
