"""The relay against everything at once, in virtual time: speech, faults, limits, orders and the end are all random.

Whatever happens, every word is told once and in order, some engine is chosen, and committed time never goes back. The
time for the last words is long here, so that many faults at the very end have room; how short it is, `test_relay` asks.
"""

from itertools import pairwise

import anyio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moked.errors import Failure
from moked.stt import EngineSwitched, Final
from moked.stt.failover import Breaker, RelayPolicy
from moked.stt.relay import Relay
from tests.stt.hearing import VOCABULARY, FakeEngine, Fault, speech, talk
from tests.virtual_time import VirtualTimeLoop

NAMES = ("google", "other", "whisper")
KINDS = st.sampled_from([Failure.UNAVAILABLE, Failure.QUOTA, Failure.CLOSED, Failure.EXPIRED, Failure.PROTOCOL])


@st.composite
def spoken(draw):
    """One to four utterances of the vocabulary's words, with pauses between them."""
    count = draw(st.integers(1, len(VOCABULARY)))
    cuts = sorted(draw(st.sets(st.integers(1, count - 1), max_size=3))) if count > 1 else []
    words, at = [], draw(st.integers(0, 2000))
    for start, end in pairwise([0, *cuts, count]):
        part = speech(VOCABULARY[start:end], from_ms=at, gap_ms=draw(st.sampled_from([40, 60, 200])))
        words += part
        at = part[-1].end_ms + draw(st.integers(300, 6000))
    return words


faults = st.builds(
    Fault,
    kind=st.sampled_from(["kill", "close", "stall", "block", "refuse", "hang"]),
    stream=st.integers(0, 4),
    at_ms=st.none() | st.integers(0, 12_000),
    after_ms=st.integers(0, 6000),
    failure=KINDS,
)
orders = st.lists(st.tuples(st.integers(0, 14_000), st.permutations(NAMES)), max_size=3)


@st.composite
def limits(draw):
    soft = draw(st.sampled_from([200_000, 6000, 3000]))
    return RelayPolicy(
        rotate_soft_ms=soft, rotate_hard_ms=soft + draw(st.integers(0, 3000)), settled_ms=300, finish_ms=60_000
    )


class Story:
    """One call with three engines, and what it told."""

    def __init__(self, words, styles, problems, policy, plan, options):
        self.words = words
        self.engines = [
            FakeEngine(name, words, style, list(some), **options)
            for name, style, some in zip(NAMES, styles, problems, strict=True)
        ]
        self.policy = policy
        self.plan = plan
        self.finals = []
        self.committed = [0]
        self.engine_after = []
        self.metrics = []

    def hear(self, told):
        if isinstance(told, Final):
            self.finals.append(told)
            self.committed.append(self.relay._ledger.committed_ms)
        elif isinstance(told, EngineSwitched):
            self.engine_after.append(told.after)

    async def run(self, tail_ms, late_ms):
        self.relay = Relay(
            self.engines,
            self.hear,
            breakers={name: Breaker() for name in NAMES},
            policy=self.policy,
            metric=lambda *metric: self.metrics.append(metric),
        )
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.relay.run)
            for at_ms, order in self.plan:
                tasks.start_soon(self.reorder, at_ms, order)
            await talk(self.relay, self.words, tail_ms=tail_ms, late_ms=late_ms)
            finished = anyio.current_time()
        self.finish_s = anyio.current_time() - finished

    async def reorder(self, at_ms, order):
        await anyio.sleep(at_ms / 1000)
        self.relay.prefer(order)

    @property
    def heard(self):
        return [word for final in self.finals for word in final.text.split()]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    words=spoken(),
    styles=st.tuples(*[st.sampled_from(["exact", "plain", "whole"])] * 3),
    problems=st.tuples(*[st.lists(faults, max_size=3)] * 3),
    policy=limits(),
    plan=orders,
    tail_ms=st.integers(0, 4000),
    late_ms=st.sampled_from([0, 120, 400]),
    final_every=st.sampled_from([0, 3, 5]),
)
def test_no_word_is_lost_or_doubled_whatever_happens(
    words, styles, problems, policy, plan, tail_ms, late_ms, final_every
):
    story = Story(words, styles, problems, policy, plan, {"final_every": final_every})
    anyio.run(story.run, tail_ms, late_ms, backend_options={"loop_factory": VirtualTimeLoop})
    assert story.heard == [word.text for word in words]
    assert story.finish_s < 20, "it does not wait for what will not come"
    assert story.committed == sorted(story.committed)
    assert story.relay.engine in NAMES
    assert all(name in NAMES for name in story.engine_after)
    assert not any(name == "lost" for name, _, _ in story.metrics)
    assert all(engine.open_now == 0 for engine in story.engines)
