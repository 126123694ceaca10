"""One call: everything that happens on it goes through `CallSession.handle` or one of its `_on_*` doors, synchronously.

The session carries out and decides nothing that a core can decide: `TurnTaking` says who has the floor, `Playout`
what is sent when, the agent what is said. It owns the call's tasks: the recognizer, the driver (the only writer to
the socket), and one task a reply. Whoever has news calls a door; doors never wait.

    carrier -> handle -> Ear, Recognizer -> TurnTaking -> _act -> ReplyRun -> Playout -> carrier
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import anyio
import msgspec
from anyio.abc import TaskGroup

from moked import metrics
from moked.audio import to_float
from moked.autoreset import AutoResetEvent
from moked.bus import Bus
from moked.dialog import (
    Agent,
    AgentFactory,
    Ask,
    CallContext,
    CallerTurn,
    EndCall,
    Expect,
    Reply,
    Say,
    Second,
    Transfer,
    Unheard,
    second_hearing,
    slots,
    tokens_of,
)
from moked.dialog.history import History
from moked.errors import ProviderError, first_leaf
from moked.media import filler, turns
from moked.media import playout as out
from moked.media import snapshot as snapshots
from moked.media.connection import MOVING, REPLACED, Gone, Outlet
from moked.media.ear import Ear
from moked.media.echo import OwnWords
from moked.media.filler import FillerPolicy, Fillers
from moked.media.journal import Journal
from moked.media.machine import Machine, MachineDetector
from moked.media.person import Person
from moked.media.playout import Playout
from moked.media.reply import Awaited, Broken, FixedReply, Prefaced, ReplyRun
from moked.media.second_pass import SecondHearing, SecondPass
from moked.media.snapshot import LastReply, PastTurn, Snapshot
from moked.media.speech import WINDOW_SAMPLES, SpeechEnded, SpeechEvent, SpeechPaused, SpeechStarted
from moked.media.tap import Listener, Tap
from moked.media.turnlog import TurnLog
from moked.media.turns import TurnPolicy, TurnTaking
from moked.media.twilio import Bad, Connected, Dtmf, Event, Mark, Media, Start, Stop
from moked.pressure import Pressure
from moked.recording.recorder import CallRecorder
from moked.records import (
    HANDOVER,
    CallEnd,
    CallStart,
    Decision,
    Handover,
    LeadDraft,
    LeftCall,
    Order,
    OrderKind,
    Outcome,
    SnapshotSave,
    TurnRecord,
    Waterfall,
)
from moked.spool import CallSpool
from moked.stt import (
    PLANNED_MOVES,
    EngineSwitched,
    Final,
    HearingBack,
    HearingLost,
    Interim,
    Recognizer,
    Transcript,
    Word,
)
from moked.stt.transcripts import TurnText
from moked.tts import Synthesizer

log = logging.getLogger(__name__)


class Control(Protocol):
    """Acts on the call itself. False where the carrier's REST interface is not configured."""

    async def hang_up(self, call_sid: str) -> bool: ...

    async def transfer(self, call_sid: str, number: str) -> bool: ...

    @property
    def can_hold(self) -> bool:
        """The caller can wait while a person is asked, and come back to us."""

    async def hand_over(self, start: CallStart, number: str) -> None:
        """Let the caller wait and ring `number`. Raises `ProviderError` when nobody could be rung."""


@dataclass(frozen=True, slots=True)
class Phrases:
    """Fixed sentences the session itself needs when the agent cannot speak."""

    sorry_again: str
    sorry_broken: str
    too_long: str
    back: str = ""  # after a pause in the line, before we go on
    say_again: str = ""  # the caller's words were lost in it
    last_minute: str = ""
    asked_team: str = ""  # while we listen to what a person said to do
    not_recording: str = ""  # to who does not want to be recorded
    transferring: str = ""  # somebody at the desk wants it
    fillers: tuple[str, ...] = ()  # while the answer is not there yet
    long_fillers: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[str]:
        """All of them, most urgent first."""
        yield from (self.sorry_again, *self.fillers, self.sorry_broken, self.too_long, *self.long_fillers)
        yield from filter(None, (self.back, self.say_again, self.last_minute))
        yield from filter(None, (self.asked_team, self.not_recording, self.transferring))


async def _nobody_left(start: CallStart) -> LeftCall | None:
    return None


async def _nothing_told(call_sid: str, recording: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class SessionParts:
    """What every call of the process shares. The callables make a call's own parts."""

    agents: AgentFactory
    voice: Synthesizer
    recognizer: Callable[[Callable[[Transcript], None]], Recognizer]
    ear: Callable[[Callable[[SpeechEvent], None]], Ear]
    context: Callable[[CallStart], Awaitable[CallContext]]
    journal: Journal
    bus: Bus
    control: Control
    phrases: Phrases
    policy: TurnPolicy
    unheard: Callable[[CallContext, Agent], Unheard]
    left: Callable[[CallStart], Awaitable[LeftCall | None]] = _nobody_left
    instruction: Callable[[str, str], Awaitable[str]] = _nothing_told  # of a call, as the carrier recorded it
    second: SecondHearing | None = None
    spool: Callable[[str], CallSpool] | None = None
    record: Callable[[str, int], CallRecorder] | None = None  # a stream of a call, by SID and number
    agent_answers_refusals: bool = True  # "do not record me": the script does, a model may say anything
    transfer_number: str = ""
    fillers: FillerPolicy | None = filler.USUAL  # None: says nothing while the answer is not there
    machine: Callable[[], MachineDetector] | None = None  # listens for answering machines and menus
    machine_message: str = ""  # is left after their beep; '' leaves none
    max_call_ms: int = 1_800_000
    log_transcripts: bool = False
    pressure: Pressure = field(default_factory=lambda: Pressure(1.0))
    on_turn: Callable[[TurnRecord], None] = lambda turn: None


_TYPED = frozenset({Expect.PHONE, Expect.ID, Expect.PLATE, Expect.NUMBER, Expect.DATE})  # may be answered by keys
_SAVE_MS = 1000  # at most so often while the caller's words change
_SAME_WORDS = ("corrected", "heard_again")  # commits of an answer made anew to words that were taken already
_JUDGED_S = 0.5
_VAD_BEHIND_MS = 64  # two windows: no word hides in them
_FINAL_WORDS_S = 2.5
_GONE_S = 8.0  # the same when the caller has hung up: nobody waits for us then
_CONTROL_S = 5.0
_FAREWELL_S = 15.0
_LEARN_S = 3.0
_LAST_MINUTE_MS = 60_000
_BEEP_WAIT_MS = 12_000  # after a mailbox's words


@dataclass(frozen=True, slots=True)
class _Resumed:
    """The rest of an answer, of which `heard` was heard from another process."""

    reply: Reply
    heard: str


def _rest(last: LastReply, expect: Expect, *sentences: str) -> Reply:
    """The sentences, each perhaps in the cache, and what was to come after the reply."""
    said = [Say(text if number == 0 else f" {text}") for number, text in enumerate(sentences)]
    after = [Transfer(last.number, last.end)] if last.number else [EndCall(last.end)] if last.end else []
    return FixedReply(*said, Ask(expect), *after)


class CallSession:
    """Made for each accepted stream; `run` it, and feed it through `handle`."""

    def __init__(self, parts: SessionParts, start: CallStart, outlet: Outlet) -> None:
        self._parts = parts
        self._start = start
        self._outlet = outlet
        self._loop = asyncio.get_running_loop()
        self._t0 = self._loop.time()
        self._turns = TurnTaking(parts.policy)
        self._playout = Playout()
        self._history = History()
        self._own_words = OwnWords()
        self._fillers = Fillers(parts.phrases.fillers, parts.phrases.long_fillers, parts.fillers)
        self._text = TurnText()
        self._log = TurnLog(
            start.call_sid,
            parts.journal,
            parts.bus,
            self._clock,
            self._lead,
            transcripts=parts.log_transcripts,
            on_turn=parts.on_turn,
        )
        self._recognizer = parts.recognizer(self._on_transcript)
        self._ear = parts.ear(self._on_speech)
        self._second = SecondPass(parts.second, self._recognizer.audio, self._on_second)
        self._machine = parts.machine() if parts.machine is not None else None
        self._machine_window = b""
        self._beep_until: int | None = None  # a mailbox speaks: its beep is waited for
        # One that moves has none, neither before nor after it: half a transcript would pass for a whole one.
        self._spool = parts.spool(start.call_sid) if parts.spool is not None and not start.stream else None
        self._recorder = parts.record(start.call_sid, start.stream) if parts.record is not None else None
        self._refused = False  # does not want to be recorded
        self._owes_answer = ""  # 'words' or 'key': they have not been told yet that it stopped
        self._expect = Expect.OPEN  # what the caller was asked for last
        self._agent: Agent | None = None
        self._tasks: TaskGroup | None = None
        self._runs: dict[int, ReplyRun] = {}
        self._wake = AutoResetEvent(self._loop)
        self._over = anyio.Event()
        self._listened = anyio.Event()
        self._outgoing: deque[str] = deque()
        self._early: deque[Event | Gone] = deque(maxlen=500)  # before the agent is there: 10 s of frames
        self._engines: list[str] = []
        self._end: tuple[Outcome, str] | None = None
        self._after: Transfer | EndCall | None = None
        self._failures = 0
        self._tokens_noted = 0
        self._closing = False
        self._recorded = False
        self._turn_engine = ""
        self._minute_told = False
        self._aside = False  # the words taken last were a back-channel, and belong to no turn
        self._handed_over = False  # a person was asked already: the next time without asking
        self._left = ""  # why the call goes on without us
        self._moving = False
        self._resumed: _Resumed | None = None  # what we say first in a call that was begun elsewhere
        self._last: LastReply | None = None
        self._known: LeadDraft | None = None  # to an agent that ours could not take over from
        self._save_due: int | None = None
        self._saved_at = 0
        self._context: CallContext | None = None
        self._unheard: Unheard | None = None  # has the call while nobody hears the caller
        self._deaf = False
        self._welcome_back = False  # the next thing we say is that we hear again
        self._tap = Tap()
        self._listeners: dict[Listener, None] = {}
        self._person: Person | None = None  # speaks in the agent's place
        self._returned: Reply | None = None  # what the agent says when it has the call back

    # --- doors

    def handle(self, event: Event | Gone) -> None:
        """News from the carrier. Never waits, never raises."""
        if self._agent is None:
            self._early.append(event)
            return
        now = self._clock()
        match event:
            case Media(audio=audio):
                self._recognizer.feed(audio)
                self._ear.feed(audio)
                if self._machine is not None:
                    self._listen_for_machine(self._machine, now, audio)
                if self._spool is not None:
                    self._spool.feed(audio)
                if self._recorder is not None:
                    self._recorder.feed(now, audio)
                if self._listeners:
                    frame = self._tap.caller(now, audio)
                    for listener in self._listeners:
                        listener.hear(frame)
            case Mark(name):
                reply = self._playout.marked(now, name)
                if reply is not None:
                    self._log.mark_returned(now, reply)
                self._nudge()
            case Dtmf(digit):
                self._log.event("dtmf")
                if self._is_refusal(digit):
                    self._refuse_recording("key")
                self._act(self._turns.dtmf(now, digit))
            case Stop():
                self._finish(Outcome.CALLER_HUNG_UP, "carrier_stop")
            case Gone(reason):  # no `stop`: the caller may still be there, and the carrier asks how to go on
                self._leave(reason)
            case Connected() | Start() | Bad():
                pass  # the server has dealt with it

    def move(self) -> None:
        """Another process goes on with the call: leave it when nobody is speaking."""
        self._moving = True
        self._nudge()

    # --- people at the desk

    def listen(self, listener: Listener) -> None:
        """Let somebody hear both sides, from now until `leave` or the end of the call."""
        self._listeners[listener] = None
        listener.floor(self._person.who if self._person is not None else "")

    def leave(self, listener: Listener) -> None:
        self._listeners.pop(listener, None)

    def order(self, order: Order) -> None:
        """What a person at the desk tells this call. An end holds at once; a transfer is announced by the agent."""
        if self._agent is None or self._end is not None or self._closing:
            return
        self._note_person(order.kind.value, order.who, **({"text": order.text} if order.text else {}))
        match order.kind:
            case OrderKind.WHISPER:
                self._agent.instruct(order.text)
            case OrderKind.END:
                self._finish(Outcome.COMPLETED, "ended_by_person")
            case OrderKind.TRANSFER if self._person is not None or not self._parts.phrases.transferring:
                self._after = Transfer(order.text, "by_person")
                self._finish(Outcome.TRANSFERRED, "by_person")
            case OrderKind.TRANSFER:
                self._say_last(self._parts.phrases.transferring, Transfer(order.text, "by_person"))

    def take_over(self, who: str) -> bool:
        """`who` speaks in the agent's place from now on; False where somebody does already, or the call ends."""
        if self._agent is None or self._end is not None or self._closing or self._person is not None:
            return False
        now = self._clock()
        person = Person(who, now, self._turns.open_turn, self._turns.carried)
        self._silence()
        self._person = person
        self._note_person("taken_over", who)
        self._tell_floor()
        if self._text.text and self._text.final_only:
            self._answered_by(person, now)
        self._nudge()
        return True

    def speak(self, audio: bytes) -> None:
        """The voice of who has taken the call over."""
        if self._person is not None and self._end is None and not self._closing:
            self._playout.add(self._person.voice(audio, self._playout.unheard_ms(self._clock())))
            self._nudge()

    def hand_back(self, told: str = "") -> None:
        """The agent has the call again, and says so. `told`: what the person wants it to know."""
        person, self._person = self._person, None
        if person is None or self._agent is None or self._end is not None or self._closing:
            return
        now, floor = self._clock(), self._turns
        self._note_person("handed_back", person.who, **({"text": told} if told else {}))
        self._tell_floor()
        self._turns = TurnTaking(self._parts.policy)
        words = f"{person.carried} {self._text.text}".strip()
        self._text.take()
        self._turns.resume(now, turn=person.turn, replies=floor.replies, cut_in=False, words="")
        if words:
            self._history.caller(person.turn, words)
        self._returned = self._agent.handed_back(
            Handover.RETURNED, " ".join(filter(None, (person.who, told))), self._history.entries
        )
        self._act(self._turns.go_on(now, person.turn, text=words, dtmf="", silent=False, begun=True))
        if self._deaf:
            self._act(self._turns.hearing_lost(now))

    def _answered_by(self, person: Person, now: int) -> None:
        """The caller's words so far are a turn, which the person answers and not we."""
        number, words = person.turn, person.taken(self._text.text)
        self._text.take()
        self._history.caller(number, words)
        self._log.answered_by(number, words, self._turn_engine, now, person.who)

    def _note_person(self, kind: str, who: str, **more: str) -> None:
        self._log.event(kind, who=who, **more)
        self._log.publish("call.supervised", act=kind, who=who)

    def _tell_floor(self) -> None:
        who = self._person.who if self._person is not None else ""
        for listener in self._listeners:
            listener.floor(who)

    @property
    def _open_turn(self) -> int:
        return self._turns.open_turn if self._person is None else self._person.turn

    @property
    def _floor_due(self) -> int | None:
        """When turn taking wants to be asked; never while a person has the floor."""
        return self._turns.deadline if self._person is None else None

    def _on_speech(self, event: SpeechEvent) -> None:
        now = self._clock()
        if self._machine is not None and not isinstance(event, SpeechPaused):
            self._machine.speech(self._call_time(now, event.at_ms), begins=isinstance(event, SpeechStarted))
        self._save_by(self._saved_at + _SAVE_MS)
        match event:
            case SpeechStarted(at_ms):
                self._recognizer.speech_started(at_ms)
                self._second.speech_started(at_ms)
                if self._spool is not None:
                    self._spool.mark(True, at_ms)
                self._act(self._turns.speech_started(now, self._call_time(now, at_ms)))
            case SpeechPaused(at_ms):
                self._recognizer.speech_paused(at_ms)
                self._turns.may_guess = self._parts.pressure.calm
                self._second.speech_ended(at_ms)  # an answer may be begun here
                self._act(self._turns.speech_paused(now, self._call_time(now, at_ms)))
            case SpeechEnded(at_ms):
                self._recognizer.speech_ended(at_ms)
                self._second.speech_ended(at_ms)
                if self._spool is not None:
                    self._spool.mark(False, at_ms)
                self._act(self._turns.speech_ended(now, self._call_time(now, at_ms)))

    def _on_transcript(self, transcript: Transcript) -> None:
        now = self._clock()
        match transcript:
            case EngineSwitched(before, after, reason):
                self._engines.append(after)
                metrics.stt_switches.labels(before, after, reason).inc()
                self._log.publish("engine", before=before, after=after, reason=reason)
                self._log.event("engine_switched", before=before, after=after, reason=reason)
                told = reason in PLANNED_MOVES and self._text.final_only  # nothing will come again
                if before != after and not told and self._end is None:
                    self._act(self._turns.recognizer_changed(now))
                return
            case HearingLost(engine, reason):
                self._hearing_lost(now, engine, reason)
                return
            case HearingBack(engine):
                self._hearing_back(now, engine)
                return
            case Interim() | Final():
                transcript = self._without_echo(transcript)
                if isinstance(transcript, Interim):
                    self._log.interim(transcript.text, transcript.engine)
                else:
                    self._log.final(transcript.text, transcript.engine, self._places(transcript.words))
                    self._save_by(now)  # it will not come again
        self._save_by(self._saved_at + _SAVE_MS)
        self._mind_recording(transcript.text)
        if self._machine is not None:
            self._machine_found(now, self._machine.heard(now, transcript.text))
        self._turn_engine = transcript.engine
        if transcript.engine not in self._engines:
            self._engines.append(transcript.engine)
        self._text.hear(transcript, now)
        if self._end is not None:
            return  # nobody takes turns any more; the words are kept by `_last_words`
        if self._person is not None:
            if self._text.final_only and self._text.text:
                self._answered_by(self._person, now)
            return
        if self._text.amended:
            amended, self._text.amended = self._text.amended, ""
            if self._turns.replying and not self._aside:
                self._log.caller_corrected(self._turns.turn, amended)
            if not self._aside:
                self._act(self._turns.corrected(now, amended))
        behind = isinstance(transcript, Interim) and transcript.behind
        end = self._call_time(now, transcript.start_ms if behind else transcript.end_ms)
        self._act(self._turns.heard(now, self._text.text, end=end, final=self._text.final_only))

    def _places(self, words: Sequence[Word]) -> tuple[Word, ...]:
        """The words with their places on the recording; none where there is no recording."""
        place = self._recorder.place if self._recorder is not None else None
        if place is None:
            return ()
        return tuple(Word(one.text, place(one.start_ms), place(one.end_ms)) for one in words)

    def _without_echo(self, heard: Interim | Final) -> Interim | Final:
        """Our own words, come back on the caller's line, are nobody's turn."""
        end = self._call_time(self._clock(), heard.end_ms)
        text = self._own_words.without(heard.text, end, sure=self._ear.echo_db is not None)
        if text == heard.text:
            return heard
        self._log.event("echo", words=len(heard.text.split()) - len(text.split()), engine=heard.engine)
        if isinstance(heard, Interim):
            return replace(heard, text=text)
        words = heard.words[len(heard.words) - len(text.split()) :] if text else ()
        return replace(heard, text=text, words=words)

    def _listen_for_machine(self, machine: MachineDetector, now: int, mulaw: bytes) -> None:
        heard = self._machine_window + mulaw
        whole = len(heard) - len(heard) % WINDOW_SAMPLES
        self._machine_window = heard[whole:]
        if whole:
            self._machine_found(now, machine.windows(to_float(heard[:whole]).reshape(-1, WINDOW_SAMPLES)))
        self._machine_found(now, machine.tick(now))
        if self._beep_until is not None and now >= self._beep_until:
            self._machine_found(now, Machine.BEEP)

    def _machine_found(self, now: int, found: Machine | None) -> None:
        """There is no person. Menus are left at once; a mailbox gets the message, after its beep, if there is one."""
        if found is None or self._end is not None or self._closing:
            return
        self._log.event("machine", found=found.value)
        if found is Machine.BEEP and self._parts.machine_message:
            self._beep_until = None
            self._say_last(self._parts.machine_message, EndCall("machine_message"))
        elif found is Machine.MENU or not self._parts.machine_message:
            self._finish(Outcome.COMPLETED, f"machine_{found.value}")
        else:
            self._beep_until = now + _BEEP_WAIT_MS

    def _mind_recording(self, text: str) -> None:
        """Who says "do not record me" is not: what there is goes at once, before anybody answers."""
        if not self._refused and slots.do_not_record(text):
            self._refuse_recording("words")

    def _is_refusal(self, digit: str) -> bool:
        """The key for it, where it is not part of a number that is being typed."""
        key = self._context.refuse_key if self._context is not None else ""
        return bool(key) and digit == key and not self._refused and self._expect not in _TYPED

    def _refuse_recording(self, how: str) -> None:
        self._refused = True
        if self._spool is not None:
            self._spool.discard()
            self._spool = None
        if self._recorder is not None:
            self._recorder.erase()
            self._recorder = None
        words = self._context is None or self._context.keeps_refused_words
        self._log.refused(how, keeps_words=words)
        self._owes_answer = "" if how == "before" else how

    def _on_second(self, second: Second) -> None:
        """Another engine has read a turn. An answer that nobody heard yet and that would be wrong is made anew."""
        if self._end is None and not self._deaf and second_hearing.material(second):
            self._log.event("heard_again", turn=second.turn, engine=second.engine)
            self._act(self._turns.heard_again(self._clock(), second.turn))

    def _hearing_lost(self, now: int, engine: str, reason: str) -> None:
        """Only keys are left. The caller is told at once, unless we are saying goodbye anyway."""
        metrics.stt_deaf.inc()
        self._log.event("hearing_lost", engine=engine, reason=reason)
        self._log.publish("hearing.lost", engine=engine, reason=reason)
        self._deaf = True
        if self._agent is not None and self._context is not None:
            self._unheard = self._unheard or self._parts.unheard(self._context, self._agent)
            if not self._leaving:
                self._act(self._turns.hearing_lost(now))

    def _hearing_back(self, now: int, engine: str) -> None:
        self._log.event("hearing_back", engine=engine)
        self._log.publish("hearing.back", engine=engine)
        if self._deaf and self._leaving:
            return  # what was typed stays what we know
        self._deaf = False
        if self._unheard is not None:
            self._welcome_back = True
            self._act(self._turns.hearing_back(now))

    @property
    def _leaving(self) -> bool:
        """The call ends, or is handed on, when what we say now has been heard."""
        return self._after is not None or any(run.after for run in self._runs.values() if run.committed)

    # --- the call

    async def run(self) -> str:
        """Serve the call; returns when the socket should close, and why. Every end is recorded; a call that we leave
        without one, also because this task is cancelled or breaks, is left so that another stream can go on with it."""
        outcome, detail = Outcome.BROKEN, "internal_error"
        try:
            async with self._parts.journal.call(self._start.call_sid), anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._listen)
                self._context = context = await self._parts.context(self._start)
                if context.refused:
                    self._refuse_recording("before")
                left = await self._parts.left(self._start) if self._start.stream else None
                self._agent = self._parts.agents(context)
                snapshot = snapshots.decode(left.data) if left is not None else None
                if left is not None and snapshot is not None:
                    self._take_over(left, snapshot)
                else:
                    self._log.publish("call.started", caller=self._start.caller, simulated=self._start.simulated)
                    self._act(self._turns.greet(self._clock()))
                if self._deaf:  # before there was an agent
                    self._unheard = self._parts.unheard(context, self._agent)
                    self._act(self._turns.hearing_lost(self._clock()))
                while self._early:
                    self.handle(self._early.popleft())
                tasks.start_soon(self._drive)
                with anyio.move_on_after(self._parts.max_call_ms / 1000):
                    await self._over.wait()
                if not self._over.is_set():
                    await self._say_goodbye_at_the_limit()
                assert self._end is not None
                outcome, detail = self._end
                if not self._left:
                    gone = outcome is Outcome.CALLER_HUNG_UP
                    await self._last_words(_GONE_S if gone else _FINAL_WORDS_S)
                tasks.cancel_scope.cancel()
            if outcome in (Outcome.COMPLETED, Outcome.TRANSFERRED):
                await self._record_end(outcome, detail)  # first: the carrier may ask us what to do next at once
                await self._let_go()
        except BaseException:
            if self._end is not None:
                outcome, detail = self._end
            elif self._agent is not None:
                self._leave("session_failed")
            raise
        finally:
            for listener in list(self._listeners):
                listener.over()
            self._ear.close()
            if self._spool is not None:
                self._spool.close()
            if self._recorder is not None:
                self._recorder.close()
            with anyio.CancelScope(shield=True):
                if self._left:
                    await self._record_leaving()
                else:
                    await self._record_end(outcome, detail)
        return self._left or "done"

    async def _record_end(self, outcome: Outcome, detail: str) -> None:
        if self._recorded:
            return
        self._recorded = True
        metrics.calls.labels(outcome.value).inc()
        end = CallEnd(
            call_sid=self._start.call_sid,
            outcome=outcome,
            detail=detail,
            duration_ms=self._clock(),
            lead=self._lead(),
            engines=tuple(dict.fromkeys(self._engines)),
            ended_at=datetime.now(UTC),
            stream=self._start.stream,
        )
        self._note_tokens()
        self._parts.journal.put_end(end)
        with anyio.move_on_after(_CONTROL_S):
            await self._parts.journal.flush()
        self._log.publish("call.ended", outcome=outcome.value, detail=detail)
        log.info("call ended", extra={"outcome": outcome.value, "detail": detail, "duration_ms": end.duration_ms})

    def _note_tokens(self) -> None:
        """What a language model has used of this call in this process."""
        used = tokens_of(self._agent) - self._tokens_noted
        if used > 0:
            self._log.event("model_used", tokens=used)
            self._tokens_noted += used

    async def _record_leaving(self) -> None:
        """Before the socket is closed, where it is not yet: the carrier asks at once."""
        if self._recorded:
            return
        self._recorded = True
        self._note_tokens()
        with anyio.move_on_after(_CONTROL_S):
            await self._parts.journal.flush()
        if self._left == HANDOVER and not await self._rung():
            self._left, self._recorded = "", False
            await self._record_end(Outcome.TRANSFERRED, "not_announced")
            await self._let_go()
            return
        log.info("call left", extra={"why": self._left, "at_ms": self._clock()})

    async def _rung(self) -> bool:
        """The person's telephone rings, and the caller waits; False: they must be connected without a word."""
        assert isinstance(self._after, Transfer)
        try:
            with anyio.fail_after(_CONTROL_S):
                await self._parts.control.hand_over(self._start, self._after.number)
        except (ProviderError, TimeoutError) as error:
            log.warning("nobody could be rung", extra={"error": str(error)})
            return False
        return True

    async def _let_go(self) -> None:
        """Hang up or transfer by the carrier's REST interface; without one, closing the socket lets the TwiML
        decide."""
        with anyio.move_on_after(_CONTROL_S):
            try:
                if isinstance(self._after, Transfer):
                    await self._parts.control.transfer(self._start.call_sid, self._after.number)
                else:
                    await self._parts.control.hang_up(self._start.call_sid)
            except ProviderError as error:
                log.warning("carrier refused", extra={"kind": error.kind.value, "error": str(error)})

    async def _listen(self) -> None:
        await self._recognizer.run()
        self._listened.set()

    async def _last_words(self, within_s: float) -> None:
        """The recognizer may still owe us what was said last; it belongs in the transcript."""
        for run in self._runs.values():
            run.scope.cancel()
        with anyio.move_on_after(_JUDGED_S):  # a VAD that is behind may still find speech at the end
            while self._ear.judged_ms + _VAD_BEHIND_MS < self._ear.received_ms:
                await anyio.sleep(0.02)
        self._recognizer.finish()
        with anyio.move_on_after(within_s):
            await self._listened.wait()
        carried = self._turns.carried if self._person is None else self._person.carried
        text = f"{carried} {self._text.text}".strip()
        if text:
            turn = CallerTurn(self._open_turn, text, confidence=self._text.confidence)
            await self._learn_from(turn)
            self._log.leftover(turn.number, text, self._turn_engine, self._clock())

    async def _learn_from(self, turn: CallerTurn) -> None:
        """Nobody will hear an answer, but what was said last may be the name or the number."""
        if self._agent is None:
            return
        with anyio.move_on_after(_LEARN_S), suppress(ProviderError):
            reply = self._agent.reply(turn, self._history.entries)
            reply.commit()
            async with reply.actions() as actions:
                async for _ in actions:
                    pass

    def _lead(self) -> LeadDraft:
        agent = self._unheard if self._deaf and self._unheard is not None else self._agent
        lead = agent.lead() if agent is not None else LeadDraft()
        return lead if self._known is None else snapshots.filled(lead, self._known)

    def _leave(self, why: str) -> None:
        """Our stream ends, the call does not."""
        if self._end is not None:
            return
        self._close_open_reply()
        if self._spool is not None:
            self._spool.discard()
            self._spool = None
        if why != REPLACED:  # the other one has the call already
            self._save(left=why)
        self._left = why
        self._end = (Outcome.BROKEN, why)
        self._over.set()

    def _finish(self, outcome: Outcome, detail: str) -> None:
        if self._end is None:
            self._close_open_reply()
            self._end = (outcome, detail)
            self._over.set()

    def _close_open_reply(self) -> None:
        """The call ends while we speak: what was heard so far is on record."""
        for run in self._runs.values():
            if run.committed:
                heard = self._playout.heard(self._clock())
                self._heard(run, heard, cut=not heard.complete, ended=True)

    def _heard(self, run: ReplyRun, heard: out.Heard, *, cut: bool, ended: bool = False) -> None:
        """So much of the reply reached the caller, and no more will: from us, after what another process had said."""
        text = f"{run.before} {heard.text}".strip()
        self._history.heard(run.turn, text, cut=cut)
        self._log.over(run, text, cut=cut, ended=ended)
        self._note_last(run.turn, heard=heard.text)

    async def _say_goodbye_at_the_limit(self) -> None:
        """The call has lasted as long as it may: one sentence, then the end."""
        metrics.call_limits.labels("seconds").inc()
        self._say_last(self._parts.phrases.too_long, EndCall("max_length"))
        with anyio.move_on_after(_FAREWELL_S):
            await self._over.wait()
        self._finish(Outcome.COMPLETED, "max_length")

    def _silence(self) -> None:
        """Whatever we are saying or are about to say is over."""
        self._close_open_reply()
        for run in self._runs.values():
            run.scope.cancel()
            self._note_last(run.turn, said=run.said, over=True)
        self._runs.clear()
        self._after = None
        self._fillers.over()
        self._playout.clear(self._clock())
        self._clear_carrier()

    def _say_last(self, text: str, after: EndCall | Transfer) -> None:
        """This sentence instead of everything else, then hang up or transfer."""
        self._silence()
        self._closing = True
        run = ReplyRun(turns.Begin(0, self._turns.turn), FixedReply(Say(text), after), self._parts.voice, self._clock)
        self._launch(run)
        self._playout.begin_reply(0)
        run.commit(self._playout)

    # --- what the turn taking wants

    def _act(self, actions: Sequence[turns.Action]) -> None:
        now = self._clock()
        nobodys = self._closing or self._end is not None or self._person is not None
        for action in () if nobodys else actions:
            match action:
                case turns.Begin():
                    self._begin(action)
                case turns.Commit():
                    self._commit(action, now)
                case turns.Cancel(reply, reason):
                    self._cancel(reply, reason)
                case turns.HoldAudio():
                    self._playout.hold()
                case turns.PauseAudio():
                    self._own_words.heard(now, self._playout.reply, self._playout.heard(now).text)
                    self._playout.pause(now)
                    self._clear_carrier()
                case turns.ResumeAudio():
                    if self._playout.held:
                        metrics.interruptions.labels("resumed").inc()
                    self._playout.resume()
                case turns.CutAudio(reply):
                    self._cut(reply, now)
                case turns.Ignored(text):
                    self._text.take()
                    self._aside = True
                    self._log.event("back_channel")
                    self._log.publish("turn.ignored", text=text)
        self._nudge()

    def _begin(self, begin: turns.Begin) -> None:
        assert self._agent is not None
        if self._returned is not None:
            reply = self._returned
        elif self._resumed is not None:
            reply = self._resumed.reply
        elif begin.turn == 0:
            reply = self._agent.greet()
        else:
            self._mind_recording(begin.text)
            if begin.text and not begin.dtmf and self._tasks is not None and not self._parts.pressure.full:
                self._second.begin(self._tasks, begin.turn, begin.text, self._turn_engine, self._expect)
            turn = CallerTurn(
                number=begin.turn,
                text=begin.text,
                dtmf=begin.dtmf,
                silent=begin.silent,
                cut_in=begin.cut_in,
                confidence=self._text.confidence,
                second=self._second.for_answer() if (begin.text or begin.dtmf) and not self._deaf else (),
            )
            reply = self._answer(turn)
            if self._is_last_minute and not isinstance(reply, FixedReply):
                reply = Prefaced(Say(f"{self._parts.phrases.last_minute} "), reply)
        self._launch(ReplyRun(begin, reply, self._parts.voice, self._clock))

    def _answer(self, turn: CallerTurn) -> Reply:
        """By whoever has the call: the agent, or the keypad's while nobody hears the caller."""
        assert self._agent is not None
        if self._unheard is not None and self._deaf:
            return self._unheard.reply(turn, self._history.entries)
        if self._unheard is not None and self._welcome_back and turn.silent:
            return self._unheard.welcome_back(self._history.entries)
        told = self._parts.phrases.not_recording
        if self._owes_answer == "key" and turn.dtmf and not turn.text:
            return FixedReply(Say(told), Ask(self._expect))
        reply = self._agent.reply(turn, self._history.entries)
        return (
            Prefaced(Say(f"{told} "), reply) if self._owes_answer and not self._parts.agent_answers_refusals else reply
        )

    @property
    def _is_last_minute(self) -> bool:
        """Of a call that is long enough for a warning, and the caller does not know it yet."""
        limit = self._parts.max_call_ms
        left = limit - self._clock()
        told = self._minute_told or not self._parts.phrases.last_minute
        return not told and left <= _LAST_MINUTE_MS and limit >= 3 * _LAST_MINUTE_MS

    def _launch(self, run: ReplyRun) -> None:
        assert self._tasks is not None
        self._runs[run.number] = run
        self._tasks.start_soon(self._make_reply, run)

    async def _make_reply(self, run: ReplyRun) -> None:
        failed: BaseExceptionGroup[ProviderError] | None = None
        try:
            await run.run(self._nudge)
        except* ProviderError as errors:
            failed = errors
        if failed is not None:
            self._reply_failed(run, failed)
        elif run.done:
            if not run.is_fixed:
                self._failures = 0
            self._reply_made(run)

    def _reply_made(self, run: ReplyRun) -> None:
        """All of it is in the playout."""
        now = self._clock()
        self._log.said(run)
        if run.expect is not None:
            self._expect = run.expect
            self._recognizer.expect(run.expect.value)
            self._act(self._turns.expect(now, run.expect))
        self._after = run.after
        if run.first_audio_ms is None and not run.fillers:
            self._reply_over(run, now)
        else:
            self._playout.end_reply()
            self._save()
        self._nudge()

    def _reply_failed(self, run: ReplyRun, errors: BaseExceptionGroup[ProviderError]) -> None:
        """The agent or the voice failed: say so from the cache; the second time in a row, end it well."""
        first = first_leaf(errors)
        log.warning("reply failed", extra={"provider": first.provider, "kind": first.kind.value, "error": str(first)})
        self._log.event("reply_failed", provider=first.provider, failure=first.kind.value)
        if run.number not in self._runs or self._end is not None:
            return
        self._failures += 1
        self._runs.pop(run.number)
        phrases = self._parts.phrases
        reply: Reply
        if self._failures == 1:
            reply = FixedReply(Say(phrases.sorry_again))
        elif self._failures == 2:
            number = self._parts.transfer_number
            after = Transfer(number, "agent_failed") if number else Broken("agent_failed")
            reply = FixedReply(Say(phrases.sorry_broken), after)
        else:
            self._finish(Outcome.BROKEN, "cannot_speak")
            return
        again = ReplyRun(run.begin, reply, self._parts.voice, self._clock)
        self._launch(again)
        if run.committed:
            again.commit(self._playout)

    def _commit(self, commit: turns.Commit, now: int) -> None:
        run = self._runs[commit.reply]
        begin = run.begin
        changed_ms, confidence = self._text.stable_since, self._text.confidence
        if commit.reason not in _SAME_WORDS:  # what came since is the caller's next words
            self._text.take()
            self._aside = False
        if begin.text or begin.dtmf:
            self._history.caller(commit.turn, begin.text or begin.dtmf)
        returned, self._returned = self._returned, None
        ended = now - commit.silence_ms if commit.turn and returned is None else None
        if commit.reason == "resumed" and self._last is not None and returned is None:
            if self._resumed is not None:
                self._commit_rest(run, self._resumed, self._last)
                return
            ended = self._last.record.waterfall.speech_end_ms
        record = TurnRecord(
            number=commit.turn,
            caller_text=begin.text,
            said="",
            heard="",
            cut=False,
            started_ms=now,
            ended_ms=now,
            engine=self._turn_engine if begin.text else "",
            confidence=confidence,
            dtmf=begin.dtmf,
            decision=_decision(commit) if commit.turn else None,
        )
        transcript_ms = changed_ms if begin.text else None
        waterfall = Waterfall(speech_end_ms=ended, transcript_ms=transcript_ms, endpoint_ms=now)
        self._after = None
        self._playout.begin_reply(run.number)
        run.commit(self._playout)
        if commit.turn and (begin.text or begin.dtmf) and run.first_audio_ms is None:
            self._fillers.waiting(now)
        else:
            self._fillers.over()
        self._welcome_back = self._welcome_back and self._deaf
        self._minute_told = self._minute_told or (run.is_prefaced and self._is_last_minute)
        if commit.turn and (begin.text or begin.dtmf):
            self._owes_answer = ""
        if self._machine is not None and commit.turn > 1:
            self._machine.answered()
        self._second.committed(commit.turn)
        self._log.committed(record, run.number, waterfall)  # after it: what the agent learned goes on record with it
        self._last = LastReply(replace(record, waterfall=waterfall), silent=begin.silent)
        self._save()
        log.debug("turn committed", extra={"turn": commit.turn, "reason": commit.reason, "hold_ms": commit.silence_ms})

    def _fill(self, now: int) -> None:
        """Nothing of the answer is audible yet: say so, from the cache; without it, silence is all there is."""
        number = self._fillers.number
        text = self._fillers.take()
        run = self._runs.get(self._playout.reply)
        if run is None or self._closing or self._turns.caller_speaking:
            self._fillers.over()
            return
        audio = self._parts.voice.cached(text)
        if audio is None:
            return
        if run.fill(text, audio):
            metrics.fillers.labels(number).inc()
            self._log.event("filler", which=number, turn=run.turn)
        else:
            self._fillers.over()

    def _commit_rest(self, run: ReplyRun, resumed: _Resumed, last: LastReply) -> None:
        """The rest of an answer whose turn is on record."""
        self._resumed = None
        run.before = resumed.heard
        self._after = None
        self._playout.begin_reply(run.number)
        run.commit(self._playout)
        sent_ms = last.record.waterfall.sent_ms if last.begun_ms is None else last.begun_ms
        record = replace(last.record, waterfall=replace(last.record.waterfall, sent_ms=sent_ms))
        self._log.reopened(record, run.number)
        self._last = LastReply(record, silent=last.silent)
        self._save()

    def _cancel(self, reply: int, reason: str) -> None:
        run = self._runs.pop(reply, None)
        if run is None:
            return
        run.scope.cancel()
        if run.committed:
            self._fillers.over()
        if run.committed and not reason.startswith("barge_in"):
            self._history.withdraw(run.turn)
            self._note_last(run.turn, over=True)
            self._log.withdrawn(reopened=reason.startswith("went_on"))

    def _clear_carrier(self) -> None:
        self._outgoing.clear()
        self._outgoing.append(self._outlet.clear())
        self._ear.silenced()
        if self._recorder is not None:
            self._recorder.cut(self._clock())
        self._tap.cleared()

    def _cut(self, reply: int, now: int) -> None:
        silent = self._playout.paused  # already
        heard = self._playout.clear(now)
        self._own_words.heard(now, reply, heard.text)
        if not silent:
            self._clear_carrier()
        metrics.interruptions.labels("taken").inc()
        run = self._runs.get(reply)
        if run is not None:
            self._heard(run, heard, cut=True)
            self._note_last(run.turn, said=run.said, over=True)
            self._save()
        self._after = None

    def _reply_over(self, run: ReplyRun, now: int) -> None:
        heard = self._playout.heard(now)
        self._own_words.heard(now, run.number, heard.text)
        self._runs.pop(run.number, None)
        self._heard(run, heard, cut=False)
        self._note_last(run.turn, said=run.said, over=True)
        self._act(self._turns.reply_finished(now, run.number))
        self._save()

    # --- a call that goes on in another process

    def _save(self, *, left: str = "") -> None:
        """Put down where the call stands: soon, and once for what happens until then; at once where it is `left`."""
        if self._agent is None or (self._end is not None and not left):
            return
        self._save_due, self._saved_at = None, self._clock()
        if left:
            final = self._snapshot(left)
            self._parts.journal.put_snapshot(self._start.call_sid, lambda: final)
        else:
            self._parts.journal.put_snapshot(self._start.call_sid, self._snapshot)

    def _snapshot(self, left: str = "") -> SnapshotSave:
        assert self._agent is not None
        now, floor = self._clock(), self._turns
        last = self._last
        if last is not None and not last.over:
            last = self._last = self._as_it_is(last)
        snapshot = Snapshot(
            at=time.time(),
            clock_ms=now,
            turn=floor.turn if self._person is None else self._person.turn,
            replies=floor.replies,
            expect=self._expect.value,
            cut_in=floor.cut_in,
            speaking=floor.caller_speaking,
            words=f"{floor.carried} {self._text.text}".strip(),
            failures=self._failures,
            minute_told=self._minute_told,
            past=tuple(PastTurn(*turn) for turn in self._history.turns),
            last=last,
            agent=self._agent.keep(),
            lead=self._lead(),
            engines=tuple(dict.fromkeys(self._engines)),
        )
        return SnapshotSave(self._start.call_sid, self._start.stream, snapshots.encode(snapshot), left)

    def _as_it_is(self, last: LastReply) -> LastReply:
        """The reply that is being made or heard, as far as it is."""
        run = next((run for run in self._runs.values() if run.committed and run.turn == last.record.number), None)
        if run is None:
            return last
        after = run.after
        return msgspec.structs.replace(
            last,
            said=run.said,
            made=run.done,
            audio_ms=self._playout.reply_ms,
            number=after.number if isinstance(after, Transfer) else "",
            end=after.reason if after is not None else "",
        )

    def _note_last(self, turn: int, **changes: Any) -> None:
        """What became of the answer to `turn`, if it is the last one."""
        if self._last is not None and self._last.record.number == turn:
            self._last = msgspec.structs.replace(self._last, **changes)

    def _save_by(self, at: int) -> None:
        self._save_due = at if self._save_due is None else min(at, self._save_due)

    def _take_over(self, left: LeftCall, snapshot: Snapshot) -> None:
        """Go on with a call that another stream has left."""
        assert self._agent is not None
        age_ms = max(left.gap_ms, int((time.time() - snapshot.at) * 1000))
        self._t0 -= (snapshot.clock_ms + age_ms) / 1000
        now, last = self._clock(), snapshot.last
        first = snapshots.first(snapshot, left.why, left.gap_ms, time.time())
        try:
            self._agent.take_up(snapshot.agent)
        except ValueError as error:
            log.warning("the agent cannot use what was kept", extra={"error": str(error)})
            self._known = snapshot.lead
        for turn in snapshot.past:
            self._history.caller(turn.number, turn.caller)
            self._history.heard(turn.number, turn.heard, cut=turn.cut)
        self._engines, self._failures = list(snapshot.engines), snapshot.failures
        self._minute_told = snapshot.minute_told
        self._expect, self._last = Expect(snapshot.expect), last
        self._recognizer.expect(snapshot.expect)
        self._log.taken_over(left, self._start.stream, type(first).__name__)
        self._turns.resume(
            now, turn=snapshot.turn, replies=snapshot.replies, cut_in=snapshot.cut_in, words=snapshot.words
        )
        self._turns.expect(now, self._expect)
        if last is None:
            self._act(self._turns.greet(now))
            return
        self._save()
        if left.why == HANDOVER:
            self._handed_over = True
            reply = self._handed_back(self._agent, left)
            heard = next((turn.heard for turn in snapshot.past if turn.number == last.record.number), "")
            self._speak_to(now, last, reply, heard)
            return
        match first:
            case snapshots.AnswerAgain():
                self._speak_to(now, last, None, "")
            case snapshots.GoOn(rest, heard):
                back = (self._parts.phrases.back, *snapshots.sentences(rest))
                self._speak_to(now, last, _rest(last, self._expect, *back), heard)
            case snapshots.AllHeard(heard):
                self._speak_to(now, last, _rest(last, self._expect), heard)
            case snapshots.SayAgain(heard):
                self._speak_to(now, last, FixedReply(Say(self._parts.phrases.say_again), Ask(self._expect)), heard)
            case snapshots.Silent():
                self._act(self._turns.tick(now))

    def _handed_back(self, agent: Agent, left: LeftCall) -> Reply:
        """The person did not take the caller. What they said to do is heard first, if it was not yet."""
        how = left.handover or Handover.UNANSWERED
        history = self._history.entries
        if left.told or not left.recording:
            return agent.handed_back(how, left.told, history)
        return Awaited(
            Say(self._parts.phrases.asked_team),
            lambda: self._parts.instruction(self._start.call_sid, left.recording),
            lambda told: agent.handed_back(how, told, history),
        )

    def _speak_to(self, now: int, last: LastReply, rest: Reply | None, heard: str) -> None:
        """Say the `rest` of the answer to the last turn, of which `heard` was heard; None: the agent's whole answer."""
        self._resumed = None if rest is None else _Resumed(rest, heard)
        record, begun = last.record, rest is not None
        self._act(
            self._turns.go_on(
                now, record.number, text=record.caller_text, dtmf=record.dtmf, silent=last.silent, begun=begun
            )
        )

    # --- the driver: the one task that writes to the socket

    async def _drive(self) -> None:
        try:
            await self._drive_on()
        except anyio.BrokenResourceError:
            self._leave("socket_dead")

    async def _drive_on(self) -> None:
        while not self._over.is_set():
            now = self._clock()
            due = self._floor_due
            if due is not None and due <= now:
                self._act(self._turns.tick(now))
            if self._fillers.due is not None and self._fillers.due <= now:
                self._fill(now)
            first_of: int | None = None
            for action in self._playout.poll(now):
                match action:
                    case out.Audio(audio, reply, at):
                        self._outgoing.append(self._outlet.media(audio))
                        self._ear.playing(at - now, audio)
                        if self._recorder is not None:
                            self._recorder.played(at, audio)
                        if self._listeners:
                            self._tap.agent(at, audio)
                        self._own_words.heard(now, reply, self._playout.heard(now).text)
                        first_of = reply
                    case out.Mark(name):
                        self._outgoing.append(self._outlet.mark(name))
                    case out.Finished(reply):
                        run = self._runs.get(reply)
                        if run is not None:
                            self._reply_over(run, now)
            while self._outgoing:
                await self._outlet.send(self._outgoing.popleft())
                if first_of is not None:
                    run = self._runs.get(first_of)
                    if run is None or run.first_audio_ms is not None:  # a filler is no answer
                        self._log.sent(self._clock())
                        self._first_sent(first_of)
                    self._act(self._turns.reply_audible(self._clock(), first_of))
                    first_of = None
            self._leave_when_heard(self._clock())
            quiet = self._turns.quiet and self._person is None
            if self._moving and quiet and not self._runs and not self._closing:
                self._leave(MOVING)
            if self._save_due is not None and self._save_due <= now and self._end is None:
                self._save()
            await self._sleep_until_news()

    async def _sleep_until_news(self) -> None:
        times = [self._floor_due, self._playout.deadline, self._fillers.due, self._save_due]
        if self._after is not None and not self._runs:
            times.append(self._playout.confirm_deadline)
        due = min((time for time in times if time is not None), default=None)
        # A timer of the loop that nudges us: a cancel scope that runs out costs ten times as much, ten times a
        # second while we speak. Never sooner than the clock can tell: a core that wants a tick "now" gets it in the
        # next millisecond.
        timer = None
        if due is not None:
            timer = self._loop.call_at(self._t0 + max(due, self._clock() + 1) / 1000, self._nudge)
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    def _first_sent(self, reply: int) -> None:
        run = self._runs.get(reply)
        if run is not None:
            self._note_last(run.turn, begun_ms=self._clock())
            self._save()

    def _leave_when_heard(self, now: int) -> None:
        if self._after is None or self._runs or not self._playout.confirmed(now):
            return
        match self._after:
            case Broken(reason):
                self._finish(Outcome.BROKEN, reason)
            case EndCall(reason):
                self._finish(Outcome.COMPLETED, reason)
            case Transfer() if self._parts.control.can_hold and not self._handed_over:
                self._leave(HANDOVER)
            case Transfer(_, reason):
                self._finish(Outcome.TRANSFERRED, reason)

    def _nudge(self) -> None:
        self._wake.set()

    # --- time

    def _clock(self) -> int:
        return int((self._loop.time() - self._t0) * 1000 + 1e-3)  # a float a hair under n ms is n ms

    def _call_time(self, now: int, audio_ms: int) -> int:
        """When, on the call's clock, the sample at `audio_ms` arrived."""
        return max(0, min(now, now - (self._ear.received_ms - audio_ms)))


def _decision(commit: turns.Commit) -> Decision:
    why = commit.evidence
    if why is None:
        return Decision(commit.reason, commit.silence_ms)
    return Decision(commit.reason, commit.silence_ms, **{one.name: getattr(why, one.name) for one in fields(why)})
