"""Any OpenAI-compatible transcription server as an engine: speaches, vLLM, a hosted one. How Whisper grows with calls.

One `POST {base_url}/audio/transcriptions` for each utterance, and for each look at one that is still spoken. Requests
run side by side, at most `parallel`; seats, turns and the filter of made-up text are those of the local Whisper.
"""

import io
import json
import logging
import wave
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2
import numpy as np

from moked.audio import SAMPLE_RATE, from_float, ms, to_pcm16
from moked.errors import Failure, ProviderError
from moked.stt.agreement import Look
from moked.stt.fairqueue import Rank
from moked.stt.seats import Seats, capacity
from moked.stt.utterance import Transcription
from moked.stt.whisper_engine import WhisperEngine
from moked.stt.whisper_filter import Clip, loud_ms, made_up
from moked.stt.workers import Displaced, Workers

log = logging.getLogger(__name__)

_CONNECT_S: Final = 2.0
_PROBE_MS: Final = 3000  # a usual utterance
_MAX_ANSWER: Final = 1_000_000
_HINT_LETTERS: Final = 300
# This family takes `languages` and `keywords`, and neither `language` nor `prompt` (openai-python, types/audio).
_NEWER: Final = "gpt-transcribe"
_LOGPROB: Final = -0.7  # these servers do not say how sure they are: as unsure as a sentence may be


class WhisperHttp(WhisperEngine):
    """An `Engine`. `model` is its name on that server.

    `max_calls`: 0 lets `seats.capacity` say, from a trial request. `hints`: whether business names are sent along.
    """

    name = "whisper-http"

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api_key: str = "",
        language: str = "he",
        max_calls: int = 0,
        parallel: int = 8,
        timeout_s: float = 8.0,
        hints: bool = True,
        partials: bool = True,
    ) -> None:
        seats = Seats(self.name, max_calls or capacity(1.0, parallel))
        super().__init__(seats, Workers(parallel, name=self.name), hints=hints, partials=partials)
        self._url = f"{base_url}/audio/transcriptions"
        self._host = urlsplit(base_url).netloc.rpartition("@")[2]
        self._model = model
        self._language = language
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout_s = timeout_s
        self._measured = max_calls == 0
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, and try the server once. One that is away or refuses is logged: it may be well again later."""
        limits = httpx2.Limits(max_connections=self._workers.count)
        timeout = httpx2.Timeout(self._timeout_s, connect=_CONNECT_S)
        async with httpx2.AsyncClient(headers=self._headers, timeout=timeout, limits=limits) as client:
            self._client = client
            try:
                await self._try_it()
                yield
            finally:
                self._client = None

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
        """What one piece of mu-law says. Raises `ProviderError`. `expect` is of no use to these servers."""
        limit = timeout_s or self._timeout_s
        deadline = anyio.current_time() + limit
        while True:
            try:
                return await self._ask(audio, hints, call=call, rank=rank, timeout_s=deadline - anyio.current_time())
            except Displaced:
                if anyio.current_time() >= deadline:
                    raise ProviderError(self.name, Failure.FULL, "callers came first until it was too late") from None

    def _check(self) -> None:
        pass  # a server that is away may be well again at the first utterance

    async def _look(
        self, audio: bytes, hints: Sequence[str], *, expect: str, look: Look, call: Hashable
    ) -> Transcription:
        return await self._ask(audio, hints, call=call, rank=Rank.PARTIAL, timeout_s=self._timeout_s)

    async def _try_it(self) -> None:
        noise = from_float(np.random.default_rng(1).normal(0, 0.05, _PROBE_MS * 8).astype(np.float32))
        started = anyio.current_time()
        try:
            await self._post(noise, ())
        except ProviderError as problem:
            log.error("the transcription server cannot be used now", extra={"host": self._host, "reason": str(problem)})
            return
        took_s = anyio.current_time() - started
        if self._measured:
            self._seats.limit = capacity(took_s, self._workers.count)
        log.info(
            "the transcription server answers",
            extra={"host": self._host, "utterance_ms": round(took_s * 1000), "calls": self._seats.limit},
        )

    async def _ask(
        self, audio: bytes, hints: Sequence[str], *, call: Hashable, rank: Rank, timeout_s: float
    ) -> Transcription:
        loud = loud_ms(audio)
        if loud == 0:
            return Transcription("")

        async def work(worker: int) -> Transcription:
            return await self._post(audio, hints)

        heard = await self._workers.run(work, call=call, rank=rank, size=len(audio), timeout_s=timeout_s)
        reason = made_up(heard.text, Clip(ms(audio), loud, _LOGPROB, no_speech=0.0)) if heard.text else ""
        if reason:
            log.info("Whisper text dropped", extra={"reason": reason, "audio_ms": ms(audio)})
            return Transcription("")
        return heard

    async def _post(self, audio: bytes, hints: Sequence[str]) -> Transcription:
        if self._client is None:
            raise ProviderError(self.name, Failure.CLOSED, "it is not running")
        file = ("utterance.wav", _wav(audio), "audio/wav")
        try:
            answer = await self._client.post(self._url, files={"file": file}, data=self._form(hints))
        except httpx2.TimeoutException as problem:
            raise ProviderError(self.name, Failure.TIMEOUT, f"{self._host}: no answer in time") from problem
        except (httpx2.HTTPError, OSError) as problem:
            detail = f"{self._host} cannot be reached ({type(problem).__name__}); check WHISPER_BASE_URL"
            raise ProviderError(self.name, Failure.UNAVAILABLE, detail) from problem
        if answer.status_code != 200:
            raise self._refusal(answer.status_code)
        return self._read(answer.content)

    def _form(self, hints: Sequence[str]) -> dict[str, Any]:
        form: dict[str, Any] = {"model": self._model, "response_format": "json"}
        newer = self._model.startswith(_NEWER)
        form["languages[]" if newer else "language"] = self._language
        if hints and newer:
            form["keywords[]"] = list(hints)
        elif hints:
            form["prompt"] = ", ".join(hints)[:_HINT_LETTERS]
        return form

    def _read(self, body: bytes) -> Transcription:
        try:
            if len(body) > _MAX_ANSWER:
                raise ValueError("the answer is too long")
            text = json.loads(body)["text"]
            if not isinstance(text, str):
                raise TypeError("the text is none")
        except (ValueError, KeyError, TypeError) as problem:
            detail = f"{self._host}: the answer is no transcription ({type(problem).__name__})"
            raise ProviderError(self.name, Failure.PROTOCOL, detail) from None
        return Transcription(" ".join(text.split()))

    def _refusal(self, status: int) -> ProviderError:
        kind, what = Failure.CONFIG, "the request is refused"
        if status in {401, 403}:
            kind, what = Failure.AUTH, "the key is refused; put a valid one into WHISPER_API_KEY"
        elif status == 404:
            what = (
                f"nothing answers there, or it has no model {self._model!r}; check that WHISPER_BASE_URL ends as the"
                " server wants it (mostly /v1) and that WHISPER_MODEL is a name it lists under /models"
            )
        elif status in {400, 413, 415, 422}:
            what = f"it cannot use the request; check that WHISPER_MODEL ({self._model!r}) is a transcription model"
        elif status in {408, 504}:
            kind, what = Failure.TIMEOUT, "it was too late"
        elif status == 429:
            kind, what = Failure.QUOTA, "too many requests; lower WHISPER_MAX_CALLS or raise the limit there"
        elif status >= 500:
            kind, what = Failure.UNAVAILABLE, "it is in trouble"
        return ProviderError(self.name, kind, f"{self._host}: HTTP {status}: {what}")


def _wav(mulaw: bytes) -> bytes:
    """16-bit PCM, which every server reads."""
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLE_RATE)
        sound.writeframes(to_pcm16(mulaw))
    return out.getvalue()
