"""Webhooks as the wire has them (pure): Standard Webhooks 1.0 signatures, when to try again, whom not to call."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

SECRET: Final = "whsec_"  # noqa: S105  (a prefix)
_SECRET_BYTES: Final = 32
_LONGEST_URL: Final = 2000

RETRIES: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
"""After each attempt that failed; a day and a bit in all, as the specification advises. Then it is given up."""

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))


def new_secret() -> str:
    return SECRET + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def signature(given: Iterable[str], message_id: str, at: int, body: bytes) -> str:
    """The header `webhook-signature`: one for each secret. `at`: Unix seconds."""
    signed = f"{message_id}.{at}.".encode() + body
    return " ".join(
        "v1,"
        + base64.b64encode(hmac.digest(base64.b64decode(one.removeprefix(SECRET)), signed, hashlib.sha256)).decode()
        for one in given
    )


def retry_after(attempts: int, spread: float, asked: timedelta | None = None) -> timedelta | None:
    """How long to wait after that many attempts, None to give up. `spread` (0..1) keeps many from coming at once; what
    the other side asked for is honoured where it is longer, up to a day."""
    if attempts > len(RETRIES):
        return None
    wait = RETRIES[attempts - 1] * (1 + spread / 5)
    return max(wait, min(asked, timedelta(days=1))) if asked is not None else wait


def acceptable(url: str, *, private: bool) -> bool:
    """Whether events may be sent there: https with a host, or with `private` http too. No password, no fragment."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    fine = url.isascii() and url.isprintable() and " " not in url and len(url) <= _LONGEST_URL
    schemes = ("https", "http") if private else ("https",)
    return (
        fine
        and parts.scheme in schemes
        and bool(parts.hostname)
        and port != 0
        and not (parts.username or parts.password or parts.fragment)
    )


def public(address: str) -> bool:
    """Whether it is somebody out there: nothing private, local or reserved, also not behind an address that carries
    another (IPv4-mapped, 6to4, NAT64, Teredo)."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _public(found)


def _public(found: IPv4Address | IPv6Address) -> bool:
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and any(found in network for network in _NAT64):
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is None and found.teredo is not None:
            return False
        if inner is not None:
            return _public(inner)
    return found.is_global and not (found.is_multicast or found.is_reserved or found.is_unspecified)
