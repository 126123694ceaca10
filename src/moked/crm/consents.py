"""The consent ledger: who agreed to what, with its proof, and who is to be left alone. Inside the caller's transaction.

The proof is a place in a call's recording, or a message by the carrier's own id. A refusal ends everything on every
channel, and its salted hash stays when the person's record is erased, so that they are not imported again. A later
consent of their own lifts it; one that was written before and arrives late does not.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session

from moked.channels import policy
from moked.channels.policy import ANY, CONSENT_LASTS, DncCheck, Purpose
from moked.crm.models import Contact
from moked.crm.settle import insert
from moked.crm.tables_policy import ConsentRow, DncRow, SendingPolicy, Suppression

OPT_OUT = "opt_out"
ERASED = "erased"
_PER_CONTACT_DAY = 3
_PER_CHANNEL_DAY = 200


@dataclass(frozen=True, slots=True)
class Written:
    """A message as proof: the carrier's id of it on a family of channels, when it was written, its text as it is
    kept."""

    key: str
    channel: str
    at: datetime
    text: str

    @property
    def digest(self) -> str:
        """SHA-256 of the text in UTF-8, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def settings_of(session: Session, business_id: int, now: datetime) -> SendingPolicy:
    """The business's row, made with the defaults where there is none."""
    row = session.get(SendingPolicy, business_id)
    if row is None:
        defaults = {
            "salt": secrets.token_hex(16),
            "week": {str(day): [f"{a:%H:%M}", f"{b:%H:%M}"] for day, (a, b) in policy.DEFAULT_WEEK.items()},
            "per_contact_day": _PER_CONTACT_DAY,
            "per_channel_day": _PER_CHANNEL_DAY,
            "notify": [],
            "texts": {},
            "agent_calls_back": False,
            "caller_id": "",
            "updated_at": now,
        }
        session.execute(
            insert(session, SendingPolicy)
            .values(business_id=business_id, **defaults)
            .on_conflict_do_nothing(index_elements=["business_id"])
        )
        row = session.get_one(SendingPolicy, business_id, populate_existing=True)
    return row


def number_hash(salt: str, number: str) -> str:
    """Slow on purpose: there are only some 10^8 Israeli numbers, and whoever has the table has the salt."""
    return hashlib.scrypt(number.encode(), salt=bytes.fromhex(salt), n=2**10, r=8, p=1, dklen=32).hex()


def _quick_hash(salt: str, number: str) -> str:
    """Of registry checks, of which thousands come at once; they are deleted with the person."""
    return hmac.new(bytes.fromhex(salt), number.encode(), hashlib.sha256).hexdigest()


# ---- consents


def give(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    purpose: Purpose,
    channel: str,
    how: str,
    now: datetime,
    call_sid: str = "",
    offset_ms: int | None = None,
    text: str = "",
    written: Written | None = None,
) -> bool:
    """They agreed, in a call or in `written`. False where the ledger has this very consent already: the same place in
    the same call, the same message."""
    known = select(ConsentRow.id).where(
        ConsentRow.contact_id == contact_id,
        ConsentRow.purpose == purpose,
        ConsentRow.channel == channel,
        ConsentRow.given_at.is_not(None),
    )
    if _there(session, known, call_sid, written):
        return False
    given_at = min(written.at, now) if written is not None else now
    session.add(
        ConsentRow(
            business_id=business_id,
            contact_id=contact_id,
            purpose=purpose,
            channel=channel,
            given_at=given_at,
            how=how,
            call_sid=call_sid,
            offset_ms=offset_ms,
            **_proof(written, text),
            expires_at=given_at + CONSENT_LASTS,
            created_at=now,
        )
    )
    refused = select(func.max(ConsentRow.revoked_at)).where(ConsentRow.contact_id == contact_id)
    last = session.scalar(refused)
    number = session.scalar(select(Contact.phone).where(Contact.id == contact_id))
    if number and (last is None or last <= given_at):
        _lift(session, business_id, number, given_at, now)
    session.flush()
    return True


def revoke(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    how: str,
    now: datetime,
    call_sid: str = "",
    offset_ms: int | None = None,
    text: str = "",
    written: Written | None = None,
) -> bool:
    """They want to be left alone: everything ends, on every channel. False where this call, or this message, has said
    so already."""
    known = select(ConsentRow.id).where(ConsentRow.contact_id == contact_id, ConsentRow.given_at.is_(None))
    if _there(session, known, call_sid, written):
        return False
    session.execute(
        update(ConsentRow)
        .where(ConsentRow.contact_id == contact_id, ConsentRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .execution_options(synchronize_session=False)
    )
    session.add(
        ConsentRow(
            business_id=business_id,
            contact_id=contact_id,
            purpose=Purpose.SERVICE,  # which refuses advertisements too: see `policy.standing`
            channel=ANY,
            how=how,
            call_sid=call_sid,
            offset_ms=offset_ms,
            **_proof(written, text),
            revoked_at=now,
            created_at=now,
        )
    )
    if number := session.scalar(select(Contact.phone).where(Contact.id == contact_id)):
        suppress(session, business_id=business_id, number=number, reason=OPT_OUT, source=how, now=now)
    session.flush()
    return True


def _there(session: Session, known: Select[int], call_sid: str, written: Written | None) -> bool:
    """Whether the ledger has a line of `known` with this proof."""
    if written is not None:
        known = known.where(ConsentRow.message_key == written.key, ConsentRow.message_channel == written.channel)
    elif call_sid:
        known = known.where(ConsentRow.call_sid == call_sid)
    else:
        return False
    return session.scalar(known.limit(1)) is not None


def _proof(written: Written | None, text: str) -> dict[str, Any]:
    if written is None:
        return {"text": text}
    return {
        "message_key": written.key,
        "message_channel": written.channel,
        "message_at": written.at,
        "message_digest": written.digest,
        "text": text or written.text,
    }


def ledger(session: Session, contact_id: int) -> tuple[policy.Consent, ...]:
    rows = session.scalars(select(ConsentRow).where(ConsentRow.contact_id == contact_id).order_by(ConsentRow.id))
    return tuple(policy.Consent(row.purpose, row.channel, row.given_at, row.revoked_at, row.expires_at) for row in rows)


# ---- who is to be left alone


def suppress(session: Session, *, business_id: int, number: str, reason: str, source: str, now: datetime) -> None:
    """Put the number (E.164) on the list. `ERASED`: the person's record goes, so nothing else may tell of them."""
    salt = settings_of(session, business_id, now).salt
    session.execute(
        insert(session, Suppression)
        .values(business_id=business_id, hash=number_hash(salt, number), reason=reason, source=source, at=now)
        .on_conflict_do_nothing(index_elements=["business_id", "hash"])
    )
    if reason == ERASED:
        session.execute(  # whatever it was on the list for
            update(Suppression)
            .where(Suppression.business_id == business_id, Suppression.hash == number_hash(salt, number))
            .values(reason=ERASED, source=source)
            .execution_options(synchronize_session=False)
        )
        session.execute(
            delete(DncRow).where(DncRow.business_id == business_id, DncRow.number_hash == _quick_hash(salt, number))
        )


def suppressed(session: Session, business_id: int, number: str) -> bool:
    return suppressed_at(session, business_id, number) is not None


def suppressed_at(session: Session, business_id: int, number: str) -> datetime | None:
    """Since when the number is on the list; None where it is not."""
    salt = _salt(session, business_id)
    if salt is None:
        return None
    there = select(Suppression.at).where(
        Suppression.business_id == business_id, Suppression.hash == number_hash(salt, number)
    )
    return session.scalar(there)


def erased(session: Session, business_id: int, numbers: Iterable[str]) -> set[str]:
    """Those of `numbers` whose person asked to be forgotten. Some milliseconds a number, where there is anybody."""
    there = select(Suppression.hash).where(Suppression.business_id == business_id, Suppression.reason == ERASED)
    hashes = set(session.scalars(there))
    salt = _salt(session, business_id) if hashes else None
    return set() if salt is None else {number for number in numbers if number_hash(salt, number) in hashes}


def _salt(session: Session, business_id: int) -> str | None:
    """None: nothing is on any list yet."""
    return session.scalar(select(SendingPolicy.salt).where(SendingPolicy.business_id == business_id))


def _lift(session: Session, business_id: int, number: str, given_at: datetime, now: datetime) -> None:
    """Take the number off the list, where it was put there before the consent was given."""
    salt = settings_of(session, business_id, now).salt
    session.execute(
        delete(Suppression).where(
            Suppression.business_id == business_id,
            Suppression.hash == number_hash(salt, number),
            Suppression.at <= given_at,
        )
    )


# ---- the registry


def record_checks(
    session: Session, business_id: int, listed: Mapping[str, bool], *, source: str, checked_at: datetime, now: datetime
) -> None:
    """What the "do not call me" registry said on `checked_at` about numbers (E.164)."""
    salt = settings_of(session, business_id, now).salt
    for number, is_listed in listed.items():
        facts = {"checked_at": checked_at, "listed": is_listed, "source": source}
        session.execute(
            insert(session, DncRow)
            .values(business_id=business_id, number_hash=_quick_hash(salt, number), **facts)
            .on_conflict_do_update(
                index_elements=["business_id", "number_hash"], set_=facts, where=DncRow.checked_at <= checked_at
            )
        )


def last_check(session: Session, business_id: int, number: str) -> DncCheck | None:
    salt = _salt(session, business_id)
    if salt is None:
        return None
    row = session.scalars(
        select(DncRow).where(DncRow.business_id == business_id, DncRow.number_hash == _quick_hash(salt, number))
    ).one_or_none()
    return None if row is None else DncCheck(row.checked_at, row.listed)
