"""Partials only grow, hold what was heard twice, and are asked for at the right time."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moked.stt.agreement import FIRST_MS, PAUSE_MS, STEP_MS, Agreement, Look, Pace

WORDS = st.lists(st.sampled_from(["אני", "רוצה", "רוצה,", "לקבוע", "תור", "Tor"]), max_size=6)


def bare(word):
    return word.strip(",.").lower()


def test_a_word_counts_when_it_is_heard_twice_at_its_place():
    agreement = Agreement()
    assert agreement.hear("אני רוצה לקנות") == ""
    assert agreement.hear("אני רוצה לקבוע תור") == "אני רוצה"
    assert agreement.hear("אני, רוצה לקבוע תור.") == "אני רוצה לקבוע תור."
    assert agreement.hear("אני רוצה לקבוע תור") == "", "nothing new"
    assert agreement.hear("") == ""
    assert agreement.text == "אני רוצה לקבוע תור."


def test_what_was_told_stays_though_later_hypotheses_differ():
    agreement = Agreement()
    agreement.hear("שלום לכם")
    assert agreement.hear("שלום לכם") == "שלום לכם"
    agreement.hear("שלום לך דני")
    assert agreement.hear("שלום לך דני כהן") == "שלום לכם דני"


@given(st.lists(WORDS, max_size=8))
def test_partials_grow_and_each_word_was_in_two_hypotheses_in_a_row(hypotheses):
    agreement, told = Agreement(), ""
    heard = [[]]
    for words in hypotheses:
        text = agreement.hear(" ".join(words))
        heard.append(words)
        if text:
            assert text.startswith(told)
            assert len(text) > len(told)
            told = text
        assert agreement.text == told
    for place, word in enumerate(told.split()):
        assert any(
            len(one) > place and len(other) > place and bare(one[place]) == bare(other[place]) == bare(word)
            for one, other in pairwise(heard)
        )


def test_looks_come_in_steps_while_somebody_speaks():
    pace = Pace()
    assert pace.due(FIRST_MS - 20, 0) is None
    assert pace.due(FIRST_MS, 0) is Look.GLANCE
    pace.looked(Look.GLANCE, FIRST_MS, 0)
    assert pace.due(FIRST_MS + STEP_MS - 20, 0) is None
    assert pace.due(FIRST_MS + STEP_MS, 0) is Look.GLANCE


def test_a_pause_gets_one_careful_look_and_another_after_more_voice():
    pace = Pace(looked_ms=1000)
    assert pace.due(1200, PAUSE_MS - 20) is None
    assert pace.due(1220, PAUSE_MS) is Look.CAREFUL
    pace.looked(Look.CAREFUL, 1220, PAUSE_MS)
    assert pace.due(3000, 3000 - 1100) is None, "nothing was said since"
    assert pace.due(3400, PAUSE_MS) is Look.CAREFUL


def test_silence_gets_no_look():
    assert Pace().due(3000, 3000) is None
    assert Pace().due(300, PAUSE_MS) is None, "a click is no speech"


@given(st.integers(0, 20_000))
def test_a_busy_engine_is_asked_less_often(took):
    pace = Pace()
    pace.took(took)
    assert pace.step_ms >= max(STEP_MS, 2 * took)
