"""The two sides of a call on one line of time: what was heard, when."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moked.audio import SILENCE
from moked.recording.timeline import BLOCK, Timeline

FRAME = 160


def recorded(timeline):
    """(caller, agent) by call sample, and where they begin."""
    blocks = []
    while (block := timeline.take()) is not None:
        assert len(block[1]) == 2 * BLOCK
        blocks.append(block)
    if (block := timeline.rest()) is not None:
        blocks.append(block)
    for (at, frames), (after, _) in pairwise(blocks):
        assert at + len(frames) // 2 == after
    frames = b"".join(frames for _, frames in blocks)
    return blocks[0][0] if blocks else 0, frames[0::2], frames[1::2]


def hear(timeline, ms, *, since=0, byte=b"c"):
    for at in range(since, since + ms, 20):
        timeline.hear(at + 20, byte * FRAME)


def test_the_caller_is_left_and_we_are_right_where_we_were_heard():
    timeline = Timeline()
    hear(timeline, 500)
    timeline.play(600, b"a" * 8 * 300)
    hear(timeline, 1000, since=500)
    at, caller, agent = recorded(timeline)
    assert (at, caller) == (0, b"c" * 12_000)
    assert agent == SILENCE * 4800 + b"a" * 2400 + SILENCE * 4800


def test_what_the_carrier_threw_away_was_not_heard():
    timeline = Timeline()
    hear(timeline, 100)
    timeline.play(100, b"a" * 8 * 2000)
    hear(timeline, 700, since=100)
    timeline.cut(800)
    timeline.play(1000, b"b" * 8 * 100)
    hear(timeline, 700, since=800)
    _, _, agent = recorded(timeline)
    assert agent == SILENCE * 800 + b"a" * 5600 + SILENCE * 1600 + b"b" * 800 + SILENCE * 3200


def test_a_backlog_does_not_move_the_call():
    """Frames that waited for the agent come at once; the first of them was spoken when the stream began."""
    timeline = Timeline()
    for _ in range(20):
        timeline.hear(420, b"c" * FRAME)  # 400 ms of audio, all at 420
    timeline.play(500, b"a" * 80)
    hear(timeline, 1000, since=400)
    at, caller, agent = recorded(timeline)
    assert at // 8 <= 20
    assert (agent.index(b"a") + at) // 8 == 500
    assert len(caller) == 1400 * 8


def test_both_sides_keep_their_distance_where_the_line_falls_behind():
    """A carrier that stops for a second and does not catch up: what we say then is heard later on its line, too."""
    timeline = Timeline()
    hear(timeline, 2000)
    for at in range(3000, 8000, 20):
        timeline.hear(at + 20, b"c" * FRAME)
        if at == 6000:
            timeline.play(6500, b"a" * 80)
    _, _, agent = recorded(timeline)
    assert agent.index(b"a") // 8 == 5500


def test_a_moment_of_jitter_moves_nothing():
    timeline = Timeline()
    hear(timeline, 2000)
    for at in range(2000, 4000, 20):
        timeline.hear(at + 20 + (300 if 2500 <= at < 2700 else 0), b"c" * FRAME)
        if at == 2600:
            timeline.play(3200, b"a" * 80)
    _, _, agent = recorded(timeline)
    assert agent.index(b"a") // 8 == 3200


def test_a_stream_that_goes_on_with_a_call_begins_later():
    timeline = Timeline()
    hear(timeline, 1000, since=61_000)
    assert timeline.take()[0] == 61_000 * 8
    assert timeline.rest() is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("hear"), st.integers(1, 30)),
            st.tuples(st.just("play"), st.integers(1, 3000)),
            st.tuples(st.just("cut"), st.just(0)),
        ),
        max_size=60,
    )
)
def test_however_it_goes_both_sides_are_as_long_as_the_caller_was_there(happenings):
    """The recording is what a carrier plays that is sent the same: a simple model beside the real thing."""
    timeline, now, length = Timeline(), 0, 0
    played = {}  # call ms -> byte, of what was not thrown away
    ahead, number, blocks = 0, 0, []
    for kind, amount in happenings:
        if kind == "hear":
            for _ in range(amount):
                now += 20
                timeline.hear(now, b"c" * FRAME)
                length += FRAME
                while (block := timeline.take()) is not None:
                    blocks.append(block)
        elif kind == "play" and length:
            number = number % 100 + 1
            at = max(now, ahead)
            length_ms = min(amount, now + 30_000 - at)
            if length_ms > 0:
                timeline.play(at, bytes([number]) * 8 * length_ms)
                played.update(dict.fromkeys(range(at, at + length_ms), number))
                ahead = at + length_ms
        elif kind == "cut" and length:
            timeline.cut(now)
            played = {at: value for at, value in played.items() if at < now}
            ahead = now
    if (block := timeline.rest()) is not None:
        blocks.append(block)
    frames = b"".join(frames for _, frames in blocks)
    assert frames[0::2] == b"c" * length
    agent = frames[1::2]
    assert len(agent) == length
    assert [agent[at * 8] for at in range(length // 8)] == [played.get(at, 255) for at in range(length // 8)]
