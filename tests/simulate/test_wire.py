"""The carrier's end of the wire: documented messages, strict reading, and the play buffer on explicit time."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked import audio
from moked.simulate.wire import CarrierStream, Cleared, MarkAsked, PlayBuffer, Queued, Refused

SID = "MZ" + "1" * 32


def stream(**parameters: str) -> CarrierStream:
    return CarrierStream(SID, "CA1", "AC1", parameters)


def media(sound: bytes, sid: str = SID) -> str:
    payload = base64.b64encode(sound).decode()
    return json.dumps({"event": "media", "streamSid": sid, "media": {"payload": payload}})


def mark(name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": name}})


CLEAR = json.dumps({"event": "clear", "streamSid": SID})


def names(messages: tuple[str, ...]) -> list[str]:
    return [json.loads(message)["mark"]["name"] for message in messages]


def test_the_messages_are_the_documented_ones() -> None:
    carrier = stream(token="x", caller="+972501234567")
    connected, start = (json.loads(text) for text in carrier.opening())
    assert connected == {"event": "connected", "protocol": "Call", "version": "1.0.0"}
    assert start == {
        "event": "start",
        "sequenceNumber": "1",
        "start": {
            "accountSid": "AC1",
            "streamSid": SID,
            "callSid": "CA1",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
            "customParameters": {"token": "x", "caller": "+972501234567"},
        },
        "streamSid": SID,
    }
    first, second = carrier.media(b"\x01" * 160), carrier.media(b"\x02" * 160)
    assert json.loads(first) == {
        "event": "media",
        "sequenceNumber": "2",
        "media": {
            "track": "inbound",
            "chunk": "1",
            "timestamp": "0",
            "payload": base64.b64encode(b"\x01" * 160).decode(),
        },
        "streamSid": SID,
    }
    assert json.loads(second)["media"]["timestamp"] == "20"
    assert json.loads(carrier.dtmf("5")) == {
        "event": "dtmf",
        "streamSid": SID,
        "sequenceNumber": "4",
        "dtmf": {"track": "inbound_track", "digit": "5"},
    }
    assert json.loads(carrier.stop()) == {
        "event": "stop",
        "sequenceNumber": "5",
        "stop": {"accountSid": "AC1", "callSid": "CA1"},
        "streamSid": SID,
    }


def test_audio_plays_in_order_and_marks_come_back_when_it_has_played() -> None:
    carrier = stream()
    assert carrier.receive(media(b"a" * 800), 1000) == Queued(1000, 1000, b"a" * 800, opens=True)
    assert carrier.receive(mark("first"), 1001) == MarkAsked(1001, "first")
    assert carrier.receive(media(b"b" * 400), 1002) == Queued(1002, 1100, b"b" * 400, opens=False)
    carrier.receive(mark("second"), 1003)
    assert carrier.deadline == 1100
    assert carrier.due(1099) == ()
    assert names(carrier.due(1100)) == ["first"]
    assert names(carrier.due(2000)) == ["second"]
    assert carrier.deadline is None
    assert [(echo.name, echo.cleared) for echo in carrier.marks] == [("first", False), ("second", False)]
    assert [(part.start_ms, part.audio) for part in carrier.heard(5000)] == [(1000, b"a" * 800 + b"b" * 400)]
    assert [part.audio for part in carrier.heard(1050)] == [b"a" * 400]


def test_clear_drops_what_was_not_heard_and_echoes_every_pending_mark() -> None:
    carrier = stream()
    carrier.receive(mark("at once"), 0)
    for number in range(3):
        carrier.receive(media(bytes([number]) * 8000), 0)
        carrier.receive(mark(f"m{number}"), 0)
    assert names(carrier.due(0)) == ["at once"]
    assert carrier.receive(CLEAR, 1500) == Cleared(1500, 1500)
    assert names(carrier.due(1500)) == ["m0", "m1", "m2"]
    assert [echo.cleared for echo in carrier.marks] == [False, False, True, True]
    assert b"".join(part.audio for part in carrier.heard(9999)) == b"\x00" * 8000 + b"\x01" * 4000
    again = carrier.receive(media(b"z" * 8), 1700)
    assert isinstance(again, Queued)
    assert again.opens
    assert again.start_ms == 1700


def test_a_mark_with_nothing_before_it_is_echoed_at_once() -> None:
    carrier = stream()
    carrier.receive(mark("now"), 40)
    assert carrier.deadline == 40
    assert names(carrier.due(40)) == ["now"]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("{", "json"),
        ("[1]", "json"),
        ('"media"', "json"),
        (json.dumps({"streamSid": SID}), "missing_field"),
        (json.dumps({"event": 7, "streamSid": SID}), "unknown_event"),
        (json.dumps({"event": "stop", "streamSid": SID}), "unknown_event"),
        (json.dumps({"event": "clear"}), "missing_field"),
        (json.dumps({"event": "media", "streamSid": SID}), "missing_field"),
        (json.dumps({"event": "media", "media": {"payload": ""}}), "missing_field"),
        (json.dumps({"event": "media", "streamSid": SID, "media": {}}), "missing_field"),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": "a", "b": 1}}), "extra_field"),
        (json.dumps({"event": "clear", "streamSid": SID, "sequenceNumber": "1"}), "extra_field"),
        (
            json.dumps({"event": "media", "streamSid": SID, "media": {"payload": "", "track": "outbound"}}),
            "extra_field",
        ),
        (json.dumps({"event": "media", "streamSid": SID, "media": {"payload": "%%"}}), "bad_field"),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": {"name": 3}}), "bad_field"),
        (json.dumps({"event": "mark", "streamSid": SID, "mark": "a"}), "bad_field"),
        (json.dumps({"event": "clear", "streamSid": "MZ2"}), "wrong_stream"),
        (b"\x00", "binary"),
    ],
)
def test_bad_messages_are_ignored_warned_of_once_and_all_counted(message: str | bytes, reason: str) -> None:
    carrier = stream()
    refused = carrier.receive(message, 5)
    assert isinstance(refused, Refused)
    assert refused.reason == reason
    carrier.receive("also bad", 6)
    assert [(warning.code, warning.reason, warning.at_ms) for warning in carrier.warnings] == [(31951, reason, 5)]
    assert carrier.refused.total() == 2
    assert carrier.heard(1000) == ()


@given(st.one_of(st.text(), st.binary(), st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)))
def test_no_text_makes_it_raise(text: str | bytes) -> None:
    stream().receive(text, 0)


STEPS = st.lists(
    st.tuples(
        st.integers(0, 300),
        st.one_of(
            st.binary(min_size=1, max_size=3000).map(lambda sound: ("media", sound)),
            st.just(("clear", b"")),
            st.just(("mark", b"")),
        ),
    ),
    max_size=40,
)


@given(STEPS)
def test_every_sample_is_heard_once_in_order_unless_cleared_and_every_mark_comes_back(
    steps: list[tuple[int, tuple[str, bytes]]],
) -> None:
    """Against the plainest model there is: a line of samples, one an eighth of a millisecond."""
    carrier = stream()
    line: list[int | None] = []  # what is audible at each sample; None is nobody speaking
    now, asked, echoed = 0, [], []
    for wait, (kind, sound) in steps:
        now += wait
        echoed += names(carrier.due(now))
        match kind:
            case "media":
                line += [None] * (now * 8 - len(line))
                line += sound
                carrier.receive(media(sound), now)
            case "clear":
                del line[now * 8 :]
                carrier.receive(CLEAR, now)
                echoed += names(carrier.due(now))
                assert carrier.deadline is None
                assert asked == echoed
            case _:
                asked.append(str(len(asked)))
                carrier.receive(mark(asked[-1]), now)
        assert max(carrier.playing_until, now) == max(-(-len(line) // 8), now)
        assert (carrier.deadline is None) == (carrier.marks_pending == 0)
    end = now + 10**6
    echoed += names(carrier.due(end))
    assert echoed == asked
    played: list[int | None] = []
    for part in carrier.heard(end):
        played += [None] * (part.start_sample - len(played))
        played += part.audio
    while line and line[-1] is None:
        line.pop()
    assert played == line
    for echo in carrier.marks:
        assert echo.echoed_ms >= echo.asked_ms


@given(st.lists(st.binary(min_size=1, max_size=320), max_size=30))
def test_the_callers_audio_arrives_whole_with_running_numbers(frames: list[bytes]) -> None:
    carrier = stream()
    carrier.opening()
    messages: list[dict[str, Any]] = [json.loads(carrier.media(frame)) for frame in frames]
    assert [base64.b64decode(message["media"]["payload"]) for message in messages] == frames
    assert [message["sequenceNumber"] for message in messages] == [str(n + 2) for n in range(len(frames))]
    assert [message["media"]["chunk"] for message in messages] == [str(n + 1) for n in range(len(frames))]
    before = 0
    for message, frame in zip(messages, frames, strict=True):
        assert message["media"]["timestamp"] == str(before // 8)
        before += len(frame)


def test_a_second_stream_counts_its_own_audio_on_the_calls_clock() -> None:
    carrier = CarrierStream(SID, "CA1", "AC1", {})
    queued = carrier.receive(media(audio.silence(20)), 5100)
    assert isinstance(queued, Queued)
    assert queued.start_ms == 5100
    assert json.loads(carrier.media(b"\xff" * 160))["media"]["timestamp"] == "0"


def test_clearing_an_empty_buffer_changes_nothing() -> None:
    buffer = PlayBuffer()
    assert buffer.clear(100) == 0
    buffer.play(b"ab", 100)
    assert buffer.clear(200) == 0
    assert [part.audio for part in buffer.heard(300)] == [b"ab"]
