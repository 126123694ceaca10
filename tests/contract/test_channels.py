"""One suite, every channel people write to us by: official ones against the REST emulators, on real HTTP; the linked
device against a bridge that is in this process, on the real link."""

import base64
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import anyio
import pytest

from emulators.graph_api import GraphApi
from emulators.twilio_rest import Fault, TwilioRest
from moked.channels import (
    BAILEYS,
    CLOUD,
    MEDIA_REFUSED,
    TWILIO_SMS,
    TWILIO_WHATSAPP,
    Address,
    Inbound,
    Kind,
    Link,
    MessageState,
    Outbound,
    Report,
    Template,
    VoiceNote,
)
from moked.channels.baileys import BaileysChannel, Bridge
from moked.channels.official import CloudChannel, TwilioChannel
from moked.channels.official_webhooks import of_meta, of_twilio
from moked.errors import ProviderError
from tests.contract.linked_device import LinkedDevice

RUTI = Address("tel", "+972502345678")
SID, TOKEN = "AC" + "1" * 32, "token"


NOTE = VoiceNote(b"OggS and more", 1400, bytes(64))


def out(text="שלום רותי", **more):
    return Outbound("3EB0AA", RUTI, text, **more)


class Cloud:
    kind = CLOUD
    gone = "no_such_address"

    def __init__(self):
        self.server = GraphApi("100", TOKEN)
        self.server.window.add("972502345678")

    @asynccontextmanager
    async def served(self, token=TOKEN):
        async with self.server.running() as base:
            channel = CloudChannel("100", token, base_url=base)
            yield channel
            await channel._client.aclose()

    def away(self):
        return CloudChannel("100", TOKEN, base_url="http://127.0.0.1:9")

    @property
    def texts(self):
        return [(body["to"], body["text"]["body"]) for body in self.server.sent if body["type"] == "text"]

    @property
    def notes(self):
        found = [body["audio"] for body in self.server.sent if body["type"] == "audio"]
        assert all(audio["voice"] for audio in found)
        return [self.server.media[audio["id"]] for audio in found]

    @property
    def templates(self):
        return [
            (one["template"]["name"], [value["text"] for value in one["template"]["components"][0]["parameters"]])
            for one in self.server.sent
        ]

    def nobody_there(self):
        self.server.faults.append(Fault(400, 131026))

    def not_now(self):
        self.server.faults.append(Fault(400, 130429))

    def answer_lost(self):
        self.server.faults.append(Fault(cut=True))

    def deaf(self):
        self.server.deaf = True

    def close_window(self):
        self.server.window.clear()

    async def account_refused(self):
        self.server._token = "another"

    def keep(self, sound):
        self.server.media["m1"] = sound
        return "m1"

    @property
    def read(self):
        return self.server.read

    async def told(self, text, provider_id):
        one = {"id": "w1", "from": "972502345678", "timestamp": "1795343400", "type": "text", "text": {"body": text}}
        status = {"id": provider_id, "status": "read"}
        who = [{"wa_id": "972502345678", "profile": {"name": "רותי"}}]
        return of_meta(self.server.webhook(messages=[one], contacts=who, statuses=[status]), "100")


class Twilio:
    gone = "no_such_address"
    read = ()

    def __init__(self, kind):
        self.kind = kind
        self.server = TwilioRest(SID, TOKEN)

    def _channel(self, base, token=TOKEN):
        return TwilioChannel(self.kind, "+97233333333", SID, token, base_url=base, callback="https://x.example/cb")

    @asynccontextmanager
    async def served(self, token=TOKEN):
        async with self.server.running() as base:
            channel = self._channel(base, token)
            yield channel
            await channel._client.aclose()

    def away(self):
        return self._channel("http://127.0.0.1:9")

    @property
    def texts(self):
        return [(form["To"].removeprefix("whatsapp:").removeprefix("+"), form["Body"]) for form in self.server.messages]

    @property
    def templates(self):
        return [(form["ContentSid"], form["ContentVariables"]) for form in self.server.messages]

    def nobody_there(self):
        self.server.faults.append(Fault(400, 21211))

    def not_now(self):
        self.server.faults.append(Fault(429, 20429))

    def answer_lost(self):
        self.server.faults.append(Fault(cut=True))

    def close_window(self):
        self.server.faults.append(Fault(400, 63016))

    async def account_refused(self):
        self.server._credentials = b"another"

    async def told(self, text, provider_id):
        who = "whatsapp:+972502345678" if self.kind == TWILIO_WHATSAPP else "+972502345678"
        us = who.replace("+972502345678", "+97233333333")
        came = {"MessageSid": "SM9", "From": who, "To": us, "Body": text, "ProfileName": "רותי"}
        report = {"MessageSid": provider_id, "MessageStatus": "read", "From": us, "To": who}
        now = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
        return [of_twilio(came, now), of_twilio(report, now)]


class Device:
    kind = BAILEYS
    gone = "reachout_limited"

    def __init__(self):
        self.server = LinkedDevice()

    def served(self):
        return self.server.running()

    def away(self):
        return BaileysChannel(Bridge(command=()), self.server.store)

    @property
    def texts(self):
        return [(jid.partition("@")[0], text) for jid, text, voice in self.server.sent.values() if voice is None]

    @property
    def notes(self):
        return [voice["sound"] for _, _, voice in self.server.sent.values() if voice is not None]

    def nobody_there(self):
        self.server.errors.append("463")

    def not_now(self):
        self.server.errors.append("closed")

    def answer_lost(self):
        self.server.errors.append("silent")

    def deaf(self):
        self.server.deaf = True

    async def account_refused(self):
        await self.server.tell("state", state="closed", code=401, paired=True)

    def keep(self, sound):
        self.server.media["m1"] = sound
        return base64.b64encode(b"m1").decode()

    @property
    def read(self):
        return self.server.read

    async def told(self, text, provider_id):
        jid = "972502345678@s.whatsapp.net"
        await self.server.tell(
            "message", id="3A1", jid=jid, alt="", name="רותי", at=1795343400, kind="text", text=text, raw=""
        )
        await self.server.tell("report", id=provider_id, state="read", error="")
        return self.server.heard


KINDS = {
    CLOUD: Cloud,
    TWILIO_WHATSAPP: partial(Twilio, TWILIO_WHATSAPP),
    TWILIO_SMS: partial(Twilio, TWILIO_SMS),
    BAILEYS: Device,
}


@pytest.fixture(params=KINDS)
def carrier(request):
    return KINDS[request.param]()


@pytest.fixture(params=[CLOUD, TWILIO_WHATSAPP])
def official(request):
    return KINDS[request.param]()


@pytest.fixture(params=[CLOUD, BAILEYS])
def spoken(request):
    return KINDS[request.param]()


async def test_a_message_is_sent_and_has_the_carriers_id(carrier):
    async with carrier.served() as channel:
        result = await channel.send(out())
        assert (result.state, bool(result.provider_id), result.voice) == (MessageState.SENT, True, False)
        assert carrier.texts == [("972502345678", "שלום רותי")]
        assert channel.health().state is Link.OPEN
        assert channel.kind == carrier.kind


async def test_what_they_write_and_how_far_ours_came_is_told(carrier):
    async with carrier.served() as channel:
        sent = await channel.send(out())
        came, report = await carrier.told("המזגן מטפטף", sent.provider_id)
        assert isinstance(came, Inbound)
        assert (came.channel, came.address, came.name, came.kind) == (carrier.kind, RUTI, "רותי", Kind.TEXT)
        assert (came.text, bool(came.provider_id)) == ("המזגן מטפטף", True)
        assert report == Report(carrier.kind, sent.provider_id, MessageState.READ)


async def test_who_cannot_be_reached_has_failed(carrier):
    async with carrier.served() as channel:
        carrier.nobody_there()
        result = await channel.send(out())
        assert (result.state, result.error) == (MessageState.FAILED, carrier.gone)
        assert carrier.texts == []


async def test_what_cannot_be_taken_now_is_later(carrier):
    async with carrier.served() as channel:
        carrier.not_now()
        assert (await channel.send(out())).state is MessageState.QUEUED
        assert carrier.texts == []
        assert (await channel.send(out())).state is MessageState.SENT


async def test_an_answer_that_does_not_come_makes_no_second_message(carrier):
    """Where the carrier knows our key it is the same message; elsewhere it is not sent again."""
    async with carrier.served() as channel:
        carrier.answer_lost()
        result = await channel.send(out())
        if not channel.caps.idempotent:
            assert (result.state, result.error) == (MessageState.FAILED, "outcome_unknown")
            return
        assert result.state is MessageState.QUEUED
        with anyio.fail_after(10):
            while (await channel.send(out())).state is not MessageState.SENT:
                await anyio.sleep(0.01)
        assert carrier.texts == [("972502345678", "שלום רותי")]


async def test_a_server_that_breaks_is_not_asked_twice(official):
    async with official.served() as channel:
        official.server.faults.append(Fault(500, 1))
        result = await channel.send(out())
        assert (result.state, result.error) == (MessageState.FAILED, "outcome_unknown")


async def test_a_carrier_that_is_not_there_is_tried_again(carrier):
    channel = carrier.away()
    assert (await channel.send(out())).state is MessageState.QUEUED
    if channel.caps.read:
        assert not await channel.read(RUTI, ("3A1",))
    if isinstance(channel, CloudChannel | TwilioChannel):
        await channel._client.aclose()


async def test_an_account_that_is_refused_waits_and_shows(carrier):
    async with carrier.served() as channel:
        await carrier.account_refused()
        with anyio.fail_after(10):
            while (await channel.send(out())).state is not MessageState.QUEUED:
                await anyio.sleep(0.01)
        assert channel.health().state in (Link.FAILED, Link.UNPAIRED)
        assert channel.health().error in ("unauthorized", "logged_out")


async def test_after_a_day_only_a_template_reaches_them(official):
    async with official.served() as channel:
        assert channel.caps.free_window_s == 24 * 3600
        official.close_window()
        assert (await channel.send(out())).error == "outside_window"
        sent = await channel.send(out("", template=Template("HX1", "he", ("רותי", "מחר"))))
        assert sent.state is MessageState.SENT
        ((name, values),) = official.templates
        assert name == "HX1"
        assert "רותי" in values or "רותי" in "".join(values)


async def test_an_answer_is_heard_where_the_channel_can_and_else_read(carrier):
    async with carrier.served() as channel:
        result = await channel.send(replace(out(), voice=NOTE))
        assert (result.state, result.voice) == (MessageState.SENT, channel.caps.voice_replies)
        if channel.caps.voice_replies:
            assert (carrier.notes, carrier.texts) == ([NOTE.sound], [])
        else:
            assert carrier.texts == [("972502345678", "שלום רותי")]


async def test_where_its_sound_is_not_taken_an_answer_is_read(spoken):
    async with spoken.served() as channel:
        spoken.deaf()
        result = await channel.send(replace(out(), voice=NOTE))
        assert (result.state, result.voice) == (MessageState.SENT, False)
        assert (spoken.notes, spoken.texts) == ([], [("972502345678", "שלום רותי")])


async def test_a_voice_note_of_theirs_is_fetched(spoken):
    async with spoken.served() as channel:
        assert channel.caps.voice_notes
        assert await channel.fetch(spoken.keep(b"OggS")) == b"OggS"
        with pytest.raises(ProviderError):
            await channel.fetch(base64.b64encode(b"m2").decode())


async def test_who_wrote_is_told_that_it_was_read(carrier):
    async with carrier.served() as channel:
        assert await channel.read(RUTI, ("3A1", "3A2"))
        assert (carrier.read[-1:] == ["3A2"]) is channel.caps.read


async def test_a_sound_that_meta_cannot_use_is_said_to_be_that():
    carrier = Cloud()
    async with carrier.served() as channel:
        failed = of_meta(
            carrier.server.webhook(statuses=[{"id": "w", "status": "failed", "errors": [{"code": 131053}]}]), "100"
        )
        assert failed == [Report(CLOUD, "w", MessageState.FAILED, MEDIA_REFUSED)]
        carrier.server.faults.append(Fault(400, 131053))
        assert (await channel.send(out())).error == MEDIA_REFUSED


async def test_our_credentials_go_to_twilio_alone():
    carrier = Twilio(TWILIO_WHATSAPP)
    async with carrier.served() as channel:
        with pytest.raises(ProviderError, match="not an address"):
            await channel.fetch("http://127.0.0.1:1/steal")
