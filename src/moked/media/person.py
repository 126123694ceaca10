"""A person who speaks in the agent's place (pure): their voice on its way to the caller, and where the turns stand.

Frames come over the internet, now and then late and then several at once: a little is gathered before the first is let
out, and what would make the caller wait too long is left out.
"""

from dataclasses import dataclass
from typing import Final

from moked.audio import ms

_GATHERED_MS: Final = 60
_LONGEST_MS: Final = 400


@dataclass(slots=True)
class Person:
    """`who` has the floor since call ms `since`; `turn` is the number of the caller's next words. `carried`: words of
    that turn that were heard before."""

    who: str
    since: int
    turn: int
    carried: str = ""
    dropped_ms: int = 0
    _gathered: bytes = b""
    _flowing: bool = False

    def voice(self, audio: bytes, waiting_ms: int) -> bytes:
        """What to let out now of the person's mu-law `audio`, where the caller still has `waiting_ms` to hear."""
        if waiting_ms == 0:
            self._flowing = False  # it ran dry: gather anew
        if not self._flowing:
            self._gathered += audio
            if ms(self._gathered) < _GATHERED_MS:
                return b""
            self._flowing = True
            audio, self._gathered = self._gathered, b""
        if waiting_ms + ms(audio) > _LONGEST_MS:
            self.dropped_ms += ms(audio)
            return b""
        return audio

    def taken(self, words: str) -> str:
        """The words of the turn, which is over with them; the next one follows."""
        text, self.carried = f"{self.carried} {words}".strip(), ""
        self.turn += 1
        return text
