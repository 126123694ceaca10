"""What becomes of a job after a run (pure): done, tried again later, or a dead letter for a person.

A run tries each step a few times within seconds. What is away for longer is met here: the whole job waits, holding
nobody, and its next run does only what is missing. What a person has to put right is not tried again by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from moked.errors import Failure

LOST: Final = "lost"
"""Its process died at it again and again."""
UNKNOWN: Final = "unknown"
"""No step of this name any more: the job was begun by another version."""
BUG: Final = "bug"
"""Ours: an error nobody expected. The log has it."""

FOR_A_PERSON: Final = frozenset({LOST, UNKNOWN, Failure.AUTH.value, Failure.CONFIG.value})
"""Codes that time alone does not heal."""
CODES: Final = (*(kind.value for kind in Failure), LOST, UNKNOWN, BUG)

DELAYS: Final = tuple(timedelta(minutes=minutes) for minutes in (1, 5, 30, 120, 360))
"""Before the second run, the third, and so on. After the last one it is a dead letter."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`again_at`: when it is tried again; None: done, or dead."""

    dead: bool = False
    again_at: datetime | None = None


def verdict(failed: Mapping[str, str], tries: int, now: datetime) -> Verdict:
    """After run number `tries` (1 is the first), of which these steps failed, with their codes."""
    if not failed:
        return Verdict()
    if tries > len(DELAYS) or all(code in FOR_A_PERSON for code in failed.values()):
        return Verdict(dead=True)
    return Verdict(again_at=now + DELAYS[tries - 1])
