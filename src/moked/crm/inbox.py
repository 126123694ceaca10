"""Written conversations on record: what comes is stored once, what the agent answers goes out by the one door.

    Inbound -> receive -> message, conversation, contact (by any of their addresses); who wants to be left alone is
    waiting -> words nobody has answered -> answered: texts to the door, the agent's state, the lead
    read -> unshown -> shown: who wrote is told that it was read
    Report  -> how far a message of ours came (`sending.reported`)

Each method is one transaction. What is decided twice is done once: messages by the carrier's id, answers by the newest
message they answer, sends by their own key (`sending.queue`). Rows name the family of a channel, not the provider.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from moked.channels import (
    Address,
    Inbound,
    Kind,
    Report,
    Template,
    family,
    wishes,
)
from moked.channels.policy import ChannelRules, Purpose
from moked.channels.wishes import OPT_OUT, YES
from moked.crm import chat_leads, consents, hiding, inbound, people, sending
from moked.crm.consents import Written
from moked.crm.db import Records
from moked.crm.models import Contact
from moked.crm.redaction import NUMBERISH, hide
from moked.crm.sealed import Sealer
from moked.crm.sending import DEFAULT_RULES, Queued
from moked.crm.settle import insert
from moked.crm.tables_policy import Reply
from moked.crm.tables_whatsapp import Conversation, Message
from moked.records import LeadDraft

TALK_ENDS: Final = timedelta(hours=12)
"""Who writes after so long begins a new talk: the agent begins anew, and what it learns is another matter."""
_ANSWER_WITHIN: Final = timedelta(hours=24)  # older words, found after a long absence, are a person's to answer
_MOST_ENTRIES: Final = 60
_SHOWN_WITHIN: Final = timedelta(days=7)  # of what is older nobody needs to hear that it was read
_MOST_SHOWN: Final = 100
_SENTENCES: Final = re.compile(r"(?<=[.!?])\s+")


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
class Unshown:
    """Messages that were read, and whoever wrote them was not told: `provider_ids`, the oldest first, up to row
    `upto`."""

    conversation_id: int
    channel: str
    address: Address
    provider_ids: tuple[str, ...]
    upto: int


@dataclass(frozen=True, slots=True)
class Stored:
    """`new`: False where it had come before."""

    conversation_id: int
    new: bool


class Inbox(Records):
    """On `engine`. `clock` gives aware UTC; `next_opening` when the business is next open, for call-backs; `rules` are
    those of the channels that are connected, by family; `sealer` seals identity numbers that the business asked for."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        next_opening: Callable[[datetime], datetime] | None = None,
        rules: Mapping[str, ChannelRules] = DEFAULT_RULES,
        sealer: Sealer | None = None,
    ) -> None:
        super().__init__(engine)
        self._clock = clock
        self._next_opening = next_opening
        self._rules = rules
        self._sealer = sealer

    # ---- what comes

    def receive(self, business_id: int, came: Inbound) -> Stored:
        now, channel = self._clock(), family(came.channel)
        with self._writing() as session:
            known = session.scalar(
                select(Message.conversation_id).where(
                    Message.business_id == business_id,
                    Message.channel == channel,
                    Message.provider_id == came.provider_id,
                )
            )
            if known is not None:
                return Stored(known, False)
            contact = people.at_addresses(session, business_id, (came.address, *came.also), came.name, now)
            talked = conversation_of(session, business_id, contact.id, channel, came.address, now)
            kept = _without_cards(session, contact, came.text)
            row = session.execute(
                insert(session, Message)
                .values(
                    business_id=business_id,
                    conversation_id=talked.id,
                    channel=channel,
                    provider_id=came.provider_id,
                    inbound=True,
                    author="contact",
                    kind=came.kind,
                    text=kept,
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
            self._meant(session, talked, session.get_one(Message, row), came.text, now)
            return Stored(talked.id, True)

    def _meant(self, session: Session, talked: Conversation, row: Message, text: str, now: datetime) -> None:
        """What a message means before anybody answers it. Who wants to be left alone is, at once; `text` as it came."""
        phone = session.get_one(Contact, talked.contact_id).phone or ""
        told = inbound.received(
            session,
            business_id=talked.business_id,
            contact_id=talked.contact_id,
            channel=talked.channel,
            to=sending.to_of(Address.parse(talked.address)),
            text=text,
            key=row.provider_id,
            now=now,
            at=row.at,
            kept=hiding.hide_text(session, talked.business_id, row.text, phone),
            spoken=row.kind is Kind.VOICE,
        )
        if told is not None:
            talked.answered_id = max(talked.answered_id, row.id)
            _add(session, talked, inbound.REMOVED, told, author="agent", key=f"removed:{row.provider_id}", now=now)

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
            talked = session.get_one(Conversation, row.conversation_id, with_for_update=True)
            contact = session.get_one(Contact, talked.contact_id)
            row.text, row.raw = _without_cards(session, contact, text), ""
            self._meant(session, talked, row, text, self._clock())
            return talked.id

    # ---- what they are told was read

    def read(self, business_id: int, conversation_id: int, upto: int) -> None:
        """The agent, or a person, has read what they wrote, up to that message."""
        with self._writing() as session:
            talked = session.get_one(Conversation, conversation_id, with_for_update=True)
            assert talked.business_id == business_id
            talked.read_id = max(talked.read_id, upto)

    def unshown(self, business_id: int, channels: Collection[str]) -> list[Unshown]:
        """In conversations of these families."""
        with self._read.begin() as session:
            rows = session.scalars(
                select(Conversation)
                .where(
                    Conversation.business_id == business_id,
                    Conversation.channel.in_(channels),
                    Conversation.read_id > Conversation.shown_id,
                )
                .limit(50)
            ).all()
            return [
                Unshown(row.id, row.channel, Address.parse(row.address), self._ids(session, row), row.read_id)
                for row in rows
            ]

    def _ids(self, session: Session, talked: Conversation) -> tuple[str, ...]:
        rows = session.scalars(
            select(Message.provider_id)
            .where(
                Message.conversation_id == talked.id,
                Message.inbound,
                Message.id > talked.shown_id,
                Message.id <= talked.read_id,
                Message.at > self._clock() - _SHOWN_WITHIN,
            )
            .order_by(Message.id.desc())
            .limit(_MOST_SHOWN)
        ).all()
        return tuple(reversed(rows))

    def shown(self, one: Unshown) -> None:
        """They were told, or need not be."""
        with self._writing() as session:
            talked = session.get(Conversation, one.conversation_id, with_for_update=True)
            if talked is not None:
                talked.shown_id = max(talked.shown_id, one.upto)

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
        *,
        voice: bool = False,
    ) -> bool:
        """The agent's answer to `wanted`. False, and nothing is changed, where a person took over meanwhile, or another
        process was faster. `person`: they want one, and the desk shows it. `voice`: they are to hear it."""
        now = self._clock()
        with self._writing() as session:
            talked = session.get_one(Conversation, wanted.id, with_for_update=True, populate_existing=True)
            if talked.taken_by is not None or talked.answered_id != wanted.answered or talked.talk != wanted.talk:
                return False
            if draft is not None and draft.extra.get(OPT_OUT) == YES:
                texts = ()
                self._left_alone(session, talked, wanted, now)
            for number, text in enumerate(texts):
                key = f"chat:{talked.id}:{wanted.upto}:{number}"
                write(session, talked, text, author="agent", key=key, now=now, voice=voice, rules=self._rules)
            self._hide(session, wanted)
            if draft is not None and draft.extra.get(OPT_OUT) != YES:
                self._agreed(session, talked, wanted, draft, int((agent or {}).get("turns", 0)), now)
            talked.answered_id, talked.agent = wanted.upto, agent
            talked.wants_person = talked.wants_person or person
            if draft is not None:
                draft = self._kept(session, wanted, draft)
                said = " ".join(line.text for line in wanted.lines if line.inbound)
                opening = self._next_opening(now) if self._next_opening else None
                chat_leads.settle(session, talked, draft, said, now=now, opening=opening)
            return True

    def _left_alone(self, session: Session, talked: Conversation, wanted: Waiting, now: datetime) -> None:
        """The agent understood that they want to be: they are told so once a talk, and nothing else."""
        key = f"talk:{talked.id}:{talked.talk}"
        told = inbound.removed(
            session,
            business_id=talked.business_id,
            contact_id=talked.contact_id,
            channel=talked.channel,
            to=sending.to_of(Address.parse(talked.address)),
            key=key,
            now=now,
            written=_written(session, talked, wanted),
        )
        if told.new:
            _add(session, talked, inbound.REMOVED, told, author="agent", key=f"removed:{key}", now=now)

    def _agreed(
        self, session: Session, talked: Conversation, wanted: Waiting, draft: LeadDraft, turn: int, now: datetime
    ) -> None:
        """What they said yes to in turn number `turn`, this one: the agent asked, their message is the proof."""
        for purpose, channel, name in wishes.agreed(draft.extra):
            source = draft.sources.get(f"extra.{name}")
            if source is None or source.turn != turn:
                continue  # was written down then
            if purpose is Purpose.MARKETING and any(line.kind is Kind.VOICE for line in wanted.new):
                continue  # a machine heard it
            text = hiding.hide_text(session, wanted.business_id, source.quote, wanted.phone)
            consents.give(
                session,
                business_id=talked.business_id,
                contact_id=talked.contact_id,
                purpose=purpose,
                channel=channel,
                how="message",
                now=now,
                text=" ← ".join(filter(None, (text, _question(wanted)))),
                written=_written(session, talked, wanted),
            )

    def _hide(self, session: Session, wanted: Waiting) -> None:
        """Identity numbers are there for the agent that asked for them, until it has answered."""
        for line in wanted.new:
            text = hiding.hide_text(session, wanted.business_id, line.text, wanted.phone)
            if text != line.text:
                session.get_one(Message, line.id).text = text

    def _kept(self, session: Session, wanted: Waiting, draft: LeadDraft) -> LeadDraft:
        """The lead as it may be stored."""
        found = msgspec.to_builtins(draft)
        if not hiding.draft_has_numbers(found):
            return draft
        policy = hiding.policy_of(session, wanted.business_id, (wanted.phone, draft.phone))
        return msgspec.convert(hiding.hide_draft(found, policy, self._sealer, wanted.business_id), LeadDraft)

    # ---- what goes

    def reported(self, business_id: int, told: Report) -> bool:
        """How far a message of ours came. False for one we do not know."""
        with self._writing() as session:
            return sending.reported(session, business_id, told.provider_id, told.state, self._clock(), told.error)


def _written(session: Session, talked: Conversation, wanted: Waiting) -> Written:
    """The newest of their messages that are answered now."""
    row = session.get_one(Message, wanted.upto)
    text = hiding.hide_text(session, wanted.business_id, row.text, wanted.phone)
    return Written(row.provider_id, talked.channel, row.at, text)


def _question(wanted: Waiting) -> str:
    """What we asked them last, '' where that was no question."""
    asked = next((line.text for line in reversed(wanted.lines) if not line.inbound), "")
    return next((part for part in reversed(_SENTENCES.split(asked)) if part.endswith("?")), "")


def _without_cards(session: Session, contact: Contact, text: str) -> str:
    """Nobody needs these, so they are never written down."""
    if not NUMBERISH.search(text):
        return text
    policy = replace(hiding.policy_of(session, contact.business_id, (contact.phone or "",)), ids=False)
    return hide(text, policy)


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


def write(
    session: Session,
    talked: Conversation,
    text: str,
    *,
    author: str,
    key: str,
    now: datetime,
    reply: Reply = Reply.AGENT,
    voice: bool = False,
    template: Template | None = None,
    rules: Mapping[str, ChannelRules] = DEFAULT_RULES,
) -> Queued:
    """A message of ours in a conversation, and its way out by the one door. `template` says the same where free text
    does not reach them."""
    queued = sending.queue(
        session,
        business_id=talked.business_id,
        contact_id=talked.contact_id,
        channel=talked.channel,
        to=sending.to_of(Address.parse(talked.address)),
        text=text,
        purpose=Purpose.SERVICE,
        reply=reply,
        voice=voice,
        template=template,
        key=key,
        now=now,
        rules=rules.get(talked.channel),
    )
    _add(session, talked, text, queued, author=author, key=key, now=now)
    return queued


def _add(
    session: Session, talked: Conversation, text: str, queued: Queued, *, author: str, key: str, now: datetime
) -> None:
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
