"""Follows up every call that has ended, within a second of its end.

Calls are found in the database, so that none is forgotten when a process dies; following one up twice sends nothing
twice.
"""

import logging
from collections import Counter
from typing import Final, Protocol

import anyio
from anyio import to_thread

log = logging.getLogger(__name__)

EVERY_S: Final = 1.0
_TRIES: Final = 5


class AfterCalls(Protocol):
    """`crm.aftercall.FollowUps`."""

    def pending(self) -> list[str]: ...

    def follow_up(self, call_sid: str) -> object: ...


async def follow_up(calls: AfterCalls, *, every_s: float = EVERY_S) -> None:
    """Run for ever. A call whose follow-up fails is tried again in the next rounds, and then at the next start."""
    failures: Counter[str] = Counter()
    while True:
        try:
            for sid in await to_thread.run_sync(calls.pending):
                if failures[sid] >= _TRIES:
                    continue
                try:
                    await to_thread.run_sync(calls.follow_up, sid)
                except Exception as error:  # the others are not to wait for it
                    failures[sid] += 1
                    log.warning(
                        "a call could not be followed up", extra={"call_sid": sid, "error": type(error).__name__}
                    )
        except Exception as error:  # a database that is away
            log.warning("ended calls could not be looked for", extra={"error": type(error).__name__})
        await anyio.sleep(every_s)
