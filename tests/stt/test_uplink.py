"""Batches by audio time, a bound, and a clock that stays right when audio is pushed out."""

from hypothesis import given
from hypothesis import strategies as st

from moked.audio import FRAME_BYTES, SILENCE
from moked.stt.uplink import MAX_MESSAGE, Uplink

FRAME = bytes(range(160))


def test_a_batch_is_due_when_its_audio_time_is_there() -> None:
    uplink = Uplink(batch_ms=150)
    for number in range(7):
        uplink.put(FRAME, now=0)
        assert not uplink.due(0), number
    uplink.put(FRAME, now=0)
    assert uplink.due(0)
    assert uplink.take(0) == FRAME * 8
    assert uplink.empty
    assert uplink.deadline is None


def test_a_batch_is_due_when_its_first_byte_is_old_enough() -> None:
    uplink = Uplink(batch_ms=150)
    uplink.put(FRAME, now=1000)
    uplink.put(FRAME, now=1020)
    assert uplink.deadline == 1150
    assert not uplink.due(1149)
    assert uplink.due(1150)


def test_a_flush_makes_the_rest_due_and_does_not_linger() -> None:
    uplink = Uplink(batch_ms=150)
    uplink.flush()
    uplink.put(FRAME, now=0)
    assert not uplink.due(0), "a flush of nothing says nothing about later audio"
    uplink.flush()
    assert uplink.due(0)
    assert uplink.take(0) == FRAME
    uplink.put(FRAME, now=1)
    assert not uplink.due(1)


def test_who_waits_while_it_is_full_pushes_nothing_out_whatever_the_length_of_the_frames() -> None:
    uplink = Uplink(batch_ms=20, bound_ms=100)
    for length in (160, 100, 160, 33, 160, 160, 160):
        if uplink.fits(160):
            uplink.put(FRAME[:length], now=0)
    assert not uplink.fits(160)
    assert uplink.dropped == 0


def test_what_is_pushed_out_leaves_as_silence_of_the_same_length() -> None:
    uplink = Uplink(batch_ms=20, bound_ms=40)
    for byte in (b"\x01", b"\x02", b"\x03"):
        uplink.put(byte * FRAME_BYTES, now=0)
    assert uplink.dropped == FRAME_BYTES
    assert uplink.dropped_in_a_row == FRAME_BYTES
    assert uplink.take(0) == SILENCE * FRAME_BYTES + b"\x02" * FRAME_BYTES + b"\x03" * FRAME_BYTES
    assert uplink.dropped_in_a_row == 0
    assert uplink.dropped == FRAME_BYTES


def test_a_long_silence_owed_leaves_in_messages_of_legal_size() -> None:
    uplink = Uplink(batch_ms=20, bound_ms=20)
    for _ in range(200):
        uplink.put(FRAME, now=0)
    sizes = []
    while not uplink.empty:
        assert uplink.due(0)
        sizes.append(len(uplink.take(0)))
    assert sum(sizes) == 200 * FRAME_BYTES
    assert max(sizes) <= MAX_MESSAGE


@given(
    batch_ms=st.integers(10, 300),
    bound_ms=st.integers(10, 1000),
    steps=st.lists(st.one_of(st.integers(1, 4000), st.none(), st.just("flush")), max_size=60),
)
def test_every_byte_keeps_its_place_or_is_silence(batch_ms: int, bound_ms: int, steps: list[object]) -> None:
    uplink = Uplink(batch_ms=batch_ms, bound_ms=bound_ms)
    said, sent, now = bytearray(), bytearray(), 0
    for step in steps:
        now += 7
        match step:
            case int(size):
                audio = bytes((len(said) + i) % 251 for i in range(size))
                said += audio
                uplink.put(audio, now)
            case "flush":
                uplink.flush()
            case _:
                if uplink.due(now):
                    sent += uplink.take(now)
        assert (uplink.deadline is None) == uplink.empty
    while not uplink.empty:
        sent += uplink.take(now)
    assert len(sent) == len(said)
    changed = [i for i in range(len(said)) if sent[i] != said[i]]
    assert all(sent[i] == 0xFF for i in changed)
    assert len(changed) <= uplink.dropped
    if not uplink.dropped:
        assert sent == said
