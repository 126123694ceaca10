"""Written conversations as a worker composes them: from a voice note at Meta's to the answer that is heard there."""

from datetime import UTC, datetime

import anyio
import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from emulators.google_tts import GoogleTts
from emulators.graph_api import GraphApi
from moked import recordings, written
from moked.bus import MemoryBus
from moked.channels import CLOUD, Address, Inbound, Kind, MessageState
from moked.crm import db
from moked.crm.inbox import Inbox
from moked.crm.sealed import Sealer
from moked.crm.sending import Outbox, rules_of
from moked.crm.service import Crm
from moked.crm.tables_policy import OutboundMessage
from moked.jobs.sending import send_due
from moked.practice import Register, practices
from moked.settings import load_settings
from moked.voice_notes import VoiceNotes


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """As a function of what else is set."""
    monkeypatch.chdir(tmp_path)

    def make(**more):
        given = {
            "WHATSAPP": "cloud",
            "WHATSAPP_CLOUD_PHONE_ID": "100",
            "WHATSAPP_CLOUD_TOKEN": "t",
            "WHATSAPP_CLOUD_SECRET": "s",
            "DATA_DIR": str(tmp_path),
            **more,
        }
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return load_settings()

    return make


def sent_rows(engine):
    """Of the messages that were sent: whether as a voice note."""
    with Session(engine) as session:
        rows = select(OutboundMessage.voice).where(OutboundMessage.state == MessageState.SENT)
        return list(session.scalars(rows))


@pytest.mark.parametrize("aloud", [True, False])
async def test_who_speaks_is_answered_by_voice_and_sees_that_it_was_heard(settings, monkeypatch, tmp_path, aloud):
    async def hear(self, sound):
        return "הדוד לא מחמם מים" if sound == b"OggS" else None

    monkeypatch.setattr(VoiceNotes, "hear", hear)
    meta = GraphApi("100", "t")
    meta.window.add("972502345678")
    meta.media["m1"] = b"OggS"
    async with meta.running() as graph, GoogleTts(first_byte_ms=0).serving() as voice:
        options = {"WHATSAPP_VOICE_REPLIES": "voice_to_voice" if aloud else "off"}
        options |= {"WHATSAPP_READ_RECEIPTS": "on" if aloud else "off"}
        chosen = settings(WHATSAPP_CLOUD_BASE_URL=graph, TEXTTOSPEECH_EMULATOR_HOST=voice, **options)
        engine = db.connect(f"sqlite:///{tmp_path}/moked.db")
        db.migrate(engine)
        offices = practices(Register(chosen, engine, Crm(engine)))
        (business,) = offices
        rules = {name: rules_of(caps) for name, caps in written.caps(chosen).items()}
        made = written.build(chosen, offices, engine, MemoryBus(), Sealer(bytes(32)), rules)
        now = datetime.now(UTC)
        came = Inbound(CLOUD, "100", "w1", Address("tel", "+972502345678"), now, kind=Kind.VOICE, raw="m1")
        Inbox(engine).receive(business, came)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.run)
            tasks.start_soon(lambda: send_due(Outbox(engine), made.lines, speak=made.speak, every_s=0.05))
            with anyio.fail_after(30):
                while sent_rows(engine) != [aloud] or (aloud and not meta.read):
                    await anyio.sleep(0.05)
            tasks.cancel_scope.cancel()
        engine.dispose()
    assert meta.read == (["w1"] if aloud else [])
    (sent,) = meta.sent
    if aloud:
        assert recordings.from_memory(meta.media[sent["audio"]["id"]], "note.ogg")
    else:
        assert sent["text"]["body"].startswith("שלום, הגעתם לאורן אינסטלציה")
