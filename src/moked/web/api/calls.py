"""Calls: lists, and one call with every turn: what was said and heard, how fast, and why each decision was taken."""

from datetime import date
from typing import Any

from pydantic import Field

from moked.crm.audit import Actor
from moked.crm.leads import NoLead
from moked.crm.models import CallState
from moked.crm.permissions import Permission
from moked.records import Outcome
from moked.web.api.layer import Api
from moked.web.api.schemas import Id, Moment, Out, Page, PageQuery, page_of
from moked.web.parts import ApiParts


class CallQuery(PageQuery):
    day: date | None = Field(None, description="A day of the business")
    outcome: Outcome | None = None
    contact_id: Id | None = None
    lead_id: Id | None = None


class CallOut(Out):
    sid: str
    caller: str
    called: str
    direction: str
    simulated: bool = Field(description="A rehearsal, not a real call")
    status: CallState
    started_at: Moment
    answered_at: Moment | None
    ended_at: Moment | None
    duration_ms: int | None
    outcome: Outcome | None
    detail: str
    engines: list[Any] = Field(description="What heard it")
    contact_id: int | None
    lead_id: int | None
    lead_missing_reason: NoLead | None = Field(description="Why it left no lead")


class TurnOut(Out):
    """All `_ms` are milliseconds since the call's media stream began."""

    number: int
    caller_text: str
    said: str
    heard: str = Field(description="What of it reached the caller's ear")
    cut: bool
    started_ms: int
    ended_ms: int
    engine: str
    confidence: float | None
    dtmf: str
    speech_end_ms: int | None
    transcript_ms: int | None
    endpoint_ms: int | None
    llm_first_ms: int | None
    tts_first_ms: int | None
    sent_ms: int | None
    heard_ms: int | None
    tools: list[Any]
    decision: dict[str, Any] | None = Field(description="Why the turn was over when it was: evidence and outcome")


class SegmentOut(Out):
    """An utterance of the transcript that was written after the call."""

    number: int
    start_ms: int
    end_ms: int
    speaker: str
    text: str
    engine: str


class EventOut(Out):
    kind: str
    at: Moment
    data: dict[str, Any]


class WholeCall(CallOut):
    turns: list[TurnOut]
    segments: list[SegmentOut]
    events: list[EventOut]


def add(api: Api, parts: ApiParts) -> None:
    """`/calls`, `/calls/<sid>`."""

    @api.on("GET", "/calls", needs=Permission.VIEW, query=CallQuery, gives=Page[CallOut])
    def list_calls(by: Actor, query: CallQuery) -> Page[CallOut]:
        """Calls, the latest first."""
        found = parts.desk.call_list(
            by.business_id,
            by.timezone,
            day=query.day,
            outcome=query.outcome,
            contact_id=query.contact_id,
            lead_id=query.lead_id,
            after=query.after,
            limit=query.limit,
        )
        return page_of(CallOut, found)

    @api.on("GET", "/calls/<sid>", needs=Permission.VIEW, gives=WholeCall)
    def get_call(by: Actor, sid: str) -> WholeCall:
        """One call, with its turns, decisions and events."""
        found = parts.desk.call(by.business_id, sid)
        if found is None:
            raise LookupError
        return WholeCall(
            **CallOut.model_validate(found.call).model_dump(),
            turns=[TurnOut.model_validate(turn) for turn in found.turns],
            segments=[SegmentOut.model_validate(segment) for segment in found.segments],
            events=[EventOut.model_validate(event) for event in found.events],
        )
