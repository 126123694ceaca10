"""How soon a local Whisper has the caller's words, alone, with every seat taken, and under a flood.

    python -m bench.whisper_fallback [--words FOLDER] [--utterances 12] [--out bench/results]

The utterances are three seconds long: sentences in the local Hebrew voice, and recorded Hebrew words joined with short
breaths (`FOLDER` holds `he/` of GCompris-voices; GPL, not part of this project; without it there are sentences alone).
They are played in real time through the engine's stream, with the marks of the VAD as late as the real gate tells them.

final: from the end of the speech to its final. first partial: from the beginning of the speech. CPU: of Whisper's own
processes, for each utterance. One live call speaks all the time; in the flood 200 utterances of other work come in at
once, and in "all seats" as many calls as the engine takes, each with a sentence every six seconds.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio
import numpy as np
import psutil

from bench.stage import RESULTS, caller_lines, machine, save, spread
from moked import weights
from moked.audio import FRAME_BYTES, SAMPLES_PER_MS, from_float, ms, silence, to_float
from moked.errors import Overloaded, ProviderError
from moked.metrics import LoopLag
from moked.stt import Final as Heard
from moked.stt import Interim
from moked.stt.fairqueue import Rank
from moked.stt.whisper_local import WhisperLocal

LENGTH_MS: Final = 3000
LIMIT_MS: Final = 1200
KNOWN_LATE_MS: Final = 180  # five silent windows of 32 ms, and the frame that completes the last one
BEGIN_LATE_MS: Final = 80
EVERY_S: Final = 6.0
FLOOD: Final = 200
_LOUD: Final = 0.02
_CHUNK: Final = 2 * FRAME_BYTES  # as the relay feeds it


@dataclass
class Result:
    """ms, and counts."""

    finals: list[float] = field(default_factory=list)
    first_partials: list[float] = field(default_factory=list)
    partials: list[int] = field(default_factory=list)
    lost: int = 0

    def row(self) -> dict[str, Any]:
        return {
            "final_ms": spread(self.finals),
            "first_partial_ms": spread(self.first_partials),
            "partials": round(float(np.mean(self.partials)), 1) if self.partials else 0,
            "without_partial": sum(1 for count in self.partials if count == 0),
            "lost": self.lost,
        }


def trimmed(sound: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(sound) > _LOUD)
    return sound[loud[0] : loud[-1]] if len(loud) else sound[:0]


def three_seconds(pieces: Sequence[np.ndarray]) -> list[bytes]:
    """Pieces joined with breaths of 80 ms until each utterance is about three seconds long."""
    made: list[bytes] = []
    open_one = np.zeros(0, np.float32)
    for piece in pieces:
        open_one = np.concatenate([open_one, np.zeros(640, np.float32), piece]) if len(open_one) else piece
        if len(open_one) >= LENGTH_MS * SAMPLES_PER_MS:
            made.append(from_float(trimmed(open_one[: LENGTH_MS * SAMPLES_PER_MS])))
            open_one = np.zeros(0, np.float32)
    return made


async def utterances(words: Path | None, count: int) -> tuple[list[bytes], dict[str, int]]:
    lines, voice = await caller_lines()
    spoken = three_seconds([trimmed(to_float(line.audio)) for line in lines if line.audio] * 2)
    recorded: list[bytes] = []
    if words is not None and words.is_dir():
        from faster_whisper.audio import decode_audio

        files = sorted(words.rglob("*.ogg"))
        sounds = [trimmed(np.asarray(decode_audio(str(file), sampling_rate=8000)) * 0.9) for file in files]
        recorded = three_seconds(sounds)
    else:
        print("the recorded Hebrew words are not here: the local voice alone", file=sys.stderr)
    half = count // 2 if recorded else 0
    chosen = [recorded[number % len(recorded)] for number in range(half)]
    chosen += [spoken[number % len(spoken)] for number in range(count - half)]
    return chosen, {voice: count - half, "recorded words": half}


async def call(engine: WhisperLocal, sounds: Sequence[bytes], result: Result, *, every_s: float, wait_s: float) -> None:
    """One call: each utterance in real time, the next one `every_s` after it began, or as soon as it has ended."""
    await anyio.sleep(wait_s)
    begun = anyio.current_time()
    speech: list[tuple[float, float]] = []  # begin and end of each utterance, in call ms
    async with engine.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:

        async def listen() -> None:
            heard: Counter[int] = Counter()
            told = set()
            async for item in stream:
                now = (anyio.current_time() - begun) * 1000
                number = next((n for n, (b, e) in enumerate(speech) if b - 400 <= item.start_ms <= e), None)
                if number is None:
                    continue
                if isinstance(item, Interim):
                    if number not in heard:
                        result.first_partials.append(now - speech[number][0])
                    heard[number] += 1
                elif isinstance(item, Heard) and item.end_ms >= speech[number][1] - 50:
                    result.finals.append(now - speech[number][1])
                    told.add(number)
            result.partials += [heard[number] for number in range(len(speech))]
            result.lost += len(speech) - len(told)

        tasks.start_soon(listen)
        at = 0
        for sound in sounds:
            quiet_ms = max(1200, int(every_s * 1000) - ms(sound))
            begin = at // SAMPLES_PER_MS + 300
            end = begin + ms(sound)
            speech.append((begin, end))
            marks = [(begin + BEGIN_LATE_MS, True, begin), (end + KNOWN_LATE_MS, False, end)]
            audio = silence(300) + sound + silence(quiet_ms)
            for start in range(0, len(audio), _CHUNK):
                piece = audio[start : start + _CHUNK]
                at += len(piece)
                await anyio.sleep(max(0.0, begun + at / SAMPLES_PER_MS / 1000 - anyio.current_time()))
                await stream.write(piece)
                while marks and marks[0][0] * SAMPLES_PER_MS <= at:
                    _, begins, at_ms = marks.pop(0)
                    (stream.speech_started if begins else stream.speech_ended)(at_ms)
        await stream.finish()


class Meter:
    """CPU and memory of Whisper's processes, and the lag of our loop, while entered."""

    def __init__(self, engine: WhisperLocal) -> None:
        self._processes = [psutil.Process(child.pid) for child in engine._children if child.pid is not None]
        self._engine = engine
        self._lag = LoopLag(window_s=600)
        self._begun = self._cpu()
        self.peak = 0

    def _cpu(self) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in self._processes)

    async def watch(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._lag.watch, 0.05)
            while True:
                self.peak = max(self.peak, self._engine.memory)
                await anyio.sleep(0.2)

    def row(self, count: int) -> dict[str, Any]:
        return {
            "cpu_s_an_utterance": round((self._cpu() - self._begun) / max(count, 1), 2),
            "memory_peak_mb": round(self.peak / 1e6),
            "own_memory_mb": round(psutil.Process().memory_info().rss / 1e6),
            "loop_lag_peak_ms": round(self._lag.peak_s * 1000),
        }


async def measured(
    engine: WhisperLocal, calls: int, sounds: Sequence[bytes], *, every_s: float = 0.0, flood: int = 0
) -> dict[str, Any]:
    result, meter = Result(), Meter(engine)
    outcomes: Counter[str] = Counter()

    async def other(number: int) -> None:
        try:
            await engine.transcribe(sounds[number % len(sounds)], call=number, rank=Rank.BACKGROUND, timeout_s=60)
        except (ProviderError, Overloaded) as problem:
            outcomes[getattr(problem, "kind", "full")] += 1
        else:
            outcomes["heard"] += 1

    async with anyio.create_task_group() as watching:
        watching.start_soon(meter.watch)
        async with anyio.create_task_group() as background:
            for number in range(flood):
                background.start_soon(other, number)
            async with anyio.create_task_group() as tasks:
                for number in range(calls):
                    own = [*sounds[number % len(sounds) :], *sounds[: number % len(sounds)]]
                    tasks.start_soon(
                        lambda own=own, number=number: call(
                            engine, own, result, every_s=every_s, wait_s=number * EVERY_S / calls
                        )
                    )
            row = result.row() | meter.row(len(result.finals))
            background.cancel_scope.cancel()
        watching.cancel_scope.cancel()
    if flood:
        row["flood"] = {"asked": flood, **{str(kind): count for kind, count in sorted(outcomes.items())}}
    return row


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=Path)
    parser.add_argument("--utterances", type=int, default=12)
    parser.add_argument("--model", default="", help="a folder; the embedded base model without")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    where = machine("python -m bench.whisper_fallback")
    sounds, sources = await utterances(given.words, given.utterances)
    rows: dict[str, Any] = {}
    for name, partials in (("alone", True), ("alone, no partials", False)):
        engine = WhisperLocal(given.model or weights.path("whisper-base"), partials=partials)
        async with engine.running():
            memory_mb = round(engine.memory / 1e6)
            print(name, flush=True)
            rows[name] = await measured(engine, 1, sounds)
            if not partials:
                continue
            seats = engine.seats.limit
            print(f"all {seats} seats", flush=True)
            rows["all seats"] = {"calls": seats} | await measured(engine, seats, sounds[:4], every_s=EVERY_S)
            print("flood", flush=True)
            rows["flood"] = await measured(engine, 1, sounds, flood=FLOOD)
    result = {
        "machine": where,
        "setting": {
            "model": given.model or "base, embedded, int8",
            "utterance_ms": LENGTH_MS,
            "sources": sources,
            "known_late_ms": KNOWN_LATE_MS,
            "limit_ms": LIMIT_MS,
        },
        "seats": seats,
        "memory_idle_mb": memory_mb,
        "rows": rows,
    }
    path = save(given.out, "whisper_fallback", result)
    for name, row in rows.items():
        print(name, row)
    print(path)


if __name__ == "__main__":
    anyio.run(main)
