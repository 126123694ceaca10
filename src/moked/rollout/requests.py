"""What a person asks for, read into a change, and what holds, told back (pure): for the command and the API alike."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from moked.crm.phone import to_e164
from moked.rollout.policy import Policy, Share, in_words, seconds

NO_GOOGLE: Final = (
    "No Google is set, so there is nothing to switch: Whisper hears all calls. What is set here is kept, and holds "
    "once Google is there."
)
_YES: Final = ("on", "true", "yes", "1")
_NO: Final = ("off", "false", "no", "0")
_KNOWN: Final = {"streaming", "percent", "number", "for", "why", "by", "rollback", "shadow"}


class Refused(ValueError):
    """The request makes no sense; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class Change:
    """`make(policy, by)` gives the new policy; `what` says it in words for the history."""

    make: Callable[[Policy, str], Policy]
    what: str
    why: str = ""


def read_share(fields: Mapping[str, str], *, now: int) -> Change:
    """A change from the fields of a form or the options of the command. Raises `Refused`."""
    fields = {name: value.strip() for name, value in fields.items() if value.strip()}
    if unknown := set(fields) - _KNOWN:
        raise Refused(f"unknown: {', '.join(sorted(unknown))}. Known are {', '.join(sorted(_KNOWN))}")
    kinds = [name for name in ("streaming", "rollback", "shadow") if name in fields]
    if len(kinds) != 1:
        raise Refused("say one of streaming=on|off, rollback=true, shadow=PERCENT")
    why = fields.get("why", "")
    if kinds == ["shadow"]:
        _nothing_else(fields, "shadow")
        return _shadow(_percent(fields["shadow"]), why)
    if kinds == ["rollback"]:
        _nothing_else(fields, "rollback")
        if not _switch(fields["rollback"]):
            raise Refused("rollback=true, or leave it out")
        what = "streaming off for all calls (rollback)"
        return Change(lambda policy, by: policy.rolled_back(by=by, reason=why, now=now), what, why)
    until = None if "for" not in fields else now + _seconds(fields["for"])
    streaming = _switch(fields["streaming"])
    words = f"streaming {'on' if streaming else 'off'}"
    lasting = f", for {fields['for']}" if until is not None else ""
    if "number" in fields:
        if "percent" in fields:
            raise Refused("percent and number exclude one another")
        number = _number(fields["number"])
        what = f"{words} for {number}{lasting}"
        return Change(lambda policy, by: _with_number(policy, number, streaming, now, until), what, why)
    percent = _percent(fields.get("percent", "100"))
    what = f"{words} for {'all' if percent == 100 else f'{percent} % of the'} calls{lasting}"
    return Change(
        lambda policy, by: policy.with_share(streaming, percent, by=by, reason=why, now=now, until=until), what, why
    )


def read_number(number: str) -> Change:
    """The rule for this number goes. Raises `Refused`; applied to a policy without such a rule, `LookupError`."""
    plain = _number(number)
    return Change(lambda policy, by: policy.without_number(plain), f"no rule for {plain} any more")


def read_since(text: str) -> int:
    """Seconds. Raises `Refused`."""
    return _seconds(text)


def state(
    version: int, policy: Policy, *, default: bool, means: bool, now: int, last: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """What holds, JSON-ready. `means`: there is something to switch here. `last`: the newest of the history."""
    holds = policy.at(now)
    return {
        "version": version,
        "now": in_words(holds, default=default, now=now),
        "note": "" if means else NO_GOOGLE,
        "default": "on" if default else "off",
        "share": _share(holds.share),
        "numbers": [
            {"number": rule.number, "streaming": rule.streaming, "until": _moment(rule.until)} for rule in holds.numbers
        ],
        "shadow_percent": holds.shadow_percent,
        "last_change": dict(last[0]) if last else None,
    }


def _share(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    return {
        "streaming_percent": share.streaming_percent,
        "by": share.by,
        "why": share.reason,
        "since": _moment(share.at),
        "until": _moment(share.until),
        "rollback": share.rollback,
    }


def _shadow(percent: int, why: str) -> Change:
    what = f"shadow on {percent} % of the calls" if percent else "shadow off"
    return Change(lambda policy, by: policy.with_shadow(percent), what, why)


def _with_number(policy: Policy, number: str, streaming: bool, now: int, until: int | None) -> Policy:
    try:
        return policy.with_number(number, streaming, now=now, until=until)
    except ValueError as error:
        raise Refused(str(error)) from error


def _nothing_else(fields: Mapping[str, str], kind: str) -> None:
    if more := set(fields) - {kind, "why", "by"}:
        raise Refused(f"{kind} goes without {', '.join(sorted(more))}")


def _switch(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise Refused(f"{text!r} is neither on nor off")
    return text.lower() in _YES


def _percent(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text[:4]) > 100:
        raise Refused(f"{text!r} is not a whole percentage from 0 to 100")
    return int(text)


def _number(text: str) -> str:
    number = to_e164(text)
    if not number:
        raise Refused(f"{text!r} is not a telephone number such as +972501234567")
    return number


def _seconds(text: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise Refused(str(error)) from error


def _moment(at: int | None) -> str | None:
    return datetime.fromtimestamp(at, UTC).isoformat() if at is not None else None
