"""The synthesis port: Hebrew text in, mu-law 8 kHz out, headerless, ready for the carrier.

A `Synthesizer` is one a process, shared by all calls. `text` is what a person would write ("ב-14:30"); the engine
prepares it for speech itself (`tts.hebrew.prepare`), so that transcripts keep the written form.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

Progress = Callable[[int, int], None]
"""Called as (done, total) while phrases are rendered."""


class Synthesizer(Protocol):
    name: str  # 'google', 'kokoro', 'espeak': in logs, metrics and records

    def cached(self, text: str) -> bytes | None:
        """The whole audio of `text` if it is at hand (memory, then a quick disk read). Never renders."""

    def speak(self, text: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Audio of `text` in order, in chunks of any size, as soon as there is any. Leaving the context stops the work.

        Raises `ProviderError` from the iterator when the engine fails; nothing is raised for empty text (no audio).
        """

    async def prepare(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Render fixed phrases into the cache ahead of time. Phrases already there cost nothing."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Connect, load and warm up on entry, serve while entered, release on exit. Entered once, by the role."""
