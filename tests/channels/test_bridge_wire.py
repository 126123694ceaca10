"""Frames between us and the bridge."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked.channels.bridge_wire import MAX_TEXT, Answered, Asked, BadFrame, Told, decode, encode


@given(st.text(max_size=50), st.binary(max_size=50) | st.none())
def test_what_is_said_is_heard(text, beside):
    message = {"seq": 7, "event": "message", "data": {"text": text}}
    assert decode(encode(message, beside)) == (Told(7, "message", {"text": text}), beside or b"")


def test_the_kinds():
    assert decode('{"id":"b1","method":"auth.get","params":{}}')[0] == Asked("b1", "auth.get", {})
    assert decode('{"id":"1","result":{"error":""}}')[0] == Answered("1", {"error": ""})


@pytest.mark.parametrize(
    "frame",
    ["", "[]", "{}", "x", '{"seq":"1"}', '{"seq":1,"event":"x","data":{},"more":1}', b"", b"\0\0\0\x09{}", b"\xff" * 9,
     '{"id":1,"result":2}', " " * (MAX_TEXT + 1)],
)  # fmt: skip
def test_nonsense_is_no_frame(frame):
    with pytest.raises(BadFrame):
        decode(frame)


@given(st.binary(max_size=200))
def test_no_bytes_break_it(frame):
    with suppress(BadFrame):
        decode(frame)
