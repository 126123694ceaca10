"""The running calls follow what holds, the guard asks before it trips, and a shadow hurts nobody. On fakes."""

import logging
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from moked import metrics
from moked.bus import MemoryBus
from moked.crm.rollouts import Stored
from moked.errors import Failure, ProviderError
from moked.log import aside
from moked.records import CallStart, TurnRecord, Waterfall
from moked.rollout import live, shadow
from moked.rollout.guard import Limits
from moked.rollout.live import Rollout, RolloutParts
from moked.rollout.policy import Engines, Policy
from moked.stt import Final

pytestmark = pytest.mark.anyio

ENGINES = Engines("google", "google-batch", ("whisper",))
START = CallStart("CA1", "AC1", "+972501234567", "+97231234567")


class Store:
    """A database that may be away."""

    def __init__(self):
        self.policy, self.version, self.away = Policy(), 0, False
        self.changes, self.notes, self.shadows = [], [], []
        self.clock = 1_800_000_000
        self.slow = threading.Event()  # while it is clear, an answer stays on its way
        self.slow.set()
        self.asked = 0

    def now(self):
        return self.clock

    def load(self):
        if self.away:
            raise ConnectionError("gone")
        found = Stored(self.version, self.policy)
        self.asked += 1
        self.slow.wait(10)
        return found

    def change(self, make, **about):
        self.load()
        policy = make(self.policy)
        if policy != self.policy:
            self.policy, self.version = policy, self.version + 1
            self.changes.append(about)
        return self.load()

    def note(self, **about):
        self.notes.append(about)

    def add_shadow(self, call_sid, result):
        self.load()
        self.shadows.append((call_sid, result))
        return True


class Ears:
    """A recognizer that does nothing by itself."""

    def __init__(self, order, sink, metric, broken=False):
        self.order, self.sink, self.metric, self.broken = list(order), sink, metric, broken
        self.fed, self.marks, self.done = b"", [], anyio.Event()
        self.aside = None

    def feed(self, audio):
        self.fed += audio

    def speech_started(self, at_ms):
        self.marks.append(("start", at_ms))

    def speech_paused(self, at_ms):
        self.marks.append(("pause", at_ms))

    def speech_ended(self, at_ms):
        self.marks.append(("end", at_ms))

    def expect(self, what):
        self.marks.append(("expect", what))

    def prefer(self, engines):
        self.order = list(engines)

    def audio(self, from_ms, to_ms):
        return self.fed[from_ms * 8 : to_ms * 8]

    def finish(self):
        self.done.set()

    async def run(self):
        self.aside = aside.get()
        if self.broken:
            raise ZeroDivisionError
        await self.done.wait()


class Other:
    """The engine of the other mode, as the guard asks it."""

    name = "google-batch"

    def __init__(self):
        self.problem, self.asked = None, 0

    @asynccontextmanager
    async def stream(self, *, origin_ms, hints=()):
        self.asked += 1
        async with anyio.create_task_group():
            if self.problem is not None:
                raise ProviderError(self.name, self.problem, "no")
            yield self

    async def write(self, audio):
        assert len(audio) == 4800

    def speech_started(self, at_ms): ...

    def speech_paused(self, at_ms): ...

    def speech_ended(self, at_ms): ...

    async def finish(self): ...

    async def __aiter__(self):
        return
        yield


class World:
    def __init__(self, **more):
        self.store, self.other, self.bus = Store(), Other(), MemoryBus()
        self.relays, self.shadows, self.told = [], [], []
        self.broken_shadow = False
        self.rollout = Rollout(
            RolloutParts(
                **{
                    "engines": ENGINES,
                    "default": True,
                    "store": self.store,
                    "bus": self.bus,
                    "relay": self._relay,
                    "shadow": self._shadow,
                    "tell": lambda sid, data: self.told.append((data["mode"], data["why"])),
                    "other": self.other,
                    "limits": Limits(min_turns=8),
                    **more,
                }
            )
        )

    def _relay(self, order, sink, metric):
        self.relays.append(Ears(order, sink, metric))
        return self.relays[-1]

    def _shadow(self, name, sink, metric):
        self.shadows.append(Ears([name], sink, metric, self.broken_shadow))
        return self.shadows[-1]

    def set(self, make):
        self.store.change(make, by="test", what="test")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(live, "_POLL_S", 0.01)
    monkeypatch.setattr(shadow, "_LOOK_S", 0.01)
    monkeypatch.setattr(shadow, "LAG_S", 60.0)


async def until(condition):
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.005)


@asynccontextmanager
async def running(world, start=START):
    """The rollout with one call on it."""
    await world.rollout.look()
    async with world.bus.running(), world.rollout.running(), anyio.create_task_group() as tasks:
        heard = []
        call = world.rollout.recognizer(start, heard.append)
        tasks.start_soon(call.run)
        await until(lambda: world.told)
        yield call
        call.finish()


def off(policy):
    return policy.with_share(False, 100, by="dana", now=0)


async def test_a_running_call_follows_and_comes_back():
    world = World()
    async with running(world):
        (relay,) = world.relays
        assert relay.order == ["google", "whisper", "google-batch"]
        world.set(off)
        await until(lambda: relay.order == ["google-batch", "whisper", "google"])
        world.set(lambda policy: policy.with_number("+972501234567", True, now=0))
        await until(lambda: relay.order[0] == "google")
    assert world.told == [("streaming", "default"), ("utterances", "all"), ("streaming", "number")]


async def test_news_on_the_bus_are_not_waited_for(monkeypatch):
    monkeypatch.setattr(live, "_POLL_S", 3600)
    world = World()
    async with running(world):
        world.set(off)
        await until(lambda: (world.bus.publish("rollout", "rollout.changed", {}), len(world.told) == 2)[1])


async def test_a_rule_ends_by_itself():
    world = World()
    world.set(lambda policy: policy.with_share(False, 100, by="dana", now=0, until=world.store.clock + 60))
    async with running(world):
        await until(lambda: world.told[-1] == ("utterances", "all"))
        world.store.clock += 60
        await until(lambda: world.told[-1] == ("streaming", "default"))


async def test_what_was_last_known_holds_while_the_database_is_away(caplog):
    world = World()
    world.set(off)
    async with running(world):
        await until(lambda: world.told[-1] == ("utterances", "all"))
        world.store.away = True
        await anyio.sleep(0.1)
        assert world.rollout.recognizer(replace(START, call_sid="CA2"), print).decision.mode == "utterances"
    assert [r.levelname for r in caplog.records if "cannot be read" in r.message] == ["WARNING"]


async def test_without_google_nothing_is_moved():
    world = World(engines=Engines.of(["whisper"], streaming="google", utterances="google-batch"), other=None)
    async with running(world):
        world.set(lambda policy: off(policy).with_shadow(100))
        await until(lambda: len(world.told) == 2)
        assert world.relays[0].order == ["whisper"]
    assert world.told == [("none", "default"), ("none", "all")]
    assert world.shadows == []
    assert "Whisper hears all calls" in world.rollout.words


def fail(world, streams=4):
    (relay,) = world.relays
    for _ in range(streams):
        relay.metric("opened", "google", 30)
        relay.metric("failed", "google", 1)
        relay.metric("failed_unavailable", "google", 1)


async def test_the_guard_trips_and_calls_follow(caplog):
    world = World()
    async with running(world):
        fail(world)
        await until(lambda: world.told[-1] == ("utterances", "rollback"))
        await until(lambda: world.store.changes)
        fail(world, 10)  # what was open may still fail
        await anyio.sleep(0.1)
        world.set(lambda policy: policy.with_share(True, 100, by="dana", now=0))
        await until(lambda: world.told[-1] == ("streaming", "all"))
        await anyio.sleep(0.1)  # and it does not trip by what it saw before
        assert world.told[-1] == ("streaming", "all")
        fail(world)
        await until(lambda: world.told[-1] == ("utterances", "rollback"))
    change, _, again = world.store.changes
    assert again["by"] == "guard"
    assert (change["by"], change["why"]) == ("guard", "4 of 4 streams failed in 5 minutes (unavailable)")
    assert [r.levelname for r in caplog.records if r.message == "streaming was rolled back"] == ["ERROR"] * 2
    assert world.other.asked == 2


async def test_a_rollback_holds_here_at_once_and_is_written_when_the_database_is_back():
    world = World()
    async with running(world):
        world.store.away = True
        fail(world)
        await until(lambda: world.told[-1] == ("utterances", "rollback"))
        assert world.store.changes == []
        world.store.away = False
        await until(lambda: world.store.changes)
        await anyio.sleep(0.05)
    assert world.told[-1] == ("utterances", "rollback")
    assert world.store.policy.share.by == "guard"


async def test_an_answer_from_before_the_rollback_changes_nothing():
    world = World()
    async with running(world):
        world.store.slow.clear()
        asked = world.store.asked
        await until(lambda: world.store.asked > asked)  # read, and on its way
        fail(world)
        await until(lambda: world.told[-1] == ("utterances", "rollback"))
        world.store.slow.set()
        await until(lambda: world.store.changes)
        await anyio.sleep(0.05)
    assert world.told == [("streaming", "default"), ("utterances", "rollback")]


@pytest.mark.parametrize("problem", [Failure.QUOTA, Failure.AUTH, Failure.UNAVAILABLE])
async def test_where_the_other_mode_fails_as_well_it_stays_and_says_so(problem):
    world = World()
    world.other.problem = problem
    async with running(world):
        fail(world)
        await until(lambda: world.store.notes)
    assert world.store.changes == []
    assert world.told == [("streaming", "default")]
    (note,) = world.store.notes
    assert f"google-batch fails as well ({problem.value}), so nothing would be gained" in note["why"]


async def test_streams_of_other_engines_and_their_own_limits_are_not_held_against_streaming():
    world = World()
    async with running(world):
        (relay,) = world.relays
        for _ in range(20):
            relay.metric("opened", "google", 30)
            relay.metric("failed_expired", "google", 1)
            relay.metric("failed_timeout", "whisper", 1)
        await anyio.sleep(0.1)
        assert world.rollout.guard.figures(10**9).failed == 0
    assert (world.store.changes, world.other.asked) == ([], 0)


def slow_turn(engine):
    waterfall = Waterfall(speech_end_ms=1000, transcript_ms=2500, sent_ms=3000)
    return TurnRecord(1, "א", "", "", False, 0, 1, engine=engine, waterfall=waterfall)


async def test_late_words_of_streamed_turns_trip_it():
    world = World()
    async with running(world):
        for _ in range(8):
            world.rollout.turn(slow_turn("whisper"))
            world.rollout.turn(replace(slow_turn("google"), waterfall=Waterfall()))
        await anyio.sleep(0.1)
        assert world.store.changes == []
        for _ in range(8):
            world.rollout.turn(slow_turn("google"))
        await until(lambda: world.store.changes)
    assert "2000 ms at p95" in world.store.changes[0]["why"]


async def test_a_shadow_hears_what_the_call_hears_and_is_stored():
    world = World()
    world.set(lambda policy: policy.with_shadow(100))
    async with running(world) as call:
        (beside,) = world.shadows
        assert beside.order == ["google-batch"]
        call.feed(b"\xff" * 8000)
        call.speech_started(100)
        call.speech_ended(900)
        call.expect("phone")
        world.relays[0].sink(Final("אחת שתיים", 100, 900, 0.9, "google"))
        beside.sink(Final("אחת שלוש", 100, 900, 0.9, "google-batch"))
        beside.metric("failed_timeout", "google-batch", 1)
        assert beside.marks == world.relays[0].marks
        assert beside.fed == world.relays[0].fed
        call.finish()
        beside.done.set()
        await until(lambda: world.store.shadows)
    ((sid, result),) = world.store.shadows
    assert (sid, result["ended"], result["edits"]) == ("CA1", "call", 1)
    assert result["sides"]["utterances"]["failures"] == 1
    assert result["sides"]["streaming"]["failures"] == 0
    assert beside.aside == "shadow"
    assert world.relays[0].aside == ""


async def test_a_shadow_that_breaks_hurts_nobody(caplog):
    world = World()
    world.broken_shadow = True
    world.set(lambda policy: policy.with_shadow(100))
    async with running(world) as call:
        await until(lambda: world.store.shadows)
        call.feed(b"\xff" * 160)
        assert len(world.relays[0].fed) == 160
    assert world.store.shadows[0][1]["ended"] == "failed"


@pytest.mark.parametrize("why", ["load", "moved"])
async def test_a_shadow_leaves_first(why, monkeypatch):
    world = World()
    world.set(lambda policy: policy.with_shadow(100))
    async with running(world) as call:
        if why == "load":
            monkeypatch.setattr(shadow, "LAG_S", -1.0)
        else:
            world.set(off)
        await until(lambda: world.store.shadows)
        call.feed(b"\xff" * 160)
        assert (len(world.shadows[0].fed), len(world.relays[0].fed)) == (0, 160)
    assert world.store.shadows[0][1]["ended"] == why


async def test_there_are_only_so_many_shadows_and_none_under_load(monkeypatch):
    world = World(max_shadows=1)
    world.set(lambda policy: policy.with_shadow(100))
    refused = metrics.shadow_calls.labels("refused")
    before = refused._value.get()
    async with running(world):
        second = world.rollout.recognizer(replace(START, call_sid="CA2"), print)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.run)
            await until(lambda: refused._value.get() == before + 1)
            second.finish()
    assert len(world.shadows) == 1
    monkeypatch.setattr(shadow, "LAG_S", -1.0)
    late = World()
    late.set(lambda policy: policy.with_shadow(100))
    async with running(late):
        assert late.shadows == []


def test_what_a_shadow_logs_is_no_alarm():
    from moked.log import BoundedQueueHandler

    handler = BoundedQueueHandler(None, False)
    record = logging.makeLogRecord({"levelno": logging.ERROR, "levelname": "ERROR", "msg": "no speech engine"})
    token = aside.set("shadow")
    try:
        beside = handler.prepare(record)
    finally:
        aside.reset(token)
    assert (beside.levelname, beside.aside) == ("INFO", "shadow")
    assert handler.prepare(record).levelname == "ERROR"
