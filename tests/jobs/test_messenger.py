"""The loops that carry written conversations, with a channel that is a list."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import (
    PHONE,
    Address,
    ChannelCaps,
    ChannelHealth,
    Inbound,
    Kind,
    Link,
    MessageState,
    SendResult,
    VoiceNote,
)
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
    caps = ChannelCaps(voice_replies=True, read=True)

    def __init__(self):
        self.sent, self.sounds, self.seen, self.away = [], {}, [], False

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
        if not self.away:
            self.seen.append((to, ids))
        return not self.away

    def health(self):
        return ChannelHealth(Link.OPEN)


class Office:
    def __init__(self, engine, agents=None, **more):
        self.engine = engine
        self.business = Crm(engine).ensure_business("מזגנים בצפון")
        self.now = datetime.now(UTC)
        self.channel = ListChannel()
        self.told, self.spoken, self.note = [], [], VoiceNote(b"OggS", 1000)
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
            speak=self.speak,
            **more,
        )
        self.words = {}

    async def speak(self, text):
        self.spoken.append(text)
        return self.note

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


async def spoke(office, words="המזגן מטפטף"):
    office.channel.sounds["r"], office.words[b"sound"] = b"sound", words
    await office.messenger.sink(office.came(id="v", kind=Kind.VOICE, raw="r"))
    await office.messenger._transcribe()
    await office.messenger._answer()
    return office.rows(OutboundMessage)


async def test_who_spoke_is_answered_by_voice_and_the_words_are_kept(office):
    (row,) = await spoke(office)
    assert row.voice
    assert [row.text] == office.spoken
    assert [(one.kind, one.text) for one in office.rows(Message) if not one.inbound] == [(Kind.TEXT, row.text)]


async def test_who_spoke_and_then_wrote_is_answered_in_writing(office):
    office.channel.sounds["r"], office.words[b"sound"] = b"sound", "המזגן מטפטף"
    await office.messenger.sink(office.came(id="v", kind=Kind.VOICE, raw="r"))
    await office.messenger.sink(office.came("בסלון", id="t"))
    await office.messenger._transcribe()
    await office.messenger._answer()
    assert [row.voice for row in office.rows(OutboundMessage)] == [False]


@pytest.mark.parametrize("words", ["", "המזגן"])
async def test_what_cannot_be_spoken_and_who_was_not_understood_are_answered_in_writing(office, words):
    office.note = None
    assert [row.voice for row in await spoke(office, words)] == [False]
    assert bool(office.spoken) == bool(words)


async def test_who_wrote_sees_that_the_agent_read_it_once(office):
    for number in ("1", "2"):
        await office.messenger.sink(office.came("שלום", id=number))
    await office.messenger._show_read()
    assert office.channel.seen == []
    office.channel.away = True
    await office.messenger._answer()
    await office.messenger._show_read()
    office.channel.away = False
    for _ in range(2):
        await office.messenger._show_read()
    assert office.channel.seen == [(RUTI, ("1", "2"))]


async def test_without_receipts_nobody_is_told_and_not_later_either(engine):
    office = Office(engine, receipts=False)
    await office.messenger.sink(office.came("שלום"))
    await office.messenger._answer()
    await office.messenger._show_read()
    assert office.inbox.unshown(office.business, ("sms",)) == []
    assert office.channel.seen == []
