"""The relay against faults: whatever dies, every word is told once and in order. All on virtual time."""

import logging
from itertools import pairwise

import anyio
import pytest

from moked.audio import SILENCE
from moked.errors import Failure
from moked.stt import EngineSwitched, Final, HearingBack, HearingLost, Interim
from moked.stt.failover import Breaker, RelayPolicy, State
from moked.stt.relay import Relay
from tests.stt.hearing import VOCABULARY, FakeEngine, Fault, Spoken, sound, speech, talk
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Call:
    """A relay with what it told."""

    def __init__(self, *engines, breakers=None, **options):
        self.told = []
        self.times = []
        self.metrics = []
        self.breakers = breakers or {engine.name: Breaker() for engine in engines}

        self.relay = Relay(
            engines,
            self.hear,
            breakers=self.breakers,
            metric=lambda *metric: self.metrics.append(metric),
            **options,
        )

    def hear(self, transcript):
        self.told.append(transcript)
        self.times.append(round(anyio.current_time() * 1000))

    async def take(self, spoken, **options):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.relay.run)
            await talk(self.relay, spoken, **options)
            finished = anyio.current_time()
        self.finish_ms = round((anyio.current_time() - finished) * 1000)
        return self

    @property
    def deaf(self):
        return sum(isinstance(t, HearingLost) for t in self.told)

    @property
    def words(self):
        return [word for t in self.told if isinstance(t, Final) for word in t.text.split()]

    @property
    def switches(self):
        return [(t.before, t.after, t.reason) for t in self.told if isinstance(t, EngineSwitched)]


UTTERANCE = speech(VOCABULARY[:8])  # 0.5 to 3.48 s
TEXT = [s.text for s in UTTERANCE]
STYLES = [("exact", "exact"), ("exact", "whole"), ("plain", "plain"), ("plain", "whole"), ("whole", "whole")]


def two(spoken, first="exact", second="whole", faults=(), **options):
    return (
        FakeEngine("google", spoken, first, list(faults), **options),
        FakeEngine("whisper" if second == "whole" else "other", spoken, second),
    )


async def test_a_call_without_faults():
    google, whisper = two(UTTERANCE)
    call = await Call(google, whisper).take(UTTERANCE)
    assert call.words == TEXT
    assert call.switches == []
    assert whisper.opened == []
    assert google.open_now == 0


@pytest.mark.parametrize("final_every", [0, 3])
@pytest.mark.parametrize(("first", "second"), STYLES)
@pytest.mark.parametrize("kind", ["kill", "close"])
async def test_killed_at_every_100_ms_of_an_utterance_no_word_is_lost_or_doubled(kind, first, second, final_every):
    for at_ms in range(0, UTTERANCE[-1].end_ms + 800, 100):
        engines = two(UTTERANCE, first, second, [Fault(kind, at_ms=at_ms)], final_every=final_every)
        call = await Call(*engines).take(UTTERANCE, tail_ms=1500)
        assert call.words == TEXT, f"{kind} at {at_ms} ms"
        assert call.deaf == 0
        assert call.finish_ms <= 400, "nothing is waited for that does not come"
        assert [engine.open_now for engine in engines] == [0, 0]


@pytest.mark.parametrize("at_ms", range(300, 4300, 400))
@pytest.mark.parametrize("kind", ["stall", "block"])
@pytest.mark.parametrize(("first", "second"), STYLES[:4])
async def test_a_stream_that_goes_silent_or_takes_nothing_is_replaced(kind, at_ms, first, second):
    spoken = speech(VOCABULARY[:20])
    engines = two(spoken, first, second, [Fault(kind, at_ms=at_ms)])
    call = await Call(*engines).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert call.switches[0][2] == "timeout"


@pytest.mark.parametrize("kind", ["refuse", "hang"])
async def test_an_engine_that_cannot_be_opened_is_passed_over_and_the_log_says_so(kind, caplog):
    engines = two(UTTERANCE, faults=[Fault(kind, stream=-1)])
    with caplog.at_level(logging.INFO):
        call = await Call(*engines).take(UTTERANCE)
    assert call.words == TEXT
    reason = "unavailable" if kind == "refuse" else "timeout"
    assert call.switches == [("google", "whisper", reason)]
    record = next(r for r in caplog.records if r.message == "Whisper fallback active")
    assert (record.levelname, record.engine, record.reason) == ("WARNING", "whisper", reason)


async def test_whisper_as_the_first_choice_is_no_fallback(caplog):
    whisper = FakeEngine("whisper", UTTERANCE, "whole")
    with caplog.at_level(logging.INFO):
        call = await Call(whisper).take(UTTERANCE)
    assert call.words == TEXT
    assert "fallback" not in caplog.text


@pytest.mark.parametrize("after_ms", range(0, 1600, 200))
async def test_an_error_during_the_replay_goes_on_to_the_third_engine(after_ms):
    first = FakeEngine("google", UTTERANCE, "exact", [Fault("kill", at_ms=3000)])
    second = FakeEngine("other", UTTERANCE, "plain", [Fault("kill", after_ms=after_ms)])
    third = FakeEngine("whisper", UTTERANCE, "whole")
    call = await Call(first, second, third).take(UTTERANCE)
    assert call.words == TEXT


@pytest.mark.parametrize("failing", [1, 2, 4])
async def test_when_all_engines_fail_it_says_so_once_keeps_trying_and_catches_up(failing):
    spoken = speech(VOCABULARY[:20])
    google = FakeEngine("google", spoken, "exact", [Fault("kill", at_ms=1500)])
    google.faults += [Fault("refuse", stream=n) for n in range(1, failing + 1)]
    whisper = FakeEngine("whisper", spoken, "whole", [Fault("refuse", stream=n) for n in range(failing + 1)])
    call = await Call(google, whisper).take(spoken, tail_ms=6000)
    assert call.words == [s.text for s in spoken]
    told = [t for t in call.told if isinstance(t, HearingLost | HearingBack | Final)]
    assert call.deaf == 1
    lost = next(n for n, t in enumerate(told) if isinstance(t, HearingLost))
    assert isinstance(told[lost + 1], HearingBack)  # before the words that prove it
    assert sum(isinstance(t, HearingBack) for t in told) == 1


async def test_a_single_engine_is_opened_again():
    google = FakeEngine("google", UTTERANCE, "exact", [Fault("kill", at_ms=2000), Fault("refuse", stream=1)])
    call = await Call(google).take(UTTERANCE)
    assert call.words == TEXT
    assert call.switches == [("google", "google", "unavailable")]


async def test_switch_over_is_quick_and_replays_little():
    engines = two(UTTERANCE, second="exact", faults=[Fault("kill", at_ms=3000)], final_every=3)
    call = await Call(*engines).take(UTTERANCE)
    at = next(time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, EngineSwitched))
    assert 3000 <= at <= 3100  # the new stream opens in 30 ms here
    assert engines[1].opened[0] >= UTTERANCE[5].end_ms - 300  # two finals of three words were committed


async def test_rotation_is_unheard_at_a_quiet_moment_and_before_the_limit():
    spoken = [
        *speech(VOCABULARY[:8]),
        *speech(VOCABULARY[8:16], from_ms=6000),
        *speech(VOCABULARY[16:20], from_ms=14000),
    ]
    google = FakeEngine("google", spoken, "plain", limit_ms=9000, final_every=2)
    policy = RelayPolicy(rotate_soft_ms=1500, rotate_hard_ms=8000, settled_ms=100)
    call = await Call(google, policy=policy).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert {reason for _, _, reason in call.switches} == {"rotation"}
    assert google.finished == len(google.opened), "old streams are read to their end"
    moved = [time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, EngineSwitched)]
    talking = [(begin + 200, end) for begin, end in ((500, 3480), (6000, 8980), (14_000, 15_460))]  # VAD knows late
    assert [(time, span) for time in moved for span in talking if span[0] <= time <= span[1]] == []


@pytest.mark.parametrize("style", ["exact", "plain"])
@pytest.mark.parametrize("hard_ms", range(3000, 5000, 100))
async def test_rotation_in_mid_speech_at_the_hard_limit_loses_nothing(style, hard_ms):
    spoken = speech(VOCABULARY)
    google = FakeEngine("google", spoken, style, limit_ms=hard_ms + 1500, final_every=4)
    policy = RelayPolicy(rotate_soft_ms=2000, rotate_hard_ms=hard_ms)
    call = await Call(google, policy=policy).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert {reason for _, _, reason in call.switches} == {"rotation"}


async def test_the_providers_own_limit_is_no_failure():
    spoken = speech(VOCABULARY)
    google, whisper = two(spoken, limit_ms=6000, final_every=4)
    call = await Call(google, whisper).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert set(call.switches) == {("google", "google", "expired")}
    assert whisper.opened == []


async def test_the_reader_knows_the_reason_better_than_the_writer():
    for at_ms in range(1000, 3000, 60):
        fault = Fault("kill", at_ms=at_ms, failure=Failure.QUOTA)
        call = await Call(*two(UTTERANCE, faults=[fault], delay_ms=80)).take(UTTERANCE)
        assert call.switches == [("google", "whisper", "quota")]


async def test_a_stream_that_ends_without_being_asked_is_a_failure():
    call = await Call(*two(UTTERANCE, faults=[Fault("close", at_ms=2000)])).take(UTTERANCE)
    assert call.switches == [("google", "whisper", "closed")]


async def test_a_blocked_stream_is_noticed_without_a_word_being_waited_for():
    spoken = speech(VOCABULARY[:2])  # too little speech to miss a result
    call = await Call(*two(spoken, faults=[Fault("block", at_ms=400)])).take(spoken, tail_ms=4500)
    assert call.words == [s.text for s in spoken]
    assert call.switches == [("google", "whisper", "timeout")]


async def test_it_does_not_return_while_the_caller_speaks():
    spoken = speech(VOCABULARY, from_ms=9000)
    google, whisper = two(spoken, faults=[Fault("kill", at_ms=2000)])
    call = await Call(google, whisper).take(spoken, tail_ms=4000)
    back = [time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, EngineSwitched)][-1]
    assert call.switches[-1] == ("whisper", "google", "recovered")
    assert back > spoken[-1].end_ms
    assert call.words == [s.text for s in spoken]


async def test_it_returns_to_the_first_engine_at_a_quiet_moment():
    later = speech(VOCABULARY[10:16], from_ms=45_000)
    last = speech(VOCABULARY[16:20], from_ms=50_000)
    spoken = [*UTTERANCE, *speech(VOCABULARY[6:9], from_ms=20_000), *later, *last]
    google, whisper = two(spoken, faults=[Fault("kill", at_ms=2000, failure=Failure.UNAVAILABLE)])
    google.faults.append(Fault("refuse", stream=1))
    call = await Call(google, whisper).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert call.switches[0] == ("google", "whisper", "unavailable")
    assert call.switches[-1] == ("whisper", "google", "recovered")
    assert len(call.switches) == 2


async def test_a_new_order_of_engines_moves_the_call_at_its_next_pause_and_loses_nothing():
    spoken = speech(VOCABULARY[:5]) + speech(VOCABULARY[5:9], from_ms=6000)
    first, second = two(spoken, second="exact")
    call = Call(first, second)

    async with anyio.create_task_group() as tasks:

        async def turn():
            await anyio.sleep(1.5)  # in mid-sentence
            call.relay.expect("phone")
            call.relay.prefer([second.name])
            assert call.switches == []

        tasks.start_soon(turn)
        await call.take(spoken)
    assert call.words == [word.text for word in spoken]
    assert call.switches == [("google", "other", "rollout")]
    assert second.opened[0] > spoken[4].end_ms - 1000
    assert first.expected == second.expected == ["phone"]


async def test_a_pause_is_told_to_the_stream_that_listens():
    spoken = speech(VOCABULARY[:3])
    first, second = two(spoken)
    call = Call(first, second)
    call.relay.speech_paused(0)  # nobody listens yet

    async with anyio.create_task_group() as tasks:

        async def pause():
            await anyio.sleep(1)
            call.relay.speech_paused(990)

        tasks.start_soon(pause)
        await call.take(spoken)
    assert first.paused == [990]


async def test_the_calls_own_audio_can_be_heard_again():
    spoken = speech(VOCABULARY[:3])
    call = Call(*two(spoken))
    await call.take(spoken)
    said = sound(spoken, tail_ms=2500)
    word = spoken[1]
    assert call.relay.audio(word.start_ms, word.end_ms) == said[word.start_ms * 8 : word.end_ms * 8]
    assert call.relay.audio(-100, 20) == said[:160]
    assert call.relay.audio(200, 100) == b""


async def test_a_broken_key_is_tried_once_by_one_call_and_not_at_all_by_the_next():
    breakers = {"google": Breaker(), "whisper": Breaker()}
    for expected in (1, 0):
        engines = two(UTTERANCE, faults=[Fault("refuse", stream=-1, failure=Failure.AUTH)])
        call = await Call(*engines, breakers=breakers).take(UTTERANCE)
        assert call.words == TEXT
        assert len(engines[0].opened) == expected


async def test_noise_that_no_engine_hears_does_not_blame_the_provider():
    noise = [Spoken(VOCABULARY[0], 500 + n * 1000, 500 + n * 1000 + 990) for n in range(8)]
    words = speech(VOCABULARY[5:9], from_ms=30_000)
    google, whisper = two(words)  # they know only the later words: the rest is noise to them
    call = Call(google, whisper)
    await call.take([*noise, *words])
    assert call.words == [s.text for s in words]
    assert call.breakers["google"].state(0).value == "closed"
    assert len([m for m in call.metrics if m[0] == "stalled"]) == 1
    assert ("failed", "google", 1) not in call.metrics


async def test_without_any_vad_the_guess_itself_is_replayed():
    engines = two(UTTERANCE, second="exact", faults=[Fault("kill", at_ms=2500)])
    call = await Call(*engines).take(UTTERANCE, marks=False)
    assert call.words == TEXT


async def test_interims_are_debounced_and_finals_are_not():
    google = FakeEngine("google", UTTERANCE, "exact")
    call = await Call(google, debounce_ms=600).take(UTTERANCE)
    at = [time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, Interim)]
    assert all(later - sooner >= 300 for sooner, later in pairwise(at))
    assert all(at[n] - at[0] >= n * 600 - 300 for n in range(len(at)))
    texts = [t.text for t in call.told if isinstance(t, Interim)]
    assert texts == sorted(set(texts), key=len)
    assert isinstance(call.told[-1], Final)


async def test_no_guess_is_told_after_its_final_and_a_new_stream_does_not_go_back():
    for at_ms in (None, *range(1000, 3400, 200)):
        faults = [] if at_ms is None else [Fault("kill", at_ms=at_ms)]
        google, other = two(UTTERANCE, "exact", "exact", faults, final_every=3)
        call = await Call(google, other, debounce_ms=800).take(UTTERANCE)
        done, last = [], 0
        for told in call.told:
            if isinstance(told, Final):
                done += told.text.split()
                last = 0
            elif isinstance(told, Interim):
                words = told.text.split()
                assert not set(words) & set(done)
                assert len(words) > last
                last = len(words)


async def test_finish_in_mid_word_flushes_and_a_hanging_engine_does_not_hold_the_call():
    call = Call(FakeEngine("google", UTTERANCE, "exact"))
    await call.take(UTTERANCE, tail_ms=0)
    assert call.words == TEXT
    hanging = Call(FakeEngine("google", UTTERANCE, "exact", [Fault("block", stream=-1, at_ms=3300)]))
    started = anyio.current_time()
    await hanging.take(UTTERANCE, tail_ms=0)
    assert anyio.current_time() - started < 3.5 + 3.2


async def test_a_failure_after_finish_is_still_caught_up():
    for at_ms in range(2800, 3500, 100):
        engines = two(UTTERANCE, faults=[Fault("kill", at_ms=at_ms)])
        call = await Call(*engines).take(UTTERANCE, tail_ms=0)
        assert call.words == TEXT


async def test_finish_before_anything_ends_at_once_and_cancel_leaves_nothing():
    google = FakeEngine("google", UTTERANCE)
    call = Call(google)
    call.relay.finish()
    with anyio.fail_after(1):
        await call.relay.run()
    with anyio.move_on_after(2):
        await Call(google).relay.run()
    assert google.open_now == 0


async def test_a_stream_that_asks_to_be_opened_again_at_once_is_humoured_three_times():
    for times, switched in ((3, "google"), (4, "whisper")):
        faults = [Fault("kill", stream=n, after_ms=40, failure=Failure.EXPIRED) for n in range(times)]
        engines = two(UTTERANCE, faults=faults)
        call = await Call(*engines).take(UTTERANCE)
        assert call.words == TEXT
        assert call.relay.engine == switched


# --- found by the fault matrix and by the property test ---


async def test_a_caller_who_hangs_up_before_the_first_stream_is_open_is_heard_though_the_vad_is_late():
    for style in ("exact", "plain", "whole"):
        google = FakeEngine("google", UTTERANCE, style, open_ms=1000)
        call = Call(google)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call.relay.run)
            call.relay.feed(sound(UTTERANCE, tail_ms=100))  # all at once: the CPU was busy, and no mark has come
            await anyio.sleep(0.1)
            call.relay.finish()
        if style != "whole":  # that engine hears by marks alone; the real ones decide by energy (`Cutter.finish`)
            assert call.words == TEXT, style
        assert google.open_now == 0


async def test_a_call_without_a_sound_is_not_waited_for():
    google = FakeEngine("google", [], open_ms=1000)
    call = Call(google)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(call.relay.run)
        call.relay.feed(SILENCE * 8000)
        await anyio.sleep(0.1)
        call.relay.finish()
        finished = anyio.current_time()
    assert anyio.current_time() - finished < 0.1


@pytest.mark.parametrize("late_ms", [800, 1500, 2400])
async def test_a_stream_that_dies_before_the_vad_has_spoken_is_heard_again_by_the_sound(late_ms):
    spoken = speech(VOCABULARY[:6], from_ms=3000)
    google, other = two(spoken, second="exact", faults=[Fault("kill", at_ms=3700)], delay_ms=900)
    call = await Call(google, other).take(spoken, late_ms=late_ms)
    assert call.words == [s.text for s in spoken]


@pytest.mark.parametrize("at_ms", range(2600, 3500, 100))
async def test_a_stream_that_falls_silent_at_the_very_end_is_not_waited_for(at_ms):
    call = await Call(*two(UTTERANCE, second="exact", faults=[Fault("stall", at_ms=at_ms)])).take(
        UTTERANCE, tail_ms=100
    )
    assert call.words == TEXT
    assert call.finish_ms < 3000


async def test_two_engines_that_fall_silent_at_the_end_leave_it_to_the_third():
    stalls = [Fault("stall", stream=-1, at_ms=2000)]
    engines = [FakeEngine(name, UTTERANCE, "exact", list(stalls)) for name in ("google", "other")]
    call = await Call(*engines, FakeEngine("third", UTTERANCE), policy=RelayPolicy(finish_ms=6000)).take(
        UTTERANCE, tail_ms=100
    )
    assert call.words == TEXT


async def test_a_guess_that_is_never_confirmed_is_heard_by_another_while_the_caller_waits():
    google, other = two(UTTERANCE, second="exact", faults=[Fault("stall", at_ms=3300)])
    call = await Call(google, other).take(UTTERANCE, tail_ms=7000)
    told = [time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, Final)]
    assert call.words == TEXT
    assert told[0] < UTTERANCE[-1].end_ms + 6000, "long before the caller gives up"


async def test_a_rotation_onto_a_dead_connection_is_noticed_as_soon_as_without_it():
    spoken = speech(VOCABULARY)
    faults = [Fault("stall", stream=0, at_ms=3500), Fault("stall", stream=1)]
    google, other = two(spoken, second="exact", faults=faults, final_every=3)
    policy = RelayPolicy(rotate_soft_ms=4000, rotate_hard_ms=4000)
    call = await Call(google, other, policy=policy).take(spoken)
    moved = next(at for at, t in zip(call.times, call.told, strict=True) if getattr(t, "after", "") == "other")
    assert call.words == [s.text for s in spoken]
    assert google.opened[1] > 2000, "the second stream was the rotation's"
    assert moved < 3500 + 2500 + 500


async def test_an_engine_whose_answers_come_too_late_to_talk_by_is_left_without_a_gap():
    spoken, at = [], 500
    for number in range(6):
        spoken += speech(VOCABULARY[number * 3 : number * 3 + 3], from_ms=at)
        at += 6000
    google, other = two(spoken, second="exact", delay_ms=2600)
    call = await Call(google, other).take(spoken, tail_ms=4000)
    assert call.words == [s.text for s in spoken]
    assert call.switches[0] == ("google", "other", "slow")
    assert [metric for metric in call.metrics if metric[0] == "slow"] == [("slow", "google", 1)]
    third_turn_ms = spoken[6].start_ms
    assert third_turn_ms < next(t for t, e in zip(call.times, call.told, strict=True) if isinstance(e, EngineSwitched))


async def test_an_only_engine_may_be_slow():
    spoken, at = [], 500
    for number in range(5):
        spoken += speech(VOCABULARY[number * 3 : number * 3 + 3], from_ms=at)
        at += 6000
    call = await Call(FakeEngine("google", spoken, delay_ms=2600)).take(spoken, tail_ms=4000)
    assert call.words == [s.text for s in spoken]
    assert call.switches == []


async def test_a_replay_is_late_by_nature_and_no_sign_of_a_slow_engine():
    spoken = speech(VOCABULARY[:18], gap_ms=700)  # each word is a turn
    google, other = two(spoken, second="exact", faults=[Fault("stall")])
    other.delay_ms = 300  # of a replay eight times as fast: more than two seconds of audio
    call = await Call(google, other, FakeEngine("third", spoken)).take(spoken)
    assert call.words == [s.text for s in spoken]
    assert call.switches[0] == ("google", "other", "timeout")
    assert not [metric for metric in call.metrics if metric[0] == "slow"]


async def test_the_longest_speech_without_a_result_is_told_at_the_end_of_the_call():
    spoken = speech(VOCABULARY)
    call = await Call(*two(spoken, second="exact", faults=[Fault("stall", at_ms=1500)])).take(spoken)
    gaps = [value for name, _, value in call.metrics if name == "gap"]
    assert len(gaps) == 1
    assert 2500 <= gaps[0] <= 2800
    healthy = await Call(*two(spoken)).take(spoken)
    assert healthy.metrics[-1][0] == "gap"
    assert healthy.metrics[-1][2] < 700


# --- a new order of engines ---


async def ordered(spoken, plan, *, policy=None, **options):
    """A call with two exact engines; `plan` is (after seconds, engines)."""
    first, second = two(spoken, second="exact", **options)
    second.open_ms = first.open_ms
    call = Call(first, second, policy=policy)

    async def reorder(after_s, engines):
        await anyio.sleep(after_s)
        call.relay.prefer(engines)

    async with anyio.create_task_group() as tasks:
        for after_s, engines in plan:
            tasks.start_soon(reorder, after_s, engines)
        await call.take(spoken)
    assert call.words == [word.text for word in spoken]
    return call, first, second


LATER = [*UTTERANCE, *speech(VOCABULARY[8:12], from_ms=9000), *speech(VOCABULARY[12:16], from_ms=16_000)]


async def test_an_order_that_comes_while_the_first_stream_is_opened_is_followed_at_once():
    call, _, second = await ordered(LATER, [(0.01, ["other"])])
    assert call.switches == [("google", "other", "rollout")]
    assert second.opened[0] < UTTERANCE[0].start_ms


async def test_an_order_for_the_engine_that_hears_the_call_changes_nothing():
    call, first, second = await ordered(LATER, [(1.5, ["google"]), (5, ["google", "other"]), (6, [])])
    assert call.switches == second.opened == []
    assert len(first.opened) == 1


async def test_an_order_that_is_taken_back_before_the_move_is_done_leaves_the_call_where_it_is():
    for after_s in (5.0, 5.05, 5.1, 5.15, 5.21, 5.25, 5.3):
        call, _, second = await ordered(LATER, [(5.0, ["other"]), (after_s, ["google"])], open_ms=400)
        assert call.switches == [], after_s
        assert call.relay.engine == "google"
        assert second.open_now == 0


async def test_in_unbroken_speech_an_order_is_followed_after_its_time_and_loses_nothing():
    spoken = speech(VOCABULARY)
    call, _, second = await ordered(spoken, [(1.5, ["other"])], policy=RelayPolicy(rollout_ms=4000), final_every=4)
    assert call.switches == [("google", "other", "rollout")]
    at = next(time for time, t in zip(call.times, call.told, strict=True) if isinstance(t, EngineSwitched))
    assert 5500 <= at <= 5800
    assert second.opened[0] > 2000, "what was committed is not heard again"


async def test_many_orders_end_where_the_last_one_says():
    plan = [(n * 0.7, [("google", "other")[n % 2]]) for n in range(22)]
    call, _, _ = await ordered(LATER, plan)
    assert call.relay.engine == "other"
    assert len(call.switches) <= 5, "not at every order"


async def test_an_order_for_an_engine_that_is_away_stays_an_order():
    call, _, second = await ordered(LATER, [(4.5, ["other"])])
    assert second.open_now == 0
    refused = [Fault("refuse", stream=0)]
    first, second = two(LATER, second="exact")
    second.faults = refused
    call = Call(first, second)
    call.relay.prefer(["other"])
    await call.take(LATER)
    assert call.words == [word.text for word in LATER]
    assert call.switches[0] == ("other", "google", "unavailable")
    assert call.relay.engine == "other"


# --- more calls than an engine has seats ---


async def test_calls_without_a_seat_are_told_within_a_second_and_blame_nobody():
    google = FakeEngine("google", UTTERANCE, "exact", [Fault("refuse", stream=-1)])
    whisper = FakeEngine("whisper", UTTERANCE, "whole", seats=2)
    breakers = {"google": Breaker(), "whisper": Breaker()}
    calls = [Call(google, whisper, breakers=breakers) for _ in range(6)]
    begun = anyio.current_time()
    async with anyio.create_task_group() as tasks:
        for number, call in enumerate(calls):
            tail_ms = 9000 if number < 2 else 2500  # whoever has a seat keeps it
            tasks.start_soon(lambda call=call, tail_ms=tail_ms: call.take(UTTERANCE, tail_ms=tail_ms))
    assert [call.words for call in calls] == [TEXT, TEXT, [], [], [], []]
    lost = [
        at / 1000 - begun
        for call in calls
        for at, told in zip(call.times, call.told, strict=True)
        if isinstance(told, HearingLost)
    ]
    assert len(lost) == 4, "each once"
    assert max(lost) <= 1
    assert breakers["whisper"].state(0) is State.CLOSED
    refused = [metric for call in calls for metric in call.metrics if metric[1] == "whisper"]
    assert ("failed", "whisper", 1) not in refused
    assert ("refused", "whisper", 1) in refused


async def test_a_call_gets_a_seat_when_one_is_given_back_and_hears_again_what_was_said_meanwhile():
    google = FakeEngine("google", UTTERANCE, "exact", [Fault("refuse", stream=-1)])
    whisper = FakeEngine("whisper", UTTERANCE, "whole", seats=1)
    breakers = {"google": Breaker(), "whisper": Breaker()}
    first, second = Call(google, whisper, breakers=breakers), Call(google, whisper, breakers=breakers)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: first.take(UTTERANCE, tail_ms=0))
        await anyio.sleep(0.1)
        tasks.start_soon(lambda: second.take(UTTERANCE, tail_ms=6000))
    assert second.deaf == 1
    assert second.words == TEXT, "from the tape"
    seated = next(at for told, at in zip(second.told, second.times, strict=True) if isinstance(told, EngineSwitched))
    assert seated - max(first.times) <= 2200


async def test_a_third_engine_is_tried_when_the_second_is_full():
    google = FakeEngine("google", UTTERANCE, "exact", [Fault("refuse", stream=-1)])
    server = FakeEngine("whisper-http", UTTERANCE, "whole", seats=0)
    local = FakeEngine("whisper", UTTERANCE, "whole")
    call = await Call(google, server, local).take(UTTERANCE)
    assert call.words == TEXT
    assert call.deaf == 0
    assert call.switches == [("google", "whisper", "full")]


async def test_an_engine_that_batches_is_woken_for_a_batch_and_rarely_while_nobody_speaks():
    spoken = speech(VOCABULARY[:6], from_ms=6000)
    engine = FakeEngine("google", spoken, batch_ms=150)
    call = Call(engine)
    start = round(anyio.current_time() * 1000)
    paused_at = spoken[-1].end_ms + 80

    async def pause():
        await anyio.sleep(paused_at / 1000)
        call.relay.speech_paused(spoken[-1].end_ms)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pause)
        tasks.start_soon(call.take, spoken)
    assert call.words == [s.text for s in spoken]
    wakes = sorted({at - start for at, _ in engine.writes})

    def gaps(from_ms, to_ms):
        return {b - a for a, b in pairwise(at for at in wakes if from_ms <= at < to_ms)}

    told = spoken[0].start_ms + 100  # the VAD is sure, and its frame has just come
    assert gaps(2500, told) == {400}
    assert told in wakes, "the first word waits for nothing"
    assert gaps(told, spoken[-1].end_ms) == {160}
    assert max(gaps(paused_at, paused_at + 600)) <= 40


@pytest.mark.parametrize("at_ms", range(6000, 8400, 300))
async def test_batches_lose_and_double_no_word_when_a_stream_is_killed(at_ms):
    spoken = speech(VOCABULARY[:8], from_ms=6000)
    first = FakeEngine("google", spoken, faults=[Fault("kill", at_ms=at_ms)], batch_ms=150)
    call = await Call(first, FakeEngine("whisper", spoken, "whole")).take(spoken)
    assert call.words == [s.text for s in spoken]
