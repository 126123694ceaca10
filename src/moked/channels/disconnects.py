"""What to do when WhatsApp ends a connection (pure): the whole table of reasons, and which version to say we are.

    open --closed(code)--> judge -> Verdict: connect again in `wait_ms`, or stop and say why

Codes are Baileys' `DisconnectReason`; what they mean in practice is in docs/decisions/0014-whatsapp.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from moked.channels import Link

RESTART: Final = 515
CLOSED: Final = 428
LOST: Final = 408
REPLACED: Final = 440
TOO_OLD: Final = 405
BRIDGE_DIED: Final = 0
"""Our own program ended; no code of WhatsApp's."""

_UNLINKED: Final = {401: "logged_out", 403: "forbidden", 419: "unlinked", 411: "no_multi_device"}
_NAMES: Final = {
    BRIDGE_DIED: "bridge_died", CLOSED: "connection_closed", LOST: "connection_lost", REPLACED: "replaced",
    TOO_OLD: "version_too_old", 500: "bad_session", 503: "unavailable",
}  # fmt: skip
GIVE_UP_AFTER: Final = 10
_FIRST_MS: Final = 1000
_LONGEST_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`wait_ms` until the next attempt, None = a person must act. `next_version`: say another one then."""

    link: Link
    error: str
    wait_ms: int | None
    next_version: bool = False

    @property
    def alarm(self) -> bool:
        """Somebody must be told: it will not mend itself."""
        return self.wait_ms is None and self.error != "qr_ended"


def judge(code: int, *, paired: bool, failures: int, chance: float) -> Verdict:
    """After a close with `code`. `failures`: closes in a row, with this one, since a connection last held; `chance`
    is 0 <= x < 1, at random, so that many who were cut off together do not come back together.
    """
    error = _NAMES.get(code, _UNLINKED.get(code, f"code_{code}"))
    if code == RESTART:
        return Verdict(Link.CONNECTING, "", 0 if failures < GIVE_UP_AFTER else backoff(failures, chance))
    if code in _UNLINKED:
        return Verdict(Link.UNPAIRED, error, None)
    if code == REPLACED:
        return Verdict(Link.REPLACED, error, None)
    if code == LOST and not paired:
        return Verdict(Link.UNPAIRED, "qr_ended", None)  # nobody scanned any of the codes: show new ones when asked
    if failures >= GIVE_UP_AFTER:
        return Verdict(Link.FAILED, error, None)
    return Verdict(Link.WAITING, error, backoff(failures, chance), next_version=code == TOO_OLD)


def backoff(failures: int, chance: float) -> int:
    """Doubles from a second to a minute, half to one and a half times that."""
    return int(min(_FIRST_MS * 2 ** max(failures - 1, 0), _LONGEST_MS) * (0.5 + chance))


Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Versions:
    """Which version of WhatsApp Web we say we are: None = the one Baileys was made with.

    An owner's own word holds always. Else the last that was let in, and when one is too old: WhatsApp's newest, then
    the last good one, then Baileys' own.
    """

    own: Version | None = None
    last_good: Version | None = None
    refused: frozenset[Version | None] = frozenset()

    def choose(self, newest: Version | None = None) -> Version | None:
        """What to say next; asked with `newest` where the one before was refused."""
        if self.own is not None:
            return self.own
        ladder = (newest, self.last_good, None) if self.refused else (self.last_good, None)
        return next((one for one in ladder if one not in self.refused and (one is not None or ladder[-1] is one)), None)

    def refuse(self, version: Version | None) -> "Versions":
        return Versions(self.own, self.last_good, self.refused | {version})


def parse_version(text: str) -> Version | None:
    """`2.3000.1043857760`; None for anything else."""
    parts: Sequence[str] = text.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 12 for part in parts):
        return None
    return tuple(int(part) for part in parts)
