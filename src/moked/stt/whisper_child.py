"""Whisper in a process of its own: the only file that knows faster-whisper. `stt.whisper_local` is its other side.

Three things make it fit for a telephone. The encoder gets the clip and seven seconds instead of thirty: a quarter of
the work for the same text; with less it says phrases twice. There is no ladder of temperatures: a clip is decoded again
only when the decoder got caught in a loop. And dictated digits are read from the encoder's output (`digit_ear`).
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

# The spectrogram is too small for threads: numpy's spin, and double the CPU of a clip. Before numpy is loaded.
os.putenv("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import soxr
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import get_suppressed_tokens
from numpy.typing import NDArray

from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS, from_float, to_float
from moked.stt.digit_ear import NUMBER_KINDS, DigitEar, told
from moked.stt.whisper_filter import REPETITION, Clip, loud_ms, made_up

_RATE: Final = 16_000
_FRAMES_PER_S: Final = 100
_CONTEXT_FRAMES: Final = 700  # beyond the clip
_MAX_FRAMES: Final = 3000
_MAX_CLIP_MS: Final = 28_000
_CAREFUL_MS: Final = 4000  # shorter clips get the wide beam: they are names and numbers, and cheap
_WIDE_BEAM: Final = 5
_BEAM: Final = 2
_GLANCE_BEAM: Final = 1
_USUAL_S: Final = 3  # a usual utterance, for what the machine is measured by
_TOKENS_PER_S: Final = 20
_HINT_LETTERS: Final = 300
_DIGIT_NET: Final = Path(__file__).with_name("digit_ear.npz")


def serve(config: dict[str, Any]) -> Callable[[dict[str, Any]], Iterable[dict[str, Any]]]:
    """config: model (path or hub name), language, compute_type, cpu_threads.

    Asks: {"prepare": True} -> {"error": str, "load_ms": int, "usual_ms": int}, the last being the time for a usual
    utterance; {"audio": mu-law, "hints": [str], "glance": bool, "expect": what was asked for (a `dialog.Expect`
    value)} -> text, confidence, reason (why the text was dropped), decode_ms, cpu_ms; {"pcm16k": 16-bit at 16 kHz, at
    most 28 s, "hints": [str]} -> the same. A glance is quick rather than careful. A model that cannot be loaded is what
    every ask is told.
    """
    started = time.monotonic()
    try:
        ear = Ear(config)
    except Exception as problem:  # whatever the loader raises: a missing folder, a broken file, a hub out of reach
        error = f"{type(problem).__name__}: {problem}"

        def refuse(ask: dict[str, Any]) -> Iterable[dict[str, Any]]:
            if "prepare" not in ask:
                raise RuntimeError(f"the model could not be loaded: {error}")
            yield {"error": error, "load_ms": 0, "usual_ms": 0}

        return refuse
    load_ms = round((time.monotonic() - started) * 1000)

    def answer(ask: dict[str, Any]) -> Iterable[dict[str, Any]]:
        if "prepare" in ask:
            yield {"error": "", "load_ms": load_ms, "usual_ms": ear.warm_up()}
            return
        ear.withdrawn = ask["withdrawn"]
        if "pcm16k" in ask:
            yield ear.hear_wide(ask["pcm16k"], ask.get("hints", []))
        else:
            expect, glance = ask.get("expect", ""), ask.get("glance", False)
            yield ear.hear(ask["audio"], ask.get("hints", []), expect, glance=glance)

    return answer


class Ear:
    """The model, and beside its decoder the net that hears numbers where this model is the one it was taught on."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._model = _load(config["model"], config["compute_type"], config["cpu_threads"])
        self._tokenizer = Tokenizer(
            self._model.hf_tokenizer,
            self._model.model.is_multilingual,
            task="transcribe",
            language=config["language"],
        )
        self._suppress = list(get_suppressed_tokens(self._tokenizer, [-1]))
        self.withdrawn: Callable[[], bool] = lambda: False  # whether anybody still waits for the answer
        with np.load(_DIGIT_NET) as net:
            digits = DigitEar(net)
        # here and not in the warm-up: a child that takes the place of a dead one gets none
        self._digits = digits if digits.fits(self.probe()) else None

    def warm_up(self) -> int:
        """Two decodings of three seconds; the first also sets things up. Returns the second one's time in ms."""
        noise = _noise(_USUAL_S)
        self._decode(self._encode(noise), _USUAL_S, [], _WIDE_BEAM)
        started = time.monotonic()
        self._decode(self._encode(noise), _USUAL_S, [], _WIDE_BEAM)
        return round((time.monotonic() - started) * 1000)

    def probe(self) -> NDArray[np.float32]:
        """What this encoder makes of a known noise: tells it from every other."""
        return _mean(self._encode(_noise(1)))

    def encoded(self, mulaw: bytes) -> NDArray[np.float32]:
        """(frames of 20 ms, width) of a clip, as the net for numbers gets it."""
        wide = soxr.resample(to_float(mulaw), SAMPLE_RATE, _RATE)
        return _clip_frames(self._encode(wide), len(wide))

    def hear(self, mulaw: bytes, hints: list[str], expect: str = "", *, glance: bool = False) -> dict[str, Any]:
        started, cpu = time.monotonic(), time.process_time()
        texts: list[str] = []
        confidences: list[float] = []
        reasons: list[str] = []
        for part in _parts(mulaw):
            text, confidence, reason = self._hear_part(part, hints, expect, glance=glance)
            if reason:
                reasons.append(reason)
            else:
                texts.append(text)
                confidences.append(confidence)
        return {
            "text": " ".join(texts),
            "confidence": min(confidences, default=0.0),
            "reason": ", ".join(reasons),
            "decode_ms": round((time.monotonic() - started) * 1000),
            "cpu_ms": round((time.process_time() - cpu) * 1000),
        }

    def hear_wide(self, pcm: bytes, hints: list[str]) -> dict[str, Any]:
        """A recording's clip, with all that is above the telephone's 4 kHz."""
        started, cpu = time.monotonic(), time.process_time()
        wide = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        if len(wide) > _MAX_CLIP_MS * (_RATE // 1000):
            raise ValueError(f"{len(wide) // (_RATE // 1000)} ms at once; {_MAX_CLIP_MS} can be heard")
        loud = loud_ms(from_float(wide[:: _RATE // SAMPLE_RATE]))  # every second sample tells how loud it is
        text, confidence, reason = self._hear_clip(wide, loud, hints, None, glance=False)
        return {
            "text": "" if reason else text,
            "confidence": 0.0 if reason else confidence,
            "reason": reason,
            "decode_ms": round((time.monotonic() - started) * 1000),
            "cpu_ms": round((time.process_time() - cpu) * 1000),
        }

    def _hear_part(self, mulaw: bytes, hints: list[str], expect: str, *, glance: bool) -> tuple[str, float, str]:
        wide = soxr.resample(to_float(mulaw), SAMPLE_RATE, _RATE)
        return self._hear_clip(wide, loud_ms(mulaw), hints, expect, glance=glance)

    def _hear_clip(
        self, wide: NDArray[np.float32], loud: int, hints: list[str], expect: str | None, *, glance: bool
    ) -> tuple[str, float, str]:
        """`expect` None: not telephone audio, which the net for numbers was taught."""
        if loud == 0:
            return "", 0.0, "silence"
        clip_ms = len(wide) // (_RATE // 1000)
        seconds = len(wide) / _RATE
        beam = _GLANCE_BEAM if glance else _WIDE_BEAM if clip_ms < _CAREFUL_MS else _BEAM
        encoded = self._encode(wide)

        @cache
        def free() -> tuple[str, float, float]:
            return self._decode(encoded, seconds, hints, beam)

        if self._digits is not None and expect is not None:
            heard = self._digits.hear(_clip_frames(encoded, len(wide)))
            number = told(heard, lambda: free()[0], asked=expect in NUMBER_KINDS)
            if number is not None:
                return *number, ""
        text, logprob, no_speech = free()
        reason = made_up(text, Clip(clip_ms, loud, logprob, no_speech))
        if reason == REPETITION and not glance:
            text, logprob, no_speech = self._decode(encoded, seconds, [], _WIDE_BEAM, no_loops=True)
            reason = made_up(text, Clip(clip_ms, loud, logprob, no_speech))
        return text, float(np.exp(logprob)), reason

    def _encode(self, wide: NDArray[np.float32]) -> Any:
        """The encoder's output for a clip and the silence it needs after it."""
        frames = min(int(len(wide) / _RATE * _FRAMES_PER_S) + _CONTEXT_FRAMES, _MAX_FRAMES) // 2 * 2
        padded = np.pad(wide, (0, max(0, frames * (_RATE // _FRAMES_PER_S) - len(wide))))
        features = self._model.feature_extractor(padded)[:, :frames]
        self._go_on()
        return self._model.encode(features)

    def _decode(
        self, encoded: Any, seconds: float, hints: list[str], beam: int, *, no_loops: bool = False
    ) -> tuple[str, float, float]:
        """Text, mean log probability of a token, probability that nobody speaks.

        `no_loops` forbids three tokens in a row that were there before; it would also forbid the zeros of a number.
        """
        prompt = self._model.get_prompt(
            self._tokenizer, [], without_timestamps=True, hotwords=", ".join(hints)[:_HINT_LETTERS] or None
        )
        room = self._model.max_length - len(prompt)
        self._go_on()
        result = self._model.model.generate(
            encoded,
            [prompt],
            beam_size=beam,
            no_repeat_ngram_size=3 if no_loops else 0,
            max_length=len(prompt) + min(room, 24 + int(_TOKENS_PER_S * seconds)),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=True,
            suppress_tokens=self._suppress,
        )[0]
        tokens = result.sequences_ids[0]
        logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        return self._tokenizer.decode(tokens).strip(), logprob, result.no_speech_prob

    def _go_on(self) -> None:
        """Between the steps that take long: the next ask need not wait for an answer that nobody wants."""
        if self.withdrawn():
            raise InterruptedError("withdrawn")


def _load(model: str, compute_type: str, threads: int) -> WhisperModel:
    """A folder, or a hub's name: without asking the hub where it is whole on this machine."""
    settings: dict[str, Any] = {"device": "auto", "compute_type": compute_type, "cpu_threads": threads}
    if not Path(model).is_dir():
        with suppress(OSError, RuntimeError):  # it is not here, or only a part of it
            return WhisperModel(model, local_files_only=True, **settings)
    return WhisperModel(model, **settings)


def _noise(seconds: int) -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, 0.05, seconds * _RATE).astype(np.float32)


def _mean(encoded: Any) -> NDArray[np.float32]:
    mean: NDArray[np.float32] = np.array(encoded)[0].astype(np.float32).mean(axis=0)
    return mean


def _clip_frames(encoded: Any, samples: int) -> NDArray[np.float32]:
    """Without the frames of the silence after the clip."""
    frames: NDArray[np.float32] = np.array(encoded)[0, : -(-samples // (_RATE // 50))].astype(np.float32)
    return frames


def _parts(mulaw: bytes) -> list[bytes]:
    """Clips the model can take, cut at the quietest place of their last five seconds."""
    parts = []
    limit = _MAX_CLIP_MS * SAMPLES_PER_MS
    while len(mulaw) > limit:
        start = limit - 5 * SAMPLE_RATE
        window = to_float(mulaw[start:limit])
        steps = np.abs(window[: len(window) // 800 * 800]).reshape(-1, 800).mean(axis=1)
        cut = start + int(steps.argmin()) * 800 + 400
        parts.append(mulaw[:cut])
        mulaw = mulaw[cut:]
    return [*parts, mulaw]
