"""Where finished parts lie: a port, and the disk behind it. What is stored is sealed already; a store sees no audio.

Parts are written in a folder of this host while a call runs, whatever the store: an object store takes no appended
second. The keeper hands them over when they are complete.
"""

import os
from pathlib import Path
from typing import Protocol

from moked.errors import Failure, ProviderError

SUFFIX = ".rec"


class Store(Protocol):
    """Raises `ProviderError` when it is away."""

    name: str  # 'disk' or 's3', as a part's `place`

    def put(self, name: str, path: Path) -> None: ...

    def read(self, name: str, start: int, length: int) -> bytes:
        """Fewer bytes at the end; b'' for what is not there."""

    def size(self, name: str) -> int:
        """0 for what is not there."""

    def delete(self, name: str) -> None:
        """What is not there is deleted."""


class DiskStore:
    """The folder that parts are written in is the store."""

    name = "disk"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"

    def put(self, name: str, path: Path) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.replace(self.path(name))

    def read(self, name: str, start: int, length: int) -> bytes:
        try:
            descriptor = os.open(self.path(name), os.O_RDONLY)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise ProviderError("disk", Failure.UNAVAILABLE, type(error).__name__) from error
        try:
            return os.pread(descriptor, length, start)
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int:
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0

    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)
