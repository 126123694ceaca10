"""A talk with the agent in writing, to try its words out: the agent of the calls, without a call.

Nothing has an effect: what would be a lead is shown and forgotten, a transfer or a hang-up is told and not done.
Between two lines there is only what `Agent.keep` gives, so that each line may be answered by another process.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from moked.dialog import (
    Agent,
    AgentFactory,
    CallContext,
    CallerTurn,
    EndCall,
    Entry,
    Reply,
    Say,
    Speaker,
    ToolRan,
    Transfer,
)
from moked.records import LeadDraft

MOST_LINES: Final = 120
LONGEST: Final = 500
_FIELDS: Final = ("name", "phone", "need", "best_time", "summary")


@dataclass(frozen=True, slots=True)
class Line:
    """`tools` were used for it. `then`: 'transfer' or 'end' is what would happen after it, '' if nothing."""

    speaker: Speaker
    text: str
    tools: tuple[str, ...] = ()
    then: str = ""


@dataclass(frozen=True, slots=True)
class Tryout:
    """How far it has come. `kept` is the agent's own; `lead` what it has learned, by field."""

    kept: Any
    lines: tuple[Line, ...]
    lead: Mapping[str, str]

    @property
    def over(self) -> bool:
        return bool(self.lines and self.lines[-1].then) or len(self.lines) >= MOST_LINES


async def begin(agents: AgentFactory, context: CallContext) -> Tryout:
    """The greeting."""
    agent = agents(context)
    line = await _answer(agent.greet())
    return Tryout(agent.keep(), (line,), _lead(agent))


async def say(agents: AgentFactory, context: CallContext, before: Tryout, text: str) -> Tryout:
    """The answer to `text`. Raises `ProviderError` of a language model; `before` is as good as it was then."""
    agent = _taken_up(agents, context, before)
    words = " ".join(text.split())[:LONGEST]
    number = sum(line.speaker is Speaker.CALLER for line in before.lines) + 1
    keys = words if words and all(key in "0123456789*#" for key in words) else ""
    turn = CallerTurn(number, "" if keys else words, dtmf=keys)
    history = [Entry(line.speaker, line.text) for line in before.lines]
    line = await _answer(agent.reply(turn, history))
    said = Line(Speaker.CALLER, words)
    return Tryout(agent.keep(), (*before.lines, said, line), _lead(agent))


def _taken_up(agents: AgentFactory, context: CallContext, before: Tryout) -> Agent:
    agent = agents(context)
    if before.lines:
        try:
            agent.take_up(before.kept)
        except (ValueError, msgspec.ValidationError):  # of another agent: it goes on as new
            agent = agents(context)
    return agent


async def _answer(reply: Reply) -> Line:
    reply.commit()
    line = Line(Speaker.AGENT, "")
    said: list[str] = []
    async with reply.actions() as actions:
        async for action in actions:
            match action:
                case Say(text):
                    said.append(text)
                case ToolRan(use):
                    line = replace(line, tools=(*line.tools, use.name))
                case Transfer():
                    line = replace(line, then="transfer")
                case EndCall():
                    line = replace(line, then="end")
    return replace(line, text=" ".join("".join(_spaced(said)).split()))


def _spaced(said: Sequence[str]) -> list[str]:
    """Sentences of a script have no spaces between them, a model's pieces bring theirs."""
    out: list[str] = []
    for text in said:
        if out and out[-1][-1:] in ".,:;!?" and text[:1] not in ("", " "):
            out.append(" ")
        out.append(text)
    return out


def _lead(agent: Agent) -> dict[str, str]:
    lead: LeadDraft = agent.lead()
    known = {name: str(getattr(lead, name)) for name in _FIELDS}
    return {name: value for name, value in {**known, **lead.extra}.items() if value}
