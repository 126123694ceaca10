"""Calls that we make, over real sockets: the REST emulator places them, the callee's side is the simulated carrier."""

from datetime import UTC, datetime

import anyio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.callee import Answer
from emulators.second_leg import Manner
from moked import outreach, telephony
from moked.channels import ChannelCaps, MessageState, SendResult
from moked.channels.policy import Purpose
from moked.crm import consents, db, dialling
from moked.crm.models import Contact
from moked.crm.tables_policy import ConsentRow, Dial, DialKind, DialResult, DialState
from moked.simulate.result import Ended
from moked.simulate.scenario import HangUp, Manners, Say
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

OURS, THEIRS, MINE = "+97235551234", "+972541112233", "+972521119999"
QUIET = Manners(quiet_ms=600, patience_ms=8000, linger_ms=200)


SUNDAY = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class Book:
    """The record of the running house, from outside. It is Sunday noon there: the gate knows no Shabbat of tests."""

    def __init__(self, home, url):
        self.engine, self.business = db.connect(url), home.house.business_id
        ahead = SUNDAY - datetime.now(UTC)
        self.now = home.house.out.dialling._clock = lambda: datetime.now(UTC) + ahead
        with Session(self.engine) as session, session.begin():
            now = self.now()
            contact = Contact(business_id=self.business, phone=THEIRS, name="רותי לוי", created_at=now, updated_at=now)
            session.add(contact)
            session.flush()
            self.contact = contact.id

    def add(self, kind=DialKind.CLICK, **more):
        now = self.now()
        with Session(self.engine) as session, session.begin():
            return dialling.add(
                session, business_id=self.business, contact_id=self.contact, kind=kind, purpose=Purpose.SERVICE,
                number=THEIRS, subject="טיפול שנתי למזגן", key=f"test:{kind}", due_at=now, now=now,
                approved_by="דנה", agreed_for=now, **more,
            )  # fmt: skip

    async def done(self, dial_id, *states):
        """The row, once it is in one of these states."""
        with anyio.fail_after(30):
            while True:
                with Session(self.engine) as session:
                    dial = session.get(Dial, dial_id)
                    if dial.state in (states or (DialState.DONE,)):
                        return dial
                await anyio.sleep(0.05)

    def rows(self, table):
        with Session(self.engine) as session:
            return session.scalars(select(table)).all()


def at(folder):
    return {"rest": True, "outbound_caller_id": OURS, "database_url": f"sqlite:///{folder}/wire.db"}


class Sms:
    """A channel that keeps what it is given."""

    kind, caps = "sms.test", ChannelCaps()

    def __init__(self):
        self.sent = []

    async def send(self, out):
        self.sent.append(out)
        return SendResult(MessageState.SENT, f"SM{len(self.sent)}")


async def test_the_owner_hears_of_a_call_within_seconds_of_its_end(tmp_path, monkeypatch):
    sms = Sms()
    monkeypatch.setattr(outreach, "channels", lambda settings: {"sms": sms})
    url = f"sqlite:///{tmp_path}/wire.db"
    async with house(tmp_path, database_url=url, work=True) as home:
        with Session(db.connect(url)) as session, session.begin():
            row = consents.settings_of(session, home.house.business_id, datetime.now(UTC))
            row.notify = [{"channel": "sms", "to": MINE}]
        placed = await home.place([Say(audio=says("יש לי נזילה במטבח")), HangUp("agent_done")], simulated=False)
        with anyio.fail_after(10):
            while not sms.sent:
                await anyio.sleep(0.05)
    (notice,) = sms.sent
    assert notice.to.value == MINE
    assert "יש לי נזילה במטבח" in notice.text
    assert notice.text.splitlines()[-1] == f"{home.base_url}/leads/{placed.report['lead']['id']}"


async def test_calls_that_we_make(tmp_path):
    async with anyio.create_task_group() as tasks:  # side by side: a call takes its time
        for scene in (the_agent_calls, a_machine, no_answer, a_click):
            (tmp_path / scene.__name__).mkdir()
            tasks.start_soon(scene, tmp_path / scene.__name__)


async def the_agent_calls(folder):
    """It says who and why, hears a refusal, and the talk is on record."""
    async with house(folder, **at(folder), work=True) as home:
        home.callee.setup = home.setup(manners=QUIET, simulated=False)
        home.callee.steps = [Say(audio=says("אל תתקשרו אליי יותר"))]
        book = Book(home, at(folder)["database_url"])
        dial = await book.done(book.add(DialKind.CALLBACK))
        report = await home.reported(dial.call_sid)
        with anyio.fail_after(20):
            while not (refusals := book.rows(ConsentRow)):  # the follow-up comes within a second or two
                await anyio.sleep(0.05)
    (form,) = home.callee.rung
    assert (form["To"], form["From"], form["AsyncAmd"]) == (THEIRS, OURS, "true")
    first = report["turns"][0]["heard"]
    assert first.startswith("שלום רותי, מדבר העוזר הקולי של אורן אינסטלציה, סוכן וירטואלי.")
    assert "טיפול שנתי למזגן" in first
    assert (report["direction"], report["caller"], report["called"]) == ("outbound", THEIRS, OURS)
    assert (home.callee.results[0].ended, report["detail"]) == (Ended.AGENT_HUNG_UP, "opted_out")
    assert "הסרתי אתכם" in report["turns"][-1]["heard"]
    assert dial.result is DialResult.OPTED_OUT
    assert [row.given_at for row in refusals] == [None]
    assert refusals[0].offset_ms is not None


async def a_machine(folder):
    """It is hung up on, and tried again later."""
    async with house(folder, **at(folder)) as home:
        home.callee.answers = [Answer.MACHINE]
        home.callee.setup = home.setup(manners=QUIET)
        book = Book(home, at(folder)["database_url"])
        dial_id = book.add(DialKind.CALLBACK)
        await book.done(dial_id, DialState.TALKING)
        dial = await book.done(dial_id, DialState.WAITING)
        report = await home.reported(dial.call_sid)
    assert (dial.result, dial.attempts) == (DialResult.MACHINE, 1)
    assert dial.due_at > book.now()
    assert home.rest.calls[dial.call_sid] == "completed"  # by our word: the machine would have gone on
    assert report["lead"] is None


async def no_answer(folder):
    """There is no call on record, and another try."""
    async with house(folder, **at(folder)) as home:
        home.callee.answers = [Answer.NO_ANSWER]
        book = Book(home, at(folder)["database_url"])
        dial_id = book.add(DialKind.CALLBACK)
        with anyio.fail_after(20):
            while (dial := await book.done(dial_id, DialState.WAITING)).attempts == 0:
                await anyio.sleep(0.05)
        assert (dial.result, home.crm.call_report(dial.call_sid)) == (DialResult.NO_ANSWER, None)


async def a_click(folder):
    """The person is rung first, and then connected."""
    async with house(folder, person=Manner.TAKES, **at(folder)) as home:
        book = Book(home, at(folder)["database_url"])
        dial = await book.done(book.add(ring_first=MINE))
    (form,) = home.person.rung
    assert (form["To"], form["From"], "AsyncAmd" in form) == (MINE, OURS, False)
    assert home.person.heard == [telephony.CONNECTING.format(name="רותי לוי")]
    assert (dial.result, home.callee.rung) == (DialResult.ANSWERED, [])
