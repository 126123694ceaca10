"""The bridge program: where its files are, and fetching what it needs with npm.

Its sources come with Moked; its dependencies do not: one of them (libsignal) is under the GPL, and the bridge is a
program of its own. `npm ci` takes exactly what its lock names, checks the hashes and runs no script of a package.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Final

from moked.errors import SettingsError

_HERE: Final = Path(__file__).parent
_FILES: Final = ("package.json", "package-lock.json", "*.mjs")
_DONE: Final = ".installed"
OLDEST_NODE: Final = 20


def sources() -> Path:
    """In an installed package beside this file, in a checkout at its root."""
    packaged = _HERE / "whatsapp-bridge"
    return packaged if packaged.is_dir() else _HERE.parents[2] / "whatsapp-bridge"


def digest(folder: Path) -> str:
    """Of all the sources: another one means to install again."""
    made = hashlib.sha256()
    for path in _sources(folder):
        made.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return made.hexdigest()


def installed(target: Path) -> bool:
    done = target / _DONE
    return done.is_file() and done.read_text("ascii") == digest(sources())


def install(target: Path) -> None:
    """Put the bridge with its dependencies in `target`. Raises `SettingsError` saying what is missing."""
    npm, _ = shutil.which("npm"), node()
    if npm is None:
        raise SettingsError("WHATSAPP: npm is not installed; it comes with Node.js 20 or newer")
    target.mkdir(parents=True, exist_ok=True)
    (target / _DONE).unlink(missing_ok=True)
    for path in _sources(sources()):
        shutil.copyfile(path, target / path.name)
    command = [npm, "ci", "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund"]
    ran = subprocess.run(command, cwd=target, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise SettingsError(f"WHATSAPP: npm could not fetch the bridge's dependencies: {ran.stderr.strip()[-600:]}")
    (target / _DONE).write_text(digest(sources()), "ascii")


def node() -> str:
    """Node's path. Raises `SettingsError` where there is none, or only an old one."""
    found = shutil.which("node")
    if found is None:
        raise SettingsError("WHATSAPP: Node.js is not installed; version 20 or newer is needed")
    told = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    major = told.removeprefix("v").partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_NODE:
        raise SettingsError(f"WHATSAPP: Node.js {told or '?'} is too old; version {OLDEST_NODE} or newer is needed")
    return found


def command(target: Path) -> tuple[str, ...]:
    """What starts the bridge. Raises `SettingsError` where it is not installed."""
    if not installed(target):
        raise SettingsError("WHATSAPP: the bridge is not installed; run: moked whatsapp install")
    return (node(), str(target / "bridge.mjs"))


def _sources(folder: Path) -> list[Path]:
    return sorted(path for pattern in _FILES for path in folder.glob(pattern))
