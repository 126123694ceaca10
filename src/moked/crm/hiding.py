"""Hiding card and identity numbers as words are written down; inside the caller's transaction.

A number may be dictated over several turns, so a turn that completes one changes those before it. What was hidden stays
hidden: a later version of a turn does not bring it back. Where the words go, the sound goes: from the caller's last
words before it to the end of these, and the agent's answer where that repeats them. Where the times of the caller's
words are known it is only the hidden ones that fall silent (`hidden_words`), otherwise the whole turn: at once, and the
times may come with a later version of it.
"""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm import hidden_words
from moked.crm.lead_fields import SEALED
from moked.crm.models import Call, Turn
from moked.crm.number_runs import numbers_in
from moked.crm.privacy import rules_of
from moked.crm.redaction import MARK, MARKS, NUMBERISH, Line, Policy, find, hide, hide_json, hide_lines
from moked.crm.sealed import Sealer
from moked.crm.tables_privacy import Recording
from moked.dialog.identity import is_valid
from moked.errors import SealError
from moked.records import Segment, TurnRecord

_TURNS: Final = 12
_SIDES: Final = ("words", "keys", "agent", "agent")  # what of a turn is looked at
_AFTER_MS: Final = 500
_CLEAN: Final = ("phone", "phone_confirmed", "callback_at")  # fields of a draft that hold no words


def policy_of(session: Session, business_id: int, phones: Iterable[str] = ()) -> Policy:
    rules = rules_of(session, business_id)
    return Policy(rules.hide_cards, rules.hide_ids, frozenset(phone for phone in phones if phone))


def policy_of_call(session: Session, call: Call) -> Policy:
    return policy_of(session, call.business_id, (call.caller, str(call.draft.get("phone", ""))))


def has_numbers(turn: TurnRecord) -> bool:
    return any(numbers_in(text) for text in (turn.caller_text, turn.dtmf, turn.said, turn.heard))


def draft_has_numbers(draft: dict[str, Any]) -> bool:
    return any(name not in _CLEAN and numbers_in(str(value)) for name, value in draft.items())


def still_hidden(session: Session, call_id: int, turn: TurnRecord) -> TurnRecord:
    """A newer version of a turn, without the words that were hidden in the one that is stored."""
    row = session.execute(
        select(Turn.caller_text, Turn.dtmf, Turn.said, Turn.heard).where(
            Turn.call_id == call_id, Turn.number == turn.number
        )
    ).one_or_none()
    if row is None:
        return turn
    kept: dict[str, Any] = {name: text for name, text in row._mapping.items() if MARK.search(text)}
    if "caller_text" in kept:
        times = hidden_words.after_change(kept["caller_text"], turn.caller_text, turn.word_times)
        if not times:
            stored = select(Turn.word_times).where(Turn.call_id == call_id, Turn.number == turn.number)
            times = session.scalar(stored) or []
        kept["word_times"] = tuple((start, end) for start, end in times)
    return replace(turn, **kept)


def hide_turns(session: Session, call: Call, policy: Policy, changed: int) -> None:
    """Look at the last turns of the call, as they are stored, and at all of them together; turn number `changed` is
    new, or has a new version."""
    if not policy:
        return
    last = select(Turn).where(Turn.call_id == call.id).order_by(Turn.number.desc()).limit(_TURNS + 1)
    found = list(session.scalars(last.execution_options(populate_existing=True)).all())[::-1]
    earlier, rows = (found[0], found[1:]) if len(found) > _TURNS else (None, found)
    lines = [
        line
        for row in rows
        for line in (Line(row.caller_text), Line(row.dtmf), Line(row.said, caller=False), Line(row.heard, caller=False))
    ]
    spots = find(lines, policy)
    after = hide_lines(lines, policy) if spots else [line.text for line in lines]
    digits = {one.digits: MARKS[one.kind.value] for one in spots}
    recording = _silenceable(session, call)
    for number, row in enumerate(rows):
        said = {_SIDES[one.text % 4] for one in spots if one.text // 4 == number}
        if "words" in said:
            places = [(one.start, one.end) for one in spots if one.text == 4 * number]
            row.word_times = hidden_words.after_hiding(row.caller_text, row.word_times, places)
        if spots:
            row.caller_text, row.dtmf, row.said, row.heard = after[4 * number : 4 * number + 4]
            row.tools = _replaced(hide_json(row.tools, policy), digits)
        if recording is None:
            continue
        if said & {"words", "keys"} or (row.number == changed and MARK.search(row.caller_text)):
            before = rows[number - 1] if number else earlier
            start = 0 if before is None else (before.speech_end_ms or before.started_ms)
            end = (row.speech_end_ms or row.started_ms) + _AFTER_MS
            narrow = hidden_words.silences(row.caller_text, row.word_times, start, end)
            narrow = None if MARK.search(row.dtmf) else narrow  # the keys may be heard, and nobody knows when
            recording.silences = _of_turn(recording.silences, row.number, (start, end), narrow)
        if "agent" in said:
            recording.silences = _with(
                recording.silences, [[1, row.sent_ms or row.started_ms, row.ended_ms + _AFTER_MS]]
            )
    session.flush()


def silence(session: Session, call: Call, silences: Sequence[Sequence[int]]) -> None:
    """Nobody may hear these stretches of the call's recording: (channel, from_ms, to_ms)."""
    if (recording := _silenceable(session, call)) is not None:
        recording.silences = _with(recording.silences, silences)
        session.flush()


def _silenceable(session: Session, call: Call) -> Recording | None:
    """The call's recording, where there is one that falls silent."""
    recording = session.get(Recording, call.id)
    if recording is None or recording.key is None or not rules_of(session, call.business_id).hide_audio:
        return None
    return recording


def _with(silences: list[Any], more: Sequence[Sequence[int]]) -> list[Any]:
    new = [list(one) for one in more if list(one) not in silences]
    return [*silences, *new] if new else silences


def _of_turn(
    silences: list[Any], turn: int, whole: tuple[int, int], narrow: Sequence[tuple[int, int]] | None
) -> list[Any]:
    """`silences` with those of a caller's turn as they are known now; `narrow` None: the whole of it.

    Stored audio may have the former ones already, and is looked at again when there are more. So they are replaced only
    where they cover the new ones and are no more of them; otherwise the new ones are added.
    """
    ours = [one for one in silences if len(one) > 3 and one[0] == 0 and one[3] == turn]
    wanted = [[0, start, end, turn] for start, end in ([whole] if narrow is None else narrow)]
    uncovered = [one for one in wanted if not any(old[1] <= one[1] and one[2] <= old[2] for old in ours)]
    if narrow is not None and ours and not uncovered and len(ours) <= len(wanted):
        others = [one for one in silences if one not in ours]
        return silences if ours == wanted else [*others, *wanted]
    return _with(silences, uncovered)


def hide_segments(session: Session, call: Call, segments: Sequence[Segment], policy: Policy) -> list[Segment]:
    lines = [Line(one.text, caller=one.speaker == "caller") for one in segments]
    texts = {one.text for one in find(lines, policy)}
    silence(
        session,
        call,
        [
            [0 if one.speaker == "caller" else 1, one.start_ms, one.end_ms]
            for number, one in enumerate(segments)
            if number in texts
        ],
    )
    return [replace(one, text=text) for one, text in zip(segments, hide_lines(lines, policy), strict=True)]


def hide_draft(draft: dict[str, Any], policy: Policy, sealer: Sealer | None, business_id: int) -> dict[str, Any]:
    """A lead's draft (builtins). An identity number that a step of the business's own asked for is sealed in place."""
    if not draft or not policy:
        return draft
    extra = draft.get("extra") or {}
    wanted = {name: value for name, value in extra.items() if policy.ids and isinstance(value, str) and is_valid(value)}
    hidden = {name: value if name in _CLEAN else hide_json(value, policy) for name, value in draft.items()}
    if wanted:
        hidden["extra"] = {
            **hidden["extra"],
            **{name: seal(value, sealer, business_id) for name, value in wanted.items()},
        }
    return hidden


def seal(value: str, sealer: Sealer | None, business_id: int) -> str:
    if sealer is None:
        return MARKS["id"]
    return SEALED + base64.b64encode(sealer.seal(value.encode(), sealed_for(business_id))).decode()


def unseal(value: str, sealer: Sealer, business_id: int) -> str:
    """Raises `SealError`."""
    if not value.startswith(SEALED):
        return value
    try:
        sealed = base64.b64decode(value.removeprefix(SEALED), validate=True)
    except ValueError:
        raise SealError("a sealed field is cut off") from None
    return sealer.open(sealed, sealed_for(business_id)).decode()


def hide_text(session: Session, business_id: int, text: str, *phones: str) -> str:
    """What somebody writes at the desk."""
    return hide(text, policy_of(session, business_id, phones)) if NUMBERISH.search(text) else text


def sealed_for(business_id: int) -> str:
    """What a business's sealed fields are sealed for."""
    return f"field:{business_id}"


def _replaced(value: Any, digits: dict[str, str]) -> Any:
    """Without the digits themselves, which an agent gives its tools as it understood them."""
    match value:
        case str():
            for number, mark in digits.items():
                value = value.replace(number, mark)
            return value
        case dict():
            return {key: _replaced(item, digits) for key, item in value.items()}
        case list():
            return [_replaced(item, digits) for item in value]
    return value
