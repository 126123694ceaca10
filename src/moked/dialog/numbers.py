"""Numbers and quantities in spoken Hebrew (pure): words, numerals and both together, to values and back.

    שלוש וחצי                     3.5          מאתיים חמישים שקל       250 of שקל
    שלושת אלפים וארבע מאות        3400         2 מיליון                2000000

Both genders and the construct state count the same, "ו" may be missing ("עשרים שלוש"), and a one-letter prefix may
stand before the first word ("בשלושים"). Digits dictated one by one are not a quantity: `spoken_digits` reads those.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from moked.dialog.words import fold, listed, tokens
from moked.tts.numerals import LARGEST, Gender, before_noun, cardinal

_UNITS: Final = {
    0: "אפס",
    1: "אחת אחד",
    2: "שתיים שתים שניים שנים שתי שני",
    3: "שלוש שלושה שלשה שלושת",
    4: "ארבע ארבעה ארבעת",
    5: "חמש חמישה חמשה חמשת חמישת",
    6: "שש שישה ששה ששת שישת",
    7: "שבע שבעה שבעת",
    8: "שמונה שמנה שמונת",
    9: "תשע תשעה תשעת",
}
_TEN: Final = listed("עשר עשרה עשרת")
_TEEN_TAIL: Final = listed("עשרה עשר")
_TENS: Final = {
    20: "עשרים", 30: "שלושים שלשים", 40: "ארבעים", 50: "חמישים חמשים", 60: "שישים ששים", 70: "שבעים", 80: "שמונים",
    90: "תשעים",
}  # fmt: skip
_SMALL: Final = {
    word: value for table in (_UNITS, _TENS) for value, said in table.items() for word in said.split()
} | dict.fromkeys(_TEN, 10)
# As recognisers write them: teens in one word, and the commonest misspellings of the rest.
_JOINED: Final = {
    head + tail: 10 + value for value, said in _UNITS.items() if value for head in said.split() for tail in _TEEN_TAIL
}
_HUNDRED: Final = {"מאה": 100, "מאתיים": 200, "מאתים": 200}
_HUNDREDS: Final = "מאות"
_THOUSAND: Final = {"אלף": 1000, "אלפיים": 2000}
_THOUSANDS: Final = "אלפים"
_MILLIONS: Final = {"מיליון": 10**6, "מליון": 10**6, "מיליארד": 10**9, "מליארד": 10**9}
_HALVES: Final = {"חצי": 0.5, "רבע": 0.25}
_POINT: Final = "נקודה"
_EXACT: Final = frozenset({*_SMALL, *_JOINED, *_HUNDRED, *_THOUSAND, _THOUSANDS, *_MILLIONS})
NUMBER_WORDS: Final = _EXACT | {_HUNDREDS}
# By sound, for weak recognisers (ארבה, תישע, חמיש). Two sounds of two letters say too little.
_SOUNDS: Final = {fold(word): word for word in sorted(_EXACT, key=len) if len(fold(word)) > 2}
_NOT_MISHEARD: Final = listed(
    "שבוע שבועות השבוע אלה אלו תשובה שאלה מאוד מעט הרבה אשר עשרות עשינו ארוחה שבת שישי חמישי שני"
)
_PREFIXES: Final = "ובלמשכה"
_COUNTED: Final = listed(
    """
    שקל שקלים שח שקלין דולר דולרים אירו יורו אגורות אחוז אחוזים מטר מטרים סמ קילו גרם ליטר קילומטר קילומטרים
    חדרים חדר ילדים אנשים איש נפשות יחידות יחידה פעמים ימים יום שבועות חודשים שנים שנה שעות שעה דקות קומות מזגנים דלתות
    חלונות חלון שולחנות כיסאות מנות אורחים מבוגרים דקה קומה דלת מנה חודש שבוע מזגן
    """
)
_FEMININE: Final = listed("אגורות נפשות יחידות יחידה פעמים שנים שנה שעות שעה דקות דקה קומות קומה דלתות דלת מנות מנה")


@dataclass(frozen=True, slots=True)
class NumberHeard:
    """`unit` is the counted word when it is a usual one ("שקל"); `start` and `end` are tokens of `words.tokens`.

    `confidence` 0..1 is lower where a word was taken by its sound.
    """

    value: int | float
    unit: str
    quote: str
    start: int
    end: int
    confidence: float = 1.0

    @property
    def written(self) -> str:
        """As the owner reads it: "3.5", "250 שקל"."""
        return f"{self.value:g} {self.unit}".strip() if self.value < 10**6 else f"{self.value:.0f} {self.unit}".strip()

    @property
    def spoken(self) -> str:
        """To read back: "מאתיים וחמישים שקל"."""
        if not self.unit or self.value > LARGEST:
            return f"{say(self.value)} {self.unit}".strip()
        gender = Gender.FEMININE if self.unit in _FEMININE else Gender.MASCULINE
        if self.value != int(self.value):
            return f"{self.unit} וחצי" if self.value == 1.5 else f"{say(self.value, gender)} {self.unit}"
        number = before_noun(int(self.value), gender)
        return f"{self.unit} {number}" if self.value == 1 else f"{number} {self.unit}"


@lru_cache(maxsize=256)
def numbers(text: str, *, asked: bool = False) -> tuple[NumberHeard, ...]:
    """Every number in `text`, in order. `asked`: one is expected, so misspelled words are taken by their sound."""
    said = tokens(text)
    found, at = [], 0
    while at < len(said):
        read = number_at(said, at, asked=asked, prefixed=True)
        if read is None and said[at] in _COUNTED and _half(said, at + 1):
            read = 1, at, 1.0  # "שעה וחצי"
        if read is None:
            at += 1
            continue
        value, end, sure = read
        unit = said[end] if end < len(said) and said[end] in _COUNTED else ""
        end += bool(unit)
        if unit and (half := _half(said, end)):
            value, end = value + half[0], half[1]
        found.append(NumberHeard(value, unit, " ".join(said[at:end]), at, end, sure))
        at = end
    return tuple(found)


def number(text: str) -> NumberHeard | None:
    """The answer to "how many": the one number, or the last after a correction ("שלוש, לא, ארבע")."""
    found = numbers(text, asked=True)
    if not found:
        return None
    if len({item.value for item in found}) > 1:
        between = tokens(text)[found[-2].end : found[-1].start]
        corrected = {"לא", "סליחה", "בעצם", "טעות", "אלא"}.intersection(between)
        if not corrected:
            return None  # two numbers and no word about which
    return found[-1]


def say(value: float, gender: Gender = Gender.FEMININE) -> str:
    """A number in words, as it is read out: 3.5 -> "שלוש וחצי", 250 -> "מאתיים וחמישים"."""
    whole, rest = int(value), value - int(value)
    if whole > LARGEST:
        return f"{value:g}"
    if not rest:
        return cardinal(whole, gender)
    tail = {0.5: "חצי", 0.25: "רבע", 0.75: "שלושה רבעים"}.get(rest)
    if tail is None or (whole and whole % 1000 == 0):  # "אלף וחצי" are 1500
        return f"{cardinal(whole)} נקודה {' '.join(cardinal(int(d)) for d in f'{value:.4f}'.split('.')[1].rstrip('0'))}"
    return f"{cardinal(whole, gender)} ו{tail}" if whole else tail


def number_at(
    said: Sequence[str], at: int, *, asked: bool = False, prefixed: bool = False, halves: bool = True
) -> tuple[int | float, int, float] | None:
    """(value, end, confidence) of the number that begins at token `at`; None where none begins.

    `prefixed`: its first word may carry a one-letter prefix. `halves`: "וחצי" after it belongs to it.
    """
    if at >= len(said):
        return None
    sure, value, end = 1.0, 0.0, at
    if said[at].isdecimal():
        value, end = _numeral(said, at)
    elif halves and said[at] in _HALVES and not (at + 1 < len(said) and said[at + 1] in ("ל", "לפני")):
        return _HALVES[said[at]], at + 1, 1.0
    elif halves and tuple(said[at : at + 2]) in (("שלושה", "רבעים"), ("שלושת", "רבעי")):
        return 0.75, at + 2, 1.0
    read = _words(said, at, asked, prefixed) if end == at else _scaled(said, end, value)
    if read is None:
        return None
    value, end, certainty = read
    sure *= certainty
    if halves:
        if end + 1 < len(said) and said[end] == _POINT and (tail := _plain_digits(said, end + 1)):
            value, end = float(f"{int(value)}.{tail[0]}"), tail[1]
        elif half := _half(said, end):
            last = said[end - 1].removeprefix("ו")
            scale = 1000 if last in _THOUSAND or last == _THOUSANDS else _MILLIONS.get(last, 1)
            value, end = value + half[0] * scale, half[1]  # "מיליון וחצי"
    return (int(value) if value == int(value) else value), end, sure


def _half(said: Sequence[str], at: int) -> tuple[float, int] | None:
    """(how much, where it ends) of "וחצי", "ורבע", "ושלושה רבעים" at token `at`."""
    if at >= len(said):
        return None
    if said[at][:1] == "ו" and said[at][1:] in _HALVES:
        return _HALVES[said[at][1:]], at + 1
    if tuple(said[at : at + 2]) in (("ושלושה", "רבעים"), ("ושלוש", "רבעים")):
        return 0.75, at + 2
    return None


def _numeral(said: Sequence[str], at: int) -> tuple[float, int]:
    """ "1,250", "12.5": the tokens of one written number."""
    digits, end = said[at], at + 1
    while (
        end + 1 < len(said)
        and said[end] == ","
        and len(said[end + 1]) == 3
        and said[end + 1].isdecimal()
        and len(digits) <= 9
        and len(said[at]) <= 3
    ):
        digits, end = digits + said[end + 1], end + 2
    if end + 1 < len(said) and said[end] == "." and said[end + 1].isdecimal() and len(said[end + 1]) <= 2:
        return float(f"{digits}.{said[end + 1]}"), end + 2
    return int(digits), end


def _scaled(said: Sequence[str], at: int, value: float) -> tuple[float, int, float]:
    """ "3 אלף", "2 מיליון"."""
    while at < len(said):
        scale = 1000 if said[at] in ("אלף", _THOUSANDS) else 100 if said[at] == _HUNDREDS else _MILLIONS.get(said[at])
        if scale is None or value >= scale:
            break
        value, at = value * scale, at + 1
        more = number_at(said, at, halves=False)
        joined = None
        if more is None and at < len(said) and said[at][:1] == "ו":
            joined = _words(said, at, False, True)
        if (more := more or joined) and more[0] < scale:
            return value + more[0], more[1], more[2]
    return value, at, 1.0


def _plain_digits(said: Sequence[str], at: int) -> tuple[str, int] | None:
    out, end = "", at
    while end < len(said):
        if said[end].isdecimal():
            out += said[end]
        elif _SMALL.get(said[end], 10) < 10:
            out += str(_SMALL[said[end]])
        else:
            break
        end += 1
    return (out, end) if out else None


@lru_cache(maxsize=4096)
def _known(word: str, asked: bool, prefixed: bool) -> tuple[str, bool, float] | None:
    """(the number word that `word` is, whether "ו" joins it, certainty)."""
    if word in NUMBER_WORDS:
        return word, False, 1.0
    if len(word) > 2 and word[0] in (_PREFIXES if prefixed else "ו"):
        if word[1:] in NUMBER_WORDS:
            return word[1:], word[0] == "ו", 1.0
        if prefixed and len(word) > 3 and word[1] in "ובלמה" and word[2:] in NUMBER_WORDS:
            return word[2:], False, 1.0
    if not asked or word in _NOT_MISHEARD or not "\u05d0" <= word[0] <= "\u05ea":
        return None
    sound = fold(word)
    if sound in _SOUNDS:
        return _SOUNDS[sound], False, 0.8
    return None


def _words(said: Sequence[str], at: int, asked: bool, prefixed: bool) -> tuple[float, int, float] | None:
    """A number in words. Scales fall from left to right (אלפים, מאות, עשרות, יחידות); what breaks that is another."""
    total, part, end, sure = 0.0, 0, at, 1.0
    fresh = False  # the last word was a unit that "מאות", "אלף" or "עשרה" may still multiply or finish
    while end < len(said):
        known = _known(said[end], asked, prefixed and end == at)
        if end > at and end + 1 < len(said) and said[end + 1] == "רבעים":
            break  # "ושלושה רבעים"
        if known is None:
            if end > at and said[end].isdecimal() and part % 100 == 0 and not fresh and len(said[end]) <= 2:
                part += int(said[end])  # "מאה 20"
                end += 1
            break
        word, _, certainty = known
        if word in _MILLIONS:
            total, part, fresh = (total + (part or 1)) * _MILLIONS[word], 0, False
        elif word in _THOUSAND or word == _THOUSANDS:
            if part and word == "אלפיים":
                break
            if total % 10**6 >= 1000:
                break
            total += (part or 1) * _THOUSAND.get(word, 1000)
            part, fresh = 0, False
        elif word == _HUNDREDS:
            if not fresh or part % 100 < 3:
                break
            part, fresh = part // 100 * 100 + part % 100 * 100, False
        elif word in _HUNDRED:
            if part:
                break
            part, fresh = _HUNDRED[word], False
        elif word in _TEEN_TAIL and fresh and said[end][:1] != "ו" and 0 < part % 100 < 10:
            part, fresh = part + 10, False
        else:
            value = _SMALL.get(word) or _JOINED.get(word, 0)
            room = part % 100
            if value == 0 and (part or total):
                break
            if (value < 10 and (fresh or room % 10 or 0 < room < 20)) or (value >= 10 and room):
                break
            part, fresh = part + value, value < 10
        sure, end = sure * certainty, end + 1
    return (total + part, end, sure) if end > at else None
