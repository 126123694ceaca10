"""Carries written conversations: serves the channels, writes voice notes down, lets the agent answer.

    channel.run -> sink -> Inbox.receive            transcribe -> Inbox.heard
    Inbox.waiting -> agent -> Inbox.answered -> the outbox, which `jobs.sending` empties
    Inbox.unshown -> channel.read -> Inbox.shown    who wrote sees that it was read, by the agent or at the desk

Who spoke is answered by voice where the answer can be said: it is spoken before it is on record that it shall be.

Everything that must not be lost is a row before it is acknowledged, and is found again by whoever starts next. Each
loop looks by itself now and then, and at once when it is nudged. What fails for one conversation does not stop others.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zoneinfo import ZoneInfo

import anyio
from anyio import to_thread

from moked import metrics
from moked.channels import Channel, Inbound, Kind, Report, VoiceNote, family
from moked.crm.inbox import Inbox, Line, Unheard, Waiting
from moked.dialog import Agent, CallContext, Entry, Speaker
from moked.dialog.texting import FILE_MARK, VOICE_MARK, Written, in_writing, pieces, write
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

_LOOK_S: Final = 1.0
_AGAIN_S: Final = 5.0
QUIET_FOR: Final = timedelta(seconds=2)
_GIVE_UP: Final = timedelta(hours=1)
_NOT_HEARD: Final = "[הודעה קולית שלא ניתן היה לתמלל]"

Speak = Callable[[str], Awaitable[VoiceNote | None]]
"""Words, spoken; None where they are to be read."""
Hear = Callable[[bytes], Awaitable[str | None]]
"""A voice note's words; None = not now. Raises `ProviderError` for what is no sound."""


class Messenger:
    """Of one business. `agents` makes the agent that is published now. `past(contact, conversation)` is what else is
    known of somebody, as notes for it.

    `tell(conversation_id)` is called when something people see has changed. `unsaid`: sentences that are for the
    telephone alone, such as that the call is transcribed. `speak`: who spoke is answered by voice. `receipts`: who
    wrote is told that it was read.
    """

    def __init__(
        self,
        inbox: Inbox,
        channels: Sequence[Channel],
        agents: Callable[[CallContext], Agent],
        *,
        business_id: int,
        timezone: str,
        clock: Callable[[], datetime],
        hear: Hear | None,
        past: Callable[[int, int], dict[str, str]] = lambda contact, conversation: {},
        tell: Callable[[int], None] = lambda conversation: None,
        quiet_for: timedelta = QUIET_FOR,
        unsaid: Callable[[], Sequence[str]] = tuple,
        speak: Speak | None = None,
        receipts: bool = True,
    ) -> None:
        self._inbox = inbox
        self._channels: Mapping[str, Channel] = {family(channel.kind): channel for channel in channels}
        self._agents = agents
        self._business = business_id
        self._zone = ZoneInfo(timezone)
        self._clock = clock
        self._hear = hear
        self._past = past
        self._tell = tell
        self._quiet_for = quiet_for
        self._unsaid = unsaid
        self._speak = speak
        self._receipts = receipts
        self._reading = tuple(name for name, channel in self._channels.items() if channel.caps.read)
        self._news = anyio.Event()
        self._failed: dict[int, datetime] = {}  # answers that did not work: when to try again

    async def run(self) -> None:
        """Until cancelled."""
        async with anyio.create_task_group() as tasks:
            for channel in self._channels.values():
                tasks.start_soon(self._serve, channel)
            tasks.start_soon(self._loop, self._transcribe)
            tasks.start_soon(self._loop, self._answer)
            if self._reading:
                tasks.start_soon(self._loop, self._show_read)

    def nudge(self) -> None:
        """There may be something to do."""
        self._news.set()
        self._news = anyio.Event()

    async def sink(self, came: Inbound | Report) -> None:
        """Returns when it is stored."""
        match came:
            case Inbound():
                stored = await to_thread.run_sync(self._inbox.receive, self._business, came)
                if not stored.new:
                    return
                metrics.messages.labels(came.channel, "received").inc()
                self._tell(stored.conversation_id)
            case Report():
                if await to_thread.run_sync(self._inbox.reported, self._business, came):
                    metrics.messages.labels(came.channel, came.state.value).inc()
                    self._tell(0)
        self.nudge()

    async def _serve(self, channel: Channel) -> None:
        while True:
            try:
                await channel.run(self.sink)
                return
            except Exception as error:  # one channel's failure is no other's
                log.exception("a channel failed and is started again", extra={"error": type(error).__name__})
                await anyio.sleep(_AGAIN_S)

    async def _loop(self, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            news = self._news
            try:
                await work()
            except Exception as error:  # a database that is away comes back
                log.exception("written conversations wait", extra={"error": type(error).__name__})
                await anyio.sleep(_AGAIN_S)
            with anyio.move_on_after(_LOOK_S):
                await news.wait()

    # ---- voice notes

    async def _transcribe(self) -> None:
        for note in await to_thread.run_sync(self._inbox.unheard, self._business):
            text = await self._words(note)
            if text is not None:
                conversation = await to_thread.run_sync(self._inbox.heard, self._business, note.message_id, text)
                self._tell(conversation)
                self.nudge()

    async def _words(self, note: Unheard) -> str | None:
        channel = self._channels.get(note.channel)
        late = self._clock() - note.at > _GIVE_UP
        if self._hear is None:
            return _NOT_HEARD
        try:
            if channel is None:
                raise ProviderError(note.channel, Failure.UNAVAILABLE, "not served here")
            text = await self._hear(await channel.fetch(note.raw))
        except ProviderError as error:
            log.warning("a voice note could not be heard", extra={"error": str(error)})
            return _NOT_HEARD if late or error.kind in (Failure.PROTOCOL, Failure.CONFIG) else None
        return _NOT_HEARD if text is None and late else text

    # ---- receipts

    async def _show_read(self) -> None:
        for one in await to_thread.run_sync(self._inbox.unshown, self._business, self._reading):
            wanted = self._receipts and one.provider_ids
            if not wanted or await self._channels[one.channel].read(one.address, one.provider_ids):
                await to_thread.run_sync(self._inbox.shown, one)

    # ---- answers

    async def _answer(self) -> None:
        wanted = await to_thread.run_sync(lambda: self._inbox.waiting(self._business, quiet_for=self._quiet_for))
        now = self._clock()
        self._failed = {one: until for one, until in self._failed.items() if until > now}
        async with anyio.create_task_group() as tasks:
            for one in wanted:
                if one.id not in self._failed:
                    tasks.start_soon(self._answer_one, one)

    async def _answer_one(self, wanted: Waiting) -> None:
        channel = self._channels.get(wanted.channel)
        try:
            if wanted.channel in self._reading:
                await to_thread.run_sync(self._inbox.read, self._business, wanted.id, wanted.upto)
                self.nudge()
            if channel is not None and channel.caps.typing:
                await channel.typing(wanted.address, True)
            made = await self._made(wanted)
        except Exception as error:  # the model is away, or our own mistake: a person sees that it waits
            log.warning("the agent could not answer in writing", extra={"error": type(error).__name__})
            self._failed[wanted.id] = self._clock() + timedelta(seconds=30)
            return
        longest = channel.caps.max_text if channel is not None else 4096
        texts = [piece for text in made.texts for piece in pieces(in_writing(text, self._unsaid()), longest)]
        kept = {"state": made.agent, "turns": _turns(wanted) + 1}
        voice = channel is not None and channel.caps.voice_replies and _spoke(wanted) and await self._said(texts)
        answered = partial(self._inbox.answered, wanted, texts, kept, made.lead, made.person, voice=voice)
        if await to_thread.run_sync(answered):
            metrics.messages.labels(wanted.channel, "answered").inc()
            self._tell(wanted.id)
            self.nudge()

    async def _said(self, texts: Sequence[str]) -> bool:
        """All of it is spoken, and at hand for whoever sends it."""
        if self._speak is None or not texts:
            return False
        for text in texts:
            if await self._speak(text) is None:
                return False
        return True

    async def _made(self, wanted: Waiting) -> Written:
        notes = await to_thread.run_sync(self._past, wanted.contact_id, wanted.id)
        context = CallContext(
            call_sid=f"chat:{wanted.id}",
            caller=wanted.phone,
            now=self._clock().astimezone(self._zone),
            known_name=wanted.name,
            notes=notes,
        )
        agent = self._agents(context)
        if wanted.agent is not None:
            try:
                agent.take_up(wanted.agent["state"])
            except (ValueError, KeyError, TypeError):  # of another kind of agent, or another version of it
                log.info("the agent begins a conversation anew")
        words = "\n".join(filter(None, map(_marked, wanted.new)))
        before = [line for line in wanted.lines if not line.inbound or line.id <= wanted.answered]
        history = [Entry(Speaker.CALLER if line.inbound else Speaker.AGENT, _marked(line)) for line in before]
        return await write(agent, _turns(wanted) + 1, words, history, first=not any(not x.inbound for x in before))


def _turns(wanted: Waiting) -> int:
    return int(wanted.agent.get("turns", 0)) if wanted.agent else 0


def _spoke(wanted: Waiting) -> bool:
    """The last that they sent is a voice note, and it was understood."""
    last = wanted.new[-1] if wanted.new else None
    return last is not None and last.kind is Kind.VOICE and last.text not in ("", _NOT_HEARD)


def _marked(line: Line) -> str:
    match line.kind:
        case Kind.VOICE:
            return f"{VOICE_MARK} {line.text}".strip()
        case Kind.OTHER:
            return f"{FILE_MARK} {line.text}".strip()
    return line.text
