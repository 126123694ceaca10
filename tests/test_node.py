"""A media process that reports itself: as it is, without harm when the database is away, and before it drains."""

import anyio
import anyio.lowlevel
import pytest

from moked.crm.places import NodeReport
from moked.node import Node
from moked.pressure import Level, Pressure
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


class Office:
    """What a node asks of the record."""

    def __init__(self):
        self.reports, self.forgotten, self.away, self.awaited = [], [], False, 0

    def report_node(self, report):
        if self.away:
            raise OSError("disk I/O error")
        self.reports.append(report)

    def forget_node(self, name):
        self.report_node(None)
        self.forgotten.append(name)

    def awaited_calls(self, name):
        self.awaited -= 1
        return max(0, self.awaited)


@pytest.fixture
def office(monkeypatch):
    async def at_once(run, *arguments, abandon_on_cancel):
        assert abandon_on_cancel  # a stuck database must not hold up the end of the process
        await anyio.lowlevel.checkpoint()
        return run(*arguments)

    monkeypatch.setattr("moked.node.to_thread.run_sync", at_once)  # no thread keeps virtual time
    return Office()


@pytest.fixture
def node(office):
    return Node(office, Pressure(0.03), address=lambda: "wss://a/media/twilio", active=lambda: 3, capacity=7)


async def test_it_tells_how_it_is_every_second_whatever_the_database_does(office, node, caplog):
    with anyio.move_on_after(3.5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(node.beat)
            await anyio.sleep(0.5)
            office.away = True
            await anyio.sleep(1)
            office.away = False
            node._pressure.level, node._pressure.p95_s = Level.FULL, 0.0401
            await anyio.sleep(9)
    first, *_, last = office.reports
    assert first == NodeReport(node.name, "wss://a/media/twilio", 7, active=3)
    assert (last.accepting, last.lag_ms) == (False, 40)
    assert len(office.reports) == 3
    assert caplog.messages.count("the media process could not report itself") == 1


async def test_every_start_is_another_node(office, node):
    again = Node(office, Pressure(0.03), address=str, active=int, capacity=1)
    assert again.name != node.name
    assert len(node.name) <= 64


async def test_it_drains_when_the_calls_it_was_promised_have_come(office, node):
    office.awaited = 4
    began = anyio.current_time()
    await node.drain(30)
    assert [report.draining for report in office.reports] == [True]
    assert 0.25 < anyio.current_time() - began < 0.5
    office.awaited = 10**6  # whose streams never come
    began = anyio.current_time()
    await node.drain(30)
    assert anyio.current_time() - began == pytest.approx(2)
    await node.leave()
    assert office.forgotten == [node.name]
    office.away = True
    await node.leave()
