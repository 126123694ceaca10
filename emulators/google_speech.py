"""Google Speech-to-Text v1 and v2 on the wire, on one port: StreamingRecognize and Recognize over gRPC.

What the two say differently is `emulators.google_dialects`; here is what a stream lives through. It hears what
`emulators.listener` hears, answers as Google does (several results making one hypothesis, interims every 200 ms of
speech, a final after the end of it, nothing for silence), keeps Google's limits with Google's words, and misbehaves on
request: `faults` holds what each next stream shall suffer, `fault` what every other one shall. Single requests are
spared with `streaming_only`.

    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:            # "127.0.0.1:40123"
        emulator.faults.append(Fault("error", at_ms=1500, status="UNAVAILABLE", message="502:Bad Gateway"))

    python -m emulators.google_speech --port 0 --mode energy     prints the port it listens on
"""

import argparse
import asyncio
import json
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import grpc
import grpc.aio

from emulators.google_dialects import (
    AUDIO_TIMEOUT,
    NO_MODEL,
    STREAM_LIMIT,
    V1,
    V2,
    Asked,
    Dialect,
    Refused,
    World,
)
from emulators.listener import Codec, Energy, Heard, Listener, Recording, Script, Source, TimedWord
from emulators.sockets import cut_off, tear_down
from emulators.wordcodec import encode_words, numbered, word_times

__all__ = [
    "AUDIO_TIMEOUT",
    "NO_MODEL",
    "STREAM_LIMIT",
    "Fault",
    "GoogleSpeech",
    "Recording",
    "StreamLog",
    "encode_words",
    "numbered",
    "word_times",
]

SENTENCES: Final = (
    "שלום אני צריכה עזרה בבקשה",
    "המזגן שלי לא מקרר",
    "קוראים לי דנה לוי",
    "כן נכון",
    "מחר בבוקר מתאים לי",
    "תודה רבה להתראות",
)

GARBAGE: Final = b"\xff\xff<html>502</html>"  # no protobuf message of any kind begins like this

Kind = Literal[
    "error",
    "answer_error",
    "close",
    "stall",
    "reset",
    "half_open",
    "garbage",
    "refuse",
    "slow_connect",
    "slow_results",
    "shuffle",
]
Mode = Literal["codec", "script", "energy"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What one stream suffers once it has heard `at_ms` of audio.

    error         end with `status` and `message`          refuse        the same, before anything else
    close         end with OK though nobody asked          slow_connect  wait `delay_ms` before the first answer
    stall         take the audio, say nothing more         slow_results  each answer comes `delay_ms` late
    reset         the TCP connection is torn down          shuffle       answers change places in pairs
    half_open     the TCP connection stays and nothing     garbage       one answer is bytes that nobody can read
                  passes any more, with all its streams    answer_error  the error is inside an answer (v1)
    """

    kind: Kind
    at_ms: int = 0
    status: str = "UNAVAILABLE"
    message: str = "502:Bad Gateway"
    delay_ms: int = 1000


@dataclass(slots=True)
class StreamLog:
    """What one stream was asked, heard and answered."""

    peer: str
    opened_at: float
    api: str = "v1"
    model: str = ""
    language: str = ""
    phrases: tuple[str, ...] = ()
    boost: float = 0.0
    punctuation: bool = False
    location: str = ""  # v2
    project: str = ""  # v2
    metadata: Mapping[str, str] = field(default_factory=dict)
    messages: list[int] = field(default_factory=list)  # sizes in bytes, at most 5,000
    finals: list[TimedWord] = field(default_factory=list)
    interims: int = 0
    ended: str = ""  # a status name; 'OK' when the client half-closed; '' while open

    @property
    def audio_ms(self) -> int:
        return sum(self.messages) // 8


class GoogleSpeech:
    """The emulator. Attributes without a leading underscore may be changed while it runs."""

    def __init__(
        self,
        *,
        mode: Mode = "energy",
        final_ms: int = 300,
        close_ms: int = 0,
        sentences: Sequence[str] = SENTENCES,
        whole_sentences: bool = False,
        recordings: Sequence[Recording] = (),
        limit_s: float = 305.0,
        audio_timeout_s: float = 10.0,
        max_message: int | None = None,
        max_streams: int | None = None,
        refused_models: Sequence[str] = ("phone_call", "latest_short", "latest_long"),
    ) -> None:
        self.mode = mode
        self.final_ms = final_ms  # from the end of speech to the final, in audio time
        self.close_ms = close_ms  # from the half-close to the last final, in real time
        self.sentences = tuple(sentences)
        self.whole_sentences = whole_sentences
        self.recordings = tuple(recordings)
        self.limit_s = limit_s
        self.audio_timeout_s = audio_timeout_s
        self.max_message = max_message  # None: as each API has it
        self.max_streams = max_streams
        self.world = World(refused_models=frozenset(refused_models))
        self.faults: deque[Fault | None] = deque()
        self.fault: Fault | None = None
        self.streaming_only = False  # faults are for StreamingRecognize; Recognize works
        self.counts: Counter[str] = Counter()
        self.streams: deque[StreamLog] = deque(maxlen=1000)
        self.open_streams = 0
        self._half_open: set[str] = set()  # peers to whom nothing passes any more
        self._server: Any = None
        self._port = 0

    @property
    def refused_models(self) -> frozenset[str]:
        """Models of v1 that Hebrew does not have."""
        return self.world.refused_models

    @refused_models.setter
    def refused_models(self, models: frozenset[str]) -> None:
        self.world.refused_models = models

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._port}"

    @asynccontextmanager
    async def running(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve; yields the target "host:port"."""
        await self.start(port, host)
        try:
            yield self.target
        finally:
            await self.kill()

    async def start(self, port: int = 0, host: str = "127.0.0.1") -> None:
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_concurrent_streams", 1000),
            ("grpc.so_reuseport", 0),
            # a client may ping while nothing is said; gRPC's own servers allow it every five minutes
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]
        server = grpc.aio.server(options=options)
        for dialect in (V1(), V2()):
            handlers = {
                "StreamingRecognize": grpc.stream_stream_rpc_method_handler(
                    partial(self._streaming, dialect),
                    request_deserializer=dialect.Streaming.FromString,
                    response_serializer=_bytes,
                ),
                "Recognize": grpc.unary_unary_rpc_method_handler(
                    partial(self._recognize, dialect),
                    request_deserializer=dialect.Whole.FromString,
                    response_serializer=_bytes,
                ),
            }
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(dialect.service, handlers),))
        self._port = server.add_insecure_port(f"{host}:{port}")
        await server.start()
        self._server = server

    async def kill(self, grace_s: float | None = None) -> None:
        """Gone at once, with every stream; `start(port)` brings it back. With `grace_s` as Google goes: it says GOAWAY,
        takes nothing new, and lets what is open end within that time."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace_s)

    # --- StreamingRecognize ---------------------------------------------------------------------------------------

    async def _streaming(self, dialect: Dialect, _requests: object, context: Any) -> None:
        log = self._log(dialect, context)
        self.counts["streams"] += 1
        self.open_streams += 1
        out = _Out(context, self.counts)
        try:
            await self._serve(dialect, context, log, out)
            log.ended = "OK"
        except Refused as aborted:
            await self._hold_if_half_open(context)
            log.ended = aborted.status
            self.counts[f"ended {aborted.status}"] += 1
            await context.abort(getattr(grpc.StatusCode, aborted.status), aborted.message)
        finally:
            log.ended = log.ended or "CANCELLED"
            self.open_streams -= 1
            await out.close()

    async def _serve(self, dialect: Dialect, context: Any, log: StreamLog, out: "_Out") -> None:
        fault = self.faults.popleft() if self.faults else self.fault
        match fault:
            case Fault(kind="refuse"):
                raise Refused(fault.status, fault.message)
            case Fault(kind="slow_connect"):
                await asyncio.sleep(fault.delay_ms / 1000)
            case Fault(kind="slow_results"):
                out.delay_s = fault.delay_ms / 1000
            case Fault(kind="shuffle"):
                out.shuffle = True
        if self.max_streams is not None and self.open_streams > self.max_streams:
            raise Refused("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Concurrent streams'.")
        first = await self._read(dialect, context, log)
        if first is grpc.aio.EOF:
            return
        asked = dialect.asked(first)
        self._check(dialect, asked, log)
        listener = self._listener()
        silent = False
        while True:
            request = await self._read(dialect, context, log)
            if request is grpc.aio.EOF:
                break
            audio = dialect.audio(request)
            self._take(dialect, log, audio)
            news = listener.hear(audio)
            if not silent:
                for item in news:
                    await self._tell(dialect, item, asked, log, out)
            heard_ms = listener.heard_bytes // 8
            if heard_ms >= self._limit_s(dialect) * 1000:
                raise Refused(*dialect.stream_limit)
            if fault is not None and heard_ms >= fault.at_ms:
                match fault.kind:
                    case "error":
                        raise Refused(fault.status, fault.message)
                    case "close":
                        return
                    case "stall":
                        silent = True
                    case "answer_error":
                        assert isinstance(dialect, V1), "v2 has no field for it"
                        await out.send(dialect.error(getattr(grpc.StatusCode, fault.status).value[0], fault.message))
                        silent, fault = True, None
                    case "garbage":
                        fault = None  # once
                        await out.send(GARBAGE)
                    case "half_open":
                        self.counts["half-opens"] += 1
                        self._half_open.add(context.peer())
                        cut_off(context.peer())
                        await self._hold_if_half_open(context)
                    case "reset":
                        self.counts["resets"] += 1
                        tear_down(context.peer())
                        return
        if silent:
            await asyncio.sleep(3600)  # the client's cancel or deadline ends it
        if self.close_ms:
            await asyncio.sleep(self.close_ms / 1000)
        for item in listener.close():
            await self._tell(dialect, item, asked, log, out)
        await out.send(dialect.last(-(-listener.heard_bytes // 8000)))
        await out.drain()

    def _limit_s(self, dialect: Dialect) -> float:
        return min(self.limit_s, dialect.longest_s)

    async def _read(self, dialect: Dialect, context: Any, log: StreamLog) -> Any:
        left = self._limit_s(dialect) - (time.monotonic() - log.opened_at)
        wait = min(self.audio_timeout_s, left)
        try:
            async with asyncio.timeout(wait):
                message = await context.read()
            await self._hold_if_half_open(context)
            return message
        except TimeoutError:
            raise Refused(*(dialect.stream_limit if left <= self.audio_timeout_s else dialect.audio_timeout)) from None

    async def _hold_if_half_open(self, context: Any) -> None:
        """On a connection that is half open no stream hears or says anything, until the client gives it up."""
        if context.peer() in self._half_open:
            await asyncio.sleep(3600)

    def _take(self, dialect: Dialect, log: StreamLog, audio: bytes, *, whole: bool = False) -> None:
        limit = self.max_message or (V1.largest if whole else dialect.largest)
        if len(audio) > limit:
            raise Refused("INVALID_ARGUMENT", dialect.too_large(len(audio), limit))
        if len(log.messages) < 5000:
            log.messages.append(len(audio))
        self.counts["messages"] += 1
        self.counts["audio_bytes"] += len(audio)

    async def _tell(self, dialect: Dialect, item: Heard, asked: Asked, log: StreamLog, out: "_Out") -> None:
        match item.kind:
            case "begin" | "end":
                if asked.events:
                    await out.send(dialect.event(item.kind, item.at_ms))
            case "interim":
                if asked.interim:
                    self.counts["interims"] += 1
                    log.interims += 1
                    await out.send(dialect.interim(item))
            case "final":
                self.counts["finals"] += 1
                log.finals += item.words
                await out.send(dialect.final(item, asked))

    # --- Recognize ------------------------------------------------------------------------------------------------

    async def _recognize(self, dialect: Dialect, request: Any, context: Any) -> Any:
        self.counts["recognize"] += 1
        log = self._log(dialect, context)
        fault = None if self.streaming_only else self.faults.popleft() if self.faults else self.fault
        try:
            if fault is not None and fault.kind in ("refuse", "error"):
                raise Refused(fault.status, fault.message)
            if fault is not None and fault.kind == "reset":
                self.counts["resets"] += 1
                tear_down(context.peer())
            if fault is not None and fault.kind == "half_open":
                self._half_open.add(context.peer())
                cut_off(context.peer())
            if fault is not None and fault.kind == "stall":
                await asyncio.sleep(3600)
            await self._hold_if_half_open(context)
            if fault is not None and fault.kind == "garbage":
                return GARBAGE
            if fault is not None and fault.kind in ("slow_connect", "slow_results"):
                await asyncio.sleep(fault.delay_ms / 1000)
            asked, audio = dialect.whole_asked(request)
            self._check(dialect, asked, log)
            self._take(dialect, log, audio, whole=True)
        except Refused as aborted:
            log.ended = aborted.status
            self.counts[f"ended {aborted.status}"] += 1
            await context.abort(getattr(grpc.StatusCode, aborted.status), aborted.message)
        listener = self._listener()
        finals = [item for item in [*listener.hear(audio), *listener.close()] if item.kind == "final"]
        self.counts["finals"] += len(finals)
        log.finals += [word for item in finals for word in item.words]
        log.ended = "OK"
        return dialect.whole(finals, asked, -(-len(audio) // 8000))

    # --- shared ---------------------------------------------------------------------------------------------------

    def _log(self, dialect: Dialect, context: Any) -> StreamLog:
        api = "v1" if isinstance(dialect, V1) else "v2"
        metadata = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        log = StreamLog(context.peer(), time.monotonic(), api=api, metadata=metadata)
        self.streams.append(log)
        return log

    def _check(self, dialect: Dialect, asked: Asked, log: StreamLog) -> None:
        log.model, log.language, log.phrases = asked.model, asked.language, asked.phrases
        log.punctuation, log.boost = asked.punctuation, asked.boost
        log.location, log.project = asked.location, asked.project
        refusal = dialect.refusal(asked, self.world)
        if refusal is not None:
            raise Refused(*refusal)

    def _listener(self) -> Listener:
        source: Source
        match self.mode:
            case "codec":
                source = Codec()
            case "script":
                source = Script(self.recordings)
            case "energy":
                source = Energy(self.sentences, whole=self.whole_sentences)
        return Listener(source, final_ms=self.final_ms, min_voiced_frames=3 if self.mode == "energy" else 1)


class _Out:
    """One stream's answers, at once or late or in the wrong order."""

    def __init__(self, context: Any, counts: Counter[str]) -> None:
        self._context = context
        self._counts = counts
        self.delay_s = 0.0
        self.shuffle = False
        self._held: Any = None
        self._late: asyncio.Queue[tuple[float, Any]] = asyncio.Queue()
        self._sender: asyncio.Task[None] | None = None

    async def send(self, response: Any) -> None:
        self._counts["responses"] += 1
        if self.shuffle:
            if self._held is None:
                self._held = response
                return
            held, self._held = self._held, None
            await self._context.write(response)
            await self._context.write(held)
        elif self.delay_s:
            self._sender = self._sender or asyncio.create_task(self._send_late())
            self._late.put_nowait((time.monotonic() + self.delay_s, response))
        else:
            await self._context.write(response)

    async def _send_late(self) -> None:
        while True:
            due, response = await self._late.get()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await self._context.write(response)
            self._late.task_done()

    async def drain(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            await self._context.write(held)
        if self._sender is not None:
            await self._late.join()

    async def close(self) -> None:
        if self._sender is not None:
            self._sender.cancel()
            with suppress(asyncio.CancelledError, grpc.RpcError):
                await self._sender


def _bytes(message: Any) -> bytes:
    data: bytes = message if isinstance(message, bytes) else message.SerializeToString()
    return data


def read_recordings(path: Path) -> list[Recording]:
    """[{"audio": "call.ulaw", "words": [[0, 400, "שלום"], ...]}, ...]; `audio` is raw mu-law beside the file."""
    return [
        Recording(
            tuple((int(start), int(end), str(text)) for start, end, text in entry["words"]),
            (path.parent / entry["audio"]).read_bytes() if entry.get("audio") else b"",
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))
    ]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emulators.google_speech", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; it is printed either way")
    parser.add_argument("--mode", choices=("codec", "script", "energy"), help="default: script with --script")
    parser.add_argument("--script", type=Path, help='JSON: [{"audio": "a.ulaw", "words": [[start, end, "word"]]}]')
    parser.add_argument("--sentence", action="append", help="what a voice says in energy mode; may be repeated")
    parser.add_argument("--whole", action="store_true", help="an utterance is always one whole sentence")
    parser.add_argument("--final-ms", type=int, default=300, help="from the end of speech to the final")
    parser.add_argument("--close-ms", type=int, default=0, help="from the half-close to the last final")
    parser.add_argument("--limit-s", type=float, default=305.0, help="the longest stream")
    parser.add_argument("--audio-timeout-s", type=float, default=10.0)
    parser.add_argument("--max-streams", type=int)
    parser.add_argument("--allow-phone-call", action="store_true", help="do not refuse models for Hebrew")
    parser.add_argument("--streaming-only", action="store_true", help="faults spare single requests")
    parser.add_argument("--faults", default="[]", help='JSON: [{"kind": "error", "at_ms": 1500, ...}, null, ...]')
    return parser.parse_args()


async def _main() -> None:
    given = _arguments()
    emulator = GoogleSpeech(
        mode=given.mode or ("script" if given.script else "energy"),
        final_ms=given.final_ms,
        close_ms=given.close_ms,
        sentences=given.sentence or SENTENCES,
        whole_sentences=given.whole,
        recordings=read_recordings(given.script) if given.script else (),
        limit_s=given.limit_s,
        audio_timeout_s=given.audio_timeout_s,
        max_streams=given.max_streams,
        refused_models=() if given.allow_phone_call else ("phone_call", "latest_short", "latest_long"),
    )
    emulator.streaming_only = given.streaming_only
    emulator.faults.extend(Fault(**fault) if fault else None for fault in json.loads(given.faults))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with emulator.running(given.port, given.host) as target:
        print(target.rsplit(":", 1)[1], flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_main())
