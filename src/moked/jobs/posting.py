"""POST to an address that a customer chose, without becoming their way into our own network (SSRF).

The name is resolved once; every address it has must be out there (`signing.public`), and the connection goes to one
that was looked at, so that a name cannot change its mind in between. TLS still asks for the name. No redirects, no
proxy from the environment, at most `_LARGEST` bytes of the answer, and one time limit over all of it.
"""

import json
import socket
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import anyio
import httpx2

from moked import __version__
from moked.crm import signing
from moked.crm.delivering import Claimed, Result

TIMEOUT_S: Final = 15.0
_LARGEST: Final = 2048
_EXCERPT: Final = 300
_AGENT: Final = f"Moked-Webhooks/{__version__}"


async def post(claimed: Claimed, now: float, *, private: bool) -> Result:
    """One attempt. `now` is Unix time. Every failure is a `Result`."""
    body = json.dumps(claimed.payload, ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "content-type": "application/json",
        "user-agent": _AGENT,
        "webhook-id": claimed.event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": signing.signature(claimed.secrets, claimed.event_id, int(now), body),
    }
    started = time.monotonic()
    try:
        with anyio.fail_after(TIMEOUT_S):
            status, answered, text = await _sent(claimed.url, body, headers, private=private)
    except _Forbidden:
        return Result(error="private_address", took_ms=_ms(started))
    except OSError as error:
        kind = (
            "timeout"
            if isinstance(error, TimeoutError)
            else "name"
            if isinstance(error, socket.gaierror)
            else "network"
        )
        return Result(error=kind, took_ms=_ms(started))
    except httpx2.TimeoutException:
        return Result(error="timeout", took_ms=_ms(started))
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        kind = "tls" if "certificate" in str(error).lower() or "ssl" in str(error).lower() else "network"
        return Result(error=kind, took_ms=_ms(started))
    return Result(status, "", text[:_EXCERPT], _ms(started), _asked(answered.get("retry-after", "")))


class _Forbidden(Exception):
    pass


async def _sent(
    url: str, body: bytes, headers: Mapping[str, str], *, private: bool
) -> tuple[int, Mapping[str, str], str]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(one[4][0]) for one in found]
    if not addresses or not (private or all(signing.public(address) for address in addresses)):
        raise _Forbidden
    there = httpx2.URL(url).copy_with(host=addresses[0])
    extensions: dict[str, Any] = {"sni_hostname": host}
    async with (
        httpx2.AsyncClient(timeout=TIMEOUT_S, follow_redirects=False, trust_env=False) as client,
        client.stream(
            "POST", there, content=body, headers={**headers, "host": parts.netloc}, extensions=extensions
        ) as answer,
    ):
        read = b""
        async for chunk in answer.aiter_raw():
            read += chunk
            if len(read) >= _LARGEST:
                break
        return answer.status_code, answer.headers, read[:_LARGEST].decode("utf-8", "replace")


def _asked(text: str) -> timedelta | None:
    """`Retry-After` in seconds; its other form, a date, is rare and not honoured."""
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) < 7 else None


def _ms(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
