"""Telephone numbers as people say them in Hebrew (pure): words, numerals and corrections to digits.

    אפס חמש שתיים, עשרים ושלוש, כפול שבע ...   052 23 77
    אפס חמישים, לא, סליחה, אפס חמישים ושתיים    052
    050 שתיים שלוש ארבע 56 78                     0502345678

Words are first taken as they are. Where a number is expected, a word that is none is *snapped* to the number word that
sounds nearest: the embedded Whisper hears digits well and spells them wrong on telephone audio (איפס, תישה, הרבה for
אפס, תשע, ארבע). A snapped digit lowers the confidence, and whoever asked reads the number back.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from moked.crm.phone import groups, to_e164
from moked.dialog.corrections import patched
from moked.dialog.words import fold, is_break, listed, tokens

DIGIT_WORDS: Final = ("אפס", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע")
"""Digits as a number is read out: feminine, as the language wants."""

_UNITS: Final = {
    0: "אפס זירו",
    1: "אחת אחד",
    2: "שתיים שתים שניים שנים שתי שני",
    3: "שלוש שלושה שלשה",
    4: "ארבע ארבעה",
    5: "חמש חמישה חמשה",
    6: "שש שישה ששה",
    7: "שבע שבעה",
    8: "שמונה שמנה",
    9: "תשע תשעה",
}
_TENS: Final = {
    10: "עשר עשרה",
    20: "עשרים",
    30: "שלושים שלשים",
    40: "ארבעים",
    50: "חמישים חמשים",
    60: "שישים ששים",
    70: "שבעים",
    80: "שמונים",
    90: "תשעים",
}
_LARGE: Final = {100: "מאה", 200: "מאתיים מאתים", 1000: "אלף", 2000: "אלפיים אלפים"}
_VALUES: Final = {
    word: value for table in (_UNITS, _TENS, _LARGE) for value, said in table.items() for word in said.split()
}
NUMBER_WORDS: Final = frozenset(_VALUES)
_ZEROS: Final = "אפסים"
_HUNDREDS: Final = "מאות"
_TWICE: Final = frozenset({"כפול", "דאבל", "דבל", "פעמיים"})
_TIMES: Final = "פעמים"
_SIGNS: Final = {"כוכבית": "*", "*": "*", "פלוס": "+", "+": "+"}
_CORRECTING: Final = frozenset({"לא", "סליחה", "טעות", "טעיתי", "תיקון", "בעצם", "כלומר", "סורי"})
_CONTEXT: Final = listed("מספר המספר טלפון הטלפון נייד הנייד פלאפון הפלאפון סלולרי")
# Words of a sentence about a number that sound like number words; they must never be snapped.
_NEVER: Final = _CONTEXT | listed("""
    אני אתה את אתם הוא היא זה זאת של שלי שלך שלכם שלו שלה יש לי לך לכם לו כן רגע אה אהה אמ אממ אם המ טוב נו אז
    בבקשה תודה בסדר אוקיי אוקי נכון גם או עם על אל כי כמו מה מי איך אחרי לפני עוד פה שם כאן רק הכל הכול יופי רשמת
    רשום תרשום תרשמי תרשמו ואז ואחר כך אחרכך הבית בבית עבודה נקודה מקף קו סולמית התקשר תתקשר תתקשרו להתקשר לחזור
    תחזרו אליי אלי עכשיו קוראים שמי השם בוא נראה שנייה ספרות ספרה הספרה קידומת הקידומת האחרונה האחרונות בסוף
    בהתחלה היה שהוא אפשר שלום היי הלו דבר משהו אחר ישר ממש מאוד אבל
""")
_HANDLED: Final = _TWICE | _CORRECTING | {_ZEROS, _HUNDREDS, _TIMES, *_SIGNS}
_FILLED: Final = 10  # digits of an Israeli mobile number: what a repair aims at


@dataclass(frozen=True, slots=True)
class PhoneHeard:
    """`digits` are all that was heard ("0522", "*2700"); `e164` is set when they are a whole number (or a star code).

    `confidence` 0..1 falls with every guessed word and every correction.
    """

    e164: str | None
    digits: str
    complete: bool
    confidence: float


def heard(digits: str, confidence: float = 1.0) -> PhoneHeard:
    """`PhoneHeard` for digits from anywhere, the keypad included."""
    e164 = to_e164(digits) if digits else None
    return PhoneHeard(e164, digits, e164 is not None, confidence if digits else 0.0)


@lru_cache(maxsize=256)
def phone(text: str, *, asked: bool = True) -> PhoneHeard:
    """The number in `text`. `asked`: a number is expected here, so weak spellings may be snapped to number words.

    Not asked, they are snapped only if the text itself speaks of a number ("הטלפון שלי").
    """
    said = _apart(tokens(text)) if asked else tokens(text)
    expected = asked or any(word in _CONTEXT for word in said)
    reading = _read(said, snap=expected and _mostly_numbers(said))
    best = heard(*_repair(reading.runs, reading.confidence, joined=True))
    if not best.complete and reading.ambiguous:
        apart = heard(*_repair(reading.runs, reading.confidence * 0.9, joined=False))
        best = apart if apart.complete else best
    return best


@lru_cache(maxsize=256)
def digits_said(
    text: str, *, size: int, whole: Callable[[str], object], skip: frozenset[str] = frozenset(), asked: bool = True
) -> tuple[str, float]:
    """(digits, confidence) of another number than a telephone's, `size` digits long; `whole` tells which are one.

    Words of `skip` speak about the number ("תעודת זהות") and are not misheard digits.
    """
    said = tuple(token for token in tokens(text) if token not in skip)
    reading = _read(_apart(said) if asked else said, snap=asked and _mostly_numbers(said))
    ways = (True, False) if reading.ambiguous else (True,)
    found = [_repair(reading.runs, reading.confidence, joined=joined, size=size, whole=whole) for joined in ways]
    digits, sure = next((way for way in found if whole(way[0])), found[0])
    return "".join(char for char in digits if char.isdecimal()), sure


def join(before: PhoneHeard, now: PhoneHeard) -> PhoneHeard:
    """A number dictated over several turns. A new whole number, or a new beginning, replaces what was there."""
    if now.complete or not before.digits:
        return now
    if not now.digits:
        return before
    sure = min(before.confidence, now.confidence)
    together = heard(before.digits + now.digits, sure)
    if together.complete:
        return together
    # the last group was said again, or the caller started from the beginning
    for size in range(min(len(before.digits), len(now.digits)), 0, -1):
        if before.digits.endswith(now.digits[:size]):
            overlapped = heard(before.digits + now.digits[size:], sure * 0.9)
            if overlapped.complete:
                return overlapped
    if (now.digits.startswith("0") and len(now.digits) >= 3) or len(together.digits) > _FILLED:
        return now
    return together


def amend(digits: str, text: str) -> PhoneHeard:
    """A correction after the number was read back: "לא, בסוף שבע שמונה", "הקידומת אפס חמש ארבע", or a whole number."""
    new = phone(text)
    if new.complete or not new.digits or len(new.digits) >= len(digits):
        return new
    better = patched(digits, groups(to_e164(digits) or digits), new.digits, tokens(text))
    return heard(better, new.confidence * 0.9) if better else new


def readback(e164: str) -> str:
    """The number in words, in groups with commas: "אפס חמש אפס, שתיים שלוש ארבע, חמש שש, שבע שמונה"."""
    return ", ".join(spell(group) for group in groups(e164))


def slowly(digits: str) -> str:
    """Digit by digit with a pause after each, for whoever said that the groups were wrong: "אפס, חמש, אפס, ..."."""
    return ", ".join(spell(digit) for digit in digits)


def spell(digits: str) -> str:
    """Digits in words, one by one; other signs by their names or not at all."""
    names = {"*": "כוכבית", "+": "פלוס", "#": "סולמית"}
    said = (DIGIT_WORDS[int(sign)] if sign.isdecimal() else names.get(sign, "") for sign in digits)
    return " ".join(word for word in said if word)


# --- words to runs of digits -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Number:
    """One value being said: 23 of "עשרים ושלוש". `loose`: its unit came without "ו", so it may be two numbers."""

    parts: list[int]
    loose: bool = False

    def text(self, joined: bool) -> str:
        return "".join(str(part) for part in self.parts) if self.loose and not joined else str(sum(self.parts))


_Piece = str | _Number  # digits as they are, or a value; "\n" parts what was said before a correction from what follows
_CORRECTION: Final = "\n"
_COMMA: Final = ","


@dataclass(frozen=True, slots=True)
class _Reading:
    runs: tuple[_Piece, ...]
    confidence: float
    ambiguous: bool


def _read(said: Sequence[str], *, snap: bool) -> _Reading:
    pieces: list[_Piece] = []
    sure = 1.0
    open_number = False  # the last piece may still grow ("עשרים" + "ושלוש")
    copies = 0  # "כפול", "שלוש פעמים": how often the next digit comes
    for token in said:
        last = pieces[-1] if pieces else ""
        value, linked, certainty = _value(token, snap)
        sure *= certainty
        if value is not None and not copies and open_number and isinstance(last, _Number) and _grows(last, value):
            last.loose = last.loose or not linked
            last.parts.append(value)
            continue
        if token == _HUNDREDS and open_number and isinstance(last, _Number) and 2 < last.parts[-1] < 10:
            last.parts[-1] *= 100
            last.loose = False
            continue
        open_number = False
        if is_break(token):
            copies = _repeat(pieces, copies)
            if last not in ("", _COMMA, _CORRECTION):
                pieces.append(_COMMA)
        elif token.isdecimal():
            pieces.append("".join(str(int(char)) for char in token) * max(1, copies))
            copies = 0
        elif value is not None:
            pieces.append(str(value) * copies if copies else _Number([value]))
            open_number, copies = not copies, 0
        elif token in _SIGNS:
            pieces.append(_SIGNS[token])
        elif token == _ZEROS:
            count = _digit(last)
            if count:
                pieces.pop()
            pieces.append("0" * (count or 2))
        elif token in _TWICE:
            copies = 2
        elif token == _TIMES:
            if copies := _digit(last) or 0:
                pieces.pop()
        elif token in _CORRECTING:
            if last not in ("", _CORRECTION):
                pieces.append(_CORRECTION)
                sure *= 0.85
        elif token not in _NEVER and pieces:
            sure *= 0.95
    _repeat(pieces, copies)
    ambiguous = any(isinstance(piece, _Number) and piece.loose for piece in pieces)
    return _Reading(tuple(pieces), sure, ambiguous)


def _digit(piece: _Piece) -> int | None:
    """The digit this piece is, when it is just one."""
    match piece:
        case _Number(parts=[value]) if value < 10:
            return value
        case str(digits) if digits.isdecimal() and len(digits) == 1:
            return int(digits)
    return None


def _repeat(pieces: list[_Piece], copies: int) -> int:
    """Nothing followed "פעמיים": it meant the digit before it ("שבע פעמיים"). Returns the copies left, none."""
    if copies and pieces and (digit := _digit(pieces[-1])) is not None:
        pieces.append(str(digit) * (copies - 1))
    return 0


def _grows(number: _Number, value: int) -> bool:
    """Whether `value` continues `number`: מאה + עשרים, עשרים + שלוש, שלוש + עשרה, but not שלוש + עשרים."""
    last = number.parts[-1]
    if value < 10:
        return value > 0 and last >= 20 and last % 10 == 0
    if value == 10:
        teen = 0 < last < 10 and (len(number.parts) == 1 or number.parts[-2] >= 100)
        return last >= 100 or teen
    return (last >= 100 and value < 100) or (last in (1000, 2000) and value < 1000)


def _value(token: str, snap: bool) -> tuple[int | None, bool, float]:
    """(value of a number word, whether it came with "ו", certainty)."""
    if token in _VALUES:
        return _VALUES[token], False, 1.0
    if token[:1] == "ו" and token[1:] in _VALUES:
        return _VALUES[token[1:]], True, 1.0
    if not snap or token in _NEVER or token in _HANDLED or not "\u05d0" <= token[0] <= "\u05ea":
        return None, False, 1.0
    value, certainty = _snap(token)
    return value, False, certainty


def _apart(said: Sequence[str]) -> Sequence[str]:
    """Digits that a recogniser wrote as one word ("אפסחמש") as words of their own."""
    out: list[str] = []
    for token in said:
        known = token in _VALUES or token[1:] in _VALUES or token in _NEVER or token in _HANDLED
        split = () if known or len(token) < 5 else _split(fold(token))
        out += [DIGIT_WORDS[value] for value in split] or [token]
    return out


@lru_cache(maxsize=1024)
def _split(sound: str) -> tuple[int, ...]:
    """`sound` as two or more digit words without a rest, else nothing."""
    for known, value in _FOLDED_DIGITS:
        if sound.startswith(known) and len(known) > 2:
            rest = sound.removeprefix(known)
            more = next((v for k, v in _FOLDED_DIGITS if k == rest), None)
            tail = (more,) if more is not None else _split(rest) if len(rest) > 3 else ()
            if tail:
                return (value, *tail)
    return ()


# --- the repair: corrections, and the length a number must have ---------------------------------------------------


def _repair(
    pieces: Sequence[_Piece],
    confidence: float,
    *,
    joined: bool,
    size: int = _FILLED,
    whole: Callable[[str], object] = to_e164,
) -> tuple[str, float]:
    """Digits after all corrections. What follows one replaces what it can be meant to replace."""
    spans: list[list[str]] = [[""]]  # spans between corrections, each as groups between commas
    for piece in pieces:
        if piece == _CORRECTION:
            spans.append([""])
        elif piece == _COMMA:
            spans[-1].append("")
        else:
            spans[-1][-1] += piece.text(joined) if isinstance(piece, _Number) else piece
    kept = [group for group in spans[0] if group]
    for span in spans[1:]:
        new = [group for group in span if group]
        if new:
            kept = _replace(kept, new, size, whole)
    return "".join(kept), confidence


def _replace(before: list[str], new: list[str], size: int, whole: Callable[[str], object]) -> list[str]:
    old, more = "".join(before), "".join(new)
    if not old or whole(more) or (more[0] in "0+*1" and len(more) > 1 and old[0] == more[0]):
        return new
    excess = len(old) + len(more) - size
    cut = excess if 0 < excess <= len(old) and whole(old[:-excess] + more) else min(len(before[-1]), len(new[0]))
    return [old[:-cut], *new] if cut < len(old) else new


# --- the snap -----------------------------------------------------------------------------------------------------


def _sound(word: str) -> str:
    """`fold`, but with ס apart from ש: even a weak recogniser mostly hears that אפס has the one and חמש the other."""
    return "ס".join(fold(part) for part in word.split("ס"))


_SOUNDS: Final = tuple(dict.fromkeys((_sound(word), value) for word, value in _VALUES.items()))
_FOLDED_DIGITS: Final = tuple(dict.fromkeys((fold(word), value) for word, value in _VALUES.items() if value < 10))
# Letters a weak recogniser takes for one another on 8 kHz audio cost less than a whole letter (after folding).
_NEAR: Final = {frozenset(pair): 0.4 for pair in ("אכ", "מנ", "בפ", "צש", "זש", "צס", "זס", "גכ", "דת", "רל")}
_NEAR[frozenset("סש")] = 0.3


@lru_cache(maxsize=2048)
def _snap(word: str) -> tuple[int | None, float]:
    """The number word that sounds nearest within a limit that grows with the length; (None, 1.0) for none."""
    sound = _sound(word)
    best: tuple[float, int, int] | None = None
    for known, value in _SOUNDS if len(sound) > 1 else ():
        distance = _distance(sound, known)
        limit = 0.5 if value >= 10 else {2: 0.5, 3: 1.0}.get(len(sound), 1.5)
        # at the same distance a plain digit is likelier than a ten
        rank = (distance, int(value >= 10), value)
        if distance <= limit and (best is None or rank < best):
            best = rank
    if best is None:
        return None, 1.0
    return best[2], 0.95 if best[0] == 0 else 0.8 if best[0] <= 1 else 0.6


def _distance(a: str, b: str) -> float:
    """Edit distance with cheap confusions; a doubled letter costs half."""
    row = [float(i) for i in range(len(b) + 1)]
    for i, x in enumerate(a, 1):
        above, row = row, [float(i)]
        for j, y in enumerate(b, 1):
            swap = 0.0 if x == y else _NEAR.get(frozenset((x, y)), 1.0)
            drop = 0.5 if i > 1 and a[i - 2] == x else 1.0
            row.append(min(above[j - 1] + swap, above[j] + drop, row[j - 1] + 1.0))
    return row[-1]


def _mostly_numbers(said: Sequence[str]) -> bool:
    """Whether a text reads as a number rather than a sentence: only then is a word guessed from its sound."""
    content = [word for word in said if not is_break(word) and word not in _NEVER and word not in _HANDLED]
    numbers = sum(word.isdecimal() or _value(word, snap=True)[0] is not None for word in content)
    return numbers > 0.6 * len(content)
