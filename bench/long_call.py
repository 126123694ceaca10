"""One long call over a recognizer that ends its streams every few seconds: is every word still told once?

    python -m bench.long_call [--minutes 20] [--limit 20] [--speed 10] [--out FOLDER]

The real Google client on a real connection; the emulator ends a stream by the audio that it took as well as by the
clock, so the call can be fed faster than it would be spoken. Sentences of random length with random pauses; the words
travel in the audio (`emulators.wordcodec`). The limits of streams are the product's own, scaled to `--limit`; what is a
matter of real time (drain, connect) is not scaled, and so `--speed` times harder.
"""

import argparse
import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from bench.stage import RESULTS, machine, save
from emulators.google_speech import GoogleSpeech, encode_words, numbered
from moked import audio
from moked.audio import FRAME_BYTES, FRAME_MS, SAMPLES_PER_MS
from moked.stt import EngineSwitched, Transcript
from moked.stt import Final as FinalText
from moked.stt.failover import Breaker, RelayPolicy
from moked.stt.google import GoogleSettings, GoogleStreaming
from moked.stt.relay import Relay
from moked.stt.transcripts import strip_punctuation

GAP_MS: Final = 60


@dataclass(frozen=True, slots=True)
class Speech:
    """The caller's side of a call: the audio, its words, and when a VAD would say what."""

    sound: bytes
    words: Sequence[str]
    marks: Sequence[tuple[int, bool, int]]


def speech(minutes: float, seed: int = 1) -> Speech:
    """Sentences of 1 to 40 words: the longest outlast half a stream."""
    rng = random.Random(seed)
    sound, words, marks = bytearray(), [], []
    while audio.ms(sound) < minutes * 60_000:
        sound += audio.silence(rng.randrange(300, 3000))
        some = numbered(rng.choice((1, 3, 8, 20, 40)), len(words))
        begins = audio.ms(sound)
        sound += encode_words(some, GAP_MS)
        ends = audio.ms(sound)
        marks += [(begins + 120, True, begins), (ends + 240, False, ends)]
        words += some
    sound += audio.silence(1500)
    return Speech(bytes(sound), words, marks)


async def run(minutes: float, limit_s: float, speed: float) -> dict[str, Any]:
    """The call, and what became of its words."""
    said = speech(minutes)
    emulator = GoogleSpeech(mode="codec", limit_s=limit_s)
    told: list[Transcript] = []
    # the product's 200, 270 and 305 s, in the same proportion
    policy = RelayPolicy(
        rotate_soft_ms=int(limit_s * 656),
        rotate_hard_ms=int(limit_s * 760),
        burst_speed=int(RelayPolicy().burst_speed * speed),  # a replay slower than the call never catches up
    )
    began = time.monotonic()
    async with emulator.running() as target:
        google = GoogleStreaming(GoogleSettings(emulator_host=target))
        async with google.running():
            relay = Relay([google], told.append, breakers={google.name: Breaker()}, policy=policy)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay.run)
                await _talk(relay, said, speed)
    heard = Counter(word for one in told if isinstance(one, FinalText) for word in strip_punctuation(one.text).split())
    moves = Counter(one.reason for one in told if isinstance(one, EngineSwitched))
    return {
        "minutes": minutes,
        "stream_limit_s": limit_s,
        "speed": speed,
        "seconds": round(time.monotonic() - began, 1),
        "words": len(said.words),
        "lost": [word for word in said.words if not heard[word]],
        "doubled": [word for word, count in heard.items() if count > 1],
        "streams": emulator.counts["streams"],
        "moves": dict(moves),
        "ended": dict(Counter(stream.ended for stream in emulator.streams)),
    }


async def _talk(relay: Relay, said: Speech, speed: float) -> None:
    began = time.monotonic()
    frames: Iterator[int] = iter(range(0, len(said.sound), FRAME_BYTES))
    marks = list(reversed(said.marks))
    for at in frames:
        relay.feed(said.sound[at : at + FRAME_BYTES])
        now_ms = at // SAMPLES_PER_MS + FRAME_MS
        while marks and marks[-1][0] <= now_ms:
            _, begins, at_ms = marks.pop()
            (relay.speech_started if begins else relay.speech_ended)(at_ms)
        await anyio.sleep(max(0.0, began + now_ms / 1000 / speed - time.monotonic()))
    relay.finish()


async def main(options: argparse.Namespace) -> int:
    result = await run(options.minutes, options.limit, options.speed)
    for name, value in result.items():
        print(f"{name:>15}: {value}")
    command = (
        f"python -m bench.long_call --minutes {options.minutes:g} --limit {options.limit:g} --speed {options.speed:g}"
    )
    print(save(options.out, "long_call", {"machine": machine(command), **result}))
    return 1 if result["lost"] or result["doubled"] else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--limit", type=float, default=20, help="the longest stream in seconds")
    parser.add_argument("--speed", type=float, default=10, help="so much faster than it is spoken")
    parser.add_argument("--out", type=Path, default=RESULTS)
    raise SystemExit(asyncio.run(main(parser.parse_args())))
