"""What a caller's Hebrew means (pure, fast): the answers and wishes that code must understand without a model.

The script acts on these, the language model's tools check their arguments with them, and turn taking asks them whether
a sentence is over. A rule here says yes only when it is sure; None and False mean "ask", which costs one sentence.
Names are in `names`, spoken telephone numbers in `spoken_phone`; both are offered here too.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from moked.dialog.moments import Moment, moment
from moked.dialog.names import SENTENCE_WORDS, find_name, name
from moked.dialog.refusals import do_not_record
from moked.dialog.spoken_phone import DIGIT_WORDS, PhoneHeard, amend, heard, join, phone, readback, slowly, spell
from moked.dialog.words import find, fold, has, is_break, listed, phrases, tokens, words

__all__ = [
    "PhoneHeard", "TimeWish", "amend", "asks_address", "asks_hours", "asks_price", "back_channel", "do_not_record",
    "farewell", "find_name", "heard", "hold_on", "is_question", "join", "name", "need", "open_sentence", "phone",
    "readback", "repeat_please", "restate", "slowly", "spell", "time_wish", "wants_only_person", "wants_person",
    "yes_no",
]  # fmt: skip

# --- yes and no ---------------------------------------------------------------------------------------------------

_YES: Final = phrases(
    """
    כן|נכון|נכון מאוד|בדיוק|בטח|בטח שכן|ברור|יאללה|אוקיי|אוקי|או קיי|או קי|ok|okay|yes|מאה אחוז|100 אחוז|בסדר|
    בסדר גמור|סבבה|בוודאי|בודאי|וודאי|ודאי|כמובן|חיובי|מצוין|מצויין|מעולה|סגור|מאשר|מאשרת|אני מאשר|אני מאשרת|הכל נכון|
    הכול נכון|שכן|אפשר|אין בעיה|אין שום בעיה|לא בעיה|למה לא|לא רע|בשמחה|בכיף|יס|מתאים|אחלה|יופי|אהה|אהא|אה הא|ככה|
    זה המספר|לא תודה זה נכון
    """
)
_NO: Final = phrases(
    """
    לא|ממש לא|לא נכון|זה לא נכון|זה לא בדיוק|לא בדיוק|בכלל לא|לא ולא|שלילי|טעות|זו טעות|יש טעות|יש פה טעות|אין מצב|אין|
    לא תודה|no|nope|לא מתאים|לא סבבה|לא בסדר|לא אפשר|אי אפשר|לא מאשר|לא מאשרת|עדיף שלא|מה פתאום|לא ממש|לא מדויק|שגוי|
    לא סגור|לא ככה|לא זה המספר
    """
)
_NEITHER: Final = phrases(
    "לא יודע|לא יודעת|לא בטוח|לא בטוחה|לא זוכר|לא זוכרת|לא הבנתי|לא שמעתי|לא שומע|לא שומעת|לא משנה|לא אכפת לי|"
    "אני לא חושב|כן ולא|כן או לא|כן אבל|נכון אבל|אולי|אין לי מושג|מה כן|מה נכון|אין לי|אין לנו"
)
_MARKS: Final = tuple(
    sorted(
        [*((p, True) for p in _YES), *((p, False) for p in _NO), *((p, None) for p in _NEITHER)],
        key=lambda mark: -len(mark[0]),
    )
)
# One word alone, as weak recognisers spell it (folded): "קן", "כאן" and "נחון" after a yes/no question.
_FOLDED_YES: Final = frozenset(fold(word) for word in ("כן", "כאן", "נכון", "בדיוק", "בטח", "בסדר", "יאללה", "סבבה"))
_FOLDED_NO: Final = frozenset(fold(word) for word in ("לא", "ללא", "טעות"))
_LONG_ANSWER: Final = 8


@lru_cache(maxsize=256)
def yes_no(text: str) -> bool | None:
    """True, False, or None when it is neither, both, or "yes, but"."""
    said = words(text)
    if len(said) == 1:
        sound = fold(said[0])
        if sound in _FOLDED_YES or sound in _FOLDED_NO:
            return sound in _FOLDED_YES
    marks: list[bool | None] = []
    at = 0
    while at < len(said):
        phrase, meaning = next((mark for mark in _MARKS if said[at : at + len(mark[0])] == mark[0]), ((), None))
        # in a long sentence only its beginning and its end answer; "לא" in the middle belongs to the story
        if phrase and (len(said) <= _LONG_ANSWER or at < 2 or at + len(phrase) == len(said)):
            marks.append(meaning)
        at += len(phrase) or 1
    if not marks or None in marks or len(set(marks)) > 1:
        return None
    return marks[0]


# --- what the call is about ---------------------------------------------------------------------------------------

_GREETINGS: Final = phrases(
    """
    שלום|שלום שלום|שלום לך|שלום לכם|היי|הי|הלו|אהלן|אהלן וסהלן|בוקר טוב|בוקר אור|ערב טוב|צהריים טובים|
    אחר צהריים טובים|לילה טוב|יום טוב|שבוע טוב|מה שלומך|מה שלומכם|מה נשמע|מה קורה|מה העניינים|הכל טוב|שבת שלום|חג שמח
    """
)
_FILLERS: Final = listed(
    """
    אה אהה אהא אמ אממ אמם המ אז טוב כן לא נו אוקיי אוקי בסדר תודה בבקשה תקשיב תקשיבי תקשיבו רגע שנייה סליחה הלו
    כאילו יופי ו ש הוא זה אני
    """
)
_ASIDES: Final = phrases("תקשיב רגע|אני אגיד לך|אני אסביר|תראה|תראי|תראו|שמע|שמעי|אז ככה|האמת ש|האמת")
_PARTING: Final = listed("בבקשה תודה רבה להתראות ביי")
_SHORT_NEED: Final = 9


def need(text: str) -> str | None:
    """What the caller wants, in their words without greeting, fillers and name; None when nothing is left."""
    said = list(tokens(text))
    found = find_name(text, asked=False)
    if found:
        rest = said[found.end :]
        if rest and rest[0][0] == "ו" and (rest[0][1:] in SENTENCE_WORDS or rest[0][1:2] == "ה"):
            rest[0] = rest[0][1:]  # "קוראים לי דני ויש לי נזילה"
        said = [*said[: found.start], ",", *rest]
    changed = True
    while changed and said:
        changed = False
        if is_break(said[0]) or (said[0] in _FILLERS and len(said) > 1 and said[0] not in ("לא", "זה", "אני")):
            said, changed = said[1:], True
            continue
        for phrase in (*_GREETINGS, *_ASIDES):
            if tuple(said[: len(phrase)]) == phrase:
                said, changed = said[len(phrase) :], True
                break
    while said and (is_break(said[-1]) or said[-1] in _PARTING):
        said.pop()
    content = [word for word in said if not is_break(word) and word not in _FILLERS and not word.isdecimal()]
    if not content or sum(map(len, content)) < 3:
        return None
    return _sentence(said)


_OPENERS: Final = phrases(
    """
    אני צריך|אני צריכה|אנחנו צריכים|צריך|צריכה|אני רוצה|אנחנו רוצים|רציתי|הייתי רוצה|אני מחפש|אני מחפשת|אני מעוניין ב|
    אשמח ל|אני מתקשר לגבי|אני מתקשרת לגבי|אני מתקשר בקשר ל|התקשרתי בקשר ל|לגבי|בקשר ל|יש לי|יש לנו|יש אצלי|יש אצלנו|
    יש פה|יש
    """
)
_TURNED: Final = {
    "שלי": "שלכם", "שלנו": "שלכם", "לי": "לכם", "לנו": "לכם", "אצלי": "אצלכם", "אצלנו": "אצלכם",
}  # fmt: skip
_FIRST_PERSON: Final = listed("אני אנחנו אותי אותנו אליי אלי אלינו ממני איתי איתנו עליי עלי בי בנו")


def restate(text: str) -> str | None:
    """A short need to say back to the caller ("נזילה במטבח שלכם"); None when it is long or cannot be turned."""
    said = list(tokens(text))
    for phrase in _OPENERS:
        if tuple(said[: len(phrase)]) == phrase and len(said) > len(phrase):
            said = said[len(phrase) :]
            break
    plain = [word for word in said if not is_break(word)]
    if not 1 <= len(plain) <= _SHORT_NEED or "?" in said or _FIRST_PERSON.intersection(plain):
        return None
    return _sentence([_TURNED.get(word, word) for word in said])


def _sentence(said: list[str]) -> str:
    out = ""
    for token in said:
        out += token if is_break(token) or not out else " " + token
    return out


# --- when to call back --------------------------------------------------------------------------------------------

_DAYS: Final = {
    "today": phrases("היום|עוד היום"),
    "after_tomorrow": phrases("מחרתיים"),
    "tomorrow": phrases("מחר"),
    "sunday": phrases("יום ראשון|ביום ראשון|בראשון"),
    "monday": phrases("יום שני|ביום שני|בשני"),
    "tuesday": phrases("יום שלישי|ביום שלישי|בשלישי"),
    "wednesday": phrases("יום רביעי|ביום רביעי|ברביעי"),
    "thursday": phrases("יום חמישי|ביום חמישי|בחמישי"),
    "friday": phrases("יום שישי|ביום שישי|בשישי"),
    "saturday": phrases("שבת|בשבת|מוצאי שבת|במוצאי שבת|מוצש|במוצש"),
    "next_week": phrases("שבוע הבא|בשבוע הבא|לשבוע הבא"),
}
_PARTS: Final = {
    "morning": phrases("בוקר|בבוקר|הבוקר|לפני הצהריים|לפנות בוקר|בבקרים"),
    "afternoon": phrases("אחר הצהריים|אחרי הצהריים|אחהצ|בשעות אחר הצהריים|אחרי צהריים|אחר צהריים"),
    "noon": phrases("צהריים|בצהריים|בצהרים"),
    "evening": phrases("ערב|בערב|הערב|לקראת ערב|בשעות הערב|בלילה|בערבים"),
    "now": phrases("עכשיו|מיד|כמה שיותר מהר|בהקדם|כמה שיותר מוקדם|בהקדם האפשרי|עוד מעט|דחוף"),
    "any": phrases(
        """
        מתי שנוח|מתי שנוח לכם|מתי שתרצו|מתי שאפשר|לא משנה מתי|לא משנה|לא משנה לי|כל הזמן|בכל שעה|כל שעה|מתי שבא לכם|
        תמיד|מתי שיוצא|לא אכפת לי|כל היום|מתי שמתאים לכם|מתי שאתם רוצים|בכל זמן|כל זמן
        """
    ),
}
_HOURS: Final = {
    **{word: n for n, word in enumerate(DIGIT_WORDS) if n},
    "עשר": 10,
    "שתים": 2, "שמנה": 8, "חצות": 24,
}  # fmt: skip
_TEEN: Final = {"אחת": 11, "שתים": 12, "שתיים": 12}
_RELATIONS: Final = {
    "after": phrases("אחרי|אחרי השעה|אחרי שעה|החל מ|החל משעה|משעה|מ"),
    "before": phrases("לפני|לפני השעה|עד|עד השעה|עד שעה"),
    "at": phrases("בשעה|ב|סביב|סביבות|בסביבות|לקראת|בערך ב"),
}
_CALL_BACK: Final = listed(
    """
    תחזרו תחזור תחזרי לחזור שתחזרו שיחזרו יחזרו תתקשרו תתקשר תתקשרי להתקשר שתתקשרו שיתקשרו יתקשרו נוח עדיף זמין
    זמינה פנוי פנויה
    """
)
_HEBREW_DAYS: Final = {
    "today": "היום", "tomorrow": "מחר", "after_tomorrow": "מחרתיים", "sunday": "ביום ראשון", "monday": "ביום שני",
    "tuesday": "ביום שלישי", "wednesday": "ביום רביעי", "thursday": "ביום חמישי", "friday": "ביום שישי",
    "saturday": "בשבת", "next_week": "בשבוע הבא",
}  # fmt: skip
_HEBREW_PARTS: Final = {
    "morning": "בבוקר", "noon": "בצהריים", "afternoon": "אחר הצהריים", "evening": "בערב", "now": "בהקדם",
    "any": "מתי שנוח",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeWish:
    """When to call back. `text` is what was said of it; the rest is a guess for sorting, empty where nothing was said.

    `day`: today, tomorrow, after_tomorrow, sunday .. saturday, next_week. `part`: morning, noon, afternoon, evening,
    now, any. `hour` 1..24 as said (four may be 16), with `relation` at, after or before.
    `when` is the same as a date and hours, when it was asked with a `now`.
    """

    text: str
    day: str = ""
    part: str = ""
    hour: int | None = None
    relation: str = ""
    when: Moment | None = None

    @property
    def spoken(self) -> str:
        """To say back: the normal words for the day and the part, the caller's own where an hour was said."""
        if self.hour is not None:
            return self.text
        return " ".join(filter(None, (_HEBREW_DAYS.get(self.day, ""), _HEBREW_PARTS.get(self.part, "")))) or self.text


def time_wish(text: str, *, asked: bool = True, now: datetime | None = None) -> TimeWish | None:
    """When the caller wants to be called back. Not `asked`, only in a sentence about calling back or what suits.

    With `now` (aware, local) it is also resolved to a date, and dates and spans count as well ("בעוד שבועיים").
    """
    said = words(text)
    if not asked and not _CALL_BACK.intersection(said):
        return None
    when = moment(text, now) if now else None
    spans: list[tuple[int, int]] = []

    def first(table: dict[str, tuple[tuple[str, ...], ...]]) -> str:
        for key, options in table.items():
            for phrase in options:
                at = find(said, phrase)
                if at >= 0 and not (key == "noon" and at and said[at - 1] in ("אחר", "אחרי", "לפני")):
                    spans.append((at, at + len(phrase)))
                    return key
        return ""

    day, part = first(_DAYS), first(_PARTS)
    hour, relation, span = _hour(said, marked=bool(day or part) or not asked)
    if span:
        spans.append(span)
    if not spans:
        return TimeWish(when.quote, when=when) if when else None
    start, end = min(a for a, _ in spans), max(b for _, b in spans)
    wished = " ".join(said[start:end])
    if when and not day and len(when.quote) > len(wished):
        return TimeWish(when.quote, when=when)  # "ב-15 לחודש בבוקר" is more than a morning
    return TimeWish(wished, day, part, hour, relation, when)


def _hour(said: tuple[str, ...], *, marked: bool) -> tuple[int | None, str, tuple[int, int] | None]:
    """An hour with what stands before it: "אחרי ארבע", "בשמונה", "עד 17:30". `marked`: other words speak of time."""
    for at, word in enumerate(said):
        for relation, options in _RELATIONS.items():
            for phrase in options:
                begin = at - len(phrase)
                if begin >= 0 and said[begin:at] == phrase and (value := _clock(said, at, word)):
                    return value[0], relation, (begin, value[1])
        for prefix, relation in (("ב", "at"), ("מ", "after"), ("ל", "at")):
            if word.startswith(prefix) and len(word) > 2 and (value := _clock(said, at, word[1:])):
                return value[0], relation, (at, value[1])
        if (
            marked
            and word in _HOURS
            and at
            and said[at - 1] not in ("יום", "עוד")
            and (value := _clock(said, at, word))
        ):
            return value[0], "at", (at, value[1])
    return None, "", None


def _clock(said: tuple[str, ...], at: int, word: str) -> tuple[int, int] | None:
    """(hour, end) of an hour whose first word is `word`, taking "וחצי", "עשרה" and minutes along."""
    end = at + 1
    if word.isdecimal() and len(word) <= 2 and 1 <= int(word) <= 24:
        hour = int(word)
        if end < len(said) and said[end].isdecimal() and len(said[end]) == 2:
            end += 1
    elif word in _TEEN and end < len(said) and said[end] in ("עשרה", "עשר"):
        hour, end = _TEEN[word], end + 1
    elif word in _HOURS:
        hour = _HOURS[word]
    else:
        return None
    if end < len(said) and said[end] in ("וחצי", "ורבע", "ועשרים", "ועשרה", "וארבעים"):
        end += 1
    return hour, end


# --- wishes that may come at any moment ---------------------------------------------------------------------------

_QUESTION_WORDS: Final = listed("מה מי איך כמה מתי איפה האם למה איזה איזו באיזה באיזו היכן מהו מהי לאן")
_QUESTION_STARTS: Final = phrases(
    """
    יש לכם|אתם|אפשר|ניתן|עושים|רציתי לדעת|רציתי לשאול|אני רוצה לדעת|אני רוצה לשאול|תגיד|תגידי|תגידו
    """
)


_NEAR_START: Final = 4
_NOT_KNOWING: Final = phrases("לא יודע|לא יודעת|אין לי מושג|לא זוכר|לא זוכרת")


def is_question(text: str) -> bool:
    """Whether it asks something. Recognisers often lose the question mark, so words decide as well."""
    said = words(text)
    if "?" in tokens(text):
        return True
    if has(text, _NOT_KNOWING):
        return False
    if _QUESTION_WORDS.intersection(said[:_NEAR_START]):  # "ועוד כמה דברים" asks nothing
        return True
    return any(0 <= find(said, phrase) <= 3 for phrase in _QUESTION_STARTS)


_WANTS_PERSON: Final = phrases(
    """
    בן אדם|בן אנוש|אדם אמיתי|מישהו אמיתי|תעביר אותי|תעבירי אותי|תעבירו אותי|להעביר אותי|לדבר עם מישהו|לדבר עם אדם|
    לדבר עם המנהל|לדבר עם המנהלת|לדבר עם מנהל|לדבר עם בעל הבית|לדבר עם בעל העסק|לדבר עם הבוס|לא רוצה לדבר עם רובוט|
    לא מדבר עם רובוט|לא מדברת עם רובוט|לא רוצה לדבר עם מכונה|לא רוצה לדבר עם מחשב|לא רוצה רובוט|לא מדבר עם מכונות|
    שיחה עם נציג
    """
)


def wants_person(text: str) -> bool:
    """The caller wants a human being."""
    if has(text, phrases("לא צריך נציג|לא רוצה נציג|בלי נציג|לא צריכה נציג")):
        return False
    said = words(text)
    people = listed("נציג נציגה לנציג לנציגה מנציג בנאדם לבנאדם מוקדן מוקדנית אנושי אנושית")
    return bool(people.intersection(said)) or has(text, _WANTS_PERSON)


_ABOUT_A_PERSON: Final = listed(
    """
    אפשר לדבר עם רוצה אני נציג נציגה לנציג לנציגה מנציג תעביר תעבירי תעבירו להעביר אותי תן תני לי בן אדם בנאדם מישהו
    אמיתי אנושי אנושית יש שם פה כאן בבקשה של העסק המנהל מנהל המנהלת בעל הבית הבוס שיחה צריך צריכה לא רובוט מכונה מחשב
    """
)


def wants_only_person(text: str) -> bool:
    """As `wants_person`, and nothing else is said that would tell why."""
    return wants_person(text) and len([word for word in words(text) if word not in _ABOUT_A_PERSON]) < 2


_BYE_ANYWHERE: Final = phrases("להתראות|ביי|bye|אני מנתק|אני מנתקת")
_ALSO_GREETING: Final = phrases("יום טוב|לילה טוב|שבוע טוב|שבת שלום|ערב נעים")
_BYE_END: Final = phrases(
    """
    יום טוב|שיהיה יום טוב|שיהיה לך יום טוב|לילה טוב|ערב נעים|שבוע טוב|שבת שלום|המשך יום נעים|תודה זה הכל|תודה זה הכול|
    זה הכל|זה הכול|זהו תודה|זהו זה|תודה רבה זהו|לא צריך תודה|עזוב תודה|עזבי תודה|לא משנה תודה|אני אתקשר אחר כך|
    אני אתקשר מאוחר יותר|אתקשר אחר כך|אחזור אליכם
    """
)


@lru_cache(maxsize=256)
def farewell(text: str) -> bool:
    """The caller is leaving. A greeting ("יום טוב, רציתי...") is none, nor is a bare "תודה"."""
    said = words(text)
    if has(text, _BYE_ANYWHERE) and len(said) <= _LONG_ANSWER + 2:
        return True
    alone = said in _ALSO_GREETING
    return not alone and any(said[-len(phrase) :] == phrase for phrase in _BYE_END)


_ASKS_HOURS: Final = phrases(
    """
    שעות פתיחה|שעות הפתיחה|שעות פעילות|שעות הפעילות|שעות העבודה|מתי אתם פתוחים|עד מתי אתם|עד מתי פתוח|ממתי אתם|
    אתם פתוחים|מתי פתוח|מתי סוגרים|מתי אתם סוגרים|מתי פותחים|מתי אתם פותחים|באיזה שעות|באילו שעות|אתם עובדים|
    מתי אתם עובדים|פתוחים היום|פתוחים עכשיו|פתוחים בשישי|פתוחים בשבת|פתוח היום|פתוח בשבת|פתוח בשישי|עד איזה שעה|
    עד איזו שעה|עד כמה אתם
    """
)


def asks_hours(text: str) -> bool:
    """When is the business open."""
    return has(text, _ASKS_HOURS, prefixes=True)


_ASKS_PRICE: Final = phrases(
    """
    כמה עולה|כמה זה עולה|כמה יעלה|כמה זה יעלה|כמה עולים|כמה עולה לי|מה המחיר|מה המחירים|מה המחירון|מחירון|כמה כסף|
    כמה אתם לוקחים|כמה אתם גובים|מה העלות|מה התעריף|כמה תיקחו|מה זה עולה|כמה זה|הצעת מחיר|כמה עולה ביקור|כמה עולות|
    מה עולה
    """
)


def asks_price(text: str) -> bool:
    """What does it cost."""
    return has(text, _ASKS_PRICE, prefixes=True)


_OWN_ADDRESS: Final = phrases(
    """
    הכתובת שלי|הכתובת היא|אני נמצא|אני נמצאת|אני גר|אני גרה
    """
)


_ASKS_ADDRESS: Final = phrases(
    """
    מה הכתובת|מה הכתובת שלכם|הכתובת שלכם|איפה אתם|איפה אתם נמצאים|איפה זה|איפה נמצאים|איך מגיעים|איך מגיעים אליכם|
    היכן אתם|איפה העסק|איפה המשרד|איפה המוסך|איפה החנות|מאיפה אתם
    """
)


def asks_address(text: str) -> bool:
    """Where is the business; the caller giving an address of their own is not that."""
    return has(text, _ASKS_ADDRESS, prefixes=True) and not has(text, _OWN_ADDRESS)


_REPEAT_PLEASE: Final = phrases(
    """
    מה אמרת|מה אמרתם|לא שמעתי|לא שומע|לא שומעת|לא הבנתי|תחזור|תחזרי|תחזור על זה|תחזרי על זה|עוד פעם|אפשר שוב|
    שוב בבקשה|שוב פעם|מה זאת אומרת|תגיד שוב|תגידי שוב|מה השאלה|מה שאלת|סליחה מה|לחזור על זה|לחזור שוב|מה זה
    """
)


def repeat_please(text: str) -> bool:
    """The agent should say it again. "תחזור אליי" asks for a call, not for that."""
    said = words(text)
    if len(said) > 6 or {"אליי", "אלי", "אלינו"}.intersection(said):
        return False
    if said in (("מה",), ("סליחה",), ("הא",), ("מה", "מה"), ("אה",)):
        return "?" in tokens(text) or said[0] == "מה"
    return has(text, _REPEAT_PLEASE)


_WAIT: Final = listed(
    """
    רגע רק שנייה שניה דקה אחת תמתין תמתיני תמתינו חכה חכי חכו תחכה תחכי בבקשה שניות דקות קטן קטנה אני מחפש
    מחפשת כבר מביא מביאה אה אמ כמה עוד
    """
)
_WAIT_CORE: Final = listed("רגע שנייה שניה דקה תמתין תמתיני תמתינו חכה חכי חכו תחכה תחכי")


def hold_on(text: str) -> bool:
    """ "רגע, אני מביא...": the caller asks for a moment and says nothing else."""
    said = words(text)
    return 0 < len(said) <= 5 and all(word in _WAIT for word in said) and bool(_WAIT_CORE.intersection(said))


# --- turn taking --------------------------------------------------------------------------------------------------

_CHANNEL: Final = listed(
    """
    אהה אהא אה אהמ הממ המ אמ אממ כן כנ הבנתי אוקיי אוקי יופי נכון בדיוק סבבה טוב בסדר ok okay ברור מעולה אחלה
    וואלה וואו באמת מצוין הא אהם mhm
    """
)
_OPEN_WORDS: Final = listed(
    """
    של את אבל כי או עם אז אה אמ אממ אהמ אהה ש ו ה ל ב מ כ על אל אם כמו בגלל בשביל בלי אצל ליד בתוך תחת מול לפני אחרי בין
    כאילו רק גם אני הוא היא אנחנו אתם הם זה זאת היה הייתה יש אין לא צריך צריכה רוצה רציתי יכול יכולה אפשר
    כדי למרות אלא אולי בערך לגבי בקשר עד מאז כאשר כש אשר לכן ואז וגם ואני ואם שאני שהוא שהיא שזה והוא והיא וזה
    לפעמים בעיקר לפחות בעצם כלומר לדוגמה למשל המ
    """
)
# Open words that are also whole answers when they stand alone.
_OPEN_ONLY_AFTER: Final = listed("לא זה אין יש אפשר רק אז אהה יכול יכולה אתם אנחנו הוא היא הם אני גם זאת אולי")
_OPEN_ENDS: Final = phrases("יש לי|יש לנו|אין לי|קוראים לי|השם שלי|המספר שלי|הטלפון שלי|המספר הוא|רציתי לשאול|אני גר ב")
# Polite ends of a whole sentence, also as a weak recogniser spells them.
_CLOSED_ENDS: Final = phrases("אם אפשר|עם אפשר|אם זה אפשר|אם אתם יכולים|אם אתה יכול|אם את יכולה")


def back_channel(text: str) -> bool:
    """Only a sign of listening ("אהה", "כן כן", "הבנתי"): it does not take the floor unless a question waits for it."""
    said = words(text)
    return 0 < len(said) <= 3 and all(word in _CHANNEL for word in said)


@lru_cache(maxsize=256)
def open_sentence(text: str) -> bool:
    """Hebrew syntax says that more will come: it ends in של, את, כי, "ו-", a filler. A full stop proves nothing."""
    said = tokens(text)
    if said and said[-1] in ("?", "!"):
        return False
    if text.rstrip().endswith(("-", "\u05be", "\u2013", ",", "\u2026", "...")):
        return True
    heard_words = words(text)
    if any(heard_words[-len(phrase) :] == phrase for phrase in _OPEN_ENDS):
        return True
    if not heard_words or heard_words[-1] not in _OPEN_WORDS:
        return False
    if any(heard_words[-len(phrase) :] == phrase for phrase in _CLOSED_ENDS):
        return False
    return len(heard_words) > 1 or heard_words[-1] not in _OPEN_ONLY_AFTER
