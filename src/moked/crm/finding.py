"""Searching in Hebrew (pure): words as an index keeps them, and what somebody types into a search box.

    "וְהַמַּזְגָן"  -> המזגנ, מזגנ and the word itself     "ג'ורג'" = "ג׳ורג׳" = ג'ורג       "שווי" = "שוי"

One normal form for texts and for questions: no niqqud, geresh or accents, final letters as the others, doubled vav and
yod single, lower case. An index keeps each word with what is left when prefix letters (ו ש כש ה ב ל מ and their
combinations) fall away. A question finds words that begin with what was typed, and the word without its prefixes.

Telephone numbers are kept with all their endings, so that any run of digits inside one is the beginning of something:
`050-234`, `0234` and `+972 50` all find +97250234….
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

_QUOTES: Final = "'\"`\u05f3\u05f4\u2018\u2019\u201c\u201d"
_INSIDE: Final = "\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u200b-\u200f\u2066-\u2069" + _QUOTES
_WORD: Final = re.compile(rf"[^\W_](?:[^\W_]|[{_INSIDE}])*")
_FINALS: Final = str.maketrans("ךםןףץ", "כמנפצ")
_QUOTES_GO: Final = str.maketrans("", "", _QUOTES)
_DOUBLED: Final = re.compile("([וי])\\1+")
_OLD: Final = unicodedata.ucd_3_2_0  # letters that every database's tokenizer knows as such
_NUMBER: Final = re.compile(r"[\d\s()+*./-]+")
_LONGEST, _MOST_WORDS, _LONGEST_WORD = 100, 6, 32
SURELY_NUMBER: Final = 4
_SHORTEST_ENDING: Final = 3
_SHORTEST_STEM: Final = 2
_SHORTEST_ASKED_STEM: Final = 3
"""Two letters are left of too many words: who asks for כהן does not mean הן."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All `words` (normal forms) must be found; or one of `numbers`, runs of digits inside a telephone number. Four
    digits and more are looked for in numbers alone, so `words` is empty then; fewer are the last ones of a number.
    """

    words: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.numbers)


def read(text: str) -> Wanted:
    """What `text` asks for; nothing, for an empty one. A text of mere signs asks for what nobody has."""
    text = plain(text)[:_LONGEST]
    asked = words(text)
    digits = "".join(c for c in text if c.isdecimal() and c.isascii()) if _NUMBER.fullmatch(text) else ""
    numbers = [digits] if digits else []
    if digits.startswith("00"):
        numbers.append(digits[2:])
    if len(digits) >= SURELY_NUMBER:
        asked = []
    if text and not asked and not digits:
        asked = ["\ufffd"]
    return Wanted(tuple(asked[:_MOST_WORDS]), tuple(number for number in numbers if number))


def plain(text: str) -> str:
    """Without niqqud and marks of direction, with one space between words and the ASCII signs people type."""
    decomposed = unicodedata.normalize("NFD", text)
    kept = "".join(c for c in decomposed if unicodedata.category(c) not in ("Mn", "Cf", "Cc") or c in "\t\n")
    swapped = unicodedata.normalize("NFC", kept).translate({0x5F3: "'", 0x5F4: '"', 0x5BE: "-"})
    return " ".join(swapped.split())


def words(text: str) -> list[str]:
    """The words of a text in their normal forms, in order."""
    return [form for found in _WORD.findall(text) if (form := normal(found))]


@lru_cache(maxsize=50_000)
def normal(word: str) -> str:
    """One word as it is compared; '' where nothing is left."""
    letters = unicodedata.normalize("NFKD", word)
    kept = "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf", "Cc", "Me"))
    form = _DOUBLED.sub(r"\1", kept.casefold().translate(_QUOTES_GO).translate(_FINALS))
    return "".join(c for c in form if _OLD.category(c)[0] in "LN")[:_LONGEST_WORD]


@cache
def _prefixes() -> frozenset[str]:
    return frozenset(
        vav + that + at + the
        for vav in ("", "ו")
        for that in ("", "ש", "כש", "לכש", "מש")
        for at in ("", "ב", "ל", "כ", "מ")
        for the in ("", "ה")
    ) - {""}


@lru_cache(maxsize=50_000)
def stems(form: str) -> tuple[str, ...]:
    """What is left of a word in normal form without prefix letters, for each way to take some off."""
    longest = min(len(form) - _SHORTEST_STEM, 6)
    return tuple(form[size:] for size in range(1, longest + 1) if form[:size] in _prefixes())


@dataclass(frozen=True, slots=True)
class Form:
    """A form that a word of a question may have in an index; `begins`: longer words that begin with it count too."""

    text: str
    begins: bool

    def fits(self, kept: str) -> bool:
        return kept.startswith(self.text) if self.begins else kept == self.text


@lru_cache(maxsize=1000)
def asked(word: str) -> tuple[Form, ...]:
    """What a word of a question (in normal form) is looked for as."""
    shorter = (
        Form(stem, len(stem) > _SHORTEST_ASKED_STEM) for stem in stems(word) if len(stem) >= _SHORTEST_ASKED_STEM
    )
    return (Form(word, len(word) > 1), *shorter)


def kept_words(texts: Iterable[str]) -> set[str]:
    """All forms under which an index keeps the words of these texts."""
    forms = {form for text in texts for form in words(text)}
    return forms.union(*(stems(form) for form in forms)) if forms else forms


def kept_numbers(numbers: Iterable[str]) -> set[str]:
    """All forms under which an index keeps telephone numbers (E.164, or what a carrier gave instead)."""
    kept: set[str] = set()
    for number in numbers:
        digits = "".join(c for c in number if c.isdecimal() and c.isascii())
        kept.update(digits[start:] for start in range(max(1, len(digits) - _SHORTEST_ENDING + 1)))
        if digits.startswith("972"):
            kept.add("0" + digits[3:])
    return kept - {""}


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of a text; `hit`: it is what was asked for."""

    text: str
    hit: bool = False


def fits(word: str, wanted: Wanted) -> bool:
    """Whether a word of a text is one that was asked for."""
    form = normal(word)
    return any(one.fits(kept) for each in wanted.words for one in asked(each) for kept in (form, *stems(form)))


def snippet(text: str, wanted: Wanted, *, around: int = 60) -> list[Piece]:
    """The part of `text` about its first hit, `around` characters before and twice that after; [] without one."""
    hits = [found.span() for found in _WORD.finditer(text) if fits(found.group(), wanted)]
    if not hits:
        return []
    start, end = max(0, hits[0][0] - around), min(len(text), hits[0][1] + 2 * around)
    if start and (space := text.find(" ", start, hits[0][0])) >= 0:
        start = space + 1
    if end < len(text) and (space := text.rfind(" ", hits[0][1], end)) >= 0:
        end = space
    pieces, at = [Piece("…")] if start else [], start
    for begins, ends in hits:
        if ends > end:
            break
        pieces += [Piece(text[at:begins]), Piece(text[begins:ends], hit=True)]
        at = ends
    pieces.append(Piece(text[at:end] + ("…" if end < len(text) else "")))
    return [piece for piece in pieces if piece.text]
