"""The one-time link that makes the first owner, or gives an owner their account back: a token in a file of DATA_DIR.

Whoever can read that folder owns the installation anyway. Using the link removes the file; of two at once one wins.
"""

import hmac
import os
import secrets
import time
from pathlib import Path

from moked.errors import SettingsError

GOOD_FOR_S = 24 * 3600
_NAME = "setup_token"


class SetupLink:
    """The link of this `data_dir`. Processes that share the folder share the link."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / _NAME

    def make(self) -> str:
        """The token: the one that is there, if it is still good, else a new one. Raises `SettingsError`."""
        if token := self._token():
            return token
        try:
            self._path.unlink(missing_ok=True)
            token = secrets.token_urlsafe(32)
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(descriptor, "w") as stream:
                stream.write(token)
        except FileExistsError:  # another process was first
            return self._token()
        except OSError as error:
            raise SettingsError(f"DATA_DIR: {self._path} cannot be written: {error}.") from None
        return token

    def fits(self, token: str) -> bool:
        """Whether this is the token of a link that is still good."""
        wanted = self._token()
        return bool(wanted) and hmac.compare_digest(wanted.encode(), token.encode("utf-8", "replace"))

    def spend(self, token: str) -> bool:
        """Use the link up; False when it is not good (any more)."""
        if not self.fits(token):
            return False
        try:
            self._path.unlink()
        except FileNotFoundError:
            return False
        return True

    def _token(self) -> str:
        try:
            if time.time() - self._path.stat().st_mtime > GOOD_FOR_S:
                return ""
            return self._path.read_text("ascii").strip()
        except (OSError, UnicodeDecodeError):
            return ""
