"""Whole calls on virtual time: a caller and a carrier as small programs, around the real session, cores and journal."""

from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import anyio
import pytest

from moked import metrics
from moked.audio import silence
from moked.bus import MemoryBus
from moked.dialog import Ask, CallContext, EndCall, Expect, Say, Transfer
from moked.dialog.business import load_business
from moked.dialog.deaf import CALLBACK, UnheardAgents
from moked.dialog.scriptfile import load_script
from moked.errors import Failure, ProviderError
from moked.media.connection import Gone
from moked.media.playout import Playout
from moked.media.session import CallSession, Phrases, SessionParts
from moked.media.speech import SpeechEnded, SpeechPaused, SpeechStarted
from moked.media.turns import TurnPolicy
from moked.media.twilio import Dtmf, Mark, Media, Stop
from moked.pressure import Level, Pressure
from moked.records import CallStart, Handover, LeadDraft, LeftCall, Outcome
from moked.stt import EngineSwitched, Final, HearingBack, HearingLost, Interim
from tests.virtual_time import VIRTUAL_TIME

MS_A_LETTER = 60
BUSINESS = load_business(None)
SCRIPT = load_script(None, BUSINESS.voice_gender, BUSINESS.name)


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
    instructed: list = field(default_factory=list)

    def greet(self):
        return _Reply(self, "greet", (Say("שלום, במה אפשר לעזור?"), Ask(Expect.OPEN)))

    def reply(self, turn, history):
        self.asked.append((turn, tuple(history)))
        key = turn.dtmf or ("silent" if turn.silent else turn.text)
        return _Reply(self, key, self.lines.get(key, (Say("הבנתי, תודה."),)))

    def lead(self):
        return self.draft

    def instruct(self, text):
        self.instructed.append(text)

    def handed_back(self, how, told, history):
        self.instructed.append(told)
        return _Reply(self, how.value, (Say("הצוות יטפל בזה. במה עוד אפשר לעזור?"), Ask(Expect.OPEN)))

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
        self.late_s = 0.0

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

    def audio(self, from_ms, to_ms):
        return silence(to_ms - from_ms)

    async def run(self):
        await self.done.wait()
        await anyio.sleep(self.late_s)
        if self.last is not None:
            self.sink(self.last)

    def finish(self):
        self.done.set()


class Ear:
    received_ms = 0

    @property
    def judged_ms(self):
        return self.received_ms

    closed = False

    def __init__(self, on_speech):
        self.on_speech = on_speech

    def feed(self, audio):
        self.received_ms += len(audio) // 8

    def close(self):
        self.closed = True

    echo_db = None

    def playing(self, ahead_ms, audio):
        pass

    def silenced(self):
        pass


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
    can_hold = False

    def __init__(self):
        self.did = []

    async def hand_over(self, start, number):
        self.did.append(f"ring {number}")

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
        self.second = self.spool = self.record = self.machine = None
        self.knows = {}  # of the caller's, more than the number
        self.agent_answers_refusals = True
        self.transfer_number = self.machine_message = ""
        self.phrases = Phrases(
            "סליחה, אפשר לחזור?", "סליחה, יש לי תקלה.", "סליחה, הזמן נגמר.", "סליחה על ההפסקה.", "סליחה, מה אמרתם?"
        )
        self.pressure = Pressure(0.03)
        self.clears = 0

    def make_ear(self, on_speech):
        return Ear(on_speech)

    def line(self):
        """The next 20 ms of the caller's line."""
        return silence(20)

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

    async def says(self, start, end, text, words=()):
        """Speech from start to end, heard by a streaming recognizer."""
        await self.until(start + 70)
        self.ear.on_speech(SpeechStarted(start))
        await self.until(end - 50)
        self.recognizer.sink(Interim(text, start, end - 200, 0.9, "google"))
        await self.until(end + 170)
        self.ear.on_speech(SpeechEnded(end))
        await self.until(end + 300)
        self.recognizer.sink(Final(text, start, end, 0.9, "google", words))

    async def hangs_up(self, when):
        await self.until(when)
        self.session.handle(Stop())

    @asynccontextmanager
    async def on(self):
        def recognizer(sink):
            self.recognizer = Recognizer(sink)
            return self.recognizer

        def ear(on_speech):
            self.ear = self.make_ear(on_speech)
            return self.ear

        async def context(start):
            return CallContext(start.call_sid, start.caller, datetime(2026, 11, 22, tzinfo=UTC), **self.knows)

        async def line():
            while True:
                await anyio.sleep(0.02)
                self.session.handle(Media(self.line(), 0, 0))

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
            phrases=self.phrases,
            left=left,
            policy=self.policy,
            unheard=UnheardAgents(BUSINESS, SCRIPT),
            second=self.second,
            spool=self.spool,
            record=self.record,
            agent_answers_refusals=self.agent_answers_refusals,
            transfer_number=self.transfer_number,
            machine=self.machine,
            machine_message=self.machine_message,
            max_call_ms=self.max_call_ms,
            pressure=self.pressure,
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


@pytest.mark.parametrize(("reason", "answered"), [("rollout", True), ("recovered", True), ("unavailable", False)])
async def test_a_move_in_a_pause_does_not_hold_up_the_answer(reason, answered):
    """All was told before it; a stream that failed may still owe words."""
    async with Call({"יש לי נזילה": (Say("אני בודק."),)}).on() as call:
        await call.says(3000, 4000, "יש לי נזילה")
        call.recognizer.sink(EngineSwitched("google", "google-batch", reason))
        await call.until(5400)
        committed = list(call.agent.committed)
        await call.hangs_up(5500)
    assert committed == ["greet", "יש לי נזילה"][: 1 + answered]


async def test_the_driver_sleeps_until_there_is_something_to_do(monkeypatch):
    rounds = []
    after_each = CallSession._leave_when_heard
    monkeypatch.setattr(
        CallSession, "_leave_when_heard", lambda self, now: (rounds.append(now), after_each(self, now))[1]
    )
    async with Call().on() as call:
        await call.until(3000)
        spoken = len(rounds)
        await call.hangs_up(6000)
    assert spoken < 60  # the greeting: a chunk each 100 ms, its marks and its end
    assert len(rounds) - spoken < 10  # three seconds of nothing


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
        await call.until(5130)
        call.ear.on_speech(SpeechPaused(5060))
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


async def test_the_last_words_are_kept_also_when_the_recogniser_is_slow_to_say_them():
    async with Call().on() as call:
        await anyio.sleep(2.0)
        call.recognizer.last = Final("קוראים לי דנה", 2200, 2900, 0.9, "google")
        call.recognizer.late_s = 6.0
        await call.hangs_up(3000)
    assert call.store.turns[1].caller_text == "קוראים לי דנה"


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
    before = metrics.call_limits.labels("seconds")._value.get()
    async with call.on():
        pass
    assert metrics.call_limits.labels("seconds")._value.get() == before + 1
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


# --- when nobody can hear the caller


def said(call, number):
    return call.store.turns[number].said


async def test_without_hearing_the_caller_types_the_number_to_be_called_back():
    async with Call().on() as call:
        await call.until(2600)
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(16_000)
        for digit in "0541112233#":
            call.session.handle(Dtmf(digit))
        await call.until(40_000)
    assert said(call, 1).startswith("סליחה, יש לי תקלה")
    assert "הקישו אחת" in said(call, 1)  # their own number is known
    assert said(call, 2) == "קיבלתי את המספר. נחזור אליכם בהקדם. תודה ולהתראות."
    assert (call.end.outcome, call.end.detail) == (Outcome.COMPLETED, CALLBACK)
    assert (call.end.lead.phone, call.end.lead.phone_confirmed, call.end.lead.unheard) == ("+972541112233", True, True)
    assert call.end.lead.sources["phone"].quote == "0541112233#"
    assert not call.agent.asked  # the call's own agent was not told of a silence: no "are you there"


async def test_hearing_lost_before_the_greeting_is_told_after_it():
    async with Call().on() as call:
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(14_000)
        await call.hangs_up(14_000)
    assert call.store.turns[0].heard == "שלום, במה אפשר לעזור?"
    assert said(call, 1).startswith("סליחה, יש לי תקלה")
    assert call.end.lead.unheard


async def test_speech_does_not_cut_what_is_offered_to_a_caller_nobody_hears():
    async with Call().on() as call:
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(4000)
        call.ear.on_speech(SpeechStarted(3900))
        await call.until(6000)
        call.ear.on_speech(SpeechEnded(5800))
        await call.hangs_up(30_000)
    assert not call.store.turns[1].cut
    assert call.clears == 0


async def test_hearing_comes_back_and_the_agent_goes_on():
    async with Call().on() as call:
        await call.until(2600)
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(19_000)
        call.recognizer.sink(HearingBack("google"))
        await call.says(24_000, 25_000, "יש לי נזילה")
        await call.hangs_up(29_000)
    assert said(call, 2) == "עכשיו אני שומע אתכם. במה אפשר לעזור?"
    assert call.store.turns[3].caller_text == "יש לי נזילה"
    assert (call.end.lead.need, call.end.lead.unheard) == ("יש לי נזילה", False)


async def test_hearing_that_comes_back_in_the_goodbye_changes_nothing_any_more():
    async with Call().on() as call:
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(8000)
        for digit in "0541112233#":
            call.session.handle(Dtmf(digit))
        await call.until(8800)
        call.recognizer.sink(HearingBack("google"))
        await call.until(30_000)
    assert said(call, max(call.store.turns)).startswith("קיבלתי את המספר")
    assert (call.end.detail, call.end.lead.phone) == (CALLBACK, "+972541112233")


async def test_silence_while_deaf_is_offered_again_and_then_ended_with_a_promise():
    async with Call().on() as call:
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.until(120_000)
    texts = [turn.said for turn in call.store.turns.values()]
    assert sum("עדיין לא שומע" in text for text in texts) == 2
    assert texts[-1] == "נחזור בהקדם למספר שממנו התקשרתם. תודה ולהתראות."
    assert call.end.outcome is Outcome.COMPLETED


# --- two ears


class SecondEar:
    """Hears `text` in whatever it is given, after `takes_s`."""

    name = "whisper"

    def __init__(self, text, takes_s):
        self.text, self.takes_s, self.heard = text, takes_s, []

    async def hear(self, audio, expect=""):
        self.heard.append((len(audio) // 8, expect))
        await anyio.sleep(self.takes_s)
        return self.text


NAME_LINES = {"דנה": (Say("נעים מאוד, דנה."), Ask(Expect.OPEN))}


def readings(call, number):
    """What the answers to turn `number` were given of the second ear."""
    return [[second.text for second in turn.second] for turn, _ in call.agent.asked if turn.number == number]


async def name_is_asked(call):
    call.agent.lines["יש לי נזילה"] = (Say("עם מי אני מדבר?"), Ask(Expect.NAME))
    await call.says(3000, 4000, "יש לי נזילה")


async def with_second(takes_s, text="דינה", lines=NAME_LINES, level=Level.CALM):
    call = Call(dict(lines))
    call.second = SecondEar(text, takes_s)
    call.pressure.level = level
    async with call.on():
        await name_is_asked(call)
        await call.says(6000, 6600, "דנה")
        await call.says(10_000, 10_600, "להתראות")
        await call.hangs_up(14_000)
    return call


async def test_a_quick_second_ear_is_there_when_the_turn_commits():
    call = await with_second(0.1)
    assert call.second.heard == [(300 + 600 + 200, "name")]  # lead-in, speech, tail; only what was asked for
    assert readings(call, 2)[-1] == ["דינה"]
    assert call.agent.committed.count("דנה") == 1
    assert call.store.turns[2].waterfall.sent_ms - 6600 <= 750
    assert readings(call, 3) == [[]]  # given once


@pytest.mark.parametrize(("level", "asked"), [(Level.BUSY, 1), (Level.FULL, 0)])
async def test_a_process_at_its_limit_asks_for_no_second_reading(level, asked):
    call = await with_second(0.1, level=level)
    assert len(call.second.heard) == asked
    assert call.agent.committed.count("דנה") == 1


@pytest.mark.parametrize(("level", "asked"), [(Level.CALM, 2), (Level.BUSY, 1)])
async def test_a_pressed_process_begins_no_answer_at_a_mere_pause(level, asked):
    call = Call()
    call.pressure.level = level
    async with call.on():
        await call.until(3070)
        call.ear.on_speech(SpeechStarted(3000))
        await call.until(4000)
        call.recognizer.sink(Interim("אני צריך אינסטלטור דחוף", 3000, 3980, 0.9, "google"))
        await call.until(4080)
        call.ear.on_speech(SpeechPaused(4000))
        await call.until(4400)
        call.recognizer.sink(Interim("אני צריך אינסטלטור דחוף היום", 3000, 4380, 0.9, "google"))  # the caller went on
        await call.until(4600)
        call.ear.on_speech(SpeechEnded(4400))
        await call.until(9000)
        await call.hangs_up(9100)
    assert len([turn for turn, _ in call.agent.asked if turn.number == 1]) == asked
    assert len(call.agent.committed) == 2  # the greeting and one answer, either way


async def test_a_reading_that_comes_before_the_answer_is_heard_makes_it_anew():
    call = await with_second(0.7, lines={"דנה": (1.2, *NAME_LINES["דנה"])})  # an agent that takes its time
    assert readings(call, 2) == [[], ["דינה"]]
    assert call.agent.committed.count("דנה") == 2  # withdrawn, and again
    assert call.store.turns[2].heard == "נעים מאוד, דנה."
    assert call.store.turns[2].caller_text == "דנה"
    assert call.clears == 0


async def test_the_answer_never_waits_for_a_slow_second_ear():
    quick, slow = await with_second(0.0, text="דנה"), await with_second(2.0)
    assert slow.store.turns[2].waterfall.sent_ms == quick.store.turns[2].waterfall.sent_ms
    assert readings(slow, 2)[-1] == []
    assert readings(slow, 3)[-1] == ["דינה"]  # with the next answer


async def test_an_agreeing_second_ear_makes_no_answer_anew():
    call = await with_second(0.1, text="דנה.")  # there before the commit
    assert readings(call, 2) == [[]]
    assert readings(call, 3)[-1] == ["דנה."]


async def test_what_is_no_slot_or_was_heard_by_whisper_is_not_heard_again():
    call = Call(dict(NAME_LINES))
    call.second = SecondEar("דינה", 0.1)
    async with call.on():
        await name_is_asked(call)
        await call.until(6500)
        call.ear.on_speech(SpeechStarted(6000))
        call.ear.on_speech(SpeechEnded(6600))
        call.recognizer.sink(Final("דנה", 6000, 6600, 0.9, "whisper"))
        await call.hangs_up(9000)
    assert call.second.heard == []


# --- the spool


class CallSpool:
    def __init__(self, sid):
        self.audio, self.marks, self.over = 0, [], ""

    def feed(self, audio):
        assert not self.over
        self.audio += len(audio)

    def mark(self, begins, at_ms):
        self.marks.append((begins, at_ms))

    def discard(self):
        self.over = "discarded"

    def close(self):
        self.over = "closed"


@pytest.mark.parametrize(("text", "over"), [("יש לי נזילה", "closed"), ("אני לא רוצה שתקליטו אותי", "discarded")])
async def test_the_spool_follows_the_call_and_ends_where_the_caller_says_so(text, over):
    call = Call()
    kept = []
    call.spool = lambda sid: kept.append(CallSpool(sid)) or kept[-1]
    async with call.on():
        await call.says(3000, 4000, text)
        await call.hangs_up(8000)
    (spool,) = kept
    assert spool.over == over
    if over == "closed":
        assert spool.marks == [(True, 3000), (False, 4000)]
        assert spool.audio == pytest.approx(8000 * 8, rel=0.02)
    else:
        assert "recording_refused" in call.store.events
        assert spool.audio <= 4000 * 8  # from the words on nothing more: the interim was enough


@dataclass
class Model(Agent):
    tokens: int = 0


async def test_what_a_language_model_used_is_on_record_once():
    call = Call()
    call.agent = Model({}, tokens=700)
    async with call.on():
        await call.says(3000, 4000, "יש לי נזילה")
        await call.hangs_up(8000)
    assert call.store.events.count("model_used") == 1
    call = Call()
    async with call.on():
        await call.hangs_up(3000)
    assert "model_used" not in call.store.events


# ---- a person is asked


async def asks_for_a_person(refuse=False):
    call = Call({"נציג": (Say("אני מעביר אתכם."), Transfer("+97235550000", "caller_asked"))})
    call.control.can_hold = True
    if refuse:

        async def hand_over(start, number):
            raise ProviderError("twilio", Failure.CONFIG, "that number may not be called")

        call.control.hand_over = hand_over
    async with call.on():
        await call.says(3000, 3600, "נציג")
        await call.until(9000)
    return call


async def test_a_caller_waits_for_a_person_and_the_call_is_not_over():
    first = await asks_for_a_person()
    assert (first.control.did, first.store.ends) == (["ring +97235550000"], [])
    assert first.store.snapshots[-1].left == "handover"
    second = goes_on(first, gap_ms=20_000)
    second.left = replace(second.left, handover=Handover.SENT_BACK)
    async with second.on():
        await second.until(4000)
        await second.hangs_up(4001)
    assert second.store.turns[1].heard.endswith("הצוות יטפל בזה. במה עוד אפשר לעזור?")
    assert second.agent.committed == ["sent_back"]


async def test_when_nobody_can_be_rung_the_caller_is_dialled_through():
    call = await asks_for_a_person(refuse=True)
    assert call.control.did == ["+97235550000"]
    assert call.end.outcome is Outcome.TRANSFERRED
