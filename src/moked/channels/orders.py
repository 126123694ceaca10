"""What a person wants of a channel that has an account to be linked, as the process that serves it is told (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Orders:
    """What a person wants. `forget`: unlink the device and delete its keys. `version`: the last that was let in."""

    wanted: bool = False
    forget: bool = False
    pair_phone: str = ""
    version: str = ""
    turn: str = ""  # changes when the same is ordered again: try anew


class NotOurs(Exception):
    """The lease is another process's: nothing may be written."""
