"""API v2 where it differs from v1: the recognizer's path, its models and features, its limits; over the real wire."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from google.auth.credentials import AnonymousCredentials

from emulators.google_speech import Fault, GoogleSpeech
from emulators.wordcodec import encode_words, numbered
from moked.errors import Failure, ProviderError, SettingsError
from moked.stt import Final, google_wire
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances, survey
from moked.stt.google_rules import ModelLadder
from tests.stt.test_google import hear, say, text, write

pytestmark = pytest.mark.anyio
WORDS = numbered(5)
SPEECH = encode_words(WORDS, 100, lead_ms=100, tail_ms=400)
BOTH = pytest.mark.parametrize("batch", [False, True], ids=["streaming", "utterances"])


@asynccontextmanager
async def v2(
    *, batch: bool = False, lacking: Mapping[str, frozenset[str]] | None = None, **settings: Any
) -> AsyncIterator[tuple[GoogleSpeech, GoogleStreaming | GoogleUtterances]]:
    emulator = GoogleSpeech(mode="codec")
    if lacking is not None:
        emulator.world.lacking = lacking
    async with emulator.running() as target:
        made = GoogleSettings(api="v2", emulator_host=target, **settings)
        engine = GoogleUtterances(made) if batch else GoogleStreaming(made)
        async with engine.running():
            yield emulator, engine


async def one_utterance(engine: GoogleStreaming | GoogleUtterances, hints: tuple[str, ...] = ()) -> list[Any]:
    async with engine.stream(origin_ms=0, hints=hints) as stream:
        await say(stream, SPEECH)
        await stream.finish()
        return await hear(stream)


@BOTH
async def test_hebrew_is_asked_for_in_a_project_and_a_location(batch: bool) -> None:
    async with v2(batch=batch, location="eu", project="my-project") as (emulator, engine):
        heard = await one_utterance(engine)
        assert text(heard) == " ".join(WORDS)
        log = emulator.streams[-1]
        assert (log.api, log.project, log.location, log.language) == ("v2", "my-project", "eu", "iw-IL")
        routing = log.metadata["x-goog-request-params"]
        assert routing == "recognizer=projects%2Fmy-project%2Flocations%2Feu%2Frecognizers%2F_"


async def test_results_are_in_call_time() -> None:
    async with v2() as (emulator, engine), engine.stream(origin_ms=7000) as stream:
        await write(stream, SPEECH)
        await stream.finish()
        (final,) = [item for item in await hear(stream) if isinstance(item, Final)]
        assert final.start_ms == 7100
        assert [word.text for word in final.words] == WORDS
        assert 7100 <= final.words[-1].end_ms <= final.end_ms <= 7000 + len(SPEECH) // 8
    assert engine.stats.billed_ms > 0
    assert max(emulator.streams[-1].messages) <= 12_000


async def test_a_burst_never_makes_a_message_too_large() -> None:
    """v2 refuses audio messages of more than 25,600 bytes, and refused 15,360 in 2023."""
    words = numbered(60)
    async with v2() as (emulator, engine), engine.stream(origin_ms=0) as stream:
        await write(stream, encode_words(words, 60))
        await stream.finish()
        assert text(await hear(stream)) == " ".join(words)
        assert max(emulator.streams[-1].messages) <= 12_000


@pytest.mark.parametrize(
    ("location", "configured", "used"),
    [
        ("global", "phone_call", "long"),
        ("global", "chirp_3", "long"),
        ("eu", "chirp_3", "chirp_3"),
        ("us-central1", "chirp_2", "chirp_2"),
        ("global", "default", "long"),
    ],
)
async def test_the_ladder_ends_at_a_model_of_the_location(location: str, configured: str, used: str) -> None:
    async with v2(location=location, model=configured) as (_, engine):
        assert engine.model == used


@BOTH
async def test_a_model_that_was_closed_is_no_refused_key(batch: bool) -> None:
    async with v2(batch=batch) as (emulator, engine):
        emulator.world.closed = frozenset(("long",))
        engine._wire.ladder = ModelLadder(*engine._wire.ladder.rungs)  # as if there had been no probe
        assert text(await one_utterance(engine)) == " ".join(WORDS)
        assert engine.model == "short"
        emulator.world.closed = frozenset(engine._wire.ladder.rungs)
        engine._wire.ladder = ModelLadder(*engine._wire.ladder.rungs)
        with pytest.raises(ProviderError, match="no longer generally available") as caught:
            await one_utterance(engine)
        assert caught.value.kind is Failure.CONFIG


@BOTH
@pytest.mark.parametrize(
    ("feature", "phrases", "boost"), [("speech_adaptation_boost", ("דנה",), 0.0), ("speech_adaptation", (), 0.0)]
)
async def test_a_refused_hint_is_left_out_and_nothing_is_lost(
    batch: bool, feature: str, phrases: tuple[str, ...], boost: float, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = {"long": frozenset((feature,))}
    with caplog.at_level(logging.WARNING):
        async with v2(batch=batch, lacking=lacking) as (emulator, engine):
            engine._wire.ladder = ModelLadder("long")  # as if there had been no probe
            for _ in range(2):
                assert text(await one_utterance(engine, hints=("דנה",))) == " ".join(WORDS)
            assert (emulator.streams[-1].phrases, emulator.streams[-1].boost) == (phrases, boost)
            assert engine.model == "long"
    told = [record for record in caplog.records if record.message == "speech model has not all that was asked"]
    assert len(told) == 2, "once by the probe, and once by the ladder that had not seen it"


async def test_hints_stay_where_they_are_taken() -> None:
    async with v2(hint_boost=7.0) as (emulator, engine):
        await one_utterance(engine, hints=("דנה לוי",))
        assert (emulator.streams[-1].phrases, emulator.streams[-1].boost) == (("דנה לוי",), 7.0)


async def test_chirp_without_words_still_has_its_place_in_the_call() -> None:
    async with v2(location="eu", model="chirp_3") as (_, engine):
        (final,) = [item for item in await one_utterance(engine) if isinstance(item, Final)]
        assert (final.words, final.start_ms) == ((), 0)
        assert final.end_ms > 500


async def test_a_place_that_is_none_is_a_wrong_configuration() -> None:
    async with v2(location="mars-north1") as (_, engine):
        with pytest.raises(ProviderError, match="mars-north1") as caught:
            await one_utterance(engine)
        assert caught.value.kind is Failure.CONFIG


async def test_its_own_limits_are_restarts() -> None:
    async with v2() as (emulator, engine):
        emulator.limit_s = 0.3
        with pytest.raises(ProviderError, match="Max duration of 5 minutes") as caught:
            async with engine.stream(origin_ms=0) as stream:
                await hear(stream)
        assert caught.value.kind is Failure.EXPIRED
        emulator.limit_s, emulator.audio_timeout_s = 305.0, 0.3
        with pytest.raises(ProviderError, match="no more client requests") as caught:
            async with engine.stream(origin_ms=0) as stream:
                await hear(stream)
        assert caught.value.kind is Failure.EXPIRED


# --- where the project and the server come from -----------------------------------------------------------------------


async def test_the_project_comes_from_the_credentials_or_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    hosts: list[str] = []

    class Transport:
        @staticmethod
        def create_channel(host: str, **more: Any) -> str:
            hosts.append(host)
            return host

    monkeypatch.setattr(google_wire, "SpeechGrpcAsyncIOTransport", Transport)

    async def recognizer(known: str | None, **settings: Any) -> Any:
        monkeypatch.setattr(google_wire, "_credentials", lambda path: (AnonymousCredentials(), known))
        wire = google_wire.Wire("google", GoogleSettings(**{"api": "v2", **settings}))
        (await wire._maker())()
        return dict(wire.dialect.metadata).get("x-goog-request-params", "").partition("=")[2].split("%2F")[1:4:2]

    assert await recognizer("theirs") == ["theirs", "global"]
    assert await recognizer("theirs", project="mine", location="us") == ["mine", "us"]
    with pytest.raises(SettingsError, match=r"GCP_PROJECT.*Set GCP_PROJECT to the project's ID, or GCP_STT_API=v1"):
        await recognizer(None)
    assert await recognizer(None, api="v1", location="eu") == []
    assert hosts == ["speech.googleapis.com", "us-speech.googleapis.com", "speech.googleapis.com"]


# --- the survey -------------------------------------------------------------------------------------------------------


@BOTH
async def test_the_survey_asks_every_model_once_and_repeats_googles_words(batch: bool) -> None:
    emulator = GoogleSpeech(mode="codec")
    emulator.world.lacking = {"long": frozenset(("speech_adaptation_boost",))}
    async with emulator.running() as target:
        found = await survey(GoogleSettings(api="v2", emulator_host=target), streaming=not batch)
        assert {answer.model: answer.accepted for answer in found.answers} == {
            "telephony": False,
            "long": True,
            "chirp_3": False,
            "chirp_2": False,
            "short": True,
        }
        assert found.answers[0].words.startswith('The language "iw-IL" is not supported by the model "telephony"')
        assert found.answers[1].without == {"boost"}
        assert (found.api, found.location, found.elsewhere) == ("v2", "global", [])
        assert len(emulator.streams) <= 7
        assert emulator.open_streams == 0


async def test_where_no_model_is_taken_the_survey_looks_elsewhere() -> None:
    emulator = GoogleSpeech(mode="codec")
    emulator.world.without_hebrew = frozenset(("telephony", "long", "short"))
    async with emulator.running() as target:
        found = await survey(GoogleSettings(api="v2", emulator_host=target))
    assert not any(answer.accepted for answer in found.answers)
    assert found.elsewhere == [
        ("us", "chirp_3"),
        ("eu", "chirp_3"),
        ("us-central1", "chirp_2"),
        ("europe-west4", "chirp_2"),
    ]


@BOTH
async def test_a_survey_does_not_wait_for_ever(batch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moked.stt.google._ASK_S", 0.3)
    emulator = GoogleSpeech(mode="codec")
    emulator.fault = Fault("slow_connect", delay_ms=60_000)
    async with emulator.running() as target:
        with anyio.fail_after(5), pytest.raises(ProviderError, match=r"no answer within 0\.3 s") as caught:
            await survey(GoogleSettings(emulator_host=target), streaming=not batch)
        assert caught.value.kind is Failure.TIMEOUT
        with anyio.fail_after(2):
            while emulator.open_streams:
                await anyio.sleep(0.01)


@BOTH
async def test_a_survey_of_a_google_that_refuses_the_key_says_so(batch: bool) -> None:
    emulator = GoogleSpeech(mode="codec")
    emulator.fault = Fault("refuse", 0, "PERMISSION_DENIED", "Cloud Speech-to-Text API has not been used in project 1")
    async with emulator.running() as target:
        with pytest.raises(ProviderError, match="has not been used") as caught:
            await survey(GoogleSettings(emulator_host=target), streaming=not batch)
    assert caught.value.kind is Failure.AUTH
