"""How often somebody may ask (pure): a bucket that fills at a rate, for each of them (GCRA, ITU-T I.371)."""

from collections import OrderedDict

_MOST = 10_000


class Limiter:
    """`a_minute` requests on average, `burst` at once. Keeps the last 10,000 who asked."""

    def __init__(self, a_minute: int, burst: int) -> None:
        self._each = 60.0 / a_minute
        self._ahead = self._each * burst
        self._next: OrderedDict[str, float] = OrderedDict()

    def take(self, who: str, now: float) -> float:
        """0 when it is allowed, else the seconds to wait. `now` is any clock that only goes forward."""
        at = max(self._next.get(who, now), now)
        wait = at + self._each - self._ahead - now
        if wait > 1e-9:
            return wait
        self._next[who] = at + self._each
        self._next.move_to_end(who)
        if len(self._next) > _MOST:
            self._next.popitem(last=False)
        return 0.0

    def wait(self, who: str, now: float) -> float:
        """As `take`, without asking."""
        return max(0.0, max(self._next.get(who, now), now) + self._each - self._ahead - now)
