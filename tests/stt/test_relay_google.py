"""The relay over the real client library and the emulated wire, in real time: no fault of Google loses a word."""

import anyio
import pytest

from emulators.google_speech import Fault, GoogleSpeech, encode_words, numbered, word_times
from moked.errors import Failure
from moked.stt import EngineSwitched, Final, canary
from moked.stt.failover import Breaker
from moked.stt.google import GoogleSettings, GoogleStreaming, GoogleUtterances
from moked.stt.relay import Relay
from moked.stt.transcripts import strip_punctuation
from tests.stt.hearing import speak

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

WORDS = numbered(12)
AUDIO = encode_words(WORDS, 60, lead_ms=500, tail_ms=2000)
BEGINS, ENDS = 500, word_times(WORDS, 60, lead_ms=500)[-1][1]


class Second(GoogleStreaming):
    name = "second"


async def call(fault, second) -> tuple[list[str], list[str]]:
    """One call with its own two emulators. Returns the words and the reasons of the switches."""
    first_emulator, second_emulator = GoogleSpeech(mode="codec"), GoogleSpeech(mode="codec")
    async with first_emulator.running() as one, second_emulator.running() as other:
        engines = [GoogleStreaming(GoogleSettings(emulator_host=one)), second(GoogleSettings(emulator_host=other))]
        async with engines[0].running(), engines[1].running():
            if fault is not None:
                first_emulator.faults.append(fault)
            told = []
            relay = Relay(engines, told.append, breakers={engine.name: Breaker() for engine in engines})
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(relay.run)
                await speak(relay, AUDIO, BEGINS, ENDS)
    words = [word for t in told if isinstance(t, Final) for word in strip_punctuation(t.text).split()]
    return words, [t.reason for t in told if isinstance(t, EngineSwitched)]


async def test_no_fault_of_google_loses_or_doubles_a_word():
    cases = {
        "none": (None, GoogleUtterances, []),
        "error at 0.9 s": (Fault("error", at_ms=900), GoogleUtterances, ["unavailable"]),
        "error at 2.6 s": (Fault("error", at_ms=2600), Second, ["unavailable"]),
        "closed": (Fault("close", at_ms=1500), GoogleUtterances, ["closed"]),
        "connection reset": (Fault("reset", at_ms=2000), Second, ["unavailable"]),
        "stalled": (Fault("stall", at_ms=1200), Second, ["timeout"]),
        "refused": (Fault("refuse"), Second, ["unavailable"]),
    }
    got = {}

    async def one(name, fault, second):
        got[name] = await call(fault, second)

    async with anyio.create_task_group() as tasks:
        for name, (fault, second, _) in cases.items():
            tasks.start_soon(one, name, fault, second)
    assert got == {name: (WORDS, reasons) for name, (_, _, reasons) in cases.items()}


@pytest.mark.parametrize("kind", [GoogleStreaming, GoogleUtterances])
async def test_the_canary_tells_a_google_that_is_back_from_one_that_is_not(kind):
    emulator = GoogleSpeech(mode="codec")
    async with emulator.running() as target:
        engine = kind(GoogleSettings(emulator_host=target))
        async with engine.running():
            assert await canary.ask(engine) is None
            emulator.fault = Fault("error", status="UNAVAILABLE")
            assert (await canary.ask(engine)).kind is Failure.UNAVAILABLE
            emulator.fault = Fault("stall")
            assert (await canary.ask(engine)).kind is Failure.TIMEOUT
            emulator.fault = None
            await emulator.kill()
            assert (await canary.ask(engine)).kind in (Failure.UNAVAILABLE, Failure.TIMEOUT)
