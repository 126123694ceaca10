"""The businesses of an installation as a process serves them: what each says now, and who is there.

The first is described by the settings' files; further ones by `BUSINESSES_DIR`/<key>/. What their people publish at the
desk comes before the files, and is followed while the process runs (`answering.Follower`).
"""

import logging
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy import Engine

from moked.answering import Answers, Voices
from moked.crm.agent_versions import AgentVersions
from moked.crm.businesses import FIRST, Businesses
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
        self.answers = Answers(settings, self.plan, voices, self.id)
        return self.answers


def practices(settings: Settings, engine: Engine, crm: Crm) -> tuple[AgentVersions, dict[int, Practice]]:
    """All of them, the first one first. Raises `ProfileError`. Never on an event loop."""
    files = files_of(settings.business_profile, settings.agent_script)
    first = _ensure(crm, read_agent(files))
    others = {
        known.id: _files_of(settings, known.key) for known in Businesses(engine).all() if known.key != FIRST
    }  # in the order they were added
    versions = AgentVersions(engine, files, others)
    found = {first: _published(crm, versions, first, files)}
    for business_id, texts in others.items():
        found[business_id] = _published(None, versions, business_id, texts)
    crm.openings.update({one.id: one.opening for one in found.values()})
    return versions, found


def _ensure(crm: Crm, plan: AgentPlan) -> int:
    business = plan.business
    return crm.ensure_business(business.name, timezone=business.timezone, phone=business.phone)


def _files_of(settings: Settings, key: str) -> AgentTexts:
    folder = settings.businesses_root / key
    profile, script = folder / "business.yaml", folder / "script.yaml"
    if not profile.is_file():
        raise ProfileError(f"{profile}: the profile of the business {key!r} is not there", "missing")
    return files_of(profile, script if script.is_file() else None)


def _published(crm: Crm | None, versions: AgentVersions, business_id: int, files: AgentTexts) -> Practice:
    """What holds. `crm`: is told the name and the time zone of the business that the settings describe."""
    current = versions.current(business_id)
    plan = read_agent(files)
    if current.version == 0:
        return Practice(business_id, plan)
    try:
        plan = read_agent(current.texts)
    except ProfileError as error:  # of a newer Moked, perhaps
        log.error("the published version cannot be used", extra={"version": current.version, "key": error.key})
    else:
        if crm is not None:
            _ensure(crm, plan)
    return Practice(business_id, plan, current.version)
