"""The single door by which messages leave: what is not queued here is not sent, and the gate decides twice.

    queue   -> queued (due now, or at the first allowed moment) | approval | blocked
    claim   -> sending, decided again with what holds by then: an opt-out that came in between stops it
    settle  -> sent | queued again, later | failed         reported -> delivered | read | failed

Answers in a conversation (`Reply`) pass the same gate. They are no approach of ours, so they count for no limit, and
none overtakes the one before it that is being tried.

A row goes by the line of its family and business ('whatsapp@3'), else by that of the family ('email'), which is
everybody's.

A row is put to 'sending' before the channel hears of it. Whoever dies in between leaves it so: `recover` sends it again
where the channel itself knows the key, and otherwise says that nobody knows, because twice is worse than late.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Engine, and_, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from moked.channels import (
    LID,
    MAIL,
    MEDIA_REFUSED,
    NOT_CONNECTED,
    PHONE,
    Address,
    ChannelCaps,
    MessageState,
    Outbound,
    SendResult,
    Template,
    carrier_id,
    later,
)
from moked.channels.policy import VOICE, ChannelRules, Decision, Facts, Purpose, Request, Verdict, Week, decide
from moked.crm import audit, consents
from moked.crm.audit import Actor
from moked.crm.db import Records
from moked.crm.holydays import rest_days
from moked.crm.models import Business
from moked.crm.settle import insert
from moked.crm.tables_policy import ChannelSeen, Dial, DialKind, OutboundMessage, Reply

DEFAULT_RULES: Mapping[str, ChannelRules] = {
    "sms": ChannelRules(),
    "email": ChannelRules(),
    "voice": ChannelRules(),
    "whatsapp": ChannelRules(cold_ok=False),
}
"""Until a channel that is connected says what it can; the stricter guess."""

_SAME: Mapping[str, tuple[str, ...]] = {"sms": ("sms", VOICE)}
"""Who called us has turned to us on their telephone: a text message to it is an answer."""

_TRIES = 5
_BACK_OFF = (timedelta(seconds=3), timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=1))
_TRIES_ALOUD = 2
"""Then a voice note goes as its words: sounds go by another server, which may be the one that is away."""
BEHIND = "behind"
"""It was not tried: one before it, to the same person, was put off."""
_NO_ATTEMPT = {NOT_CONNECTED: timedelta(seconds=2), BEHIND: timedelta(0)}
_TOO_OLD = timedelta(hours=24)
"""What no channel took for so long is not sent any more."""
_LOST_AFTER = timedelta(minutes=2)
_BATCH = 20
_LEFT = (MessageState.SENDING, MessageState.SENT, MessageState.DELIVERED, MessageState.READ)


@dataclass(frozen=True, slots=True)
class Queued:
    """`new`: False where this key was queued before; nothing has changed then."""

    id: int
    state: MessageState
    decision: Decision
    new: bool = True


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message that is to be sent now, by the channel of this line. `voice`: as a voice note, if one can be made."""

    id: int
    line: str
    out: Outbound
    business_id: int = 0
    voice: bool = False


def queue(
    session: Session,
    *,
    business_id: int,
    contact_id: int | None,
    channel: str,
    to: str,
    text: str,
    purpose: Purpose,
    key: str,
    now: datetime,
    subject: str = "",
    template: Template | None = None,
    reply: Reply = Reply.NONE,
    voice: bool = False,
    asked_at: datetime | None = None,
    call_sid: str = "",
    rules: ChannelRules | None = None,
) -> Queued:
    """Put a message on its way, in the caller's transaction. `channel`: 'sms', 'whatsapp', 'email', or 'desk', which
    people read there. `contact_id` None: to the business's own people. `asked_at`: they asked for this one. `reply`: an
    answer in a conversation; a person's is written by somebody who is there now. `voice`: as a voice note, if that
    can be made."""
    kept = session.scalars(
        select(OutboundMessage).where(OutboundMessage.business_id == business_id, OutboundMessage.key == key)
    ).one_or_none()
    if kept is not None:
        return Queued(kept.id, kept.state, Decision(Verdict.BLOCKED, tuple(kept.reasons)), new=False)
    if channel == "desk":
        decision = Decision(Verdict.SEND, ("owner",))
        state = MessageState.SENT
    else:
        facts = facts_of(session, business_id, contact_id, channel, to, now, rules)
        by_person, answers = reply is Reply.PERSON, reply is not Reply.NONE
        request = Request(purpose, channel, asked_at=asked_at, by_person=by_person, reply=answers)
        decision = decide(request, facts, now)
        if decision.verdict is Verdict.TEMPLATE and template is None:
            decision = Decision(Verdict.BLOCKED, ("window_closed",))
        state = _state(decision)
    row = session.execute(
        insert(session, OutboundMessage)
        .values(
            business_id=business_id,
            contact_id=contact_id,
            call_sid=call_sid,
            channel=channel,
            to=to,
            subject=subject,
            text=text,
            template=template.name if template else "",
            template_values=list(template.values) if template else [],
            template_language=template.language if template else "",
            reply=reply,
            voice=voice,
            purpose=purpose,
            key=key,
            state=state,
            reason=decision.reasons[0],
            reasons=list(decision.reasons),
            asked_at=asked_at,
            approved_by="",
            attempts=0,
            due_at=decision.until or now,
            provider_id="",
            created_at=now,
            sent_at=now if state is MessageState.SENT else None,
        )
        .on_conflict_do_nothing(index_elements=["business_id", "key"])
        .returning(OutboundMessage.id)
    ).scalar_one_or_none()
    if row is None:  # somebody else was faster with the same key
        return queue(
            session, business_id=business_id, contact_id=contact_id, channel=channel, to=to, text=text,
            purpose=purpose, key=key, now=now,
        )  # fmt: skip
    return Queued(row, state, decision)


def _state(decision: Decision) -> MessageState:
    match decision.verdict:
        case Verdict.BLOCKED:
            return MessageState.BLOCKED
        case Verdict.NEEDS_APPROVAL:
            return MessageState.APPROVAL
        case Verdict.SEND | Verdict.TEMPLATE | Verdict.WAIT_UNTIL:
            return MessageState.QUEUED


# ---- what the gate looks at


def facts_of(
    session: Session,
    business_id: int,
    contact_id: int | None,
    channel: str,
    to: str,
    now: datetime,
    rules: ChannelRules | None = None,
) -> Facts:
    """What is on record about sending to `to`."""
    settings = consents.settings_of(session, business_id, now)
    zone = session.get_one(Business, business_id).timezone
    number = to if to.startswith("+") else ""
    ledger = consents.ledger(session, contact_id) if contact_id is not None else ()
    listed = consents.suppressed_at(session, business_id, number) if contact_id is not None and number else None
    refusals = [moment for moment in (listed, *(one.revoked_at for one in ledger)) if moment is not None]
    return Facts(
        zone=zone,
        week=week_of(settings.week),
        rest=rest_days(now.astimezone(ZoneInfo(zone)).year),
        consents=ledger,
        suppressed=listed is not None,
        refused_at=max(refusals, default=None),
        last_inbound_at=session.scalar(
            select(func.max(ChannelSeen.last_inbound_at)).where(
                ChannelSeen.contact_id == contact_id, ChannelSeen.channel.in_(_SAME.get(channel, (channel,)))
            )
        ),
        sent_to_contact=_to_contact(session, contact_id, zone, now) if contact_id is not None else {},
        sent_by_channel=_by_channel(session, business_id, channel, zone, now),
        per_contact_day=settings.per_contact_day,
        per_channel_day=settings.per_channel_day,
        dnc=consents.last_check(session, business_id, number) if number and channel == VOICE else None,
        rules=rules or DEFAULT_RULES.get(channel, ChannelRules(cold_ok=False)),
    )


def _to_contact(session: Session, contact_id: int, zone: str, now: datetime) -> dict[date, int]:
    """Today's messages and calls; removals and what people do themselves are no approach of ours."""
    today, since = _today(zone, now)
    messages = select(func.count()).where(
        OutboundMessage.contact_id == contact_id,
        OutboundMessage.state.in_(_LEFT),
        OutboundMessage.purpose != Purpose.REMOVAL,
        OutboundMessage.reply == Reply.NONE,
        func.coalesce(OutboundMessage.sent_at, OutboundMessage.claimed_at) >= since,
    )
    calls = select(func.count()).where(
        Dial.contact_id == contact_id, Dial.placed_at >= since, Dial.kind != DialKind.CLICK
    )
    return {today: (session.scalar(messages) or 0) + (session.scalar(calls) or 0)}


def _by_channel(session: Session, business_id: int, channel: str, zone: str, now: datetime) -> dict[date, int]:
    today, since = _today(zone, now)
    if channel == VOICE:
        calls = select(func.count()).where(Dial.business_id == business_id, Dial.placed_at >= since)
        return {today: session.scalar(calls) or 0}
    messages = select(func.count()).where(
        OutboundMessage.business_id == business_id,
        OutboundMessage.channel == channel,
        OutboundMessage.state.in_(_LEFT),
        OutboundMessage.purpose != Purpose.OWNER_NOTICE,
        OutboundMessage.reply == Reply.NONE,
        func.coalesce(OutboundMessage.sent_at, OutboundMessage.claimed_at) >= since,
    )
    return {today: session.scalar(messages) or 0}


def _today(zone: str, now: datetime) -> tuple[date, datetime]:
    here = now.astimezone(ZoneInfo(zone))
    return here.date(), here.replace(hour=0, minute=0, second=0, microsecond=0)


def week_of(stored: Mapping[str, Any]) -> Week:
    return {int(day): (time.fromisoformat(a), time.fromisoformat(b)) for day, (a, b) in stored.items()}


def rules_of(caps: ChannelCaps) -> ChannelRules:
    window = None if caps.free_window_s is None else timedelta(seconds=caps.free_window_s)
    return ChannelRules(window, caps.cold_ok, caps.templates)


# ---- the sender's side


def line_of(caps: Mapping[str, ChannelCaps], channel: str, business_id: int) -> str | None:
    """The line a business's messages of this family go by; None where there is none."""
    own = own_line(channel, business_id)
    return own if own in caps else channel if channel in caps else None


def own_line(channel: str, business_id: int) -> str:
    """The line of one business alone."""
    return f"{channel}@{business_id}"


def claim(session: Session, caps: Mapping[str, ChannelCaps], now: datetime, only: str | None = None) -> list[Claimed]:
    """The messages that go out now, by the line of each connected channel (`only`: by this one); each is decided
    anew."""
    rows = session.scalars(
        select(OutboundMessage)
        .where(OutboundMessage.state == MessageState.QUEUED, OutboundMessage.due_at <= now, *_on_line(caps, only))
        .where(~_kept_behind())
        .order_by(OutboundMessage.due_at, OutboundMessage.id)
        .limit(_BATCH)
        .with_for_update(skip_locked=True)
    ).all()
    found = []
    for row in rows:
        line = line_of(caps, row.channel, row.business_id)
        if line is None:
            row.state, row.reason, row.reasons = MessageState.FAILED, "no_channel", ["no_channel"]
            continue
        if row.first_at is not None and now - row.first_at > _TOO_OLD:
            row.state, row.reason, row.reasons = MessageState.FAILED, "too_old", ["too_old"]
            continue
        decision = _decide_again(session, row, rules_of(caps[line]), now)
        if decision.verdict not in (Verdict.SEND, Verdict.TEMPLATE):
            continue
        row.state, row.claimed_at, row.attempts = MessageState.SENDING, now, row.attempts + 1
        session.flush()  # so that the next one's limits count it
        template = None
        if decision.verdict is Verdict.TEMPLATE:
            if not row.template:
                row.state, row.reason, row.reasons = MessageState.BLOCKED, "window_closed", ["window_closed"]
                continue
            template = Template(row.template, row.template_language, tuple(row.template_values))
        row.first_at = row.first_at or now
        key = f"{row.business_id}:{row.key}"
        if caps[line].idempotent:  # so that a report that comes before the channel's answer finds its message
            key = row.provider_id = carrier_id(key)
        text = _cut(row.text, caps[line].max_text)
        out = Outbound(key, _address(row), text, row.subject, template)
        voice = row.voice and template is None and row.attempts <= _TRIES_ALOUD
        found.append(Claimed(row.id, line, out, row.business_id, voice))
    return found


def _on_line(caps: Mapping[str, ChannelCaps], only: str | None) -> list[ColumnElement[bool]]:
    if only is None:
        return []
    channel, _, business = only.partition("@")
    rules: list[ColumnElement[bool]] = [OutboundMessage.channel == channel]
    if business:
        return [*rules, OutboundMessage.business_id == int(business)]
    others = [int(line.partition("@")[2]) for line in caps if line.startswith(f"{channel}@")]
    return [*rules, OutboundMessage.business_id.not_in(others)] if others else rules


def _kept_behind() -> ColumnElement[bool]:
    """An earlier answer to the same person is being sent, or was put off after a try."""
    before = aliased(OutboundMessage)
    return (
        select(before.id)
        .where(
            OutboundMessage.reply != Reply.NONE,
            before.reply != Reply.NONE,
            before.business_id == OutboundMessage.business_id,
            before.contact_id == OutboundMessage.contact_id,
            before.channel == OutboundMessage.channel,
            before.id < OutboundMessage.id,
            or_(
                before.state == MessageState.SENDING,
                and_(before.state == MessageState.QUEUED, before.first_at.is_not(None)),
            ),
        )
        .exists()
    )


def strand(session: Session, caps: Mapping[str, ChannelCaps], now: datetime) -> int:
    """Rows that are due and that no line of `caps` carries fail; returns of how many lines they were."""
    waiting = (
        select(OutboundMessage.channel, OutboundMessage.business_id)
        .where(OutboundMessage.state == MessageState.QUEUED, OutboundMessage.due_at <= now)
        .distinct()
    )
    lost = [
        (channel, business) for channel, business in session.execute(waiting) if not line_of(caps, channel, business)
    ]
    for channel, business in lost:
        rows = select(OutboundMessage).where(
            OutboundMessage.state == MessageState.QUEUED,
            OutboundMessage.due_at <= now,
            OutboundMessage.channel == channel,
            OutboundMessage.business_id == business,
        )
        for row in session.scalars(rows.with_for_update(skip_locked=True)):
            row.state, row.reason, row.reasons = MessageState.FAILED, "no_channel", ["no_channel"]
    return len(lost)


def _cut(text: str, most: int) -> str:
    """As much as the channel takes. The last line stays: it is the link, or how to be removed."""
    if len(text) <= most:
        return text
    body, _, last = text.rpartition("\n")
    room = most - len(last) - 2
    return f"{body[:room].rstrip()}…\n{last}" if body and room > 0 else f"{text[: most - 1]}…"


def _decide_again(session: Session, row: OutboundMessage, rules: ChannelRules | None, now: datetime) -> Decision:
    facts = facts_of(session, row.business_id, row.contact_id, row.channel, row.to, now, rules)
    request = Request(
        row.purpose,
        row.channel,
        asked_at=row.asked_at,
        approved=bool(row.approved_by),
        by_person=row.reply is Reply.PERSON,
        reply=row.reply is not Reply.NONE,
    )
    decision = decide(request, facts, now)
    row.state, row.reason, row.reasons = _state(decision), decision.reasons[0], list(decision.reasons)
    if decision.until is not None:
        row.due_at = decision.until
    return decision


def _address(row: OutboundMessage) -> Address:
    if row.channel == MAIL:
        return Address(MAIL, row.to)
    if row.to.endswith(_LID):
        return Address(LID, row.to.removesuffix(_LID))
    return Address(PHONE, row.to)


def to_of(address: Address) -> str:
    """How a row's `to` says an address."""
    return f"{address.value}{_LID}" if address.scheme == LID else address.value


_LID = "@lid"


def settle(session: Session, message_id: int, result: SendResult, now: datetime) -> None:
    """What the channel said."""
    row = session.get(OutboundMessage, message_id, with_for_update=True)
    if row is None:
        return
    aloud = row.voice
    if result.state is MessageState.SENT:
        row.voice = aloud and result.voice
    if row.state is not MessageState.SENDING:
        return
    row.provider_id = result.provider_id or row.provider_id
    if result.state is MessageState.QUEUED and result.error in _NO_ATTEMPT:
        row.state, row.attempts, row.due_at = MessageState.QUEUED, row.attempts - 1, now + _NO_ATTEMPT[result.error]
        row.reason = result.error
    elif result.state is MessageState.QUEUED and row.attempts < _TRIES:
        row.state, row.due_at = MessageState.QUEUED, now + _BACK_OFF[row.attempts - 1]
        row.reason = result.error
    elif result.state is MessageState.SENT:
        row.state, row.sent_at = MessageState.SENT, now
    elif aloud and result.error == MEDIA_REFUSED:
        _in_words(row, now)
    else:
        row.state, row.reason = MessageState.FAILED, result.error


def _in_words(row: OutboundMessage, now: datetime) -> None:
    """Its sound could not be used, and nobody heard it: it goes again, to be read."""
    row.voice, row.state, row.due_at, row.provider_id, row.reason = False, MessageState.QUEUED, now, "", MEDIA_REFUSED


def hold(session: Session, message_ids: Sequence[int], now: datetime) -> set[int]:
    """Claimed messages whose turn has not come yet are not lost; returns those that nobody took for it."""
    kept = session.scalars(
        update(OutboundMessage)
        .where(OutboundMessage.id.in_(message_ids), OutboundMessage.state == MessageState.SENDING)
        .values(claimed_at=now)
        .returning(OutboundMessage.id)
        .execution_options(synchronize_session=False)
    )
    return set(kept)


def recover(session: Session, caps: Mapping[str, ChannelCaps], now: datetime) -> int:
    """Rows whose sender died between the claim and the answer; returns how many."""
    rows = session.scalars(
        select(OutboundMessage)
        .where(OutboundMessage.state == MessageState.SENDING, OutboundMessage.claimed_at < now - _LOST_AFTER)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        line = line_of(caps, row.channel, row.business_id)
        if line is not None and caps[line].idempotent:
            row.state = MessageState.QUEUED
        else:
            row.state, row.reason = MessageState.FAILED, "maybe_sent"
    return len(rows)


def reported(
    session: Session, business_id: int, provider_id: str, state: MessageState, now: datetime, error: str = ""
) -> bool:
    """The provider's word on a message that was sent (`channels.later`). False for one we do not know."""
    row = session.scalars(
        select(OutboundMessage)
        .where(OutboundMessage.business_id == business_id, OutboundMessage.provider_id == provider_id)
        .with_for_update()
    ).first()
    if row is None:
        return False
    if (after := later(row.state, state)) is not row.state:
        row.state, row.reported_at = after, now
        if after is MessageState.FAILED and row.voice and error == MEDIA_REFUSED:
            _in_words(row, now)
        elif after is MessageState.FAILED:
            row.reason = error or "provider"
        else:
            row.sent_at = row.sent_at or now
    return True


# ---- what people do


def approve(
    session: Session, by: Actor, message_id: int, now: datetime, rules: Mapping[str, ChannelRules] = DEFAULT_RULES
) -> Decision:
    """Somebody looked at it. It goes through the gate again, which may make it wait, and may still block it."""
    row = _waiting(session, by, message_id)
    row.approved_by = by.name
    decision = _decide_again(session, row, rules.get(row.channel), now)
    if decision.verdict in (Verdict.SEND, Verdict.TEMPLATE):
        row.due_at = now
    audit.note(session, by, "message.approved", f"message:{row.id}", now, verdict=decision.verdict.value)
    return decision


def refuse(session: Session, by: Actor, message_id: int, now: datetime) -> None:
    """It shall not be sent: one that waits for a person, or for its hour."""
    row = _waiting(session, by, message_id)
    row.state, row.reason, row.reasons = MessageState.BLOCKED, "person", ["person"]
    audit.note(session, by, "message.refused", f"message:{row.id}", now)


def _waiting(session: Session, by: Actor, message_id: int) -> OutboundMessage:
    row = session.scalars(
        select(OutboundMessage)
        .where(OutboundMessage.id == message_id, OutboundMessage.business_id == by.business_id)
        .with_for_update()
    ).one_or_none()
    if row is None or row.state not in (MessageState.APPROVAL, MessageState.QUEUED):
        raise LookupError(f"no waiting message {message_id}")
    return row


class Outbox(Records):
    """The door for the loop that sends (`jobs.sending`): each method is one transaction. `clock` gives aware UTC."""

    def __init__(self, engine: Engine, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        super().__init__(engine)
        self._clock = clock

    def claim(self, caps: Mapping[str, ChannelCaps], only: str | None = None) -> list[Claimed]:
        now = self._clock()
        due = select(OutboundMessage.id).where(
            OutboundMessage.state == MessageState.QUEUED, OutboundMessage.due_at <= now, *_on_line(caps, only)
        )
        with self._read.begin() as session:  # asked often, and mostly for nothing: without the lock of a writer
            if session.scalar(due.limit(1)) is None:
                return []
        with self._writing() as session:
            return claim(session, caps, now, only)

    def settle(self, message_id: int, result: SendResult) -> None:
        with self._writing() as session:
            settle(session, message_id, result, self._clock())

    def hold(self, message_ids: Sequence[int]) -> set[int]:
        with self._writing() as session:
            return hold(session, message_ids, self._clock())

    def recover(self, caps: Mapping[str, ChannelCaps]) -> int:
        with self._writing() as session:
            return recover(session, caps, self._clock())

    def strand(self, caps: Mapping[str, ChannelCaps]) -> int:
        with self._writing() as session:
            return strand(session, caps, self._clock())
