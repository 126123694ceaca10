"""The policy gate (pure): may this be sent, now, later, after a person agreed, or not at all, and why.

    decide(request, facts, now) -> Decision
        blocked          nothing can change it but new facts (a consent, a registry check)
        needs_approval   a person looks first
        wait_until       `until` is the first moment at which it is allowed
        template, send   now

A block outranks an approval, an approval outranks waiting: what a person approves may still wait for the morning. What
would be blocked by the time it may be sent is blocked at once. Every decision names its rules (`channels.rules`).

Who asked for a message a moment ago gets it at any hour; so does who just wrote. A caller's opt-out says nothing about
what the business's own people are told. That they were removed is the one thing who opted out is still told.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

ANY: Final = "any"
"""A consent, or its end, for every channel."""
VOICE: Final = "voice"

CONSENT_LASTS: Final = timedelta(days=365)
DNC_LASTS: Final = timedelta(days=15)
FRESH: Final = timedelta(minutes=30)
"""So long after they asked, or wrote, a person is still there."""
AGREED_FOR: Final = timedelta(hours=1)
"""So long after the hour they named, a call is still the one they asked for."""
REST_BEGINS: Final = time(14)
REST_ENDS: Final = time(21)
_FARTHEST_DAYS: Final = 60
_FRIDAY: Final = 4
_SATURDAY: Final = 5
_SUNDAY: Final = 6


class Purpose(StrEnum):
    SERVICE = "service"  # what somebody asked for, or an errand of theirs with us
    MARKETING = "marketing"  # an advertisement, in the law's sense
    OWNER_NOTICE = "owner_notice"  # to the business's own people
    REMOVAL = "removal"  # "you are removed", once, to who has just asked for it


class Verdict(StrEnum):
    SEND = "send"
    TEMPLATE = "template"
    WAIT_UNTIL = "wait_until"
    NEEDS_APPROVAL = "needs_approval"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Request:
    """`asked_at`: when the person asked for this very thing. `agreed_for`: the hour they named for a call. `approved`:
    somebody of the business looked at it. `by_person`: one of them makes the call, at this moment. `reply`: it answers,
    in a conversation, what the person wrote last."""

    purpose: Purpose
    channel: str  # 'sms', 'whatsapp', 'email', 'voice'
    asked_at: datetime | None = None
    agreed_for: datetime | None = None
    approved: bool = False
    by_person: bool = False
    reply: bool = False


@dataclass(frozen=True, slots=True)
class Consent:
    """One line of the ledger. Without `given_at` it only says that they refused. `channel` may be `ANY`."""

    purpose: Purpose
    channel: str
    given_at: datetime | None
    revoked_at: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DncCheck:
    checked_at: datetime
    listed: bool


@dataclass(frozen=True, slots=True)
class ChannelRules:
    """Of the channel's capabilities, those that the gate looks at."""

    free_window: timedelta | None = None
    cold_ok: bool = True
    templates: bool = False


Week = Mapping[int, tuple[time, time]]
"""Sending hours by weekday, Monday = 0; a day that is missing is closed. The end is not in it."""

DEFAULT_WEEK: Final[Week] = {day: (time(8), time(21)) for day in (_SUNDAY, 0, 1, 2, 3)}


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a decision looks at. `rest`: holidays by date, with their names; Shabbat is one anyway.

    `refused_at`: when they last asked to be left alone, or forgotten. `sent_to_contact` and `sent_by_channel` count
    what was sent on days of the business; all moments are aware.
    """

    zone: str = "Asia/Jerusalem"
    week: Week = field(default_factory=lambda: DEFAULT_WEEK)
    rest: Mapping[date, str] = field(default_factory=dict)
    consents: tuple[Consent, ...] = ()
    suppressed: bool = False
    refused_at: datetime | None = None
    last_inbound_at: datetime | None = None
    sent_to_contact: Mapping[date, int] = field(default_factory=dict)
    sent_by_channel: Mapping[date, int] = field(default_factory=dict)
    per_contact_day: int = 3
    per_channel_day: int = 200
    dnc: DncCheck | None = None
    rules: ChannelRules = field(default_factory=ChannelRules)


@dataclass(frozen=True, slots=True)
class Decision:
    """`reasons` are names of `channels.rules.RULES`, never empty. `until` belongs to `wait_until` alone."""

    verdict: Verdict
    reasons: tuple[str, ...]
    until: datetime | None = None


class Standing(StrEnum):
    """What the ledger says about one purpose on one channel."""

    NONE = "none"
    GIVEN = "given"
    EXPIRED = "expired"
    REVOKED = "revoked"


def standing(consents: tuple[Consent, ...], purpose: Purpose, channel: str, now: datetime) -> Standing:
    """A refusal ends all that was given before it; what is given after it counts. Consent to advertisements is consent
    to service too; a refusal of service refuses advertisements too."""
    ours = [one for one in consents if one.channel in (channel, ANY)]
    covering = {Purpose.SERVICE: (Purpose.SERVICE, Purpose.MARKETING)}.get(purpose, (purpose,))
    refusing = {Purpose.MARKETING: (Purpose.SERVICE, Purpose.MARKETING)}.get(purpose, (purpose,))
    ended = [one.revoked_at for one in ours if one.purpose in refusing and one.revoked_at and one.revoked_at <= now]
    since = max(ended) if ended else None
    given = [
        one
        for one in ours
        if one.purpose in covering and one.given_at and one.given_at <= now and (since is None or one.given_at > since)
    ]
    if any(_in_force(one, now) for one in given):
        return Standing.GIVEN
    if given:
        return Standing.EXPIRED
    return Standing.NONE if since is None else Standing.REVOKED


def _in_force(consent: Consent, now: datetime) -> bool:
    assert consent.given_at is not None
    ended = consent.revoked_at is not None and consent.revoked_at <= now
    return not ended and now < (consent.expires_at or consent.given_at + CONSENT_LASTS)


def decide(request: Request, facts: Facts, now: datetime) -> Decision:
    """May `request` be sent at `now` (aware)?"""
    if blocks := tuple(_blocks(request, facts, now)):
        return Decision(Verdict.BLOCKED, blocks)
    until, waiting = _first_allowed(request, facts, now)
    if until is None:
        return Decision(Verdict.BLOCKED, ("never_open",))
    if until > now and (blocks := tuple(_blocks(request, facts, until))):
        return Decision(Verdict.BLOCKED, (*blocks, *waiting))
    if not request.approved and (asks := tuple(_asks(request, facts, max(now, until)))):
        return Decision(Verdict.NEEDS_APPROVAL, asks)
    if until > now:
        return Decision(Verdict.WAIT_UNTIL, waiting, until)
    why = tuple(_grounds(request, facts, now))
    if _out_of_window(request, facts, now):
        return Decision(Verdict.TEMPLATE, (*why, "template"))
    return Decision(Verdict.SEND, why)


def wrote_since(request: Request, facts: Facts) -> bool:
    """They asked to be left alone, and later wrote of their own accord: what they ask is answered, and nothing more."""
    if not request.reply or request.purpose is not Purpose.SERVICE:
        return False
    refused, wrote = facts.refused_at, facts.last_inbound_at
    return refused is not None and wrote is not None and wrote > refused


# ---- what forbids it


def _blocks(request: Request, facts: Facts, at: datetime) -> Iterator[str]:
    to_customer = request.purpose is not Purpose.OWNER_NOTICE
    if request.purpose is Purpose.REMOVAL:
        if request.asked_at is None or not timedelta(0) <= at - request.asked_at <= FRESH:
            yield "removal_late"
    elif to_customer:
        answers = wrote_since(request, facts)
        if facts.suppressed and not answers:
            yield "suppressed"
        stands = standing(facts.consents, request.purpose, request.channel, at)
        if stands is Standing.REVOKED and not answers:
            yield "revoked"
        elif request.purpose is Purpose.MARKETING:
            if stands is Standing.NONE:
                yield "no_consent"
            elif stands is Standing.EXPIRED:
                yield "expired"
        if request.purpose is Purpose.MARKETING and request.channel == VOICE:
            yield from _registry(facts, stands, at)
    if request.channel == VOICE:
        return
    if _out_of_window(request, facts, at) and not facts.rules.templates:
        yield "window_closed"
    elif facts.rules.free_window is None and not facts.rules.cold_ok and facts.last_inbound_at is None and to_customer:
        yield "cold"


def _registry(facts: Facts, stands: Standing, at: datetime) -> Iterator[str]:
    if facts.dnc is None:
        yield "dnc_unchecked"
    elif at - facts.dnc.checked_at > DNC_LASTS:
        yield "dnc_old"
    elif facts.dnc.listed and stands is not Standing.GIVEN:
        yield "dnc_listed"


def _out_of_window(request: Request, facts: Facts, at: datetime) -> bool:
    return request.channel != VOICE and window_closed(facts.rules, facts.last_inbound_at, at)


def window_closed(rules: ChannelRules, last_inbound_at: datetime | None, at: datetime) -> bool:
    """Free text does not reach them at that moment."""
    if rules.free_window is None:
        return False
    return last_inbound_at is None or at - last_inbound_at >= rules.free_window


# ---- what a person decides


def _asks(request: Request, facts: Facts, at: datetime) -> Iterator[str]:
    stands = standing(facts.consents, request.purpose, request.channel, at)
    if request.purpose is Purpose.MARKETING:
        if request.channel == VOICE and facts.dnc is not None and facts.dnc.listed:
            yield "listed_with_consent"
    elif request.purpose is Purpose.SERVICE and stands is not Standing.GIVEN:
        theirs = request.asked_at or request.agreed_for or request.by_person or facts.last_inbound_at
        if not theirs:
            yield "service_expired" if stands is Standing.EXPIRED else "no_proof"


# ---- when


def _first_allowed(request: Request, facts: Facts, now: datetime) -> tuple[datetime | None, tuple[str, ...]]:
    """The first allowed moment from `now` on, and what stands against now; None where there is none."""
    if _at_any_hour(request, facts, now):
        return now, ()
    zone = ZoneInfo(facts.zone)
    why = list(_not_now(request, facts, now, zone))
    if not why:
        return now, ()
    today = now.astimezone(zone).date()
    for ahead in range(_FARTHEST_DAYS):
        day = today + timedelta(days=ahead)
        if _full(facts, day):
            continue
        for begin, end in _openings(request, facts, day, zone):
            at = max(now, begin)
            if at < end:
                return at, tuple(why)
    return None, tuple(why)


def _at_any_hour(request: Request, facts: Facts, now: datetime) -> bool:
    if request.purpose in (Purpose.OWNER_NOTICE, Purpose.REMOVAL) or request.by_person:
        return True
    if request.purpose is not Purpose.SERVICE or request.channel == VOICE:
        return False
    theirs = (request.asked_at, facts.last_inbound_at)
    return any(at is not None and timedelta(0) <= now - at <= FRESH for at in theirs)


def _not_now(request: Request, facts: Facts, now: datetime, zone: ZoneInfo) -> Iterator[str]:
    day = now.astimezone(zone).date()
    if not any(begin <= now < end for begin, end in _openings(request, facts, day, zone)):
        yield _resting(facts, now.astimezone(zone)) or "quiet_hours"
    if facts.sent_to_contact.get(day, 0) >= facts.per_contact_day:
        yield "cap_contact"
    if facts.sent_by_channel.get(day, 0) >= facts.per_channel_day:
        yield "cap_day"


def _full(facts: Facts, day: date) -> bool:
    by_contact, by_channel = facts.sent_to_contact.get(day, 0), facts.sent_by_channel.get(day, 0)
    return by_contact >= facts.per_contact_day or by_channel >= facts.per_channel_day


def _openings(request: Request, facts: Facts, day: date, zone: ZoneInfo) -> list[tuple[datetime, datetime]]:
    """When on `day` it is allowed, by the clock alone, in UTC and in order: the week's hours, and the hour that was
    agreed; both without what is Shabbat or holiday."""
    spans = []
    if day.weekday() in facts.week:
        opens, closes = facts.week[day.weekday()]
        spans.append((datetime.combine(day, opens), datetime.combine(day, closes)))
    if request.agreed_for is not None:
        begin = request.agreed_for.astimezone(zone).replace(tzinfo=None)
        if begin.date() == day:
            spans.append((begin, begin + AGREED_FOR))
    allowed = [_without_rest(facts, day, begin, end) for begin, end in spans]
    return sorted(
        (begin.replace(tzinfo=zone).astimezone(UTC), end.replace(tzinfo=zone).astimezone(UTC))
        for begin, end in allowed
        if begin < end
    )


def _without_rest(facts: Facts, day: date, begin: datetime, end: datetime) -> tuple[datetime, datetime]:
    tomorrow = _rests(facts, day + timedelta(days=1))
    if _rests(facts, day):
        begin = end if tomorrow else max(begin, datetime.combine(day, REST_ENDS))
    elif tomorrow:
        end = min(end, datetime.combine(day, REST_BEGINS))
    return begin, end


def _rests(facts: Facts, day: date) -> bool:
    return day.weekday() == _SATURDAY or day in facts.rest


def _resting(facts: Facts, here: datetime) -> str:
    """'shabbat', 'holiday' or ''."""
    day = here.date()
    next_day = day + timedelta(days=1)
    if _rests(facts, day) and (here.time() < REST_ENDS or _rests(facts, next_day)):
        return "holiday" if day in facts.rest else "shabbat"
    if _rests(facts, next_day) and here.time() >= REST_BEGINS:
        return "holiday" if next_day in facts.rest else "shabbat"
    return ""


# ---- what speaks for it


def _grounds(request: Request, facts: Facts, now: datetime) -> Iterator[str]:
    if request.purpose is Purpose.OWNER_NOTICE:
        yield "owner"
        return
    if request.purpose is Purpose.REMOVAL:
        yield "removal"
        return
    found = False
    for name, holds in (
        ("wrote_since", wrote_since(request, facts)),
        ("asked", request.asked_at is not None),
        ("agreed", request.agreed_for is not None),
        ("consent", standing(facts.consents, request.purpose, request.channel, now) is Standing.GIVEN),
        ("reply", facts.last_inbound_at is not None and request.purpose is Purpose.SERVICE),
        ("by_person", request.by_person),
        ("approved", request.approved),
    ):
        if holds:
            found = True
            yield name
    if not found:
        yield "service"
