"""An OpenAI-compatible transcription server for development and tests: `POST /v1/audio/transcriptions`, `/v1/models`.

It really transcribes: `--mode whisper` with a Whisper model on this machine, `--mode codec` the words written into the
audio (`wordcodec`), so that tests know to the letter what must be heard. Delay and faults are data: `delay_ms`, and a
queue of `Fault`s, one for each coming request; a running process takes more of them at `POST /emulator/faults`.

    python -m emulators.whisper_server --port 4030 --mode whisper
"""

import argparse
import asyncio
import io
import json
import os
import socket
import wave
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulators.wordcodec import WordDecoder
from moked import weights
from moked.audio import SAMPLE_RATE, from_pcm16

MODEL = "whisper-he"
_MAX_BYTES = 25_000_000  # what OpenAI takes


@dataclass(frozen=True, slots=True)
class Fault:
    """One request's trouble. `status`: refuse with it; `garbage`: no JSON; `stall_ms`: be so late with the answer."""

    status: int = 0
    garbage: bool = False
    stall_ms: int = 0


@dataclass
class WhisperServer:
    """The server's state. `requests` holds the form fields of the last ones, and `audio_ms`."""

    mode: str = "codec"
    api_key: str = ""
    delay_ms: int = 0
    faults: deque[Fault] = field(default_factory=deque)
    requests: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=200))
    running: int = 0
    most_running: int = 0
    _hear: Callable[[dict[str, Any]], Iterable[dict[str, Any]]] | None = None
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/audio/transcriptions", self._transcriptions, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/emulator/faults", self._more_faults, methods=["POST"]),
            ]
        )

    def load(self) -> None:
        """Load the model of mode `whisper`; takes seconds."""
        if self.mode == "whisper" and self._hear is None:
            from moked.stt import whisper_child

            threads = max(1, (os.cpu_count() or 1) // 2)
            self._hear = whisper_child.serve(
                {
                    "model": str(weights.path("whisper-base")),
                    "language": "he",
                    "compute_type": "int8",
                    "cpu_threads": threads,
                }
            )

    async def _models(self, request: Request) -> Response:
        if not self._may(request):
            return _error(401, "Incorrect API key provided.")
        return JSONResponse({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def _more_faults(self, request: Request) -> Response:
        self.faults.extend(Fault(**fault) for fault in await request.json())
        return Response(status_code=204)

    async def _transcriptions(self, request: Request) -> Response:
        if not self._may(request):
            return _error(401, "Incorrect API key provided.")
        body = await request.body()
        if len(body) > _MAX_BYTES:
            return _error(413, "Maximum content size limit exceeded.")
        fields, file = _form(request.headers.get("content-type", ""), body)
        fault = self.faults.popleft() if self.faults else Fault()
        await asyncio.sleep((self.delay_ms + fault.stall_ms) / 1000)
        if fault.status:
            return _error(fault.status, "The test asked for it.")
        if fault.garbage:
            return Response(b"<html>not what you wanted</html>", media_type="text/html")
        if fields.get("model") != MODEL:
            return _error(404, f"The model {fields.get('model')!r} does not exist.")
        try:
            audio = _mulaw(file)
        except (EOFError, ValueError, wave.Error) as problem:
            return _error(400, f"Invalid file format: {problem}")
        self.requests.append({**fields, "audio_ms": len(audio) * 1000 // SAMPLE_RATE})
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return JSONResponse({"text": await self._text(audio)})
        finally:
            self.running -= 1

    async def _text(self, audio: bytes) -> str:
        if self._hear is None:
            return " ".join(word.text for word in WordDecoder().hear(audio))
        ask = {"audio": audio, "withdrawn": lambda: False}
        hear = self._hear
        async with self._one:
            answers = await asyncio.to_thread(lambda: list(hear(ask)))
        return str(answers[0]["text"])

    def _may(self, request: Request) -> bool:
        return not self.api_key or request.headers.get("authorization") == f"Bearer {self.api_key}"


def _form(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Fields and the file of a multipart form. A field that comes again becomes a list."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, Any] = {}
    file = b""
    for part in message.iter_parts():
        name = str(part.get_param("name", "", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if name == "file":
            file = content
            fields["filename"] = part.get_filename()
        else:
            text = content.decode()
            fields[name] = text if name not in fields else [*_listed(fields[name]), text]
    return fields, file


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _mulaw(file: bytes) -> bytes:
    with wave.open(io.BytesIO(file)) as sound:
        if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, SAMPLE_RATE):
            raise ValueError("16-bit mono at 8 kHz is what this emulator reads")
        return from_pcm16(sound.readframes(sound.getnframes()))


def _error(status: int, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m emulators.whisper_server", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; it is printed either way")
    parser.add_argument("--mode", choices=("whisper", "codec"), default="whisper")
    parser.add_argument("--api-key", default="", help="the only one that is taken; any without")
    parser.add_argument("--delay-ms", type=int, default=0)
    parser.add_argument("--faults", default="[]", help='JSON: [{"status": 503}, {"garbage": true}, ...]')
    given = parser.parse_args()
    faults = deque(Fault(**fault) for fault in json.loads(given.faults))
    emulator = WhisperServer(given.mode, given.api_key, given.delay_ms, faults)
    emulator.load()
    with socket.create_server((given.host, given.port)) as listener:
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(emulator.app(), log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
