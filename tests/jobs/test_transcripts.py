"""Transcripts after the call: from spooled files to segments, one at a time, never lost by a failure."""

import os
import time
from functools import partial

import anyio
import pytest

from moked import spool
from moked.crm.sealed import Sealer
from moked.jobs.transcripts import transcribe
from moked.records import Segment
from moked.spool import Spool

pytestmark = pytest.mark.anyio
SEALER = Sealer(bytes(32))
SPEECH = b"\x22" * 8000


class Ear:
    name = "whisper"
    free = True

    def __init__(self, *answers):
        self.answers = list(answers)
        self.heard = 0

    async def hear(self, audio, expect=""):
        self.heard += 1
        await anyio.sleep(0)
        return self.answers.pop(0) if self.answers else "עוד"


class Archive:
    def __init__(self):
        self.stored = {}
        self.away = 0

    def store_transcript(self, sid, segments):
        if self.away:
            self.away -= 1
            raise OSError("no database")
        self.stored[sid] = list(segments)
        return True


def call_of(folder, sid, seconds=6, spoken=((1000, 2000), (3000, 4000))):
    store = Spool(folder, SEALER, longest_ms=60_000)
    with store.running():
        call = store.call(sid)
        for _ in range(seconds):
            call.feed(SPEECH)
        for start, end in spoken:
            call.mark(True, start)
            call.mark(False, end)
        call.close()


async def until(condition, folder, ear, archive, **options):
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(transcribe, folder, ear, archive, SEALER, every_s=0.01, **options))
        with anyio.fail_after(10):
            while not condition():
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


async def test_a_call_is_written_utterance_by_utterance_and_its_audio_deleted(tmp_path):
    call_of(tmp_path, "CA1")
    call_of(tmp_path, "CA2", spoken=())
    archive = Archive()
    await until(lambda: not spool.left(tmp_path), tmp_path, Ear("שלום", " "), archive)
    assert archive.stored == {"CA1": [Segment(700, 2200, "caller", "שלום", "whisper")], "CA2": []}
    assert list(tmp_path.iterdir()) == []


async def test_an_engine_that_fails_and_a_database_that_is_away_lose_nothing(tmp_path):
    call_of(tmp_path, "CA1")
    archive, ear = Archive(), Ear(None, "שלום", "כן")
    archive.away = 1
    await until(lambda: archive.stored, tmp_path, ear, archive)
    assert [segment.text for segment in archive.stored["CA1"]] == ["עוד", "עוד"]


async def test_a_stop_waits_for_nothing_and_the_next_start_goes_on(tmp_path):
    call_of(tmp_path, "CA1")
    busy, archive = Ear(), Archive()
    busy.free = False
    with anyio.move_on_after(0.3) as stopped:
        await transcribe(tmp_path, busy, archive, SEALER, every_s=0.01)
    assert stopped.cancelled_caught
    assert (busy.heard, len(spool.left(tmp_path))) == (0, 1)
    await until(lambda: not spool.left(tmp_path), tmp_path, Ear(), archive)
    assert "CA1" in archive.stored


async def test_what_nobody_could_transcribe_in_a_day_is_deleted(tmp_path):
    call_of(tmp_path, "CA1")
    (path,) = spool.left(tmp_path)
    long_ago = time.time() - 25 * 3600
    os.utime(path, (long_ago, long_ago))
    ear, archive = Ear(), Archive()
    await until(lambda: not spool.left(tmp_path), tmp_path, ear, archive)
    assert (ear.heard, archive.stored) == (0, {})
