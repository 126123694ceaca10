"""Cutting the agent's text into clauses for the synthesizer, as early as each is safe (pure).

The first clause of a reply decides how soon the caller hears something, so it is short: it ends at the first comma,
dash or conjunction after a dozen letters, or at the end of a sentence. Later clauses are made while others play, and
are longer because longer ones sound better.

Rules: the clauses joined are the text, exactly; how the text was split into deltas makes no difference; and no cut
falls inside a number, a time, a date, a phone number, an abbreviation, an address on the net.
"""

import re
from dataclasses import dataclass
from typing import Final

_SENTENCE_END: Final = frozenset(".?!…")
_SOFT_END: Final = frozenset(",;:")
_DASHES: Final = frozenset("-–—")
_CLOSERS: Final = "\"'”’)]»״׳"
_CONJUNCTIONS: Final = frozenset(
    {
        "אבל",
        "אך",
        "אלא",
        "או",
        "כי",
        "כדי",
        "אם",
        "אז",
        "וגם",
        "ואז",
        "ואם",
        "כאשר",
        "למרות",
        "לכן",
        "בגלל",
        "משום",
        "מפני",
    }
)
# Dotted shortenings: "ת.ד." and "ב.כהן" by form; a few written with one dot.
_DOTTED: Final = re.compile(r"^[\"'(]*(?:[א-תA-Za-z]{1,2}\.)+$")
_ONE_DOT: Final = frozenset(
    {"טל.", "עמ.", "גב.", "רח.", "מס.", "שד.", "פרופ.", "Dr.", "Mr.", "Ms.", "Mrs.", "St.", "No."}
)


@dataclass(frozen=True, slots=True)
class CutPolicy:
    """Letters a clause needs before it may end at a soft boundary, and how many make it end at any word."""

    first_soft: int = 12
    first_conjunction: int = 20
    first_any: int = 60
    later_soft: int = 40
    later_any: int = 160


class ClauseCutter:
    """Feed text as it comes; get clauses as soon as their end is certain. One a reply."""

    def __init__(self, policy: CutPolicy | None = None) -> None:
        self._policy = policy or CutPolicy()
        self._text = ""  # not yet given out
        self._word_at = 0  # where the current word starts in it
        self._letters = 0  # letters before the current word
        self._boundary: _Boundary | None = None  # a possible end, waiting for what follows
        self._first = True

    def feed(self, delta: str) -> list[str]:
        """The clauses that `delta` completed."""
        return [clause for letter in delta for clause in self._take(letter)]

    @property
    def pending(self) -> bool:
        """Some text was fed that is not part of a clause yet."""
        return bool(self._text.strip())

    def flush(self) -> list[str]:
        """What is left, as the last clause. The cutter then is as new."""
        rest = [self._text] if self._text else []
        self._reset()
        self._first = True
        return rest

    def _reset(self) -> None:
        self._text = ""
        self._word_at = self._letters = 0
        self._boundary = None

    def _take(self, letter: str) -> list[str]:
        if letter.isspace():
            if self._word_at < len(self._text):
                self._end_of_word()
            if letter == "\n" and self._letters:
                self._boundary = _Boundary(len(self._text), after_digit=False)
            self._text += letter
            self._word_at = len(self._text)
            if self._boundary is not None and not self._boundary.after_digit:
                return self._cut(self._boundary.at)
            return []
        out: list[str] = []
        if self._boundary is not None and self._word_at == len(self._text):
            if not letter.isdigit():  # "1, 2" and "050, 234" go on
                out = self._cut(self._boundary.at)
            self._boundary = None
        self._text += letter
        if letter == "," and "א" <= self._text[-2:-1] <= "ת" and self._letters_with_word() >= self._soft:
            out += self._cut(len(self._text))  # nothing that follows can undo it: no need to wait for the space
        return out

    @property
    def _soft(self) -> int:
        return self._policy.first_soft if self._first else self._policy.later_soft

    def _letters_with_word(self) -> int:
        return self._letters + sum(character.isalpha() for character in self._text[self._word_at :])

    def _end_of_word(self) -> None:
        """The word at the end of the text is whole: may the clause end after it, or before it?"""
        word = self._text[self._word_at :]
        before, self._letters = self._letters, self._letters_with_word()
        end = len(self._text)
        bare = word.rstrip(_CLOSERS)
        after_digit = any(character.isdigit() for character in word)
        last = bare[-1:]
        if last in _SENTENCE_END and self._letters:
            if not (last == "." and (_DOTTED.match(bare) or bare in _ONE_DOT)):
                self._boundary = _Boundary(end, after_digit)
            return
        if last in _SOFT_END or (word in _DASHES and not self._text[: self._word_at].rstrip()[-1:].isdigit()):
            if self._letters >= self._soft:
                self._boundary = _Boundary(end, after_digit)
            return
        if self._first and before >= self._policy.first_conjunction and word in _CONJUNCTIONS:
            self._boundary = _Boundary(len(self._text[: self._word_at].rstrip()), after_digit=False)
        elif self._letters >= (self._policy.first_any if self._first else self._policy.later_any):
            self._boundary = _Boundary(end, after_digit)

    def _cut(self, at: int) -> list[str]:
        clause, rest = self._text[:at], self._text[at:]
        self._reset()
        self._first = False
        self._text = rest
        self._word_at = len(rest)
        stripped = rest.rstrip()
        self._letters = sum(character.isalpha() for character in stripped)
        return [clause]


@dataclass(frozen=True, slots=True)
class _Boundary:
    at: int  # in the text not yet given out
    after_digit: bool  # then it holds only if no digit follows


def clauses(text: str, policy: CutPolicy | None = None) -> list[str]:
    """All clauses of a whole text."""
    cutter = ClauseCutter(policy)
    return cutter.feed(text) + cutter.flush()
