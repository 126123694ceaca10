"""One recording heard once, by whichever engine answers: what was spoken to us outside a call's own stream."""

import logging
from collections.abc import Sequence

import anyio

from moked.errors import Overloaded, ProviderError
from moked.stt import SAMPLES_PER_MS, Engine, Final, Stream

log = logging.getLogger(__name__)

_PIECE = 100 * SAMPLES_PER_MS


async def hear_once(engines: Sequence[Engine], audio: bytes, *, timeout_s: float = 6.0) -> str:
    """The words in mu-law `audio`; '' for none, and where no engine could tell. Each engine gets `timeout_s`."""
    for engine in engines:
        try:
            with anyio.fail_after(timeout_s):
                return await _heard(engine, audio)
        except* (ProviderError, Overloaded, TimeoutError) as failed:
            log.warning("a recording was not heard", extra={"engine": engine.name, "error": str(failed.exceptions[0])})
    return ""


async def _heard(engine: Engine, audio: bytes) -> str:
    async with engine.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:
        tasks.start_soon(_write, stream, audio)
        results = [result async for result in stream]
    return " ".join(result.text.strip() for result in results if isinstance(result, Final))


async def _write(stream: Stream, audio: bytes) -> None:
    stream.speech_started(0)
    for start in range(0, len(audio), _PIECE):
        await stream.write(audio[start : start + _PIECE])
    stream.speech_ended(len(audio) // SAMPLES_PER_MS)
    await stream.finish()
