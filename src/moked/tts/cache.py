"""Speech that is rendered once: a memory and disk cache around any synthesizer, which also composes.

The unit is the sentence. A sentence that is not there as a whole may still be at hand in pieces: its comma-separated
parts, and digits one by one, joined with the pauses a person makes. So a phone read-back costs nothing, and "נעים מאוד,
דני." needs only the name.

    text -> prepare -> sentences -> parts:  "אז המספר הוא | אפס חמש אפס, | שתיים שלוש ארבע."

Rules: only what was given to `prepare` (fixed phrases) is written to disk; everything else may hold personal data and
stays in memory, least recently used out first. Whoever is on the phone goes before background rendering.
"""

import hashlib
import logging
import os
import re
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import numpy as np

from moked import metrics
from moked.audio import FRAME_BYTES, SAMPLES_PER_MS, silence, to_float
from moked.errors import Failure, ProviderError, first_leaf
from moked.tts import Progress, Synthesizer
from moked.tts.hebrew import DIGIT_WORDS, prepare
from moked.tts.respell import respelling

log = logging.getLogger(__name__)

VERSION: Final = 1  # of the stored form: raised when trimming changes
WORDS: Final = (*DIGIT_WORDS, "כוכבית")  # rendered with every set of phrases, for read-backs

_DIGIT_GAP_MS: Final = 60
_GROUP_GAP_MS: Final = 220
_JOIN_GAP_MS: Final = 90  # between words and digits of one breath
_GAPS_MS: Final = {",": 160, ";": 200, ":": 200, ".": 250, "!": 250, "?": 270, "…": 300}
_TAIL_MS: Final = 120  # after the last word, so that the next clause does not run into it
_EDGE_MS: Final = 10

_MAGIC: Final = b"MKD1"
_SUM_BYTES: Final = 16
_PATIENCE_S: Final = 10.0  # background work waits at most so long for the live ones
_MAX_FAILURES: Final = 3


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    gap_ms: int  # silence after it, when something follows


class CachedSynthesizer:
    """`inner` with a memory. `folder` keeps fixed phrases between runs (None: memory only).

    `key` names everything that changes the sound (engine, voice, rate, pitch); engines offer it as `.key`. `parallel`
    phrases render at a time: 1 for a local voice, some for a remote one. `pronunciation`: (written, said) words.
    """

    def __init__(
        self,
        inner: Synthesizer,
        folder: Path | None,
        *,
        key: str,
        gender: str = "m",
        pronunciation: Sequence[tuple[str, str]] = (),
        memory_bytes: int = 64 * 1024 * 1024,
        parallel: int = 1,
    ) -> None:
        self.name = inner.name
        self._inner = inner
        self._folder = folder
        self._key = key
        self._gender = gender
        self._respelled = respelling(pronunciation)
        self._parallel = parallel
        self._memory: OrderedDict[str, bytes] = OrderedDict()
        self._memory_bound = memory_bytes
        self._memory_bytes = 0
        self._files: set[str] | None = None  # names on disk, read at first use
        self._fixed: set[str] = set()
        self._rendering: dict[str, anyio.Event] = {}
        self._live = 0
        self._quiet = anyio.Event()
        self.hits = self.misses = 0

    # --- the port ---------------------------------------------------------------------------------------------------

    def cached(self, text: str) -> bytes | None:
        """The whole audio, also when it has to be joined from pieces. Never renders; None when a piece is missing."""
        parts = [part for sentence in _sentences(self._prepared(text)) for part in self._plan(sentence)]
        if not all(self._has(_spoken(part.text)) for part in parts):
            return None
        out: list[bytes] = []
        for index, part in enumerate(parts):
            audio = self._find(_spoken(part.text))
            if audio is None:
                return None  # its file turned out to be damaged
            out += (audio, silence(part.gap_ms if index < len(parts) - 1 else _TAIL_MS))
        metrics.tts_cache.labels("hit").inc()
        return b"".join(out)

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        self._live += 1
        try:
            async with aclosing(self._stream(self._prepared(text))) as audio:
                yield audio
        finally:
            self._live -= 1
            if not self._live:
                self._quiet.set()
                self._quiet = anyio.Event()

    async def prepare(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Render what is missing of `texts`, in their order, then the digits; all of it is kept on disk.

        Each phrase is kept as soon as it is rendered, so an interruption loses only those under way. A phrase that
        fails is left out; after three in a row the engine's `ProviderError` is raised.
        """
        wanted: dict[str, str] = {}
        for text in (*texts, *WORDS):
            for sentence in _sentences(self._prepared(text)):
                wanted.setdefault(_spoken(sentence), sentence)
        self._fixed |= wanted.keys()
        missing = deque((spoken, text) for spoken, text in wanted.items() if self._find(spoken) is None)
        total, failures = len(wanted), 0

        def report() -> None:
            if progress is not None:
                progress(total - len(missing) - len(under_way), total)

        under_way: set[str] = set()
        report()

        async def work() -> None:
            nonlocal failures
            while missing:
                await self._patience()
                if not missing:
                    return
                spoken, text = missing.popleft()
                under_way.add(spoken)
                try:
                    await self._render(spoken, text)
                    failures = 0
                except ProviderError as error:
                    failures += 1
                    log.warning("a phrase could not be rendered", extra={"provider": self.name, "reason": str(error)})
                    if failures >= _MAX_FAILURES:
                        raise
                under_way.discard(spoken)
                report()

        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(min(self._parallel, len(missing))):
                    tasks.start_soon(work)
        except* ProviderError as group:
            raise first_leaf(group) from group

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._inner.running():
            yield

    def pronounce_as(self, words: Sequence[tuple[str, str]]) -> None:
        """Other (written, said) words from now on."""
        self._respelled = respelling(words)

    # --- planning ---------------------------------------------------------------------------------------------------

    def _prepared(self, text: str) -> str:
        return prepare(self._respelled(text), gender=self._gender)

    def _plan(self, sentence: str) -> list[_Part]:
        """How to say a sentence: whole, or in parts when some of them are at hand already."""
        whole = [_Part(sentence, _gap_after(sentence))]
        if self._has(_spoken(sentence)):
            return whole
        parts = [part for piece in _pieces(sentence) for part in self._resolve(piece)]
        if not any(self._has(_spoken(part.text)) for part in parts):
            return whole
        merged: list[_Part] = []
        for part in parts:
            if merged and not self._has(_spoken(merged[-1].text)) and not self._has(_spoken(part.text)):
                before = merged.pop()  # neighbours that are both missing are rendered in one breath
                merged.append(_Part(f"{before.text} {part.text}", part.gap_ms))
            else:
                merged.append(part)
        return merged

    def _resolve(self, piece: str) -> list[_Part]:
        """One piece between commas: whole, or its digits one by one."""
        if self._has(_spoken(piece)):
            return [_Part(piece, _gap_after(piece))]
        words = piece.split()
        runs = _digit_runs(words)
        if not runs or not all(self._has(_spoken(word)) for start, end in runs for word in words[start:end]):
            return [_Part(piece, _gap_after(piece))]
        parts: list[_Part] = []
        at = 0
        for start, end in [*runs, (len(words), len(words))]:
            if at < start:
                text = " ".join(words[at:start])
                parts.append(_Part(text, _JOIN_GAP_MS if start < len(words) else _gap_after(text)))
            parts += (_Part(word, _DIGIT_GAP_MS) for word in words[start:end])
            if start < end:
                last = words[end - 1]
                gap = _JOIN_GAP_MS if end < len(words) else _GROUP_GAP_MS if last.endswith(",") else _gap_after(last)
                parts[-1] = _Part(last, gap)
            at = end
        return parts

    # --- rendering --------------------------------------------------------------------------------------------------

    async def _stream(self, text: str) -> AsyncGenerator[bytes, None]:
        parts = [part for sentence in _sentences(text) for part in self._plan(sentence)]
        for index, part in enumerate(parts):
            spoken = _spoken(part.text)
            under_way = self._rendering.get(spoken)
            if under_way is not None:  # the background is at it
                await under_way.wait()
            audio = self._find(spoken)
            if audio is not None:
                self.hits += 1
                metrics.tts_cache.labels("hit").inc()
                yield audio
            else:
                self.misses += 1
                metrics.tts_cache.labels("miss").inc()
                chunks: list[bytes] = []
                async with self._inner.speak(part.text) as rendered:
                    async for chunk in rendered:
                        chunks.append(chunk)
                        yield chunk
                if not any(chunks):  # it failed without saying so
                    raise ProviderError(self.name, Failure.PROTOCOL, "the voice gave no audio")
                await self._keep(spoken, trim(b"".join(chunks)))
            yield silence(part.gap_ms if index < len(parts) - 1 else _TAIL_MS)

    async def _render(self, spoken: str, text: str) -> None:
        while (under_way := self._rendering.get(spoken)) is not None:  # another business says it, too
            await under_way.wait()
        if self._find(spoken) is not None:
            return
        done = self._rendering[spoken] = anyio.Event()
        try:
            async with self._inner.speak(text) as rendered:
                audio = trim(b"".join([chunk async for chunk in rendered]))
            await self._keep(spoken, audio)
        finally:
            del self._rendering[spoken]
            done.set()

    async def _patience(self) -> None:
        """Let those on the phone go first, within reason."""
        with anyio.move_on_after(_PATIENCE_S):
            while self._live:
                await self._quiet.wait()

    # --- storage ----------------------------------------------------------------------------------------------------

    def _file(self, spoken: str) -> str:
        return hashlib.sha256(f"{VERSION}\n{self._key}\n{spoken}".encode()).hexdigest()

    def _on_disk(self) -> set[str]:
        if self._files is None:
            there = self._folder is not None and self._folder.is_dir()
            self._files = {path.stem for path in self._folder.glob("*.ulaw")} if self._folder and there else set()
        return self._files

    def _has(self, spoken: str) -> bool:
        name = self._file(spoken)
        return not spoken or name in self._memory or name in self._on_disk()

    def _find(self, spoken: str) -> bytes | None:
        """From memory, then from disk; a damaged file is forgotten."""
        if not spoken:
            return b""
        name = self._file(spoken)
        audio = self._memory.get(name)
        if audio is not None:
            self._memory.move_to_end(name)
            return audio
        if self._folder is None or name not in self._on_disk():
            return None
        try:
            audio = _unpacked((self._folder / f"{name}.ulaw").read_bytes())
        except (OSError, ValueError):
            self._on_disk().discard(name)
            log.warning("a cached phrase is damaged and will be rendered again", extra={"file": name})
            return None
        self._remember(name, audio)
        return audio

    def _remember(self, name: str, audio: bytes) -> None:
        self._memory_bytes += len(audio) - len(self._memory.pop(name, b""))
        self._memory[name] = audio
        while self._memory_bytes > self._memory_bound and len(self._memory) > 1:
            self._memory_bytes -= len(self._memory.popitem(last=False)[1])

    async def _keep(self, spoken: str, audio: bytes) -> None:
        if not audio:
            return
        name = self._file(spoken)
        self._remember(name, audio)
        if self._folder is None or spoken not in self._fixed:
            return
        try:
            await anyio.to_thread.run_sync(_write, self._folder, name, _packed(audio))
            self._on_disk().add(name)
        except OSError as error:
            log.warning("a phrase could not be kept on disk", extra={"file": name, "reason": str(error)})


# --- text: what is one unit -----------------------------------------------------------------------------------------


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"(?<=[.!?…])\s+", text) if _spoken(sentence)]


def _pieces(sentence: str) -> list[str]:
    return [piece for piece in re.split(r"(?<=[,;:])\s+", sentence) if _spoken(piece)]


def _spoken(text: str) -> str:
    """What makes two texts sound alike: the words, and whether they ask."""
    words = text.strip(" ,.;:!?…\"'()-")
    return f"{words}?" if words and text.rstrip("\"') ").endswith("?") else words


def _gap_after(text: str) -> int:
    return _GAPS_MS.get(text.rstrip("\"') ")[-1:], _JOIN_GAP_MS)


def _digit_runs(words: Sequence[str]) -> list[tuple[int, int]]:
    """Where digits follow one another, as [start, end). One alone is a word like others: "עוד שאלה אחת"."""
    is_digit = [word.rstrip(",.;:!?") in DIGIT_WORDS for word in words]
    runs: list[tuple[int, int]] = []
    start = 0
    while start < len(words):
        end = start
        while end < len(words) and is_digit[end]:
            end += 1
        if end - start >= 2:
            runs.append((start, end))
        start = max(end, start + 1)
    return runs


# --- audio ----------------------------------------------------------------------------------------------------------


def trim(audio: bytes) -> bytes:
    """Without the silence at both ends, but for 10 ms: pauses are ours to make."""
    frames = len(audio) // FRAME_BYTES
    if not frames:
        return audio
    level = np.abs(to_float(audio[: frames * FRAME_BYTES])).reshape(frames, FRAME_BYTES).max(axis=1)
    loud = np.flatnonzero(level > max(0.004, 0.02 * float(level.max())))
    if not len(loud):
        return b""
    edge = _EDGE_MS * SAMPLES_PER_MS
    return audio[max(0, int(loud[0]) * FRAME_BYTES - edge) : (int(loud[-1]) + 1) * FRAME_BYTES + edge]


# --- files ----------------------------------------------------------------------------------------------------------


def _packed(audio: bytes) -> bytes:
    return _MAGIC + hashlib.blake2b(audio, digest_size=_SUM_BYTES).digest() + audio


def _unpacked(content: bytes) -> bytes:
    start = len(_MAGIC) + _SUM_BYTES
    audio = content[start:]
    if not audio or content[:start] != _packed(audio)[:start]:
        raise ValueError("damaged")
    return audio


def _write(folder: Path, name: str, content: bytes) -> None:
    """Whole or not at all, also with two processes at it."""
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".{name}.{os.getpid()}.part"
    part.write_bytes(content)
    part.replace(folder / f"{name}.ulaw")
