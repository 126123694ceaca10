"""Chat completions as they stream, from any OpenAI-compatible server: one POST, one line of JSON a word.

    stream(body) -> POST {base_url}/chat/completions -> `data: {...}` lines -> Chunk, as each comes

A client library would do this too. It walked over every message it sent and built objects of every field of every
word: a tenth of a busy server's time, for four fields that are read here (measured by `bench/density.py`: decision
0021). What servers send beside those is ignored; a tool call is kept as it came, because unknown fields of it must go
back (Gemini's signatures).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import anyio
import httpx2
import msgspec

from moked.errors import Failure, ProviderError

PROVIDER: Final = "llm"
OPENAI: Final = "https://api.openai.com/v1"
_CONNECT_S: Final = 2.0
_BETWEEN_WORDS_S: Final = 2.5
_LONGEST_LINE: Final = 1_000_000
_SHOWN: Final = 300  # characters of what a server says is wrong
_IDLE_S: Final = 60.0  # a connection is kept for the next turn
_KEPT: Final = 100


class Delta(msgspec.Struct, gc=False):
    """What is new in an answer. `tool_calls` are fragments, as they came."""

    content: str | None = None
    tool_calls: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct):
    delta: Delta = msgspec.field(default_factory=Delta)


class Usage(msgspec.Struct, gc=False):
    total_tokens: int = 0


class Chunk(msgspec.Struct):
    choices: list[Choice] = []
    usage: Usage | None = None
    error: Any = None


_decode: Final = msgspec.json.Decoder(Chunk).decode
_encode: Final = msgspec.json.Encoder().encode


class Chat:
    """One server's completions, for all calls of the process. `timeout_s` is for the first word."""

    def __init__(self, *, base_url: str, api_key: str, timeout_s: float) -> None:
        self._url = f"{(base_url or OPENAI).rstrip('/')}/chat/completions"
        self._timeout_s = timeout_s
        self._http = httpx2.AsyncClient(
            headers={
                "Authorization": f"Bearer {api_key or 'none'}",
                "Content-Type": "application/json",
                "Accept": "text/event-stream",
                "User-Agent": "moked",
            },
            timeout=httpx2.Timeout(timeout_s, connect=_CONNECT_S),
            limits=httpx2.Limits(max_connections=1000, max_keepalive_connections=_KEPT, keepalive_expiry=_IDLE_S),
            follow_redirects=True,
        )

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def stream(self, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[Chunk]]:
        """One completion. Raises `ProviderError`; a silent server is a TIMEOUT, also between words."""
        try:
            with anyio.fail_after(self._timeout_s):
                request = self._http.build_request("POST", self._url, content=_encode(body))
                response = await self._http.send(request, stream=True)
                if response.status_code >= 400:
                    await response.aread()
        except (httpx2.HTTPError, TimeoutError) as error:
            raise _unreachable(error) from error
        try:
            if response.status_code >= 400:
                raise _refused(response.status_code, response.text)
            yield self._chunks(response)
        finally:
            with anyio.CancelScope(shield=True), anyio.move_on_after(1):
                await response.aclose()

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[Chunk]:
        pieces = response.aiter_bytes()
        part, wait = b"", self._timeout_s
        while True:
            try:
                with anyio.fail_after(wait):
                    piece = await anext(pieces, None)
            except (httpx2.HTTPError, TimeoutError) as error:
                raise _unreachable(error) from error
            if piece is None:
                raise ProviderError(PROVIDER, Failure.UNAVAILABLE, "the answer ended in the middle")
            *lines, part = (part + piece).split(b"\n")
            if len(part) > _LONGEST_LINE:
                raise ProviderError(PROVIDER, Failure.PROTOCOL, "a line without an end")
            for line in lines:
                if line.startswith(b"data:"):
                    data = line[5:].strip()
                    if data == b"[DONE]":
                        return
                    yield _chunk(data)
                    wait = _BETWEEN_WORDS_S


def _chunk(data: bytes) -> Chunk:
    try:
        chunk = _decode(data)
    except msgspec.DecodeError as error:
        raise ProviderError(PROVIDER, Failure.PROTOCOL, str(error)[:_SHOWN]) from error
    if chunk.error is not None:
        raise ProviderError(PROVIDER, Failure.UNAVAILABLE, str(chunk.error)[:_SHOWN])
    return chunk


def _unreachable(error: Exception) -> ProviderError:
    late = isinstance(error, TimeoutError | httpx2.TimeoutException)
    kind = Failure.TIMEOUT if late else Failure.UNAVAILABLE
    return ProviderError(PROVIDER, kind, str(error)[:_SHOWN] or type(error).__name__)


def _refused(status: int, text: str) -> ProviderError:
    match status:
        case 401 | 403:
            kind = Failure.AUTH
        case 429:
            kind = Failure.QUOTA
        case 408:
            kind = Failure.TIMEOUT
        case _ if status < 500:
            kind = Failure.CONFIG
        case _:
            kind = Failure.UNAVAILABLE
    return ProviderError(PROVIDER, kind, f"HTTP {status}: {text}"[:_SHOWN])
