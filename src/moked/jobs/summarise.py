"""Reading a call after it with a language model, on any OpenAI-compatible server, within a bounded time.

One completion held to `extraction.SCHEMA`. It is not waited for long, and not tried for ever: whoever waits for the
message about this call gets it from the rules then (`extraction.by_rules`), which need nobody.
"""

import logging
from collections.abc import Sequence
from typing import Any, Final

import anyio

from moked import metrics
from moked.crm import extraction
from moked.crm.extraction import Extraction, Said
from moked.dialog.chat import PROVIDER, Chat
from moked.errors import Failure, ProviderError

log = logging.getLogger(__name__)

WITHIN_S: Final = 6.0
_TOKENS: Final = 900
_LETTERS: Final = 24_000  # of a transcript; of a longer one its beginning and its end are read


class Reader:
    """`model` on `base_url` ('' = OpenAI itself)."""

    def __init__(self, *, model: str, api_key: str, base_url: str = "", within_s: float = WITHIN_S) -> None:
        self.model = model
        self._api_key = api_key
        self._base_url = base_url
        self._within_s = within_s

    def read(self, turns: Sequence[Said], *, business: str) -> Extraction | None:
        """From a thread without a loop. None: there is no usable answer, and the log says why."""
        try:
            return anyio.run(self._read, _bounded(turns), business)
        except ProviderError as error:
            log.warning("a call was not read by the model", extra={"kind": error.kind.value})
        except extraction.Unusable:
            log.warning("a call was not read by the model", extra={"kind": Failure.PROTOCOL.value})
        return None

    async def _read(self, turns: Sequence[Said], business: str) -> Extraction:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": extraction.prompt(turns, business=business),
            "stream": True,
            "max_completion_tokens": _TOKENS,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "call", "strict": True, "schema": extraction.SCHEMA},
            },
        }
        if self.model.startswith(("gpt-5", "o1", "o3", "o4")):
            body["reasoning_effort"] = "low"
        chat = Chat(base_url=self._base_url, api_key=self._api_key, timeout_s=self._within_s)
        try:
            with anyio.fail_after(self._within_s):
                answer = await _whole(chat, body)
        except TimeoutError as error:
            raise ProviderError(PROVIDER, Failure.TIMEOUT, "no whole answer in time") from error
        finally:
            await chat.close()
        metrics.llm_tokens.inc(len(answer) // 2)
        return extraction.read(answer, turns, by=self.model)


async def _whole(chat: Chat, body: dict[str, Any]) -> str:
    pieces = []
    async with chat.stream(body) as chunks:
        async for chunk in chunks:
            pieces += [choice.delta.content or "" for choice in chunk.choices]
    return "".join(pieces)


def _bounded(turns: Sequence[Said]) -> Sequence[Said]:
    """What was wanted is said at the beginning, what was agreed at the end."""
    whole = sum(len(one.caller) + len(one.agent) for one in turns)
    if whole <= _LETTERS:
        return turns
    kept: list[Said] = []
    room = _LETTERS
    for pair in zip(turns, reversed(turns), strict=True):
        for one in pair:
            size = len(one.caller) + len(one.agent)
            if one not in kept and size <= room:
                kept.append(one)
                room -= size
    return sorted(kept, key=lambda one: one.turn)
