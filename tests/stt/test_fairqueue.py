"""Who is next: by rank, in turns, within bounds; whatever comes in."""

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moked.stt.fairqueue import FairQueue, Rank


def queue(**bounds):
    return FairQueue(**{"max_items": 8, "max_bytes": 1000, **bounds})


def drain(full):
    items = []
    while (item := full.take()) is not None:
        items.append(item)
    return items


def test_the_more_urgent_goes_first():
    line = queue()
    for item, rank in (("recording", 3), ("again", 2), ("sentence", 0)):
        assert line.put(item, call=item, rank=Rank(rank), size=1) == []
    assert drain(line) == ["sentence", "again", "recording"]
    assert (len(line), line.bytes) == (0, 0)


def test_calls_take_turns():
    line = queue()
    for number in range(3):
        line.put(f"a{number}", call="a", rank=Rank.SECOND_PASS, size=1)
    line.put("b0", call="b", rank=Rank.SECOND_PASS, size=1)
    assert drain(line) == ["a0", "b0", "a1", "a2"]


def test_one_waiting_final_a_call():
    line = queue()
    assert line.put("first", call=1, rank=Rank.FINAL, size=1) == []
    assert line.put("second", call=1, rank=Rank.FINAL, size=1) is None
    assert line.put("other", call=2, rank=Rank.FINAL, size=1) == []


def test_a_partial_never_waits_behind_anything():
    line = queue()
    line.put("recording", call=1, rank=Rank.BACKGROUND, size=1)
    assert line.put("partial", call=2, rank=Rank.PARTIAL, size=1) is None


def test_a_full_queue_gives_up_the_least_urgent_and_newest_for_the_more_urgent():
    line = queue(max_items=3)
    for number in range(2):
        line.put(f"recording {number}", call=number, rank=Rank.BACKGROUND, size=1)
    line.put("again", call=1, rank=Rank.SECOND_PASS, size=1)
    assert line.put("more", call=9, rank=Rank.BACKGROUND, size=1) is None
    assert line.put("sentence", call=1, rank=Rank.FINAL, size=1) == ["recording 1"]
    assert line.put("sentence", call=2, rank=Rank.FINAL, size=1) == ["recording 0"]
    assert line.put("sentence", call=3, rank=Rank.FINAL, size=1) == ["again"]
    assert line.put("sentence", call=4, rank=Rank.FINAL, size=1) is None


def test_bytes_are_bounded_too():
    line = queue(max_bytes=10)
    assert line.put("big", call=1, rank=Rank.BACKGROUND, size=8) == []
    assert line.put("again", call=2, rank=Rank.SECOND_PASS, size=5) == ["big"]
    assert line.put("huge", call=3, rank=Rank.FINAL, size=11) is None
    assert drain(line) == ["again"], "what is refused displaces nobody"


@given(counts=st.lists(st.integers(1, 4), min_size=2, max_size=5))
def test_nobody_gets_a_second_turn_before_everybody_who_waits_had_one(counts):
    line = queue(max_items=100)
    for call, count in enumerate(counts):
        for number in range(count):
            line.put((call, number), call=call, rank=Rank.BACKGROUND, size=1)
    left, turns = Counter(dict(enumerate(counts))), Counter()
    for call, number in drain(line):
        assert number == turns[call], "in the order of its own"
        turns[call] += 1
        left[call] -= 1
        waiting = [turns[other] for other in left if left[other]]
        assert turns[call] <= min(waiting, default=turns[call]) + 1


class Line(RuleBasedStateMachine):
    """Against a simple model: a list of what waits."""

    def __init__(self):
        super().__init__()
        self.line = queue(max_items=6, max_bytes=40)
        self.waiting = []
        self.number = 0

    @rule(call=st.integers(0, 3), rank=st.sampled_from(Rank), size=st.integers(0, 20))
    def put(self, call, rank, size):
        self.number += 1
        gone = self.line.put(self.number, call=call, rank=rank, size=size)
        if gone is None:
            room = len(self.waiting) < 6 and sum(s for *_, s in self.waiting) + size <= 40
            mine = sum(1 for _, c, r, _ in self.waiting if (c, r) == (call, rank))
            partial_late = rank is Rank.PARTIAL and self.waiting
            lesser = any(r > rank for _, _, r, _ in self.waiting)
            assert not room or mine >= (1 if rank <= Rank.PARTIAL else 4) or partial_late, "refused without need"
            assert mine or partial_late or not lesser or size or len(self.waiting) < 6
            return
        for item in gone:
            assert next(r for i, _, r, _ in self.waiting if i == item) > rank
        self.waiting = [one for one in self.waiting if one[0] not in gone] + [(self.number, call, rank, size)]

    @precondition(lambda self: self.waiting)
    @rule()
    def take(self):
        item = self.line.take()
        taken = next(one for one in self.waiting if one[0] == item)
        assert taken[2] == min(rank for _, _, rank, _ in self.waiting)
        self.waiting.remove(taken)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def discard(self, data):
        one = data.draw(st.sampled_from(self.waiting))
        assert self.line.discard(one[0])
        assert not self.line.discard(one[0])
        self.waiting.remove(one)

    @invariant()
    def bounded_and_counted(self):
        assert len(self.line) == len(self.waiting) <= 6
        assert self.line.bytes == sum(size for *_, size in self.waiting) <= 40
        assert bool(self.line) == bool(self.waiting)


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
