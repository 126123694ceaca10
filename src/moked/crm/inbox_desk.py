"""The inbox as people at the desk see and use it: conversations, taking one over, answering, and the accounts.

Reads begin with the business; each change is one transaction with its line in the audit log. A row of another business
raises `LookupError`, as one that is not there; what cannot be used raises `Unreadable`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType

from sqlalchemy import ColumnElement, Engine, func, select
from sqlalchemy.orm import Session

from moked.channels import WHATSAPP, Template
from moked.channels.policy import ChannelRules, window_closed
from moked.channels.templates import Approved, WrongValues
from moked.crm import audit
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.edits import Unreadable
from moked.crm.inbox import write
from moked.crm.models import Business, Contact, Lead, UserAccount
from moked.crm.phone import to_e164
from moked.crm.reading import PAGE, Page
from moked.crm.sending import DEFAULT_RULES
from moked.crm.tables_policy import ChannelSeen, OutboundMessage, Reply
from moked.crm.tables_whatsapp import ChannelAccount, Conversation, Message
from moked.crm.whatsapp_store import account_row

_SHOWN = 200
LONGEST = 4000


class Which(StrEnum):
    """Of the conversations."""

    ALL = "all"
    UNREAD = "unread"
    PEOPLE = "people"  # a person answers, or is asked for


class Order(StrEnum):
    """What a person wants of a channel."""

    START = "start"
    STOP = "stop"
    FORGET = "forget"


@dataclass(frozen=True, slots=True)
class Row:
    conversation: Conversation
    contact: Contact
    last: Message | None


@dataclass(frozen=True, slots=True)
class Said:
    """A message, and how far it came if it is ours."""

    message: Message
    out: OutboundMessage | None


@dataclass(frozen=True, slots=True)
class Thread:
    """`older`: there is more before these. `by`: the person who has it. `closed`: it is too late for free text;
    `offers`: what can be sent then, with what its places say beforehand."""

    conversation: Conversation
    contact: Contact
    said: Sequence[Said]
    older: bool
    by: str
    lead: Lead | None
    closed: bool = False
    offers: Sequence[tuple[Approved, Sequence[str]]] = ()


class InboxDesk(Records):
    """On `engine`. `clock` gives aware UTC; `changed(business, conversation)` is called after each change. `rules` are
    those of the channels that are connected, by family; `templates` those that are approved for WhatsApp, by
    business."""

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        changed: Callable[[int, int], None] = lambda business, conversation: None,
        rules: Mapping[str, ChannelRules] = DEFAULT_RULES,
        templates: Mapping[int, Sequence[Approved]] = MappingProxyType({}),
    ) -> None:
        super().__init__(engine)
        self._clock = clock
        self._changed = changed
        self._rules = rules
        self._templates = templates

    # ---- looking

    def conversations(self, business_id: int, which: Which = Which.ALL, page: int = 1) -> Page[Row]:
        """The latest first."""
        rules = [Conversation.business_id == business_id, _theirs_still()]
        if which is Which.UNREAD:
            rules.append(Conversation.unread > 0)
        elif which is Which.PEOPLE:
            rules.append(Conversation.taken_by.is_not(None) | Conversation.wants_person)
        with self._read.begin() as session:
            total = session.scalar(select(func.count()).select_from(Conversation).where(*rules)) or 0
            newest = (
                select(func.max(Message.id)).where(Message.conversation_id == Conversation.id).correlate(Conversation)
            ).scalar_subquery()
            rows = session.execute(
                select(Conversation, Contact, Message)
                .join(Contact, Contact.id == Conversation.contact_id)
                .outerjoin(Message, Message.id == newest)
                .where(*rules)
                .order_by(Conversation.last_at.desc(), Conversation.id.desc())
                .limit(PAGE)
                .offset((page - 1) * PAGE)
            ).all()
            return Page([Row(*row) for row in rows], total, page)

    def unread(self, business_id: int) -> int:
        """Conversations with something nobody has seen."""
        with self._read.begin() as session:
            found = select(func.count()).select_from(Conversation)
            unseen = found.where(Conversation.business_id == business_id, Conversation.unread > 0, _theirs_still())
            return session.scalar(unseen) or 0

    def thread(self, business_id: int, conversation_id: int, writer: str = "") -> Thread | None:
        """`writer`: the name of who looks, and may write there."""
        with self._read.begin() as session:
            row = session.execute(
                select(Conversation, Contact, UserAccount.name, Lead)
                .join(Contact, Contact.id == Conversation.contact_id)
                .outerjoin(UserAccount, UserAccount.id == Conversation.taken_by)
                .outerjoin(Lead, Lead.id == Conversation.lead_id)
                .where(Conversation.business_id == business_id, Conversation.id == conversation_id)
            ).one_or_none()
            if row is None:
                return None
            talked, contact, by, lead = row
            said = session.execute(
                select(Message, OutboundMessage)
                .outerjoin(OutboundMessage, OutboundMessage.id == Message.outbound_id)
                .where(Message.conversation_id == talked.id)
                .order_by(Message.id.desc())
                .limit(_SHOWN + 1)
            ).all()
            shown = [Said(message, out) for message, out in reversed(said[:_SHOWN])]
            closed = self._closed(session, talked)
            offers: list[tuple[Approved, Sequence[str]]] = []
            if closed:
                known = _known(session, talked, contact, lead, writer)
                offers = [(one, one.beforehand(known)) for one in self._approved(talked)]
            return Thread(talked, contact, shown, len(said) > _SHOWN, by or "", lead, closed, offers)

    def _closed(self, session: Session, talked: Conversation) -> bool:
        rules = self._rules.get(talked.channel, ChannelRules())
        if rules.free_window is None:
            return False
        last = session.scalar(
            select(ChannelSeen.last_inbound_at).where(
                ChannelSeen.contact_id == talked.contact_id, ChannelSeen.channel == talked.channel
            )
        )
        return window_closed(rules, last, self._clock())

    def _approved(self, talked: Conversation) -> Sequence[Approved]:
        return self._templates.get(talked.business_id, ()) if talked.channel == WHATSAPP else ()

    def of_contact(self, business_id: int, contact_id: int) -> Sequence[Conversation]:
        with self._read.begin() as session:
            return session.scalars(
                select(Conversation)
                .where(Conversation.business_id == business_id, Conversation.contact_id == contact_id)
                .order_by(Conversation.last_at.desc())
            ).all()

    def channel(self, business_id: int, channel: str) -> ChannelAccount:
        """As it stands; one nobody ever asked for is off."""
        with self._writing() as session:
            return account_row(session, business_id, channel, self._clock())

    # ---- changing

    def seen(self, by: Actor, conversation_id: int) -> None:
        """Whoever wrote is told so, where that is wanted."""
        with self._conversation(by, conversation_id) as (session, talked):
            self._read_all(session, talked)

    def take_over(self, by: Actor, conversation_id: int) -> None:
        """From now on this person answers, and the agent does not."""
        with self._conversation(by, conversation_id) as (session, talked):
            self._take(session, by, talked)

    def hand_back(self, by: Actor, conversation_id: int) -> None:
        """The agent answers again, from the next message on: what came meanwhile was for the person."""
        with self._conversation(by, conversation_id) as (session, talked):
            if talked.taken_by is None and not talked.wants_person:
                return
            talked.taken_by, talked.wants_person = None, False
            self._nothing_waits(session, talked)
            audit.note(session, by, "inbox.handed_back", f"conversation:{talked.id}", self._clock())

    def send(self, by: Actor, conversation_id: int, text: str, key: str) -> None:
        """A person's message; who writes has taken over. The same `key` (of the form) is the same message."""
        text = "\n".join("".join(c for c in line if c.isprintable()).rstrip() for line in text.splitlines()).strip()
        if not text or len(text) > LONGEST:
            raise Unreadable("message")
        with self._conversation(by, conversation_id) as (session, talked):
            self._say(session, by, talked, text, key)

    def send_template(self, by: Actor, conversation_id: int, name: str, values: Sequence[str], key: str) -> None:
        """The same by a template, which reaches who wrote long ago too. Within the free window its words go."""
        with self._conversation(by, conversation_id) as (session, talked):
            chosen = next((one for one in self._approved(talked) if one.name == name), None)
            if chosen is None:
                raise Unreadable("template")
            try:
                template, text = chosen.filled(values)
            except WrongValues:
                raise Unreadable("template") from None
            self._say(session, by, talked, text, key, template)

    def _say(
        self,
        session: Session,
        by: Actor,
        talked: Conversation,
        text: str,
        key: str,
        template: Template | None = None,
    ) -> None:
        self._take(session, by, talked)
        self._read_all(session, talked)
        write(
            session,
            talked,
            text,
            author=by.name,
            key=f"desk:{talked.id}:{by.user_id}:{key}",
            now=self._clock(),
            reply=Reply.PERSON,
            template=template,
            rules=self._rules,
        )
        audit.note(session, by, "inbox.sent", f"conversation:{talked.id}", self._clock())

    def order(self, by: Actor, channel: str, order: Order, phone: str = "") -> None:
        """Link, switch off, or unlink an account. `phone`: give a code to type on that telephone."""
        number = ""
        if phone.strip():
            number = to_e164(phone) or ""
            if not number.startswith("+"):
                raise Unreadable("pair_phone")
        with self._writing() as session:
            row = account_row(session, by.business_id, channel, self._clock())
            row.wanted, row.forget = order is Order.START, order is Order.FORGET
            row.pair_phone, row.qr, row.code = number, "", ""
            row.asked, row.changed_at = row.asked + 1, self._clock()
            audit.note(session, by, f"channel.{order.value}", f"channel:{channel}", self._clock())
        self._changed(by.business_id, 0)

    # ---- inside

    def _take(self, session: Session, by: Actor, talked: Conversation) -> None:
        self._nothing_waits(session, talked)
        if talked.taken_by != by.user_id:
            talked.taken_by, talked.wants_person = by.user_id, False
            audit.note(session, by, "inbox.taken", f"conversation:{talked.id}", self._clock())

    def _read_all(self, session: Session, talked: Conversation) -> None:
        talked.unread, talked.read_id = 0, max(talked.read_id, _newest(session, talked))

    def _nothing_waits(self, session: Session, talked: Conversation) -> None:
        talked.answered_id = max(talked.answered_id, _newest(session, talked))

    @contextmanager
    def _conversation(self, by: Actor, conversation_id: int) -> Iterator[tuple[Session, Conversation]]:
        with self._writing() as session:
            talked = session.scalars(
                select(Conversation)
                .where(Conversation.id == conversation_id, Conversation.business_id == by.business_id)
                .with_for_update()
                .execution_options(populate_existing=True)
            ).one_or_none()
            if talked is None:
                raise LookupError(f"no conversation {conversation_id}")
            yield session, talked
        self._changed(by.business_id, conversation_id)


def _known(session: Session, talked: Conversation, contact: Contact, lead: Lead | None, writer: str) -> dict[str, str]:
    """What a template's places may say beforehand, by `templates.FILLS`."""
    return {
        "name": contact.name,
        "business": session.get_one(Business, talked.business_id).name,
        "need": lead.need if lead is not None else "",
        "time": lead.best_time if lead is not None else "",
        "person": writer,
    }


def _newest(session: Session, talked: Conversation) -> int:
    """The last message of theirs; 0 where there is none."""
    newest = select(func.max(Message.id)).where(Message.conversation_id == talked.id, Message.inbound)
    return session.scalar(newest) or 0


def _theirs_still() -> ColumnElement[bool]:
    """Of nobody who was merged into somebody: that conversation is empty."""
    gone = select(Contact.id).where(Contact.id == Conversation.contact_id, Contact.merged_into_id.is_not(None))
    return ~gone.correlate(Conversation).exists()
