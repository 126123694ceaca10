"""A business's privacy rules, and what is kept of the words of a caller who refused; inside the caller's transaction.

Refusing takes the recording's key, the words that were said until then, and every word after it: what `refused_words`
leaves is what the call is served by.
"""

import secrets
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from moked.crm.models import Call, CallEvent, CallSnapshot, ShadowCall, TranscriptSegment, Turn
from moked.crm.privacy_rules import RefusedWords, Rules
from moked.crm.settle import insert
from moked.crm.tables_privacy import PrivacySettings, Recording
from moked.records import LeadDraft, ToolUse, TurnRecord

REFUSED = "recording_refused"
"""Kind of the `call_event` of a caller who does not want to be recorded."""


def rules_of(session: Session, business_id: int) -> Rules:
    row = session.get(PrivacySettings, business_id)
    if row is None:
        return Rules()
    values = {field.name: getattr(row, field.name) for field in fields(Rules)}
    values["refused_words"] = RefusedWords(row.refused_words)
    return Rules(**values)


def write_rules(session: Session, business_id: int, rules: Rules, now: datetime) -> None:
    values = {field.name: getattr(rules, field.name) for field in fields(Rules)} | {"changed_at": now}
    values["refused_words"] = rules.refused_words.value
    session.execute(
        insert(session, PrivacySettings)
        .values(business_id=business_id, **values)
        .on_conflict_do_update(index_elements=["business_id"], set_=values)
    )


def words_kept(session: Session, call_id: int) -> RefusedWords | None:
    """What may be kept of this caller's words; None: they did not refuse."""
    word = session.scalar(
        select(Recording.words).where(Recording.call_id == call_id, Recording.refused_at.is_not(None))
    )
    return RefusedWords(word) if word else None


def words_kept_of(session: Session, call_sid: str) -> RefusedWords | None:
    """The same, of a call that may not be there."""
    call_id = session.scalar(select(Call.id).where(Call.sid == call_sid))
    return None if call_id is None else words_kept(session, call_id)


def refuse(session: Session, call: Call, now: datetime) -> None:
    """The caller does not want to be recorded. A second time changes nothing."""
    if words_kept(session, call.id) is not None:
        return
    kept = rules_of(session, call.business_id).refused_words
    values: dict[str, Any] = {"key": None, "silences": [], "refused_at": now, "words": kept.value}
    session.execute(
        insert(session, Recording)
        .values(call_id=call.id, business_id=call.business_id, token=secrets.token_hex(16), created_at=now, **values)
        .on_conflict_do_update(index_elements=["call_id"], set_=values)
    )
    if kept is not RefusedWords.TRANSCRIPT:
        forget_words(session, [call.id])
        call.draft = draft_kept(call.draft, kept)


def forget_words(session: Session, call_ids: list[int]) -> None:
    """No word of these calls stays: neither the transcript nor what was heard of it elsewhere."""
    blank: dict[str, Any] = {"caller_text": "", "said": "", "heard": "", "dtmf": "", "tools": [], "word_times": []}
    session.execute(
        update(Turn).where(Turn.call_id.in_(call_ids)).values(blank).execution_options(synchronize_session=False)
    )
    for table in (TranscriptSegment, ShadowCall):
        session.execute(delete(table).where(table.call_id.in_(call_ids)))
    ended = select(Call.id).where(Call.id.in_(call_ids), Call.ended_at.is_not(None))
    session.execute(delete(CallSnapshot).where(CallSnapshot.call_id.in_(ended)))
    session.execute(
        delete(CallEvent).where(CallEvent.call_id.in_(call_ids), CallEvent.kind.in_(("heard", "instruction")))
    )


def turn_kept(turn: TurnRecord, kept: RefusedWords | None) -> TurnRecord:
    """As it may be stored."""
    if kept is None or kept is RefusedWords.TRANSCRIPT:
        return turn
    tools = tuple(ToolUse(use.name, "{}", "", use.ok, use.took_ms) for use in turn.tools)
    return replace(turn, caller_text="", said="", heard="", dtmf="", tools=tools, word_times=())


def draft_kept(draft: dict[str, Any], kept: RefusedWords | None) -> dict[str, Any]:
    """A lead's draft (builtins) as it may be stored: no quotes, and with NONE nothing but whom to call back."""
    if not draft or kept is None or kept is RefusedWords.TRANSCRIPT:
        return draft
    lead = msgspec.convert(draft, LeadDraft)
    sources = {name: replace(source, quote="", readings={}) for name, source in lead.sources.items()}
    lead = replace(lead, sources=sources)
    if kept is RefusedWords.NONE:
        lead = replace(lead, need="", best_time="", summary="", extra={}, sources={})
    built: dict[str, Any] = msgspec.to_builtins(lead)
    return built
