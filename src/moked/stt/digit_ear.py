"""Dictated digits, heard in the encoder's own output (pure): a small net and a search, where the decoder spells wrong.

    encoder (50 frames a second) -> net -> states of ten digits, silence, other speech -> best path -> digits

Whisper's small models hear the digits on a telephone and write them wrong. Their encoder knows better than their
decoder: a net with one hidden layer, taught with synthetic voices alone (`bench/digit_ear.py`), reads digits from it.
A digit is five states in a row; between digits there may be silence or other speech. `told` says when that reading is
to be believed rather than the decoder's text. Tens and hundreds ("עשרים ושלוש") are other speech here: the text rules
of the dialogue know them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from moked.stt.transcripts import normalise

Floats = NDArray[np.float32]

NUMBER_KINDS: Final = frozenset({"phone", "id", "plate", "number"})
"""What may be expected (`dialog.Expect` values) when a number is asked for."""

STATES: Final = 5  # of a digit
SILENCE: Final = 10 * STATES
OTHER: Final = SILENCE + 1
CLASSES: Final = OTHER + 1
FRAME_MS: Final = 20

_PRIOR: Final = 0.6  # how much of a class's frequency in training is taken out again
_DIGIT_COST: Final = 6.0  # log units: what one more digit must be worth
_OTHER_COST: Final = 10.0
_NEVER: Final = -1e9
_PAUSE_FRAMES: Final = 15  # a pause that parts groups: 300 ms
_BREATH_FRAMES: Final = 8  # other speech as short as this is a breath or a slip
_JOINED_FRAMES: Final = 4  # a shorter gap is no pause
_DOUBTFUL: Final = 0.5  # how sure a digit must be to stand right beside other speech
_SAME_ENCODER: Final = 0.97

BESIDE: Final = frozenset(
    normalise(
        "לא כן נכון סליחה טעות רגע המספר מספר שלי הטלפון הנייד זה הוא בסוף בהתחלה הקידומת קידומת האחרונות הראשונות"
        " פלוס כוכבית"
    ).split()
)
"""What may stand before or after a number and matters; read from the decoder's text."""

# Short words that may sound like one digit; where the decoder reads one of them, it is right.
_ALONE: Final = frozenset(
    ("אה", "אהה", "אה אה", "אמ", "אממ", "אם", "המ", "הממ", "כן", "לא", "נכון", "טעות", "רגע", "טוב", "אז")
)


@dataclass(frozen=True, slots=True)
class Heard:
    """One stretch of speech: `digit`, or None for other speech; frames; `sure` 0..1."""

    digit: int | None
    start: int
    end: int
    sure: float = 1.0


class DigitEar:
    """`weights`: w1 (D, H), b1 (H), w2 (H, CLASSES), b2, prior (CLASSES, log), probe (D)."""

    def __init__(self, weights: Mapping[str, NDArray[np.float16]]) -> None:
        self._w1, self._b1, self._w2, self._b2, self._prior, self._probe = (
            weights[name].astype(np.float32) for name in ("w1", "b1", "w2", "b2", "prior", "probe")
        )

    def fits(self, probe: Floats) -> bool:
        """Whether this encoder is the one the net was taught on: `probe` is its mean output for the warm-up noise."""
        if probe.shape != self._probe.shape:
            return False
        size = float(np.linalg.norm(probe) * np.linalg.norm(self._probe))
        return float(probe @ self._probe) / size > _SAME_ENCODER

    def hear(self, encoded: Floats) -> list[Heard]:
        """`encoded`: (frames, D) of the clip without its padding."""
        if not len(encoded):
            return []
        logs = log_softmax(np.maximum(0, encoded @ self._w1 + self._b1) @ self._w2 + self._b2)
        return search(logs, logs - np.float32(_PRIOR) * self._prior)


def log_softmax(scores: Floats) -> Floats:
    scores = scores - scores.max(axis=1, keepdims=True)
    logs: Floats = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    return logs


def search(logs: Floats, scores: Floats) -> list[Heard]:
    """The best path through `scores` (frames, CLASSES); `logs` are what the certainty of a digit is taken from."""
    frames = len(scores)
    first = np.arange(10) * STATES
    outs = np.append(first + STATES - 1, (SILENCE, OTHER))
    cost = np.zeros(CLASSES, np.float32)
    cost[first], cost[OTHER] = _DIGIT_COST, _OTHER_COST
    starts = np.append(first, (SILENCE, OTHER))
    value = np.full(CLASSES, _NEVER, np.float32)
    value[starts] = scores[0, starts] - cost[starts]
    origin = np.zeros((frames, CLASSES), np.int32)
    here = np.arange(CLASSES)
    for at in range(1, frames):
        best = outs[value[outs].argmax()]
        moved = np.concatenate((value[:1], value[:-1]))
        moved[starts] = value[best] - cost[starts]
        source = here - 1
        source[starts] = best
        goes = moved > value
        value = np.where(goes, moved, value) + scores[at]
        origin[at] = np.where(goes, source, here)
    path = np.empty(frames, np.int32)
    path[-1] = outs[value[outs].argmax()]
    for at in range(frames - 1, 0, -1):
        path[at - 1] = origin[at, path[at]]
    return _stretches(path, logs)


def _stretches(path: NDArray[np.int32], logs: Floats) -> list[Heard]:
    heard: list[Heard] = []
    start = 0
    for at in range(1, len(path) + 1):
        # a digit ends where the path leaves its states or comes back to the first of them
        if at < len(path) and _same(int(path[at - 1]), int(path[at])):
            continue
        state = int(path[start])
        if state == OTHER:
            heard.append(Heard(None, start, at))
        elif state < SILENCE:
            digit = state // STATES
            mine = np.exp(logs[start:at, digit * STATES : (digit + 1) * STATES]).sum(axis=1)
            heard.append(Heard(digit, start, at, float(np.exp(np.log(mine + 1e-6).mean()))))
        start = at
    return heard


def _same(before: int, now: int) -> bool:
    return before == now or (now < SILENCE and now == before + 1 and now % STATES != 0)


def told(heard: Sequence[Heard], free: Callable[[], str], *, asked: bool) -> tuple[str, float] | None:
    """(text, certainty) of a dictated number; None where the decoder's own text is the better account.

    `asked`: a number was asked for, so one digit may be the answer. Otherwise only a row of digits is believed.
    `free` gives the decoder's text; it is only called for a digit alone, and where something else was said before or
    after the number.
    """
    heard = _last_whole([item for item in _merged(heard) if item.digit is not None or _long(item)])
    at = [place for place, item in enumerate(heard) if item.digit is not None]
    if not at:
        return None
    inner = heard[at[0] : at[-1] + 1]
    number = [item for item in inner if item.digit is not None]
    if any(map(_long, inner)) and not (_whole(number) and _apart(inner)):
        return None  # something else was said amid the number: a correction, a word we do not know
    around = at[0] > 0 or at[-1] < len(heard) - 1
    sure = float(np.exp(np.mean([np.log(item.sure + 1e-6) for item in number])))
    weak = min(item.sure for item in number)
    few = len(number) < 3
    if sure < 0.35 or (few and (weak < 0.4 or around)):
        return None
    after = heard[at[-1] + 1 :]
    if after and _joined(number[-1], after[0]):
        return None  # the word goes on: "שלוש עשרה" is not three
    if not asked and (len(number) < 5 or sure < 0.6):
        return None
    if len(number) == 1 and normalise(free()) in _ALONE:
        return None
    if not around:
        return _written(number), sure
    said = normalise(free()).split()
    before = _kept(said) if at[0] > 0 else []
    behind = _kept(said[::-1])[::-1] if after and len(before) < len(said) else []
    return " ".join((*before, _written(number), *behind)), sure


def _merged(heard: Sequence[Heard]) -> list[Heard]:
    """A digit without a pause beside other speech is a piece of it where it is doubtful, and amid it always."""
    merged: list[Heard] = []
    for item in heard:
        last = merged[-1] if merged else None
        if last is None or not _joined(last, item) or None not in (last.digit, item.digit):
            merged.append(item)
        elif min(last.sure, item.sure) < _DOUBTFUL:  # other speech itself is always sure
            merged[-1] = Heard(None, last.start, item.end)
        elif item.digit is None and len(merged) > 1 and merged[-2].digit is None and _joined(merged[-2], last):
            merged[-2:] = [Heard(None, merged[-2].start, item.end)]
        else:
            merged.append(item)
    return merged


def _joined(before: Heard, after: Heard) -> bool:
    return after.start - before.end < _JOINED_FRAMES


def _last_whole(heard: list[Heard]) -> list[Heard]:
    """A whole number at the end counts alone: what sounded like digits in the words before it, or was said before a
    new beginning, is other speech."""
    start = max((n + 1 for n, item in enumerate(heard) if _long(item)), default=0)
    number = [item for item in heard[start:] if item.digit is not None]
    if start and _whole(number):
        return [Heard(None, heard[0].start, heard[start - 1].end), *heard[start:]]
    return heard


def _whole(number: Sequence[Heard]) -> bool:
    """Whether these digits are as many as their first two want: 05 and 07 ten, an area code nine."""
    first = [item.digit for item in number[:2]]
    return len(number) == (10 if first in ([0, 5], [0, 7]) else 9) and first[0] == 0 and first[1] not in (0, 1, 6)


def _apart(inner: Sequence[Heard]) -> bool:
    """Whether other speech has a pause before and after it: a hesitation, and no "עשרים ו" or "עשרה" of a digit."""
    return not any(_joined(a, b) for a, b in pairwise(inner) if _long(a) or _long(b))


def _long(item: Heard) -> bool:
    return item.digit is None and item.end - item.start > _BREATH_FRAMES


def _kept(said: Sequence[str]) -> list[str]:
    """The words from the beginning that may stand beside a number."""
    kept: list[str] = []
    for word in said:
        if word not in BESIDE:
            break
        kept.append(word)
    return kept


def _written(number: Sequence[Heard]) -> str:
    """The digits, in groups as they were said."""
    text = ""
    for before, item in zip((None, *number), number, strict=False):
        if before is not None and item.start - before.end >= _PAUSE_FRAMES:
            text += " "
        text += str(item.digit)
    return text
