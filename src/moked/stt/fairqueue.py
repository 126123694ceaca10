"""Who is next where the work is more than the workers (pure): priorities, fair between calls, bounded.

A caller's finished utterance goes first, then partials, then what is heard a second time, then recordings. Within a
rank the calls take turns, so that one that talks much does not push the others back. A more urgent rank always goes
first: background work waits as long as there are callers to serve, and that is the rule.

What does not fit is refused at once. A full queue makes room for something more urgent by giving up what is least.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Rank(IntEnum):
    """Lower is more urgent."""

    FINAL = 0
    PARTIAL = 1
    SECOND_PASS = 2
    BACKGROUND = 3


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Item]):
    item: Item
    size: int


class FairQueue(Generic[Item]):
    """At most `max_items` items of `max_bytes` in all; of one call and rank at most `each` (one final, one partial)."""

    def __init__(self, *, max_items: int, max_bytes: int, each: int = 4) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._each = each
        # For each rank the calls in the order of their turns, and what each waits with.
        self._ranks: dict[Rank, OrderedDict[Hashable, deque[_Waiting[Item]]]] = {rank: OrderedDict() for rank in Rank}
        self._items = 0
        self.bytes = 0

    def __len__(self) -> int:
        return self._items

    def put(self, item: Item, *, call: Hashable, rank: Rank, size: int) -> list[Item] | None:
        """Let `item` wait. Returns the items that had to go for it, or None when it is refused itself.

        A partial is refused wherever anything waits: by the time it came up it would be old.
        """
        calls = self._ranks[rank]
        mine = calls.get(call, ())
        if len(mine) >= (1 if rank <= Rank.PARTIAL else self._each) or (rank is Rank.PARTIAL and self._items):
            return None
        gone = self._room_for(rank, size)
        if gone is None:
            return None
        for one, _ in gone:
            self.discard(one)
        calls.setdefault(call, deque()).append(_Waiting(item, size))
        self._items += 1
        self.bytes += size
        return [one for one, _ in gone]

    def take(self) -> Item | None:
        """The next item; its call goes to the end of the line."""
        for calls in self._ranks.values():
            if calls:
                call, waiting = next(iter(calls.items()))
                first = waiting.popleft()
                if waiting:
                    calls.move_to_end(call)
                else:
                    del calls[call]
                self._count_out(first)
                return first.item
        return None

    def discard(self, item: Item) -> bool:
        """Whether `item` waited; it does no longer."""
        for calls in self._ranks.values():
            for call, waiting in calls.items():
                for one in waiting:
                    if one.item is item:
                        waiting.remove(one)
                        if not waiting:
                            del calls[call]
                        self._count_out(one)
                        return True
        return False

    def _room_for(self, rank: Rank, size: int) -> list[tuple[Item, int]] | None:
        """The less urgent items that must go for one of `rank`, the least urgent and newest first."""
        items, free = self._items + 1 - self._max_items, self.bytes + size - self._max_bytes
        gone: list[tuple[Item, int]] = []
        for one, its_size in self._less_urgent(rank):
            if items <= 0 and free <= 0:
                break
            gone.append((one, its_size))
            items, free = items - 1, free - its_size
        return gone if items <= 0 and free <= 0 else None

    def _less_urgent(self, rank: Rank) -> Iterator[tuple[Item, int]]:
        for other in sorted(self._ranks, reverse=True):
            if other <= rank:
                return
            for waiting in reversed(self._ranks[other].values()):
                for one in reversed(waiting):
                    yield one.item, one.size

    def _count_out(self, one: _Waiting[Item]) -> None:
        self._items -= 1
        self.bytes -= one.size
