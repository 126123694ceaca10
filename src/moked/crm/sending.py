"""The single door out: nothing is written to anybody but through here. HERE IS THE PLACE OF THE POLICY GATE.

    who wants to say something -> queue (one transaction with their own change) -> outbound_message -> the sender

A row exists before anything is sent, under the key the message will have at the carrier. So a process that is killed
after sending sends the same message again, which the other side knows already, and never another.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.channels import Address, Purpose, SendState, Template, json_of
from moked.crm.settle import insert
from moked.crm.tables_whatsapp import OutboundMessage


@dataclass(frozen=True, slots=True)
class Queued:
    """What became of a wish to send. `reason` says why it is BLOCKED; '' else. `id`: of the row."""

    id: int
    state: SendState
    reason: str = ""


def queue(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    channel: str,
    to: Address,
    text: str,
    purpose: Purpose,
    key: str,
    now: datetime,
    template: Template | None = None,
) -> Queued:
    """Ask for a message, inside the caller's transaction. The same `key` again is the same message."""
    session.execute(
        insert(session, OutboundMessage)
        .values(
            business_id=business_id,
            contact_id=contact_id,
            channel=channel,
            to=str(to),
            text=text,
            template=json_of(template),
            purpose=purpose,
            key=key,
            state=SendState.QUEUED,
            reason="",
            provider_id="",
            attempts=0,
            not_before=now,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["key"])
    )
    row = session.scalars(select(OutboundMessage).where(OutboundMessage.key == key)).one()
    return Queued(row.id, row.state, row.reason)
