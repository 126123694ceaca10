"""The scripted agent's side of a second hearing (pure): which slot is in doubt, how to ask, and what the answer means.

    learned from the first reading -- the second differs --> Doubt, asked about that slot alone
                                                              |-- "הראשון", 1, the value --> settled, on as before
                                                              '-- nothing of it, twice ----> the first, as unsure

A doubt is opened only about what the conversation still stands on: what the caller has confirmed, changed or typed
since is theirs. `intake` carries out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from moked.crm.phone import national
from moked.dialog import CallerTurn, Expect, Second, slots
from moked.dialog.names import common
from moked.dialog.second_hearing import Compared, Difference, Verdict, compare, difference, same_name
from moked.dialog.words import has, phrases, words

_FIRST: Final = phrases("הראשון|ראשון|הראשונה|ראשונה|האפשרות הראשונה|אחת|אחד|first")
_SECOND: Final = phrases("השני|שני|השנייה|השניה|שנייה|שניה|האפשרות השנייה|שתיים|האחרון|second")
KEPT_UNSURE: Final = 0.4


@dataclass(frozen=True, slots=True)
class Doubt:
    """Two values of a slot, of which the caller has been asked which it is. `tries`: answers that said nothing."""

    slot: Expect
    first: str
    second: str
    tries: int = 0

    @property
    def difference(self) -> Difference | None:
        return difference(self.slot, self.first, self.second)


def of_turn(turn: CallerTurn) -> tuple[Second, ...]:
    """The second readings that came in time."""
    return tuple(second for second in turn.second if second.turn == turn.number)


def best_text(turn: CallerTurn) -> str:
    """What to go by: the second reading where only that one has a whole value, else the first."""
    for second in of_turn(turn):
        verdicts = [one.verdict for one in compare(second)]
        if Verdict.SECOND in verdicts and not {Verdict.AGREE, Verdict.DIFFER}.intersection(verdicts):
            return second.text
    return turn.text


def agreed(turn: CallerTurn) -> bool:
    """Two engines read the same value: it is surer than either alone."""
    return any(one.verdict is Verdict.AGREE for second in of_turn(turn) for one in compare(second))


def find(turn: CallerTurn, standing: Mapping[Expect, str]) -> Compared | None:
    """The slot to ask about. `standing`: what is known and not confirmed."""
    for second in turn.second:
        for one in compare(second):
            if one.verdict is Verdict.DIFFER and standing.get(one.slot) == one.first:
                return one
    return None


def chosen(doubt: Doubt, turn: CallerTurn) -> str | None:
    """As `choose`; None also where two engines hear two answers: who is misheard twice is better off with the keys."""
    value = choose(doubt, turn.text, turn.dtmf)
    others = {choose(doubt, second.text, "") for second in of_turn(turn)} - {None}
    return value if others <= {value} else None


def choose(doubt: Doubt, text: str, keys: str) -> str | None:
    """The value the caller means: by key, by its place, by saying it; None when nothing of that."""
    if keys:
        return {"1": doubt.first, "2": doubt.second}.get(keys.rstrip("#"))
    said = _said(doubt, text)
    if said is not None:
        return said
    first, second = has(text, _FIRST), has(text, _SECOND)
    if first != second and len(words(text)) <= 4:
        return doubt.first if first else doubt.second
    return None


def _said(doubt: Doubt, text: str) -> str | None:
    """One of the two values, or a third one, in the caller's own words."""
    match doubt.slot:
        case Expect.NAME:
            return _name(doubt, text)
        case Expect.PHONE:
            return _phone(doubt, text)
        case _:
            found = slots.phone(text).digits
            whole = [value for value in (doubt.first, doubt.second) if found and slots.phone(value).digits == found]
            return whole[0] if len(whole) == 1 else None


def _name(doubt: Doubt, text: str) -> str | None:
    said = words(text)
    here = [value for value in (doubt.first, doubt.second) if value.split()[0].lower() in said]
    if len(here) == 1:
        return here[0]
    found = slots.name(text, asked=True)
    if here or not found or has(found, _FIRST) or has(found, _SECOND):
        return None
    close = [value for value in (doubt.first, doubt.second) if same_name(value, found)]
    if close:
        return close[0] if len(close) == 1 else None
    told = common(found) or slots.name(text, asked=False)  # a third name, and not just any word
    return found if told else None


def _phone(doubt: Doubt, text: str) -> str | None:
    heard = slots.phone(text)
    if heard.e164 and heard.e164.startswith("+"):
        return heard.e164
    part = doubt.difference
    if len(heard.digits) < 2 or part is None:
        return None
    for value, spoken in ((doubt.first, part.first), (doubt.second, part.second)):
        if slots.phone(spoken).digits.endswith(heard.digits):
            return value
    if part.place == "ends":  # a third reading of the end
        amended = slots.heard(national(doubt.first)[: -len(heard.digits)] + heard.digits)
        return amended.e164
    return None
