"""Writes the transcript of a call after it, from the spooled audio, utterance by utterance, when nobody else needs the
engine.

A spool file is deleted when its transcript is stored. What a stopped or killed process leaves is taken up at the next
start, by any process that sees the same folder; a file nobody could transcribe in `keep_s` is deleted. A stop waits for
nothing.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

import anyio
from anyio import to_thread

from moked import metrics, spool
from moked.crm.sealed import Sealer
from moked.records import Segment

log = logging.getLogger(__name__)

EVERY_S: Final = 2.0
KEEP_S: Final = 24 * 3600.0
_TRIES: Final = 3
_SOON_S: Final = 0.5


class Ear(Protocol):
    """`stt.second.SecondEar`: `hear` gives None where it is busy or fails."""

    name: str

    @property
    def free(self) -> bool: ...

    async def hear(self, audio: bytes, expect: str = "") -> str | None: ...


class Archive(Protocol):
    def store_transcript(self, call_sid: str, segments: Sequence[Segment]) -> bool: ...


async def transcribe(
    folder: Path,
    ear: Ear,
    archive: Archive,
    sealer: Sealer,
    *,
    every_s: float = EVERY_S,
    keep_s: float = KEEP_S,
    spare: Callable[[], bool] = lambda: True,
) -> None:
    """Run for ever. `spare`: the calls leave time for it."""
    failures: dict[Path, int] = {}
    while True:
        for path in await to_thread.run_sync(spool.left, folder):
            if failures.get(path, 0) >= _TRIES and spool.age_s(path) < keep_s:
                continue  # until the next start
            try:
                done = await _one(path, ear, archive, sealer, keep_s, spare)
            except Exception as error:  # a database or a disk that is away: the file is still there
                log.warning(
                    "a transcript could not be stored", extra={"error": type(error).__name__, "pii.error": str(error)}
                )
                done = False
            if not done:
                failures[path] = failures.get(path, 0) + 1
        await anyio.sleep(every_s)


async def _one(
    path: Path, ear: Ear, archive: Archive, sealer: Sealer, keep_s: float, spare: Callable[[], bool]
) -> bool:
    """False where it was tried and did not work."""
    with ExitStack() as held:
        spooled = await to_thread.run_sync(held.enter_context, spool.take(path, sealer))
        if spooled is None:
            return True  # its call still runs, or another process is at it
        if spool.age_s(path) >= keep_s:
            log.warning("a spooled call was deleted: nobody transcribed it", extra={"call_sid": spooled.call_sid})
            metrics.stored_transcripts.labels("expired").inc()
            await to_thread.run_sync(spool.delete, path)
            return True
        segments = []
        for start, end in spooled.utterances:
            text = await _heard(ear, spooled.cut(start, end), spare)
            if text is None:
                metrics.stored_transcripts.labels("failed").inc()
                return False
            if text.strip():
                segments.append(Segment(start, end, "caller", text.strip(), ear.name))
        if not await to_thread.run_sync(archive.store_transcript, spooled.call_sid, segments):
            log.warning("transcript of an unknown call", extra={"call_sid": spooled.call_sid})
        metrics.stored_transcripts.labels("stored").inc()
        await to_thread.run_sync(spool.delete, path)
        return True


async def _heard(ear: Ear, audio: bytes, spare: Callable[[], bool]) -> str | None:
    """When the engine is free and the calls are at ease. Three failures are one."""
    for _ in range(_TRIES):
        while not (ear.free and spare()):
            await anyio.sleep(_SOON_S)
        text = await ear.hear(audio)
        if text is not None:
            return text
        await anyio.sleep(_SOON_S)
    return None
