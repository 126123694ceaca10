"""How long until the owner knows? From the caller's hang-up to the mail in the owner's mailbox, or to their WhatsApp.

    python -m bench.after_call [--channel mail|whatsapp] [--calls 40] [--at-once 4] [--out bench/results]

The real server, role `all`, with its worker in the same process; emulated recognition, voice and language model, which
reads each call after it; a real SMTP server, or Meta's emulated one. The clock starts when the caller hangs up, and
stops when that server has the whole message. Beside it: what the process costs when nobody calls.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import uvloop
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from bench.stage import RESULTS, CpuTimes, Delays, Stage, caller_lines, machine, other_work, save, spread, stage
from emulators.graph_api import GraphApi
from emulators.receivers import SmtpServer
from moked.crm import consents, db
from moked.crm.models import Business
from moked.simulate.caller import SimulatedCall
from moked.simulate.result import Ended
from moked.simulate.scenario import Say

AIM_S = 10.0
_IDLE_S = 20.0
_LATEST_S = 60.0


class Timed(SimulatedCall):
    """Knows when its caller hung up."""

    hung_up_at = 0.0
    number = ""

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


class Phone(GraphApi):
    """The owner's: when each caller's message had come, by the caller's number as it is written there."""

    def __init__(self) -> None:
        super().__init__("100", "token", secret="secret")
        self.came: dict[str, float] = {}

    async def _send(self, request: Request) -> Response:
        answer = await super()._send(request)
        (line,) = (one["text"] for part in self.sent[-1]["template"]["components"] for one in part["parameters"])
        self.came.setdefault("".join(filter(str.isdigit, line.split(" · ")[1]))[-9:], time.monotonic())
        return answer


@asynccontextmanager
async def receiver(channel: str) -> AsyncIterator[tuple[Mailbox | Phone, dict[str, str]]]:
    """What the owner's message comes to, and the server's settings for it."""
    if channel == "mail":
        with Mailbox().running() as mailbox:
            yield (
                mailbox,
                {
                    "SMTP_HOST": "127.0.0.1",
                    "SMTP_PORT": str(mailbox.port),
                    "SMTP_SECURITY": "none",
                    "SMTP_FROM": "moked@example.com",
                    "NOTICE_EMAIL": "owner@example.com",
                },
            )
        return
    phone = Phone()
    async with phone.running() as base:
        yield (
            phone,
            {
                "WHATSAPP": "cloud",
                "WHATSAPP_CLOUD_PHONE_ID": "100",
                "WHATSAPP_CLOUD_TOKEN": "token",
                "WHATSAPP_CLOUD_SECRET": "secret",
                "WHATSAPP_CLOUD_BASE_URL": base,
                "WHATSAPP_OWNER_TEMPLATE": "lead",
            },
        )


def _notify(database: str) -> None:
    """The owner wants to be told on WhatsApp."""
    engine = db.connect(database)
    with Session(engine) as session, session.begin():
        business = session.scalars(select(Business)).one()
        settings = consents.settings_of(session, business.id, datetime.now(UTC))
        settings.notify = [{"channel": "whatsapp", "to": "+972501111111"}]
    engine.dispose()


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    lines, voice = await caller_lines()
    delays = Delays()
    command = f"python -m bench.after_call --channel {options.channel} --calls {options.calls}"
    result: dict[str, Any] = {"machine": machine(command)}
    with tempfile.TemporaryDirectory(prefix="moked-bench-") as folder:
        database = options.database or f"sqlite:///{folder}/moked.db"
        async with (
            receiver(options.channel) as (mailbox, settings),
            stage(delays, lines=lines, settings={**settings, "DATABASE_URL": database}) as on,
        ):
            if options.channel == "whatsapp":
                await to_thread.run_sync(_notify, database)
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
    name = (lambda call: call.call_sid) if options.channel == "mail" else (lambda call: call.number[-9:])
    took = [mailbox.came[name(call)] - call.hung_up_at for call in calls if name(call) in mailbox.came]
    result["setting"] = {
        "delays": asdict(delays),
        "voice": voice,
        "calls": options.calls,
        "at_once": options.at_once,
        "database": "postgresql" if options.database.startswith("postgres") else "sqlite",
    }
    result[f"hang_up_to_{options.channel}_s"] = spread(took)
    result["told"] = len(took)
    if isinstance(mailbox, Mailbox):
        result["mails"] = len(mailbox.received)
        result["by_the_model"] = sum(_has_step(mail) for _, mail in mailbox.received)
    else:
        result["messages"] = len(mailbox.sent)
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
            setup = on.setup(events=False, report_s=0, caller=caller, simulated=options.channel == "mail")
            call = Timed(list(lines[:2]), setup)
            call.number = caller
            await call.run()
            done.append(call)
            print(f"call {len(done)} of {options.calls}", flush=True)

    async with anyio.create_task_group() as tasks:
        for _ in range(options.at_once):
            tasks.start_soon(caller)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--channel", choices=("mail", "whatsapp"), default="mail")
    parser.add_argument("--calls", type=int, default=40)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--database", default="", help="PostgreSQL's address; empty: SQLite in a folder of its own")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result = uvloop.run(measure(options))
    took = result[f"hang_up_to_{options.channel}_s"]
    print(took, "idle cores:", result["idle_cores"])
    print(save(options.out, "after_call" if options.channel == "mail" else "after_call_whatsapp", result))
    if result["told"] < options.calls or took["p95"] > AIM_S:
        raise SystemExit(f"not within {AIM_S:g} s at p95, or not all of them")


if __name__ == "__main__":
    main()
