"""A published version reaches the next call: of this process at the next look, and a broken one never."""

from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import anyio
import pytest

from moked import answering
from moked.answering import TOPIC, Answers, Follower, Voices
from moked.bus import MemoryBus
from moked.dialog import CallContext, Say
from moked.dialog.published import Part, files_of, read_agent
from moked.tts.cache import CachedSynthesizer

FILES = files_of(None, None)
PLAN = read_agent(FILES)
NOW = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)


class Voice:
    name = "still"
    key = "still"

    def __init__(self):
        self.running_now = 0
        self.rendered = []

    def speak(self, text):
        @asynccontextmanager
        async def audio():
            async def chunks():
                self.rendered.append(text)
                yield b"\x10" * 1600

            yield chunks()

        return audio()

    def running(self):
        @asynccontextmanager
        async def run():
            self.running_now += 1
            yield

        return run()


@pytest.fixture
def voices(monkeypatch):
    made = {}

    def voice(settings, business, *, aside=False):
        made[business.voice_gender] = Voice()
        return CachedSynthesizer(made[business.voice_gender], None, key="still"), None

    monkeypatch.setattr(answering.parts, "voice", voice)
    return made


SETTINGS = SimpleNamespace(openai_api_key=None, openai_base_url="")


async def greeting(answer):
    agent = answer.agents(CallContext("CA1", "", answer.business.local(NOW)))
    async with agent.greet().actions() as actions:
        return "".join([action.text async for action in actions if isinstance(action, Say)])


async def test_the_next_call_hears_the_new_words_and_the_running_one_the_old(voices):
    all_of_them = Voices(SETTINGS)
    answers = Answers(SETTINGS, PLAN, all_of_them)
    async with all_of_them.running(), answers.running():
        before = answers.current
        profile = FILES.profile.replace("הגעתם לאורן אינסטלציה", "כאן אורן")
        await answers.take(read_agent(FILES.with_part(Part.PROFILE, profile)))
        assert "כאן אורן" in await greeting(answers.current)
        assert "הגעתם" in await greeting(before)
        assert any("כאן אורן" in text for text in voices["male"].rendered)  # before anybody waits for it


async def test_another_gender_is_another_voice_beside_the_first(voices):
    all_of_them = Voices(SETTINGS)
    answers = Answers(SETTINGS, PLAN, all_of_them)
    async with all_of_them.running(), answers.running():
        first = answers.current.voice
        profile = FILES.profile.replace("voice_gender: male", "voice_gender: female")
        await answers.take(read_agent(FILES.with_part(Part.PROFILE, profile)))
        assert answers.current.voice is not first
        assert voices["female"].running_now == 1
        await answers.take(PLAN)
        assert answers.current.voice is first


async def test_a_voice_that_does_not_start_is_made_anew_for_whoever_asks_next(voices, monkeypatch):
    all_of_them = Voices(SETTINGS)
    female = replace(PLAN.business, voice_gender="female")

    def broken(self):
        raise OSError("no voice")

    async with all_of_them.running():
        with monkeypatch.context() as patch:
            patch.setattr(CachedSynthesizer, "running", broken)
            with pytest.raises(OSError, match="no voice"):
                await all_of_them.started(2, female)
        await all_of_them.started(2, female)
    assert voices["female"].running_now == 1


class Versions:
    def __init__(self):
        self.held = SimpleNamespace(version=0, texts=FILES)
        self.broken = False

    def version(self, business_id):
        if self.broken:
            raise OSError("away")
        return self.held.version

    def current(self, business_id):
        return self.held


async def test_what_holds_is_followed_and_what_is_broken_is_not():
    versions, taken = Versions(), []

    async def take(plan):
        taken.append(plan.business.name)

    follower = Follower(versions, 1, MemoryBus(), 0, take)
    await follower.look()
    assert taken == []
    versions.held = SimpleNamespace(version=2, texts=FILES)
    await follower.look()
    await follower.look()
    assert taken == [PLAN.business.name]
    versions.held = SimpleNamespace(version=3, texts=FILES.with_part(Part.SCRIPT, "steps: []"))
    await follower.look()
    versions.broken = True
    await follower.look()
    assert (taken, follower.version) == ([PLAN.business.name], 3)


async def test_what_could_not_be_taken_is_tried_again_later(monkeypatch):
    versions, tried = Versions(), []
    versions.held = SimpleNamespace(version=1, texts=FILES)

    async def take(plan):
        tried.append(plan)
        if len(tried) == 1:
            raise OSError("the voice did not start")

    follower = Follower(versions, 1, MemoryBus(), 0, take)
    for _ in range(3):
        await follower.look()
    assert (len(tried), follower.version) == (1, 0)
    monkeypatch.setattr(follower, "_again_at", 0.0)
    await follower.look()
    assert (len(tried), follower.version) == (2, 1)


async def test_the_bus_tells_at_once(monkeypatch):
    monkeypatch.setattr(answering, "_POLL_S", 3600)
    versions, bus, told = Versions(), MemoryBus(), anyio.Event()

    async def take(plan):
        told.set()

    async with bus.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(Follower(versions, 1, bus, 0, take).run)
        await anyio.wait_all_tasks_blocked()
        versions.held = SimpleNamespace(version=1, texts=FILES)
        bus.publish(TOPIC, "agent.published", {})
        with anyio.fail_after(5):
            await told.wait()
        tasks.cancel_scope.cancel()
