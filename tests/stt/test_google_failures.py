"""Every way Google is known to fail, over the real wire: what the stream says of it, and what the call does then.

The texts are Google's own, or gRPC's (collected from its documentation and from public reports).
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from google.auth.credentials import AnonymousCredentials

from emulators.google_speech import AUDIO_TIMEOUT, NO_MODEL, STREAM_LIMIT, Fault, GoogleSpeech
from emulators.wordcodec import encode_words, numbered, word_times
from moked.errors import Failure, ProviderError
from moked.stt import EngineSwitched, Final, google_wire
from moked.stt.failover import OPEN_MS, Breaker, State
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances
from moked.stt.google_rules import Api, ModelLadder
from moked.stt.relay import Relay
from moked.stt.transcripts import strip_punctuation
from tests.stt.hearing import speak
from tests.stt.test_google import google, hear, is_well, say, text, write

pytestmark = pytest.mark.anyio

TOO_FAST = "Audio data is being streamed too fast. Please stream audio data approximately at real time."
TOO_SLOW = "Audio data is being streamed too slow. Please stream audio data approximately at real time."
V2_IDLE = "Stream timed out after receiving no more client requests."
V2_LIMIT = "Max duration of 5 minutes reached for stream."
CORE = "Internal error from Core"
NOT_ENABLED = "Cloud Speech-to-Text API has not been used in project 1 before or it is disabled."
BAD_KEY = "Getting metadata from plugin failed with error: ('invalid_grant: Invalid JWT Signature.', {})"
QUOTA = "Quota exceeded for quota metric 'Requests' and limit 'Requests per minute'."

TOO_LARGE = "Audio chunk can be of a a maximum of 25600 bytes. Received audio of 30000 bytes instead."

WORDS = numbered(6)
AUDIO = encode_words(WORDS, 60, lead_ms=300, tail_ms=1000)
ENDS = word_times(WORDS, 60, lead_ms=300)[-1][1]

ROWS: Sequence[tuple[str, str, Api, Failure]] = [
    ("OUT_OF_RANGE", STREAM_LIMIT, "v1", Failure.EXPIRED),
    ("OUT_OF_RANGE", AUDIO_TIMEOUT, "v1", Failure.EXPIRED),
    ("OUT_OF_RANGE", TOO_FAST, "v1", Failure.UNAVAILABLE),
    ("OUT_OF_RANGE", TOO_SLOW, "v1", Failure.UNAVAILABLE),
    ("ABORTED", V2_IDLE, "v2", Failure.EXPIRED),
    ("ABORTED", V2_LIMIT, "v2", Failure.EXPIRED),
    ("INTERNAL", CORE, "v1", Failure.UNAVAILABLE),
    ("INTERNAL", "Internal error encountered.", "v2", Failure.UNAVAILABLE),
    ("UNAVAILABLE", "502:Bad Gateway", "v1", Failure.UNAVAILABLE),
    ("UNAVAILABLE", "408:Request Timeout", "v1", Failure.UNAVAILABLE),
    ("UNAVAILABLE", "failed to connect to all addresses", "v2", Failure.UNAVAILABLE),
    ("UNAVAILABLE", BAD_KEY, "v1", Failure.AUTH),
    ("RESOURCE_EXHAUSTED", QUOTA, "v1", Failure.QUOTA),
    ("RESOURCE_EXHAUSTED", QUOTA, "v2", Failure.QUOTA),
    ("RESOURCE_EXHAUSTED", "Received message larger than max (5000000 vs. 4194304)", "v1", Failure.CONFIG),
    ("UNAUTHENTICATED", "Request had invalid authentication credentials.", "v1", Failure.AUTH),
    ("PERMISSION_DENIED", NOT_ENABLED, "v2", Failure.AUTH),
    ("DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)", "v1", Failure.TIMEOUT),
    ("INVALID_ARGUMENT", TOO_LARGE, "v2", Failure.CONFIG),
    (
        "INVALID_ARGUMENT",
        "Expected resource location to be global, but found eu in resource name.",
        "v2",
        Failure.CONFIG,
    ),
    ("UNKNOWN", "Stream removed", "v1", Failure.UNAVAILABLE),
]


@pytest.mark.parametrize("kind", ["error", "refuse"])
@pytest.mark.parametrize(("status", "words", "api", "failure"), ROWS, ids=[f"{row[2]} {row[1][:40]}" for row in ROWS])
async def test_a_stream_tells_how_it_ended(kind: Any, status: str, words: str, api: Api, failure: Failure) -> None:
    """In its middle, and before anything was said; with the words, so that a person finds them in the log."""
    async with google(GoogleSpeech(mode="codec", refused_models=()), api=api) as (emulator, engine):
        emulator.fault = Fault(kind, 300, status, words)
        end = await ending(engine)
        assert end.kind is failure
        assert words in str(end)


async def ending(engine: GoogleStreaming) -> ProviderError:
    """Of a stream that is talked to until it ends; one that is refused may end as it is opened."""
    told: list[ProviderError] = []
    try:
        async with engine.stream(origin_ms=0) as stream:

            async def feed() -> None:
                with pytest.raises(ProviderError):
                    await write(stream, AUDIO * 9, pause_s=0.004)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(feed)
                with pytest.raises(ProviderError) as caught:
                    await hear(stream)
            told.append(caught.value)
    except ProviderError as error:
        assert not told
        told.append(error)
    return told[0]


@pytest.mark.parametrize(("status", "words", "api", "failure"), ROWS, ids=[f"{row[2]} {row[1][:40]}" for row in ROWS])
async def test_an_utterance_tells_how_it_failed(status: str, words: str, api: Api, failure: Failure) -> None:
    async with google(GoogleSpeech(mode="codec", refused_models=()), batch=True, api=api) as (emulator, engine):
        emulator.fault = Fault("error", 0, status, words)
        async with engine.stream(origin_ms=0) as stream:
            await say(stream, AUDIO)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is failure
        assert words in str(caught.value)


# --- what the call does -----------------------------------------------------------------------------------------------


class Second(GoogleStreaming):
    name = "second"


Outcome = tuple[list[str], list[tuple[str, str]], State, int]


async def call(fault: Fault | None, *, api: Api = "v1", settings: Mapping[str, Any] | None = None, first: bool = True,
               prepare: Callable[[GoogleSpeech, GoogleStreaming], None] | None = None) -> Outcome:  # fmt: skip
    """One call, the second engine on an emulator of its own. The words, the moves with their reasons, and the state of
    Google's breaker at the end with the milliseconds it stays so."""
    broken, well = GoogleSpeech(mode="codec", refused_models=()), GoogleSpeech(mode="codec")
    async with broken.running() as one, well.running() as other:
        engine = GoogleStreaming(GoogleSettings(api=api, emulator_host=one, **(settings or {})))
        second = Second(GoogleSettings(emulator_host=other))
        async with engine.running(), second.running():
            if fault is not None:
                broken.faults.append(fault)
            if prepare is not None:
                prepare(broken, engine)
            breakers = {"google": Breaker(), "second": Breaker()}
            told: list[Any] = []
            relay = Relay([engine, second], told.append, breakers=breakers)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay.run)
                await speak(relay, AUDIO, 300, ENDS)
    words = [word for t in told if isinstance(t, Final) for word in strip_punctuation(t.text).split()]
    moves = [(t.after, t.reason) for t in told if isinstance(t, EngineSwitched)]
    now = int(anyio.current_time() * 1000)
    google = breakers["google"]
    return words, moves, google.state(now), max(0, google.opens_again_at - now)


async def calls(**each: Any) -> dict[str, Outcome]:
    """Calls side by side."""
    got: dict[str, Outcome] = {}

    async def one(name: str, arguments: Mapping[str, Any]) -> None:
        got[name] = await call(**arguments)

    async with anyio.create_task_group() as tasks:
        for name, arguments in each.items():
            tasks.start_soon(one, name, arguments)
    for name, (words, _, _, _) in got.items():
        assert words == WORDS, f"{name}: no word is lost or doubled"
    return got


@pytest.mark.slow
async def test_a_limit_of_the_stream_is_a_restart_without_blame() -> None:
    """Rotation was missed, or nothing was sent: Google opens another stream, and nobody is told that it is ill."""
    got = await calls(
        v1_limit={"fault": Fault("error", 1300, "OUT_OF_RANGE", STREAM_LIMIT)},
        v1_starved={"fault": Fault("error", 1300, "OUT_OF_RANGE", AUDIO_TIMEOUT)},
        v2_limit={"fault": Fault("error", 1300, "ABORTED", V2_LIMIT), "api": "v2"},
        v2_starved={"fault": Fault("error", 1300, "ABORTED", V2_IDLE), "api": "v2"},
    )
    assert {name: outcome[1:] for name, outcome in got.items()} == dict.fromkeys(
        got, ([("google", "expired")], State.CLOSED, 0)
    )


@pytest.mark.slow
async def test_what_died_for_no_known_reason_moves_the_call_and_counts() -> None:
    deaths = {
        "too_fast": ("OUT_OF_RANGE", TOO_FAST),
        "too_slow": ("OUT_OF_RANGE", TOO_SLOW),
        "artefact": ("INTERNAL", CORE),
        "internal": ("INTERNAL", "Internal error encountered."),
        "gateway": ("UNAVAILABLE", "502:Bad Gateway"),
        "request_timeout": ("UNAVAILABLE", "408:Request Timeout"),
    }
    got = await calls(**{name: {"fault": Fault("error", 1300, *words)} for name, words in deaths.items()})
    assert {name: outcome[1:] for name, outcome in got.items()} == dict.fromkeys(
        deaths, ([("second", "unavailable")], State.CLOSED, 0)
    )


async def test_two_deaths_within_ten_seconds_open_the_breaker() -> None:
    breaker = Breaker()
    async with google() as (emulator, engine):
        for now in (1000, 5000):
            emulator.faults.append(Fault("error", 0, "UNAVAILABLE", "502:Bad Gateway"))
            with pytest.raises(ProviderError) as caught:
                async with engine.stream(origin_ms=0) as stream:
                    await write(stream, AUDIO[:8000], pause_s=0.001)
                    await hear(stream)
            breaker.failed(now, caught.value.kind)
    assert breaker.state(5000) is State.OPEN


@pytest.mark.slow
async def test_quota_and_a_refused_key_open_the_breaker_for_everybody() -> None:
    """One is enough, and for minutes: the next call would get the same answer."""
    got = await calls(
        quota={"fault": Fault("error", 1300, "RESOURCE_EXHAUSTED", QUOTA)},
        quota_inside_an_answer={"fault": Fault("answer_error", 1300, "RESOURCE_EXHAUSTED", QUOTA)},
        key={"fault": Fault("error", 1300, "UNAUTHENTICATED", "Request had invalid authentication credentials.")},
        not_enabled={"fault": Fault("refuse", 0, "PERMISSION_DENIED", NOT_ENABLED), "api": "v2"},
    )
    for name, kind in (
        ("quota", Failure.QUOTA),
        ("quota_inside_an_answer", Failure.QUOTA),
        ("key", Failure.AUTH),
        ("not_enabled", Failure.AUTH),
    ):
        _, moves, state, left_ms = got[name]
        assert (moves, state) == ([("second", kind.value)], State.OPEN), name
        assert OPEN_MS[kind] - 10_000 < left_ms <= OPEN_MS[kind] * 1.2, name


@pytest.mark.slow
async def test_a_refused_model_or_feature_is_climbed_down_from_within_the_call() -> None:
    """It is no reason to leave Google: the stream goes on, on another model or without what was refused."""

    def forget(emulator: GoogleSpeech, engine: GoogleStreaming) -> None:
        emulator.refused_models = frozenset(("phone_call",))
        engine._wire.ladder = ModelLadder(*engine._wire.ladder.rungs)

    def lose(emulator: GoogleSpeech, engine: GoogleStreaming) -> None:
        emulator.world.lacking = {"long": frozenset(("word_time_offsets", "automatic_punctuation"))}
        engine._wire.ladder = ModelLadder(*engine._wire.ladder.rungs)

    refused = Fault("error", 1300, "INVALID_ARGUMENT", NO_MODEL.format(model="phone_call", language="iw-IL"))
    got = await calls(
        at_once={"fault": None, "prepare": forget},
        after_it_had_worked={"fault": refused},
        features={"fault": None, "api": "v2", "prepare": lose},
    )
    assert {name: outcome[1:] for name, outcome in got.items()} == {
        "at_once": ([], State.CLOSED, 0),
        "after_it_had_worked": ([("google", "expired")], State.CLOSED, 0),
        "features": ([], State.CLOSED, 0),
    }


@pytest.mark.slow
async def test_broken_connections_and_foreign_answers_move_the_call() -> None:
    got = await calls(
        reset={"fault": Fault("reset", 1300)},
        garbage={"fault": Fault("garbage", 1300)},
        garbage_v2={"fault": Fault("garbage", 1300), "api": "v2"},
        closed={"fault": Fault("close", 1300)},
        deadline={"fault": Fault("error", 1300, "DEADLINE_EXCEEDED", "Stream removed (Deadline Exceeded)")},
    )
    assert {name: outcome[1] for name, outcome in got.items()} == {
        "reset": [("second", "unavailable")],
        "garbage": [("second", "protocol")],
        "garbage_v2": [("second", "protocol")],
        "closed": [("second", "closed")],
        "deadline": [("second", "timeout")],
    }


@pytest.mark.slow
async def test_one_stream_too_many_is_that_calls_own_affair() -> None:
    """Our own limit is reached: this call is heard by the next engine, and Google stays well for everybody else."""
    held: list[Any] = []

    def hold(emulator: GoogleSpeech, engine: GoogleStreaming) -> None:
        held.append(engine._wire.call())

    got = await calls(full={"fault": None, "settings": {"max_streams": 1}, "prepare": hold})
    assert got["full"][1:] == ([("second", "full")], State.CLOSED, 0)


# --- no Google at all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["garbage", "half_open"])
async def test_an_utterance_that_gets_no_answer_is_given_up(kind: Any) -> None:
    async with google(batch=True, recognize_timeout_s=0.4) as (emulator, engine):
        emulator.faults.append(Fault(kind))
        async with engine.stream(origin_ms=0) as stream:
            await say(stream, AUDIO)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
    assert caught.value.kind is (Failure.PROTOCOL if kind == "garbage" else Failure.TIMEOUT)


async def test_a_stream_on_a_dead_connection_is_given_up() -> None:
    async with google(drain_s=0.3) as (emulator, engine):
        emulator.faults.append(Fault("half_open", 200))
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, AUDIO)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.TIMEOUT


@pytest.mark.parametrize("api", ["v1", "v2"])
async def test_a_stream_that_google_never_begins_is_given_up(api: Api) -> None:
    """Its headers do not come either: gRPC is then cancelled at another place, and says so in another way."""
    async with google(GoogleSpeech(mode="codec", refused_models=()), api=api, drain_s=0.3) as (emulator, engine):
        emulator.faults.append(Fault("slow_connect", delay_ms=60_000))
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, AUDIO)
            await stream.finish()
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
        assert caught.value.kind is Failure.TIMEOUT
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, AUDIO)
            await stream.finish()
            assert text(await hear(stream)) == " ".join(WORDS)


async def test_a_dead_connection_is_found_out_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged any more: the kernel gives it up, and the next stream has another connection."""
    timeout = ("grpc.keepalive_timeout_ms", 1000)
    monkeypatch.setattr(google_wire, "_KEEP_ALIVE", (*google_wire._KEEP_ALIVE[:1], timeout))
    async with google(channels=1) as (emulator, engine):
        emulator.faults.append(Fault("half_open", 300))
        async with engine.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(write, stream, AUDIO, 0.01)
            with pytest.raises(ProviderError) as caught:
                await hear(stream)
            tasks.cancel_scope.cancel()
        assert caught.value.kind is Failure.UNAVAILABLE
        async with engine.stream(origin_ms=0) as stream:
            await write(stream, AUDIO)
            await stream.finish()
            assert text(await hear(stream)) == " ".join(WORDS)


async def test_goaway_lets_the_open_stream_end_and_takes_no_other() -> None:
    async with google(channels=1, connect_timeout_s=0.5) as (emulator, engine):
        port = int(emulator.target.rsplit(":", 1)[1])
        async with engine.stream(origin_ms=0) as stream, anyio.create_task_group() as tasks:
            await write(stream, AUDIO[:8000], pause_s=0.001)
            tasks.start_soon(emulator.kill, 5.0)
            await anyio.sleep(0.1)
            with pytest.raises(ProviderError) as caught:
                async with engine.stream(origin_ms=0):
                    raise AssertionError
            assert caught.value.kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)
            await write(stream, AUDIO[8000:])
            await stream.finish()
            assert text(await hear(stream)) == " ".join(WORDS)
        await emulator.start(port)
        await is_well(engine, AUDIO, WORDS)


@asynccontextmanager
async def somebody_else(answer: bytes) -> AsyncIterator[str]:
    """A server of another protocol; yields its host:port."""

    async def serve(stream: Any) -> None:
        async with stream:
            await stream.receive()
            await stream.send(answer)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, serve)
        yield f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",  # a TLS alert: protocol version
        b"\x00\xff garbage \xfe" * 50,
    ],
    ids=["http/1", "tls", "garbage"],
)
@pytest.mark.parametrize("engine_class", [GoogleStreaming, GoogleUtterances])
async def test_a_server_of_another_protocol_is_unavailable(answer: bytes, engine_class: Any) -> None:
    async with somebody_else(answer) as host:
        engine = engine_class(GoogleSettings(emulator_host=host, connect_timeout_s=0.5, recognize_timeout_s=1.0))
        async with engine.running():
            with pytest.raises(ProviderError) as caught:
                async with engine.stream(origin_ms=0) as stream:
                    await say(stream, AUDIO)
                    await stream.finish()
                    await hear(stream)
    assert caught.value.kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)


async def test_tls_to_a_server_without_it_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key and a proxy that speaks plaintext."""
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        monkeypatch.setattr(google_wire.rules, "host", lambda location: target)
        monkeypatch.setattr(google_wire, "_credentials", lambda path: (AnonymousCredentials(), "p"))
        engine = GoogleStreaming(GoogleSettings(connect_timeout_s=0.5))
        async with engine.running():
            with pytest.raises(ProviderError) as caught:
                async with engine.stream(origin_ms=0):
                    raise AssertionError
    assert caught.value.kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)
    assert not emulator.streams
