"""Whole calls on virtual time in which people at the desk listen, instruct, take over, transfer and end."""

import anyio
import pytest

from moked.audio import rms, silence
from moked.dialog import Ask, Expect, Say
from moked.records import Order, OrderKind, Outcome
from tests.media.test_session import Call, anyio_backend, no_threads  # noqa: F401  (its fixtures)

LONG = "אני יכול להציע לכם טכנאי מחר בבוקר או ביום חמישי אחר הצהריים. "
VOICE = bytes([0x20, 0xA0]) * 80  # 20 ms, loud


class Ears:
    """Who listens: what was heard of both sides, and who had the floor when."""

    def __init__(self, call):
        self.call, self.frames, self.floors, self.ended = call, [], [], False

    def hear(self, frame):
        self.frames.append((self.call.now, frame))

    def floor(self, who):
        self.floors.append(who)

    def over(self):
        self.ended = True


def order(kind, text=""):
    return Order("CA1", kind, text, "דנה")


async def talks(call, start, end):
    await call.until(start)
    while call.now < end:
        call.session.speak(VOICE)
        await anyio.sleep(0.02)


async def test_who_listens_hears_both_sides_and_holds_nothing_up():
    async with Call({"מתי": (Say(LONG),)}).on() as call:
        ears = Ears(call)
        call.session.listen(ears)
        await call.says(3000, 3500, "מתי")
        await call.until(6000)
        call.session.leave(ears)
        heard = len(ears.frames)
        await call.hangs_up(10_000)
    assert len(ears.frames) == heard == pytest.approx(300, abs=3)  # 20 ms each, as the caller's line goes on
    assert all(len(frame.agent) == len(frame.caller) == 160 for _, frame in ears.frames)
    assert not ears.ended
    assert call.store.turns[1].heard == LONG.strip()


async def test_the_end_is_told_to_who_listens():
    async with Call().on() as call:
        ears = Ears(call)
        call.session.listen(ears)
        await call.hangs_up(3000)
    assert ears.ended
    assert ears.floors == [""]


async def test_an_instruction_reaches_the_agent_before_its_next_reply():
    async with Call().on() as call:
        await call.until(2500)
        call.session.order(order(OrderKind.WHISPER, "תציע לו עשרה אחוז"))
        await call.says(3000, 3500, "יקר לי")
        await call.hangs_up(8000)
    assert call.agent.instructed == ["תציע לו עשרה אחוז"]
    assert "whisper" in call.store.events


async def test_a_person_takes_over_and_hands_back():
    async with Call({"מתי": (Say(LONG), Ask(Expect.OPEN))}).on() as call:
        ears = Ears(call)
        call.session.listen(ears)
        await call.says(3000, 3500, "מתי")
        await call.until(6000)  # in the middle of our answer
        assert call.session.take_over("דנה")
        assert not call.session.take_over("נועם")
        await talks(call, 6000, 8000)
        await call.says(8200, 9000, "אז אפשר ביום שני")
        await call.until(10_500)
        silent = call.audio_ms(since=9000, until=10_500)
        call.session.hand_back("סיכמנו על יום שני")
        await call.says(15_000, 15_500, "תודה")
        await call.hangs_up(20_000)
    assert call.clears >= 1  # our own words were cut
    assert len(call.store.turns[1].heard) < len(LONG)
    assert call.audio_ms(since=6000, until=8200) == pytest.approx(2000, abs=120)
    assert silent == 0  # nobody but the person answers
    theirs = call.store.turns[2]
    assert (theirs.caller_text, theirs.spoken_by, theirs.said) == ("אז אפשר ביום שני", "דנה", "")
    back = call.store.turns[3]
    assert back.said.startswith("הצוות יטפל בזה")
    assert back.heard == back.said
    assert call.agent.instructed == ["דנה סיכמנו על יום שני"]
    assert call.agent.asked[-1][0].text == "תודה"
    assert call.agent.asked[-1][0].number == 4
    assert "אז אפשר ביום שני" in [entry.text for entry in call.agent.asked[-1][1]]
    assert [kind for kind in call.store.events if kind in ("taken_over", "handed_back")] == [
        "taken_over",
        "handed_back",
    ]
    assert ears.floors == ["", "דנה", ""]


async def test_words_that_wait_for_an_answer_are_the_persons_to_answer():
    async with Call().on() as call:
        await call.until(3000 + 4000)
        call.session.take_over("דנה")
        await call.says(8000, 9000, "אתם שומעים אותי")
        await call.until(9400)
        call.session.hand_back()
        await call.hangs_up(15_000)
    assert call.store.turns[1].caller_text == "אתם שומעים אותי"
    assert call.store.turns[1].spoken_by == "דנה"
    assert call.store.turns[2].said


async def test_a_call_that_ends_in_a_persons_hands_keeps_the_last_words():
    async with Call().on() as call:
        await call.until(3000)
        call.session.take_over("דנה")
        await call.says(4000, 5000, "המספר שלי אפס חמש")
        await call.hangs_up(5100)
    assert call.end.outcome is Outcome.CALLER_HUNG_UP
    assert "אפס חמש" in call.store.turns[1].caller_text


async def test_an_end_and_a_transfer_by_a_person():
    async with Call().on() as call:
        await call.until(3000)
        call.session.order(order(OrderKind.END))
    assert (call.end.outcome, call.end.detail, call.control.did) == (Outcome.COMPLETED, "ended_by_person", ["hang_up"])
    async with Call().on() as call:
        await call.until(3000)
        call.session.take_over("דנה")
        call.session.order(order(OrderKind.TRANSFER, "+97235550000"))
    assert (call.end.outcome, call.control.did) == (Outcome.TRANSFERRED, ["+97235550000"])


async def test_a_transfer_is_announced_where_the_agent_has_the_call():
    call = Call()
    call.phrases = type(call.phrases)(
        call.phrases.sorry_again, call.phrases.sorry_broken, call.phrases.too_long, transferring="אני מעביר אתכם."
    )
    async with call.on():
        await call.until(3000)
        call.session.order(order(OrderKind.TRANSFER, "+97235550000"))
        await call.until(3600)
        assert call.audio_ms(since=3000) > 500
    assert (call.end.outcome, call.control.did) == (Outcome.TRANSFERRED, ["+97235550000"])


async def test_after_the_end_nobody_takes_anything_over():
    async with Call().on() as call:
        await call.hangs_up(3000)
        assert not call.session.take_over("דנה")
        call.session.speak(VOICE)
        call.session.hand_back()
        call.session.order(order(OrderKind.WHISPER, "x"))
    assert call.agent.instructed == []


def test_the_voice_of_these_tests_is_loud():
    assert rms(VOICE) > 1000 > rms(silence(20))
