"""Google Cloud Text-to-Speech: unary requests, mu-law out of its WAV container. The only file that imports the client.

Facts it rests on (Google's reference and client 2.38): a request holds at most 5,000 *bytes* of text; MULAW comes
inside a WAV whose header has no fixed length, so RIFF is parsed; `speaking_rate` is 0.25..2.0, `pitch` -20..20 and
refused by Chirp voices; the client's own retry waits far longer than a caller does, so it is off and one fast retry is
ours. A request is one clause: the whole audio of it arrives at once.
"""

import asyncio
import logging
import struct
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

import anyio
import google.auth
import google.auth.exceptions
import grpc.aio
from google.api_core import exceptions as api
from google.cloud import texttospeech_v1 as tts
from google.cloud.texttospeech_v1.services.text_to_speech.transports import TextToSpeechGrpcAsyncIOTransport
from google.oauth2 import service_account

from moked.audio import SAMPLE_RATE
from moked.errors import Failure, ProviderError
from moked.tts import Progress
from moked.tts.clauses import CutPolicy, clauses
from moked.tts.hebrew import prepare

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

MAX_BYTES: Final = 5000
_PROFILE: Final = "telephony-class-application"
_HOST: Final = "texttospeech.googleapis.com"
_SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)
_RETRY_DELAY_S: Final = 0.05
_LOOK_S: Final = 2.0  # the start waits so long for the list of voices

_FAILURES: Final[tuple[tuple[type[Exception], Failure], ...]] = (
    (api.Unauthorized, Failure.AUTH),
    (api.Forbidden, Failure.AUTH),
    (api.TooManyRequests, Failure.QUOTA),
    (api.GatewayTimeout, Failure.TIMEOUT),
    (api.ServerError, Failure.UNAVAILABLE),
    (api.Aborted, Failure.UNAVAILABLE),
    (api.ClientError, Failure.CONFIG),
)


class GoogleVoice:
    """Hebrew by Google. `emulator_host` ('host:port') means plaintext and no credentials.

    `credentials_file` is a service account's key file; None lets the platform's own credentials be found.
    `concurrency` requests run at a time; more wait, and the wait counts towards `timeout` (seconds, for one request
    with its retry).
    """

    name = "google"

    def __init__(
        self,
        *,
        voice: str = "he-IL-Wavenet-D",
        rate: float = 0.96,
        pitch: float = -2.0,
        gender: str = "m",
        emulator_host: str | None = None,
        credentials_file: str | None = None,
        concurrency: int = 64,
        timeout: float = 4.0,
    ) -> None:
        chirp = "Chirp" in voice
        self._voice = tts.VoiceSelectionParams(language_code="-".join(voice.split("-")[:2]), name=voice)
        self._audio = tts.AudioConfig(
            audio_encoding=tts.AudioEncoding.MULAW,
            sample_rate_hertz=SAMPLE_RATE,
            speaking_rate=rate,
            effects_profile_id=[_PROFILE],
            **({} if chirp else {"pitch": pitch}),
        )
        self._gender = gender
        self._emulator_host = emulator_host
        self._credentials_file = credentials_file
        self._slots = anyio.Semaphore(concurrency)
        self._timeout = timeout
        self._client: tts.TextToSpeechAsyncClient | None = None
        self.key = f"google/{voice}/{rate}/{0.0 if chirp else pitch}"
        self.retries = 0

    def cached(self, text: str) -> bytes | None:
        return None

    @asynccontextmanager
    async def speak(self, text: str) -> AsyncIterator[AsyncIterator[bytes]]:
        yield self._pieces(prepare(text, gender=self._gender))

    async def prepare(self, texts: Sequence[str], progress: Progress | None = None) -> None:
        """Nothing to do: an engine keeps no audio. Wrap it in `tts.cache.CachedSynthesizer`."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect, and look whether the voice is there. Bad credentials are raised; an unreachable Google may come
        back."""
        async with self._connected():
            await self._look_for_the_voice()
            yield

    async def voices(self) -> list[str]:
        """Names of the voices Google has for this voice's language. Connected for as long as this takes; not beside
        `running`. Raises `ProviderError`."""
        async with self._connected():
            return await self._voices(self._timeout)

    async def _look_for_the_voice(self) -> None:
        """Tell the log what is wrong; the start goes on either way."""
        try:
            voices = await self._voices(_LOOK_S)
        except ProviderError as error:
            log.warning(
                "Google Text-to-Speech does not answer yet", extra={"provider": self.name, "detail": str(error)}
            )
            return
        if self._voice.name not in voices:
            extra = {"provider": self.name, "voice": self._voice.name, "available": voices[:40]}
            log.error("Google does not have the voice: set TTS_VOICE to one that it has", extra=extra)

    async def _voices(self, timeout: float) -> list[str]:
        assert self._client is not None
        request = tts.ListVoicesRequest(language_code=self._voice.language_code)
        with _failures(self.name):
            response = await _in_own_task(self._client.list_voices(request=request, retry=None, timeout=timeout))
        return sorted(voice.name for voice in response.voices)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[None]:
        channel = self._channel()
        try:
            channel.get_state(try_to_connect=True)
            self._client = tts.TextToSpeechAsyncClient(transport=TextToSpeechGrpcAsyncIOTransport(channel=channel))
            yield
        finally:
            self._client = None
            with anyio.CancelScope(shield=True):
                await channel.close()

    def _channel(self) -> grpc.aio.Channel:
        if self._emulator_host:
            return grpc.aio.insecure_channel(self._emulator_host)
        try:
            if self._credentials_file:
                read = service_account.Credentials.from_service_account_file
                credentials = read(self._credentials_file, scopes=_SCOPES)  # type: ignore[no-untyped-call]
            else:
                credentials, _ = google.auth.default(scopes=_SCOPES)
        except (OSError, ValueError, google.auth.exceptions.GoogleAuthError) as error:
            raise ProviderError(self.name, Failure.AUTH, f"the credentials cannot be used: {error}") from error
        return TextToSpeechGrpcAsyncIOTransport.create_channel(_HOST, credentials=credentials)

    async def _pieces(self, text: str) -> AsyncIterator[bytes]:
        for piece in split(text, MAX_BYTES):
            if any(character.isalpha() for character in piece):
                yield await self._synthesize(piece)

    async def _synthesize(self, text: str) -> bytes:
        if self._client is None:
            raise ProviderError(self.name, Failure.CLOSED, "not running")
        request = tts.SynthesizeSpeechRequest(
            input=tts.SynthesisInput(text=text), voice=self._voice, audio_config=self._audio
        )
        deadline = anyio.current_time() + self._timeout
        try:
            with anyio.fail_after(self._timeout):
                async with self._slots:
                    try:
                        return await self._request(request, deadline)
                    except ProviderError as error:
                        if error.kind is not Failure.UNAVAILABLE:
                            raise
                        self.retries += 1
                        log.info("speech synthesis is tried again", extra={"provider": self.name, "reason": str(error)})
                    await anyio.sleep(_RETRY_DELAY_S)
                    return await self._request(request, deadline)
        except TimeoutError as error:
            raise ProviderError(self.name, Failure.TIMEOUT, f"no audio within {self._timeout:g} s") from error

    async def _request(self, request: tts.SynthesizeSpeechRequest, deadline: float) -> bytes:
        assert self._client is not None
        left = max(0.05, deadline - anyio.current_time())
        with _failures(self.name):
            response = await _in_own_task(self._client.synthesize_speech(request=request, retry=None, timeout=left))
        try:
            audio = mulaw_of(response.audio_content)
        except ValueError as error:
            raise ProviderError(self.name, Failure.PROTOCOL, str(error)) from error
        if not audio:  # a voice that says nothing is a failure that nobody hears
            raise ProviderError(self.name, Failure.PROTOCOL, "an answer without audio")
        return audio


@contextmanager
def _failures(provider: str) -> Iterator[None]:
    """The client's errors as ours."""
    try:
        yield
    except api.GoogleAPICallError as error:
        raise ProviderError(provider, _failure(error), error.message or type(error).__name__) from error
    except google.auth.exceptions.GoogleAuthError as error:
        raise ProviderError(provider, Failure.AUTH, str(error)) from error


async def _in_own_task(call: Coroutine[Any, Any, Answer]) -> Answer:
    """Await a gRPC call so that our cancellation stays ours.

    grpc.aio answers a cancellation with a CancelledError of its own, without the mark by which anyio's scopes know
    theirs, and the scope would let it pass. So the call runs in a task that only this function waits for and ends.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at: where we are cancelled at the same moment, nobody else does
    if task.cancelled():
        raise ProviderError(GoogleVoice.name, Failure.CLOSED, "the channel was closed during the request")
    return task.result()


def _failure(error: api.GoogleAPICallError) -> Failure:
    return next((failure for kind, failure in _FAILURES if isinstance(error, kind)), Failure.UNAVAILABLE)


_MULAW: Final = 7
_EXTENSIBLE: Final = 0xFFFE


def mulaw_of(content: bytes) -> bytes:
    """The mu-law samples of a WAV: any chunks in any order, and the streaming writers' data sizes of 0 and 0xFFFFFFFF.

    Bytes that are no WAV are taken as headerless audio. Raises ValueError when it is a WAV of something else.
    """
    if content[:4] not in (b"RIFF", b"RF64") or content[8:12] != b"WAVE":
        return content
    at, form = 12, None
    while at + 8 <= len(content):
        name, size = content[at : at + 4], struct.unpack_from("<I", content, at + 4)[0]
        body = at + 8
        if name == b"fmt ":
            if len(content) < body + 16:
                break
            form = struct.unpack_from("<HHI", content, body)
            if form[0] == _EXTENSIBLE and size >= 26:
                form = (struct.unpack_from("<H", content, body + 24)[0], *form[1:])
            if form != (_MULAW, 1, SAMPLE_RATE):
                raise ValueError(f"a WAV of format {form[0]}, {form[1]} channels, {form[2]} Hz")
        elif name == b"data":
            if form is None:
                raise ValueError("a WAV whose data comes before its format")
            return content[body:] if size in (0, 0xFFFFFFFF) else content[body : body + size]
        at = body + size + (size & 1)
    raise ValueError("a WAV without data")


def split(text: str, limit: int) -> list[str]:
    """`text` in as few pieces of at most `limit` UTF-8 bytes as its clauses allow; a single longer word is cut."""
    if len(text.encode()) <= limit:
        return [text] if text else []
    out: list[str] = []
    for clause in _bounded(clauses(text, CutPolicy(later_any=limit // 8)), limit):
        if out and len((out[-1] + clause).encode()) <= limit:
            out[-1] += clause
        else:
            out.append(clause)
    return out


def _bounded(pieces: Sequence[str], limit: int) -> list[str]:
    out: list[str] = []
    for piece in pieces:
        rest = piece
        while len(rest.encode()) > limit:
            head = rest.encode()[:limit].decode(errors="ignore")
            out.append(head)
            rest = rest[len(head) :]
        out.append(rest)
    return out
