"""A call as JSON for whoever asks: the simulator, an API client, a page. Reads; decides nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from moked.crm.models import Call, CallEvent, Contact, Lead, Task, TranscriptSegment, Turn
from moked.records import Segment, Waterfall

_MOMENTS = ("speech_end_ms", "transcript_ms", "endpoint_ms", "llm_first_ms", "tts_first_ms", "sent_ms", "heard_ms")


def call_report(session: Session, call: Call) -> dict[str, Any]:
    """Everything on record about `call`, JSON-ready. `ended` tells whether it is final."""
    turns = session.scalars(select(Turn).where(Turn.call_id == call.id).order_by(Turn.number)).all()
    written = session.scalars(
        select(TranscriptSegment).where(TranscriptSegment.call_id == call.id).order_by(TranscriptSegment.number)
    ).all()
    events = session.scalars(select(CallEvent).where(CallEvent.call_id == call.id).order_by(CallEvent.at, CallEvent.id))
    contact = session.get(Contact, call.contact_id) if call.contact_id else None
    lead = session.get(Lead, call.lead_id) if call.lead_id else None
    tasks = session.scalars(select(Task).where(Task.lead_id == lead.id).order_by(Task.due_at)) if lead else ()
    return {
        "call_sid": call.sid,
        "caller": call.caller,
        "called": call.called,
        "direction": call.direction,
        "simulated": call.simulated,
        "status": call.status.value,
        "ended": call.ended_at is not None,
        "started_at": _moment(call.started_at),
        "answered_at": _moment(call.answered_at),
        "ended_at": _moment(call.ended_at),
        "duration_ms": call.duration_ms,
        "outcome": call.outcome.value if call.outcome else None,
        "detail": call.detail,
        "engines": call.engines,
        "contact": {"id": contact.id, "name": contact.name, "phone": contact.phone} if contact else None,
        "turns": [_turn(turn) for turn in turns],
        "transcript": {"source": "stored" if written else "live", "segments": _segments(turns, written)},
        "lead": _lead(lead) if lead else None,
        "lead_missing_reason": call.lead_missing_reason.value if call.lead_missing_reason else None,
        "tasks": [
            {
                "id": task.id,
                "kind": task.kind.value,
                "due_at": _moment(task.due_at),
                "done_at": _moment(task.done_at),
                "note": task.note,
            }
            for task in tasks
        ],
        "events": [{"kind": event.kind, "at": _moment(event.at), "data": event.data} for event in events],
    }


def _segments(turns: Sequence[Turn], written: Sequence[TranscriptSegment]) -> list[dict[str, Any]]:
    """Who said what when: the caller by the stored transcript where there is one, else by the live one, between what
    was heard of the agent. The live words of a turn are known to end at `speech_end_ms`."""
    spoken = [
        Segment(turn.sent_ms or turn.started_ms, turn.ended_ms, "agent", turn.heard) for turn in turns if turn.heard
    ]
    if written:
        spoken += [Segment(one.start_ms, one.end_ms, one.speaker, one.text, one.engine) for one in written]
    else:
        for turn in turns:
            end = turn.speech_end_ms or turn.started_ms
            if turn.caller_text:
                spoken.append(Segment(end, end, "caller", turn.caller_text, turn.engine))
    return [asdict(one) for one in sorted(spoken, key=lambda one: one.start_ms)]


def _turn(turn: Turn) -> dict[str, Any]:
    waterfall = Waterfall(**{name: getattr(turn, name) for name in _MOMENTS})
    return {
        "number": turn.number,
        "caller_text": turn.caller_text,
        "said": turn.said,
        "heard": turn.heard,
        "cut": turn.cut,
        "started_ms": turn.started_ms,
        "ended_ms": turn.ended_ms,
        "engine": turn.engine,
        "confidence": turn.confidence,
        "dtmf": turn.dtmf,
        "waterfall": {
            **{name: getattr(waterfall, name) for name in _MOMENTS},
            "response_ms": waterfall.response_ms,
        },
        "tools": turn.tools,
        "decision": turn.decision,
        "spoken_by": turn.spoken_by,
    }


def _lead(lead: Lead) -> dict[str, Any]:
    return {
        "id": lead.id,
        "stage": lead.stage.value,
        "origin": lead.origin.value,
        "name": lead.name,
        "phone": lead.phone,
        "confirmed": lead.confirmed,
        "need": lead.need,
        "best_time": lead.best_time,
        "handover": lead.handover,
        "summary": lead.summary,
        "extra": lead.extra,
        "sources": lead.sources,
        "notes": lead.notes,
        "source_call_sid": lead.source_call_sid,
        "created_at": _moment(lead.created_at),
        "updated_at": _moment(lead.updated_at),
    }


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
