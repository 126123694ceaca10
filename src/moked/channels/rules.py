"""The rules of the policy gate in words (pure): what each says to a person, and where it comes from.

`source` names the law or whose rule it is. Dates and sums of laws are as the sources gave them in November 2026; this
is no legal advice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SPAM: Final = "Communications Law (Telecommunications and Broadcasting) 1982, s. 30A"
_DNC: Final = "Consumer Protection Law 1981, 'do not call me' registry, in force since 1 January 2023"
_PRIVACY: Final = "Privacy Protection Law 1981, Amendment 13, in force since 14 August 2025"
_HOUSE: Final = "the business's own rule"
_CHANNEL: Final = "the channel's own terms"


@dataclass(frozen=True, slots=True)
class Rule:
    """`he` and `en` may name {until}."""

    he: str
    en: str
    source: str


RULES: Final[Mapping[str, Rule]] = {
    # why not
    "suppressed": Rule(
        "המספר ברשימת החסומים: התבקשה הסרה או מחיקה, ואין לפנות אליו.",
        "The number is on the suppression list: removal or erasure was asked for, and it must not be contacted.",
        f"{_SPAM}(d); {_PRIVACY}",
    ),
    "revoked": Rule(
        "התבקשה הסרה. אין לשלוח עוד בלי הסכמה חדשה.",
        "Removal was asked for. Nothing may be sent without a new consent.",
        f"{_SPAM}(d)",
    ),
    "no_consent": Rule(
        "זו פרסומת, ואין הסכמה מפורשת לקבל אותה בערוץ הזה.",
        "This is an advertisement, and there is no explicit consent to it on this channel.",
        f"{_SPAM}(b)",
    ),
    "expired": Rule(
        "ההסכמה ניתנה לפני יותר משנה, ותוקפה פג.",
        "The consent was given more than a year ago and has expired.",
        f"{_DNC}: consent is valid for one year",
    ),
    "dnc_listed": Rule(
        "המספר רשום במאגר ״אל תתקשרו אליי״, ואין הסכמה בתוקף.",
        "The number is in the 'do not call me' registry, and there is no consent in force.",
        _DNC,
    ),
    "dnc_unchecked": Rule(
        "המספר לא נבדק במאגר ״אל תתקשרו אליי״. יש להעלות בדיקה לפני שיחת שיווק.",
        "The number was not checked against the 'do not call me' registry. Upload a check before a marketing call.",
        f"{_DNC}: to be checked within the 15 days before a call",
    ),
    "dnc_old": Rule(
        "הבדיקה במאגר ״אל תתקשרו אליי״ בת יותר מ־15 ימים. יש לבדוק שוב.",
        "The check against the 'do not call me' registry is more than 15 days old. Check again.",
        f"{_DNC}: to be checked within the 15 days before a call",
    ),
    "cold": Rule(
        "מי שלא כתב לנו קודם: בערוץ הזה אין לפתוח שיחה.",
        "They never wrote to us: on this channel we must not open a conversation.",
        f"{_CHANNEL}: cold messages restrict or ban the account",
    ),
    "window_closed": Rule(
        "עבר הזמן לתשובה חופשית אחרי ההודעה האחרונה, ואין תבנית מאושרת.",
        "The time for a free answer after their last message is over, and there is no approved template.",
        f"{_CHANNEL}: free text within 24 hours of the last inbound message",
    ),
    "removal_late": Rule(
        "אישור הסרה נשלח מיד או שלא נשלח כלל.",
        "That somebody was removed is confirmed at once or not at all.",
        f"{_SPAM}(d)",
    ),
    "person": Rule(
        "אדם החליט לא לשלוח.",
        "A person decided not to send it.",
        _HOUSE,
    ),
    "no_channel": Rule(
        "הערוץ הזה לא מחובר.",
        "This channel is not connected.",
        _HOUSE,
    ),
    "never_open": Rule(
        "אין שעות שליחה מוגדרות, ולכן אין מועד מותר.",
        "There are no sending hours, so there is no permitted moment.",
        _HOUSE,
    ),
    # why a person is asked
    "no_proof": Rule(
        "הודעת שירות למי שלא ביקש אותה ולא כתב לנו: אדם צריך לאשר.",
        "A service message to somebody who did not ask for it and did not write to us: a person must approve.",
        _HOUSE,
    ),
    "listed_with_consent": Rule(
        "המספר רשום במאגר ״אל תתקשרו אליי״, אבל יש הסכמה בתוקף: אדם צריך לאשר.",
        "The number is in the 'do not call me' registry, but there is a consent in force: a person must approve.",
        f"{_DNC}: consent is valid for one year",
    ),
    "service_expired": Rule(
        "ההסכמה להודעות שירות ישנה מאוד: אדם צריך לאשר.",
        "The consent to service messages is very old: a person must approve.",
        _HOUSE,
    ),
    # why later
    "quiet_hours": Rule(
        "מחוץ לשעות השליחה של העסק.",
        "Outside the business's sending hours.",
        f"{_HOUSE}: 08:00 to 21:00, Sunday to Thursday, unless set otherwise",
    ),
    "shabbat": Rule(
        "בשבת לא פונים ללקוחות.",
        "Nobody is contacted on Shabbat.",
        f"{_HOUSE}: from Friday 14:00, before any candle lighting, to Saturday 21:00",
    ),
    "holiday": Rule(
        "בחג לא פונים ללקוחות.",
        "Nobody is contacted on a holiday.",
        f"{_HOUSE}: from 14:00 of its eve to 21:00 of its last day",
    ),
    "cap_contact": Rule(
        "די להיום: זו מכסת הפניות היומית לאדם אחד.",
        "Enough for today: this is the daily limit for one person.",
        _HOUSE,
    ),
    "cap_day": Rule(
        "די להיום: זו המכסה היומית של הערוץ.",
        "Enough for today: this is the channel's daily limit.",
        f"{_HOUSE}; {_CHANNEL}",
    ),
    # why it may be
    "owner": Rule(
        "הודעה לאנשי העסק עצמו.",
        "A notice to the business's own people.",
        f"{_SPAM}: not an advertisement",
    ),
    "removal": Rule(
        "אישור שההסרה בוצעה, למי שביקש אותה עכשיו.",
        "A confirmation of removal, to who has just asked for it.",
        f"{_SPAM}(d)",
    ),
    "consent": Rule("יש הסכמה בתוקף.", "There is a consent in force.", f"{_SPAM}(b)"),
    "wrote_since": Rule(
        "ביקשו הסרה, ואחר כך כתבו מיוזמתם: עונים על מה ששאלו, ולא יותר.",
        "They asked to be removed and later wrote of their own accord: what they asked is answered, and nothing more.",
        f"{_SPAM}: an answer to the person's own question is not an advertisement",
    ),
    "asked": Rule(
        "התבקשה ממש עכשיו.", "It was asked for just now.", f"{_SPAM}: not an advertisement; asked for by the person"
    ),
    "agreed": Rule(
        "זו השעה שביקשו שנתקשר בה.",
        "This is the hour at which they asked to be called.",
        f"{_SPAM}: not an advertisement; asked for by the person",
    ),
    "reply": Rule("תשובה למי שפנה אלינו.", "An answer to somebody who turned to us.", f"{_SPAM}: not an advertisement"),
    "approved": Rule("אדם אישר.", "A person approved it.", _HOUSE),
    "by_person": Rule("אדם מתקשר בעצמו.", "A person makes the call.", _HOUSE),
    "service": Rule(
        "הודעת שירות, לא פרסומת.", "A service message, no advertisement.", f"{_SPAM}: not an advertisement"
    ),
    "template": Rule(
        "עבר הזמן לתשובה חופשית: נשלחת תבנית מאושרת.",
        "The time for a free answer is over: an approved template is sent.",
        f"{_CHANNEL}: free text within 24 hours of the last inbound message",
    ),
}


def explained(code: str, language: str) -> str:
    """The rule in 'he' or 'en'."""
    rule = RULES[code]
    return rule.he if language == "he" else rule.en
