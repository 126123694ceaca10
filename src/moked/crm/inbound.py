"""What a written message means before anybody answers it: they are there, and perhaps want to be left alone, or agree
to advertisements.

Every channel's inbound goes through `received`, in the transaction that stores it. The ledger's proof is the message.
"""

from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from moked.channels import optin, optout
from moked.channels.policy import Purpose
from moked.crm import consents, sending
from moked.crm.consents import Written
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
    kept: str | None = None,
    spoken: bool = False,
) -> Queued | None:
    """Note it; where they asked to be removed: that is done, confirmed once by what is returned, and no agent answers.

    `channel` is the family, `to` where they wrote from, `key` the provider's id of it, `at` when it was written, `kept`
    its text as it is stored. `spoken`: a machine wrote down a voice note, which may refuse and can agree to nothing.
    """
    seen(session, contact_id, channel, at or now)
    written = Written(key, channel, at or now, text if kept is None else kept)
    if optout.in_message(text):
        return removed(
            session, business_id=business_id, contact_id=contact_id, channel=channel, to=to, key=key, now=now,
            written=written,
        )  # fmt: skip
    for agreed in () if spoken else optin.in_message(text, channel):
        consents.give(
            session,
            business_id=business_id,
            contact_id=contact_id,
            purpose=Purpose.MARKETING,
            channel=agreed,
            how="message",
            now=now,
            written=written,
        )
    return None


def removed(
    session: Session,
    *,
    business_id: int,
    contact_id: int,
    channel: str,
    to: str,
    key: str,
    now: datetime,
    written: Written,
) -> Queued:
    """They asked to be left alone, in `written`: from now on they are, and are told so once by `key`. A second time
    changes nothing."""
    told = sending.queue(
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
    if told.new:
        consents.revoke(
            session, business_id=business_id, contact_id=contact_id, how="message", now=now, written=written
        )
    return told


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
