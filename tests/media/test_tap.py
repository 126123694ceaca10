"""Both sides of a call on one clock: nothing twice, nothing before its time, nothing that was cleared."""

from hypothesis import given, settings
from hypothesis import strategies as st

from moked.audio import SILENCE
from moked.media.tap import Frame, Tap

QUIET = SILENCE * 160


def frames(tap, start, count):
    return [tap.caller(start + 20 * n, bytes([n]) * 160) for n in range(count)]


def test_our_audio_waits_for_its_time():
    tap = Tap()
    tap.agent(140, b"a" * 320)
    heard = frames(tap, 100, 5)
    assert [frame.caller[0] for frame in heard] == [0, 1, 2, 3, 4]
    assert [frame.agent for frame in heard] == [QUIET, QUIET, b"a" * 160, b"a" * 160, QUIET]


def test_what_was_cleared_is_not_heard():
    tap = Tap()
    tap.agent(100, b"a" * 800)
    assert tap.caller(100, bytes(160)).agent == b"a" * 160
    tap.cleared()
    assert tap.caller(120, bytes(160)).agent == QUIET


def test_audio_that_is_long_over_is_left_out():
    tap = Tap()
    tap.agent(0, b"a" * 160)
    tap.agent(990, b"b" * 160)
    assert tap.caller(1000, bytes(160)) == Frame(bytes(160), b"b" * 160)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 400)), max_size=20), st.integers(1, 60))
def test_nothing_is_heard_twice_or_out_of_order(pieces, count):
    tap, at, sent = Tap(), 0, b""
    for number, (gap, size) in enumerate(pieces):
        at += gap
        audio = bytes([number + 1]) * size
        tap.agent(at, audio)
        at += -(-size // 8)
        sent += audio
    heard = b"".join(frame.agent for frame in frames(tap, 0, count)).replace(SILENCE, b"")
    assert len(heard) <= len(sent)
    rest = iter(sent)
    assert all(byte in rest for byte in heard)  # a subsequence
