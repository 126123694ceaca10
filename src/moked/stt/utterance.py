"""Whole utterances through the streaming port: for engines that answer one request with one transcription.

`cuts.Cutter` decides where an utterance begins and ends; here each is transcribed, one at a time and in order, by the
task that iterates. So there is no task of its own to leak, and a slow engine holds up `write` when a minute of audio
waits.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import anyio

from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Interim, Word
from moked.stt.cuts import Cut, Cutter


@dataclass(frozen=True, slots=True)
class Transcription:
    """What one piece of audio says; empty text for nothing. Words are in ms from the start of that audio."""

    text: str
    confidence: float | None = None
    words: tuple[Word, ...] = ()


Transcribe = Callable[[bytes], Awaitable[Transcription]]


class UtteranceStream:
    """A `Stream` over `transcribe` (mu-law in). Enter it, so that leaving cancels a transcription that still runs.

    A `ProviderError` or `Overloaded` of `transcribe` comes out of the iterator, and of every later `write`; the audio
    is with whoever feeds the stream, from the end of the last final on.
    """

    def __init__(
        self,
        transcribe: Transcribe,
        *,
        engine: str,
        origin_ms: int,
        max_ms: int = 25_000,
        bound_ms: int = 60_000,
    ) -> None:
        self._transcribe = transcribe
        self._engine = engine
        self._cutter = Cutter(origin_ms, max_ms=max_ms, bound_ms=bound_ms)
        self._news = anyio.Event()
        self._room = anyio.Event()
        self._error: ProviderError | Overloaded | None = None
        self._closed = False
        self._finishing = False
        self._work: anyio.CancelScope | None = None
        self.expecting = ""  # what the agent asked for; a `transcribe` may look at it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: the transcription in progress is cancelled and the iterator ends."""
        self._closed = True
        if self._work is not None:
            self._work.cancel()
        self._tell()

    async def write(self, audio: bytes) -> None:
        while self._cutter.full and self._error is None and not self._closed:
            await self._room.wait()
        if self._error is not None:
            raise self._error
        if self._finishing or self._closed:
            raise ProviderError(self._engine, Failure.CLOSED, "written to after the end")
        self._cutter.feed(audio)
        self._tell()

    def speech_started(self, at_ms: int) -> None:
        self._cutter.speech_started(at_ms)
        if self._cutter.taken_back is not None and self._work is not None:
            self._work.cancel()  # the same speech goes on: what it says so far is of no use
        self._tell()

    def speech_paused(self, at_ms: int) -> None:
        """An utterance is cut where speech ends, not before."""

    def speech_ended(self, at_ms: int) -> None:
        self._cutter.speech_ended(at_ms)
        self._tell()

    def expect(self, what: str) -> None:
        self.expecting = what

    async def finish(self) -> None:
        self._finishing = True
        self._cutter.finish()
        self._tell()

    def __aiter__(self) -> AsyncIterator[Interim | Final]:
        return self

    async def __anext__(self) -> Final:
        while not self._closed:
            if self._error is not None:
                raise self._error
            cut = self._cutter.next_cut()
            if cut is not None:
                self._make_room()
                final = await self._final(cut)
                if self._cutter.taken_back is cut:
                    self._cutter.taken_back = None
                    continue
                self._cutter.told()
                if final is not None:
                    return final
            elif self._cutter.finished:
                break
            else:
                self._news = anyio.Event()
                await self._news.wait()
        raise StopAsyncIteration

    async def _final(self, cut: Cut) -> Final | None:
        result: Transcription | None = None
        work = self._work = anyio.CancelScope()
        with work:
            try:
                result = await self._transcribe(cut.audio)
            except (ProviderError, Overloaded) as error:
                self._error = error
                self._make_room()
                raise
        if result is None or not result.text:
            return None
        words = tuple(
            Word(word.text, cut.start_ms + word.start_ms, cut.start_ms + word.end_ms) for word in result.words
        )
        return Final(result.text, cut.start_ms, cut.end_ms, result.confidence, self._engine, words)

    def _tell(self) -> None:
        self._news.set()
        self._make_room()

    def _make_room(self) -> None:
        if not self._cutter.full or self._error is not None or self._closed:
            self._room.set()
            self._room = anyio.Event()
