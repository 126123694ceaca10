"""The playout clock, by example and by property, against a model of the carrier's play buffer."""

from hypothesis import given, settings
from hypothesis import strategies as st

from moked.audio import SAMPLES_PER_MS, silence
from moked.media.playout import Audio, Finished, Mark, Playout


def tone(ms, byte=1):
    return bytes([byte]) * (ms * SAMPLES_PER_MS)


def drain(playout, start, until):
    """Poll whenever the core asks to be polled; returns what it sent, with times."""
    sent, now = [], start
    while now is not None and now <= until:
        sent += [(now, action) for action in playout.poll(now)]
        due = playout.deadline
        now = None if due is None else max(now + 1, due)
    return sent


def audio_of(sent):
    return b"".join(action.audio for _, action in sent if isinstance(action, Audio))


def test_the_first_audio_goes_out_at_once_and_no_more_than_the_lead():
    playout = Playout(lead_ms=300, chunk_ms=100)
    playout.begin_reply(1)
    playout.add(tone(2000))
    assert len(audio_of([(0, a) for a in playout.poll(0)])) == 300 * SAMPLES_PER_MS
    assert playout.poll(50) == []
    assert playout.deadline == 100
    assert len(audio_of([(0, a) for a in playout.poll(100)])) == 100 * SAMPLES_PER_MS


def test_a_reply_is_finished_when_its_audio_has_been_played():
    playout = Playout()
    playout.begin_reply(7)
    playout.begin_clause("שלום לכם.")
    playout.add(tone(450))
    playout.end_clause()
    playout.end_reply()
    sent = drain(playout, 1000, 9000)
    assert audio_of(sent) == tone(450)
    assert sent[-1] == (1450, Finished(7))
    assert [a.name for _, a in sent if isinstance(a, Mark)] == ["0:7:1"]
    assert playout.heard(1450).text == "שלום לכם."


def test_hold_keeps_everything_and_resume_goes_on_from_the_same_sample():
    playout = Playout()
    playout.begin_reply(1)
    playout.add(bytes(range(256)) * 40)
    first = audio_of([(0, a) for a in playout.poll(0)])
    playout.hold()
    assert playout.poll(5000) == []
    assert playout.deadline is None
    playout.resume()
    rest = audio_of(drain(playout, 5000, 20_000))
    assert first + rest == bytes(range(256)) * 40


def test_a_cut_says_what_was_heard_to_the_word():
    playout = Playout()
    playout.begin_reply(1)
    playout.begin_clause("אני יכול לעזור בזה, ")
    playout.add(tone(1000))
    playout.end_clause()
    playout.begin_clause("מה הכתובת שלכם?")
    playout.add(tone(1000))
    playout.end_clause()
    drain(playout, 0, 1500)
    heard = playout.clear(1500)
    assert heard.text == "אני יכול לעזור בזה, מה"
    assert not heard.complete
    assert playout.poll(1600) == []


def test_marks_of_before_a_clear_say_nothing():
    playout = Playout()
    playout.begin_reply(1)
    playout.begin_clause("כן.")
    playout.add(tone(100))
    playout.end_clause()
    (name,) = [a.name for a in playout.poll(0) if isinstance(a, Mark)]
    playout.clear(10)
    assert playout.marked(11, name) is None
    assert playout.stale_marks == 1
    assert playout.marked(12, "not ours") is None
    assert playout.unknown_marks == 1


def test_a_late_mark_moves_the_playhead_back():
    playout = Playout(lead_ms=500)
    playout.begin_reply(1)
    playout.begin_clause("א ")
    playout.add(tone(200))
    playout.end_clause()
    playout.begin_clause("ב")
    playout.add(tone(200))
    playout.end_clause()
    names = [a.name for a in playout.poll(0) if isinstance(a, Mark)]
    assert playout.marked(350, names[0]) == 1  # the carrier is 150 ms behind our clock
    assert playout.playhead(400) == 250 * SAMPLES_PER_MS


def test_certainty_comes_with_the_marks_or_after_a_grace():
    playout = Playout()
    playout.begin_reply(1)
    playout.begin_clause("להתראות.")
    playout.add(tone(100))
    playout.end_clause()
    playout.end_reply()
    (name,) = [a.name for a in playout.poll(0) if isinstance(a, Mark)]
    assert not playout.confirmed(500)
    assert playout.confirmed(playout.confirm_deadline)
    playout.marked(600, name)
    assert playout.confirmed(600)


Steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(1, 4000)),
        st.tuples(st.just("clause"), st.text("אבג ", max_size=12)),
        st.tuples(st.just("wait"), st.integers(0, 700)),
        st.tuples(st.just("hold"), st.none()),
        st.tuples(st.just("resume"), st.none()),
        st.tuples(st.just("mark"), st.integers(0, 5)),
        st.tuples(st.just("clear"), st.none()),
    ),
    max_size=60,
)


@given(Steps, st.integers(120, 500), st.integers(20, 100))
def test_every_byte_goes_out_once_in_order_and_never_beyond_the_lead(steps, lead_ms, chunk_ms):
    playout = Playout(lead_ms=lead_ms, chunk_ms=chunk_ms)
    playout.begin_reply(1)
    now, counter = 0, 0
    given_in, sent = bytearray(), bytearray()
    plays_until = 0.0  # the carrier's buffer, by the book
    marks = []
    for step, value in steps:
        match step:
            case "add":
                block = bytes((counter + i) % 251 for i in range(value))
                counter += value
                given_in += block
                playout.add(block)
            case "clause":
                playout.end_clause()
                playout.begin_clause(value)
            case "wait":
                now += value
            case "hold":
                playout.hold()
            case "resume":
                playout.resume()
            case "mark" if marks:
                playout.marked(now, marks.pop(min(value, len(marks) - 1)))
            case "clear":
                before = len(sent)
                playout.clear(now)
                given_in = bytearray(given_in[:before])
                plays_until = now
                assert not playout.held
        for action in playout.poll(now):
            if isinstance(action, Audio):
                assert not playout.held
                sent += action.audio
                plays_until = max(plays_until, now) + len(action.audio) / SAMPLES_PER_MS
                assert plays_until - now <= lead_ms + 1
            elif isinstance(action, Mark):
                marks.append(action.name)
        assert bytes(given_in[: len(sent)]) == bytes(sent)
        assert 0 <= playout.playhead(now) <= len(sent)
        due = playout.deadline
        assert due is None or due > now or playout.held
    playout.resume()
    playout.end_reply()
    rest = drain(playout, now, now + 10_000_000)
    assert bytes(sent) + audio_of(rest) == bytes(given_in)
    assert isinstance(rest[-1][1], Finished)


@given(st.text("אבגד ,.", min_size=1, max_size=60), st.integers(0, 3000))
def test_heard_text_is_a_beginning_of_what_was_said(text, at):
    playout = Playout()
    playout.begin_reply(1)
    playout.begin_clause(text)
    playout.add(silence(2000))
    playout.end_clause()
    drain(playout, 0, at)
    heard = playout.heard(at)
    assert text.strip().startswith(heard.text)
    assert heard.complete == (at >= 2000)


# --- silenced, and on from the same sample


def counted(ms, start=0):
    return bytes((start + n) % 251 for n in range(ms * SAMPLES_PER_MS))


class Carrier:
    """What a carrier plays of what it gets, to the sample, on the playout's clock; and the marks it gives back."""

    def __init__(self):
        self.played, self.pending, self.end, self.marks = bytearray(), bytearray(), 0, []

    def take(self, now, actions):
        self.until(now)
        for action in actions:
            if isinstance(action, Audio):
                self.pending += action.audio
            elif isinstance(action, Mark):
                self.marks.append(action.name)

    def until(self, now):
        length = (now - self.end) * SAMPLES_PER_MS
        self.played += self.pending[:length]
        del self.pending[:length]
        self.end = now

    def clear(self, now):
        self.until(now)
        self.pending.clear()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 700)), max_size=6), st.integers(1, 4))
def test_pauses_lose_nothing_and_repeat_nothing(pauses, clauses):
    playout, carrier, now = Playout(), Carrier(), 0
    playout.begin_reply(1)
    for number in range(clauses):
        playout.begin_clause(f"משפט {number} ")
        playout.add(counted(700, number * 700 * SAMPLES_PER_MS))
        playout.end_clause()
    playout.end_reply()

    def run(until):
        nonlocal now
        while now < until:
            carrier.take(now, playout.poll(now))
            now += 1

    for talk, silent in pauses:
        run(now + talk)
        carrier.take(now, playout.poll(now))
        heard = playout.heard(now).text
        playout.pause(now)
        carrier.clear(now)
        for name in carrier.marks:  # they come back because of the clear, and prove nothing
            playout.marked(now, name)
        carrier.marks.clear()
        assert playout.heard(now).text == heard
        assert playout.paused
        run(now + silent)
        playout.resume()
    finished = False
    while not finished and now < 60_000:
        actions = playout.poll(now)
        carrier.take(now, actions)
        finished = any(isinstance(action, Finished) for action in actions)
        now += 1
    carrier.until(now)
    assert bytes(carrier.played) == counted(700 * clauses)
    assert playout.heard(now).complete
    assert playout.stale_marks >= 0


def test_a_pause_gives_the_lost_marks_new_names():
    playout = Playout()
    playout.begin_reply(3)
    playout.begin_clause("אחת.")
    playout.add(counted(250))
    playout.end_clause()
    (mark,) = [a.name for a in playout.poll(0) if isinstance(a, Mark)]
    playout.pause(100)
    playout.resume()
    (again,) = [a.name for _, a in drain(playout, 400, 2000) if isinstance(a, Mark)]
    assert again != mark
    assert playout.marked(700, mark) is None
    assert playout.stale_marks == 1
    assert playout.marked(700, again) == 3
