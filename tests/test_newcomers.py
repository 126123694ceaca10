"""Businesses that come while a process runs: served at the next look, told of by the bus, harmless when broken."""

import logging
from dataclasses import replace
from types import SimpleNamespace

import anyio
import pytest

from moked import newcomers
from moked.bus import MemoryBus
from moked.crm.agent_versions import Published
from moked.crm.businesses import Businesses
from moked.crm.service import Crm
from moked.dialog.published import files_of
from moked.errors import ProfileError
from moked.newcomers import TOPIC, Newcomers
from moked.practice import Register, practices
from tests.databases import _prepared, engine

__all__ = ["_prepared", "engine"]

pytestmark = pytest.mark.anyio

PROFILE = files_of(None, None).profile
SCRIPT = files_of(None, None).script


@pytest.fixture
def place(engine, tmp_path):
    """An installation with its first business, and a way to add others."""
    settings = SimpleNamespace(business_profile=None, agent_script=None, businesses_root=tmp_path / "businesses")
    crm = Crm(engine)

    def add(key, profile=PROFILE):
        folder = settings.businesses_root / key
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "business.yaml").write_text(profile, "utf-8")
        return crm.ensure_business("מרפאה", key=key)

    return SimpleNamespace(register=Register(settings, engine, crm), crm=crm, add=add, all=Businesses(engine).all)


def looking(place, bus=None, join=None):
    served, joined = practices(place.register), []

    async def note(practice):
        joined.append(practice.id)

    return Newcomers(place.register, served, bus or MemoryBus(), join or note), served, joined


async def test_a_business_that_was_added_is_served_once(place):
    there = place.add("haifa")
    found, served, joined = looking(place)
    assert list(served) == [one.id for one in place.all()]
    clinic = place.add("clinic", PROFILE.replace("אורן אינסטלציה", "מרפאת הכרמל"))
    await found.look()
    await found.look()
    assert joined == [clinic]
    assert served[clinic].business.name == "מרפאת הכרמל"
    assert set(place.crm.openings) == {*served}
    assert place.register.versions.current(clinic).texts.profile == place.register.versions.others[clinic].profile
    assert there in served


async def test_a_broken_profile_is_told_once_and_harms_nobody(place, caplog):
    broken = place.add("broken", "name: [")
    found, served, joined = looking(place)
    good = place.add("clinic")
    with caplog.at_level(logging.ERROR, "moked.newcomers"):
        await found.look()
        await found.look()
    assert joined == [good]
    told = [record for record in caplog.records if record.msg == "the profile of a business cannot be used"]
    assert [record.business for record in told] == ["broken"]
    assert await found.need(broken) is None
    wrong = place.register.wrong()
    assert (wrong.pop("clinic"), list(wrong), bool(wrong["broken"])) == ("", ["broken"], True)
    assert place.register.versions.current(broken).texts.profile == "name: ["  # its people see what is wrong
    with pytest.raises(ProfileError):  # and never another business's
        place.register.versions.current(place.crm.ensure_business("בלי תיקייה", key="nowhere"))
    place.add("broken", PROFILE)
    assert (await found.need(broken)).id == broken
    assert broken in served


async def test_a_profile_brought_up_to_date_is_followed_until_something_is_published(place, monkeypatch):
    clinic = place.add("clinic")
    found, served, _ = looking(place)
    place.add("clinic", PROFILE.replace("אורן אינסטלציה", "מרפאת הכרמל"))
    await found.look()
    assert served[clinic].business.name == "מרפאת הכרמל"
    place.add("clinic", "name: [")
    await found.look()
    assert served[clinic].business.name == "מרפאת הכרמל"
    monkeypatch.setattr(place.register.versions, "version", lambda business: 1)
    place.add("clinic", PROFILE.replace("אורן אינסטלציה", "אחרת לגמרי"))
    await found.look()
    assert served[clinic].business.name == "מרפאת הכרמל"


async def test_what_was_published_holds_though_the_file_is_broken(place, monkeypatch):
    clinic = place.add("clinic", "name: [")
    texts = replace(files_of(None, None), profile=PROFILE.replace("אורן אינסטלציה", "מרפאת הכרמל"))
    held = place.register.versions.current
    monkeypatch.setattr(
        place.register.versions, "current", lambda one: Published(4, texts) if one == clinic else held(one)
    )
    _, served, _ = looking(place)
    assert (served[clinic].business.name, served[clinic].version) == ("מרפאת הכרמל", 4)


async def test_what_could_not_be_served_is_tried_again(place, monkeypatch):
    tried = []

    async def join(practice):
        tried.append(practice.id)
        if len(tried) == 1:
            raise OSError("the voice did not start")

    found, served, _ = looking(place, join=join)
    clinic = place.add("clinic")
    await found.look()
    await found.look()
    assert (tried, clinic in served) == ([clinic], False)
    monkeypatch.setattr(newcomers.anyio, "current_time", lambda: 1e12)
    await found.look()
    assert (tried, clinic in served) == ([clinic, clinic], True)


async def test_the_bus_tells_at_once_and_a_database_that_is_away_comes_back(place, monkeypatch):
    monkeypatch.setattr(newcomers, "_POLL_S", 3600)
    bus, told = MemoryBus(), anyio.Event()

    async def join(practice):
        told.set()

    found, _, _ = looking(place, bus, join)
    others = place.register.others
    monkeypatch.setattr(place.register, "others", lambda: 1 / 0)
    await found.look()
    monkeypatch.setattr(place.register, "others", others)
    async with bus.running(), anyio.create_task_group() as tasks:
        tasks.start_soon(found.run)
        await anyio.wait_all_tasks_blocked()
        await anyio.to_thread.run_sync(place.add, "clinic")
        bus.publish(TOPIC, "business.changed", {})
        with anyio.fail_after(5):
            await told.wait()
        tasks.cancel_scope.cancel()


def test_the_first_business_must_be_readable(place, monkeypatch):
    monkeypatch.setattr(place.register.versions, "files", files_of(None, None).__class__("name: [", SCRIPT, "{facts}"))
    with pytest.raises(ProfileError):
        practices(place.register)
