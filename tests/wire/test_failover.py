"""Google dies in mid-sentence: another engine takes the call over, and not a word is lost or said twice.

The words travel in the audio itself (`tests.wire.voices`), so that both engines hear exactly what was said, and only
that; whatever is missing or doubled in the record was lost or doubled by us.
"""

import sys
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from functools import partial
from itertools import pairwise

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from emulators.google_speech import Fault, GoogleSpeech, Recording
from emulators.google_tts import Fault as GoogleTtsFault
from emulators.google_tts import GoogleTts
from emulators.llm import Answer, LlmEmulator
from emulators.wordcodec import numbered
from moked import audio, parts
from moked.simulate.scenario import HangUp, Say
from moked.stt.transcripts import normalise as plain
from tests.wire.house import QUICK, house, settings, stand_ins_for_whisper, together
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
    """The emulator is gone at `at_ms` of the call; or its stream suffers `fault`, and the rest of it lives.

    `process`: it is a process of its own and is killed, so that nobody says goodbye on its connections.
    """

    name: str
    at_ms: int = 0
    fault: Fault | None = None
    process: bool = False


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
    Kill("its process is killed", FIRST_MS + 100 + 5 * 260 + 60, process=True),
    Kill("connection reset", fault=Fault("reset", at_ms=FIRST_MS + 1500)),
    Kill("an error of the server", fault=Fault("error", at_ms=FIRST_MS + 1900, status="INTERNAL", message="13")),
    Kill("closed without a reason", fault=Fault("close", at_ms=FIRST_MS + 900)),
    Kill("a stream that falls silent", fault=Fault("stall", at_ms=FIRST_MS + 300)),
)


@asynccontextmanager
async def a_process():
    """The first emulator as a process: its address, and how to kill it."""
    command = [sys.executable, "-m", "emulators.google_speech", "--mode", "codec"]
    async with await anyio.open_process(command, stderr=None) as process:
        try:
            port = await BufferedByteReceiveStream(process.stdout).receive_until(b"\n", 20)
            yield f"127.0.0.1:{int(port)}", process.kill
        finally:
            with suppress(ProcessLookupError):
                process.kill()


async def suffer(folder, kill):
    folder.mkdir()
    speech, values = GoogleSpeech(mode="codec"), {}
    llm = LlmEmulator(brain=lambda body: Answer("הבנתי."), first_token_ms=50)
    async with AsyncExitStack() as stack:
        strike = speech.kill
        if kill.process:
            values["speech_emulator_host"], end = await stack.enter_async_context(a_process())

            async def strike():
                end()

        second = GoogleSpeech(mode="codec")
        home = await stack.enter_async_context(house(folder, speech=speech, second=second, llm=llm, **values))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        if kill.fault is not None:
            speech.faults.append(kill.fault)

        async def strike_in_time():
            await anyio.sleep(kill.at_ms / 1000)
            await strike()

        def on_event(event, data):
            if event == "call.started" and kill.fault is None:
                tasks.start_soon(strike_in_time)

        return await home.place([Say(audio=LINE, after="immediately"), HangUp(2500)], at=on_event)


@pytest.fixture(autouse=True)
def stand_ins():
    with stand_ins_for_whisper():
        yield


@pytest.mark.parametrize("some", [KILLS[:7], KILLS[7:]], ids=["early", "late"])
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


@pytest.mark.slow
async def test_whisper_hears_what_google_did_not_live_to_tell(tmp_path, caplog):
    """The real fallback on real Hebrew: the sentence is whole, though Google died in the middle of it."""
    sentence = "שלום, אני רוצה לדעת כמה עולה לתקן את המזגן בסלון"
    spoken = await voice_of(tmp_path, sentence)
    words = sentence.replace(",", "").split()
    each = audio.ms(spoken) // len(words)
    timed = tuple((number * each, (number + 1) * each - 20, word) for number, word in enumerate(words))
    speech = GoogleSpeech(mode="script", recordings=[Recording(timed, spoken)])
    async with AsyncExitStack() as stack:
        home = await stack.enter_async_context(house(tmp_path, speech=speech, stt_fallback="whisper"))
        tasks = await stack.enter_async_context(anyio.create_task_group())

        def on_event(event, data):
            if event == "turn.partial" and "לדעת" in data["text"]:
                tasks.start_soon(speech.kill)

        steps = [Say(audio=spoken), HangUp("agent_done")]
        placed = await home.place(steps, at=on_event, manners=replace(QUICK, patience_ms=20_000))
    heard = plain(placed.said)
    likeness = SequenceMatcher(None, plain(sentence), heard).ratio()
    assert likeness > 0.85, heard
    assert len(heard.split()) <= len(words) + 1, heard
    assert all(one != other for one, other in pairwise(heard.split())), heard
    assert placed.report["engines"] == ["google", "whisper"]
    assert "Whisper fallback active" in [record.message for record in caplog.records]


async def voice_of(folder, sentence):
    """The sentence in the local Hebrew voice, without the silence around it."""
    chosen = settings(folder, tts_rate=0.96)
    voice = parts.local_voice(chosen, voice="jm_kumo", gender="m")
    async with voice.running(), voice.speak(sentence) as chunks:
        return b"".join([chunk async for chunk in chunks]).strip(audio.SILENCE)


async def test_where_googles_voice_is_gone_the_callers_hear_another(tmp_path):
    """From its second answer on nothing of Google's voice comes; the answers are said, by the local one."""
    answers = ("בשמחה. מה עוד?", "רשמתי את זה אצלי, ונחזור אליכם מחר בבוקר.")
    voice = GoogleTts(first_byte_ms=20)
    llm = LlmEmulator(brain=lambda body: Answer(answers[min(1, len(llm.requests) - 1)]), first_token_ms=20)

    def dies(event, data):
        if event == "turn.latency" or event == "turn.final":
            voice.faults.extend([GoogleTtsFault(hang=True)] * 50)

    async with house(tmp_path, voice=voice, llm=llm, tts_fallback="local") as home:
        voice.faults.clear()
        steps = [Say(audio=says("המזגן שלי לא מקרר")), Say(audio=says("אפשר מחר בבוקר")), HangUp("agent_done")]
        placed = await home.place(steps, at=dies, manners=replace(QUICK, patience_ms=30_000, quiet_ms=5000))
    heard = [turn["heard"] for turn in placed.turns[1:3]]
    assert heard == list(answers)
    assert voice.counts["hung"] >= 1
