"""Sealing: what must not lie readable on a disk or in a dump (AES-256-GCM, NIST SP 800-38D). The only file with the
SDK.

    version (1 byte) | nonce (12, random) | ciphertext | tag (16)

The context is authenticated and not stored: sealed bytes that are put in another place, row or order do not open.
"""

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moked.errors import SealError

KEY_BYTES: Final = 32
OVERHEAD: Final = 29
"""How much longer sealed bytes are than plain ones."""

_VERSION: Final = b"\x01"
_NONCE: Final = 12


class Sealer:
    """Seals with one key of 32 bytes. A random nonce is safe for 2^32 messages a key; recordings have keys of their
    own."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(f"a key has {KEY_BYTES} bytes, not {len(key)}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `SealError`: another key or context, or not what was sealed."""
        if len(sealed) < OVERHEAD or sealed[:1] != _VERSION:
            raise SealError("these bytes were not sealed by this version")
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        try:
            return self._cipher.decrypt(nonce, rest, _VERSION + context.encode())
        except InvalidTag:
            raise SealError("sealed bytes do not open: another key or place, or they were changed") from None


def new_key() -> bytes:
    return os.urandom(KEY_BYTES)
