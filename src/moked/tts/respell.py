"""Words an owner wants said otherwise than they are written (pure): "בוילר" as "בּוֹיְלֶר".

A word is found whole, also after the little words Hebrew joins to it ("לבוילר", "והבוילר"); they stay as they are.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

_JOINED: Final = "(?<![א-ת])([ובלהמשכ]{0,3})"


def respelling(words: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """A function that writes each (written, said) pair's word as it is said. Longer words are looked for first."""
    said = {written: spoken for written, spoken in words if written}
    if not said:
        return lambda text: text
    known = "|".join(re.escape(written) for written in sorted(said, key=len, reverse=True))
    pattern = re.compile(f"{_JOINED}({known})(?![א-ת\u0591-\u05c7])")
    return lambda text: pattern.sub(lambda found: found[1] + said[found[2]], text)
