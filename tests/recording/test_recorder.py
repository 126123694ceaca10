"""From a call's frames to a recording that can be played: while it runs, after it, after a crash, and in two
processes."""

import io
import os
import subprocess
import sys
import threading
import wave

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.orm import Session

from moked.audio import to_pcm16
from moked.crm.privacy import REFUSED, write_rules
from moked.crm.privacy_rules import Rules
from moked.crm.recordings import Recordings
from moked.crm.sealed import Sealer
from moked.crm.tables_privacy import Recording
from moked.errors import SealError
from moked.recording.container import SEALED
from tests.recording.conftest import AGENT, CALLER, DATA_KEY

pytestmark = pytest.mark.usefixtures("engine")
CALLER_PCM, AGENT_PCM = (int(np.frombuffer(to_pcm16(one), "<i2")[0]) for one in (CALLER, AGENT))


def heard(recorded):
    """(caller, agent) as numpy arrays, read as a browser reads: in ranges."""
    data = b"".join(recorded.read(at, 10_007) for at in range(0, recorded.size, 10_007))
    with wave.open(io.BytesIO(data)) as read:
        assert read.getnframes() * 4 + 44 == len(data) == recorded.size
        samples = np.frombuffer(read.readframes(read.getnframes()), "<i2").reshape(-1, 2)
    return samples[:, 0], samples[:, 1]


def record(studio, sid, seconds, **options):
    with studio.recorder.running():
        call = studio.recorder.call(studio.open(sid), 0)
        studio.talk(call, seconds, **options)
        call.close()


def test_a_call_is_recorded_and_can_be_played(studio):
    record(studio, "CA1", 3)
    studio.finish("CA1")
    studio.archive.keeper.round()
    assert [name.partition("/")[0] for name in studio.files()] == ["kept"]
    recorded = studio.find("CA1")
    assert (recorded.duration_ms, recorded.channels, recorded.sample_rate) == (3000, 2, 8000)
    caller, agent = heard(recorded)
    assert (caller == CALLER_PCM).all()
    assert (agent[4000:8000] == AGENT_PCM).all()
    assert not agent[:4000].any()
    left, right = recorded.peaks(30)
    assert min(left) > 0.05
    assert [value > 0.05 for value in right[:10]] == [False] * 5 + [True] * 5
    assert studio.archive.library.find(studio.business + 1, "CA1") is None
    assert studio.find("CA2") is None


def test_nothing_of_it_is_readable_without_the_key(studio):
    record(studio, "CA1", 2)
    for name in studio.files():
        path = studio.folder / name
        assert path.stat().st_mode & 0o777 == 0o600
        assert CALLER * 32 not in path.read_bytes()
    with pytest.raises(SealError):
        Recordings(studio.engine, Sealer(b"x" * 32)).find(studio.business, "CA1")


def test_a_call_can_be_heard_while_it_runs(studio):
    with studio.recorder.running():
        call = studio.recorder.call(studio.open("CA1"), 0)
        studio.talk(call, 3)
        wait_for(lambda: studio.files() and (studio.folder / studio.files()[0]).stat().st_size >= 3 * SEALED)
        studio.archive.keeper.round()  # leaves alone what is still written
        assert studio.find("CA1").duration_ms == 3000
        studio.talk(call, 1, since_ms=3000)
        call.close()
    assert studio.find("CA1").duration_ms == 4000


def test_another_process_goes_on_in_the_same_recording(studio):
    first, second = studio.recorder, studio.new_recorder()
    studio.open("CA1")
    with first.running():
        call = first.call("CA1", 0)
        studio.talk(call, 2)
        call.close()
    studio.archive.keeper.round()
    with second.running():
        call = second.call("CA1", 1)
        studio.talk(call, 2, since_ms=4000)
        call.close()
    recorded = studio.find("CA1")
    assert recorded.duration_ms == 6000
    caller, _ = heard(recorded)
    assert not caller[16_000:32_000].any()
    assert (caller[32_000:] == CALLER_PCM).all()
    studio.archive.keeper.round()
    assert (heard(studio.find("CA1"))[0] == caller).all()


def test_a_killed_process_loses_the_last_seconds_at_most(studio, tmp_path):
    """Its file is as the kernel has it; the keeper of the next start completes it."""
    program = f"""
import os, sys
from pathlib import Path
from moked.recording.recorder import Recorder
class Rows:
    def begin(self, sid, stream, at):
        return os.environ["TOKEN"], bytes.fromhex(os.environ["KEY"])
folder = Path({str(studio.archive.live)!r})
recorder = Recorder(folder, Rows())
with recorder.running():
    call = recorder.call("CA1", 0)
    for at in range(0, 3500, 20):
        call.feed(at + 20, {CALLER!r} * 160)
    (path,) = [None]
    while not (found := list(folder.glob("*.rec"))) or found[0].stat().st_size < 3 * {SEALED}:
        pass
    with found[0].open("ab") as torn:
        torn.write(b"half a chunk")
    os._exit(9)
"""
    token, key = studio.archive.rows.begin(studio.open("CA1"), 0, 0)
    environment = {**os.environ, "TOKEN": token, "KEY": key.hex()}
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 9
    studio.archive.keeper.round()
    assert studio.find("CA1").duration_ms == 3000
    assert (heard(studio.find("CA1"))[0] == CALLER_PCM).all()


def test_a_full_queue_costs_a_second_and_the_rest_stays_in_its_place(studio):
    recorder = studio.new_recorder(queued=1)
    call = recorder.call(studio.open("CA1"), 0)
    studio.talk(call, 1)
    studio.talk(call, 1, since_ms=1000)  # nobody writes yet: the queue is full
    with recorder.running():
        wait_for(studio.files)
        studio.talk(call, 1, since_ms=2000)
        call.close()
    assert studio.dropped == [1]
    caller, _ = heard(studio.find("CA1"))
    assert (caller[:8000] == CALLER_PCM).all()
    assert not caller[8000:16_000].any()
    assert (caller[16_000:] == CALLER_PCM).all()


def test_a_business_that_does_not_record_has_no_recordings(studio):
    with Session(studio.engine) as session, session.begin():
        write_rules(session, studio.business, Rules(record=False), studio.crm._clock())
    record(studio, "CA1", 2)
    assert (studio.files(), studio.find("CA1")) == ([], None)


@pytest.mark.parametrize("kept_before", [False, True])
def test_who_refuses_is_not_recorded_from_the_first_second_on(studio, kept_before):
    """Erased here at once, and what an earlier stream of the call has left too."""
    studio.open("CA1")
    with studio.recorder.running():
        if kept_before:
            call = studio.recorder.call("CA1", 0)
            studio.talk(call, 2)
            call.close()
            wait_for(studio.files)
            studio.archive.keeper.round()
        call = studio.recorder.call("CA1", 1)
        studio.talk(call, 3)
        call.erase()
        studio.talk(call, 3, since_ms=3000)
        call.close()
    studio.crm.add_event("CA1", REFUSED, {})
    assert studio.find("CA1") is None
    studio.archive.keeper.round()
    assert studio.files() == []
    record_again = studio.new_recorder()
    with record_again.running():
        call = record_again.call("CA1", 2)
        studio.talk(call, 2)
        call.close()
    assert studio.files() == []


def test_silences_hold_at_once_and_get_into_the_stored_audio(studio):
    record(studio, "CA1", 3)
    studio.archive.keeper.round()
    with Session(studio.engine) as session, session.begin():
        session.execute(update(Recording).values(silences=[[0, 500, 1500], [1, 2500, 9000]]))
    before = heard(studio.find("CA1"))
    assert not before[0][4000:12_000].any()
    assert (before[0][12_000:] == CALLER_PCM).all()
    assert not before[1][20_000:].any()
    assert studio.find("CA1").peaks(30)[0][7] == 0
    studio.archive.keeper.round()
    with Session(studio.engine) as session, session.begin():
        session.execute(update(Recording).values(silences=[]))
    after = heard(studio.find("CA1"))  # from the audio alone
    assert (after[0] == before[0]).all()
    assert (after[1] == before[1]).all()


def test_a_recorder_whose_database_is_away_costs_no_call(studio):
    class Away:
        def begin(self, sid, stream, at):
            raise OSError("no database")

    studio.archive.rows = Away()
    recorder = studio.new_recorder()
    with recorder.running():
        call = recorder.call("CA1", 0)
        studio.talk(call, 3)
        call.close()
    assert studio.files() == []


def test_a_real_key_is_used(studio):
    record(studio, "CA1", 1)
    assert Recordings(studio.engine, Sealer(DATA_KEY)).find(studio.business, "CA1").key != DATA_KEY


def wait_for(condition):
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it did not happen")


def test_what_is_less_than_a_second_is_there_too(studio):
    with studio.recorder.running():
        call = studio.recorder.call(studio.open("CA1"), 0)
        for at in range(0, 2540, 20):
            call.feed(at + 20, CALLER * 160)
        call.close()
    assert studio.find("CA1").duration_ms == 2540
    studio.archive.keeper.round()
    assert studio.find("CA1").duration_ms == 2540
    assert (heard(studio.find("CA1"))[0] == CALLER_PCM).all()
