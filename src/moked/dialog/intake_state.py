"""What the scripted agent knows at any moment of a call, and the lead that makes (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from moked.crm.phone import groups, national
from moked.dialog import Expect, slots
from moked.dialog.details import NOTHING, Detail
from moked.dialog.disagreement import Doubt
from moked.records import FieldSource, LeadDraft

NAME, PHONE, NEED, TIME, SUMMARY = "name", "phone", "need", "time", "summary"
"""Keys of `State.known`; the owner's own steps have their ids."""

# Keys of the lead's `extra`, as the owner reads them.
ASKED_FOR_PERSON: Final = "ביקשו נציג"
DO_NOT_RECORD: Final = "לא להקליט"
QUESTION: Final = "שאלה"
NOTE: Final = "הערה"
YES, NO = "כן", "לא"

OUTBOUND: Final = "outbound"
"""Mark of a call that we make."""

UNCONFIRMED: Final = " (לא אושר)"
"""After a value in the lead's `extra` that was heard and never agreed to."""

_TOLD: Final = 0.7  # how sure we are of what an agent saved without saying why

_FIELDS: Final = {NAME: "name", PHONE: "phone", NEED: "need", TIME: "best_time"}


@dataclass(frozen=True, slots=True)
class Known:
    """One thing learned, with its source. `spoken` is how to say it, where that differs from the value."""

    value: str
    turn: int
    quote: str
    sure: float
    spoken: str = ""
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """Where the conversation stands. Replaced as a whole, never changed."""

    step: int = 0
    tries: int = 0
    known: Mapping[str, Known] = field(default_factory=dict)
    given_up: frozenset[int] = frozenset()
    phone_mode: Literal["offer", "ask", "confirm"] = "ask"
    heard: slots.PhoneHeard = field(default_factory=lambda: slots.heard(""))  # of a number, so far
    heard_from: str = ""  # the caller's words it came from
    detail: Detail = NOTHING  # of an owner's step, so far
    detail_id: str = ""  # which step's
    early: Mapping[str, Detail] = field(default_factory=dict)  # told before their steps, by the steps' ids
    confirming: bool = False  # the detail was read back
    refusals: int = 0  # how often this step's answer was read back and refused
    refused: str = ""  # what was, last
    callback_at: datetime | None = None  # the time to call, as a time
    extra: Mapping[str, str] = field(default_factory=dict)
    asked: tuple[str, ...] = ()  # the last question, to be asked again
    expect: Expect = Expect.OPEN
    silences: int = 0
    doubt: Doubt | None = None  # two engines heard a slot differently, and the caller was asked which it is
    readings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # field -> engine -> value
    marks: frozenset[str] = frozenset()  # offer_refused, person, leaving, fixing, answered
    ended: bool = False


def lead(state: State) -> LeadDraft:
    """What was learned so far, with a short Hebrew summary made by rule."""
    known = dict(state.known)
    if PHONE not in known and state.heard.e164:
        sure = min(0.5, state.heard.confidence)
        known[PHONE] = Known(state.heard.e164, 0, state.heard_from, sure)
    if state.detail and state.detail_id not in known and (not state.refused or state.detail.value != state.refused):
        sure = min(0.4, state.detail.sure)
        value = (state.detail.value or state.detail.partly) + UNCONFIRMED
        known[state.detail_id] = Known(value, 0, state.heard_from, sure)
    for key, detail in state.early.items():
        if key not in known and key != state.detail_id:
            known[key] = Known(detail.value + UNCONFIRMED, 0, "", min(0.4, detail.sure))
    known.pop(SUMMARY, None)
    values = {name: known[key].value for key, name in _FIELDS.items() if key in known}
    own = {key: item.value for key, item in known.items() if key not in _FIELDS}
    # whom we call we know, and have learned nothing of yet
    told = [item for key, item in known.items() if item.turn or key not in (NAME, PHONE)]
    if OUTBOUND in state.marks and not told and not state.extra:
        return LeadDraft()
    # a returning caller's name is known, not learned: alone it makes no lead
    if values.keys() == {"name"} and not known[NAME].turn and not own and not state.extra:
        return LeadDraft()
    extra = {**own, **state.extra}
    confirmed = PHONE in known and known[PHONE].confirmed
    sources = {}
    for key, item in known.items():
        name = _FIELDS.get(key, f"extra.{key}")
        sources[name] = FieldSource(item.turn, item.quote, item.sure, dict(state.readings.get(name, {})))
    return LeadDraft(
        **values,  # type: ignore[arg-type]  # names of its texts
        summary=_summary_text(values, extra, confirmed),
        extra=extra,
        sources=sources,
        phone_confirmed=confirmed,
        callback_at=state.callback_at,
    )


def resumed(draft: LeadDraft) -> State:
    """Where a conversation stands that another agent led until now. A number nobody agreed to is still to be read
    back."""
    known, heard = {}, slots.heard("")
    for key, name in _FIELDS.items():
        value = str(getattr(draft, name))
        source = draft.sources.get(name, FieldSource(0, "", _TOLD))
        if key == PHONE and value and not draft.phone_confirmed:
            heard = slots.heard(national(value))
        elif value:
            spoken = value.split(maxsplit=1)[0] if key == NAME else ""
            known[key] = Known(value, source.turn, source.quote, source.confidence, spoken, key == PHONE)
    return State(known=known, heard=heard, extra=draft.extra, callback_at=draft.callback_at)


def _summary_text(values: Mapping[str, str], extra: Mapping[str, str], confirmed: bool) -> str:
    if not values and not extra:
        return ""
    sentences = [f"{values.get('name') or 'לא נמסר שם'}: {values.get('need') or 'לא נאמר מה צריך'}."]
    phone, time = values.get("phone", ""), values.get("best_time", "")
    if phone:
        shown = "-".join((groups(phone)[0], "".join(groups(phone)[1:])))
        sentences.append(f"לחזור ל-{shown}{', ' + time if time else ''}.")
        if not confirmed:
            sentences.append("המספר לא אושר.")
    elif time:
        sentences.append(f"לחזור {time}.")
    for key, value in extra.items():
        sentences.append(f"{key}." if value == YES else f"{key}: {value}.")
    return " ".join(sentences)
