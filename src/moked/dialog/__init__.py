"""The agent port: what the caller said goes in, what to say and do comes out.

A `Reply` is prepared speculatively, while the caller may still go on: nothing of it lasts and no tool with an effect
runs before `commit`. An abandoned reply is simply left (its context manager exits) and the agent is as it was.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

from moked.records import Handover, LeadDraft, ToolUse


class Expect(StrEnum):
    """What the agent's last words asked for. Turn taking waits accordingly; 'כן' after YES_NO is an answer."""

    OPEN = "open"
    YES_NO = "yes_no"
    NAME = "name"
    PHONE = "phone"
    TIME = "time"
    ID = "id"  # an Israeli identity number
    ADDRESS = "address"  # city and street
    PLATE = "plate"  # a licence plate
    DATE = "date"
    NUMBER = "number"  # any other number
    NOTHING = "nothing"  # a statement or a farewell


@dataclass(frozen=True, slots=True)
class Say:
    """More text to speak. Pieces are joined as they are: an LLM's deltas, or whole sentences of a script."""

    text: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What this reply asks for; comes at any point of the reply, the last one holds."""

    expect: Expect


@dataclass(frozen=True, slots=True)
class Transfer:
    """After what was said has been heard, connect the caller to `number` (E.164)."""

    number: str
    reason: str


@dataclass(frozen=True, slots=True)
class EndCall:
    """After what was said has been heard, hang up."""

    reason: str


@dataclass(frozen=True, slots=True)
class ToolRan:
    """For the record: a tool was used."""

    use: ToolUse


Action = Say | Ask | Transfer | EndCall | ToolRan


@dataclass(frozen=True, slots=True)
class Second:
    """The same words of turn `turn` by two engines. `expect`: what had been asked for."""

    turn: int
    first: str
    first_engine: str
    text: str
    engine: str
    expect: Expect


@dataclass(frozen=True, slots=True)
class CallerTurn:
    """What the caller just did: `text` is the transcript, `dtmf` digits pressed, `silent` nothing in time.

    `cut_in`: the caller interrupted the previous reply. `confidence` 0..1 or None. `second`: what a second engine
    heard, of this turn or, where it came later than the answer, of one before it.
    """

    number: int
    text: str = ""
    dtmf: str = ""
    silent: bool = False
    cut_in: bool = False
    confidence: float | None = None
    second: tuple[Second, ...] = ()


class Speaker(StrEnum):
    CALLER = "caller"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the conversation as it was *heard*. `cut`: the agent was interrupted after these words."""

    speaker: Speaker
    text: str
    cut: bool = False


@dataclass(frozen=True, slots=True)
class CallContext:
    """What is known when the call begins. `now` is local business time (aware)."""

    call_sid: str
    caller: str  # E.164, or '' when withheld
    now: datetime
    known_name: str = ""  # from the CRM, for a returning caller
    last_need: str = ""
    notes: dict[str, str] = field(default_factory=dict)
    opening: str = ""  # on a call that we make: what is said in the greeting's place
    greeting: str = ""  # what is said first, if not the business's own greeting
    refuse_key: str = ""  # stops the recording
    refused: bool = False  # the recording, before the call moved here
    keeps_refused_words: bool = False  # who refuses keeps a transcript all the same


class Reply(Protocol):
    """One prepared answer. Enter it to get its actions as they become known."""

    def actions(self) -> AbstractAsyncContextManager[AsyncIterator[Action]]: ...

    def commit(self) -> None:
        """The turn is the agent's now: state moves on, tools with effects may run. Called at most once."""


class Agent(Protocol):
    """One a call. Methods other than entering a reply never wait."""

    def greet(self) -> Reply: ...

    def reply(self, turn: CallerTurn, history: Sequence[Entry]) -> Reply:
        """Prepare the answer to `turn`. `history` holds everything heard before it, without the turn itself."""

    def handed_back(self, how: Handover, told: str, history: Sequence[Entry]) -> Reply:
        """The caller was to be connected to a person and is not, or a person who spoke in our place has left: say so,
        and go on. `told`: what the person says to do, '' if nothing; of one who has left, who that was too."""

    def instruct(self, text: str) -> None:
        """A person of the business says, unheard by the caller, what to heed in the next reply. An agent that
        understands no instructions says it."""

    def lead(self) -> LeadDraft:
        """What was learned so far; asked for at any moment, also after a break."""

    def keep(self) -> Any:
        """Where it stands, as plain JSON values: what an agent of another process needs to go on."""

    def take_up(self, kept: Any) -> None:
        """Go on from what `keep` gave. Raises `ValueError` for what cannot be used, and is as new then."""


@runtime_checkable
class Costly(Protocol):
    """An agent that a language model answers for."""

    @property
    def tokens(self) -> int:
        """Used so far, abandoned replies included."""


def tokens_of(agent: object) -> int:
    """Of a language model's agent; 0 of any other."""
    return agent.tokens if isinstance(agent, Costly) else 0


class Unheard(Agent, Protocol):
    """Has the call while nobody can hear the caller: keys only. Its `lead` holds the call's own agent's too."""

    def welcome_back(self, history: Sequence[Entry]) -> Reply:
        """Somebody hears the caller again; after this reply the call's own agent has the floor."""


class AgentFactory(Protocol):
    """One a process: makes an agent for each call."""

    name: str  # 'script', 'llm'

    def __call__(self, context: CallContext) -> Agent: ...

    def phrases(self) -> Sequence[str]:
        """Every fixed sentence that may be said, most urgent first: rendered ahead of time and cached."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """Connect, load and warm up on entry, serve while entered, release on exit. Entered once, by the role."""
