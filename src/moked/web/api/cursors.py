"""Where a list goes on, as a word that programs hand back unread (pure)."""

import base64
import json
from datetime import UTC, datetime

Place = tuple[datetime | None, int]
_LARGEST = 2**31 - 1


def write(place: Place | None) -> str | None:
    if place is None:
        return None
    moment, row = place
    text = json.dumps([moment.isoformat() if moment else None, row], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read(text: str) -> Place:
    """Raises `ValueError` for what is none of ours."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        moment, row = json.loads(raw)
        if type(row) is not int or not 0 <= row <= _LARGEST:
            raise ValueError
        return None if moment is None else datetime.fromisoformat(moment).astimezone(UTC), row
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise ValueError("not a cursor") from None
