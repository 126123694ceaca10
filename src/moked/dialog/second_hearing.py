"""Two engines heard the same words: do they agree on what was asked for? (pure)

Compared are the slots in the words, never the words: engines differ in spelling, punctuation and fillers all the time,
and a person wants to be asked only about what would be written down wrongly.

    name      the same but for spelling: one. Else a question, unless only the first is a name people have.
    phone     both whole and different: a question about the group that differs. One whole: that one.
    id        the check digit decides; a question where both pass.
    plate     seven or eight digits; as a phone number.
    address   the house number; streets are spelled too freely to be asked about.

A weak second engine must not make the agent tiresome: whatever is no whole and plausible value loses without a word.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from moked.crm.phone import groups
from moked.dialog import Expect, Second, addresses, slots
from moked.dialog.identity import ID
from moked.dialog.names import common
from moked.dialog.plate import PLATE
from moked.dialog.spoken_digits import hear
from moked.dialog.words import PREFIXES, fold, tokens, words
from moked.records import LeadDraft

SLOTS: Final = (Expect.NAME, Expect.PHONE, Expect.ID, Expect.ADDRESS, Expect.PLATE)
"""What is worth a second hearing."""

FIELDS: Final = {
    Expect.NAME: "name",
    Expect.PHONE: "phone",
    Expect.ID: "id",
    Expect.ADDRESS: "address",
    Expect.PLATE: "plate",
}
"""Where the value is kept: the lead's fields; of the last three its `extra`."""

_KINDS: Final = {Expect.ID: ID, Expect.PLATE: PLATE}
_UNASKED_DIGITS: Final = 7  # less than this in a sentence is no telephone number


class Verdict(Enum):
    AGREE = "agree"
    FIRST = "first"  # the second has nothing better
    SECOND = "second"  # only the second has a whole value
    DIFFER = "differ"  # ask


@dataclass(frozen=True, slots=True)
class Compared:
    """The two values of `slot`; '' where none was found."""

    slot: Expect
    verdict: Verdict
    first: str
    second: str

    @property
    def material(self) -> bool:
        """An answer that was made without it would be a wrong one."""
        return self.verdict in (Verdict.SECOND, Verdict.DIFFER)


def wanted(text: str, expect: Expect) -> tuple[Expect, ...]:
    """The slots for which `text` should be heard again: what was asked for, and what was told unasked."""
    found = [expect] if expect in SLOTS else []
    if expect is not Expect.NAME and slots.find_name(text, asked=False):
        found.append(Expect.NAME)
    if expect not in SLOTS and len(slots.phone(text, asked=False).digits) >= _UNASKED_DIGITS:
        found.append(Expect.PHONE)
    return tuple(found)


def compare(second: Second) -> tuple[Compared, ...]:
    """One for each slot that either reading has."""
    either = dict.fromkeys((*wanted(second.first, second.expect), *wanted(second.text, second.expect)))
    return tuple(_compare(slot, second.first, second.text, asked=slot is second.expect) for slot in either)


def material(second: Second) -> bool:
    return any(one.material for one in compare(second))


def _compare(slot: Expect, first: str, second: str, *, asked: bool) -> Compared:
    match slot:
        case Expect.NAME:
            one, other = slots.name(first, asked=asked) or "", slots.name(second, asked=asked) or ""
            verdict = _names(one, other)
            if verdict is Verdict.FIRST and one and (likely := _hidden_name(one, second)):
                other, verdict = likely, Verdict.DIFFER
        case Expect.PHONE:
            one, other = (_number(text, asked) for text in (first, second))
            verdict = _wholes(one, other)
        case Expect.ID | Expect.PLATE:
            one, other = (hear(_KINDS[slot], text, asked=asked).value for text in (first, second))
            verdict = _wholes(one, other)
        case _:
            places = [addresses.address(text, asked=asked) for text in (first, second)]
            one, other = (place.written for place in places)
            houses = [place.house for place in places]
            verdict = Verdict.DIFFER if all(houses) and houses[0] != houses[1] else Verdict.FIRST
            if all(houses) and houses[0] == houses[1] and _folded(one) == _folded(other):
                verdict = Verdict.AGREE
    return Compared(slot, verdict, one, other)


def _wholes(one: str, other: str) -> Verdict:
    if one and other:
        return Verdict.AGREE if one == other else Verdict.DIFFER
    return Verdict.SECOND if other else Verdict.FIRST


def _names(one: str, other: str) -> Verdict:
    if not other:
        return Verdict.FIRST
    if not one:
        return Verdict.SECOND if common(other) else Verdict.FIRST
    if same_name(one, other):
        return Verdict.AGREE
    if common(other) or (not common(one) and _near(_folded(one), _folded(other))):
        return Verdict.DIFFER
    return Verdict.FIRST


def _hidden_name(one: str, second: str) -> str:
    """A common name in a second reading that is no good sentence ("קוראים לדינה לביא" for "קוראים לי דינה לוי"), where
    it sounds like the first name of `one` and is another: with the rest of `one`. '' where there is none."""
    given, *rest = one.split()
    said = words(second)
    forms = [form for word in said for form in (word, word[1:] if word[0] in PREFIXES else word)]
    if any(same_name(given, form) for form in forms):
        return ""
    likely = next((form for form in forms if common(form) and _near(fold(given), fold(form))), "")
    return " ".join((likely, *rest)) if likely else ""


def same_name(one: str, other: str) -> bool:
    """The same but for spelling, as far as both go: "דני" and "דני כהן". Two common names are two: דנה and דינה."""
    for mine, theirs in zip(one.split(), other.split(), strict=False):
        if fold(mine) != fold(theirs) or (mine != theirs and common(mine) and common(theirs)):
            return False
    return True


def _near(one: str, other: str) -> bool:
    """At most one letter in three is different: two spellings of what may be one sound."""
    row = list(range(len(other) + 1))
    for i, mine in enumerate(one, 1):
        above, row = row, [i]
        for j, theirs in enumerate(other, 1):
            row.append(min(above[j - 1] + (mine != theirs), above[j] + 1, row[j - 1] + 1))
    return 3 * row[-1] <= max(len(one), len(other))


def _folded(text: str) -> str:
    return " ".join(fold(word) for word in tokens(text))


def _number(text: str, asked: bool) -> str:
    """E.164 where the whole number is there, else ''."""
    e164 = slots.phone(text, asked=asked).e164 or ""
    return e164 if e164.startswith("+") else ""


# --- what the difference is, and where it is kept -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """How to ask: `place` is 'name', 'begins', 'middle', 'ends' or 'other'; the two as they are said."""

    place: str
    first: str
    second: str


def difference(slot: Expect, first: str, second: str) -> Difference | None:
    """The part to ask about; None where two numbers differ in so many places that a new one is the shorter way."""
    if slot is Expect.NAME:
        return Difference("name", first, second)
    if slot is Expect.ADDRESS:
        return Difference("other", first, second)
    ours, theirs = (groups(number) if slot is Expect.PHONE else _threes(number) for number in (first, second))
    if [len(group) for group in ours] != [len(group) for group in theirs]:
        return None
    apart = [i for i, (one, other) in enumerate(zip(ours, theirs, strict=True)) if one != other]
    begin, last = apart[0], len(ours) - 1
    if begin >= last - 1:
        place, end = "ends", last + 1
    elif len(apart) == 1:
        place, end = ("middle" if begin else "begins"), begin + 1
    else:
        return None
    return Difference(place, *(slots.spell("".join(part[begin:end])) for part in (ours, theirs)))


def _threes(digits: str) -> Sequence[str]:
    return [digits[i : i + 3] for i in range(0, len(digits), 3)]


def with_readings(lead: LeadDraft, seconds: Sequence[Second]) -> LeadDraft:
    """`lead` with both readings at the source of every field that comes from one of these turns."""
    sources = dict(lead.sources)
    for field, turn, readings in disputed(seconds):
        if field in sources and sources[field].turn == turn:
            sources[field] = replace(sources[field], readings=readings)
    return replace(lead, sources=sources)


def disputed(seconds: Sequence[Second]) -> Iterator[tuple[str, int, dict[str, str]]]:
    """(field, turn, readings by engine) wherever two engines have two values."""
    for second in seconds:
        for one in compare(second):
            if one.verdict is Verdict.DIFFER:
                field = FIELDS[one.slot]
                field = field if field in ("name", "phone") else f"extra.{field}"
                yield field, second.turn, {second.first_engine: one.first, second.engine: one.second}
