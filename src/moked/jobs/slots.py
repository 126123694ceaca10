"""A worker's name: the lowest slot of its folder that nobody holds.

The kernel lets go of a dead process's slot, so that its successor on the machine has the same name at once, and goes on
with what it had begun.
"""

import fcntl
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_MOST: Final = 256


@contextmanager
def slot(folder: Path) -> Iterator[str]:
    """The name, which is this process's alone as long as the block lasts: '<host>-<folder's own id>-<number>'."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = _identity(folder)
    for number in range(1, _MOST + 1):
        with (folder / f"worker-{number}.lock").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield f"{socket.gethostname()[:64]}-{identity}-{number}"
            return
    raise RuntimeError(f"all {_MOST} slots of {folder} are taken")


def _identity(folder: Path) -> str:
    """A folder's own: two hosts may have the same name, and two installations a host."""
    path = folder / "worker-id"
    if not path.exists():
        own = folder / f".worker-id-{secrets.token_hex(4)}"
        own.write_text(secrets.token_hex(4), "ascii")
        with suppress(FileExistsError):  # another process was first
            path.hardlink_to(own)  # it appears complete
        own.unlink()
    return path.read_text("ascii")
