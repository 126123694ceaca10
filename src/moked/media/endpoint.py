"""How long to wait before a turn counts as over (pure): the hold, from cheap evidence, with its reason.

Everything that shortens or lengthens the wait lives here; `media.turns` only counts the milliseconds. The evidence is
what the agent just asked and what the caller's words say so far. Published engines wait for punctuation or a model that
does not know Hebrew; a phone number being dictated, an answer to a yes/no question and a sentence that ends in "של" are
the three cases that matter most on the phone, and the words decide all three.
"""

from dataclasses import dataclass

from moked.dialog import Expect, addresses, slots
from moked.dialog.identity import ID
from moked.dialog.plate import PLATE
from moked.dialog.spoken_digits import hear

LONGEST_MS = 1400
SHORTEST_MS = 250
_OPEN_EXTRA_MS = 600
_WHOLE_NUMBER_MS = 400
_FAREWELL_MS = 300
_KINDS = {Expect.ID: ID, Expect.PLATE: PLATE}
_LONGEST_ANSWER = 4  # words; a longer sentence with a לא in it is a sentence


@dataclass(frozen=True, slots=True)
class Hold:
    """Silence to wait for, in ms since the caller's last sound, and why (a stable word for logs and tuning)."""

    ms: int
    reason: str


def hold(text: str, expect: Expect, base_ms: int) -> Hold:
    """The hold for a turn that reads `text` so far, after the agent asked for `expect`.

    `base_ms` is the wait for an ordinary finished sentence. The result lies in 250..1400 ms.
    """
    if expect is Expect.PHONE:
        heard = slots.phone(text)
        if heard.complete:
            return Hold(_WHOLE_NUMBER_MS, "number_complete")
        if heard.digits:
            return Hold(LONGEST_MS, "number_in_progress")
    if kind := _KINDS.get(expect):
        number = hear(kind, text)
        if number.value and len(number.digits) == kind.longest:
            return Hold(_WHOLE_NUMBER_MS, "number_complete")
        if number.value:  # may be whole, and may have one more digit
            return Hold(_clamp(base_ms + _OPEN_EXTRA_MS), "number_perhaps_complete")
        if number.digits:
            return Hold(LONGEST_MS, "number_in_progress")
    if expect is Expect.ADDRESS and (place := addresses.address(text)) and place.missing:
        return Hold(_clamp(base_ms + _OPEN_EXTRA_MS), "address_in_progress")
    if slots.open_sentence(text):
        return Hold(_clamp(base_ms + _OPEN_EXTRA_MS), "open_sentence")
    if expect is Expect.YES_NO and len(text.split()) <= _LONGEST_ANSWER and slots.yes_no(text) is not None:
        return Hold(SHORTEST_MS, "answered")
    if slots.farewell(text):
        return Hold(_FAREWELL_MS, "farewell")
    return Hold(_clamp(base_ms), "plain")


def _clamp(ms: int) -> int:
    return max(SHORTEST_MS, min(LONGEST_MS, ms))
