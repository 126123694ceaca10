"""kill -9 at every step of the work after a call, before its effect and after it before that is on record.

Each of many calls has a place at which the worker that serves it is killed, once; another is started, until all is
done. Then the world is looked at from outside: one lead, one e-mail, one message, one webhook, one recording a call,
and a day that counts each call once.

A worker is forked from a process that has everything imported, so that a life costs its real start and no more. SIGKILL
is sent by the worker to itself, at a place that a test can name and a machine's crash could hit.

    python -m bench.after_call_kill [sqlite] [postgresql]      # every place; some ten seconds each
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from moked.crm import db
from moked.crm.access import Access
from moked.crm.after import AfterCalls
from moked.crm.job_store import JobStore
from moked.crm.outbox import CALLS, LATER, call_key
from moked.crm.service import Crm
from moked.crm.tables_jobs import JobState
from moked.jobs import Lane, after_call, engine
from moked.jobs.mail import MailNotice, Server
from moked.jobs.runner import Runner
from moked.jobs.slots import slot
from moked.records import CallEnd, CallStart, LeadDraft, Outcome, TurnRecord

STEPS = ("began", "read", "notice", "announce", "follow_up", "recording", "closed")
PLACES = (*((step, when) for step in STEPS for when in ("before", "after")), ("relay", "after"))
"""'relay' 'after': the engine has the job, and the outbox does not know it yet."""
_LIFE_S = 20.0


@dataclass(frozen=True, slots=True)
class World:
    """All a worker has to know, as JSON on its command line."""

    database: str
    folder: str
    smtp: int
    http: str
    places: dict[str, tuple[str, str]]  # a call's SID -> where its worker dies


def furnish(database: str, places: Sequence[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """An office with its owner and a call a place that has ended: its lead and its outbox row are there."""
    connections = db.connect(database)
    db.migrate(connections)
    crm = Crm(connections)
    business = crm.ensure_business("מזגנים בצפון")
    Access(connections).set_up_owner(business, "dana@example.com", "דנה", "סיסמה ארוכה מאוד")
    found = {}
    for number, place in enumerate(places):
        sid = f"CA{number:032d}"
        crm.open_call(CallStart(sid, "AC1", f"+97250234{number:04d}", "+97235551234"), business)
        crm.redeem_ticket(crm.mint_ticket(sid), sid)
        crm.add_turn(sid, TurnRecord(1, "המזגן מטפטף", "מתי נוח?", "מתי נוח?", False, 0, 900))
        crm.finish_call(CallEnd(sid, Outcome.COMPLETED, "agent_hangup", 60_000, LeadDraft(need="המזגן מטפטף")))
        found[sid] = place
    connections.dispose()
    return found


# --- the worker -------------------------------------------------------------------------------------------------------


def live(world: World) -> None:
    """Work until every job is done; dies at the places that have not been died at yet."""
    folder = Path(world.folder)
    fired = folder / "fired"
    fired.mkdir(exist_ok=True)

    dying = threading.Lock()  # several jobs at a time, and a process dies once

    def die_at(sid: str, step: str, when: str) -> None:
        if tuple(world.places.get(sid, ())) != (step, when):
            return
        mark = fired / sid
        with dying:
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
                threading.Event().wait()

    def post(path: str, header: str) -> Any:
        def send(sid: str) -> None:
            body = json.dumps({"call": sid}).encode()
            headers = {header: f"{path}:{sid}", "Content-Type": "application/json"}
            with urlopen(Request(f"{world.http}/{path}", body, headers), timeout=5):
                pass

        return send

    def keep(sid: str) -> None:
        part = folder / f"{sid}.part"
        part.write_text(sid)
        part.replace(folder / f"{sid}.ogg")

    with ExitStack() as stack:
        connections = db.connect(world.database)
        stack.callback(connections.dispose)
        store, records = JobStore(connections), AfterCalls(connections)
        mail = MailNotice(
            records,
            Server("127.0.0.1", world.smtp, "moked@example.com", "none"),
            base_url=lambda: "https://desk.example.com",
        )
        parts = after_call.Parts(
            notice=mail,
            announce=post("webhook", "webhook-id"),
            follow_up=post("message", "Idempotency-Key"),
            store_recording=keep,
        )
        running = stack.enter_context(
            engine.running(
                world.database,
                folder,
                stack.enter_context(slot(folder)),
                after_call.work(records, parts),
                store,
                lanes=(Lane(CALLS, 4, poll_s=0.05), Lane(LATER, 1, poll_s=0.05)),
                enqueue=lambda name, key: None,
                probe=lambda key, step, when: die_at(key.removeprefix("call:"), step, when),
            )
        )
        runner = Runner(store, running)
        end = time.monotonic() + _LIFE_S
        while any(store.counts().values()):
            if time.monotonic() > end:
                sys.exit(f"not done: {store.counts()}")
            for order in store.due():
                running.take(order)
                die_at(order.key.removeprefix("call:"), "relay", "after")
                store.handed([order])
            runner.look(stuck_s=5)
            time.sleep(0.05)


def lives(world: World, workers: int) -> int:
    """Fork so many workers, and another for each that is killed, until all is done; returns how many were killed."""
    killed, alive = 0, {_fork(world) for _ in range(workers)}
    while alive:
        child, status = os.wait()
        alive.discard(child)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            killed += 1
            alive.add(_fork(world))
        elif status:
            sys.exit(f"a worker failed: {status}")
    return killed


def _fork(world: World) -> int:
    child = os.fork()
    if child == 0:
        try:
            live(world)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


# --- the world from outside -------------------------------------------------------------------------------------------


def run(database: str, folder: Path, places: Sequence[tuple[str, str]], *, workers: int = 1) -> dict[str, Any]:
    """Kill at `places`, and look. Raises `AssertionError` where something is missing or there twice."""
    import subprocess

    from emulators.receivers import HttpReceiver, SmtpServer

    began = time.monotonic()
    with HttpReceiver().running() as http, SmtpServer().running() as smtp:
        found = furnish(database, places)
        world = World(database, str(folder), smtp.port, http.url, found)
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "bench.after_call_kill",
                "--live",
                json.dumps(asdict(world)),
                "--workers",
                str(workers),
            ],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout.splitlines()[-1])
    assert told["killed"] == len(places), "each place was died at, once"
    look(database, folder, list(found), http, smtp)
    repeated = len(http.requests) - len(http.taken) + len(smtp.received) - len(smtp.mails)
    return {
        "calls": len(found),
        "killed": told["killed"],
        "sent_again_with_the_same_key": repeated,
        "seconds": round(time.monotonic() - began, 1),
    }


def look(database: str, folder: Path, sids: list[str], http: Any, smtp: Any) -> None:
    from sqlalchemy import select
    from sqlalchemy.orm import Session

    from moked.crm.models import Call, Lead, Task
    from moked.crm.tables_jobs import CallSummary, Job, Notice

    assert sorted(http.taken) == sorted(f"/{path} {path}:{sid}" for path in ("message", "webhook") for sid in sids)
    assert len(smtp.mails) == len(sids)
    assert {to for to, _ in smtp.received} == {"dana@example.com"}
    assert sorted(path.stem for path in folder.glob("*.ogg")) == sorted(sids)
    connections = db.connect(database)
    with Session(connections) as session:
        jobs = session.scalars(select(Job)).all()
        assert {job.key for job in jobs} == {call_key(sid) for sid in sids}
        assert {(job.state, job.run) for job in jobs} == {(JobState.DONE, 1)}
        leads = session.scalars(select(Lead)).all()
        assert sorted(lead.source_call_sid for lead in leads) == sorted(sids)
        assert {lead.need for lead in leads} == {"המזגן מטפטף"}
        assert len(session.scalars(select(Task)).all()) == len(sids)
        assert len(session.scalars(select(CallSummary)).all()) == len(sids)
        notices = session.scalars(select(Notice)).all()
        assert len(notices) == len(sids)
        assert all(notice.sent_at is not None for notice in notices)
        assert len(session.scalars(select(Call)).all()) == len(sids)
    connections.dispose()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kinds", nargs="*", default=["sqlite", "postgresql"])
    parser.add_argument("--live", help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help="at the same time")
    options = parser.parse_args()
    if options.live:
        print(json.dumps({"killed": lives(World(**json.loads(options.live)), options.workers)}))
        return
    import tempfile

    from bench.stage import RESULTS, machine, save
    from tests.databases import postgres_schema

    results: dict[str, Any] = {
        "machine": machine("python -m bench.after_call_kill"),
        "places": len(PLACES),
        "workers": options.workers,
    }
    for kind in options.kinds:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            url = f"sqlite:///{folder}/moked.db" if kind == "sqlite" else stack.enter_context(postgres_schema())
            results[kind] = run(url, folder, PLACES, workers=options.workers)
            print(kind, results[kind])
    print(save(RESULTS, "after_call_kill", results))


if __name__ == "__main__":
    main()
