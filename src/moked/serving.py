"""Which media process takes calls at this moment: asked of each at `/readyz`, in turn.

Synchronous, for the web plane's threads; a loop asks through a worker thread. A process that drains says that it does
not serve, so that one which asks about all of them, itself included, learns whether there is another.
"""

import itertools
import logging
from collections.abc import Sequence
from typing import Final

import httpx2

log = logging.getLogger(__name__)

_ANSWER_S: Final = 0.5
_NOT_NEEDED: Final = frozenset(
    {"voice"}
)  # phrases still being rendered: a sentence may come late, a call does not break


class MediaProcesses:
    """The media processes at these addresses ('https://host:port')."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = tuple(addresses)
        self._turn = itertools.count()
        self._client = httpx2.Client(timeout=_ANSWER_S, trust_env=False)

    def pick(self) -> str:
        """The address of one that takes calls, the next one each time; '' if there is none."""
        first = next(self._turn)
        for number in range(len(self._addresses)):
            address = self._addresses[(first + number) % len(self._addresses)]
            if self._serves(address):
                return address
        return ""

    def close(self) -> None:
        self._client.close()

    def _serves(self, address: str) -> bool:
        try:
            answer = self._client.get(f"{address}/readyz")
            waiting = set(answer.json()["waiting_for"])
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            return False
        return waiting <= _NOT_NEEDED
