"""What a step of the owner's may ask for, each heard, corrected, typed and read back in the same way (pure).

A `Detail` is what was heard of one so far. Every kind (identity number, plate, address, date, number) comes as the same
few functions, so the conversation about it is written once, in `intake`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from moked.dialog import Expect, addresses, spoken_digits
from moked.dialog.addresses import Address
from moked.dialog.identity import ID, meant
from moked.dialog.moments import Moment, Precision, moment
from moked.dialog.numbers import number
from moked.dialog.plate import PLATE, written
from moked.dialog.spoken_digits import DigitsHeard, Kind
from moked.dialog.words import listed, words

_TYPED: Final = 1.0
_SHORT: Final = 3  # words
_NO_NAME: Final = listed("לא אין כן אולי רגע יודע יודעת זוכר זוכרת מה למה אני זה סליחה שוב אה אהה אמ אממ הממ נו")


@dataclass(frozen=True, slots=True)
class Detail:
    """`value` is what the lead keeps, '' as long as it is not whole; `spoken` reads it back, or what there is of it.

    `slowly` reads it back digit by digit ('' where that is no other way). `ask` names what is missing (an address's
    'city', 'street', 'house'). `wrong`: all was heard, and it cannot be. `partly`: what to keep if no more is learned.
    """

    value: str = ""
    spoken: str = ""
    slowly: str = ""
    sure: float = 0.0
    wrong: bool = False
    ask: str = ""
    partly: str = ""
    digits: DigitsHeard = field(default_factory=DigitsHeard)
    address: Address = field(default_factory=Address)
    when: Moment | None = None

    def __bool__(self) -> bool:
        return bool(self.value or self.partly)


NOTHING: Final = Detail()

_Hear = Callable[[str, Detail, datetime], Detail]


@dataclass(frozen=True, slots=True)
class Rules:
    """How one kind of detail is understood. Each takes (what was said or typed, what was heard before, now)."""

    hear: _Hear
    amend: _Hear  # after it was read back
    keyed: _Hear
    early: Callable[[str], Detail]  # whole and clearly named, without having been asked for


# --- digits: identity numbers and plates --------------------------------------------------------------------------


def _of_digits(kind: Kind, heard: DigitsHeard, shown: Callable[[str], str]) -> Detail:
    said = heard.value or heard.digits
    return Detail(
        value=shown(heard.value) if heard.value else "",
        spoken=spoken_digits.readback(kind, said) if said else "",
        slowly=spoken_digits.readback(kind, said, slow=True) if said else "",
        sure=heard.confidence,
        wrong=heard.wrong,
        partly=heard.digits,
        digits=heard,
    )


def _digit_rules(kind: Kind, shown: Callable[[str], str]) -> Rules:
    def hear(text: str, before: Detail, now: datetime) -> Detail:
        heard = spoken_digits.hear(kind, text)
        if before.wrong and heard.wrong and kind is ID and (known := meant(before.digits.digits, heard.digits)):
            return _of_digits(kind, spoken_digits.taken(kind, known, heard.confidence * 0.6), shown)
        return _of_digits(kind, spoken_digits.join(kind, before.digits, heard), shown) if heard.digits else NOTHING

    def amend(text: str, before: Detail, now: datetime) -> Detail:
        return _of_digits(kind, spoken_digits.amend(kind, before.digits.value or before.digits.digits, text), shown)

    def keyed(keys: str, before: Detail, now: datetime) -> Detail:
        typed = spoken_digits.taken(kind, keys, _TYPED)
        if not typed.value and not typed.wrong:
            typed = spoken_digits.join(kind, before.digits, typed)
        return _of_digits(kind, typed, shown)

    def early(text: str) -> Detail:
        heard = spoken_digits.hear(kind, text, asked=False)
        return _of_digits(kind, heard, shown) if heard.value else NOTHING

    return Rules(hear, amend, keyed, early)


# --- addresses ----------------------------------------------------------------------------------------------------


def _of_address(found: Address) -> Detail:
    return Detail(
        value=found.written if not found.missing else "",
        spoken=found.spoken,
        sure=found.confidence,
        ask=found.missing,
        partly=found.written,
        address=found,
    )


def _hear_address(text: str, before: Detail, now: datetime) -> Detail:
    found = addresses.address(text)
    if before.ask == "house" and addresses.without_number(text):
        return replace(before, value=before.partly, ask="")
    said = words(text)
    if not found and 0 < len(said) <= _SHORT and not _NO_NAME.intersection(said):
        # asked for one part, and this is all they said
        if before.ask == "street":
            found = Address(street=" ".join(said), confidence=0.6)
        elif before.ask == "city":
            found = Address(city=" ".join(said), small=True, confidence=0.5)
    if not found:
        return NOTHING
    if before.ask == "street" and found.city and not found.street and before.address.city and not found.house:
        found = replace(found, street=found.city, city="")  # "רחוב?" "ירושלים"
    return _of_address(addresses.merged(before.address, found))


def _early_address(text: str) -> Detail:
    found = addresses.address(text, asked=False)
    return _of_address(found) if found.street and not found.missing else NOTHING


def _key_address(keys: str, before: Detail, now: datetime) -> Detail:
    """Only a house number can be typed."""
    if not keys or len(keys) > 4 or before.ask != "house":
        return NOTHING
    return _of_address(addresses.merged(before.address, Address(house=keys.lstrip("0") or keys)))


# --- dates and numbers --------------------------------------------------------------------------------------------


def _hear_date(text: str, before: Detail, now: datetime) -> Detail:
    found = moment(text, now)
    if found is None:
        return NOTHING
    return Detail(found.written, found.spoken, sure=0.9 if found.precision > Precision.WORDS else 0.6, when=found)


def _never(text: str) -> Detail:
    """A day or a number in a story may be any."""
    return NOTHING


def _key_date(keys: str, before: Detail, now: datetime) -> Detail:
    """Day and month, with or without the year: 1503, 15032027."""
    if len(keys) not in (4, 6, 8):
        return NOTHING
    return _hear_date(".".join(filter(None, (keys[:2], keys[2:4], keys[4:]))), before, now)


def _hear_number(text: str, before: Detail, now: datetime) -> Detail:
    found = number(text)
    return Detail(found.written, found.spoken, sure=found.confidence) if found else NOTHING


def _key_number(keys: str, before: Detail, now: datetime) -> Detail:
    return _hear_number(keys, before, now) if 0 < len(keys) <= 9 else NOTHING


RULES: Final = {
    Expect.ID: _digit_rules(ID, str),
    Expect.PLATE: _digit_rules(PLATE, written),
    Expect.ADDRESS: Rules(_hear_address, _hear_address, _key_address, _early_address),
    Expect.DATE: Rules(_hear_date, _hear_date, _key_date, _never),
    Expect.NUMBER: Rules(_hear_number, _hear_number, _key_number, _never),
}
"""What is understood in code and asked for under an id of the owner's."""


def expected(asked: Expect, heard: Detail) -> Expect:
    """What the next words will be: a house number is asked for alone."""
    return Expect.NUMBER if heard.ask == "house" else asked
