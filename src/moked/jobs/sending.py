"""Sends what is due, through the channels that are connected: the one caller of a channel's `send`.

Messages of one channel go one after another, channels side by side. Any number of senders may run; a row is claimed by
one. A database that is away is tried again at the next round.
"""

import logging
from collections.abc import Mapping
from typing import Final, Protocol

import anyio
from anyio import to_thread

from moked import metrics
from moked.channels import Channel, ChannelCaps, SendResult
from moked.crm.sending import Claimed

log = logging.getLogger(__name__)

EVERY_S: Final = 0.5
RECOVER_EVERY_S: Final = 30.0
SEND_S: Final = 20.0
"""How long a channel may take."""


class Box(Protocol):
    """`crm.sending.Outbox`."""

    def claim(self, caps: Mapping[str, ChannelCaps]) -> list[Claimed]: ...

    def settle(self, message_id: int, result: SendResult) -> None: ...

    def recover(self, caps: Mapping[str, ChannelCaps]) -> int: ...


async def send_due(
    outbox: Box,
    channels: Mapping[str, Channel],
    *,
    every_s: float = EVERY_S,
    recover_every_s: float = RECOVER_EVERY_S,
) -> None:
    """Run for ever. `channels` by their family: 'sms', 'whatsapp', 'email'."""
    caps = {family: channel.caps for family, channel in channels.items()}
    recover_at = anyio.current_time()
    while True:
        try:
            if anyio.current_time() >= recover_at:
                recover_at = anyio.current_time() + recover_every_s
                if lost := await to_thread.run_sync(outbox.recover, caps):
                    log.warning("messages whose sender died were taken up", extra={"count": lost})
            while await once(outbox, channels, caps):
                pass
        except Exception as error:  # the next round may do
            log.warning("messages could not be sent", extra={"error": type(error).__name__})
        await anyio.sleep(every_s)


async def once(outbox: Box, channels: Mapping[str, Channel], caps: Mapping[str, ChannelCaps]) -> int:
    """Send what is due now; returns how many messages that were."""
    claimed = await to_thread.run_sync(outbox.claim, caps)
    async with anyio.create_task_group() as tasks:
        for family in {one.family for one in claimed}:
            tasks.start_soon(_in_turn, outbox, channels[family], [one for one in claimed if one.family == family])
    return len(claimed)


async def _in_turn(outbox: Box, channel: Channel, messages: list[Claimed]) -> None:
    for message in messages:
        result = SendResult(error="timeout", again=channel.caps.idempotent)
        try:
            with anyio.move_on_after(SEND_S):
                result = await channel.send(message.out)
        except Exception as error:  # a channel says what failed as a value; this is a bug of its, and one message's
            log.error("a channel failed", extra={"channel": channel.kind, "error": type(error).__name__})
            result = SendResult(error="channel_failed", again=channel.caps.idempotent)
        metrics.messages.labels(channel.kind, "sent" if result.provider_id else result.error or "failed").inc()
        await to_thread.run_sync(outbox.settle, message.id, result)
