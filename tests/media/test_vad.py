"""The detector against its contract, on the real network: batches, order, closing, many calls, real words."""

import contextvars
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import numpy as np
import pytest

from moked import audio
from moked.errors import ModelError
from moked.media import vad as module
from moked.media import wakeup
from moked.media.ear import Ear
from moked.media.speech import WINDOW_SAMPLES, SpeechEnded, SpeechPaused, SpeechStarted
from moked.media.vad import CONTEXT, MAX_PENDING, QUIET_WINDOWS, Quiet, SileroVad, VadBatcher

MODEL = Path.home() / ".cache/moked/models/silero-vad/silero_vad.onnx"
WORDS = Path(__file__).resolve().parents[3] / "shared/data/gcompris-he"

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.skipif(not MODEL.exists(), reason=f"the embedded weights are not installed ({MODEL})"),
]


@pytest.fixture(scope="module")
def model():
    return SileroVad(MODEL)


def voice(seed, windows=40):
    """Something that moves the network: vowels and hiss, cut differently for each seed, as the telephone has it."""
    random = np.random.default_rng(seed)
    sound = np.roll(wakeup.vowels(), int(random.integers(0, 20_000)))[: windows * WINDOW_SAMPLES]
    heard = (sound + random.normal(0, 0.003, len(sound))).astype(np.float32)
    return audio.to_float(audio.from_float(heard)).reshape(windows, WINDOW_SAMPLES)


def rows(windows):
    """What is submitted for windows of float32."""
    heard = audio.silence(CONTEXT // 8) + audio.from_float(np.asarray(windows, dtype=np.float32).ravel())
    return [heard[at : at + module.ROW] for at in range(0, len(heard) - CONTEXT, WINDOW_SAMPLES)]


def into(found):
    return lambda probability, level_db: found.append(probability)


SILENT = audio.silence(module.ROW // 8)


def singly(model, windows):
    """One call alone, window by window, straight through the network."""
    state, quiet = model.awake.reshape(2, 1, -1), Quiet()
    tail, found = np.zeros(CONTEXT, dtype=np.float32), []
    for window in windows:
        probability, state = model.infer(np.concatenate([tail, window]).reshape(1, -1), state)
        found.append(float(probability[0]))
        tail = window[-CONTEXT:]
        if quiet.passed(found[-1]):
            state = model.awake.reshape(2, 1, -1)
    return found


@asynccontextmanager
async def batcher(**options):
    opened = VadBatcher(MODEL, **options)
    async with opened.running():
        yield opened
    assert not any(thread.name == "vad" for thread in threading.enumerate())


async def until(condition, seconds=20.0):
    with anyio.fail_after(seconds):
        while not condition():
            await anyio.sleep(0.002)


async def test_a_batch_says_what_single_runs_say(model):
    calls = {seed: voice(seed) for seed in range(12)}
    given = {seed: rows(windows) for seed, windows in calls.items()}
    heard = {seed: [] for seed in calls}
    async with batcher() as vad:
        slots = {seed: vad.open(into(heard[seed])) for seed in calls}
        for i in range(40):
            for seed, some in given.items():
                slots[seed].submit(some[i])
            await until(lambda i=i: all(len(found) > i for found in heard.values()))
        assert vad.stats.largest == 12
        assert vad.stats.dropped == vad.stats.failed == 0
    for seed, windows in calls.items():
        assert heard[seed] == pytest.approx(singly(model, windows), abs=1e-6)
    assert max(heard[0]) > 0.5


async def test_results_come_in_order_when_windows_come_in_bursts(model):
    windows = voice(3, windows=MAX_PENDING)
    heard = []
    async with batcher() as vad:
        slot = vad.open(into(heard))
        for row in rows(windows):
            slot.submit(row)
        await until(lambda: len(heard) == MAX_PENDING)
    assert heard == pytest.approx(singly(model, windows), abs=1e-6)


async def test_the_oldest_window_is_dropped_and_its_place_is_kept(model):
    windows = voice(4, windows=MAX_PENDING + 3)
    heard = []
    async with batcher() as vad:
        slot = vad.open(into(heard))
        for row in rows(windows):
            slot.submit(row)
        await until(lambda: len(heard) == len(windows))
        assert vad.stats.dropped == 3
    assert heard[:3] == [None, None, None]
    assert None not in heard[3:]


async def test_a_closed_slot_hears_nothing_more_and_its_place_is_clean_for_the_next(model):
    windows = voice(5)
    before, after = [], []
    async with batcher() as vad:
        slot = vad.open(into(before))
        for row in rows(windows[:20]):
            slot.submit(row)
        await until(lambda: len(before) >= 5)
        slot.close()  # one of its windows may be running, others wait
        slot.close()
        heard = len(before)
        slot.submit(rows(windows)[0])
        again = vad.open(into(after))
        assert again.index == slot.index
        for row in rows(windows[:20]):
            again.submit(row)
        await until(lambda: len(after) == 20)
        assert len(before) == heard
    assert after == pytest.approx(singly(model, windows[:20]), abs=1e-6)


async def test_two_hundred_calls(model):
    calls = 200
    heard = [[] for _ in range(calls)]
    shared = [voice(seed, windows=10) for seed in range(10)]
    given = [rows(windows) for windows in shared]
    async with batcher(max_batch=48) as vad:
        slots = [vad.open(into(found)) for found in heard]
        assert len({slot.index for slot in slots}) == calls
        for i in range(10):
            for number, slot in enumerate(slots):
                slot.submit(given[number % 10][i])
            await anyio.sleep(0.01)
        await until(lambda: all(len(found) == 10 for found in heard))
        assert vad.stats.largest == 48
        assert vad.stats.windows == 2000
        assert vad.stats.dropped == 0
    expected = [singly(model, windows) for windows in shared]
    for number, found in enumerate(heard):
        assert found == pytest.approx(expected[number % 10], abs=1e-6)


async def test_results_belong_to_the_call_that_asked():
    name = contextvars.ContextVar("name", default="")
    seen = []
    async with batcher() as vad:
        slots = []
        for call in ("a", "b"):
            name.set(call)
            slots.append(vad.open(lambda *_: seen.append(name.get())))
        name.set("nobody")
        for slot in slots:
            slot.submit(SILENT)
        await until(lambda: len(seen) == 2)
    assert seen == ["a", "b"]


async def test_a_call_that_breaks_is_told_so_and_the_others_go_on():
    heard = []

    def broken(probability, level_db):
        raise RuntimeError("this call is broken")

    async with batcher() as vad:
        bad, good = vad.open(broken), vad.open(into(heard))
        for _ in range(3):
            good.submit(SILENT)
        bad.submit(SILENT)
        await until(lambda: len(heard) == 3)
        with pytest.raises(RuntimeError, match="this call is broken"):
            bad.submit(SILENT)


async def test_when_the_network_fails_time_still_passes(monkeypatch, caplog):
    def infer(self, rows, state):
        raise RuntimeError("out of memory")

    heard = []
    async with batcher() as vad:
        monkeypatch.setattr(SileroVad, "infer", infer)
        slot = vad.open(into(heard))
        for _ in range(5):
            slot.submit(SILENT)
        await until(lambda: len(heard) == 5)
        assert vad.stats.failed == 5
    assert heard == [None] * 5
    assert caplog.messages.count("voice activity detection failed") == 1


async def test_windows_wait_a_moment_for_company():
    heard = []
    async with batcher(gather_ms=50) as vad:
        slots = [vad.open(into(heard)) for _ in range(8)]
        for slot in slots:
            slot.submit(SILENT)
            await anyio.sleep(0.001)
        await until(lambda: len(heard) == 8)
        assert vad.stats.batches == 1


async def test_stopping_leaves_nothing_behind():
    heard = []
    async with batcher() as vad:
        slot = vad.open(into(heard))
        for _ in range(10):
            slot.submit(SILENT)
    count = len(heard)
    await anyio.sleep(0.02)
    assert len(heard) == count
    slot.submit(SILENT)
    slot.close()


async def test_a_model_that_is_not_one_is_named(tmp_path):
    path = tmp_path / "silero_vad.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"silero_vad\.onnx"):
        async with VadBatcher(path).running():
            pass


def test_a_call_begins_awake_and_silence_does_not_make_it_deaf(model):
    """What `wakeup` is for: after minutes of quiet line the first word is still heard."""
    random = np.random.default_rng(2)
    quiet = random.normal(0, 10 ** (-68 / 20), 1000 * WINDOW_SAMPLES).astype(np.float32)
    word = wakeup.vowels()[: 20 * WINDOW_SAMPLES] * 4
    found = singly(model, np.concatenate([quiet, word]).reshape(-1, WINDOW_SAMPLES))
    assert max(found[20:1000]) < module.QUIET
    assert max(found[1000:]) > 0.5


def test_quiet_passes_once_a_second():
    quiet = Quiet()
    assert [quiet.passed(0.01) for _ in range(2 * QUIET_WINDOWS)].count(True) == 2
    assert not any(quiet.passed(p) for p in [0.01] * (QUIET_WINDOWS - 1) + [0.5] + [0.01] * (QUIET_WINDOWS - 1))


def decode(path):
    av = pytest.importorskip("av")
    soxr = pytest.importorskip("soxr")
    with av.open(str(path)) as container:
        rate = container.streams.audio[0].rate
        frames = [frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)]
    return soxr.resample(np.concatenate(frames).astype(np.float32), rate, audio.SAMPLE_RATE, quality="HQ")


@pytest.mark.skipif(not WORDS.exists(), reason=f"no recorded Hebrew words in {WORDS}")
async def test_short_hebrew_words_are_heard_after_silence():
    """The shortest recordings, each after two seconds of line noise, through mu-law and the whole ear."""
    names = ("alphabet/U05D5", "alphabet/U05D2", "alphabet/U05D6", "alphabet/U0038", "alphabet/U0031", "colors/red")
    random = np.random.default_rng(11)
    pieces, places, length = [], [], 0
    for name in names:
        word = decode(WORDS / f"{name}.ogg") * 0.25
        pieces += [np.zeros(2 * audio.SAMPLE_RATE, dtype=np.float32), word]
        places.append(((length + 2 * audio.SAMPLE_RATE) // 8, (length + 2 * audio.SAMPLE_RATE + len(word)) // 8))
        length += 2 * audio.SAMPLE_RATE + len(word)
    pieces.append(np.zeros(audio.SAMPLE_RATE, dtype=np.float32))
    sound = np.concatenate(pieces)
    heard = audio.from_float(sound + random.normal(0, 10 ** (-65 / 20), len(sound)).astype(np.float32))
    events = []
    async with batcher(gather_ms=0) as vad:
        ear = Ear(vad.open, events.append)
        for start in range(0, len(heard), 160):
            ear.feed(heard[start : start + 160])
            await until(lambda: ear.judged_ms + 32 > ear.received_ms)
        ear.close()
    events = [event for event in events if not isinstance(event, SpeechPaused)]
    stretches = [(a.at_ms, b.at_ms) for a, b in zip(events[::2], events[1::2], strict=True)]
    assert all(isinstance(e, SpeechStarted) for e in events[::2])
    assert all(isinstance(e, SpeechEnded) for e in events[1::2])
    for name, (start, end) in zip(names, places, strict=True):
        own = [s for s in stretches if s[0] < end and s[1] > start]
        assert len(own) >= 1, name
    assert all(any(s[0] < end and s[1] > start for start, end in places) for s in stretches)
