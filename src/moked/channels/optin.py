"""Does a written message agree to advertisements? (pure) Only where it says so itself: Communications Law s. 30A(b).

    "כן, אפשר לשלוח לי מבצעים"                     marketing, on the channel it was written on
    "אני מאשרת לקבל מכם דיוור במייל"                marketing, by e-mail
    "אפשר לשלוח לי מבצעים?", "אולי", "רק היום"       nothing: a question, a doubt, or a condition is no consent

A whole sentence has to be one of agreement, down to its last word, and nothing else in the message may take it back.
"אפשר" without a yes may be a question, and who would be glad of discounts has not asked for advertisements. What is
missed costs a question; what is guessed costs an advertisement to who did not ask for it. A bare "כן" is none: what it
answers only the agent that asked knows (`wishes`).
"""

import re
from typing import Final

from moked.channels import optout
from moked.stt.transcripts import normalise

_SENTENCES: Final = re.compile(r"(?<=[.!?\n])\s*|\n")
_INTRO: Final = (
    r"(?:(?:כן|שלום|היי|הי|בטח|בהחלט|ברור|כמובן|בסדר|אוקיי|אוקי|טוב|מצוין|סבבה|בשמחה|בכיף|תודה|רבה|yes|ok|okay|sure) )*"
)
_I: Final = r"(?:(?:אני|אנחנו|הריני) )?"
_GLADLY: Final = r"(?:(?:גם|בהחלט|בשמחה|מאוד|כן) )*"
_RECEIVE: Final = r"(?:לקבל|שאקבל|שנקבל|לקבלת|לקבלה של)"
_SEND: Final = r"(?:לשלוח|שתשלחו|שישלחו|למשלוח|לשליחת|לשליחה של)"
_TO_ME: Final = r"(?:לי|אליי|אלי|לנו|אלינו)"
_AGREE: Final = (
    rf"(?:מאשר|מאשרת|מאשרים|מסכים|מסכימה|מסכימים|נותן אישור|נותנת אישור) (?:(?:לכם|בזאת|בזה) )*(?:{_RECEIVE}|{_SEND})"
)
_WANT: Final = rf"(?:רוצה|רוצים|מעוניין|מעוניינת|מעוניינים|אשמח|נשמח|מבקש|מבקשת) {_GLADLY}(?:{_RECEIVE}|שתשלחו)"
_YES: Final = r"(?:כן|בטח|בהחלט|ברור|כמובן|בשמחה|בסדר|yes|sure)(?: בטח| בהחלט| ברור| כמובן| בשמחה| תודה)*"
_MAY: Final = (
    rf"(?:{_YES} (?:אפשר|מותר|ניתן)|מותר לכם|אתם יכולים|אתם רשאים|אין לי בעיה|אין לי התנגדות) {_GLADLY}{_SEND}"
)
_PLACE: Final = rf"(?:(?:{_TO_ME}|מכם|ממכם|מהעסק|מהחברה|גם) )*"
_OFFERS: Final = r"מבצעים(?: והנחות| והטבות| ועדכונים| ופרסומות)?|הנחות(?: ומבצעים)?|הטבות(?: ומבצעים)?"
_ADS: Final = (
    r"(?:פרסומות|פרסומים|פרסומת|"
    r"דברי פרסומת|דבר פרסומת|דיוור(?: פרסומי| שיווקי)?|ניוזלטר|"
    r"(?:הודעות|תכנים|תוכן|חומר|חומרים|מידע|הצעות|מסרים) (?:פרסומיות|פרסומיים|פרסומי|שיווקיות|שיווקיים|שיווקי)|"
    r"(?:הודעות|עדכונים|הצעות|מידע)(?: חמות| חמים)? (?:על|לגבי) (?:ה?מבצעים|ה?הנחות|ה?הטבות)"
    r"(?: והנחות| והטבות| ומבצעים)?)"
)
_JOIN: Final = (
    r"(?:(?:רוצה|רוצים|מבקש|מבקשת|מעוניין|מעוניינת|אשמח|נא|בבקשה) )?"
    r"(?:להצטרף|להירשם|הצטרפות|הרשמה|הרשמו אותי|תצרפו אותי|צרפו אותי|תרשמו אותי|תוסיפו אותי|הוסיפו אותי) "
    r"(?:לרשימת ה?(?:תפוצה|דיוור)|לדיוור(?: הפרסומי| השיווקי)?|לניוזלטר|לקבלת (?:מבצעים|פרסומות|דיוור))"
)
_WHERE: Final = {
    "whatsapp": r"(?:ב|ל|דרך ה?)?(?:וואטסאפ|ווטסאפ|ואטסאפ|וואצאפ|whatsapp)",
    "sms": r"(?:ב|ל|דרך )?(?:סמס|מסרונים|מסרון|אסמס|הודעות טקסט|sms)",
    "email": r"(?:ב|ל|דרך ה?)?(?:מייל|אימייל|דואר אלקטרוני|email)",
}
_ALL_WHERE: Final = "|".join(_WHERE.values())
_TAIL: Final = (
    rf"(?: (?:{_ALL_WHERE}|וגם|גם|ו|מכם|ממכם|שלכם|{_TO_ME}|בבקשה|תודה|רבה|מעת לעת|מדי פעם|בעתיד|לנייד|לטלפון|הזה|שלי))*"
)
_SENTENCE: Final = re.compile(
    rf"{_INTRO}{_I}{_GLADLY}(?:(?:{_AGREE}|{_MAY}) {_PLACE}(?:{_OFFERS}|{_ADS})|{_WANT} {_PLACE}{_ADS}|{_JOIN}){_TAIL}"
)
_NAMED: Final = {channel: re.compile(rf"(?<!\S){pattern}(?!\S)") for channel, pattern in _WHERE.items()}
_BARE: Final = frozenset({"subscribe"})
_TAKEN_BACK: Final = re.compile(
    r"(?<!\S)[ושב]?(?:לא|אל|אין לי רצון|אולי|אם|בתנאי|אבל|תלוי|רק|אלא|בינתיים|"
    r"not|don t|dont|maybe|if|unless|only)(?!\S)"
)


def in_message(text: str, written_on: str) -> tuple[str, ...]:
    """The channels a message agrees to advertisements on; `written_on` where it names none. Mostly empty."""
    if optout.in_message(text):
        return ()
    found: list[str] = []
    for sentence in filter(None, (part.strip() for part in _SENTENCES.split(text))):
        words = normalise(sentence)
        if sentence.endswith(("?", "?!")) or _TAKEN_BACK.search(words):
            return ()
        if words in _BARE or _SENTENCE.fullmatch(words):
            named = [channel for channel, pattern in _NAMED.items() if pattern.search(words)]
            found += named or [written_on]
    return tuple(dict.fromkeys(found))
