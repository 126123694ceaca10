"""Turn taking: calls written as calls on virtual milliseconds, and invariants for whatever else may happen."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.dialog import Expect
from moked.media import endpoint
from moked.media.endpoint import LONGEST_MS
from moked.media.turns import (
    Begin,
    Cancel,
    Commit,
    CutAudio,
    HoldAudio,
    Ignored,
    PauseAudio,
    ResumeAudio,
    TurnPolicy,
    TurnTaking,
)

POLICY = TurnPolicy()


@dataclass
class Call:
    """Runs a `TurnTaking` against a clock: ticks exactly at its deadlines, keeps what it did and when."""

    turns: TurnTaking = field(default_factory=lambda: TurnTaking(POLICY))
    now: int = 0
    log: list = field(default_factory=list)

    def note(self, actions):
        self.log += [(self.now, action) for action in actions]

    def until(self, when):
        for _ in range(1000):
            due = self.turns.deadline
            if due is None or due > when:
                break
            self.now = max(self.now, due)
            before = (self.turns.deadline, len(self.log))
            self.note(self.turns.tick(self.now))
            assert (self.turns.deadline, len(self.log)) != before, "a tick at the deadline must move it"
        else:
            raise AssertionError("the deadline never comes to rest")
        self.now = max(self.now, when)

    def at(self, when, method, *arguments, **named):
        self.until(when)
        self.note(getattr(self.turns, method)(self.now, *arguments, **named))

    def greeted(self, when=1000):
        self.note(self.turns.greet(self.now))
        self.at(self.now + 50, "reply_audible", 1)
        self.at(when, "reply_finished", 1)
        self.log.clear()
        return self

    def says(self, start, end, text, *, final_after=300):
        """VAD and a streaming recogniser with one interim and a final."""
        self.at(start + 70, "speech_started", start)
        if text:
            self.at(end - 50, "heard", text, end=end - 200, final=False)
        self.at(end + 160, "speech_ended", end)
        if text:
            self.at(end + final_after, "heard", text, end=end, final=True)

    def reply_to_last(self, when):
        number = [a for _, a in self.log if isinstance(a, Begin)][-1].reply
        self.at(when, "reply_audible", number)
        return number

    def answering(self):
        """The caller hears `reply` to a first turn since 4000."""
        self.greeted()
        self.says(2000, 3000, "אני צריך אינסטלטור דחוף")
        self.until(4000)
        self.reply = self.reply_to_last(4000)
        return self

    def did(self, *kinds):
        return [(when, action) for when, action in self.log if isinstance(action, kinds)]


def test_the_greeting_is_turn_zero_and_needs_no_caller():
    call = Call()
    call.note(call.turns.greet(0))
    assert [a for _, a in call.log] == [Begin(1, 0), Commit(1, 0, "greeting", 0)]


def test_a_finished_sentence_is_speculated_on_at_200_ms_and_committed_after_the_hold():
    call = Call().greeted()
    call.says(2000, 3000, "אני צריך אינסטלטור דחוף")
    call.until(5000)
    begun, begin = call.did(Begin)[0]
    done, commit = call.did(Commit)[0]
    assert 3200 <= begun <= 3250
    assert begin.text == "אני צריך אינסטלטור דחוף"
    assert begin.turn == 1
    assert done == 3000 + POLICY.hold_ms
    assert commit.silence_ms == POLICY.hold_ms


def test_a_pause_after_words_that_look_finished_begins_the_reply_and_commits_nothing():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(3050, "heard", "אני צריך אינסטלטור דחוף", end=2990, final=False)
    call.at(3080, "speech_paused", 3000)
    assert call.did(Begin) == [(3080, Begin(2, 1, "אני צריך אינסטלטור דחוף"))]
    call.at(3160, "speech_ended", 3000)
    call.at(3300, "heard", "אני צריך אינסטלטור דחוף.", end=3000, final=True)
    call.until(5000)
    assert call.did(Cancel) == []
    assert [when for when, _ in call.did(Commit)] == [3000 + POLICY.hold_ms]


def test_words_that_come_after_the_pause_begin_the_reply_anew():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(2900, "heard", "אנחנו צריכים טכנאי", end=2890, final=False)
    call.at(3080, "speech_paused", 3000)
    call.at(3110, "heard", "אנחנו צריכים טכנאי היום", end=2990, final=False)
    assert [(when, begin.text) for when, begin in call.did(Begin)] == [
        (3080, "אנחנו צריכים טכנאי"),
        (3110, "אנחנו צריכים טכנאי היום"),
    ]
    assert [cancel.reason for _, cancel in call.did(Cancel)] == ["caller_goes_on"]


def test_no_reply_is_begun_at_a_pause_in_mid_sentence_nor_while_words_are_owed():
    for text, end in (("אני צריך תיקון של", 2990), ("אני צריך", 2600)):
        call = Call().greeted()
        call.at(2070, "speech_started", 2000)
        call.at(3050, "heard", text, end=end, final=False)
        call.at(3080, "speech_paused", 3000)
        assert call.did(Begin) == []


def test_a_caller_who_goes_on_after_a_gap_costs_one_reply_and_not_one_for_each_word():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(2950, "heard", "אני צריך אינסטלטור דחוף", end=2940, final=False)
    call.at(3080, "speech_paused", 3000)
    for number, word in enumerate(("דחוף", "היום", "בתל", "אביב")):
        call.at(3400 + 200 * number, "heard", f"אני צריך אינסטלטור דחוף {word}", end=3390 + 200 * number, final=False)
    assert len(call.did(Begin)) == len(call.did(Cancel)) == 1


def test_replies_begun_at_pauses_are_few_in_a_turn():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    for number in range(8):
        at = 3000 + 400 * number
        call.at(at, "heard", f"מילה {number}", end=at - 50, final=False)
        call.at(at + 80, "speech_paused", at)
    assert len(call.did(Begin)) == POLICY.early


@pytest.mark.parametrize(
    ("expect", "text", "ms", "reason"),
    [
        (Expect.ID, "אחת שתיים שלוש", 1400, "number_in_progress"),
        (Expect.ID, "אחת שתיים שלוש ארבע חמש שש שבע שמונה תשע", 1400, "number_in_progress"),
        (Expect.ID, "אחת שתיים שלוש ארבע חמש שש שבע שמונה שתיים", 400, "number_complete"),
        (Expect.ID, "אחת שתיים שלוש ארבע חמש שש שבע ארבע", 950, "number_perhaps_complete"),  # eight, or nine
        (Expect.ID, "רגע אני מחפש", 1400, "asks_for_a_moment"),
        (Expect.PLATE, "שתים עשרה שלוש מאות", 1400, "number_in_progress"),
        (Expect.PLATE, "שתים עשרה, שלוש מאות ארבעים וחמש, שישים ושבע", 950, "number_perhaps_complete"),
        (Expect.PLATE, "12345678", 400, "number_complete"),
        (Expect.ADDRESS, "רחוב הרצל", 1400, "address_in_progress"),
        (Expect.ADDRESS, "הרצל שתים עשרה", 950, "house_number"),
        (Expect.ADDRESS, "הרצל שתים עשרה חיפה", 600, "address_complete"),
        (Expect.OPEN, "רחוב הרצל", 950, "no_verb"),
    ],
)
def test_a_number_or_an_address_in_progress_is_waited_for(expect, text, ms, reason):
    found = endpoint.hold(text, expect, 600)
    assert (found.ms, found.reason) == (ms, reason)


def test_an_open_sentence_waits_longer():
    call = Call().greeted()
    call.says(2000, 3000, "אני צריך תיקון של")
    call.until(5000)
    assert call.did(Commit)[0][0] == 3000 + LONGEST_MS


def test_an_answer_to_a_yes_no_question_is_short_and_quick():
    for text, hold in (("כן בדיוק", 300), ("המזגן בסלון לא מקרר בכלל כבר שבוע", POLICY.hold_ms)):
        call = Call().greeted()
        call.turns.expect(call.now, Expect.YES_NO)
        call.says(2000, 3000, text, final_after=200)
        call.until(5000)
        assert call.did(Commit)[0][0] == 3000 + hold


def test_digits_in_progress_wait_and_a_whole_number_does_not():
    call = Call().greeted()
    call.turns.expect(call.now, Expect.PHONE)
    call.says(2000, 3000, "אפס חמש אפס שתיים")
    call.until(4300)
    assert not call.did(Commit)
    call.says(4300, 6000, "אפס חמש אפס שתיים שלוש ארבע חמש שש שבע שמונה")
    call.until(9000)
    assert call.did(Commit)[0][0] == 6400


def test_a_pause_within_the_sentence_costs_only_the_speculation():
    call = Call().greeted()
    call.says(2000, 2800, "אני צריך", final_after=210)
    call.says(3100, 4000, "אני צריך אינסטלטור דחוף בתל אביב")
    call.until(6000)
    texts = [begin.text for _, begin in call.did(Begin)]
    assert texts == ["אני צריך", "אני צריך אינסטלטור דחוף בתל אביב"]
    assert [cancel.reason for _, cancel in call.did(Cancel)] == ["caller_goes_on"]
    assert len(call.did(Commit)) == 1


def test_words_that_are_still_owed_are_waited_for():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(3160, "speech_ended", 3000)  # an utterance engine: the words come 1.2 s later
    call.at(4200, "heard", "אני צריך אינסטלטור דחוף", end=3000, final=True)
    assert call.did(Commit)[0][0] == 4200


def test_a_second_piece_in_recognition_holds_the_turn():
    call = Call().greeted()  # an utterance engine: the first piece arrives while the second is spoken
    call.at(2070, "speech_started", 2000)
    call.at(2760, "speech_ended", 2600)
    call.at(2970, "speech_started", 2900)
    call.at(3300, "heard", "שלום", end=2600, final=True)
    call.at(6160, "speech_ended", 6000)
    call.until(7000)
    assert not call.did(Commit)
    call.at(7100, "heard", "שלום אני צריך עזרה", end=6000, final=True)
    assert call.did(Begin)[-1][1].text == "שלום אני צריך עזרה"


def test_sound_without_words_is_answered_in_the_end():
    call = Call().greeted()
    call.says(2000, 3000, "")
    call.until(8000)
    when, begin = call.did(Begin)[0]
    assert (when, begin.text, begin.silent) == (3000 + POLICY.transcript_wait_ms, "", False)


def test_silence_is_asked_about():
    call = Call().greeted(1000)
    call.until(9500)
    when, begin = call.did(Begin)[0]
    assert (when, begin.silent, begin.turn) == (1000 + POLICY.silence_ms, True, 1)


def test_a_cough_holds_and_resumes_within_700_ms():
    call = Call().answering()
    call.at(5070, "speech_started", 5000)
    call.at(5200, "speech_paused", 5120)
    call.at(5280, "speech_ended", 5120)
    call.until(6000)
    assert [type(a) for t, a in call.log if t > 4500] == [HoldAudio, ResumeAudio]
    held, resumed = (t for t, a in call.log if t > 4500)
    assert resumed - held <= 700


def test_words_over_our_voice_take_the_floor():
    call = Call().answering()
    number = call.reply
    call.at(5070, "speech_started", 5000)
    call.at(5250, "heard", "רגע לא", end=5200, final=False)
    assert [a for t, a in call.log if t > 4500] == [
        HoldAudio(),
        PauseAudio(),
        CutAudio(number),
        Cancel(number, "barge_in_words"),
    ]
    call.at(5760, "speech_ended", 5600)
    call.at(5900, "heard", "רגע לא בשבת", end=5600, final=True)
    call.until(8000)
    begin = call.did(Begin)[-1][1]
    assert (begin.turn, begin.text, begin.cut_in) == (2, "רגע לא בשבת", True)


def test_speech_that_lasts_silences_us_and_then_takes_the_floor_without_words():
    call = Call().answering()
    call.at(5070, "speech_started", 5000)
    call.until(6000)
    assert call.did(PauseAudio)[0][0] == 5000 + POLICY.confirm_ms
    assert call.did(CutAudio)[0][0] == 5000 + POLICY.floor_ms


def test_a_sound_too_long_for_a_cough_and_too_short_for_speech_goes_on_from_where_we_were_silenced():
    call = Call().answering()
    call.at(5070, "speech_started", 5000)
    call.at(5560, "speech_ended", 5400)
    call.until(6500)
    assert [(t, type(a)) for t, a in call.log if t > 4500] == [
        (5070, HoldAudio),
        (5000 + POLICY.confirm_ms, PauseAudio),
        (5400 + POLICY.resume_ms, ResumeAudio),
    ]


def test_a_gap_in_the_first_moments_of_speech_is_not_yet_a_cough():
    call = Call().answering()
    call.at(5070, "speech_started", 5000)
    call.at(5180, "speech_paused", 5100)
    call.until(5800)
    assert call.did(PauseAudio)[0][0] == 5300  # nobody said that it ended


def test_speech_that_turns_out_to_be_our_echo_is_taken_back_at_once():
    call = Call().answering()
    call.at(5070, "speech_started", 5000)
    call.at(5350, "speech_ended", 5000)  # it ended where it began
    assert [type(a) for t, a in call.log if t > 4500] == [HoldAudio, PauseAudio, ResumeAudio]


def test_a_back_channel_is_put_aside_unless_it_is_an_answer():
    for expect, cuts in ((Expect.OPEN, 0), (Expect.YES_NO, 1)):
        call = Call().answering()
        call.turns.expect(call.now, expect)
        call.at(5070, "speech_started", 5000)
        call.at(5200, "heard", "כן", end=5150, final=False)
        call.at(5460, "speech_ended", 5250)
        call.until(6500)
        assert len(call.did(CutAudio)) == cuts
        assert len(call.did(Ignored)) == 1 - cuts


def test_a_caller_who_goes_on_before_our_first_sound_reopens_the_turn():
    call = Call().greeted()
    call.says(2000, 3000, "אני צריך אינסטלטור דחוף")
    call.until(3600)
    assert len(call.did(Commit)) == 1
    call.says(3650, 4600, "בתל אביב")
    call.until(7000)
    begin = call.did(Begin)[-1][1]
    assert (begin.turn, begin.text) == (1, "אני צריך אינסטלטור דחוף בתל אביב")
    assert not call.did(CutAudio)


def test_a_final_that_differs_is_answered_anew_while_nothing_was_heard():
    call = Call().greeted()
    call.says(2000, 3000, "אני צריך חשמלאי היום")
    call.until(3600)
    call.at(3650, "corrected", "אני צריך חשמלאי, היום בערב")
    assert [a.text for _, a in call.did(Begin)] == ["אני צריך חשמלאי היום", "אני צריך חשמלאי, היום בערב"]
    assert call.log[-1][1].turn == 1
    again = call.reply_to_last(3700)
    call.at(3800, "corrected", "אני צריך משהו אחר")  # next to nothing was heard: it begins anew
    assert call.did(CutAudio) == [(3800, CutAudio(again))]
    assert call.did(Begin)[-1][1].text == "אני צריך משהו אחר"
    assert call.did(Commit)[-1][1].turn == 1
    again = call.reply_to_last(3900)
    call.at(3900 + POLICY.restart_ms + 1, "corrected", "אני צריך משהו שונה")
    assert call.did(Begin)[-1][1].reply == again


def test_keys_are_a_turn_of_their_own():
    call = Call().greeted()
    for when, digit in ((2000, "0"), (2300, "5"), (2600, "#")):
        call.at(when, "dtmf", digit)
    begin = call.did(Begin)[0][1]
    assert (begin.dtmf, begin.turn) == ("05#", 1)
    call = Call().greeted()
    call.at(2000, "dtmf", "7")
    call.until(9000)
    assert call.did(Begin)[0][0] == 2000 + POLICY.dtmf_gap_ms


def test_hello_over_the_first_words_of_the_greeting_does_not_cut_it():
    call = Call()
    call.note(call.turns.greet(0))
    call.at(60, "reply_audible", 1)
    call.at(200, "speech_started", 100)
    call.at(500, "heard", "הלו", end=400, final=False)
    call.at(620, "speech_ended", 450)
    call.until(3000)
    assert not call.did(CutAudio)


def test_noise_that_keeps_the_vad_open_does_not_hold_the_turn_for_ever():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(3000, "heard", "אני צריך אינסטלטור דחוף", end=2900, final=True)
    call.until(8000)
    assert call.did(Commit)[0][0] == 3000 + POLICY.stuck_ms


def test_after_a_change_of_recognizer_the_words_so_far_are_not_all():
    call = Call().greeted()
    call.at(2070, "speech_started", 2000)
    call.at(3000, "heard", "אני רוצה לדעת", end=2900, final=False)
    call.at(3100, "recognizer_changed")
    call.at(7160, "speech_ended", 7000)  # long after the words stood still
    call.until(7500)
    assert not call.did(Commit)
    call.at(7700, "heard", "שלום אני רוצה לדעת כמה זה עולה", end=7000, final=True)
    assert call.did(Begin)[-1][1].text == "שלום אני רוצה לדעת כמה זה עולה"


def test_a_final_for_a_turn_that_was_reopened_mends_what_was_carried():
    call = Call().greeted()
    call.says(2000, 3000, "אתם עובדים גם היום")
    call.until(3560)
    call.at(3670, "speech_started", 3600)
    call.until(3900)  # re-opened
    call.at(3950, "corrected", "שלום אתם עובדים גם היום")
    call.at(4100, "heard", "כמה זה עולה", end=4050, final=False)
    call.at(4360, "speech_ended", 4200)
    call.until(6000)
    assert call.did(Begin)[-1][1].text == "שלום אתם עובדים גם היום כמה זה עולה"


def test_a_second_reading_makes_an_answer_anew_that_nobody_heard():
    call = Call().greeted()
    call.says(2000, 3000, "קוראים לי דנה")
    call.until(3300)
    (begun,) = [action for _, action in call.did(Begin)]
    call.at(3310, "heard_again", begun.turn)  # while it is speculative
    call.until(3800)
    assert [action.text for _, action in call.did(Begin)] == ["קוראים לי דנה"] * 2
    (commit,) = [action for _, action in call.did(Commit)]
    call.at(3850, "heard_again", begun.turn)  # committed, not audible
    assert [action.reason for _, action in call.did(Commit)] == [commit.reason, "heard_again"]
    call.at(3900, "reply_audible", 4)
    call.at(4000, "heard_again", begun.turn)  # too late
    assert len(call.did(Begin)) == 3


def test_while_nobody_hears_only_keys_take_the_floor():
    call = Call().greeted()
    call.at(2000, "hearing_lost")
    assert [action.silent for _, action in call.did(Begin)] == [True]
    call.at(2100, "reply_audible", 2)
    call.at(3000, "speech_started", 2900)
    call.until(6000)
    assert not call.did(CutAudio)
    assert not call.did(HoldAudio)
    call.at(6000, "dtmf", "1")
    assert len(call.did(CutAudio)) == 1


Step = st.one_of(
    st.tuples(st.just("wait"), st.integers(0, 3000)),
    st.tuples(st.just("speech_started"), st.none()),
    st.tuples(st.just("speech_paused"), st.none()),
    st.tuples(st.just("speech_ended"), st.none()),
    st.tuples(st.just("interim"), st.sampled_from(["", "כן", "אני צריך", "אפס חמש", "רגע", "תודה להתראות"])),
    st.tuples(st.just("final"), st.sampled_from(["כן", "אני צריך עזרה", "לא"])),
    st.tuples(st.just("dtmf"), st.sampled_from("05#")),
    st.tuples(st.just("audible"), st.none()),
    st.tuples(st.just("finished"), st.none()),
    st.tuples(st.just("corrected"), st.sampled_from(["אחרת", "כן"])),
    st.tuples(st.just("hearing_lost"), st.none()),
    st.tuples(st.just("hearing_back"), st.none()),
    st.tuples(st.just("heard_again"), st.integers(0, 3)),
    st.tuples(st.just("expect"), st.sampled_from(list(Expect))),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(Step, max_size=50))
def test_whatever_happens(steps):
    """At most one reply; every begin has one end; nothing is committed twice; whoever waits has a deadline."""
    call = Call()
    call.note(call.turns.greet(0))
    voiced_at = 0
    for step, value in steps:
        replies = [a.reply for _, a in call.log if isinstance(a, Begin)]
        match step:
            case "wait":
                call.until(call.now + value)
            case "speech_started":
                voiced_at = call.now
                call.at(call.now + 70, "speech_started", voiced_at)
            case "speech_paused":
                call.at(call.now + 80, "speech_paused", max(voiced_at, call.now))
            case "speech_ended":
                call.at(call.now + 160, "speech_ended", max(voiced_at, call.now))
            case "interim":
                call.at(call.now + 10, "heard", value, end=call.now, final=False)
            case "final":
                call.at(call.now + 10, "heard", value, end=call.now, final=True)
            case "dtmf":
                call.at(call.now + 10, "dtmf", value)
            case "audible":
                call.at(call.now + 10, "reply_audible", replies[-1])
            case "finished":
                call.until(call.now)
                if call.turns.replying:
                    call.log.append((call.now, "finished"))
                    call.at(call.now, "reply_finished", [a.reply for _, a in call.log if isinstance(a, Begin)][-1])
            case "corrected":
                call.at(call.now + 10, "corrected", value)
            case "expect":
                call.at(call.now + 10, "expect", value)
            case "hearing_lost" | "hearing_back":
                call.at(call.now + 10, step)
            case "heard_again":
                call.at(call.now + 10, "heard_again", value)
        if not call.turns.replying and not call.turns.caller_speaking:
            assert call.turns.deadline is not None
    current, committed, turn = None, set(), 0
    for _, action in call.log:
        match action:
            case Begin():
                assert current is None, "at most one reply"
                assert action.turn >= turn, "turns never go back"
                current, turn = action.reply, action.turn
            case Commit():
                assert current == action.reply
                assert action.reply not in committed, "committed once"
                committed.add(action.reply)
            case CutAudio():
                assert current == action.reply
                assert action.reply in committed, "what was not committed was not heard"
            case Cancel():
                assert current == action.reply, "every cancel has its begin"
                current = None
            case "finished":
                current = None
