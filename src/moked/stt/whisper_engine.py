"""What the engines that hear whole utterances by Whisper have in common: seats, and a stream of utterances."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from moked.stt import Stream
from moked.stt.agreement import Look
from moked.stt.fairqueue import Rank
from moked.stt.seats import Seats
from moked.stt.utterance import Transcription, UtteranceStream
from moked.stt.workers import Displaced, Workers


class WhisperEngine(ABC):
    """`hints`: whether business names are given to the model. `partials`: whether speech is looked at while it lasts,
    as far as workers are idle."""

    name: str
    whole_utterances = True

    def __init__(self, seats: Seats, workers: Workers, *, hints: bool, partials: bool) -> None:
        self._seats = seats
        self._workers = workers
        self._use_hints = hints
        self._partials = partials
        self._calls = itertools.count(1)

    @property
    def pending(self) -> int:
        """Utterances that wait or are being heard."""
        return self._workers.pending

    @property
    def seats(self) -> Seats:
        return self._seats

    def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AbstractAsyncContextManager[Stream]:
        return self._stream(origin_ms, list(hints) if self._use_hints else [])

    @abstractmethod
    async def transcribe(
        self,
        audio: bytes,
        hints: Sequence[str] = (),
        *,
        expect: str = "",
        rank: Rank = Rank.SECOND_PASS,
        call: Hashable = None,
        timeout_s: float | None = None,
    ) -> Transcription:
        """What one piece of mu-law says. `expect`: what the agent asked for. Raises `ProviderError`."""

    @abstractmethod
    async def _look(
        self, audio: bytes, hints: Sequence[str], *, expect: str, look: Look, call: Hashable
    ) -> Transcription:
        """What speech that still lasts says so far. Raises `ProviderError`, and `Displaced` for the sake of others."""

    @abstractmethod
    def _check(self) -> None:
        """Raises `ProviderError` when no stream can be opened."""

    @asynccontextmanager
    async def _stream(self, origin_ms: int, hints: list[str]) -> AsyncIterator[UtteranceStream]:
        self._check()
        call = next(self._calls)

        async def transcribe(audio: bytes) -> Transcription:
            return await self.transcribe(audio, hints, expect=stream.expecting, rank=Rank.FINAL, call=call)

        async def look_at(audio: bytes, look: Look) -> Transcription | None:
            if not self._workers.idle:
                return None
            try:
                return await self._look(audio, hints, expect=stream.expecting, look=look, call=call)
            except Displaced:
                return None

        with self._seats.seat():
            async with UtteranceStream(
                transcribe, engine=self.name, origin_ms=origin_ms, look_at=look_at if self._partials else None
            ) as stream:
                yield stream
