"""How calls are heard is changed while they run, and not a word is lost; on real sockets, by a command or by itself."""

import os
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import anyio
import httpx2
import pytest
from anyio import to_thread

from emulators.google_speech import Fault, GoogleSpeech
from emulators.llm import Answer, LlmEmulator
from emulators.wordcodec import numbered
from moked import audio
from moked.rollout import shadow
from moked.rollout.policy import Mode
from moked.settings import Settings
from moked.simulate.scenario import HangUp, Say
from moked.stt.transcripts import normalise as plain
from moked.telephony import SIGNATURE_HEADER, sign
from tests.databases import KINDS
from tests.wire.house import database, house, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

GREETING_MS, PAUSE_MS, EACH = 1600, 2600, 6


def lines(count):
    """`count` utterances of six words each, with pauses between them, as one line of the caller's."""
    spoken = [says(" ".join(numbered(EACH, EACH * n))) for n in range(count)]
    return audio.silence(GREETING_MS) + audio.silence(PAUSE_MS).join(spoken)


def words(count):
    return " ".join(numbered(EACH * count))


def brief():
    return LlmEmulator(brain=lambda body: Answer("הבנתי."), first_token_ms=50)


def told(placed):
    """Every final, as the call heard them."""
    return plain(" ".join(data["text"] for data in placed.of("turn.final")))


def why(report):
    return [(event["data"]["mode"], event["data"]["why"]) for event in report["events"] if event["kind"] == "rollout"]


async def say(home, count, at=None, **more):
    return await home.place([Say(audio=lines(count), after="immediately"), HangUp(1500)], at=at, **more)


@asynccontextmanager
async def a_command(folder, url, *arguments):
    """`moked ARGUMENTS` in a process of its own, loaded and waiting. Yields what lets it go and gives its output."""
    code = "import moked.crm.rollouts, moked.parts, moked.cli; print('ready', flush=True); input(); moked.cli.main()"
    own = {name.upper() for name in Settings.model_fields}
    env = {name: value for name, value in os.environ.items() if name.upper() not in own}
    env |= {"DATABASE_URL": url, "SPEECH_EMULATOR_HOST": "127.0.0.1:1", "COLUMNS": "200"}
    async with await anyio.open_process([sys.executable, "-c", code, *arguments], env=env, cwd=folder) as process:
        try:
            assert (await process.stdout.receive()).startswith(b"ready")

            async def go():
                await process.stdin.send(b"\n")
                await process.stdin.aclose()
                printed = b"".join([part async for part in process.stdout])
                return await process.wait(), printed.decode()

            yield go
        finally:
            if process.returncode is None:
                process.kill()


async def ask(home, **fields):
    """A change over the API, signed."""
    url = f"{home.base_url}/api/rollout"
    headers = {SIGNATURE_HEADER: sign(home.house.auth_token, url, fields)}
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.put(url, data=fields, headers=headers)
    return answer.raise_for_status().json()


async def test_off_by_a_command_of_another_process_and_on_again_by_the_api_in_mid_call(tmp_path):
    async with anyio.create_task_group() as tasks:  # on each database, side by side
        for kind in KINDS:
            (tmp_path / kind).mkdir()
            tasks.start_soon(off_and_on, kind, tmp_path / kind)


async def off_and_on(kind, folder):
    async with AsyncExitStack() as stack:
        url = stack.enter_context(database(kind, folder))
        home = await stack.enter_async_context(house(folder, llm=brief(), database_url=url))
        off = await stack.enter_async_context(
            a_command(folder, url, "rollout", "set", "--streaming", "off", "--why", "a test")
        )
        tasks = await stack.enter_async_context(anyio.create_task_group())
        printed, others, answers, begun = [], [], [], set()
        other_began = anyio.Event()

        async def turn_off():
            printed.append(await off())

        async def another():
            others.append(await say(home, 1, at=lambda event, data: other_began.set()))

        async def turn_on():
            await other_began.wait()
            answers.append(await ask(home, streaming="on"))

        def at(event, data):
            moment = (event, data.get("after") or data.get("engine"))
            if moment in begun:
                return
            begun.add(moment)
            match moment:
                case ("turn.partial", "google"):
                    tasks.start_soon(turn_off)
                case ("engine", "google-batch"):
                    tasks.start_soon(another)
                case ("turn.final", "google-batch"):
                    tasks.start_soon(turn_on)

        placed = await say(home, 3, at=at)
        with anyio.fail_after(15):
            while not others:
                await anyio.sleep(0.05)
        history = await to_thread.run_sync(home.house.rollouts.history)
    assert (plain(placed.said), told(placed)) == (words(3), words(3))
    moves = [(data["before"], data["after"], data["reason"]) for data in placed.of("engine")]
    assert moves == [("google", "google-batch", "rollout"), ("google-batch", "google", "rollout")]
    assert why(placed.report) == [("streaming", "default"), ("utterances", "all"), ("streaming", "all")]
    assert [data["mode"] for data in placed.of("rollout")][-2:] == ["utterances", "streaming"]
    assert [turn["engine"] for turn in placed.turns if turn["caller_text"]][:2] == ["google", "google-batch"]
    (other,) = others  # a new call, while it was off
    assert why(other.report)[0] == ("utterances", "all")
    assert other.report["engines"][0] == "google-batch"
    assert plain(other.said) == words(1)
    ((code, output),) = printed
    assert code == 0
    assert "Streaming is off for all calls, set by cli:" in output
    assert [answer["now"] for answer in answers] == ["streaming is on for all calls, set by api"]
    assert [(one["what"], one["why"]) for one in history] == [
        ("streaming on for all calls", ""),
        ("streaming off for all calls", "a test"),
    ]


async def test_a_share_and_numbers_a_shadow_and_the_guard(tmp_path, monkeypatch, caplog):
    """Three houses side by side: most of it is waiting for callers to speak."""
    monkeypatch.setattr(shadow, "LAG_S", 60.0)  # however busy the machine of the test is
    scenes = (a_share_of_the_calls_and_two_numbers, a_shadow_hears_the_same, streams_that_fail_are_taken_back)
    async with anyio.create_task_group() as tasks:
        for scene in scenes:
            (tmp_path / scene.__name__).mkdir()
            tasks.start_soon(scene, tmp_path / scene.__name__)
    logged = [record for record in caplog.records if record.message == "streaming was rolled back"]
    assert [record.levelname for record in logged] == ["ERROR"]


async def a_share_of_the_calls_and_two_numbers(folder):
    special, called = "+972501111111", "+97237654321"
    async with house(folder, llm=brief()) as home:

        def set_it(policy):
            now = home.house.rollouts.now()
            policy = policy.with_share(True, 50, by="test", now=now)
            return policy.with_number(special, True, now=now).with_number(called, False, now=now)

        changed = await to_thread.run_sync(
            lambda: home.house.rollouts.change(set_it, by="test", what="half, and two numbers")
        )
        with anyio.fail_after(5):
            while home.house.rollout.policy != changed.policy:
                await anyio.sleep(0.02)
        async with httpx2.AsyncClient(trust_env=False) as client:
            ready = (await client.get(f"{home.base_url}/readyz")).json()
        assert ready["hearing"] == home.house.rollout.words == "streaming is on for 50 %, set by test"
        assert [(one.part, one.why) for one in home.house.choices][:2] == [
            ("hearing", "SPEECH_EMULATOR_HOST is set"),
            ("streaming", "ENABLE_STREAMING_STT"),
        ]
        setups = [{"caller": special}, {"called": called}, {}, {}, {}]
        placed = await together(*(partial(say, home, 1, **setup) for setup in setups))
    for one, setup in zip(placed, setups, strict=True):
        ((mode, reason),) = why(one.report)
        wanted = changed.policy.decide(
            one.result.call_sid, setup.get("caller", ""), setup.get("called", ""), default=True, now=0
        )
        assert (mode, reason) == (wanted.mode, wanted.why)
        assert one.report["engines"] == ["google" if wanted.mode is Mode.STREAMING else "google-batch"]
        assert plain(one.said) == words(1)
    assert [why(one.report)[0] for one in placed] == [
        ("streaming", "number"),
        ("utterances", "number"),
        *[(why(one.report)[0][0], "percent") for one in placed[2:]],
    ]


async def a_shadow_hears_the_same(folder):
    """And the call does not notice."""
    async with house(folder, llm=brief()) as home:
        rollouts = home.house.rollouts
        await to_thread.run_sync(
            lambda: rollouts.change(lambda policy: policy.with_shadow(100), by="test", what="shadow on 100 %")
        )
        with anyio.fail_after(5):
            while home.house.rollout.policy.shadow_percent != 100:
                await anyio.sleep(0.02)
        before = home.speech.counts["recognize"]
        placed = await say(home, 2)
        assert home.speech.counts["recognize"] - before == 2  # each utterance, beside the stream
        seen = home.house.rollout.guard.figures(0)
        assert (seen.turns >= 1, seen.streams, seen.calls, seen.failed) == (True, 1, 1, 0)  # the live call's alone
        with anyio.fail_after(10):
            while not (report := await to_thread.run_sync(partial(rollouts.report, 60, examples=True)))["shadow"][
                "calls"
            ]:
                await anyio.sleep(0.05)
    assert (plain(placed.said), told(placed)) == (words(2), words(2))
    assert placed.report["engines"] == ["google"]
    assert not placed.of("engine")
    assert {data["engine"] for data in placed.of("turn.final")} == {"google"}
    found = report["shadow"]
    assert (found["calls"], found["left_early"]) == (1, {})
    for mode in ("streaming", "utterances"):
        side = found["modes"][mode]
        assert (side["utterances"], side["unanswered"], side["failures"]) == (2, 0, 0)
        assert side["final_ms"]["p95"] is not None
        assert found["words"][mode] == {"words": 2 * EACH, "difference_rate": 0.0}
    assert found["modes"]["streaming"]["partial_gap_ms"]["p50"] is not None
    assert found["modes"]["utterances"]["partial_gap_ms"]["p50"] is None
    assert found["examples"] == []
    assert report["live"]["google"]["turns"] >= 1


async def streams_that_fail_are_taken_back(folder):
    """Only streaming fails; every call keeps every word, and later ones do not even try."""
    speech = GoogleSpeech(mode="codec")
    speech.streaming_only = True
    async with house(folder, speech=speech, llm=brief(), rollback_min_turns=4) as home:
        speech.fault = Fault("error", at_ms=GREETING_MS + 700, status="UNAVAILABLE", message="502:Bad Gateway")
        placed = await together(*(partial(say, home, 2) for _ in range(3)))
        with anyio.fail_after(10):
            while home.house.rollout.guard.state != "tripped" or home.house.rollout.policy.share is None:
                await anyio.sleep(0.05)
        before = speech.counts["streams"]
        later = await say(home, 1)
        assert speech.counts["streams"] == before
        (change,) = await to_thread.run_sync(home.house.rollouts.history)
        assert home.house.rollout.words.startswith("streaming is off for all calls, rolled back by guard: ")
    for one in placed:
        assert (plain(one.said), told(one)) == (words(2), words(2))
        assert why(one.report)[0] == ("streaming", "default")
    assert ("utterances", "rollback") in [why(one.report)[-1] for one in placed]
    assert why(later.report) == [("utterances", "rollback")]
    assert (plain(later.said), later.report["engines"]) == (words(1), ["google-batch"])
    assert (change["by"], change["what"]) == ("guard", "streaming off for all calls (rollback)")
    assert change["figures"]["failed"] >= 2
    assert change["why"]
