"""When the words of a turn were said, where the recogniser told (pure).

A turn's text is made of the recogniser's words, but not always of its last ones: an answer is begun on a guess, and
what was reopened is carried over. So a text has times only where the very words stand, in this order, among those that
were heard for good; otherwise nobody knows.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from moked.stt import Word
from moked.stt.transcripts import normalise

Times = tuple[tuple[int, int], ...]
"""(start_ms, end_ms) of each word of a text, as `str.split` gives them; () where they are not known."""

_KEPT: Final = 256


class WordTimes:
    """The last words of a call that were heard for good."""

    def __init__(self) -> None:
        self._words: deque[tuple[str, int, int]] = deque(maxlen=_KEPT)

    def heard(self, words: Sequence[Word]) -> None:
        """The words of a final, in order; none: words came whose times nobody knows."""
        self._words.extend((normalise(one.text), one.start_ms, one.end_ms) for one in words)
        if not words:
            self._words.append(("\0", 0, 0))  # no word: nothing reaches over it

    def of(self, text: str) -> Times:
        """Of the last place where these words were heard."""
        wanted = [normalise(word) for word in text.split()]
        size = len(wanted)
        if not wanted or size > len(self._words):
            return ()
        known = list(self._words)
        for first in range(len(known) - size, -1, -1):
            if known[first][0] == wanted[0] and all(
                known[first + place][0] == word for place, word in enumerate(wanted)
            ):
                return tuple((start, end) for _, start, end in known[first : first + size])
        return ()
