"""What a call leaves behind: a lead and something to do, or the reason why not. Pure rules; storing is `settle`'s.

    CallFacts -> decide -> LeadWanted -> merge     -> LeadState   (what the lead says now)
                    |               '-> follow_up -> FollowUp    (who must do what, by when)
                    '-> NoLead

A caller costs money to win, so doubt makes a lead. There is none only where nobody can be called back, or where
nothing at all was said to an agent that worked. What we broke, we say we broke.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from moked.crm.finding import words
from moked.crm.phone import national, to_e164
from moked.records import LeadDraft, Outcome

_LONGEST_NEED = 1000
_LONGEST_QUOTE = 300

BROKE = "השיחה נקטעה בגלל תקלה אצלנו. יש לחזור אל הפונה בהקדם."
NEVER_STARTED = "השיחה לא התחברה לסוכן בגלל תקלה אצלנו. יש לחזור אל הפונה בהקדם."
WAS_REFUSED = "כל הקווים היו תפוסים. הובטח לפונה שנחזור בהקדם."
ASKED_BACK = "התבקשה שיחה חוזרת למספר {number}."
REACHED = "כל הקווים היו תפוסים, והשיחה הועברה לנציג."
LEFT_MESSAGE = "הושארה הודעה קולית."
WAS_UNHEARD = "בגלל תקלה לא שמענו את הפונה. הובטח שנחזור בהקדם."
NOBODY_ANSWERED = "הפונה ביקש לדבר עם נציג, ולא היה מענה. יש לחזור בהקדם."


class Stage(StrEnum):
    """Where a lead stands: חדש, בטיפול, נקבעה פגישה, הצעת מחיר, נסגר, אבד."""

    NEW = "new"
    IN_PROGRESS = "in_progress"
    MEETING = "meeting"
    QUOTED = "quoted"
    WON = "won"
    LOST = "lost"


OPEN_STAGES = (Stage.NEW, Stage.IN_PROGRESS, Stage.MEETING, Stage.QUOTED)
_WORKED_ON = frozenset({Stage.IN_PROGRESS, Stage.MEETING, Stage.QUOTED, Stage.WON, Stage.LOST})
_MOVES: Mapping[Stage, frozenset[Stage]] = {
    **dict.fromkeys(OPEN_STAGES, _WORKED_ON),  # nothing becomes new again
    Stage.WON: frozenset({Stage.IN_PROGRESS}),  # a closed lead is first reopened
    Stage.LOST: frozenset({Stage.IN_PROGRESS}),
}


class IllegalMove(ValueError):
    """A lead cannot go from this stage to that one."""


def move(stage: Stage, to: Stage) -> Stage:
    """The stage after moving `to`. Staying is allowed; raises `IllegalMove` where the table has no such step."""
    if to is stage or to in _MOVES[stage]:
        return to
    raise IllegalMove(f"a lead does not go from {stage.value} to {to.value}")


class Origin(StrEnum):
    """Which kind of call last touched the lead, so that a person sees at once what to expect."""

    CONVERSATION = "conversation"
    BROKEN = "broken"  # we failed in the middle, or before the start
    REFUSED = "refused"  # no line was free
    VOICEMAIL = "voicemail"
    UNHEARD = "unheard"  # hearing was down: what we have was typed, or is the number they called from
    UNANSWERED = "unanswered"  # a person was asked for, and nobody answered
    IMPORTED = "import"  # no call at all: it came in a file
    ADDED = "added"  # or a person or a program added it


class NoLead(StrEnum):
    """Why a call left no lead."""

    NO_SPEECH = "no_speech"  # the caller hung up without a word
    SPAM_OR_SILENCE = "spam_or_silence"  # the agent talked and listened, the line stayed silent
    REFUSED_OVERLOAD = "refused_overload"  # no line was free, and the number is withheld
    BROKEN_WITHHELD = "broken_withheld"  # we failed, and the number is withheld
    NOTHING_TO_FOLLOW_UP = "nothing_to_follow_up"  # words, but neither a number nor a wish among them


def caller_phone(caller: str) -> str:
    """The caller's number in E.164, or '' when the carrier's `From` is withheld, a star code or no number at all."""
    number = to_e164(caller) or ""
    return number if number.startswith("+") else ""


@dataclass(frozen=True, slots=True)
class CallFacts:
    """All that the rules look at. `said`: the caller's words of the whole call; `pressed`: the digits they typed."""

    call_sid: str
    outcome: Outcome
    phone: str = ""  # the caller's, E.164 or ''
    draft: LeadDraft = field(default_factory=LeadDraft)
    said: str = ""
    wordless: bool = False  # the caller spoke, and none of it is kept
    pressed: str = ""
    voicemail: bool = False
    transfer_failed: bool = False
    reached: bool = False  # a person answered the transfer
    callback: str = ""  # the number a refused caller asked to be called at, E.164
    outbound: bool = False  # we called them: who only picks up has not turned to us


@dataclass(frozen=True, slots=True)
class LeadWanted:
    """There shall be a lead. `remark` says what a person must know about the call itself; '' = an ordinary one."""

    origin: Origin
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a field came from. `by` is 'agent', or 'person': what a person wrote is never overwritten."""

    call_sid: str
    turn: int
    quote: str
    confidence: float
    by: str = "agent"
    readings: Mapping[str, str] = field(default_factory=dict)  # by engine, where two did not agree


@dataclass(frozen=True, slots=True)
class LeadState:
    """What a lead says."""

    name: str = ""
    phone: str = ""
    confirmed: bool = False
    need: str = ""
    best_time: str = ""
    summary: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, Provenance] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FollowUp:
    """Call the person back, by `due_at` (aware)."""

    due_at: datetime
    note: str


def decide(facts: CallFacts) -> LeadWanted | NoLead:
    """A lead, or the reason why not; for every call one of the two."""
    match facts.outcome:
        case Outcome.REFUSED if facts.reached:
            wanted = LeadWanted(Origin.REFUSED, REACHED)
        case Outcome.REFUSED:
            asked = f" {ASKED_BACK.format(number=national(facts.callback))}" if facts.callback else ""
            failed = f" {NOBODY_ANSWERED}" if facts.transfer_failed else ""
            wanted = LeadWanted(Origin.REFUSED, f"{WAS_REFUSED}{asked}{failed}")
        case Outcome.NO_STREAM:
            wanted = LeadWanted(Origin.BROKEN, NEVER_STARTED)
        case Outcome.BROKEN:
            wanted = LeadWanted(Origin.BROKEN, BROKE)
        case _ if facts.transfer_failed:
            wanted = LeadWanted(Origin.UNANSWERED, NOBODY_ANSWERED)
        case _ if facts.draft.unheard:
            wanted = LeadWanted(Origin.UNHEARD, WAS_UNHEARD)
        case _:
            wanted = LeadWanted(Origin.CONVERSATION)
    if facts.voicemail:
        remark = f"{wanted.remark} {LEFT_MESSAGE}".strip()
        return LeadWanted(Origin.VOICEMAIL if wanted.origin is Origin.CONVERSATION else wanted.origin, remark)
    if learnt_something(facts.draft):
        return wanted
    if facts.outbound and not facts.transfer_failed:
        return NoLead.NOTHING_TO_FOLLOW_UP
    if wanted.origin is not Origin.CONVERSATION:
        if facts.phone:
            return wanted
        return NoLead.REFUSED_OVERLOAD if wanted.origin is Origin.REFUSED else NoLead.BROKEN_WITHHELD
    if facts.said.strip() or facts.pressed or facts.wordless:
        return wanted if facts.phone else NoLead.NOTHING_TO_FOLLOW_UP
    return NoLead.NO_SPEECH if facts.outcome is Outcome.CALLER_HUNG_UP else NoLead.SPAM_OR_SILENCE


def learnt_something(draft: LeadDraft) -> bool:
    return bool(draft.name or draft.phone or draft.need or draft.best_time or draft.extra)


def merge(old: LeadState | None, facts: CallFacts, wanted: LeadWanted) -> LeadState:
    """What the lead says after this call. Merging the same call twice changes nothing; no known field is emptied.

    The newer value wins, except over a person's, and except an unconfirmed phone over a confirmed one. A second need
    joins the first. The first name stays unless the new one is that and more: another is the contact's (`called`). The
    caller's own number stands in where no number was confirmed.
    """
    draft, was = facts.draft, old or LeadState()
    sources = dict(was.sources)

    def newer(name: str, before: str, value: str, *, drafted: bool = True) -> str:
        if not value or _is_persons(was, name):
            return before
        if drafted and name in draft.sources:
            given = draft.sources[name]
            sources[name] = Provenance(
                facts.call_sid, given.turn, given.quote, given.confidence, readings=given.readings
            )
        elif value != before:
            sources.pop(name, None)  # the old source does not speak for the new value
        return value

    extra = {**was.extra, **{key: value for key, value in draft.extra.items() if not _is_persons(was, f"extra.{key}")}}
    phone, confirmed = was.phone, was.confirmed
    given, sure = draft.phone, draft.phone_confirmed
    if given and facts.phone and not sure and given != facts.phone:
        # A number we only think we heard must not hide the one the carrier vouches for; nor be lost.
        extra["phone_unconfirmed"] = given
        given = ""
    if given and (sure or not confirmed):
        phone = newer("phone", was.phone, given)
        confirmed = sure if phone == given else was.confirmed
    elif not confirmed and facts.phone:
        phone = newer("phone", was.phone, facts.phone, drafted=False)
    first = was.sources.get("name")
    same_person = not was.name or is_fuller(was.name, draft.name) or (first and first.call_sid == facts.call_sid)
    return LeadState(
        name=newer("name", was.name, draft.name if same_person else ""),
        phone=phone,
        confirmed=confirmed,
        need=newer("need", was.need, joined_needs(was.need, draft.need)),
        best_time=newer("best_time", was.best_time, draft.best_time),
        summary=newer("summary", was.summary, _summary(was.summary, facts, wanted)),
        extra=extra,
        sources=sources,
    )


@dataclass(frozen=True, slots=True)
class Called:
    """What a person is called. `aliases`: other names that were given from their number, each {name, call, at}."""

    name: str = ""
    locked: bool = False  # by a person
    aliases: Sequence[Mapping[str, str]] = ()


def called(known: Called, given: str, call_sid: str, at: datetime) -> Called:
    """After somebody gave a name in a call: the first one stays, a fuller form of it replaces it, another stands beside
    it. Once heard, a name is not added again.
    """
    if not given or _same_name(known.name, given) or is_fuller(given, known.name):
        return known
    if not known.locked and (not known.name or is_fuller(known.name, given)):
        return replace(known, name=given)
    if any(_same_name(other["name"], given) for other in known.aliases):
        return known
    return replace(known, aliases=[*known.aliases, {"name": given, "call": call_sid, "at": at.isoformat()}])


def is_fuller(name: str, other: str) -> bool:
    """Whether `other` says `name` and more: "רותי" and "רותי לוי"."""
    return bool(words(name)) and set(words(name)) < set(words(other))


def _same_name(name: str, other: str) -> bool:
    return words(name) == words(other)


def set_by_person(state: LeadState, name: str, value: str, *, by: str = "") -> LeadState:
    """A person's correction: 'name', 'phone', 'need', 'best_time', 'summary', or 'extra.<key>' of a key it has. It
    stays, whatever later calls bring. `by` is their name, kept as the quote. What a person writes is confirmed.
    """
    source = Provenance("", 0, by, 1.0, by="person")
    sources = {**state.sources, name: source}
    group, _, key = name.partition(".")
    if group == "extra" and key in state.extra:
        return replace(state, extra={**state.extra, key: value}, sources=sources)
    if name not in ("name", "phone", "need", "best_time", "summary"):
        raise ValueError(f"a lead has no editable field {name!r}")
    changed: dict[str, str] = {name: value}
    confirmed = bool(value) if name == "phone" else state.confirmed
    return replace(state, **changed, confirmed=confirmed, sources=sources)  # type: ignore[arg-type]


def follow_up(facts: CallFacts, wanted: LeadWanted, *, now: datetime, opening: datetime | None) -> FollowUp | None:
    """The task a lead needs, or None when a person already talks to the caller.

    Due at the time the caller asked for (the draft's `callback_at`, as the agent understood it) if it is still to
    come, else when the business next opens (`opening`), else now. What we owe (broken, refused, unanswered) does not
    wait for the caller's preferred hour unless the caller named it in this very call.
    """
    served = facts.outcome is Outcome.TRANSFERRED or (facts.outcome is Outcome.REFUSED and facts.reached)
    if served and not facts.transfer_failed and not facts.voicemail:
        return None
    asked = facts.draft.callback_at
    due = asked if asked is not None and asked > now else max(opening or now, now)
    parts = [wanted.remark, facts.draft.need, f"מועד נוח: {facts.draft.best_time}" if facts.draft.best_time else ""]
    return FollowUp(due, " ".join(part for part in parts if part))


def _is_persons(state: LeadState, name: str) -> bool:
    source = state.sources.get(name)
    return source is not None and source.by == "person"


def joined_needs(before: str, need: str) -> str:
    """A second need beside the first."""
    if not before or not need or before in need:
        return need
    if need in before:
        return before
    both = f"{before}; {need}"
    return both if len(both) <= _LONGEST_NEED else need


def _summary(before: str, facts: CallFacts, wanted: LeadWanted) -> str:
    """The agent's own summary, else the caller's words, with the remark about the call. Never shorter than it was."""
    told = facts.draft.summary
    if not told and facts.said.strip() and not facts.draft.need:
        quote = " ".join(facts.said.split())
        cut = quote if len(quote) <= _LONGEST_QUOTE else quote[: _LONGEST_QUOTE - 1].rstrip() + "…"
        told = f"דברי הפונה: {cut}"
    lines = [] if facts.draft.summary else before.splitlines()
    for line in (*told.splitlines(), wanted.remark):
        if not line or any(known.startswith(line) for known in lines):
            continue
        lines = [known for known in lines if not line.startswith(known)]  # the same, with what has come since
        lines.append(line)
    return "\n".join(lines)
