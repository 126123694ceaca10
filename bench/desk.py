"""How fast the desk's pages are with a lot on record: 100,000 contacts, leads and calls, 1,000,000 turns.

    python -m bench.desk [--contacts 100000] [--rounds 5] [--database URL] [--only /analytics] [--out F] [--name desk]

Pages are asked for through the real Flask app with a session, without a network; SQLite in a temporary folder, or the
empty database given. CPU beside wall time: the second grows with whatever else the machine does.
"""

import argparse
import random
import statistics
import tempfile
import time
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine, insert, text

from bench.stage import RESULTS, machine, save
from moked.crm import db, lead_values, search
from moked.crm.access import Access
from moked.crm.agent_versions import AgentVersions
from moked.crm.analytics import Analytics
from moked.crm.desk import Desk
from moked.crm.edits import Edits
from moked.crm.inbox_desk import InboxDesk
from moked.crm.job_store import JobStore
from moked.crm.leads import Origin, Stage
from moked.crm.live import Live
from moked.crm.models import Call, CallState, Contact, Lead, Task, TaskKind, Turn
from moked.crm.outreach import Outreach
from moked.crm.rehearsals import Rehearsals
from moked.crm.rollouts import Rollouts
from moked.crm.service import Crm
from moked.crm.tables_crm import Activity, ChannelIdentity, LeadField, LeadTag, Tag
from moked.dialog import AgentFactory
from moked.dialog.published import AgentPlan, files_of
from moked.records import Outcome
from moked.setup_link import SetupLink
from moked.web import AgentParts, DeskParts, WebParts, create_app

FIRST: Final = ["דנה", "רותי", "אבי", "משה", "יעל", "נועם", "סבטלנה", "מוחמד", "אורי", "תמר"]
LAST: Final = ["כהן", "לוי", "מזרחי", "פרץ", "ביטון", "דהן", "אברהם", "פרידמן"]
WORDS: Final = (  # noqa: SIM905 (sentences are easier to read)
    "המזגן בסלון מטפטף מים כבר יומיים ואני צריך שמישהו יבוא לתקן אותו עוד השבוע אפשר ביום ראשון בבוקר או אחרי "
    "הצהריים כמה זה עולה בערך ומה כולל הביקור של הטכנאי יש לי גם דירה בחיפה עם שני מזגנים ישנים שצריך להחליף "
    "קוראים לי ואני גר ברחוב הרצל ליד בית הספר תתקשרו בבקשה לפני שאתם מגיעים כי השער נעול והכלב בחצר תודה רבה "
    "אין בעיה נרשם מחר יחזור אליך נציג שלנו עם הצעת מחיר מסודרת האם המספר שממנו התקשרת הוא המספר הנכון לחזרה"
).split()
RARE: Final = 4000
OWN: Final[dict[int, dict[str, Any]]] = {
    1: {"name": "עיר", "kind": "choice", "choices": ["חיפה", "עכו", "נהריה", "אילת"]},
    2: {"name": "בית", "kind": "text", "choices": []},
    3: {"name": "תקציב", "kind": "number", "choices": []},
    4: {"name": "מועד", "kind": "date", "choices": []},
}
NEEDS: Final = ("מזגן מטפטף", "התקנת מזגן", "טיפול שנתי", "הצעת מחיר", "רעש מהמנוע")
TURNS_A_CALL: Final = 10
AT_ONCE: Final = 2500
PAGES: Final = (
    "/board", "/leads", "/leads?page=LAST", "/leads?q=דנה מטפטף", "/leads?q=050-0012345", "/leads?q=איןכזה",
    "/leads?stage=won&owner=0", "/leads/board", "/leads/board?q=דנה", "/leads/777", "/contacts", "/contacts?q=סבטלנה",
    "/contacts?q=12345", "/contacts/777", "/calls", "/calls?page=LAST", "/calls?q=דנה", "/calls?q=12345",
    "/calls?outcome=completed", "/calls/CA777", "/tasks", "/tasks?done=1", "/tasks?due=today&who=me", "/audit",
    "/calls?q=מטפטף", "/leads?tag=1", "/leads?least=5000&most=6000", "/leads?origin=voicemail", "/contacts?page=LAST",
    "/contacts/777/merge",
    "/leads?f1=חיפה", "/leads?f1=אילת", "/leads?f2_has=מגדל", "/leads?f2_has=יחיד", "/leads?f3_min=5000&f3_max=6000",
    "/leads?f4_min=2026-01-01&f1=חיפה", "/leads?f1=∅", "/leads?f1=חיפה&page=900", "/leads/board?f1=חיפה",
    "/leads/board?f3_min=19990",
    "/search?q=מטפטף", "/search?q=המזגן בחיפה", "/search?q=דנה כהן", "/search?q=מילה77",
    "/search?q=0012345", "/search?q=050", "/search?q=איןכזה", "/export", "/contacts/import",
    "/wall", "/board/figures", "/messages", "/campaigns", "/outreach", "/jobs", "/inbox", "/users",
    "/analytics", "/analytics?days=90", "/analytics?first=2020-01-01&last=2040-01-01", "/analytics.csv?days=90",
    "/settings/business", "/settings/script", "/settings/numbers", "/settings/hearing",
)  # fmt: skip


def fill(engine: Engine, business: int, contacts: int) -> None:
    """One lead, call, task and ten turns a contact, three minutes apart into the past."""
    chance, now, stages = random.Random(1), datetime.now(UTC), list(Stage)
    shared: dict[str, Any] = {"business_id": business}
    with engine.begin() as connection:
        connection.execute(insert(LeadField), [{"id": i, "position": i, **one, **shared} for i, one in OWN.items()])
        connection.execute(insert(Tag), [{"id": i, "name": f"תגית {i}", **shared} for i in (1, 2, 3)])
        for begin in range(1, contacts + 1, AT_ONCE):
            numbers = range(begin, min(begin + AT_ONCE, contacts + 1))
            tables: dict[Any, list[dict[str, Any]]] = {Contact: [], Lead: [], Call: [], Task: [], Turn: []}
            tables |= {ChannelIdentity: [], Activity: [], LeadTag: []}
            for i in numbers:
                at, phone = now - timedelta(minutes=3 * i), f"+97250{i:07}"
                name = f"{chance.choice(FIRST)} {chance.choice(LAST)}"
                both = {**shared, "phone": phone, "name": name, "created_at": at, "updated_at": at}
                tables[Contact].append({"id": i, **both})
                lead = {"stage": stages[i % 6], "origin": Origin.CONVERSATION, "need": chance.choice(NEEDS)}
                lead["value"] = chance.randrange(20_000)
                lead["extra"] = _own(chance, i, at)
                tables[Lead].append(
                    {"id": i, "contact_id": i, "source_call_sid": f"CA{i}", "summary": "x" * 120, **lead, **both}
                )
                call: dict[str, Any] = {
                    "sid": f"CA{i}",
                    "caller": phone,
                    "called": "+97231234567",
                    "direction": "inbound",
                }
                over = {
                    "status": CallState.ENDED,
                    "outcome": Outcome.COMPLETED,
                    "duration_ms": 100_000,
                    "engines": ["google"],
                }
                times = {"started_at": at, "ended_at": at, "heartbeat_at": at}
                tables[Call].append({"id": i, "contact_id": i, "lead_id": i, **call, **over, **times, **shared})
                done = {"done_at": at if i % 3 else None}
                task = {"lead_id": i, "call_id": i, "kind": TaskKind.CALLBACK, "due_at": at, "created_at": at}
                tables[Task].append({**task, **done, "remind_at": at, **shared})
                address = {"contact_id": i, "scheme": "tel", "value": phone, "created_at": at}
                tables[ChannelIdentity].append({**address, **shared})
                note = {"contact_id": i, "lead_id": i, "at": at, "kind": "note", "text": "חזרתי", "data": {}}
                tables[Activity].append({**note, **shared})
                if i % 10 == 0:
                    tables[LeadTag].append({"lead_id": i, "tag_id": 1 + i % 3})
                tables[Turn] += [
                    {
                        "call_id": i, "number": turn, "caller_text": _words(chance, 9), "said": "תודה", "heard": "תודה",
                        "cut": False, "started_ms": 0, "ended_ms": 1, "engine": "google", "dtmf": "",
                        "speech_end_ms": 1000, "transcript_ms": 1100, "endpoint_ms": 1400 + i % 200,
                        "llm_first_ms": 1600 + i % 300, "tts_first_ms": 1750 + i % 400, "sent_ms": 1800 + i % 500,
                        "created_at": at, **shared,
                    }
                    for turn in range(TURNS_A_CALL)
                ]  # fmt: skip
            for table, rows in tables.items():
                connection.execute(insert(table), rows)
    began = time.perf_counter()
    search.rebuild(engine)
    print(f"index of words: {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    with engine.begin() as connection:
        lead_values.fill(connection, business)
    print(f"values of own fields: {time.perf_counter() - began:.0f} s", flush=True)
    if engine.dialect.name == "postgresql":  # as its autovacuum does within minutes
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def _own(chance: random.Random, number: int, at: datetime) -> dict[str, str]:
    """Half of the leads are in one town, hardly any in another, some in none."""
    town = "אילת" if number % 20_000 == 7 else "חיפה" if number % 2 else chance.choice(("עכו", "נהריה", ""))
    house = "בית יחיד" if number % 10_000 == 9 else chance.choice(("מגדל מגורים", "דירת גן", "וילה"))
    return {"עיר": town, "בית": house, "תקציב": str(chance.randrange(20_000)), "מועד": f"{at:%Y-%m-%d}"}


def _words(chance: random.Random, count: int) -> str:
    """Words as people use them: some often, and now and then one that hardly anybody says."""
    said = [WORDS[min(int(chance.paretovariate(0.6)) - 1, len(WORDS) - 1)] for _ in range(count)]
    return " ".join([*said, f"מילה{chance.randrange(RARE)}"])


def _no_rehearsal(plan: AgentPlan) -> AbstractAsyncContextManager[AgentFactory]:
    raise NotImplementedError(plan)


def measure(
    engine: Engine, folder: Path, contacts: int, rounds: int, pages: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Median and worst milliseconds a page."""
    business = Crm(engine).ensure_business("bench")
    access = Access(engine)
    access.set_up_owner(business, "owner@example.com", "owner", "a long password")
    fill(engine, business, contacts)
    began, analytics = time.perf_counter(), Analytics(engine)
    while analytics.fill():  # as the worker does
        pass
    print(f"the past was counted in {time.perf_counter() - began:.1f} s", flush=True)
    parts = WebParts(
        crm=Crm(engine),
        business_id=business,
        business_name="bench",
        auth_token="bench",
        public_base_url=lambda: "http://localhost",
        rollouts=Rollouts(engine, business),
        desk=DeskParts(
            access=access,
            desk=Desk(engine),
            edits=Edits(engine),
            live=Live(engine),
            jobs=JobStore(engine),
            outreach=Outreach(engine),
            inbox=InboxDesk(engine),
            setup=SetupLink(folder),
            agent=AgentParts(
                versions=AgentVersions(engine, files_of(None, None)), rehearsals=Rehearsals(engine), make=_no_rehearsal
            ),
            analytics=analytics,
        ),
    )
    client = create_app(parts).test_client()
    login = access.log_in("owner@example.com", "a long password", address="127.0.0.1", browser="bench")
    client.set_cookie("moked_session", login.token)
    found = {}
    for page in pages:
        path = page.replace("LAST", str(max(1, contacts // 50)))
        wall, cpu = [], []
        for _ in range(rounds):
            began, worked = time.perf_counter(), time.process_time()
            answer = client.get(path)
            assert answer.status_code == 200, path
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - worked) * 1000)
        found[page] = {
            "median_ms": round(statistics.median(wall)),
            "worst_ms": round(max(wall)),
            "cpu_ms": round(statistics.median(cpu)),
        }
        print(page, found[page], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--contacts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--database", default="", help="an empty database; default: SQLite in a temporary folder")
    parser.add_argument("--only", default="", help="pages that begin so")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--name", default="desk", help="of the file of results")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        engine = db.connect(given.database or f"sqlite:///{folder}/moked.db")
        db.migrate(engine)
        before = machine("python -m bench.desk")
        wanted = tuple(page for page in PAGES if page.startswith(given.only))
        pages = measure(engine, Path(folder), given.contacts, given.rounds, wanted)
        about = {"contacts": given.contacts, "turns": given.contacts * TURNS_A_CALL, "database": engine.dialect.name}
        save(given.out, given.name, {"machine": before, **about, "pages": pages})
        engine.dispose()


if __name__ == "__main__":
    main()
