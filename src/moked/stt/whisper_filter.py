"""What Whisper makes up (pure): it was trained on subtitles and fills silence and noise with their phrases.

`made_up` gives the reason why a text is not what the caller said, or an empty string. Thresholds: no-speech and log
probability, compression ratio as in Whisper's own decoder; characters a second and the phrases from experience with it.
The second pair is measured with the embedded model on telephone audio: of 90 recorded Hebrew words those less likely
than -1.3 had a no-speech probability of at most 0.23; of some 60 clips of noise, tones and music all had 0.39 or more.
"""

import re
import zlib
from dataclasses import dataclass
from typing import Final

import numpy as np

from moked.audio import FRAME_BYTES, FRAME_MS, to_float
from moked.stt.transcripts import normalise

LOUD_RMS: Final = 160  # of 16 bits, -46 dB of full scale: telephone speech is well above, line noise below
REPETITION: Final = "repetition"
_MIN_LOUD_MS: Final = 60

# Said in videos, never to a receptionist. Dropped unless the clip is long and clear.
_SUBTITLES: Final = frozenset(
    map(
        normalise,
        (
            "תודה שצפיתם", "תודה רבה שצפיתם", "תודה על הצפייה", "תודה רבה על הצפייה", "תודה לצפייה", "צפייה מהנה",
            "צפייה נעימה", "כתוביות", "תרגום", "תרגום וכתוביות", "כתוביות על ידי", "עריכה ותרגום", "עד הפעם הבאה",
            "נתראה בסרטון הבא", "נתראה בפרק הבא", "הירשמו לערוץ", "תירשמו לערוץ", "אל תשכחו להירשם לערוץ",
            "אל תשכחו לעשות לייק", "לייק וסאבסקרייב", "מוזיקה", "מוסיקה", "מוזיקת רקע", "מחיאות כפיים", "צחוק",
            "תודה רבה לצפייה", "תודה שצפיתם בסרטון", "תודה לכם על הצפייה", "תודה רבה לכם על הצפייה", "סרטון נוסף",
            "נתראה בסרטון", "ניפגש בסרטון הבא", "ברוכים הבאים לערוץ", "ברוכים הבאים לערוץ שלי",
            "הירשמו לערוץ שלי", "אתם מוזמנים להירשם לערוץ", "אל תשכחו להירשם", "תעשו לייק", "לייק ושיתוף",
            "המשך יבוא", "סוף הפרק", "הפקת כתוביות", "בהפקת כתוביות", "תורגם",
            "thank you for watching", "thanks for watching", "please subscribe", "subscribe", "music", "applause",
            "to be continued", "the end",
        ),
    )
)  # fmt: skip
# Said to a receptionist too, so only dropped where there was hardly a sound.
_POLITE: Final = frozenset(
    map(
        normalise,
        (
            "תודה", "תודה רבה", "תודה רבה לך", "תודה רבה לכם", "תודה על ההקשבה", "ביי", "ביי ביי", "להתראות", "שלום",
            "כן", "טוב", "בסדר", "אוקיי", "יאללה", "הלו", "אה", "אמ", "בואו", "וואו", "אימא", "you", "thank you", "bye",
        ),
    )
)  # fmt: skip
_CREDITS: Final = (
    "כתוביות", "תרגום וכתוביות", "תרגום כתוביות", "תורגם על ידי", "תורגם ונערך", "תורגם וסונכרן", "הכתוביות נוצרו",
    "הכתוביות הופקו", "סנכרון כתוביות", "עריכה ותרגום", "תמלול ועריכה", "amara org", "www ", "subtitles by",
)  # fmt: skip
_DIGITS: Final = frozenset(
    (
        "אפס", "אחת", "שתיים", "שתים", "שלוש", "ארבע", "חמש", "שש", "שבע", "שמונה", "תשע", "כפול",
        "אחד", "שניים", "שנים", "שלושה", "ארבעה", "חמישה", "שישה", "שבעה", "תשעה",
    )
)  # fmt: skip
_HUM: Final = re.compile(r"([אהויםמaehmo])\1{3}")  # "אההההה"; but "שששש" is how the small model writes a six
_LONGEST_NUMBER: Final = 13  # digits of the longest number that is said at a time, an international one


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known about the audio and the decoding. `loud_ms`: how much of it is louder than `LOUD_RMS`."""

    ms: int
    loud_ms: int
    avg_logprob: float
    no_speech: float


def loud_ms(mulaw: bytes) -> int:
    """How much of it is louder than `LOUD_RMS`, in frames of 20 ms."""
    frames = to_float(mulaw[: len(mulaw) // FRAME_BYTES * FRAME_BYTES]).reshape(-1, FRAME_BYTES)
    rms = np.sqrt((frames**2).mean(axis=1)) * 32768
    return int((rms > LOUD_RMS).sum()) * FRAME_MS


def made_up(text: str, clip: Clip) -> str:
    """Why `text` is not to be believed; empty if it is."""
    words = normalise(text).split()
    said = " ".join(words)
    unsure = clip.avg_logprob < -0.7
    if not words:
        return "empty"
    if clip.loud_ms < _MIN_LOUD_MS:
        return "silence"
    if (clip.no_speech > 0.6 and clip.avg_logprob < -1.0) or (clip.no_speech > 0.3 and clip.avg_logprob < -1.3):
        return "no speech"
    if clip.no_speech > 0.4 and len(words) > 1 and len(set(words)) == 1:
        return "no speech"  # one word again and again: gusts, or the clicks of a line
    if _HUM.search(said):
        return "a tone"
    if said in _SUBTITLES and (clip.loud_ms < 3000 or unsure):
        return "subtitle phrase"
    if said.startswith(_CREDITS) and (clip.loud_ms < 3000 or unsure):
        return "subtitle credits"
    if said in _POLITE and clip.loud_ms < 120:
        return "polite noise"
    if len(said) * 1000 > 30 * max(clip.ms, 250):
        return "too fast to be said"
    if len(words) <= _LONGEST_NUMBER and _DIGITS.issuperset(words):
        return ""  # a number may be all zeros
    encoded = text.encode()
    if len(encoded) / len(zlib.compress(encoded)) > 2.4:
        return REPETITION
    return REPETITION if _repeats(words) else ""


def _repeats(words: list[str]) -> bool:
    """A phrase over and over. One word may be: a telephone number has four zeros in a row."""
    for length, times in ((1, 7), (2, 4), (3, 3), (4, 3)):
        run = 1
        for at in range(length, len(words) - length + 1):
            same = words[at : at + length] == words[at - length : at]
            # windows move by one word, so a run of n repeats shows `length` hits for each
            run = run + 1 if same else 1
            if run > (times - 1) * length - (length - 1):
                return True
    return False
