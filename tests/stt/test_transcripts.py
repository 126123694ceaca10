"""Merging streams, the text of a turn, and Hebrew text for comparing."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moked.stt import Final, Interim, Word
from moked.stt.transcripts import Debounce, Ledger, TurnText, normalise, strip_punctuation


def final(text, start, end, *, words=None, confidence=0.9, engine="a"):
    times = tuple(Word(t, s, e) for t, s, e in words) if words else ()
    return Final(text, start, end, confidence, engine, times)


def interim(text, start, end):
    return Interim(text, start, end, 0.5, "a")


# --- text ---


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ('צה"ל ניצח, נכון?', 'צה"ל ניצח נכון'),
        ("צה״ל.", "צה״ל"),
        ('ב-10:30, או 3.5 ש"ח.', 'ב-10:30 או 3.5 ש"ח'),
        ("רח' הרצל 5.", "רח' הרצל 5"),
        ("ג׳ירפה, צ'ק!", "ג׳ירפה צ'ק"),
        ("\"שלום\", אמר 'דני'", "שלום אמר דני"),
        ("ת.ז. שלי 1,000", "ת.ז שלי 1,000"),
        ("בית־ספר 050-1234567", "בית־ספר 050-1234567"),
        ("כן,לא … - \u200fאולי -", "כן לא אולי"),
        ("moked.co.il.", "moked.co.il"),
        ("שלום. תודה.", "שלום תודה"),
        ("+972 50% ₪20", "+972 50% ₪20"),
        ("?!", ""),
    ],
)
def test_punctuation_goes_and_what_belongs_to_words_stays(text, bare):
    assert strip_punctuation(text) == bare


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("שָׁלוֹם עוֹלָם", "שלום עולם"),
        ("\u202bשלום\u202c, עולם!", "שלום עולם"),
        ("בית־ספר", "בית ספר"),
        ('צה"ל', "צה״ל"),
        ("ג'ירפה", "ג׳ירפה"),
        ("שׁלום", "שלום"),
        ("OK.", "ok"),
        ("בשעה 10:30.", "בשעה 10:30"),
    ],
)
def test_what_sounds_the_same_compares_equal(one, other):
    assert normalise(one) == normalise(other)


@given(st.text(alphabet="אבגדהוש \"'״׳.,:־-?!05a\u200f\u05b8", max_size=40))
def test_stripping_twice_changes_nothing_and_keeps_the_letters(text):
    bare = strip_punctuation(text)
    assert strip_punctuation(bare) == bare
    assert [c for c in bare if c.isalnum()] == [c for c in text if c.isalnum()]
    assert normalise(normalise(text)) == normalise(text)


# --- the ledger ---


def test_one_stream_never_repeats_itself_so_nothing_of_it_is_dropped():
    ledger = Ledger()
    for at in (0, 400, 800):
        assert ledger.accept(1, final("שתיים", at, at + 400)) == final("שתיים", at, at + 400)
    assert ledger.committed_ms == 1200


def test_a_replayed_word_is_told_once_by_time():
    ledger = Ledger()
    ledger.accept(1, final("רוצה תור", 0, 1000, words=[("רוצה", 0, 500), ("תור", 520, 1000)]))
    told = ledger.accept(2, final("תור, למחר.", 700, 2000, words=[("תור", 700, 990), ("למחר", 1100, 1600)]))
    assert (told.text, told.start_ms, told.words) == ("למחר.", 1100, (Word("למחר.", 1100, 1600),))
    assert ledger.trimmed == 1


def test_the_same_word_said_again_is_not_a_replay():
    ledger = Ledger()
    ledger.accept(1, final("שתיים", 0, 500, words=[("שתיים", 100, 500)]))
    told = ledger.accept(2, final("שתיים שתיים", 200, 1300, words=[("שתיים", 500, 880), ("שתיים", 900, 1300)]))
    assert told.text == "שתיים שתיים"


def test_without_times_the_text_decides():
    ledger = Ledger()
    ledger.accept(1, final("אני רוצה לקבוע תור", 0, 2000))
    assert ledger.accept(2, final("תוֹר, למחר", 1700, 3000)).text == "למחר"
    assert ledger.accept(2, final("למחר בבוקר", 3000, 4000)).text == "למחר בבוקר"


def test_a_late_final_of_the_old_stream_that_the_new_one_has_covered_is_dropped():
    ledger = Ledger()
    ledger.accept(1, final("שלום", 0, 600))
    ledger.accept(2, final("אני רוצה לקבוע תור", 600, 2600))
    assert ledger.accept(1, final("אני רוצא לקבוע", 600, 2100)) is None
    assert ledger.accept(1, final("לקבוע תור למחר", 1400, 3200)).text == "למחר"


def test_guesses_are_trimmed_too_and_an_empty_final_commits_its_time():
    ledger = Ledger()
    ledger.accept(1, final("רוצה תור", 0, 1000))
    assert ledger.accept(2, interim("תור", 700, 990)) is None
    assert ledger.accept(2, interim("תור למח", 700, 1500)).text == "למח"
    assert ledger.accept(2, interim("", 700, 1500)) is None
    assert ledger.accept(2, final("", 700, 4000)) is None
    assert ledger.committed_ms == 4000


def test_a_scrap_of_the_overlap_is_nothing_new():
    ledger = Ledger()
    ledger.accept(1, final("רוצה לקבוע תור", 0, 2000))
    assert ledger.accept(2, final("אור", 1700, 2000)) is None


def test_our_own_vad_places_a_final_without_times():
    ledger = Ledger()
    ledger.accept(1, final("כן", 0, 1000))
    assert ledger.accept(2, final("כן", 700, 6000), voiced_from=5500).text == "כן"


@st.composite
def calls(draw):
    """What was said, and a chain of streams that each hear from a little before the committed place.

    A stream gives finals until it dies; what it had not handed over may still come, mixed with the next one's.
    """
    count = draw(st.integers(1, 25))
    spoken, at = [], 200
    for number in range(count):
        length = draw(st.integers(200, 600))
        text = draw(st.sampled_from(["שתיים", "שלוש"])) if draw(st.booleans()) else f"מילה{number}"
        spoken.append(Word(text, at, at + length))
        at += length + draw(st.integers(0, 500))
    choices = draw(st.lists(st.integers(0, 5), min_size=60, max_size=60))
    jitters = draw(st.lists(st.integers(-40, 40), min_size=count, max_size=count))
    return spoken, choices, jitters


@given(calls())
@example(([Word("שתיים", 0, 500), Word("שתיים", 500, 1000), Word("שתיים", 1000, 1500)], [1, 0, 5] * 20, [0] * 3))
def test_no_word_is_committed_twice_none_is_lost_and_the_order_is_kept(case):
    spoken, choices, jitters = case
    ledger = Ledger()
    told = []
    streams = []  # (generation, jitter on?, words it still has to tell)
    generation = 0

    def give(stream, count):
        number, jittered, waiting = stream
        part = [waiting.pop(0) for _ in range(min(count, len(waiting)))]
        if not part:
            return
        words = (
            tuple(Word(w.text, w.start_ms + j, w.end_ms + j) for w, j in part)
            if jittered
            else tuple(w for w, _ in part)
        )
        result = ledger.accept(
            number, Final(" ".join(w.text for w in words), words[0].start_ms, words[-1].end_ms, None, "e", words)
        )
        if result is not None:
            told.extend(result.text.split())

    for choice in choices:
        if not streams or choice == 0:  # the stream dies or is rotated: the next begins at the committed place
            generation += 1
            origin = ledger.committed_ms - 300
            audible = [(w, j) for w, j in zip(spoken, jitters, strict=True) if (w.start_ms + w.end_ms) // 2 >= origin]
            streams = [*streams[-1:], (generation, generation % 2 == 0, audible)]
        elif choice <= 3:
            give(streams[-1], choice)
        else:
            give(streams[0], choice - 3)
    give(streams[-1], len(spoken))
    assert told == [w.text for w in spoken]


# --- the turn ---


def test_the_last_guess_wins_and_stability_counts_words_not_commas():
    turn = TurnText()
    assert turn.hear(interim("אני רוצה לבטל את התור", 0, 1500), 100)
    assert turn.hear(interim("אני רוצה", 0, 1600), 200)
    assert turn.text == "אני רוצה"
    assert not turn.final_only
    assert not turn.hear(final("אני רוצה.", 0, 1600), 500)
    assert (turn.text, turn.stable_since, turn.final_only) == ("אני רוצה.", 200, True)
    turn.hear(final("כן", 1600, 2000, confidence=0.6), 600)
    assert turn.confidence == pytest.approx(0.8)
    taken = turn.take()
    assert (taken.text, taken.final_only, taken.end_ms) == ("אני רוצה כן", True, 2000)  # no sentence ended there
    assert turn.text == ""


def test_a_guess_that_was_taken_is_not_told_again_by_its_final():
    turn = TurnText()
    turn.hear(final("שלום", 0, 500), 0)
    turn.hear(interim("אני רוצה לקבו", 500, 1500), 10)
    assert turn.take().text == "שלום אני רוצה לקבו"
    assert not turn.hear(interim("אני רוצה לקבוע", 500, 1560), 20)
    assert not turn.hear(final("אני רוצה לקבוע", 500, 1560), 30)
    assert turn.text == ""
    assert turn.amended == "שלום אני רוצה לקבוע"
    assert turn.hear(interim("תור", 1700, 2000), 40)
    assert turn.text == "תור"


def test_what_a_final_adds_to_a_taken_guess_belongs_to_the_next_turn():
    turn = TurnText()
    turn.hear(interim("אני רוצה", 0, 1000), 0)
    turn.take()
    turn.hear(interim("אני רוצה תור", 0, 1500), 10)
    assert turn.text == "תור"
    assert turn.take().text == "תור"
    turn.hear(final("אני רוצה תור למחר", 0, 2200), 20)
    assert turn.text == "למחר"


# --- debounce ---


def test_the_first_guess_at_once_then_the_newest_after_a_while():
    slot = Debounce(180)
    assert slot.offer(interim("א", 0, 1), 1000).text == "א"
    assert slot.offer(interim("אב", 0, 1), 1050) is None
    assert slot.offer(interim("אבג", 0, 1), 1080) is None
    assert slot.deadline == 1090, "half of it early, once"
    assert slot.due(1089) is None
    assert slot.due(1090).text == "אבג"
    assert slot.offer(interim("אבגא", 0, 1), 1091) is None
    assert slot.deadline == 1270, "what was early is made up for"
    assert slot.due(1270).text == "אבגא"
    slot.offer(interim("אבג", 0, 1), 1490)
    assert slot.offer(interim("אבג", 0, 1), 1500) is None
    assert slot.deadline is None
    slot.offer(interim("אבגד", 0, 1), 1510)
    slot.offer(interim("אבגדה", 0, 1), 1520)
    slot.settle()
    assert slot.due(5000) is None
    assert slot.offer(interim("ש", 0, 1), 1530).text == "ש"


def test_interims_of_every_200_ms_that_arrive_in_batches_of_150_ms_wait_for_nothing():
    slot, jitter = Debounce(180), (0, 12, -9, 20, -15, 4)
    arrivals = [1000 + -(-number * 200 // 150) * 150 + jitter[number % 6] for number in range(60)]
    for number, now in enumerate(arrivals):
        assert slot.offer(interim("א" * (number + 1), 0, 1), now) is not None, number


@given(st.lists(st.tuples(st.integers(0, 100), st.sampled_from("אבג")), max_size=40))
def test_never_more_often_than_asked_and_the_newest_is_not_kept_back(offers):
    slot, now, told = Debounce(180), 0, []
    for wait, text in offers:
        while slot.deadline is not None and slot.deadline <= now + wait:
            told.append((slot.deadline, slot.due(slot.deadline).text))
        now += wait
        at_once = slot.offer(interim(text, 0, 1), now)
        if at_once is not None:
            told.append((now, at_once.text))
    if slot.deadline is not None:
        told.append((slot.deadline, slot.due(slot.deadline).text))
    assert all(b[0] - a[0] >= 90 and a[1] != b[1] for a, b in pairwise(told))
    times = [at for at, _ in told]
    assert all(b - a >= (n - 1) * 180 - 90 for i, a in enumerate(times) for n, b in enumerate(times[i:], 1))
    if offers:
        assert told[-1][1] == offers[-1][1]
