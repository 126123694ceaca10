"""One reply on its way from the agent's words to audio: clause by clause, speculatively until it is committed.

    agent actions -> clauses (at most 4 ahead) -> synthesizer -> `Outgoing`

Two tasks, so that the agent's next words and the voice's next clause overlap. Before `commit` what was made is kept
(10 s at most, then the voice waits); at `commit` it is let out at once. Cancelling `scope` abandons the reply at any
point.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from moked.audio import ms
from moked.dialog import Action, Ask, EndCall, Expect, Reply, Say, ToolRan, Transfer
from moked.errors import Failure, ProviderError
from moked.media.turns import Begin
from moked.records import ToolUse
from moked.tts import Synthesizer
from moked.tts.clauses import ClauseCutter

_CLAUSES_AHEAD = 4
_KEPT_MS = 10_000
_ROOM_POLL_S = 0.05


class Outgoing(Protocol):
    """Where a committed reply's audio goes: the session's playout."""

    @property
    def room_ms(self) -> int: ...

    def add(self, audio: bytes) -> None: ...

    def begin_clause(self, text: str) -> None: ...

    def end_clause(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Clause:
    text: str
    audio: bytes | None  # at hand already


class ReplyRun:
    """One begun reply. `said` is what it means to say so far; the `*_ms` are call times of its first text and audio."""

    def __init__(self, begin: Begin, reply: Reply, voice: Synthesizer, clock: Callable[[], int]) -> None:
        self.begin = begin
        self.number = begin.reply
        self.turn = begin.turn
        self.scope = anyio.CancelScope()
        self.said = ""
        self.before = ""  # what of this answer was heard from another process
        self.expect: Expect | None = None
        self.after: Transfer | EndCall | None = None
        self.tools: list[ToolUse] = []
        self.first_text_ms: int | None = None
        self.first_audio_ms: int | None = None
        self.done = False
        self.fillers = 0
        self._filled = 0  # so much of `said` is fillers
        self._reply = reply
        self._voice = voice
        self._clock = clock
        self._kept: list[bytes | str | None] = []  # a clause's text, its audio, None at its end
        self._kept_ms = 0
        self._out: Outgoing | None = None
        self._committed = anyio.Event()

    @property
    def is_fixed(self) -> bool:
        """Not the agent's own words, but ours."""
        return isinstance(self._reply, FixedReply)

    @property
    def is_prefaced(self) -> bool:
        return isinstance(self._reply, Prefaced)

    @property
    def committed(self) -> bool:
        return self._out is not None

    def commit(self, out: Outgoing) -> None:
        """The turn is the agent's: let out what is made, and the rest as it comes."""
        assert self._out is None
        self._out = out
        self._reply.commit()
        for item in self._kept:
            self._let_out(item)
        self._kept.clear()
        self._committed.set()

    def fill(self, text: str, audio: bytes) -> bool:
        """Say this while nothing else is there yet; False where something is. What is made meanwhile follows it."""
        if self._out is None or self.first_audio_ms is not None or self._out.room_ms < ms(audio):
            return False
        self._out.begin_clause(f"{text} ")
        self._out.add(audio)
        self._out.end_clause()
        place = self._filled
        self.said = f"{self.said[:place]}{text} {self.said[place:]}"
        self._filled += len(text) + 1
        self.fillers += 1
        return True

    async def run(self, on_news: Callable[[], None]) -> None:
        """Make the reply. `on_news` is called when something became audible or known. Raises `ProviderError`."""
        with self.scope:
            send, receive = anyio.create_memory_object_stream[_Clause](_CLAUSES_AHEAD)
            async with send, receive, anyio.create_task_group() as tasks:
                tasks.start_soon(self._listen_to_agent, send)
                await self._voice_clauses(receive, on_news)
            await self._committed.wait()
            self.done = True
        on_news()

    async def _listen_to_agent(self, clauses: MemoryObjectSendStream[_Clause]) -> None:
        cutter = ClauseCutter()
        async with clauses, self._reply.actions() as actions:
            async for action in actions:
                match action:
                    case Say(text):
                        if self.first_text_ms is None and text.strip():
                            self.first_text_ms = self._clock()
                        self.said += text
                        for clause in self._cut(cutter, text):
                            await clauses.send(clause)
                    case Ask(expect):
                        self.expect = expect
                    case Transfer() | EndCall():
                        self.after = action
                    case ToolRan(use):
                        self.tools.append(use)
            for text in cutter.flush():
                await clauses.send(_Clause(text, self._voice.cached(text)))

    def _cut(self, cutter: ClauseCutter, text: str) -> list[_Clause]:
        """Whole sentences that are in the cache are spoken whole; everything else as early as its clauses allow."""
        if not cutter.pending and text.rstrip().endswith((".", "?", "!", ",")):
            audio = self._voice.cached(text)
            if audio is not None:
                space = "".join(cutter.flush())  # between the last clause and this one
                return [_Clause(space + text, audio)]
        return [_Clause(clause, self._voice.cached(clause)) for clause in cutter.feed(text)]

    async def _voice_clauses(self, clauses: MemoryObjectReceiveStream[_Clause], on_news: Callable[[], None]) -> None:
        mute: ProviderError | None = None
        async with clauses:
            async for clause in clauses:
                try:
                    await self._voice_clause(clause, on_news)
                except ProviderError as error:
                    if error.kind is not Failure.PROTOCOL:
                        raise
                    mute = error  # no sound came for it: the rest is better than an apology
        if mute is not None and self.first_audio_ms is None:
            raise mute

    async def _voice_clause(self, clause: _Clause, on_news: Callable[[], None]) -> None:
        begun = False
        async with self._audio(clause) as chunks:
            async for chunk in chunks:
                if not begun and chunk:  # its words are told with its first sound: a filler may come before
                    begun = True
                    await self._deliver(clause.text)
                if chunk and self.first_audio_ms is None:
                    self.first_audio_ms = self._clock()
                await self._deliver(chunk)
                on_news()
        if begun:
            await self._deliver(None)
            on_news()

    def _audio(self, clause: _Clause) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return _at_hand(clause.audio) if clause.audio is not None else self._voice.speak(clause.text)

    async def _deliver(self, item: bytes | str | None) -> None:
        if self._out is None and isinstance(item, bytes) and self._kept_ms + ms(item) > _KEPT_MS:
            await self._committed.wait()
        if self._out is None:
            self._kept.append(item)
            self._kept_ms += ms(item) if isinstance(item, bytes) else 0
            return
        while isinstance(item, bytes) and self._out.room_ms < min(ms(item), _KEPT_MS // 2):
            await anyio.sleep(_ROOM_POLL_S)
        self._let_out(item)

    def _let_out(self, item: bytes | str | None) -> None:
        assert self._out is not None
        if isinstance(item, bytes):
            self._out.add(item)
        elif item is None:
            self._out.end_clause()
        else:
            self._out.begin_clause(item)


@asynccontextmanager
async def _at_hand(audio: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
    async def once() -> AsyncGenerator[bytes, None]:
        yield audio

    async with aclosing(once()) as chunks:
        yield chunks


@dataclass(frozen=True, slots=True)
class Broken(EndCall):
    """We hang up because we cannot go on: the call is on record as broken."""


class FixedReply:
    """A reply that was decided already: an apology, a goodbye at the limit of the call's length."""

    def __init__(self, *actions: Action) -> None:
        self._actions = actions

    @asynccontextmanager
    async def actions(self) -> AsyncIterator[AsyncIterator[Action]]:
        async def all_of_them() -> AsyncGenerator[Action, None]:
            for action in self._actions:
                yield action

        async with aclosing(all_of_them()) as actions:
            yield actions

    def commit(self) -> None:
        """Nothing to move on."""


class Awaited:
    """`first` at once, then the reply that is made from what `told` brings. It is ours already: nothing is at risk."""

    def __init__(self, first: Say, told: Callable[[], Awaitable[str]], then: Callable[[str], Reply]) -> None:
        self._first = first
        self._told = told
        self._then = then

    @asynccontextmanager
    async def actions(self) -> AsyncIterator[AsyncIterator[Action]]:
        async def all_of_them() -> AsyncGenerator[Action, None]:
            yield self._first
            reply = self._then(await self._told())
            reply.commit()
            async with reply.actions() as actions:
                async for action in actions:
                    yield action

        async with aclosing(all_of_them()) as actions:
            yield actions

    def commit(self) -> None:
        """The reply behind it is committed when it is made."""


class Prefaced:
    """The agent's reply with a sentence of ours before it."""

    def __init__(self, first: Say, reply: Reply) -> None:
        self._first = first
        self._reply = reply

    @asynccontextmanager
    async def actions(self) -> AsyncIterator[AsyncIterator[Action]]:
        async with self._reply.actions() as actions:

            async def all_of_them() -> AsyncGenerator[Action, None]:
                yield self._first
                async for action in actions:
                    yield action

            async with aclosing(all_of_them()) as together:
                yield together

    def commit(self) -> None:
        self._reply.commit()
