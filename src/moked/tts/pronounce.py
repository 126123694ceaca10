"""What niqqud alone does not tell the phonemizer (pure): stress that is not on the last syllable, and spoken shva.

Adds to pointed words the two marks phonikud understands: ole (U+05AB) on the stressed syllable and meteg
(U+05BD) where a shva is said as "e". Words of a call centre that the niqqud model gets wrong are given as said.
"""

import re
from typing import Final

STRESS: Final = "\u05ab"
SPOKEN_SHVA: Final = "\u05bd"

_SHVA, _PATAH, _SEGOL, _TSERE, _HOLAM, _DAGESH = "\u05b0", "\u05b7", "\u05b6", "\u05b5", "\u05b9", "\u05bc"
_VOWELS: Final = frozenset("\u05b1\u05b2\u05b3\u05b4\u05b5\u05b6\u05b7\u05b8\u05b9\u05bb\u05c7")
_UNIT: Final = re.compile(r"([א-ת])([\u0591-\u05c7]*)")

# Pointed, with the stress where it is not last; found by the word without its marks.
_POINTED: Final = """
    אֶ֫פֶס אַחַת שְׁתַּ֫יִים שָׁלוֹשׁ אַ֫רְבַּע חָמֵשׁ שֵׁשׁ שֶׁ֫בַע שְׁמ֫וֹנֶה תֵּ֫שַׁע עֶ֫שֶׂר שְׁנַ֫יִים
    חֲמִשָּׁה שִׁשָּׁה שְׁתֵּים שְׁנֵים בַּבּ֫וֹקֶר בּ֫וֹקֶר בָּעֶ֫רֶב עֶ֫רֶב צָהֳרַ֫יִים הַצָּהֳרַ֫יִים
    בַּצָּהֳרַ֫יִים בַּלַּ֫יְלָה לַ֫יְלָה שֶׁלְּךָ֫ שֶׁלִּי שֶׁלָּ֫נוּ שֶׁלָּכֶם לְךָ אֵלֶ֫יךָ אֵלַ֫יִךְ לָ֫נוּ
    אֲנַ֫חְנוּ לָ֫מָּה הַבַּ֫יְתָה קָדִ֫ימָה בַּמֶּה בְּבַקָּשָׁה תּוֹדָה רַבָּה לְהִתְרָאוֹת אֶפְשָׁר
    בְּדִיּוּק בְּסֵ֫דֶר רֶ֫גַע דַּקָּה כּוֹכָבִית הִגַּעְתֶּ֫ם הִתְקַשַּׁרְתֶּ֫ם מִסְפַּר טֵ֫לֶפוֹן
    הַטֵּ֫לֶפוֹן בְּטֵ֫לֶפוֹן וָחֵ֫צִי חֵ֫צִי וָרֶ֫בַע רֶ֫בַע מְדַבֶּ֫רֶת עוֹרֵךְ עוֹרְכֵי אֲלֵיכֶם אִתְּכֶם
    שְׁמִי מְעֻלֶּה
"""
SAID: Final = {re.sub("[\u0591-\u05c7]", "", word): word for word in _POINTED.split()}

# Begin with a lexical shva, not with a particle: no "e" is said.
_NO_VOWEL: Final = re.compile(
    r"^(?:בדי|ברי|ברכ|ברו|ברא|בלי|בני|בגד|בעצ|כבר|כמו|כדי|כמה|כנס|כני|כתו|כתי|כלל|כלו|כרט|כפי|כסף|כבי|כלב|כוו)"
)


def mark(pointed: str) -> str:
    """Add stress and spoken shva to pointed text; words that carry a stress mark keep it."""
    return re.sub(r"[א-ת][א-ת\u0591-\u05c7]*", lambda match: _mark_word(match[0]), pointed)


def _mark_word(word: str) -> str:
    units = [(match[1], match[2]) for match in _UNIT.finditer(word)]
    bare = "".join(letter for letter, _ in units)
    if STRESS not in word:
        at = _early_stress(units, bare)
        if at is not None:
            units[at] = (units[at][0], units[at][1] + STRESS)
    letter, marks = units[0]
    if _SHVA in marks and SPOKEN_SHVA not in marks and len(bare) > 2:
        particle = letter in "בכ" and not _NO_VOWEL.match(bare)
        if particle or letter in "למנרי" or bare[1] in "אעה":
            units[0] = (letter, marks + SPOKEN_SHVA)
    return "".join(letter + marks for letter, marks in units)


def _early_stress(units: list[tuple[str, str]], bare: str) -> int | None:
    """The letter that opens the stressed syllable when the word's form says it is the last but one, else None."""
    nuclei: list[tuple[int, str]] = []  # the letter that opens the syllable, its vowel
    for at, (letter, marks) in enumerate(units):
        vowels = [mark for mark in marks if mark in _VOWELS]
        if letter == "ו" and at and (_HOLAM in marks or (_DAGESH in marks and not vowels)):
            nuclei.append((at - 1, _HOLAM if _HOLAM in marks else "u"))
        elif vowels:
            nuclei.append((at, vowels[0]))
    if len(nuclei) < 2:
        return None
    (before, first), (at, last) = nuclei[-2:]
    end, end_marks = units[-1]
    closed = end not in "האיו" and not _VOWELS.intersection(end_marks)
    segolate = last == _SEGOL and closed and first in (_SEGOL, _TSERE, _HOLAM) and not re.search("[כתה][םן]$", bare)
    guttural = last == _PATAH and end in "עח" and at == len(units) - 2 and first in (_SEGOL, _TSERE, _HOLAM)
    furtive = at == len(units) - 1 and last == _PATAH and end in "עח"
    dual = bare.endswith("יים") and first == _PATAH and bare != "חיים"
    past = bare.endswith("תי") and at == len(units) - 2 and _SHVA in units[at - 1][1]
    ours = bare.endswith("נו") and last == "u" and len(bare) > 3
    return before if segolate or guttural or furtive or dual or past or ours else None
