"""The spool: what is on disk while a call runs, after it, and after a crash."""

import os
import subprocess
import sys
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moked import spool
from moked.crm.sealed import Sealer
from moked.spool import LONGEST_MS, Spool, take, utterances

SEALER = Sealer(bytes(32))
SECOND = b"\x55" * 8000


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "spool"


def test_a_call_leaves_its_audio_and_marks_for_one_reader(folder):
    store = Spool(folder, SEALER, longest_ms=60_000)
    with store.running():
        call = store.call("CA1")
        call.feed(SECOND * 2)
        call.mark(True, 500)
        call.mark(False, 1500)
        call.feed(SECOND)
        call.close()
        call.feed(SECOND)  # late
    (path,) = spool.left(folder)
    assert (path.name, path.stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == ("CA1.sealed", 0o600, 0o700)
    with take(path, SEALER) as found, take(path, SEALER) as other:
        assert (found.call_sid, found.audio, found.utterances) == ("CA1", SECOND * 3, ((200, 1700),))
        assert found.cut(200, 300) == SECOND[:800]
        assert other is None
        spool.delete(path)
    assert list(folder.iterdir()) == []
    with take(path, SEALER) as gone:
        assert gone is None


def test_nobody_reads_a_call_that_still_runs(folder):
    store = Spool(folder, SEALER, longest_ms=60_000)
    with store.running():
        call = store.call("CA1")
        call.feed(SECOND)
        wait_for(lambda: spool.left(folder) and spool.left(folder)[0].stat().st_size)
        with take(spool.left(folder)[0], SEALER) as found:
            assert found is None
    with take(spool.left(folder)[0], SEALER) as found:
        assert found is not None


@pytest.mark.parametrize("when", [0, 1, 5])
def test_a_discarded_call_leaves_nothing(folder, when):
    store = Spool(folder, SEALER, longest_ms=60_000)
    with store.running():
        call = store.call("CA1")
        for _ in range(when):
            call.feed(SECOND)
        call.discard()
        call.feed(SECOND)
        call.close()
    assert list(folder.iterdir()) == []


def test_a_call_is_kept_up_to_its_bound(folder):
    store = Spool(folder, SEALER, longest_ms=2500)
    with store.running():
        call = store.call("CA1")
        for _ in range(5):
            call.feed(SECOND)
        call.close()
    assert length(spool.left(folder)[0]) == 2500 * 8


def test_a_name_that_is_no_call_sid_makes_no_file(folder):
    store = Spool(folder, SEALER, longest_ms=2500)
    with store.running():
        call = store.call("../../etc/passwd")
        call.feed(SECOND)
        call.close()
    assert list(folder.iterdir()) == []


def test_a_second_stream_of_a_call_leaves_the_first_ones_audio_alone(folder):
    store = Spool(folder, SEALER, longest_ms=60_000)
    with store.running():
        first = store.call("CA1")
        first.feed(SECOND)
        first.close()
        wait_for(lambda: spool.left(folder) and spool.left(folder)[0].stat().st_size)
        second = store.call("CA1")
        second.feed(SECOND * 2)
        second.close()
    (path,) = spool.left(folder)
    assert length(path) == 8000


def test_what_a_killed_process_leaves_can_be_taken(folder):
    program = f"""
import os, time
from pathlib import Path
from moked import spool
from moked.crm.sealed import Sealer
folder = Path({str(folder)!r})
store = spool.Spool(folder, Sealer(bytes(32)), longest_ms=60000)
with store.running():
    call = store.call("CA9")
    call.mark(True, 100)
    call.feed(b"x" * 16000)
    while not spool.left(folder) or not (folder / "CA9.marks").exists() or not (folder / "CA9.marks").stat().st_size:
        time.sleep(0.01)
    os._exit(9)
"""
    assert subprocess.run([sys.executable, "-c", program], env=os.environ, check=False).returncode == 9
    (path,) = spool.left(folder)
    with take(path, SEALER) as found:
        assert (found.call_sid, len(found.audio), found.utterances) == ("CA9", 16_000, ((0, 2000),))


def length(path):
    with take(path, SEALER) as found:
        return len(found.audio)


def test_nothing_readable_is_on_the_disk(folder):
    store = Spool(folder, SEALER, longest_ms=60_000)
    folder.mkdir()
    (folder / "CA0.ulaw").write_bytes(SECOND)  # of an older version
    with store.running():
        call = store.call("CA1")
        call.feed(SECOND * 3)
        call.close()
    (path,) = spool.left(folder)
    assert not any(SECOND[:64] in one.read_bytes() for one in folder.iterdir())
    assert length(path) == 24_000
    with take(path, Sealer(b"k" * 32)) as other:
        assert other.audio == b""


def wait_for(condition):
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("it did not happen")


Marks = st.lists(st.builds("{}{}".format, st.sampled_from("+-"), st.integers(0, 100_000)), max_size=20)


@given(Marks, st.integers(0, 100_000))
def test_utterances_are_within_the_audio_and_short_whatever_the_marks_say(marks, length):
    for start, end in utterances(marks, length):
        assert 0 <= start < end <= length
        assert end - start <= LONGEST_MS


@given(st.lists(st.integers(1, 30_000), max_size=20))
def test_utterances_of_a_call_are_in_order_and_hold_all_its_speech(steps):
    at, marks, spoken = 0, [], []
    for number, step in enumerate(steps):
        marks.append(f"{'-' if number % 2 else '+'}{at + step}")
        if number % 2:
            spoken.append((at, at + step))
        at += step
    found = utterances(marks, at + 1000)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
    for start, end in spoken:
        inside = [(max(start, a), min(end, b)) for a, b in found if a < end and b > start]
        assert sum(b - a for a, b in inside) == end - start


def test_half_a_mark_is_none():
    assert utterances(["+1000", "-20x", "", "-2000"], 5000) == ((700, 2200),)
