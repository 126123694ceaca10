"""Whole utterances through the streaming port: for engines that answer one request with one transcription.

`cuts.Cutter` decides where an utterance begins and ends; here each is transcribed, one at a time and in order, by the
task that iterates. So there is no task of its own to leak, and a slow engine holds up `write` when a minute of audio
waits.

Where the engine has time, the utterance is looked at while it is still spoken (`agreement`): partials come of that, and
the final at once when the last look was taken in the pause that turned out to be the end. A look that is under way when
its utterance ends is dropped, unless it is that one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final as Constant
from typing import Self

import anyio

from moked.audio import SAMPLES_PER_MS, rms
from moked.errors import Failure, Overloaded, ProviderError
from moked.stt import Final, Interim, Word
from moked.stt.agreement import Agreement, Look, Pace
from moked.stt.cuts import Cut, Cutter


@dataclass(frozen=True, slots=True)
class Transcription:
    """What one piece of audio says; empty text for nothing. Words are in ms from the start of that audio."""

    text: str
    confidence: float | None = None
    words: tuple[Word, ...] = ()


Transcribe = Callable[[bytes], Awaitable[Transcription]]
LookAt = Callable[[bytes, Look], Awaitable[Transcription | None]]
"""A look at an utterance that is still spoken; None where there is no time for it now."""

_QUIET_RMS: Constant = 160  # on the 16-bit scale, -46 dB of full scale: below is no voice
_AGREED: Constant = 0.9  # stability of words that two hypotheses in a row agree on


@dataclass(frozen=True, slots=True)
class _Early:
    """What an open utterance said in its careful look: that is its final when no voice came after `end_ms`."""

    start_ms: int
    end_ms: int
    result: Transcription | None = None  # None while the look is under way


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
        look_at: LookAt | None = None,
    ) -> None:
        self._transcribe = transcribe
        self._look_at = look_at
        self._engine = engine
        self._cutter = Cutter(origin_ms, max_ms=max_ms, bound_ms=bound_ms)
        self._news = anyio.Event()
        self._room = anyio.Event()
        self._error: ProviderError | Overloaded | None = None
        self._closed = False
        self._finishing = False
        self._work: anyio.CancelScope | None = None
        self._origin_ms = origin_ms
        self._bytes = 0
        self._voice_ms = origin_ms  # the end of the last audio that was not quiet
        self._open_ms = -1  # where the utterance begins that `_pace`, `_agreement` and `_early` are about
        self._pace = Pace()
        self._agreement = Agreement()
        self._early: _Early | None = None
        self._look: anyio.CancelScope | None = None
        self.expecting = ""  # what the agent asked for; a `transcribe` may look at it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: the transcription in progress is cancelled and the iterator ends."""
        self._closed = True
        for work in (self._work, self._look):
            if work is not None:
                work.cancel()
        self._tell()

    async def write(self, audio: bytes) -> None:
        while self._cutter.full and self._error is None and not self._closed:
            await self._room.wait()
        if self._error is not None:
            raise self._error
        if self._finishing or self._closed:
            raise ProviderError(self._engine, Failure.CLOSED, "written to after the end")
        self._cutter.feed(audio)
        self._bytes += len(audio)
        if self._look_at is not None and rms(audio) > _QUIET_RMS:
            self._voice_ms = self._origin_ms + self._bytes // SAMPLES_PER_MS
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

    async def __anext__(self) -> Interim | Final:
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
            elif (look := self._look_due()) is not None:
                interim = await self._partial(look)
                if interim is not None:
                    return interim
            else:
                self._news = anyio.Event()
                await self._news.wait()
        raise StopAsyncIteration

    async def _final(self, cut: Cut) -> Final | None:
        """Its transcript; without text where nothing was said but a partial had been told, None where none was."""
        early = self._early
        result = early.result if early is not None and self._is_all_of(early, cut) else None
        work = self._work = anyio.CancelScope()
        with work:
            try:
                result = result or await self._transcribe(cut.audio)
            except (ProviderError, Overloaded) as error:
                self._error = error
                self._make_room()
                raise
        told = self._open_ms == cut.start_ms and self._agreement.text
        if result is None or not (result.text or told):
            return None
        words = tuple(
            Word(word.text, cut.start_ms + word.start_ms, cut.start_ms + word.end_ms) for word in result.words
        )
        return Final(result.text, cut.start_ms, cut.end_ms, result.confidence, self._engine, words)

    # --- looks at the utterance that is still spoken

    def _look_due(self) -> Look | None:
        spoken = self._cutter.open_ms
        if self._look_at is None or spoken is None:
            return None
        begin_ms, end_ms = spoken
        if begin_ms != self._open_ms:
            self._open_ms = begin_ms
            self._pace = Pace(step_ms=self._pace.step_ms)
            self._agreement = Agreement()
            self._early = None
        return self._pace.due(end_ms - begin_ms, self._quiet_ms(begin_ms, end_ms))

    def _quiet_ms(self, begin_ms: int, end_ms: int) -> int:
        return end_ms - max(begin_ms, min(end_ms, self._voice_ms))

    async def _partial(self, look: Look) -> Interim | None:
        assert self._look_at is not None
        cut = self._cutter.look()
        if cut is None:
            return None
        length_ms = cut.end_ms - cut.start_ms
        self._pace.looked(look, length_ms, self._quiet_ms(cut.start_ms, cut.end_ms))
        self._early = _Early(cut.start_ms, cut.end_ms) if look is Look.CAREFUL else None
        began = anyio.current_time()
        result: Transcription | None = None
        self._look = anyio.CancelScope()
        with self._look, suppress(ProviderError, Overloaded):  # the final will meet them too
            result = await self._look_at(cut.audio, look)
        self._look = None
        if result is None:
            self._early = None
            return None
        self._pace.took(round((anyio.current_time() - began) * 1000))
        if self._early is not None:
            self._early = replace(self._early, result=result)
        ready = self._cutter.ready
        text = self._agreement.hear(result.text)
        if not text or (ready is not None and ready.start_ms == cut.start_ms):
            return None  # the final is next
        return Interim(text, cut.start_ms, cut.end_ms, _AGREED, self._engine, behind=True)

    def _is_all_of(self, early: _Early, cut: Cut) -> bool:
        return early.start_ms == cut.start_ms and self._voice_ms <= early.end_ms

    def _end_look(self) -> None:
        """An utterance is over: the worker is wanted for its final, unless the look under way is just that."""
        ready = self._cutter.ready
        if self._look is None or ready is None or (self._early is not None and self._is_all_of(self._early, ready)):
            return
        self._look.cancel()

    def _tell(self) -> None:
        self._end_look()
        self._news.set()
        self._make_room()

    def _make_room(self) -> None:
        if not self._cutter.full or self._error is not None or self._closed:
            self._room.set()
            self._room = anyio.Event()
