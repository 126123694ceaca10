"""The caller's manners and what is measured of the agent, on explicit time: 20 ms frames, no sockets, no sleep."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked import audio
from moked.simulate.measure import AgentVoice, Opening, turns, voiced_span
from moked.simulate.scenario import SILENT_FRAME, Caller, CutIn, Dtmf, HangUp, Manners, Say, Step, Wait, render
from moked.simulate.wire import Queued
from tests.simulate.fake_server import tone

MANNERS = Manners(quiet_ms=700, patience_ms=5000, linger_ms=300)
LINE = audio.silence(100) + tone(300, 300) + audio.silence(80)


class Call:
    """Plays the agent by a timetable: (received at, ms of voice), and clears."""

    def __init__(self, steps: list[Step], agent: list[tuple[int, int]], clears: tuple[int, ...] = ()) -> None:
        self.voice = AgentVoice()
        self.caller = Caller(steps, self.voice, MANNERS)
        self.frames: list[bytes] = []
        self.keys: list[tuple[int, str]] = []
        agenda = sorted([(at, ms) for at, ms in agent] + [(at, 0) for at in clears])
        until, now = 0, 0
        while not self.caller.hung_up:
            assert now < 100_000, "the caller never hangs up"
            while agenda and agenda[0][0] <= now:
                at, ms = agenda.pop(0)
                if ms:
                    start = max(at, until)
                    self.voice.queued(Queued(at, start, tone(ms), opens=until <= at))
                    until = start + ms
                else:
                    self.voice.cleared(at)
                    until = min(until, at)
            frame, keys = self.caller.frame(now)
            self.frames.append(frame)
            self.keys += [(now, key) for key in keys]
            now += 20
        self.ended = now - 20
        self.turns = turns(self.caller.lines, self.voice)

    def starts(self) -> list[int]:
        return [at for at, _ in self.caller.said]


def test_a_polite_caller_waits_for_the_agent_and_for_silence() -> None:
    call = Call([Say("א", LINE), Say("ב", LINE)], [(200, 1000), (2800, 500), (4400, 600)])
    first, second = call.starts()
    assert first == 1900  # greeting over at 1200, then 700 ms
    assert second == 4000  # the answer is over at 3300
    assert call.ended == 6000  # 4400 + 600, 700 ms of silence and 300 ms of lingering
    assert call.caller.hung_up == "done"
    one, two = call.turns
    assert (one.speech_start_ms, one.speech_end_ms) == (2000, 2300)
    assert (one.response_ms, one.heard_after_ms) == (500, 500)
    assert (two.response_ms, two.talked_over) == (0, False)


def test_the_line_is_sent_whole_between_silences() -> None:
    call = Call([Say("א", LINE)], [(0, 100), (2000, 100)])
    said = call.starts()[0]
    assert b"".join(call.frames)[said * 8 : said * 8 + len(LINE)] == LINE
    assert all(frame == SILENT_FRAME for frame in call.frames[: said // 20])
    assert all(len(frame) == 160 for frame in call.frames)


def test_a_caller_in_a_hurry_does_not_listen() -> None:
    call = Call([Say("א", LINE, after="immediately"), Say("ב", LINE, after=300)], [(0, 60_000)])
    assert call.starts() == [0, 480 + 300]
    assert call.turns[0].overlapped
    assert call.turns[0].response_ms is None


def test_cutting_in_waits_for_that_much_of_the_reply() -> None:
    call = Call([Say("א", LINE), CutIn("ב", LINE, after_ms=800)], [(0, 200), (1700, 5000), (3200, 400)], clears=(2900,))
    assert call.starts()[1] == 2500
    said, cut = call.turns
    assert said.response_ms == 400
    assert cut.overlapped
    assert cut.barge_in_ms == 300
    assert call.voice.openings[-1] == Opening(3200, 3200, 3200)
    assert cut.response_ms == 3200 - 2900


def test_who_is_too_late_to_cut_in_speaks_when_the_agent_is_done() -> None:
    call = Call([CutIn("א", LINE, after_ms=800)], [(0, 400), (2000, 100)])
    assert call.starts() == [1100]
    assert not call.turns[0].overlapped
    assert call.turns[0].barge_in_ms is None


def test_an_agent_that_speaks_too_early_is_noticed() -> None:
    call = Call([Say("א", LINE)], [(0, 200), (1200, 2000)])
    assert call.turns[0].talked_over
    assert call.turns[0].response_ms is None
    assert call.caller.hung_up == "done"


def test_a_reply_taken_back_is_not_a_barge_in() -> None:
    call = Call([Say("א", LINE)], [(0, 200), (1250, 300), (2000, 300)], clears=(1340,))
    (turn,) = call.turns
    assert turn.took_back
    assert turn.barge_in_ms is None
    assert (turn.talked_over, turn.response_ms) == (True, 700)
    late = Call([Say("א", LINE)], [(0, 200), (1350, 300), (2000, 300)], clears=(1450,)).turns[0]
    assert (late.took_back, late.talked_over, late.response_ms) == (True, False, 700)


def test_patience_ends_and_the_scenario_goes_on() -> None:
    call = Call([Say("א", LINE), Say("ב", LINE)], [])
    assert call.starts() == [5000, 5480 + 5000]
    assert call.caller.hung_up == "no_answer"
    assert call.ended == 10_960 + 5000


def test_waiting_keys_and_hanging_up() -> None:
    call = Call([Wait(100), Dtmf("05#", after="immediately"), Wait(50), HangUp()], [])
    assert call.keys == [(100, "0"), (300, "5"), (500, "#")]
    assert call.caller.hung_up == "step"
    assert call.ended == 560
    assert (call.turns[0].speech_start_ms, call.turns[0].speech_end_ms) == (100, 500)


def test_a_network_hiccup_is_not_a_new_reply() -> None:
    voice = AgentVoice()
    voice.queued(Queued(0, 0, tone(100), opens=True))
    voice.queued(Queued(150, 150, tone(100), opens=True))
    voice.queued(Queued(400, 400, audio.silence(60) + tone(40), opens=True))
    assert voice.openings == (Opening(0, 0, 0), Opening(400, 400, 460))
    voice.cleared(450)
    assert voice.openings[-1] == Opening(400, 400, None)
    assert voice.last_voice_ms == 250


def test_silence_that_the_agent_sends_is_not_speech() -> None:
    call = Call([Say("א", LINE)], [(0, 100), (1500, 100)])
    noisy = AgentVoice()
    noisy.queued(Queued(0, 0, tone(100) + audio.silence(60_000), opens=True))
    assert noisy.last_voice_ms == 100
    assert call.caller.hung_up == "done"


def test_the_voiced_part_of_a_line() -> None:
    assert voiced_span(LINE) == (100, 400)
    assert voiced_span(audio.silence(500)) == (0, 500)
    assert voiced_span(b"") == (0, 0)
    hiss = audio.from_pcm16(b"".join((200 * (-1) ** n).to_bytes(2, "little", signed=True) for n in range(1600)))
    assert voiced_span(hiss + tone(200) + hiss) == (200, 400)


def test_rendering_speaks_each_text_once_and_leaves_audio_alone() -> None:
    spoken, done = [], []

    def speak(text: str) -> bytes:
        spoken.append(text)
        return b"x"

    steps = render(
        [Say("א"), CutIn("ב"), Say("א", after=5), Say("ג", b"own"), Wait(1)],
        speak,
        lambda n, total: done.append((n, total)),
    )
    assert spoken == ["א", "ב"]
    assert done == [(1, 2), (2, 2)]
    assert [getattr(step, "audio", None) for step in steps] == [b"x", b"x", b"x", b"own", None]
    assert steps[2] == Say("א", b"x", after=5)


def test_keys_that_no_telephone_has() -> None:
    with pytest.raises(ValueError, match="keys"):
        Caller([Dtmf("12x")], AgentVoice())


STEP = st.one_of(
    st.builds(
        Say,
        text=st.just("א"),
        audio=st.integers(0, 3).map(lambda n: tone(150 * n)),
        after=st.sampled_from(["agent_done", "immediately", 0, 250]),
    ),
    st.builds(
        CutIn, text=st.just("ב"), audio=st.integers(0, 2).map(lambda n: tone(100 * n)), after_ms=st.integers(0, 900)
    ),
    st.builds(
        Dtmf, digits=st.text("0123456789*#", max_size=4), after=st.sampled_from(["agent_done", "immediately", 40])
    ),
    st.builds(Wait, ms=st.integers(0, 700)),
    st.builds(HangUp, after=st.sampled_from(["agent_done", "immediately", 100])),
)


@given(
    st.lists(STEP, max_size=6),
    st.lists(st.tuples(st.integers(0, 9000), st.integers(1, 1500)), max_size=6),
    st.lists(st.integers(0, 9000), max_size=3).map(tuple),
)
def test_every_call_ends_and_every_line_is_said_whole_and_in_order(
    steps: list[Step], agent: list[tuple[int, int]], clears: tuple[int, ...]
) -> None:
    call = Call(steps, agent, clears)
    until = steps.index(hang_up) if (hang_up := next((s for s in steps if isinstance(s, HangUp)), None)) else len(steps)
    spoken = [step for step in steps[:until] if isinstance(step, Say | CutIn) and step.audio]
    assert [sound for _, sound in call.caller.said] == [step.audio for step in spoken]
    assert "".join(key for _, key in call.keys) == "".join(s.digits for s in steps[:until] if isinstance(s, Dtmf))
    line = b"".join(call.frames)
    for at, sound in call.caller.said:
        assert line[at * 8 : at * 8 + len(sound)] == sound
    for turn in call.turns:
        assert turn.speech_start_ms <= turn.speech_end_ms
        assert turn.response_ms is None or turn.response_ms >= 0
        assert turn.barge_in_ms is None or turn.barge_in_ms >= 0
