"""The LLM agent: a model's words streamed as they come, with tools, on any OpenAI-compatible server.

One turn is one or a few streamed completions: words go out as `Say` at once, tool calls are collected, run, and
answered until the model has said its piece. What former turns' tools learned is told to the model as known facts, so
the history holds only what was heard. The server's quirks are met here: tool calls without or with repeated `index`,
a finish of "stop" in spite of tool calls, extra fields that must come back verbatim (Gemini's compatible endpoint).
"""

import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

import anyio
import msgspec

from moked import metrics
from moked.dialog import (
    Action,
    Ask,
    CallContext,
    CallerTurn,
    EndCall,
    Entry,
    Expect,
    Reply,
    Say,
    Speaker,
    ToolRan,
    addresses,
)
from moked.dialog.business import Business
from moked.dialog.chat import PROVIDER, Chat, Chunk, Delta
from moked.dialog.intake import HANDED_BACK
from moked.dialog.published import system_prompt, written_prompt
from moked.dialog.rations import Spent
from moked.dialog.second_hearing import compare, with_readings
from moked.dialog.tools import BY_NAME, TOOLS, Toolbox
from moked.errors import Failure, ProviderError
from moked.records import Handover, LeadDraft, ToolUse
from moked.stt.transcripts import normalise

log = logging.getLogger(__name__)

_ROUNDS: Final = 4
_HISTORY_ENTRIES: Final = 40
_CUT_NOTE: Final = " [נקטע]"
_DAYS: Final = ("שני", "שלישי", "רביעי", "חמישי", "שישי", "שבת", "ראשון")

_SPOKEN_TOKENS: Final = 400
_WRITTEN_TOKENS: Final = 900
_LETTERS_A_TOKEN: Final = 2  # of Hebrew; rather too many tokens than too few
NO_MORE_TOOLS: Final = "Not done: no more tools in this call. Answer with what you know."

WAITS: Final = "[הפונה ממתין בקו לתשובה]"
_TOLD_KEPT: Final = 5
_INSTRUCTED: Final = (
    "הנחיות מאנשי העסק לשיחה הזאת. מי שמתקשר לא שומע אותן: אין להזכיר שהתקבלו ואין לצטט אותן. "
    "יש לפעול לפיהן כבר בתשובה הבאה, והאחרונה קודמת לכל השאר:"
)
_WAS_TAKEN_OVER: Final = "השיחה הייתה עד עכשיו בידי איש צוות שדיבר במקומך, וחזרה אליך:"

STILL_THERE: Final = ("אתם איתי?", "אני עדיין כאן. אפשר לדבר.")
GOODBYE_SILENCE: Final = "לא שומעים אתכם, אז השיחה תתנתק. אפשר להתקשר שוב בכל זמן. להתראות."
NOT_HEARD: Final = "סליחה, לא שמעתי טוב. אפשר לחזור על זה?"


class LlmAgents:
    """Makes an agent for each call. `base_url` empty means OpenAI itself; `timeout_s` is for the first word.

    `prompt` is the owner's own, with {name} and {facts} where they belong; empty: the packaged one. `chat` is the
    server's client where others use it too; it is not closed here then.
    `written`: for conversations in writing, whose answers may be longer.
    """

    name = "llm"

    def __init__(
        self,
        business: Business,
        *,
        model: str,
        api_key: str,
        base_url: str = "",
        timeout_s: float = 6.0,
        max_tools: int = 1_000_000,
        written: bool = False,
        clock: Callable[[], datetime] | None = None,
        prompt: str = "",
        chat: Chat | None = None,
    ) -> None:
        self._business = business
        self._model = model
        self._max_tools = max_tools
        self._clock = clock or (lambda: datetime.now(ZoneInfo(business.timezone)))
        self._options: dict[str, Any] = {}
        if not base_url:
            self._options["stream_options"] = {"include_usage": True}  # others may not know it, or send it anyway
            self._options["prompt_cache_key"] = f"moked-{business.name}"[:64]
        if model.startswith(("gpt-5", "o1", "o3", "o4")):
            self._options["reasoning_effort"] = "low"  # the one effort every reasoning model takes
        self._chat = chat or Chat(base_url=base_url, api_key=api_key, timeout_s=timeout_s)
        self._own_chat = chat is None
        self._prompt = system_prompt(business, written_prompt(prompt) if written else prompt)
        self._longest = _WRITTEN_TOKENS if written else _SPOKEN_TOKENS
        addresses.ready()
        self._tools = [tool.schema() for tool in TOOLS]  # made once: they are most of what is sent

    def __call__(self, context: CallContext) -> "LlmAgent":
        return LlmAgent(self, context)

    def phrases(self) -> Sequence[str]:
        return (self._business.greeting, NOT_HEARD, *STILL_THERE, GOODBYE_SILENCE, HANDED_BACK[Handover.RETURNED])

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if self._own_chat:
                await self._chat.close()

    def stream(self, messages: list[dict[str, Any]]) -> AbstractAsyncContextManager[AsyncIterator[Chunk]]:
        """One streamed completion. Raises `ProviderError`; a silent server is a TIMEOUT, also between words."""
        return self._chat.stream(
            {
                "model": self._model,
                "messages": messages,
                "stream": True,
                "max_completion_tokens": self._longest,
                "tools": self._tools,
                **self._options,
            }
        )


class LlmAgent:
    """One call's agent. `spent` counts what it costs; tools beyond `max_tools` are not run."""

    def __init__(self, house: LlmAgents, context: CallContext) -> None:
        self._house = house
        self._business = house._business
        self._context = context
        self._tools = Toolbox(self._business, context, house._clock)
        self._silences = 0
        self._last = 0
        self._before = LeadDraft()
        self._told: tuple[str, ...] = ()  # by people of the business, oldest first
        self.spent = Spent()

    @property
    def tokens(self) -> int:
        return self.spent.tokens

    def greet(self) -> Reply:
        return _Answer(
            _fixed(Say(self._context.opening or self._context.greeting or self._business.greeting), Ask(Expect.OPEN))
        )

    def reply(self, turn: CallerTurn, history: Sequence[Entry]) -> Reply:
        if turn.silent:
            return self._nudge()
        if not turn.text and not turn.dtmf:
            return _Answer(_fixed(Say(NOT_HEARD), Ask(Expect.OPEN)))
        committed = anyio.Event()

        def commit() -> None:
            self._silences = 0
            if turn.number == self._last:  # re-opened: what its tools did is done again, from where it began
                self._tools.lead = self._before
            self._last, self._before = turn.number, self._tools.lead
            committed.set()

        return _Answer(lambda: self._converse(turn, history, committed), commit)

    def handed_back(self, how: Handover, told: str, history: Sequence[Entry]) -> Reply:
        """The fixed sentence; what the caller says to it goes to the model, which has heard it in the history. What a
        person who sends the caller back says to do is the model's to carry out, from this answer on."""
        if how is Handover.RETURNED:
            self._told = (*self._told, f"{_WAS_TAKEN_OVER} {told}".strip())[-_TOLD_KEPT:]
        elif told:
            self.instruct(told)
            committed = anyio.Event()
            waiting = CallerTurn(max(self._last, 0), WAITS)
            return _Answer(lambda: self._converse(waiting, history, committed), committed.set)
        return _Answer(_fixed(Say(HANDED_BACK[how]), Ask(Expect.OPEN)))

    def lead(self) -> LeadDraft:
        return self._tools.lead

    def instruct(self, text: str) -> None:
        self._told = (*self._told, " ".join(text.split()))[-_TOLD_KEPT:]

    def keep(self) -> Any:
        return msgspec.to_builtins(_Kept(self._tools.lead, self._before, self._last, self._silences, self._told))

    def take_up(self, kept: Any) -> None:
        given = msgspec.convert(kept, _Kept)
        self._tools.lead, self._before = given.lead, given.before
        self._last, self._silences, self._told = given.last, given.silences, given.told

    def _nudge(self) -> Reply:
        said = self._silences

        def commit() -> None:
            self._silences = said + 1

        if said >= len(STILL_THERE):
            return _Answer(_fixed(Say(GOODBYE_SILENCE), EndCall("silence")), commit)
        return _Answer(_fixed(Say(STILL_THERE[said]), Ask(Expect.OPEN)), commit)

    async def _converse(
        self, turn: CallerTurn, history: Sequence[Entry], committed: anyio.Event
    ) -> AsyncIterator[Action]:
        messages = self._messages(_caller_words(turn, history), history, two_readings(turn))
        said, retried, rest = "", False, _Rest("")
        for _ in range(_ROUNDS):
            begun = said
            calls, cost = _CallCollector(), _Cost(messages)
            try:
                async with self._house.stream(messages) as chunks:
                    async for chunk in chunks:
                        cost.take(chunk)
                        for choice in chunk.choices:
                            calls.take(choice.delta)
                            text = rest.new(choice.delta.content or "")
                            if text:
                                said += text
                                yield Say(text)
            except ProviderError as error:
                if error.kind in (Failure.AUTH, Failure.CONFIG):
                    raise
                if retried:
                    if _whole_sentence(said):  # it is an answer, if not all of it
                        log.warning("language model fell silent in its answer", extra={"kind": error.kind.value})
                        break
                    raise
                retried = True
                log.warning("language model failed, trying once more", extra={"kind": error.kind.value})
                spoken = said[len(begun) :]
                if spoken.strip():
                    rest = _Rest(spoken)
                    messages += [{"role": "assistant", "content": spoken}, {"role": "system", "content": _GO_ON}]
                continue
            finally:  # an abandoned one is paid for as well
                self.spent.tokens += cost.tokens
                metrics.llm_tokens.inc(cost.tokens)
            if not calls.found:
                break
            messages.append(calls.message())
            for call in calls.found:
                async for action in self._run(call, turn, committed, messages):
                    yield action
        if not said.strip():
            raise ProviderError(PROVIDER, Failure.PROTOCOL, "the model said nothing")
        yield Ask(expectation(said))

    async def _run(
        self, call: dict[str, Any], turn: CallerTurn, committed: anyio.Event, messages: list[dict[str, Any]]
    ) -> AsyncIterator[Action]:
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        tool = BY_NAME.get(name)
        if tool is not None and tool.has_effect:
            await committed.wait()
        if self.spent.tools >= self._house._max_tools:
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": NO_MORE_TOOLS})
            return
        self.spent.tools += 1
        began = time.monotonic()
        result = self._tools.use(name, arguments, turn=turn.number, quote=turn.text)
        took = int((time.monotonic() - began) * 1000)
        self._tools.lead = with_readings(self._tools.lead, turn.second)
        yield ToolRan(ToolUse(name, arguments, result.text, result.ok, took))
        if result.then is not None:
            yield result.then
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result.text})

    def _messages(self, words: str, history: Sequence[Entry], note: str) -> list[dict[str, Any]]:
        """The fixed part first, so that servers can cache it; then the conversation as heard; then what changes."""
        messages: list[dict[str, Any]] = [{"role": "system", "content": self._house._prompt}]
        for entry in history[-_HISTORY_ENTRIES:]:
            role = "user" if entry.speaker is Speaker.CALLER else "assistant"
            messages.append({"role": role, "content": entry.text + (_CUT_NOTE if entry.cut else "")})
        now = filter(None, (self._situation(), note, self._instructions()))
        messages.append({"role": "system", "content": "\n".join(now)})
        messages.append({"role": "user", "content": words})
        return messages

    def _instructions(self) -> str:
        """What people of the business said during the call. The last stands last: models heed that most."""
        return "\n".join((_INSTRUCTED, *(f"- {text}" for text in self._told))) if self._told else ""

    def _situation(self) -> str:
        now, lead = self._house._clock(), self._tools.lead
        facts = {
            "עכשיו": f"יום {_DAYS[now.weekday()]}, {now:%d.%m.%Y}, {now:%H:%M}",
            "מספר המתקשרים": self._context.caller or "חסוי",
            "שיחה יוצאת": "אנחנו התקשרנו אליהם; לא לבקש מספר לחזרה" if self._context.opening else "",
            "לקוח חוזר": self._context.known_name,
            "שם": lead.name,
            "טלפון לחזרה": lead.phone + (" (אושר)" if lead.phone_confirmed else " (לא אושר)") if lead.phone else "",
            "צורך": lead.need,
            "מתי נוח": lead.best_time,
            **lead.extra,
            **self._context.notes,
        }
        return "\n".join(f"{name}: {value}" for name, value in facts.items() if value)


def _caller_words(turn: CallerTurn, history: Sequence[Entry]) -> str:
    """What the caller said and pressed. After a yes/no question 1 is yes and 2 is no, as callers are told."""
    if not turn.dtmf:
        return turn.text
    keys = turn.dtmf
    last = next((entry.text for entry in reversed(history) if entry.speaker is Speaker.AGENT), "")
    meaning = {"1": " (כן)", "2": " (לא)"}.get(keys.strip("#*"), "") if expectation(last) is Expect.YES_NO else ""
    return f"{turn.text} [הקשה במקלדת: {keys}{meaning}]".strip()


class _Rest:
    """What a second attempt adds to an answer that broke off after `spoken`. Some models go on from there, some begin
    anew: what was spoken already is not spoken again."""

    def __init__(self, spoken: str) -> None:
        self._spoken = spoken
        self._held = ""  # may be the beginning again

    def new(self, text: str) -> str:
        if not self._spoken or not text:
            return text
        self._held += text
        if self._spoken.startswith(self._held.lstrip()) or self._held.lstrip().startswith(self._spoken.rstrip()):
            if len(self._held.strip()) < len(self._spoken.rstrip()):
                return ""
            more = self._held.lstrip()[len(self._spoken.rstrip()) :]
            return self._let_go(more.lstrip() if self._spoken[-1:].isspace() else more)
        joint = "" if self._spoken[-1:].isspace() or self._held[:1].isspace() else " "
        return self._let_go(joint + self._held)

    def _let_go(self, text: str) -> str:
        self._held = self._spoken = ""
        return text


_GO_ON: Final = "התשובה נקטעה באמצע, ומה שנכתב כבר נאמר. להמשיך בדיוק מהמקום שבו נקטעה, בלי לחזור על מה שנאמר."


def _whole_sentence(said: str) -> bool:
    return said.rstrip().endswith((".", "?", "!"))


@dataclass(frozen=True, slots=True)
class _Kept:
    """What of an agent is not in the history. `before` is the lead as it was before turn `last`."""

    lead: LeadDraft
    before: LeadDraft
    last: int
    silences: int
    told: tuple[str, ...] = ()


class _Answer:
    """A `Reply` from a generator of actions."""

    def __init__(self, make: Callable[[], AsyncIterator[Action]], on_commit: Callable[[], None] = lambda: None) -> None:
        self._make = make
        self._on_commit = on_commit

    @asynccontextmanager
    async def actions(self) -> AsyncIterator[AsyncIterator[Action]]:
        stream = self._make()
        try:
            yield stream
        finally:
            await stream.aclose()  # type: ignore[attr-defined]  # every stream here is an async generator

    def commit(self) -> None:
        self._on_commit()


def _fixed(*actions: Action) -> Callable[[], AsyncIterator[Action]]:
    async def stream() -> AsyncIterator[Action]:
        for action in actions:
            yield action

    return stream


class _Cost:
    """Tokens of one completion: as the server counts them, else guessed from the text."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._letters = sum(len(message.get("content") or "") for message in messages)
        self._told = 0

    @property
    def tokens(self) -> int:
        return self._told or self._letters // _LETTERS_A_TOKEN

    def take(self, chunk: Chunk) -> None:
        if chunk.usage is not None and chunk.usage.total_tokens:
            self._told = chunk.usage.total_tokens
        self._letters += sum(len(choice.delta.content or "") for choice in chunk.choices)


_CALL_FIELDS: Final = frozenset({"index", "id", "type", "function"})


class _CallCollector:
    """Tool calls from their fragments. A new id is a new call even where the index repeats or is missing."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._by_index: dict[int, dict[str, Any]] = {}
        self._text = ""

    def take(self, delta: Delta) -> None:
        self._text += delta.content or ""
        for part in delta.tool_calls or ():
            number, id_ = part.get("index"), part.get("id")
            index = number if isinstance(number, int) else len(self.found) - 1
            call = self._by_index.get(index)
            if call is None or (id_ and id_ != call["id"]):
                call = {
                    **{key: value for key, value in part.items() if key not in _CALL_FIELDS},
                    "id": id_ or f"call_{len(self.found) + 1}",
                    "type": "function",
                    "function": {"name": "", "arguments": ""},
                }
                self.found.append(call)
                self._by_index[number if isinstance(number, int) else len(self.found) - 1] = call
            function = part.get("function") or {}
            call["function"]["name"] += function.get("name") or ""
            call["function"]["arguments"] += function.get("arguments") or ""

    def message(self) -> dict[str, Any]:
        return {"role": "assistant", "content": self._text or None, "tool_calls": self.found}


_OPEN_WORDS: Final = frozenset(["מה", "במה", "איך", "מתי", "איפה", "כמה", "מי", "למה", "איזה"])
_YES_NO: Final = re.compile(r"(נכון|בסדר|מתאים|אפשר|האם|לאשר|מסכימים|זה המספר)[^?]*\?\s*$")


_ASKED_FOR: Final = {
    Expect.ID: re.compile(r"זהות|\bה?תז\b"),
    Expect.PLATE: re.compile(r"מספר ה?רכב|לוחית|רישוי|מספר ה?אוטו"),
    Expect.NUMBER: re.compile(r"מספר ה?בית|^(?:\S+ )?ו?כמה (?!זמן|פרטים|שאלות|דברים)"),
    Expect.ADDRESS: re.compile(r"כתובת|\b[הבל]?רחוב\b|\bב?איזו עיר\b|\bב?איזה ישוב\b"),
    Expect.DATE: re.compile(r"תאריך|ב?איזה יום\b"),
}


def expectation(said: str) -> Expect:
    """What the last sentence of `said` asks for."""
    sentence = re.split(r"(?<=[.!?])\s+", said.strip())[-1]
    if "?" not in sentence:
        return Expect.NOTHING
    if _YES_NO.search(sentence) and not _OPEN_WORDS & set(normalise(sentence).split()):
        return Expect.YES_NO
    said = " ".join(normalise(sentence).split())
    for expect, wanted in _ASKED_FOR.items():
        if wanted.search(said):
            return expect
    if "טלפון" in sentence or "מספר" in sentence:
        return Expect.PHONE
    if "שמך" in sentence or "השם" in sentence or "קוראים" in sentence:
        return Expect.NAME
    if "מתי" in sentence or "שעה" in sentence:
        return Expect.TIME
    return Expect.OPEN


_SLOT_NAMES: Final = {
    Expect.NAME: "השם",
    Expect.PHONE: "מספר הטלפון",
    Expect.ID: "מספר הזהות",
    Expect.ADDRESS: "הכתובת",
    Expect.PLATE: "מספר הרכב",
}


def two_readings(turn: CallerTurn) -> str:
    """What to do about slots that two engines heard differently; '' where they do not matter."""
    notes = []
    for second in turn.second:
        for one in compare(second):
            if one.material and one.first:
                notes.append(
                    f"{_SLOT_NAMES[one.slot]} נשמע בשתי צורות: «{one.first}» או «{one.second}». "
                    "לפני שממשיכים יש לשאול רק על זה, במשפט קצר אחד, איזו מהן נכונה."
                )
            elif one.material:
                notes.append(f"{_SLOT_NAMES[one.slot]}, כפי שנשמע בהאזנה שנייה: «{one.second}».")
    return "\n".join(notes)
