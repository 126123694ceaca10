"""How far one Hebrew transcript is from another (pure): word and character errors, and which words differ.

Two ways of writing the same words are no error, so both sides go through `words` first, in the order of ivrit.ai's
evaluation: bidi and zero-width characters away, niqqud away, quotes and geresh deleted, symbols (maqaf too) to spaces,
lower case. Ours besides: numerals are read out as words before the quotes go ("14:30", "050-2345678", "3 ילדים"), and
final letters count as their common form. What stays harsh: a prefix (ו, ה, ב, ל, מ, ש, כ) is part of its word, and a
digit does not tell the gender it was said in.

`fold_plene` also forgets vowel letters inside a word: תכנית and תוכנית, שתים and שתיים are then one. That forgives real
mistakes too (שיר, שר), so it stands beside the plain figure and never instead of it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moked.stt.transcripts import normalise
from moked.tts.hebrew import prepare

_POINTS: Final = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7]")
_INVISIBLE: Final = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
_FINALS: Final = str.maketrans("ךםןףץ", "כמנפצ")
_VOWEL_LETTERS: Final = re.compile(r"(?<=[א-ת])[וי]+(?=[א-ת])")


@dataclass(frozen=True, slots=True)
class Errors:
    """Edits that turn the reference into the hypothesis; `length` is the reference's. They add up: `a + b`."""

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def edits(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float | None:
        """Edits for each word (or letter) of the reference; above 1 where much was made up; None without reference."""
        return self.edits / self.length if self.length else None

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )


Pair = tuple[str | None, str | None]
"""(reference, hypothesis): equal or substituted; None on the left is an insertion, on the right a deletion."""


def words(text: str, *, fold_plene: bool = False) -> list[str]:
    """The words of `text` as they are compared."""
    said = normalise(prepare(_POINTS.sub("", _INVISIBLE.sub("", text)))).translate(_FINALS)
    return (_VOWEL_LETTERS.sub("", said) if fold_plene else said).split()


def word_errors(reference: str, hypothesis: str, *, fold_plene: bool = False) -> Errors:
    """The word errors of `hypothesis`, both normalised."""
    return count(align(words(reference, fold_plene=fold_plene), words(hypothesis, fold_plene=fold_plene)))


def character_errors(reference: str, hypothesis: str, *, fold_plene: bool = False) -> Errors:
    """The same by characters, the spaces between words among them."""
    return count(
        align(" ".join(words(reference, fold_plene=fold_plene)), " ".join(words(hypothesis, fold_plene=fold_plene)))
    )


def differences(reference: str, hypothesis: str, *, fold_plene: bool = False) -> list[Pair]:
    """Only the words that differ, normalised, in order."""
    pairs = align(words(reference, fold_plene=fold_plene), words(hypothesis, fold_plene=fold_plene))
    return [pair for pair in pairs if pair[0] != pair[1]]


def count(pairs: Sequence[Pair]) -> Errors:
    insertions = sum(said is None for said, _ in pairs)
    deletions = sum(heard is None for _, heard in pairs)
    changed = sum(said != heard for said, heard in pairs)
    return Errors(changed - insertions - deletions, deletions, insertions, len(pairs) - insertions)


def align(reference: Sequence[str], hypothesis: Sequence[str]) -> list[Pair]:
    """The pairs of a shortest edit, of these the one with the most equal pairs.

    Takes 8 bytes for each item of one side and of the other: for a call's words, not a day's.
    """
    costs = _costs(reference, hypothesis)
    edit, change = _prices(reference, hypothesis)
    at, to = len(reference), len(hypothesis)
    pairs: list[Pair] = []
    while at or to:
        here = costs[at, to]
        if at and to and here == costs[at - 1, to - 1] + change * (reference[at - 1] != hypothesis[to - 1]):
            at, to = at - 1, to - 1
            pairs.append((reference[at], hypothesis[to]))
        elif at and here == costs[at - 1, to] + edit:
            at -= 1
            pairs.append((reference[at], None))
        else:
            to -= 1
            pairs.append((None, hypothesis[to]))
    return pairs[::-1]


def _prices(reference: Sequence[str], hypothesis: Sequence[str]) -> tuple[int, int]:
    """Of an insertion or deletion, and of a substitution: dearer by less than all of them together could turn."""
    edit = len(reference) + len(hypothesis) + 1
    return edit, edit + 1


def _costs(reference: Sequence[str], hypothesis: Sequence[str]) -> NDArray[np.int64]:
    """Levenshtein's table, a row at a time: the chain of insertions in a row is a running minimum."""
    edit, change = _prices(reference, hypothesis)
    numbers = {item: number for number, item in enumerate(dict.fromkeys((*reference, *hypothesis)))}
    heard = np.array([numbers[item] for item in hypothesis], dtype=np.int64)
    steps = np.arange(len(hypothesis) + 1, dtype=np.int64) * edit
    costs = np.empty((len(reference) + 1, len(hypothesis) + 1), dtype=np.int64)
    costs[0] = steps
    for at, item in enumerate(reference, 1):
        before, row = costs[at - 1], costs[at]
        row[0] = at * edit
        np.minimum(before[1:] + edit, before[:-1] + change * (heard != numbers[item]), out=row[1:])
        row[:] = np.minimum.accumulate(row - steps) + steps
    return costs
