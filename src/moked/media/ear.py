"""The ear of a call: carrier audio of any length in, "the caller speaks" and "has stopped" out.

    feed(mu-law) -> 32 ms windows -> detector slot (batched over all calls) -> SpeechGate -> on_speech

It glues things that know nothing of each other: the detector, which answers a little later, the gate, which counts
windows, and the echo guard, which knows how loud our own voice can come back. `received_ms` is therefore ahead of what
the gate has judged, by some ten milliseconds. Audio is cut here and nothing else: the detector makes numbers of it, for
all calls at once. Where the guard learns in the middle of a stretch that all of it was echo, the stretch is taken back:
it ends where it began.
"""

from collections.abc import Callable
from typing import Final, Protocol

from moked import audio
from moked.media.echo import EchoGuard
from moked.media.speech import WINDOW_MS, WINDOW_SAMPLES, SpeechEvent, SpeechGate, SpeechPolicy
from moked.media.vad import CONTEXT, OnResult


class Slot(Protocol):
    """A call's place at the detector: `moked.media.vad.VadSlot`, or a script in tests."""

    def submit(self, row: bytes) -> None: ...

    def close(self) -> None: ...


SlotSource = Callable[[OnResult], Slot]

_BEFORE: Final = audio.SILENCE * CONTEXT  # the call's first window has nothing before it


class Ear:
    """One call's. `on_speech` is called on the loop thread and must not wait. Close it when the call ends."""

    def __init__(
        self, slot_source: SlotSource, on_speech: Callable[[SpeechEvent], None], policy: SpeechPolicy | None = None
    ) -> None:
        self._gate = SpeechGate(policy)
        self._on_speech = on_speech
        self._slot = slot_source(self._result)
        self._echo = EchoGuard()
        self._at = 0  # call ms at the end of the last window that was judged
        self._rest = _BEFORE  # the end of the last window, and less than a window after it
        self._received = 0  # samples

    def feed(self, mulaw: bytes) -> None:
        """The next audio of the call, in order, any length. Never waits."""
        self._received += len(mulaw)
        heard = self._rest + mulaw
        at, last = 0, len(heard) - WINDOW_SAMPLES - CONTEXT
        while at <= last:
            self._slot.submit(heard[at : at + CONTEXT + WINDOW_SAMPLES])
            at += WINDOW_SAMPLES
        self._rest = heard[at:]

    def close(self) -> None:
        """Nothing is heard after this, also not what was fed before and not yet judged."""
        self._slot.close()

    def playing(self, ahead_ms: int, mulaw: bytes) -> None:
        """The caller hears this audio of ours in `ahead_ms` from now on."""
        self._echo.sent(self.received_ms + ahead_ms, mulaw)

    def silenced(self) -> None:
        """Nothing of ours is heard from now on."""
        self._echo.cleared(self.received_ms)

    @property
    def echo_db(self) -> float | None:
        """How much quieter than our voice its echo comes back, negative; None where there is none."""
        return self._echo.gain_db

    @property
    def received_ms(self) -> int:
        """Call audio fed so far."""
        return self._received // audio.SAMPLES_PER_MS

    @property
    def judged_ms(self) -> int:
        """Call audio that the gate has decided about: a little less than `received_ms`."""
        return self._gate.now_ms

    @property
    def speaking(self) -> bool:
        return self._gate.speaking

    @property
    def voiced_ms(self) -> int:
        """Voiced audio in the current stretch of speech, or in the last one."""
        return self._gate.voiced_ms

    @property
    def last_voiced_ms(self) -> int:
        """The end of the last voiced window, in call audio time; 0 before the first."""
        return self._gate.last_voiced_ms

    def _result(self, probability: float | None, level_db: float) -> None:
        self._at += WINDOW_MS
        if self._echo.heard(self._at, level_db) and self._gate.speaking and self._echo.is_echo(self._gate.since_ms):
            self._tell(self._gate.retract())
        self._tell(self._gate.feed(probability, level_db, self._echo.floor_db(self._at)))

    def _tell(self, event: SpeechEvent | None) -> None:
        if event is not None:
            self._on_speech(event)
