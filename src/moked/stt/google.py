"""Google Speech-to-Text v1, streaming and whole utterances: the only file that knows its library and gRPC's.

What the answers mean is `google_rules`, what leaves when is `uplink`; here bytes move. One stream is one task, which
receives, and a child of it, which sends: the receiver sees the true status when a stream dies, a sender alone does not.

    write -> Uplink -> _send -> call.write ... Google ... call.read -> _receive -> Results -> inbox -> the iterator

Three things Google does that shape this file: a model that Hebrew does not have is refused at the first read, after
audio was sent, so the refused audio is sent again on the next model; a stream that ends well before we asked is a
fault; and nothing at all is answered to silence. Requests are raw protobuf, and written, never generated: a generator
outlives its stream and eats the next one's audio.
"""

import asyncio
import logging
import warnings
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from typing import Final as Const

import anyio
import google.auth
import grpc
import grpc.aio
from google.auth.exceptions import GoogleAuthError
from google.cloud.speech_v1.services.speech.transports import SpeechGrpcAsyncIOTransport
from google.cloud.speech_v1.types import cloud_speech
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from moked import metrics
from moked.audio import FRAME_MS, SAMPLE_RATE, SAMPLES_PER_MS, SILENCE, silence
from moked.errors import Failure, ProviderError, SettingsError
from moked.stt import Final, Interim, Stream
from moked.stt import google_rules as rules
from moked.stt.uplink import MAX_MESSAGE, Uplink
from moked.stt.utterance import Transcription, UtteranceStream

log = logging.getLogger(__name__)

_HOST: Const = "speech.googleapis.com"
_STREAMING: Const = "/google.cloud.speech.v1.Speech/StreamingRecognize"
_RECOGNIZE: Const = "/google.cloud.speech.v1.Speech/Recognize"
_MULAW: Const = int(cloud_speech.RecognitionConfig.AudioEncoding.MULAW)
_Config: Const = cloud_speech.RecognitionConfig.pb()
_StreamingRequest: Const = cloud_speech.StreamingRecognizeRequest.pb()
_StreamingResponse: Const = cloud_speech.StreamingRecognizeResponse.pb()
_Request: Const = cloud_speech.RecognizeRequest.pb()
_Response: Const = cloud_speech.RecognizeResponse.pb()

_MAX_HINTS: Const = 100
_MAX_HINT_LETTERS: Const = 100  # Google's limit for a phrase
_INBOX: Const = 256
_KEEP_FOR_REPLAY: Const = 10_000 * SAMPLES_PER_MS
_PROBE_S: Const = 8.0
_HURRY_MS: Const = 600  # after a pause: the time in which a turn is decided

# A channel is one connection only with a pool of its own: otherwise equal channels share one. Without the caps a
# channel that was refused stays closed for up to two minutes.
_CHANNEL_OPTIONS: Const[tuple[tuple[str, int], ...]] = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.service_config_disable_resolution", 1),
)
# Pings only while calls run; more of them and servers answer "too_many_pings".
_KEEP_ALIVE: Const[tuple[tuple[str, int], ...]] = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """Values, not names of variables. `emulator_host` "host:port" means plaintext without credentials."""

    model: str = "phone_call"
    language: str = "he-IL"  # v1 takes it and answers iw-IL; the two are never compared
    batch_ms: int = 150
    punctuation_interim: bool = False
    punctuation_final: bool = True
    emulator_host: str | None = None
    credentials_file: str | None = None  # None: the environment's default credentials
    channels: int = 2  # connections; a server commonly takes 100 streams on each
    use_enhanced: bool = True  # the standard version is used where there is no enhanced one
    hint_boost: float = 10.0  # 0..20; more brings false positives
    connect_timeout_s: float = 1.5
    stream_timeout_s: float = 320.0  # beyond Google's own 305, so that its limit is the one that is seen
    drain_s: float = 5.0  # from `finish` to the end of the stream
    tail_ms: int = 600  # silence before the half-close: without it the last final may not come
    recognize_timeout_s: float = 5.0
    bound_ms: int = 1000  # audio that waits to be sent


@dataclass(slots=True)
class GoogleStats:
    """Counters of a process, for metrics: plain numbers that only grow, except `open_streams`."""

    streams: int = 0
    open_streams: int = 0
    requests: int = 0
    dropped_ms: int = 0
    billed_ms: int = 0
    failures: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class _Line:
    """One channel: its connection and its methods."""

    channel: Any
    streaming: Any
    recognize: Any
    busy: int = 0


class _Wire:
    """What both engines share: the channels, the configuration, and the model that works."""

    def __init__(self, name: str, settings: GoogleSettings) -> None:
        self.name = name
        self.settings = settings
        self.ladder = rules.ModelLadder(settings.model)
        self.stats = GoogleStats()
        self._lines: list[_Line] = []

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Channels belong to the loop they are made in, so they are made here and not before."""
        make = await self._maker()
        for _ in range(max(1, self.settings.channels)):
            channel = make()
            streaming = channel.stream_stream(
                _STREAMING,
                request_serializer=_StreamingRequest.SerializeToString,
                response_deserializer=_StreamingResponse.FromString,
            )
            recognize = channel.unary_unary(
                _RECOGNIZE,
                request_serializer=_Request.SerializeToString,
                response_deserializer=_Response.FromString,
            )
            self._lines.append(_Line(channel, streaming, recognize))
        try:
            yield
        finally:
            lines, self._lines = self._lines, []
            with anyio.CancelScope(shield=True):
                for line in lines:
                    await line.channel.close()

    async def _maker(self) -> Callable[[], Any]:
        """How to make a channel; credentials are looked for off the loop, because that may ask the network."""
        host = self.settings.emulator_host
        if host is not None:
            plain = (*_CHANNEL_OPTIONS, ("grpc.enable_http_proxy", 0))
            return lambda: grpc.aio.insecure_channel(host, options=plain)
        credentials = await anyio.to_thread.run_sync(_credentials, self.settings.credentials_file)
        options = (*_CHANNEL_OPTIONS, *_KEEP_ALIVE)
        return lambda: SpeechGrpcAsyncIOTransport.create_channel(_HOST, credentials=credentials, options=options)

    def line(self) -> _Line:
        assert self._lines, "inside running() only"
        return min(self._lines, key=lambda line: line.busy)

    def config(self, model: str, hints: Sequence[str]) -> Any:
        settings = self.settings
        config = _Config(
            encoding=_MULAW,
            sample_rate_hertz=SAMPLE_RATE,
            audio_channel_count=1,
            language_code=settings.language,
            max_alternatives=1,
            enable_word_time_offsets=True,
            # one switch for both; what is not wanted is taken out of the text here
            enable_automatic_punctuation=settings.punctuation_interim or settings.punctuation_final,
            model=model,
            use_enhanced=settings.use_enhanced,
        )
        phrases = [hint.strip()[:_MAX_HINT_LETTERS] for hint in hints if hint.strip()][:_MAX_HINTS]
        if phrases:
            config.speech_contexts.add(phrases=phrases, boost=min(settings.hint_boost, 10.0))
        return config

    def error(self, status: str, text: str) -> ProviderError:
        kind = rules.failure(status, text)
        self.stats.failures[kind.value] += 1
        return ProviderError(self.name, kind, f"{status} {text}".strip())

    def next_model(self, model: str, status: str, text: str) -> str | None:
        """The model to take after this refusal; None when it was none, or when there is no other. Told once."""
        if not rules.is_about_the_model(status, text):
            return None
        known = self.ladder.current != model
        following = self.ladder.refused(model)
        if not known:
            log.warning(
                "speech model refused",
                extra={"engine": self.name, "model": model, "next": following, "detail": text},
            )
        return following

    def served(self, model: str) -> None:
        if self.ladder.served(model):
            log.info("speech model works", extra={"engine": self.name, "model": model or "unset"})

    def punctuation(self, final: bool) -> bool:
        """Whether punctuation stays in the text."""
        return self.settings.punctuation_final if final else self.settings.punctuation_interim

    @asynccontextmanager
    async def probed(self, probe: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Connected, with the working model found before the first call asks. A failing probe is no reason to stop."""
        async with self.connected():
            try:
                with anyio.fail_after(_PROBE_S):
                    await probe()
            except (ProviderError, TimeoutError) as problem:
                log.warning("Google Speech does not answer yet", extra={"engine": self.name, "detail": str(problem)})
            yield


def _credentials(path: str | None) -> Any:
    try:
        if path is None:
            return google.auth.default(scopes=SpeechGrpcAsyncIOTransport.AUTH_SCOPES)[0]
        with warnings.catch_warnings():
            # the warning is about files from strangers; this one is the operator's own
            warnings.simplefilter("ignore", DeprecationWarning)
            load: Any = google.auth.load_credentials_from_file
            return load(path, scopes=SpeechGrpcAsyncIOTransport.AUTH_SCOPES)[0]
    except (GoogleAuthError, ValueError, OSError) as problem:
        raise SettingsError(f"GOOGLE_APPLICATION_CREDENTIALS: {problem}") from problem


# --- streaming --------------------------------------------------------------------------------------------------------


class GoogleStreaming:
    """Engine "google": one StreamingRecognize a stream. At most 305 s each: whoever feeds it opens the next in time."""

    name = "google"
    whole_utterances = False

    def __init__(self, settings: GoogleSettings) -> None:
        self._wire = _Wire(self.name, settings)

    @property
    def stats(self) -> GoogleStats:
        return self._wire.stats

    @property
    def model(self) -> str:
        """The model that is used now; empty means Google's own choice."""
        return self._wire.ladder.current

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._wire.probed(self._probe)

    @asynccontextmanager
    async def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AsyncIterator[Stream]:
        stream = _GoogleStream(self._wire, origin_ms, hints)
        await stream.open()
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stream.run, name="google-stt")
            try:
                yield stream
            except Exception as problem:  # passed on outside the group, which would wrap it
                failure = problem
            finally:
                stream.close()
                tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def _probe(self) -> None:
        async with self.stream(origin_ms=0) as stream:
            await stream.write(silence(200))
            await stream.finish()
            async for _ in stream:
                pass


class _GoogleStream:
    """One recognition. `open`, then `run` beside the user of the `Stream` methods, then `close`."""

    def __init__(self, wire: _Wire, origin_ms: int, hints: Sequence[str]) -> None:
        self._wire = wire
        self._origin_ms = origin_ms
        self._hints = hints
        settings = wire.settings
        self._results = rules.Results(
            wire.name,
            origin_ms,
            plain_interims=not wire.punctuation(final=False),
            plain_finals=not wire.punctuation(final=True),
        )
        self._uplink = Uplink(batch_ms=settings.batch_ms, bound_ms=settings.bound_ms)
        self._loop = asyncio.get_running_loop()  # gRPC's own loop; its timers cost a tenth of a cancel scope
        self._timer: asyncio.TimerHandle | None = None
        self._due = anyio.Event()
        self._room = anyio.Event()
        self._stuck = False
        self._hurry_until = 0  # until then audio leaves as it comes
        self._sent = 0  # bytes of the call's own audio
        self._kept: bytearray | None = None if wire.ladder.proven else bytearray()
        self._inbox: deque[Interim | Final] = deque()
        self._news = anyio.Event()
        self._taken = anyio.Event()
        self._error: ProviderError | None = None
        self._ended = False
        self._finishing = False
        self._model = wire.ladder.current
        self._line: _Line | None = None
        self._call: Any = None
        self._receiving = anyio.CancelScope()

    # --- the port -----------------------------------------------------------------------------------------------------

    async def write(self, audio: bytes) -> None:
        """Waits at most `bound_ms` for room; then the oldest audio gives way, and soon the stream is given up."""
        while self._uplink.full and not self._stuck and not self._over:
            with anyio.move_on_after(self._wire.settings.bound_ms / 1000) as patience:
                await self._room.wait()
            self._stuck = patience.cancelled_caught
        if self._error is not None:
            raise self._error
        if self._over or self._finishing:
            raise ProviderError(self._wire.name, Failure.CLOSED, "written to after the end")
        self._uplink.put(audio, self._now())
        if self._uplink.dropped_in_a_row > self._wire.settings.bound_ms * SAMPLES_PER_MS:
            self._fail(ProviderError(self._wire.name, Failure.TIMEOUT, "the stream does not take its audio"))
        elif self._now() < self._hurry_until:
            self._flush()
        elif self._uplink.due(self._now()):
            self._due.set()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._wire.settings.batch_ms / 1000, self._flush)

    def speech_started(self, at_ms: int) -> None:
        """Google hears for itself."""

    def speech_paused(self, at_ms: int) -> None:
        """The turn may be over, and the words of its end are all that is waited for: no batching now."""
        self._hurry_until = self._now() + _HURRY_MS
        self._flush()

    def speech_ended(self, at_ms: int) -> None:
        self._flush()

    def expect(self, what: str) -> None:
        """Its configuration was sent with the first message."""

    async def finish(self) -> None:
        self._finishing = True
        self._flush()

    def __aiter__(self) -> AsyncIterator[Interim | Final]:
        return self

    async def __anext__(self) -> Interim | Final:
        while not self._inbox:
            if self._error is not None:
                raise self._error
            if self._ended:
                raise StopAsyncIteration
            self._news = anyio.Event()
            await self._news.wait()
        self._taken.set()
        return self._inbox.popleft()

    # --- its life -----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and send the configuration. Raises `ProviderError`."""
        self._wire.stats.streams += 1
        await self._dial()

    async def run(self) -> None:
        """Send and receive until the stream is over; climb down the models when one is refused."""
        billed_ms, status, text = 0, "", ""
        try:
            while True:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._send)
                    with self._receiving:
                        status, text, billed_ms = await self._receive()
                    tasks.cancel_scope.cancel()
                if self._receiving.cancelled_caught:
                    status, text = "DEADLINE_EXCEEDED", "no end after the half-close"
                if self._kept is not None and rules.is_unexplained(status, text):
                    status, text = await self._ask_why(status, text)
                following = self._wire.next_model(self._model, status, text)
                if following is None:
                    break
                if self._kept is None:  # too much was said to say it again here; the next stream will be taken
                    raise ProviderError(self._wire.name, Failure.EXPIRED, text)
                self._hang_up()
                self._model = following
                self._receiving = anyio.CancelScope()
                await self._dial()
            if status == "OK" and self._finishing:
                self._wire.served(self._model)
            else:
                self._fail(self._wire.error(status, text or "the stream ended without being asked to"))
        except ProviderError as error:
            self._fail(error)
        finally:
            self._ended = True
            self._news.set()
            self._room.set()
            dropped_ms = self._uplink.dropped // SAMPLES_PER_MS
            self._wire.stats.dropped_ms += dropped_ms
            if dropped_ms:
                metrics.queue_drops.labels("stt_uplink").inc(-(-dropped_ms // FRAME_MS))
            self._wire.stats.billed_ms += billed_ms
            log.info(
                "Google stream ended",
                extra={
                    "engine": self._wire.name,
                    "model": self._model or "unset",
                    "status": status or "LEFT",
                    "origin_ms": self._origin_ms,
                    "sent_ms": self._sent // SAMPLES_PER_MS,
                    "dropped_ms": dropped_ms,
                    "billed_ms": billed_ms,
                },
            )

    def close(self) -> None:
        """Leave it: whatever runs is cancelled."""
        self._ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._hang_up()
        self._news.set()
        self._room.set()

    async def _dial(self, *, again: bool = True) -> None:
        settings = self._wire.settings
        request = _StreamingRequest()
        request.streaming_config.interim_results = True
        request.streaming_config.config.CopyFrom(self._wire.config(self._model, self._hints))
        line = self._line = self._wire.line()
        line.busy += 1
        self._wire.stats.open_streams += 1
        self._call = line.streaming(timeout=settings.stream_timeout_s)
        try:
            with anyio.fail_after(settings.connect_timeout_s):
                await self._call.write(request)
        except TimeoutError:
            self._hang_up()
            self._wire.stats.failures[Failure.TIMEOUT.value] += 1
            raise ProviderError(self._wire.name, Failure.TIMEOUT, "no connection in time") from None
        except (grpc.RpcError, asyncio.InvalidStateError) as problem:
            status, text = await _status(self._call, problem)
            self._hang_up()
            if not (again and rules.is_unexplained(status, text)):
                raise self._wire.error(status, text) from None
            await self._dial(again=False)  # refused so fast that the reason was lost; nothing else was
        except BaseException:
            self._hang_up()
            raise

    async def _ask_why(self, status: str, text: str) -> tuple[str, str]:
        """A write that met the end hid the reason, and it may be the model: ask with the configuration alone."""
        self._hang_up()
        await self._dial()
        with anyio.move_on_after(self._wire.settings.drain_s):
            await self._call.done_writing()
            answer, reason, _ = await self._receive()
            if rules.is_about_the_model(answer, reason):
                return answer, reason
        return status, text

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.busy -= 1
            self._wire.stats.open_streams -= 1
            self._line = None
            self._call.cancel()

    async def _send(self) -> None:
        """Everything that is written: first again what a refused model got, then what comes, then the half-close."""
        call = self._call
        try:
            if self._kept:
                for at in range(0, len(self._kept), MAX_MESSAGE):
                    await call.write(_StreamingRequest(audio_content=bytes(self._kept[at : at + MAX_MESSAGE])))
            while True:
                while not self._uplink.due(self._now()):
                    if self._finishing and self._uplink.empty:
                        break
                    self._due = anyio.Event()
                    await self._due.wait()
                audio = self._uplink.take(self._now())
                if not audio:
                    break
                self._sent += len(audio)
                self._keep(audio)
                self._make_room()
                await call.write(_StreamingRequest(audio_content=audio))
            tail = SILENCE * (self._wire.settings.tail_ms * SAMPLES_PER_MS)
            if tail:
                await call.write(_StreamingRequest(audio_content=tail))
            await call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError):
            return  # the stream is dead, and the receiver learns how it died
        self._receiving.deadline = anyio.current_time() + self._wire.settings.drain_s

    async def _receive(self) -> tuple[str, str, int]:
        """Read to the end. Returns the status name, its text, and the billed time in ms."""
        call, billed_ms = self._call, 0
        while True:
            try:
                response = await call.read()
            except grpc.RpcError as problem:
                return (*await _status(call, problem), billed_ms)
            except DecodeError as problem:
                return "DATA_LOSS", str(problem), billed_ms
            if response is grpc.aio.EOF:
                return "OK", "", billed_ms
            if response.HasField("error"):
                return rules.status_name(response.error.code), response.error.message, billed_ms
            billed_ms = rules.millis(response.total_billed_time) or billed_ms
            if self._kept is not None:
                self._kept = None
                self._wire.served(self._model)
            for item in self._results.read(response.results, self._origin_ms + self._sent // SAMPLES_PER_MS):
                await self._deliver(item)

    async def _deliver(self, item: Interim | Final) -> None:
        """An interim nobody took yet is replaced by what comes after it; too many finals hold up the receiver."""
        if self._inbox and isinstance(self._inbox[-1], Interim):
            self._inbox.pop()
        while len(self._inbox) >= _INBOX:
            self._taken = anyio.Event()
            await self._taken.wait()
        self._inbox.append(item)
        self._news.set()

    def _keep(self, audio: bytes) -> None:
        """For the next model, while it is not known whether this one is taken; ten seconds are proof that it is."""
        if self._kept is not None:
            self._kept += audio
            if len(self._kept) > _KEEP_FOR_REPLAY:
                self._kept = None

    def _make_room(self) -> None:
        self._stuck = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._uplink.empty:
            self._timer = self._loop.call_later(self._wire.settings.batch_ms / 1000, self._flush)
        self._room.set()
        self._room = anyio.Event()

    def _fail(self, error: ProviderError) -> None:
        if self._error is None:
            self._error = error
        self._news.set()
        self._room.set()

    def _flush(self) -> None:
        self._uplink.flush()
        self._due.set()

    def _now(self) -> int:
        return int(self._loop.time() * 1000)

    @property
    def _over(self) -> bool:
        return self._ended or self._error is not None


async def _status(call: Any, problem: BaseException) -> tuple[str, str]:
    """Status name and text of a call that is over."""
    if isinstance(problem, grpc.aio.AioRpcError):
        return problem.code().name, problem.details() or ""
    code = await call.code()
    return code.name, await call.details() or ""


# --- whole utterances -------------------------------------------------------------------------------------------------


class GoogleUtterances:
    """Engine "google-batch": one Recognize for each utterance that our VAD cuts."""

    name = "google-batch"
    whole_utterances = True

    def __init__(self, settings: GoogleSettings) -> None:
        self._wire = _Wire(self.name, settings)

    @property
    def stats(self) -> GoogleStats:
        return self._wire.stats

    @property
    def model(self) -> str:
        return self._wire.ladder.current

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._wire.probed(self._probe)

    @asynccontextmanager
    async def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AsyncIterator[Stream]:
        self._wire.stats.streams += 1

        async def transcribe(audio: bytes) -> Transcription:
            return await self._recognize(audio, hints)

        async with UtteranceStream(transcribe, engine=self.name, origin_ms=origin_ms) as stream:
            yield stream

    async def _probe(self) -> None:
        await self._recognize(silence(200), ())

    async def _recognize(self, audio: bytes, hints: Sequence[str]) -> Transcription:
        """One request; again on the next model where this one is refused, and once more where Google was not there."""
        again = True
        while True:
            model = self._wire.ladder.current
            try:
                response = await self._ask(_Request(config=self._wire.config(model, hints), audio={"content": audio}))
            except grpc.aio.AioRpcError as problem:
                status, text = problem.code().name, problem.details() or ""
            else:
                self._wire.served(model)
                self._wire.stats.billed_ms += rules.millis(response.total_billed_time)
                return self._transcription(response.results)
            if self._wire.next_model(model, status, text) is not None:
                continue
            if status != "UNAVAILABLE" or not again:
                raise self._wire.error(status, text)
            again = False

    async def _ask(self, request: Any) -> Any:
        line = self._wire.line()
        line.busy += 1
        self._wire.stats.requests += 1
        try:
            return await line.recognize(request, timeout=self._wire.settings.recognize_timeout_s)
        finally:
            line.busy -= 1

    def _transcription(self, results: Sequence[Any]) -> Transcription:
        best = [result.alternatives[0] for result in results if result.alternatives]
        text = rules.joined(part.transcript for part in best)
        if not self._wire.punctuation(final=True):
            text = rules.plain(text)
        sure = [part.confidence for part in best if part.confidence > 0]
        words = tuple(word for part in best for word in rules.words_of(part, 0))
        return Transcription(text, sum(sure) / len(sure) if sure else None, words)
