"""The journal: in order, off the loop, and nothing lost when the database is away or the queue is full."""

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import anyio
import pytest

from moked.media import journal as journal_module
from moked.media import journal as module
from moked.media.journal import QUEUE_BOUND, Journal
from moked.records import CallEnd, FieldSource, LeadDraft, Outcome, TurnRecord, Waterfall

TURN = TurnRecord(
    number=1,
    caller_text="שלום",
    said="היי",
    heard="היי",
    cut=False,
    started_ms=10,
    ended_ms=20,
    waterfall=Waterfall(speech_end_ms=5, sent_ms=9),
)
LEAD = LeadDraft(name="דנה", sources={"name": FieldSource(1, "אני דנה", 0.9)})
END = CallEnd(
    call_sid="CA1",
    outcome=Outcome.COMPLETED,
    detail="done",
    duration_ms=1000,
    lead=LEAD,
    engines=("google",),
    ended_at=datetime(2026, 11, 22, tzinfo=UTC),
)


class Store:
    def __init__(self):
        self.got, self.away, self.threads, self.beats = [], 0, set(), []

    def _take(self, *item):
        self.threads.add(threading.current_thread())
        if self.away:
            self.away -= 1
            raise ConnectionError("the database is away")
        self.got.append(item)

    def add_turn(self, sid, turn, lead=None):
        self._take("turn", sid, turn, lead)

    def add_event(self, sid, kind, data):
        self._take("event", sid, kind, data)

    def finish_call(self, end):
        self._take("end", end)

    def touch(self, sids):
        self.beats.append(tuple(sids))


@pytest.fixture
def store(monkeypatch):
    monkeypatch.setattr(journal_module, "_RETRY_DELAYS", (0.01, 0.01))
    return Store()


async def test_records_are_written_in_order_as_they_were_and_off_the_loop(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    async with journal.running():
        journal.put_turn("CA1", TURN, LEAD)
        journal.put_event("CA1", "dtmf", {"at_ms": 3})
        journal.put_end(END)
        await journal.flush()
        assert store.got == [("turn", "CA1", TURN, LEAD), ("event", "CA1", "dtmf", {"at_ms": 3}), ("end", END)]
    assert threading.main_thread() not in store.threads
    assert not (tmp_path / "spill.jsonl").exists()


async def test_a_short_absence_of_the_database_is_waited_out(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    store.away = 2
    async with journal.running():
        journal.put_turn("CA1", TURN, LEAD)
        journal.put_end(END)
    assert [item[0] for item in store.got] == ["turn", "end"]


async def test_what_cannot_be_written_is_spilt_and_written_at_the_next_start(store, tmp_path):
    spilt = []
    store.away = 10**6
    spill = tmp_path / "new" / "spill.jsonl"
    journal = Journal(store, spill, on_spill=lambda: spilt.append(1))
    async with journal.running():
        journal.put_turn("CA1", TURN, LEAD)
        journal.put_end(END)
    assert len(spilt) == 2
    assert [json.loads(line)["kind"] for line in spill.read_text(encoding="utf-8").splitlines()] == ["turn", "end"]
    store.away = 0
    async with Journal(store, spill).running():
        assert store.got == [("turn", "CA1", TURN, LEAD), ("end", END)]
    assert list(spill.parent.iterdir()) == []


async def test_a_full_queue_spills_and_the_rest_goes_on(store, tmp_path):
    spill = tmp_path / "spill.jsonl"
    journal = Journal(store, spill)
    async with journal.running():
        for number in range(QUEUE_BOUND + 50):  # no step of the loop in between: the writer cannot run
            journal.put_turn("CA1", replace(TURN, number=number), LEAD)
    assert len(store.got) + len(spill.read_text(encoding="utf-8").splitlines()) == QUEUE_BOUND + 50


async def test_of_a_turn_that_waits_in_versions_the_newest_is_written(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    other = replace(TURN, number=2)
    async with journal.running():
        for ended in (20, 30, 40):  # no step of the loop in between
            journal.put_turn("CA1", replace(TURN, ended_ms=ended), LEAD)
            journal.put_turn("CA2", replace(TURN, ended_ms=ended), LEAD)
        journal.put_turn("CA1", other, LEAD)
        journal.put_end(END)
    newest = replace(TURN, ended_ms=40)
    assert [item[:3] for item in store.got[:-1]] == [
        ("turn", "CA1", newest),
        ("turn", "CA2", newest),
        ("turn", "CA1", other),
    ]
    assert store.got[-1] == ("end", END)


async def test_a_version_that_comes_a_moment_later_is_waited_for_but_not_by_who_flushes(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    async with journal.running(), anyio.create_task_group() as tasks:
        journal.put_turn("CA1", TURN, LEAD)
        for _ in range(20):  # the writer has it by now
            await anyio.sleep(0)
        journal.put_turn("CA1", replace(TURN, ended_ms=40), LEAD)
        tasks.start_soon(journal.flush)
    assert [item[:3] for item in store.got] == [("turn", "CA1", replace(TURN, ended_ms=40))]


async def test_of_many_who_flush_none_waits_for_company(store, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COMPANY_S", 3600)
    journal = Journal(store, tmp_path / "spill.jsonl")

    async def end(number):
        journal.put_turn(f"CA{number}", TURN, LEAD)
        await journal.flush()

    with anyio.fail_after(60):
        async with journal.running(), anyio.create_task_group() as tasks:
            for number in range(30):  # each flush is a batch of its own
                tasks.start_soon(end, number)
    assert len(store.got) == 30


async def test_what_was_spilt_is_written_when_the_database_is_back(store, tmp_path):
    spill = tmp_path / "spill.jsonl"
    journal = Journal(store, spill)
    store.away = 3 + 1  # all tries of the turn, and the first of its end
    async with journal.running(heartbeat_s=0.02):
        journal.put_turn("CA1", TURN, LEAD)
        journal.put_end(END)
        with anyio.fail_after(5):
            while len(store.got) < 2:
                await anyio.sleep(0.01)
        assert [item[0] for item in store.got] == ["end", "turn"]
        with anyio.fail_after(5):
            while list(tmp_path.iterdir()):
                await anyio.sleep(0.01)


async def test_a_record_that_can_never_be_written_holds_up_no_other(store, tmp_path):
    spill = tmp_path / "spill.jsonl"
    take = store._take

    def refuse(*item):
        if item[1] == "CA-bad":
            raise ValueError("never")
        take(*item)

    store._take = refuse
    store.away = 10**6
    journal = Journal(store, spill)
    async with journal.running(heartbeat_s=0.02):
        for sid in ("CA-bad", "CA1", "CA2"):
            journal.put_turn(sid, TURN, LEAD)
        await journal.flush()
        store.away = 0
        with anyio.fail_after(5):
            while len(store.got) < 2:
                await anyio.sleep(0.01)
    assert [item[1] for item in store.got] == ["CA1", "CA2"]
    assert [json.loads(line)["call_sid"] for line in spill.read_text(encoding="utf-8").splitlines()] == ["CA-bad"]


async def test_everything_queued_is_written_although_the_process_is_being_cancelled(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    async with anyio.create_task_group() as tasks:

        async def serve():
            async with journal.running():
                for number in range(20):
                    journal.put_turn("CA1", replace(TURN, number=number), LEAD)
                await anyio.sleep_forever()

        tasks.start_soon(serve)
        await anyio.sleep(0)
        await anyio.sleep(0.05)
        tasks.cancel_scope.cancel()
    assert len(store.got) == 20
    journal.put_end(END)  # after the end nothing is lost either
    assert (tmp_path / "spill.jsonl").exists()


async def test_live_calls_have_a_heartbeat(store, tmp_path):
    journal = Journal(store, tmp_path / "spill.jsonl")
    async with journal.running(heartbeat_s=0.01):
        async with journal.call("CA1"), journal.call("CA2"):
            with anyio.fail_after(5):
                while ("CA1", "CA2") not in store.beats:
                    await anyio.sleep(0.01)
        store.beats.clear()
        await anyio.sleep(0.05)
        assert ("CA1", "CA2") not in store.beats
