"""Google Speech-to-Text v1 on the wire: StreamingRecognize and Recognize over gRPC, without generated servicers.

It hears what `emulators.listener` hears, answers as Google does (several results making one hypothesis, interims every
200 ms of speech, a final after the end of it, nothing for silence), keeps Google's limits with Google's words, and
misbehaves on request: `faults` holds what each next stream shall suffer, `fault` what every other one shall.

    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:            # "127.0.0.1:40123"
        emulator.faults.append(Fault("error", at_ms=1500, status="UNAVAILABLE", message="502:Bad Gateway"))

    python -m emulators.google_speech --port 0 --mode energy     prints the port it listens on
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import stat
import struct
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import grpc
import grpc.aio
from google.cloud.speech_v1.types import cloud_speech

from emulators.listener import Codec, Energy, Heard, Listener, Recording, Script, Source, TimedWord
from emulators.wordcodec import encode_words, numbered, word_times

__all__ = ["Fault", "GoogleSpeech", "Recording", "StreamLog", "encode_words", "numbered", "word_times"]

SERVICE: Final = "google.cloud.speech.v1.Speech"
STREAM_LIMIT: Final = "Exceeded maximum allowed stream duration of 305 seconds."
AUDIO_TIMEOUT: Final = (
    "Audio Timeout Error: Long duration elapsed without audio. Audio should be sent close to real time."
)
TOO_LARGE: Final = "Request payload size exceeds the limit: {limit} bytes."
# Google answers he-IL with its older name, iw-IL, in results and in errors.
NO_MODEL: Final = (
    "Invalid recognition 'config': The {model} model is currently not supported for language : {language}."
)
SENTENCES: Final = (
    "שלום אני צריכה עזרה בבקשה",
    "המזגן שלי לא מקרר",
    "קוראים לי דנה לוי",
    "כן נכון",
    "מחר בבוקר מתאים לי",
    "תודה רבה להתראות",
)

_Request: Final = cloud_speech.StreamingRecognizeRequest.pb()
_Response: Final = cloud_speech.StreamingRecognizeResponse.pb()
_UnaryRequest: Final = cloud_speech.RecognizeRequest.pb()
_UnaryResponse: Final = cloud_speech.RecognizeResponse.pb()
_MULAW: Final = int(cloud_speech.RecognitionConfig.AudioEncoding.MULAW)
_EVENTS: Final = {"begin": 2, "end": 3}  # SPEECH_ACTIVITY_BEGIN, SPEECH_ACTIVITY_END

Kind = Literal["error", "close", "stall", "reset", "refuse", "slow_connect", "slow_results", "shuffle"]
Mode = Literal["codec", "script", "energy"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What one stream suffers once it has heard `at_ms` of audio.

    error         end with `status` and `message`          refuse        the same, before anything else
    close         end with OK though nobody asked          slow_connect  wait `delay_ms` before the first answer
    stall         take the audio, say nothing more         slow_results  each answer comes `delay_ms` late
    reset         the TCP connection is torn down          shuffle       answers change places in pairs
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
    model: str = ""
    language: str = ""
    phrases: tuple[str, ...] = ()
    punctuation: bool = False
    messages: list[int] = field(default_factory=list)  # sizes in bytes, at most 5,000
    finals: list[TimedWord] = field(default_factory=list)
    interims: int = 0
    ended: str = ""  # a status name; 'OK' when the client half-closed; '' while open

    @property
    def audio_ms(self) -> int:
        return sum(self.messages) // 8


class _Aborted(Exception):
    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


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
        max_message: int = 10 * 1024 * 1024,
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
        self.max_message = max_message
        self.max_streams = max_streams
        self.refused_models = frozenset(refused_models)
        self.faults: deque[Fault | None] = deque()
        self.fault: Fault | None = None
        self.counts: Counter[str] = Counter()
        self.streams: deque[StreamLog] = deque(maxlen=1000)
        self.open_streams = 0
        self._server: Any = None
        self._port = 0

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
        ]
        server = grpc.aio.server(options=options)
        handlers = {
            "StreamingRecognize": grpc.stream_stream_rpc_method_handler(
                self._streaming, request_deserializer=_Request.FromString, response_serializer=_bytes
            ),
            "Recognize": grpc.unary_unary_rpc_method_handler(
                self._recognize, request_deserializer=_UnaryRequest.FromString, response_serializer=_bytes
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        self._port = server.add_insecure_port(f"{host}:{port}")
        await server.start()
        self._server = server

    async def kill(self) -> None:
        """Gone at once, with every stream; `start(port)` brings it back."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    # --- StreamingRecognize ---------------------------------------------------------------------------------------

    async def _streaming(self, _requests: object, context: Any) -> None:
        log = StreamLog(context.peer(), time.monotonic())
        self.streams.append(log)
        self.counts["streams"] += 1
        self.open_streams += 1
        out = _Out(context, self.counts)
        try:
            await self._serve(context, log, out)
            log.ended = "OK"
        except _Aborted as aborted:
            log.ended = aborted.status
            self.counts[f"ended {aborted.status}"] += 1
            await context.abort(getattr(grpc.StatusCode, aborted.status), aborted.message)
        finally:
            log.ended = log.ended or "CANCELLED"
            self.open_streams -= 1
            await out.close()

    async def _serve(self, context: Any, log: StreamLog, out: "_Out") -> None:
        fault = self.faults.popleft() if self.faults else self.fault
        match fault:
            case Fault(kind="refuse"):
                raise _Aborted(fault.status, fault.message)
            case Fault(kind="slow_connect"):
                await asyncio.sleep(fault.delay_ms / 1000)
            case Fault(kind="slow_results"):
                out.delay_s = fault.delay_ms / 1000
            case Fault(kind="shuffle"):
                out.shuffle = True
        if self.max_streams is not None and self.open_streams > self.max_streams:
            raise _Aborted("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Concurrent streams'.")
        first = await self._read(context, log)
        if first is grpc.aio.EOF:
            return
        if first.WhichOneof("streaming_request") != "streaming_config":
            raise _Aborted("INVALID_ARGUMENT", "Malformed request: the first message must contain 'streaming_config'.")
        asked = first.streaming_config
        self._check(asked.config, log)
        listener = self._listener()
        silent = False
        while True:
            request = await self._read(context, log)
            if request is grpc.aio.EOF:
                break
            if request.WhichOneof("streaming_request") != "audio_content":
                raise _Aborted("INVALID_ARGUMENT", "Malformed request: only the first message may contain a config.")
            audio = request.audio_content
            self._take(log, audio)
            news = listener.hear(audio)
            if not silent:
                for item in news:
                    await self._tell(item, asked, log, out)
            heard_ms = listener.heard_bytes // 8
            if heard_ms >= self.limit_s * 1000:
                raise _Aborted("OUT_OF_RANGE", STREAM_LIMIT)
            if fault is not None and heard_ms >= fault.at_ms:
                match fault.kind:
                    case "error":
                        raise _Aborted(fault.status, fault.message)
                    case "close":
                        return
                    case "stall":
                        silent = True
                    case "reset":
                        self.counts["resets"] += 1
                        _tear_down(context.peer())
                        return
        if silent:
            await asyncio.sleep(3600)  # the client's cancel or deadline ends it
        if self.close_ms:
            await asyncio.sleep(self.close_ms / 1000)
        for item in listener.close():
            await self._tell(item, asked, log, out)
        billed = _Response()
        billed.total_billed_time.seconds = -(-listener.heard_bytes // 8000)
        await out.send(billed)
        await out.drain()

    async def _read(self, context: Any, log: StreamLog) -> Any:
        left = self.limit_s - (time.monotonic() - log.opened_at)
        wait = min(self.audio_timeout_s, left)
        try:
            async with asyncio.timeout(wait):
                return await context.read()
        except TimeoutError:
            if left <= self.audio_timeout_s:
                raise _Aborted("OUT_OF_RANGE", STREAM_LIMIT) from None
            raise _Aborted("OUT_OF_RANGE", AUDIO_TIMEOUT) from None

    def _take(self, log: StreamLog, audio: bytes) -> None:
        if len(audio) > self.max_message:
            raise _Aborted("INVALID_ARGUMENT", TOO_LARGE.format(limit=self.max_message))
        if len(log.messages) < 5000:
            log.messages.append(len(audio))
        self.counts["messages"] += 1
        self.counts["audio_bytes"] += len(audio)

    async def _tell(self, item: Heard, asked: Any, log: StreamLog, out: "_Out") -> None:
        config = asked.config
        match item.kind:
            case "begin" | "end":
                if asked.enable_voice_activity_events:
                    event = _Response(speech_event_type=_EVENTS[item.kind])
                    event.speech_event_time.FromMilliseconds(item.at_ms)
                    await out.send(event)
            case "interim":
                if asked.interim_results:
                    self.counts["interims"] += 1
                    log.interims += 1
                    await out.send(_interim(item))
            case "final":
                self.counts["finals"] += 1
                log.finals += item.words
                await out.send(_final(item, config))

    # --- Recognize ------------------------------------------------------------------------------------------------

    async def _recognize(self, request: Any, context: Any) -> Any:
        self.counts["recognize"] += 1
        log = StreamLog(context.peer(), time.monotonic())
        self.streams.append(log)
        fault = self.faults.popleft() if self.faults else self.fault
        try:
            if fault is not None and fault.kind in ("refuse", "error"):
                raise _Aborted(fault.status, fault.message)
            if fault is not None and fault.kind == "reset":
                self.counts["resets"] += 1
                _tear_down(context.peer())
            if fault is not None and fault.kind == "stall":
                await asyncio.sleep(3600)
            if fault is not None and fault.kind in ("slow_connect", "slow_results"):
                await asyncio.sleep(fault.delay_ms / 1000)
            self._check(request.config, log)
            self._take(log, request.audio.content)
        except _Aborted as aborted:
            log.ended = aborted.status
            self.counts[f"ended {aborted.status}"] += 1
            await context.abort(getattr(grpc.StatusCode, aborted.status), aborted.message)
        listener = self._listener()
        response = _UnaryResponse()
        for item in [*listener.hear(request.audio.content), *listener.close()]:
            if item.kind == "final":
                self.counts["finals"] += 1
                log.finals += item.words
                result = response.results.add(language_code="iw-il")
                result.result_end_time.FromMilliseconds(item.at_ms)
                _fill(result.alternatives.add(), item, request.config)
        response.total_billed_time.seconds = -(-len(request.audio.content) // 8000)
        log.ended = "OK"
        return response

    # --- shared ---------------------------------------------------------------------------------------------------

    def _check(self, config: Any, log: StreamLog) -> None:
        log.model, log.language = config.model, config.language_code
        log.phrases = tuple(phrase for context in config.speech_contexts for phrase in context.phrases)
        log.punctuation = config.enable_automatic_punctuation
        if config.encoding != _MULAW or config.sample_rate_hertz != 8000:
            raise _Aborted("INVALID_ARGUMENT", "Invalid recognition 'config': bad encoding or sample rate.")
        if config.language_code.lower() in ("he-il", "iw-il") and config.model in self.refused_models:
            raise _Aborted("INVALID_ARGUMENT", NO_MODEL.format(model=config.model, language="iw-IL"))

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
    data: bytes = message.SerializeToString()
    return data


def _interim(item: Heard) -> Any:
    """One hypothesis as Google splits it: what is stable, then what may still change."""
    response = _Response()
    stable = [word for word in item.words if item.at_ms - word.end_ms >= 500]
    tail = item.words[len(stable) :]
    if stable:
        _part(response, "", stable, 0.9)
    if tail:
        age = (item.at_ms - tail[0].end_ms) / 1000
        _part(response, " " if stable else "", tail, round(min(0.8, max(0.1, age)), 2))
    return response


def _part(response: Any, lead: str, words: Sequence[TimedWord], stability: float) -> None:
    result = response.results.add(is_final=False, stability=stability, language_code="iw-il")
    result.result_end_time.FromMilliseconds(words[-1].end_ms)
    result.alternatives.add(transcript=lead + " ".join(word.text for word in words))


def _final(item: Heard, config: Any) -> Any:
    response = _Response()
    result = response.results.add(is_final=True, language_code="iw-il")
    result.result_end_time.FromMilliseconds(item.at_ms)
    _fill(result.alternatives.add(), item, config)
    return response


def _fill(alternative: Any, item: Heard, config: Any) -> None:
    alternative.transcript = " ".join(word.text for word in item.words)
    if config.enable_automatic_punctuation:
        alternative.transcript += "."
    alternative.confidence = 0.9
    if config.enable_word_time_offsets:
        for word in item.words:
            info = alternative.words.add(word=word.text)
            info.start_time.FromMilliseconds(word.start_ms)
            info.end_time.FromMilliseconds(word.end_ms)


def _tear_down(peer: str) -> None:
    """Abort the TCP connection from `peer` ("ipv4:127.0.0.1:54321"): the library gives no handle, the kernel does."""
    port = int(peer.rsplit(":", 1)[1])
    for entry in list(Path("/dev/fd").iterdir()):
        try:
            if not stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                continue
            copy = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:
            continue
        with copy, suppress(OSError):
            if copy.family in (socket.AF_INET, socket.AF_INET6) and copy.getpeername()[1] == port:
                copy.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                copy.shutdown(socket.SHUT_RDWR)


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
    emulator.faults.extend(Fault(**fault) if fault else None for fault in json.loads(given.faults))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with emulator.running(given.port, given.host) as target:
        print(target.rsplit(":", 1)[1], flush=True)
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_main())
