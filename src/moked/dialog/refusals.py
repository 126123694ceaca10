"""Who does not want to be recorded (pure): the many ways Hebrew says it, and what only sounds like it.

    "אל תקליטו אותי", "אני מעדיף שלא תקליט", "בלי הקלטה", "תמחק את מה שהקלטת", "אני לא מסכימה שהשיחה מוקלטת"
    "לא שמעתי את ההקלטה", "למה מקליטים?", "השארתי הקלטה ולא חזרתם"     are none

A word for recording and a word that refuses it, near each other and in this order, or the other way round for a few. In
doubt it is a refusal: a call that is not recorded is a smaller loss than one that should not have been.
"""

from typing import Final

from moked.dialog.words import listed, words

# Verbs of ours: what we (or they) do to the caller.
_RECORD: Final = listed(
    """
    תקליט תקליטי תקליטו תקליטה להקליט מקליט מקליטה מקליטים מקליטות יקליט יקליטו נקליט הקלטת הקלטתם הקלטתי שתקליט שתקליטי
    שתקליטו שהקלטת שהקלטתם שיקליטו שמקליטים שמקליט שמקליטה תקליטוני תקליטני להקלטה הקלטה הקלטות ההקלטה ההקלטות בהקלטה
    מוקלט מוקלטת מוקלטים שמוקלט שמוקלטת תתעד תתעדו לתעד תיעוד מתעד מתעדים
    """
)
_NOUN: Final = listed("הקלטה הקלטות ההקלטה ההקלטות בהקלטה להקלטה תיעוד")
_NO: Final = listed("אל בלי ללא מבלי שלא בל")
_NOT: Final = listed("לא אינני איני")
_STOP: Final = listed(
    """
    תפסיק תפסיקי תפסיקו להפסיק הפסק הפסיקו תעצור תעצרי תעצרו לעצור תכבה תכבי תכבו לכבות תסגור תסגרו לסגור תבטל תבטלי
    תבטלו לבטל תמחק תמחקי תמחקו למחוק תנתק תוריד תורידו להוריד בטל מחק עצור די תמנע תימנע להימנע
    """
)
_OBJECT: Final = listed("מתנגד מתנגדת מסרב מסרבת אוסר אוסרת")
# After "לא": what one wants, agrees to, allows. "לא שמעתי את ההקלטה" has none of them.
_AGREE: Final = listed(
    """
    רוצה רוצים מעוניין מעוניינת מעונין מסכים מסכימה מסכימים מאשר מאשרת מרשה מוכן מוכנה אוהב אוהבת נוח מתאים מתאימה
    אישרתי הסכמתי ביקשתי יכול יכולים צריך צריכה מעדיף מעדיפה רשאי רשאים מותר בא
    """
)
_WISH: Final = listed("אפשר ניתן מבקש מבקשת מעדיף מעדיפה עדיף")
_NEAR: Final = 5
# What recordings are besides ours: left, heard, sent.
_OTHERS: Final = listed("השארתי השארת שמעתי שומע שומעת שמעת שלחתי לשמוע להשמיע תשמיע שאלתי לשלוח קיבלתי")


def do_not_record(text: str) -> bool:
    """The caller does not want to be recorded, or no longer."""
    said = words(text)
    places = [at for at, word in enumerate(said) if word in _RECORD]
    return any(_refused(said, at) for at in places)


def _refused(said: tuple[str, ...], at: int) -> bool:
    before = said[max(0, at - _NEAR) : at]
    after = said[at + 1 : at + 2 + _NEAR]
    if _OTHERS.intersection(before) or (_OTHERS.intersection(after) and said[at] in _NOUN):
        return False
    if any(word in _STOP or word in _OBJECT for word in before):
        return True
    if any(word in _NO for word in before[-3:]):
        return True
    for place, word in enumerate(before):
        if word in _NOT:
            between = before[place + 1 :]
            if not between or _AGREE.intersection(between) or _WISH.intersection(before[:place]):
                return True
    # "ההקלטה הזאת, תפסיקו אותה", "הקלטה לא מתאימה לי", "שמקליטים אותי אני לא מסכים"
    if _STOP.intersection(after) or _OBJECT.intersection(after):
        return True
    return any(word in _NOT and _AGREE.intersection(after[place + 1 :]) for place, word in enumerate(after))
