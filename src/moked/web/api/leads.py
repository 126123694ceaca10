"""Leads: lists, one lead, and what people do with it."""

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from moked.crm.audit import Actor
from moked.crm.desk import LeadFilter
from moked.crm.edits import Unreadable
from moked.crm.leads import Origin, Stage
from moked.crm.models import Lead
from moked.crm.permissions import Permission
from moked.crm.versions import version
from moked.web.api.layer import Answer, Api
from moked.web.api.problems import Problem
from moked.web.api.schemas import Id, In, Moment, Out, Page, PageQuery, Since, page_of
from moked.web.api.tasks import TaskOut, task_answer
from moked.web.parts import ApiParts


class LeadQuery(PageQuery):
    stage: Stage | None = None
    owner: Id | None = Field(None, description="Id of a user; 0: leads nobody takes care of")
    contact_id: Id | None = None
    q: str = Field("", description="Words of the name, need or summary, or digits of the number", max_length=100)
    since: date | None = Field(None, description="Came in on this day of the business or later")
    until: date | None = Field(None, description="Came in on this day of the business or earlier")
    updated_since: Since | None = Field(None, description="Changed at this moment or later")
    order: Literal["newest", "updated"] = Field(
        "newest", description="`updated`: the one that changed longest ago first; follow with it to miss no change"
    )


class LeadOut(Out):
    id: int
    contact_id: int
    owner_id: int | None
    source_call_sid: str
    stage: Stage
    origin: Origin
    name: str
    phone: str = Field(description="E.164, or empty")
    confirmed: bool = Field(description="The number was read back and agreed to")
    need: str
    best_time: str
    summary: str
    extra: dict[str, Any] = Field(description="Details of the business's own script")
    sources: dict[str, Any] = Field(
        description="By field: the call and turn it comes from, the words, and who wrote it"
    )
    notes: list[Any]
    created_at: Moment
    updated_at: Moment


class LeadEdit(In):
    """Only what is given changes; what a person wrote, no later call changes."""

    name: str | None = Field(None, max_length=200)
    phone: str | None = Field(None, max_length=32, description="An Israeli number, or one with its country (+...)")
    need: str | None = Field(None, max_length=4000)
    best_time: str | None = Field(None, max_length=200)
    summary: str | None = Field(None, max_length=4000)
    extra: dict[str, str] = Field({}, description="Details the lead has", max_length=50)

    @model_validator(mode="before")
    @classmethod
    def _no_null(cls, given: Any) -> Any:
        if isinstance(given, dict) and any(value is None for value in given.values()):
            raise ValueError("null is no value; send an empty text to clear a field")
        return given

    def values(self) -> dict[str, str]:
        plain = self.model_dump(exclude_unset=True, exclude={"extra"})
        return {**plain, **{f"extra.{name}": value for name, value in self.extra.items()}}


class LeadMove(In):
    stage: Stage


class LeadOwner(In):
    user_id: Id | None = Field(description="Who takes care of it; null: nobody yet")


class LeadNote(In):
    text: str = Field(min_length=1, max_length=4000)


class LeadTask(In):
    due_at: Since = Field(description="At most two years from now")
    note: str = Field("", max_length=4000)


def add(api: Api, parts: ApiParts) -> None:
    """`/leads`, `/leads/<id>` and its changes."""

    def found(by: Actor, lead_id: int) -> Answer:
        lead = parts.desk.row(Lead, by.business_id, lead_id)
        if lead is None:
            raise LookupError
        return Answer(LeadOut.model_validate(lead), version(lead))

    @api.on("GET", "/leads", needs=Permission.VIEW, query=LeadQuery, gives=Page[LeadOut])
    def list_leads(by: Actor, query: LeadQuery) -> Page[LeadOut]:
        """Leads, the newest first."""
        wanted = LeadFilter(stage=query.stage, owner=query.owner, text=query.q, since=query.since, until=query.until)
        leads = parts.desk.lead_list(
            by.business_id,
            wanted,
            by.timezone,
            contact_id=query.contact_id,
            updated_since=query.updated_since,
            by_update=query.order == "updated",
            after=query.after,
            limit=query.limit,
        )
        return page_of(LeadOut, leads)

    @api.on("GET", "/leads/<int:lead_id>", needs=Permission.VIEW, gives=LeadOut, versioned=True)
    def get_lead(by: Actor, lead_id: int) -> Answer:
        """One lead."""
        return found(by, lead_id)

    @api.on("PATCH", "/leads/<int:lead_id>", needs=Permission.EDIT, body=LeadEdit, gives=LeadOut, versioned=True)
    def edit_lead(by: Actor, lead_id: int, body: LeadEdit) -> Answer:
        """Change fields of a lead."""
        try:
            parts.edits.set_fields(by, lead_id, body.values())
        except Unreadable:
            raise
        except ValueError as error:
            raise Problem("invalid", errors=[{"where": "body.extra", "what": str(error)}]) from None
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/move",
        needs=Permission.EDIT,
        body=LeadMove,
        gives=LeadOut,
        versioned=True,
        problems=("illegal_move",),
    )
    def move_lead(by: Actor, lead_id: int, body: LeadMove) -> Answer:
        """Move a lead to another stage."""
        parts.edits.move(by, lead_id, body.stage)
        return found(by, lead_id)

    @api.on(
        "PUT",
        "/leads/<int:lead_id>/owner",
        needs=Permission.ASSIGN,
        body=LeadOwner,
        gives=LeadOut,
        versioned=True,
        names={"owner": "user_id"},
    )
    def assign_lead(by: Actor, lead_id: int, body: LeadOwner) -> Answer:
        """Say who takes care of a lead."""
        parts.edits.assign(by, lead_id, body.user_id)
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/notes",
        needs=Permission.EDIT,
        body=LeadNote,
        gives=LeadOut,
        versioned=True,
        status=201,
    )
    def note_lead(by: Actor, lead_id: int, body: LeadNote) -> Answer:
        """Add a note to a lead."""
        parts.edits.add_note(by, lead_id, body.text)
        return found(by, lead_id)

    @api.on(
        "POST",
        "/leads/<int:lead_id>/tasks",
        needs=Permission.EDIT,
        body=LeadTask,
        gives=TaskOut,
        status=201,
        names={"due": "due_at"},
    )
    def add_task(by: Actor, lead_id: int, body: LeadTask) -> Answer:
        """Promise a call-back."""
        task_id = parts.edits.add_task(by, lead_id, body.note, body.due_at.isoformat())
        answer = task_answer(parts, by, task_id)
        return Answer(answer.model, answer.version, f"/tasks/{task_id}")
