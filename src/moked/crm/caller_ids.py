"""The number a business calls from; inside the caller's transaction.

It is one of the business's own, as its people chose, else the first it was given: whoever calls back must get the same
business. `default` (OUTBOUND_CALLER_ID) is the first business's, unless another one was given it; where it is empty
nobody makes calls.
"""

from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.businesses import FIRST
from moked.crm.models import Business
from moked.crm.tables_api import BusinessNumber
from moked.crm.tables_policy import SendingPolicy


def choices(session: Session, business_id: int, default: str) -> list[str]:
    """Numbers (E.164) it may call from, the first one unless another is chosen."""
    if not default:
        return []
    given = select(BusinessNumber.number).where(BusinessNumber.business_id == business_id)
    own = list(session.scalars(given.order_by(BusinessNumber.created_at, BusinessNumber.number)))
    owner = session.scalar(select(BusinessNumber.business_id).where(BusinessNumber.number == default))
    is_first = session.scalar(select(Business.key).where(Business.id == business_id)) == FIRST
    if owner == business_id or (owner is None and is_first):
        return [default, *(number for number in own if number != default)]
    return own


def caller_id(session: Session, business_id: int, default: str) -> str:
    """'' where it can make no calls."""
    found = choices(session, business_id, default)
    chosen = session.scalar(select(SendingPolicy.caller_id).where(SendingPolicy.business_id == business_id))
    return chosen if chosen in found else next(iter(found), "")
