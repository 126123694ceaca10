"""Written conversations on record: what comes is stored once, what the agent answers goes out by the one door.

    Inbound -> receive -> message, conversation, contact (by any of their addresses)
    waiting -> words nobody has answered -> answered: texts to the door, the agent's state, the lead
    to_send -> sent | put off | failed;  Report -> how far a message of ours came

Each method is one transaction. What is decided twice is done once: messages by the carrier's id, answers by the newest
message they answer, sends by their own key.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine, func, or_, select
from sqlalchemy.orm import Session, sessionmaker

from moked.channels import (
    Address,
    Inbound,
    Kind,
    Outbound,
    Purpose,
    Report,
    SendResult,
    SendState,
    later,
    template_of,
)
from moked.crm import chat_leads, people, sending
from moked.crm.db import READ_ONLY
from moked.crm.models import Contact
from moked.crm.settle import insert
from moked.crm.tables_whatsapp import Conversation, Message, OutboundMessage
from moked.records import LeadDraft

TALK_ENDS: Final = timedelta(hours=12)
"""Who writes after so long begins a new talk: the agent begins anew, and what it learns is another matter."""
_TOO_OLD: Final = timedelta(hours=24)  # a message that could not be sent for so long is not sent any more
_ANSWER_WITHIN: Final = timedelta(hours=24)  # older words, found after a long absence, are a person's to answer
_SENDING_FOR: Final = timedelta(seconds=60)  # then whoever was sending it is taken to be dead
_LONGEST_WAIT_S: Final = 300
_MOST_ENTRIES: Final = 60


@dataclass(frozen=True, slots=True)
class Line:
    """One message of a conversation, as the agent sees it. `author`: 'contact', 'agent' or a person's name."""

    id: int
    inbound: bool
    author: str
    kind: Kind
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """A conversation that wants an answer. `lines` of this talk, oldest first; `upto` is the newest to be answered."""

    id: int
    business_id: int
    contact_id: int
    channel: str
    address: Address
    name: str
    phone: str
    talk: int
    agent: dict[str, Any] | None
    lines: tuple[Line, ...]
    answered: int
    upto: int

    @property
    def new(self) -> tuple[Line, ...]:
        """What they wrote and nobody has answered."""
        return tuple(line for line in self.lines if line.inbound and line.id > self.answered)


@dataclass(frozen=True, slots=True)
class Unheard:
    """A voice note that is to be written down."""

    message_id: int
    business_id: int
    channel: str
    raw: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ToSend:
    id: int
    business_id: int
    channel: str
    out: Outbound
    attempts: int


@dataclass(frozen=True, slots=True)
class Stored:
    """`new`: False where it had come before."""

    conversation_id: int
    new: bool


class Inbox:
    """On `engine`. `clock` gives aware UTC; `next_opening` when the business is next open, for call-backs."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        next_opening: Callable[[datetime], datetime] | None = None,
    ) -> None:
        self._write = sessionmaker(engine, expire_on_commit=False)
        self._read = sessionmaker(engine.execution_options(**READ_ONLY), expire_on_commit=False)
        self._one_writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()
        self._clock = clock
        self._next_opening = next_opening

    # ---- what comes

    def receive(self, business_id: int, came: Inbound) -> Stored:
        now = self._clock()
        with self._writing() as session:
            known = session.scalar(
                select(Message.conversation_id).where(
                    Message.business_id == business_id,
                    Message.channel == came.channel,
                    Message.provider_id == came.provider_id,
                )
            )
            if known is not None:
                return Stored(known, False)
            contact = people.contact_of(session, business_id, (came.address, *came.also), came.name, now)
            talked = conversation_of(session, business_id, contact.id, came.channel, came.address, now)
            row = session.execute(
                insert(session, Message)
                .values(
                    business_id=business_id,
                    conversation_id=talked.id,
                    channel=came.channel,
                    provider_id=came.provider_id,
                    inbound=True,
                    author="contact",
                    kind=came.kind,
                    text=came.text,
                    raw=came.raw,
                    talk=talked.talk,
                    at=min(came.at, now),
                )
                .on_conflict_do_nothing(index_elements=["business_id", "channel", "provider_id"])
                .returning(Message.id)
            ).scalar_one_or_none()
            if row is None:  # stored this very moment, by another process
                return Stored(talked.id, False)
            if talked.last_in_at is not None and came.at - talked.last_at > TALK_ENDS:
                talked.talk, talked.agent, talked.lead_id = talked.talk + 1, None, None
                session.get_one(Message, row).talk = talked.talk
            talked.address = str(came.address)
            talked.last_at = talked.last_in_at = now
            talked.unread += 1
            return Stored(talked.id, True)

    def unheard(self, business_id: int) -> list[Unheard]:
        """Voice notes nobody has written down yet, oldest first."""
        with self._read.begin() as session:
            rows = session.scalars(
                select(Message)
                .where(Message.business_id == business_id, Message.kind == Kind.VOICE, Message.raw != "")
                .order_by(Message.id)
                .limit(20)
            )
            return [Unheard(row.id, business_id, row.channel, row.raw, row.at) for row in rows]

    def heard(self, business_id: int, message_id: int, text: str) -> int:
        """A voice note's words, '' where there are none to be had. Returns its conversation's id."""
        with self._writing() as session:
            row = session.get_one(Message, message_id)
            assert row.business_id == business_id
            row.text, row.raw = text, ""
            return row.conversation_id

    # ---- the agent

    def waiting(self, business_id: int, *, quiet_for: timedelta) -> list[Waiting]:
        """Conversations the agent is to answer: nobody took them, all voice notes are written down, and they have
        written nothing for `quiet_for`, because people write one thought in three messages."""
        now = self._clock()
        with self._read.begin() as session:
            newest = func.max(Message.id).label("newest")
            unheard = func.count().filter(Message.raw != "").label("unheard")
            latest = (
                select(Message.conversation_id, newest, unheard)
                .where(Message.business_id == business_id, Message.inbound)
                .group_by(Message.conversation_id)
                .subquery()
            )
            rows = session.execute(
                select(Conversation, Contact, latest.c.newest)
                .join(latest, latest.c.conversation_id == Conversation.id)
                .join(Contact, Contact.id == Conversation.contact_id)
                .where(
                    Conversation.business_id == business_id,
                    Conversation.taken_by.is_(None),
                    latest.c.newest > Conversation.answered_id,
                    latest.c.unheard == 0,
                    Conversation.last_in_at <= now - quiet_for,
                    Conversation.last_in_at >= now - _ANSWER_WITHIN,
                )
                .order_by(Conversation.last_in_at)
                .limit(50)
            ).all()
            return [self._waiting(session, talked, contact, upto) for talked, contact, upto in rows]

    def _waiting(self, session: Session, talked: Conversation, contact: Contact, upto: int) -> Waiting:
        rows = session.scalars(
            select(Message)
            .where(Message.conversation_id == talked.id, Message.talk == talked.talk)
            .order_by(Message.id.desc())
            .limit(_MOST_ENTRIES)
        ).all()
        lines = tuple(Line(row.id, row.inbound, row.author, row.kind, row.text, row.at) for row in reversed(rows))
        return Waiting(
            id=talked.id,
            business_id=talked.business_id,
            contact_id=contact.id,
            channel=talked.channel,
            address=Address.parse(talked.address),
            name=contact.name,
            phone=contact.phone or "",
            talk=talked.talk,
            agent=talked.agent,
            lines=lines,
            answered=talked.answered_id,
            upto=upto,
        )

    def answered(
        self,
        wanted: Waiting,
        texts: Sequence[str],
        agent: dict[str, Any] | None,
        draft: LeadDraft | None,
        person: bool = False,
    ) -> bool:
        """The agent's answer to `wanted`. False, and nothing is changed, where a person took over meanwhile, or another
        process was faster. `person`: they want one, and the desk shows it."""
        now = self._clock()
        with self._writing() as session:
            talked = session.get_one(Conversation, wanted.id, with_for_update=True, populate_existing=True)
            if talked.taken_by is not None or talked.answered_id != wanted.answered or talked.talk != wanted.talk:
                return False
            for number, text in enumerate(texts):
                key = message_key(f"{talked.id}:{wanted.upto}:{number}")
                write(session, talked, text, author="agent", key=key, now=now)
            talked.answered_id, talked.agent = wanted.upto, agent
            talked.wants_person = talked.wants_person or person
            if draft is not None:
                said = " ".join(line.text for line in wanted.lines if line.inbound)
                opening = self._next_opening(now) if self._next_opening else None
                chat_leads.settle(session, talked, draft, said, now=now, opening=opening)
            return True

    # ---- what goes

    def to_send(self, business_id: int, channels: Sequence[str], *, same_id_once: bool = True) -> list[ToSend]:
        """Messages whose time has come, in order, now being sent by whoever asked: a conversation's one after
        another, so that none overtakes the one before it. `same_id_once`: of the channel; see `ChannelCaps`."""
        now = self._clock()
        with self._writing() as session:
            rows = session.scalars(
                select(OutboundMessage)
                .where(
                    OutboundMessage.business_id == business_id,
                    OutboundMessage.channel.in_(channels),
                    OutboundMessage.state.in_((SendState.QUEUED, SendState.SENDING)),
                )
                .order_by(OutboundMessage.id)
                .limit(100)
                .with_for_update(skip_locked=True)
            ).all()
            found, behind = [], set()
            for row in rows:
                if (row.channel, row.to) in behind:
                    continue
                behind.add((row.channel, row.to))
                if row.not_before > now:
                    continue
                if row.state is SendState.SENDING and not same_id_once:  # its sender was killed: it may have arrived
                    row.state, row.reason = SendState.FAILED, "outcome_unknown"
                    continue
                if now - row.created_at > _TOO_OLD:
                    row.state, row.reason = SendState.FAILED, "too_old"
                    continue
                row.state, row.attempts, row.not_before = SendState.SENDING, row.attempts + 1, now + _SENDING_FOR
                out = Outbound(row.key, Address.parse(row.to), row.text, template_of(row.template))
                found.append(ToSend(row.id, row.business_id, row.channel, out, row.attempts))
            return found

    def sent(self, message: ToSend, result: SendResult) -> None:
        """What became of an attempt. One that sent nothing is tried again, later and later."""
        now = self._clock()
        with self._writing() as session:
            row = session.get_one(OutboundMessage, message.id, with_for_update=True)
            row.provider_id = result.provider_id or row.provider_id
            row.reason = result.error
            if result.state is SendState.QUEUED:
                wait = min(2 ** min(message.attempts, 12), _LONGEST_WAIT_S)
                row.state, row.not_before = SendState.QUEUED, now + timedelta(seconds=wait)
                if result.error == "not_connected":  # no attempt at all: as soon as there is a connection
                    row.attempts, row.not_before = row.attempts - 1, now + timedelta(seconds=2)
                return
            row.state = later(row.state, result.state)
            if result.state is not SendState.FAILED:
                row.sent_at = row.sent_at or now

    def reported(self, business_id: int, told: Report) -> bool:
        """How far a message of ours came. False for one we do not know."""
        with self._writing() as session:
            row = session.scalars(
                select(OutboundMessage)
                .where(
                    OutboundMessage.business_id == business_id,
                    OutboundMessage.channel == told.channel,
                    or_(OutboundMessage.key == told.provider_id, OutboundMessage.provider_id == told.provider_id),
                )
                .with_for_update()
            ).first()
            if row is None:
                return False
            state = later(row.state, told.state)
            if state is not row.state:
                row.state, row.reason = state, told.error
                row.sent_at = row.sent_at or (self._clock() if state is not SendState.FAILED else None)
            return True

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with self._one_writer, self._write.begin() as session:
            yield session


def conversation_of(
    session: Session, business_id: int, contact_id: int, channel: str, address: Address, now: datetime
) -> Conversation:
    """Theirs over this channel, begun where there is none; locked."""
    session.execute(
        insert(session, Conversation)
        .values(
            business_id=business_id,
            contact_id=contact_id,
            channel=channel,
            address=str(address),
            unread=0,
            wants_person=False,
            talk=0,
            answered_id=0,
            last_at=now,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["business_id", "contact_id", "channel"])
    )
    return session.scalars(
        select(Conversation)
        .where(
            Conversation.business_id == business_id,
            Conversation.contact_id == contact_id,
            Conversation.channel == channel,
        )
        .with_for_update()
        .execution_options(populate_existing=True)
    ).one()


def write(session: Session, talked: Conversation, text: str, *, author: str, key: str, now: datetime) -> None:
    """A message of ours in a conversation, and its way out."""
    queued = sending.queue(
        session,
        business_id=talked.business_id,
        contact_id=talked.contact_id,
        channel=talked.channel,
        to=Address.parse(talked.address),
        text=text,
        purpose=Purpose.SERVICE,
        key=key,
        now=now,
    )
    session.execute(
        insert(session, Message)
        .values(
            business_id=talked.business_id,
            conversation_id=talked.id,
            outbound_id=queued.id,
            channel=talked.channel,
            provider_id=key,
            inbound=False,
            author=author,
            kind=Kind.TEXT,
            text=text,
            raw="",
            talk=talked.talk,
            at=now,
        )
        .on_conflict_do_nothing(index_elements=["business_id", "channel", "provider_id"])
    )
    talked.last_at = now


def message_key(of: str) -> str:
    """An id of the shape WhatsApp Web gives its own messages; the same for the same `of`."""
    return "3EB0" + hashlib.sha256(of.encode()).hexdigest()[:18].upper()
