"""What a language model may use up in one call, and how the call goes on when that is gone.

    within its ration      the model's agent
    tokens or tools gone   one kind sentence, and a person; where there is none, the script takes the caller's details

A caller, or a model that talks to itself, can so cost no more than an owner has allowed, and no call comes to a dead
end. What the model's agent learned is kept, and not asked again.
"""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import msgspec

from moked import metrics
from moked.dialog import Agent, AgentFactory, CallContext, CallerTurn, Entry, Reply, Say, Transfer
from moked.dialog.business import Business, gendered
from moked.dialog.script import Prepared, ScriptAgent, ScriptAgents
from moked.records import Handover, LeadDraft

log = logging.getLogger(__name__)

DETAILS: Final = "כדי לא לעכב אתכם, אקח רק כמה פרטים, ומישהו מאיתנו יחזור אליכם."
TO_A_PERSON: Final = "כדי לא לעכב אתכם, אני {מעביר|מעבירה} אתכם לנציג."
REASON: Final = "call_limit"


@dataclass(slots=True)
class Spent:
    """By one call's model so far; abandoned replies are paid for too."""

    tokens: int = 0
    tools: int = 0


@dataclass(frozen=True, slots=True)
class Rations:
    """What one call's model may use up."""

    tokens: int
    tools: int

    def gone(self, spent: Spent) -> str:
        """What is used up: 'tokens', 'tools' or ''."""
        if spent.tokens >= self.tokens:
            return "tokens"
        return "tools" if spent.tools >= self.tools else ""


class Spending(Agent, Protocol):
    """An agent that counts what it costs."""

    @property
    def spent(self) -> Spent: ...


class SpendingAgents(AgentFactory, Protocol):
    def __call__(self, context: CallContext) -> Spending: ...


class RationedAgents:
    """The factory of a model's agents, with the script behind them."""

    def __init__(
        self,
        inner: SpendingAgents,
        script: ScriptAgents,
        business: Business,
        rations: Rations,
        *,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.name = inner.name
        self.inner = inner
        self.script = script
        self.business = business
        self.rations = rations
        self.to_a_person = gendered(TO_A_PERSON, business.voice_gender)
        self._clock = clock or (lambda: datetime.now(ZoneInfo(business.timezone)))

    def __call__(self, context: CallContext) -> Agent:
        return RationedAgent(self, context)

    def phrases(self) -> Sequence[str]:
        return (*self.inner.phrases(), DETAILS, self.to_a_person)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.inner.running(), self.script.running():
            yield

    @property
    def person(self) -> str:
        """The number of a person who is there now, or ''."""
        return self.business.transfer_number if self.business.is_open(self._clock()) else ""


@dataclass(frozen=True, slots=True)
class _Kept:
    model: Any
    relief: Any
    relieved_at: int
    spent: Spent = field(default_factory=Spent)


class RationedAgent:
    """One call's."""

    def __init__(self, house: RationedAgents, context: CallContext) -> None:
        self._house = house
        self._context = context
        self._model = house.inner(context)
        self._relief: ScriptAgent | None = None
        self._relieved_at = 0  # the turn

    @property
    def tokens(self) -> int:
        return self._model.spent.tokens

    def greet(self) -> Reply:
        return self._model.greet()

    def reply(self, turn: CallerTurn, history: Sequence[Entry]) -> Reply:
        if self._relief is not None and turn.number != self._relieved_at:
            return self._relief.reply(turn, history)
        gone = self._house.rations.gone(self._model.spent)
        return self._relieve(turn, gone) if gone else self._model.reply(turn, history)

    def lead(self) -> LeadDraft:
        return self._model.lead() if self._relief is None else self._relief.lead()

    def handed_back(self, how: Handover, told: str, history: Sequence[Entry]) -> Reply:
        if self._relief is not None:
            return self._relief.handed_back(how, told, history)
        return self._model.handed_back(how, told, history)

    def instruct(self, text: str) -> None:
        (self._model if self._relief is None else self._relief).instruct(text)

    def keep(self) -> Any:
        relief = None if self._relief is None else self._relief.keep()
        spent = self._model.spent
        return {
            "model": self._model.keep(),
            "relief": relief,
            "relieved_at": self._relieved_at,
            "spent": {"tokens": spent.tokens, "tools": spent.tools},
        }

    def take_up(self, kept: Any) -> None:
        """What was spent comes along: a call that moves has no more than one that stays."""
        given = msgspec.convert(kept, _Kept)
        self._model.take_up(given.model)
        self._model.spent.tokens += given.spent.tokens
        self._model.spent.tools += given.spent.tools
        if given.relief is not None:
            relief = self._house.script.take_over(self._context, self._model.lead())
            relief.take_up(given.relief)
            self._relief, self._relieved_at = relief, given.relieved_at

    def _relieve(self, turn: CallerTurn, gone: str) -> Reply:
        relief = self._house.script.take_over(self._context, self._model.lead())
        person = self._house.person
        if person:
            return Prepared(
                (Say(self._house.to_a_person), Transfer(person, REASON)), self._relieved(relief, turn, gone)
            )
        return relief.go_on(DETAILS, turn, self._relieved(relief, turn, gone))

    def _relieved(self, relief: ScriptAgent, turn: CallerTurn, gone: str) -> Callable[[], None]:
        def commit() -> None:
            if self._relief is None:
                metrics.call_limits.labels(gone).inc()
                log.warning("the language model has used up its ration of this call", extra={"limit": gone})
            self._relief, self._relieved_at = relief, turn.number

        return commit
