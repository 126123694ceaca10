"""What must not be kept of what was said: card numbers, their security codes, identity numbers (pure).

    "הכרטיס הוא 4580 1234 5678 9010"        ->  "הכרטיס הוא [כרטיס]"
    "ארבע חמש שמונה אפס" / "אחת שתיים ..."   ->  the same, dictated over several turns

Without a word for it, a card is recognised by its issuer's prefix, its length and the check digit (ISO/IEC 7812, Luhn),
an identity number by nine digits and its check digit; telephone numbers are neither. After a word for it (כרטיס, ת"ז,
CVV) the digits alone do: a recogniser that mishears one of sixteen breaks every check. What the agent reads back is
hidden where it repeats what was hidden.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from moked.crm.number_runs import NUMBERISH, Group, Run, Word, runs
from moked.crm.phone import to_e164
from moked.dialog.identity import is_valid

__all__ = [
    "MARK",
    "MARKS",
    "NUMBERISH",
    "REACH",
    "Hidden",
    "Hide",
    "Line",
    "Policy",
    "find",
    "hide",
    "hide_json",
    "hide_lines",
]

MARKS: Final = {"card": "[כרטיס]", "code": "[קוד]", "id": "[ת״ז]"}
MARK: Final = re.compile("|".join(map(re.escape, MARKS.values())))

# Issuer prefixes and lengths: Visa, Mastercard, American Express, Diners, JCB, Discover, UnionPay.
_ISSUERS: Final = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[689])"), (14,)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16,)),
    (re.compile(r"6(?:011|4[4-9]|5)"), (16,)),
    (re.compile(r"62"), (16, 17, 18, 19)),
)
_CARD_WORD: Final = re.compile(
    r"^(?:[והבלמשכ]{0,2})(?:כרטיס\w*|אשראי|ויזה|visa|ישראכרט|מאסטרקארד|מסטרקארד|אמקס|דיינרס|card)$", re.IGNORECASE
)
_CODE_WORD: Final = re.compile(r"^(?:[והבלמשכ]{0,2})(?:cvv\d?|cvc\d?|גב|אבטחה|סיביוי|סיווי)$", re.IGNORECASE)
_ID_WORD: Final = re.compile(r"^(?:[והבלמשכ]{0,2})(?:תז|זהות|id)$", re.IGNORECASE)
_PHONE_WORD: Final = re.compile(r"^(?:[והבלמשכ]{0,2})(?:טלפון|נייד|פלאפון|סלולרי|וואטסאפ)$")
REACH: Final = 14
"""Words after which a word for it means nothing any more."""
_CARD_SIZES: Final = range(8, 20)
_BEGUN_NAMED: Final = 3
_BEGUN: Final = 9  # longer than plates, and no telephone number begins like a card
_READ_BACK: Final = 4  # digits of a hidden number that give it away


class Hide(StrEnum):
    CARD = "card"
    CODE = "code"
    ID = "id"


@dataclass(frozen=True, slots=True)
class Policy:
    """What is hidden; codes go with the cards. `keep`: E.164 numbers of people, that are never anything else."""

    cards: bool = True
    ids: bool = True
    keep: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return self.cards or self.ids


@dataclass(frozen=True, slots=True)
class Hidden:
    """Characters [start, end) of text number `text`."""

    kind: Hide
    text: int
    start: int
    end: int
    digits: str


@dataclass(frozen=True, slots=True)
class Line:
    """What one side said, in the order of the call."""

    text: str
    caller: bool = True


def hide(text: str, policy: Policy) -> str:
    """One text by itself."""
    return hide_lines([Line(text)], policy)[0] if text else text


def hide_lines(lines: Sequence[Line], policy: Policy, *, unfinished: bool = False) -> list[str]:
    """A conversation, whose numbers may reach over several turns. What is hidden already stays so. `unfinished`: more
    may be said, so what may become such a number is hidden too."""
    spots: dict[int, list[Hidden]] = {}
    for one in find(lines, policy, unfinished=unfinished):
        spots.setdefault(one.text, []).append(one)
    return [_without(line.text, spots.get(number, [])) for number, line in enumerate(lines)]


def hide_json(value: Any, policy: Policy) -> Any:
    """All texts in JSON-like `value`, each by itself. Keys are names, and stay."""
    match value:
        case str():
            return hide(value, policy)
        case dict():
            return {key: hide_json(item, policy) for key, item in value.items()}
        case list() | tuple():
            return [hide_json(item, policy) for item in value]
    return value


def find(lines: Sequence[Line], policy: Policy, *, unfinished: bool = False) -> list[Hidden]:
    """What is to be hidden, not overlapping, in order; `unfinished` as of `hide_lines`."""
    if not policy or not any(_has_number(line.text) for line in lines):
        return []
    found: list[Hidden] = []
    for joined in (True, False):
        found += _of_caller(lines, policy, joined, unfinished)
        for number, line in enumerate(lines):
            if not line.caller and _has_number(line.text):
                alone = [Line(line.text if other == number else "") for other in range(len(lines))]
                found += _of_caller(alone, policy, joined, unfinished)
    found += _read_back(lines, found)
    kept: list[Hidden] = []
    for one in sorted(found, key=lambda hidden: (hidden.text, hidden.start, -hidden.end)):
        if not kept or kept[-1].text != one.text or kept[-1].end <= one.start:
            kept.append(one)
        elif one.end > kept[-1].end:
            last = kept[-1]
            kept[-1] = Hidden(last.kind, last.text, last.start, one.end, last.digits)
    return kept


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_card(digits: str) -> bool:
    return any(len(digits) in sizes and prefix.match(digits) for prefix, sizes in _ISSUERS) and luhn(digits)


def _has_number(text: str) -> bool:
    return NUMBERISH.search(text) is not None


def _of_caller(lines: Sequence[Line], policy: Policy, joined: bool, unfinished: bool) -> Iterator[Hidden]:
    """In the caller's words; the agent's give only the context, and do not end a dictation unless they have digits."""
    meant: dict[Hide, int] = {}  # words since a word for it
    for one in runs([line.text if line.caller or _means(line.text) else "" for line in lines], joined=joined):
        if isinstance(one, Word):
            meant = {kind: since + 1 for kind, since in meant.items() if since < REACH}
            if _PHONE_WORD.match(one.word):
                meant.clear()
            if (kind := _word_for(one.word)) is not None:
                meant[kind] = 0
            continue
        run = tuple(group for group in one if lines[group.text].caller)
        if run:
            yield from _in_run(run, frozenset(meant), policy)
            if unfinished and (kind := _begun(run, frozenset(meant), policy)) is not None:
                yield from _hidden(kind, run)


def _in_run(run: Run, meant: frozenset[Hide], policy: Policy) -> Iterator[Hidden]:
    digits = "".join(group.digits for group in run)
    phones = list(_phones(run, policy.keep))
    if policy.cards:
        if Hide.CODE in meant and 3 <= len(digits) <= 4:
            yield from _hidden(Hide.CODE, run)
            return
        for first, last in _windows(run):
            number = "".join(group.digits for group in run[first:last])
            sure = Hide.CARD in meant or last - first == len(run)
            if is_card(number) and (sure or not _overlaps(first, last, phones)):
                yield from _hidden(Hide.CARD, run[first:last])
        if any(len(group.digits) > 16 and _card_inside(group.digits) for group in run):
            yield from _hidden(Hide.CARD, run)
        if Hide.CARD in meant and len(digits) in _CARD_SIZES and not phones:
            yield from _hidden(Hide.CARD, run)
    if policy.ids and ((Hide.ID in meant and len(digits) in (8, 9)) or (is_valid(digits) and not phones)):
        yield from _hidden(Hide.ID, run)


def _begun(run: Run, meant: frozenset[Hide], policy: Policy) -> Hide | None:
    """What a number may become that is still being said."""
    digits = "".join(group.digits for group in run)
    wanted = [kind for kind in (Hide.CARD, Hide.CODE, Hide.ID) if policy.ids or kind is not Hide.ID]
    wanted = [kind for kind in wanted if policy.cards or kind is Hide.ID]
    named = next((kind for kind in wanted if kind in meant), None)
    if named is not None and len(digits) >= _BEGUN_NAMED and not any(_phones(run, policy.keep)):
        return named
    may_be_card = policy.cards and len(digits) >= _BEGUN and digits[0] in "23456"
    return Hide.CARD if may_be_card and not digits.startswith("972") and not any(_phones(run, policy.keep)) else None


def _windows(run: Run) -> Iterator[tuple[int, int]]:
    """Stretches of whole groups as long as a card."""
    for first in range(len(run)):
        size = 0
        for last in range(first + 1, len(run) + 1):
            size += len(run[last - 1].digits)
            if size > 19:
                break
            if size >= 13:
                yield first, last


def _card_inside(digits: str) -> bool:
    return any(is_card(digits[at : at + size]) for size in (13, 14, 15, 16, 19) for at in range(len(digits) - size + 1))


def _phones(run: Run, keep: frozenset[str]) -> Iterator[tuple[int, int]]:
    """Stretches of groups that are a telephone number: a known one, or one that is written as numbers are dialled."""
    for first in range(len(run)):
        size = 0
        for last in range(first + 1, len(run) + 1):
            size += len(run[last - 1].digits)
            if size > 15:
                break
            if size < 9:
                continue
            number = "".join(group.digits for group in run[first:last])
            whole = last - first == len(run)  # a landline is short, and found in many numbers
            if (whole or number.startswith(("05", "972"))) and is_phone(number, keep):
                yield first, last


def is_phone(digits: str, keep: Iterable[str] = ()) -> bool:
    abroad = digits.startswith("972") and len(digits) >= 11
    number = to_e164(f"+{digits}" if abroad else digits) or ""
    return (number.startswith("+972") and (abroad or digits[0] == "0")) or f"+{digits}" in keep


def _overlaps(first: int, last: int, others: Sequence[tuple[int, int]]) -> bool:
    return any(first < end and start < last for start, end in others)


def _hidden(kind: Hide, groups: Sequence[Group]) -> Iterator[Hidden]:
    """One a text: what lies between the groups of a number goes with it."""
    digits = "".join(group.digits for group in groups)
    for number in dict.fromkeys(group.text for group in groups):
        these = [group for group in groups if group.text == number]
        yield Hidden(kind, number, these[0].start, these[-1].end, digits)


def _read_back(lines: Sequence[Line], found: Sequence[Hidden]) -> list[Hidden]:
    """The agent's words that repeat a hidden number, or a part of it."""
    secrets = {(one.digits, one.kind) for one in found}
    again = []
    for number, line in enumerate(lines):
        if line.caller or not secrets:
            continue
        for run in runs([line.text]):
            if isinstance(run, Word):
                continue
            said = "".join(group.digits for group in run)
            for digits, kind in secrets:
                if len(said) >= _READ_BACK and (said in digits or digits in said):
                    again.append(Hidden(kind, number, run[0].start, run[-1].end, digits))
                    break
    return again


def _word_for(word: str) -> Hide | None:
    if _CODE_WORD.match(word):
        return Hide.CODE
    if _CARD_WORD.match(word):
        return Hide.CARD
    return Hide.ID if _ID_WORD.match(word) else None


def _means(text: str) -> bool:
    return any(isinstance(one, Word) and _word_for(one.word) is not None for one in runs([text]))


def _without(text: str, spots: Sequence[Hidden]) -> str:
    for one in sorted(spots, key=lambda hidden: -hidden.start):
        text = f"{text[: one.start]}{MARKS[one.kind.value]}{text[one.end :]}"
    return text
