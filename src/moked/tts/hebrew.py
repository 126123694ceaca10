"""Written Hebrew to Hebrew that can be read aloud (pure): "ב-14:30" -> "בשתיים וחצי אחר הצהריים".

The transcript keeps what was written; only the synthesizer sees this. Passes run in a fixed order, the most specific
first: whatever looks like a phone number is taken before dates, dates before times, times before ranges, and a bare
number last. Each pass leaves words where it found digits, so that nothing is read twice; the last one spells whatever
digits are left. Plain Hebrew passes through unchanged, and no input raises.

What is ambiguous in writing is decided as a person at a reception desk would: "3.5" is a date unless a unit follows;
"9-17" are opening hours; "4:30" has no part of the day, "9:15" is in the morning; an unbroken run of seven digits or
more is a code, read digit by digit.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from moked.tts.lexicon import ABBREVIATIONS, DUALS, FEMININE, MASCULINE, MONTHS, WEEKDAYS
from moked.tts.numerals import DIGIT_WORDS, LARGEST, Gender, before_noun, cardinal, digits, ordinal

__all__ = ["DIGIT_WORDS", "prepare", "spell_digits"]

M, F = Gender.MASCULINE, Gender.FEMININE


@lru_cache(maxsize=512)
def prepare(text: str, *, gender: str = "m") -> str:
    """`text` as words to speak: no digits, emoji or markup remain. Latin words are left to the engine.

    `gender` is the voice's: it settles forms written both ways ("אשמח/ה", "מעוניין/ת"). The last texts are remembered:
    a clause is asked for several times before it is spoken.
    """
    for _ in range(_ROUNDS):
        before, text = text, _once(text, gender)
        if text == before:
            break
    return text


# What is spoken must read as itself, since pieces of it are prepared again. One round does it for what people write;
# markup inside markup may take more.
_ROUNDS: Final = 6


def _once(text: str, gender: str) -> str:
    text = _clean(text)
    text = _SLASHED.sub(lambda match: _one_gender(match, gender), text)
    for pattern, speak in _PASSES:
        text = pattern.sub(speak, text)
    return _tidy(text)


def spell_digits(number: str) -> str:
    """Digit by digit, in the groups Israelis use: '036543210' -> 'אפס שלוש, שש חמש ארבע, שלוש שתיים, אחת אפס'.

    Anything but digits is ignored; a leading '*' or '+972' is understood.
    """
    plain = "".join(character for character in number if character in "0123456789")
    if number.lstrip().startswith("+"):
        return _international(plain)
    if number.lstrip().startswith("*"):
        return f"כוכבית, {digits(plain)}" if plain else "כוכבית"
    return ", ".join(digits(group) for group in _groups(plain))


# --- cleaning ---------------------------------------------------------------------------------------------------------

_SAME: Final = str.maketrans(
    {
        **dict.fromkeys("״“”„", '"'),
        **dict.fromkeys("׳’‘´", "'"),
        **dict.fromkeys("־‐‑−", "-"),
        **{"\u00a0": " ", "½": " 1/2", "¼": " 1/4", "¾": " 3/4", "٪": "%"},
    }
)
_LINK: Final = re.compile(r"\[([^\]\n]+)\]\([^)\s]*\)")
_EMPHASIS: Final = re.compile(r"(\*\*|__|~~|`+)(?=\S)(.+?)(?<=\S)\1")
_ITALIC: Final = re.compile(r"(?<![\w*])\*(?=[^\s*\d])([^*\n]+?)\*(?![\w*])")
_LINE_HEAD: Final = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|[-*•▪][ \t]+|>[ \t]*)", re.MULTILINE)
_LINE_END: Final = re.compile(r"([^\s.,!?:;…-])?[ \t]*(?:\r?\n)+[ \t]*")


def _clean(text: str) -> str:
    text = text.translate(_SAME)
    text = _LINK.sub(r"\1", text)
    text = _EMPHASIS.sub(r"\2", text)
    text = _ITALIC.sub(r"\1", text)
    text = _LINE_HEAD.sub("", text)
    text = _LINE_END.sub(lambda match: f"{match[1]}, " if match[1] else " ", text)
    text = "".join(_plain(character) for character in text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r"(?<=\d)\s*[–—]\s*(?=\d)", "-", text)
    text = re.sub(r"(?<=\d)(?=[^\W\d_])", " ", text)  # 5ק"מ
    return text.strip()


def _plain(character: str) -> str:
    if character.isascii() or "א" <= character <= "ת":
        return character if character.isprintable() else " "
    value = unicodedata.digit(character, None)
    if value is not None:
        return str(value)
    if character == "°":
        return character
    match unicodedata.category(character):
        case "So" | "Sk" | "Sm" | "Cs" | "Co" | "Cn" | "Cc" | "Zl" | "Zp":
            return " "
        case "Cf" | "Me":  # bidi marks, joiners, keycaps
            return ""
        case "Mn" if "\ufe00" <= character <= "\ufe0f":
            return ""
    return character


_MEDIAL: Final = str.maketrans("ךםןףץ", "כמנפצ")
_SLASHED: Final = re.compile(r"(?<![א-ת/])([א-ת]{2,})/(ה|ת|י|ית|ות)(?![א-ת/'\"])")


def _one_gender(match: re.Match[str], gender: str) -> str:
    word, ending = match[1], match[2]
    if word == "את" and ending == "ה":
        return "אתה" if gender == "m" else "את"
    if gender == "m":
        return word
    if ending == "ות":
        return word.removesuffix("ים") + ending
    if word.endswith("ה"):  # רוצה/ת, תרצה/י
        return word if ending == "ת" else word[:-1] + ending
    return word.translate(_MEDIAL) + ending


# --- what the passes are made of --------------------------------------------------------------------------------------

# Particles written onto the number: "ב-14:30", "ול-5". The word before must not go on.
_P: Final = r"(?:(?<![א-ת\"'])(?P<p>[ושהכלבמ]{1,3})-?)?"
_START: Final = r"(?<![\d.,:/])(?<!\d-)"
_INT: Final = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)"
_NUMBER: Final = rf"{_INT}(?:\.\d+)?"
_END: Final = r"(?![\d:/]|[.,]\d|-\d)"
_WORD_END: Final = r"(?![א-ת\"'])"


def _glue(match: re.Match[str], words: str) -> str:
    """The particle in front of the words, and a space when a letter stands directly before."""
    particle = match["p"] or ""
    before = match.string[match.start() - 1 : match.start()]
    gap = " " if not particle and (before.isalnum() or before in "\"')") and before else ""
    return f"{gap}{particle}{words}"


def _whole(number: str) -> int:
    return int(number.replace(",", "").split(".")[0])


def _cardinal(number: str, gender: Gender = F) -> str:
    """A written integer in words; codes and numbers beyond reason digit by digit."""
    plain = number.replace(",", "")
    if int(plain) > LARGEST or (len(plain) > 1 and plain[0] == "0"):
        return ", ".join(digits(group) for group in _groups(plain))
    return cardinal(int(plain), gender)


def _groups(number: str) -> list[str]:
    if number.startswith("0") and len(number) == 10:
        sizes = [3, 3, 2, 2]
    elif number.startswith("0") and len(number) == 9:
        sizes = [2, 3, 2, 2]
    elif number.startswith("1") and len(number) == 10:  # 1-800-...
        sizes = [4, 3, 3]
    elif len(number) <= 4:
        sizes = [len(number)]
    else:
        sizes = [3] * (len(number) // 3)
        sizes[-1] += len(number) - sum(sizes) if len(number) % 3 == 1 else 0
        sizes += [len(number) - sum(sizes)]
    out, at = [], 0
    for size in sizes:
        if size:
            out.append(number[at : at + size])
            at += size
    return out


# --- the net ----------------------------------------------------------------------------------------------------------

_EMAIL: Final = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_URL: Final = re.compile(
    r"(?:https?://|www\.)[A-Za-z0-9][^\s<>\"'א-ת]*|(?<![\w.@-])(?:[A-Za-z0-9-]+\.)+(?:com|net|org|io|il|me|app)(?:/[^\s<>\"'א-ת]*)?(?!\w)"
)
_NET_SIGNS: Final = {"@": "שטרודל", ".": "נקודה", "-": "מקף", "_": "קו תחתון", "/": "לוכסן"}


def _net(match: re.Match[str]) -> str:
    whole = match[0]
    address = whole.rstrip(".,!?:;")
    tail = whole[len(address) :]
    address = re.sub(r"^https?://", "", address).rstrip("/")
    words = [
        _NET_SIGNS[piece] if piece in _NET_SIGNS else digits(piece) if piece.isdigit() else piece
        for piece in re.findall(r"[A-Za-z]+|[0-9]+|[@.\-_/]", address)
    ]
    return " ".join(words) + tail


# --- abbreviations ----------------------------------------------------------------------------------------------------

_ANY_SHORT: Final = "|".join(re.escape(short) for short in sorted(ABBREVIATIONS, key=len, reverse=True))
_ABBREVIATION: Final = re.compile(rf"(?<![א-ת\"'])(?P<p>[ושהכלבמ]{{0,3}})(?P<short>{_ANY_SHORT}){_WORD_END}")
_WEEKDAYS: Final = re.compile(
    r"(?<![א-ת])(?P<day>[ושהכלבמ]{0,2}(?:יום|ימי|ימים))[ -](?P<a>[א-וש])"
    r"(?:'(?:\s?-\s?(?P<b>[א-וש])'?)?|\s?-\s?(?P<c>[א-וש])'?)(?![א-ת\"'])"
)
_WEEK: Final = re.compile(r"(?<![א-ת\"'])(?P<a>[א-ו])'\s?-\s?(?P<b>[א-וש])'(?![א-ת\"'])")


def _weekdays(match: re.Match[str]) -> str:
    last = match["b"] or match["c"]
    return f"{match['day']} {WEEKDAYS[match['a']]}" + (f" עד {WEEKDAYS[last]}" if last else "")


# --- phone numbers and codes ------------------------------------------------------------------------------------------

_STAR: Final = re.compile(rf"{_P}(?<![\w*])\*[- ]?(?P<n>\d{{2,5}})(?!\d)|(?<![\w*.,-])(?P<rtl>\d{{4}})\*(?![\w*])")
_PLUS: Final = re.compile(rf"{_P}(?<![\w+])\+(?P<n>\d(?:[- ]?\(?\d\)?){{6,14}})(?!\d)")
_TOLL: Final = re.compile(rf"{_P}{_START}(?P<n>1-?(?:[5789]\d\d)-?\d{{3}}-?\d{{3}}){_END}")
_PHONE: Final = re.compile(rf"{_P}{_START}(?P<n>0\d(?:[- ]?\d){{7,8}}|\d{{3}}-\d{{4}}){_END}")
_CODE: Final = re.compile(
    r"(?P<p>)(?P<what>(?:קוד|קודן|הקוד|הכניסה|סיסמה|הסיסמה|זהות|אסמכתא|האישור|אישור|הזמנה|ההזמנה|פוליסה|רישוי|טלפון)"
    rf"(?: מספר| שלך| שלי| הוא| היא)*:? )(?P<n>\d{{3,}}){_END}(?!\s?(?:₪|%|שקל|אחוז))"
)
_LONG: Final = re.compile(rf"{_P}{_START}(?P<n>\d{{7,}}){_END}(?!\s?(?:₪|%|\$|€|שקל|אחוז|דולר|אירו|איש|אנשים))")
_ZEROS: Final = re.compile(rf"{_P}{_START}(?P<n>0\d+){_END}")


def _international(number: str) -> str:
    if number.startswith("972") and len(number) in (11, 12):
        return ", ".join(digits(group) for group in _groups("0" + number[3:]))
    return "פלוס " + ", ".join(digits(group) for group in _groups(number))


def _only_digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _star(match: re.Match[str]) -> str:
    return _glue(match, f"כוכבית, {digits(match['n'] or match['rtl'])}")


def _spelled(match: re.Match[str]) -> str:
    number = _only_digits(match["n"])
    groups = ", ".join(digits(group) for group in _groups(number))
    what = match.groupdict().get("what")
    return f"{what}{groups}" if what else _glue(match, groups)


# --- dates ------------------------------------------------------------------------------------------------------------

_ISO: Final = re.compile(rf"{_P}{_START}(?P<y>\d{{4}})-(?P<m>\d{{1,2}})-(?P<d>\d{{1,2}})(?:T(?=\d))?(?![\d-])")
_FULL: Final = re.compile(
    rf"{_P}{_START}(?P<d>\d{{1,2}})(?P<s>[./-])(?P<m>\d{{1,2}})(?P=s)(?P<y>\d{{4}}|\d{{2}})(?!\d|[./-]\d)"
)
_DAY_MONTH: Final = re.compile(
    rf"{_P}{_START}(?P<d>\d{{1,2}})(?P<s>[./])(?P<m>\d{{1,2}})(?!\d|[./,:]\d|%| ?[₪$€%])(?P<after>\s+[א-ת]+)?"
)
_NAMED: Final = re.compile(
    rf"{_P}{_START}(?P<d>\d{{1,2}})\s+ב?(?P<month>{'|'.join(MONTHS[1:])})(?:\s+(?P<y>\d{{4}}))?{_WORD_END}"
)
_DATED: Final = re.compile(r"(?:תאריך|עד|יום|ראשון|שני|שלישי|רביעי|חמישי|שישי|שבת),?\s(?:ה-?)?$")
_MEASURED: Final = re.compile(r"(?:פי|ציון|דירוג|גרסה|ממוצע|של)\s$")


def _date(match: re.Match[str], day: int, month: int, year: str | None) -> str | None:
    if not (1 <= day <= 31 and 1 <= month <= 12):
        return None
    particle = match["p"] or ""
    # The day is definite: ב + ה and ל + ה are written as one letter.
    head = particle if particle.endswith(("ב", "ל", "כ", "ה")) else f"{particle}ה"
    return f"{head}{cardinal(day, M)} ב{MONTHS[month]}{_year(year)}"


def _year(year: str | None) -> str:
    if not year:
        return ""
    number = int(year) + (2000 if len(year) == 2 else 0)
    return f" {cardinal(number)}"


def _full_date(match: re.Match[str]) -> str:
    return _date(match, int(match["d"]), int(match["m"]), match["y"]) or match[0]


def _day_month(match: re.Match[str]) -> str:
    """A date, or two numbers that only look like one: half, 24/7, 2.5 hours, a grade of 4.8."""
    after = match["after"] or ""
    before = match.string[: match.start()]
    day, month = match["d"], match["m"]
    dated = bool(match["p"]) or bool(_DATED.search(before))
    if match["s"] == "/":
        if (day, month) in {("1", "2"), ("1", "4"), ("3", "4"), ("1", "3"), ("2", "3")} and not dated:
            return match[0]
        if (day, month) == ("24", "7"):
            return _glue(match, f"עשרים וארבע שבע{after}")
    elif (
        _gender_of(after.strip()) is not None or _MEASURED.search(before) or (len(month) == 2 and month[0] not in "01")
    ):
        return match[0]
    spoken = _date(match, int(day), int(month), None)
    return match[0] if spoken is None else spoken + after


def _named_date(match: re.Match[str]) -> str:
    if not 1 <= int(match["d"]) <= 31:
        return match[0]
    return _glue(match, f"{cardinal(int(match['d']), M)} ב{match['month']}{_year(match['y'])}")


# --- times ------------------------------------------------------------------------------------------------------------

_PART: Final = (
    r"(?P<part>,?\s(?:בבוקר|בצהריים|בצהרים|אחר הצהריים|אחר הצהרים|אחרי הצהריים|בערב|בלילה|לפנות בוקר|לפני הצהריים))?"
)
_CLOCK: Final = r"(?:[01]?\d|2[0-4])[:][0-5]\d"
_TIMES: Final = re.compile(
    rf"(?P<between>(?<![א-ת])[ושל]?בין )?{_P}{_START}(?P<a>{_CLOCK})\s?-\s?(?P<b>{_CLOCK})(?::\d\d)?{_PART}(?![\d:])"
)
_TIME: Final = re.compile(rf"{_P}{_START}(?P<t>{_CLOCK})(?::[0-5]\d)?{_PART}(?![\d:])")
_HOURS: Final = re.compile(
    rf"(?P<between>(?<![א-ת])[ושל]?בין )?{_P}{_START}(?P<a>0?[5-9]|1\d)\s?-\s?(?P<b>1[3-9]|2[0-4]){_END}"
    r"(?P<after>\s[א-ת]+)?"
)
_HOURS_WORDS: Final = re.compile(
    r"(?P<head>(?<![א-ת])(?:[וש]?מ-?|[ושל]?בין |[ושלמב]?שעות |משעה ))(?P<a>0?[5-9]|1\d)"
    rf"(?P<mid> עד (?:שעה )?|-? ?ל-?| ועד )(?P<b>1[3-9]|2[0-4]){_END}(?P<after>\s[א-ת]+)?"
)
_AT_HOUR: Final = re.compile(rf"(?P<head>(?<![א-ת])[ושלמ]?ב?ה?שעה )(?P<h>[01]?\d|2[0-4]){_END}{_PART}")
_QUARTERS: Final = {15: "רבע", 30: "חצי"}
_TO_NEXT: Final = {40: "עשרים", 45: "רבע", 50: "עשרה", 55: "חמישה"}


def _part_of_day(hour: int) -> str:
    if hour < 4 or hour >= 22:
        return "בלילה"
    if hour == 4:
        return "לפנות בוקר"
    if hour < 12:
        return "בבוקר"
    if hour == 12:
        return "בצהריים"
    return "אחר הצהריים" if hour < 18 else "בערב"


def _clock(written: str, *, part: bool) -> str:
    """'14:30' -> 'שתיים וחצי אחר הצהריים'. `part`: say the part of the day, unless the writing leaves it open."""
    hour_text, minute_text = written.split(":")
    hour, minute = int(hour_text) % 24, int(minute_text)
    open_hour = len(hour_text) == 1 and 1 <= hour <= 6
    if hour == 0 and minute == 0:
        return "חצות"
    if minute in _TO_NEXT:
        hour = (hour + 1) % 24
        words = f"{_TO_NEXT[minute]} ל{cardinal(hour % 12 or 12)}"
    else:
        words = cardinal(hour % 12 or 12)
        if minute in _QUARTERS:
            words += f" ו{_QUARTERS[minute]}"
        elif minute == 1:
            words += " ודקה"
        elif minute:
            words += f" ו{before_noun(minute, F)} דקות"
    return f"{words} {_part_of_day(hour)}" if part and not open_hour else words


def _time(match: re.Match[str]) -> str:
    return _glue(match, _clock(match["t"], part=not match["part"]) + (match["part"] or ""))


def _from_to(match: re.Match[str], first: str, second: str) -> str:
    if match["between"]:
        return f"{match['between']}{first} ל{second}"
    particle = match["p"] or ""
    return f"{particle.removesuffix('מ')}מ{first} עד {second}"


def _times(match: re.Match[str]) -> str:
    told = bool(match["part"])
    first, second = _clock(match["a"], part=not told), _clock(match["b"], part=not told)
    return _from_to(match, first, second) + (match["part"] or "")


def _hour(written: str) -> str:
    return cardinal(int(written) % 12 or 12)


def _hours(match: re.Match[str]) -> str:
    after = match["after"] or ""
    if int(match["a"]) >= int(match["b"]) or _counted(after.strip()) is not None:
        return match[0]
    return _from_to(match, _hour(match["a"]), _hour(match["b"])) + after


def _hours_in_words(match: re.Match[str]) -> str:
    after = match["after"] or ""
    if int(match["a"]) >= int(match["b"]) or _counted(after.strip()) is not None:
        return match[0]
    head, middle = match["head"].replace("-", ""), match["mid"].replace("-", "")
    return f"{head}{_hour(match['a'])}{middle}{_hour(match['b'])}{after}"


def _at_hour(match: re.Match[str]) -> str:
    hour = int(match["h"]) % 24
    part = match["part"] or (f" {_part_of_day(hour)}" if hour >= 13 else "")
    return f"{match['head']}{cardinal(hour % 12 or 12)}{part}"


# --- nouns that are counted -------------------------------------------------------------------------------------------


def _counted(word: str) -> Gender | None:
    """The gender of a noun we know, also with the article."""
    for form in (word, word.removeprefix("ה")):
        if form in MASCULINE:
            return M
        if form in FEMININE:
            return F
    return None


def _gender_of(word: str) -> Gender | None:
    """The gender of a counted noun: known, or told by its plural ending. None when it does not look like one."""
    known = _counted(word)
    if known is not None or len(word) < 4:
        return known
    return M if word.endswith("ים") else F if word.endswith("ות") else None


# --- money, percent, fractions, numbers -------------------------------------------------------------------------------

_SHEKELS: Final = r"(?:₪|NIS|ILS|nis|ils|שקלים|שקל|ש\.ח\.?)"
_PRICE: Final = re.compile(
    rf"{_P}{_START}(?:₪\s?(?P<x>{_NUMBER})|(?P<n>{_NUMBER})\s?(?P<unit>{_SHEKELS})(?![א-תA-Za-z])){_END}"
)
_MONEY: Final = {"$": "דולר", "€": "אירו", "£": "פאונד"}
_FOREIGN: Final = re.compile(rf"{_P}{_START}(?:(?P<s>[$€£])\s?(?P<x>{_NUMBER})|(?P<n>{_NUMBER})\s?(?P<t>[$€£])){_END}")
_PERCENT: Final = re.compile(rf"{_P}{_START}(?P<n>{_NUMBER})\s?%")
_RANGE: Final = re.compile(rf"{_P}{_START}(?P<a>{_INT})\s?-\s?(?P<b>{_INT}){_END}(?P<noun>\s[א-ת]+)?")
_FRACTION: Final = re.compile(rf"{_P}(?:{_START}(?P<w>\d+) )?{_START}(?P<f>1/2|1/4|3/4|1/3|2/3){_END}")
_FRACTIONS: Final = {"1/2": "חצי", "1/4": "רבע", "3/4": "שלושה רבעים", "1/3": "שליש", "2/3": "שני שלישים"}
_DECIMAL: Final = re.compile(rf"{_P}{_START}(?P<n>{_INT}\.\d+)(?!\d|[.,:/]\d)(?P<noun>\s[א-ת]+)?")
_ORDINAL: Final = re.compile(
    rf"(?P<before>[א-ת]+ )?(?P<p>(?<![א-ת\"'])[ושכלבמ]?ה)-(?P<n>10|[1-9]){_END}(?P<noun>\s[א-ת]+)?"
)
_COUNT: Final = re.compile(
    rf"{_P}{_START}(?P<minus>(?<!\S)-)?(?P<n>{_INT}){_END}(?P<noun>\s(?P<word>[א-ת]+)(?![א-ת\"']))?"
)


def _decimal(number: str, gender: Gender) -> str:
    whole, _, fraction = number.partition(".")
    tail = {"5": "חצי", "50": "חצי", "25": "רבע", "75": "שלושה רבעים"}.get(fraction)
    if not fraction.strip("0"):
        return _cardinal(whole, gender)
    if tail is None:
        return f"{_cardinal(whole, gender)} נקודה {digits(fraction)}"
    return tail if _whole(number) == 0 else f"{_cardinal(whole, gender)} ו{tail}"


def _price(match: re.Match[str]) -> str:
    number, unit = match["n"] or match["x"], match["unit"]
    whole, _, cents = number.partition(".")
    if len(cents) > 2 or int(whole.replace(",", "")) > LARGEST:
        return _glue(match, f"{_decimal(number, M)} שקלים")
    shekels, agorot = _whole(whole), int((cents + "0")[:2]) if cents else 0
    parts = []
    if shekels or not agorot:
        noun = "שקל" if unit == "שקל" and shekels > 10 else "שקלים"
        parts.append("שקל אחד" if shekels == 1 else f"{before_noun(shekels, M)} {noun}")
    if agorot:
        parts.append("אגורה אחת" if agorot == 1 else f"{before_noun(agorot, F)} אגורות")
    return _glue(match, " ו".join(parts))


def _foreign(match: re.Match[str]) -> str:
    number, noun = match["n"] or match["x"], _MONEY[match["s"] or match["t"]]
    if "." in number:
        return _glue(match, f"{_decimal(number, M)} {noun}")
    return _glue(match, f"{noun} אחד" if _whole(number) == 1 else f"{_before(number, M)} {noun}")


def _percent(match: re.Match[str]) -> str:
    number = match["n"]
    if "." in number and number.partition(".")[2].strip("0"):
        return _glue(match, f"{_decimal(number, M)} אחוז")
    count = _whole(number)
    if count == 1:
        return _glue(match, "אחוז אחד")
    return _glue(match, f"{_before(number.partition('.')[0], M)} {'אחוזים' if count <= 10 else 'אחוז'}")


def _before(number: str, gender: Gender, *, definite: bool = False) -> str:
    plain = number.replace(",", "")
    if int(plain) > LARGEST or (len(plain) > 1 and plain[0] == "0"):
        return _cardinal(number)
    return before_noun(int(plain), gender, definite=definite)


def _range(match: re.Match[str]) -> str:
    noun = match["noun"] or ""
    gender = _gender_of(noun.strip())
    first = _cardinal(match["a"], gender or F)
    second = _cardinal(match["b"]) if gender is None else _before(match["b"], gender)
    return _glue(match, f"{first} עד {second}{noun}")


def _fraction(match: re.Match[str]) -> str:
    words = _FRACTIONS[match["f"]]
    return _glue(match, f"{_cardinal(match['w'])} ו{words}" if match["w"] else words)


def _decimal_number(match: re.Match[str]) -> str:
    noun = match["noun"] or ""
    word = noun.strip()
    number = match["n"]
    if number == "2.5" and word in DUALS:
        return _glue(match, f"{DUALS[word]} וחצי")
    return _glue(match, f"{_decimal(number, _gender_of(word) or F)}{noun}")


def _ordinal(match: re.Match[str]) -> str:
    before, noun = match["before"] or "", match["noun"] or ""
    number = int(match["n"])
    counted = _gender_of(noun.strip())
    if counted is not None:
        return f"{before}{match['p']}{before_noun(number, counted)}{noun}"
    gender = _counted(before.strip()) or M
    return f"{before}{match['p']}{ordinal(number, gender)}{noun}"


# After these a number names, it does not count: "בשעה 9 פותחים", "קומה 3 דלתות".
_NAMES: Final = re.compile(r"(?:שעה|קומה|דירה|חדר|בית|מספר|כביש|קו|יציאה|שער|סניף|עמדה|כניסה|חניה|מסלול)\s$")


def _count(match: re.Match[str]) -> str:
    noun, word, number = match["noun"] or "", match["word"] or "", match["n"]
    naming = bool(_NAMES.search(match.string[: match.start()]))
    particle = match["p"] or ""
    # "ב-9 פותחים" is an hour; only a noun we know is counted there
    gender = None if naming else _counted(word) if particle.endswith("ב") else _gender_of(word)
    minus = "מינוס " if match["minus"] else ""
    if gender is None:
        return _glue(match, f"{minus}{_cardinal(number)}{noun}")
    if number == "1":
        return _glue(match, f"{minus}{word} {cardinal(1, gender)}")
    if number == "2" and word in DUALS:
        return _glue(match, f"{minus}{DUALS[word]}")
    definite = word.startswith("ה") and _counted(word[1:]) is not None and _counted(word) is not None
    return _glue(match, f"{minus}{_before(number, gender, definite=definite)}{noun}")


_PASSES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (_EMAIL, _net),
    (_URL, _net),
    (_ABBREVIATION, lambda match: f"{match['p']}{ABBREVIATIONS[match['short']]}"),
    (_WEEKDAYS, _weekdays),
    (_WEEK, lambda match: f"{WEEKDAYS[match['a']]} עד {WEEKDAYS[match['b']]}"),
    (_STAR, _star),
    (_PLUS, lambda match: _glue(match, _international(_only_digits(match["n"])))),
    (_TOLL, _spelled),
    (_PHONE, _spelled),
    (_ISO, _full_date),
    (_FULL, _full_date),
    (_NAMED, _named_date),
    (_DAY_MONTH, _day_month),
    (_TIMES, _times),
    (_TIME, _time),
    (_CODE, _spelled),
    (_LONG, _spelled),
    (_HOURS_WORDS, _hours_in_words),
    (_HOURS, _hours),
    (_AT_HOUR, _at_hour),
    (_PRICE, _price),
    (_FOREIGN, _foreign),
    (_PERCENT, _percent),
    (_FRACTION, _fraction),
    (_RANGE, _range),
    (_DECIMAL, _decimal_number),
    (_ORDINAL, _ordinal),
    (_ZEROS, _spelled),
    (_COUNT, _count),
    (re.compile(r"\d+"), lambda match: f" {digits(match[0])} "),
)

# --- what is left -----------------------------------------------------------------------------------------------------

_SIGNS: Final = (
    (re.compile(r"ו/או"), "או"),
    (re.compile(r"(?<=[א-ת])\s?/\s?(?=[א-ת])"), " או "),
    (re.compile(r"₪"), " שקלים "),
    (re.compile(r"%"), " אחוז "),
    (re.compile(r"°"), " מעלות "),
    (re.compile(r"\s\+\s"), " פלוס "),
    (re.compile(r"&"), " ו"),
    (re.compile(r"@"), " שטרודל "),
    (re.compile(r"\s[-–—]+\s|[–—]"), ", "),
    (re.compile(r"[*#_~|<>{}\[\]\\^`=+$€£/]"), " "),
)


def _tidy(text: str) -> str:
    for pattern, words in _SIGNS:
        text = pattern.sub(words, text)
    text = re.sub(r"\s+", " ", text)
    text = re.sub(r" +([,.;:!?…])", r"\1", text)
    text = re.sub(r",(?:[ ,]*,)+", ",", text)
    text = re.sub(r"^[\s,;:]+", "", text)
    return text.strip()
