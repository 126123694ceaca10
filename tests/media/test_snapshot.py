"""What is kept of a call, and what a process that takes it over says first."""

from hypothesis import given
from hypothesis import strategies as st

from moked.media import snapshot as snapshots
from moked.media.snapshot import DIED, LIMIT, AllHeard, AnswerAgain, GoOn, LastReply, PastTurn, SayAgain, Silent, first
from moked.records import LeadDraft, TurnRecord, Waterfall

SAID = "תודה, רשמתי. ניקוי מזגן עולה מאתיים שקלים. מתי נוח לכם?"
RECORD = TurnRecord(3, "כמה עולה ניקוי?", "", "", False, 20_000, 20_000, waterfall=Waterfall(19_400, 19_500, 20_000))
SPOKEN = LastReply(RECORD, said=SAID, made=True, begun_ms=20_500, audio_ms=4_000)


def taken(last=SPOKEN, **more):
    """A snapshot of 10 s past something, when the call's clock showed 20.6 s."""
    return snapshots.Snapshot(**{"at": 10.0, "clock_ms": 20_600, "turn": 3, "replies": 5, "last": last, **more})


def over(last=SPOKEN):
    return LastReply(last.record, said=last.said, heard=last.said, made=True, over=True, begun_ms=last.begun_ms)


def test_it_comes_back_as_it_was():
    one = taken(past=(PastTurn(3, "כמה עולה ניקוי?", "תודה,", True),), agent={"known": {"name": "דנה"}}, words="אה")
    assert snapshots.decode(snapshots.encode(one)) == one


@given(st.binary(max_size=200))
def test_what_another_version_wrote_is_nothing(data):
    assert snapshots.decode(data) is None
    assert snapshots.decode(snapshots.encode(taken(version=2))) is None


@given(st.integers(1, 60), st.text(min_size=1, max_size=600))
def test_it_stays_small_and_keeps_the_newest_and_any_text(turns, text):
    past = tuple(PastTurn(number, text, text * 2, False) for number in range(turns))
    data = snapshots.encode(taken(past=past, words="\ud83d מילה"))
    assert len(data) <= LIMIT
    kept = snapshots.decode(data)
    assert kept is not None
    assert kept.past[-1].number == turns - 1
    assert kept.words.endswith("מילה")


def test_what_another_kind_of_agent_knew_stays_in_the_lead():
    known = LeadDraft(name="דנה", phone="+972501234567", phone_confirmed=True, extra={"עיר": "חיפה"})
    now = LeadDraft(name="דנה לוי", need="מזגן")
    assert snapshots.filled(now, known) == LeadDraft(
        name="דנה לוי", phone="+972501234567", need="מזגן", phone_confirmed=True, extra={"עיר": "חיפה"}
    )
    assert snapshots.filled(known, now).name == "דנה"
    assert not snapshots.filled(LeadDraft(phone="+972509999999"), known).phone_confirmed


# A process that had time to say what was heard: exact.


def test_the_sentence_that_was_cut_off_is_said_again_from_its_beginning():
    heard = SAID[: SAID.index("מאתיים")].strip()
    left = LastReply(RECORD, said=SAID, heard=heard, made=True, begun_ms=20_500, audio_ms=4_000)
    past = (PastTurn(3, "כמה עולה ניקוי?", heard, True),)
    assert first(taken(left, past=past), "disconnect", 200, 11.0) == GoOn(SAID[SAID.index("ניקוי") :], heard)


def test_a_reply_heard_to_its_end_is_over():
    left = LastReply(RECORD, said=SAID, heard=SAID, made=True, begun_ms=20_500, audio_ms=4_000)
    assert first(taken(left, past=(PastTurn(3, "", SAID),)), "disconnect", 200, 15.0) == AllHeard(SAID)


def test_what_was_not_begun_or_not_made_is_answered_again():
    assert first(taken(LastReply(RECORD)), DIED, 100, 11.0) == AnswerAgain()
    assert first(taken(LastReply(RECORD, said=SAID, made=True)), DIED, 100, 11.0) == AnswerAgain()
    assert (
        first(taken(LastReply(RECORD, said="תודה,", begun_ms=20_500, audio_ms=900)), DIED, 100, 11.0) == AnswerAgain()
    )


# One that was killed: by the clock.


@given(st.floats(0, 8))
def test_after_a_death_at_most_one_sentence_is_heard_twice_and_none_is_missed(played_s):
    died = 10.0 - 0.1 + played_s  # it began at 20.5 s of the call, 0.1 s before the snapshot
    heard = int(len(SAID) * min(1.0, played_s / 4))
    match first(taken(), DIED, 700, died + 0.7):
        case GoOn(rest, before):
            start = len(SAID) - len(rest)
            assert SAID.endswith(rest)
            assert start <= heard
            assert SAID.startswith(before)
            assert SAID[start : max(start, heard - 5)].count(". ") <= 1
        case AllHeard():
            assert played_s >= 4
        case other:
            raise AssertionError(other)


# The caller's turn.


def test_words_that_wait_are_answered_and_words_that_are_lost_are_asked_for():
    assert first(taken(over(), words="אני צריך"), DIED, 5000, 20.0) == Silent()
    past = (PastTurn(3, "", SAID),)
    assert first(taken(over(), speaking=True, past=past), DIED, 500, 20.0) == SayAgain(SAID)


def test_a_short_gap_in_a_silence_is_nobodys_business_and_after_a_long_one_the_question_comes_again():
    past = (PastTurn(3, "", SAID),)
    assert first(taken(over(), past=past), "moving", 300, 11.0) == Silent()
    assert first(taken(over(), past=past), DIED, 4000, 15.0) == GoOn("מתי נוח לכם?", SAID)
    assert first(taken(None), DIED, 4000, 15.0) == Silent()


@given(st.text(max_size=200), st.integers(0, 250))
def test_what_is_left_is_an_end_of_what_was_said(said, letters):
    rest = snapshots.unheard(said, letters)
    assert said.strip().endswith(rest)
    assert len(said.strip()) - len(rest) <= max(letters, 0) or not rest
