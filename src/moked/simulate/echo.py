"""A telephone that returns what it plays (pure): the caller's line with the agent's voice in it, later and quieter.

What a speakerphone or a car kit does. The caller's own voice is untouched; both are added as air adds them.
"""

import audioop
from dataclasses import dataclass

from moked.audio import SILENCE


@dataclass(frozen=True, slots=True)
class EchoPath:
    """`db` below the agent's voice (negative), `ms` after it was heard."""

    db: float
    ms: int

    def mixed(self, frame: bytes, returned: bytes) -> bytes:
        """One frame of the caller's line, mu-law, with what was played `ms` before it, of the same length."""
        if returned.count(SILENCE) == len(returned):
            return frame
        echo = audioop.mul(audioop.ulaw2lin(returned, 2), 2, 10 ** (self.db / 20))
        return audioop.lin2ulaw(audioop.add(audioop.ulaw2lin(frame, 2), echo, 2), 2)
