"""What owners decide about privacy at the desk, and what they are shown: each change is one transaction with its audit
line."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from sqlalchemy import Engine, func, select

from moked.crm import audit, hiding
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.lead_fields import SEALED
from moked.crm.models import Call, Contact, Lead, Turn
from moked.crm.privacy import rules_of, write_rules
from moked.crm.privacy_rules import Rules, wrong
from moked.crm.sealed import Sealer
from moked.crm.tables_policy import Suppression
from moked.crm.tables_privacy import PrivacyHold, PurgeRun, Recording

_RUNS = 14
_LONGEST_REASON = 400


class Wrong(ValueError):
    """A setting cannot be; `str` is its name."""


@dataclass(frozen=True, slots=True)
class Stored:
    """How much there is, and since when."""

    recordings: int
    calls: int
    worded: int  # calls with a transcript
    leads: int
    contacts: int
    refused: int  # callers who did not want to be recorded
    suppressed: int
    held: int
    oldest_recording: datetime | None
    oldest_call: datetime | None


class PrivacyDesk(Records):
    """On `engine`. `records`: the installation records at all. `clock` gives aware UTC."""

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        *,
        records: bool,
        place: str = "disk",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self.records = records
        self.place = place  # 'disk' or 's3'
        self._sealer = sealer
        self._clock = clock

    def rules(self, business_id: int) -> Rules:
        with self._read.begin() as session:
            return rules_of(session, business_id)

    def change(self, by: Actor, rules: Rules) -> None:
        """Raises `Wrong`. What was shortened takes effect at the next purge."""
        if field := wrong(rules):
            raise Wrong(field)
        with self._writing() as session:
            before = rules_of(session, by.business_id)
            if before == rules:
                return
            write_rules(session, by.business_id, rules, self._clock())
            old, new = asdict(before), asdict(rules)
            changed = {name: [old[name], new[name]] for name in old if old[name] != new[name]}
            audit.note(session, by, "privacy.changed", "", self._clock(), **changed)

    def stored(self, business_id: int) -> Stored:
        with self._read.begin() as session:

            def count(table: type, *which: object) -> int:
                query = select(func.count()).select_from(table).where(table.business_id == business_id, *which)  # type: ignore[attr-defined, arg-type]
                return session.scalar(query) or 0

            kept = Recording.key.is_not(None)
            worded = select(func.count(Turn.call_id.distinct())).where(
                Turn.business_id == business_id, (Turn.caller_text != "") | (Turn.said != "")
            )
            return Stored(
                recordings=count(Recording, kept),
                calls=count(Call),
                worded=session.scalar(worded) or 0,
                leads=count(Lead),
                contacts=count(Contact),
                refused=count(Recording, Recording.refused_at.is_not(None)),
                suppressed=count(Suppression),
                held=count(PrivacyHold),
                oldest_recording=session.scalar(
                    select(func.min(Recording.created_at)).where(Recording.business_id == business_id, kept)
                ),
                oldest_call=session.scalar(select(func.min(Call.started_at)).where(Call.business_id == business_id)),
            )

    def runs(self, business_id: int) -> Sequence[PurgeRun]:
        query = (
            select(PurgeRun).where(PurgeRun.business_id == business_id).order_by(PurgeRun.at.desc(), PurgeRun.id.desc())
        )
        with self._read.begin() as session:
            return session.scalars(query.limit(_RUNS)).all()

    def holds(self, business_id: int) -> Sequence[tuple[PrivacyHold, Contact]]:
        query = (
            select(PrivacyHold, Contact)
            .join(Contact, Contact.id == PrivacyHold.contact_id)
            .where(PrivacyHold.business_id == business_id)
            .order_by(PrivacyHold.at.desc())
        )
        with self._read.begin() as session:
            return [(hold, contact) for hold, contact in session.execute(query)]

    def hold_of(self, business_id: int, contact_id: int) -> PrivacyHold | None:
        with self._read.begin() as session:
            hold = session.get(PrivacyHold, contact_id)
            return hold if hold is not None and hold.business_id == business_id else None

    def hold(self, by: Actor, contact_id: int, reason: str) -> None:
        """Neither purge nor erasure touches this contact any more. Raises `LookupError`, and `Wrong` without a
        reason."""
        reason = " ".join(reason.split())[:_LONGEST_REASON]
        if not reason:
            raise Wrong("reason")
        with self._writing() as session:
            contact = session.get(Contact, contact_id)
            if contact is None or contact.business_id != by.business_id:
                raise LookupError(f"no contact {contact_id}")
            hold = PrivacyHold(
                contact_id=contact_id, business_id=by.business_id, reason=reason, by=by.name, at=self._clock()
            )
            session.merge(hold)
            audit.note(session, by, "contact.held", f"contact:{contact_id}", self._clock())

    def release(self, by: Actor, contact_id: int) -> None:
        with self._writing() as session:
            hold = session.get(PrivacyHold, contact_id)
            if hold is None or hold.business_id != by.business_id:
                raise LookupError(f"no hold on contact {contact_id}")
            session.delete(hold)
            audit.note(session, by, "contact.released", f"contact:{contact_id}", self._clock())

    def reveal(self, by: Actor, lead_id: int, name: str) -> str:
        """A sealed field of a lead, for eyes that are on record. Raises `LookupError`, `SealError`."""
        with self._writing() as session:
            lead = session.get(Lead, lead_id)
            value = "" if lead is None or lead.business_id != by.business_id else str(lead.extra.get(name, ""))
            if not value.startswith(SEALED):
                raise LookupError(f"nothing sealed in lead {lead_id}")
            audit.note(session, by, "lead.revealed", f"lead:{lead_id}", self._clock(), field=name)
            return hiding.unseal(value, self._sealer, by.business_id)
