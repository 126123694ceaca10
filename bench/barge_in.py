"""Who gets the floor, and how soon? Real speech over the agent's voice, and sounds that are none.

    python -m bench.barge_in [--calls 12] [--quick] [--out bench/results]

The real server, voice detector and sockets; the caller speaks with a real voice. In each reply the caller makes sounds
that must not stop the agent (a cough: a burst of noise of 100 to 250 ms; "כן", "אהה", "הבנתי" as audio, which the
emulated recognizer reads), and then really cuts in, at random moments. Other calls are on a speakerphone that returns
the agent's voice 300 ms late, at -20 and at -12 dB; there the replies are what must not be cut, and the cut-ins what
must be heard.

    to `clear`   from the onset of the caller's voice to the carrier being told to stop
    resumed      the reply went on to its end, or to the cut-in, and nothing of it was lost or said twice
    silence      how long the agent was silent because of it
"""

import argparse
import itertools
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

from bench import page
from bench.stage import RESULTS, CpuTimes, Delays, Stage, machine, other_work, save, spoken, spread, stage
from moked.audio import SAMPLE_RATE, SAMPLES_PER_MS, from_float, to_float
from moked.simulate.caller import SimulatedCall, run_many
from moked.simulate.echo import EchoPath
from moked.simulate.result import CallResult
from moked.simulate.scenario import CutIn, Manners, Say
from moked.simulate.wire import Heard

OPENING: Final = "שלום אני צריכה עזרה עם המזגן"
CUTTING: Final = ("רגע רגע זה בכלל לא המזגן", "סליחה אבל אני צריכה משהו אחר", "לא לא יש לי שאלה אחרת")
CHANNELS: Final = ("כן", "אהה", "הבנתי")
AIM_MS: Final = {"p50": 300, "p95": 450}
AIM_RESUMED: Final = 0.95
WORKERS: Final = 3  # calls at a time
_SAME_MS: Final = 25  # loss or repetition that nobody hears
_GAP_MS: Final = 40
_PERIOD: Final = SAMPLE_RATE  # the emulated voice repeats itself every second, to the sample


@dataclass
class Sound:
    """Something that must not stop the agent."""

    kind: str
    resumed: bool
    silence_ms: float
    resumed_ms: float | None  # from its onset to the agent's voice, None where it never stopped
    shift_ms: float | None  # lost (positive) or repeated at the join, where it can be told


@dataclass
class Found:
    cut_in_ms: dict[str, list[float]] = field(default_factory=lambda: {"no echo": [], "-20 dB": [], "-12 dB": []})
    missed: int = 0
    sounds: list[Sound] = field(default_factory=list)
    failed: int = 0
    late_ms: list[float] = field(default_factory=list)


def cough(rng: random.Random) -> bytes:
    """A burst of noise with a quick rise: 100 to 250 ms."""
    length = rng.randrange(100, 251) * SAMPLES_PER_MS
    noise = np.random.default_rng(rng.randrange(2**32)).normal(0, 1, length)
    shape = np.minimum(1.0, np.arange(length) / (12 * SAMPLES_PER_MS)) * np.exp(-2.5 * np.arange(length) / length)
    smooth = np.convolve(noise, np.ones(3) / 3, "same")
    return from_float((rng.uniform(0.08, 0.3) * smooth * shape).astype(np.float32))


def plain_call(on: Stage, rng: random.Random, lines: dict[str, Say], cutting: Sequence[str]) -> SimulatedCall:
    steps: list[Say | CutIn] = [lines[OPENING]]
    for text in cutting:
        burst, channel = cough(rng), lines[rng.choice(CHANNELS)]
        sounds = [CutIn("cough", burst, rng.randrange(700, 1000)), CutIn(channel.text, channel.audio, 700)]
        if rng.random() < 0.5:
            sounds = [CutIn(channel.text, channel.audio, rng.randrange(700, 1000)), CutIn("cough", burst, 700)]
        steps += [*sounds, CutIn(text, lines[text].audio, rng.randrange(500, 900))]
    return SimulatedCall(steps, on.setup())


def echo_call(on: Stage, rng: random.Random, lines: dict[str, Say], cutting: Sequence[str], db: int) -> SimulatedCall:
    """Every second reply is heard to its end."""
    steps: list[Say | CutIn] = [lines[OPENING]]
    for text in cutting:
        steps += [CutIn(text, lines[text].audio, rng.randrange(700, 2200)), Say(OPENING, lines[OPENING].audio)]
    manners = Manners(quiet_ms=900, linger_ms=0, echo=EchoPath(db, 300))
    return SimulatedCall(steps, on.setup(manners=manners))


def take_plain(found: Found, call: CallResult) -> None:
    if call.report is None or not call.turns:
        found.failed += 1
        return
    found.late_ms.append(call.late_ms)
    cut = [turn for turn in call.report["turns"] if turn["cut"]]
    began = [turn["waterfall"]["sent_ms"] or 0 for turn in cut]
    for number, turn in enumerate(call.turns):
        if turn.kind != "cut_in" or not turn.overlapped:
            continue
        after = call.turns[number + 1].speech_start_ms if number + 1 < len(call.turns) else call.duration_ms
        if turn.text in CUTTING:
            if turn.barge_in_ms is None:
                found.missed += 1
            else:
                found.cut_in_ms["no echo"].append(turn.barge_in_ms)
            continue
        kind = "cough" if turn.text == "cough" else "back-channel"
        # The report's clock begins some ms before the caller's; a cut between this sound and the next act is its fault.
        stopped = any(turn.speech_start_ms < _ended(call, one) < after for one in cut)
        found.sounds.append(_sound(kind, not stopped and bool(began), call.heard, turn.speech_start_ms, after))


def _ended(call: CallResult, turn: dict[str, Any]) -> int:
    return int(turn["ended_ms"])


def take_echo(found: Found, call: CallResult, db: int) -> None:
    if call.report is None or not call.turns:
        found.failed += 1
        return
    found.late_ms.append(call.late_ms)
    cut_ins = [turn for turn in call.turns if turn.kind == "cut_in" and turn.overlapped]
    for turn in cut_ins:
        if turn.barge_in_ms is None:
            found.missed += 1
        else:
            found.cut_in_ms[f"{db} dB"].append(turn.barge_in_ms)
    moments = [turn.speech_start_ms for turn in call.turns]
    for reply in call.report["turns"]:
        start, end = reply["waterfall"]["sent_ms"] or reply["started_ms"], reply["ended_ms"]
        if not reply["said"]:
            continue
        wanted = any(start - 50 < at < end + 100 for at in moments)
        gaps = [b.start_ms - a.end_ms for a, b in _joins(call.heard) if start < a.end_ms and b.start_ms < end]
        gaps = [gap for gap in gaps if gap >= _GAP_MS] if not wanted else []
        resumed = wanted or (not reply["cut"] and reply["heard"] == reply["said"])
        found.sounds.append(Sound(f"echo {db} dB", resumed, sum(gaps), max(gaps) if gaps else None, None))


def _joins(heard: Sequence[Heard]) -> list[tuple[Heard, Heard]]:
    return list(itertools.pairwise(heard))


def _sound(kind: str, resumed: bool, heard: Sequence[Heard], onset: int, until: int) -> Sound:
    """What became of the agent's voice after `onset`."""
    for before, after in _joins(heard):
        if onset <= before.end_ms < min(until, onset + 1500) and after.start_ms - before.end_ms >= _GAP_MS // 2:
            shift = _shift(before.audio, after.audio)
            whole = resumed and after.start_ms < until and (shift is None or abs(shift) <= _SAME_MS)
            return Sound(
                kind, whole, after.start_ms - before.end_ms, after.start_ms - onset, shift if resumed else None
            )
    return Sound(kind, resumed, 0.0, None, None)


def _shift(before: bytes, after: bytes) -> float | None:
    """How many ms of the voice are missing (or repeated, negative) between the two. The emulated voice is periodic, so
    what must come next is known where a second of the same clause was heard before."""
    window, reach = 80 * SAMPLES_PER_MS, 120 * SAMPLES_PER_MS
    if len(before) < _PERIOD + reach or len(after) < window:
        return None
    head = to_float(after[:window])
    if float(np.abs(head).max()) < 0.02:
        return None
    best, place = np.inf, 0
    memory = to_float(before)
    for shift in range(-reach, reach + 1):
        start = len(memory) - _PERIOD + shift
        piece = memory[start : start + window]
        if start < 0 or len(piece) < window:
            continue
        error = float(np.abs(piece - head).mean())
        if error < best:
            best, place = error, shift
    return place / SAMPLES_PER_MS if best < 0.002 else None  # else another clause is in between


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    rng = random.Random(options.seed)
    said, voice = await spoken((OPENING, *CUTTING, *CHANNELS))
    lines = {line.text: line for line in said}
    found = Found()
    cutting, echoes = (CUTTING[:1], (-20,)) if options.quick else (CUTTING, (-20, -12))
    result: dict[str, Any] = {"machine": machine(f"python -m bench.barge_in --calls {options.calls}")}
    delays = Delays()
    async with stage(delays, lines=said) as on:
        before = CpuTimes.now(on)
        for first in range(0, options.calls, WORKERS):
            calls = [plain_call(on, rng, lines, cutting) for _ in range(min(WORKERS, options.calls - first))]
            for call in await run_many(calls, stagger_s=0.7):
                take_plain(found, call)
            print(f"{min(first + WORKERS, options.calls)} of {options.calls} calls", flush=True)
        for db in echoes:
            for first in range(0, options.echo_calls, WORKERS):
                calls = [
                    echo_call(on, rng, lines, cutting, db) for _ in range(min(WORKERS, options.echo_calls - first))
                ]
                for call in await run_many(calls, stagger_s=0.7):
                    take_echo(found, call, db)
            print(f"echo at {db} dB: {options.echo_calls} calls", flush=True)
        after = CpuTimes.now(on)
        told = await on.metrics()
    result["setting"] = {"delays": asdict(delays), "voice": voice, "calls": options.calls, "echo": options.echo_calls}
    result |= figures(found)
    result["server"] = {name: value for name, value in told.items() if name.startswith("moked_interruptions_total")}
    result["load"] = {"other_work_cores": round(other_work(on, before, after), 2)}
    return result


def figures(found: Found) -> dict[str, Any]:
    kinds = sorted({sound.kind for sound in found.sounds})
    return {
        "to_clear": {name: spread(values) for name, values in found.cut_in_ms.items()},
        "missed": found.missed,
        "failed": found.failed,
        "false_alarms": {kind: _kind([sound for sound in found.sounds if sound.kind == kind]) for kind in kinds},
        "caller_late_ms": spread(found.late_ms),
    }


def _kind(sounds: Sequence[Sound]) -> dict[str, Any]:
    return {
        "count": len(sounds),
        "resumed": round(sum(sound.resumed for sound in sounds) / len(sounds), 3),
        "never_silent": round(sum(not sound.silence_ms for sound in sounds) / len(sounds), 3),
        "silence": spread([sound.silence_ms for sound in sounds if sound.silence_ms]),
        "onset_to_voice": spread([sound.resumed_ms for sound in sounds if sound.resumed_ms is not None]),
        "shift": spread([abs(sound.shift_ms) for sound in sounds if sound.shift_ms is not None]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.barge_in", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=24, help="without echo: three cut-ins and six other sounds each")
    parser.add_argument("--echo-calls", type=int, default=6, help="with each echo: three cut-ins, four whole replies")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one call of each kind: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.calls = options.echo_calls = 1
    result = uvloop.run(measure(options))
    print(page.barge_in(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "barge_in", result)
    if not options.out and not options.quick:
        page.write()


if __name__ == "__main__":
    main()
