"""Who may listen through an engine of limited capacity: the first calls are served well, the others told at once.

A call takes its seat when it opens its stream and gives it back when that closes. In between it may be sure of the
engine; a call without a seat can look for another way at once instead of waiting for words that come too late.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from moked import metrics
from moked.errors import Overloaded

log = logging.getLogger(__name__)

UTTERANCE_EVERY_S: Final = 6.0  # how often a caller says something, in a call of questions and answers
LOAD: Final = 0.5  # of the workers' time for finals: one that waits for another then waits half a decoding on average


def capacity(decode_s: float, workers: int) -> int:
    """Calls that `workers` can serve when a usual utterance takes `decode_s`; at least one."""
    return max(1, int(LOAD * workers * UTTERANCE_EVERY_S / max(decode_s, 0.001)))


class Seats:
    """`limit` may be set once the engine has been measured."""

    def __init__(self, engine: str, limit: int) -> None:
        self._engine = engine
        self._limit = limit
        self.taken = 0
        self.refused = 0
        self._full = False
        self._show()

    @property
    def limit(self) -> int:
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        self._show()

    @contextmanager
    def seat(self) -> Iterator[None]:
        """One seat. Raises `Overloaded` when all are taken."""
        if self.taken >= self._limit:
            self.refused += 1
            metrics.queue_drops.labels(f"{self._engine}_seats").inc()
            if not self._full:  # once, until a seat is free again: every refused call asks again and again
                log.warning("no seat is free", extra={"engine": self._engine, "seats": self._limit})
            self._full = True
            raise Overloaded(f"all {self._limit} calls that {self._engine} can serve are on the line")
        self.taken += 1
        self._show()
        try:
            yield
        finally:
            self.taken -= 1
            self._full = False
            self._show()

    def _show(self) -> None:
        metrics.stt_seats.labels(self._engine, "taken").set(self.taken)
        metrics.stt_seats.labels(self._engine, "limit").set(self._limit)
