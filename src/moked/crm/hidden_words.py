"""Where hidden words are in time (pure): what of a turn nobody may hear, when its words have times.

Everything between the last word before that is no secret and the first one after it falls silent, and a margin at
least: a recogniser may have missed digits in a gap, and its times are not exact. Where there is a doubt, None: it is
the whole turn.

    words   הכרטיס   4580 1234 5678 9010   תודה          times of words: `stt.word_times`
    hidden  הכרטיס   [כרטיס]               תודה
    silent          |=====================|
"""

import re
from collections.abc import Sequence
from typing import Final

from moked.crm.redaction import MARK
from moked.stt.transcripts import normalise

MARGIN_MS: Final = 400
"""The least that falls silent before and after a hidden word."""

_WORD: Final = re.compile(r"\S+")

Times = Sequence[Sequence[int]]
"""(start_ms, end_ms) of each word of a text as `str.split` gives them; empty: not known."""


def after_hiding(text: str, times: Times, spots: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Times of the words of `text` once each of `spots` (characters [start, end)) is one mark without a space."""
    words = list(_WORD.finditer(text))
    if len(words) != len(times):
        return []
    found: list[list[int]] = []
    for place, word in enumerate(words):
        start, end = times[place]
        joined = place and any(a < words[place - 1].end() and b > word.start() for a, b in spots)
        if joined:
            found[-1] = [min(found[-1][0], start), max(found[-1][1], end)]
        else:
            found.append([start, end])
    return found


def after_change(kept: str, new: str, times: Times) -> list[list[int]]:
    """Times of the words of `kept`, in which something is hidden, from a newer version in which nothing is. What the
    two do not have in common, before and after what is hidden, counts as hidden."""
    old, fresh = kept.split(), new.split()
    marks = [place for place, word in enumerate(old) if MARK.search(word)]
    if len(fresh) != len(times) or not marks:
        return []
    before = after = 0
    while before < min(marks[0], len(fresh)) and normalise(old[before]) == normalise(fresh[before]):
        before += 1
    while after < min(len(old) - 1 - marks[-1], len(fresh) - before) and normalise(old[-1 - after]) == normalise(
        fresh[-1 - after]
    ):
        after += 1
    between = times[before : len(fresh) - after]
    if not between:
        return []
    both = [min(start for start, _ in between), max(end for _, end in between)]
    found = [*times[:before], *[both] * (len(old) - before - after), *times[len(fresh) - after :]]
    return [[start, end] for start, end in found]


def silences(text: str, times: Times, start: int, end: int) -> list[tuple[int, int]] | None:
    """What of the turn [start, end] nobody may hear, in ms; None: all of it, for the times are unknown or cannot be."""
    words = text.split()
    if len(words) != len(times) or not words or not _in_order(times):
        return None
    hidden = [MARK.search(word) is not None for word in words]
    found: list[tuple[int, int]] = []
    place = 0
    while place < len(words):
        if not hidden[place]:
            place += 1
            continue
        first = place
        while place < len(words) and hidden[place]:
            place += 1
        begins, ends = min(one[0] for one in times[first:place]), max(one[1] for one in times[first:place])
        if begins < start or ends > end:
            return None
        low = times[first - 1][1] if first else start
        high = times[place][0] if place < len(words) else end
        found.append((max(start, min(begins - MARGIN_MS, low)), min(end, max(ends + MARGIN_MS, high))))
    return found


def _in_order(times: Times) -> bool:
    starts = [start for start, _ in times]
    return all(start <= end for start, end in times) and starts == sorted(starts)
