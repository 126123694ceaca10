"""Passwords, one-time codes and secret links. The only file that imports argon2, pyotp and
segno.

argon2 takes some 50 ms and 64 MB on purpose: no more than `_AT_ONCE` are checked at a time, the rest wait.
"""

import hashlib
import hmac
import secrets
import threading
from datetime import datetime

import pyotp
import segno
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SHORTEST, LONGEST = 10, 200
_AT_ONCE = 2
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that is read as another
_hasher = PasswordHasher()
_gate = threading.BoundedSemaphore(_AT_ONCE)
_NOBODYS = ""


def hashed(password: str) -> str:
    with _gate:
        return _hasher.hash(password)


def right(stored: str, password: str) -> bool:
    """Whether it is the password. Without a stored one it takes as long, so that nobody learns who has an account."""
    global _NOBODYS  # noqa: PLW0603  (made on first use: it costs what a check costs)
    if not stored and not _NOBODYS:
        _NOBODYS = hashed(secrets.token_hex(16))
    with _gate:
        try:
            return _hasher.verify(stored or _NOBODYS, password) and bool(stored)
        except (VerificationError, InvalidHashError):
            return False


def acceptable(password: str, email: str) -> bool:
    """Long enough (NIST SP 800-63B asks for length, not for kinds of characters), and not the login itself."""
    return SHORTEST <= len(password) <= LONGEST and password.lower() != email.lower()


def token() -> str:
    """256 random bits for a cookie or a link."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored instead of a token: its SHA-256. Enough for secrets that nobody can guess."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def form_token(secret: str) -> str:
    """The anti-forgery token of forms, from the secret of the browser's cookie: nothing to store."""
    return hmac.new(secret.encode("utf-8", "replace"), b"form", hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


# ---- second factor


def new_totp_secret() -> str:
    return pyotp.random_base32()


def totp_uri(secret: str, email: str) -> str:
    """What an authenticator app reads."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Moked")


def qr_code(text: str) -> str:
    """A picture of it for a telephone to read, as a `data:` address: SVG, dark on white in every theme."""
    made = segno.make(text, error="m", micro=False)
    return str(made.svg_data_uri(scale=4, border=4, dark="#000", light="#fff", xmldecl=False))


def totp_step(secret: str, code: str, now: datetime) -> int | None:
    """The 30 s step `code` is right for, of the present one and its neighbours (clocks differ), or None."""
    digits = "".join(code.split())
    if len(digits) != 6 or not digits.isascii() or not digits.isdigit():
        return None
    try:
        totp = pyotp.TOTP(secret)
        present = int(now.timestamp()) // 30
        return next((step for step in (present, present - 1, present + 1) if same(totp.at(step * 30), digits)), None)
    except ValueError:  # not base32
        return None


def recovery_codes() -> list[str]:
    """Ten codes of 50 bits for the day the telephone is lost, each good once."""
    return ["-".join("".join(secrets.choice(_LETTERS) for _ in range(5)) for _ in range(2)) for _ in range(10)]


def recovery_digest(code: str) -> str:
    return digest("".join(code.lower().split()))
