"""Secrets at rest: sealed before they are stored, opened when they are used. The only file that imports cryptography.

AES-256-GCM (NIST SP 800-38D). What is sealed for one place cannot be opened as something else: the place is the
`context`, such as 'totp:7', and is authenticated with it.

    0x01 | key (1 byte of its SHA-256) | nonce (12) | ciphertext and tag (16)
"""

import hashlib
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moked.errors import SealError

KEY_BYTES: Final = 32
_FORMAT: Final = 1
_NONCE: Final = 12
_HEAD: Final = 2
_TAG: Final = 16
OVERHEAD: Final = _HEAD + _NONCE + _TAG
"""How much longer sealed bytes are than plain ones."""


class Sealer:
    """Seals with `key` (32 bytes), and also opens what was sealed with one of the `older` ones."""

    def __init__(self, key: bytes, *older: bytes) -> None:
        if any(len(one) != KEY_BYTES for one in (key, *older)):
            raise SealError(f"a key has {KEY_BYTES} bytes")
        self._current = _fingerprint(key)
        self._cipher = AESGCM(key)
        self._known = [(_fingerprint(one), AESGCM(one)) for one in (key, *older)]

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return bytes((_FORMAT, self._current)) + nonce + self._cipher.encrypt(nonce, plain, context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `SealError`: damaged, sealed for another place, or with a key that is not there any more."""
        if len(sealed) < _HEAD + _NONCE + _TAG or sealed[0] != _FORMAT:
            raise SealError("this was not sealed by Moked")
        nonce, rest = sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :]
        for fingerprint, cipher in self._known:
            if fingerprint == sealed[1]:
                try:
                    return cipher.decrypt(nonce, rest, context.encode())
                except InvalidTag:  # two keys may share the byte
                    continue
        raise SealError(
            "it cannot be opened: DATA_KEY has changed, or the data has. An older key may stand after a comma"
        )

    def renewed(self, sealed: bytes, context: str) -> bytes | None:
        """Sealed anew with the current key; None where it is already. Raises `SealError` where no key opens it."""
        if self._opens(sealed, context):
            return None
        return self.seal(self.open(sealed, context), context)

    def _opens(self, sealed: bytes, context: str) -> bool:
        """Whether the current key alone does: two keys may share the byte."""
        try:
            self._cipher.decrypt(sealed[_HEAD : _HEAD + _NONCE], sealed[_HEAD + _NONCE :], context.encode())
        except (InvalidTag, ValueError):  # of another key, or cut off
            return False
        return len(sealed) >= OVERHEAD and sealed[0] == _FORMAT

    def stale(self, sealed: bytes) -> bool:
        """It should be sealed anew, because its key is to be given up."""
        return sealed[1] != self._current


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)


def _fingerprint(key: bytes) -> int:
    return hashlib.sha256(b"moked key" + key).digest()[0]
