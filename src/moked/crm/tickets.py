"""Single-use permission to open a call's media stream: minted in the signed webhook, carried by the TwiML, used once.

    minted -> used        one UPDATE decides; of any number of attempts at once one succeeds
       '----> expired

Only the token's SHA-256 is stored and looked up, so how long a look-up takes tells nothing about a token. A ticket
shown for another call is refused and stays good for its own.
"""

import hashlib
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from moked.crm.models import Call, StreamTicket
from moked.records import CallStart

_KEPT = timedelta(days=1)  # a used one is refused as 'used' for that long, then as 'unknown'


class TicketReason(StrEnum):
    UNKNOWN = "unknown"
    USED = "used"
    EXPIRED = "expired"
    OTHER_CALL = "other_call"


@dataclass(frozen=True, slots=True)
class TicketRefusal:
    reason: TicketReason


def mint(session: Session, call: Call, *, ttl_s: float, now: datetime, stream: int = 0) -> str:
    """A new token for this call; earlier ones stay good until they expire. `stream`: which of its streams it opens."""
    token = secrets.token_urlsafe(32)
    start = CallStart(
        call.sid,
        call.account_sid,
        call.caller,
        call.called,
        call.direction,
        call.simulated,
        stream,
        business_id=call.business_id,
    )
    session.add(
        StreamTicket(
            token_hash=_digest(token),
            business_id=call.business_id,
            call_sid=call.sid,
            start=asdict(start),
            created_at=now,
            expires_at=now + timedelta(seconds=ttl_s),
        )
    )
    return token


def redeem(session: Session, token: str, call_sid: str, *, now: datetime) -> CallStart | TicketRefusal:
    """Use the ticket up and return what the webhook knew, or say why not."""
    digest = _digest(token)
    start = session.execute(
        update(StreamTicket)
        .where(
            StreamTicket.token_hash == digest,
            StreamTicket.call_sid == call_sid,
            StreamTicket.used_at.is_(None),
            StreamTicket.expires_at > now,
        )
        .values(used_at=now)
        .returning(StreamTicket.start)
        .execution_options(synchronize_session=False)
    ).scalar_one_or_none()
    if start is not None:
        return msgspec.convert(start, CallStart)
    ticket = session.get(StreamTicket, digest)
    if ticket is None:
        return TicketRefusal(TicketReason.UNKNOWN)
    if ticket.call_sid != call_sid:
        return TicketRefusal(TicketReason.OTHER_CALL)
    return TicketRefusal(TicketReason.USED if ticket.used_at is not None else TicketReason.EXPIRED)


def prune(session: Session, *, now: datetime) -> None:
    """Forget tickets that expired long ago."""
    session.execute(
        delete(StreamTicket).where(StreamTicket.expires_at < now - _KEPT).execution_options(synchronize_session=False)
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
