"""What the next call is answered with: the published texts, made into agents, and followed while people change them.

    agent_version --poll, bus--> Follower --plan--> Answers.take --> Answers.current: what a call is given as it begins

A running call keeps what it began with, but for the pronunciation. A version that cannot be read (of a newer Moked,
perhaps) is told to the log and leaves everything as it is.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import anyio
from anyio import to_thread
from anyio.abc import TaskGroup

from moked import parts
from moked.bus import Bus, heed
from moked.crm.agent_versions import AgentVersions
from moked.dialog import AgentFactory
from moked.dialog.business import Business
from moked.dialog.deaf import UnheardAgents
from moked.dialog.published import AgentPlan, read_agent
from moked.errors import ProfileError, ProviderError
from moked.media.session import Phrases
from moked.settings import Settings

log = logging.getLogger(__name__)

TOPIC: Final = "agent"
"""On the bus: 'agent.published' whenever somebody published a version."""

URGENT_PHRASES: Final = 3
"""Rendered before a call may meet them: the greeting and what follows it. The rest comes in the background."""

_POLL_S: Final = 1.0
_TRY_AGAIN_S: Final = 30.0
_URGENT_S: Final = 10.0  # the greeting of a new version is waited for at most so long


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call is given as it begins."""

    business: Business
    agents: AgentFactory
    unheard: UnheardAgents
    phrases: Phrases
    voice: parts.Voice

    @property
    def sentences(self) -> Sequence[str]:
        """Every fixed sentence that may be said, most urgent first."""
        return (*parts.all_phrases(self.agents, self.phrases), *self.unheard.phrases())


class Voices:
    """The voices of a process, by gender, for all its businesses: each knows how every one of them says its words, the
    first business's first. Made before `running` is entered, or started when one is wanted later. `aside`: they give
    way to those of the calls."""

    def __init__(self, settings: Settings, *, aside: bool = False) -> None:
        self._settings = settings
        self._aside = aside
        self._made: dict[str, parts.Voice] = {}
        self._words: dict[int, Sequence[tuple[str, str]]] = {}
        self._tasks: TaskGroup | None = None
        self.choice: parts.Choice | None = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            async with AsyncExitStack() as stack:
                for voice in self._made.values():
                    await stack.enter_async_context(voice.running())
                self._tasks = tasks
                yield
            tasks.cancel_scope.cancel()

    def of(self, business_id: int, business: Business) -> parts.Voice:
        """Before `running`."""
        if business.voice_gender not in self._made:
            self._made[business.voice_gender], choice = parts.voice(self._settings, business, aside=self._aside)
            self.choice = self.choice or choice
        self._pronounce(business_id, business)
        return self._made[business.voice_gender]

    async def started(self, business_id: int, business: Business) -> parts.Voice:
        """While running. The other gender's stays, for the calls that have it."""
        fresh = business.voice_gender not in self._made
        voice = self.of(business_id, business)
        if fresh:
            assert self._tasks is not None
            try:
                await self._tasks.start(_run, voice)
            except BaseException:  # it is made anew for whoever asks next
                self._made.pop(business.voice_gender, None)
                raise
        return voice

    def _pronounce(self, business_id: int, business: Business) -> None:
        self._words[business_id] = business.pronunciation
        known = {written: said for words in reversed(self._words.values()) for written, said in words}
        for voice in self._made.values():
            voice.pronounce_as(tuple(known.items()))


class Answers:
    """One business's, in a process that serves calls. `running` is entered once, before the first call."""

    def __init__(self, settings: Settings, plan: AgentPlan, voices: Voices, business_id: int = 0) -> None:
        self._settings = settings
        self._chat = parts.chat(settings)
        self._voices = voices
        self._business_id = business_id
        self.current, self.choice = self._made(plan, voices.of(business_id, plan.business))
        self._tasks: TaskGroup | None = None
        self._rendering = anyio.CancelScope()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                if self._chat is not None:
                    with anyio.CancelScope(shield=True):
                        await self._chat.close()

    async def take(self, plan: AgentPlan) -> None:
        """From the next call on. Its first sentences are rendered before, the others in the background."""
        voice = await self._voices.started(self._business_id, plan.business)
        answer, self.choice = self._made(plan, voice)
        self._rendering.cancel()
        with anyio.move_on_after(_URGENT_S):
            await _render(voice, answer.sentences[:URGENT_PHRASES])
        self.current = answer
        assert self._tasks is not None
        self._rendering = anyio.CancelScope()
        self._tasks.start_soon(self._render_rest, answer, self._rendering)

    def _made(self, plan: AgentPlan, voice: parts.Voice) -> tuple[Answer, parts.Choice]:
        agents, choice = parts.agents(self._settings, plan, self._chat)
        return Answer(plan.business, agents, parts.unheard(plan), parts.phrases(plan.business), voice), choice

    async def _render_rest(self, answer: Answer, scope: anyio.CancelScope) -> None:
        with scope:
            await _render(answer.voice, answer.sentences)


async def _run(voice: parts.Voice, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    async with voice.running():
        task_status.started()
        await anyio.sleep_forever()


async def _render(voice: parts.Voice, sentences: Sequence[str]) -> None:
    try:
        await voice.prepare(sentences)
    except ProviderError as error:  # they are made when they are needed, then
        log.warning("phrases could not be rendered ahead", extra={"error": str(error)})


class Follower:
    """Asks every second, and when the bus says so, whether a newer version holds than `version`."""

    def __init__(
        self,
        versions: AgentVersions,
        business_id: int,
        bus: Bus,
        version: int,
        take: Callable[[AgentPlan], Awaitable[None]],
    ) -> None:
        self.version = version
        self._versions = versions
        self._business_id = business_id
        self._bus = bus
        self._take = take
        self._news = anyio.Event()
        self._away = False
        self._failed = 0  # a version that could not be taken, and when to try it again
        self._again_at = 0.0

    async def run(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(heed, self._bus, TOPIC, self._told)
            while True:
                self._news = anyio.Event()
                with anyio.move_on_after(_POLL_S):
                    await self._news.wait()
                await self.look()

    def _told(self) -> None:
        self._news.set()

    async def look(self) -> None:
        """Let the process follow what holds. The database may be away: then what was last known does."""
        try:
            newest = await to_thread.run_sync(self._versions.version, self._business_id, abandon_on_cancel=True)
            waits = newest == self._failed and anyio.current_time() < self._again_at
            if newest == self.version or waits:
                self._away = False
                return
            published = await to_thread.run_sync(self._versions.current, self._business_id, abandon_on_cancel=True)
            self._away = False
        except Exception as error:  # whatever it is, calls go on with what is known
            if not self._away:
                self._away = True
                log.warning("what the agent says cannot be read", extra={"error": type(error).__name__})
            return
        try:
            plan = await to_thread.run_sync(read_agent, published.texts)
            await self._take(plan)
        except ProfileError as error:
            self.version = published.version
            log.error("a published version cannot be used", extra={"version": published.version, "key": error.key})
        except Exception as error:  # its voice did not start, say: that may pass, and the calls go on
            self._failed, self._again_at = published.version, anyio.current_time() + _TRY_AGAIN_S
            extra = {"version": published.version, "error": type(error).__name__}
            log.error("a version could not be taken and is tried again", extra=extra)
        else:
            self.version = published.version
            log.info("the agent was changed", extra={"version": published.version})
