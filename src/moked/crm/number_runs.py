"""Runs of digits in Hebrew text with their places (pure): "4580-1234", "ארבע חמש שמונה אפס", "מאה עשרים ושלוש", mixed.

A run is what is dictated in one go: numerals and number words, with what may stand between them (commas, dashes, "אה",
"ואז"). Words that make one number are one group ("עשרים ושלוש" is 23). Recognisers lose the "ו", so a run can be read
two ways: `joined` takes "עשרים שלוש" as 23, otherwise it is 20 and 3.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from moked.dialog.words import listed

_MARKS: Final = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
_TOKEN: Final = re.compile(rf"\d+|(?:[^\W\d_][{_MARKS}]*)+(?:[\"'\u05f3\u05f4](?:[^\W\d_][{_MARKS}]*)+)*")
_BETWEEN: Final = re.compile(r"[\s,.\-\u2013\u2014\u05be/()*#]*")
_QUOTES: Final = re.compile("[\"'\u05f3\u05f4]")
_NIQQUD: Final = re.compile(f"[{_MARKS}]")
_FILLERS: Final = listed("אה אהה אמ אמם אממ אז ואז אחר כך אחרי ואחרי רגע כן זה מקף פסיק סליחה")

_UNITS: Final = {
    word: value
    for value, said in enumerate(
        (
            "אפס זירו", "אחת אחד", "שתיים שתים שניים שנים שתי שני", "שלוש שלושה שלשה שלושת", "ארבע ארבעה ארבעת",
            "חמש חמישה חמשה חמשת", "שש שישה ששה ששת", "שבע שבעה שבעת", "שמונה שמנה שמונת", "תשע תשעה תשעת",
        )
    )
    for word in said.split()
}  # fmt: skip
_TENS: Final = {
    "עשר": 10, "עשרה": 10, "עשרים": 20, "שלושים": 30, "שלשים": 30, "ארבעים": 40, "חמישים": 50, "חמשים": 50,
    "שישים": 60, "ששים": 60, "שבעים": 70, "שמונים": 80, "תשעים": 90,
}  # fmt: skip
_LARGE: Final = {"מאה": 100, "מאתיים": 200, "מאתים": 200, "אלף": 1000, "אלפיים": 2000}
_PREFIXES: Final = "ולבהשמ"
_HUNDREDS, _THOUSANDS, _TWICE, _TIMES = "מאות", ("אלפים", "אלף"), ("כפול", "דאבל", "דבל"), "פעמים"


NUMBERISH: Final = re.compile("|".join((r"\d", *sorted({*_UNITS, *_TENS, *_LARGE}))))
"""Found in every text without niqqud that has a number, and in some others."""


@dataclass(frozen=True, slots=True)
class Group:
    """`digits` as one number was said, in characters [start, end) of text number `text`."""

    digits: str
    text: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Word:
    """What is no number, between runs."""

    text: int
    start: int
    word: str


@dataclass(frozen=True, slots=True)
class _Token:
    text: int
    start: int
    end: int
    word: str  # without niqqud and quotes
    number: str  # the number word without its "ו", or ''
    linked: bool  # had a "ו"
    apart: bool  # something other than a separator stands before it


Run = tuple[Group, ...]


def runs(texts: Sequence[str], *, joined: bool = True) -> list[Run | Word]:
    """All runs and words of `texts`, in order. A run may reach from the end of a text into the next ones."""
    found: list[Run | Word] = []
    run: list[Group] = []
    waiting: list[_Token] = []  # fillers, that are in the run if it goes on
    tokens = [token for number, text in enumerate(texts) for token in _tokens(number, text)]
    at = 0
    while at < len(tokens):
        token = tokens[at]
        if token.apart and run:
            found.append(tuple(run))
            run = []
        group, used = _group(tokens, at, joined)
        if group is not None:
            waiting.clear()
            run.append(group)
            at += used
            continue
        if run and token.word in _FILLERS and len(waiting) < 3:
            waiting.append(token)
        else:
            if run:
                found.append(tuple(run))
                run = []
            found += [Word(one.text, one.start, one.word) for one in (*waiting, token)]
            waiting.clear()
        at += 1
    return [*found, tuple(run)] if run else found


def _tokens(number: int, text: str) -> list[_Token]:
    tokens, before = [], 0
    for match in _TOKEN.finditer(text):
        word = _bare(match[0])
        plain = _plain(word)
        between = text[before : match.start()]
        apart = _BETWEEN.fullmatch(between) is None
        linked = plain != "" and word.startswith("ו")
        tokens.append(_Token(number, match.start(), match.end(), word, plain, linked, apart))
        before = match.end()
    return tokens


def _plain(word: str) -> str:
    """The number word in `word`, perhaps after a prefix ("ואפס", "לאפס"); numerals in ASCII; '' for other words."""
    if word.isdecimal():
        return "".join(str(int(digit)) for digit in word)
    return next((one for one in (word, word[1:] if word[0] in _PREFIXES else "") if _is_number(one)), "")


def numbers_in(text: str) -> int:
    """How many numerals and number words there are; a numeral counts by its digits. 0 for most texts after one search.

    What `runs` finds is made of these.
    """
    if not NUMBERISH.search(text):
        return 0
    return sum(_weight(match[0]) for match in _TOKEN.finditer(text))


@lru_cache(maxsize=8192)
def _weight(token: str) -> int:
    plain = _plain(_bare(token))
    return len(plain) if plain.isdecimal() else bool(plain)


def _bare(token: str) -> str:
    """Without niqqud and quotes."""
    return _QUOTES.sub("", _NIQQUD.sub("", token))


def _is_number(word: str) -> bool:
    return word in _UNITS or word in _TENS or word in _LARGE or word in (_HUNDREDS, *_THOUSANDS, *_TWICE, _TIMES)


def _group(tokens: Sequence[_Token], at: int, joined: bool) -> tuple[Group | None, int]:
    """The number that begins here, and how many tokens it takes."""
    first = tokens[at]
    if first.number.isdecimal():
        return _made(tokens, at, 1, first.number), 1
    if first.number in _TWICE and (digit := _unit(tokens, at + 1)) is not None:
        return _made(tokens, at, 2, str(digit) * 2), 2
    if (times := _unit(tokens, at)) is not None and _word(tokens, at + 1) == _TIMES:
        digit = _unit(tokens, at + 2)
        if digit is not None and times > 1:
            return _made(tokens, at, 3, str(digit) * times), 3
    value, used = _value(tokens, at, joined)
    return (_made(tokens, at, used, str(value)), used) if used else (None, 1)


def _value(tokens: Sequence[_Token], at: int, joined: bool) -> tuple[int, int]:
    """Thousands, hundreds, tens and units in that order, each at most once; (0, 0) where there is no number."""
    value, used = 0, 0
    below = 10_000
    while at + used < len(tokens):
        token = tokens[at + used]
        part, size = _part(tokens, at + used)
        follows = used == 0 or (not token.apart and part < below and (token.linked or joined or part >= 100))
        if not size or not follows or (used and part == 0):
            break
        if used and part < 10 and below == 10 and not (token.linked or joined):
            break
        value += part
        used += size
        below = 1000 if part >= 1000 else 100 if part >= 100 else 10 if part >= 20 else 0
        if part < 20:
            break
    return value, used


def _part(tokens: Sequence[_Token], at: int) -> tuple[int, int]:
    """One word's worth, or two words' that are one ("חמש מאות", "שלוש עשרה")."""
    word, after = _word(tokens, at), _word(tokens, at + 1)
    if word in _LARGE:
        return _LARGE[word], 1
    if word in _UNITS:
        unit = _UNITS[word]
        if after == _HUNDREDS and unit > 2:
            return unit * 100, 2
        if after == "אלפים" and unit > 2:
            return unit * 1000, 2
        if after in ("עשר", "עשרה") and unit and not tokens[at + 1].linked:
            return 10 + unit, 2
        return unit, 1
    if word in _TENS:
        return _TENS[word], 1
    return 0, 0


def _word(tokens: Sequence[_Token], at: int) -> str:
    return tokens[at].number if at < len(tokens) else ""


def _unit(tokens: Sequence[_Token], at: int) -> int | None:
    return _UNITS.get(_word(tokens, at))


def _made(tokens: Sequence[_Token], at: int, used: int, digits: str) -> Group:
    """Where a number reaches over two texts its place is that of its first."""
    first, last = tokens[at], tokens[at + used - 1]
    end = last.end if last.text == first.text else max(t.end for t in tokens[at : at + used] if t.text == first.text)
    return Group(digits, first.text, first.start, end)
