"""Hebrew text as words (pure): what every rule about the caller's words starts from.

Recognisers differ in niqqud, final letters, quotes, hyphens and punctuation; after `words` they do not. `fold` goes
further and forgets the spelling a weak recogniser gets wrong, keeping roughly how the word sounds.
"""

import re
from functools import lru_cache
from typing import Final

_DROPPED: Final = re.compile(
    "[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"  # niqqud; the maqaf between (05be) separates words
    "\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]"  # direction marks
)
_QUOTES: Final = re.compile(r"(?<=\w)[\"'`\u05f3\u05f4\u2018\u2019\u201c\u201d](?=\w)|(?<=\w)['\u05f3\u2019]")
_WORD: Final = re.compile(r"\d+|[^\W\d_]+|[*#+]|[,.;:!?\u2026\n]")
_BREAKS: Final = frozenset(",.;:!?\u2026\n")
_FINALS: Final = str.maketrans("ךםןףץ", "כמנפצ")
_FOLD: Final = str.maketrans("ךםןףץהעחקטס", "כמנפצאאככתש", "וי")
PREFIXES: Final = "והבלמשכ"


def plain(text: str) -> str:
    """Without niqqud, bidi marks and the quotes inside words (צה"ל -> צהל)."""
    return _QUOTES.sub("", _DROPPED.sub("", text))


@lru_cache(maxsize=512)
def tokens(text: str) -> tuple[str, ...]:
    """Words, runs of digits, the telephone's signs and punctuation, in order. A hyphen only separates."""
    return tuple(_WORD.findall(plain(text).lower()))


@lru_cache(maxsize=512)
def words(text: str) -> tuple[str, ...]:
    """`tokens` without punctuation."""
    return tuple(token for token in tokens(text) if token not in _BREAKS)


def is_break(token: str) -> bool:
    """Whether a token is punctuation."""
    return token in _BREAKS


@lru_cache(maxsize=2048)
def fold(word: str) -> str:
    """Roughly the sound: ה/ע as א, ח/ק as כ, ט as ת, ס as ש, no ו or י, no final letters. Never longer than `word`."""
    return word.translate(_FOLD)


@lru_cache(maxsize=2048)
def medial(word: str) -> str:
    """With ordinary letters for final ones, so that stems compare."""
    return word.translate(_FINALS)


def listed(text: str) -> frozenset[str]:
    """A set of words written as one string, so that long lists stay readable."""
    return frozenset(text.split())


def phrases(text: str) -> tuple[tuple[str, ...], ...]:
    """Phrases written as one string with bars between, longest first, each as its words."""
    return tuple(sorted((words(part) for part in text.split("|")), key=len, reverse=True))


def find(said: tuple[str, ...], phrase: tuple[str, ...], *, prefixes: bool = False) -> int:
    """Where `phrase` stands in `said` as whole words; -1 where it does not.

    With `prefixes` each word of three letters or more may carry up to two one-letter prefixes (ובהזמנה for הזמנה).
    """
    for start in _places(said, prefixes).get(phrase[0], ()):
        rest = said[start + 1 : start + len(phrase)]
        if len(rest) == len(phrase) - 1 and all(_same(w, p, prefixes) for w, p in zip(rest, phrase[1:], strict=True)):
            return start
    return -1


def has(text: str, wanted: tuple[tuple[str, ...], ...], *, prefixes: bool = False) -> bool:
    """Whether any of the `phrases` stands in `text` as whole words; `prefixes` as in `find`."""
    said = words(text)
    return any(find(said, phrase, prefixes=prefixes) >= 0 for phrase in wanted)


@lru_cache(maxsize=256)
def _places(said: tuple[str, ...], prefixes: bool) -> dict[str, list[int]]:
    """Where each word stands; a text is asked about a hundred phrases, so this is made once."""
    places: dict[str, list[int]] = {}
    for at, word in enumerate(said):
        for form in _forms(word) if prefixes else (word,):
            places.setdefault(form, []).append(at)
    return places


@lru_cache(maxsize=2048)
def _forms(word: str) -> tuple[str, ...]:
    """The word, and what it is without one or two one-letter prefixes."""
    forms = [word]
    for cut in (1, 2):
        if len(word) - cut >= 3 and word[cut - 1] in PREFIXES:
            forms.append(word[cut:])
        else:
            break
    return tuple(forms)


def _same(said: str, wanted: str, prefixes: bool) -> bool:
    return wanted in _forms(said) if prefixes else said == wanted
