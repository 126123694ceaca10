"""What holds for how calls are heard, and what it means for one call (pure).

    number rule  >  share of the calls (set by a person, or by a rollback)  >  the setting ENABLE_STREAMING_STT

A share is sticky: a call's place in [0, 10000) is a hash of its CallSid, and streaming calls are those below the share.
So going from 10 to 20 % keeps the first 10 %, and each process decides alike without asking another. A rule may end by
itself: then what held before it holds again. `now` is whole seconds of Unix time.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

MAX_NUMBERS: Final = 100
_PLACES: Final = 10_000


class Mode(StrEnum):
    STREAMING = "streaming"  # recognised while the caller speaks
    UTTERANCES = "utterances"  # whole utterances in single requests

    @property
    def other(self) -> "Mode":
        return Mode.UTTERANCES if self is Mode.STREAMING else Mode.STREAMING


class Why(StrEnum):
    """What decided about a call."""

    DEFAULT = "default"  # the setting: nothing was set at run time
    ALL = "all"  # set for all calls
    PERCENT = "percent"  # set for a share of them
    NUMBER = "number"  # set for the caller's or the called number
    ROLLBACK = "rollback"  # streaming was taken back, by the guard or by a person


@dataclass(frozen=True, slots=True)
class Decision:
    mode: Mode
    why: Why


@dataclass(frozen=True, slots=True)
class Share:
    """This share of all calls is streamed, the others are not. `until` None: for good. `rollback`: see `Why`."""

    streaming_percent: int
    by: str
    reason: str = ""
    at: int = 0
    until: int | None = None
    rollback: bool = False


@dataclass(frozen=True, slots=True)
class NumberRule:
    """Calls from or to `number` (E.164)."""

    number: str
    streaming: bool
    until: int | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """All that was set at run time. `before` is what holds again when `share` has ended by itself."""

    share: Share | None = None
    before: Share | None = None
    numbers: tuple[NumberRule, ...] = ()
    shadow_percent: int = 0

    def at(self, now: int) -> "Policy":
        """The policy without what has ended by itself."""
        share, before = self.share, self.before
        if share is not None and share.until is not None and share.until <= now:
            share, before = before, None
        numbers = tuple(rule for rule in self.numbers if rule.until is None or rule.until > now)
        return Policy(share, before, numbers, self.shadow_percent)

    def decide(self, call_sid: str, caller: str, called: str, *, default: bool, now: int) -> Decision:
        """How this call is to be heard."""
        holds = self.at(now)
        for party in (caller, called):  # the caller's own rule first
            for rule in holds.numbers:
                if rule.number == party:
                    return Decision(_mode(rule.streaming), Why.NUMBER)
        share = holds.share
        if share is None:
            return Decision(_mode(default), Why.DEFAULT)
        mode = _mode(_is_in(call_sid, "streaming", share.streaming_percent))
        if share.rollback:
            return Decision(mode, Why.ROLLBACK)
        return Decision(mode, Why.ALL if share.streaming_percent in (0, 100) else Why.PERCENT)

    def shadows(self, call_sid: str) -> bool:
        """Whether the other mode is to run beside this call. Independent of how the call itself is heard."""
        return _is_in(call_sid, "shadow", self.shadow_percent)

    def streams_any(self, *, default: bool, now: int) -> bool:
        """Whether any call is streamed."""
        holds = self.at(now)
        percent = (100 if default else 0) if holds.share is None else holds.share.streaming_percent
        return percent > 0 or any(rule.streaming for rule in holds.numbers)

    # --- changes: each gives the new policy

    def with_share(
        self, streaming: bool, percent: int, *, by: str, reason: str = "", now: int, until: int | None = None
    ) -> "Policy":
        """`streaming` for this percentage of the calls, the opposite for the others."""
        share = Share(percent if streaming else 100 - percent, by, reason, now, until)
        return self._with(share, now)

    def with_number(self, number: str, streaming: bool, *, now: int, until: int | None = None) -> "Policy":
        """Raises `ValueError` when there are too many rules."""
        others = tuple(rule for rule in self.at(now).numbers if rule.number != number)
        if len(others) >= MAX_NUMBERS:
            raise ValueError(f"there are {MAX_NUMBERS} rules for numbers already; clear some")
        return replace(self, numbers=(*others, NumberRule(number, streaming, until)))

    def without_number(self, number: str) -> "Policy":
        """Raises `LookupError` when there is no such rule."""
        left = tuple(rule for rule in self.numbers if rule.number != number)
        if len(left) == len(self.numbers):
            raise LookupError("there is no rule for this number")
        return replace(self, numbers=left)

    def with_shadow(self, percent: int) -> "Policy":
        return replace(self, shadow_percent=percent)

    def rolled_back(self, *, by: str, reason: str, now: int) -> "Policy":
        """Streaming for nobody, and for good: rules that turn it on for a number go too, and nothing returns."""
        kept = tuple(rule for rule in self.at(now).numbers if not rule.streaming)
        return replace(self, share=Share(0, by, reason, now, None, True), before=None, numbers=kept)

    def _with(self, share: Share, now: int) -> "Policy":
        """A rule that ends by itself remembers the last one that does not."""
        before = None
        if share.until is not None:
            holds = self.at(now)
            before = holds.before if holds.share is not None and holds.share.until is not None else holds.share
        return replace(self, share=share, before=before)


def _mode(streaming: bool) -> Mode:
    return Mode.STREAMING if streaming else Mode.UTTERANCES


def _is_in(call_sid: str, purpose: str, percent: int) -> bool:
    digest = hashlib.blake2b(f"{purpose}:{call_sid}".encode("utf-8", "replace"), digest_size=8).digest()
    return int.from_bytes(digest, "big") % _PLACES < percent * (_PLACES // 100)


# --- engines ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Engines:
    """Names of the engines of a process: the two modes, and what takes over when they fail, most wanted first.

    Without Google there are no modes (`streaming` and `utterances` empty), and the switch means nothing.
    """

    streaming: str = ""
    utterances: str = ""
    fallback: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], *, streaming: str, utterances: str) -> "Engines":
        """The modes are there when both names are among `names`; the rest is the fallback, in its order."""
        if streaming in names and utterances in names:
            rest = tuple(name for name in names if name not in (streaming, utterances))
            return cls(streaming, utterances, rest)
        return cls(fallback=tuple(names))

    @property
    def switchable(self) -> bool:
        return bool(self.streaming)

    def wanted(self, mode: Mode) -> str:
        """The engine of this mode; empty without modes."""
        return self.streaming if mode is Mode.STREAMING else self.utterances

    def order(self, mode: Mode) -> tuple[str, ...]:
        """Most wanted first. The other mode comes last: what it depends on has just failed, mostly."""
        if not self.switchable:
            return self.fallback
        return (self.wanted(mode), *self.fallback, self.wanted(mode.other))


# --- words and JSON ---------------------------------------------------------------------------------------------------


def in_words(policy: Policy, *, default: bool, now: int) -> str:
    """What holds for the calls without a rule of their own, in one line for a person."""
    holds = policy.at(now)
    share = holds.share
    if share is None:
        return f"streaming is {'on' if default else 'off'} for all calls (ENABLE_STREAMING_STT)"
    percent = share.streaming_percent
    what = "off for all calls" if percent == 0 else "on for all calls" if percent == 100 else f"on for {percent} %"
    why = f", rolled back by {share.by}" if share.rollback else f", set by {share.by}"
    return f"streaming is {what}{why}" + (f": {share.reason}" if share.reason else "")


def as_json(policy: Policy) -> dict[str, Any]:
    """For the database."""
    data: dict[str, Any] = msgspec.to_builtins(policy)
    return data


def from_json(data: dict[str, Any]) -> Policy:
    """Raises `ValueError` where the stored policy is not one."""
    try:
        return msgspec.convert(data, Policy)
    except msgspec.ValidationError as error:
        raise ValueError(f"the stored rollout policy cannot be read: {error}") from error


_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(text: str) -> int:
    """'90s', '30m', '2h', '7d' in seconds. Raises `ValueError`."""
    number, unit = text[:-1], text[-1:].lower()
    if unit not in _UNITS or not (number.isascii() and number.isdigit()) or not 0 < int(number) <= 10_000_000:
        raise ValueError(f"{text!r} is not a length of time such as 90s, 30m, 2h or 7d")
    return int(number) * _UNITS[unit]
