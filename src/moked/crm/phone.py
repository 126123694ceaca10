"""Telephone numbers (pure): what a person, a carrier or a form writes, to E.164, and back to what is said and shown.

The rule for Israel is structural and our own, because `phonenumbers` calls real ranges invalid (052-123-4567):

    mobile    05x-xxxxxxx       landline  02/03/04/08/09-xxxxxxx
    VoIP      07x-xxxxxxx       special   1-700/1-800/1-599-xxxxxx
    star code *2700: has no E.164 form and is kept as it is written

Numbers of other countries are taken only in international form, when they are possible at all.
"""

import re
from itertools import pairwise
from typing import Final

import phonenumbers

_ISRAEL: Final = "972"
_NATIONAL: Final = re.compile(r"0(?:5\d|7\d)\d{7}|0[23489]\d{7}|1(?:700|800|599)\d{6}")
_STAR: Final = re.compile(r"\*\d{3,5}")
_WRITTEN: Final = re.compile(r"\+?[\d\s()./\-\u2010-\u2015\u05be]+|\*\s*\d[\d\s\-]*")
_INVISIBLE: Final = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_KEYS: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "22233344455566677778889999")

_WITHHELD_WORDS: Final = ("anonymous", "restricted", "unknown", "unavailable", "private", "blocked")
# Carriers also spell these words on the keypad: ANONYMOUS is +266696687.
_WITHHELD: Final = frozenset(_WITHHELD_WORDS) | {word.upper().translate(_KEYS) for word in _WITHHELD_WORDS}


def to_e164(text: str) -> str | None:
    """`text` as E.164 ("+972502345678"), a star code as "*2700", or None when it is no number or is withheld.

    Separators, bidi marks, "tel:", "sip:" and "whatsapp:" prefixes are accepted; any other letter makes it no number.
    A mobile number that lost its zero ("502345678", spreadsheets do that) gets it back.
    """
    text = _INVISIBLE.sub("", text).strip().lower()
    for scheme in ("tel:", "sip:", "sips:", "whatsapp:"):
        text = text.removeprefix(scheme)
    text = text.partition("@")[0].partition(";")[0]
    if text.lstrip("+") in _WITHHELD or not _WRITTEN.fullmatch(text):
        return None
    if text.startswith("*"):
        star = "*" + _digits(text)
        return star if _STAR.fullmatch(star) else None
    digits = _digits(text)
    international = text.startswith("+")
    if digits.startswith("00"):
        digits, international = digits[2:], True
    if digits.startswith(_ISRAEL) and (international or len(digits) > 10):
        return _israeli(digits.removeprefix(_ISRAEL))
    if international:
        return _foreign("+" + digits)
    return _israeli(digits) if digits[:1] in ("0", "1") or re.fullmatch(r"5\d{8}", digits) else None


def national(e164: str) -> str:
    """How people in Israel write it, digits only: "0502345678", "1800123456". Others come back as they are."""
    if not e164.startswith("+" + _ISRAEL):
        return e164
    rest = e164[len(_ISRAEL) + 1 :]
    return rest if rest.startswith("1") else "0" + rest


def groups(e164: str) -> tuple[str, ...]:
    """The digits as people say them: 050-234-56-78, 03-123-45-67, 1-800-123-456. Joined they are `national(e164)`."""
    digits = national(e164)
    match digits[:1]:
        case "0":
            sizes = (3, 3, 2, 2) if len(digits) == 10 else (2, 3, 2, 2)
        case "1":
            sizes = (1, 3, 3, 3)
        case "+":
            return tuple(re.findall(r"\+?\d{1,3}", digits))
        case _:
            return (digits,)
    edges = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    return tuple(digits[a:b] for a, b in pairwise(edges))


def masked(e164: str) -> str:
    """For lists and logs: the prefix and the last two digits ("050*****78"). Short codes are no secret."""
    digits = national(e164)
    if digits.startswith("*"):
        return digits
    return digits[:3] + "*" * max(0, len(digits) - 5) + digits[-2:] if len(digits) > 5 else "*" * len(digits)


def _digits(text: str) -> str:
    return "".join(str(int(char)) for char in text if char.isdecimal())


def _israeli(digits: str) -> str | None:
    if digits[:1] not in ("0", "1"):
        digits = "0" + digits
    return f"+{_ISRAEL}{digits.removeprefix('0')}" if _NATIONAL.fullmatch(digits) else None


def _foreign(number: str) -> str | None:
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    possible = phonenumbers.is_possible_number(parsed)
    return str(phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)) if possible else None


def shown(e164: str) -> str:
    """How it is read with the eye: "050-234-5678"; what is no number comes back as it is. To be shown left to right."""
    if not e164.startswith(("+", "*")):
        return e164
    parts = groups(e164)
    return "-".join((*parts[:-2], parts[-2] + parts[-1])) if len(parts) > 3 else "-".join(parts)
