"""Whisper on this machine: one child process for all calls, asked for one utterance at a time.

At most `max_pending` utterances wait; one more is refused, and the relay looks for another engine. An utterance that
waits and decodes longer than `timeout_s` is given up: nobody on a telephone waits that long.
"""

import logging
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio

from moked.childproc import Child
from moked.errors import Failure, ModelError, Overloaded, ProviderError
from moked.stt import Stream
from moked.stt.utterance import Transcription, UtteranceStream

log = logging.getLogger(__name__)

_LOAD_S: Final = 1800.0  # a big model may come from a hub first
_STILL_LOADING_S: Final = 10.0


class WhisperLocal:
    """An `Engine`. `model` is a folder of a CTranslate2 Whisper model, or a name a model hub knows.

    `compute_type`: int8 suits the small models; large ones lose accuracy by it on Hebrew ("float32" keeps it).
    `cpu_threads`: 0 takes half the cores, at most four. `nice` keeps the child behind the calls' own loop.
    `hints`: whether business names are given to the decoder; they help a good model and lead a weak one astray.
    """

    name = "whisper"
    whole_utterances = True

    def __init__(
        self,
        model: str | Path,
        *,
        language: str = "he",
        compute_type: str = "int8",
        cpu_threads: int = 0,
        nice: int = 5,
        max_pending: int = 16,
        timeout_s: float = 8.0,
        hints: bool = False,
    ) -> None:
        self._model = str(model)
        self._timeout_s = timeout_s
        self._use_hints = hints
        config = {
            "model": self._model,
            "language": language,
            "compute_type": compute_type,
            "cpu_threads": cpu_threads or max(1, min(4, (os.cpu_count() or 1) // 2)),
        }
        self._child = Child("moked.stt.whisper_child", config, name=self.name, max_pending=max_pending, nice=nice)
        self._settled = anyio.Event()
        self._problem: ModelError | None = None

    @property
    def pending(self) -> int:
        """Utterances that wait or are being decoded."""
        return self._child.pending

    def running(self, *, wait: bool = True) -> AbstractAsyncContextManager[None]:
        """Start the child and load the model. Raises `ModelError` when it cannot be loaded.

        With `wait=False` entry returns at once: `ready` tells when it has loaded, and utterances wait until then.
        """
        return self._running(wait)

    async def ready(self) -> None:
        """Wait until the model is loaded and warm. Raises `ModelError` when it cannot be."""
        await self._settled.wait()
        if self._problem is not None:
            raise self._problem

    def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AbstractAsyncContextManager[Stream]:
        return self._stream(origin_ms, list(hints) if self._use_hints else [])

    async def transcribe(self, audio: bytes, hints: Sequence[str] = (), *, expect: str = "") -> Transcription:
        """What one piece of mu-law says. `expect`: what was asked for. Raises `ProviderError`."""
        request = {"audio": audio, "hints": list(hints), "expect": expect}
        try:
            answer = await self._ask(request, self._timeout_s)
        except ProviderError as problem:
            if problem.kind is not Failure.UNAVAILABLE:
                raise
            # Whoever asks first after the process died is told; another has been started by now. Once, and not more:
            # the utterance itself may be what kills it.
            answer = await self._ask(request, self._timeout_s)
        if answer["reason"]:
            log.info(
                "Whisper text dropped",
                extra={"reason": answer["reason"], "audio_ms": len(audio) // 8, "decode_ms": answer["decode_ms"]},
            )
        return Transcription(answer["text"], answer["confidence"] if answer["text"] else None)

    @asynccontextmanager
    async def _stream(self, origin_ms: int, hints: list[str]) -> AsyncIterator[UtteranceStream]:
        if self._problem is not None:
            raise ProviderError(self.name, Failure.CONFIG, str(self._problem))

        async def transcribe(audio: bytes) -> Transcription:
            return await self.transcribe(audio, hints)

        async with UtteranceStream(transcribe, engine=self.name, origin_ms=origin_ms) as stream:
            yield stream

    @asynccontextmanager
    async def _running(self, wait: bool) -> AsyncIterator[None]:
        problem: ModelError | None = None
        async with self._child.running(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._load, name="whisper-load")
            if wait:
                await self._settled.wait()
                problem = self._problem
            if problem is None:
                yield
            tasks.cancel_scope.cancel()
        if problem is not None:  # raised out here, or the task groups would wrap it
            raise problem

    async def _load(self) -> None:
        log.info("Whisper is loading", extra={"model": self._model})
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._say_so)
            try:
                answer = await self._ask({"prepare": True}, _LOAD_S)
                if answer["error"]:
                    self._problem = self._model_error(answer["error"])
            except ProviderError as problem:
                self._problem = self._model_error(str(problem))
            tasks.cancel_scope.cancel()
        if self._problem is not None:
            log.error("Whisper cannot be used", extra={"model": self._model, "reason": str(self._problem)})
        else:
            log.info("Whisper is ready", extra={"model": self._model, "load_ms": answer["load_ms"]})
        self._settled.set()

    async def _say_so(self) -> None:
        started = anyio.current_time()
        while True:
            await anyio.sleep(_STILL_LOADING_S)
            seconds = round(anyio.current_time() - started)
            log.info("Whisper is still loading", extra={"model": self._model, "seconds": seconds})

    def _model_error(self, reason: str) -> ModelError:
        return ModelError(
            f"the Whisper model {self._model!r} (WHISPER_MODEL) cannot be loaded: {reason}. Set WHISPER_MODEL to a"
            " folder with a CTranslate2 Whisper model or to a name your model hub serves; unset it for the embedded one"
        )

    async def _ask(self, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        try:
            async with self._child.ask(request, timeout=timeout_s) as answers:
                got = [answer async for answer in answers]  # to its end, or the ask would still count as pending
        except Overloaded as problem:
            raise ProviderError(self.name, Failure.TIMEOUT, str(problem)) from problem  # it would come too late
        if len(got) != 1:
            raise ProviderError(self.name, Failure.PROTOCOL, f"{len(got)} answers to one ask")
        return got[0]
