"""The bridge's way in: who may, one at a time, events until they are acknowledged, requests both ways."""

import json

import anyio
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from moked.channels.bridge_link import BridgeLink, LinkLost, Refused

TOKEN = "secret"


class House:
    def __init__(self):
        self.heard, self.fail = [], 0
        self.link = BridgeLink(TOKEN, serve=self.serve, hear=self.hear)

    async def serve(self, method, params):
        if method != "auth.get":
            raise Refused("unknown_method", "no")
        return {"creds": "x"}

    async def hear(self, event, data):
        if self.fail:
            self.fail -= 1
            raise OSError("the database is away")
        self.heard.append((event, data))

    def dial(self, token=TOKEN, run="1"):
        headers = {"Authorization": f"Bearer {token}", "X-Bridge-Run": run}
        return connect(f"ws://127.0.0.1:{self.link.port}/", additional_headers=headers)


def event(seq):
    return json.dumps({"seq": seq, "event": "message", "data": {"n": seq}})


async def ack(socket):
    while True:
        said = json.loads(await socket.recv())
        if "ack" in said:
            return said["ack"]


async def test_who_does_not_know_the_token_stays_out():
    house = House()
    async with house.link.listening():
        for token in ("", "wrong", "secret2"):
            with pytest.raises(InvalidStatus, match="401"):
                await house.dial(token).__aenter__()
        with pytest.raises(InvalidStatus, match="401"):
            await connect(f"ws://127.0.0.1:{house.link.port}/").__aenter__()


async def test_a_second_bridge_stays_out():
    house = House()
    async with house.link.listening(), house.dial() as first:
        await first.send(event(1))
        assert await ack(first) == 1
        with pytest.raises(InvalidStatus, match="409"):
            await house.dial().__aenter__()


async def test_an_event_is_acknowledged_when_it_is_stored_and_heard_once():
    house = House()
    house.fail = 1
    async with house.link.listening():
        async with house.dial() as bridge:
            await bridge.send(event(1))
            await bridge.send(event(2))
            assert [await ack(bridge), await ack(bridge)] == [1, 2]
        async with house.dial() as again:  # the acknowledgement was lost: it tells again
            await again.send(event(2))
            await again.send(event(3))
            assert await ack(again) == 3
        async with house.dial(run="2") as another:  # another process counts anew
            await another.send(event(1))
            assert await ack(another) == 1
    assert [data["n"] for _, data in house.heard] == [1, 2, 3, 1]


async def test_requests_go_both_ways():
    house = House()
    async with house.link.listening(), house.dial() as bridge, anyio.create_task_group() as tasks:
        await bridge.send('{"id":"b1","method":"auth.get","params":{}}')
        assert json.loads(await bridge.recv()) == {"id": "b1", "result": {"creds": "x"}}
        await bridge.send('{"id":"b2","method":"rm","params":{}}')
        assert json.loads(await bridge.recv())["error"]["code"] == "unknown_method"
        answers = []

        async def ask(method):
            try:
                answers.append(await house.link.ask(method, {}))
            except (Refused, LinkLost) as error:
                answers.append(error)

        tasks.start_soon(ask, "download")
        asked = json.loads(await bridge.recv())
        head = json.dumps({"id": asked["id"], "result": {}}).encode()
        await bridge.send(len(head).to_bytes(4, "big") + head + b"sound")
        tasks.start_soon(ask, "send_text")
        asked = json.loads(await bridge.recv())
        await bridge.send(json.dumps({"id": asked["id"], "error": {"code": "closed", "message": "x"}}))
        tasks.start_soon(ask, "send_text")
        await bridge.recv()
        assert answers[0] == ({}, b"sound")
        assert answers[1].code == "closed"
        await bridge.close()
    assert isinstance(answers[2], LinkLost)


@pytest.mark.parametrize("nonsense", ["x", "[]", '{"seq":1}', b"\0\0\0\x09{}"])
async def test_a_bridge_that_talks_nonsense_is_hung_up_on(nonsense):
    house = House()
    async with house.link.listening(), house.dial() as bridge:
        await bridge.send(nonsense)
        await bridge.wait_closed()
        assert bridge.close_code == 1002


async def test_without_a_bridge_nothing_can_be_asked():
    house = House()
    async with house.link.listening():
        with pytest.raises(LinkLost):
            await house.link.ask("send_text", {})
