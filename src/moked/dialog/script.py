"""The scripted agent behind the agent port: good enough to run a small business without a language model.

What it says is in a YAML file (`scriptfile`), what it decides in `intake`. A reply holds its words and the state after
it, and only `commit` puts that state in place, so an abandoned reply leaves no trace. A turn that comes again under its
number (the caller went on before anything was heard) is decided from the state before it.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from moked.dialog import Action, Agent, CallContext, CallerTurn, Entry, Reply, Say, addresses, intake
from moked.dialog.business import Business
from moked.dialog.intake_state import NAME, OUTBOUND, PHONE, Known, State, lead, resumed
from moked.dialog.scriptfile import Script, load_script
from moked.dialog.spoken_phone import DIGIT_WORDS
from moked.records import Handover, LeadDraft

_ANSWERS = (
    "thanks", "confirm", "more", "city", "street", "house", "slowly", "keyed", "wrong", "invalid", "keys", "fix",
)  # fmt: skip
"""Lines of a step in the order in which a call comes to need them."""
_FROM_RECORDS = 0.7  # how sure we are that a returning caller is the person on record


class ScriptAgents:
    """The factory: reads and checks the script once, unless it is given. Raises `ProfileError`."""

    name = "script"

    def __init__(self, business: Business, script_path: Path | None = None, *, script: Script | None = None) -> None:
        self._business = business
        self._script = script or load_script(script_path, business.voice_gender, business.name)
        addresses.ready()

    def __call__(self, context: CallContext) -> Agent:
        return ScriptAgent(self._business, self._script, context)

    def take_over(self, context: CallContext, learned: LeadDraft) -> "ScriptAgent":
        """An agent that goes on where another stopped: what is in `learned` is not asked again."""
        return ScriptAgent(self._business, self._script, context, learned)

    def phrases(self) -> Sequence[str]:
        """Everything fixed, in the order a call needs it: greeting, questions, answers, digits, the rest."""
        return tuple(dict.fromkeys(_phrases(self._business, self._script)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        yield


def _phrases(business: Business, script: Script) -> Iterator[str]:
    yield business.greeting
    for step in script.steps:
        yield from step.line("offer").fixed()
        yield from step.say.fixed()
    for step in script.steps:
        for key in _ANSWERS:
            yield from step.line(key).fixed()
    for key in ("goodbye", "bye"):
        yield from script.line(key).fixed()
    yield intake.HANDED_BACK[Handover.RETURNED]
    if business.transfer_number:
        yield from intake.HANDED_BACK.values()
    for step in script.steps:
        for line in step.again:
            yield from line.fixed()
    for line in script.silence:
        yield from line.fixed()
    yield from DIGIT_WORDS
    for line in script.lines.values():
        yield from line.fixed()
    for step in script.steps:
        yield from step.line("why").fixed()
    yield business.week_text()
    for faq in business.faq:
        yield faq.answer
    for service in business.services:
        yield business.price_text(service)
    if business.address:
        yield from script.line("address").render({"address": business.address})


class ScriptAgent:
    """One call."""

    def __init__(
        self, business: Business, script: Script, context: CallContext, learned: LeadDraft | None = None
    ) -> None:
        self._desk = intake.Desk(business, script, context)
        state = State() if learned is None else resumed(learned)
        if context.known_name and NAME not in state.known:
            name = Known(context.known_name, 0, "", _FROM_RECORDS, spoken=context.known_name.split()[0])
            state = replace(state, known={**state.known, NAME: name})
        if context.opening and context.caller:  # we called this number, and they answered
            phone = Known(context.caller, 0, "", 1.0, confirmed=True)
            state = replace(state, known={PHONE: phone, **state.known}, marks=state.marks | {OUTBOUND})
        self._state = state
        self._before = self._state  # as it was before turn `_last`
        self._last = -1
        self._wanted: _Wanted | None = None  # by a person of the business

    def greet(self) -> Reply:
        decided = intake.greet(self._desk, self._state)
        return self._prepared(self._state, decided, 0)

    def reply(self, turn: CallerTurn, history: Sequence[Entry]) -> Reply:
        before = self._before if turn.number == self._last else self._state
        after, actions = intake.answer(self._desk, before, turn, history)
        wanted = self._wanted if self._wanted is not None and self._wanted.turn in (None, turn.number) else None
        if wanted is None:
            return self._prepared(before, (after, actions), turn.number)
        prepared = self._prepared(before, (after, (Say(f"{wanted.text} "), *actions)), turn.number)

        def commit() -> None:
            prepared.commit()
            if self._wanted is wanted:
                self._wanted = replace(wanted, turn=turn.number)

        return Prepared(prepared.all, commit)

    def instruct(self, text: str) -> None:
        """A script follows nobody: what is written is said, word by word, before the next answer."""
        words = " ".join(text.split())
        self._wanted = _Wanted(words if words.endswith((".", "?", "!")) else f"{words}.")

    def handed_back(self, how: Handover, told: str, history: Sequence[Entry]) -> Reply:
        """What a person who sends the caller back says is passed on; what one who has left wants known is not."""
        passed_on = told if how is Handover.SENT_BACK else ""
        decided = intake.back(self._desk, self._state, self._last, how, passed_on)
        return self._prepared(self._state, decided, self._last)

    def go_on(self, opening: str, turn: CallerTurn, committed: Callable[[], None]) -> Reply:
        """Say `opening` and ask for what is still unknown. The words of `turn` were for somebody else: they are noted.

        `committed` is told at the reply's commit.
        """
        before = self._state
        prepared = self._prepared(before, intake.take_over(self._desk, before, turn, opening), turn.number)

        def commit() -> None:
            prepared.commit()
            committed()

        return Prepared(prepared.all, commit)

    def lead(self) -> LeadDraft:
        return lead(self._state)

    def keep(self) -> Any:
        return msgspec.to_builtins(_Kept(self._state, self._before, self._last, self._steps))

    def take_up(self, kept: Any) -> None:
        """The owner may have changed the script meanwhile: then what is known stays, and the steps are gone through
        from the first."""
        given = msgspec.convert(kept, _Kept)
        if given.steps != self._steps:
            given = replace(given, state=_from_the_first(given.state), before=_from_the_first(given.before))
        self._state, self._before, self._last = given.state, given.before, given.last

    @property
    def _steps(self) -> tuple[str, ...]:
        return tuple(step.id for step in self._desk.script.steps)

    def _prepared(self, before: State, decided: intake.Decided, number: int) -> "Prepared":
        after, actions = decided

        def commit() -> None:
            self._before, self._state, self._last = before, after, number

        return Prepared(actions, commit)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """To be said; `turn` is the one it was said in, and would be said in again."""

    text: str
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class _Kept:
    state: State
    before: State
    last: int
    steps: tuple[str, ...]


def _from_the_first(state: State) -> State:
    return replace(state, step=0, tries=0, given_up=frozenset(), asked=())


class Prepared:
    """A `Reply` whose actions are all known."""

    def __init__(self, actions: tuple[Action, ...], commit: Callable[[], None]) -> None:
        self.all = actions
        self.commit = commit

    @asynccontextmanager
    async def actions(self) -> AsyncIterator[AsyncIterator[Action]]:
        yield _Each(self.all)


class _Each:
    """The actions, all known already."""

    def __init__(self, actions: tuple[Action, ...]) -> None:
        self._left = iter(actions)

    def __aiter__(self) -> "_Each":
        return self

    async def __anext__(self) -> Action:
        for action in self._left:
            return action
        raise StopAsyncIteration
