"""Wherever in a call it is changed how it is heard, and whatever fails meanwhile: no word is lost or doubled."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.errors import Failure
from moked.rollout.policy import Engines, Mode
from moked.stt import EngineSwitched, Final
from moked.stt.failover import Breaker
from moked.stt.relay import Relay
from tests.stt.hearing import VOCABULARY, FakeEngine, Fault, speech, talk
from tests.virtual_time import VIRTUAL_TIME

ENGINES = Engines("google", "google-batch", ("whisper",))
SPOKEN = speech(VOCABULARY[:5]) + speech(VOCABULARY[5:10], from_ms=5500) + speech(VOCABULARY[10:15], from_ms=10_500)
TEXT = [one.text for one in SPOKEN]
END_MS = SPOKEN[-1].end_ms


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


async def call(changes, faults=()):
    """One call with these changes, (ms, mode); gives its words, its moves, and how relays count."""
    engines = [
        FakeEngine("google", SPOKEN, "exact", list(faults)),
        FakeEngine("whisper", SPOKEN, "whole"),
        FakeEngine("google-batch", SPOKEN, "whole"),
    ]
    told, counted = [], []
    relay = Relay(
        engines,
        told.append,
        breakers={engine.name: Breaker() for engine in engines},
        metric=lambda name, engine, value: counted.append((name, engine)),
    )

    async def change():
        for at_ms, mode in sorted(changes):
            await anyio.sleep_until(began + at_ms / 1000)
            relay.prefer(ENGINES.order(mode))

    began = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run)
        tasks.start_soon(change)
        await talk(relay, SPOKEN)
    words = [word for one in told if isinstance(one, Final) for word in one.text.split()]
    return words, [(one.after, one.reason) for one in told if isinstance(one, EngineSwitched)], counted


@pytest.mark.anyio
async def test_off_at_every_200_ms_and_on_again():
    for at_ms in range(0, END_MS, 200):
        words, moves, _ = await call([(at_ms, Mode.UTTERANCES), (at_ms + 4000, Mode.STREAMING)])
        assert (at_ms, words) == (at_ms, TEXT)
        assert moves[:1] == [("google-batch", "rollout")], at_ms
        assert moves[1:] in ([], [("google", "rollout")]), at_ms


moments = st.lists(st.tuples(st.integers(0, END_MS), st.sampled_from(Mode)), max_size=6)
kills = st.lists(
    st.builds(Fault, st.sampled_from(["kill", "close", "stall"]), st.integers(0, 3), st.integers(0, END_MS)), max_size=2
)


@settings(max_examples=60, deadline=None)
@given(moments, kills)
def test_whatever_happens_no_word_is_lost(changes, faults):
    words, _, _ = anyio.run(lambda: call(changes, faults), backend_options=VIRTUAL_TIME[1])
    assert words == TEXT


@pytest.mark.anyio
async def test_what_a_relay_counts_tells_how_streams_fail():
    refused = [Fault("refuse", stream=0, failure=Failure.QUOTA)]
    _, _, counted = await call([], refused)
    assert [name for name, engine in counted if engine == "google"][:3] == ["failed", "refused", "failed_quota"]
    _, _, counted = await call([], [Fault("kill", at_ms=1000)])
    google = [name for name, engine in counted if engine == "google"]
    assert ("refused" in google, google.count("failed_unavailable")) == (False, 1)
