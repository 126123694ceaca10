"""Google's engines against the emulator: batches, models, endings, and nothing left behind."""

import asyncio
import gc
import logging
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import grpc.aio
import psutil
import pytest

from emulators.google_speech import AUDIO_TIMEOUT, NO_MODEL, STREAM_LIMIT, Fault, GoogleSpeech
from emulators.wordcodec import encode_words, numbered
from moked.audio import FRAME_BYTES, ms, silence
from moked.errors import Failure, ProviderError, SettingsError
from moked.stt import Final, Interim, Stream
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances
from moked.stt.google_rules import ModelLadder, models

pytestmark = pytest.mark.anyio
WORDS = numbered(5)
SPEECH = encode_words(WORDS, 100, lead_ms=100, tail_ms=400)


@asynccontextmanager
async def google(
    emulator: GoogleSpeech | None = None, *, batch: bool = False, **settings: Any
) -> AsyncIterator[tuple[GoogleSpeech, GoogleStreaming | GoogleUtterances]]:
    emulator = emulator or GoogleSpeech(mode="codec", refused_models=())
    async with emulator.running() as target:
        made = GoogleSettings(emulator_host=target, **settings)
        engine = GoogleUtterances(made) if batch else GoogleStreaming(made)
        async with engine.running():
            yield emulator, engine


async def write(stream: Stream, audio: bytes, pause_s: float = 0.0) -> None:
    for start in range(0, len(audio), FRAME_BYTES):
        await stream.write(audio[start : start + FRAME_BYTES])
        if pause_s:
            await anyio.sleep(pause_s)


async def hear(stream: Stream) -> list[Interim | Final]:
    with anyio.fail_after(15):
        return [item async for item in stream]


async def is_well(engine: GoogleStreaming, audio: bytes, words: list[str]) -> None:
    """Before long a new stream hears all of it."""
    with anyio.fail_after(10):
        while True:
            try:
                async with engine.stream(origin_ms=0) as stream:
                    await write(stream, audio)
                    await stream.finish()
                    assert text(await hear(stream)) == " ".join(words)
                    return
            except ProviderError:
                await anyio.sleep(0.1)


def text(heard: list[Interim | Final]) -> str:
    return " ".join(item.text.strip(".") for item in heard if isinstance(item, Final))


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_audio_leaves_in_batches_of_audio_time() -> None:
    async with google() as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await write(stream, SPEECH, pause_s=0.001)
        await stream.finish()
        assert text(await hear(stream)) == " ".join(WORDS)
    sizes = emulator.streams[-1].messages
    assert sum(sizes) == len(SPEECH) + 600 * 8, "the call's audio, and silence before the half-close"
    assert sizes[:5] == [1280] * 5


async def test_a_batch_does_not_wait_for_audio_that_does_not_come() -> None:
    async with google(batch_ms=60) as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await stream.write(silence(20))
        with anyio.fail_after(1):
            while len(emulator.streams) < 2 or not emulator.streams[-1].messages:  # the first was the probe
                await anyio.sleep(0.005)
        assert emulator.streams[-1].messages == [160]


async def test_the_end_of_speech_flushes() -> None:
    async with google(batch_ms=10_000) as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await stream.write(silence(100))
        stream.speech_ended(80)
        with anyio.fail_after(1):
            while len(emulator.streams) < 2 or not emulator.streams[-1].messages:  # the first was the probe
                await anyio.sleep(0.005)
        assert emulator.streams[-1].messages == [800]


async def test_after_a_pause_audio_leaves_as_it_comes() -> None:
    """The words of the turn's end are all that is waited for then."""
    async with google(batch_ms=10_000) as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await stream.write(silence(100))
        stream.speech_paused(80)
        for waiting in (1, 2):
            with anyio.fail_after(1):
                while len(emulator.streams) < 2 or len(emulator.streams[-1].messages) < waiting:
                    await anyio.sleep(0.005)
            await stream.write(silence(40))
        with anyio.fail_after(1):
            while len(emulator.streams[-1].messages) < 3:
                await anyio.sleep(0.005)
        assert emulator.streams[-1].messages == [800, 320, 320]


async def test_whole_utterances_are_refused_at_once_where_nobody_answers() -> None:
    async with GoogleSpeech(mode="codec").running() as target:
        pass  # it was there, and is gone
    engine = GoogleUtterances(GoogleSettings(emulator_host=target))
    async with engine.running():
        with pytest.raises(ProviderError) as caught:
            async with engine.stream(origin_ms=0):
                pytest.fail("a stream that nobody will hear")
    assert caught.value.kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)


async def test_a_burst_loses_nothing() -> None:
    words = numbered(60)
    async with google() as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await write(stream, encode_words(words, 60))
        await stream.finish()
        heard = await hear(stream)
    assert text(heard) == " ".join(words)
    assert max(emulator.streams[-1].messages) <= 12_000
    assert engine.stats.dropped_ms == 0


async def test_the_configuration_is_what_the_settings_say() -> None:
    async with google(punctuation_final=False) as (emulator, engine):
        hints = [" דנה לוי ", "", "א" * 300, *(f"רמז {n}" for n in range(200))]
        async with engine.stream(origin_ms=0, hints=hints) as stream:
            await stream.finish()
            await hear(stream)
        log = emulator.streams[-1]
        assert (log.model, log.language, log.punctuation) == ("phone_call", "he-IL", False)
        assert len(log.phrases) == 100
        assert log.phrases[:2] == ("דנה לוי", "א" * 100)


@pytest.mark.parametrize(("interim", "final"), [(True, True), (False, True), (True, False), (False, False)])
async def test_punctuation_is_where_it_is_wanted(interim: bool, final: bool) -> None:
    async with google(punctuation_interim=interim, punctuation_final=final) as (emulator, engine):
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, SPEECH)
            await stream.finish()
            (last,) = [item for item in await hear(stream) if isinstance(item, Final)]
        assert last.text == " ".join(WORDS) + ("." if final else "")
        assert emulator.streams[-1].punctuation == (interim or final)


async def test_calls_are_spread_over_connections() -> None:
    async with google(channels=2) as (emulator, engine):
        emulator.streams.clear()
        async with engine.stream(origin_ms=0), engine.stream(origin_ms=0):
            await anyio.sleep(0.05)
            assert len({log.peer for log in emulator.streams}) == 2


# --- models -----------------------------------------------------------------------------------------------------------


async def test_a_refused_model_is_climbed_down_from_at_start_up(caplog: pytest.LogCaptureFixture) -> None:
    emulator = GoogleSpeech(mode="codec", refused_models=("phone_call", "default"))
    with caplog.at_level(logging.INFO):
        async with google(emulator) as (_, engine):
            assert engine.model == "command_and_search"
            for _ in range(2):
                async with engine.stream(origin_ms=0) as stream:
                    await stream.finish()
                    await hear(stream)
    assert [log.model for log in emulator.streams][-2:] == ["command_and_search"] * 2
    assert [record.message for record in caplog.records].count("speech model refused") == 2
    assert [record.message for record in caplog.records].count("speech model works") == 1


@pytest.mark.parametrize("pause_s", [0.0, 0.003])
@pytest.mark.parametrize("refused", [("phone_call",), ("phone_call", "default", "command_and_search")])
async def test_a_model_refused_in_a_call_loses_nothing(refused: tuple[str, ...], pause_s: float) -> None:
    emulator = GoogleSpeech(mode="codec")
    async with google(emulator) as (_, engine):
        engine._wire.ladder = ModelLadder(*models("v1", "phone_call"))  # as if there had been no probe
        emulator.refused_models = frozenset(refused)
        async with engine.stream(origin_ms=7000) as stream:
            await write(stream, SPEECH, pause_s)
            await stream.finish()
            heard = await hear(stream)
        assert text(heard) == " ".join(WORDS)
        final = [item for item in heard if isinstance(item, Final)][-1]
        assert final.start_ms == 7100
        assert engine.model == ("default" if refused == ("phone_call",) else "")


async def test_when_every_model_is_refused_the_configuration_is_wrong() -> None:
    emulator = GoogleSpeech(mode="codec")
    async with google(emulator) as (_, engine):
        emulator.refused_models = frozenset(("phone_call", "default", "command_and_search", ""))
        engine._wire.ladder = ModelLadder(*models("v1", "phone_call"))
        async with engine.stream(origin_ms=0) as stream:
            await stream.write(silence(200))
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.CONFIG
        assert "not supported for language" in str(caught.value)


async def test_a_model_refused_after_it_worked_asks_for_another_stream() -> None:
    async with google() as (emulator, engine):
        emulator.refused_models = frozenset(("phone_call",))
        async with engine.stream(origin_ms=0) as stream:
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.EXPIRED
        assert engine.model == "default"


async def test_a_failing_probe_does_not_stop_the_start(caplog: pytest.LogCaptureFixture) -> None:
    emulator = GoogleSpeech(mode="codec", refused_models=())
    emulator.faults.append(Fault("refuse"))
    async with google(emulator) as (_, engine), engine.stream(origin_ms=0) as stream:
        await write(stream, SPEECH)
        await stream.finish()
        assert text(await hear(stream)) == " ".join(WORDS)
    assert "Google Speech does not answer yet" in caplog.text


# --- endings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("error", 500, "OUT_OF_RANGE", STREAM_LIMIT), Failure.EXPIRED),
        (Fault("error", 500, "OUT_OF_RANGE", AUDIO_TIMEOUT), Failure.EXPIRED),
        (Fault("error", 500, "RESOURCE_EXHAUSTED", "Quota exceeded"), Failure.QUOTA),
        (Fault("error", 500, "UNAUTHENTICATED", "no"), Failure.AUTH),
        (Fault("error", 500, "INTERNAL", "Internal error encountered."), Failure.UNAVAILABLE),
        (Fault("refuse", 0, "PERMISSION_DENIED", "no"), Failure.AUTH),
        (Fault("reset", 500), Failure.UNAVAILABLE),
        (Fault("close", 500), Failure.CLOSED),
        (Fault("error", 500, "INVALID_ARGUMENT", NO_MODEL.format(model="x", language="iw-IL")), Failure.EXPIRED),
    ],
    ids=lambda value: value.value if isinstance(value, Failure) else value.kind,
)
async def test_every_ending_is_told(fault: Fault, kind: Failure) -> None:
    async with google() as (emulator, engine):
        emulator.fault = fault
        async with engine.stream(origin_ms=0) as stream:

            async def feed() -> None:
                with pytest.raises(ProviderError):
                    await write(stream, silence(10_000), pause_s=0.005)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed)
                with pytest.raises(ProviderError) as caught:
                    await hear(stream)
        assert caught.value.kind is kind
        assert engine.stats.failures[kind.value] + (kind is Failure.EXPIRED) >= 1


async def test_the_stream_limit_is_seen_by_a_real_stream() -> None:
    async with google(GoogleSpeech(mode="codec", refused_models=(), limit_s=1.0)) as (_, engine):
        async with engine.stream(origin_ms=0) as stream:
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.EXPIRED


async def test_a_stream_that_hangs_after_finish_is_given_up() -> None:
    async with google(drain_s=0.2) as (emulator, engine):
        emulator.faults.append(Fault("stall"))
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, SPEECH)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.TIMEOUT


async def test_nobody_there_is_unavailable_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    engine = GoogleStreaming(GoogleSettings(emulator_host=f"127.0.0.1:{port}"))
    async with engine.running():
        start = time.monotonic()
        with pytest.raises(ProviderError) as caught:
            async with engine.stream(origin_ms=0):
                raise AssertionError
        assert caught.value.kind is Failure.UNAVAILABLE
        assert time.monotonic() - start < 1.0


async def test_a_host_that_says_nothing_is_a_timeout() -> None:
    with socket.socket() as mute:  # the handshake is never answered
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        host = f"127.0.0.1:{mute.getsockname()[1]}"
        engine = GoogleStreaming(GoogleSettings(emulator_host=host, connect_timeout_s=0.2))
        async with engine.running():
            with pytest.raises(ProviderError) as caught:
                async with engine.stream(origin_ms=0):
                    raise AssertionError
            assert caught.value.kind is Failure.TIMEOUT


async def test_killed_in_mid_sentence_and_back_again() -> None:
    emulator = GoogleSpeech(mode="codec", refused_models=())
    async with google(emulator) as (_, engine):
        port = int(emulator.target.rsplit(":", 1)[1])
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, SPEECH[:8000])
            await emulator.kill()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
            assert caught.value.kind is Failure.UNAVAILABLE
        await emulator.start(port)
        await is_well(engine, SPEECH, WORDS)


async def test_a_stream_that_takes_nothing_is_given_up_before_it_has_a_hole() -> None:
    async with google(bound_ms=100) as (_, engine), engine.stream(origin_ms=0) as stream:
        stuck = anyio.Event()

        class Stuck:
            """gRPC whose window is full."""

            def __getattr__(self, name: str) -> Any:
                return getattr(call, name)

            async def write(self, request: Any) -> None:
                await stuck.wait()
                await call.write(request)

        made: Any = stream
        call = made._call
        made._call = Stuck()
        await anyio.sleep(0)
        start = time.monotonic()
        with pytest.raises(ProviderError) as caught:
            await write(stream, silence(3000))
        assert caught.value.kind is Failure.TIMEOUT
        assert 0.05 < time.monotonic() - start < 2.0
        assert made._uplink.dropped == 0
        stuck.set()


async def test_unread_interims_are_replaced_and_finals_kept() -> None:
    async with google() as (_, engine), engine.stream(origin_ms=0) as stream:
        for _ in range(3):
            await write(stream, SPEECH, pause_s=0.0005)
        await stream.finish()
        await anyio.sleep(0.2)
        made: Any = stream
        assert len(made._inbox) == 3
        assert all(isinstance(item, Final) for item in await hear(stream))


async def test_a_call_that_is_left_ends_at_google_at_once() -> None:
    """Whoever still holds it, it is not billed any more, and its place is free."""
    async with google() as (emulator, engine):
        call = engine._wire.call()
        await call.write(engine._wire.dialect.first(engine._wire.wish(())))
        with anyio.fail_after(1):
            while not emulator.open_streams:
                await anyio.sleep(0.01)
            for _ in range(2):  # twice does no harm
                call.cancel()
            while emulator.open_streams:
                await anyio.sleep(0.01)
        assert engine.stats.open_streams == 0


async def test_what_google_bills_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with google() as (_, engine):
        before = engine.stats.billed_ms
        with caplog.at_level(logging.INFO):
            async with engine.stream(origin_ms=0) as stream:
                await write(stream, silence(2000))
                await stream.finish()
                await hear(stream)
        assert engine.stats.billed_ms - before == 3000  # 2.6 s, in whole seconds
    (record,) = [record for record in caplog.records if record.message == "Google stream ended"]
    assert (record.sent_ms, record.billed_ms, record.status) == (2000, 3000, "OK")  # type: ignore[attr-defined]


async def test_two_hundred_streams_leave_nothing_behind() -> None:
    async with google() as (emulator, engine):
        process = psutil.Process()

        async def one(number: int) -> None:
            with suppress(ProviderError):
                await hurry(number)

        async def hurry(number: int) -> None:
            async with engine.stream(origin_ms=0) as stream:
                await stream.write(SPEECH[:2400])
                match number % 4:
                    case 0:
                        await stream.finish()
                        await hear(stream)
                    case 1:
                        await anyio.sleep(0)
                    case 2:
                        emulator.faults.append(Fault("error"))
                    case 3:
                        with anyio.move_on_after(0.001):
                            await hear(stream)

        async with engine.stream(origin_ms=0), engine.stream(origin_ms=0):
            await anyio.sleep(0.1)  # both connections are there
        await anyio.sleep(0.1)
        tasks, files = len(asyncio.all_tasks()), process.num_fds()
        for start in range(0, 200, 20):
            async with anyio.create_task_group() as group:
                for number in range(start, start + 20):
                    group.start_soon(one, number)
        with anyio.fail_after(3):
            while len(asyncio.all_tasks()) > tasks or emulator.open_streams:
                await anyio.sleep(0.02)
        gc.collect()
        assert process.num_fds() <= files
        assert engine.stats.open_streams == 0
        assert sum(line.busy for line in engine._wire._lines) == 0
        calls = [thing for thing in gc.get_objects() if isinstance(thing, grpc.aio.StreamStreamCall)]
        assert len(calls) <= 2


# --- whole utterances -------------------------------------------------------------------------------------------------


async def say(stream: Stream, audio: bytes, at_ms: int = 0) -> None:
    stream.speech_started(at_ms)
    await write(stream, audio)
    stream.speech_ended(at_ms + ms(audio))


async def test_an_utterance_is_one_request() -> None:
    async with google(batch=True) as (emulator, engine), engine.stream(origin_ms=0, hints=["דנה"]) as stream:
        before = emulator.counts["recognize"]
        await say(stream, SPEECH)
        await stream.finish()
        heard = await hear(stream)
        assert text(heard) == " ".join(WORDS)
        assert emulator.counts["recognize"] == before + 1
        assert emulator.streams[-1].phrases == ("דנה",)


async def test_one_absence_is_forgiven_and_two_are_not() -> None:
    async with google(batch=True) as (emulator, engine):
        emulator.faults.append(Fault("error"))
        async with engine.stream(origin_ms=0) as stream:
            await say(stream, SPEECH)
            await stream.finish()
            assert text(await hear(stream)) == " ".join(WORDS)
        emulator.faults.extend([Fault("error"), Fault("error")])
        async with engine.stream(origin_ms=0) as stream:
            await say(stream, SPEECH)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
            assert caught.value.kind is Failure.UNAVAILABLE


async def test_a_late_answer_is_a_timeout() -> None:
    async with google(batch=True, recognize_timeout_s=0.1) as (emulator, engine):
        emulator.faults.append(Fault("stall"))
        async with engine.stream(origin_ms=0) as stream:
            await say(stream, SPEECH)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
            assert caught.value.kind is Failure.TIMEOUT


async def test_the_models_are_climbed_for_utterances_too() -> None:
    emulator = GoogleSpeech(mode="codec", refused_models=("phone_call", "default"))
    async with google(emulator, batch=True) as (_, engine):
        assert engine.model == "command_and_search"


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_a_broken_key_file_names_the_variable(tmp_path: Path) -> None:
    for content in ("not json", "{}", '{"type": "service_account"}'):
        path = tmp_path / "key.json"
        path.write_text(content, encoding="utf-8")
        engine = GoogleStreaming(GoogleSettings(credentials_file=str(path)))
        with pytest.raises(SettingsError, match="GOOGLE_APPLICATION_CREDENTIALS"):
            async with engine.running():
                raise AssertionError
    engine = GoogleStreaming(GoogleSettings(credentials_file=str(tmp_path / "absent.json")))
    with pytest.raises(SettingsError, match=r"absent\.json"):
        async with engine.running():
            raise AssertionError
