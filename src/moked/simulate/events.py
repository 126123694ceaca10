"""Listening to a server's live events of one call (SSE), as long as there are any; a call goes on without them."""

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import httpx2

logger = logging.getLogger(__name__)

OnEvent = Callable[[str, Mapping[str, Any]], None]
"""Called as (event name, data) in the order of arrival. Must not wait."""

ENDED: Final = "call.ended"
_RETRY_S: Final = 0.5
_TRIES: Final = 6  # the address may be unknown until the media stream has started
_TIMEOUT = httpx2.Timeout(10, read=None)  # a quiet call sends nothing for long


async def follow(http: httpx2.AsyncClient, url: str, headers: Mapping[str, str], on_event: OnEvent) -> None:
    """Pass every event of `url` to `on_event` until `call.ended`, or until the server has none to give. Never raises
    for what the server does. A broken connection is taken up again where it ended, by `Last-Event-ID`.
    """
    last_id = ""
    failures = 0
    while failures < _TRIES:
        more = {"Last-Event-ID": last_id} if last_id else {}
        try:
            async with http.stream("GET", url, headers={**headers, **more}, timeout=_TIMEOUT) as response:
                if response.status_code != httpx2.codes.OK:
                    failures += 1
                else:
                    async for event in httpx2.EventSource(response):
                        failures = 0
                        last_id = event.id or last_id
                        on_event(event.event, _data(event.data))
                        if event.event == ENDED:
                            return
                    failures += 1
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            failures += 1
            logger.debug("live events interrupted", extra={"error": repr(error)})
        await anyio.sleep(_RETRY_S)
    logger.info("no live events from this server", extra={"url": url})


def _data(text: str) -> Mapping[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        return {"text": text}
    return data if isinstance(data, dict) else {"value": data}
