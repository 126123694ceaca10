"""The codec: every documented message, every kind of wrong one, and what goes out byte for byte."""

import base64
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.media import twilio
from moked.media.twilio import Bad, Connected, Dtmf, Mark, Media, MediaStream, Start, Stop

CONNECTED = {"event": "connected", "protocol": "Call", "version": "1.0.0"}
START = {
    "event": "start",
    "sequenceNumber": "1",
    "start": {
        "accountSid": "AC1",
        "streamSid": "MZ1",
        "callSid": "CA1",
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": {"token": "x", "from": "+972502345678"},
    },
    "streamSid": "MZ1",
}
MEDIA = {
    "event": "media",
    "sequenceNumber": "4",
    "media": {"track": "inbound", "chunk": "2", "timestamp": "5", "payload": base64.b64encode(b"\x7f" * 160).decode()},
    "streamSid": "MZ1",
}
DTMF = {
    "event": "dtmf",
    "streamSid": "MZ1",
    "sequenceNumber": "5",
    "dtmf": {"track": "inbound_track", "digit": "1"},
}
MARK = {"event": "mark", "sequenceNumber": "4", "streamSid": "MZ1", "mark": {"name": "my label"}}
STOP = {
    "event": "stop",
    "sequenceNumber": "5",
    "stop": {"accountSid": "AC1", "callSid": "CA1"},
    "streamSid": "MZ1",
}
REAL = [CONNECTED, START, MEDIA, DTMF, MARK, STOP]


def started():
    stream = MediaStream()
    assert isinstance(stream.receive(json.dumps(START)), Start)
    return stream


def with_(message, path, value):
    """A copy of `message` with one field replaced, or removed when `value` is ..."""
    changed = copy.deepcopy(message)
    *parents, last = path.split(".")
    place = changed
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


def test_every_documented_message_is_understood():
    stream = MediaStream()
    assert stream.receive(json.dumps(CONNECTED)) == Connected()
    assert stream.receive(json.dumps(START)) == Start(
        stream_sid="MZ1",
        call_sid="CA1",
        account_sid="AC1",
        tracks=("inbound",),
        encoding="audio/x-mulaw",
        sample_rate=8000,
        channels=1,
        parameters={"token": "x", "from": "+972502345678"},
    )
    assert stream.receive(json.dumps(MEDIA)) == Media(b"\x7f" * 160, timestamp_ms=5, chunk=2, sequence=4)
    assert stream.receive(json.dumps(DTMF)) == Dtmf("1")
    assert stream.receive(json.dumps(MARK)) == Mark("my label")
    assert stream.receive(json.dumps(STOP)) == Stop()


def test_bytes_are_as_good_as_text():
    stream = MediaStream()
    assert isinstance(stream.receive(json.dumps(START).encode()), Start)
    assert isinstance(stream.receive(json.dumps(MEDIA).encode()), Media)


@pytest.mark.parametrize("sequence", ["7", 7, 7.0, " 7 "])
@pytest.mark.parametrize("chunk", ["3", 3, 3.0])
def test_numbers_may_be_strings_or_numbers(sequence, chunk):
    message = with_(with_(MEDIA, "sequenceNumber", sequence), "media.chunk", chunk)
    assert started().receive(json.dumps(message)) == Media(b"\x7f" * 160, 5, 3, 7)


@pytest.mark.parametrize(
    ("path", "value"),
    [("sequenceNumber", ...), ("sequenceNumber", None), ("media.track", ...), ("media.track", "inbound_track")],
)
def test_audio_with_odd_but_harmless_fields_is_audio(path, value):
    assert isinstance(started().receive(json.dumps(with_(MEDIA, path, value))), Media)


def test_unknown_fields_are_ignored():
    assert isinstance(started().receive(json.dumps({**MEDIA, "news": {"deep": [1]}})), Media)


def test_audio_of_any_length_is_taken_up_to_the_limit():
    limit = twilio.MAX_PAYLOAD_BYTES
    for length, kind in ((0, Media), (1, Media), (limit, Media), (limit + 1, Bad)):
        payload = base64.b64encode(bytes(length)).decode()
        event = started().receive(json.dumps(with_(MEDIA, "media.payload", payload)))
        assert isinstance(event, kind)
        if isinstance(event, Media):
            assert len(event.audio) == length


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (with_(MEDIA, "streamSid", "MZ2"), "wrong_stream"),
        (with_(MARK, "streamSid", "MZ2"), "wrong_stream"),
        (with_(STOP, "streamSid", "MZ2"), "wrong_stream"),
        (with_(MEDIA, "streamSid", ...), "missing_field"),
        (with_(MEDIA, "media", ...), "missing_field"),
        (with_(MEDIA, "media", "x"), "missing_field"),
        (with_(MEDIA, "media.payload", ...), "missing_field"),
        (with_(MEDIA, "media.chunk", ...), "missing_field"),
        (with_(MEDIA, "media.chunk", "two"), "missing_field"),
        (with_(MEDIA, "media.chunk", "-2"), "missing_field"),
        (with_(MEDIA, "media.chunk", True), "missing_field"),
        (with_(MEDIA, "media.timestamp", ...), "missing_field"),
        (with_(MEDIA, "media.timestamp", "9" * 5000), "missing_field"),
        (with_(MEDIA, "media.payload", "*not base64*"), "bad_payload"),
        (with_(MEDIA, "media.payload", "AAA"), "bad_payload"),
        (with_(MEDIA, "media.payload", 5), "bad_payload"),
        (with_(MEDIA, "media.payload", "שלום"), "bad_payload"),
        (with_(MEDIA, "media.track", "outbound"), "wrong_track"),
        (with_(DTMF, "dtmf.track", "outbound_track"), "wrong_track"),
        (with_(DTMF, "dtmf.digit", "11"), "missing_field"),
        (with_(DTMF, "dtmf.digit", ""), "missing_field"),
        (with_(DTMF, "dtmf", ...), "missing_field"),
        (with_(MARK, "mark.name", ...), "missing_field"),
        (START, "second_start"),
        (CONNECTED, "second_start"),
        ({"event": "applause", "streamSid": "MZ1"}, "unknown_event"),
        ({"event": 5}, "unknown_event"),
        ({}, "unknown_event"),
        ([], "unknown_event"),
        (None, "unknown_event"),
    ],
)
def test_what_is_wrong_is_named_and_the_stream_goes_on(message, reason):
    stream = started()
    event = stream.receive(json.dumps(message))
    assert isinstance(event, Bad)
    assert event.reason == reason
    assert isinstance(stream.receive(json.dumps(MEDIA)), Media)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        '{"event":',
        '{"event":"media"',
        "\ud800",
        '{"a":"\ud800"}',
        "[" * 60_000,
        b"\xff\xfe\x00",
        "9" * 5000,
    ],
)
def test_what_is_not_json_is_named(text):
    event = started().receive(text)
    assert isinstance(event, Bad)
    assert event.reason == "not_json"


@pytest.mark.parametrize("text", ["x" * 65_537, b"x" * 65_537, "ש" * 32_769, "{" * 10_000_000])
def test_what_is_too_long_is_not_even_read(text):
    event = MediaStream().receive(text)
    assert isinstance(event, Bad)
    assert event.reason == "oversized"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("start.mediaFormat.encoding", "audio/x-l16", "wrong_format"),
        ("start.mediaFormat.sampleRate", 16000, "wrong_format"),
        ("start.mediaFormat.channels", 2, "wrong_format"),
        ("start.mediaFormat", ..., "missing_field"),
        ("start.callSid", ..., "missing_field"),
        ("start.accountSid", None, "missing_field"),
        ("start.streamSid", "", "missing_field"),
        ("start", [], "missing_field"),
        ("start.tracks", ["outbound"], "wrong_track"),
        ("start.tracks", "inbound", "wrong_track"),
        ("streamSid", "MZ2", "wrong_stream"),
    ],
)
def test_a_start_that_is_wrong_does_not_start(path, value, reason):
    stream = MediaStream()
    event = stream.receive(json.dumps(with_(START, path, value)))
    assert isinstance(event, Bad)
    assert event.reason == reason
    assert stream.receive(json.dumps(MEDIA)) == Bad("before_start", "media")
    assert isinstance(stream.receive(json.dumps(START)), Start)


def test_a_start_may_lack_what_we_can_do_without():
    message = with_(with_(with_(START, "streamSid", ...), "start.customParameters", ...), "start.tracks", ...)
    event = MediaStream().receive(json.dumps(message))
    assert isinstance(event, Start)
    assert event.parameters == {}
    event = MediaStream().receive(json.dumps(with_(START, "start.customParameters", {"n": 5, "s": "5"})))
    assert isinstance(event, Start)
    assert event.parameters == {"n": "5", "s": "5"}


@pytest.mark.parametrize("message", [MEDIA, DTMF, MARK, STOP])
def test_nothing_counts_before_start_or_after_stop(message):
    stream = MediaStream()
    assert stream.receive(json.dumps(message)) == Bad("before_start", message["event"])
    stream.receive(json.dumps(START))
    stream.receive(json.dumps(STOP))
    assert stream.receive(json.dumps(message)) == Bad("after_stop", message["event"])
    assert stream.receive(json.dumps(START)) == Bad("after_stop", "start")


def test_late_and_repeated_chunks_are_not_audio_and_gaps_are_fine():
    stream = started()
    outcome = []
    for chunk in (1, 2, 2, 5, 4, 3, 6):
        event = stream.receive(json.dumps(with_(MEDIA, "media.chunk", str(chunk))))
        outcome.append((chunk, event.reason if isinstance(event, Bad) else "audio"))
    assert outcome == [
        (1, "audio"),
        (2, "audio"),
        (2, "out_of_order"),
        (5, "audio"),
        (4, "out_of_order"),
        (3, "out_of_order"),
        (6, "audio"),
    ]


def test_outgoing_messages_byte_for_byte():
    stream = started()
    assert stream.media(b"\xff\xff\xff\x00") == '{"event":"media","streamSid":"MZ1","media":{"payload":"////AA=="}}'
    assert stream.mark("3:7") == '{"event":"mark","streamSid":"MZ1","mark":{"name":"3:7"}}'
    assert stream.clear() == '{"event":"clear","streamSid":"MZ1"}'


def test_names_and_sids_cannot_break_out_of_their_string():
    stream = MediaStream()
    sid = 'MZ","event":"clear" \\ \n שלום'
    message = with_(with_(START, "streamSid", sid), "start.streamSid", sid)
    assert isinstance(stream.receive(json.dumps(message)), Start)
    name = 'a"b\\c\n\ud800 שלום'
    assert json.loads(stream.mark(name)) == {"event": "mark", "streamSid": sid, "mark": {"name": name}}
    assert json.loads(stream.media(b"\x00"))["streamSid"] == sid
    assert json.loads(stream.clear()) == {"event": "clear", "streamSid": sid}


# --- properties -----------------------------------------------------------------------------------------------------

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def check(event):
    assert isinstance(event, Connected | Start | Media | Dtmf | Mark | Stop | Bad)
    if isinstance(event, Bad):
        assert event.reason in twilio.REASONS
        assert len(event.detail) < 200


@given(st.lists(st.text() | st.binary(), max_size=5), st.booleans())
def test_no_text_and_no_bytes_make_it_raise(texts, open_):
    stream = started() if open_ else MediaStream()
    for text in texts:
        check(stream.receive(text))


@given(ANY_JSON, st.booleans())
def test_no_json_makes_it_raise(value, open_):
    check((started() if open_ else MediaStream()).receive(json.dumps(value)))


@st.composite
def mutated(draw):
    """A real message with one place, at any depth, replaced by any JSON or removed."""
    message = copy.deepcopy(draw(st.sampled_from(REAL)))
    place = message
    while True:
        key = draw(st.sampled_from(sorted(place)))
        if isinstance(place[key], dict) and place[key] and draw(st.booleans()):
            place = place[key]
            continue
        if draw(st.booleans()):
            place[key] = draw(ANY_JSON)
        else:
            del place[key]
        return message


@given(st.lists(mutated(), min_size=1, max_size=6), st.booleans())
def test_no_damage_to_real_messages_makes_it_raise(messages, open_):
    stream = started() if open_ else MediaStream()
    for message in messages:
        check(stream.receive(json.dumps(message)))


@given(st.sampled_from(REAL), st.integers(0, 400), st.integers(0, 255))
def test_no_damage_to_the_bytes_makes_it_raise(message, place, byte):
    raw = bytearray(json.dumps(message).encode())
    raw[place % len(raw)] = byte
    check(started().receive(bytes(raw)))
    check(started().receive(bytes(raw)[: place % len(raw)]))


@given(
    st.text(alphabet="AZaz09+/=-_ *\n\\", max_size=12)
    | st.binary(max_size=30).map(lambda b: base64.b64encode(b).decode())
)
def test_the_typed_and_the_lenient_path_agree_about_payloads(payload):
    message = with_(MEDIA, "media.payload", payload)
    typed = started().receive(json.dumps(message))
    lenient = started().receive(json.dumps({**message, "sequenceNumber": " 4"}))  # a space: only `int` takes it
    assert type(typed) is type(lenient)
    if isinstance(typed, Media):
        assert typed == lenient


@given(st.lists(st.tuples(st.integers(0, 30), st.binary(max_size=40)), max_size=30))
def test_audio_comes_out_as_it_went_in_and_in_order(chunks):
    stream = started()
    taken = []
    for chunk, audio in chunks:
        message = with_(with_(MEDIA, "media.chunk", chunk), "media.payload", base64.b64encode(audio).decode())
        event = stream.receive(json.dumps(message))
        if isinstance(event, Media):
            assert event.audio == audio
            taken.append(event.chunk)
        else:
            assert event.reason == "out_of_order"
    assert taken == sorted(set(taken))


@given(st.binary(max_size=400), st.text())
def test_two_ends_agree_about_what_goes_out(audio, name):
    stream = started()
    assert base64.b64decode(json.loads(stream.media(audio))["media"]["payload"]) == audio
    assert json.loads(stream.mark(name))["mark"]["name"] == name
