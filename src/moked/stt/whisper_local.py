"""Whisper on this machine: a few child processes for all calls, asked for one utterance at a time.

A call that listens has a seat (`seats`), and there are as many as can be served well. Between the calls with a seat the
children's time is given out by rank and in turns (`workers`). An utterance that waits and decodes longer than
`timeout_s` is given up: nobody on a telephone waits that long.
"""

import logging
import os
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from moked.childproc import Child
from moked.errors import Failure, ModelError, Overloaded, ProviderError
from moked.stt.agreement import Look
from moked.stt.fairqueue import Rank
from moked.stt.seats import Seats, capacity
from moked.stt.utterance import Transcription
from moked.stt.whisper_engine import WhisperEngine
from moked.stt.whisper_models import advice, problem_with
from moked.stt.workers import Displaced, Workers

log = logging.getLogger(__name__)

_LOAD_S: Final = 1800.0  # a big model may come from a hub first
_STILL_LOADING_S: Final = 10.0
_SLOW_S: Final = 2.0  # a usual utterance that takes longer is no answer in a conversation


class WhisperLocal(WhisperEngine):
    """An `Engine`. `model` is a folder of a CTranslate2 Whisper model, or a name a model hub knows.

    `compute_type`: int8 suits the small models; large ones lose Hebrew by it ("default" keeps what they are).
    `workers` child processes with `cpu_threads` each: 0 takes one child for four cores, and half the cores for them.
    `nice` keeps them behind the calls' own loop. `max_calls`: 0 lets `seats.capacity` say, from a trial decoding.
    `hints`: whether business names are given to the decoder; they help a good model and lead a weak one astray.
    """

    name = "whisper"

    def __init__(
        self,
        model: str | Path,
        *,
        language: str = "he",
        compute_type: str = "int8",
        workers: int = 0,
        cpu_threads: int = 0,
        nice: int = 5,
        max_calls: int = 0,
        max_waiting: int = 64,
        timeout_s: float = 8.0,
        hints: bool = False,
        partials: bool = True,
    ) -> None:
        self._model = str(model)
        self._timeout_s = timeout_s
        self._measured = max_calls == 0
        cores = os.cpu_count() or 1
        count = workers or max(1, cores // 4)
        config = {
            "model": self._model,
            "language": language,
            "compute_type": compute_type,
            "cpu_threads": cpu_threads or max(1, min(4, cores // (2 * count))),
        }
        pool = Workers(count, name=self.name, ready=self._is_ready, max_items=max_waiting)
        super().__init__(Seats(self.name, max_calls or 1), pool, hints=hints, partials=partials)
        self._children = [
            Child(
                "moked.stt.whisper_child",
                config,
                name=self.name,
                max_pending=2,  # one that is being given up, and the next
                nice=nice,
                label=self.name if number == 0 else f"{self.name}-{number + 1}",
                on_free=self._workers.wake,
            )
            for number in range(count)
        ]
        self._settled = anyio.Event()
        self._problem: ModelError | None = None

    @property
    def memory(self) -> int:
        """Resident memory of the children in bytes."""
        return sum(child.memory for child in self._children)

    def running(self, *, wait: bool = True) -> AbstractAsyncContextManager[None]:
        """Start the children and load the model. Raises `ModelError` when it cannot be loaded.

        With `wait=False` entry returns at once: `ready` tells when it has loaded, and utterances wait until then.
        """
        return self._running(wait)

    async def ready(self) -> None:
        """Wait until the model is loaded and warm. Raises `ModelError` when it cannot be."""
        await self._settled.wait()
        if self._problem is not None:
            raise self._problem

    async def transcribe_wide(self, pcm16k: bytes, hints: Sequence[str] = ()) -> Transcription:
        """What a piece of a recording says: 16-bit at 16 kHz, at most 28 s. Raises `ProviderError`."""
        request = {"pcm16k": pcm16k, "hints": list(hints)}
        return _transcription(await self._hear(request, call=None, rank=Rank.SECOND_PASS, timeout_s=self._timeout_s))

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
        """What one piece of mu-law says. `expect`: what the agent asked for. Raises `ProviderError`.

        By its rank it waits behind every caller who has just finished a sentence; `call` says with whom it takes turns.
        """
        request = {"audio": audio, "hints": list(hints), "expect": expect}
        answer = await self._hear(request, call=call, rank=rank, timeout_s=timeout_s or self._timeout_s)
        if answer["reason"]:
            log.info(
                "Whisper text dropped",
                extra={"reason": answer["reason"], "audio_ms": len(audio) // 8, "decode_ms": answer["decode_ms"]},
            )
        return _transcription(answer)

    async def _hear(self, request: dict[str, Any], *, call: Hashable, rank: Rank, timeout_s: float) -> dict[str, Any]:
        deadline = anyio.current_time() + timeout_s
        deaths = 0
        while True:
            left = deadline - anyio.current_time()
            try:
                return await self._ask(request, call=call, rank=rank, timeout_s=left)
            except Displaced:
                if left <= 0:
                    raise ProviderError(self.name, Failure.FULL, "callers came first until it was too late") from None
            except ProviderError as problem:
                # Whoever asks first after the process died is told; another has been started by now. Once, and not
                # more: the utterance itself may be what kills it.
                deaths += 1
                if problem.kind is not Failure.UNAVAILABLE or deaths > 1:
                    raise

    def _check(self) -> None:
        if self._problem is not None:
            raise ProviderError(self.name, Failure.CONFIG, str(self._problem))

    async def _look(
        self, audio: bytes, hints: Sequence[str], *, expect: str, look: Look, call: Hashable
    ) -> Transcription:
        request = {"audio": audio, "hints": list(hints), "expect": expect, "glance": look is Look.GLANCE}
        return _transcription(await self._ask(request, call=call, rank=Rank.PARTIAL, timeout_s=self._timeout_s))

    @asynccontextmanager
    async def _running(self, wait: bool) -> AsyncIterator[None]:
        problem: ModelError | None = None
        async with AsyncExitStack() as stack:
            wrong = problem_with(self._model)
            if wrong:
                self._settle(self._model_error(wrong))
            else:
                for child in self._children:
                    await stack.enter_async_context(child.running())
                tasks = await stack.enter_async_context(anyio.create_task_group())
                stack.callback(tasks.cancel_scope.cancel)
                tasks.start_soon(self._load, name="whisper-load")
            if wait:
                await self._settled.wait()
                problem = self._problem
            if problem is None:
                yield
        if problem is not None:  # raised out here, or the task groups would wrap it
            raise problem

    async def _load(self) -> None:
        self._settle(await self._prepare())

    def _settle(self, problem: ModelError | None) -> None:
        self._problem = problem
        if problem is not None:
            log.error("Whisper cannot be used", extra={"model": self._model, "reason": str(problem)})
        self._settled.set()

    async def _prepare(self) -> ModelError | None:
        """Load the model in every child, and measure what they can do. Returns why it cannot be."""
        log.info("Whisper is loading", extra={"model": self._model})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._say_so)
            try:  # one after another: the first fetches the model where it is not here
                answers = [await self._ask_child(child, {"prepare": True}, _LOAD_S) for child in self._children]
            except ProviderError as problem:
                answers = [{"error": str(problem)}]
            tasks.cancel_scope.cancel()
        if errors := [answer["error"] for answer in answers if answer["error"]]:
            return self._model_error(errors[0])
        usual_ms = max(answer["usual_ms"] for answer in answers)
        if self._measured:
            self._seats.limit = capacity(usual_ms / 1000, len(self._children))
        found = {
            "model": self._model,
            "load_ms": answers[0]["load_ms"],
            "utterance_ms": usual_ms,
            "calls": self._seats.limit,
            "memory_mb": self.memory // 1_000_000,
        }
        if usual_ms <= _SLOW_S * 1000:
            log.info("Whisper is ready", extra=found)
        else:
            log.warning("Whisper is ready, but too slow for conversations here", extra=found)
        return None

    async def _say_so(self) -> None:
        started = anyio.current_time()
        while True:
            await anyio.sleep(_STILL_LOADING_S)
            seconds = round(anyio.current_time() - started)
            log.info("Whisper is still loading", extra={"model": self._model, "seconds": seconds})

    def _model_error(self, reason: str) -> ModelError:
        return ModelError(
            f"the Whisper model {self._model!r} (WHISPER_MODEL) cannot be loaded: {reason}. {advice(self._model)}"
        )

    def _is_ready(self, worker: int) -> bool:
        """It works on nothing. One that is not loaded is better than none: its asks wait for it."""
        child = self._children[worker]
        if child.pending:
            return False
        return child.loaded or not any(other.loaded and not other.pending for other in self._children)

    async def _ask(self, request: dict[str, Any], *, call: Hashable, rank: Rank, timeout_s: float) -> dict[str, Any]:
        async def work(worker: int) -> dict[str, Any]:
            return await self._ask_child(self._children[worker], request, timeout_s)

        size = len(request.get("audio") or request["pcm16k"])
        return await self._workers.run(work, call=call, rank=rank, size=size, timeout_s=timeout_s)

    async def _ask_child(self, child: Child, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            async with child.ask(request, timeout=timeout_s) as answers:
                got = [answer async for answer in answers]  # to its end, or the ask would still count as pending
        except Overloaded as problem:
            raise ProviderError(self.name, Failure.FULL, str(problem)) from problem
        if len(got) != 1:
            raise ProviderError(self.name, Failure.PROTOCOL, f"{len(got)} answers to one ask")
        return got[0]


def _transcription(answer: dict[str, Any]) -> Transcription:
    return Transcription(answer["text"], answer["confidence"] if answer["text"] else None)
