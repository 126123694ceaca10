"""Sealing what must not be read from the database or the disk: AES-256-GCM under one key of the installation.

    version byte (1) | nonce (12) | ciphertext and tag (16)

`context` says what a value is and whose ('whatsapp:1:creds:creds'); it is authenticated, so that a sealed value cannot
be put in another one's place.
"""

import base64
import binascii
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from moked.errors import SealError

KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE: Final = 12
_KEY_FILE: Final = "data.key"


class Sealer:
    """Seals and opens with `key` (32 bytes)."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise SealError(f"the data key has {len(key)} bytes, not {KEY_BYTES}")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, context: str) -> bytes:
        nonce = os.urandom(_NONCE)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _VERSION + context.encode())

    def open(self, sealed: bytes, context: str) -> bytes:
        """Raises `SealError` for what was changed, belongs elsewhere, or was sealed with another key."""
        if sealed[:1] != _VERSION:
            raise SealError("a sealed value has a version this program does not know")
        try:
            nonce, body = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
            return self._cipher.decrypt(nonce, body, _VERSION + context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealError("a sealed value cannot be opened: DATA_KEY is another one, or it was changed") from error


def data_key(given: str, folder: Path) -> bytes:
    """The key of `DATA_KEY` (base64), else of a file in `folder` that only we may read, made at the first start."""
    if given:
        return _decoded(given, "DATA_KEY")
    path = folder / _KEY_FILE
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / f".{_KEY_FILE}.{secrets.token_hex(8)}"
    if not path.exists():
        handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            os.link(made, path)  # whole, or not at all; and of two that start together one wins
        except FileExistsError:
            pass
        finally:
            made.unlink()
    return _decoded(path.read_text("ascii"), str(path))


def _decoded(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SealError(f"{where} is not base64") from error
    if len(key) != KEY_BYTES:
        raise SealError(f"{where} must be {KEY_BYTES} bytes in base64: openssl rand -base64 32")
    return key
