"""How long to wait before a turn counts as over (pure): the hold, from cheap evidence, with its reason.

Everything that shortens or lengthens the wait lives here; `media.turns` only counts the milliseconds. The evidence is
what the agent just asked, what the caller's words say so far (`dialog.endings`), and this caller's own pauses.

    more has to come                       1400     a number being dictated, "אני צריך", "המזגן בסלון ..."
    it may be all                          `base` + 165, and 350 where there is no verb, and after a "לא": what is right
                                           mostly follows
    a whole sentence or answer             `base`   (`ENDPOINT_HOLD_MS`)
    "כן, נכון" after a yes/no question     300      a bare "כן" is no more than likely: "אבל" may follow
    a farewell                             300
    a whole phone number                   400

`bench/pauses.py` measures what this costs and whom it cuts off.
"""

from dataclasses import dataclass
from typing import Final

from moked.dialog import Expect
from moked.dialog.endings import Ending, ending

LONGEST_MS: Final = 1400
SHORTEST_MS: Final = 250
_UNSURE_MS: Final = 165
_DOUBTFUL_MS: Final = 350
_DOUBTFUL: Final = frozenset({"no_verb", "subclause", "no", "number_perhaps_complete", "house_number"})
_SLOW_MS: Final = 150
_FAST_MS: Final = -70
_LONG_PAUSE_MS: Final = 400
_LEARN_HESITATION: Final = 0.5
_LEARN_FLUENT: Final = 0.25
_SHORT: Final = {"farewell": 300, "answered": 300, "number_complete": 400}


@dataclass(frozen=True, slots=True)
class Hold:
    """Silence to wait for, in ms since the caller's last sound, and why (a stable word for logs and tuning)."""

    ms: int
    reason: str
    ending: Ending = Ending.UNSURE


def hold(text: str, expect: Expect, base_ms: int, pace_ms: int = 0) -> Hold:
    """The hold for a turn that reads `text` so far, after the agent asked for `expect`.

    `base_ms` is the wait for an ordinary finished sentence, `pace_ms` what this caller's pauses add to it or take off.
    The result lies in 250..1400 ms.
    """
    kind, reason = ending(text, expect)
    match kind:
        case Ending.OPEN:
            ms = LONGEST_MS
        case Ending.UNSURE:
            ms = base_ms + pace_ms + (_DOUBTFUL_MS if reason in _DOUBTFUL else _UNSURE_MS)
        case Ending.CLOSED:
            ms = _SHORT.get(reason, base_ms + pace_ms)
    return Hold(max(SHORTEST_MS, min(LONGEST_MS, ms)), reason, kind)


class Pace:
    """What one caller's own pauses in mid-turn add to the hold, or take off it. One a call."""

    def __init__(self) -> None:
        self._ms = 0.0

    @property
    def ms(self) -> int:
        return round(self._ms)

    def hesitated(self, pause_ms: int) -> None:
        """The caller went on after a pause of this length."""
        wanted = _SLOW_MS if pause_ms >= _LONG_PAUSE_MS else _SLOW_MS // 2
        self._ms += (wanted - self._ms) * _LEARN_HESITATION

    def fluent(self) -> None:
        """A turn without such a pause."""
        self._ms += (_FAST_MS - self._ms) * _LEARN_FLUENT
