"""What callers agree to in a call, as agents write it into the lead's `extra` (pure): read by the follow-ups.

A yes or no step of an owner's script with one of these names as its id asks for it; the language model has a tool. The
field's source says where in the call the answer is: that is the consent's proof.
"""

from collections.abc import Mapping
from typing import Final

from moked.channels.policy import Purpose

YES: Final = "כן"
OPT_OUT: Final = "להסיר מהרשימה"
"""They want to be left alone."""

DETAILS: Final[Mapping[str, str]] = {
    "whatsapp": "פרטים בוואטסאפ",
    "sms": "פרטים במסרון",
}
ADVERTISEMENTS: Final[Mapping[str, str]] = {
    "whatsapp": "פרסומות בוואטסאפ",
    "sms": "פרסומות במסרון",
    "voice": "פרסומות בטלפון",
}


def agreed(extra: Mapping[str, str]) -> list[tuple[Purpose, str, str]]:
    """What was agreed to: (purpose, channel, the field's name)."""
    asked = ((Purpose.SERVICE, DETAILS), (Purpose.MARKETING, ADVERTISEMENTS))
    return [
        (purpose, channel, name)
        for purpose, names in asked
        for channel, name in names.items()
        if extra.get(name) == YES
    ]
