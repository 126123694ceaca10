"""Whether an engine is back, found out by ourselves: a little silence through a stream, and an answer in time.

While a breaker is open nobody asks; when its time is over the canary goes in first. Calls return only to an engine that
has answered it. One task a process, owned by the role: a caller is never the one to find out.
"""

import logging
import random
from collections.abc import Mapping, Sequence

import anyio

from moked import audio
from moked.audio import FRAME_BYTES, silence
from moked.errors import Failure, Overloaded, ProviderError, first_leaf
from moked.stt import Engine
from moked.stt.failover import Breaker, State

log = logging.getLogger(__name__)

_LOOK_S = 0.5
_SILENCE = silence(200)
_ANSWER_S = 3.0  # to nothing at all; a stream that needs longer is not back
_AGAIN_S = 10.0  # where the answer opens no breaker: it was about our request


async def watch(engines: Sequence[Engine], breakers: Mapping[str, Breaker]) -> None:
    """Run for ever beside the calls."""
    async with anyio.create_task_group() as tasks:
        for engine in engines:
            tasks.start_soon(_mind, engine, breakers[engine.name], name=f"stt-canary-{engine.name}")


async def _mind(engine: Engine, breaker: Breaker) -> None:
    while True:
        await anyio.sleep(_LOOK_S)
        if breaker.state(_now()) is not State.HALF_OPEN:
            continue
        failure = await ask(engine)
        if failure is None:
            breaker.succeeded(_now())
            log.info("recognition is back", extra={"engine": engine.name})
        else:
            opened = breaker.failed(_now(), failure.kind, random.random())
            log.info("recognition is not back", extra={"engine": engine.name, "detail": str(failure)})
            if not opened:
                await anyio.sleep(_AGAIN_S)


async def ask(engine: Engine) -> ProviderError | None:
    """Let it hear 200 ms of silence to the end. None when it did, else why not."""
    failure: ProviderError | None = None
    try:
        with anyio.fail_after(_ANSWER_S):
            async with engine.stream(origin_ms=0) as stream:
                stream.speech_started(0)  # whole utterances are recognised only where somebody spoke
                for at in range(0, len(_SILENCE), FRAME_BYTES):
                    await stream.write(_SILENCE[at : at + FRAME_BYTES])
                stream.speech_ended(audio.ms(_SILENCE))
                await stream.finish()
                async for _ in stream:
                    pass
    except* (ProviderError, Overloaded, TimeoutError) as problems:
        problem = first_leaf(problems)
        late = ProviderError(engine.name, Failure.TIMEOUT, str(problem) or "no answer in time")
        failure = problem if isinstance(problem, ProviderError) else late
    return failure


def _now() -> int:
    """The clock of the relays: breakers are shared with them."""
    return int(anyio.current_time() * 1000)
