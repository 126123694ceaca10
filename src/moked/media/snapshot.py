"""Where a call stands (pure): what another process needs to go on with it, and what it says first.

A snapshot is taken whenever a turn is committed, a reply is made, first heard or over, and soon after the caller's
words change. After `kill -9` it is a moment old: what of a reply was heard since is then estimated from the clock, and
the sentence that may have been cut off is said again.

The newest call text matters most: what does not fit into `LIMIT` is forgotten from the oldest turn on.
"""

import re
from dataclasses import replace
from typing import Any, Final

import msgspec

from moked.records import LeadDraft, TurnRecord

VERSION: Final = 1
LIMIT: Final = 16_000
"""Bytes."""

LONG_GAP_MS: Final = 2500
"""A pause in the line that the caller wonders about, even when nobody was speaking."""
_TEXTS: Final = ("name", "phone", "need", "best_time", "summary")
_MARGIN_MS: Final = 300  # of the estimate: what had been sent was not all in the caller's ear yet
_SENTENCE_END: Final = re.compile(r"(?<=[.!?…])\s+")


class PastTurn(msgspec.Struct, frozen=True, array_like=True):
    """One exchange as it was heard."""

    number: int
    caller: str
    heard: str = ""
    cut: bool = False


class LastReply(msgspec.Struct, frozen=True):
    """The answer to the last turn that was committed. `record`: that turn as it was committed.

    `said` are its words so far, all of them when it is `made`, and `audio_ms` how long they last. `begun_ms`: call ms
    when its first audio left. `heard` is known when its stream was left in order, or the reply is `over`: heard, or cut
    off. `number`: where to transfer to when it was heard; `end` why.
    """

    record: TurnRecord
    silent: bool = False
    said: str = ""
    heard: str = ""
    made: bool = False
    over: bool = False
    begun_ms: int | None = None
    audio_ms: int = 0
    number: str = ""
    end: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`at`: seconds since 1970 when it was taken, at `clock_ms` of the call. `words` are the caller's, not committed.

    `agent` is what the agent gave to keep, `lead` what it knew, for an agent of another kind; `engines` heard the call.
    """

    version: int = VERSION
    at: float
    clock_ms: int
    turn: int
    replies: int
    expect: str = "open"
    cut_in: bool = False
    speaking: bool = False
    words: str = ""
    failures: int = 0
    minute_told: bool = False
    past: tuple[PastTurn, ...] = ()
    last: LastReply | None = None
    agent: Any = None
    lead: LeadDraft = LeadDraft()
    engines: tuple[str, ...] = ()


def filled(lead: LeadDraft, known: LeadDraft) -> LeadDraft:
    """`lead`, and what it does not say from what was `known` before."""
    missing = {name: getattr(known, name) for name in _TEXTS if not getattr(lead, name)}
    confirmed = lead.phone_confirmed or ("phone" in missing and known.phone_confirmed)
    return replace(
        lead,
        **missing,
        phone_confirmed=confirmed,
        extra={**known.extra, **lead.extra},
        sources={**known.sources, **lead.sources},
    )


def encode(snapshot: Snapshot) -> bytes:
    """As JSON, at most `LIMIT` bytes unless the agent alone needs more."""
    data = _encode(snapshot)
    while len(data) > LIMIT and len(snapshot.past) > 1:
        snapshot = msgspec.structs.replace(snapshot, past=snapshot.past[1 + len(snapshot.past) // 4 :])
        data = _encode(snapshot)
    return data


def decode(data: bytes) -> Snapshot | None:
    """None for what another version wrote, or nobody."""
    try:
        snapshot = msgspec.json.decode(data, type=Snapshot)
    except msgspec.DecodeError:
        return None
    return snapshot if snapshot.version == VERSION else None


def _encode(snapshot: Snapshot) -> bytes:
    try:
        return msgspec.json.encode(snapshot)
    except UnicodeEncodeError:  # half a surrogate pair, from a language model
        return msgspec.json.encode(_storable(msgspec.to_builtins(snapshot)))


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {_storable(key): _storable(item) for key, item in value.items()}
        case list() | tuple():
            return [_storable(item) for item in value]
    return value


# --- what to say first ------------------------------------------------------------------------------------------------


class Silent(msgspec.Struct, frozen=True):
    """Nothing: the caller has the floor, and has noticed nothing."""


class AnswerAgain(msgspec.Struct, frozen=True):
    """The last turn was taken, and nothing of its answer heard: answer it."""


class GoOn(msgspec.Struct, frozen=True):
    """Apologise for the pause, then say `rest`: what of the reply was not heard, or the open question. `heard`: of the
    answer to the last turn, so far."""

    rest: str
    heard: str

    __match_args__ = ("rest", "heard")


class SayAgain(msgspec.Struct, frozen=True):
    """The caller was speaking, and the words are lost: ask for them."""

    heard: str

    __match_args__ = ("heard",)


class AllHeard(msgspec.Struct, frozen=True):
    """The reply had been heard to its end: what was to happen after it happens now."""

    heard: str

    __match_args__ = ("heard",)


First = Silent | AnswerAgain | GoOn | SayAgain | AllHeard

DIED: Final = "died"
"""Why a stream ended whose process had no time to say."""


def first(snapshot: Snapshot, why: str, gap_ms: int, now: float) -> First:
    """What a process that takes the call over does first. `why` its stream ended, `gap_ms` ago at `now` (seconds since
    1970)."""
    last = snapshot.last
    if last is None:
        return Silent()
    before = next((turn.heard for turn in snapshot.past if turn.number == last.record.number), "")
    if not last.over:
        if last.begun_ms is None or not last.made:
            return AnswerAgain()
        if why != DIED:
            letters, heard = len(last.heard), before
        else:
            letters = _estimate(last, snapshot, now - gap_ms / 1000)
            heard = f"{before} {last.said[:letters].rpartition(' ')[0]}".strip()
        rest = unheard(last.said, letters)
        return GoOn(rest, heard) if rest else AllHeard(heard)
    if snapshot.words:
        return Silent()  # it is answered as soon as the caller pauses
    if snapshot.speaking:
        return SayAgain(before)
    if gap_ms >= LONG_GAP_MS and last.said:
        return GoOn(question(last.said), before)
    return Silent()


def _estimate(last: LastReply, snapshot: Snapshot, died: float) -> int:
    """How many letters of the reply were heard when the process died, by the clock."""
    if last.begun_ms is None or not last.audio_ms:
        return 0
    began = snapshot.at - (snapshot.clock_ms - last.begun_ms) / 1000
    played_ms = (died - began) * 1000 - _MARGIN_MS
    return max(0, min(len(last.said), int(len(last.said) * played_ms / last.audio_ms)))


def unheard(said: str, letters: int) -> str:
    """What is left of `said` after its first `letters`, from the beginning of the sentence that was cut off."""
    text = said.strip()
    if letters >= len(text):
        return ""
    start = 0
    for end in _SENTENCE_END.finditer(text):
        if end.start() > letters:
            break
        start = end.end()
    return text[start:]


def sentences(text: str) -> list[str]:
    return _SENTENCE_END.split(text.strip())


def question(said: str) -> str:
    """The last question, or else the last sentence."""
    found = sentences(said)
    asked = [sentence for sentence in found if sentence.endswith("?")]
    return asked[-1] if asked else found[-1]
