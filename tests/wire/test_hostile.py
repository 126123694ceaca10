"""Strangers and broken peers at the doors of the whole product, all at once, beside a caller who must not notice.

Each leaves a clear line in the log with a stable reason, and each call that began leaves a record with a lead or the
reason why there is none.
"""

import json
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import uuid4

import anyio
import httpx2
import pytest
from anyio import to_thread
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from moked.metrics import REGISTRY
from moked.simulate.carrier import Carrier
from moked.simulate.scenario import HangUp, Say
from moked.simulate.twiml import TwimlRun
from moked.simulate.wire import CarrierStream
from moked.stt.transcripts import normalise as plain
from tests.wire.house import house
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

NEED = "קוראים לי דני כהן ויש לי נזילה"
SILENT_FRAME = b"\xff" * 160


@dataclass
class Stranger:
    """One peer: it may ring, open sockets with any signature, and say anything on them."""

    home: object
    http: httpx2.AsyncClient
    number: int
    call_sid: str = field(default_factory=lambda: "CA" + uuid4().hex)
    url: str = ""
    parameters: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.setup = self.home.setup(caller=f"+97252{self.number:07}")
        self.carrier = Carrier(self.call_sid, self.setup, self.http)

    async def rings(self):
        """The webhook, properly signed: a ticket for the stream."""
        answer = await self.carrier.request("POST", self.carrier.url("/webhook/incoming_call"), {}, status="ringing")
        twiml = TwimlRun()
        twiml.load(self.setup.base_url, answer.text)
        step = twiml.step()
        self.url, self.parameters = step.url, dict(step.parameters)
        return self

    async def goes(self):
        """The carrier's word that the call is over."""
        await self.carrier.call_completed(1)

    @asynccontextmanager
    async def socket(self, signature="right"):
        headers = {"right": self.carrier.signature(self.url), "wrong": {"X-Twilio-Signature": "bm8="}, "": {}}[
            signature
        ]
        async with connect(
            self.url, additional_headers=headers, compression=None, proxy=None, max_size=None, close_timeout=1
        ) as socket:
            yield socket

    def stream(self, **parameters):
        """The carrier's side of a stream, with these `<Parameter>`s in the place of the right ones."""
        sid = "MZ" + uuid4().hex
        return CarrierStream(sid, self.call_sid, self.setup.account_sid, {**self.parameters, **parameters})

    @asynccontextmanager
    async def talking(self, **parameters):
        """An open stream that sends silence, as a telephone does."""
        async with self.socket() as socket, anyio.create_task_group() as tasks:
            stream = self.stream(**parameters)
            for message in stream.opening():
                await socket.send(message)

            async def line():
                with suppress(ConnectionClosed):
                    while True:
                        await socket.send(stream.media(SILENT_FRAME))
                        await anyio.sleep(0.02)

            tasks.start_soon(line)
            yield socket, stream
            tasks.cancel_scope.cancel()


async def end_of(socket, within_s=12):
    """Code and reason with which the server closes."""
    with anyio.fail_after(within_s):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed:
            return socket.close_code, socket.close_reason


# --- what they do; each returns how it ended for them -----------------------------------------------------------------


async def no_signature_on_the_webhook(peer):
    return await post_unsigned(peer, {})


async def wrong_signature_on_the_webhook(peer):
    return await post_unsigned(peer, {"X-Twilio-Signature": "bm8="})


async def post_unsigned(peer, headers):
    form = {"CallSid": peer.call_sid, "From": "+972521111111", "To": "+97231111111"}
    url = peer.setup.base_url + "/webhook/incoming_call"
    return (await peer.http.post(url, data=form, headers=headers)).status_code


async def no_signature_on_the_socket(peer):
    return await refused_handshake(await peer.rings(), "")


async def wrong_signature_on_the_socket(peer):
    return await refused_handshake(await peer.rings(), "wrong")


async def refused_handshake(peer, signature):
    with pytest.raises(InvalidStatus) as refusal:
        async with peer.socket(signature):
            pass
    await peer.goes()
    return refusal.value.response.status_code


async def wrong_token(peer):
    await peer.rings()
    async with peer.talking(token="x" * 43) as (socket, _):
        end = await end_of(socket)
    await peer.goes()
    return end


async def no_token(peer):
    await peer.rings()
    peer.parameters.clear()
    async with peer.talking() as (socket, _):
        end = await end_of(socket)
    await peer.goes()
    return end


async def reused_token(peer):
    """While its call runs, and after it."""
    await peer.rings()
    ends = []
    async with peer.talking() as (first, stream):
        await first.recv()  # the greeting: the ticket is used
        async with peer.talking() as (second, _):
            ends.append(await end_of(second))
        await first.send(stream.stop())
        ends.append(await end_of(first))
    async with peer.talking() as (third, _):
        ends.append(await end_of(third))
    return ends


async def another_calls_token(peer):
    """It is refused, and is still good for its own call."""
    victim = await Stranger(peer.home, peer.http, 7_000_000).rings()
    await peer.rings()
    async with peer.talking(token=victim.parameters["token"]) as (socket, _):
        end = await end_of(socket)
    await peer.goes()
    async with victim.talking() as (socket, stream):
        await socket.recv()
        await socket.send(stream.stop())
        own = await end_of(socket)
    return end, own, (await peer.home.reported(victim.call_sid))["outcome"]


async def garbage_before_the_start(peer):
    await peer.rings()
    async with peer.socket() as socket:
        with suppress(ConnectionClosed):
            for _ in range(100):
                await socket.send("{nonsense")
        end = await end_of(socket)
    await peer.goes()
    return end


async def garbage_in_the_call(peer):
    await peer.rings()
    async with peer.talking() as (socket, _):
        with suppress(ConnectionClosed):
            for _ in range(30):
                for bad in ("{nonsense", "[]", json.dumps({"event": "media", "media": {"payload": "%%%"}})):
                    await socket.send(bad)
        end = await end_of(socket)
    await peer.goes()
    return end


async def a_little_garbage_in_the_call(peer):
    """Is survived."""
    await peer.rings()
    async with peer.talking() as (socket, stream):
        for bad in ("{nonsense", "\0", "9" * 5000, '{"event":"news"}', "[" * 20_000):
            await socket.send(bad)
        await socket.send(b"\xde\xad")
        await anyio.sleep(1)
        await socket.send(stream.stop())
        return await end_of(socket)


async def ten_megabytes(peer):
    await peer.rings()
    async with peer.talking() as (socket, _):
        await socket.recv()
        with suppress(ConnectionClosed):
            await socket.send("x" * 10 * 1024 * 1024)
        end = await end_of(socket)
    await peer.goes()
    return end[0]


async def wrong_stream_sid(peer):
    await peer.rings()
    async with peer.talking() as (socket, _):
        foreign = peer.stream()
        with suppress(ConnectionClosed):
            for _ in range(60):
                await socket.send(foreign.media(SILENT_FRAME))
        end = await end_of(socket)
    await peer.goes()
    return end


async def no_start(peer):
    await peer.rings()
    async with peer.socket() as socket:
        await socket.send('{"event":"connected","protocol":"Call","version":"1.0.0"}')
        end = await end_of(socket)
    await peer.goes()
    return end


async def sudden_death(peer):
    await peer.rings()
    async with peer.talking() as (socket, _):
        await socket.recv()
        socket.transport.abort()
    await peer.goes()
    return "gone"


async def half_open(peer):
    """The other end is there no more, and nobody says so: no audio, no end."""
    await peer.rings()
    async with peer.socket() as socket:
        for message in peer.stream().opening():
            await socket.send(message)
        end = await end_of(socket)
    await peer.goes()
    return end


async def two_starts(peer):
    """Is survived."""
    await peer.rings()
    async with peer.talking() as (socket, stream):
        await socket.send(stream.opening()[1])
        await anyio.sleep(0.5)
        await socket.send(stream.stop())
        return await end_of(socket)


ENDS = {
    no_signature_on_the_webhook: 403,
    wrong_signature_on_the_webhook: 403,
    no_signature_on_the_socket: 403,
    wrong_signature_on_the_socket: 403,
    wrong_token: (1008, "ticket_unknown"),
    no_token: (1008, "no_token"),
    reused_token: [(1008, "ticket_used"), (1000, "stop"), (1008, "ticket_used")],
    another_calls_token: ((1008, "ticket_other_call"), (1000, "stop"), "caller_hung_up"),
    garbage_before_the_start: (1008, "too_many_bad"),
    garbage_in_the_call: (1008, "too_many_bad"),
    a_little_garbage_in_the_call: (1000, "stop"),
    ten_megabytes: 1009,
    wrong_stream_sid: (1008, "too_many_bad"),
    no_start: (1008, "no_start"),
    sudden_death: "gone",
    half_open: (1008, "silent"),
    two_starts: (1000, "stop"),
}
# What is on record: outcome and detail. Without an entry: nobody called.
OUTCOMES = {
    no_signature_on_the_socket: ("no_stream", "stream_never_came"),
    wrong_signature_on_the_socket: ("no_stream", "stream_never_came"),
    wrong_token: ("no_stream", "stream_never_came"),
    no_token: ("no_stream", "stream_never_came"),
    reused_token: ("caller_hung_up", "carrier_stop"),
    another_calls_token: ("no_stream", "stream_never_came"),
    garbage_before_the_start: ("no_stream", "stream_never_came"),
    garbage_in_the_call: ("broken", "too_many_bad"),
    a_little_garbage_in_the_call: ("caller_hung_up", "carrier_stop"),
    ten_megabytes: ("broken", "oversized"),
    wrong_stream_sid: ("broken", "too_many_bad"),
    no_start: ("no_stream", "stream_never_came"),
    sudden_death: ("broken", "disconnect"),
    half_open: ("broken", "silent"),
    two_starts: ("caller_hung_up", "carrier_stop"),
}
LOGGED = {
    ("request refused: it does not carry our signature", "no_signature"): 1,
    ("request refused: it does not carry our signature", "wrong_signature"): 1,
    ("media socket refused", "bad_signature"): 2,
    ("media socket closed", "ticket_unknown"): 1,
    ("media socket closed", "no_token"): 1,
    ("media socket closed", "ticket_used"): 2,
    ("media socket closed", "ticket_other_call"): 1,
    ("media socket closed", "too_many_bad"): 3,
    ("media socket closed", "oversized"): 1,
    ("media socket closed", "no_start"): 1,
    ("media socket closed", "silent"): 1,
    ("media socket closed", "disconnect"): 1,
    ("bad media message", "not_json"): 3,
    ("bad media message", "wrong_stream"): 1,
    ("bad media message", "second_start"): 1,
}


async def test_nobody_gets_in_and_nobody_else_notices(tmp_path, caplog):
    caplog.set_level("INFO")
    ends, records, neighbours = {}, {}, {}
    refusals_before = refusals()
    async with house(tmp_path) as home, httpx2.AsyncClient(trust_env=False, timeout=15) as http:

        async def neighbour(name, wait_ms):
            line = [Say(audio=says(NEED), after=wait_ms), Say(audio=says("כן")), HangUp("agent_done")]
            neighbours[name] = await home.place(line, caller=f"+97254{name:07}")

        async def attack(number, does):
            peer = Stranger(home, http, number)
            ends[does] = await does(peer)
            if does in OUTCOMES:
                records[does] = await home.reported(peer.call_sid)
            else:
                records[does] = await to_thread.run_sync(home.crm.call_report, peer.call_sid)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(neighbour, 1, 1500)
            await anyio.sleep(0.7)
            for number, does in enumerate(ENDS):
                tasks.start_soon(attack, number, does)
        await neighbour(2, 1500)  # and after all that the house is as it was
        assert home.house.media.active == 0

    for does, end in ENDS.items():
        assert (does.__name__, ends[does]) == (does.__name__, end)
        record = records[does]
        if does not in OUTCOMES:
            assert record is None, does.__name__
            continue
        assert (does.__name__, record["outcome"], record["detail"]) == (does.__name__, *OUTCOMES[does])
        assert (record["lead"] is None) == (record["lead_missing_reason"] is not None), does.__name__
        if record["outcome"] != "caller_hung_up":  # it was our end that broke, and the number is known: we call back
            assert record["lead"] is not None, does.__name__

    for placed in neighbours.values():
        assert plain(placed.said) == f"{NEED} כן"
        assert placed.report["outcome"] == "caller_hung_up"
        assert placed.report["lead"]["name"] == "דני כהן"
        assert not placed.result.refused
        assert placed.result.greeting_ms < 300
        assert all(turn.response_ms is not None and turn.response_ms < 3000 for turn in placed.result.turns)

    logged = [(record.message, getattr(record, "reason", "")) for record in caplog.records]
    assert {line: logged.count(line) for line in LOGGED} == LOGGED
    assert not [record for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")]
    counted = {reason: count - refusals_before.get(reason, 0) for reason, count in refusals().items()}
    assert {reason: count for reason, count in counted.items() if count} == {
        "bad_signature": 2,
        "no_start": 1,
        "no_token": 1,
        "oversized": 1,
        "silent": 1,
        "ticket_other_call": 1,
        "ticket_unknown": 1,
        "ticket_used": 2,
        "too_many_bad": 3,
    }


def refusals():
    return {
        sample.labels["reason"]: sample.value
        for metric in REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "moked_socket_refusals_total"
    }
