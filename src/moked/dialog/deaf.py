"""What a caller gets while nobody can hear them: the keypad. An agent behind the agent's own port.

    hearing lost -> offer -- a number and # ------> taken, goodbye
                     ^  |-- 1: the caller's own --> taken, goodbye
                     |  |-- 0: a person ----------> transfer, or a promise and the offer again
                     |  '-- nothing, or words ----> the offer again, then goodbye
                     '--- half a number: what is the rest?

    hearing back -> "now I hear you" and the question that was open; from there on the call's own agent has the floor

Words are of no use here, so no rule looks at them. What is typed is confirmed by having been typed. The sentences are
lines of the script (`deaf_*`, `hearing_back`), whichever agent the call has, and so are rendered ahead of time.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from moked.crm.phone import national, to_e164
from moked.dialog import (
    Action,
    Agent,
    Ask,
    CallContext,
    CallerTurn,
    EndCall,
    Entry,
    Expect,
    Reply,
    Say,
    Speaker,
    Transfer,
    Unheard,
    slots,
)
from moked.dialog.business import Business
from moked.dialog.intake_state import ASKED_FOR_PERSON, YES
from moked.dialog.script import Prepared
from moked.dialog.scriptfile import Script, Slot
from moked.records import FieldSource, Handover, LeadDraft

CALLBACK: Final = "unheard_callback"
"""`EndCall` reason: the number to call back was typed, or is the caller's own."""

_OFFERS: Final = 3
_LONGEST: Final = 15  # digits of a number, E.164
_SENTENCE: Final = re.compile(r"[^.!?]+[.!?]*")


@dataclass(frozen=True, slots=True)
class _State:
    offers: int = 0  # in a row without a key
    digits: str = ""  # of a number, so far
    phone: str = ""  # E.164
    typed: str = ""  # the keys it came from
    person: bool = False


class UnheardAgents:
    """The factory, one a process. `script`: where the sentences are."""

    def __init__(self, business: Business, script: Script) -> None:
        self._business = business
        self._script = script

    def __call__(self, context: CallContext, agent: Agent) -> Unheard:
        return UnheardAgent(self._business, self._script, context, agent)

    def phrases(self) -> Sequence[str]:
        """Everything that may be said, in the order it is needed."""
        keys = [key for key in self._script.lines if key.startswith("deaf")]
        return [text for key in (*keys, "hearing_back") for text in self._script.line(key).fixed()]


class UnheardAgent:
    """One call's, from the first time nobody hears it. `agent` is the call's own: what it learned is kept."""

    def __init__(self, business: Business, script: Script, context: CallContext, agent: Agent) -> None:
        self._business = business
        self._script = script
        self._context = context
        self._agent = agent
        self._state = _State()
        self._turn = 0

    def greet(self) -> Reply:
        return self._decided(*self._offer(self._state, "deaf"))

    def reply(self, turn: CallerTurn, history: Sequence[Entry]) -> Reply:
        state = self._state
        if turn.dtmf:
            return self._decided(*self._pressed(replace(state, offers=0), turn.dtmf), turn=turn.number)
        if state.offers >= _OFFERS:
            return self._decided(*self._give_up(state))
        return self._decided(*self._offer(state, "deaf_still" if state.offers else "deaf"))

    def welcome_back(self, history: Sequence[Entry]) -> Reply:
        question = open_question(history) or self._first_question
        return self._decided(_State(), [*_says(*self._line("hearing_back"), question), Ask(Expect.OPEN)])

    def lead(self) -> LeadDraft:
        known, state = self._agent.lead(), self._state
        extra = {**known.extra, ASKED_FOR_PERSON: YES} if state.person else known.extra
        if not state.phone:
            return replace(known, extra=extra, unheard=True)
        source = FieldSource(self._turn, state.typed, 1.0)
        return replace(
            known,
            phone=state.phone,
            phone_confirmed=True,
            extra=extra,
            sources={**known.sources, "phone": source},
            unheard=True,
        )

    def handed_back(self, how: Handover, told: str, history: Sequence[Entry]) -> Reply:
        return self._agent.handed_back(how, told, history)

    def instruct(self, text: str) -> None:
        self._agent.instruct(text)

    def keep(self) -> Any:
        """What was typed is in the lead; who hears the caller in another process begins with the call's own agent."""
        return self._agent.keep()

    def take_up(self, kept: Any) -> None:
        self._agent.take_up(kept)

    # --- decisions: (state after it, what to say and do)

    def _offer(self, state: _State, *first: str) -> tuple[_State, list[Action]]:
        keys = [*first, "deaf_type"]
        keys += ["deaf_own"] if self._callers_own else []
        keys += ["deaf_person"] if self._a_person else []
        return replace(state, offers=state.offers + 1), self._ask(*keys)

    def _pressed(self, state: _State, keys: str) -> tuple[_State, list[Action]]:
        """'*' starts anew, '#' ends; a number may come in pieces."""
        anew, digits = "*" in keys, keys.rpartition("*")[2].replace("#", "")
        before = "" if anew else state.digits
        if not before and digits == "1" and self._callers_own:
            return self._taken(state, self._callers_own, keys, "deaf_own_taken")
        if not before and digits == "0":
            return self._person(state)
        alone, joined = slots.heard(digits), slots.heard(before + digits)
        number = next((one.e164 for one in (alone, joined) if one.e164 and one.e164.startswith("+")), None)
        if number:
            return self._taken(state, number, keys, "deaf_taken")
        if digits and not keys.endswith("#") and len(before + digits) < _LONGEST:
            return replace(state, digits=before + digits), self._ask("deaf_more")
        return replace(state, digits=""), self._ask("deaf_wrong")

    def _taken(self, state: _State, number: str, keys: str, line: str) -> tuple[_State, list[Action]]:
        return replace(state, phone=number, typed=keys), self._end(line)

    def _person(self, state: _State) -> tuple[_State, list[Action]]:
        state = replace(state, person=True)
        if self._a_person:
            transfer = Transfer(self._business.transfer_number, "caller_asked")
            return replace(state), [*_says(*self._line("transfer")), Ask(Expect.NOTHING), transfer]
        return self._offer(state, "deaf_nobody")

    def _give_up(self, state: _State) -> tuple[_State, list[Action]]:
        """Nothing was typed. Whose number is known is called back all the same."""
        return replace(state), self._end("deaf_own_taken" if self._callers_own else "deaf_goodbye")

    # --- small tools

    def _line(self, key: str) -> tuple[str, ...]:
        return self._script.line(key).render({})

    def _ask(self, *keys: str) -> list[Action]:
        return [*_says(*(piece for key in keys for piece in self._line(key))), Ask(Expect.PHONE)]

    def _end(self, key: str) -> list[Action]:
        return [*_says(*self._line(key)), Ask(Expect.NOTHING), EndCall(CALLBACK)]

    def _decided(self, after: _State, actions: list[Action], *, turn: int | None = None) -> Reply:
        def commit() -> None:
            self._state = after
            self._turn = self._turn if turn is None else turn

        return Prepared(tuple(actions), commit)

    @property
    def _callers_own(self) -> str:
        """The number they call from, where one can call it back."""
        number = to_e164(self._context.caller) or ""
        return number if number.startswith("+") and not national(number).startswith("1") else ""

    @property
    def _a_person(self) -> bool:
        return bool(self._business.transfer_number) and self._business.is_open(self._context.now)

    @property
    def _first_question(self) -> str:
        need = self._script.index(Slot.NEED)
        return " ".join(self._script.steps[need or 0].say.render({}))


def open_question(history: Sequence[Entry]) -> str:
    """The agent's last question that the caller has not answered, '' where there is none.

    What was said while nobody could hear is no answer, and what was offered instead is no question. Nor is the
    greeting one to come back to.
    """
    if all(entry.speaker is Speaker.AGENT for entry in history):
        return ""
    for entry in reversed(history):
        if entry.speaker is Speaker.CALLER:
            return ""
        for sentence in reversed(_SENTENCE.findall(entry.text)):
            if sentence.rstrip().endswith("?"):
                return str(sentence).strip()
    return ""


def _says(*pieces: str) -> list[Action]:
    """One `Say` a piece, so that each is spoken from the cache."""
    return [Say(piece if i == 0 else f" {piece}") for i, piece in enumerate(pieces)]
