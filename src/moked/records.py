"""What the planes tell one another about a call: plain frozen values, no behaviour, standard library only.

`media` fills them, `crm.service` stores them, `web` and `simulate` show them. Times in a call are whole milliseconds
since the `start` message of the media stream; wall-clock times are timezone-aware UTC.
"""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Outcome(StrEnum):
    """How a call ended, for people and statistics."""

    COMPLETED = "completed"  # the agent finished the conversation
    CALLER_HUNG_UP = "caller_hung_up"
    TRANSFERRED = "transferred"
    REFUSED = "refused"  # overload or drain: never reached the agent
    BROKEN = "broken"  # we failed; a lead says so
    NO_STREAM = "no_stream"  # the webhook answered, the media stream never came


@dataclass(frozen=True, slots=True)
class FieldSource:
    """Where a lead field came from: the turn's number, the caller's words, and how sure we are (0..1).

    `readings`: what each engine heard, by its name, where two of them did not agree.
    """

    turn: int
    quote: str
    confidence: float
    readings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeadDraft:
    """What the agent learned so far. Empty strings mean "not known". `phone` is E.164 or empty."""

    name: str = ""
    phone: str = ""
    need: str = ""
    best_time: str = ""
    summary: str = ""
    extra: dict[str, str] = field(default_factory=dict)
    sources: dict[str, FieldSource] = field(default_factory=dict)
    phone_confirmed: bool = False
    callback_at: datetime | None = None  # `best_time` as a time, where it is exact enough to act on
    unheard: bool = False  # nobody could hear the caller any more: our fault


@dataclass(frozen=True, slots=True)
class Waterfall:
    """One turn's latency, each value in call ms, None where it did not happen.

    All from one monotonic clock: speech_end -> transcript -> endpoint (the turn was committed) -> llm_first (first text
    from the agent) -> tts_first (first audio from the synthesizer) -> sent (first frame on the socket) -> heard (first
    mark of the reply came back).
    """

    speech_end_ms: int | None = None
    transcript_ms: int | None = None
    endpoint_ms: int | None = None
    llm_first_ms: int | None = None
    tts_first_ms: int | None = None
    sent_ms: int | None = None
    heard_ms: int | None = None

    @property
    def response_ms(self) -> int | None:
        """From the caller's last sound to our first frame on the socket."""
        if self.speech_end_ms is None or self.sent_ms is None:
            return None
        return self.sent_ms - self.speech_end_ms


@dataclass(frozen=True, slots=True)
class ToolUse:
    name: str
    arguments: str  # JSON as the agent gave it
    result: str
    ok: bool
    took_ms: int


CUT_OFF_MS = 1000
"""Who cuts in sooner than this after our first sound had probably not finished."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why the caller's turn was taken to be over, and what came of it: to tune the rules by.

    `reason` is the rule's stable word; `ending` whether Hebrew says that the words are all; `silence_ms` what was
    waited of `hold_ms`, of which `pace_ms` is this caller's. `asked`: what for. `begun`: replies that were begun for
    it, `early` those at a mere pause. `reopened`: how often it had been taken to be over before; `before` says how.
    `final`: the recogniser's last word, not a guess.

    `outcome`: 'answered', 'reopened' (`after_ms` the commit, before our first sound), 'cut_in' (`after_ms` our first
    sound), 'ended' with the call, '' while it is open.
    """

    reason: str
    silence_ms: int
    ending: str = ""
    hold_ms: int = 0
    pace_ms: int = 0
    asked: str = ""
    begun: int = 0
    early: int = 0
    reopened: int = 0
    final: bool = True
    outcome: str = ""
    after_ms: int | None = None
    before: tuple["Decision", ...] = ()

    @property
    def cut_off(self) -> bool:
        """They had probably not finished."""
        return self.outcome == "cut_in" and self.after_ms is not None and self.after_ms < CUT_OFF_MS


@dataclass(frozen=True, slots=True)
class TurnRecord:
    """One turn: what the caller said and what the agent answered. `number` 0 is the greeting.

    `said` is all the agent meant to say, `heard` what reached the caller's ear, `cut` whether the caller cut in.
    `spoken_by`: the person who answered in the agent's place; '' = nobody did. `word_times`: (start_ms, end_ms) on the
    call's recording of each word of `caller_text` as `str.split` gives them; () where they are not known.
    """

    number: int
    caller_text: str
    said: str
    heard: str
    cut: bool
    started_ms: int
    ended_ms: int
    engine: str = ""
    confidence: float | None = None
    dtmf: str = ""
    waterfall: Waterfall = field(default_factory=Waterfall)
    tools: tuple[ToolUse, ...] = ()
    decision: Decision | None = None
    spoken_by: str = ""
    word_times: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Segment:
    """One utterance of a transcript, in call ms. `speaker`: 'caller' or 'agent'."""

    start_ms: int
    end_ms: int
    speaker: str
    text: str
    engine: str = ""


FROM_BROWSER = "browser"
"""The `direction` of a call that somebody at the desk makes with the microphone: no carrier knows of it."""


@dataclass(frozen=True, slots=True)
class CallStart:
    """What the webhook knows. Phone numbers are as the carrier sent them (E.164 or 'anonymous').

    `stream` counts the media streams of the call: 0 is the first, a later one goes on with what was begun before it.
    `business_id`: whose call it is; 0 until that is on record.
    """

    call_sid: str
    account_sid: str
    caller: str
    called: str
    direction: str = "inbound"
    simulated: bool = False
    stream: int = 0
    business_id: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class CallEnd:
    """How it ended. `detail` is a stable short code such as 'agent_hangup', 'socket_lost', 'llm_failed'.

    `stream` is the one that saw the end; a later one knows better.
    """

    call_sid: str
    outcome: Outcome
    detail: str
    duration_ms: int
    lead: LeadDraft
    engines: tuple[str, ...] = ()  # in the order they served
    ended_at: datetime | None = None
    stream: int = 1 << 30  # of whoever concludes it from outside: later than any


class OrderKind(StrEnum):
    """What a person at the desk may tell a running call."""

    WHISPER = "whisper"  # heed this in the next reply
    END = "end"
    TRANSFER = "transfer"


@dataclass(frozen=True, slots=True)
class Order:
    """`text`: the instruction, or the number to transfer to (E.164). `who` gives it: their name."""

    call_sid: str
    kind: OrderKind
    text: str
    who: str


@dataclass(frozen=True, slots=True)
class Supervisor:
    """Who is on a supervisor's socket; `talks`: may take the call over."""

    business_id: int
    user_id: int
    name: str
    talks: bool


HANDOVER = "handover"
"""Why a stream ended whose caller waits for a person."""


class Handover(StrEnum):
    """What became of an attempt to reach a person."""

    TAKEN = "taken"
    SENT_BACK = "sent_back"  # with an instruction, perhaps
    UNANSWERED = "unanswered"  # also busy, a voicemail, a key that was not pressed
    RETURNED = "returned"  # who had taken the call over gives it back


@dataclass(frozen=True, slots=True)
class SnapshotSave:
    """Where a running call stands (`media.snapshot`), so that another process can go on with it.

    `left` is why its stream has ended, '' while it runs.
    """

    call_sid: str
    stream: int
    data: bytes
    left: str = ""


@dataclass(frozen=True, slots=True)
class LeftCall:
    """A call as its last stream left it: `data` of the last snapshot, why it left, and how long ago."""

    data: bytes
    why: str
    gap_ms: int
    handover: Handover | None = None  # what became of the attempt to reach a person, if that is why it left
    recording: str = ""  # where the carrier keeps what the person said to do
    told: str = ""  # its words, once they were heard
