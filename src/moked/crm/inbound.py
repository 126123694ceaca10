"""What a written message means before anybody answers it: they are there, and perhaps want to be left alone.

Every channel's inbound goes through `received`, in the transaction that stores it.
"""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from moked.channels import optout
from moked.channels.policy import Purpose
from moked.crm import consents, sending
from moked.crm.sending import Queued
from moked.crm.settle import insert
from moked.crm.tables_policy import ChannelSeen

REMOVED: Final = "הוסרת מרשימת הפנייה שלנו, ולא נפנה אליך יותר. אם זו טעות, אפשר להתקשר אלינו."


def received(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    channel: str,
    to: str,
    text: str,
    key: str,
    now: datetime,
    at: datetime | None = None,
) -> Queued | None:
    """Note it; where they asked to be removed: that is done, confirmed once by what is returned, and no agent answers.

    `channel` is the family, `to` where they wrote from, `key` the provider's id of it, `at` when it was written.
    """
    seen(session, contact_id, channel, at or now)
    if not optout.in_message(text):
        return None
    return removed(
        session,
        business_id=business_id,
        contact_id=contact_id,
        channel=channel,
        to=to,
        text=text,
        key=key,
        now=now,
    )


def removed(
    session: Session, *, business_id: int, contact_id: int, channel: str, to: str, text: str, key: str, now: datetime
) -> Queued:
    """They asked to be left alone, in the words of `text`: from now on they are, and are told so once by `key`."""
    consents.revoke(session, business_id=business_id, contact_id=contact_id, how="message", now=now, text=text)
    return sending.queue(
        session,
        business_id=business_id,
        contact_id=contact_id,
        channel=channel,
        to=to,
        text=REMOVED,
        purpose=Purpose.REMOVAL,
        key=f"removed:{channel}:{key}",
        now=now,
        asked_at=now,
    )


def seen(session: Session, contact_id: int, channel: str, at: datetime) -> None:
    """They turned to us on this channel."""
    session.execute(
        insert(session, ChannelSeen)
        .values(contact_id=contact_id, channel=channel, last_inbound_at=at)
        .on_conflict_do_update(
            index_elements=["contact_id", "channel"],
            set_={"last_inbound_at": at},
            where=ChannelSeen.last_inbound_at < at,
        )
    )
