"""What the agent says, version by version: published by people at the desk, followed by the processes that take calls.

The newest version holds. Before the first, and for a server whose owner keeps to files, the files do (`files`). What
cannot be read is refused here, whoever asks: no process ever meets a broken script.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from moked.crm import audit
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.models import Business
from moked.crm.tables_pages import AgentVersion
from moked.dialog.published import AgentTexts, Part, read_agent
from moked.errors import ProfileError

_HISTORY = 50


class Outdated(Exception):
    """Somebody else has published since this was begun; `version` is theirs."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version} was published meanwhile")
        self.version = version


@dataclass(frozen=True, slots=True)
class Published:
    """`version` 0: the files."""

    version: int
    texts: AgentTexts


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One line of the history. `restored`: the version whose text it has again, or 0."""

    version: int
    at: datetime
    by: str
    part: Part
    note: str
    restored: int


class AgentVersions(Records):
    """`files` are the texts before anything was published: of the business `first`, or of whichever where that is 0.
    `others` are those of further businesses by id, which may come later; one that has none raises `ProfileError`.
    `clock` gives aware UTC. Never on an event loop.
    """

    def __init__(
        self,
        engine: Engine,
        files: AgentTexts,
        others: dict[int, AgentTexts] | None = None,
        first: int = 0,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self.files, self.others = files, others if others is not None else {}
        self.first = first
        self._clock = clock

    def version(self, business_id: int) -> int:
        """Which version holds; asked for every second."""
        with self._read.begin() as session:
            return _newest(session, business_id)

    def current(self, business_id: int) -> Published:
        with self._read.begin() as session:
            return self._current(session, business_id)

    def get(self, business_id: int, version: int) -> Published:
        """Raises `LookupError`."""
        with self._read.begin() as session:
            return self._get(session, business_id, version)

    def history(self, business_id: int, part: Part) -> Sequence[VersionRow]:
        """The versions that changed this part, newest first."""
        with self._read.begin() as session:
            rows = session.execute(
                select(
                    AgentVersion.version,
                    AgentVersion.at,
                    AgentVersion.by,
                    AgentVersion.part,
                    AgentVersion.note,
                    AgentVersion.restored,
                )
                .where(AgentVersion.business_id == business_id, AgentVersion.part == part.value)
                .order_by(AgentVersion.version.desc())
                .limit(_HISTORY)
            ).all()
        return [VersionRow(row.version, row.at, row.by, Part(row.part), row.note, row.restored) for row in rows]

    def publish(self, by: Actor, part: Part, text: str, *, base: int, note: str = "", restored: int = 0) -> int:
        """From the next call on `part` is `text`. Returns the version that holds; the same text makes no new one.

        `base` is the version the writer saw. Raises `ProfileError` where the texts cannot be read together, and
        `Outdated` where the same part was changed since.
        """
        with self._writing() as session:
            business = session.scalars(
                select(Business).where(Business.id == by.business_id).with_for_update(key_share=True)
            ).one()
            held = self._current(session, by.business_id)
            texts = held.texts.with_part(part, text)
            if texts == held.texts:
                return held.version
            since = select(func.max(AgentVersion.version)).where(
                AgentVersion.business_id == by.business_id, AgentVersion.part == part.value, AgentVersion.version > base
            )
            if (newer := session.scalar(since)) is not None:
                raise Outdated(newer)
            plan = read_agent(texts)
            version = held.version + 1
            session.add(
                AgentVersion(
                    business_id=by.business_id,
                    version=version,
                    at=self._clock(),
                    by=by.name,
                    part=part.value,
                    note=" ".join(note.split()),
                    restored=restored,
                    profile=texts.profile,
                    script=texts.script,
                    prompt=texts.prompt,
                )
            )
            business.name, business.timezone = plan.business.name, plan.business.timezone
            business.phone = plan.business.phone
            data = {"part": part.value, **({"restored": restored} if restored else {})}
            audit.note(session, by, "agent.published", f"version:{version}", self._clock(), **data)
            return version

    def restore(self, by: Actor, part: Part, version: int, *, base: int) -> int:
        """Publish the text that `part` had in `version` (0: the file's). Raises as `publish` and `get` do."""
        text = self.get(by.business_id, version).texts.of(part)
        return self.publish(by, part, text, base=base, restored=version)

    def _current(self, session: Session, business_id: int) -> Published:
        return self._get(session, business_id, _newest(session, business_id))

    def _get(self, session: Session, business_id: int, version: int) -> Published:
        if version == 0:
            return Published(0, self._written(business_id))
        row = session.scalars(
            select(AgentVersion).where(AgentVersion.business_id == business_id, AgentVersion.version == version)
        ).one_or_none()
        if row is None:
            raise LookupError(f"no version {version}")
        return Published(version, AgentTexts(row.profile, row.script, row.prompt))

    def _written(self, business_id: int) -> AgentTexts:
        if business_id in self.others:
            return self.others[business_id]
        if self.first not in (0, business_id):  # better nothing than another business's
            raise ProfileError("the profile of this business cannot be read", "missing")
        return self.files


def _newest(session: Session, business_id: int) -> int:
    newest = select(func.max(AgentVersion.version)).where(AgentVersion.business_id == business_id)
    return session.scalar(newest) or 0
