"""Every fault at every 100 ms of a long utterance, and around rotation: is a word lost or doubled, and how long is it
quiet?

    python -m bench.fault_matrix [--step 100] [--at-once 40] [--only stall,reset] [--out FOLDER]

Each case is one call: a relay with the real Google client, over a real connection, to an emulator of its own that
suffers the fault. The words travel in the audio (`emulators.wordcodec`), so what the finals miss or double was lost or
doubled by us. What takes over is a second Google, or an engine that hears whole utterances between the marks of the
VAD. Calls run in real time, many at once. The gap is the longest time in the speech in which nothing of it came; whole
utterances have no partials, so there it reaches to the final.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from bench.stage import RESULTS, machine, save
from emulators.google_speech import Fault, GoogleSpeech, encode_words, numbered, word_times
from emulators.wordcodec import WordDecoder
from moked import audio
from moked.audio import FRAME_BYTES, FRAME_MS, SAMPLES_PER_MS
from moked.stt import Engine, EngineSwitched, Stream, Transcript
from moked.stt import Final as FinalText
from moked.stt.failover import Breaker, RelayPolicy
from moked.stt.google import GoogleSettings, GoogleStreaming
from moked.stt.relay import Relay
from moked.stt.transcripts import strip_punctuation
from moked.stt.utterance import Transcription, UtteranceStream

WORDS: Final = numbered(23)
FIRST: Final = 6  # then a pause, in which the first part becomes final
LEAD_MS: Final = 400
GAP_MS: Final = 60
PAUSE_MS: Final = 500
TAIL_MS: Final = 700
_ONE: Final = encode_words(WORDS[:FIRST], GAP_MS)
AUDIO: Final = encode_words(WORDS[:FIRST], GAP_MS, lead_ms=LEAD_MS) + encode_words(
    WORDS[FIRST:], GAP_MS, lead_ms=PAUSE_MS, tail_ms=TAIL_MS
)
SECOND_MS: Final = LEAD_MS + audio.ms(_ONE) + PAUSE_MS
END_MS: Final = word_times(WORDS[FIRST:], GAP_MS, lead_ms=SECOND_MS)[-1][1]
SPANS: Final = ((LEAD_MS, SECOND_MS - PAUSE_MS), (SECOND_MS, END_MS))
MARKS: Final = tuple(  # when the VAD knows, what, and where that was
    mark for start, end in SPANS for mark in ((start + 120, True, start), (end + 240, False, end))
)
ROTATE_MS: Final = 4000  # in mid-sentence: there is no quiet moment to wait for

FAULTS: Final = ("kill", "reset", "stall", "half_open", "garbage", "slow", "quota", "refuse", "error", "close")
AT_THE_DOOR: Final = ("refuse", "quota")  # also as the answer to a stream that is opened in mid-call


@dataclass(frozen=True, slots=True)
class Case:
    """The first engine suffers `fault` when it has heard `at_ms`. `rotating`: its streams are replaced at `ROTATE_MS`,
    and the fault hits the `stream`-th of them."""

    fault: str
    at_ms: int
    second: str
    rotating: bool = False
    stream: int = 0


@dataclass(slots=True)
class Outcome:
    case: Case
    lost: list[str]
    doubled: list[str]
    gap_ms: int
    after_ms: int  # from the end of the call to the last word
    moves: list[str]
    metrics: dict[str, float] = field(default_factory=dict)


class Second(GoogleStreaming):
    """What takes over: another Google."""

    name = "second"


class ByUtterance:
    """What takes over: the words of each cut of the VAD, as an engine says them that knows no times. No model is asked,
    so that what it does not hear was not in the audio it was given."""

    name = "utterances"
    whole_utterances = True

    @asynccontextmanager
    async def stream(self, *, origin_ms: int, hints: Sequence[str] = ()) -> AsyncIterator[Stream]:
        async def transcribe(sound: bytes) -> Transcription:
            await anyio.sleep(0.15)
            return Transcription(" ".join(word.text for word in WordDecoder().hear(sound)))

        async with UtteranceStream(transcribe, engine=self.name, origin_ms=origin_ms) as stream:
            yield stream

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield


def _fault(case: Case) -> Fault | None:
    match case.fault:
        case "quota":
            return Fault("error", at_ms=case.at_ms, status="RESOURCE_EXHAUSTED", message="Quota exceeded.")
        case "slow":
            return Fault("slow_results", delay_ms=200 + case.at_ms % 1400)
        case "error":
            return Fault("error", at_ms=case.at_ms)
        case "stall" | "reset" | "half_open" | "garbage" | "close" | "refuse":
            return Fault(case.fault, at_ms=case.at_ms)
        case _:
            return None


async def run(case: Case, others: dict[str, Engine]) -> Outcome:
    """One call. `others`: what takes over, running."""
    emulator = GoogleSpeech(mode="codec")
    first = GoogleStreaming(GoogleSettings(channels=1, emulator_host=await _started(emulator)))
    told: list[tuple[float, Transcript]] = []
    metrics: dict[str, float] = defaultdict(float)

    def count(name: str, engine: str, value: float) -> None:
        metrics[name] += value

    def hear(transcript: Transcript) -> None:
        told.append((time.monotonic(), transcript))

    try:
        async with first.running():
            emulator.faults.extend([None] * case.stream)
            emulator.faults.append(_fault(case))
            if case.fault == "refuse" and case.at_ms and not case.stream:  # the first one lives until then
                emulator.faults.clear()
                emulator.faults.extend([Fault("close", at_ms=case.at_ms)])
                emulator.fault = Fault("refuse")
            policy = RelayPolicy(rotate_soft_ms=ROTATE_MS, rotate_hard_ms=ROTATE_MS) if case.rotating else RelayPolicy()
            engines = [first, others[case.second]]
            relay = Relay(engines, hear, breakers={one.name: Breaker() for one in engines}, policy=policy, metric=count)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay.run)
                if case.fault == "kill":
                    tasks.start_soon(_kill, emulator, case.at_ms)
                began = await _talk(relay)
                ended = time.monotonic()
    finally:
        await emulator.kill()
    return _outcome(case, told, began, ended, dict(metrics))


async def _started(emulator: GoogleSpeech) -> str:
    await emulator.start()
    return emulator.target


async def _kill(emulator: GoogleSpeech, at_ms: int) -> None:
    await anyio.sleep(at_ms / 1000)
    await emulator.kill()


async def _talk(relay: Relay) -> float:
    """The caller, in real time, with the marks of a VAD. Returns when that began."""
    began, marks = time.monotonic(), list(MARKS)
    for at in range(0, len(AUDIO), FRAME_BYTES):
        relay.feed(AUDIO[at : at + FRAME_BYTES])
        now_ms = at // SAMPLES_PER_MS + FRAME_MS
        while marks and marks[0][0] <= now_ms:
            _, begins, at_ms = marks.pop(0)
            (relay.speech_started if begins else relay.speech_ended)(at_ms)
        await anyio.sleep(max(0.0, began + now_ms / 1000 - time.monotonic()))
    relay.finish()
    return began


def _outcome(
    case: Case, told: Sequence[tuple[float, Transcript]], began: float, ended: float, metrics: dict[str, float]
) -> Outcome:
    heard = Counter(
        word for _, one in told if isinstance(one, FinalText) for word in strip_punctuation(one.text).split()
    )
    times = [(at - began) * 1000 for at, one in told if not isinstance(one, EngineSwitched)]
    last = max((at for at, one in told if isinstance(one, FinalText)), default=ended)
    return Outcome(
        case,
        lost=[word for word in WORDS if not heard[word]],
        doubled=[word for word, count in heard.items() if count > 1],
        gap_ms=max(_gap(times, start, end) for start, end in SPANS),
        after_ms=max(0, int((last - ended) * 1000)),
        moves=[one.reason for _, one in told if isinstance(one, EngineSwitched)],
        metrics=metrics,
    )


def _gap(times: Sequence[float], start_ms: int, end_ms: int) -> int:
    """The longest time from the beginning of the speech on in which nothing came, to the first news after its end."""
    inside = [at for at in times if at > start_ms]
    until = next((number for number, at in enumerate(inside) if at >= end_ms), len(inside) - 1)
    steps = itertools.pairwise([start_ms, *inside[: until + 1]])
    return int(max((later - sooner for sooner, later in steps), default=end_ms - start_ms))


# --- the matrix


def cases(step_ms: int, faults: Sequence[str] = FAULTS) -> list[Case]:
    """Each fault at every `step_ms` of the call, before both seconds; then around the rotation, where it hits the old
    stream or the new one."""
    points = range(0, audio.ms(AUDIO) - TAIL_MS // 2, step_ms)
    plain = [Case(fault, at_ms, second) for fault in faults for at_ms in points for second in ("second", "utterances")]
    around = range(ROTATE_MS - 300, ROTATE_MS + 700, step_ms)
    old = [Case(fault, at_ms, "second", rotating=True) for fault in faults for at_ms in around]
    new = [
        Case(fault, at_ms, "second", rotating=True, stream=1)
        for fault in faults
        if fault != "kill"
        for at_ms in range(0, 1000, step_ms)
    ]
    return [*plain, *old, *new]


async def matrix(some: Sequence[Case], at_once: int) -> list[Outcome]:
    """Run these calls, so many at once; each begins a little after the one before."""
    slots = anyio.CapacityLimiter(at_once)
    done: list[Outcome] = []
    async with AsyncExitStack() as stack:
        emulator = GoogleSpeech(mode="codec")
        target = await stack.enter_async_context(emulator.running())
        second = Second(GoogleSettings(emulator_host=target, channels=4))
        others: dict[str, Engine] = {"second": second, "utterances": ByUtterance()}
        for other in others.values():
            await stack.enter_async_context(other.running())

        async def one(case: Case) -> None:
            async with slots:
                done.append(await run(case, others))

        async with anyio.create_task_group() as tasks:
            for case in some:
                tasks.start_soon(one, case)
                await anyio.sleep(0.01)
    return done


def summary(done: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row a fault and second engine."""
    rows: dict[tuple[str, str], list[Outcome]] = defaultdict(list)
    for outcome in done:
        kind = outcome.case.second if not outcome.case.rotating else "rotation"
        rows[outcome.case.fault, kind].append(outcome)
    return [
        {
            "fault": fault,
            "second": second,
            "cases": len(some),
            "lost": sum(len(one.lost) for one in some),
            "doubled": sum(len(one.doubled) for one in some),
            "moved": sum(bool(one.moves) for one in some),
            "gap_p50_ms": sorted(one.gap_ms for one in some)[len(some) // 2],
            "gap_worst_ms": max(one.gap_ms for one in some),
            "last_word_worst_ms": max(one.after_ms for one in some),
        }
        for (fault, second), some in sorted(rows.items())
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown, for the documents."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


async def main(options: argparse.Namespace) -> int:
    faults = options.only.split(",") if options.only else FAULTS
    began = time.monotonic()
    used = time.process_time()
    done = await matrix(cases(options.step, faults), options.at_once)
    rows = summary(done)
    print(table(rows))
    bad = [one for one in done if one.lost or one.doubled]
    for one in bad:
        print("LOST OR DOUBLED", one, file=sys.stderr)
    words = len(done) * len(WORDS)
    print(f"{len(done)} calls, {words} words, {len(bad)} calls with a word lost or doubled")
    result = {
        "machine": machine(f"python -m bench.fault_matrix --step {options.step} --at-once {options.at_once}"),
        "calls": len(done),
        "words": words,
        "lost": sum(len(one.lost) for one in done),
        "doubled": sum(len(one.doubled) for one in done),
        "utterance_ms": END_MS - LEAD_MS,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
        "rows": rows,
        "bad": [asdict(one) for one in bad],
    }
    print(save(options.out, "fault_matrix", result))
    return 1 if bad else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--step", type=int, default=100, help="ms of audio from one point to the next")
    parser.add_argument("--at-once", type=int, default=40, help="calls at the same time")
    parser.add_argument("--only", default="", help=f"some of {','.join(FAULTS)}")
    parser.add_argument("--out", type=Path, default=RESULTS)
    raise SystemExit(asyncio.run(main(parser.parse_args())))
