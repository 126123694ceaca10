"""How Python itself is set for calls: a process whose event loop must not be held up.

Both measured by `bench/density.py` at 60 calls on one core. A full garbage collection looks at every object of the
process, most of them made by imports: 120 to 140 ms every eight seconds, in which no call moves. Frozen objects are
not looked at; what is left are the calls, some hundred objects each: 50 ms every ten seconds at a hundred of them, so
that they are all looked through a fifth as often. What waits for it meanwhile are some dozens of calls that have ended.
And a thread that wants the lock of the interpreter waits for the switch
interval while another computes; the default of 5 ms is a quarter of a frame each time.
"""

import gc
import sys
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0005
ROUNDS: Final = 50
"""Collections of the middle generation for one of all; Python's own is 10."""


def settle() -> None:
    """Once, when everything a process needs is loaded and before it takes calls. Takes about 0.1 s."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*gc.get_threshold()[:2], ROUNDS)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
