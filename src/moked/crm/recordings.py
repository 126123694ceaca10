"""The rows of recordings: whose key opens which files. Every method is one transaction; nothing here touches audio.

A recording's own key, sealed with the installation's, is the only one that opens it. `destroy` deletes that key: from
then on no copy of the audio opens any more, wherever it lies, and whoever holds the files deletes them (`doomed`).
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, delete, func, select, update
from sqlalchemy.orm import Session

from moked.crm import db
from moked.crm.db import Records
from moked.crm.models import Call
from moked.crm.privacy import rules_of
from moked.crm.privacy_rules import Rules
from moked.crm.sealed import Sealer, new_key
from moked.crm.settle import insert
from moked.crm.tables_privacy import Recording, RecordingPart


@dataclass(frozen=True, slots=True)
class Part:
    """What one stream recorded, in call samples; `samples` None while it is written. `place`: 'disk' or 's3'."""

    id: int
    token: str
    stream: int
    at: int
    samples: int | None
    place: str
    peaks: bytes | None
    silenced: int

    @property
    def name(self) -> str:
        return part_name(self.token, self.stream)


@dataclass(frozen=True, slots=True)
class Found:
    """A recording that can be opened. `silences`: (channel, from_ms, to_ms)."""

    call_sid: str
    token: str
    key: bytes
    silences: tuple[tuple[int, int, int], ...]
    parts: tuple[Part, ...]
    ended: bool


def part_name(token: str, stream: int) -> str:
    return f"{token}-{stream}"


class Recordings(Records):
    """On `engine`; `sealer` holds DATA_KEY. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, sealer: Sealer, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)):
        super().__init__(engine)
        self._engine = engine
        self._sealer = sealer
        self._clock = clock

    def rules(self, business_id: int) -> Rules:
        with self._read.begin() as session:
            return rules_of(session, business_id)

    def refused(self, call_sid: str) -> bool:
        """This caller does not want to be recorded."""
        query = select(Recording.refused_at).join(Call, Call.id == Recording.call_id).where(Call.sid == call_sid)
        with self._read.begin() as session:
            return session.scalar(query) is not None

    def begin(self, call_sid: str, stream: int, at: int) -> tuple[str, bytes] | None:
        """A new part, which begins at call sample `at`: (token, key). None where this call is not to be recorded, or
        the stream has a part already."""
        with self._writing() as session:
            call = session.scalars(
                select(Call).where(Call.sid == call_sid).with_for_update(key_share=True)
            ).one_or_none()
            if call is None or not rules_of(session, call.business_id).record:
                return None
            recording = session.get(Recording, call.id)
            if recording is None:
                token, key = secrets.token_hex(16), new_key()
                sealed = self._sealer.seal(key, sealed_for(token))
                recording = Recording(
                    call_id=call.id,
                    business_id=call.business_id,
                    token=token,
                    key=sealed,
                    silences=[],
                    created_at=self._clock(),
                )
                session.add(recording)
                session.flush()
            elif recording.key is None:
                return None
            new = session.execute(
                insert(session, RecordingPart)
                .values(
                    business_id=call.business_id, token=recording.token, stream=stream, at=at, place="disk", silenced=0
                )
                .on_conflict_do_nothing(index_elements=["token", "stream"])
                .returning(RecordingPart.id)
            ).scalar_one_or_none()
            if new is None:
                return None
            assert recording.key is not None
            return recording.token, self._sealer.open(recording.key, sealed_for(recording.token))

    def find(self, business_id: int, call_sid: str) -> Found | None:
        with self._read.begin() as session:
            return self._found(session, Call.business_id == business_id, Call.sid == call_sid)

    def by_token(self, token: str) -> Found | None:
        """Of whichever business: for who has only the file."""
        with self._read.begin() as session:
            return self._found(session, Recording.token == token)

    def kept(self, part: Part, samples: int, place: str, peaks: bytes, silenced: int) -> bool:
        """The part is complete where `place` says; False where its recording is gone, and so should be the audio."""
        with self._writing() as session:
            alive = select(Recording.call_id).where(Recording.token == part.token, Recording.key.is_not(None))
            if session.scalar(alive) is None:
                return False
            session.execute(
                update(RecordingPart)
                .where(RecordingPart.id == part.id)
                .values(samples=samples, place=place, peaks=peaks, silenced=silenced)
                .execution_options(synchronize_session=False)
            )
            return True

    def to_silence(self) -> list[Found]:
        """Recordings with a stored part that does not have all their silences yet."""
        missing = (
            select(Recording.token)
            .join(RecordingPart, RecordingPart.token == Recording.token)
            .where(
                Recording.key.is_not(None),
                RecordingPart.samples.is_not(None),
                _count(self._engine) > RecordingPart.silenced,
            )
            .distinct()
        )
        with self._read.begin() as session:
            found = [self._found(session, Recording.token == token) for token in session.scalars(missing).all()]
        return [one for one in found if one is not None]

    def doomed(self) -> list[Part]:
        """Parts nobody can open any more: their objects are to be deleted, then `gone`."""
        alive = select(Recording.token).where(Recording.key.is_not(None))
        with self._read.begin() as session:
            rows = session.scalars(select(RecordingPart).where(RecordingPart.token.not_in(alive))).all()
            return [_part(row) for row in rows]

    def gone(self, part_ids: Sequence[int]) -> None:
        with self._writing() as session:
            session.execute(delete(RecordingPart).where(RecordingPart.id.in_(part_ids)))

    def scrub(self) -> int:
        """Clean the database's freed pages after calls of refusing callers that have ended; returns how many."""
        waiting = (
            select(Recording.call_id)
            .join(Call, Call.id == Recording.call_id)
            .where(Recording.refused_at.is_not(None), Recording.scrubbed_at.is_(None), Call.ended_at.is_not(None))
        )
        with self._read.begin() as session:
            calls = session.scalars(waiting).all()
        if not calls:
            return 0
        with self._writing() as session:
            session.execute(
                update(Recording)
                .where(Recording.call_id.in_(calls))
                .values(scrubbed_at=self._clock())
                .execution_options(synchronize_session=False)
            )
        if not db.scrub(self._engine):  # somebody reads: the next round
            with self._writing() as session:
                session.execute(
                    update(Recording)
                    .where(Recording.call_id.in_(calls))
                    .values(scrubbed_at=None)
                    .execution_options(synchronize_session=False)
                )
            return 0
        return len(calls)

    def _found(self, session: Session, *which: object) -> Found | None:
        row = session.execute(
            select(Recording, Call.sid, Call.ended_at).join(Call, Call.id == Recording.call_id).where(*which)  # type: ignore[arg-type]
        ).one_or_none()
        if row is None or row[0].key is None:
            return None
        recording, sid, ended_at = row
        assert recording.key is not None
        parts = session.scalars(
            select(RecordingPart).where(RecordingPart.token == recording.token).order_by(RecordingPart.stream)
        ).all()
        sealed: bytes = recording.key
        key = self._sealer.open(sealed, sealed_for(recording.token))
        silences = tuple((int(one[0]), int(one[1]), int(one[2])) for one in recording.silences)
        return Found(sid, recording.token, key, silences, tuple(map(_part, parts)), ended_at is not None)


def destroy(session: Session, call_ids: Sequence[int]) -> int:
    """Within a transaction: what was recorded of these calls cannot be opened from its commit on. Returns how many."""
    result = session.scalars(
        update(Recording)
        .where(Recording.call_id.in_(call_ids), Recording.key.is_not(None))
        .values(key=None, silences=[])
        .returning(Recording.call_id)
        .execution_options(synchronize_session=False)
    ).all()
    return len(result)


def sealed_for(token: str) -> str:
    """What the key of a recording is sealed for."""
    return f"recording:{token}"


def _count(engine: Engine) -> object:
    postgres = engine.dialect.name == "postgresql"
    return (func.jsonb_array_length if postgres else func.json_array_length)(Recording.silences)


def _part(row: RecordingPart) -> Part:
    return Part(row.id, row.token, row.stream, row.at, row.samples, row.place, row.peaks, row.silenced)
