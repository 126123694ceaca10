"""The desk's side of what leaves: what people see of messages, consents and calls that we make, and what they change.

Each method is one transaction, of the business of whoever asks, with its line in the audit log. What cannot be read
raises `edits.Unreadable` with the field's name, a row of another business `LookupError`.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from moked.channels import MessageState
from moked.channels.policy import ChannelRules, Decision, Purpose
from moked.crm import audit, caller_ids, campaigns, consents, dialling, sending
from moked.crm.audit import Actor
from moked.crm.campaigns import Row
from moked.crm.db import Records
from moked.crm.desk import PAGE, Page
from moked.crm.edits import Unreadable
from moked.crm.followups import TEXTS, WrongText, checked
from moked.crm.leads import OPEN_STAGES, Stage
from moked.crm.models import Contact, Lead
from moked.crm.phone import to_e164
from moked.crm.settle import insert
from moked.crm.tables_policy import (
    Campaign,
    CampaignState,
    ConsentRow,
    Dial,
    DialKind,
    DialState,
    OutboundMessage,
    Reply,
    SendingPolicy,
    UserPhone,
)
from moked.crm.tables_whatsapp import Message

CHANNELS = ("sms", "whatsapp", "email", "voice")
NOTIFY_BY = ("sms", "whatsapp", "email")
_SHOWN = 20
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class ContactOutreach:
    """What is on record about turning to a contact, the latest first. `places`: (conversation, message) by the id of a
    consent that stands in one we still have."""

    consents: Sequence[ConsentRow]
    places: Mapping[int, tuple[int, int]]
    messages: Sequence[OutboundMessage]
    dials: Sequence[Dial]
    suppressed: bool


@dataclass(frozen=True, slots=True)
class CampaignRow:
    """`counts` by the state of its numbers, and by the result of those that are done."""

    campaign: Campaign
    counts: Mapping[str, int]
    total: int

    @property
    def over(self) -> int:
        return sum(self.counts.get(state.value, 0) for state in (DialState.DONE, DialState.BLOCKED))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCampaign:
    """As it was typed. `numbers` is a list, one a line; else the open leads of `stage` ('all': of every open stage)."""

    name: str
    subject: str
    purpose: str
    numbers: str = ""
    stage: str = ""
    per_minute: str = "2"
    max_parallel: str = "1"
    max_attempts: str = "3"
    retry_minutes: str = "120"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSettings:
    """As it was typed. `hours` by weekday (Monday = 0): ('08:00', '21:00'), two empty texts for a day without."""

    hours: Mapping[int, tuple[str, str]]
    per_contact_day: str
    per_channel_day: str
    notify: Sequence[tuple[str, str]]
    texts: Mapping[str, str]
    agent_calls_back: bool
    caller_id: str = ""


class Outreach(Records):
    """On `engine`. `calls_from`: OUTBOUND_CALLER_ID, '' where no calls can be made. `rules` of the channels that are
    connected, by family. `clock` gives aware UTC."""

    def __init__(
        self,
        engine: Engine,
        *,
        calls_from: str = "",
        rules: Mapping[str, ChannelRules] = sending.DEFAULT_RULES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._clock = clock
        self._rules = rules
        self.calls_from = calls_from

    # ---- what is seen

    def messages(
        self, business_id: int, state: MessageState | None = None, page: int = 1
    ) -> Page[tuple[OutboundMessage, str]]:
        """The latest first, each with its contact's name; '' for a notice to the business. Answers in conversations are
        where they were written: in the inbox."""
        rules = [OutboundMessage.business_id == business_id, OutboundMessage.reply == Reply.NONE]
        if state is not None:
            rules.append(OutboundMessage.state == state)
        with self._read.begin() as session:
            total = session.scalar(select(func.count()).select_from(OutboundMessage).where(*rules)) or 0
            number = min(max(page, 1), max(1, -(-total // PAGE)))
            rows = session.execute(
                select(OutboundMessage, Contact.name)
                .outerjoin(Contact, Contact.id == OutboundMessage.contact_id)
                .where(*rules)
                .order_by(OutboundMessage.created_at.desc(), OutboundMessage.id.desc())
                .limit(PAGE)
                .offset((number - 1) * PAGE)
            ).all()
        return Page([(row, name or "") for row, name in rows], total, number)

    def waiting(self, business_id: int) -> int:
        """Messages that a person must look at."""
        with self._read.begin() as session:
            return (
                session.scalar(
                    select(func.count()).where(
                        OutboundMessage.business_id == business_id, OutboundMessage.state == MessageState.APPROVAL
                    )
                )
                or 0
            )

    def of_contact(self, business_id: int, contact_id: int) -> ContactOutreach | None:
        with self._read.begin() as session:
            contact = session.get(Contact, contact_id)
            if contact is None or contact.business_id != business_id:
                return None
            given = session.scalars(
                select(ConsentRow).where(ConsentRow.contact_id == contact_id).order_by(ConsentRow.id.desc())
            ).all()
            return ContactOutreach(
                given,
                _places(session, contact_id),
                session.scalars(
                    select(OutboundMessage)
                    .where(OutboundMessage.contact_id == contact_id, OutboundMessage.reply == Reply.NONE)
                    .order_by(OutboundMessage.id.desc())
                    .limit(_SHOWN)
                ).all(),
                session.scalars(
                    select(Dial).where(Dial.contact_id == contact_id).order_by(Dial.id.desc()).limit(_SHOWN)
                ).all(),
                bool(contact.phone and session.get(SendingPolicy, business_id))
                and consents.suppressed(session, business_id, contact.phone or ""),
            )

    def settings(self, business_id: int) -> SendingPolicy:
        with self._writing() as session:
            return consents.settings_of(session, business_id, self._clock())

    def callers(self, business_id: int) -> list[str]:
        """The numbers it may call from; none: it makes no calls."""
        if not self.calls_from:
            return []
        with self._read.begin() as session:
            return caller_ids.choices(session, business_id, self.calls_from)

    def my_phone(self, by: Actor) -> str:
        with self._read.begin() as session:
            return session.scalar(select(UserPhone.phone).where(UserPhone.user_id == by.user_id)) or ""

    def campaigns(self, business_id: int) -> list[CampaignRow]:
        with self._read.begin() as session:
            rows = session.scalars(
                select(Campaign).where(Campaign.business_id == business_id).order_by(Campaign.id.desc()).limit(PAGE)
            ).all()
            return [_counted(session, row) for row in rows]

    def campaign(self, business_id: int, campaign_id: int, page: int = 1) -> tuple[CampaignRow, Page[tuple[Dial, str]]]:
        """It, and its numbers with their names. Raises `LookupError`."""
        with self._read.begin() as session:
            campaign = _campaign(session, business_id, campaign_id)
            row = _counted(session, campaign)
            number = min(max(page, 1), max(1, -(-row.total // PAGE)))
            found = session.execute(
                select(Dial, Contact.name)
                .join(Contact, Contact.id == Dial.contact_id)
                .where(Dial.campaign_id == campaign_id)
                .order_by(Dial.state == DialState.WAITING, Dial.placed_at.desc(), Dial.id)
                .limit(PAGE)
                .offset((number - 1) * PAGE)
            ).all()
            return row, Page([(dial, name) for dial, name in found], row.total, number)

    # ---- messages and consents

    def approve(self, by: Actor, message_id: int) -> Decision:
        with self._writing() as session:
            return sending.approve(session, by, message_id, self._clock(), self._rules)

    def refuse(self, by: Actor, message_id: int) -> None:
        with self._writing() as session:
            sending.refuse(session, by, message_id, self._clock())

    def give_consent(self, by: Actor, contact_id: int, purpose: str, channel: str, text: str) -> None:
        """They agreed outside of a call; `text` says where and how, for it is the proof."""
        if purpose not in (Purpose.SERVICE.value, Purpose.MARKETING.value) or channel not in CHANNELS:
            raise Unreadable("consent")
        if not text.strip():
            raise Unreadable("proof")
        with self._contact(by, contact_id) as (session, contact):
            consents.give(
                session,
                business_id=by.business_id,
                contact_id=contact.id,
                purpose=Purpose(purpose),
                channel=channel,
                how="person",
                now=self._clock(),
                text=f"{by.name}: {text.strip()}",
            )
            what = f"contact:{contact.id}"
            audit.note(session, by, "consent.given", what, self._clock(), purpose=purpose, channel=channel)

    def revoke(self, by: Actor, contact_id: int) -> None:
        """They want to be left alone."""
        with self._contact(by, contact_id) as (session, contact):
            consents.revoke(
                session,
                business_id=by.business_id,
                contact_id=contact.id,
                how="person",
                now=self._clock(),
                text=by.name,
            )
            audit.note(session, by, "consent.revoked", f"contact:{contact.id}", self._clock())

    # ---- settings and the registry

    def save_settings(self, by: Actor, new: NewSettings) -> None:
        week = {}
        for day, (opens, closes) in new.hours.items():
            if not opens and not closes:
                continue
            try:
                first, last = time.fromisoformat(opens), time.fromisoformat(closes)
            except ValueError:
                raise Unreadable("hours") from None
            if not first < last or day not in range(7):
                raise Unreadable("hours")
            week[str(day)] = [f"{first:%H:%M}", f"{last:%H:%M}"]
        notify = [_target(channel, to) for channel, to in new.notify if to.strip()]
        texts = {}
        for name, text in new.texts.items():
            if name not in TEXTS:
                raise Unreadable("texts")
            try:
                wording = checked(name, text)
            except WrongText as wrong:
                raise Unreadable(f"text_{wrong}") from None
            if wording != TEXTS[name]:
                texts[name] = wording
        per_contact, per_channel = _count(new.per_contact_day, 50), _count(new.per_channel_day, 5000)
        with self._writing() as session:
            row = consents.settings_of(session, by.business_id, self._clock())
            row.week, row.notify, row.texts = week, notify, texts
            row.per_contact_day, row.per_channel_day = per_contact, per_channel
            row.agent_calls_back, row.updated_at = new.agent_calls_back, self._clock()
            if new.caller_id and new.caller_id not in caller_ids.choices(session, by.business_id, self.calls_from):
                raise Unreadable("caller_id")
            row.caller_id = new.caller_id
            audit.note(session, by, "outreach.settings", "", self._clock())

    def upload_checks(self, by: Actor, text: str, checked_on: str) -> tuple[int, int]:
        """What the registry said on a day (ISO) about a list of numbers; how many, and how many lines had none."""
        try:
            day = date.fromisoformat(checked_on)
        except ValueError:
            raise Unreadable("checked_on") from None
        now = self._clock()
        # The end of the day is kind, its beginning is what is certain.
        checked_at = datetime.combine(day, time(), ZoneInfo(by.timezone)).astimezone(UTC)
        if checked_at > now:
            raise Unreadable("checked_on")
        listed, unreadable = campaigns.read_checks(text)
        if not listed or len(listed) > campaigns.MOST_NUMBERS:
            raise Unreadable("numbers")
        with self._writing() as session:
            consents.record_checks(
                session, by.business_id, listed, source=f"{by.name}, {day}", checked_at=checked_at, now=now
            )
            audit.note(session, by, "registry.uploaded", "", now, numbers=len(listed), day=day.isoformat())
        return len(listed), len(unreadable)

    # ---- calls

    def click(self, by: Actor, contact_id: int, phone: str) -> None:
        """Ring the person who clicked, then connect. Their phone is kept for the next time."""
        mine = to_e164(phone)
        if mine is None or not mine.startswith("+"):
            raise Unreadable("my_phone")
        with self._callable(by, contact_id) as (session, contact, number):
            session.execute(
                insert(session, UserPhone)
                .values(user_id=by.user_id, phone=mine)
                .on_conflict_do_update(index_elements=["user_id"], set_={"phone": mine})
            )
            self._dial(session, by, contact, number, DialKind.CLICK, "", ring_first=mine)
            audit.note(session, by, "call.clicked", f"contact:{contact.id}", self._clock())

    def agent_call(self, by: Actor, contact_id: int, subject: str) -> None:
        """The agent calls them, about `subject`, as soon as the gate allows it."""
        subject = " ".join(subject.split())[:_LONGEST_NAME]
        if not subject:
            raise Unreadable("subject")
        with self._callable(by, contact_id) as (session, contact, number):
            self._dial(session, by, contact, number, DialKind.CAMPAIGN, subject, approved_by=by.name)
            audit.note(session, by, "call.agent", f"contact:{contact.id}", self._clock())

    def _dial(
        self,
        session: Session,
        by: Actor,
        contact: Contact,
        number: str,
        kind: DialKind,
        subject: str,
        *,
        ring_first: str = "",
        approved_by: str = "",
    ) -> None:
        now = self._clock()
        live = select(Dial.id).where(
            Dial.contact_id == contact.id,
            Dial.state.in_((DialState.WAITING, DialState.PLACING, DialState.RINGING, DialState.TALKING)),
            Dial.campaign_id.is_(None),
        )
        if session.scalar(live.limit(1)) is not None:
            raise Unreadable("calling")  # a second click, or a colleague's
        dialling.add(
            session,
            business_id=by.business_id,
            contact_id=contact.id,
            kind=kind,
            purpose=Purpose.SERVICE,
            number=number,
            subject=subject,
            key=f"person:{secrets.token_hex(8)}",
            due_at=now,
            now=now,
            user_id=by.user_id,
            ring_first=ring_first,
            approved_by=approved_by,
        )

    def create_campaign(self, by: Actor, new: NewCampaign) -> int:
        name, subject = (" ".join(text.split())[:_LONGEST_NAME] for text in (new.name, new.subject))
        for field, value in (("campaign_name", name), ("subject", subject)):
            if not value:
                raise Unreadable(field)
        if new.purpose not in (Purpose.SERVICE.value, Purpose.MARKETING.value):
            raise Unreadable("purpose")
        purpose, now = Purpose(new.purpose), self._clock()
        with self._writing() as session:
            rows = campaigns.read_list(new.numbers).rows or self._selected(session, by, new.stage)
            if not rows or len(rows) > campaigns.MOST_NUMBERS:
                raise Unreadable("numbers")
            campaign = Campaign(
                business_id=by.business_id,
                name=name,
                subject=subject,
                purpose=purpose,
                state=CampaignState.DRAFT,
                per_minute=_count(new.per_minute, 30),
                max_parallel=_count(new.max_parallel, 50),
                max_attempts=_count(new.max_attempts, 10),
                retry_minutes=_count(new.retry_minutes, 7 * 24 * 60),
                created_by=by.name,
                created_at=now,
            )
            session.add(campaign)
            session.flush()
            for row in rows:
                dialling.add(
                    session,
                    business_id=by.business_id,
                    contact_id=_contact_of(session, by.business_id, row, now),
                    kind=DialKind.CAMPAIGN,
                    purpose=purpose,
                    number=row.number,
                    subject=subject,
                    key=f"campaign:{campaign.id}:{row.number}",
                    due_at=now,
                    now=now,
                    campaign_id=campaign.id,
                    approved_by=by.name if purpose is Purpose.SERVICE else "",
                )
            what = f"campaign:{campaign.id}"
            audit.note(session, by, "campaign.created", what, now, numbers=len(rows), purpose=purpose.value)
            return campaign.id

    def run_campaign(self, by: Actor, campaign_id: int, *, running: bool) -> None:
        """Start it, or go on; or let it pause. What rings goes on ringing. Raises `Unreadable` for one that is
        done, and where no calls can be made."""
        with self._writing() as session:
            campaign = _campaign(session, by.business_id, campaign_id, lock=True)
            if campaign.state is CampaignState.DONE:
                raise Unreadable("campaign_done")
            if (campaign.state is CampaignState.RUNNING) == running:
                return
            if running and not caller_ids.choices(session, by.business_id, self.calls_from):
                raise Unreadable("no_calls")
            campaign.state = CampaignState.RUNNING if running else CampaignState.PAUSED
            if running:
                campaign.resumed_at, campaign.stopped_why = self._clock(), ""
            action = "campaign.started" if running else "campaign.paused"
            audit.note(session, by, action, f"campaign:{campaign.id}", self._clock())

    def approve_dial(self, by: Actor, dial_id: int) -> int | None:
        """A person looked at this number; its campaign's id."""
        with self._writing() as session:
            dial = session.scalars(
                select(Dial).where(Dial.id == dial_id, Dial.business_id == by.business_id).with_for_update()
            ).one_or_none()
            if dial is None or dial.state is not DialState.APPROVAL:
                raise LookupError(f"no waiting number {dial_id}")
            dial.approved_by, dial.state = by.name, DialState.WAITING
            audit.note(session, by, "call.approved", f"dial:{dial.id}", self._clock())
            return dial.campaign_id

    # ---- inside

    def _selected(self, session: Session, by: Actor, stage: str) -> tuple[Row, ...]:
        if not stage:
            return ()
        stages = OPEN_STAGES if stage == "all" else [one for one in Stage if one.value == stage]
        found = session.execute(
            select(Lead.phone, Lead.name)
            .where(Lead.business_id == by.business_id, Lead.stage.in_(stages), Lead.phone.startswith("+"))
            .order_by(Lead.id)
            .limit(campaigns.MOST_NUMBERS + 1)
        )
        return tuple({phone: Row(phone, name) for phone, name in found}.values())

    @contextmanager
    def _contact(self, by: Actor, contact_id: int) -> Iterator[tuple[Session, Contact]]:
        with self._writing() as session:
            contact = session.get(Contact, contact_id, with_for_update={"key_share": True})
            if contact is None or contact.business_id != by.business_id:
                raise LookupError(f"no contact {contact_id}")
            yield session, contact

    @contextmanager
    def _callable(self, by: Actor, contact_id: int) -> Iterator[tuple[Session, Contact, str]]:
        with self._contact(by, contact_id) as (session, contact):
            if not caller_ids.choices(session, by.business_id, self.calls_from):
                raise Unreadable("no_calls")
            if not contact.phone:
                raise Unreadable("phone")
            yield session, contact, contact.phone


def _campaign(session: Session, business_id: int, campaign_id: int, *, lock: bool = False) -> Campaign:
    query = select(Campaign).where(Campaign.id == campaign_id, Campaign.business_id == business_id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise LookupError(f"no campaign {campaign_id}")
    return found


def _places(session: Session, contact_id: int) -> dict[int, tuple[int, int]]:
    rows = session.execute(
        select(ConsentRow.id, Message.conversation_id, Message.id)
        .join(
            Message,
            (Message.business_id == ConsentRow.business_id)
            & (Message.channel == ConsentRow.message_channel)
            & (Message.provider_id == ConsentRow.message_key),
        )
        .where(ConsentRow.contact_id == contact_id, ConsentRow.message_key != "")
    )
    return {consent: (talk, message) for consent, talk, message in rows}


def _counted(session: Session, campaign: Campaign) -> CampaignRow:
    counts: dict[str, int] = {}
    total = 0
    grouped = (
        select(Dial.state, Dial.result, func.count())
        .where(Dial.campaign_id == campaign.id)
        .group_by(Dial.state, Dial.result)
    )
    for state, result, count in session.execute(grouped):
        total += count
        counts[state.value] = counts.get(state.value, 0) + count
        if state is DialState.DONE:
            counts[f"result.{result.value}"] = counts.get(f"result.{result.value}", 0) + count
    return CampaignRow(campaign, counts, total)


def _contact_of(session: Session, business_id: int, row: Row, now: datetime) -> int:
    session.execute(
        insert(session, Contact)
        .values(business_id=business_id, phone=row.number, name=row.name, created_at=now, updated_at=now)
        .on_conflict_do_nothing(index_elements=["business_id", "phone"])
    )
    return session.scalars(
        select(Contact.id).where(Contact.business_id == business_id, Contact.phone == row.number)
    ).one()


def _target(channel: str, to: str) -> dict[str, str]:
    to = to.strip()
    if channel == "email":
        name, _, host = to.partition("@")
        if not name or "." not in host or any(c.isspace() for c in to):
            raise Unreadable("notify")
        return {"channel": channel, "to": to}
    number = to_e164(to)
    if channel not in NOTIFY_BY or number is None or not number.startswith("+"):
        raise Unreadable("notify")
    return {"channel": channel, "to": number}


def _count(text: str, most: int) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= most:
        raise Unreadable("count")
    return int(text)
