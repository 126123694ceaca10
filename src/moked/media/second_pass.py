"""A call's second hearing: which stretch of its audio goes to the second ear, and what became of it.

    speech ends, an answer is begun --> the turn's audio, with lead-in and tail --> SecondEar
                                                                                        |
        before the answer is heard: `on_heard`, and it may be made anew  <--------------'
        later: the agent gets it with its next answer

The answer never waits for it: what is not there when the turn is committed comes as a correction, or with the next
turn. A turn that goes on is heard again as a whole.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import anyio
from anyio.abc import TaskGroup

from moked import metrics
from moked.dialog import Expect, Second
from moked.dialog.second_hearing import Verdict, compare, wanted

LEAD_IN_MS, TAIL_MS = 300, 200
"""Around the VAD's marks: it hears a soft beginning late."""

_LONGEST_MS = 20_000
_KEPT = 4  # turns


class SecondHearing(Protocol):
    """`stt.second.SecondEar`, or a script in tests."""

    name: str

    async def hear(self, audio: bytes, expect: str = "") -> str | None: ...


@dataclass(slots=True, eq=False)
class _Pass:
    """The second hearing of one turn. `first` and its engine are the newest reading of the live one."""

    turn: int
    until_ms: int
    first: str
    first_engine: str
    expect: Expect
    began: float
    text: str | None = None
    given: bool = False  # to an answer that is not committed yet
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)


class SecondPass:
    """One call's. `audio`: the call's mu-law by call time. `on_heard` is told the turn when a reading has come."""

    def __init__(
        self, ear: SecondHearing | None, audio: Callable[[int, int], bytes], on_heard: Callable[[Second], None]
    ) -> None:
        self._ear = ear
        self._audio = audio
        self._on_heard = on_heard
        self._passes: dict[int, _Pass] = {}
        self._starts: dict[int, int] = {}  # turn -> where its first sound began
        self._start: int | None = None  # the first sound since the last commit
        self._end = 0

    def speech_started(self, at_ms: int) -> None:
        if self._start is None:
            self._start = at_ms

    def speech_ended(self, at_ms: int) -> None:
        self._end = at_ms

    def begin(self, tasks: TaskGroup, turn: int, text: str, engine: str, expect: Expect) -> None:
        """An answer to `turn` is begun. Hears its audio again where a slot is in it and that was not done yet."""
        start = self._starts.setdefault(turn, self._start) if self._start is not None else self._starts.get(turn)
        if self._ear is None or not text or start is None or not wanted(text, expect):
            return
        if engine == self._ear.name or engine.startswith("whisper"):  # it was that ear already
            return
        before = self._passes.get(turn)
        if before is not None and before.until_ms == self._end:
            before.first, before.first_engine = text, engine
            return
        if before is not None:
            before.scope.cancel()
        one = _Pass(turn, self._end, text, engine, expect, anyio.current_time())
        self._passes[turn] = one
        while len(self._passes) > _KEPT:
            self._passes.pop(next(iter(self._passes))).scope.cancel()
        begin_ms = max(start - LEAD_IN_MS, self._end - _LONGEST_MS, 0)
        tasks.start_soon(self._hear, self._ear, one, self._audio(begin_ms, self._end + TAIL_MS))

    def for_answer(self) -> tuple[Second, ...]:
        """All readings that no committed answer was given yet, oldest first."""
        ready = [one for one in self._passes.values() if one.text is not None]
        for one in ready:
            one.given = True
        return tuple(self._second(one) for one in ready)

    def committed(self, turn: int) -> None:
        """The answer to `turn` stands, and with it what it was given. The caller's next sound begins another turn."""
        for one in [one for one in self._passes.values() if one.given]:
            self._count(one, late=one.turn != turn)
            del self._passes[one.turn]
        self._start = None
        self._starts = {number: start for number, start in self._starts.items() if number >= turn}

    async def _hear(self, ear: SecondHearing, one: _Pass, audio: bytes) -> None:
        with one.scope:
            text = await ear.hear(audio, one.expect.value)
        if one.scope.cancel_called or self._passes.get(one.turn) is not one:
            return
        if text is None:
            metrics.second_passes.labels("missed").inc()
            del self._passes[one.turn]
            return
        metrics.second_pass.observe(anyio.current_time() - one.began)
        one.text = text
        self._on_heard(self._second(one))

    def _second(self, one: _Pass) -> Second:
        assert one.text is not None
        assert self._ear is not None
        return Second(one.turn, one.first, one.first_engine, one.text, self._ear.name, one.expect)

    def _count(self, one: _Pass, *, late: bool) -> None:
        verdicts = {found.verdict for found in compare(self._second(one))}
        if late:
            outcome = "late"
        elif Verdict.DIFFER in verdicts:
            outcome = "differed"
        elif Verdict.SECOND in verdicts:
            outcome = "corrected"
        else:
            outcome = "agreed" if Verdict.AGREE in verdicts else "unhelpful"
        metrics.second_passes.labels(outcome).inc()
