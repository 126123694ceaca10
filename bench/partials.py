"""How much later does a viewer see what the recognizer has just said, with many calls on one core?

    python -m bench.partials [--calls 50] [--seconds 30] [--quick] [--out FOLDER]

The stage is that of the other benches: the server on one core, the emulators and the callers on another. Each interim
of the emulated Google carries the moment it was sent as a word of its own, so its way through gRPC, the relay, the
debounce, the session, the bus and the live events' socket is measured one by one, without a table of what was sent.

Measured twice: with `STT_PARTIAL_DEBOUNCE_MS` as it is by default, and with 0. The difference is what the debounce
waits by design; interims that it replaced by newer ones are in no figure. `cadence` is the time from one partial of an
utterance to the next, as the viewer gets them, and `sent` the same as the emulator sent those.
"""

import argparse
import asyncio
import math
import random
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice, pairwise
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.density import CYCLE_S, GREETING_S
from bench.stage import RESULTS, CpuTimes, Delays, Stage, caller_lines, machine, other_work, save, spread, stage
from moked.settings import Settings
from moked.simulate.caller import SimulatedCall
from moked.simulate.result import Ended
from moked.simulate.scenario import Say

STAMP: Final = re.compile(r"at(\d+)us")
TARGET_MS: Final = 30
ONE_UTTERANCE_S: Final = 1.0
DEFAULT_MS: Final[int] = Settings.model_fields["stt_partial_debounce_ms"].default


@dataclass(slots=True)
class Viewer:
    """What a viewer of one call's live events gets; times in seconds of the machine's clock."""

    seen: list[tuple[float, float]] = field(default_factory=list)  # (sent, seen)

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        now = time.monotonic()
        found = STAMP.findall(str(data.get("text", ""))) if event == "turn.partial" else []
        if found:
            sent = int(found[-1]) / 1e6
            if not self.seen or sent != self.seen[-1][0]:
                self.seen.append((sent, now))


async def level(on: Stage, calls: int, seconds: float, lines: Sequence[Say]) -> dict[str, Any]:
    """So many calls that all talk for `seconds`, each with a viewer."""
    rng = random.Random(calls)
    spread_s = CYCLE_S if calls > 1 else 0.0
    start = time.monotonic() + spread_s + GREETING_S
    many = list(islice(cycle(lines), math.ceil((spread_s + seconds) / 4)))
    viewers: list[Viewer] = []
    ended: list[Ended] = []

    async def one() -> None:
        await asyncio.sleep(rng.random() * spread_s)
        viewers.append(viewer := Viewer())
        setup = on.setup(report_s=0, max_s=start + seconds + 1 - time.monotonic())
        ended.append((await SimulatedCall(many, setup, on_event=viewer).run()).ended)

    late: list[float] = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            tasks.create_task(one())
        await asyncio.sleep(start - time.monotonic())
        before = CpuTimes.now(on)
        while (now := time.monotonic()) < start + seconds:
            await asyncio.sleep(0.02)
            late.append((time.monotonic() - now - 0.02) * 1000)
        after = CpuTimes.now(on)
    inside = [[one for one in viewer.seen if start <= one[1] < start + seconds] for viewer in viewers]
    return {
        "calls": calls,
        "failed": sum(one not in (Ended.TIME_LIMIT, Ended.CALLER_HUNG_UP) for one in ended),
        "added_ms": spread([(seen - sent) * 1000 for some in inside for sent, seen in some]),
        "cadence_ms": spread(_steps(inside, 1)),
        "sent_ms": spread(_steps(inside, 0)),
        "server_cores": round(after.share(before, on.server), 2),
        "outside_cores": round(after.share(before, on.outside), 2),
        "generator_late_ms": spread(late),
        "other_work_cores": round(other_work(on, before, after), 2),
    }


def _steps(viewers: Sequence[Sequence[tuple[float, float]]], which: int) -> list[float]:
    """From one partial to the next of the same utterance, in ms."""
    steps = [later[which] - sooner[which] for some in viewers for sooner, later in pairwise(some)]
    return [step * 1000 for step in steps if step < ONE_UTTERANCE_S]


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    rows = []
    for debounce_ms in (DEFAULT_MS, 0):
        settings = {"STT_PARTIAL_DEBOUNCE_MS": str(debounce_ms)}
        async with stage(delays, outside_options=["--stamps"], settings=settings) as on:
            for calls in sorted({1, options.calls}):
                rows.append({"debounce_ms": debounce_ms, **await level(on, calls, options.seconds, lines)})
                print(_line(rows[-1]), flush=True)
    command = f"python -m bench.partials --calls {options.calls} --seconds {options.seconds:g}"
    return {"machine": machine(command), "delays": asdict(delays), "voice": voice, "rows": rows, "target_ms": TARGET_MS}


def _line(row: Mapping[str, Any]) -> str:
    added, cadence, late = row["added_ms"] or {}, row["cadence_ms"] or {}, row["generator_late_ms"] or {}
    return (
        f"debounce {row['debounce_ms']:>3} ms, {row['calls']:>3} calls: {added.get('count')} partials,"
        f" added p50 {added.get('p50')} p95 {added.get('p95')} p99 {added.get('p99')} ms,"
        f" cadence p50 {cadence.get('p50')} p95 {cadence.get('p95')} ms;"
        f" server {row['server_cores']:.2f} cores; generator late p95 {late.get('p95')} ms;"
        f" others {row['other_work_cores']:.2f} cores; failed {row['failed']}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.partials", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--quick", action="store_true", help="two calls for a moment: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.seconds = 2, 8
    result = uvloop.run(measure(options))
    if options.out or not options.quick:
        print(save(options.out or RESULTS, "partials", result))


if __name__ == "__main__":
    main()
