"""The supervisors' socket: who may come, what they hear, and what becomes of a call whose person goes away."""

import asyncio
import base64
import json

import anyio
import pytest

from moked.media.supervision import SupervisionServer
from moked.media.tap import Frame
from moked.records import Order, OrderKind, Supervisor

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Call:
    def __init__(self):
        self.listeners, self.heard, self.did, self.person = [], b"", [], ""

    def listen(self, listener):
        self.listeners.append(listener)
        listener.floor(self.person)

    def leave(self, listener):
        self.listeners.remove(listener)

    def take_over(self, who):
        if self.person:
            return False
        self.person = who
        self.did.append(f"taken by {who}")
        return True

    def speak(self, audio):
        self.heard += audio

    def hand_back(self, told=""):
        self.person = ""
        self.did.append(f"back: {told}")

    def plays(self, count):
        for n in range(count):
            for listener in list(self.listeners):
                listener.hear(Frame(bytes([n % 250]) * 160, b"a" * 160))


class Page:
    """A browser's end of the socket, in this task's loop."""

    def __init__(self, server):
        self.server = server
        self.inbox = asyncio.Queue()
        self.inbox.put_nowait({"type": "websocket.connect"})
        self.sent, self.stuck = [], False

    async def run(self):
        await self.server({"type": "websocket", "headers": []}, self.inbox.get, self._send)

    async def _send(self, message):
        while self.stuck:
            await anyio.sleep(0.001)
        self.sent.append(message)

    async def says(self, event, **fields):
        self.inbox.put_nowait({"type": "websocket.receive", "text": json.dumps({"event": event, **fields})})

    async def leaves(self):
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})

    def of(self, event):
        texts = [json.loads(message["text"]) for message in self.sent if message["type"] == "websocket.send"]
        return [text for text in texts if text["event"] == event]

    @property
    def closed(self):
        return [(m["code"], m["reason"]) for m in self.sent if m["type"] == "websocket.close"]

    async def until(self, true):
        with anyio.fail_after(5):
            while not true():
                await anyio.sleep(0.001)


class Desk:
    def __init__(self, *, admits=""):
        self.call, self.notes, self.drops = Call(), [], 0

        async def redeem(token, sid):
            return {"ears": Supervisor(1, 7, "דנה", False), "voice": Supervisor(1, 8, "נועם", True)}.get(token)

        async def note(who, action, sid):
            self.notes.append((who.name, action, sid))

        def dropped():
            self.drops += 1

        self.server = SupervisionServer(
            admits=lambda scope: admits,
            redeem=redeem,
            session={"CA1": self.call}.get,
            note=note,
            dropped=dropped,
        )

    def page(self, tasks):
        page = Page(self.server)
        tasks.start_soon(page.run)
        return page


async def test_both_sides_are_heard_and_nothing_may_be_said():
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        page = desk.page(tasks)
        await page.says("start", call="CA1", token="ears")
        await page.until(lambda: page.of("floor"))
        desk.call.plays(4)
        await page.until(lambda: len(page.of("audio")) == 2)
        first = page.of("audio")[0]
        assert base64.b64decode(first["caller"]) == bytes([0]) * 160 + bytes([1]) * 160
        assert base64.b64decode(first["agent"]) == b"a" * 320
        await page.says("take_over")
        await page.says("media", payload=base64.b64encode(b"x" * 160).decode())
        await page.leaves()
    assert (desk.call.heard, desk.call.did, desk.call.listeners) == (b"", [], [])


async def test_a_person_talks_and_gives_the_call_back():
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        page, other = desk.page(tasks), desk.page(tasks)
        for one in (page, other):
            await one.says("start", call="CA1", token="voice")
            await one.until(lambda one=one: one.of("started"))
        await page.says("take_over")
        await page.until(lambda: any(one["mine"] for one in page.of("floor")))
        await other.says("take_over")
        await other.until(lambda: other.of("refused"))
        await page.says("media", payload=base64.b64encode(b"x" * 160).decode())
        await page.says("media", payload="!!!")
        await page.says("hand_back", note=" סיכמנו ")
        await page.says("media", payload=base64.b64encode(b"y" * 160).decode())
        await page.until(lambda: len(desk.call.did) == 2)
        await page.leaves()
        await other.leaves()
    assert desk.call.heard == b"x" * 160
    assert desk.call.did == ["taken by נועם", "back: סיכמנו"]
    assert desk.notes == [("נועם", "call.handed_back", "CA1")]


async def test_who_goes_away_with_a_call_gives_it_back():
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        page = desk.page(tasks)
        await page.says("start", call="CA1", token="voice")
        await page.says("take_over")
        await page.until(lambda: desk.call.person)
        await page.leaves()
    assert desk.call.did == ["taken by נועם", "back: "]
    assert desk.notes == [("נועם", "call.handed_back", "CA1")]


@pytest.mark.parametrize(
    ("messages", "closed"),
    [
        ([("start", {"call": "CA1", "token": "wrong"})], (1008, "ticket")),
        ([("start", {"call": "CA2", "token": "ears"})], (1013, "elsewhere")),
        ([("take_over", {})], (1008, "ticket")),
        ([("nonsense", {}), ("start", {"call": "CA1", "token": "x" * 5000})], (1009, "oversized")),
    ],
)
async def test_strangers_and_nonsense_are_turned_away(messages, closed):
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        page = desk.page(tasks)
        for event, fields in messages:
            await page.says(event, **fields)
        await page.until(lambda: page.closed)
    assert page.closed == [closed]
    assert desk.server.inside == 0


async def test_a_foreign_page_does_not_even_get_a_socket():
    desk = Desk(admits="foreign_origin")
    async with anyio.create_task_group() as tasks:
        page = desk.page(tasks)
        await page.until(lambda: page.closed)
    assert [message["type"] for message in page.sent] == ["websocket.close"]


async def test_who_does_not_read_holds_nobody_up_and_gets_the_newest():
    desk = Desk()
    async with anyio.create_task_group() as tasks:
        page, good = desk.page(tasks), desk.page(tasks)
        for one in (page, good):
            await one.says("start", call="CA1", token="ears")
            await one.until(lambda one=one: one.of("floor"))
        page.stuck = True
        for n in range(200):
            desk.call.plays(2)
            await good.until(lambda n=n: len(good.of("audio")) == n + 1)
        page.stuck = False
        await page.until(lambda: len(page.of("audio")) >= 25)
        desk.call.listeners[0].over()
        desk.call.listeners[1].over()
    assert desk.drops >= 170
    assert len(page.of("audio")) <= 27
    assert page.of("over")
    assert page.closed == good.closed == [(1000, "over")]


async def test_orders_find_their_call_whether_the_bus_tells_of_them_or_not():
    from moked.bus import MemoryBus
    from moked.media import orders

    waiting, did, bus = [], [], MemoryBus()

    class Told:
        def order(self, order):
            did.append(order.text)

    async def take(sids):
        found, waiting[:] = [one for one in waiting if one.call_sid in sids], []
        return found

    async with bus.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(orders.deliver, bus, lambda: ["CA1"], take, {"CA1": Told()}.get)
        for number in range(2):
            waiting.append(Order("CA1", OrderKind.WHISPER, str(number), "דנה"))
            if number:
                bus.publish(orders.TOPIC, "order", {})
            with anyio.fail_after(5):
                while len(did) <= number:
                    await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert did == ["0", "1"]
