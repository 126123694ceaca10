"""The businesses of an installation as a process serves them: what each says now, and who is there.

The first is described by the settings' files; further ones by `BUSINESSES_DIR`/<key>/. What their people publish at the
desk comes before the files. Both are followed while the process runs (`answering.Follower`, `newcomers`).
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
from anyio.abc import TaskGroup, TaskStatus
from sqlalchemy import Engine

from moked.answering import Answers, Voices
from moked.crm.agent_versions import AgentVersions
from moked.crm.businesses import FIRST, Businesses, Known
from moked.crm.service import Crm
from moked.dialog.business import Business
from moked.dialog.published import AgentPlan, AgentTexts, files_of, read_agent
from moked.errors import ProfileError
from moked.settings import Settings

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Practice:
    """One business. `version`: of its plan; 0: the files. `answers`: where calls are taken."""

    id: int
    plan: AgentPlan
    version: int = 0
    answers: Answers | None = None

    @property
    def business(self) -> Business:
        """As it was last published."""
        return self.plan.business

    def person(self) -> str:
        """Who can be offered to a caller right now."""
        business = self.business
        return business.transfer_number if business.is_open(datetime.now(ZoneInfo(business.timezone))) else ""

    def opening(self, at: datetime) -> datetime:
        """When it is next open; `at`, if it is then, or if it never is."""
        return at if self.business.is_open(at) else self.business.next_opening(at) or at

    async def follow(self, plan: AgentPlan) -> None:
        """A new version was published."""
        self.plan = plan
        if self.answers is not None:
            await self.answers.take(plan)

    def take_calls(self, settings: Settings, voices: Voices) -> Answers:
        """Before the voices run; whoever asks enters `Answers.running`."""
        self.answers = Answers(settings, self.plan, voices, self.id)
        return self.answers

    async def join_calls(self, settings: Settings, voices: Voices, tasks: TaskGroup) -> None:
        """The same in a process that serves calls already; `tasks` are its own. Raises what a voice raises that does
        not start."""
        await voices.started(self.id, self.business)
        answers = Answers(settings, self.plan, voices, self.id)
        await tasks.start(_run, answers)
        self.answers = answers


async def _run(answers: Answers, *, task_status: TaskStatus[None]) -> None:
    async with answers.running():
        task_status.started()
        await anyio.sleep_forever()


class Register:
    """The businesses on record, and what is written about each. Never on an event loop."""

    def __init__(self, settings: Settings, engine: Engine, crm: Crm) -> None:
        self._settings = settings
        self._crm = crm
        self._businesses = Businesses(engine)
        self.versions = AgentVersions(engine, files_of(settings.business_profile, settings.agent_script))

    def first(self) -> Practice:
        """The business that the settings describe. Raises `ProfileError`."""
        self.versions.first = _ensure(self._crm, read_agent(self.versions.files))
        practice = self._holding(self.versions.first)
        if practice.version:
            _ensure(self._crm, practice.plan)
        self._crm.openings[practice.id] = practice.opening
        return practice

    def others(self) -> Sequence[Known]:
        """All but the first."""
        return [one for one in self._businesses.all() if one.key != FIRST]

    def open(self, one: Known) -> Practice:
        """One of the others, as it holds now: what was published, else its files. Raises `ProfileError`."""
        try:
            self.versions.others[one.id] = _texts(self._folder(one.key))  # its people see what is wrong
        except ProfileError:
            if not self.versions.version(one.id):
                raise
        practice = self._holding(one.id)
        self._crm.openings[one.id] = practice.opening
        return practice

    def renew(self, practice: Practice, one: Known) -> bool:
        """Whether its files are others by now, and hold, since nothing was published. Raises `ProfileError`."""
        texts = _texts(self._folder(one.key))
        plan = read_agent(texts)
        if texts == self.versions.others.get(one.id):
            return False
        self.versions.others[one.id] = texts
        if self.versions.version(one.id):
            return False
        practice.plan = plan
        return True

    def stamp(self, one: Known) -> tuple[tuple[int, int], ...]:
        """Changes when its files do."""
        return tuple(_stamp(path) for path in _paths(self._folder(one.key)))

    def wrong(self) -> dict[str, str]:
        """What is wrong with each of the others' files, by its key; '' = nothing."""
        found = {}
        for one in self.others():
            try:
                read_agent(_texts(self._folder(one.key)))
                found[one.key] = ""
            except ProfileError as error:
                found[one.key] = str(error)
        return found

    def _holding(self, business_id: int) -> Practice:
        current = self.versions.current(business_id)
        if current.version:
            try:
                return Practice(business_id, read_agent(current.texts), current.version)
            except ProfileError as error:  # of a newer Moked, perhaps
                extra = {"version": current.version, "key": error.key}
                log.error("the published version cannot be used", extra=extra)
        return Practice(business_id, read_agent(self.versions.get(business_id, 0).texts), current.version)

    def _folder(self, key: str) -> Path:
        return self._settings.businesses_root / key


def practices(register: Register) -> dict[int, Practice]:
    """All that can be served, the first one first; what another's files have wrong is for `newcomers` to tell. Raises
    `ProfileError` for the first one's. Never on an event loop."""
    first = register.first()
    found = {first.id: first}
    for one in register.others():
        try:
            found[one.id] = register.open(one)
        except ProfileError:
            continue
    return found


def _ensure(crm: Crm, plan: AgentPlan) -> int:
    business = plan.business
    return crm.ensure_business(business.name, timezone=business.timezone, phone=business.phone)


def _paths(folder: Path) -> tuple[Path, Path]:
    return folder / "business.yaml", folder / "script.yaml"


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _texts(folder: Path) -> AgentTexts:
    profile, script = _paths(folder)
    if not profile.is_file():
        raise ProfileError(f"{profile}: the profile of the business is not there", "missing")
    return files_of(profile, script if script.is_file() else None)
