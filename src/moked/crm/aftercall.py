"""What follows an ended call: consents and refusals it holds go to the ledger, and the messages it calls for to the
door. `follow_up` is one transaction and may be repeated.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from moked.channels import MessageState, Template, optout, wishes
from moked.channels.policy import ChannelRules, Purpose
from moked.crm import consents, sending
from moked.crm.db import Records
from moked.crm.followups import Ended, Message, Target, plan
from moked.crm.inbound import seen
from moked.crm.leads import caller_phone
from moked.crm.models import Business, Call, CallEvent, Lead, Task, Turn
from moked.crm.sending import Queued
from moked.crm.settle import insert
from moked.records import LeadDraft

log = logging.getLogger(__name__)

FOLLOWED_UP = "followed_up"
INBOUND = "inbound"
_CLOSED = frozenset({"cold", "window_closed"})
"""The channel's own reasons, which another channel does not have."""


@dataclass(frozen=True, slots=True)
class FollowedUp:
    """What came of it: messages by their key, consents that were written down, whether they want to be left alone."""

    call_sid: str
    messages: Mapping[str, Queued]
    consents: int = 0
    opted_out: bool = False


class FollowUps(Records):
    """Writes to `engine`. `clock` gives aware UTC; `base_url` is where people reach the desk; `about` what a business,
    by id, tells of itself in a message, its address say; `rules` of the channels that are connected, by family;
    `owner_template`: what WhatsApp carries to the business's own people outside of its free window."""

    def __init__(
        self,
        engine: Engine,
        *,
        base_url: Callable[[], str],
        about: Callable[[int], str] = lambda business_id: "",
        rules: Mapping[str, ChannelRules] | None = None,
        owner_template: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        super().__init__(engine)
        self._base_url = base_url
        self._about = about
        self._rules = sending.DEFAULT_RULES if rules is None else rules
        self._owner_template = owner_template
        self._clock = clock

    def follow_up(self, call_sid: str) -> FollowedUp:
        """After the call: the ledger, the owner's notice, and what the caller was promised. Raises `LookupError` for a
        call that is not on record or has not ended."""
        now = self._clock()
        with self._writing() as session:
            call = session.scalars(
                select(Call).where(Call.sid == call_sid).with_for_update(key_share=True)
            ).one_or_none()
            if call is None or call.ended_at is None:
                raise LookupError(f"no ended call {call_sid}")
            given, opted_out = self._ledger(session, call, now)
            settings = consents.settings_of(session, call.business_id, now)
            notify = [Target(one["channel"], one["to"]) for one in settings.notify]
            ended = self._ended(session, call, opted_out=opted_out)
            queued: dict[str, Queued] = {}
            for message in plan(ended, notify, settings.texts):
                if message.to_owner or call.contact_id is not None:
                    queued[message.key] = done = self._queue(session, call, message, now)
                    if (other := self._instead(message, done)) is not None:
                        queued[other.key] = self._queue(session, call, other, now)
            session.execute(
                insert(session, CallEvent)
                .values(
                    business_id=call.business_id,
                    call_id=call.id,
                    kind=FOLLOWED_UP,
                    key="1",
                    at=now,
                    data={"messages": len(queued), "consents": given},
                )
                .on_conflict_do_nothing(index_elements=["call_id", "kind", "key"])
            )
        log.info("call followed up", extra={"call_sid": call_sid, "messages": len(queued), "consents": given})
        return FollowedUp(call_sid, queued, given, opted_out)

    # ---- inside

    def _queue(self, session: Session, call: Call, message: Message, now: datetime) -> Queued:
        template = None
        if self._owner_template and message.to_owner and message.channel == "whatsapp":
            template = Template(self._owner_template, values=(" · ".join(message.text.split("\n")),))
        return sending.queue(
            session,
            business_id=call.business_id,
            contact_id=None if message.to_owner else call.contact_id,
            channel=message.channel,
            to=message.to,
            text=message.text,
            purpose=message.purpose,
            key=message.key,
            now=now,
            subject=message.subject,
            template=template,
            asked_at=message.asked_at,
            call_sid=call.sid,
            rules=self._rules.get(message.channel),
        )

    def _instead(self, message: Message, done: Queued) -> Message | None:
        """Details that WhatsApp's own terms do not let us open a conversation with go as a text message: they asked."""
        if message.to_owner or message.channel != "whatsapp" or "sms" not in self._rules:
            return None
        closed = done.state is MessageState.BLOCKED and not {*done.decision.reasons} - _CLOSED
        if not closed and "whatsapp" in self._rules:
            return None
        return replace(message, channel="sms", key=f"{message.key}:sms")

    def _ledger(self, session: Session, call: Call, now: datetime) -> tuple[int, bool]:
        """Write down what was agreed to and refused. In doubt the refusal holds: it is written last."""
        if call.contact_id is None or call.simulated:
            return 0, False
        if call.direction == INBOUND:
            seen(session, call.contact_id, "voice", call.started_at)
        draft = msgspec.convert(call.draft, LeadDraft) if call.draft else LeadDraft()
        turns = {turn.number: turn for turn in session.scalars(select(Turn).where(Turn.call_id == call.id))}
        given = 0
        for purpose, channel, name in wishes.agreed(draft.extra):
            source = draft.sources.get(f"extra.{name}")
            turn = turns.get(source.turn) if source is not None else None
            given += consents.give(
                session,
                business_id=call.business_id,
                contact_id=call.contact_id,
                purpose=purpose,
                channel=channel,
                how="call",
                now=call.ended_at or now,
                call_sid=call.sid,
                offset_ms=turn.started_ms if turn is not None else None,
                text=source.quote if source is not None else "",
            )
        refused = next((turn for turn in turns.values() if optout.in_call(turn.caller_text)), None)
        if refused is None and draft.extra.get(wishes.OPT_OUT) != wishes.YES:
            return given, False
        consents.revoke(
            session,
            business_id=call.business_id,
            contact_id=call.contact_id,
            how="call",
            now=call.ended_at or now,
            call_sid=call.sid,
            offset_ms=refused.started_ms if refused is not None else None,
            text=refused.caller_text if refused is not None else "",
        )
        return given, True

    def _ended(self, session: Session, call: Call, *, opted_out: bool) -> Ended:
        business = session.get_one(Business, call.business_id)
        lead = session.get(Lead, call.lead_id) if call.lead_id is not None else None
        task = session.scalars(
            select(Task).where(Task.lead_id == call.lead_id, Task.done_at.is_(None)).order_by(Task.due_at).limit(1)
        ).one_or_none()
        draft = msgspec.convert(call.draft, LeadDraft) if call.draft else LeadDraft()
        assert call.ended_at is not None
        base = self._base_url()
        return Ended(
            call_sid=call.sid,
            business=business.name,
            ended_at=call.ended_at,
            phone=caller_phone(call.caller),
            lead_id=lead.id if lead is not None else None,
            origin=lead.origin if lead is not None else None,
            name=lead.name if lead is not None else "",
            need=lead.need if lead is not None else "",
            best_time=draft.best_time,
            summary=lead.summary if lead is not None else "",
            next_step=_next_step(task, business.timezone),
            about=self._about(business.id),
            agreed=tuple(channel for purpose, channel, _ in wishes.agreed(draft.extra) if purpose is Purpose.SERVICE),
            opted_out=opted_out,
            outbound=call.direction != INBOUND,
            rehearsal=call.simulated,
            links={"lead": f"{base}/leads/{call.lead_id}", "call": f"{base}/calls/{call.sid}"},
        )


def _next_step(task: Task | None, zone: str) -> str:
    if task is None:
        return ""
    due = task.due_at.astimezone(ZoneInfo(zone))
    return f"לחזור עד {due.day}.{due.month} בשעה {due:%H:%M}"
