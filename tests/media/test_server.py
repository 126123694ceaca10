"""The door and the life of a socket, without a network: an ASGI driver and virtual time."""

import base64
import json
import logging
from contextlib import asynccontextmanager

import anyio
import pytest

from moked.log import call_id
from moked.media.server import Gone, Limits, MediaServer
from moked.media.twilio import Dtmf, Mark, Media, Stop
from moked.records import CallStart
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio

ACCOUNT = "AC1"


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Refused:
    def __init__(self, reason):
        self.reason = reason


class Tickets:
    """A ticket `ticket-CA1` is good for call CA1, once."""

    def __init__(self):
        self.used = set()
        self.delay = 0.0
        self.error = None

    async def redeem(self, token, call_sid):
        await anyio.sleep(self.delay)
        if self.error is not None:
            raise self.error
        if not token.startswith("ticket-"):
            return Refused("unknown")
        if not token.startswith(f"ticket-{call_sid}"):
            return Refused("other_call")
        if token in self.used:
            return Refused("used")
        self.used.add(token)
        return CallStart(call_sid, ACCOUNT, "+972502345678", "+97231234567")


class EchoSession:
    """Sends all audio back. `fail_on` an event type makes `handle` raise, `fail` makes `run` raise."""

    made = []

    def __init__(self, start, call, outlet):
        self.start, self.call, self.outlet = start, call, outlet
        self.events = []
        self.over = anyio.Event()
        self.waiting = []
        self.news = anyio.Event()
        self.fail = None
        self.fail_on = None
        self.linger = 0.0
        self.careless = False  # about dead sockets
        self.finished = self.cancelled = False
        self.logged_as = ""
        self.why = None
        EchoSession.made.append(self)

    def handle(self, event):
        assert not self.finished
        if self.fail_on is not None and isinstance(event, self.fail_on):
            raise RuntimeError("handle broke")
        self.events.append(event)
        if isinstance(event, Media):
            self.waiting.append(self.outlet.media(event.audio))
        if isinstance(event, Stop | Gone):
            self.over.set()
        self.news.set()

    def move(self):
        self.why = "moving"
        self.over.set()
        self.news.set()

    async def run(self):
        self.logged_as = call_id.get()
        try:
            while not self.over.is_set():
                await self.news.wait()
                self.news = anyio.Event()
                if self.fail is not None:
                    raise self.fail
                while self.waiting:
                    try:
                        await self.outlet.send(self.waiting.pop(0))
                    except anyio.BrokenResourceError:
                        if self.careless:
                            raise
                        await self.over.wait()
            await anyio.sleep(self.linger)
            return self.why
        except anyio.get_cancelled_exc_class():
            self.cancelled = True
            raise
        finally:
            self.finished = True

    @property
    def gone(self):
        return [event for event in self.events if isinstance(event, Gone)]


class Peer:
    """The other end: what it `say`s is received, what is sent to it lands in `heard`."""

    def __init__(self, app, headers):
        self._app = app
        self._scope = {
            "type": "websocket",
            "path": "/media/twilio",
            "headers": headers,
            "client": ("127.0.0.1", 5),
            "extensions": {"websocket.http.response": {}},
        }
        self._in, self._inbox = anyio.create_memory_object_stream(1000)
        self.sent = []
        self.done = anyio.Event()
        self.stuck = False  # takes nothing any more
        self.closed_at = None
        self.chunk = 0

    async def run(self):
        with self._in, self._inbox:
            self._in.send_nowait({"type": "websocket.connect"})
            await self._app(self._scope, self._inbox.receive, self._send)
        self.done.set()

    async def _send(self, message):
        if self.stuck:
            await anyio.sleep_forever()
        self.sent.append(message)
        if message["type"] == "websocket.close":
            self.closed_at = anyio.current_time()

    def say(self, message):
        self._in.send_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    def raw(self, **content):
        self._in.send_nowait({"type": "websocket.receive", **content})

    def vanish(self, code=1005):
        self._in.send_nowait({"type": "websocket.disconnect", "code": code})

    def start(self, sid="CA1", token=None, account=ACCOUNT, sound="audio/x-mulaw"):
        parameters = {"token": f"ticket-{sid}" if token is None else token}
        self.say(
            {
                "event": "start",
                "sequenceNumber": "1",
                "streamSid": f"MZ{sid}",
                "start": {
                    "accountSid": account,
                    "streamSid": f"MZ{sid}",
                    "callSid": sid,
                    "tracks": ["inbound"],
                    "mediaFormat": {"encoding": sound, "sampleRate": 8000, "channels": 1},
                    "customParameters": parameters if parameters["token"] else {},
                },
            }
        )

    def media(self, audio=b"\x00" * 160, sid="CA1"):
        self.chunk += 1
        payload = base64.b64encode(audio).decode()
        body = {"track": "inbound", "chunk": str(self.chunk), "timestamp": str(20 * self.chunk), "payload": payload}
        self.say({"event": "media", "sequenceNumber": "2", "streamSid": f"MZ{sid}", "media": body})

    def stop(self, sid="CA1"):
        self.say({"event": "stop", "streamSid": f"MZ{sid}", "stop": {"accountSid": ACCOUNT, "callSid": sid}})

    async def talk(self, seconds):
        for _ in range(int(seconds * 50)):
            await anyio.sleep(0.02)
            if not self.done.is_set():
                self.media()

    @property
    def close(self):
        """Code and reason we closed with, or None."""
        return next(((m["code"], m["reason"]) for m in self.sent if m["type"] == "websocket.close"), None)

    @property
    def echoed(self):
        texts = [json.loads(m["text"]) for m in self.sent if m["type"] == "websocket.send"]
        return [base64.b64decode(m["media"]["payload"]) for m in texts if m["event"] == "media"]


class House:
    def __init__(self, tasks, **options):
        self.tasks = tasks
        self.tickets = Tickets()
        self.counted = []
        self.sessions = EchoSession.made = []
        self.server = MediaServer(
            **{
                "sessions": EchoSession,
                "redeem": self.tickets.redeem,
                "signature_ok": lambda header: header == "good",
                "account_sid": ACCOUNT,
                "count": lambda name, **labels: self.counted.append((name, labels["reason"])),
                **options,
            }
        )

    async def connect(self, headers=((b"x-twilio-signature", b"good"),)):
        peer = Peer(self.server, list(headers))
        self.tasks.start_soon(peer.run)
        await anyio.wait_all_tasks_blocked()
        return peer

    async def call(self, sid="CA1"):
        peer = await self.connect()
        peer.say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        peer.start(sid)
        await anyio.wait_all_tasks_blocked()
        return peer, self.sessions[-1]


@asynccontextmanager
async def house(**options):
    async with anyio.create_task_group() as tasks:
        yield (opened := House(tasks, **options))
        tasks.cancel_scope.cancel()
    assert opened.server.active == 0
    assert opened.server.call_sids == []


async def test_a_call_from_start_to_stop():
    async with house() as home:
        peer, session = await home.call()
        assert peer.sent[0] == {"type": "websocket.accept"}
        assert home.server.call_sids == ["CA1"]
        peer.media(b"\x01\x02")
        peer.say({"event": "dtmf", "streamSid": "MZCA1", "dtmf": {"track": "inbound_track", "digit": "5"}})
        peer.say({"event": "mark", "streamSid": "MZCA1", "mark": {"name": "m"}})
        peer.stop()
        await peer.done.wait()
        assert session.events == [Media(b"\x01\x02", 20, 1, 2), Dtmf("5"), Mark("m"), Stop()]
        assert session.call.caller == "+972502345678"
        assert session.start.stream_sid == "MZCA1"
        assert session.logged_as == "CA1"
        assert session.finished
        assert not session.cancelled
        assert peer.close == (1000, "stop")
        assert home.counted == []


async def test_a_session_that_is_done_closes_the_socket():
    async with house() as home:
        peer, session = await home.call()
        session.over.set()
        session.news.set()
        await peer.done.wait()
        assert peer.close == (1000, "done")
        assert session.gone == []


async def test_audio_comes_back_on_the_right_stream():
    async with house() as home:
        peer, _ = await home.call()
        peer.media(b"\x05" * 160)
        await anyio.wait_all_tasks_blocked()
        assert peer.echoed == [b"\x05" * 160]
        assert json.loads(peer.sent[-1]["text"])["streamSid"] == "MZCA1"


# --- the door -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [(), ((b"x-twilio-signature", b"bad"),), ((b"x-twilio-signature", b"\xff\xfe"),)])
async def test_no_signature_no_handshake(headers):
    async with house() as home:
        peer = await home.connect(headers)
        await peer.done.wait()
        assert [message["type"] for message in peer.sent] == ["websocket.close"]
        assert home.counted == [("refused", "bad_signature")]


async def test_a_full_house_says_so_with_503():
    async with house(max_calls=1) as home:
        await home.call()
        peer = await home.connect()
        await peer.done.wait()
        assert peer.sent[0]["type"] == "websocket.http.response.start"
        assert peer.sent[0]["status"] == 503
        assert home.counted == [("refused", "full")]


async def test_plain_http_is_told_to_upgrade():
    async with house() as home:
        sent = []

        async def send(message):
            sent.append(message)

        await home.server({"type": "http", "headers": []}, None, send)
        assert sent[0]["status"] == 426


# --- before the call ------------------------------------------------------------------------------------------------


async def test_no_start_in_five_seconds():
    async with house() as home:
        before = anyio.current_time()
        peer = await home.connect()
        peer.say({"event": "connected"})
        await peer.done.wait()
        assert peer.close == (1008, "no_start")
        assert peer.closed_at - before == pytest.approx(5, abs=0.1)
        assert home.sessions == []


@pytest.mark.parametrize(
    ("start", "close"),
    [
        ({"token": ""}, (1008, "no_token")),
        ({"token": "nonsense"}, (1008, "ticket_unknown")),
        ({"token": "ticket-CA2"}, (1008, "ticket_other_call")),
        ({"account": "AC2"}, (1008, "wrong_account")),
        ({"sound": "audio/x-l16"}, (1008, "wrong_format")),
    ],
)
async def test_a_start_that_is_not_ours_is_closed_with_its_reason(start, close):
    async with house() as home:
        peer = await home.connect()
        peer.start(**start)
        await peer.done.wait()
        assert peer.close == close
        assert home.sessions == []
        assert ("refused", close[1]) in home.counted


async def test_a_ticket_works_once():
    async with house() as home:
        first, _ = await home.call()
        first.stop()
        await first.done.wait()
        second = await home.connect()
        second.start()
        await second.done.wait()
        assert second.close == (1008, "ticket_used")


async def test_one_socket_a_call_and_the_newest_has_it():
    async with house() as home:
        first, session = await home.call()
        second = await home.connect()
        second.start(token="ticket-CA1-again")
        await first.done.wait()
        assert (first.close, session.gone) == ((1008, "replaced"), [Gone("replaced")])
        assert home.server.call_sids == ["CA1"]
        second.media()
        await anyio.wait_all_tasks_blocked()
        assert len(second.echoed) == 1
        second.stop()
        await second.done.wait()


async def test_calls_are_let_go_to_another_process():
    async with house() as home:
        peer, session = await home.call()
        await home.connect()  # no call yet: nothing to let go
        home.server.move()
        await peer.done.wait()
        assert (peer.close, session.gone) == ((1001, "moving"), [])  # it knows
        assert home.counted == []


@pytest.mark.parametrize("broken", ["slow", "raises"])
async def test_tickets_that_cannot_be_looked_up_are_our_fault(broken, caplog):
    async with house() as home:
        home.tickets.delay = 60.0 if broken == "slow" else 0.0
        home.tickets.error = OSError("the database is away")
        peer = await home.connect()
        peer.start()
        await peer.done.wait()
        assert peer.close == (1011, "ticket_unavailable")


async def test_a_peer_that_leaves_before_start():
    async with house() as home:
        peer = await home.connect()
        peer.vanish()
        await peer.done.wait()
        assert peer.close is None
        assert home.counted == []


# --- during the call ------------------------------------------------------------------------------------------------


async def test_silence_of_the_carrier_ends_the_call():
    async with house() as home:
        peer, session = await home.call()
        await peer.talk(10)
        last = anyio.current_time()
        await peer.done.wait()
        assert peer.close == (1008, "silent")
        assert peer.closed_at - last == pytest.approx(3.5, abs=0.1)
        assert session.gone == [Gone("silent")]


async def test_marks_alone_are_not_a_sign_of_life():
    async with house() as home:
        peer, _ = await home.call()
        for _ in range(60):
            await anyio.sleep(0.1)
            if not peer.done.is_set():
                peer.say({"event": "mark", "streamSid": "MZCA1", "mark": {"name": "m"}})
        await peer.done.wait()
        assert peer.close == (1008, "silent")


async def test_fifty_bad_messages_are_survived_and_one_more_is_not():
    async with house() as home:
        peer, session = await home.call()
        for _ in range(50):
            peer.raw(text="garbage")
        peer.media()
        await anyio.wait_all_tasks_blocked()
        assert len(peer.echoed) == 1
        peer.media(sid="CA2")  # a foreign stream
        await peer.done.wait()
        assert peer.close == (1008, "too_many_bad")
        assert session.gone == [Gone("too_many_bad")]
        assert home.counted.count(("bad_message", "not_json")) == 50
        assert home.counted.count(("bad_message", "wrong_stream")) == 1


async def test_news_from_twilio_does_not_end_a_call():
    async with house() as home:
        peer, _ = await home.call()
        for _ in range(500):
            peer.say({"event": "weather", "streamSid": "MZCA1"})
        peer.media()
        await anyio.wait_all_tasks_blocked()
        assert len(peer.echoed) == 1
        assert home.counted.count(("bad_message", "unknown_event")) == 500


async def test_an_oversized_message_ends_the_call():
    async with house() as home:
        peer, session = await home.call()
        peer.raw(text="x" * 70_000)
        await peer.done.wait()
        assert peer.close == (1009, "oversized")
        assert session.gone == [Gone("oversized")]


async def test_binary_frames_are_read_like_text():
    async with house() as home:
        peer, _ = await home.call()
        peer.raw(bytes=b"\x00\x01\xff")
        peer.raw(bytes=None, text=None)
        payload = base64.b64encode(b"\x07").decode()
        message = {"event": "media", "streamSid": "MZCA1", "media": {"chunk": 9, "timestamp": 9, "payload": payload}}
        peer.raw(bytes=json.dumps(message).encode())
        await anyio.wait_all_tasks_blocked()
        assert peer.echoed == [b"\x07"]


async def test_sudden_death_is_told_to_the_session():
    async with house() as home:
        peer, session = await home.call()
        peer.vanish(1006)
        await peer.done.wait()
        assert session.gone == [Gone("disconnect")]
        assert session.finished
        assert home.counted == []


async def test_what_the_server_below_closed_for_is_named():
    async with house() as home:
        peer, session = await home.call()
        peer.vanish(1009)
        await peer.done.wait()
        assert session.gone == [Gone("oversized")]
        assert home.counted == [("refused", "oversized")]


@pytest.mark.parametrize("careless", [False, True])
async def test_a_peer_that_takes_nothing_is_given_up_after_five_seconds(careless, caplog):
    async with house() as home:
        peer, session = await home.call()
        session.careless = careless
        peer.stuck = True
        before = anyio.current_time()
        await peer.talk(8)
        await peer.done.wait()
        assert anyio.current_time() - before < 9
        assert session.gone == ([] if careless else [Gone("send_stuck")])
        assert home.counted == [("refused", "send_stuck")]
        assert "session failed" not in caplog.messages
        with pytest.raises(anyio.BrokenResourceError):
            await session.outlet.send("{}")


async def test_sending_after_the_end_raises():
    async with house() as home:
        peer, session = await home.call()
        peer.stop()
        await peer.done.wait()
        with pytest.raises(anyio.BrokenResourceError):
            await session.outlet.send("{}")


@pytest.mark.parametrize("where", ["handle", "run", "make"])
async def test_a_session_that_breaks_takes_nobody_along(where, caplog):
    async with house() as home:
        neighbour, _ = await home.call("CA2")
        if where == "make":

            def broken(*_):
                raise RuntimeError("no room for a session")

            home.server._sessions = broken
            peer = await home.connect()
            peer.start()
        else:
            peer, session = await home.call()
            session.fail = RuntimeError("run broke") if where == "run" else None
            session.fail_on = Media if where == "handle" else None
            peer.media()
        with caplog.at_level(logging.ERROR):
            await peer.done.wait()
        assert peer.close == (1011, "session_failed")
        assert any(record.exc_info for record in caplog.records)
        neighbour.media(sid="CA2")
        await anyio.wait_all_tasks_blocked()
        assert len(neighbour.echoed) == 1


async def test_the_socket_closes_before_the_session_has_finished():
    async with house() as home:
        peer, session = await home.call()
        session.linger = 4.0
        peer.stop()
        await anyio.wait_all_tasks_blocked()
        assert peer.close == (1000, "stop")
        assert not session.finished
        assert home.server.active == 1
        await peer.done.wait()
        assert session.finished
        assert not session.cancelled


async def test_a_session_that_never_finishes_is_cancelled(caplog):
    async with house(limits=Limits(finish_s=6.0)) as home:
        peer, session = await home.call()
        session.linger = 1000.0
        peer.stop()
        await peer.done.wait()
        assert session.cancelled
        assert "session did not finish in time" in caplog.messages


# --- drain ----------------------------------------------------------------------------------------------------------


async def test_drain_lets_calls_finish_and_takes_no_new_ones():
    async with house() as home:
        peer, _ = await home.call()
        left = []

        async def drain():
            left.append(await home.server.drain(30))

        home.tasks.start_soon(drain)
        await peer.talk(5)
        late = await home.connect()
        await late.done.wait()
        assert late.sent[0]["status"] == 503
        assert home.counted == [("refused", "draining")]
        peer.stop()
        await anyio.wait_all_tasks_blocked()
        assert left == [0]
        assert peer.close == (1000, "stop")


async def test_drain_closes_what_is_left_at_the_deadline():
    async with house() as home:
        peer, session = await home.call()
        waiting = await home.connect()
        home.tasks.start_soon(peer.talk, 3.5)
        before = anyio.current_time()
        assert await home.server.drain(3) == 2
        assert anyio.current_time() - before == pytest.approx(3, abs=0.1)
        assert peer.close == waiting.close == (1012, "drain")
        assert session.gone == [Gone("drain")]


async def test_drain_of_an_empty_house_is_at_once():
    async with house() as home:
        before = anyio.current_time()
        assert await home.server.drain(60) == 0
        assert anyio.current_time() == before
