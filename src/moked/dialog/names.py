"""A person's name in what they said (pure): "קוראים לי דני כהן" -> "דני כהן".

Names are open words, so the rule is about what surrounds them: a marker before ("השם שלי", "מדבר"), and no word of an
ordinary sentence among them. Lists of common names only settle what a marker leaves open ("אני דני", a surname or the
next word of the sentence); a name need not be listed.
"""

import re
from dataclasses import dataclass, replace
from typing import Final

from moked.dialog.spoken_phone import NUMBER_WORDS
from moked.dialog.words import is_break, listed, phrases, plain, tokens

_STRONG: Final = phrases(
    """
    קוראים לי|קוראין לי|השם שלי הוא|השם שלי זה|השם שלי|שמי הוא|שמי|השם הוא|שם שלי|מדבר כאן|מדברת כאן|כאן מדבר|
    כאן מדברת
    """
)
_WEAK: Final = phrases("זה|אני|פה|כאן|מדבר|מדברת|השם|שם|תרשום|תרשמי|תרשמו|זאת|זו|אומרים לי|my name is|this is")
_LEAD: Final = listed(
    """
    שלום היי הי הלו אהלן כן אז טוב אוקיי אוקי בסדר אה אהה אמ אממ בטח בשמחה אמרתי נו סליחה לא בוקר ערב צהריים טובים
    תודה יופי תקשיב תקשיבי רגע
    """
)
_TRAIL: Final = listed("בבקשה תודה מדבר מדברת פה כאן נעים מאוד אחי אהלן שלום כן")
# Words of sentences that are no names; whatever comes with one of them is no name either.
SENTENCE_WORDS: Final = listed(
    """
    אני אתה את אתם אנחנו הוא היא הם זה זאת זו של שלי שלך שלכם שלו שלה לי לך לכם לו לה לנו אותי אותך אותו אליי אלי אליכם
    יש אין היה הייתה היו יהיה לא כן אולי גם רק עוד כבר עדיין ממש מאוד קצת הרבה פעם כל הכל הכול משהו מישהו כלום שום
    רוצה רוצים רציתי צריך צריכה צריכים מחפש מחפשת מבקש מבקשת מעוניין מעוניינת אפשר יכול יכולה יכולים חייב חייבת
    מתקשר מתקשרת התקשרתי מדברים לדבר לשאול לקבוע להזמין לתקן לבדוק לדעת לבטל לברר פונה מעדיף מעדיפה יודע יודעת זוכר
    מה מי למה איך כמה מתי איפה האם איזה איזו לאן מאיפה
    עם על אל כי אבל או אם כמו אחרי לפני בלי בתוך ליד אצלי אצל בגלל בשביל עכשיו היום מחר אתמול מחרתיים
    בבוקר בערב בצהריים שעה שבוע יום דחוף דחופה בעיה תקלה נזילה סתימה דוד ברז מזגן רכב אוטו דירה בית מטבח אמבטיה
    נזל נוזל דולף מטפטף סתום תקוע שבור מקולקל עובד עובדת התקלקל נשבר הגיע חשוב טלפון נייד מספר המספר כתובת מחיר
    בסדר אוקיי סבבה ברור נכון טעות תודה בבקשה סליחה רגע ביי להתראות הלו שלום היי
    נציג נציגה בוט רובוט אדם אנושי מנהל קודם תגיד תגידי שוב אומר אומרת להגיד
    לקוח לקוחה חדש חדשה ותיק שכן השכן השכנה בעל אישה אמא אבא הבן הבת
    """
)
_QUESTION: Final = listed("מה מי למה איך כמה מתי איפה האם איזה איזו")
_PARTICLES: Final = listed("בן בת בר אבו אל אבן דה ואן")
_FIRST: Final = listed(
    """
    דני דניאל דנה דוד דויד דבורה דפנה דורון דור דודו דינה יוסי יוסף יעל יעקב יצחק יונתן יהונתן יהודה ישראל ירון יובל
    יאיר יניב יורם יגאל ירדן משה מוטי מיכל מיכאל מרים מאיה מיה מאיר מוחמד מחמוד מנחם מתן מור מורן מירב אבי אברהם אבנר
    אורי אורית אורן אורלי אור איתי איתן אילן אילנה איילת אייל אלי אליהו אלון אלינור אמיר אמנון אסף אפרת אריאל אריק אהרון
    אחמד אירית ענת ענבל עדי עדן עומר עידו עידן עמית עמוס עופר עופרה עפרה ערן רון רוני רונית רונן רותי רות רועי רחל רבקה
    רינה רמי רן ריקי שרה שירה שיר שירי שלומי שלמה שמעון שמואל שי שחר שרון שני שמוליק תמר תומר תמי תום טל טלי טליה טובה
    חיים חן חנה חני חגית חיה חגי גיא גל גלי גלית גיל גילה גילי גדי גבי הדס הדר הילה הילית הגר ורד זיו זהבה לירון ליאור
    ליאת לימור לילך לאה ליאן לינוי נעמה נעמי נועה נועם ניר נורית נטלי נטע נדב נתן נתנאל נחום סיגל סיגלית סמי ספיר סער
    עלי פאטמה פנינה פנחס צבי ציפי צחי קרן קובי בני בנימין בועז ברוך ברק בר אופיר אופירה רפי רפאל יפה ויקטור ולדימיר
    סבטלנה אולגה אנה מרינה איגור אלכס אלכסנדר סרגיי יבגני בוריס מריה סלים כמאל יוסוף אברם גאולה עליזה אסתר אביגיל אביב
    """
)
_SURNAMES: Final = listed(
    """
    כהן לוי מזרחי פרץ ביטון דהן אברהם פרידמן מלכה אזולאי כץ יוסף דוד עמר אוחיון חדד גבאי בן אדרי לביא שפירא רוזנברג
    גולן הלוי הראל ברק שלום חזן חיים סויסה שרעבי צרפתי ישראלי בכר אשכנזי סבן אליהו משה שמש קליין שטרן גרינברג גולדברג
    רביבו אלבז אטיאס ועקנין אמסלם מימון ממן נחום נחמני סגל סלע ספיר עזרא פישר פלד צור קפלן רוזן רוזנפלד שגב שחר שושן
    שמעוני תורגמן טל אורן אלון ארבל אביטל אוחנה ברגר דגן דרור וקנין זוהר זכאי חורי חסן טנא יונה כרמי לב מור נגר נוי
    """
)
_LATIN: Final = re.compile(r"[a-z]{2,}")
_WRITTEN: Final = re.compile(r"[^\W\d_]+(?:['\u05f3\u2019][^\W\d_]*)*")


@dataclass(frozen=True, slots=True)
class NameFound:
    """`start` and `end` are the tokens that the name and its marker take in `words.tokens(text)`."""

    name: str
    start: int
    end: int
    sure: float


def name(text: str, *, asked: bool = True) -> str | None:
    """The name in `text`, or None. Not `asked`, it needs a clear marker ("קוראים לי") or a common name."""
    found = find_name(text, asked=asked)
    return found.name if found else None


def _as_written(found: NameFound | None, text: str) -> NameFound | None:
    """With the geresh and the capitals that `tokens` dropped: "ג'ני", "David"."""
    if found is None:
        return None
    written = {plain(word).lower(): word for word in _WRITTEN.findall(text)}
    return replace(found, name=" ".join(written.get(word, word) for word in found.name.split()))


def common(name: str) -> bool:
    """Whether the first word is a common first name."""
    return name.split()[:1] != [] and name.split(maxsplit=1)[0] in _FIRST


def find_name(text: str, *, asked: bool) -> NameFound | None:
    """`name` with its place, for taking it out of the sentence around it."""
    return _as_written(_find(text, asked), text)


def _find(text: str, asked: bool) -> NameFound | None:
    said = tokens(text)
    for marker in _STRONG:
        at = _index(said, marker)
        if at >= 0 and (found := _after(said, at, at + len(marker))):
            return found
    if not asked:
        return _introduced(said)
    return None if "?" in said or any(word in _QUESTION for word in said) else _whole(said)


def _after(said: tuple[str, ...], start: int, begin: int) -> NameFound | None:
    """The name after a marker: up to two words (three with בן), ending where the clause does."""
    taken: list[str] = []
    end = begin
    while end < len(said) and len(taken) < 3:
        word = said[end]
        if is_break(word) and not taken:
            end += 1
            continue
        if not _may_be_name(word):
            break
        ends = end + 1 == len(said) or is_break(said[end + 1]) or said[end + 1] in _TRAIL
        if not taken or taken[-1] in _PARTICLES or (len(taken) == 1 and (ends or word in _SURNAMES | _PARTICLES)):
            taken.append(word)
            end += 1
        else:
            break
    return NameFound(" ".join(taken), start, end, 0.9) if taken and taken[0] not in _TRAIL else None


def _introduced(said: tuple[str, ...]) -> NameFound | None:
    """ "אני דני", "מדברת רונית": a weak marker is enough before a common first name."""
    for at, word in enumerate(said[:-1]):
        if (word,) in _WEAK and said[at + 1] in _FIRST and (at == 0 or is_break(said[at - 1]) or said[at - 1] in _LEAD):
            return _after(said, at, at + 1)
    return None


def _whole(said: tuple[str, ...]) -> NameFound | None:
    """The answer to "what is your name" is the name and little else."""
    begin, end = 0, len(said)
    refused: set[str] = set()
    if said[:1] == ("לא",) and len(said) > 2 and not is_break(said[1]):  # "לא דני, דנה" or "לא רוני אלא רוני"
        turn = next((i for i, word in enumerate(said) if i > 1 and (is_break(word) or word == "אלא")), -1)
        if 0 < turn < len(said) - 1:
            refused, begin = set(said[1:turn]), turn + 1
    marked = ""
    while begin < end:
        marker = next((m for m in (*_STRONG, *_WEAK) if said[begin : begin + len(m)] == m), ())
        if marker and begin + len(marker) < end:
            begin, marked = begin + len(marker), marker[-1]
        elif is_break(said[begin]) or (said[begin] in _LEAD and begin + 1 < end):
            begin += 1
        else:
            break
    while end > begin and (is_break(said[end - 1]) or said[end - 1] in _TRAIL):
        end -= 1
    parts: list[list[str]] = [[]]
    for word in said[begin:end]:
        if is_break(word):
            parts.append([])
        else:
            parts[-1].append(word)
    parts = [part for part in parts if part and not refused.intersection(part)]
    best = max(parts, key=len, default=[])  # "דני, דני כהן" says it twice
    if len(parts) == 2 and len(parts[0]) == len(parts[1]) == 1 and parts[0] != parts[1]:
        best = [*parts[0], *parts[1]]
    if marked in ("זה", "מדבר", "מדברת", "פה", "כאן") and len(best) > 1 and _from_somewhere(best[1]):
        best = best[:1]
    fits = 1 <= len(best) <= 3 and all(_may_be_name(word) for word in best) and len("".join(best)) > 1
    known = best[:1] and best[0] in _FIRST
    return NameFound(" ".join(best), begin, end, 0.9 if marked or known else 0.75) if fits else None


def _from_somewhere(word: str) -> bool:
    """ "זה דני מחיפה": a word with the prefix "from" that is no surname."""
    return word.startswith("מ") and len(word) > 2 and word not in _SURNAMES | _FIRST


def _may_be_name(word: str) -> bool:
    if (word in SENTENCE_WORDS or word in NUMBER_WORDS) and word not in _FIRST:
        return False
    return bool(_LATIN.fullmatch(word)) or (word.isalpha() and "\u05d0" <= word[0] <= "\u05ea" and len(word) > 1)


def _index(said: tuple[str, ...], marker: tuple[str, ...]) -> int:
    """Where `marker` stands; "and" may be written onto its first word."""
    for at in range(len(said) - len(marker) + 1):
        if said[at].removeprefix("ו") == marker[0] and said[at + 1 : at + len(marker)] == marker[1:]:
            return at
    return -1
