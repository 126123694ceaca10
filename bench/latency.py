"""How long does the caller wait? Calls one after another against emulated services whose delays are known.

    python -m bench.latency [--calls 15] [--turns 4] [--quick] [--out bench/results]

The caller speaks with a real voice in real time; what is measured is measured at the caller's end of the socket, and
the server's own account of each turn stands beside it. A call has `--turns` lines and then cuts in on the agent.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any, Final

import uvloop

from bench import page
from bench.stage import RESULTS, CpuTimes, Delays, Stage, caller_lines, machine, other_work, save, spread, stage
from moked.simulate.caller import SimulatedCall
from moked.simulate.result import CallResult
from moked.simulate.scenario import CutIn, Say

AIM_MS: Final = {"response": 1200, "greeting": 300}
STEPS: Final = {
    "transcript": "transcript_ms",
    "endpoint": "endpoint_ms",
    "llm_ttft": "llm_first_ms",
    "tts_ttfb": "tts_first_ms",
    "sent": "sent_ms",
}
CUT_IN_MS: Final = 1000  # into the agent's reply


class Partials:
    """The live events of one call: the times between interims of one utterance, as a viewer gets them."""

    def __init__(self) -> None:
        self.gaps: list[float] = []
        self._last: float | None = None

    def __call__(self, event: str, data: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if event == "turn.partial":
            if self._last is not None:
                self.gaps.append((now - self._last) * 1000)
            self._last = now
        elif event in ("turn.final", "turn.committed", "reply.text"):
            self._last = None


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    result: dict[str, Any] = {"machine": machine(f"python -m bench.latency --calls {options.calls}")}
    async with stage(delays, lines=() if options.hard else lines) as on:
        before = CpuTimes.now(on)
        calls, partials = [], Partials()
        for number in range(options.calls):
            calls.append(await _call(on, lines, options.turns, partials))
            print(f"call {number + 1} of {options.calls}: {calls[-1].ended.value}", flush=True)
        after = CpuTimes.now(on)
    result["setting"] = {"delays": asdict(delays), "voice": voice, "calls": options.calls, "turns": options.turns}
    result |= figures(calls, partials, delays)
    result["load"] = {"other_work_cores": round(other_work(on, before, after), 2)}
    return result


async def _call(on: Stage, lines: Sequence[Say], turns: int, partials: Partials) -> CallResult:
    steps: list[Say | CutIn] = [replace(line) for line in islice(cycle(lines), turns + 1)]
    last = steps.pop()
    steps.append(CutIn(last.text, last.audio, CUT_IN_MS))
    return await SimulatedCall(steps, on.setup(), on_event=partials).run()


def figures(calls: Sequence[CallResult], partials: Partials, delays: Delays) -> dict[str, Any]:
    """All of it in ms."""
    turns = [turn for call in calls for turn in call.turns]
    response = spread([turn.response_ms for turn in turns if turn.response_ms is not None])
    marks = [turn["waterfall"] for call in calls for turn in (call.report or {}).get("turns", ())]
    marks = [mark for mark in marks if mark and mark["speech_end_ms"] is not None]
    outside = delays.final_ms + delays.first_token_ms + delays.first_byte_ms
    return {
        "ended": sorted({call.ended.value for call in calls}),
        "unanswered": sum(turn.response_ms is None for turn in turns),
        "talked_over": sum(turn.talked_over or turn.took_back for turn in turns),
        "response": response,
        "greeting": spread([call.greeting_ms for call in calls if call.greeting_ms is not None]),
        "barge_in": spread([turn.barge_in_ms for turn in turns if turn.barge_in_ms is not None]),
        "partials": spread(partials.gaps),
        "waterfall": {
            step: spread([mark[key] - mark["speech_end_ms"] for mark in marks if mark[key] is not None])
            for step, key in STEPS.items()
        },
        "emulated_ms": outside,
        "ratios": {
            "response_p50_to_emulated": round(response["p50"] / outside, 2) if response else None,
            "response_p95_to_p50": round(response["p95"] / response["p50"], 2) if response else None,
        },
        "caller_late_ms": spread([call.late_ms for call in calls]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=15)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--hard", action="store_true", help="the final always brings words that no interim had")
    parser.add_argument("--quick", action="store_true", help="one short call: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.turns = 1, 1
    result = uvloop.run(measure(options))
    print(page.latency(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "latency", result)
    if not options.out and not options.quick:
        page.write()


if __name__ == "__main__":
    main()
