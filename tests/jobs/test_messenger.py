"""The loops that carry written conversations, with a channel that is a list."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import PHONE, Address, ChannelCaps, ChannelHealth, Inbound, Kind, Link, MessageState, SendResult
from moked.crm.inbox import Inbox
from moked.crm.sending import Outbox
from moked.crm.service import Crm
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_whatsapp import Conversation, Message
from moked.dialog.business import load_business
from moked.dialog.script import ScriptAgents
from moked.errors import Failure, ProviderError
from moked.jobs.messenger import Messenger
from moked.jobs.sending import once
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]

RUTI = Address(PHONE, "+972502345678")


class ListChannel:
    kind = "sms"
    caps = ChannelCaps()

    def __init__(self):
        self.sent, self.sounds = [], {}

    async def run(self, sink):
        self.sink = sink
        await anyio.sleep_forever()

    async def send(self, out):
        self.sent.append(out)
        return SendResult(MessageState.SENT, out.key)

    async def fetch(self, raw):
        sound = self.sounds[raw]
        if isinstance(sound, Exception):
            raise sound
        return sound

    async def typing(self, to, on):
        pass

    async def read(self, to, ids):
        pass

    def health(self):
        return ChannelHealth(Link.OPEN)


class Office:
    def __init__(self, engine, agents=None):
        self.engine = engine
        self.business = Crm(engine).ensure_business("מזגנים בצפון")
        self.now = datetime.now(UTC)
        self.channel = ListChannel()
        self.told = []
        self.inbox = Inbox(engine, clock=lambda: self.now)
        self.messenger = Messenger(
            self.inbox,
            [self.channel],
            agents or ScriptAgents(load_business(None)),
            business_id=self.business,
            timezone="Asia/Jerusalem",
            clock=lambda: self.now,
            hear=self.hear,
            quiet_for=timedelta(0),
            tell=self.told.append,
        )
        self.words = {}

    async def hear(self, sound):
        return self.words[sound]

    def came(self, text="", id="1", **more):
        return Inbound("sms", "", id, RUTI, self.now, text=text, **more)

    def rows(self, table):
        with Session(self.engine) as session:
            return session.scalars(select(table).order_by(table.id)).all()


@pytest.fixture
def office(engine):
    return Office(engine)


async def test_an_answer_goes_out_and_pages_are_told(office):
    await office.messenger.sink(office.came("המזגן מטפטף"))
    await office.messenger._answer()
    await once(Outbox(office.engine, clock=lambda: office.now), "sms", office.channel, {"sms": office.channel.caps})
    (out,) = office.channel.sent
    assert out.text.startswith("שלום, הגעתם לאורן אינסטלציה")
    assert out.text.count("?") == 1  # who has said what they need is not asked what they need
    assert office.rows(Conversation)[0].id in office.told


async def test_an_answer_that_could_not_be_made_waits_and_others_do_not(engine):
    def broken(context):
        raise ProviderError("llm", Failure.UNAVAILABLE, "away")

    office = Office(engine, broken)
    await office.messenger.sink(office.came("שלום"))
    await office.messenger._answer()
    assert office.rows(OutboundMessage) == []
    assert office.messenger._failed
    office.messenger._agents = ScriptAgents(load_business(None))
    await office.messenger._answer()
    assert office.rows(OutboundMessage) == []  # not at once again
    office.now += timedelta(seconds=31)
    await office.messenger._answer()
    assert len(office.rows(OutboundMessage)) == 1


async def test_a_voice_note_becomes_words(office):
    office.channel.sounds["r"], office.words[b"sound"] = b"sound", "המזגן מטפטף"
    await office.messenger.sink(office.came(id="v", kind=Kind.VOICE, raw="r"))
    await office.messenger._answer()
    assert office.rows(OutboundMessage) == []
    await office.messenger._transcribe()
    await office.messenger._answer()
    assert office.rows(Message)[0].text == "המזגן מטפטף"
    assert len(office.rows(OutboundMessage)) == 1


@pytest.mark.parametrize(
    ("kind", "hours", "told"), [("unavailable", 0, ""), ("unavailable", 2, "[הודעה"), ("protocol", 0, "[הודעה")]
)
async def test_a_voice_note_that_cannot_be_heard_is_tried_for_an_hour(office, kind, hours, told):
    office.channel.sounds["r"] = ProviderError("sms", Failure(kind), "x")
    await office.messenger.sink(office.came(id="v", kind=Kind.VOICE, raw="r"))
    office.now += timedelta(hours=hours)
    await office.messenger._transcribe()
    assert office.rows(Message)[0].text.startswith(told)
    assert bool(office.rows(Message)[0].text) == bool(told)
