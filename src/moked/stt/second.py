"""The second ear: an utterance engine that hears again, after the live one, what must be right.

One a process. It comes behind everything that callers wait for: `at_once` pieces of audio at a time, none while the
engine behind it has other work (it may be the live engine of calls whose own has failed), and one that takes longer
than `deadline_s` is given up. Who is not heard gets None, and the call goes on with what it has.
"""

import logging
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import anyio

from moked.errors import Overloaded, ProviderError
from moked.stt.fairqueue import Rank
from moked.stt.utterance import Transcription

log = logging.getLogger(__name__)


@runtime_checkable
class Transcriber(Protocol):
    """An engine that hears single pieces of audio: local Whisper, or one behind HTTP."""

    name: str

    @property
    def pending(self) -> int:
        """Pieces that wait or are being heard, whoever's."""

    async def transcribe(
        self,
        audio: bytes,
        hints: Sequence[str] = (),
        *,
        expect: str = "",
        rank: Rank = Rank.SECOND_PASS,
        timeout_s: float | None = None,
    ) -> Transcription:
        """Raises `ProviderError`."""


class SecondEar:
    """`deadline_s`: longer than that nobody waits for it."""

    def __init__(
        self,
        engine: Transcriber,
        *,
        at_once: int = 2,
        deadline_s: float = 6.0,
        rank: Rank = Rank.SECOND_PASS,
    ) -> None:
        self.name = engine.name
        self._engine = engine
        self._at_once = at_once
        self._deadline_s = deadline_s
        self._rank = rank
        self._mine = 0

    @property
    def free(self) -> bool:
        """Whether it would listen now."""
        return self._mine < self._at_once and self._engine.pending <= self._mine

    async def hear(self, audio: bytes, expect: str = "") -> str | None:
        """The words in mu-law `audio`; '' for none. None where it is busy, fails or is too late. Never raises."""
        if not self.free:
            return None
        self._mine += 1
        try:
            with anyio.move_on_after(self._deadline_s):
                heard = self._engine.transcribe(audio, expect=expect, rank=self._rank, timeout_s=self._deadline_s)
                return (await heard).text
        except (ProviderError, Overloaded) as problem:
            log.warning("second hearing failed", extra={"engine": self.name, "error": str(problem)})
        finally:
            self._mine -= 1
        return None
