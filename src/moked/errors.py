"""Every error Moked raises on purpose: one tree, each with a stable `code` and a message for a person.

Bad input from the network is data, not an exception: codecs return events for it. What is raised here is either
the operator's to fix (`SettingsError`, `ModelError`), a provider's failure that somebody handles by name
(`ProviderError`), or a limit of ours that was reached (`Overloaded`).

    MokedError
      SettingsError      a setting is missing or wrong; the message names the variable
      ProfileError       the business profile or the script cannot be used; the message names the place
      ModelError         embedded weights are absent or do not match their published hash
      RecordingError     a recording cannot be read; the message says why, and what to do
      SealError          a sealed value or its key cannot be used
      ProviderError      an outside service failed; `kind` says how
      Overloaded         a bounded queue or the call capacity is full
"""

from enum import StrEnum
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


class MokedError(Exception):
    """Base of all. `code` is stable and machine-readable; `str(error)` says what to do."""

    code = "moked"


class SettingsError(MokedError):
    code = "settings"


class ProfileError(MokedError):
    code = "profile"


class ModelError(MokedError):
    code = "model"


class RecordingError(MokedError):
    code = "recording"


class SealError(MokedError):
    code = "seal"


class Overloaded(MokedError):
    code = "overloaded"


class Failure(StrEnum):
    """How a provider failed, as far as the treatment differs."""

    CONFIG = "config"  # our request is wrong for it; not retryable as it is
    AUTH = "auth"  # credentials are refused; a person must act
    QUOTA = "quota"  # too much; go elsewhere for a while
    UNAVAILABLE = "unavailable"  # cannot be reached, or answers 5xx
    TIMEOUT = "timeout"  # reached, but too late
    EXPIRED = "expired"  # the stream hit the provider's own limit; open another, nothing is wrong
    CLOSED = "closed"  # ended without an error and without being asked
    PROTOCOL = "protocol"  # an answer that makes no sense
    FULL = "full"  # our own capacity for it is used up; this one call goes elsewhere, nothing is wrong with it


class ProviderError(MokedError):
    """An outside service failed. `provider` is the engine's name, `kind` decides the treatment."""

    code = "provider"

    def __init__(self, provider: str, kind: Failure, message: str) -> None:
        super().__init__(f"{provider}: {kind.value}: {message}")
        self.provider = provider
        self.kind = kind


def first_leaf(group: BaseExceptionGroup[Error]) -> Error:
    """The first error in a group that is not a group itself: task groups wrap what their tasks raise."""
    first = group.exceptions[0]
    return first_leaf(first) if isinstance(first, BaseExceptionGroup) else first
