"""Google Speech on the wire: connections, credentials and calls. The only file of recognition that knows gRPC.

Wire    what an engine's streams share: channels, counters, and the model that works
Call    one StreamingRecognize: written and read, never generated (a request generator outlives its stream and eats
        the next one's audio)
"""

import asyncio
import logging
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from typing import Final as Const

import anyio
import anyio.lowlevel
import google.auth
import grpc
import grpc.aio
from google.auth.exceptions import GoogleAuthError
from google.cloud.speech_v1.services.speech.transports import SpeechGrpcAsyncIOTransport

from moked.errors import Failure, ProviderError, SettingsError
from moked.stt import google_rules as rules
from moked.stt.google_messages import V1, V2, Dialect, Ended, GoogleSettings, Wish

log = logging.getLogger(__name__)

_MAX_HINTS: Const = 100
_MAX_HINT_LETTERS: Const = 100  # Google's limit for a phrase
_PROBE_S: Const = 8.0
_SCOPES: Const = SpeechGrpcAsyncIOTransport.AUTH_SCOPES

# A channel is one connection only with a pool of its own: otherwise equal channels share one. Without the caps a
# channel that was refused stays closed for up to two minutes.
_CHANNEL_OPTIONS: Const[tuple[tuple[str, int], ...]] = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 2000),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.service_config_disable_resolution", 1),
)
# Pings only while calls run; more of them and servers answer "too_many_pings". The timeout is the kernel's too: a
# connection on which nothing is acknowledged any more (half open) ends that long after the last audio. Measured: its
# streams fail after 10.8 s.
_KEEP_ALIVE: Const[tuple[tuple[str, int], ...]] = (
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(slots=True)
class GoogleStats:
    """Counters of a process, for metrics: plain numbers that only grow, except `open_streams`."""

    streams: int = 0
    open_streams: int = 0
    requests: int = 0
    dropped_ms: int = 0
    billed_ms: int = 0
    failures: Counter[str] = field(default_factory=Counter)


# --- channels and calls -----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Line:
    """One channel: its connection and its methods."""

    channel: Any
    streaming: Any
    recognize: Any
    busy: int = 0


class Call:
    """One StreamingRecognize. Every end but the asked one raises `Ended`."""

    def __init__(self, wire: "Wire", line: _Line) -> None:
        self._dialect = wire.dialect
        self._stats = wire.stats
        self._line: _Line | None = line
        line.busy += 1
        self._stats.open_streams += 1
        self._call = line.streaming(timeout=wire.settings.stream_timeout_s, metadata=wire.dialect.metadata)

    async def write(self, message: Any) -> None:
        try:
            await self._call.write(message)
        except (grpc.RpcError, asyncio.InvalidStateError) as problem:
            raise Ended(*await self._status(problem)) from None

    async def half_close(self) -> None:
        try:
            await self._call.done_writing()
        except (grpc.RpcError, asyncio.InvalidStateError) as problem:
            raise Ended(*await self._status(problem)) from None

    async def read(self) -> Any | None:
        """The next answer; None when Google has ended the stream without an error."""
        try:
            async with _our_cancellation():
                data = await self._call.read()
        except grpc.RpcError as problem:
            raise Ended(*await self._status(problem)) from None
        return None if data is grpc.aio.EOF else self._dialect.answer(data)

    def cancel(self) -> None:
        if self._line is not None:
            self._line.busy -= 1
            self._stats.open_streams -= 1
            self._line = None
            self._call.cancel()

    async def _status(self, problem: BaseException) -> tuple[str, str]:
        """Status name and text of a call that is over."""
        if isinstance(problem, grpc.aio.AioRpcError):
            return problem.code().name, problem.details() or ""
        code = await self._call.code()
        return code.name, await self._call.details() or ""


class Wire:
    """What the streams of one engine share."""

    def __init__(self, name: str, settings: GoogleSettings, ladder: rules.ModelLadder | None = None) -> None:
        self.name = name
        self.settings = settings
        self.ladder = ladder or rules.ModelLadder(*rules.models(settings.api, settings.model))
        self.stats = GoogleStats()
        # until the credentials tell the project
        self.dialect: Dialect = V1(settings) if settings.api == "v1" else V2(settings, settings.project)
        self._lines: list[_Line] = []

    # --- connections --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """Channels belong to the loop they are made in, so they are made here and not before."""
        make = await self._maker()
        dialect = self.dialect
        for _ in range(max(1, self.settings.channels)):
            channel = make()
            streaming = channel.stream_stream(dialect.streaming, request_serializer=_serialised)
            recognize = channel.unary_unary(dialect.recognize, request_serializer=_serialised)
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
        settings = self.settings
        if settings.emulator_host is not None:
            emulator = settings.emulator_host
            plain = (*_CHANNEL_OPTIONS, *_KEEP_ALIVE, ("grpc.enable_http_proxy", 0))
            if settings.api == "v2":
                self.dialect = V2(settings, settings.project or "emulated")
            return lambda: grpc.aio.insecure_channel(emulator, options=plain)
        credentials, project = await anyio.to_thread.run_sync(_credentials, settings.credentials_file)
        if settings.api == "v2":
            self.dialect = V2(settings, _project(settings.project or project))
        host = rules.host(settings.location if settings.api == "v2" else "global")
        options = (*_CHANNEL_OPTIONS, *_KEEP_ALIVE)
        return lambda: SpeechGrpcAsyncIOTransport.create_channel(host, credentials=credentials, options=options)

    @asynccontextmanager
    async def probed(self, probe: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
        """Connected, with the working model found before the first call asks. A failing probe is no reason to stop.

        Where the ladder is shared, whoever comes second need not ask again.
        """
        async with self.connected():
            if self.ladder.proven:
                yield
                return
            try:
                with anyio.fail_after(_PROBE_S):
                    await probe()
            except (ProviderError, TimeoutError) as problem:
                log.warning("Google Speech does not answer yet", extra={"engine": self.name, "detail": str(problem)})
            yield

    def call(self) -> Call:
        """Open a stream's call on the connection with the fewest. Raises `ProviderError` beyond `max_streams`."""
        limit = self.settings.max_streams
        if limit and self.stats.open_streams >= limit:
            self.stats.failures[Failure.FULL.value] += 1
            raise ProviderError(self.name, Failure.FULL, f"{limit} streams are open (GCP_STT_MAX_STREAMS)")
        return Call(self, self._idlest())

    async def whole(self, wish: Wish, audio: bytes) -> Any:
        """One Recognize. Raises `Ended`."""
        line = self._idlest()
        line.busy += 1
        self.stats.requests += 1
        request = self.dialect.whole(wish, audio)
        try:
            timeout = self.settings.recognize_timeout_s
            async with _our_cancellation():
                data = await line.recognize(request, timeout=timeout, metadata=self.dialect.metadata)
            return self.dialect.whole_answer(data)
        except grpc.aio.AioRpcError as problem:
            raise Ended(problem.code().name, problem.details() or "") from None
        finally:
            line.busy -= 1

    async def reach(self) -> None:
        """Wait for a connection, for what opens no stream by itself. Raises `ProviderError` when there is none."""
        channel = self._idlest().channel
        with anyio.move_on_after(self.settings.connect_timeout_s):
            while (state := channel.get_state(try_to_connect=True)) is not grpc.ChannelConnectivity.READY:
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    raise self.error("UNAVAILABLE", "failed to connect to all addresses")
                async with _our_cancellation():
                    await channel.wait_for_state_change(state)
            return
        self.stats.failures[Failure.TIMEOUT.value] += 1
        raise ProviderError(self.name, Failure.TIMEOUT, "no connection in time")

    def _idlest(self) -> _Line:
        assert self._lines, "inside running() only"
        return min(self._lines, key=lambda line: line.busy)

    # --- the model, and what it is asked ------------------------------------------------------------------------------

    def wish(self, hints: Sequence[str]) -> Wish:
        phrases = [hint.strip()[:_MAX_HINT_LETTERS] for hint in hints if hint.strip()][:_MAX_HINTS]
        return Wish(self.ladder.current, tuple(phrases), self.ladder.without)

    def next_wish(self, wish: Wish, status: str, text: str) -> Wish | None:
        """What to ask instead after this refusal; None when it was none, or when nothing is left. Told once."""
        features = rules.refused_features(status, text)
        if not features <= wish.without:
            if self.ladder.lacks(wish.model, features):
                extra = {"engine": self.name, "model": wish.model, "without": sorted(features), "detail": text}
                log.warning("speech model has not all that was asked", extra=extra)
            return Wish(wish.model, wish.hints, wish.without | features)
        if not rules.is_about_the_model(status, text):
            return None
        known = self.ladder.current != wish.model
        following = self.ladder.refused(wish.model)
        if not known:
            log.warning(
                "speech model refused",
                extra={"engine": self.name, "model": wish.model, "next": following, "detail": text},
            )
        return None if following is None else Wish(following, wish.hints, self.ladder.without)

    def served(self, model: str) -> None:
        if self.ladder.served(model):
            log.info("speech model works", extra={"engine": self.name, "model": model or "unset"})

    def error(self, status: str, text: str) -> ProviderError:
        kind = rules.failure(status, text)
        self.stats.failures[kind.value] += 1
        return ProviderError(self.name, kind, f"{status} {text}".strip())

    def punctuation(self, final: bool) -> bool:
        """Whether punctuation stays in the text."""
        return self.settings.punctuation_final if final else self.settings.punctuation_interim


@asynccontextmanager
async def _our_cancellation() -> AsyncIterator[None]:
    """gRPC answers a cancellation now and then with one of its own, without the mark by which anyio's scopes know
    theirs: the scope would let it pass, and whoever waits would end with it. So it is asked for again, in anyio's way.
    """
    try:
        yield
    except asyncio.CancelledError:
        await anyio.lowlevel.checkpoint_if_cancelled()
        raise


def _serialised(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data


def _credentials(path: str | None) -> tuple[Any, str | None]:
    """The credentials and the project they belong to, where they say."""
    try:
        if path is None:
            found: tuple[Any, str | None] = google.auth.default(scopes=_SCOPES)
            return found
        with warnings.catch_warnings():
            # the warning is about files from strangers; this one is the operator's own
            warnings.simplefilter("ignore", DeprecationWarning)
            load: Any = google.auth.load_credentials_from_file
            named: tuple[Any, str | None] = load(path, scopes=_SCOPES)
            return named
    except (GoogleAuthError, ValueError, OSError) as problem:
        raise SettingsError(f"GOOGLE_APPLICATION_CREDENTIALS: {problem}") from problem


def _project(known: str | None) -> str:
    if not known:
        raise SettingsError(
            "GCP_PROJECT: GCP_STT_API=v2 recognises in a Google Cloud project, and the credentials name none. "
            "Set GCP_PROJECT to the project's ID, or GCP_STT_API=v1."
        )
    return known
