"""Do calls survive the process that serves them? A rolling restart under many calls, and a process that is killed.

    python -m bench.migration [--moved 50] [--killed 20] [--quick] [--out FOLDER]

Real processes: a web plane and two media processes on one SQLite database, emulated recognizer and voice, callers of
the scripted agent. First each media process in turn is told to end (SIGTERM) and started again while `--moved` calls
talk; then one of the two is killed (SIGKILL) under `--killed` calls. A call is kept when it goes on as one: ended by
its own two sides, every turn once, name, need and time in one lead. `lost`: lines of the caller that are not on record.
"""

import argparse
import signal
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import uvloop
from anyio import to_thread

from bench import page
from bench.stage import RESULTS, machine, save
from emulators.google_speech import GoogleSpeech
from emulators.google_tts import GoogleTts
from moked.crm import db
from moked.crm.service import Crm
from moked.settings import ensure_local_secret
from moked.simulate.caller import SimulatedCall
from moked.simulate.carrier import CallSetup
from moked.simulate.result import CallResult, Ended
from moked.simulate.scenario import HangUp, Manners, Say
from tests.wire.house import PROFILE
from tests.wire.processes import Running, free_port, moked
from tests.wire.voices import says

STAGGER_S = 0.15
NAMES = ("רות לוי", "דני כהן", "יעל מזרחי", "משה פרץ", "נועה ביטון")
LAST = ("כן", "מחר בבוקר", "כן תודה")
PATIENT = Manners(quiet_ms=1500, patience_ms=12_000, linger_ms=500)


class House:
    """A web plane and two media processes; `media` are those that run."""

    def __init__(self, stack: AsyncExitStack, folder: Path, values: dict[str, Any], ports: list[int]) -> None:
        self._stack, self._folder, self._ports = stack, folder, ports
        self._starts = 0
        self.values = values
        self.media: list[Running] = []

    async def start(self, role: str, port: int, **more: object) -> Running:
        self._starts += 1
        folder = self._folder / f"{role}{self._starts}"
        process = moked(folder, "serve", "--role", role, port=port, **{**self.values, **more})
        return await self._stack.enter_async_context(process)

    async def start_media(self, number: int) -> Running:
        port = self._ports[number]
        return await self.start("media", port, media_public_url=f"http://127.0.0.1:{port}")

    async def restart(self, number: int) -> None:
        self.media[number].signal(signal.SIGTERM)
        await self.media[number].exit_code(within_s=60)
        self.media[number] = await self.start_media(number)


async def measure(moved: int, killed: int) -> dict[str, Any]:
    result: dict[str, Any] = {"machine": machine("bench.migration")}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moked-bench-")))
        (folder / "data").mkdir()
        (folder / "business.yaml").write_text(PROFILE, "utf-8")
        web, ports = free_port(), [free_port(), free_port()]
        values = {
            "data_dir": folder / "data",
            "business_profile": folder / "business.yaml",
            "public_base_url": f"http://127.0.0.1:{web}",
            "media_urls": ",".join(f"http://127.0.0.1:{port}" for port in ports),
            "speech_emulator_host": await stack.enter_async_context(GoogleSpeech(mode="codec").running()),
            "texttospeech_emulator_host": await stack.enter_async_context(GoogleTts(first_byte_ms=120).serving()),
            "stt_fallback": "none",
            "tts_fallback": "none",
            "drain_seconds": 60,
            "max_calls": 200,
        }
        house = House(stack, folder, values, ports)
        await house.start("web", web)
        house.media = [await house.start_media(0), await house.start_media(1)]
        engine = db.connect(f"sqlite:///{folder}/data/moked.db")
        stack.callback(engine.dispose)
        crm = Crm(engine)

        async def restart_both() -> None:
            for number in (0, 1):
                await house.restart(number)

        async def kill_one() -> None:
            house.media[0].signal(signal.SIGKILL)

        result["restart"] = await scene(house, crm, moved, restart_both)
        result["kill"] = await scene(house, crm, killed, kill_one)
    return result


async def scene(house: House, crm: Crm, calls: int, trouble: Any) -> dict[str, Any]:
    """Calls talk, trouble comes when all of them have said a line, and at the end each is looked at."""
    placed = [SimulatedCall(lines(number), setup(house, number)) for number in range(calls)]
    results: dict[int, CallResult] = {}

    async def run(number: int) -> None:
        await anyio.sleep(number * STAGGER_S)
        results[number] = await placed[number].run()

    async with anyio.create_task_group() as tasks:
        for number in range(calls):
            tasks.start_soon(run, number)
        for call in placed:
            while not spoke(await to_thread.run_sync(crm.call_report, call.call_sid)):
                await anyio.sleep(0.1)
        await trouble()
    looked = [look(results[number], await reported(crm, placed[number].call_sid), number) for number in range(calls)]
    gaps = sorted(gap for one in results.values() for gap in one.gaps_ms)
    return {
        "calls": calls,
        "moves": len(gaps),
        "kept": sum(one["kept"] for one in looked),
        "untouched": sum(not results[number].gaps_ms for number in results),
        "lines_lost": {
            str(lost): sum(one["lost"] == lost for one in looked) for lost in sorted({o["lost"] for o in looked})
        },
        "gap_ms": spread(gaps),
        "not_kept": [one for one in looked if not one["kept"]],
        "late_ms": max(one.late_ms for one in results.values()),
    }


def setup(house: House, number: int) -> CallSetup:
    return CallSetup(
        base_url=str(house.values["public_base_url"]),
        auth_token=ensure_local_secret(house.values["data_dir"]),
        caller=f"+9725234{number:05}",
        manners=PATIENT,
        events=False,
        report_s=0,
        max_s=120,
    )


def lines(number: int) -> list[Say | HangUp]:
    told = (f"קוראים לי {NAMES[number % len(NAMES)]} ויש לי נזילה", *LAST)
    return [*(Say(audio=says(line)) for line in told), HangUp("agent_done")]


def spoke(report: dict[str, Any] | None) -> bool:
    return report is not None and any(turn["caller_text"] for turn in report["turns"])


async def reported(crm: Crm, sid: str) -> dict[str, Any]:
    with anyio.move_on_after(10):
        while True:
            report = await to_thread.run_sync(crm.call_report, sid)
            if report is not None and report["ended"]:
                return report
            await anyio.sleep(0.1)
    return await to_thread.run_sync(crm.call_report, sid) or {}


def look(result: CallResult, report: dict[str, Any], number: int) -> dict[str, Any]:
    """Is it one conversation, and what of the caller's is missing?"""
    turns, lead = report["turns"], report["lead"] or {}
    said = " ".join(turn["caller_text"] for turn in turns).replace(",", "").replace(".", "")
    told = (f"קוראים לי {NAMES[number % len(NAMES)]} ויש לי נזילה", "מחר בבוקר", "כן תודה")
    one = len([turn for turn in turns if "העוזר הקולי" in turn["heard"]]) == 1
    whole = [turn["number"] for turn in turns] == list(range(len(turns)))
    ended = result.ended in (Ended.AGENT_HUNG_UP, Ended.CALLER_HUNG_UP) and report["outcome"] in (
        "completed",
        "caller_hung_up",
    )
    lost = sum(line not in said for line in told)
    right = lead.get("name") == NAMES[number % len(NAMES)] and "נזילה" in lead.get("need", "")
    return {
        "kept": one and whole and ended and right and lost <= 1,
        "lost": lost,
        "ended": result.ended.value,
        "outcome": report["outcome"],
        "detail": report["detail"],
        "streams": [stream.detail for stream in result.streams],
        "turns": len(turns),
        "name": lead.get("name"),
    }


def spread(values: list[int]) -> dict[str, int]:
    if not values:
        return {"count": 0}
    at = lambda share: values[min(len(values) - 1, int(share * len(values)))]  # noqa: E731
    return {"count": len(values), "p50": at(0.5), "p95": at(0.95), "worst": values[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.migration", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--moved", type=int, default=50, help="calls during the rolling restart")
    parser.add_argument("--killed", type=int, default=20, help="calls under the process that is killed, and the other")
    parser.add_argument("--quick", action="store_true", help="a few calls: does everything still work?")
    parser.add_argument("--out", type=Path, help=f"folder of the results; default {RESULTS}, nowhere with --quick")
    options = parser.parse_args()
    if options.quick:
        options.moved, options.killed = 3, 2
    result = uvloop.run(measure(options.moved, options.killed))
    print(page.migration(result))
    if options.out or not options.quick:
        save(options.out or RESULTS, "migration", result)
    if not options.out and not options.quick:
        page.write()


if __name__ == "__main__":
    main()
