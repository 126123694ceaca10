"""One suite, every official channel: against the REST emulators, on real HTTP."""

from contextlib import asynccontextmanager

import pytest

from emulators.graph_api import GraphApi
from emulators.twilio_rest import Fault, TwilioRest
from moked.channels import CLOUD, TWILIO_SMS, TWILIO_WHATSAPP, Address, Link, MessageState, Outbound, Template
from moked.channels.official import CloudChannel, TwilioChannel
from moked.errors import ProviderError

RUTI = Address("tel", "+972502345678")
SID, TOKEN = "AC" + "1" * 32, "token"


def out(text="שלום רותי", **more):
    return Outbound("3EB0AA", RUTI, text, **more)


class Cloud:
    kind = CLOUD

    def __init__(self):
        self.server = GraphApi("100", TOKEN)
        self.server.window.add("972502345678")

    def channel(self, base, token=TOKEN):
        return CloudChannel("100", token, base_url=base)

    @property
    def texts(self):
        return [(body["to"], body["text"]["body"]) for body in self.server.sent]

    @property
    def templates(self):
        return [
            (one["template"]["name"], [value["text"] for value in one["template"]["components"][0]["parameters"]])
            for one in self.server.sent
        ]

    too_fast, gone = Fault(400, 130429), Fault(400, 131026)

    def close_window(self):
        self.server.window.clear()


class Twilio:
    too_fast, gone = Fault(429, 20429), Fault(400, 21211)

    def __init__(self, kind):
        self.kind = kind
        self.server = TwilioRest(SID, TOKEN)

    def channel(self, base, token=TOKEN):
        return TwilioChannel(self.kind, "+97233333333", SID, token, base_url=base, callback="https://x.example/cb")

    @property
    def texts(self):
        return [(form["To"].removeprefix("whatsapp:").removeprefix("+"), form["Body"]) for form in self.server.messages]

    @property
    def templates(self):
        return [(form["ContentSid"], form["ContentVariables"]) for form in self.server.messages]

    def close_window(self):
        self.server.faults.append(Fault(400, 63016))


@pytest.fixture(params=[CLOUD, TWILIO_WHATSAPP, TWILIO_SMS])
def carrier(request):
    return Cloud() if request.param == CLOUD else Twilio(request.param)


@asynccontextmanager
async def served(carrier, **more):
    async with carrier.server.running() as base:
        channel = carrier.channel(base, **more)
        yield channel
        await channel._client.aclose()


async def test_a_message_is_sent_and_has_the_carriers_id(carrier):
    async with served(carrier) as channel:
        result = await channel.send(out())
        assert (result.state, bool(result.provider_id)) == (MessageState.SENT, True)
        assert carrier.texts == [("972502345678", "שלום רותי")]
        assert channel.health().state is Link.OPEN
        assert channel.kind == carrier.kind


async def test_who_cannot_be_reached_has_failed(carrier):
    async with served(carrier) as channel:
        carrier.server.faults.append(carrier.gone)
        result = await channel.send(out())
        assert (result.state, result.error) == (MessageState.FAILED, "no_such_address")


async def test_too_fast_is_later(carrier):
    async with served(carrier) as channel:
        carrier.server.faults.append(carrier.too_fast)
        assert (await channel.send(out())).state is MessageState.QUEUED
        assert (await channel.send(out())).state is MessageState.SENT


@pytest.mark.parametrize("fault", [Fault(cut=True), Fault(500, 1)])
async def test_an_answer_that_does_not_come_is_not_asked_for_twice(carrier, fault):
    async with served(carrier) as channel:
        carrier.server.faults.append(fault)
        result = await channel.send(out())
        assert (result.state, result.error) == (MessageState.FAILED, "outcome_unknown")
        assert channel.caps.idempotent is False


async def test_a_carrier_that_is_not_there_is_tried_again(carrier):
    channel = carrier.channel("http://127.0.0.1:9")
    assert (await channel.send(out())).state is MessageState.QUEUED
    await channel._client.aclose()


async def test_a_wrong_token_waits_and_shows(carrier):
    async with served(carrier, token="wrong") as channel:
        assert (await channel.send(out())).state is MessageState.QUEUED
        assert (channel.health().state, channel.health().error) == (Link.FAILED, "unauthorized")


async def test_after_a_day_only_a_template_reaches_them(carrier):
    if carrier.kind == TWILIO_SMS:
        pytest.skip("TWILIO_SMS has no such window")
    async with served(carrier) as channel:
        assert channel.caps.free_window_s == 24 * 3600
        carrier.close_window()
        assert (await channel.send(out())).error == "outside_window"
        sent = await channel.send(out("", template=Template("HX1", "he", ("רותי", "מחר"))))
        assert sent.state is MessageState.SENT
        ((name, values),) = carrier.templates
        assert name == "HX1"
        assert "רותי" in values or "רותי" in "".join(values)


async def test_a_voice_note_of_the_cloud_is_fetched():
    carrier = Cloud()
    carrier.server.media["m1"] = b"OggS"
    async with served(carrier) as channel:
        assert await channel.fetch("m1") == b"OggS"
        with pytest.raises(ProviderError, match="404"):
            await channel.fetch("m2")


async def test_our_credentials_go_to_twilio_alone():
    carrier = Twilio(TWILIO_WHATSAPP)
    async with served(carrier) as channel:
        with pytest.raises(ProviderError, match="not an address"):
            await channel.fetch("http://127.0.0.1:1/steal")
