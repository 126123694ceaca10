"""Google Text-to-Speech as the real client sees it: gRPC, `google.cloud.texttospeech.v1`, without a key.

Answers `SynthesizeSpeech` with speech-shaped tones (syllables at about 70 ms a character, so that energy-based code
hears speech), mu-law in a WAV as Google's, after `first_byte_ms`; and `ListVoices`. Refuses what Google refuses, with
its status codes, and fails on request. Content by the text: the same text has the same audio, another another pitch.

    python -m emulators.google_tts --port 8702 --first-byte-ms 120
"""

import argparse
import asyncio
import audioop
import logging
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import grpc.aio
import numpy as np
from google.cloud.texttospeech_v1.types import (
    AudioEncoding,
    ListVoicesRequest,
    ListVoicesResponse,
    SynthesizeSpeechRequest,
    SynthesizeSpeechResponse,
    Voice,
)

log = logging.getLogger(__name__)

SERVICE: Final = "google.cloud.texttospeech.v1.TextToSpeech"
MAX_BYTES: Final = 5000
MS_PER_CHARACTER: Final = 70
VOICES: Final = frozenset(
    [f"he-IL-{kind}-{letter}" for kind in ("Wavenet", "Standard") for letter in "ABCD"]
    + [f"he-IL-Chirp3-HD-{name}" for name in ("Achird", "Aoede", "Charon", "Kore", "Puck", "Zephyr")]
)


@dataclass(frozen=True, slots=True)
class Fault:
    """What the next request meets instead of its audio. `hang` never answers; `garbage` answers with no WAV data."""

    status: grpc.StatusCode | None = None
    message: str = "fault on request"
    delay_ms: int = 0
    hang: bool = False
    garbage: bool = False


@dataclass(slots=True)
class GoogleTts:
    """One emulated service. `header` is 'fact' (58 bytes, the canonical one), 'list' or 'none' (headerless)."""

    first_byte_ms: int = 120
    header: str = "fact"
    faults: deque[Fault] = field(default_factory=deque)
    away: grpc.StatusCode | None = None  # what the list of voices fails with
    counts: Counter[str] = field(default_factory=Counter)
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=1000))
    running: int = 0
    peak: int = 0

    async def synthesize(
        self,
        request: SynthesizeSpeechRequest,
        context: "grpc.aio.ServicerContext[SynthesizeSpeechRequest, SynthesizeSpeechResponse]",
    ) -> SynthesizeSpeechResponse:
        self.counts["requests"] += 1
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            fault = self.faults.popleft() if self.faults else Fault()
            problem = refusal(request)
            if problem:
                self.counts["refused"] += 1
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
            if fault.hang:
                self.counts["hung"] += 1
                await asyncio.Event().wait()
            await asyncio.sleep((self.first_byte_ms + fault.delay_ms) / 1000)
            if fault.status is not None:
                self.counts["faults"] += 1
                await context.abort(fault.status, fault.message)
            if fault.garbage:
                return SynthesizeSpeechResponse(audio_content=b"RIFF\x04\x00\x00\x00WAVE")
            text = request.input.text or request.input.ssml
            self.texts.append(text)
            self.counts["answered"] += 1
            self.counts["characters"] += len(text)
            return SynthesizeSpeechResponse(
                audio_content=wav(speech(text, request.audio_config.speaking_rate or 1.0), self.header)
            )
        except asyncio.CancelledError:
            self.counts["cancelled"] += 1
            raise
        finally:
            self.running -= 1

    async def list_voices(
        self,
        request: ListVoicesRequest,
        context: "grpc.aio.ServicerContext[ListVoicesRequest, ListVoicesResponse]",
    ) -> ListVoicesResponse:
        """Every voice of the language; all of them where none is asked for."""
        self.counts["lists"] += 1
        if self.away is not None:
            await context.abort(self.away, "fault on request")
        if request.language_code and request.language_code.lower() not in ("he", "he-il", "iw-il"):
            return ListVoicesResponse()
        return ListVoicesResponse(
            voices=[
                Voice(language_codes=["he-IL"], name=name, natural_sample_rate_hertz=24_000) for name in sorted(VOICES)
            ]
        )

    @asynccontextmanager
    async def serving(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while entered; yields 'host:port'."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers = {
            "SynthesizeSpeech": grpc.unary_unary_rpc_method_handler(
                self.synthesize,
                request_deserializer=SynthesizeSpeechRequest.deserialize,
                response_serializer=SynthesizeSpeechResponse.serialize,
            ),
            "ListVoices": grpc.unary_unary_rpc_method_handler(
                self.list_voices,
                request_deserializer=ListVoicesRequest.deserialize,
                response_serializer=ListVoicesResponse.serialize,
            ),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
        bound = server.add_insecure_port(f"{host}:{port}")
        if not bound:
            raise OSError(f"cannot listen on {host}:{port}")
        await server.start()
        try:
            yield f"{host}:{bound}"
        finally:
            await server.stop(grace=0)


def refusal(request: SynthesizeSpeechRequest) -> str | None:
    """Why Google would answer INVALID_ARGUMENT, or None."""
    text, audio, voice = request.input.text or request.input.ssml, request.audio_config, request.voice
    chirp = "Chirp" in voice.name
    if not text:
        return "Either `input.text` or `input.ssml` must be set."
    if len(text.encode()) > MAX_BYTES:
        return f"Either `input.text` or `input.ssml` is longer than the limit of {MAX_BYTES} bytes."
    if voice.name and voice.name not in VOICES:
        return f"Voice '{voice.name}' does not exist. Is it misspelled?"
    if voice.language_code not in ("he-IL", "iw-IL", "he"):
        return f"Requested language code '{voice.language_code}' doesn't match the voice '{voice.name}'."
    if audio.speaking_rate and not 0.25 <= audio.speaking_rate <= 2.0:
        return "Invalid speaking_rate: must be in the range [0.25, 2.0]."
    if not -20.0 <= audio.pitch <= 20.0:
        return "Invalid pitch: must be in the range [-20.0, 20.0]."
    if chirp and audio.pitch:
        return "This voice does not support pitch parameters at this time."
    if chirp and request.input.ssml:
        return "This voice does not support SSML input."
    if audio.audio_encoding != AudioEncoding.MULAW:
        return "The emulator speaks MULAW only."
    return None


@lru_cache(maxsize=512)
def speech(text: str, rate: float = 1.0) -> bytes:
    """Mu-law 8 kHz, about 70 ms a character: a buzz with formant-like partials under a syllable-shaped envelope."""
    samples = max(1600, int(len(text) * MS_PER_CHARACTER * 8 / rate))
    time = np.arange(samples) / 8000
    pitch = 105 + sum(text.encode()) % 40
    buzz = sum(np.sin(2 * np.pi * pitch * partial * time) / partial for partial in range(1, 9))
    # four syllables a second, never fully silent inside a word; a short fade at both ends
    envelope = 0.15 + 0.85 * np.sin(np.pi * 4 * time) ** 2
    edge = np.minimum(1.0, np.minimum(time, time[::-1]) / 0.02)
    pcm = np.asarray(0.25 * buzz * envelope * edge * 32767 / 1.6, dtype="<i2")
    return audioop.lin2ulaw(pcm.tobytes(), 2)


def wav(mulaw: bytes, header: str = "fact") -> bytes:
    """`mulaw` in a WAV: 58 header bytes with 'fact', more with a LIST chunk of odd length, or none at all."""
    if header == "none":
        return mulaw
    chunks = _chunk(b"fmt ", struct.pack("<HHIIHHH", 7, 1, 8000, 8000, 1, 8, 0))
    if header == "list":
        chunks += _chunk(b"LIST", b"INFOISFT\x07\x00\x00\x00Google\x00")
    chunks += _chunk(b"fact", struct.pack("<I", len(mulaw))) + _chunk(b"data", mulaw)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


async def _main() -> None:
    parser = argparse.ArgumentParser(description="Emulates Google Text-to-Speech.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8702)
    parser.add_argument("--first-byte-ms", type=int, default=120)
    options = parser.parse_args()
    service = GoogleTts(first_byte_ms=options.first_byte_ms)
    async with service.serving(options.port, options.host) as address:
        print(f"Google Text-to-Speech emulator on {address}; set TEXTTOSPEECH_EMULATOR_HOST={address}", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_main())
    except KeyboardInterrupt:
        log.info("stopped")
