"""Sends what is due, through the channels that are connected: the one caller of a channel's `send`.

An answer that shall be heard is spoken before it is given to its channel; what cannot be, goes as its words.

Each line ('email', 'whatsapp@3') has a loop of its own, so that one that hangs keeps nobody else waiting; the messages
of a line go one after another. Any number of senders may run; a row is claimed by one. A database that is away is tried
again at the next round.
"""

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import anyio
from anyio import to_thread

from moked import metrics
from moked.channels import Address, Carrier, ChannelCaps, MessageState, Outbound, SendResult, VoiceNote
from moked.crm.sending import BEHIND, Claimed
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
TIDY_EVERY_S: Final = 30.0
SEND_S: Final = 20.0
HOLD_S: Final = 30.0
"""So often a batch that takes long says that it is still on its way."""
"""How long a channel may take."""
ALOUD_S: Final = 20.0
"""How long an answer may take to be spoken while others wait; mostly it was before it was queued."""

Speak = Callable[[int, str], Awaitable[VoiceNote | None]]
"""A business's words, spoken; None where they are to be read."""
Told = Callable[[int], None]
"""Called with the business, one of whose messages has changed."""


class Box(Protocol):
    """`crm.sending.Outbox`."""

    def claim(self, caps: Mapping[str, ChannelCaps], only: str | None = None) -> list[Claimed]: ...

    def settle(self, message_id: int, result: SendResult) -> None: ...

    def hold(self, message_ids: Sequence[int]) -> set[int]: ...

    def recover(self, caps: Mapping[str, ChannelCaps]) -> int: ...

    def strand(self, caps: Mapping[str, ChannelCaps]) -> int: ...


def _nobody(business_id: int) -> None:
    """Nobody looks."""


async def mute(business_id: int, text: str) -> None:
    """There is no voice."""


async def send_due(
    outbox: Box,
    channels: Mapping[str, Carrier],
    *,
    told: Told = _nobody,
    speak: Speak = mute,
    every_s: float = EVERY_S,
    tidy_every_s: float = TIDY_EVERY_S,
) -> None:
    """Run for ever. `channels` by their line: the family, 'email', or that of one business, 'whatsapp@3'. Those that
    come later are served too."""
    served: set[str] = set()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_tidy, outbox, channels, tidy_every_s)
        while True:
            for line, channel in channels.items():
                if line not in served:
                    served.add(line)
                    tasks.start_soon(_serve, outbox, line, channel, channels, told, speak, every_s)
            await anyio.sleep(every_s)


def _caps(channels: Mapping[str, Carrier]) -> dict[str, ChannelCaps]:
    return {line: channel.caps for line, channel in channels.items()}


async def _serve(
    outbox: Box,
    line: str,
    channel: Carrier,
    channels: Mapping[str, Carrier],
    told: Told,
    speak: Speak,
    every_s: float,
) -> None:
    while True:
        try:
            while await once(outbox, line, channel, _caps(channels), told, speak):
                pass
        except Exception as error:  # the next round may do
            log.warning("messages could not be sent", extra={"error": type(error).__name__})
        await anyio.sleep(every_s)


async def _tidy(outbox: Box, channels: Mapping[str, Carrier], every_s: float) -> None:
    """What a sender that died left behind, and what no channel carries."""
    while True:
        caps = _caps(channels)
        try:
            if lost := await to_thread.run_sync(outbox.recover, caps):
                log.warning("messages whose sender died were taken up", extra={"count": lost})
            await to_thread.run_sync(outbox.strand, caps)
        except Exception as error:
            log.warning("the outbox could not be looked through", extra={"error": type(error).__name__})
        await anyio.sleep(every_s)


async def once(
    outbox: Box,
    line: str,
    channel: Carrier,
    caps: Mapping[str, ChannelCaps],
    told: Told = _nobody,
    speak: Speak = mute,
) -> int:
    """Send what is due on a line now; returns how many of them were tried."""
    tried = 0
    put_off: set[tuple[int, Address]] = set()
    claimed = await to_thread.run_sync(outbox.claim, caps, line)
    ours, held_at = {message.id for message in claimed}, anyio.current_time()
    for place, message in enumerate(claimed):
        if anyio.current_time() - held_at >= HOLD_S:
            ours = await to_thread.run_sync(outbox.hold, [one.id for one in claimed[place:]])
            held_at = anyio.current_time()
        if message.id not in ours:  # we were away so long that it was taken for lost
            continue
        who = (message.business_id, message.out.to)
        if who in put_off:  # what comes later never overtakes what they are to read before it
            await to_thread.run_sync(outbox.settle, message.id, SendResult(MessageState.QUEUED, error=BEHIND))
            continue
        tried += 1
        out = await _aloud(message, speak) if message.voice and channel.caps.voice_replies else message.out
        result = await _sent(channel, out)
        metrics.messages.labels(channel.kind, result.error or result.state.value).inc()
        await to_thread.run_sync(outbox.settle, message.id, result)
        told(message.business_id)
        if result.state is MessageState.QUEUED:
            put_off.add(who)
        elif channel.caps.spacing_s:
            await anyio.sleep(channel.caps.spacing_s * (0.5 + random.random()))
    return tried


async def _aloud(message: Claimed, speak: Speak) -> Outbound:
    note = None
    try:
        with anyio.move_on_after(ALOUD_S):
            note = await speak(message.business_id, message.out.text)
    except Exception as error:  # whatever it is, the words go
        log.error("a voice note could not be made", extra={"error": type(error).__name__})
    return replace(message.out, voice=note)


async def _sent(channel: Carrier, out: Outbound) -> SendResult:
    again = MessageState.QUEUED if channel.caps.idempotent else MessageState.FAILED
    try:
        with anyio.move_on_after(SEND_S):
            return await channel.send(out)
    except ProviderError as error:
        final = error.kind is Failure.CONFIG
        return SendResult(MessageState.FAILED if final else MessageState.QUEUED, error=error.kind.value)
    except Exception as error:  # a channel says what failed as a value; this is a bug of its, and one message's
        log.error("a channel failed", extra={"channel": channel.kind, "error": type(error).__name__})
        return SendResult(again, error="channel_failed")
    return SendResult(again, error="timeout")
