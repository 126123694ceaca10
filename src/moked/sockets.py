"""The sockets that browsers open to a media process (pure): their paths, their addresses, and from where they may come.

    /media/twilio      the carrier's               /media/2/twilio      of the second of several processes
    /media/browser     a call from the desk        /media/2/browser
    /media/supervise   listening in, taking over   /media/2/supervise

A browser sends no signature and may be led to us by any page: the page's origin must be one of ours, and the ticket,
which only our own page is given, must fit.
"""

from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit, urlunsplit

CARRIER: Final = "twilio"
BROWSER: Final = "browser"
SUPERVISE: Final = "supervise"

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_PORTS: Final = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def path(kind: str, number: int = 0) -> str:
    """Of a media process; those of several on one host have their number in it, for the proxy."""
    return f"/media/{number}/{kind}" if number else f"/media/{kind}"


def address(media_url: str, kind: str, *, base_url: str, page_url: str) -> str:
    """Where a page finds `kind` at the process whose carrier's address is `media_url`.

    `page_url` is the page's own. A process behind the same address as the pages (`base_url`) is reached by whatever
    name the browser knows it by: 'localhost', or a proxy's.
    """
    scheme, netloc, where = urlsplit(media_url)[:3]
    if _same_host(f"{scheme}://{netloc}", base_url):
        page = urlsplit(page_url)
        scheme, netloc = "wss" if page.scheme == "https" else "ws", page.netloc
    return urlunsplit((scheme, netloc, where.removesuffix(CARRIER) + kind, "", ""))


def origin(url: str) -> str:
    """'wss://host:1' of any URL, as a Content-Security-Policy names it."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return f"{scheme}://{parts.netloc}"


def may_come_from(origin: str, host: str, ours: Iterable[str]) -> bool:
    """Whether a page of this `Origin` is one of ours: of the `Host` it asks, or of one of our addresses (`ours`)."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    return any(_same_host(origin, one) for one in (f"{parts.scheme}://{host}" if host else "", *ours) if one)


def _same_host(one: str, other: str) -> bool:
    return _host(one) == _host(other)


def _host(url: str) -> tuple[str, int]:
    """Every name of this machine's own is one; an impossible port is nobody's."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = -1
    name = parts.hostname or ""
    return ("localhost" if name in _LOOPBACK else name), port
