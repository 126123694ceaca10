"""Codes of Meta and Twilio as stable words (pure), whether they come at once or in a report later."""

from typing import Final

from moked.channels import MEDIA_REFUSED

TEMPLATE_REFUSED: Final = "template_refused"

_WINDOW: Final = frozenset({131047, 63016})  # free text more than a day after their last message
_NOT_THERE: Final = frozenset({131026, 131030, 21211, 21614, 63003})  # no such person on this channel
_MEDIA: Final = frozenset({131052, 131053})
_TEMPLATE: Final = frozenset(  # not there, not approved, paused, or its places are others
    {132000, 132001, 132005, 132007, 132012, 132015, 132016, 63027, 63028, 63040, 63041}
)


def failure(code: int) -> str:
    """'refused' where there is no code."""
    if code in _MEDIA:
        return MEDIA_REFUSED
    if code in _WINDOW:
        return "outside_window"
    if code in _NOT_THERE:
        return "no_such_address"
    if code in _TEMPLATE:
        return TEMPLATE_REFUSED
    return f"refused_{code}" if code else "refused"
