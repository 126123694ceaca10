"""Whether the caller has said all, as far as Hebrew tells (pure): the words of an open turn, and what was asked.

    OPEN     more has to come: a preposition, a verb without its object, a subject without its verb, half a number
    UNSURE   it may be all
    CLOSED   it is a whole answer or a whole sentence; people go on all the same, but seldom

No model of sentence ends knows Hebrew, and a recogniser's full stop proves nothing: it sets one at every pause. What
decides are closed lists and the shape of the sentence. Lists are of what people say to a business on the telephone;
a verb that is missing makes a sentence UNSURE, which costs a seventh of a second.
"""

from enum import Enum
from functools import lru_cache
from typing import Final

from moked.dialog import Expect, addresses, slots
from moked.dialog.identity import ID
from moked.dialog.plate import PLATE
from moked.dialog.spoken_digits import Kind, hear
from moked.dialog.words import find, listed, phrases, tokens, words


class Ending(Enum):
    OPEN = "open"
    UNSURE = "unsure"
    CLOSED = "closed"


_OPENERS: Final = phrases(
    """
    שלום|היי|הי|הלו|אהלן|בוקר טוב|ערב טוב|צהריים טובים|שבוע טוב|לילה טוב|יום טוב|שבת שלום|כן|אוקיי|אוקי|טוב|אז|אז ככה|
    תקשיב|תקשיבי|תקשיבו|תשמע|תשמעי|תשמעו|שמע|שמעי|תראה|תראי|תראו|בקיצור|בעיקרון|עקרונית|קודם כל|ראשית|האמת|האמת היא|
    תגיד|תגידי|תגידו|זאת אומרת|כלומר|אולי|רגע|סליחה|דחוף|אה|אמ|המ|בזמן האחרון|בפעם הקודמת|הפעם הקודמת|לפני הכל|
    מה שקורה|מה שקרה|הסיפור הוא|העניין הוא|יש לי שאלה|שאלה|אם אפשר|אפשר|בבקשה|תודה|בכל מקרה|אז מה|ומה|וגם|ואז|אני פשוט|
    פשוט|למשל|נגיד|עכשיו|אתמול|היום|הבוקר|אמש|לצערי|ברוך השם
    """
)
# Verbs and the like that want an object or a complement after them.
_WANTING: Final = listed(
    """
    להזמין לקבוע לתקן להחליף להתקין לבדוק לברר לבטל לדחות להקדים לשנות לקנות למכור לקבל לראות לדעת לשאול לבקש לדווח
    להגיד לומר להוסיף לפרק להרכיב לנקות לפתוח לסגור להדליק לכבות לחבר לנתק לשלם להחזיר להביא לשלוח למצוא לחפש לעשות
    לקחת לתת להעביר לרשום לכתוב להסביר להשאיר לסדר לצבוע לשפץ להחליט להבין לזכור לשמוע להציע לדבר להיות להתחיל להמשיך
    לגמור לסיים להפסיק לנסות להצליח לספר לשטוף לשדרג לאסוף להתלונן להתעניין להתייעץ
    רציתי רצינו רוצה רוצים צריך צריכה צריכים צריכות מחפש מחפשת מחפשים מעוניין מעוניינת מעוניינים אמר אמרה אמרו הבטיחו
    ביקשו ביקשתי שמעתי חשבתי ראיתי קיבלתי שילמתי הזמנתי התקנתם שאלתי דיברתי קניתי שברו שבר שברה מדבר מדברת מתקשר
    מתקשרת מתקשרים קוראים שמי נקרא נקראת שמו שמה נראה חושב חושבת חושבים מקווה מניח יודע יודעת בטוח בטוחה מפיל מפילה
    עושה עושים מוציא מוציאה לוקח לוקחים עולה עולים כולל כוללים לגבי בנוגע בקשר מספר רחוב דירה קומה כניסה שכונת מושב
    קיבוץ שדרות דרך סמטת בשעה ביום בתאריך בסביבות בערך פנוי פנויה מתאים נוח שמישהו מישהו משהו איזה איזו כזה כזאת
    בשם מטעם עבור בעניין בנושא לקראת במקום מעל מאחורי תוך במשך לאורך החל לפי חוץ פרט לעומת יחסית בהתאם בהמשך קרוב סמוך
    צמוד שייך שייכת קשור קשורה ליד מול דרך באזור בסוף בתחילת באמצע בגובה בשווי בגודל בצבע מסוג מדגם מחברת חברת משפחת
    נהיה נהייתה נעשה נעשתה הופך הופכת ממש די כל אותו אותה אותם כמה כמעט לפחות בסך סך עוד רק אפילו דווקא גם
    מתקן מתקנת מתקינים מוכרים נותנים עושות שמים שמתי מצאתי לקחתי נתתי הבאתי שלחתי כתבתי החלפתי התקנתי ניסיתי ביטלתי
    ביקש ביקשה הביא הביאה לקח לקחה נתן נתנה שלח שלחה התקין התקינה החליף החליפה תיקן תיקנה הזמין הזמינה סידר מצא מצאה
    """
)
_DATIVE: Final = listed("לי לנו לך לכם לו לה להם")
# ... after which a לי is the end of a sentence.
_DATIVE_ENDS: Final = listed(
    """
    תעזור תעזרי תעזרו יעזור יעזרו לעזור תגיד תגידו תודיעו תודיע מתאים נוח טוב בסדר אכפת עזרתם חזרו תחזרו יחזרו נמאס
    כואב קר חם דחוף מספיק
    """
)
_POSSESSING: Final = listed("יש אין היה הייתה היו שיש שאין")
# Words that make a sentence of what stands before and after them.
_PREDICATES: Final = listed(
    """
    יש אין לא היה הייתה היו יהיה תהיה זה זאת זו זהו צריך צריכה צריכים אפשר רוצה רוצים רציתי רצינו אני אנחנו הוא היא
    הם אתם אתה את עובד עובדת עובדים דולף דולפת מטפטף מטפטפת מקרר מקררת מחמם מחממת נזל נוזל נוזלת נשבר נשברה נשברו נתקע
    נתקעה תקוע תקועה נפל נפלה נפלו נכבה נכבית נדלק נדלקת נשרף נשרפה התקלקל התקלקלה מקולקל מקולקלת הפסיק הפסיקה הפסיקו
    קוראים הפסקה מפסיק מפסיקה קפץ קפצה קופץ מקפיץ מקפיצה עושה עושים עשה עשתה נסתם נסתמה הסתתם הסתתמה סתום סתומה התפוצץ
    התפוצצה נרטב נרטבה נכנס נכנסה נכנסים יוצא יוצאת יוצאים יצא יצאה בא באה באים באו הגיע הגיעה הגיעו מגיע מגיעה מגיעים
    חזר חזרה חזרו אמר אמרה אמרו התקשר התקשרה שבר שברה שברו שכח שכחה הבטיחו קבעו קבע נגמר נגמרה התחיל התחילה התחילו
    מתחיל מתחילה פתוח פתוחה פתוחים סגור סגורה סגורים נסגר נסגרת נפתח נפתחת נעול נעולה ישן ישנה חדש חדשה רועש רועשת
    מריח מריחה מסריח מסריחה עולה עולים כולל נותן נותנים מתקנים מתקינים לוקח לוקחים זקוק זקוקה מעוניין מעוניינת
    מעוניינים מחפש מחפשת מחפשים מבקש מבקשת גר גרה גרים נמצא נמצאת נמצאים מדבר מדברת מתקשר מתקשרת מגיעות רץ רצה
    קרה קורה נראה נראית מרגיש עצר עצרה מפיל מפילה נדלקים כבה כבתה נכבים אוהב יכול יכולה יכולים שווה מחכה מחכים משפצים
    מתאים מתאימה מתאימים נוח נוחה עדיף כדאי חשוב
    """
)
_KIN: Final = listed("בעלי אשתי אמא אבא אחי אחותי הבן הבת השכן השכנה הבוס המנהל")
_NOT_SUBJECTS: Final = listed(
    "האם היום הכל הכול היי הבנתי הלו הרבה היה הייתה היו הוא היא הם הנה היכן הזמנתי החלפתי התקנתי הפסיק"
)
_NOT_SUBCLAUSES: Final = listed(
    """
    שישי שלישי שני שניות שיא שידה שיער שיר שאר שנה שנות שניה שנייה שנים שנתיים שתיים שניים שירות שיפוץ שיפוצים שינה
    שאלה שאלות שתייה שיחה
    """
)
_SUBORDINATE: Final = phrases("אם|כש|כאשר|כל פעם|בגלל|מכיוון|מאז|לפני ש|אחרי ש|למרות|ברגע ש|כי")
_QUESTION: Final = listed("מה מי איך כמה מתי איפה האם למה איזה איזו באיזה באיזו היכן לאן מאיפה ממתי")
# Where sentences of callers end: when, where, how, how long.
_LAST_WORDS: Final = listed(
    """
    דחוף בדחיפות בבקשה היום מחר מחרתיים אתמול שלשום עכשיו מיד כאן פה שם בבית הביתה הבית בסלון במטבח במקלחת באמבטיה
    בשירותים בחדר במרפסת בחצר בגינה במחסן במשרד בחנות בעסק בדירה בבניין ברכב הרצפה הקיר התקרה יומיים שבוע שבועיים
    חודש חודשיים שנה שנתיים ימים שבועות חודשים שנים שעה שעתיים שעות בוקר בבוקר בצהריים צהריים בערב ערב הערב בלילה
    לילה חזק מאוד מהר בהקדם שוב פעם טוב רגיל לגמרי בכלל עוד יותר ביחד לבד חשמל מים גז הזמן כסף מחיר שלכם שלי שלנו
    לשבת שישי לכם אליי אלינו אצלי אצלנו מכם אתכם הקומות הפתיחה נציג טכנאי אינסטלטור חשמלאי מישהו אדם
    """
)
_KINDS: Final = {Expect.ID: ID, Expect.PLATE: PLATE}
_SHORT_ADDRESS: Final = 6  # words
_PARTS_OF_DAY: Final = phrases(
    "בבוקר|בצהריים|בערב|בלילה|הבוקר|הערב|הלילה|אחר הצהריים|אחרי הצהריים|לפני הצהריים|צהריים|מתי שנוח|לא משנה|כל הזמן|"
    "כל היום|כמה שיותר מהר|עכשיו|מיד|בהקדם|החגים"
)
_BETWEEN: Final = listed("בין")
_NAME_MARKS: Final = phrases(
    "קוראים לי|השם שלי הוא|השם שלי|שמי הוא|השם הוא|שמי|השם|מדבר|מדברת|אני|זה|זאת|כאן|גברת|מר|דוקטור|עורך דין"
)


@lru_cache(maxsize=256)
def ending(text: str, expect: Expect) -> tuple[Ending, str]:
    """How `text` ends, heard after the agent asked for `expect`, and the rule that says so (a stable word)."""
    said = words(text)
    if not said:
        return Ending.OPEN, "no_words"
    if slots.hold_on(text):
        return Ending.OPEN, "asks_for_a_moment"
    if slots.farewell(text):
        return Ending.CLOSED, "farewell"
    if slots.wants_person(text):
        return Ending.CLOSED, "wants_person"
    if tokens(text)[-1] in "?!":
        return Ending.CLOSED, "question"
    match expect:
        case Expect.YES_NO if (found := _yes_no(text, said)) is not None:
            return found
        case Expect.NAME if (found := _name(said)) is not None:
            return found
        case Expect.PHONE if (found := _phone(text)) is not None:
            return found
        case Expect.ID | Expect.PLATE if (found := _number(text, _KINDS[expect])) is not None:
            return found
        case Expect.ADDRESS if (found := _address(text, said)) is not None:
            return found
        case Expect.TIME | Expect.DATE if (found := _time(text, said)) is not None:
            return found
    return _sentence(text, said)


def _yes_no(text: str, said: tuple[str, ...]) -> tuple[Ending, str] | None:
    answer = slots.yes_no(text)
    if answer is None or len(said) > 4:
        return None
    if slots.open_sentence(text) and len(said) > 1:
        return Ending.OPEN, "open_sentence"
    if not answer:  # what is right often follows
        return Ending.UNSURE, "no"
    if len(set(said)) == 1:  # an "אבל" may follow
        return Ending.UNSURE, "yes"
    return Ending.CLOSED, "answered"


def _name(said: tuple[str, ...]) -> tuple[Ending, str] | None:
    rest = _after(_after(said, _OPENERS), _NAME_MARKS)
    if not rest:
        return Ending.OPEN, "name_owed"
    if len(rest) > 3 or rest[-1] in ("בן", "בת", "אבו", "אל"):
        return (Ending.OPEN, "name_owed") if len(rest) <= 3 else None
    return (Ending.CLOSED, "whole_name") if len(rest) > 1 or len(rest) < len(said) else (Ending.UNSURE, "first_name")


def _phone(text: str) -> tuple[Ending, str] | None:
    heard = slots.phone(text)
    if heard.complete:
        return Ending.CLOSED, "number_complete"
    if heard.digits:
        return Ending.OPEN, "number_in_progress"
    return None


def _number(text: str, kind: Kind) -> tuple[Ending, str] | None:
    heard = hear(kind, text)
    if heard.value:
        whole = len(heard.digits) == kind.longest
        return (Ending.CLOSED, "number_complete") if whole else (Ending.UNSURE, "number_perhaps_complete")
    return (Ending.OPEN, "number_in_progress") if heard.digits else None


def _address(text: str, said: tuple[str, ...]) -> tuple[Ending, str] | None:
    """A street, its number and a town; what comes after them may be more of the same."""
    place = addresses.address(text)
    if not place:
        return (Ending.OPEN, "address_in_progress") if len(said) <= _SHORT_ADDRESS else None
    if said[-1] in _WANTING or (place.missing and not place.house):
        return Ending.OPEN, "address_in_progress"
    return (Ending.UNSURE, "house_number") if place.missing else (Ending.CLOSED, "address_complete")


def _time(text: str, said: tuple[str, ...]) -> tuple[Ending, str] | None:
    if said[-1] in _WANTING or slots.open_sentence(text):
        return Ending.OPEN, "open_sentence"
    if _BETWEEN.intersection(said) and not any(word.startswith("ל") or word == "עד" for word in said[1:]):
        return Ending.OPEN, "time_in_progress"
    wish = slots.time_wish(text)
    if wish is None:
        return None
    if wish.hour is not None or wish.part or any(find(said, phrase) >= 0 for phrase in _PARTS_OF_DAY):
        return Ending.CLOSED, "time_complete"
    return Ending.OPEN, "time_in_progress"  # only a day: the hour is on its way


def _sentence(text: str, said: tuple[str, ...]) -> tuple[Ending, str]:
    """An ordinary sentence, or an answer that is none to what was asked."""
    if slots.open_sentence(text):
        return Ending.OPEN, "open_sentence"
    rest = _after(said, _OPENERS)
    if not rest:
        return Ending.OPEN, "opening"
    last = rest[-1]
    if last in _QUESTION or (last[:1] == "ו" and last[1:] in _QUESTION) or last in _WANTING:
        return Ending.OPEN, "complement_owed"
    if last in _DATIVE and len(rest) > 1 and rest[-2] not in _DATIVE_ENDS:
        possessed = rest[-2] in _POSSESSING or last in ("לי", "לנו", "לכם")
        return (Ending.OPEN if possessed else Ending.UNSURE), "object_owed"
    if len(rest) > 1 and _is_subclause_verb(last):
        return Ending.UNSURE, "subclause"
    predicates = sum(_is_predicate(word) for word in rest)
    if _begins_with_subject(rest) and not predicates:
        return Ending.OPEN, "verb_owed"
    if any(rest[: len(phrase)] == phrase for phrase in _SUBORDINATE) and predicates < 2 and len(rest) < 7:
        return Ending.OPEN, "main_clause_owed"
    if rest[0] in _QUESTION and len(rest) >= 3:
        return Ending.CLOSED, "question"
    if not predicates:
        return Ending.UNSURE, "no_verb"
    if last in _LAST_WORDS and len(rest) >= 3:
        return Ending.CLOSED, "sentence"
    return (Ending.CLOSED, "sentence") if len(rest) >= 5 else (Ending.UNSURE, "short_sentence")


def _after(said: tuple[str, ...], marks: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    """`said` without the phrases of `marks` that it begins with."""
    rest = said
    while rest:
        found = next((phrase for phrase in marks if rest[: len(phrase)] == phrase), None)
        if found is None:
            break
        rest = rest[len(found) :]
    return rest


def _is_predicate(word: str) -> bool:
    """A verb or what stands for one; in a relative clause ("שהיה") it is none of the sentence's own."""
    if word in _PREDICATES or (word[:1] == "ו" and word[1:] in _PREDICATES):
        return True
    return len(word) >= 4 and word.endswith(("תי", "נו")) and not word.startswith("ש")


def _is_subclause_verb(word: str) -> bool:
    """ "שתבואו", "שיחזור": what, when or where mostly follows."""
    return len(word) >= 4 and word[0] == "ש" and word[1] in "תיאנ" and word not in _NOT_SUBCLAUSES


def _begins_with_subject(said: tuple[str, ...]) -> bool:
    first = said[0]
    if first in _KIN:
        return True
    return len(first) >= 4 and first[0] == "ה" and first not in _NOT_SUBJECTS and not first.endswith(("תי", "נו"))
