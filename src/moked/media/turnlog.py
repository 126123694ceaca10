"""What a call tells the world as it goes: the turns with their waterfall, to the journal, the bus and the metrics.

The session says what happened and when; what is recorded, published and counted is decided here. A turn is written when
it is committed and again when its reply is over, so that a crash in between loses the words of neither side.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from moked import metrics
from moked.bus import Bus
from moked.media.journal import Journal
from moked.media.reply import ReplyRun
from moked.records import Decision, LeadDraft, LeftCall, TurnRecord, Waterfall
from moked.stt import Word
from moked.stt.word_times import WordTimes

log = logging.getLogger(__name__)

REFUSED = "recording_refused"  # the event `crm.privacy` acts on

_REOPENED_KEPT = 4


@dataclass(slots=True)
class _OpenTurn:
    record: TurnRecord
    reply: int
    waterfall: Waterfall = field(default_factory=Waterfall)


class TurnLog:
    """One a call. All times are call ms."""

    def __init__(
        self,
        call_sid: str,
        journal: Journal,
        bus: Bus,
        clock: Callable[[], int],
        lead: Callable[[], LeadDraft],
        *,
        transcripts: bool,
        on_turn: Callable[[TurnRecord], None] = lambda turn: None,
    ) -> None:
        self._sid = call_sid
        self._journal = journal
        self._bus = bus
        self._clock = clock
        self._lead = lead
        self._transcripts = transcripts
        self._on_turn = on_turn
        self._open: _OpenTurn | None = None
        self._reopened: tuple[int, tuple[Decision, ...]] = (0, ())  # what was decided before about the open turn
        self._unheard: tuple[int, TurnRecord] | None = None  # over by the clock, its first mark still on the way
        self._times = WordTimes()
        self._wordless = False  # the caller refused: no word is written or shown any more

    def publish(self, event: str, **data: Any) -> None:
        """Tell the live viewers of this call."""
        if self._wordless and "text" in data:
            data = {**data, "text": "", "dtmf": ""} if "dtmf" in data else {**data, "text": ""}
        self._bus.publish(f"call:{self._sid}", event, {"at_ms": self._clock(), **data})

    def event(self, kind: str, **data: Any) -> None:
        """For the record of the call."""
        self._journal.put_event(self._sid, kind, {"at_ms": self._clock(), **data})

    def refused(self, how: str, *, keeps_words: bool) -> None:
        """The caller does not want to be recorded: by their 'words', a 'key', or 'before' another process went on."""
        if how != "before":
            self.event(REFUSED, how=how)
            self.publish("recording.refused")
        self._wordless = not keeps_words

    def _put(self, record: TurnRecord) -> None:
        if self._wordless:
            tools = tuple(replace(use, arguments="{}", result="") for use in record.tools)
            record = replace(record, caller_text="", said="", heard="", dtmf="", tools=tools)
        record = replace(record, word_times=self._times.of(record.caller_text))
        self._journal.put_turn(self._sid, record, self._lead())

    def interim(self, text: str, engine: str) -> None:
        metrics.stt_interims.labels(engine).inc()
        self.publish("turn.partial", text=text, engine=engine)
        if self._transcripts and not self._wordless:
            log.info("🟡 Partial", extra={"pii_text": text, "engine": engine})

    def final(self, text: str, engine: str, words: Sequence[Word] = ()) -> None:
        """`words`: those of `text` with their places on the recording, where they are known."""
        self._times.heard(words)
        metrics.stt_finals.labels(engine).inc()
        self.publish("turn.final", text=text, engine=engine)
        if self._transcripts and not self._wordless:
            log.info("🟢 Final", extra={"pii_text": text, "engine": engine})

    def committed(self, record: TurnRecord, reply: int, waterfall: Waterfall) -> None:
        """The caller's half is known."""
        if record.decision is not None and self._reopened[0] == record.number:
            record = replace(record, decision=replace(record.decision, before=self._reopened[1]))
        self._open = _OpenTurn(record, reply, waterfall)
        self._put(replace(record, waterfall=waterfall))
        if record.number:
            self.publish("turn.committed", turn=record.number, text=record.caller_text, dtmf=record.dtmf)

    def reopened(self, record: TurnRecord, reply: int) -> None:
        """The turn is on record, and its answer goes on after another process began it."""
        self._open = _OpenTurn(record, reply, record.waterfall)

    def taken_over(self, left: LeftCall, stream: int, first: str) -> None:
        """The call has moved to this process."""
        told = {"why": left.why, "gap_ms": left.gap_ms, "stream": stream}
        metrics.calls_moved.labels(left.why).inc()
        metrics.move_gap.observe(left.gap_ms / 1000)
        self.event("moved", first=first, **told)
        self.publish("call.moved", **told)
        log.info("call taken over", extra={"first": first, **told})

    def caller_corrected(self, number: int, text: str) -> None:
        """A final came late: the turn's words on record are these."""
        if self._open is not None and self._open.record.number == number:
            self._open.record = replace(self._open.record, caller_text=text)

    def said(self, run: ReplyRun) -> None:
        self.publish("reply.text", turn=run.turn, text=run.said)

    def sent(self, now: int) -> None:
        """The first frame of the open turn's reply is on the socket."""
        if self._open is not None and self._open.waterfall.sent_ms is None:
            self._open.waterfall = replace(self._open.waterfall, sent_ms=now)

    def mark_returned(self, now: int, reply: int) -> None:
        """The caller has heard the first clause of `reply`. Of a short one the clock may know before the mark."""
        turn = self._open
        if turn is not None and turn.reply == reply and turn.waterfall.heard_ms is None:
            turn.waterfall = replace(turn.waterfall, heard_ms=now)
        elif self._unheard is not None and self._unheard[0] == reply:
            record = self._unheard[1]
            self._unheard = None
            heard = replace(record, waterfall=replace(record.waterfall, heard_ms=now))
            self._put(heard)

    def withdrawn(self, *, reopened: bool) -> None:
        """The open turn goes on: nobody heard its reply, so it is not over. `reopened`: the caller says more."""
        turn, self._open = self._open, None
        if turn is None or turn.record.decision is None or not reopened:
            return
        decision = replace(turn.record.decision, outcome="reopened", after_ms=self._since(turn.waterfall.endpoint_ms))
        _count(decision)
        before = (*decision.before, replace(decision, before=()))[-_REOPENED_KEPT:]
        self._reopened = (turn.record.number, before)

    def _since(self, moment: int | None) -> int | None:
        return None if moment is None else self._clock() - moment

    def over(self, run: ReplyRun, heard: str, *, cut: bool, ended: bool = False) -> None:
        """The reply is over, heard in full or as far as `heard`. `ended`: because the call is."""
        turn = self._open
        if turn is None or turn.record.number != run.turn:
            return
        self._open = None
        waterfall = replace(turn.waterfall, llm_first_ms=run.first_text_ms, tts_first_ms=run.first_audio_ms)
        decision = turn.record.decision
        if decision is not None:
            outcome = "ended" if cut and ended else "cut_in" if cut else "answered"
            after = self._since(waterfall.sent_ms) if outcome == "cut_in" else None
            decision = replace(decision, outcome=outcome, after_ms=after)
            _count(decision)
        record = replace(
            turn.record,
            decision=decision,
            said=f"{run.before} {run.said}".strip(),
            heard=heard,
            cut=cut,
            ended_ms=self._clock(),
            tools=tuple(run.tools),
            waterfall=waterfall,
        )
        self._put(record)
        self._unheard = (run.number, record) if heard and waterfall.heard_ms is None else None
        self.publish("reply.heard", turn=run.turn, text=heard, cut=cut)
        self.publish("turn.latency", turn=run.turn, waterfall=asdict(waterfall), response_ms=waterfall.response_ms)
        _measure(waterfall)
        self._on_turn(record)
        for use in run.tools:
            metrics.tool_calls.labels(use.name, "ok" if use.ok else "failed").inc()
        if cut and not ended:
            metrics.barge_ins.inc()

    def answered_by(self, number: int, text: str, engine: str, now: int, who: str) -> None:
        """The caller's words were for the person who speaks in the agent's place."""
        record = TurnRecord(
            number=number,
            caller_text=text,
            said="",
            heard="",
            cut=False,
            started_ms=now,
            ended_ms=now,
            engine=engine,
            spoken_by=who,
        )
        self._journal.put_turn(self._sid, record, self._lead())
        self.publish("turn.committed", turn=number, text=text, dtmf="")

    def leftover(self, number: int, text: str, engine: str, started_ms: int) -> None:
        """Words that got no answer because the call ended."""
        record = TurnRecord(
            number=number,
            caller_text=text,
            said="",
            heard="",
            cut=False,
            started_ms=started_ms,
            ended_ms=self._clock(),
            engine=engine,
        )
        self._put(record)


def _count(decision: Decision) -> None:
    metrics.decisions.labels(decision.reason, "cut_off" if decision.cut_off else decision.outcome).inc()


def _measure(waterfall: Waterfall) -> None:
    start = waterfall.speech_end_ms
    if start is None:
        return
    parts = {
        "transcript": waterfall.transcript_ms,
        "endpoint": waterfall.endpoint_ms,
        "llm_ttft": waterfall.llm_first_ms,
        "tts_ttfb": waterfall.tts_first_ms,
        "sent": waterfall.sent_ms,
    }
    for name, at in parts.items():
        if at is not None:
            metrics.turn_component.labels(name).observe(max(0, at - start) / 1000)
    if waterfall.response_ms is not None:
        metrics.turn_response.observe(max(0, waterfall.response_ms) / 1000)
