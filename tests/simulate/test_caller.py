"""Whole calls over real sockets in real time, each a second or two, against a fake server."""

import asyncio
import json
import wave
from collections.abc import AsyncIterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.server import ServerConnection

from moked.media import twilio
from moked.simulate.caller import SimulatedCall, run_many
from moked.simulate.carrier import CallSetup
from moked.simulate.result import CallResult, Ended, StreamEnd
from moked.simulate.scenario import CutIn, Dtmf, HangUp, Manners, Say, Wait
from moked.simulate.twiml import World
from moked.telephony import sign
from tests.simulate.fake_server import FakeServer, HttpRequest, connect_twiml, polite_agent, report, tone

pytestmark = pytest.mark.anyio

TOKEN = "secret"
QUICK = Manners(quiet_ms=60, patience_ms=1000, linger_ms=20)
LINE = tone(120, 300)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer(agent=polite_agent).running() as running:
        running.answer("/webhook/incoming_call", connect_twiml(running, callback="/webhook/stream_status"))
        running.answer("/webhook/", "", status=204)
        running.answer("/api/calls/", report(), kind="application/json")
        yield running


def setup(server: FakeServer, **more: Any) -> CallSetup:
    return CallSetup(
        **{
            "base_url": server.base_url,
            "auth_token": TOKEN,
            "manners": QUICK,
            "max_s": 10,
            "report_s": 1,
            "events": False,
            **more,
        }
    )


def last_verbs(result: CallResult) -> list[tuple[str, str]]:
    return [(item.verb, item.text) for item in result.after_stream]


async def test_a_polite_call_from_the_webhook_to_the_report(server: FakeServer, tmp_path: Path) -> None:
    said = []

    def speak(text: str) -> bytes:
        said.append(text)
        return b"\xff" * 400 + LINE + b"\xff" * 400

    call = SimulatedCall([Say("שלום"), Say("שלום")], setup(server), speak=speak)
    result = await call.run()

    assert said == ["שלום"]
    assert (result.ended, result.detail) == (Ended.CALLER_HUNG_UP, "done")
    assert result.report == json.loads(report())
    assert result.warnings == ()
    assert not result.refused
    assert result.greeting_ms is not None
    assert result.greeting_ms < 150
    assert [turn.text for turn in result.turns] == ["שלום", "שלום"]
    for turn in result.turns:
        assert turn.speech_end_ms - turn.speech_start_ms == 120
        assert turn.response_ms is not None
        assert 60 <= turn.response_ms < 300  # the fake waits for 80 ms of silence
        assert turn.heard_after_ms is not None
        assert 0 <= turn.heard_after_ms - turn.response_ms < 30
        assert not turn.talked_over
        assert not turn.overlapped
    assert sum(len(part.audio) for part in result.heard) == 3 * 120 * 8
    assert [mark.name for mark in result.marks] == ["reply-1", "reply-2", "reply-3"]
    assert not any(mark.cleared for mark in result.marks)

    assert server.names() == ["Connected", "Start", "Mark", "Mark", "Mark", "Stop"]
    start = next(event for event in server.received if isinstance(event, twilio.Start))
    assert (start.call_sid, start.parameters) == (call.call_sid, {"token": "t0"})
    media = [event for event in server.received if isinstance(event, twilio.Media)]
    assert [event.timestamp_ms for event in media] == [20 * n for n in range(len(media))]
    assert abs(media[-1].timestamp_ms + 20 - result.duration_ms) < 60  # paced without drift

    result.write_wav(tmp_path / "call.wav")
    with wave.open(str(tmp_path / "call.wav")) as written:
        assert (written.getnchannels(), written.getframerate()) == (2, 8000)
        assert written.getnframes() == result.duration_ms * 8


async def test_every_request_is_signed_and_every_callback_comes(server: FakeServer) -> None:
    call = SimulatedCall([HangUp(after=60)], setup(server, caller="+972521111111"))
    await call.run()
    webhook, started, stopped, completed, asked = server.requests[:5]
    assert (webhook.path, webhook.form["CallStatus"]) == ("/webhook/incoming_call", "ringing")
    assert webhook.form["From"] == "+972521111111"
    assert webhook.form["CallSid"] == call.call_sid
    assert [request.form["StreamEvent"] for request in (started, stopped)] == ["stream-started", "stream-stopped"]
    assert (completed.path, completed.form["CallStatus"]) == ("/webhook/call_status", "completed")
    assert asked.path == f"/api/calls/{call.call_sid}"
    for request in server.requests:
        url = server.base_url + request.path
        assert request.headers["x-twilio-signature"] == sign(TOKEN, url, request.form)
    assert server.handshakes[0]["x-twilio-signature"] == sign(TOKEN, server.media_url, {})
    assert "sec-websocket-extensions" not in server.handshakes[0]


async def test_the_public_address_is_signed_and_the_local_one_is_called(server: FakeServer) -> None:
    public = "https://agent.example.co.il"
    twiml = connect_twiml(server).replace(f"ws://127.0.0.1:{server.media_port}", "wss://agent.example.co.il")
    server.answer("/webhook/incoming_call", twiml, status=200)
    call = SimulatedCall([HangUp()], setup(server, public_base_url=public))
    result = await call.run()
    webhook = server.requests[0]
    assert webhook.headers["x-twilio-signature"] == sign(TOKEN, public + webhook.path, webhook.form)
    # the media plane of this fake has another port, so the handshake reaches the HTTP port and is refused there
    assert result.streams[0].how is StreamEnd.NOT_OPENED
    assert result.streams[0].url == "wss://agent.example.co.il/media/twilio"


async def test_cutting_in_stops_the_agent_and_the_marks_come_back(server: FakeServer) -> None:
    server.agent = partial(polite_agent, reply_ms=400, lead=True)
    steps = [Say(audio=LINE), CutIn(audio=LINE, after_ms=140)]
    result = await SimulatedCall(steps, setup(server)).run()
    first, cut = result.turns
    assert cut.overlapped
    assert cut.kind == "cut_in"
    assert first.voiced_ms is not None
    assert 140 <= cut.speech_start_ms - first.voiced_ms < 200
    assert cut.barge_in_ms is not None
    assert 0 <= cut.barge_in_ms < 120
    assert cut.response_ms is not None
    assert [(mark.name, mark.cleared) for mark in result.marks] == [
        ("reply-1", False),
        ("reply-2", True),
        ("reply-3", False),
    ]
    heard = sum(len(part.audio) for part in result.heard) // 8
    assert 2 * 400 + 140 <= heard < 2 * 400 + 340  # of the reply that was cut only its beginning


async def test_keys_waiting_and_hanging_up(server: FakeServer) -> None:
    steps = [Wait(60), Dtmf("05#", after="immediately"), Wait(60), HangUp()]
    result = await SimulatedCall(steps, setup(server)).run()
    assert [event.digit for event in server.received if isinstance(event, twilio.Dtmf)] == ["0", "5", "#"]
    assert (result.ended, result.detail) == (Ended.CALLER_HUNG_UP, "step")
    assert result.turns[0].kind == "dtmf"


async def test_a_caller_without_an_answer_goes_on_and_gives_up(server: FakeServer) -> None:
    async def mute(socket: ServerConnection, server: FakeServer) -> None:
        async for _ in socket:
            pass

    server.agent = mute
    manners = Manners(quiet_ms=50, patience_ms=200, linger_ms=0)
    result = await SimulatedCall([Say(audio=LINE)], setup(server, manners=manners)).run()
    assert (result.ended, result.detail) == (Ended.CALLER_HUNG_UP, "no_answer")
    assert result.turns[0].response_ms is None
    assert result.greeting_ms is None


async def test_when_the_server_dies_the_caller_hears_what_comes_after_connect(server: FakeServer) -> None:
    async def dies(socket: ServerConnection, server: FakeServer) -> None:
        await asyncio.sleep(0.1)
        socket.transport.abort()

    server.agent = dies
    after = '<Say language="he-IL">סליחה, יש תקלה.</Say><Dial action="/webhook/dialled">+972521234567</Dial>'
    server.answer("/webhook/incoming_call", connect_twiml(server, after))
    server.answer("/webhook/dialled", "<Response><Say>להתראות</Say><Hangup/></Response>")
    result = await SimulatedCall([Say(audio=LINE)], setup(server, world=World(dial_status="no-answer"))).run()
    assert result.ended is Ended.AGENT_HUNG_UP
    assert [stream.how for stream in result.streams] == [StreamEnd.LOST]
    assert [warning.code for warning in result.warnings] == [31921]
    assert last_verbs(result) == [
        ("say", "סליחה, יש תקלה."),
        ("dial", "+972521234567 (no-answer)"),
        ("say", "להתראות"),
        ("hangup", ""),
    ]
    assert server.forms("/webhook/dialled")[0]["DialCallStatus"] == "no-answer"


async def test_a_server_that_closes_goes_on_by_the_action(server: FakeServer) -> None:
    async def leaves(socket: ServerConnection, server: FakeServer) -> None:
        await socket.recv()
        await socket.close()

    server.agent = leaves
    server.answer("/webhook/incoming_call", connect_twiml(server, "<Say>never</Say>", ' action="/webhook/after"'))
    server.answer("/webhook/after", "<Response><Hangup/></Response>")
    result = await SimulatedCall([], setup(server)).run()
    assert last_verbs(result) == [("hangup", "")]
    assert (result.ended, result.streams[0].how) == (Ended.AGENT_HUNG_UP, StreamEnd.SERVER)
    assert server.forms("/webhook/after")[0]["CallStatus"] == "in-progress"


async def test_a_call_moves_to_a_second_stream_and_the_scenario_goes_on(server: FakeServer) -> None:
    served = 0

    async def moves(socket: ServerConnection, server: FakeServer) -> None:
        nonlocal served
        served += 1
        if served == 1:
            await asyncio.sleep(0.1)
            await socket.close()
        else:
            await polite_agent(socket, server)

    server.agent = moves
    server.answer("/webhook/incoming_call", connect_twiml(server, "<Redirect>/webhook/incoming_call</Redirect>"))
    result = await SimulatedCall([Say(audio=LINE)], setup(server)).run()
    assert [stream.how for stream in result.streams] == [StreamEnd.SERVER, StreamEnd.CALLER]
    assert result.turns[0].response_ms is not None
    assert result.turns[0].speech_start_ms > result.streams[1].started_ms
    assert [item.verb for item in result.twiml] == ["connect", "redirect", "connect"]


async def test_the_rest_api_ends_and_redirects_a_call(server: FakeServer) -> None:
    ended = SimulatedCall([Wait(5000)], setup(server))
    moved = SimulatedCall([Wait(5000)], setup(server))

    async def command() -> None:
        await anyio.sleep(0.25)
        assert ended.rest_update({"Status": "completed"})
        assert moved.rest_update({"Twiml": "<Response><Dial>+972521234567</Dial></Response>"})

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(command)
        first, second = await run_many([ended, moved])
    assert (first.ended, first.detail) == (Ended.AGENT_HUNG_UP, "rest")
    assert second.ended is Ended.TRANSFERRED
    assert [result.streams[0].how for result in (first, second)] == [StreamEnd.REST, StreamEnd.REST]
    assert server.names().count("Stop") == 2
    assert not ended.rest_update({"Status": "completed"})


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (500, "oops", 11200),
        (200, "<Response><Say>", 12100),
        (200, "<Response><Speak>a</Speak></Response>", 12200),
    ],
)
async def test_a_bad_answer_is_the_carriers_apology(server: FakeServer, status: int, body: str, code: int) -> None:
    server.answer("/webhook/incoming_call", body, status=status)
    result = await SimulatedCall([], setup(server, report_s=0)).run()
    assert result.ended is Ended.FAILED
    assert [warning.code for warning in result.warnings] == [code]
    assert last_verbs(result)[0][1].startswith("We are sorry")
    assert result.report is None


async def test_a_refused_handshake_is_told_to_the_callback_and_the_twiml_goes_on(server: FakeServer) -> None:
    server.refuse_handshake = 403
    server.answer(
        "/webhook/incoming_call", connect_twiml(server, "<Say>בקרוב</Say>", callback="/webhook/stream_status")
    )
    result = await SimulatedCall([], setup(server)).run()
    assert [(warning.code, warning.reason) for warning in result.warnings] == [(31920, "handshake answered 403")]
    assert last_verbs(result) == [("say", "בקרוב")]
    assert server.forms("/webhook/stream_status")[0]["StreamEvent"] == "stream-error"


async def test_nobody_answers_the_phone() -> None:
    result = await SimulatedCall([], CallSetup(base_url="http://127.0.0.1:9", report_s=0)).run()
    assert result.ended is Ended.FAILED
    assert result.duration_ms == 0


async def test_the_time_limit_ends_a_call(server: FakeServer) -> None:
    result = await SimulatedCall([Wait(60_000)], setup(server, max_s=0.2)).run()
    assert (result.ended, result.streams[0].how) == (Ended.TIME_LIMIT, StreamEnd.TIME_LIMIT)
    assert 200 <= result.duration_ms < 300
    assert server.names()[-1] == "Stop"


async def test_live_events_are_passed_on_and_taken_up_where_they_broke(server: FakeServer) -> None:
    asked: list[str] = []

    def events(request: HttpRequest) -> tuple[int, str, str]:
        asked.append(request.headers.get("last-event-id", ""))
        assert request.headers["x-twilio-signature"] == sign(TOKEN, server.base_url + request.path, {})
        if len(asked) == 1:
            return 404, "text/plain", ""
        first = 'id: 1\nevent: turn.partial\ndata: {"text": "של"}\n\n'
        return 200, "text/event-stream", first if len(asked) == 2 else "id: 2\nevent: call.ended\ndata: oops\n\n"

    server.answers["/calls/"] = events
    seen: list[tuple[str, Mapping[str, Any]]] = []
    call = SimulatedCall(
        [HangUp(after=1300)], setup(server, events=True), on_event=lambda name, data: seen.append((name, data))
    )
    await call.run()
    assert seen == [("turn.partial", {"text": "של"}), ("call.ended", {"text": "oops"})]
    assert asked == ["", "", "1"]


async def test_a_servers_mistakes_on_the_wire_are_reported(server: FakeServer) -> None:
    async def sloppy(socket: ServerConnection, server: FakeServer) -> None:
        await socket.recv()
        for text in ("{", '{"event":"clear","streamSid":"MZ0"}', '{"event":"play"}'):
            await socket.send(text)
        async for _ in socket:
            pass

    server.agent = sloppy
    result = await SimulatedCall([HangUp(after=100)], setup(server)).run()
    assert [(warning.code, warning.reason) for warning in result.warnings] == [(31951, "json")]
    assert result.refused == {"json": 1, "wrong_stream": 1, "unknown_event": 1}


async def test_many_calls_side_by_side_leave_nothing_behind(server: FakeServer) -> None:
    before = len(asyncio.all_tasks())
    results = await run_many([SimulatedCall([Say(audio=LINE)], setup(server)) for _ in range(8)])
    assert len({result.call_sid for result in results}) == 8
    assert all(result.turns[0].response_ms is not None for result in results)
    for _ in range(50):
        if len(asyncio.all_tasks()) <= before:
            break
        await asyncio.sleep(0.02)
    assert len(asyncio.all_tasks()) <= before
