"""The live board's events: all calls of a business on one topic, beside each call's own.

    call:<sid>      turn.partial {...}     ->     board:<business>    turn.partial {call: <sid>, ...}

The media plane publishes as ever, to a bus that says it twice, and hides before it does what nobody may see
(`crm.live_words`): neither a viewer nor Redis gets it. Who watches misses nothing by coming back: the ids are the
topic's own.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from moked.bus import Bus, BusEvent
from moked.crm.live_words import LiveWords

_CALL: Final = "call:"


def topic(business_id: int) -> str:
    return f"board:{business_id}"


class BoardBus:
    """`bus`, with what is said of a call also said on its business's board. One a call: `words` has heard all of it."""

    def __init__(self, bus: Bus, business_id: int, words: LiveWords) -> None:
        self._bus = bus
        self._topic = topic(business_id)
        self._words = words

    def publish(self, topic: str, event: str, data: dict[str, Any]) -> None:
        if topic.startswith(_CALL):
            data = self._words.shown(event, data)
        self._bus.publish(topic, event, data)
        if topic.startswith(_CALL):
            self._bus.publish(self._topic, event, {"call": topic.removeprefix(_CALL), **data})

    def subscribe(self, topic: str, after: str | None = None) -> AbstractAsyncContextManager[AsyncIterator[BusEvent]]:
        return self._bus.subscribe(topic, after)

    def running(self) -> AbstractAsyncContextManager[None]:
        return self._bus.running()
