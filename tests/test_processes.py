"""The supervisor: who is started with what and when, on virtual time with processes that die as they are told."""

import signal

import anyio
import pytest

from moked import processes
from moked.processes import BAD_SETTINGS, Member, Supervisor, adopt, choose_ports, delay_s, plan, ports_needed, spill
from moked.settings import Settings
from tests.virtual_time import VIRTUAL_TIME

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend():
    return VIRTUAL_TIME


def settings(**values):
    return Settings(_env_file=None, **values)


# --- the plan


def test_everything_is_an_office_and_numbered_media_processes():
    members = plan(settings(), "all", "127.0.0.1", [80, 81, 82], 2)
    assert [member.name for member in members] == ["office", "media 1", "media 2"]
    assert [member.url for member in members] == [f"http://127.0.0.1:{port}" for port in (80, 81, 82)]
    assert members[2].arguments[-6:] == ("--host", "127.0.0.1", "--port", "82", "--number", "2")
    assert {member.environment["PUBLIC_BASE_URL"] for member in members} == {"http://127.0.0.1:80"}
    assert members[2].environment["MEDIA_PUBLIC_URL"] == "http://127.0.0.1:82"


def test_behind_a_proxy_the_public_addresses_stay_as_they_are_set():
    public = settings(public_base_url="https://phone.example.com")
    for member in plan(public, "media", "0.0.0.0", [90, 91], 2):
        assert member.environment["PUBLIC_BASE_URL"] == "https://phone.example.com"
        assert "MEDIA_PUBLIC_URL" not in member.environment
        assert member.url.startswith("http://127.0.0.1:9")


def test_a_local_whisper_is_not_multiplied_by_the_processes():
    (first, _) = plan(settings(), "media", "127.0.0.1", [90, 91], 2)
    assert first.environment["WHISPER_WORKERS"] == "1"
    (first, _) = plan(settings(whisper_workers=3), "media", "127.0.0.1", [90, 91], 2)
    assert "WHISPER_WORKERS" not in first.environment


def test_ports_follow_the_first_or_are_free_ones():
    assert choose_ports("127.0.0.1", 8080, ports_needed("all", 3)) == [8080, 8081, 8082, 8083]
    assert len(set(choose_ports("127.0.0.1", 0, ports_needed("media", 3)))) == 3


def test_who_dies_soon_again_and_again_waits_longer():
    waits = [delay_s(deaths, 1.0) for deaths in range(1, 10)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.5, 30.0)
    assert delay_s(1, 3600.0) == 0.0


# --- what a process leaves behind


def test_records_of_processes_that_are_no_more_go_to_the_first(tmp_path):
    for number in (0, 1, 2, 3):
        spill(tmp_path, number).write_text(f"{number}\n")
    adopt(tmp_path, 2)
    assert sorted((tmp_path / "spill-1.jsonl").read_text().split()) == ["0", "1", "3"]
    assert (tmp_path / "spill-2.jsonl").read_text() == "2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["spill-1.jsonl", "spill-2.jsonl"]
    adopt(tmp_path, 0)  # back to a single process
    assert [path.name for path in tmp_path.iterdir()] == ["spill.jsonl"]
    assert len((tmp_path / "spill.jsonl").read_text().split()) == 4


# --- the supervisor


class Process:
    """Lives until it is signalled or `dies`."""

    def __init__(self, member, pid):
        self.member, self.pid = member, pid
        self.signals = []
        self.killed = False
        self.deaf = False
        self._code = None
        self._over = anyio.Event()

    async def wait(self):
        await self._over.wait()
        return self._code

    def dies(self, code):
        self._code = code
        self._over.set()

    def send_signal(self, number):
        self.signals.append(number)
        if not self.deaf:
            self.dies(0)

    def kill(self):
        self.killed = True
        self.dies(-9)


class Host:
    """`reached` takes `starts_s` for a path."""

    def __init__(self):
        self.started = []
        self.starts_s = {"/healthz": 2.0, "/readyz": 30.0}
        members = [Member("office", ("serve",), "http://h:1")]
        members += [Member(f"media {n}", ("serve", "--number", str(n)), f"http://h:{n + 1}") for n in (1, 2)]
        self.settled_at = None
        self.supervisor = Supervisor(members, drain_s=5, spawn=self.spawn, reached=self.reached, settled=self.settled)

    def settled(self):
        self.settled_at = anyio.current_time()

    async def spawn(self, member):
        process = Process(member, len(self.started) + 100)
        self.started.append((anyio.current_time(), process))
        return process

    async def reached(self, member, path):
        assert member.name == "media 1"
        await anyio.sleep(self.starts_s[path])

    def times(self, name):
        return [round(at - self.began, 3) for at, process in self.started if process.member.name == name]

    def last(self, name):
        return [process for _, process in self.started if process.member.name == name][-1]

    async def run(self, scene):
        self.began = anyio.current_time()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.supervisor.run)
            await scene()


async def test_the_web_waits_for_the_first_media_process_and_the_rest_for_its_phrases():
    host = Host()

    async def scene():
        await anyio.sleep(40)
        host.supervisor.stop()

    await host.run(scene)
    assert (host.times("media 1"), host.times("office"), host.times("media 2")) == ([0.0], [2.0], [32.0])
    assert host.settled_at - host.began == pytest.approx(2.0)
    assert all(process.signals == [signal.SIGTERM] for _, process in host.started)
    assert not host.supervisor.failed


async def test_one_that_dies_is_started_again_later_each_time():
    host = Host()

    async def scene():
        await anyio.sleep(40)
        for _ in range(3):
            host.last("media 2").dies(-9)
            await anyio.sleep(3)
        await anyio.sleep(100)
        host.last("media 2").dies(1)  # it had settled
        await anyio.sleep(1)
        host.supervisor.stop()

    await host.run(scene)
    assert host.times("media 2") == [32.0, 40.5, 44.0, 48.0, 149.0]
    assert len(host.times("media 1")) == len(host.times("office")) == 1


async def test_one_that_cannot_start_as_it_is_told_ends_all():
    host = Host()

    async def scene():
        await anyio.sleep(5)
        host.last("office").dies(BAD_SETTINGS)

    await host.run(scene)
    assert host.supervisor.failed
    assert host.last("media 1").signals == [signal.SIGTERM]
    assert len(host.started) == 2


async def test_who_does_not_end_is_killed_after_the_drain():
    host = Host()

    async def scene():
        await anyio.sleep(40)
        host.last("media 1").deaf = True
        host.supervisor.stop()
        host.supervisor.stop()  # a second signal is passed on

    await host.run(scene)
    stubborn = host.last("media 1")
    assert stubborn.signals == [signal.SIGTERM] * 2
    assert stubborn.killed
    assert anyio.current_time() - host.began == pytest.approx(40 + 5 + processes._MORE_THAN_DRAIN_S, abs=1)


async def test_stopping_while_it_starts_starts_nothing_more():
    host = Host()

    async def scene():
        await anyio.sleep(1)
        host.supervisor.stop()

    await host.run(scene)
    assert [process.member.name for _, process in host.started] == ["media 1"]
