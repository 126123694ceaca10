"""Google dies in mid-sentence: another engine takes the call over, and not a word is lost or said twice.

The words travel in the audio itself (`tests.wire.voices`), so that both engines hear exactly what was said, and only
that; whatever is missing or doubled in the record was lost or doubled by us.
"""

from dataclasses import dataclass
from functools import partial

import anyio
import pytest

from emulators.google_speech import Fault, GoogleSpeech
from emulators.llm import Answer, LlmEmulator
from emulators.wordcodec import numbered
from moked import audio
from moked.simulate.scenario import HangUp, Say
from moked.stt.transcripts import normalise as plain
from tests.wire.house import house, stand_ins_for_whisper, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio

# The caller's line, in call ms: after the greeting ten words, a pause in which the agent answers, ten more words.
FIRST_MS, PAUSE_MS = 1600, 3000
FIRST, SECOND = says(" ".join(numbered(10))), says(" ".join(numbered(10, 10)))
LINE = audio.silence(FIRST_MS) + FIRST + audio.silence(PAUSE_MS) + SECOND
FIRST_END_MS = FIRST_MS + audio.ms(FIRST)
SECOND_MS = FIRST_END_MS + PAUSE_MS
WORDS = " ".join(numbered(20))


@dataclass(frozen=True)
class Kill:
    """The emulator is gone at `at_ms` of the call; or its stream suffers `fault`, and the rest of it lives."""

    name: str
    at_ms: int = 0
    fault: Fault | None = None


KILLS = (
    Kill("in the greeting", 700),
    Kill("at the beginning of the first word", FIRST_MS + 120),
    Kill("in the middle of a word", FIRST_MS + 100 + 4 * 260 + 100),
    Kill("between two words", FIRST_MS + 100 + 6 * 260 + 230),
    Kill("at the end of the last word", FIRST_END_MS - 40),
    Kill("before the final", FIRST_END_MS + 150),
    Kill("while the agent speaks", FIRST_END_MS + 1200),
    Kill("between the utterances", SECOND_MS - 300),
    Kill("in the second utterance", SECOND_MS + 1300),
    Kill("connection reset", fault=Fault("reset", at_ms=FIRST_MS + 1500)),
    Kill("an error of the server", fault=Fault("error", at_ms=FIRST_MS + 1900, status="INTERNAL", message="13")),
    Kill("closed without a reason", fault=Fault("close", at_ms=FIRST_MS + 900)),
    Kill("a stream that falls silent", fault=Fault("stall", at_ms=FIRST_MS + 300)),
)


async def suffer(folder, kill):
    folder.mkdir()
    speech, second = GoogleSpeech(mode="codec"), GoogleSpeech(mode="codec")
    llm = LlmEmulator(brain=lambda body: Answer("הבנתי."), first_token_ms=50)
    async with house(folder, speech=speech, second=second, llm=llm) as home, anyio.create_task_group() as tasks:
        if kill.fault is not None:
            speech.faults.append(kill.fault)

        async def strike():
            await anyio.sleep(kill.at_ms / 1000)
            await speech.kill()

        def on_event(event, data):
            if event == "call.started" and kill.fault is None:
                tasks.start_soon(strike)

        placed = await home.place([Say(audio=LINE, after="immediately"), HangUp(2500)], at=on_event)
    return placed


@pytest.fixture(autouse=True)
def stand_ins():
    with stand_ins_for_whisper():
        yield


@pytest.mark.parametrize("some", [KILLS[:5], KILLS[5:9], KILLS[9:]], ids=["first", "later", "streams"])
async def test_no_word_is_lost_or_doubled(tmp_path, caplog, some):
    placed = await together(*(partial(suffer, tmp_path / str(number), kill) for number, kill in enumerate(some)))
    for kill, one in zip(some, placed, strict=True):
        told = [plain(data["text"]) for data in one.of("turn.final")]
        assert (kill.name, plain(one.said)) == (kill.name, WORDS), told
        assert " ".join(told).strip() == WORDS, kill.name
        assert one.report["outcome"] == "caller_hung_up", kill.name
        moves = [(data["before"], data["after"]) for data in one.of("engine")]
        assert moves[0] == ("google", "whisper-stand-in"), kill.name
        # Google is tried again after ten seconds. Where it is back, the call returns to it, and still loses nothing.
        assert moves[1:] in ([], [("whisper-stand-in", "google")]), kill.name
        assert not moves[1:] or kill.fault is not None, kill.name
        assert one.report["engines"][-1] == "whisper-stand-in", kill.name
    assert sum(record.message == "Whisper fallback active" for record in caplog.records) == len(some)
