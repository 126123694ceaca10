"""From a person's phone to the lead and back: server, bridge, inbox, agent and door, nothing faked between them."""

from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import numpy as np
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked import audio
from moked.channels import Link, MessageState, VoiceNote
from moked.crm.inbox import Inbox
from moked.crm.models import Lead
from moked.crm.sending import Outbox
from moked.crm.tables_policy import OutboundMessage
from moked.crm.tables_whatsapp import Message
from moked.dialog.business import load_business
from moked.dialog.script import ScriptAgents
from moked.jobs.messenger import Messenger
from moked.jobs.sending import send_due
from moked.recordings import from_memory, to_ogg_opus
from tests.channels.linked import Linked, until

RUTI = "972502345678"


@pytest.fixture
def office(whatsapp, bridge, tmp_path):
    linked = Linked(whatsapp, bridge, tmp_path / "moked.db")
    business = load_business(None)

    async def hear(sound):
        return "הדוד לא מחמם מים" if sound == b"OggS" else None

    linked.messenger = Messenger(
        Inbox(linked.engine),
        [linked.channel],
        ScriptAgents(business),
        business_id=linked.business,
        timezone=business.timezone,
        clock=lambda: datetime.now(UTC),
        hear=hear,
        quiet_for=timedelta(milliseconds=50),
        unsaid=lambda: (business.recording_notice,),
        speak=lambda text: speak(linked.business, text),
    )
    return linked


async def speak(business_id, text):
    """In a voice that says everything as one tone."""
    tone = np.sin(np.arange(8000) * (2 * np.pi * 300 / 8000)) * 0.3
    return VoiceNote(to_ogg_opus(audio.from_float(tone.astype(np.float32))), 1000, bytes(64)) if text else None


def rows(office, table):
    with Session(office.engine) as session:
        return session.scalars(select(table).order_by(table.id)).all()


async def test_a_conversation_from_hello_to_the_lead(office, whatsapp):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.messenger.run)
        tasks.start_soon(
            partial(send_due, Outbox(office.engine), {"whatsapp": office.channel}, speak=speak, every_s=0.05)
        )
        office.order()
        await office.is_(Link.PAIRING)
        whatsapp.scan(office.channel.health().qr)
        await office.is_(Link.OPEN)

        async def says(count, *args, **more):
            whatsapp.say(RUTI, *args, **more)
            await until(lambda: len(whatsapp.got(RUTI)) == count)
            return whatsapp.got(RUTI)[-1]

        greeting = await says(1, "היי!", name="")
        assert greeting == "שלום, הגעתם לאורן אינסטלציה, מדבר העוזר הדיגיטלי. במה אפשר לעזור?"
        assert await says(2, voice="T2dnUw==") == ""  # who spoke is answered by voice
        (note,) = whatsapp.heard(RUTI)
        assert from_memory(note["sound"], "note.ogg")
        await says(3, "רותי לוי")
        await until(lambda: [lead for lead in rows(office, Lead) if lead.name == "רותי לוי"])
        (lead,) = rows(office, Lead)
        assert "הדוד לא מחמם מים" in lead.need
        assert lead.phone == f"+{RUTI}"
        assert lead.source_call_sid.startswith("chat:")
        await until(lambda: {row.state for row in rows(office, OutboundMessage)} == {MessageState.READ})
        heard = [(row.inbound, row.text) for row in rows(office, Message)]
        assert [text for inbound, text in heard if inbound] == ["היי!", "הדוד לא מחמם מים", "רותי לוי"]
        answers = [text for inbound, text in heard if not inbound]
        assert (answers[0], answers[2]) == (whatsapp.got(RUTI)[0], whatsapp.got(RUTI)[2])
        assert "?" in answers[1]  # of what was said, the words are kept
        assert [row.voice for row in rows(office, OutboundMessage)] == [False, True, False]
        theirs = [row.provider_id for row in rows(office, Message) if row.inbound]
        await until(lambda: sorted(whatsapp.state()["seen"]["read"]) == sorted(theirs))
        tasks.cancel_scope.cancel()
    office.engine.dispose()
