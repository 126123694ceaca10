"""Whole calls on virtual time: a caller and a carrier as small programs, around the real session, cores and journal."""

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import anyio
import pytest

from moked.audio import silence
from moked.bus import MemoryBus
from moked.dialog import Ask, CallContext, EndCall, Expect, Say, Transfer
from moked.errors import Failure, ProviderError
from moked.media.connection import Gone
from moked.media.playout import Playout
from moked.media.session import CallSession, Phrases, SessionParts
from moked.media.speech import SpeechEnded, SpeechStarted
from moked.media.turns import TurnPolicy
from moked.media.twilio import Dtmf, Mark, Media, Stop
from moked.records import CallStart, LeadDraft, LeftCall, Outcome
from moked.stt import Final, Interim
from tests.virtual_time import VIRTUAL_TIME

MS_A_LETTER = 60


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


@pytest.fixture(autouse=True)
def no_threads(monkeypatch):
    """Virtual time runs on while a thread works; the journal writes at once instead."""

    async def at_once(function, *arguments):
        return function(*arguments)

    monkeypatch.setattr("moked.media.journal.to_thread.run_sync", at_once)


class Voice:
    """60 ms a letter; text with 'תקוע' hangs, with 'שבור' fails."""

    name = "fake"

    def __init__(self):
        self.spoken = []

    def cached(self, text):
        return silence(len(text) * MS_A_LETTER) if text.startswith("סליחה") else None

    @asynccontextmanager
    async def speak(self, text):
        self.spoken.append(text)

        async def chunks():
            await anyio.sleep(0.1)
            if "שבור" in text:
                raise ProviderError("fake", Failure.UNAVAILABLE, "no voice")
            for _ in range(0, len(text), 5):
                yield silence(5 * MS_A_LETTER)

        async with aclosing(chunks()) as stream:
            yield stream


@dataclass
class Agent:
    """Answers from a table; greets with the first line. Keeps which replies were committed."""

    lines: dict
    committed: list = field(default_factory=list)
    asked: list = field(default_factory=list)
    draft: LeadDraft = field(default_factory=LeadDraft)

    def greet(self):
        return _Reply(self, "greet", (Say("שלום, במה אפשר לעזור?"), Ask(Expect.OPEN)))

    def reply(self, turn, history):
        self.asked.append((turn, tuple(history)))
        key = turn.dtmf or ("silent" if turn.silent else turn.text)
        return _Reply(self, key, self.lines.get(key, (Say("הבנתי, תודה."),)))

    def lead(self):
        return self.draft

    def keep(self):
        return {"need": self.draft.need}

    def take_up(self, kept):
        self.draft = replace(self.draft, need=kept["need"])


@dataclass
class _Reply:
    agent: Agent
    key: str
    items: tuple

    @asynccontextmanager
    async def actions(self):
        async def stream():
            for item in self.items:
                if isinstance(item, Exception):
                    raise item
                if isinstance(item, float):
                    await anyio.sleep(item)
                else:
                    yield item

        async with aclosing(stream()) as actions:
            yield actions

    def commit(self):
        self.agent.committed.append(self.key)
        if self.key != "greet":
            self.agent.draft = replace(self.agent.draft, need=self.key)


class Recognizer:
    def __init__(self, sink):
        self.sink = sink
        self.done = anyio.Event()
        self.last = None

    def feed(self, audio):
        pass

    def speech_started(self, at_ms):
        pass

    def speech_paused(self, at_ms):
        pass

    def speech_ended(self, at_ms):
        pass

    def expect(self, what):
        self.expecting = what

    async def run(self):
        await self.done.wait()
        if self.last is not None:
            self.sink(self.last)

    def finish(self):
        self.done.set()


class Ear:
    received_ms = 0
    closed = False

    def __init__(self, on_speech):
        self.on_speech = on_speech

    def feed(self, audio):
        self.received_ms += len(audio) // 8

    def close(self):
        self.closed = True


class Store:
    def __init__(self):
        self.turns, self.events, self.ends, self.leads, self.snapshots = {}, [], [], [], []

    def add_turn(self, sid, turn, lead=None):
        self.turns[turn.number] = turn
        self.leads.append(lead)

    def add_event(self, sid, kind, data):
        self.events.append(kind)

    def finish_call(self, end):
        self.ends.append(end)

    def save_snapshots(self, snapshots):
        self.snapshots.extend(snapshots)

    def touch(self, sids):
        pass


class Control:
    def __init__(self):
        self.did = []

    async def hang_up(self, sid):
        self.did.append("hang_up")
        return True

    async def transfer(self, sid, number):
        self.did.append(number)
        return True


class Call:
    """The carrier and the caller. Audio flows in real (virtual) time; marks come back when they should."""

    def __init__(self, lines=None, **policy):
        self.agent = Agent(lines or {})
        self.voice, self.store, self.control, self.bus = Voice(), Store(), Control(), MemoryBus()
        self.policy = TurnPolicy(**policy)
        self.sent, self.dead, self.max_call_ms = [], False, 600_000
        self.player = None
        self.left = None  # what another stream of the call left
        self.clears = 0

    # the outlet
    def media(self, audio):
        return ("media", audio)

    def mark(self, name):
        return ("mark", name)

    def clear(self):
        return ("clear", None)

    async def send(self, message):
        if self.dead:
            raise anyio.BrokenResourceError
        self.sent.append((self.now, message))
        kind, value = message
        if kind == "media":
            self.plays_until = max(self.plays_until, self.now) + len(value) // 8
        elif kind == "mark":
            self.tasks.start_soon(self._echo, value, self.plays_until)
        else:
            self.clears += 1
            self.plays_until = self.now

    async def _echo(self, name, when):
        await anyio.sleep(max(0, when + 30 - self.now) / 1000)
        self.session.handle(Mark(name))

    @property
    def now(self):
        return round((anyio.current_time() - self.t0) * 1000)

    async def until(self, when):
        await anyio.sleep(max(0, when - self.now) / 1000)

    async def says(self, start, end, text):
        """Speech from start to end, heard by a streaming recognizer."""
        await self.until(start + 70)
        self.ear.on_speech(SpeechStarted(start))
        await self.until(end - 50)
        self.recognizer.sink(Interim(text, start, end - 200, 0.9, "google"))
        await self.until(end + 170)
        self.ear.on_speech(SpeechEnded(end))
        await self.until(end + 300)
        self.recognizer.sink(Final(text, start, end, 0.9, "google"))

    async def hangs_up(self, when):
        await self.until(when)
        self.session.handle(Stop())

    @asynccontextmanager
    async def on(self):
        def recognizer(sink):
            self.recognizer = Recognizer(sink)
            return self.recognizer

        def ear(on_speech):
            self.ear = Ear(on_speech)
            return self.ear

        async def context(start):
            return CallContext(start.call_sid, start.caller, datetime(2026, 11, 22, tzinfo=UTC))

        async def line():
            while True:
                await anyio.sleep(0.02)
                self.session.handle(Media(silence(20), 0, 0))

        self.t0 = anyio.current_time()
        self.plays_until = 0
        from pathlib import Path

        from moked.media.journal import Journal

        async def left(start):
            return self.left

        journal = Journal(self.store, Path("/nonexistent/spill"))
        parts = SessionParts(
            agents=lambda context: self.agent,
            voice=self.voice,
            recognizer=recognizer,
            ear=ear,
            context=context,
            journal=journal,
            bus=self.bus,
            control=self.control,
            phrases=Phrases(
                "סליחה, אפשר לחזור?", "סליחה, יש לי תקלה.", "סליחה, הזמן נגמר.", "סליחה על ההפסקה.", "סליחה, מה אמרתם?"
            ),
            left=left,
            policy=self.policy,
            transfer_number="",
            max_call_ms=self.max_call_ms,
        )
        async with self.bus.running(), journal.running(), anyio.create_task_group() as self.tasks:
            start = CallStart("CA1", "AC1", "+972502345678", "+97231234567", stream=0 if self.left is None else 1)
            self.session = CallSession(parts, start, self)
            self.tasks.start_soon(line)
            async with anyio.create_task_group() as session:
                session.start_soon(self.session.run)
                yield self
            self.tasks.cancel_scope.cancel()

    def audio_ms(self, since=0, until=10**9):
        return sum(len(v) // 8 for t, (kind, v) in self.sent if kind == "media" and since <= t < until)

    @property
    def end(self):
        (end,) = self.store.ends
        return end


async def test_greeting_question_answer_and_hang_up():
    async with Call({"יש לי נזילה": (Say("אני בודק. "), Say("מה הכתובת?"), Ask(Expect.OPEN))}).on() as call:
        await call.says(3000, 4000, "יש לי נזילה")
        await call.hangs_up(9000)
    assert call.agent.committed == ["greet", "יש לי נזילה"]
    turn = call.store.turns[1]
    assert (turn.caller_text, turn.said, turn.heard, turn.cut) == (
        "יש לי נזילה",
        "אני בודק. מה הכתובת?",
        "אני בודק. מה הכתובת?",
        False,
    )
    w = turn.waterfall
    assert w.speech_end_ms == pytest.approx(4000, abs=30)
    assert w.endpoint_ms == pytest.approx(4715, abs=30)  # a short sentence may go on
    assert w.llm_first_ms <= w.endpoint_ms  # speculation: the words were there before the turn was over
    assert w.sent_ms - w.speech_end_ms <= 750
    assert w.heard_ms > w.sent_ms
    assert call.end.outcome is Outcome.CALLER_HUNG_UP
    assert call.end.lead.need == "יש לי נזילה"
    assert call.store.turns[0].heard == "שלום, במה אפשר לעזור?"
    assert call.ear.closed  # its place at the detector is free for another call
    assert call.store.turns[0].waterfall.heard_ms is not None  # its only mark came after the clock had ended the reply


async def test_a_sentence_from_the_cache_keeps_the_space_before_it():
    async with Call({"מה?": (Say("הבנתי אתכם היטב. "), Say("סליחה, רק רגע."))}).on() as call:
        await call.says(3000, 3600, "מה?")
        await call.hangs_up(9000)
    assert call.store.turns[1].heard == "הבנתי אתכם היטב. סליחה, רק רגע."


async def test_nothing_of_a_speculative_reply_is_heard():
    async with Call().on() as call:
        await call.says(3000, 3600, "אני צריך")
        quiet = call.audio_ms(since=3000)
        await call.says(3920, 4600, "חשמלאי")
        assert quiet == 0
        await call.hangs_up(9000)
    assert call.agent.committed == ["greet", "אני צריך חשמלאי"]
    assert len(call.agent.asked) >= 2


async def test_barge_in_clears_and_keeps_only_what_was_heard():
    long = "אני יכול להציע לכם טכנאי מחר בבוקר או ביום חמישי אחר הצהריים. "
    async with Call({"מתי": (Say(long), Say("מה מתאים?"))}).on() as call:
        await call.says(3000, 3500, "מתי")
        await call.until(6000)
        await call.says(6000, 7000, "רגע מחר לא טוב")
        await call.hangs_up(12000)
    assert call.clears == 1
    cleared = next(t for t, (kind, _) in call.sent if kind == "clear")
    assert 6000 < cleared <= 6350
    turn = call.store.turns[1]
    assert turn.cut
    assert turn.heard
    assert long.startswith(turn.heard)
    assert len(turn.heard) < len(long)
    second, history = call.agent.asked[-1]
    assert (second.text, second.cut_in, second.number) == ("רגע מחר לא טוב", True, 2)
    assert history[-1].text == turn.heard
    assert history[-1].cut


async def test_a_cough_goes_on_from_the_same_syllable():
    text = "אני יכול להציע לכם טכנאי מחר בבוקר או ביום חמישי. "
    async with Call({"מתי": (Say(text),)}).on() as call:
        await call.says(3000, 3500, "מתי")
        await call.until(5000)
        call.ear.on_speech(SpeechStarted(4930))
        await call.until(5220)
        call.ear.on_speech(SpeechEnded(5060))
        await call.hangs_up(12000)
    assert call.clears == 0
    # the synthesizer gives five letters at a time
    assert call.audio_ms(since=3400) >= len(text.strip()) * MS_A_LETTER
    assert not call.store.turns[1].cut
    assert call.store.turns[1].heard == text.strip()


async def test_the_agent_hangs_up_after_its_goodbye_was_heard():
    async with Call({"ביי": (Say("תודה ולהתראות."), EndCall("done"))}).on() as call:
        await call.says(3000, 3500, "ביי")
    assert call.control.did == ["hang_up"]
    assert call.end.outcome is Outcome.COMPLETED
    last = max(t for t, (kind, _) in call.sent if kind == "media")
    assert call.end.duration_ms > last
    assert call.store.turns[1].heard == "תודה ולהתראות."


async def test_a_transfer_goes_by_the_carrier():
    async with Call({"נציג": (Say("אני מעביר."), Transfer("+97231111111", "asked"))}).on() as call:
        await call.says(3000, 3500, "נציג")
    assert call.control.did == ["+97231111111"]
    assert call.end.outcome is Outcome.TRANSFERRED


async def test_keys_cut_in_and_are_a_turn():
    async with Call({"050#": (Say("קיבלתי."),)}).on() as call:
        await call.until(500)
        for digit in "050#":
            call.session.handle(Dtmf(digit))
            await anyio.sleep(0.2)
        await call.hangs_up(5000)
    assert call.agent.committed == ["greet", "050#"]
    assert call.store.turns[1].dtmf == "050#"
    assert call.clears == 1


async def test_a_failing_agent_apologises_and_the_second_time_ends_well():
    broken = (ProviderError("llm", Failure.TIMEOUT, "x"),)
    async with Call({"א": broken, "ב": broken}).on() as call:
        await call.says(3000, 3500, "א")
        await call.until(7000)
        await call.says(7000, 7500, "ב")
    assert call.end.outcome is Outcome.BROKEN
    assert call.end.detail == "agent_failed"
    assert call.store.turns[1].heard == "סליחה, אפשר לחזור?"
    assert call.store.turns[2].heard == "סליחה, יש לי תקלה."


async def test_a_failing_voice_apologises_from_the_cache():
    async with Call({"א": (Say("שבור שבור."),)}).on() as call:
        await call.says(3000, 3500, "א")
        await call.hangs_up(9000)
    assert call.store.turns[1].heard == "סליחה, אפשר לחזור?"


async def test_the_last_words_of_a_caller_who_hangs_up_are_kept():
    async with Call().on() as call:
        await call.until(3000)
        call.recognizer.last = Final("תתקשרו אליי מחר", 2500, 3000, 0.9, "google")
        await call.hangs_up(3000)
    assert call.store.turns[1].caller_text == "תתקשרו אליי מחר"
    assert call.end.lead.need == "תתקשרו אליי מחר"


async def test_words_over_the_greeting_of_a_caller_who_hangs_up_at_once_are_kept():
    async with Call().on() as call:
        await call.says(100, 600, "טעות במספר סליחה")
        await call.hangs_up(910)
    assert call.store.turns[1].caller_text == "טעות במספר סליחה"


async def test_last_words_that_come_late_are_not_taken_for_a_turn_to_answer():
    async with Call().on() as call:
        await call.says(3000, 4000, "יש לי נזילה")
        await call.until(4400)
        call.recognizer.last = Final("במטבח", 4000, 4390, 0.9, "google")
        await call.hangs_up(4400)
    assert call.store.turns[1].caller_text == "יש לי נזילה במטבח"
    assert call.audio_ms(since=3000) == 0


async def test_a_socket_that_dies_ends_no_call():
    async with Call().on() as call:
        await call.until(3000)
        call.session.handle(Gone("disconnect"))
    assert (call.store.ends, call.store.snapshots[-1].left) == ([], "disconnect")
    call = Call()
    call.dead = True
    async with call.on():
        pass
    assert (call.store.ends, call.store.snapshots[-1].left) == ([], "socket_dead")


async def test_a_call_that_lasts_too_long_is_ended_politely():
    call = Call()
    call.max_call_ms = 4000
    async with call.on():
        pass
    assert (call.end.outcome, call.end.detail) == (Outcome.COMPLETED, "max_length")
    assert call.control.did == ["hang_up"]
    assert call.audio_ms(since=4000) >= 15 * MS_A_LETTER


async def test_a_caller_who_goes_on_before_our_first_sound_is_answered_once():
    slow = (1.0, Say("הבנתי."))
    async with Call({"אני צריך עזרה": slow}).on() as call:
        await call.says(3000, 3600, "אני צריך עזרה")
        await call.says(4150, 5000, "בתל אביב")
        await call.hangs_up(9000)
    assert sorted(call.store.turns) == [0, 1]
    assert call.store.turns[1].caller_text == "אני צריך עזרה בתל אביב"


async def test_silence_is_asked_about():
    async with Call({"silent": (Say("אתם איתי?"),)}, silence_ms=5000).on() as call:
        await call.hangs_up(9000)
    assert call.agent.asked[0][0].silent
    assert call.store.turns[1].said == "אתם איתי?"


async def test_a_cancelled_session_leaves_its_call_to_others():
    async with anyio.create_task_group() as outer:
        call = Call()

        async def hold():
            async with call.on():
                await anyio.sleep_forever()

        outer.start_soon(hold)
        await anyio.sleep(2)
        outer.cancel_scope.cancel()
    assert (call.store.ends, call.store.snapshots[-1].left) == ([], "session_failed")


def test_the_playout_default_lead_fits_the_design():
    playout = Playout()
    playout.add(silence(1000))
    assert 200 <= sum(len(a.audio) for a in playout.poll(0)) // 8 <= 400


async def test_a_late_final_with_more_words_mends_the_turn_and_loses_nothing():
    slow = (1.0, Say("הבנתי."))
    async with Call({"רוצה לדעת": slow, "אני רוצה לדעת": slow}).on() as call:
        await call.until(3070)
        call.ear.on_speech(SpeechStarted(3000))
        await call.until(3950)
        call.recognizer.sink(Interim("רוצה לדעת", 3000, 3800, 0.9, "google"))
        await call.until(4170)
        call.ear.on_speech(SpeechEnded(4000))
        await call.until(4800)  # committed on the interim; the final knows more, before and after
        call.recognizer.sink(Final("אני רוצה לדעת כמה זה עולה", 3000, 4750, 0.9, "google"))
        await call.hangs_up(9000)
    assert call.store.turns[1].caller_text == "אני רוצה לדעת כמה זה עולה"
    assert sorted(call.store.turns) == [0, 1]


# ---- a call that goes on in another process


def goes_on(call, lines=None, *, why="", gap_ms=300):
    """The same call at another process, after the first was left, or killed at its last snapshot."""
    last = call.store.snapshots[-1]
    after = Call(lines or {})
    after.left = LeftCall(last.data, why or last.left or "died", gap_ms)
    after.store.turns = dict(call.store.turns)
    return after


async def test_a_call_moves_between_two_turns_and_nobody_notices():
    async with Call({"אני צריך עזרה": (Say("בשמחה. מה השם?"), Ask(Expect.NAME))}).on() as first:
        await first.says(3000, 3600, "אני צריך עזרה")
        await first.until(4100)
        first.session.move()  # the answer is being spoken: not now
        await first.until(4300)
        assert not first.store.snapshots[-1].left
    assert (first.store.snapshots[-1].left, first.store.ends) == ("moving", [])
    assert first.store.turns[1].heard == "בשמחה. מה השם?"
    second = goes_on(first)
    async with second.on():
        await second.until(200)
        assert second.audio_ms() == 0
        assert second.recognizer.expecting == "name"
        await second.says(600, 1200, "דנה לוי")
        await second.hangs_up(4000)
    turn, history = second.agent.asked[0]
    assert (turn.number, turn.text) == (2, "דנה לוי")
    assert [entry.text for entry in history] == [
        "שלום, במה אפשר לעזור?", "אני צריך עזרה", "בשמחה. מה השם?",
    ]  # fmt: skip
    assert sorted(second.store.turns) == [0, 1, 2]
    assert second.store.turns[2].started_ms > first.store.turns[1].ended_ms  # one clock
    assert (second.end.outcome, second.end.stream) == (Outcome.CALLER_HUNG_UP, 1)
    assert "moved" in second.store.events


async def test_a_socket_that_dies_in_our_sentence_is_apologised_for_and_the_sentence_said_again():
    answer = (Say("המחיר הוא מאתיים שקלים בערך. מתי נוח לכם שנגיע?"), Ask(Expect.TIME))
    async with Call({"כמה זה עולה": answer}).on() as first:
        await first.says(3000, 3600, "כמה זה עולה")
        await first.until(6300)
        first.session.handle(Gone("disconnect"))
    heard = first.store.turns[1].heard
    assert heard.startswith("המחיר הוא מאתיים")
    assert not heard.endswith("?")
    second = goes_on(first)
    async with second.on():
        await second.until(9000)
        await second.says(9000, 9600, "מחר")
        await second.hangs_up(12000)
    turn = second.store.turns[1]
    assert (turn.caller_text, turn.cut) == ("כמה זה עולה", False)
    assert turn.heard.startswith(heard)
    assert turn.heard.endswith("סליחה על ההפסקה. המחיר הוא מאתיים שקלים בערך. מתי נוח לכם שנגיע?")
    assert second.agent.committed == ["מחר"]  # the turn before it was not decided again
    assert second.agent.asked[0][0].number == 2


async def test_a_process_killed_while_it_thinks_is_replaced_by_one_that_answers():
    async with Call({"כמה זה עולה": (30.0, Say("מאתיים."))}).on() as first:
        await first.says(3000, 3600, "כמה זה עולה")
        await first.until(5000)
        second = goes_on(first, {"כמה זה עולה": (Say("מאתיים שקלים."),)})
        await first.hangs_up(5001)
    async with second.on():
        await second.until(2500)
        await second.hangs_up(2600)
    assert second.agent.asked[0][0].number == 1
    assert second.agent.asked[0][0].text == "כמה זה עולה"
    assert second.store.turns[1].heard == "מאתיים שקלים."


async def test_a_final_that_came_is_kept_and_answered():
    async with Call(hold_ms=1400).on() as first:
        await first.until(3070)
        first.ear.on_speech(SpeechStarted(3000))
        first.recognizer.sink(Final("יש לי נזילה", 3000, 3600, 0.9, "google"))
        await first.until(3700)
        second = goes_on(first)
        await first.hangs_up(3701)
    async with second.on():
        await second.says(300, 900, "במטבח")
        await second.hangs_up(4000)
    assert second.agent.asked[-1][0].text == "יש לי נזילה במטבח"
    assert second.store.turns[1].caller_text == "יש לי נזילה במטבח"


async def test_what_was_to_follow_the_reply_follows_it_in_the_next_process():
    async with Call({"ביי": (Say("תודה ולהתראות."), EndCall("done"))}).on() as first:
        await first.says(3000, 3600, "ביי")
        await first.until(4700)
        first.session.handle(Gone("disconnect"))
    second = goes_on(first)
    async with second.on():
        pass
    assert (second.end.outcome, second.end.detail) == (Outcome.COMPLETED, "done")
    assert second.control.did == ["hang_up"]


async def test_a_call_that_is_replaced_says_nothing_more():
    async with Call().on() as call:
        await call.until(3000)
        call.session.handle(Gone("replaced"))
    assert call.store.ends == []
    assert not call.store.snapshots[-1].left


async def test_nothing_to_go_on_from_is_a_call_from_the_beginning():
    call = Call()
    call.left = LeftCall(b"{}", "died", 500)
    async with call.on():
        await call.until(3000)
        await call.hangs_up(3001)
    assert call.agent.committed == ["greet"]
