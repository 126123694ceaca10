"""Two recognitions of the same audio, measured."""

import json

from hypothesis import given
from hypothesis import strategies as st

from moked.rollout.compare import MOST_WORDS, Side, aggregate, difference, summary
from moked.stt import EngineSwitched, Final, Interim

words = st.lists(st.sampled_from(["אני", "רוצה", "תור", "מחר", "בבוקר", "לא"]), max_size=12).map(" ".join)


def slow_distance(one, other):
    """The textbook's, word by word."""
    row = list(range(len(other) + 1))
    for i, left in enumerate(one, 1):
        row, above = [i], row
        for j, right in enumerate(other, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (left != right)))
    return row[-1]


@given(words, words)
def test_edits_are_the_least_possible_and_the_same_both_ways(one, other):
    found = difference(one, other)
    assert found.edits == slow_distance(one.split(), other.split()) == difference(other, one).edits
    assert found.words == (len(one.split()), len(other.split()))
    assert (found.edits == 0) == (one == other) == (found.spans == ())


@given(words, words, words)
def test_by_way_of_a_third_is_never_shorter(one, other, third):
    assert difference(one, other).edits <= difference(one, third).edits + difference(third, other).edits


@given(words, words)
def test_the_parts_that_differ_explain_the_edits(one, other):
    found = difference(one, other)
    if len(found.spans) < 5:
        assert sum(max(len(a.split()), len(b.split())) for a, b in found.spans) >= found.edits


def test_points_punctuation_and_case_do_not_count():
    assert difference("שָׁלוֹם, OK.", "שלום ok").edits == 0
    found = difference("אני רוצה תור מחר", "אני רוצה דוד מחר בבוקר")
    assert found.rates == (2 / 4, 2 / 5)
    assert set(found.spans) == {("תור", "דוד"), ("", "בבוקר")}


def test_a_long_call_is_bounded():
    found = difference("כן " * (MOST_WORDS + 10), "לא " * MOST_WORDS)
    assert found.words == (MOST_WORDS, MOST_WORDS)
    assert found.edits == MOST_WORDS
    assert found.spans[0][0].endswith(" …")


def final(text, end_ms):
    return Final(text, end_ms - 500, end_ms, 0.9, "google")


def interim(text="א"):
    return Interim(text, 0, 1, 0.5, "google")


def test_a_side_measures_from_the_end_of_speech():
    side = Side()
    side.speech_started(1000)
    side.heard(interim(), 1300)
    side.heard(interim(), 1500)
    side.heard(interim(), 1750)
    side.speech_ended(900, 2000)
    side.heard(final("שלום", 950), 2300)
    side.heard(EngineSwitched("google", "google", "rotation"), 2400)
    side.heard(EngineSwitched("google", "whisper", "quota"), 2500)
    assert (side.finals_ms, side.first_partials_ms, side.gaps_ms) == ([300], [300], [200, 250])
    assert (side.utterances, side.switches, side.texts) == (1, 1, ["שלום"])


def test_one_final_may_answer_two_utterances_and_some_get_none():
    side = Side()
    side.speech_ended(1000, 1000)
    side.speech_ended(2000, 2000)
    side.heard(final("א ב", 2100), 2200)
    side.speech_ended(5000, 5000)
    side.heard(final("early", 3000), 5100)  # not its final
    assert side.finals_ms == [200]
    side.close()
    assert (side.utterances, side.unanswered) == (3, 1)


def test_what_nobody_answered_is_given_up_after_a_while():
    side = Side()
    side.speech_ended(5000, 5000)
    side.heard(final("x", 1000), 30_000)
    assert side.unanswered == 1


def measured(live_text, other_text, ended="call", finals=(300,)):
    live, other = Side(), Side()
    live.texts, other.texts = [live_text], [other_text]
    live.finals_ms, live.utterances = list(finals), 10
    other.finals_ms, other.utterances, other.failures = [900], 10, 1
    return summary("streaming", live, "utterances", other, ended)


def test_a_report_puts_the_modes_side_by_side():
    calls = [
        {**json.loads(json.dumps(one)), "call_sid": f"CA{n}"}
        for n, one in enumerate(
            [measured("אחת שתיים שלוש ארבע", "אחת שתיים חמש"), measured("כן", "כן"), measured("a b c", "", "load")]
        )
    ]
    report = aggregate(calls, examples=True)
    assert (report["calls"], report["left_early"]) == (3, {"load": 1})
    assert report["words"]["edits"] == 2
    assert report["words"]["streaming"] == {"words": 5, "difference_rate": 0.4}
    assert report["words"]["utterances"] == {"words": 4, "difference_rate": 0.5}
    assert report["modes"]["streaming"]["final_ms"] == {"p50": 300, "p95": 300}
    assert report["modes"]["utterances"]["failures_per_1000_utterances"] == 100.0
    assert [example["call_sid"] for example in report["examples"]] == ["CA0"]
    assert "examples" not in aggregate(calls)
    assert aggregate([])["calls"] == 0
