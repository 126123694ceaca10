"""An Israeli address in what was said (pure): town, street, house, apartment, floor, entrance.

    אני גר ברחוב הרצל שתים עשרה דירה ארבע בחיפה   ->  הרצל 12, דירה 4, חיפה
    ויצמן 5 כניסה ב קומה שלישית, ראשון              ->  ויצמן 5, כניסה ב, קומה 3, ראשון לציון

A town must be in the list or follow a word that says it is one (מושב, קיבוץ). A street is what stands between its
marker, or the beginning, and the house number; when the list of common streets has it, it is spelled as there.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Final

from moked.dialog.gazetteer import Place, localities, streets
from moked.dialog.numbers import number_at, say
from moked.dialog.words import is_break, listed, tokens

_STREET_MARKS: Final = {
    "רחוב": "", "רח": "", "שדרות": "שדרות", "שד": "שדרות", "שדרת": "שדרות", "דרך": "דרך", "סמטת": "סמטת",
    "סמטה": "סמטת",    "כיכר": "כיכר", "משעול": "משעול", "רחבת": "רחבת",
}  # fmt: skip
_TOWN_MARKS: Final = listed("מושב קיבוץ יישוב ישוב מושבה קהילה")
_HOUSE_MARKS: Final = listed("מספר בית מס")
_FLAT_MARKS: Final = {"דירה": "apartment", "קומה": "floor", "כניסה": "entrance", "דירת": "apartment"}
_ORDINALS: Final = {
    "ראשונה": "1", "שנייה": "2", "שניה": "2", "שלישית": "3", "רביעית": "4", "חמישית": "5", "שישית": "6", "שביעית": "7",
    "שמינית": "8", "תשיעית": "9", "עשירית": "10", "קרקע": "קרקע", "אחרונה": "אחרונה",
}  # fmt: skip
_LETTERS: Final = {
    "א": "א", "ב": "ב", "ג": "ג", "ד": "ד", "ה": "ה", "ו": "ו", "אלף": "א", "בית": "ב", "גימל": "ג", "דלת": "ד",
    "הא": "ה",
}  # fmt: skip
_FILLERS: Final = listed(
    """
    אני אנחנו גר גרה גרים גרות נמצא נמצאת נמצאים הכתובת כתובת שלי שלנו היא זה זאת בכתובת אז אה אמ כן לא טוב בבקשה תודה
    של את יש לי לנו כאן פה עיר בעיר העיר רשום תרשום תרשמי תרשמו לרחוב אממ אהה נו סליחה רגע בעצם אלא רק לבוא תבואו להגיע
    תגיעו שזה וזה הוא אוקיי הרחוב לכתובת כניסה זהו שם ליד מול מאחורי קרוב אל
    """
)
_ENDS_STREET: Final = listed("ליד מול מאחורי קרוב באזור בשכונת שכונת שכונה")
_NO_NUMBER: Final = listed("אין בלי")
_LARGE: Final = 110  # localities of the list that are towns: an address there has a street
_LONGEST_STREET: Final = 4  # words
_UNLISTED: Final = 0.7
_BY_SOUND: Final = 0.9  # of a street's name; less needs a number or a marker beside it
_FRACTION: Final = re.compile(r"(\d)\s*/\s*(\d)")


@dataclass(frozen=True, slots=True)
class Address:
    """Empty strings are not known. `confidence` 0..1: the weakest of its parts."""

    city: str = ""
    street: str = ""
    house: str = ""
    apartment: str = ""
    floor: str = ""
    entrance: str = ""
    confidence: float = 1.0
    small: bool = False  # a place where an address needs no street

    @property
    def missing(self) -> str:
        """What to ask for next: 'city', 'street', 'house', or '' when a person could find the place."""
        if not self.street and not (self.city and self.small):
            return "street"
        if not self.city:
            return "city"
        return "house" if self.street and not self.house else ""

    @property
    def written(self) -> str:
        """As on an envelope: "הרצל 12, כניסה ב, קומה 3, דירה 4, חיפה"."""
        return self._parts(str)

    @property
    def spoken(self) -> str:
        """To read back, numbers in words."""
        return self._parts(_in_words)

    def _parts(self, shown: Callable[[str], str]) -> str:
        house = f"{self.street} {shown(self.house)}".strip()
        named = (("כניסה", self.entrance), ("קומה", self.floor), ("דירה", self.apartment))
        parts = [house, *(f"{name} {shown(value)}" for name, value in named if value), self.city]
        return ", ".join(part for part in parts if part)

    def __bool__(self) -> bool:
        return bool(self.city or self.street or self.house or self.apartment or self.floor or self.entrance)


def _in_words(value: str) -> str:
    found = re.fullmatch(r"(\d+)(.*)", value)
    return f"{say(int(found[1]))} {found[2]}".strip() if found else value


def ready() -> None:
    """Read the lists now rather than in the first call that needs them."""
    localities(), streets()


@lru_cache(maxsize=256)
def address(text: str, *, asked: bool = True) -> Address:
    """The address in `text`; an empty one (false) where there is none. Not `asked`, a street needs its marker."""
    said = _prepared(text)
    left: list[str] = list(said)  # words that are explained become ""
    found = Address()
    found = _flat(left, found)
    found = _town(left, found, asked)
    return _street(left, found, asked)


def merged(before: Address, now: Address) -> Address:
    """What is known after `now` was added or corrected."""
    given = {field.name: value for field in fields(now) if isinstance(value := getattr(now, field.name), str) and value}
    if "street" in given and given["street"] != before.street and before.street:
        given.setdefault("house", "")  # another street has another number
    small = now.small if now.city else before.small
    sure = min(before.confidence, now.confidence) if before else now.confidence
    return replace(before, **given, small=small, confidence=sure)


def without_number(text: str) -> bool:
    """ "אין מספר": the caller says that the house has none."""
    return bool(_NO_NUMBER.intersection(tokens(text))) and len(tokens(text)) <= 5


def _prepared(text: str) -> tuple[str, ...]:
    return tokens(_FRACTION.sub(r"\1 דירה \2", text))


def _mark(word: str, table: Sequence[str] | frozenset[str] | dict[str, str]) -> str:
    """The marker that `word` is, with or without a prefix."""
    if word in table:
        return word
    rest = word[1:] if len(word) > 2 and word[0] in "בהולמ" else ""
    return rest if rest in table else ""


def _value(said: Sequence[str], at: int) -> tuple[str, int] | None:
    """A number or letter of a house or flat: "12", "שתים עשרה", "12א", "אחת שתיים" (one by one)."""
    while at < len(said) and said[at] in ("מספר", "מס"):
        at += 1
    if at >= len(said) or not said[at]:
        return None
    read = number_at(said, at, asked=True, halves=False)
    if read is None:
        return None
    value, end = f"{read[0]:g}", read[1]
    while len(value) < 3 and read[0] < 10 and not said[at].isdecimal() and end < len(said) and said[end]:
        more = number_at(said, end, halves=False)
        if more is None or more[0] >= 10:
            break
        value, end = value + f"{more[0]:g}", more[1]
    if end < len(said) and len(said[end]) == 1 and said[end] in _LETTERS and not _before_town(said, end):
        value, end = value + said[end], end + 1
    return value, end


def _before_town(said: Sequence[str], at: int) -> bool:
    """Whether the letter at `at` is the prefix of what follows ("12 ב חיפה")."""
    return at + 1 < len(said) and bool(localities().at(tuple(said), at + 1, asked=False))


def _flat(left: list[str], found: Address) -> Address:
    """Apartment, floor and entrance."""
    for at, word in enumerate(left):
        field = _FLAT_MARKS.get(_mark(word, _FLAT_MARKS), "") if word else ""
        if not field or at + 1 >= len(left):
            continue
        following = left[at + 1]
        if following in _ORDINALS:
            value, end = _ORDINALS[following], at + 2
        elif field == "entrance" and following in _LETTERS:
            value, end = _LETTERS[following], at + 2
        elif read := _value(left, at + 1):
            value, end = read
        else:
            continue
        found = replace(found, **{field: value})  # type: ignore[arg-type]
        left[at:end] = [","] + [""] * (end - at - 1)
    if "קרקע" in left and "קומת" in left:
        found = replace(found, floor="קרקע")
        left[left.index("קרקע")] = left[left.index("קומת")] = ""
    return found


def _town(left: list[str], found: Address, asked: bool) -> Address:
    said = tuple(word or "," for word in left)
    long_streets = [street for street in streets().find(said, asked=False) if street.end - street.start > 1]
    places = [
        place
        for place in localities().find(said, asked=asked)
        if not (place.start and _mark(said[place.start - 1], _STREET_MARKS))
        and (place.rank < localities().smaller or place.sure == 1.0)
        and not (place.end - place.start == 1 and said[place.start] in _FILLERS | _HOUSE_MARKS)
        and not any(s.start <= place.start and place.end <= s.end and s.name != place.name for s in long_streets)
    ]
    # of two, the one with a house number behind it is a street ("ירושלים 12, חולון")
    if len(places) > 1 or (places and asked):
        towns = [p for p in places if not (_value(left, p.end) and _is_street(said, p))]
        places = towns or (places if len(places) > 1 else [])
    place = max(places, key=lambda p: (p.sure, p.rank < localities().smaller, p.end), default=None)
    if place:
        begin = place.start - bool(place.start and _mark(said[place.start - 1], _TOWN_MARKS))
        left[begin : place.end] = [","] * (place.end - begin)
        small = place.rank >= _LARGE
        return replace(found, city=place.name, small=small, confidence=min(found.confidence, place.sure))
    for at, word in enumerate(left[:-1]):
        if word and _mark(word, _TOWN_MARKS) and left[at + 1] and not is_break(left[at + 1]):
            end = at + 2
            while end < len(left) and end < at + 4 and left[end] and not is_break(left[end]) and not _value(left, end):
                end += 1
            city = " ".join(left[at + 1 : end])
            left[at:end] = [","] * (end - at)
            return replace(found, city=city, small=True, confidence=min(found.confidence, _UNLISTED))
    return found


def _is_street(said: tuple[str, ...], place: Place) -> bool:
    """Whether a town's name may be a street's here: it is one elsewhere, and has no "in" before it."""
    name = place.name.split()
    prefixed = said[place.start][:1] in "במ" and said[place.start] not in name
    return not prefixed and bool(streets().at(tuple(name), 0, asked=False))


def _street(left: list[str], found: Address, asked: bool) -> Address:
    begin, kind, marked = 0, "", False
    for at, word in enumerate(left):
        mark = _mark(word, _STREET_MARKS) if word else ""
        if mark:
            begin, kind, marked = at + 1, _STREET_MARKS[mark], True
            break
    if not marked and not asked:
        return found
    while begin < len(left) and (not left[begin] or is_break(left[begin]) or (not marked and left[begin] in _FILLERS)):
        if left[begin] in _ENDS_STREET:
            return found  # "ליד המכולת" says where, but no street
        begin += 1
    listed_street = streets().at(tuple(word or "," for word in left), begin, asked=True) if begin < len(left) else None
    if listed_street and listed_street.end == begin + 1 and _value(left, begin):
        listed_street = None  # "שבע" is a number before it is a street's name
    name: list[str] = []
    end, sure = begin, found.confidence
    if listed_street:
        name, end, sure = [listed_street.name], listed_street.end, min(sure, listed_street.sure)
    else:
        while end < len(left) and len(name) < _LONGEST_STREET:
            word = left[end]
            if not word or is_break(word) or word in _HOUSE_MARKS or word in _ENDS_STREET or _value(left, end):
                break
            if word not in _FILLERS:
                name.append(word)
            end += 1
        bare = name[0][1:] if name and not marked and name[0][0] in "בל" and len(name[0]) > 3 else ""
        if bare and streets().at((bare,), 0, asked=True):
            name[0] = bare
        sure = min(sure, _UNLISTED) if name else sure
    while end < len(left) and (not left[end] or left[end] in _HOUSE_MARKS or is_break(left[end])):
        end += 1
    read = _value(left, end) if end < len(left) else None
    house = read[0] if read else ""
    street = " ".join(filter(None, (kind, *name)))
    # words without a marker, a number or a listed name are a sentence, not a street
    known = listed_street is not None and listed_street.sure >= _BY_SOUND
    if not marked and not known and not house:
        street = street if found.city and name and len(name) <= 2 else ""
    if street == kind:
        street = ""
    return replace(found, street=street, house=house, confidence=sure if street or house else found.confidence)
