"""Which media process gets the next call: pure rules. Storing and asking is `nodes`'s.

A node is one media process. It takes calls while it reports (once a second), is not draining, says that its event loop
keeps up (`accepting`: lag decides, since a loop is late long before its CPU is full) and has a place free. Of several
the one with the smallest share of its places taken is chosen, then the one with the least lag.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class NodeReport:
    """How a media process fares. `address` is its own 'wss://host/media/twilio', `name` is new at every start.

    `active` are its open sockets, for people to see: those of calls that are over may still write their records.
    `lag_ms` is the p95 of its event loop's lag over the last seconds.
    """

    name: str
    address: str
    capacity: int
    active: int = 0
    lag_ms: int = 0
    accepting: bool = True
    draining: bool = False


class Refusal(StrEnum):
    """Why no node takes the call."""

    OVERLOAD = "overload"
    DRAINING = "draining"  # all that are there are being replaced
    NO_MEDIA = "no_media"  # none has reported for some seconds


def choose(nodes: Iterable[NodeReport], taken: Mapping[str, int]) -> NodeReport | Refusal:
    """The node for one more call. `nodes` report now; `taken` counts the calls that hold a place at each, by name."""
    reporting = list(nodes)
    if not reporting:
        return Refusal.NO_MEDIA
    staying = [node for node in reporting if not node.draining]
    if not staying:
        return Refusal.DRAINING
    free = [node for node in staying if node.accepting and taken.get(node.name, 0) < node.capacity]
    if not free:
        return Refusal.OVERLOAD
    return min(free, key=lambda node: (taken.get(node.name, 0) / node.capacity, node.lag_ms, node.name))
