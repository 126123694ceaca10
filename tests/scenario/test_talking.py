"""What callers of other phone agents suffer from, as calls that go well here. Each test reads like the call.

The rows are those of `peers.md`: a survey of other systems' issues and designs. Rows that are not about talking belong
to other tests: recognition streams and fallback (0.3-0.7, 3.16-3.28, 3.30-3.32, 3.42-3.50, 4.1, 4.2) to `tests/stt` and
`tests/wire`; overload, density, drain and moves between processes (0.10-0.12, 3.46-3.52, 3.60, 3.63, 4.6, 4.7) to
theirs; the socket's locks and a second socket for one call (3.11-3.14) to `tests/media/test_server*.py` and
`tests/wire/test_hostile.py`; WhatsApp, right-to-left pages and Hebrew codes (3.53-3.59, 3.61) to nobody in this folder.

| row | what goes wrong elsewhere | test |
|---|---|---|
| 0.1 | the answer waits for the recogniser's final | a_turn_ends_without_the_final |
| 0.2, 3.20 | a final ends the turn; the next repeats its words | a_final_in_a_hesitation_is_no_end |
| 0.7, 3.41, 3.54 | no model of Hebrew; pauses in a number cut it | a_number_is_dictated_in_peace |
| 0.8, 3.39 | history holds what nobody heard | the_model_knows_only_what_was_heard |
| 0.9 | a mark that `clear` returned counts as heard | marks_that_clear_returns_prove_nothing |
| 3.1, 3.6 | cutting in does nothing, or late | who_cuts_in_is_heard_at_once |
| 3.2 | the first word after our last is lost | an_answer_on_the_heels_of_the_question |
| 3.3 | the call ends before the goodbye | the_goodbye_is_heard_before_we_hang_up |
| 3.5, 3.29 | the model falls silent in its answer | dialog/test_llm.py: an_answer_that_breaks_off_* |
| 3.7, 3.8 | hanging up an ended call; a pause keeps it open | tests/test_telephony.py |
| 3.9 | a send that never returns freezes all | a_socket_that_takes_nothing_ends_the_call |
| 3.10, 4.5 | marks never come, nobody hangs up | marks_that_never_come_hold_up_nothing |
| 3.15, 3.43 | holes in the greeting, and late | the_greeting_is_whole_and_at_once |
| 3.27 | a voice without sound is no failure | a_voice_without_sound_* |
| 3.33 | a cough leaves the agent mute | a_cough_goes_on_from_the_same_sample, two_coughs |
| 3.34 | "thank you" makes the agent repeat itself | a_back_channel_is_no_turn |
| 3.35 | "yes, hm" is a turn; "listen to me" is lost | a_back_channel_is_no_turn, back_channel_and_then_more |
| 3.36 | the agent begins just as the caller goes on | who_goes_on_before_our_first_sound |
| 3.37 | words without VAD, late words, VAD stuck, empty turns | words_that_the_detector_did_not_hear, words_that_come_\
late_*, a_stuck_detector, a_sound_without_words |
| 3.38 | detector or recogniser freezes, audio goes on | a_deaf_recogniser_is_told_of, a_stuck_detector |
| 3.40, 4.3e | the greeting is cut by "hello" | hello_over_the_greeting |
| 3.44 | the second clause waits for the whole answer | the_first_clause_does_not_wait_for_the_second |
| 3.45 | speculation acts, doubles, answers twice | what_is_begun_in_vain_leaves_no_trace |
| 3.62 | a mailbox is talked to | a_mailbox_gets_a_message, a_menu_is_left |
| 4.3a | our own echo takes the floor | our_echo_is_no_caller, a_caller_is_heard_over_the_echo |
| 4.3b, d | a false alarm kills the answer | a_cough_*, a_long_sound_silences_us_and_we_go_on |
| 4.3c | our words come back as the caller's | our_own_words_are_no_turn |
| 4.3 end | "yes" to a question is put aside | yes_over_a_yes_no_question_is_an_answer |
| 4.4 | one timer for all; watchdogs | the rows of 0.7, 3.37 |
| 4.5 | the whole answer is at the carrier | little_is_at_the_carrier |
| 4.8 | one failure takes the call, or is met by silence | a_model_that_fails_twice_*, test_session.py |
| - | thinking in silence; silence; length; keys | a_filler_*, silence_is_asked_about_*, the_last_minute, keys_* |
"""

import anyio
import pytest

from moked.dialog import Ask, EndCall, Expect, Transfer
from moked.errors import Failure, ProviderError
from moked.media.machine import MachineDetector
from moked.media.twilio import Mark
from moked.records import Outcome
from moked.simulate.echo import EchoPath
from moked.stt import Final, HearingLost, Interim
from tests.media.test_session import MS_A_LETTER, no_threads  # noqa: F401  (a fixture)
from tests.scenario.stage import FILLERS, LONG_FILLERS, Scene, real_ear, reply
from tests.virtual_time import VIRTUAL_TIME

LONG = "אני יכול להציע לכם טכנאי מחר בבוקר או ביום חמישי אחר הצהריים, מה שנוח לכם יותר."
FAILS = (ProviderError("llm", Failure.TIMEOUT, "silent"),)


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


# --- the end of a turn


async def test_a_turn_ends_without_the_final():
    async with Scene({"יש לי נזילה במטבח": "אני בודק."}) as call:
        await call.greets()
        await call.says("יש לי נזילה במטבח", final_ms=1500)
        turn = await call.answers("אני בודק.")
        assert turn.waterfall.response_ms < 800
        assert not turn.decision.final
        await call.hangs_up()


async def test_a_final_in_a_hesitation_is_no_end():
    async with Scene({"אני צריך טכנאי למזגן": "בסדר."}) as call:
        await call.greets()
        await call.says("אני צריך", final_ms=150)
        await call.is_silent(300)
        await call.says("טכנאי למזגן", over=None)
        await call.answers("בסדר.")
        await call.hangs_up()
    assert [turn.caller_text for turn in call.store.turns.values()] == ["", "אני צריך טכנאי למזגן"]


async def test_a_number_is_dictated_in_peace():
    whole = "אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה"
    async with Scene({"נזילה": ("מה המספר?", Ask(Expect.PHONE)), whole: "רשמתי."}) as call:
        await call.greets()
        await call.says("נזילה")
        await call.answers("מה המספר?")
        await call.says("אפס חמש אפס")
        await call.is_silent(600)
        await call.says("שתיים שלוש ארבע")
        await call.is_silent(600)
        await call.says("חמש שש שבע שמונה")
        turn = await call.answers("רשמתי.")
        await call.hangs_up()
    assert turn.decision.reason == "number_complete"
    assert turn.decision.asked == "phone"


async def test_who_goes_on_before_our_first_sound():
    async with Scene({"אני צריך עזרה": (1.0, "במה?"), "אני צריך עזרה בתל אביב": "בסדר."}) as call:
        await call.greets()
        await call.says("אני צריך עזרה")
        await call.is_silent(500)
        await call.says("בתל אביב")
        turn = await call.answers("בסדר.")
        await call.hangs_up()
    assert turn.caller_text == "אני צריך עזרה בתל אביב"
    assert turn.decision.reopened == 1
    assert [before.outcome for before in turn.decision.before] == ["reopened"]
    assert turn.decision.outcome == "answered"


async def test_what_is_begun_in_vain_leaves_no_trace():
    async with Scene({"אני רוצה לבטל": "מבטל.", "אני רוצה לבטל רק את התור של מחר": "בסדר, רק מחר."}) as call:
        await call.greets()
        await call.says("אני רוצה לבטל", final_ms=150)
        await call.says("רק את התור של מחר")
        await call.answers("בסדר, רק מחר.")
        await call.hangs_up()
    assert call.agent.committed == ["greet", "אני רוצה לבטל רק את התור של מחר"]
    assert not call.clears


async def test_words_that_the_detector_did_not_hear():
    async with Scene({"כן": "מעולה."}) as call:
        await call.greets()
        await call.is_silent(1000)
        call.recognizer.sink(Final("כן", call.now - 400, call.now - 100, 0.9, "google"))
        await call.answers("מעולה.", within=3000)
        await call.hangs_up()


async def test_a_sound_without_words_is_asked_about_and_is_no_empty_turn():
    async with Scene({"": "סליחה, לא שמעתי."}) as call:
        await call.greets()
        await call.coughs(150, over=None)
        await call.is_silent(4000)
        assert list(call.store.turns) == [0]  # noise
        await call.says("משהו ארוך שאיש לא שמע", heard=False, over=None)
        turn = await call.answers("סליחה, לא שמעתי.")
        await call.hangs_up()
    assert turn.decision.reason == "unheard"


async def test_a_stuck_detector_does_not_hold_the_turn():
    from moked.media.speech import SpeechStarted

    async with Scene({"יש לי נזילה במטבח": "אני בודק."}) as call:
        await call.greets()
        call.ear.on_speech(SpeechStarted(call.now))
        start = call.now
        await call.is_silent(1500)
        call.recognizer.sink(Interim("יש לי נזילה במטבח", start, start + 1400, 0.9, "google"))
        await call.answers("אני בודק.", within=6000)
        await call.hangs_up()


async def late_words(first_sound_ms):
    async with Scene({"אני צריך חשמלאי": LONG, "אני צריך חשמלאי דחוף היום": "מיד."}) as call:
        await call.greets()
        call.tasks.start_soon(call._vad, call.now + 600, call.now + 1600)
        start = call.now + 600
        await call.until(start + 1100)
        call.recognizer.sink(Interim("אני צריך חשמלאי", start, start + 950, 0.9, "google"))
        while not call.speaking:
            await anyio.sleep(0.01)
        await anyio.sleep(first_sound_ms / 1000)
        call.recognizer.sink(Final("אני צריך חשמלאי דחוף היום", start, start + 1000, 0.9, "google"))
        await anyio.sleep(5)
        await call.hangs_up()
    return call


async def test_words_that_come_late_restart_an_answer_that_has_hardly_begun():
    call = await late_words(150)
    turn = call.store.turns[1]
    assert (turn.caller_text, turn.heard) == ("אני צריך חשמלאי דחוף היום", "מיד.")


async def test_words_that_come_late_into_an_answer_are_a_turn_of_their_own():
    call = await late_words(1500)
    assert call.store.turns[1].cut
    assert call.store.turns[2].caller_text == "דחוף היום"


# --- over our voice


async def test_who_cuts_in_is_heard_at_once_and_the_model_knows_only_what_was_heard():
    async with Scene({"מתי": LONG, "רגע מחר לא טוב לי": "אז חמישי?"}) as call:
        await call.greets()
        await call.says("מתי")
        await call.says("רגע מחר לא טוב לי", over=2000)
        cut = await call.is_cut()
        await call.answers("אז חמישי?")
        await call.hangs_up()
    onset = next(a.start_ms for a in call.played.heard(call.now) if a.start_ms > 2000) + 2000
    cleared = next(at for at, (kind, _) in call.sent if kind == "clear")
    assert cleared - onset <= 300
    turn, history = call.agent.asked[-1]
    assert turn.cut_in
    assert (history[-1].text, history[-1].cut) == (cut.heard, True)
    assert 10 <= len(cut.heard) * MS_A_LETTER // 100 <= 25  # two seconds of it
    assert call.store.turns[1].decision.outcome == "cut_in"
    assert not call.store.turns[1].decision.cut_off


async def test_a_cut_within_a_second_is_a_probable_cut_off():
    async with Scene({"אני צריך עזרה דחופה": LONG}) as call:
        await call.greets()
        await call.says("אני צריך עזרה דחופה")
        await call.says("במטבח של ההורים", over=100)
        await call.is_cut()
        await call.hangs_up()
    assert call.store.turns[1].decision.cut_off


@pytest.mark.parametrize("ms", [100, 180, 250])
async def test_a_cough_goes_on_from_the_same_sample(ms):
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        await call.says("מתי")
        await call.coughs(ms, over=1000)
        await call.resumes()
        assert max(call.gaps(since=2000), default=0) <= 700
        await call.hangs_up()


async def test_two_coughs_and_a_caller_who_then_speaks():
    async with Scene({"מתי": LONG, "סליחה אני פה": "יופי."}) as call:
        await call.greets()
        await call.says("מתי")
        await call.coughs(200, over=700)
        await call.coughs(250, over=600)
        await call.says("סליחה אני פה", over=1200)
        await call.is_cut()
        await call.answers("יופי.")
        await call.hangs_up()


async def test_a_long_sound_silences_us_and_we_go_on_from_the_same_sample():
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        await call.says("מתי")
        await call.coughs(420, over=1000)
        await call.resumes()
        assert call.clears == 1
        assert max(call.gaps(since=2000)) <= 700
        await call.hangs_up()


@pytest.mark.parametrize("text", ["כן", "אהה", "הבנתי", "אוקיי הבנתי"])
async def test_a_back_channel_is_no_turn(text):
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        await call.says("מתי")
        await call.says(text, over=1000, ms=450)
        turn = await call.resumes()
        assert max(call.gaps(since=2000), default=0) <= 700
        assert turn.caller_text == "מתי"
        await call.hangs_up()
    assert sorted(call.store.turns) == [0, 1]
    assert "back_channel" in call.store.events


async def test_a_back_channel_and_then_more_takes_the_floor():
    async with Scene({"מתי": LONG, "כן אבל תקשיב לי": "אני מקשיב."}) as call:
        await call.greets()
        await call.says("מתי")
        await call.says("כן אבל תקשיב לי", over=1000)
        await call.is_cut()
        await call.answers("אני מקשיב.")
        await call.hangs_up()


async def test_yes_over_a_yes_no_question_is_an_answer():
    asks = ("המספר שממנו התקשרתם הוא המספר לחזרה, נכון?", Ask(Expect.YES_NO))
    async with Scene({"נזילה": asks, "כן": "רשמתי."}) as call:
        await call.greets()
        await call.says("נזילה")
        await call.says("כן", over=1800, ms=350)
        await call.is_cut()
        await call.answers("רשמתי.")
        await call.hangs_up()


async def test_hello_over_the_greeting_cuts_nothing_and_what_is_said_with_it_is_not_lost():
    async with Scene({"הלו יש לי נזילה": "אני בודק."}) as call:
        await call.says("הלו", over=100, ms=350)
        await call.greets()
        assert not call.clears
        await call.says("יש לי נזילה")
        await call.is_silent(5000)
        await call.hangs_up()
    assert call.store.turns[1].caller_text.endswith("יש לי נזילה")


async def test_real_words_over_the_greeting_are_a_turn():
    async with Scene({"יש לי נזילה חמורה במטבח": "אני בודק."}) as call:
        await call.says("יש לי נזילה חמורה במטבח", over=200)
        await call.is_cut(within=3000)
        await call.answers("אני בודק.")
        await call.hangs_up()


async def test_an_answer_on_the_heels_of_the_question():
    async with Scene({"נזילה": "איפה אתם גרים?", "בתל אביב": "יופי."}) as call:
        await call.greets()
        await call.says("נזילה")
        await call.answers("איפה אתם גרים?")
        await call.says("בתל אביב", over=None)
        await call.answers("יופי.")
        await call.hangs_up()
    assert call.store.turns[2].caller_text == "בתל אביב"


async def test_little_is_at_the_carrier():
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        await call.says("מתי")
        ahead = []
        await call._moment(0)
        while call.speaking:
            ahead.append(call.plays_until - call.now)
            await anyio.sleep(0.02)
        assert max(ahead) <= 400
        await call.hangs_up()


async def test_marks_that_clear_returns_prove_nothing():
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        await call.says("מתי")
        await call.coughs(420, over=1000)  # the carrier is told to clear
        before = call.session._playout.stale_marks
        call.session.handle(Mark("0:2:2"))
        assert call.session._playout.stale_marks == before + 1
        turn = await call.resumes()
        assert turn.heard == LONG
        await call.hangs_up()


# --- our own voice


class Speakerphone(Scene):
    """A real ear and echo guard; the caller's line has what they hear, later and quieter. The agent's voice is a voice:
    syllables that rise and fall."""

    def __init__(self, answers, path):
        super().__init__(answers)
        self.path, self.mouth = path, b""
        self.voice.speak, self.voice.cached = self._speak, lambda text: None

    def make_ear(self, on_speech):
        return real_ear(on_speech)

    def _speak(self, text):
        from contextlib import aclosing, asynccontextmanager

        @asynccontextmanager
        async def speak():
            async def chunks():
                audio = babble(len(text) * MS_A_LETTER, seed=len(text))
                for at in range(0, len(audio), 2400):
                    yield audio[at : at + 2400]

            async with aclosing(chunks()) as stream:
                yield stream

        return speak()

    def line(self):
        frame, self.mouth = self.mouth[:160].ljust(160, b"\xff"), self.mouth[160:]
        returned = self.played.played(self.now - 20 - self.path.ms, 160)
        return self.path.mixed(frame, returned)

    async def speaks(self, ms, *, over):
        await self._moment(over)
        self.mouth = babble(ms, seed=99, loud=0.3)
        return self.now


def babble(ms, seed, loud=0.25):
    """Noise in syllables of any length and loudness."""
    import numpy as np

    from moked.audio import from_float

    rng = np.random.default_rng(seed)
    levels = np.repeat(10 ** (rng.uniform(-24, 0, ms // 60 + 2) / 20), 480)[: ms * 8]
    smooth = np.convolve(levels, np.ones(160) / 160, "same")
    return from_float((loud * smooth * rng.normal(0, 0.5, len(smooth))).astype(np.float32))


@pytest.mark.parametrize("path", [EchoPath(-20, 300), EchoPath(-12, 180), EchoPath(-26, 520)])
async def test_our_echo_is_no_caller(path):
    async with Speakerphone({}, path) as call:
        await call.greets()
        await call.is_silent(2000)
        assert call.ear.echo_db == pytest.approx(path.db, abs=3)
        for answer in (LONG, LONG):
            call.recognizer.sink(Final("מתי", call.now - 800, call.now - 500, 0.9, "google"))
            call.agent.lines["מתי"] = call.agent.lines.get("מתי") or reply(answer)
            await call._moment(0)
            await call.resumes(numbered=False)
            await call.is_silent(1200)
        await call.hangs_up()
    assert call.clears == 0
    assert [turn.cut for turn in call.store.turns.values()] == [False] * 3


async def test_a_caller_is_heard_over_the_echo():
    async with Speakerphone({"מתי": LONG}, EchoPath(-20, 300)) as call:
        await call.greets()
        await call.is_silent(1000)
        call.recognizer.sink(Final("מתי", call.now - 800, call.now - 500, 0.9, "google"))
        onset = await call.speaks(1500, over=1500)
        await call.is_cut(within=2500)
        await call.hangs_up()
    cleared = next(at for at, (kind, _) in call.sent if kind == "clear")
    assert cleared - onset <= 450


async def test_our_own_words_are_no_turn_and_the_callers_after_them_are():
    answers = {"מתי": LONG, "רגע זה לא טוב": "אז מתי?"}
    async with Scene(answers) as call:
        call.ear.echo_db = -18.0
        await call.greets()
        await call.says("מתי")
        await call._moment(1700)  # "אני יכול להציע לכם" was over after 1.1 s, and its echo 0.3 s later
        start = call.now - 1500
        call.recognizer.sink(Interim("יכול להציע לכם", start, call.now - 300, 0.9, "google"))
        await anyio.sleep(0.9)
        assert not call.clears
        call.recognizer.sink(Interim("יכול להציע לכם טכנאי מחר רגע זה", start, call.now, 0.9, "google"))
        await call.is_cut()
        await anyio.sleep(0.7)
        call.recognizer.sink(Final("יכול להציע לכם טכנאי מחר רגע זה לא טוב", start, call.now, 0.9, "google"))
        await call.answers("אז מתי?")
        await call.hangs_up()
    assert call.store.turns[2].caller_text == "רגע זה לא טוב"


async def test_a_caller_who_answers_with_our_words_is_no_echo():
    async with Scene({"מתי": "מחר בבוקר או ביום חמישי?", "ביום חמישי": "נקבע."}) as call:
        call.ear.echo_db = -18.0
        await call.greets()
        await call.says("מתי")
        await call.answers("מחר בבוקר או ביום חמישי?")
        await call.says("ביום חמישי")
        await call.answers("נקבע.")
        await call.hangs_up()


# --- silence and trouble


async def test_a_filler_says_that_we_are_at_it_and_the_answer_follows():
    slow = (1.8, "הנה, מחר בעשר.")
    async with Scene({"מתי הטכנאי מגיע": slow, "ומתי הוא הולך": slow}) as call:
        await call.greets()
        await call.says("מתי הטכנאי מגיע")
        turn = await call.answers(f"{FILLERS[0]} הנה, מחר בעשר.")
        await call.says("ומתי הוא הולך")
        await call.answers(f"{FILLERS[1]} הנה, מחר בעשר.")
        await call.hangs_up()
    first = min(at for at, (kind, _) in call.sent if kind == "media" and at > turn.waterfall.endpoint_ms)
    assert first - turn.waterfall.endpoint_ms == pytest.approx(900, abs=20)
    assert turn.waterfall.sent_ms > first  # a filler is no answer


async def test_a_long_wait_has_a_second_filler_and_no_third():
    async with Scene({"מתי הטכנאי מגיע": (12.0, "מחר.")}) as call:
        await call.greets()
        await call.says("מתי הטכנאי מגיע")
        await call.answers(f"{FILLERS[0]} {LONG_FILLERS[0]} מחר.")
        await call.hangs_up()


async def test_an_answer_that_is_ready_waits_for_no_filler():
    async with Scene({"מתי הטכנאי מגיע": (0.9, "מחר.")}) as call:
        await call.greets()
        await call.says("מתי הטכנאי מגיע")
        await call.answers("מחר.")
        await call.hangs_up()
    assert "filler" not in call.store.events


async def test_who_goes_on_during_a_filler_is_heard():
    async with Scene({"מתי הטכנאי מגיע": (6.0, "מחר."), "בעצם עזוב תודה": "בסדר."}) as call:
        await call.greets()
        await call.says("מתי הטכנאי מגיע")
        await call.says("בעצם עזוב תודה", over=200)
        await call.answers("בסדר.")
        await call.hangs_up()
    assert call.store.turns[1].cut


async def test_silence_is_asked_about_and_ends_the_call():
    async with Scene({"silent": "אתם איתי?"}, silence_ms=5000) as call:
        await call.greets()
        await call.answers("אתם איתי?")
        await call.is_silent(6500)
        call.agent.lines["silent"] = (*reply("להתראות."), EndCall("silence"))
        await call.is_silent(9000)
    assert (call.end.outcome, call.end.detail) == (Outcome.COMPLETED, "silence")
    assert [turn.decision.reason for turn in call.store.turns.values() if turn.number] == ["silence"] * 3


async def test_the_goodbye_is_heard_before_we_hang_up():
    async with Scene({"ביי": ("תודה שהתקשרתם, להתראות.", EndCall("done"))}) as call:
        await call.greets()
        await call.says("ביי")
        turn = await call.answers("תודה שהתקשרתם, להתראות.")
    assert call.end.duration_ms >= call.plays_until
    assert turn.heard == turn.said
    assert call.control.did == ["hang_up"]


@pytest.mark.parametrize(
    ("then", "did"), [(EndCall("done"), "hang_up"), (Transfer("+97231111111", "asked"), "+97231111111")]
)
async def test_marks_that_never_come_hold_up_nothing(then, did):
    async with Scene({"ביי": ("להתראות לכם.", then)}, marks=False) as call:
        await call.greets()
        await call.says("ביי")
        await call.answers("להתראות לכם.")
        await call.is_silent(2500)
    assert call.control.did == [did]
    assert call.end.duration_ms <= call.plays_until + 1600


async def test_a_socket_that_takes_nothing_ends_the_call():
    async with Scene({"מתי": LONG}) as call:
        await call.greets()
        call.stuck = anyio.Event()
        call.tasks.start_soon(call.says, "מתי")
        await call.is_silent(6000)
        call.stuck.set()  # what the connection does after five seconds
        await call.is_silent(4000)
    assert (call.end.outcome, call.end.detail) == (Outcome.BROKEN, "socket_dead")


async def test_a_deaf_recogniser_is_told_of():
    async with Scene() as call:
        await call.greets()
        call.recognizer.sink(HearingLost("google", "unavailable"))
        await call.is_silent(9000)
        await call.hangs_up()
    assert "הקישו" in call.store.turns[1].said


async def test_a_voice_without_sound_says_what_it_can():
    async with Scene({"מתי": "המשפט הזה אילם לגמרי. המשפט הזה נשמע היטב."}) as call:
        await call.greets()
        await call.says("מתי")
        await call.is_silent(9000)
        await call.hangs_up()
    assert call.store.turns[1].heard == "המשפט הזה נשמע היטב."


async def test_a_voice_without_any_sound_is_apologised_for():
    async with Scene({"מתי": "אילם לגמרי."}) as call:
        await call.greets()
        await call.says("מתי")
        await call.is_silent(5000)
        await call.hangs_up()
    assert call.store.turns[1].heard == "סליחה, אפשר לחזור?"


async def test_the_first_clause_does_not_wait_for_the_second():
    async with Scene({"מתי הטכנאי מגיע": ("מחר בבוקר מוקדם. ", 3.0, "ואז נדבר.")}) as call:
        await call.greets()
        await call.says("מתי הטכנאי מגיע")
        turn = await call.answers("מחר בבוקר מוקדם. ואז נדבר.")
        assert turn.waterfall.response_ms < 1000
        await call.hangs_up()


async def test_a_model_that_fails_twice_hands_the_call_to_a_person():
    call = Scene({"מתי": FAILS, "ומתי": FAILS})
    call.transfer_number = "+97231111111"
    async with call:
        await call.greets()
        await call.says("מתי")
        await call.is_silent(3500)
        assert call.store.turns[1].heard == "סליחה, אפשר לחזור?"
        await call.says("ומתי")
        await call.is_silent(6000)
    assert (call.end.outcome, call.end.detail) == (Outcome.TRANSFERRED, "agent_failed")


async def test_the_greeting_is_whole_and_at_once():
    async with Scene() as call:
        turn = await call.answers("שלום, במה אפשר לעזור?")
        call.whole(turn)
        assert turn.waterfall.sent_ms <= 300
        assert not call.gaps()
        await call.hangs_up()


async def test_the_last_minute_is_told_once_before_an_answer():
    call = Scene({"מתי": "מחר.", "ומתי": "מחרתיים."}, silence_ms=500_000)
    call.max_call_ms = 180_000
    async with call:
        await call.greets()
        await call.until(125_000)
        await call.says("מתי")
        await call.answers("נשארה דקה. מחר.")
        await call.says("ומתי")
        await call.answers("מחרתיים.")
        await call.hangs_up()


# --- keys


async def test_keys_in_mid_sentence_are_the_answer():
    async with Scene({"נזילה": ("מה המספר?", Ask(Expect.PHONE)), "0502345678#": "רשמתי."}) as call:
        await call.greets()
        await call.says("נזילה")
        await call.presses("0502345678#", over=400)
        await call.answers("רשמתי.")
        await call.hangs_up()
    assert call.store.turns[1].cut
    assert call.store.turns[2].dtmf == "0502345678#"


async def test_keys_while_the_caller_speaks_go_with_their_words():
    async with Scene({"1#": "רשמתי."}) as call:
        await call.greets()
        await call._moment(None)
        call.tasks.start_soon(call.says, "אני מקיש עכשיו")
        await call.is_silent(950)
        await call.presses("1#", over=None)
        await call.answers("רשמתי.")
        await call.hangs_up()
    assert (call.store.turns[1].dtmf, call.store.turns[1].caller_text) == ("1#", "אני מקיש עכשיו")


# --- machines


async def test_a_mailbox_gets_a_message_after_its_beep():
    call = Scene()
    call.machine, call.machine_message = MachineDetector, "שלום, חזרנו אליכם. נתקשר שוב."
    async with call:
        await call.greets()
        await call.says("הגעתם לתא הקולי נא להשאיר הודעה לאחר הצפצוף")
        await call.is_silent(25_000)
    assert (call.end.outcome, call.end.detail) == (Outcome.COMPLETED, "machine_message")
    assert call.voice.spoken[-1].strip() == "נתקשר שוב."


async def test_a_menu_is_left():
    call = Scene()
    call.machine = MachineDetector
    async with call:
        await call.greets()
        await call.says("לשירות בעברית הקישו אחת")
        await call.is_silent(3000)
    assert (call.end.outcome, call.end.detail) == (Outcome.COMPLETED, "machine_menu")
