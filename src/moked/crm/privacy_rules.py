"""What a business decides about privacy, and what follows from it (pure): the first sentence, and what is too old.

The first sentence of every call says that no person speaks, and where the call is recorded, that too. Israel's privacy
authority asks for the former (draft guidance of 28 April 2025); the latter is not asked for where a party records,
and is said all the same: who is not told cannot object.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

NOTICE: Final = "שלום, אני העוזר הקולי הווירטואלי של {business}, השיחה מוקלטת ומתומללת."
"""Of a male voice; `{business}` is the business's name."""
NOTICE_FEMALE: Final = "שלום, אני העוזרת הקולית הווירטואלית של {business}, השיחה מוקלטת ומתומללת."
KEY_HINT: Final = "כדי שלא נקליט, אפשר לומר לי לא להקליט{key}."
_KEYS: Final = {"*": "כוכבית", "#": "סולמית"} | {str(n): word for n, word in enumerate(
    ("אפס", "אחת", "שתיים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע")
)}  # fmt: skip
KEYS: Final = ("", "*", "#")
"""What may be chosen: digits answer questions."""

LONGEST_NOTICE: Final = 400
LONGEST_DAYS: Final = 3650
# A caller must hear in the first sentence that no person speaks.
DISCLOSES: Final = re.compile(
    r"עוזר(?:ת)? (?:ה)?(?:קולי|דיגיטלי|וירטואלי|אוטומטי)|העוזר(?:ת)? ה|סוכנ?ת? (?:ה)?קולי|בוט|בינה מלאכותית|מענה קולי"
)
RECORDS: Final = re.compile(r"מוקלט|מקליט|הקלט|נקליט|מתועד")


class RefusedWords(StrEnum):
    """What is kept of the words of a caller who does not want to be recorded."""

    SERVICE = "service"  # the lead's fields, to be served by; neither transcript nor quotes
    TRANSCRIPT = "transcript"  # the transcript too: the audio alone is refused
    NONE = "none"  # of the lead only the name and the number to call back


@dataclass(frozen=True, slots=True)
class Rules:
    """`record` counts only where the installation records at all (RECORDINGS). Days of 0 keep for ever; `leads_days`
    are counted from when the lead was closed."""

    record: bool = True
    notice: str = ""
    refuse_key: str = "*"
    refused_words: RefusedWords = RefusedWords.SERVICE
    recordings_days: int = 90
    transcripts_days: int = 365
    leads_days: int = 730
    hide_cards: bool = True
    hide_ids: bool = True
    hide_audio: bool = True


@dataclass(frozen=True, slots=True)
class Cutoffs:
    """What is older goes; None: nothing does."""

    recordings: datetime | None
    transcripts: datetime | None
    leads: datetime | None


def cutoffs(rules: Rules, now: datetime) -> Cutoffs:
    def before(days: int) -> datetime | None:
        return now - timedelta(days=days) if days > 0 else None

    return Cutoffs(before(rules.recordings_days), before(rules.transcripts_days), before(rules.leads_days))


def wrong(rules: Rules) -> str:
    """The name of the first field that cannot be, '' when all can: a notice has to say both things."""
    if rules.notice:
        first = first_sentence(rules.notice)
        if len(rules.notice) > LONGEST_NOTICE or not DISCLOSES.search(first):
            return "notice"
        if not RECORDS.search(rules.notice):
            return "notice_recording"
    if rules.refuse_key not in KEYS:
        return "refuse_key"
    for name in ("recordings_days", "transcripts_days", "leads_days"):
        if not 0 <= getattr(rules, name) <= LONGEST_DAYS:
            return name
    return ""


def first_sentence(text: str) -> str:
    return re.split(r"(?<=[.!?])\s", text.strip(), maxsplit=1)[0]


def opening(greeting: str, business: str, rules: Rules, *, recorded: bool, female: bool = False) -> str:
    """What is said first. `greeting` is the business's own; it discloses the bot already, and stays where nothing is
    recorded. Where the call is recorded the notice comes first, in place of the sentence that only introduced the
    bot."""
    if not recorded:
        return greeting
    notice = (rules.notice or (NOTICE_FEMALE if female else NOTICE)).replace("{business}", business)
    first = first_sentence(greeting)
    rest = greeting.strip()[len(first) :].strip() if DISCLOSES.search(first) else greeting.strip()
    spoken = _KEYS.get(rules.refuse_key, "")
    hint = KEY_HINT.format(key=f" או להקיש {spoken}" if spoken else "")
    return " ".join(part for part in (notice, hint, rest) if part)
