"""What is said while the answer is not there yet (pure): when, and which words.

Nothing audible `first_ms` after the turn was committed: "רק רגע, אני בודק." Still nothing at `second_ms`: something
longer. At most one of each a turn, and never the same sentence twice in a row. An answer that is ready waits for no
filler; one that has begun is heard to its end, and the answer follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class FillerPolicy:
    """In ms since the commit."""

    first_ms: int = 900
    second_ms: int = 4000


USUAL: Final = FillerPolicy()


class Fillers:
    """One a call. Times are call ms. Without a policy nothing is ever due."""

    def __init__(self, first: Sequence[str], second: Sequence[str], policy: FillerPolicy | None) -> None:
        self._sentences = (tuple(first), tuple(second)) if policy is not None else ((), ())
        self._policy = policy or USUAL
        self._next = [0, 0]
        self._said = 2  # of the two, in this turn
        self._committed = 0

    def waiting(self, now: int) -> None:
        """A turn was committed whose answer is not audible."""
        self._committed, self._said = now, 0

    def over(self) -> None:
        """The answer is there, or nobody waits for it any more."""
        self._said = 2

    @property
    def due(self) -> int | None:
        """When the next is to be said, unless `over` comes first."""
        if self._said >= 2 or not self._sentences[self._said]:
            return None
        return self._committed + (self._policy.second_ms if self._said else self._policy.first_ms)

    @property
    def number(self) -> str:
        """Which one comes next: 'first' or 'second'."""
        return "second" if self._said else "first"

    def take(self) -> str:
        """The sentence to say now."""
        sentences = self._sentences[self._said]
        sentence = sentences[self._next[self._said] % len(sentences)]
        self._next[self._said] += 1
        self._said += 1
        return sentence
