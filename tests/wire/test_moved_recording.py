"""A recorded call that moves to another process in the middle: one recording, with everything in its place."""

import signal
from contextlib import AsyncExitStack

import anyio
import pytest
from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.audio import SAMPLES_PER_MS, from_pcm16
from moked.crm import db
from moked.crm.sealed import Sealer
from moked.crm.tables_privacy import Recording, RecordingPart
from moked.recording.archive import Archive
from moked.settings import read_keys
from moked.simulate.caller import SimulatedCall
from moked.simulate.scenario import HangUp, Say
from tests.wire.test_migration import moved, office, turns
from tests.wire.test_recorded_calls import sides
from tests.wire.voices import says

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LINES = ("קוראים לי דני כהן ויש לי נזילה", "כן", "מחר בבוקר", "כן תודה")
_AWAY_MS = 400
"""How far a sound may be from where the carrier's end had it: what lay in buffers when the stream was opened."""


async def test_a_call_that_moves_has_one_recording_without_a_break_but_the_move(tmp_path):
    async with AsyncExitStack() as stack:
        place, media = await office(stack, "sqlite", tmp_path / "moved", recordings="on")
        call = SimulatedCall([*(Say(audio=says(line)) for line in LINES), HangUp("agent_done")], place.setup(1))
        results = []

        async def run():
            results.append(await call.run())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            await place.until(call, lambda report: turns(report) >= 1)
            first = next(one for one in media if "call connected" in one.messages)
            first.signal(signal.SIGTERM)
            assert await first.exit_code(within_s=20) == 0, first.output
        await place.until(call, lambda report: report["ended"])
        (result,), report = results, await place.report(call)
        assert [move["why"] for move in moved(report)] == ["moving"]

        engine = db.connect(place.values["database_url"])
        stack.callback(engine.dispose)
        data = place.values["data_dir"]
        archive = Archive(engine, Sealer(*read_keys((data / "data_key").read_text().strip())), data / "recordings")
        with anyio.fail_after(20):
            while list(archive.live.glob("*")):
                await to_thread.run_sync(archive.keeper.round)
                await anyio.sleep(0.05)

        with Session(engine) as session:
            (recording,) = session.scalars(select(Recording)).all()
            parts = session.scalars(select(RecordingPart).order_by(RecordingPart.stream)).all()
            recorded = archive.library.find(recording.business_id, call.call_sid)
        assert [(part.stream, part.token) for part in parts] == [(0, recording.token), (1, recording.token)]
        gap = [parts[0].at + parts[0].samples, parts[1].at]
        assert 0 <= gap[1] - gap[0] <= (max(result.gaps_ms) + 2 * _AWAY_MS) * SAMPLES_PER_MS

        caller, agent = sides(recorded)
        assert not caller[gap[0] : gap[1]].any()
        assert not agent[gap[0] : gap[1]].any()
        away = _AWAY_MS + result.late_ms
        left, right = from_pcm16(caller.tobytes()), from_pcm16(agent.tobytes())
        began = [at for at, _ in result.said]
        assert began[0] < result.streams[0].ended_ms < began[-1], "words of the caller's before the move and after it"
        for at, audio in result.said:
            middle = len(audio) // 2
            found = left.find(audio[middle : middle + 800])
            assert found >= 0, "every line is on it"
            assert abs((found - middle) // SAMPLES_PER_MS - at) < away, (at, found)
        heard = [one for one in result.heard if len(one.audio) > 4000]
        assert any(one.start_sample > gap[1] for one in heard)
        for one in (heard[0], heard[-1]):
            found = right.find(one.audio[1600:2400])
            assert found >= 0, "what was heard of the agent is on it"
            assert abs(found - 1600 - one.start_sample) // SAMPLES_PER_MS < away
        assert abs(recorded.duration_ms - result.streams[-1].ended_ms) < away + 1000
