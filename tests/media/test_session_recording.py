"""What of a call is recorded, and how it stops: the real session and playout on virtual time, a recorder that
listens."""

from dataclasses import replace

import numpy as np
import pytest

from moked.audio import SILENCE, from_float
from moked.dialog import Ask, Expect, Say
from moked.media.twilio import Dtmf
from moked.recording.recorder import CallRecorder
from moked.stt import Word
from tests.media.test_session import Call, anyio_backend, no_threads

__all__ = ["anyio_backend", "no_threads"]

pytestmark = pytest.mark.anyio
TONE = from_float((np.sin(np.arange(8000) * 0.3) * 0.5).astype(np.float32))


class Desk:
    """Takes a call's blocks where the writer's thread would."""

    def __init__(self, call):
        self.orders, self.caller, self.agent = [], bytearray(), bytearray()
        call.record = lambda sid, stream: CallRecorder(self.take, sid, stream)
        call.voice.speak = speaking(call.voice.speak)

    def take(self, order):
        self.orders.append(order)
        self.caller += order.frames[0::2]
        self.agent += order.frames[1::2]

    def heard_ms(self, since=0, until=10**9):
        part = self.agent[since * 8 : until * 8]
        return sum(byte != SILENCE[0] for byte in part) / 8


def speaking(inner):
    """The voice, with a sound instead of silence."""
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def speak(text):
        async with inner(text) as chunks:

            async def loud():
                async for chunk in chunks:
                    yield (TONE * (len(chunk) // 8000 + 1))[: len(chunk)]

            yield loud()

    return speak


async def test_the_words_of_a_turn_have_their_places_on_the_recording():
    call = Call()
    words = (Word("הכרטיס", 5000, 5400), Word("שלי", 5500, 6000))
    Desk(call)
    async with call.on():
        await call.says(5000, 6000, "הכרטיס שלי", words)
        await call.says(15_000, 16_000, "זה הכול")  # an engine that gives no times
        await call.hangs_up(22_000)
    first, second = call.store.turns[1], call.store.turns[2]
    behind = first.word_times[0][0] - 5000
    assert 0 <= behind <= 100
    assert first.word_times == ((5000 + behind, 5400 + behind), (5500 + behind, 6000 + behind))
    assert second.word_times == ()


async def test_what_is_not_recorded_has_no_times_of_words():
    async with Call().on() as call:
        await call.says(5000, 6000, "שלום", (Word("שלום", 5000, 6000),))
        await call.hangs_up(12_000)
    assert call.store.turns[1].word_times == ()


async def test_what_was_heard_is_recorded_when_it_was_heard():
    call = Call()
    desk = Desk(call)
    async with call.on():
        await call.says(5000, 6000, "יש לי נזילה")
        await call.until(9000)
        await call.hangs_up(10_000)
    assert len(desk.caller) == len(desk.agent) == pytest.approx(80_000, rel=0.02)
    assert desk.orders[-1].done
    sent = call.audio_ms()
    assert desk.heard_ms() == pytest.approx(sent, rel=0.05)
    assert desk.heard_ms(2500, 6300) == 0, "nothing of ours while the caller speaks"


async def test_what_a_caller_cut_off_is_not_on_the_recording():
    call = Call(
        {"ספר לי": (Say("זאת תשובה ארוכה מאוד שאף אחד לא ישמע עד הסוף כי קוטעים אותה באמצע הדברים"), Ask(Expect.OPEN))}
    )
    desk = Desk(call)
    async with call.on():
        await call.says(3000, 3600, "ספר לי")
        await call.says(5000, 6200, "רגע יש לי שאלה אחרת לגמרי")
        await call.hangs_up(11_000)
    assert call.clears
    cut = next(t for t, (kind, _) in call.sent if kind == "clear")
    assert call.audio_ms(until=cut) > 0
    assert desk.heard_ms(cut + 40, cut + 500) == 0, "the carrier was told to clear"
    assert desk.heard_ms(4300, cut) > 100


@pytest.mark.parametrize("keeps", [False, True])
async def test_who_says_so_is_not_recorded_any_more_and_is_served(keeps):
    call = Call()
    call.knows = {"keeps_refused_words": keeps}
    desk = Desk(call)
    async with call.on():
        await call.says(3000, 4000, "אני לא רוצה שתקליטו אותי")
        await call.until(7000)
        await call.says(8000, 9000, "קוראים לי דני")
        await call.until(11_000)
        await call.hangs_up(12_000)
    last = desk.orders[-1]
    assert (last.done, last.erase) == (True, True)
    assert len(desk.caller) <= 4000 * 8
    assert "recording_refused" in call.store.events
    said = [turn.caller_text for turn in call.store.turns.values()]
    assert ("קוראים לי דני" in said) is keeps
    assert [turn.text for turn, _ in call.agent.asked][-1] == "קוראים לי דני", "the agent hears them all the same"


async def test_a_key_stops_it_and_the_caller_is_told():
    call = Call()
    call.phrases = replace(call.phrases, not_recording="בסדר גמור, השיחה לא מוקלטת.")
    call.knows = {"refuse_key": "*"}
    desk = Desk(call)
    async with call.on():
        await call.until(3000)
        call.session.handle(Dtmf("*"))
        await call.until(8000)
        await call.hangs_up(9000)
    assert desk.orders[-1].erase
    assert call.voice.spoken[-1].startswith("בסדר גמור, השיחה לא מוקלטת")
    assert not any(turn.dtmf for turn, _ in call.agent.asked), "the agent is not bothered with it"


async def test_the_key_in_a_number_that_is_being_typed_is_part_of_it():
    call = Call({"טלפון": (Say("מה המספר?"), Ask(Expect.PHONE))})
    call.knows = {"refuse_key": "*"}
    desk = Desk(call)
    async with call.on():
        await call.says(3000, 3600, "טלפון")
        await call.until(6500)
        for digit in "*0521234567#":
            call.session.handle(Dtmf(digit))
        await call.until(9000)
        await call.hangs_up(10_000)
    assert "recording_refused" not in call.store.events
    assert not desk.orders[-1].erase


async def test_a_model_does_not_have_to_know_what_to_say():
    call = Call()
    call.phrases = replace(call.phrases, not_recording="בסדר גמור, השיחה לא מוקלטת.")
    call.agent_answers_refusals = False
    Desk(call)
    async with call.on():
        await call.says(3000, 4000, "אל תקליטו אותי ויש לי נזילה")
        await call.until(8000)
        await call.says(9000, 10_000, "קוראים לי דני")
        await call.until(13_000)
        await call.hangs_up(14_000)
    told = [text for text in call.voice.spoken if "לא מוקלטת" in text]
    assert len(told) == 1
    assert any("הבנתי" in text for text in call.voice.spoken), "and the answer of the agent comes after it"


async def test_who_refused_before_the_call_moved_is_not_recorded_here():
    call = Call()
    call.knows = {"refused": True}
    desk = Desk(call)
    async with call.on():
        await call.says(3000, 4000, "קוראים לי דני")
        await call.hangs_up(8000)
    assert len(desk.caller) == 0
    assert "recording_refused" not in call.store.events, "it is on record already"
    assert all(turn.caller_text == "" for turn in call.store.turns.values())
