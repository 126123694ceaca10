"""Hebrew in a terminal: isolate marks (Unicode UAX 9), so that a line reads right beside English labels and numbers.

Every line is a paragraph of its own for a terminal, so text is wrapped first and each line isolated after it.
"""

import re
from typing import Final

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

LRI: Final = "\u2066"
RLI: Final = "\u2067"
PDI: Final = "\u2069"

_RIGHT_TO_LEFT: Final = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
# The sign would wander to the other end of the number. A hyphen after a Hebrew letter ("ל-050") is no sign.
_SIGNED_NUMBER: Final = re.compile(r"\+\d[\d-]*|(?<!\S)-\d[\d-]*")


def isolate(line: str) -> str:
    """One line of text, marked if it has Hebrew or Arabic in it; other text is returned as it is."""
    if not _RIGHT_TO_LEFT.search(line):
        return line
    return RLI + _SIGNED_NUMBER.sub(lambda number: LRI + number[0] + PDI, line) + PDI


class Bidi:
    """Text for a rich table or panel: wrapped to the width, each line isolated."""

    def __init__(self, text: str, style: str = "") -> None:
        self._text = Text(text, style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in self._text.wrap(console, options.max_width):
            line.rstrip()
            yield Text(isolate(line.plain), style=self._text.style, no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._text)
