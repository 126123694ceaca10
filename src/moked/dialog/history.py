"""The conversation as it was heard (pure).

A turn has what the caller said and what of our answer reached the caller's ear; turn 0 is the greeting. What was
prepared, abandoned, or cut off before it was heard never enters: the next answer must not build on words nobody heard.
"""

from dataclasses import dataclass

from moked.dialog import Entry, Speaker

_TURNS_KEPT = 60
_LETTERS_KEPT = 4000


@dataclass(slots=True)
class _Turn:
    caller: str = ""
    heard: str = ""
    cut: bool = False


class History:
    """One a call. Keeps the newest `turns`; a single entry keeps its last `_LETTERS_KEPT` letters."""

    def __init__(self, turns: int = _TURNS_KEPT) -> None:
        assert turns > 0
        self._bound = turns
        self._turns: dict[int, _Turn] = {}
        self._entries: tuple[Entry, ...] | None = ()
        self.forgotten = 0

    def caller(self, turn: int, text: str) -> None:
        """The caller's words of `turn`, or digits pressed. Said again for the same turn they replace what was there."""
        self._at(turn).caller = text.strip()[-_LETTERS_KEPT:]

    def heard(self, turn: int, text: str, *, cut: bool) -> None:
        """All that was heard so far of the answer to `turn`; nothing, if it is blank. `cut`: no more of it will be."""
        entry = self._at(turn)
        entry.heard = text.strip()[-_LETTERS_KEPT:]
        entry.cut = cut and bool(entry.heard)

    def withdraw(self, turn: int) -> None:
        """The turn was reopened before anything of the answer was heard: it will come again as a whole."""
        self._turns.pop(turn, None)
        self._entries = None

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Oldest first: in each turn the caller, then the agent."""
        if self._entries is None:
            found: list[Entry] = []
            for turn in self._turns.values():
                if turn.caller:
                    found.append(Entry(Speaker.CALLER, turn.caller))
                if turn.heard:
                    found.append(Entry(Speaker.AGENT, turn.heard, turn.cut))
            self._entries = tuple(found)
        return self._entries

    @property
    def turns(self) -> tuple[tuple[int, str, str, bool], ...]:
        """Each turn's number, the caller's words, what was heard of the answer, whether it was cut; oldest first."""
        return tuple((number, turn.caller, turn.heard, turn.cut) for number, turn in self._turns.items())

    @property
    def caller_words(self) -> tuple[str, ...]:
        """Only what the caller said, oldest first."""
        return tuple(turn.caller for turn in self._turns.values() if turn.caller)

    def _at(self, turn: int) -> _Turn:
        self._entries = None
        if turn not in self._turns:
            self._turns[turn] = _Turn()
            while len(self._turns) > self._bound:
                del self._turns[next(iter(self._turns))]
                self.forgotten += 1
        return self._turns[turn]
