"""Our own voice come back: learned where it is there, never taken for one where it is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moked.audio import from_float, to_float
from moked.media.ear import Ear, level_db
from moked.media.echo import EchoGuard, OwnWords
from moked.media.speech import SpeechEnded, SpeechStarted
from moked.simulate.echo import EchoPath
from tests.scenario.stage import LoudSlot

MS = 8


def voice(ms, seed, loud=0.25):
    """Noise in syllables of 60 to 200 ms, each as loud as it likes."""
    rng = np.random.default_rng(seed)
    levels = []
    while len(levels) < ms * MS:
        levels += [10 ** (rng.uniform(-26, 0) / 20)] * int(rng.uniform(60, 200) * MS)
    smooth = np.convolve(np.array(levels[: ms * MS]), np.ones(160) / 160, "same")[: ms * MS]
    return from_float((loud * smooth * rng.normal(0, 0.5, ms * MS)).astype(np.float32))


def line(length, *parts):
    """Audio at places (ms, mu-law, gain in dB), over a faint hiss."""
    mixed = np.random.default_rng(7).normal(0, 10 ** (-66 / 20), length * MS)
    for at, audio, gain in parts:
        piece = to_float(audio)[: max(0, length - at) * MS] * 10 ** (gain / 20)
        mixed[at * MS : at * MS + len(piece)] += piece
    return from_float(mixed.astype(np.float32))


class Run:
    """Both sides in real time: ours 300 ms ahead in pieces of 100, the caller's in windows of 32."""

    def __init__(self, ours, theirs, start=0):
        self.guard, self.learned, self.over = EchoGuard(), None, []
        sent = 0
        for number in range(len(theirs) // 256):
            at = 32 * (number + 1)
            while sent * 800 < len(ours) and start + sent * 100 <= at + 300:
                self.guard.sent(start + sent * 100, ours[sent * 800 : sent * 800 + 800])
                sent += 1
            level = level_db(to_float(theirs[number * 256 : number * 256 + 256]))
            if self.guard.heard(at, level) and self.learned is None:
                self.learned = at
            if level > self.guard.floor_db(at):
                self.over.append(at)


def test_an_echo_is_learned_within_a_second_and_stays_under_the_floor():
    rng, late, wrong = np.random.default_rng(5), 0, 0
    for seed in range(100):
        ms, db = int(rng.integers(40, 600)), float(rng.uniform(-28, -8))
        ours = voice(3000, seed)
        theirs = line(3800, (ms, ours, db))
        run = Run(ours, theirs)
        late += run.learned is None or run.learned > ms + 1000
        if run.learned is None:
            continue
        wrong += abs(run.guard.gain_db - db) > 3 or abs(run.guard.lag_ms - ms) > 24
        loud = [at for at in range(32, 3800, 32) if level_db(to_float(theirs[(at - 32) * MS : at * MS])) > -58]
        assert len([at for at in run.over if at > run.learned and at in loud]) <= 0.06 * len(loud)
    assert late <= 7
    assert wrong <= 3


def test_a_caller_over_our_voice_is_no_echo():
    rng, taken = np.random.default_rng(6), 0
    for seed in range(100):
        theirs = voice(2000, seed + 1_000_003)
        run = Run(voice(3000, seed), line(3800, (int(rng.integers(0, 1500)), theirs, float(rng.uniform(-12, 6)))))
        taken += run.learned is not None
        assert run.guard.gain_db is None  # and what is mistaken is forgotten
    assert taken <= 3


def test_a_caller_as_loud_as_we_are_is_heard_over_the_echo():
    for seed in range(8):
        ours, theirs = voice(4000, seed), voice(1000, seed + 1_000_003)
        run = Run(ours, line(4500, (100 + 50 * seed, ours, -20), (2500, theirs, 0)))
        assert run.learned is not None
        assert len([at for at in run.over if 2500 < at <= 3500]) >= 12  # of 31 windows; syllables are soft too


def test_an_echo_that_goes_away_is_forgotten():
    ours = voice(8000, 3)
    run = Run(ours, line(8000, (300, ours[: 2500 * MS], -15)))
    assert run.learned is not None
    assert run.guard.gain_db is None or run.guard.gain_db < -30


def test_what_was_cleared_does_not_come_back():
    guard = EchoGuard()
    guard.sent(0, voice(1000, 5))
    guard.cleared(300)
    guard.gain_db, guard._lag = -10.0, 25
    assert max(guard.floor_db(at) for at in range(320, 480, 32)) > -60
    quiet = [guard.floor_db(at) for at in range(480, 2000, 32)]
    assert quiet[-1] < -100


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 900)), max_size=20))
def test_any_order_of_gaps_and_pieces_is_survived(pieces):
    guard, now = EchoGuard(), 0
    for gap, length in pieces:
        now += gap
        guard.sent(now, voice(length, length) if length else b"")
        guard.heard(now, -30.0)
        guard.floor_db(now)
        if gap % 3 == 0:
            guard.cleared(now + length // 2)


def test_the_ear_takes_back_a_stretch_that_was_echo():
    events = []
    ear = Ear(LoudSlot, events.append)
    ours = voice(3000, 11)
    theirs = line(3600, (250, ours, -12))
    sent = 0
    for at in range(0, 3600, 20):
        while sent < 3000 and sent <= at + 300:
            ear.playing(sent - at, ours[sent * MS : (sent + 100) * MS])
            sent += 100
        ear.feed(theirs[at * MS : (at + 20) * MS])
    assert ear.echo_db == pytest.approx(-12, abs=3)
    started = [event for event in events if isinstance(event, SpeechStarted)]
    ended = [event for event in events if isinstance(event, SpeechEnded)]
    assert started, "until it is known, an echo is a voice"
    assert ended[0].at_ms == started[-1].at_ms or not ear.speaking
    assert all(event.at_ms < 1300 for event in started)


def test_an_echo_path_adds_what_was_played():
    path = EchoPath(-20, 300)
    silent = b"\xff" * 160
    assert path.mixed(silent, silent) == silent
    played = voice(20, 1)
    mixed = path.mixed(silent, played)
    assert level_db(to_float(mixed)) == pytest.approx(level_db(to_float(played)) - 20, abs=1.5)


# --- words

SAID = "אני יכול להציע לכם טכנאי מחר בבוקר"


def own(until=2000, each=270):
    words = OwnWords()
    said = SAID.split()
    for number in range(len(said)):
        words.heard(min(until, each * (number + 1)), 1, " ".join(said[: number + 1]))
    return words


@pytest.mark.parametrize(
    ("text", "end", "sure", "left"),
    [
        ("אני יכול להציע", 810 + 300, True, ""),
        ("אני יכול להציה", 810 + 300, True, ""),  # misheard
        ("להציע לכם", 1080 + 200, True, ""),
        ("אני יכול להציע רגע לא", 810 + 300 + 700, True, "רגע לא"),
        ("אני יכול להציע", 810 + 300, False, ""),
        ("להציע לכם", 1080 + 200, False, "להציע לכם"),  # two words prove little where no echo is known
        ("מחר בבוקר", 1890 + 1500, True, "מחר בבוקר"),  # an answer
        ("רגע מחר לא טוב", 1890, True, "רגע מחר לא טוב"),
        ("", 500, True, ""),
    ],
)
def test_own_words_are_taken_off_where_they_can_be_an_echo(text, end, sure, left):
    assert own().without(text, end, sure=sure) == left


@settings(deadline=None)
@given(st.text(alphabet="אבגד הוז", max_size=40), st.integers(0, 30_000), st.booleans())
def test_what_is_left_is_always_the_end_of_what_was_heard(text, end, sure):
    left = own().without(text, end, sure=sure)
    assert text.split()[len(text.split()) - len(left.split()) :] == left.split()
