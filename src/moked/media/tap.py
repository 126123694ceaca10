"""Both sides of a call on one clock, for who listens in (pure).

    caller(now, audio) -> Frame(caller, agent)      as long as that audio, whenever some comes
    agent(at, audio)                                what the caller will hear from call ms `at` on
    cleared()                                       what was not heard yet never will be

The carrier sends the caller's audio in real time, silence too, so it is the clock; ours is sent ahead of the caller's
ear, and waits here until it is its time. Positions are bytes of mu-law, 8 a millisecond.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from moked.audio import SAMPLES_PER_MS, SILENCE

_BEHIND_MS: Final = 400
"""Audio that should have been heard so long ago is left out: the clock has missed something."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The same moment of both sides: mu-law of one length."""

    caller: bytes
    agent: bytes


class Listener(Protocol):
    """Who hears a call without being in it. None of these waits."""

    def hear(self, frame: Frame) -> None: ...

    def floor(self, who: str) -> None:
        """This person speaks in the agent's place; '' = nobody does."""

    def over(self) -> None:
        """The call, or our part of it, has ended."""


class Tap:
    """One call's."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, bytes]] = deque()

    def agent(self, at: int, audio: bytes) -> None:
        self._waiting.append((at, audio))

    def cleared(self) -> None:
        self._waiting.clear()

    def caller(self, now: int, audio: bytes) -> Frame:
        return Frame(audio, self._due(now, len(audio)))

    def _due(self, now: int, size: int) -> bytes:
        due = b""
        while self._waiting and len(due) < size:
            at, audio = self._waiting[0]
            if at > now + len(due) // SAMPLES_PER_MS:
                break
            self._waiting.popleft()
            if now - at > _BEHIND_MS + len(audio) // SAMPLES_PER_MS:
                continue
            room = size - len(due)
            due += audio[:room]
            if len(audio) > room:
                self._waiting.appendleft((at + room // SAMPLES_PER_MS, audio[room:]))
        return due + SILENCE * (size - len(due))
