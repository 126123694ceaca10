"""What the caller's ear makes of the agent, and the latencies that follow from it (pure, call ms).

Voice is told from silence by energy alone: the agent's audio comes from a synthesizer, so that its pauses are silent,
and a caller's line is judged against its own loudness, so that the hiss of a recording is not taken for speech.

    caller's voice   ___/=====\\______________________________    speech_start, speech_end
    agent received   _____________|...|...|.....................    received: first audio on the socket
    agent played     ______________/=========\\_________________    played, and voiced: first sound that is not silence
"""

import audioop
import math
from collections.abc import Sequence
from dataclasses import dataclass

from moked.audio import SAMPLES_PER_MS, rms
from moked.simulate.wire import Queued

AGENT_VOICE_RMS = 150
"""On the 16-bit scale: synthesized speech has 1,000 and more, its pauses have single digits."""

BLOCK_MS = 10
_BLOCK = BLOCK_MS * SAMPLES_PER_MS
_QUIETEST_VOICE_RMS = 60
_BELOW_LOUD = 0.06  # -24 dB from the line's loud parts
_NEW_REPLY_GAP_MS = 100  # a shorter hole in the agent's audio is a hiccup of the network, not a new reply


def voiced_span(mulaw: bytes) -> tuple[int, int]:
    """First and last moment of voice in a caller's line, ms from its beginning; the whole line if it is all silence."""
    linear = audioop.ulaw2lin(mulaw, 2)
    levels = [audioop.rms(linear[at : at + 2 * _BLOCK], 2) for at in range(0, len(linear), 2 * _BLOCK)]
    if not levels:
        return 0, 0
    loud = sorted(levels)[len(levels) * 95 // 100]
    threshold = max(_QUIETEST_VOICE_RMS, _BELOW_LOUD * loud)
    voiced = [number for number, level in enumerate(levels) if level >= threshold]
    length = len(mulaw) // SAMPLES_PER_MS
    if not voiced:
        return 0, length
    return voiced[0] * BLOCK_MS, min(length, (voiced[-1] + 1) * BLOCK_MS)


@dataclass(frozen=True, slots=True)
class Opening:
    """The agent began to send after a quiet line: a reply. `voiced_ms`: None until a sound in it is not silence."""

    received_ms: int
    played_ms: int
    voiced_ms: int | None


class AgentVoice:
    """The agent's audio on the caller's time line. Feed it the carrier's `Queued` and `Cleared` events in order."""

    def __init__(self) -> None:
        self._voiced: list[tuple[int, int]] = []  # runs of voice, in order, never touching
        self._openings: list[Opening] = []
        self._clears: list[int] = []
        self._audio_end = -_NEW_REPLY_GAP_MS
        self._fresh = True

    def queued(self, event: Queued) -> None:
        if not event.audio:
            return
        if event.opens and (self._fresh or event.at_ms - self._audio_end >= _NEW_REPLY_GAP_MS):
            self._openings.append(Opening(event.at_ms, event.start_ms, None))
        self._fresh = False
        at = event.start_ms
        for offset in range(0, len(event.audio), 2 * _BLOCK):
            block = event.audio[offset : offset + 2 * _BLOCK]
            end = at + max(1, len(block) // SAMPLES_PER_MS)
            if rms(block) >= AGENT_VOICE_RMS:
                self._voice(at, end)
            at = end
        self._audio_end = event.start_ms + len(event.audio) // SAMPLES_PER_MS

    def _voice(self, start: int, end: int) -> None:
        if self._voiced and start <= self._voiced[-1][1] + 2 * BLOCK_MS:
            self._voiced[-1] = self._voiced[-1][0], max(end, self._voiced[-1][1])
        else:
            self._voiced.append((start, end))
        if self._openings and self._openings[-1].voiced_ms is None:
            last = self._openings[-1]
            self._openings[-1] = Opening(last.received_ms, last.played_ms, start)

    def cleared(self, at_ms: int) -> None:
        """The server took back what was queued; the next audio begins a new reply."""
        self._clears.append(at_ms)
        self.ended(at_ms)

    def ended(self, at_ms: int) -> None:
        """Nothing queued is heard after `at_ms`: cleared, or the stream is over."""
        self._fresh = True
        self._audio_end = min(self._audio_end, at_ms)
        while self._voiced and self._voiced[-1][0] >= at_ms:
            self._voiced.pop()
        if self._voiced and self._voiced[-1][1] > at_ms:
            self._voiced[-1] = self._voiced[-1][0], at_ms
        if self._openings and (voiced := self._openings[-1].voiced_ms) is not None and voiced >= at_ms:
            last = self._openings[-1]
            self._openings[-1] = Opening(last.received_ms, last.played_ms, None)

    @property
    def last_voice_ms(self) -> int | None:
        """When the agent's voice ends as far as is known now, in the future while queued audio speaks. None: never."""
        return self._voiced[-1][1] if self._voiced else None

    def voice_since(self, ms: int) -> int | None:
        """When the agent's voice was, or will be, first heard at or after `ms`."""
        since = None
        for start, end in reversed(self._voiced):
            if end <= ms:
                break
            since = max(start, ms)
        return since

    @property
    def openings(self) -> tuple[Opening, ...]:
        return tuple(self._openings)

    @property
    def clears(self) -> tuple[int, ...]:
        return tuple(self._clears)


@dataclass(frozen=True, slots=True)
class Line:
    """Something the caller did: a line, a cut-in or key presses. `overlapped`: the agent was speaking as it began."""

    number: int
    kind: str  # 'say', 'cut_in', 'dtmf'
    text: str
    speech_start_ms: int
    speech_end_ms: int
    overlapped: bool


@dataclass(frozen=True, slots=True)
class TurnResult:
    """One line and how the agent took it, from the caller's side. None: it did not happen before the next line.

    `talked_over`: the agent began a reply while the caller still spoke.
    """

    number: int
    kind: str
    text: str
    speech_start_ms: int
    speech_end_ms: int
    overlapped: bool
    talked_over: bool
    received_ms: int | None
    played_ms: int | None
    voiced_ms: int | None
    cleared_ms: int | None

    @property
    def response_ms(self) -> int | None:
        """From the caller's last sound to the agent's first audio on the socket."""
        return None if self.received_ms is None else self.received_ms - self.speech_end_ms

    @property
    def heard_after_ms(self) -> int | None:
        """From the caller's last sound to the agent's first audible sound."""
        return None if self.voiced_ms is None else self.voiced_ms - self.speech_end_ms

    @property
    def barge_in_ms(self) -> int | None:
        """From the onset of the caller's speech to the server's `clear`, if the agent was speaking at the onset."""
        return self.cleared_ms - self.speech_start_ms if self.overlapped and self.cleared_ms is not None else None

    @property
    def took_back(self) -> bool:
        """The agent began a reply after this line had begun, and cleared it: it had thought the caller was done."""
        return not self.overlapped and self.cleared_ms is not None


def turns(lines: Sequence[Line], voice: AgentVoice) -> tuple[TurnResult, ...]:
    """Each line with the first reply that began after it, was not taken back, and came before the next line."""
    results = []
    ends = [line.speech_start_ms for line in lines[1:]] + [math.inf]
    for line, until in zip(lines, ends[: len(lines)], strict=True):
        own = [o for o in voice.openings if line.speech_start_ms <= o.received_ms < until]
        clears = [at for at in voice.clears if line.speech_start_ms <= at < until]
        answered_from = max([line.speech_end_ms, *clears])  # what was cleared was no answer
        reply = next((o for o in own if o.received_ms >= answered_from), None)
        results.append(
            TurnResult(
                number=line.number,
                kind=line.kind,
                text=line.text,
                speech_start_ms=line.speech_start_ms,
                speech_end_ms=line.speech_end_ms,
                overlapped=line.overlapped,
                talked_over=any(o.received_ms < line.speech_end_ms for o in own),
                received_ms=None if reply is None else reply.received_ms,
                played_ms=None if reply is None else reply.played_ms,
                voiced_ms=None if reply is None else reply.voiced_ms,
                cleared_ms=clears[0] if clears else None,
            )
        )
    return tuple(results)
