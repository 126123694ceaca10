"""The consent ledger: who agreed to what, with its proof, and who is to be left alone. Inside the caller's transaction.

A refusal ends everything on every channel, and its salted hash stays when the person's record is erased, so that they
are not imported again. A new consent of their own lifts it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import delete, select, update
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
) -> bool:
    """They agreed. False where the ledger has this very consent already: the same place in the same call."""
    if call_sid:
        known = select(ConsentRow.id).where(
            ConsentRow.contact_id == contact_id,
            ConsentRow.call_sid == call_sid,
            ConsentRow.purpose == purpose,
            ConsentRow.channel == channel,
            ConsentRow.given_at.is_not(None),
        )
        if session.scalar(known.limit(1)) is not None:
            return False
    session.add(
        ConsentRow(
            business_id=business_id,
            contact_id=contact_id,
            purpose=purpose,
            channel=channel,
            given_at=now,
            how=how,
            call_sid=call_sid,
            offset_ms=offset_ms,
            text=text,
            expires_at=now + CONSENT_LASTS,
            created_at=now,
        )
    )
    if number := session.scalar(select(Contact.phone).where(Contact.id == contact_id)):
        _lift(session, business_id, number, now)
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
) -> bool:
    """They want to be left alone: everything ends, on every channel. False where this call has said so already."""
    if call_sid:
        known = select(ConsentRow.id).where(
            ConsentRow.contact_id == contact_id, ConsentRow.call_sid == call_sid, ConsentRow.given_at.is_(None)
        )
        if session.scalar(known.limit(1)) is not None:
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
            text=text,
            revoked_at=now,
            created_at=now,
        )
    )
    if number := session.scalar(select(Contact.phone).where(Contact.id == contact_id)):
        suppress(session, business_id=business_id, number=number, reason=OPT_OUT, source=how, now=now)
    session.flush()
    return True


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


def _lift(session: Session, business_id: int, number: str, now: datetime) -> None:
    salt = settings_of(session, business_id, now).salt
    session.execute(
        delete(Suppression).where(Suppression.business_id == business_id, Suppression.hash == number_hash(salt, number))
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
