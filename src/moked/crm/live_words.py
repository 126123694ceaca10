"""What people who watch a running call are shown of its words (pure): no card or identity number, also not a begun one.

    turn.partial, turn.final, turn.ignored      the caller's, of the turn that is being said
    turn.committed                              the caller's whole turn
    reply.text, reply.heard                     the agent's

The same rules as for what is written down (`redaction`), and stricter, because what was shown cannot be taken back:
after a word for it the third digit hides the first ones, without one the ninth of what may become a card. Texts without
a number cost one search of a pattern.
"""

from collections import deque
from typing import Any, Final

from moked.crm.number_runs import numbers_in
from moked.crm.redaction import REACH, Line, Policy, hide_lines

_OF_CALLER: Final = frozenset({"turn.partial", "turn.final", "turn.ignored", "turn.committed"})
_OF_AGENT: Final = frozenset({"reply.text", "reply.heard"})
_LINES: Final = 6
_FEWEST: Final = 2
"""Numbers in all that is looked at; one alone is no secret."""


class LiveWords:
    """One call's. `policy` may be set while it runs; until then everything is hidden."""

    __slots__ = ("_before", "_turn", "policy")

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._before: deque[tuple[Line, int]] = deque(maxlen=_LINES)  # with how many numbers are in it
        self._turn: deque[tuple[Line, int]] = deque(maxlen=_LINES)  # finals of the turn that is not committed yet

    def shown(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        """`data` of an event as it may be shown; the same object where nothing is hidden."""
        caller = event in _OF_CALLER
        if not caller and event not in _OF_AGENT:
            return data
        text = data.get("text", "")
        numbers = numbers_in(text)
        line = Line(text, caller)
        hidden = self._hidden(line, numbers)
        keys = data.get("dtmf", "")
        if event == "turn.committed":
            self._turn.clear()
            if keys and len(keys) >= _FEWEST:
                keys = self._hidden(Line(keys), len(keys))
        if not numbers:  # of these only the last words say what a number after them is
            line = Line(" ".join(text.split()[-REACH:]), caller)
        if text and event in ("turn.committed", "reply.text"):
            self._before.append((line, numbers))
        elif text and event == "turn.final" and not self._told(text):
            self._turn.append((line, numbers))
        if hidden == text and keys == data.get("dtmf", ""):
            return data
        return {**data, "text": hidden, **({"dtmf": keys} if "dtmf" in data else {})}

    def _told(self, text: str) -> bool:
        """A final that comes after its turn: its words are known."""
        last = next((line.text for line, _ in reversed(self._before) if line.caller), "")
        return text.strip(" .") in last

    def _hidden(self, line: Line, numbers: int) -> str:
        if not numbers or not self.policy:
            return line.text
        around = [*self._before, *self._turn]
        if numbers + sum(count for _, count in around) < _FEWEST:
            return line.text
        return hide_lines([*(before for before, _ in around), line], self.policy, unfinished=True)[-1]
