"""The other mode beside a call: it hears the same audio and tells nobody but the record.

It can not hurt the call: nothing it does is waited for, its breakers are its own, its log lines are never above INFO,
and whatever goes wrong in it ends here. It leaves first: when the loop is late, and when the call itself is moved.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import anyio

from moked import metrics
from moked.audio import SAMPLES_PER_MS
from moked.log import aside
from moked.rollout import compare
from moked.rollout.policy import Mode
from moked.stt import Recognizer, Transcript

log = logging.getLogger(__name__)

LAG_S: Final = 0.15
"""From this delay of the event loop on the calls need the time themselves."""

_LOOK_S: Final = 1.0

Metric = Callable[[str, str, float], None]
Make = Callable[[Callable[[Transcript], None], Metric], Recognizer]
Store = Callable[[str, Mapping[str, Any]], Awaitable[object]]


def affordable() -> bool:
    """Whether the loop has time to spare."""
    return metrics.loop_lag.peak_s < LAG_S


class Shadow:
    """Of one call. The call tells both its own transcripts and what it is fed; `run` it beside."""

    def __init__(
        self, call_sid: str, live: Mode, make: Make, store: Store, spare: Callable[[], bool] = lambda: True
    ) -> None:
        self._call_sid = call_sid
        self._live_mode = live
        self._store = store
        self._spare = spare
        self._live, self._other = compare.Side(), compare.Side()
        self._recognizer = make(self._heard, self._metric)
        self._fed = 0
        self._ended = ""
        self._leave = anyio.Event()

    # --- from the call: never waits, never raises

    def feed(self, audio: bytes) -> None:
        if not self._ended:
            self._fed += len(audio)
            self._recognizer.feed(audio)

    def speech_started(self, at_ms: int) -> None:
        if not self._ended:
            at = self._when(at_ms)
            self._live.speech_started(at)
            self._other.speech_started(at)
            self._recognizer.speech_started(at_ms)

    def speech_paused(self, at_ms: int) -> None:
        if not self._ended:
            self._recognizer.speech_paused(at_ms)

    def speech_ended(self, at_ms: int) -> None:
        if not self._ended:
            at = self._when(at_ms)
            self._live.speech_ended(at_ms, at)
            self._other.speech_ended(at_ms, at)
            self._recognizer.speech_ended(at_ms)

    def expect(self, what: str) -> None:
        if not self._ended:
            self._recognizer.expect(what)

    def live_heard(self, transcript: Transcript) -> None:
        if self._ended in ("", "call"):
            self._live.heard(transcript, _now())

    def live_metric(self, name: str) -> None:
        self._live.failures += _is_failure(name) and not self._ended

    def end(self, why: str) -> None:
        """'call': the call is over, take the last finals. Anything else: leave at once."""
        if self._ended:
            return
        self._ended = why
        if why == "call":
            self._recognizer.finish()
        else:
            self._leave.set()

    # --- beside it

    async def run(self) -> None:
        """Until the call is over and the last finals are there, or `end` sends it away; then what it found is stored.

        Never raises but to be cancelled: a measurement must not end a process of calls.
        """
        aside.set("shadow")
        try:
            await self._listen()
        except Exception:
            self._ended = "failed"
            log.exception("the shadow of a call failed")
        metrics.shadow_calls.labels(self._ended).inc()
        try:
            await self._store(self._call_sid, await self._summary())
        except Exception as error:
            log.warning("what a shadow found could not be stored", extra={"error": type(error).__name__})

    async def _listen(self) -> None:
        async with anyio.create_task_group() as tasks:

            async def hear() -> None:
                await self._recognizer.run()
                tasks.cancel_scope.cancel()

            async def leave() -> None:
                await self._leave.wait()
                tasks.cancel_scope.cancel()

            tasks.start_soon(hear)
            tasks.start_soon(leave)
            while True:
                await anyio.sleep(_LOOK_S)
                if not (affordable() and self._spare()):
                    self.end("load")

    async def _summary(self) -> dict[str, Any]:
        self._live.close()
        self._other.close()
        mode, other = self._live_mode, self._live_mode.other
        return await anyio.to_thread.run_sync(  # aligning a long call takes a while
            compare.summary, mode.value, self._live, other.value, self._other, self._ended
        )

    def _heard(self, transcript: Transcript) -> None:
        self._other.heard(transcript, _now())

    def _metric(self, name: str, engine: str, value: float) -> None:
        self._other.failures += _is_failure(name)

    def _when(self, at_ms: int) -> int:
        """When the sound at `at_ms` of the call arrived."""
        return _now() - max(0, self._fed // SAMPLES_PER_MS - at_ms)


def _is_failure(name: str) -> bool:
    return name.startswith("failed_") and name != "failed_expired"


def _now() -> int:
    return int(anyio.current_time() * 1000)
