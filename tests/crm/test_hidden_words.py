"""What of a turn falls silent: every hidden word, all that lies between it and the next that is no secret, and no word
further off than the margin."""

from hypothesis import given
from hypothesis import strategies as st

from moked.audio import SAMPLES_PER_MS, SILENCE
from moked.crm.hidden_words import MARGIN_MS, after_change, after_hiding, silences
from moked.crm.redaction import Line, Policy, find, hide_lines
from moked.recording.container import CHANNELS, Silence, silenced
from tests.crm.test_redaction import CARD, ID, spoken

PLAIN = ["שלום", "הכרטיס", "שלי", "הוא", "תודה", "רבה", "בבקשה", "לשלם", "ת״ז"]
NUMBERS = [CARD, f"{CARD[:4]} {CARD[4:8]} {CARD[8:12]} {CARD[12:]}", spoken(CARD), spoken(ID), ID]

texts = st.lists(st.sampled_from([*PLAIN, *NUMBERS]), min_size=1, max_size=12).map(" ".join)


@st.composite
def spoken_turns(draw):
    """A text, and times of its words, one after the other with gaps."""
    text, now, times = draw(texts), draw(st.integers(0, 3000)), []
    for _ in text.split():
        now += draw(st.integers(0, 900))
        begun = now
        now += draw(st.integers(1, 700))
        times.append((begun, now))
    return text, times


def hidden_in(text):
    spots = [(one.start, one.end) for one in find([Line(text)], Policy())]
    return hide_lines([Line(text)], Policy())[0], spots


def secret(text, spots):
    """Which words of `text` are hidden, in whole or in part."""
    found, at = [], 0
    for word in text.split():
        at = text.index(word, at)
        found.append(any(a < at + len(word) and b > at for a, b in spots))
        at += len(word)
    return found


@given(spoken_turns())
def test_no_sample_of_a_hidden_word_survives_and_far_words_do(turn):
    text, times = turn
    kept, spots = hidden_in(text)
    left = after_hiding(text, times, spots)
    assert len(left) == len(kept.split())
    start, end = times[0][0] - 200, times[-1][1] + 500
    quiet = silences(kept, left, start, end)
    frames = b"\x10" * ((end + 1000) * SAMPLES_PER_MS * CHANNELS)
    audio = silenced(frames, 0, [Silence(0, max(0, a) * SAMPLES_PER_MS, b * SAMPLES_PER_MS) for a, b in quiet])
    caller, agent = audio[0::CHANNELS], audio[1::CHANNELS]
    assert SILENCE[0] not in agent
    hidden = secret(text, spots)
    for (begins, ends), is_secret in zip(times, hidden, strict=True):
        said = caller[begins * SAMPLES_PER_MS : ends * SAMPLES_PER_MS]
        if is_secret:
            assert set(said) <= {SILENCE[0]}
        near = [one for one, there in zip(times, hidden, strict=True) if there]
        if all(ends < a - MARGIN_MS or begins > b + MARGIN_MS for a, b in near):
            assert SILENCE[0] not in said
    assert bool(quiet) == any(hidden)


@given(spoken_turns(), st.lists(st.sampled_from(PLAIN), max_size=3), st.lists(st.sampled_from(PLAIN), max_size=3))
def test_a_newer_version_of_a_hidden_turn_leaves_no_hidden_word_either(turn, before, after):
    """What is stored is hidden from a guess; the recogniser's last word has other words around the number."""
    text, times = turn
    spots = hidden_in(text)[1]
    if not spots:
        return
    guess = " ".join([*before, text, *after])
    kept = hidden_in(guess)[0]
    left = after_change(kept, text, times)
    start, end = times[0][0] - 200, times[-1][1] + 500
    quiet = silences(kept, left, start, end)
    if quiet is None:  # all of it
        return
    for (begins, ends), is_secret in zip(times, secret(text, spots), strict=True):
        if is_secret:
            assert any(a <= begins and ends <= b for a, b in quiet)


def test_only_the_number_falls_silent_with_what_nobody_heard_beside_it():
    text = "הכרטיס שלי 4580 1234 תודה רבה"
    times = [(1000, 1400), (1500, 1900), (4000, 4400), (4500, 5000), (5100, 5500), (5600, 6000)]
    left = after_hiding(text, times, [(11, 20)])
    assert left == [[1000, 1400], [1500, 1900], [4000, 5000], [5100, 5500], [5600, 6000]]
    assert silences("הכרטיס שלי [כרטיס] תודה רבה", left, 800, 6500) == [(1900, 5400)]


def test_where_times_are_missing_or_cannot_be_it_is_the_whole_turn():
    text = "הכרטיס [כרטיס]"
    assert silences(text, [], 0, 9000) is None
    assert silences(text, [(1000, 1400)], 0, 9000) is None
    assert silences(text, [(1000, 1400), (900, 950)], 0, 9000) is None
    assert silences(text, [(1000, 1400), (1500, 9500)], 0, 9000) is None
    assert after_change(text, "אחר", []) == []
