"""Conversations of two people who become one: folded by the merge, unfolded when it is undone.

A person has one conversation a family, so the messages of who goes move into the conversation of who stays. The emptied
conversation stays with the signpost, where pages pass it over, and takes its messages back when the merge is undone.
When they last wrote to us is one moment of both meanwhile. Inside the caller's transaction; both contacts are locked.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from moked.crm.models import Contact
from moked.crm.tables_policy import ChannelSeen
from moked.crm.tables_whatsapp import Conversation, Message


def fold(session: Session, kept: Contact, gone: Contact) -> dict[str, Any]:
    """What `unfold` needs, for a column of JSON."""
    return {"talks": _fold_talks(session, kept, gone), "seen": _fold_seen(session, kept, gone)}


def unfold(session: Session, folded: Mapping[str, Any], kept: Contact) -> None:
    for talk in folded.get("talks", ()):
        for number in {told["talk"] for told in talk["messages"]}:
            ids = [told["id"] for told in talk["messages"] if told["talk"] == number]
            session.execute(
                update(Message)
                .where(Message.id.in_(ids), Message.conversation_id == talk["to"])
                .values(conversation_id=talk["from"], talk=number)
                .execution_options(synchronize_session=False)
            )
        back = session.get(Conversation, talk["to"], with_for_update=True)
        if back is not None:
            back.unread = max(0, back.unread - talk["unread"])
    for channel, before in folded.get("seen", {}).items():
        row = session.get(ChannelSeen, (kept.id, channel), with_for_update=True)
        if row is None or row.last_inbound_at != datetime.fromisoformat(before["became"]):
            continue  # they have written since
        if before["was"] is None:
            session.delete(row)
        else:
            row.last_inbound_at = datetime.fromisoformat(before["was"])


def stay(session: Session, kept: Contact, gone: Contact) -> Sequence[int]:
    """The conversations that stay with who goes, because who stays has one of the same family."""
    theirs = select(Conversation.channel).where(Conversation.contact_id == kept.id)
    rows = select(Conversation.id).where(Conversation.contact_id == gone.id, Conversation.channel.in_(theirs))
    return session.scalars(rows).all()


def _fold_talks(session: Session, kept: Contact, gone: Contact) -> list[dict[str, Any]]:
    ours = {
        row.channel: row
        for row in session.scalars(select(Conversation).where(Conversation.contact_id == kept.id).with_for_update())
    }
    folded = []
    for theirs in session.scalars(select(Conversation).where(Conversation.contact_id == gone.id).with_for_update()):
        to = ours.get(theirs.channel)
        if to is None:
            continue
        moved = session.execute(
            select(Message.id, Message.talk).where(Message.conversation_id == theirs.id).order_by(Message.id)
        ).all()
        session.execute(
            update(Message)
            .where(Message.conversation_id == theirs.id)
            .values(conversation_id=to.id, talk=to.talk)
            .execution_options(synchronize_session=False)
        )
        folded.append(
            {
                "from": theirs.id,
                "to": to.id,
                "unread": theirs.unread,
                "messages": [{"id": row_id, "talk": talk} for row_id, talk in moved],
            }
        )
        to.unread += theirs.unread
        to.answered_id = max(to.answered_id, theirs.answered_id)
        to.read_id = to.shown_id = max(to.read_id, theirs.read_id)
        to.last_at = max(to.last_at, theirs.last_at)
        to.last_in_at = max(filter(None, (to.last_in_at, theirs.last_in_at)), default=None)
        to.lead_id = to.lead_id or theirs.lead_id
        to.taken_by = to.taken_by or theirs.taken_by
        to.wants_person = to.wants_person or theirs.wants_person
    return folded


def _fold_seen(session: Session, kept: Contact, gone: Contact) -> dict[str, Any]:
    folded = {}
    for theirs in session.scalars(select(ChannelSeen).where(ChannelSeen.contact_id == gone.id)).all():
        ours = session.get(ChannelSeen, (kept.id, theirs.channel), with_for_update=True)
        if ours is not None and ours.last_inbound_at >= theirs.last_inbound_at:
            continue
        was = ours.last_inbound_at.isoformat() if ours is not None else None
        folded[theirs.channel] = {"was": was, "became": theirs.last_inbound_at.isoformat()}
        if ours is None:
            seen = ChannelSeen(contact_id=kept.id, channel=theirs.channel, last_inbound_at=theirs.last_inbound_at)
            session.add(seen)
        else:
            ours.last_inbound_at = theirs.last_inbound_at
    return folded
