"""Events of all calls of a business: said twice, watched by who may, and replayed from the last id."""

import anyio
import httpx2
import pytest

from moked import asgi
from moked.board import BoardBus, topic
from moked.bus import MemoryBus
from moked.crm.live_words import LiveWords
from moked.crm.redaction import Policy
from tests.serving import serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


def board_bus(bus, business):
    return BoardBus(bus, business, LiveWords(Policy()))


async def test_what_is_said_of_a_call_is_said_on_the_board_too():
    bus = MemoryBus()
    board = board_bus(bus, 7)
    async with board.subscribe(topic(7)) as events, board.subscribe("call:CA1") as call:
        board.publish("call:CA1", "turn.partial", {"text": "a"})
        board.publish("rollout", "changed", {})
        board.publish("call:CA2", "call.ended", {})
        assert (await anext(call)).data == {"text": "a"}
        assert [(await anext(events)).data, (await anext(events)).data] == [
            {"call": "CA1", "text": "a"},
            {"call": "CA2"},
        ]


async def test_neither_the_call_nor_the_board_tells_a_card_number():
    bus = MemoryBus()
    board = board_bus(bus, 7)
    async with board.subscribe(topic(7)) as events, board.subscribe("call:CA1") as call:
        board.publish("call:CA1", "turn.partial", {"text": "הכרטיס הוא 4580 1234"})
        assert (await anext(call)).data == {"text": "הכרטיס הוא [כרטיס]"}
        assert (await anext(events)).data == {"call": "CA1", "text": "הכרטיס הוא [כרטיס]"}


async def _lines(answer, count):
    found = []
    async for line in answer.aiter_lines():
        if line.startswith(("id:", "data:", "event:")):
            found.append(line)
        if len(found) == 3 * count:
            return found
    raise AssertionError("the stream ended")


async def test_a_viewer_comes_back_to_what_it_missed_and_sees_its_own_business_alone():
    bus = MemoryBus()
    app = asgi.build(ready=dict, board=bus, board_of={"mine": 7, "theirs": 8}.get)
    async with serving(app) as url, httpx2.AsyncClient(base_url=url, timeout=5) as client:
        for cookies in ({}, {"moked_session": "gone"}):
            client.cookies = httpx2.Cookies(cookies)
            assert (await client.get("/board/events")).status_code == 401
        client.cookies = httpx2.Cookies({"moked_session": "mine"})
        with anyio.fail_after(5):
            async with client.stream("GET", "/board/events") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                board_bus(bus, 8).publish("call:CX", "turn.partial", {"text": "theirs"})
                board_bus(bus, 7).publish("call:CA", "turn.partial", {"text": "one"})
                first = await _lines(answer, 1)
            assert first[1:] == ["event: turn.partial", 'data: {"call":"CA","text":"one"}']
            board_bus(bus, 7).publish("call:CA", "turn.partial", {"text": "two"})
            headers = {"Last-Event-ID": first[0].removeprefix("id: ")}
            async with client.stream("GET", "/board/events", headers=headers) as answer:
                assert (await _lines(answer, 1))[2] == 'data: {"call":"CA","text":"two"}'


async def test_a_stream_ends_now_and_then_so_that_an_ended_session_is_out(monkeypatch):
    monkeypatch.setattr(asgi, "BOARD_STREAM_S", -1)
    bus = MemoryBus()
    app = asgi.build(ready=dict, board=bus, board_of=lambda session: 7)
    async with (
        serving(app) as url,
        httpx2.AsyncClient(base_url=url, timeout=5) as client,
        client.stream("GET", "/board/events") as answer,
    ):
        lines = answer.aiter_lines()
        await anext(lines)
        board_bus(bus, 7).publish("call:CA", "turn.partial", {})
        assert [line async for line in lines][-2].startswith("data:")
