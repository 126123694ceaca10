"""How many calls does one core hold? More and more at once, until the caller notices.

    python -m bench.density [--levels 20,40,60,80,100,120] [--turns 150] [--processes 0] [--profile 60]
                            [--quick] [--out FOLDER]

The server has one core, the emulated services and the simulated callers another. With `--processes N` it is an office
and N media processes, for N > 1 on as many cores as there are. A level is measured while all of its calls talk, each
at its own moment, over at least `--turns` turns. `added` is what a turn took more than the same line took at the
median when one call was alone in the same run: the emulated delays and the end-of-turn hold are in both, the phase of
frames and batches is in one. The ramp ends when its p95 passes 100 ms.

`--profile N` then runs N calls once more under py-spy, to see where the server's time goes.
"""

import argparse
import asyncio
import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

from bench import page, profile
from bench.stage import REST_S, RESULTS, CpuTimes, Delays, Stage, caller_lines, machine, other_work, save, spread, stage
from moked.simulate.caller import SimulatedCall
from moked.simulate.result import CallResult, Ended
from moked.simulate.scenario import Say

LIMIT_MS: Final = 100
LATE_MS: Final = 60
"""A hole in the agent's speech that is longer is heard as one; the carrier's own buffer hides none of it."""
CYCLE_S: Final = 8.2  # one turn: the caller's line, the answer, and the pauses
GREETING_S: Final = 2.5
GAP_MS: Final = 800  # a longer silence of the agent is the end of its reply
AT_A_MARK_MS: Final = 30


@dataclass(slots=True)
class Call:
    """One simulated call and when it began, in seconds of the monotonic clock."""

    began: float
    result: CallResult


@dataclass(slots=True)
class Window:
    """The time in which all calls of a level talk, and what was measured over it."""

    start: float
    end: float
    cpu: CpuTimes
    cpu_end: CpuTimes
    metrics: Mapping[str, float]
    metrics_end: Mapping[str, float]
    rss: int
    lateness: list[float]
    threads: Mapping[str, float]


async def level(
    on: Stage, calls: int, seconds: float, lines: Sequence[Say], *, spy: Path | None = None
) -> tuple[list[Call], Window]:
    """Run `calls` calls that all talk for `seconds`."""
    rng = random.Random(calls)
    spread_s = CYCLE_S if calls > 1 else 0.0
    start = time.monotonic() + spread_s + GREETING_S
    done: list[Call] = []

    async def one() -> None:
        await asyncio.sleep(rng.random() * spread_s)  # strangers do not call in step
        began = time.monotonic()
        setup = on.setup(events=False, report_s=0, max_s=start + seconds + 1 - began)
        done.append(Call(began, await SimulatedCall(many, setup).run()))

    many = list(islice(cycle(lines), math.ceil((spread_s + seconds) / 4)))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(calls):
            tasks.create_task(one())
        await asyncio.sleep(start - time.monotonic())
        window = await _watch(on, start, start + seconds, spy)
    return done, window


async def _watch(on: Stage, start: float, end: float, spy: Path | None) -> Window:
    metrics, rss = await on.metrics(), on.rss
    media = on.media
    names = profile.thread_names(media.pid) if spy is not None else {}
    cpu, threads = CpuTimes.now(on), profile.Threads.now(media)
    profiler = None if spy is None else profile.start(media.pid, spy, max(1, int(end - start) - 4))
    lateness: list[float] = []
    while (now := time.monotonic()) < end:
        await asyncio.sleep(0.02)
        lateness.append((time.monotonic() - now - 0.02) * 1000)
    used = profile.Threads.now(media).cores(threads, names)
    window = Window(start, end, cpu, CpuTimes.now(on), metrics, await on.metrics(), rss, lateness, used)
    if profiler is not None:
        await asyncio.to_thread(profiler.wait)
    return window


# --- figures


def answers(calls: Sequence[Call], window: Window) -> dict[str, list[int]]:
    """Response in ms of every turn in the window, by the caller's line."""
    found: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        for turn in call.result.turns:
            if turn.response_ms is not None and window.start <= call.began + turn.speech_end_ms / 1000 < window.end:
                found[turn.text].append(turn.response_ms)
    return found


def unanswered(calls: Sequence[Call], window: Window) -> int:
    return sum(
        turn.response_ms is None
        for call in calls
        for turn in call.result.turns
        if window.start <= call.began + turn.speech_end_ms / 1000 < window.end - 5
    )


def gaps(calls: Sequence[Call], window: Window) -> tuple[list[int], int, float]:
    """Holes in the agent's speech that we made, in ms; how many replies there were; the share of time it spoke.

    A hole right behind a mark lies between two clauses: then the voice may have been late. Any other is ours.
    """
    holes: list[int] = []
    replies, spoken = 0, 0.0
    for call in calls:
        marks = [mark.echoed_ms for mark in call.result.marks]
        last_end = -math.inf
        for part in call.result.heard:
            at = call.began + part.start_ms / 1000
            if window.start <= at < window.end:
                gap = part.start_ms - last_end
                spoken += min(window.end - at, (part.end_ms - part.start_ms) / 1000)
                replies += gap >= GAP_MS
                if gap < GAP_MS and not any(abs(mark - last_end) <= AT_A_MARK_MS for mark in marks):
                    holes.append(int(gap))
            last_end = part.end_ms
    return holes, replies, spoken / (len(calls) * (window.end - window.start))


def lag_p95_ms(window: Window) -> float:
    """Of the server's event loop, from the histogram in `/metrics`; the upper edge of the bucket it lies in."""
    return _p95_ms(window, "moked_loop_lag_seconds_bucket{")


def steps_p95_ms(window: Window) -> dict[str, float]:
    """Of each step of a turn, from the server's own account in `/metrics`: which of them is late."""
    steps = ("transcript", "endpoint", "llm_ttft", "tts_ttfb", "sent")
    return {step: _p95_ms(window, f'moked_turn_component_seconds_bucket{{component="{step}",') for step in steps}


def _p95_ms(window: Window, prefix: str) -> float:
    grown = {
        key.rsplit('le="', 1)[1].split('"')[0]: value - window.metrics.get(key, 0.0)
        for key, value in window.metrics_end.items()
        if key.startswith(prefix)
    }
    wanted = 0.95 * grown.get("+Inf", 0.0)
    return min((float(edge) for edge, count in grown.items() if count >= wanted), default=math.nan) * 1000


def describe(
    on: Stage, calls: Sequence[Call], window: Window, alone: Mapping[str, float], idle_rss: int
) -> dict[str, Any]:
    """A level's row."""
    found = answers(calls, window)
    responses = [ms for line in found.values() for ms in line]
    usual = float(np.median(list(alone.values()))) if alone else math.nan
    added = [ms - alone.get(line, usual) for line, some in found.items() for ms in some]
    holes, replies, share = gaps(calls, window)
    server = window.cpu_end.share(window.cpu, on.server)
    ours = [window.cpu_end.share(window.cpu, one) for one in (on.outside, profile.us())]
    count = len(calls)
    return {
        "calls": count,
        "seconds": round(window.end - window.start),
        "failed": sum(call.result.ended is not Ended.TIME_LIMIT for call in calls),
        "unanswered": unanswered(calls, window),
        "response": spread(responses),
        "added": spread(added),
        "agent_speaks": round(share, 2),
        "replies": replies,
        "late_audio": {
            "holes": len(holes),
            "over_60": sum(hole > LATE_MS for hole in holes),
            "ms": sum(holes),
            "longest_ms": max(holes, default=0),
        },
        "server_cores": round(server, 3),
        "cpu_per_call_percent": round(100 * server / count, 2),
        "rss_mb": round(window.rss / 2**20, 1),
        "mb_per_call": round((window.rss - idle_rss) / count / 2**20, 2),
        "loop_lag_p95_ms": lag_p95_ms(window),
        "steps_p95_ms": steps_p95_ms(window),
        "generator": {
            "cores": round(sum(ours), 3),
            "emulators_cores": round(ours[0], 3),
            "loop_late_ms": spread(window.lateness),
            "frames_late_ms": spread([call.result.late_ms for call in calls]),
        },
        "other_work_cores": round(other_work(on, window.cpu, window.cpu_end), 2),
    }


# --- the ramp


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    result: dict[str, Any] = {
        "machine": machine("python -m bench.density " + " ".join(sys.argv[1:])),
        "setting": {
            "delays": asdict(delays),
            "voice": voice,
            "turns": options.turns,
            "limit_ms": LIMIT_MS,
            "processes": options.processes,
        },
        "levels": [],
    }
    async with stage(delays, processes=options.processes) as on:
        await on.rested(options.rest)
        idle = on.rss
        result["idle_mb"] = round(idle / 2**20, 1)
        calls, window = await level(on, 1, options.alone * CYCLE_S, lines)
        alone = {line: float(np.median(some)) for line, some in answers(calls, window).items()}
        result["levels"].append(_told(describe(on, calls, window, alone, idle)))
        for count in options.levels:
            seconds = max(options.seconds, options.turns * CYCLE_S / count)
            await on.rested(options.rest)  # a level's calls end together, and their leads are no part of the next one
            calls, window = await level(on, count, seconds, lines)
            row = _told(describe(on, calls, window, alone, idle))
            result["levels"].append(row)
            if row["added"] is None or row["added"]["p95"] > LIMIT_MS:
                break
        result["held"] = max((row["calls"] for row in result["levels"] if _holds(row)), default=0)
        if options.profile:
            await on.rested(options.rest)
            spy = Path(on.log).with_name("spy.raw")
            _, window = await level(on, options.profile, 25, lines, spy=spy)
            cores = window.cpu_end.share(window.cpu, on.server)
            result["profile"] = profile.digest(
                spy.read_text(), calls=options.profile, cores=cores, threads=window.threads
            )
    return result


def _holds(row: Mapping[str, Any]) -> bool:
    late = row["late_audio"]["over_60"]
    return row["added"] is not None and row["added"]["p95"] <= LIMIT_MS and not late


def _told(row: dict[str, Any]) -> dict[str, Any]:
    added, late = row["added"] or {}, row["generator"]["loop_late_ms"] or {}
    generator, holes = row["generator"], row["late_audio"]
    print(
        f"{row['calls']:>4} calls, {added.get('count')} turns: added p50 {added.get('p50')} p95 {added.get('p95')}"
        f" p99 {added.get('p99')} ms, holes {holes['holes']}, over 60 ms {holes['over_60']};"
        f" server {row['server_cores']:.2f} cores, lag p95 {row['loop_lag_p95_ms']:g} ms;"
        f" generator {generator['cores']:.2f} cores, late p95 {late.get('p95')} ms;"
        f" others {row['other_work_cores']:.2f} cores",
        flush=True,
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.density", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--levels", type=_numbers, default=[20, 40, 60, 80, 100, 120, 150, 200])
    parser.add_argument("--turns", type=int, default=150, help="least turns of a level")
    parser.add_argument("--seconds", type=float, default=30, help="least seconds of a level")
    parser.add_argument(
        "--processes", type=int, default=0, help="media processes, beside an office; several get all cores"
    )
    parser.add_argument("--alone", type=int, default=20, help="turns of the one call alone")
    parser.add_argument("--rest", type=float, default=REST_S, help="seconds to wait for the server's own work at most")
    parser.add_argument("--profile", type=int, default=0, metavar="N", help="profile the server at N calls, at the end")
    parser.add_argument("--quick", action="store_true", help="two small levels: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.levels, options.turns, options.seconds, options.alone, options.rest = [3], 3, 8, 1, 0
    result = uvloop.run(measure(options))
    print(page.density(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "density", result)
    if not options.out and not options.quick:
        page.write()


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    main()
