"""Twice as many callers as places: are the excess refused politely, and do those in progress notice?

    python -m bench.overload [--places 80] [--processes 1] [--turns 150] [--quick] [--out FOLDER]

The same calls are measured twice on one server of `--places` places (MAX_CALLS), by `bench.density`'s figures: alone,
and while as many others keep calling. Each of those hears that all lines are busy, types that they want to be called
back, hangs up and calls again within seconds, so that the load offered stays twice what the server holds.

Refusal by lag is on, at the product's own limit: had the server to refuse calls at `--places` already, too many places
were given for this machine, and `lost_places` says so.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import uvloop

from bench import page
from bench.density import CYCLE_S, LIMIT_MS, Call, Window, answers, describe, level
from bench.stage import REST_S, RESULTS, Delays, Stage, caller_lines, machine, save, spread, stage
from moked import telephony
from moked.settings import Settings
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import new_client
from moked.simulate.result import CallResult
from moked.simulate.scenario import Say
from moked.simulate.twiml import World

AGAIN_S: Final = (2.0, 8.0)  # a refused caller calls again after a time between these


@dataclass(slots=True)
class Crowd:
    """Those who call although all places are taken."""

    calls: int = 0
    polite: int = 0
    admitted: int = 0
    took_ms: list[float] = field(default_factory=list)  # from the call to the end of its TwiML, which takes no time

    def note(self, result: CallResult, took_ms: float) -> None:
        self.calls += 1
        self.admitted += bool(result.streams)
        self.took_ms.append(took_ms)
        spoken = [item.text for item in result.twiml if item.verb == "say"]
        self.polite += (
            not result.streams
            and not result.warnings
            and spoken[0].startswith(telephony.ALL_BUSY)
            and spoken[-1] == telephony.WILL_CALL_BACK
        )


async def besiege(on: Stage, callers: int, until: float) -> Crowd:
    """`callers` people who call and call again, until the monotonic second `until`."""
    crowd, rng = Crowd(), random.Random(callers)

    async with new_client(on.base_url) as http, asyncio.TaskGroup() as tasks:

        async def one(number: int) -> None:
            await asyncio.sleep(rng.uniform(0, AGAIN_S[0]))
            while time.monotonic() < until:
                setup = on.setup(
                    caller=f"+97252{number:07d}", events=False, report_s=0, max_s=20, world=World(digits="1#")
                )
                began = time.monotonic()
                result = await SimulatedCall((), setup, client=http).run()
                crowd.note(result, (time.monotonic() - began) * 1000)
                await asyncio.sleep(rng.uniform(*AGAIN_S))

        for number in range(callers):
            tasks.create_task(one(number))
    return crowd


async def both(on: Stage, places: int, seconds: float, lines: Sequence[Say]) -> tuple[list[Call], Window, Crowd]:
    """The level's own calls take all places; when they have them the others begin."""
    settled = CYCLE_S + 1.0
    until = time.monotonic() + settled + seconds
    async with asyncio.TaskGroup() as tasks:
        served = tasks.create_task(level(on, places, seconds, lines))
        await asyncio.sleep(settled)
        crowd = tasks.create_task(besiege(on, places, until))
    calls, window = served.result()
    return calls, window, crowd.result()


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays, places = Delays(), options.places
    seconds = max(options.seconds, options.turns * CYCLE_S / places)
    refuses = {"ADMIT_LAG_MS": str(options.admit_lag_ms)}
    async with stage(delays, max_calls=places, settings=refuses, processes=options.processes) as on:
        await on.rested(options.rest)
        idle = on.server.memory_info().rss
        calls, window = await level(on, 1, options.alone * CYCLE_S, lines)
        alone = {line: float(np.median(some)) for line, some in answers(calls, window).items()}
        await on.rested(options.rest)
        calls, window = await level(on, places, seconds, lines)
        rows = {"without": _row(on, calls, window, alone, idle)}
        await on.rested(options.rest)
        calls, window, crowd = await both(on, places, seconds, lines)
        rows["overload"] = _row(on, calls, window, alone, idle)
    p95 = [(row["added"] or {}).get("p95") for row in rows.values()]
    return {
        "machine": machine("python -m bench.overload " + " ".join(sys.argv[1:])),
        "setting": {
            "delays": asdict(delays),
            "voice": voice,
            "limit_ms": LIMIT_MS,
            "admit_lag_ms": options.admit_lag_ms,
            "processes": options.processes,
        },
        "places": places,
        "crowd": {
            "callers": places,
            "calls": crowd.calls,
            "refused_percent": round(100 * (crowd.calls - crowd.admitted) / max(1, crowd.calls), 1),
            "polite_percent": round(100 * crowd.polite / max(1, crowd.calls - crowd.admitted), 1),
            "refusal_ms": spread(crowd.took_ms),
        },
        "p95_overload_to_without": round(p95[1] / p95[0], 2) if None not in p95 and p95[0] else None,
        **rows,
    }


def _row(on: Stage, calls: Sequence[Call], window: Window, alone: dict[str, float], idle: int) -> dict[str, Any]:
    row = describe(on, calls, window, alone, idle)
    row["lost_places"] = sum(not call.result.streams for call in calls)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.overload", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--places", type=int, default=60, help="what the server holds, by bench.density")
    parser.add_argument(
        "--processes", type=int, default=1, help="media processes beside an office, on one core; 0: all in one process"
    )
    parser.add_argument("--turns", type=int, default=150, help="least turns of a level")
    parser.add_argument("--seconds", type=float, default=30, help="least seconds of a level")
    parser.add_argument("--rest", type=float, default=REST_S, help="seconds to wait for the server's own work at most")
    parser.add_argument("--alone", type=int, default=12, help="turns of the one call alone")
    usual = Settings.model_fields["admit_lag_ms"].default
    parser.add_argument(
        "--admit-lag-ms", type=int, default=usual, help="lag that refuses calls; default: the product's"
    )
    parser.add_argument("--quick", action="store_true", help="two places: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.places, options.turns, options.seconds, options.alone = 2, 2, 9, 2
        options.rest = 5  # the pressure of the first calls' end is over
        options.admit_lag_ms = 60_000  # how busy the machine is, is not asked
    result = uvloop.run(measure(options))
    print(page.overload(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "overload", result)
    if not options.out and not options.quick:
        page.write()


if __name__ == "__main__":
    main()
