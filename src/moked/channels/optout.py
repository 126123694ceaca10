"""Does somebody want to be left alone? (pure) From a message they wrote, or from what they said in a call.

A message is short and meant for us: the bare word counts ("הסר", "stop"). In a call the same word is about a stain or a
sticker as often, so only a whole phrase counts: remove *me*, stop calling, do not call *again*. "Do not call before
eight" is a wish about the hour, and no refusal.
"""

import re
from typing import Final

from moked.stt.transcripts import normalise

_BARE: Final = frozenset(
    {
        "הסר", "הסירו", "הסירי", "להסיר", "הסרה", "להסרה", "נא להסיר", "בבקשה להסיר", "הסר בבקשה", "הסירו בבקשה",
        "הסר אותי", "הסירו אותי", "להסיר אותי", "נא להסיר אותי",
        "stop", "stop all", "stopall", "unsubscribe", "cancel", "end", "quit", "remove", "remove me",
    }
)  # fmt: skip
"""The English ones are what carriers of SMS take for a refusal too (Twilio's default keywords)."""

_ME: Final = r"(?:אותי|אותנו|את (?:ה?מספר|ה?טלפון|ה?שם)(?: הזה)? שלי|את המספר הזה|את עצמי)"
_REMOVE: Final = r"(?:תסיר|תסירו|תסירי|תורידו|תוריד|תורידי|תמחקו|תמחק|תמחקי|להסיר|להוריד|למחוק|הסירו|הורידו|מחקו)"
_FROM: Final = r"(?:מה?רשימ\w*|מכל הרשימות|מרשימת ה?\w+|מה?מאגר\w*|מה?דיוור\w*|מה?תפוצה)"
_ONE_ANOTHER: Final = r"(?:אליי|אלי|אלינו|אותי|לי|לנו)"
_STOP: Final = r"(?:תפסיקו|תפסיק|תפסיקי|די|מספיק|להפסיק)"
_BOTHER: Final = r"(?:להתקשר|לצלצל|לשלוח|לסמס|להטריד|לנדנד|להציק)"
_CALL: Final = r"(?:תתקשרו|תתקשר|תתקשרי|תצלצלו|תצלצל)"
_TURN_TO: Final = rf"(?:{_CALL}|תשלחו|תשלח|תשלחי|תפנו|תפנה)"
_UNWILLING: Final = r"לא (?:רוצה|רוצים|מעוניין|מעוניינת|מעוניינים)"
_THINGS: Final = r"(?:הודעות|פרסומות|פרסומים|שיחות|דיוור|עדכונים)"
_STRONG: Final = tuple(
    re.compile(rf"(?<!\S)[שו]?(?:{pattern})(?!\S)")
    for pattern in (
        rf"{_REMOVE} {_ME} {_FROM}",
        rf"{_REMOVE} {_FROM} {_ME}",
        r"(?:תסיר|תסירו|תסירי|הסירו|להסיר) (?:אותי|אותנו)",
        rf"(?:לצאת|לרדת) {_FROM}",
        rf"{_STOP} {_BOTHER}(?: {_ONE_ANOTHER})?",
        rf"(?:אל|שלא) {_TURN_TO} (?:{_ONE_ANOTHER} )?(?:יותר|עוד|שוב|לעולם|אף פעם|בחיים)",
        rf"(?:אל|שלא) {_CALL} (?:יותר |עוד |שוב )?{_ONE_ANOTHER}(?: (?:יותר|שוב|לעולם|אף פעם|בחיים))?",
        rf"{_UNWILLING} ש(?:תתקשרו|תתקשר|תשלחו|תשלח)(?: {_ONE_ANOTHER})?(?: (?:יותר|שוב))?",
        rf"{_UNWILLING} לקבל (?:יותר |עוד |מכם )*{_THINGS}(?: (?:יותר|מכם))*",
        r"(?:please )?(?:stop|do not|don t|dont) (?:calling|call|texting|text|messaging|message) (?:me|us|this number)",
        r"(?:take|remove) me (?:off|from) (?:your|the) list",
    )
)
# What follows and makes it a wish about when, where or how.
_ONLY_NOW: Final = re.compile(
    r"^ ?(?:לפני|אחרי|היום|מחר|מחרתיים|עכשיו|כרגע|בבוקר|בערב|בלילה|בצהריים|בשעה|בשעות|בין|עד|בשבת|בשישי|ביום|בימי|"
    r"בזמן|כש\w+|אלא|רק|למספר|לטלפון|מהמספר|ממספר|מחסוי|לעבודה|הביתה|before|after|today|now|until|at|on)(?!\S)"
)
_FOR_EVER: Final = re.compile(r"(?<!\S)(?:יותר|לעולם|אף פעם|בחיים|never|again)(?!\S)")
_POLITE: Final = frozenset({"בבקשה", "נא", "כבר", "please"})
_NOT_OUT: Final = re.compile(r"(?<!\S)(?:אל|לא) (?:ל?תסיר|תסירו|תורידו|תוריד|להסיר|להוריד|תמחקו|למחוק)(?!\S)")


def in_message(text: str) -> bool:
    """Whether a written message asks for removal."""
    words = normalise(text)
    return words in _BARE or in_call(text)


def in_call(text: str) -> bool:
    """Whether what was said in one turn of a call asks for removal."""
    words = " ".join(word for word in normalise(text).split() if word not in _POLITE)
    if _NOT_OUT.search(words):
        return False
    for pattern in _STRONG:
        for found in pattern.finditer(words):
            if _FOR_EVER.search(found[0]) or not _ONLY_NOW.match(words[found.end() :]):
                return True
    return False
