"""How long until the owner knows? From the caller's hang-up to the mail in the owner's mailbox.

    python -m bench.after_call [--calls 40] [--at-once 4] [--out bench/results]

The real server, role `all`, with its worker in the same process; emulated recognition, voice and language model, which
reads each call after it; a real SMTP server. The clock starts when the caller hangs up, and stops when the mail server
has the whole message. Beside it: what the process costs when nobody calls.
"""

import argparse
import itertools
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import anyio
import uvloop

from bench.stage import RESULTS, CpuTimes, Delays, Stage, caller_lines, machine, other_work, save, spread, stage
from emulators.receivers import SmtpServer
from moked.simulate.caller import SimulatedCall
from moked.simulate.result import Ended
from moked.simulate.scenario import Say

AIM_S = 10.0
_IDLE_S = 20.0
_LATEST_S = 60.0


class Timed(SimulatedCall):
    """Knows when its caller hung up."""

    hung_up_at = 0.0

    async def _carry(self, *given: Any) -> tuple[Ended, str]:
        found = await super()._carry(*given)
        self.hung_up_at = time.monotonic()
        return found


@dataclass
class Mailbox(SmtpServer):
    """When each call's mail had come, by its SID."""

    came: dict[str, float] = field(default_factory=dict)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        answer = await super().handle_DATA(server, session, envelope)
        sid = str(self.received[-1][1]["Message-ID"]).split(".")[1]
        self.came.setdefault(sid, time.monotonic())
        return answer


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    result: dict[str, Any] = {"machine": machine(f"python -m bench.after_call --calls {options.calls}")}
    with Mailbox().running() as mailbox:
        settings = {
            "SMTP_HOST": "127.0.0.1",
            "SMTP_PORT": str(mailbox.port),
            "SMTP_SECURITY": "none",
            "SMTP_FROM": "moked@example.com",
            "NOTICE_EMAIL": "owner@example.com",
            "DATABASE_URL": options.database,
        }
        async with stage(delays, lines=lines, settings=settings) as on:
            await anyio.sleep(5)  # what the start has begun
            idle = CpuTimes.now(on)
            await anyio.sleep(_IDLE_S)
            result["idle_cores"] = round(CpuTimes.now(on).share(idle, on.server), 4)
            before = CpuTimes.now(on)
            calls = await _calls(on, lines, options)
            with anyio.move_on_after(_LATEST_S):
                while len(mailbox.came) < len(calls):
                    await anyio.sleep(0.1)
            after = CpuTimes.now(on)
            rss = on.rss
    took = [mailbox.came[call.call_sid] - call.hung_up_at for call in calls if call.call_sid in mailbox.came]
    result["setting"] = {
        "delays": asdict(delays),
        "voice": voice,
        "calls": options.calls,
        "at_once": options.at_once,
        "database": "postgresql" if options.database.startswith("postgres") else "sqlite",
    }
    result["hang_up_to_mail_s"] = spread(took)
    result["told"] = len(took)
    result["mails"] = len(mailbox.received)
    result["by_the_model"] = sum(_has_step(mail) for _, mail in mailbox.received)
    result["server_rss_mb"] = round(rss / 2**20)
    result["load"] = {"other_work_cores": round(other_work(on, before, after), 2)}
    return result


def _has_step(mail: Any) -> bool:
    return "ביקור של טכנאי" in mail.get_body(("plain",)).get_content()


async def _calls(on: Stage, lines: Sequence[Say], options: argparse.Namespace) -> list[Timed]:
    numbers = itertools.count()
    done: list[Timed] = []

    async def caller() -> None:
        while (number := next(numbers)) < options.calls:
            caller = f"+97250{2000000 + number}"
            call = Timed(list(lines[:2]), on.setup(events=False, report_s=0, caller=caller))
            await call.run()
            done.append(call)
            print(f"call {len(done)} of {options.calls}", flush=True)

    async with anyio.create_task_group() as tasks:
        for _ in range(options.at_once):
            tasks.start_soon(caller)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--database", default="", help="PostgreSQL's address; empty: SQLite in a folder of its own")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result = uvloop.run(measure(options))
    print(result["hang_up_to_mail_s"], "idle cores:", result["idle_cores"])
    print(save(options.out, "after_call", result))
    if result["told"] < options.calls or result["hang_up_to_mail_s"]["p95"] > AIM_S:
        raise SystemExit(f"not within {AIM_S:g} s at p95, or not all of them")


if __name__ == "__main__":
    main()
