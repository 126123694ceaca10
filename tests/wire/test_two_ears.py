"""Whole calls with two ears: the emulated Google mishears a name or a number, and the second ear does not.

The words travel in the audio; the emulator is told which of them it hears wrongly, and the second ear decodes the same
audio as it was cut from the call. So what the agent asks about was really heard twice.
"""

from functools import partial

import anyio
import pytest

from emulators.google_speech import GoogleSpeech
from emulators.listener import Codec, Listener
from emulators.llm import Answer, LlmEmulator
from emulators.wordcodec import WordDecoder
from moked import parts
from moked.simulate.scenario import Dtmf, HangUp, Say
from moked.spool import left
from moked.stt.second import SecondEar
from moked.stt.utterance import Transcription
from tests.wire.house import house, together
from tests.wire.voices import says

pytestmark = pytest.mark.anyio


class Mishearing(GoogleSpeech):
    """Hears the words of the audio but for some, which it takes for others."""

    def __init__(self, **wrong):
        super().__init__(mode="codec")
        self.wrong = wrong

    def _listener(self):
        return Listener(_Mishears(self.wrong), final_ms=self.final_ms)


class _Mishears(Codec):
    def __init__(self, wrong):
        super().__init__()
        self.wrong = wrong

    def words(self, now_ms, voiced):
        heard = super().words(now_ms, voiced)
        return [type(word)(self.wrong.get(word.text, word.text), word.start_ms, word.end_ms) for word in heard]


class Exact:
    """The engine of the second ear: the words that are in the audio."""

    name = "whisper"
    pending = 0

    def __init__(self, takes_s=0.0):
        self.takes_s = takes_s
        self.heard = []

    async def transcribe(self, audio, hints=(), *, expect="", **_):
        await anyio.sleep(self.takes_s)
        text = " ".join(word.text for word in WordDecoder().hear(audio))
        self.heard.append((expect, text))
        return Transcription(text)


@pytest.fixture
def second(monkeypatch):
    """What `parts` would build around Whisper, around an engine that hears exactly."""
    engine = Exact()
    scribe = SecondEar(engine, at_once=1, deadline_s=60)

    def hearing(settings, engines):
        wanted = settings.stt_stored_transcript == "whisper"
        return parts.SecondHearing(ear=SecondEar(engine), scribe=scribe if wanted else None)

    monkeypatch.setattr(parts, "second_hearing", hearing)
    return engine


def said(placed):
    return [turn["said"] for turn in placed.turns]


NEED = Say(audio=says("יש לי נזילה גדולה במטבח"))
NAME = Say(audio=says("דינה"))


async def misheard(folder, *steps, **options):
    """A call to a house of its own, whose Google takes one name for another and שמונה for שלוש."""
    folder.mkdir()
    speech = Mishearing(דינה="דנה", שמונה="שלוש")
    async with house(folder, speech=speech) as home:
        return await home.place([*steps, HangUp("agent_done")], **options)


async def with_a_model(folder):
    """The call, and what the model was told about two readings."""
    folder.mkdir()
    notes = []

    def brain(body):
        notes.extend(m["content"] for m in body["messages"] if m["role"] == "system" and "בשתי צורות" in m["content"])
        return Answer("השם הוא דנה או דינה?" if notes else "איך קוראים לכם?")

    async with house(folder, speech=Mishearing(דינה="דנה"), llm=LlmEmulator(brain=brain)) as home:
        placed = await home.place([NEED, NAME, HangUp("agent_done")])
    assert "«דנה» או «דינה»" in notes[0]
    assert said(placed)[-1] == "השם הוא דנה או דינה?"


async def spooled(folder):
    """The transcript is written after the call by the better ear."""
    folder.mkdir()
    spool = folder / "data" / "spool"
    async with house(folder, speech=Mishearing(דינה="דנה"), stt_stored_transcript="whisper") as home:
        placed = await home.place([NEED, NAME, HangUp("agent_done")])
        with anyio.fail_after(20):
            while left(spool):
                await anyio.sleep(0.05)
        report = await home.reported(placed.result.call_sid)
    caller = [one for one in report["transcript"]["segments"] if one["speaker"] == "caller"]
    assert report["transcript"]["source"] == "stored"
    assert [(one["text"], one["engine"]) for one in caller] == [
        ("יש לי נזילה גדולה במטבח", "whisper"),
        ("דינה", "whisper"),
    ]
    assert [turn["caller_text"].rstrip(".") for turn in report["turns"]][1:] == ["יש לי נזילה גדולה במטבח", "דנה"]
    starts = [one["start_ms"] for one in report["transcript"]["segments"]]
    assert starts == sorted(starts)
    assert list(spool.iterdir()) == []


async def not_recorded(folder):
    """Who does not want to be recorded leaves no file, from that sentence on."""
    folder.mkdir()
    spool, seen = folder / "data" / "spool", []
    async with house(folder, speech=Mishearing(), stt_stored_transcript="whisper") as home:

        def look(event, data):
            if event in ("turn.final", "reply.heard"):
                seen.append([path.name for path in spool.iterdir()])

        refusal = Say(audio=says("לא להקליט אותי בבקשה"))
        placed = await home.place([NEED, refusal, HangUp("agent_done")], at=look)
        assert list(spool.iterdir()) == []
        report = await home.reported(placed.result.call_sid)
    assert seen[1], "it was spooled before"
    assert seen[-1] == []
    assert report["transcript"]["source"] == "live"
    assert "recording_refused" in [event["kind"] for event in report["events"]]


async def asked_about(folder, second):
    """What was misheard is asked about alone, and the lead ends right."""
    number = Say(audio=says("אפס חמש ארבע אחת אחת אחת שתיים שתיים שבע שמונה"))
    told = Say(audio=says("קוראים לי דני כהן ויש לי נזילה"))
    by_voice, by_key, twice, digit = await together(
        partial(misheard, folder / "voice", NEED, NAME, Say(audio=says("השני"))),
        partial(misheard, folder / "key", NEED, NAME, Dtmf("1")),
        partial(misheard, folder / "twice", NEED, NAME, NAME, Dtmf("2")),
        partial(
            misheard,
            folder / "digit",
            told,
            number,
            Say(audio=says("השני")),
            Say(audio=says("כן")),
            caller="anonymous",
        ),
    )
    assert ("name", "דינה") in second.heard
    for placed, name in ((by_voice, "דינה"), (by_key, "דנה"), (twice, "דינה")):
        assert "רק לוודא, השם הוא דנה, או דינה?" in said(placed)
        assert said(placed)[-1].startswith(f"נעים מאוד, {name}.")
        lead = placed.report["lead"]
        assert (lead["name"], lead["origin"]) == (name, "conversation")
        assert lead["sources"]["name"]["readings"] == {"google": "דנה", "whisper": "דינה"}
    assert sum("להקיש אחת" in text for text in said(twice)) == 1

    assert "רק לוודא, המספר נגמר בשבע שלוש, או בשבע שמונה?" in said(digit)
    lead = digit.report["lead"]
    assert (lead["phone"], lead["confirmed"]) == ("+972541112278", True)
    assert lead["sources"]["phone"]["readings"] == {"google": "+972541112273", "whisper": "+972541112278"}


async def test_what_two_ears_are_good_for(tmp_path, second):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(asked_about, tmp_path, second)
        for story in (with_a_model, spooled, not_recorded):
            tasks.start_soon(story, tmp_path / story.__name__)
